//! One of several labels that have an order.

use std::collections::BTreeSet;

use super::loss::{expected_ordinal, ordinal, ordinal_normaliser, rank_probability};
use super::{
    AnsweredRows, Calibration, ChosenRows, Labelled, Objective, OrdinalCounter, OrdinalMetrics,
    RowAnswers, RunningAccuracy, SplitAnswers, TaskMetrics, TaskRules, kept_temperature,
};

use polyhead_files::{Cell, listed, quoted};
use polyhead_model::ordinal_answer;

use crate::data::{RawLabel, TaskLabels, class};

pub(super) struct Ordinal;

/// The number that a label spells.
fn number(label: &str) -> Option<f64> {
    label.parse().ok().filter(|number: &f64| number.is_finite())
}

impl TaskRules for Ordinal {
    fn read_label(&self, cell: Cell) -> Result<RawLabel, String> {
        class(cell).map(RawLabel::Class)
    }

    fn unlabelled(&self, rows: usize) -> TaskLabels {
        TaskLabels::Classes(vec![None; rows])
    }

    /// Numbers in their order; [`check_found`](Self::check_found) refuses other labels.
    fn order_labels(&self, names: BTreeSet<&str>) -> Vec<String> {
        let mut names: Vec<&str> = names.into_iter().collect();
        let value = |name: &str| number(name).unwrap_or(f64::INFINITY);
        names.sort_by(|a, b| value(a).total_cmp(&value(b)));
        names.into_iter().map(str::to_owned).collect()
    }

    fn check_found(&self, labels: &[String]) -> Result<(), String> {
        if let Some(label) = labels.iter().find(|label| number(label).is_none()) {
            return Err(format!(
                "labels: expected the labels in their order, such as `labels = [\"bad\", \"ok\", \
                 \"good\"]`; without the key they have to be numbers, found {} among {}",
                quoted(label),
                listed(labels)
            ));
        }
        match labels.windows(2).find(|two| number(&two[0]) == number(&two[1])) {
            Some(two) => Err(format!(
                "labels: expected numbers that differ, found {} and {}; `label_matching = \
                 \"normalized\"` makes them one",
                quoted(&two[0]),
                quoted(&two[1])
            )),
            None => Ok(()),
        }
    }

    fn has_order(&self) -> bool {
        true
    }

    fn own_keys(&self) -> &'static [&'static str] {
        &["label_matching"]
    }

    fn loss(&self, _: &Objective, rows: Labelled, factor: f64, out: &mut [f32]) -> f64 {
        ordinal(rows.logits, rows.outputs, rows.targets.classes(), factor, out)
    }

    fn normaliser(&self, objective: &Objective, targets: &TaskLabels) -> f64 {
        ordinal_normaliser(targets.classes(), objective.outputs())
    }

    fn distillation(&self, logits: &[f32], teacher: &[f32], factor: f64, out: &mut [f32]) -> f64 {
        expected_ordinal(logits, teacher, factor, out)
    }

    fn answer(&self, logits: &[f32], temperature: f64) -> (usize, f64) {
        let label = ordinal_answer(logits);
        (label, rank_probability(logits, label, temperature))
    }

    fn count(&self, accuracy: &mut RunningAccuracy, rows: Labelled) {
        let answers = rows.logits.chunks_exact(rows.outputs).zip(rows.targets.classes());
        for (logits, target) in answers {
            if let Some(target) = target {
                accuracy.add(ordinal_answer(logits) == *target as usize);
            }
        }
    }

    fn metric_names(&self) -> &'static [&'static str] {
        OrdinalMetrics::NAMES
    }

    /// It falls with every kind of error: a wrong order, answers that are all too high, and labels
    /// far from the right one, which accuracy takes like near ones and Spearman's correlation only as
    /// far as the order is wrong.
    fn main_metric(&self) -> &'static str {
        "quadratic_kappa"
    }

    fn row_answers(&self, answers: &SplitAnswers) -> Option<RowAnswers> {
        Some(answers.class_answers(ordinal_answer))
    }

    fn score_rows(&self, rows: ChosenRows) -> Option<TaskMetrics> {
        let mut counter = OrdinalCounter::new(rows.names.head);
        counter.loss = rows.loss;
        rows.classes().for_each(|(given, target)| counter.add(given, target));
        counter.finish().map(TaskMetrics::Ordinal)
    }

    fn calibrate(&self, rows: Labelled, texts: &[usize], temperature: f32) -> Option<Calibration> {
        let rows = AnsweredRows::ordinal(rows.logits, rows.outputs, rows.targets.classes());
        kept_temperature(&rows, texts, temperature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_numbers_in_their_order_or_given() {
        let order = |names: &[&str]| Ordinal.order_labels(names.iter().copied().collect());
        assert_eq!(order(&["10", "2", "1", "-3", "2.5"]), ["-3", "1", "2", "2.5", "10"]);
        let problem = |names: &[&str]| Ordinal.check_found(&order(names)).unwrap_err();
        let found = problem(&["bad", "1", "good"]);
        assert!(found.starts_with("labels: expected the labels in their order"), "{found}");
        assert!(found.contains("found `bad` among"), "{found}");
        assert!(problem(&["1", "1.0", "2"]).contains("found `1` and `1.0`"));
        assert!(problem(&["1", "nan"]).contains("found `nan`"));
    }
}
