//! One of several labels.

use super::{
    ChosenRows, ClassificationCounter, ClassificationMetrics, RowAnswers, SplitAnswers,
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

    fn score_rows(&self, rows: ChosenRows) -> Option<TaskMetrics> {
        let mut counter = ClassificationCounter::new(rows.names.head);
        counter.loss = rows.loss;
        rows.classes().for_each(|(given, target)| counter.add(given, target));
        counter.finish().map(TaskMetrics::Classification)
    }
}
