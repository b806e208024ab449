//! What a run tells while it goes on.

use crate::data::DataReport;
use crate::run::finish::RunSummary;
use crate::tasks::TaskMetrics;

/// Listens to a run: prints, draws a bar, sends numbers elsewhere.
pub trait Observer {
    /// Something has happened.
    fn observe(&mut self, event: &Event);
}

/// What can happen.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A remark that a user should see.
    Notice(&'a str),
    /// The data were read and looked through.
    DataChecked(&'a DataReport),
    /// Everything is settled: lines for people on tasks, rates and freezing.
    Planned(&'a [String]),
    /// Another phase of freezing begins; the line says what trains from this step on.
    Phase {
        /// The first step of it.
        step: u64,
        /// As in the plan.
        line: &'a str,
    },
    /// A step was done.
    Step(&'a Progress),
    /// It is time for a line: means over the steps since the last one.
    Logged(&'a Progress),
    /// Metrics on dev.
    Evaluated(&'a Evaluated),
    /// A checkpoint stands.
    Checkpointed {
        /// The steps in it.
        step: u64,
    },
    /// The run has come to its end.
    Finished(&'a RunSummary),
}

/// Where a run stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// From 1.
    pub epoch: u64,
    /// Of the run.
    pub epochs: u64,
    /// In the epoch, from 1.
    pub step_in_epoch: u64,
    /// Of an epoch.
    pub steps_per_epoch: u64,
    /// Of the run, from 1.
    pub step: u64,
    /// Of the run.
    pub total_steps: u64,
    /// Weighted sum over tasks.
    pub loss: f64,
    /// In the order of the tasks.
    pub tasks: Vec<TaskProgress>,
    /// Of the gradient before clipping.
    pub gradient_norm: f64,
    /// Of the encoder's top.
    pub learning_rate: f64,
    /// Without evaluations and checkpoints.
    pub texts_per_second: f64,
}

/// Where a task stands.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskProgress {
    /// The task's name.
    pub name: String,
    /// `None` if no row had its label.
    pub loss: Option<f64>,
    /// `None` for regression, and if no row had its label.
    pub accuracy: Option<f64>,
}

/// Metrics on dev.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated {
    /// Steps done before.
    pub step: u64,
    /// From 1; 0 before the first step.
    pub epoch: u64,
    /// Name, metrics and main metric of each task that has labels there.
    pub tasks: Vec<(String, Option<TaskMetrics>)>,
    /// What the best model is chosen by, larger is better; `None` without dev data.
    pub score: Option<f64>,
    /// Whether it is the best so far.
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
        };
        assert_eq!(
            progress.to_string(),
            "epoch 1/3 step 40/189 · loss 0.9123 · topic loss 0.41 acc 84.1% · urgency loss 0.50 \
             · 312 texts/s · lr 4.6e-5"
        );
    }
}
