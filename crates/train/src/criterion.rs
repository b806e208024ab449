//! What the best model is chosen by.

use crate::config::{RunConfig, TaskSettings};
use crate::error::{Error, ErrorKind};
use crate::metric::{TaskMetrics, larger_is_better, main_metric, metric_names};

/// The metric that stands for a task.
pub(crate) fn metric_of(task: &TaskSettings) -> &str {
    task.metric.as_deref().unwrap_or(main_metric(task.kind))
}

/// Says what is wrong with `best`, if anything is.
///
/// # Errors
/// [`ErrorKind::Config`] naming the tasks or metrics that there are.
pub(crate) fn check(config: &RunConfig) -> Result<(), Error> {
    let best = &config.train.best;
    if best == "mean" {
        return Ok(());
    }
    let fail = |message: String| {
        let message = format!("train.best: {message}, found `{best}`");
        Err(Error::new(ErrorKind::Config, message))
    };
    let (name, metric) = best.split_once('.').unwrap_or((best, ""));
    let Some(task) = config.tasks.iter().find(|task| task.name == name) else {
        let names: Vec<&str> = config.tasks.iter().map(|task| task.name.as_str()).collect();
        return fail(format!("expected `mean` or TASK.METRIC with one of {}", names.join(", ")));
    };
    match metric_names(task.kind).contains(&metric) {
        true => Ok(()),
        false => {
            fail(format!("expected a metric of {name}: {}", metric_names(task.kind).join(", ")))
        }
    }
}

/// Larger is better; `None` where no metric is there, as without dev data.
///
/// - `metrics`: one per task
pub(crate) fn criterion(config: &RunConfig, metrics: &[Option<TaskMetrics>]) -> Option<f64> {
    let value = |index: usize, metric: &str| {
        let value = metrics[index].as_ref()?.get(metric);
        // A correlation with a constant is no value: the worst that there is.
        let value = value.unwrap_or(if larger_is_better(metric) { -1.0 } else { f64::MAX });
        Some(if larger_is_better(metric) { value } else { -value })
    };
    if let Some((name, metric)) = config.train.best.split_once('.') {
        let index = config.tasks.iter().position(|task| task.name == name)?;
        return value(index, metric);
    }
    let tasks = config.tasks.iter().enumerate();
    let values: Vec<f64> =
        tasks.filter_map(|(index, task)| value(index, metric_of(task))).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The best evaluation so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Best {
    /// Its criterion; `None` before the first.
    pub(crate) score: Option<f64>,
    /// Steps done before it.
    pub(crate) step: u64,
    /// Evaluations since then.
    pub(crate) since: u64,
}

impl Best {
    /// Takes another evaluation in; says whether it is better than all before.
    pub(crate) fn update(&mut self, score: Option<f64>, step: u64) -> bool {
        let better = match (score, self.score) {
            (Some(score), Some(best)) => score > best,
            (Some(_), None) => true,
            (None, _) => false,
        };
        match better {
            true => *self = Self { score, step, since: 0 },
            false => self.since += 1,
        }
        better
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
