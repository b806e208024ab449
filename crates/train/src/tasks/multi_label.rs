//! Any of several labels.

use super::loss::sigmoid_cross_entropy;
use super::{
    AnsweredRows, Calibration, ChosenRows, Labelled, MultiLabelCounter, MultiLabelMetrics,
    Objective, RowAnswers, RunningAccuracy, SplitAnswers, TaskMetrics, TaskRules,
    binary_cross_entropy, binary_cross_entropy_normaliser, given_labels, kept_temperature,
    kept_thresholds, threshold_at,
};

use polyhead_files::Cell;
use polyhead_model::HeadSpec;

use crate::data::{RawLabel, TaskLabels, set};

pub(super) struct MultiLabel;

impl TaskRules for MultiLabel {
    fn has_alike_rows(&self) -> bool {
        true
    }

    fn read_label(&self, cell: Cell) -> Result<RawLabel, String> {
        set(cell)
    }

    fn empty_label(&self) -> Option<RawLabel> {
        Some(RawLabel::Cell(String::new()))
    }

    fn unlabelled(&self, rows: usize) -> TaskLabels {
        TaskLabels::Sets(vec![None; rows])
    }

    fn expected_labels(&self) -> &'static str {
        "a label"
    }

    fn own_keys(&self) -> &'static [&'static str] {
        &["positive_weights", "separator", "empty", "label_matching"]
    }

    fn loss(&self, objective: &Objective, rows: Labelled, factor: f64, out: &mut [f32]) -> f64 {
        let (targets, weights) = (rows.targets.sets(), objective.positive_weights());
        binary_cross_entropy(rows.logits, rows.outputs, targets, weights, factor, out)
    }

    fn normaliser(&self, objective: &Objective, targets: &TaskLabels) -> f64 {
        binary_cross_entropy_normaliser(targets.sets(), objective.outputs())
    }

    fn distillation(&self, logits: &[f32], teacher: &[f32], factor: f64, out: &mut [f32]) -> f64 {
        sigmoid_cross_entropy(logits, teacher, factor, out)
    }

    fn distillation_normaliser(&self, rows: usize, outputs: usize) -> f64 {
        (rows * outputs) as f64
    }

    fn count(&self, accuracy: &mut RunningAccuracy, rows: Labelled) {
        accuracy.add_sets(rows.logits, rows.outputs, rows.targets.sets());
    }

    fn metric_names(&self) -> &'static [&'static str] {
        MultiLabelMetrics::NAMES
    }

    fn main_metric(&self) -> &'static str {
        "f1_micro"
    }

    fn row_answers(&self, answers: &SplitAnswers) -> Option<RowAnswers> {
        let head = answers.head;
        let rows = answers.rows().zip(answers.labels().sets());
        let labelled = rows.filter_map(|(logits, set)| {
            Some((given_labels(logits, head.temperature, &head.thresholds), set.clone()?))
        });
        Some(RowAnswers::Sets(labelled.collect()))
    }

    fn score_rows(&self, rows: ChosenRows) -> Option<TaskMetrics> {
        let mut counter = MultiLabelCounter::new(rows.names.head);
        counter.loss = rows.loss;
        rows.sets().for_each(|(given, set)| counter.add(given, set));
        counter.finish().map(TaskMetrics::MultiLabel)
    }

    fn calibrate(&self, rows: Labelled, texts: &[usize], temperature: f32) -> Option<Calibration> {
        let rows = AnsweredRows::sets(rows.logits, rows.outputs, rows.targets.sets());
        kept_temperature(&rows, texts, temperature)
    }

    fn thresholds(&self, rows: Labelled, head: &HeadSpec, temperature: f32) -> (Vec<f32>, usize) {
        let here = |threshold: &f32| threshold_at(*threshold, head.temperature, temperature);
        let current: Vec<f32> = head.thresholds.iter().map(here).collect();
        kept_thresholds(rows, temperature, &current)
    }
}
