//! A number.

use super::loss::squared_distance;
use super::{
    Calibration, ChosenRows, Labelled, Objective, RegressionCounter, RegressionMetrics, RowAnswers,
    RunningAccuracy, SplitAnswers, TaskMetrics, TaskRules, squared_error, squared_error_normaliser,
};

use polyhead_files::Cell;
use polyhead_model::TargetScale;

use crate::data::{RawLabel, TaskLabels, number};

pub(super) struct Regression;

impl TaskRules for Regression {
    fn read_label(&self, cell: Cell) -> Result<RawLabel, String> {
        number(cell).map(RawLabel::Number)
    }

    fn unlabelled(&self, rows: usize) -> TaskLabels {
        TaskLabels::Numbers(vec![None; rows])
    }

    fn own_keys(&self) -> &'static [&'static str] {
        &["standardize", "range"]
    }

    fn loss(&self, objective: &Objective, rows: Labelled, factor: f64, out: &mut [f32]) -> f64 {
        let targets = rows.targets.numbers();
        let Some(scale) = objective.target else {
            return squared_error(rows.logits, targets, factor, out);
        };
        let targets: Vec<Option<f32>> =
            targets.iter().map(|target| target.map(|target| scale.standardized(target))).collect();
        squared_error(rows.logits, &targets, factor, out)
    }

    fn target_scale(&self, train: &TaskLabels) -> Option<TargetScale> {
        scale_of(train.numbers())
    }

    fn normaliser(&self, _: &Objective, targets: &TaskLabels) -> f64 {
        squared_error_normaliser(targets.numbers())
    }

    fn distillation(&self, logits: &[f32], teacher: &[f32], factor: f64, out: &mut [f32]) -> f64 {
        squared_distance(logits, teacher, factor, out)
    }

    fn count(&self, _: &mut RunningAccuracy, _: Labelled) {}

    fn metric_names(&self) -> &'static [&'static str] {
        RegressionMetrics::NAMES
    }

    fn main_metric(&self) -> &'static str {
        "spearman"
    }

    fn row_answers(&self, answers: &SplitAnswers) -> Option<RowAnswers> {
        let rows = answers.rows().zip(answers.labels().numbers());
        let labelled = rows.filter_map(|(logits, label)| {
            Some((answers.head.number(logits[0]).into(), (*label)?.into()))
        });
        Some(RowAnswers::Numbers(labelled.collect()))
    }

    fn score_rows(&self, rows: ChosenRows) -> Option<TaskMetrics> {
        let mut counter = RegressionCounter::new();
        counter.loss = rows.loss;
        // Both were single precision: nothing is lost.
        rows.numbers().for_each(|(given, target)| counter.add(given as f32, target as f32));
        counter.finish().map(TaskMetrics::Regression)
    }

    fn calibrate(&self, _: Labelled, _: &[usize], _: f32) -> Option<Calibration> {
        None
    }
}

/// The largest distance of a mean from 0, and the deviations, with which a head learns targets well
/// as they are. It begins at 0 and moves by about its learning rate a step: ratings of 0 to 5 and
/// scores of 0 to 1 are within its reach, years, prices and percentages are not.
const NEAR_MEAN: f64 = 10.0;
const NEAR_DEVIATIONS: std::ops::RangeInclusive<f64> = 0.1..=10.0;

/// Returns true if a head learns targets of this scale well as they are.
pub(crate) fn near_zero(scale: TargetScale) -> bool {
    let (mean, deviation) = (f64::from(scale.mean), f64::from(scale.deviation));
    mean.abs() <= NEAR_MEAN && NEAR_DEVIATIONS.contains(&deviation)
}

/// Mean and standard deviation of the targets. Where all targets are equal, the deviation says
/// nothing about them and is taken as 1.
fn scale_of(targets: &[Option<f32>]) -> Option<TargetScale> {
    let targets = || targets.iter().flatten().map(|target| f64::from(*target));
    let rows = targets().count();
    if rows == 0 {
        return None;
    }
    let mean = targets().sum::<f64>() / rows as f64;
    let squares: f64 = targets().map(|target| (target - mean).powi(2)).sum();
    let mut deviation = (squares / rows as f64).sqrt();
    let first = targets().next();
    // A mean is rounded, so equal targets need not have a deviation of 0.
    if targets().all(|target| Some(target) == first) || deviation as f32 == 0.0 {
        deviation = 1.0;
    }
    Some(TargetScale { mean: mean as f32, deviation: deviation as f32 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(targets: &[f32]) -> Option<(f32, f32)> {
        let mut targets: Vec<Option<f32>> = targets.iter().copied().map(Some).collect();
        targets.insert(0, None);
        scale_of(&targets).map(|scale| (scale.mean, scale.deviation))
    }

    #[test]
    fn targets_have_a_mean_and_a_deviation() {
        for (targets, expected, near) in [
            (&[-1.0, 1.0][..], (0.0, 1.0), true),
            (&[1.0, 2.0], (1.5, 0.5), true),
            (&[1.0, 10.0, 1.0, 10.0], (5.5, 4.5), true),
            (&[1000.0, 2000.0], (1500.0, 500.0), false),
            (&[2015.0, 2017.0], (2016.0, 1.0), false),
            (&[-40.0, 40.0], (0.0, 40.0), false),
            (&[0.25, 0.375], (0.3125, 0.0625), false),
            (&[-1e15, 1e15], (0.0, 1e15), false),
            // Equal ones.
            (&[4.0], (4.0, 1.0), true),
            (&[0.1, 0.1, 0.1], (0.1, 1.0), true),
            (&[1000.0, 1000.0], (1000.0, 1.0), false),
            (&[77.7, 77.7, 77.7], (77.7, 1.0), false),
        ] {
            assert_eq!(scale(targets), Some(expected), "{targets:?}");
            let (mean, deviation) = expected;
            assert_eq!(near_zero(TargetScale { mean, deviation }), near, "{targets:?}");
        }
        assert_eq!(scale(&[]), None);
    }

    #[test]
    fn the_loss_compares_with_standardized_targets() {
        let scale = TargetScale { mean: 1500.0, deviation: 500.0 };
        let mut objective = Objective::new(crate::tasks::kinds::Regression, 1);
        let targets = TaskLabels::Numbers(vec![Some(2000.0), None, Some(1000.0)]);
        let plain = TaskLabels::Numbers(vec![Some(1.0), None, Some(-1.0)]);
        let logits = [0.5, 9.0, 0.25];
        let (mut found, mut expected) = ([0.0; 3], [0.0; 3]);
        let sum = objective.loss(&logits, &plain, 0.5, &mut expected);
        objective.target = Some(scale);
        assert_eq!(objective.loss(&logits, &targets, 0.5, &mut found), sum);
        assert_eq!(found, expected);
    }
}
