//! One of several labels.

use super::loss::softened_cross_entropy;
use super::{
    Calibration, ClassificationCounter, ClassificationMetrics, Objective, RunningAccuracy,
    SplitAnswers, Targets, TaskMetrics, TaskRules, argmax, calibrate_classes, cross_entropy,
};

use polyhead_files::Cell;

use crate::data::{RawLabel, TaskLabels, class};

pub(super) struct Classification;

impl TaskRules for Classification {
    fn read_label(&self, cell: Cell) -> Result<Option<RawLabel>, String> {
        class(cell).map(|label| Some(RawLabel::Class(label)))
    }

    fn unlabelled(&self, rows: usize) -> TaskLabels {
        TaskLabels::Classes(vec![None; rows])
    }

    fn loss_keys(&self) -> &'static [&'static str] {
        &["class_weights", "label_smoothing"]
    }

    fn loss(
        &self,
        objective: &Objective,
        logits: &[f32],
        targets: &Targets,
        factor: f64,
        dlogits: &mut [f32],
    ) -> f64 {
        let (outputs, options) = (objective.outputs(), objective.cross_entropy());
        cross_entropy(logits, outputs, targets.classes(), options, factor, dlogits)
    }

    fn normaliser(&self, objective: &Objective, targets: &Targets) -> f64 {
        objective.cross_entropy().normaliser(targets.classes())
    }

    fn distillation(&self, logits: &[f32], teacher: &[f32], factor: f64, out: &mut [f32]) -> f64 {
        softened_cross_entropy(logits, teacher, factor, out)
    }

    fn count(
        &self,
        accuracy: &mut RunningAccuracy,
        logits: &[f32],
        outputs: usize,
        targets: &Targets,
    ) {
        accuracy.add_classes(logits, outputs, targets.classes());
    }

    fn metric_names(&self) -> &'static [&'static str] {
        ClassificationMetrics::NAMES
    }

    fn main_metric(&self) -> &'static str {
        "accuracy"
    }

    fn score(&self, answers: &SplitAnswers) -> Option<TaskMetrics> {
        let mut counter = ClassificationCounter::new(&answers.head.labels);
        counter.add_loss(answers.loss.0, answers.loss.1);
        for (logits, label) in answers.rows().zip(answers.labels().classes()) {
            if let Some(label) = label {
                counter.add(argmax(logits) as u32, *label);
            }
        }
        counter.finish().map(TaskMetrics::Classification)
    }

    fn calibrate(&self, logits: &[f32], outputs: usize, targets: &Targets) -> Option<Calibration> {
        calibrate_classes(logits, outputs, targets.classes())
    }
}
