//! The gradient of each task by itself, for hooks that compare them.

use polyhead_compute::Cpu;
use polyhead_model::{Gradients, TrainableLayout};

/// The gradient of each task's mean loss in one step, without the task's weight.
///
/// Each takes as much memory as the gradient of the sum, and one more backward pass.
#[derive(Default)]
pub struct TaskGradients {
    /// One per task.
    tasks: Vec<Gradients>,
    /// One flag per task: true if it had a label in the step.
    active: Vec<bool>,
}

impl TaskGradients {
    /// The gradient of task `task`, at the parameters before the step's update; `None` if no row
    /// of the step has a label for it.
    pub fn get(&self, task: usize) -> Option<&Gradients> {
        self.active.get(task).is_some_and(|active| *active).then(|| &self.tasks[task])
    }

    /// Number of tasks.
    pub fn tasks(&self) -> usize {
        self.active.len()
    }

    /// Sets all gradients to zero, before the first part of a step.
    pub(super) fn begin(&mut self, cpu: Cpu, layout: &TrainableLayout, active: Vec<bool>) {
        self.active = active;
        if self.tasks.first().is_none_or(|known| known.layout() != layout) {
            self.tasks.clear();
            let new = || Gradients::new(layout.clone());
            self.tasks.resize_with(self.active.len(), new);
        }
        self.tasks.iter_mut().for_each(|gradients| gradients.clear(cpu));
    }

    pub(super) fn of_mut(&mut self, task: usize) -> &mut Gradients {
        &mut self.tasks[task]
    }

    /// Completes the sums, after the last part of a step.
    pub(super) fn close(&mut self, cpu: Cpu) {
        self.tasks.iter_mut().for_each(|gradients| gradients.close(cpu));
    }
}
