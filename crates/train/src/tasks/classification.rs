//! One of several labels.

use super::{
    ClassificationCounter, ClassificationMetrics, SplitAnswers, TaskMetrics, TaskRules, argmax,
};

use polyhead_files::Cell;

use crate::data::{RawLabel, TaskLabels, class};

pub(super) struct Classification;

impl TaskRules for Classification {
    fn has_alike_rows(&self) -> bool {
        true
    }

    fn read_label(&self, cell: Cell) -> Result<RawLabel, String> {
        class(cell).map(RawLabel::Class)
    }

    fn unlabelled(&self, rows: usize) -> TaskLabels {
        TaskLabels::Classes(vec![None; rows])
    }

    fn own_keys(&self) -> &'static [&'static str] {
        &["class_weights", "label_smoothing", "label_matching"]
    }

    fn metric_names(&self) -> &'static [&'static str] {
        ClassificationMetrics::NAMES
    }

    fn main_metric(&self) -> &'static str {
        "accuracy"
    }

    fn score(&self, answers: &SplitAnswers) -> Option<TaskMetrics> {
        let mut counter = ClassificationCounter::new(&answers.head.labels);
        counter.loss = answers.loss;
        for (logits, label) in answers.rows().zip(answers.labels().classes()) {
            if let Some(label) = label {
                counter.add(argmax(logits) as u32, *label);
            }
        }
        counter.finish().map(TaskMetrics::Classification)
    }
}
