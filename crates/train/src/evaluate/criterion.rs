//! The criterion that chooses the best model.

use crate::config::{RunConfig, TaskSettings};
use crate::tasks::{TaskMetrics, larger_is_better, main_metric};

/// The main metric of a task.
pub(crate) fn metric_of(task: &TaskSettings) -> &str {
    task.metric.as_deref().unwrap_or(main_metric(task.kind))
}

/// The metric of each task that has a part in the choice of the best model; `None` for others.
pub(crate) fn choosing_metrics(config: &RunConfig) -> Vec<Option<&str>> {
    let named = config.train.best.split_once('.');
    let metric = |task| match named {
        None => Some(metric_of(task)),
        Some((name, metric)) => (task.name == name).then_some(metric),
    };
    config.tasks.iter().map(metric).collect()
}

/// Score of an evaluation; larger is better. `None` without dev data, or if a metric has no value,
/// such as a correlation with a constant: a mean over fewer tasks could not be compared with the
/// others.
///
/// - `metrics`: one per task
pub(crate) fn criterion(config: &RunConfig, metrics: &[Option<TaskMetrics>]) -> Option<f64> {
    let sign = |metric: &str| if larger_is_better(metric) { 1.0 } else { -1.0 };
    if let Some((name, metric)) = config.train.best.split_once('.') {
        let index = config.tasks.iter().position(|task| task.name == name)?;
        return Some(sign(metric) * metrics[index].as_ref()?.get(metric)?);
    }
    let judged = config.tasks.iter().zip(metrics).filter_map(|(task, metrics)| {
        let metric = metric_of(task);
        Some(metrics.as_ref()?.get(metric).map(|value| sign(metric) * value))
    });
    let values: Vec<f64> = judged.collect::<Option<_>>()?;
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The weighted sum of the losses on dev of the tasks that choose the best model; infinite if one
/// of them is not finite.
///
/// - `metrics`: one per task
pub(crate) fn deciding_loss(config: &RunConfig, metrics: &[Option<TaskMetrics>]) -> f64 {
    let choosing = choosing_metrics(config);
    let tasks = config.tasks.iter().zip(metrics).zip(choosing);
    let losses = tasks.filter_map(|((task, metrics), choosing)| {
        choosing?;
        Some(f64::from(task.weight.get()) * metrics.as_ref()?.get("loss")?)
    });
    Some(losses.sum()).filter(|loss: &f64| loss.is_finite()).unwrap_or(f64::INFINITY)
}

/// The best evaluation so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Best {
    /// Score of that evaluation; `None` before the first.
    pub(crate) score: Option<f64>,
    /// Loss of that evaluation, which decides between equal scores.
    pub(crate) loss: f64,
    /// Number of steps done before it.
    pub(crate) step: u64,
    /// Number of evaluations since then.
    pub(crate) since: u64,
}

impl Default for Best {
    fn default() -> Self {
        Self { score: None, loss: f64::INFINITY, step: 0, since: 0 }
    }
}

impl Best {
    /// Adds an evaluation; returns true if it is better than all before, or as good with a lower
    /// loss. Only a better score ends a wait for improvement.
    pub(crate) fn update(&mut self, score: Option<f64>, loss: f64, step: u64) -> bool {
        let rises = match (score, self.score) {
            (Some(score), Some(best)) => score > best,
            (Some(_), None) => true,
            (None, _) => false,
        };
        let better = rises || score.is_some() && score == self.score && loss < self.loss;
        let since = if rises { 0 } else { self.since + 1 };
        *self = match better {
            true => Self { score, loss, step, since },
            false => Self { since, ..*self },
        };
        better
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(best: &str, metric: &str) -> RunConfig {
        let text = format!(
            "data.train = \"a.jsonl\"\ntrain.best = \"{best}\"\n\
             [[task]]\nname = \"a\"\nkind = \"regression\"\nmetric = \"{metric}\"\n\
             [[task]]\nname = \"b\"\nkind = \"regression\"\nmetric = \"mse\"\n"
        );
        RunConfig::parse(&text, std::path::Path::new("c.toml"), &[]).expect("a configuration")
    }

    /// Metrics of the answers 1 and 2 for these targets.
    fn metrics(targets: [f32; 2]) -> Option<TaskMetrics> {
        let mut counter = crate::tasks::RegressionCounter::new();
        counter.add(1.0, targets[0]);
        counter.add(2.0, targets[1]);
        counter.loss = Some(f64::from(targets[0]));
        counter.finish().map(TaskMetrics::Regression)
    }

    #[test]
    fn a_metric_without_a_value_chooses_nothing() {
        let mean = config("mean", "spearman");
        // Spearman is 1 up to rounding, and the other score is the negative of a squared error of
        // 0 and 1.
        let near = |found: Option<f64>, expected: f64| {
            assert!(
                (found.expect("a value") - expected).abs() < 1e-12,
                "{found:?}, not {expected}"
            );
        };
        near(criterion(&mean, &[metrics([3.0, 4.0]), metrics([2.0, 2.0])]), 0.25);
        near(criterion(&mean, &[metrics([3.0, 4.0]), None]), 1.0);
        assert_eq!(criterion(&mean, &[metrics([3.0, 3.0]), metrics([2.0, 2.0])]), None);
        assert_eq!(criterion(&mean, &[None, None]), None);
        let one = config("b.mse", "spearman");
        assert_eq!(criterion(&one, &[metrics([3.0, 3.0]), metrics([2.0, 2.0])]), Some(-0.5));
        assert_eq!(criterion(&one, &[metrics([3.0, 4.0]), None]), None);
    }

    #[test]
    fn a_better_score_wins_then_a_lower_loss_then_the_earlier_step() {
        struct Case {
            evaluation: (Option<f64>, f64),
            better: bool,
            since: u64,
        }
        let case = |score, loss, better, since| Case { evaluation: (score, loss), better, since };
        let mut best = Best::default();
        for (step, Case { evaluation, better, since }) in [
            case(None, 0.1, false, 1),
            case(Some(0.0), 0.9, true, 0),
            // Nothing is right yet, and the loss falls.
            case(Some(0.0), 0.8, true, 1),
            case(Some(0.0), 0.8, false, 2),
            case(Some(0.0), f64::INFINITY, false, 3),
            case(None, 0.1, false, 4),
            case(Some(0.5), 2.0, true, 0),
            case(Some(0.4), 0.1, false, 1),
            case(Some(0.5), 1.0, true, 2),
        ]
        .into_iter()
        .enumerate()
        {
            let (score, loss) = evaluation;
            let before = best;
            assert_eq!(best.update(score, loss, step as u64), better, "{step}");
            let expected = match better {
                true => Best { score, loss, step: step as u64, since },
                false => Best { since, ..before },
            };
            assert_eq!(best, expected, "{step}");
        }
    }

    #[test]
    fn the_loss_is_that_of_the_tasks_that_choose() {
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found}");
        let all = [metrics([2.0, 2.0]), metrics([4.0, 2.0])];
        let mut mean = config("mean", "spearman");
        close(deciding_loss(&mean, &all), 6.0);
        mean.tasks[1].weight = 0.5.try_into().expect("in range");
        close(deciding_loss(&mean, &all), 4.0);
        close(deciding_loss(&config("b.mse", "spearman"), &all), 4.0);
        close(deciding_loss(&mean, &[None, None]), 0.0);
    }
}
