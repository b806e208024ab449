//! Temperatures and thresholds of a finished run, and the notes about heads that keep theirs.

use polyhead_model::HeadSpec;

use crate::data::{Part, TaskLabels};
use crate::run::Run;
use crate::run::events::Event;
use crate::run::finish::FinalAnswers;
use crate::tasks::{
    Calibration, LEAST_CASES, LEAST_ROWS, LEAST_TEXTS, Labelled, answered, answered_texts, rules,
};

impl Run<'_> {
    /// Temperatures and thresholds from dev, for every task that has enough labels there and gains by
    /// them. The others keep those that they began with. True stands beside a calibration if dev chose
    /// a threshold.
    pub(super) fn calibrate(
        &mut self,
        all: &[FinalAnswers],
        emit: &mut dyn FnMut(Event),
    ) -> Vec<(Option<Calibration>, bool)> {
        let mut calibrations = vec![(None, false); self.plan.objectives.len()];
        for dev in all.iter().filter(|answers| answers.part == Part::Dev) {
            let source = &self.plan.data.sources[dev.source];
            for task in source.tasks.clone() {
                let objective = &self.learner.objectives[task];
                let logits = &dev.answers.logits[task];
                let (logits, targets) = answered(logits, &source.dev, task, objective);
                let texts = answered_texts(&source.dev, objective);
                let outputs = objective.outputs();
                let rows = Labelled { logits: &logits, outputs, targets: &targets };
                let rules = rules(objective.kind());
                let head = self.learner.network.head_spec(task).clone();
                let Some(found) = rules.calibrate(rows, &texts, head.temperature) else { continue };
                let rows_of = (0..targets.len()).filter(|row| targets.is_labelled(*row));
                let texts: Vec<usize> = rows_of.map(|row| texts[row]).collect();
                let few = texts.len() < LEAST_ROWS || distinct(&texts) < LEAST_TEXTS;
                let notices = if few {
                    vec![too_few_rows(&head, &texts)]
                } else {
                    let (thresholds, chosen) = rules.thresholds(rows, &head, found.temperature);
                    let unchanged = found.temperature == head.temperature;
                    let notices = [
                        unchanged.then(|| no_better_temperature(&head)),
                        unchanged_thresholds(&head, &targets, chosen),
                    ];
                    self.learner.network.calibrate(task, found.temperature, thresholds);
                    calibrations[task] = (Some(found), chosen > 0);
                    notices.into_iter().flatten().collect()
                };
                for notice in notices {
                    emit(Event::Notice(&notice));
                    self.plan.notices.push(notice);
                }
            }
        }
        calibrations
    }
}

/// The number of texts.
///
/// - `texts`: ascending
fn distinct(texts: &[usize]) -> usize {
    texts.chunk_by(|a, b| a == b).count()
}

/// The note about a task whose dev rows are too few to calibrate it.
///
/// - `texts`: the text of each labelled row
fn too_few_rows(head: &HeadSpec, texts: &[usize]) -> String {
    let (name, temperature) = (&head.name, head.temperature);
    let kept = match head.kind.has_sets() {
        true if head.thresholds.is_empty() => " and thresholds of 0.5 are kept",
        true => " and the thresholds are kept",
        false => " is kept",
    };
    let rows = texts.len();
    let (needed, found) = if head.kind.reads_words() {
        let texts = distinct(texts);
        (format!("words in {LEAST_TEXTS} texts"), format!("{rows} in {texts}"))
    } else {
        ("rows".to_owned(), rows.to_string())
    };
    format!(
        "task `{name}`: temperature {temperature:.2}{kept}: {LEAST_ROWS} labelled {needed} of dev \
         are needed to choose another, found {found}"
    )
}

/// The note about a task for which dev gives no better temperature.
fn no_better_temperature(head: &HeadSpec) -> String {
    format!(
        "task `{}`: temperature {:.2} is kept: no other one is clearly better on dev rows that had \
         no part in finding it",
        head.name, head.temperature
    )
}

/// The note about labels that keep their thresholds.
///
/// - `chosen`: how many labels have another one
fn unchanged_thresholds(head: &HeadSpec, targets: &TaskLabels, chosen: usize) -> Option<String> {
    let labels = head.labels.len();
    if !head.kind.has_sets() || chosen == labels {
        return None;
    }
    let (counts, rows) = targets.counts(labels);
    let few = |count: &&usize| **count < LEAST_CASES || rows - **count < LEAST_CASES;
    let few = counts.iter().filter(few).count();
    let (name, no_gain) = (&head.name, labels - chosen - few);
    let kept = if head.thresholds.is_empty() { "0.5" } else { "what they were" };
    Some(format!(
        "task `{name}`: the thresholds of {} of {labels} labels stay at {kept}: {few} of them have \
         fewer than {LEAST_CASES} dev rows with the label or without it, and for {no_gain} no other \
         one is clearly better on dev rows that had no part in finding it",
        labels - chosen
    ))
}
