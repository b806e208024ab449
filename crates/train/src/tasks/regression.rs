//! A number.

use super::loss::squared_distance;
use super::{
    Calibration, Labelled, Objective, RegressionCounter, RegressionMetrics, RunningAccuracy,
    SplitAnswers, TaskMetrics, TaskRules, squared_error, squared_error_normaliser,
};

use polyhead_files::Cell;

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
        &[]
    }

    fn loss(&self, _: &Objective, rows: Labelled, factor: f64, out: &mut [f32]) -> f64 {
        squared_error(rows.logits, rows.targets.numbers(), factor, out)
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

    fn score(&self, answers: &SplitAnswers) -> Option<TaskMetrics> {
        let mut counter = RegressionCounter::new();
        counter.loss = answers.loss;
        for (logits, label) in answers.rows().zip(answers.labels().numbers()) {
            if let Some(label) = label {
                counter.add(logits[0], *label);
            }
        }
        counter.finish().map(TaskMetrics::Regression)
    }

    fn calibrate(&self, _: Labelled) -> Option<Calibration> {
        None
    }
}
