//! A tag for every word, spans in BIO form.

use std::collections::BTreeSet;
use std::ops::Range;

use super::{
    ChosenRows, RowAnswers, SplitAnswers, TaskMetrics, TaskRules, TokensCounter, TokensMetrics,
    argmax,
};
use polyhead_files::{Cell, quoted};

use polyhead_model::HeadSpec;
use polyhead_text::{Tag, tag_inside};

use crate::data::{FIRST_UNKNOWN, RawLabel, SplitWords, TaskLabels};

/// Words are trained and calibrated as the rows of a classification, and judged by spans.
pub(super) struct Tokens;

/// The end of a tag after `B` or `I`: `-TYPE`, or nothing in a bare tag.
fn type_suffix(tag: &str) -> Option<&str> {
    tag.strip_prefix(['B', 'I'])
}

/// The tags that a head gives the words of a row, as indices of its labels; `None` for words that it
/// did not see.
///
/// - `logits`: `[words of the split, outputs]`
pub(crate) fn word_tags(
    logits: &[f32],
    head: &HeadSpec,
    words: &SplitWords,
    row: Range<usize>,
) -> Vec<Option<u32>> {
    let outputs = head.outputs();
    let mut tags: Vec<Option<u32>> = Vec::with_capacity(row.len());
    for word in row {
        let before = tags.last().copied().flatten();
        tags.push(match (words.first_tokens[word], before) {
            (Some(_), _) => Some(argmax(&logits[word * outputs..][..outputs]) as u32),
            (None, Some(before)) if words.inside.get(word) == Some(&true) => {
                Some(continued(before, head))
            }
            (None, _) => None,
        });
    }
    tags
}

/// The tag of a word that goes on with what the word before is in.
fn continued(tag: u32, head: &HeadSpec) -> u32 {
    let inside = tag_inside(&head.labels[tag as usize]);
    let inside = head.labels.iter().position(|label| *label == inside);
    inside.map_or(tag, |label| label as u32)
}

impl TaskRules for Tokens {
    fn read_label(&self, cell: Cell) -> Result<RawLabel, String> {
        Ok(RawLabel::Tags(cell.strings()?.unwrap_or_default()))
    }

    fn unlabelled(&self, rows: usize) -> TaskLabels {
        TaskLabels::Tags(vec![None; rows])
    }

    /// `O` first, then `B` and `I` of each type, whatever tags of it occur.
    fn order_labels(&self, names: BTreeSet<&str>) -> Vec<String> {
        let types: BTreeSet<&str> = names.into_iter().filter_map(type_suffix).collect();
        let of_type = |suffix| [format!("B{suffix}"), format!("I{suffix}")];
        std::iter::once("O".to_owned()).chain(types.into_iter().flat_map(of_type)).collect()
    }

    fn check_labels(&self, labels: &[String]) -> Result<(), String> {
        let need = |tag: &str| {
            if labels.iter().any(|label| label == tag) {
                return Ok(());
            }
            Err(format!("labels: expected {} among them", quoted(tag)))
        };
        need("O")?;
        for label in labels {
            if Tag::parse(label).is_none() {
                let label = quoted(label);
                return Err(format!("labels: expected `O`, `B-TYPE` and `I-TYPE`, found {label}"));
            }
            if let Some(suffix) = type_suffix(label) {
                need(&format!("B{suffix}"))?;
                need(&format!("I{suffix}"))?;
            }
        }
        Ok(())
    }

    fn expected_labels(&self) -> &'static str {
        "tags other than `O`"
    }

    fn metric_names(&self) -> &'static [&'static str] {
        TokensMetrics::NAMES
    }

    fn main_metric(&self) -> &'static str {
        "f1"
    }

    fn row_answers(&self, answers: &SplitAnswers) -> Option<RowAnswers> {
        let SplitAnswers { logits, head, split, .. } = *answers;
        // Numbers of tags that only the split has follow those of the head.
        let number = |tag: &u32| match tag.checked_sub(FIRST_UNKNOWN) {
            Some(other) => head.labels.len() as u32 + other,
            None => *tag,
        };
        let rows = answers.labels().tags().iter().enumerate();
        let labelled = rows.filter_map(|(row, tags)| {
            let given = word_tags(logits, head, &split.words, split.words.row(row));
            Some((given, tags.as_ref()?.iter().map(number).collect()))
        });
        Some(RowAnswers::Tags(labelled.collect()))
    }

    fn score_rows(&self, rows: ChosenRows) -> Option<TaskMetrics> {
        let mut counter = TokensCounter::new(rows.names.head, rows.names.others);
        counter.loss = rows.loss;
        rows.tags().for_each(|(given, tags)| counter.add(given, tags));
        counter.finish().map(TaskMetrics::Tokens)
    }
}
