//! The gradient of each task by itself, for hooks that compare them.

use polyhead_compute::Cpu;
use polyhead_model::{Gradients, ParameterGroup, ParameterStore, TrainableLayout};

/// The gradient of each task's mean loss in one step, without the task's weight.
///
/// Each takes as much memory as the gradient of the sum, and one more backward pass.
#[derive(Default)]
pub struct TaskGradients {
    /// One per task.
    tasks: Vec<Gradients>,
    /// One flag per task: true if it had a label in the step.
    active: Vec<bool>,
    /// One flag per task: true if it had a label in a batch beside the step.
    beside: Vec<bool>,
}

impl TaskGradients {
    /// The gradient of task `task`, at the parameters before the step's update; `None` if no row
    /// of the step has a label for it.
    pub fn get(&self, task: usize) -> Option<&Gradients> {
        (self.active.get(task) == Some(&true)).then(|| &self.tasks[task])
    }

    /// The gradient of a task whose rows the step does not read, over a batch of its own source, at the same
    /// parameters; `None` unless a hook [reads it](crate::Hook::reads_other_sources).
    pub fn of_other_source(&self, task: usize) -> Option<&Gradients> {
        (self.beside.get(task) == Some(&true)).then(|| &self.tasks[task])
    }

    /// Number of tasks.
    pub fn tasks(&self) -> usize {
        self.active.len()
    }

    /// Forgets the batches beside the last step.
    pub(super) fn forget_beside(&mut self) {
        self.beside.clear();
    }

    /// Sets the gradients of the tasks of a step to zero, before its first part.
    pub(super) fn begin(&mut self, cpu: Cpu, layout: &TrainableLayout, active: Vec<bool>) {
        self.clear(cpu, layout, &active);
        self.active = active;
    }

    /// Sets the gradients of the tasks of a batch beside the step to zero, before its first part.
    pub(super) fn begin_beside(&mut self, cpu: Cpu, layout: &TrainableLayout, active: &[bool]) {
        self.clear(cpu, layout, active);
        self.beside.resize(active.len(), false);
        self.beside.iter_mut().zip(active).for_each(|(known, active)| *known |= active);
    }

    fn clear(&mut self, cpu: Cpu, layout: &TrainableLayout, active: &[bool]) {
        if self.tasks.first().is_none_or(|known| known.layout() != layout) {
            self.tasks.clear();
            let new = || Gradients::new(layout.clone());
            self.tasks.resize_with(active.len(), new);
        }
        let tasks = self.tasks.iter_mut().zip(active);
        tasks.filter(|(_, active)| **active).for_each(|(gradients, _)| gradients.clear(cpu));
    }

    pub(super) fn of_mut(&mut self, task: usize) -> &mut Gradients {
        &mut self.tasks[task]
    }

    /// Completes the sums of some tasks, after the last part of a batch.
    pub(super) fn close(&mut self, cpu: Cpu, active: &[bool]) {
        let tasks = self.tasks.iter_mut().zip(active);
        tasks.filter(|(_, active)| **active).for_each(|(gradients, _)| gradients.close(cpu));
    }

    /// The dot products of all pairs of tasks, over the parameters that tasks share.
    ///
    /// - `weights`: a factor of each task's gradient
    pub(super) fn products(
        &self,
        cpu: Cpu,
        store: &ParameterStore,
        weights: &[f32],
    ) -> GradientProducts {
        let tasks = self.tasks();
        let entries = store.entries();
        let shared: Vec<usize> =
            (0..entries.len()).filter(|entry| is_shared(entries[*entry].group)).collect();
        let mut values = vec![0.0; tasks * tasks];
        for a in 0..tasks {
            for b in a..tasks {
                let (Some(of_a), Some(of_b)) = (self.get(a), self.get(b)) else {
                    continue;
                };
                let product: f64 = shared.iter().map(|entry| of_a.product(cpu, of_b, *entry)).sum();
                let product = product * f64::from(weights[a]) * f64::from(weights[b]);
                values[a * tasks + b] = product;
                values[b * tasks + a] = product;
            }
        }
        GradientProducts { tasks, values }
    }

    /// Adds the gradients of all tasks: each times its weight, and in the parameters that tasks share
    /// also times its share.
    pub(super) fn add_to(
        &self,
        cpu: Cpu,
        store: &ParameterStore,
        (weights, shares): (&[f32], &[f64]),
        sum: &mut Gradients,
    ) {
        for task in 0..self.tasks() {
            let Some(gradients) = self.get(task) else { continue };
            let mixed = (f64::from(weights[task]) * shares[task]) as f32;
            let factor = |entry: usize| match is_shared(store.entries()[entry].group) {
                true => mixed,
                false => weights[task],
            };
            sum.add_scaled(cpu, gradients, factor);
        }
    }
}

/// Returns true if all tasks share the parameters of a group.
pub(crate) fn is_shared(group: ParameterGroup) -> bool {
    !matches!(group, ParameterGroup::Head(_))
}

/// The dot products of the tasks' weighted gradients, over the parameters that tasks share.
#[derive(Clone, Debug, PartialEq)]
pub struct GradientProducts {
    tasks: usize,
    /// `[tasks, tasks]`
    values: Vec<f64>,
}

impl GradientProducts {
    /// Products of `tasks` tasks.
    ///
    /// - `values`: `[tasks, tasks]`, symmetric
    ///
    /// # Panics
    /// If there are not as many values.
    pub fn new(tasks: usize, values: Vec<f64>) -> Self {
        assert_eq!(values.len(), tasks * tasks, "a product for each pair of tasks");
        Self { tasks, values }
    }

    /// Number of tasks.
    pub fn tasks(&self) -> usize {
        self.tasks
    }

    /// The product of the gradients of two tasks; 0 if one of them has no label in the step.
    pub fn get(&self, a: usize, b: usize) -> f64 {
        self.values[a * self.tasks + b]
    }

    pub(super) fn are_finite(&self) -> bool {
        self.values.iter().all(|value| value.is_finite())
    }
}
