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

/// The best evaluation so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Best {
    /// Score of that evaluation; `None` before the first.
    pub(crate) score: Option<f64>,
    /// Number of steps done before it.
    pub(crate) step: u64,
    /// Number of evaluations since then.
    pub(crate) since: u64,
}

impl Best {
    /// Adds an evaluation; returns whether it is better than all before.
    pub(crate) fn update(&mut self, score: Option<f64>, step: u64) -> bool {
        let better = match (score, self.score) {
            (Some(score), Some(best)) => score > best,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if better {
            *self = Self { score, step, since: 0 };
        } else {
            self.since += 1;
        }
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
    fn only_more_is_better() {
        let mut best = Best::default();
        assert!(!best.update(None, 1));
        assert!(best.update(Some(0.5), 2));
        assert!(!best.update(Some(0.5), 3));
        assert_eq!(best, Best { score: Some(0.5), step: 2, since: 1 });
        assert!(best.update(Some(0.6), 4));
        assert_eq!(best.since, 0);
    }
}
