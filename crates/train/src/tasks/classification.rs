//! One of several labels.

use super::{
    Chosen, ClassificationCounter, ClassificationMetrics, LabelNames, RowAnswers, SplitAnswers,
    TaskMetrics, TaskRules, argmax,
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

    fn row_answers(&self, answers: &SplitAnswers) -> Option<RowAnswers> {
        Some(answers.class_answers(argmax))
    }

    fn score_rows(
        &self,
        names: LabelNames,
        rows: &RowAnswers,
        chosen: Chosen,
        loss: Option<f64>,
    ) -> Option<TaskMetrics> {
        let mut counter = ClassificationCounter::new(names.head);
        counter.loss = loss;
        for (given, target) in chosen.map(|row| rows.classes()[row]) {
            counter.add(given, target);
        }
        counter.finish().map(TaskMetrics::Classification)
    }
}
