//! Sums over the steps between two lines of progress.
//!
//! The sums are part of the training state, bit by bit: a run that is resumed between two lines
//! writes the same line as an uninterrupted run.

use crate::run::events::TaskProgress;
use crate::step::StepOutcome;
use crate::tasks::RunningAccuracy;

/// Sums since the last line of progress.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LogWindow {
    steps: u64,
    loss: f64,
    gradient_norm: f64,
    texts: u64,
    tasks: Vec<TaskWindow>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct TaskWindow {
    /// Number of steps in which the task had a label.
    steps: u64,
    loss: f64,
    accuracy: RunningAccuracy,
}

/// Number of saved words per task.
const TASK_WORDS: usize = 4;
/// Number of saved words before those of the tasks.
const HEAD_WORDS: usize = 4;

impl LogWindow {
    pub(crate) fn new(tasks: usize) -> Self {
        Self { tasks: vec![TaskWindow::default(); tasks], ..Self::default() }
    }

    pub(crate) fn add(&mut self, outcome: &StepOutcome) {
        self.steps += 1;
        self.loss += outcome.loss;
        self.gradient_norm += outcome.gradient_norm;
        self.texts += outcome.texts as u64;
        for (window, task) in self.tasks.iter_mut().zip(&outcome.tasks) {
            if let Some(loss) = task.loss {
                window.steps += 1;
                window.loss += loss;
            }
            window.accuracy.merge(task.accuracy);
        }
    }

    /// Mean loss and mean norm of the gradients of the steps, and the number of their texts.
    pub(crate) fn means(&self) -> (f64, f64, u64) {
        let steps = self.steps.max(1) as f64;
        (self.loss / steps, self.gradient_norm / steps, self.texts)
    }

    /// Mean loss and accuracy of each task.
    pub(crate) fn tasks<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<TaskProgress> {
        self.tasks
            .iter()
            .zip(names)
            .map(|(task, name)| TaskProgress {
                name: name.to_owned(),
                loss: (task.steps > 0).then(|| task.loss / task.steps as f64),
                accuracy: task.accuracy.get(),
            })
            .collect()
    }

    /// All sums as bits.
    pub(crate) fn to_words(&self) -> Vec<u64> {
        let mut words =
            vec![self.steps, self.loss.to_bits(), self.gradient_norm.to_bits(), self.texts];
        for task in &self.tasks {
            let (right, rows) = task.accuracy.counts();
            words.extend([task.steps, task.loss.to_bits(), right, rows]);
        }
        words
    }

    /// Restores the sums from [`to_words`](Self::to_words); `None` if the number of words does not
    /// fit `tasks` tasks.
    pub(crate) fn from_words(words: &[u64], tasks: usize) -> Option<Self> {
        if words.len() != HEAD_WORDS + TASK_WORDS * tasks {
            return None;
        }
        Some(Self {
            steps: words[0],
            loss: f64::from_bits(words[1]),
            gradient_norm: f64::from_bits(words[2]),
            texts: words[3],
            tasks: words[HEAD_WORDS..]
                .chunks_exact(TASK_WORDS)
                .map(|task| TaskWindow {
                    steps: task[0],
                    loss: f64::from_bits(task[1]),
                    accuracy: RunningAccuracy::from_counts((task[2], task[3])),
                })
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::TaskStep;

    #[test]
    fn saved_sums_are_the_same_to_the_bit() {
        let mut window = LogWindow::new(2);
        for loss in [0.1, 0.2, 0.7] {
            let task = TaskStep { loss: Some(loss), ..TaskStep::default() };
            window.add(&StepOutcome {
                loss,
                tasks: vec![task, TaskStep::default()],
                gradient_norm: 1.0 / 3.0,
                texts: 4,
                tokens: 9,
            });
        }
        let words = window.to_words();
        assert_eq!(LogWindow::from_words(&words, 2), Some(window.clone()));
        assert_eq!(LogWindow::from_words(&words, 1), None);
        let tasks = window.tasks(["a", "b"].into_iter());
        assert!((tasks[0].loss.unwrap() - 1.0 / 3.0).abs() < 1e-15);
        assert_eq!(tasks[1].loss, None);
    }
}
