//! The events of a run, and the trait of their receivers.

use crate::data::DataReport;
use crate::run::finish::RunSummary;
use crate::tasks::TaskMetrics;

/// Receives the events of a run, for example to print them or to draw a progress bar.
pub trait Observer {
    /// Receives one event.
    fn observe(&mut self, event: &Event);
}

/// An event of a run.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A remark on what the run does.
    Notice(&'a str),
    /// Something is not as it was asked for, so that a user has to see it.
    Warning(&'a str),
    /// The data were read and checked.
    DataChecked(&'a DataReport),
    /// The plan is complete.
    Planned {
        /// The plan in a few lines of text.
        summary: &'a [String],
        /// Every task, learning rate and phase of freezing, a line of text each.
        details: &'a [String],
    },
    /// The first step of this session comes next.
    Begun {
        /// Number of steps done: 0 in a new run, and those of the checkpoint in a resumed one.
        done: u64,
    },
    /// A phase of freezing begins; the line says what trains from this step on.
    Phase {
        /// First step of the phase.
        step: u64,
        /// The phase's line of the plan.
        line: &'a str,
    },
    /// A step was done.
    Step(&'a Progress),
    /// A line of progress is due: means over the steps since the previous line.
    Logged(&'a Progress),
    /// The model was evaluated on dev.
    Evaluated(&'a Evaluated),
    /// A checkpoint was written.
    Checkpointed {
        /// Number of steps done before the checkpoint.
        step: u64,
    },
    /// The run has ended.
    Finished(&'a RunSummary),
}

/// Progress of a run, averaged over one or more steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Current epoch, counted from 1.
    pub epoch: u64,
    /// Number of epochs of the run.
    pub epochs: u64,
    /// Current step in the epoch, counted from 1.
    pub step_in_epoch: u64,
    /// Number of steps of an epoch.
    pub steps_per_epoch: u64,
    /// Current step of the run, counted from 1.
    pub step: u64,
    /// Number of steps of the run.
    pub total_steps: u64,
    /// Weighted sum of the tasks' losses.
    pub loss: f64,
    /// Progress of each task, in the order of the configuration.
    pub tasks: Vec<TaskProgress>,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Learning rate of the encoder's top layer.
    pub learning_rate: f64,
    /// Training texts per second, without the time of evaluations and checkpoints.
    pub texts_per_second: f64,
    /// Numbers that hooks add to the line of progress, by the hook's name; empty between two lines.
    pub hooks: Vec<(String, Vec<(String, f64)>)>,
}

/// Progress of one task.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskProgress {
    /// The task's name.
    pub name: String,
    /// Mean loss; `None` if no row had a label for the task.
    pub loss: Option<f64>,
    /// Share of right answers; `None` for regression and if no row had a label for the task.
    pub accuracy: Option<f64>,
}

/// The result of an evaluation on dev.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated {
    /// Number of steps done before the evaluation.
    pub step: u64,
    /// Current epoch, counted from 1; 0 before the first step.
    pub epoch: u64,
    /// Name of each task, and its metrics if it has labels in dev.
    pub tasks: Vec<(String, Option<TaskMetrics>)>,
    /// The score that selects the best model, larger is better; `None` without dev data.
    pub score: Option<f64>,
    /// True if the model is that of this step so far: its score is better than those before, or the
    /// same with a lower dev loss.
    pub best: bool,
}

impl std::fmt::Display for Progress {
    /// `epoch 1/3 step 40/189 · loss 0.9123 · topic loss 0.41 acc 84.1% · 312 texts/s · lr 4.6e-5`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { epoch, epochs, step_in_epoch, steps_per_epoch, loss, .. } = self;
        write!(
            f,
            "epoch {epoch}/{epochs} step {step_in_epoch}/{steps_per_epoch} · loss {loss:.4}"
        )?;
        for task in &self.tasks {
            if let Some(loss) = task.loss {
                write!(f, " · {} loss {loss:.2}", task.name)?;
            }
            if let Some(accuracy) = task.accuracy {
                write!(f, " acc {:.1}%", 100.0 * accuracy)?;
            }
        }
        write!(f, " · {:.0} texts/s · lr {:.1e}", self.texts_per_second, self.learning_rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_progress() {
        let task = |name: &str, loss, accuracy| TaskProgress { name: name.into(), loss, accuracy };
        let progress = Progress {
            epoch: 1,
            epochs: 3,
            step_in_epoch: 40,
            steps_per_epoch: 189,
            step: 40,
            total_steps: 567,
            loss: 0.91234,
            tasks: vec![
                task("topic", Some(0.414), Some(0.841)),
                task("urgency", Some(0.5), None),
                task("rare", None, None),
            ],
            gradient_norm: 1.0,
            learning_rate: 4.6e-5,
            texts_per_second: 312.4,
            hooks: Vec::new(),
        };
        assert_eq!(
            progress.to_string(),
            "epoch 1/3 step 40/189 · loss 0.9123 · topic loss 0.41 acc 84.1% · urgency loss 0.50 \
             · 312 texts/s · lr 4.6e-5"
        );
    }
}
