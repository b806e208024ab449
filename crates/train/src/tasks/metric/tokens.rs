//! A tag for every word, spans in BIO form.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use polyhead_text::TagScheme;

use super::{Counts, LabelScores, MANY_LABELS, Span, is_zero, label_scores, ratio};

/// Counts answers to a tagging task.
#[derive(Clone, Debug)]
pub struct TokensCounter {
    /// The head's tags, then those that only the data have.
    tags: Vec<String>,
    /// Number of names that are the head's.
    known: usize,
    /// The meaning of the head's tags.
    scheme: TagScheme,
    /// By type of span.
    types: BTreeMap<String, Counts>,
    rows: u64,
    words: u64,
    right: u64,
    unknown: u64,
    /// Mean loss, if it is to be among the metrics.
    pub loss: Option<f64>,
}

/// Metrics that [`TokensCounter`] has counted.
///
/// Precision, recall and F1 are those of whole spans, all types together: a
/// span is right if type, first and last word are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokensMetrics {
    /// Mean loss; `None` if none was handed in.
    pub loss: Option<f64>,
    /// Share of the found spans that are right.
    pub precision: f64,
    /// Share of the true spans that were found.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
    /// Share of words with the right tag, `O` included: high even for a model that finds nothing.
    pub accuracy: f64,
    /// Rows (sequences of words).
    pub rows: u64,
    /// Words.
    pub words: u64,
    /// Words whose tag the head does not have.
    pub unknown: u64,
    /// Spans in the data.
    pub support: u64,
    /// Every type of span that occurs in data or answers, by name; of more than
    /// [`MANY_LABELS`] the most frequent ones.
    pub types: Vec<LabelScores>,
    /// Number of types that are left out of `types`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
    /// Scores of the spans on the raw texts, which the task splits into words by its own rule; `None`
    /// where no finished model was checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_text: Option<SpanScores>,
}

/// Scores of spans that are compared by their characters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpanScores {
    /// Share of the found spans that are right.
    pub precision: f64,
    /// Share of the true spans that were found.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
}

impl SpanScores {
    /// - `hits`: spans found that are there
    /// - `given`: spans found
    /// - `support`: spans there
    pub(crate) fn of(hits: u64, given: u64, support: u64) -> Self {
        let counts = Counts { hits, given, support };
        Self { precision: counts.precision(), recall: counts.recall(), f1: counts.f1() }
    }
}

/// The tag of a word that the head has no answer for: it was cut off.
const OUTSIDE: &str = "O";
/// The tag of a word whose tag is not even known by name.
const NAMELESS: &str = "B-(unknown)";

impl TokensCounter {
    /// A counter that has seen nothing.
    ///
    /// - `tags`: as in the head
    /// - `others`: tags that only dev or test data have; their indices follow
    ///   the head's. With names, a missed span of an unknown type is one span,
    ///   as in seqeval; a tag beyond these too makes every word a span of its own.
    pub fn new(tags: &[String], others: &[String]) -> Self {
        Self {
            tags: tags.iter().chain(others).cloned().collect(),
            known: tags.len(),
            scheme: TagScheme::of_tags(tags.iter().map(String::as_str)),
            types: BTreeMap::new(),
            rows: 0,
            words: 0,
            right: 0,
            unknown: 0,
            loss: None,
        }
    }

    /// One sequence of words.
    ///
    /// - `given`: `[words]`, indices of tags; `None` for words that were cut off
    ///   or have no token, which counts as `O`
    /// - `targets`: `[words]`; those not below the number of the head's tags are unknown
    ///
    /// # Panics
    /// If lengths do not agree.
    pub fn add(&mut self, given: &[Option<u32>], targets: &[u32]) {
        assert_eq!(given.len(), targets.len(), "a tag per word");
        let name = |index: u32| self.tags.get(index as usize).map_or(NAMELESS, String::as_str);
        let given_names = || given.iter().map(|tag| tag.map_or(OUTSIDE, name));
        let target_names = || targets.iter().map(|tag| name(*tag));

        self.right +=
            given_names().zip(target_names()).filter(|(given, target)| given == target).count()
                as u64;
        let found = counted_spans(self.scheme, given_names());
        let there = counted_spans(self.scheme, target_names());
        let types = &mut self.types;
        for span in &found {
            counts_of(types, span).given += 1;
        }
        for span in &there {
            counts_of(types, span).support += 1;
        }
        for span in common(&found, &there) {
            counts_of(types, span).hits += 1;
        }
        self.rows += 1;
        self.words += targets.len() as u64;
        self.unknown += targets.iter().filter(|tag| **tag as usize >= self.known).count() as u64;
    }

    /// `None` if no row was counted.
    pub fn finish(&self) -> Option<TokensMetrics> {
        if self.rows == 0 {
            return None;
        }
        let mut all = Counts::default();
        for counts in self.types.values() {
            all.hits += counts.hits;
            all.given += counts.given;
            all.support += counts.support;
        }
        Some(TokensMetrics {
            loss: self.loss,
            precision: all.precision(),
            recall: all.recall(),
            f1: all.f1(),
            accuracy: ratio(self.right, self.words),
            rows: self.rows,
            words: self.words,
            unknown: self.unknown,
            support: all.support,
            left_out: self.types.len().saturating_sub(MANY_LABELS) as u64,
            raw_text: None,
            types: label_scores(self.types.iter().map(|(label, counts)| (label, *counts))),
        })
    }
}

scores! { TokensMetrics: loss, precision, recall, f1, accuracy }

/// The spans that metrics count. Where tags make no spans, every word but `O` is one.
pub(crate) fn counted_spans<'a>(
    scheme: TagScheme,
    tags: impl Iterator<Item = &'a str>,
) -> Vec<Span<'a>> {
    if scheme != TagScheme::Plain {
        return scheme.spans(tags);
    }
    let words = tags.enumerate().filter(|(_, tag)| *tag != OUTSIDE);
    words.map(|(word, label)| Span { label, first: word, last: word }).collect()
}

fn counts_of<'a>(types: &'a mut BTreeMap<String, Counts>, span: &Span<'_>) -> &'a mut Counts {
    // Not `entry`, which would take a new string for every span.
    if !types.contains_key(span.label) {
        types.insert(span.label.to_string(), Counts::default());
    }
    types.get_mut(span.label).expect("just inserted")
}

/// Spans that are in both lists, each of which is in order and without overlap.
fn common<'a>(found: &'a [Span<'a>], there: &[Span<'_>]) -> impl Iterator<Item = &'a Span<'a>> {
    let mut at = 0;
    found.iter().filter(move |span| {
        at += there[at..].iter().take_while(|other| other.first < span.first).count();
        there.get(at).is_some_and(|other| *other == **span)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const O: u32 = 0;
    const B: u32 = 1;
    const I: u32 = 2;

    fn counter(others: &[&str]) -> TokensCounter {
        let names = |tags: &[&str]| tags.iter().map(|tag| tag.to_string()).collect::<Vec<_>>();
        TokensCounter::new(&names(&["O", "B-a", "I-a", "B-b", "I-b"]), &names(others))
    }

    #[test]
    fn a_span_is_right_as_a_whole() {
        let mut counter = counter(&[]);
        counter.add(&[Some(B), Some(I), Some(O), Some(B)], &[B, I, I, B]);
        let metrics = counter.finish().unwrap();
        // The last is right; the first is one word too short.
        assert_eq!((metrics.precision, metrics.recall, metrics.f1), (0.5, 0.5, 0.5));
        assert_eq!((metrics.accuracy, metrics.support), (0.75, 2));
    }

    #[test]
    fn sequences_do_not_run_into_each_other() {
        let mut counter = counter(&[]);
        counter.add(&[Some(B)], &[B]);
        counter.add(&[Some(I)], &[I]);
        let metrics = counter.finish().unwrap();
        assert_eq!((metrics.support, metrics.f1), (2, 1.0));
    }

    #[test]
    fn a_word_cut_off_counts_as_outside() {
        let mut counter = counter(&[]);
        counter.add(&[Some(B), None, None], &[B, O, B]);
        let metrics = counter.finish().unwrap();
        assert_eq!((metrics.precision, metrics.recall), (1.0, 0.5));
        assert_eq!(metrics.accuracy, 2.0 / 3.0);
    }

    #[test]
    fn a_span_of_unknown_type_is_missed_once() {
        let mut named = counter(&["B-c", "I-c"]);
        named.add(&[Some(B), Some(O), Some(O)], &[B, 5, 6]);
        let metrics = named.finish().unwrap();
        assert_eq!((metrics.support, metrics.recall, metrics.unknown), (2, 0.5, 2));
        assert_eq!(metrics.types[1].label, "c");
        assert_eq!(metrics.accuracy, 1.0 / 3.0);
        // Without names there is no telling where one ends.
        let mut nameless = counter(&[]);
        nameless.add(&[Some(B), Some(O), Some(O)], &[B, u32::MAX, u32::MAX]);
        assert_eq!(nameless.finish().unwrap().support, 3);
    }

    #[test]
    fn common_spans_need_not_be_beside_each_other() {
        let span = |label, first, last| Span { label, first, last };
        let found = [span("a", 0, 0), span("a", 2, 3), span("b", 5, 5), span("a", 7, 9)];
        let there = [span("a", 1, 1), span("a", 2, 3), span("a", 5, 5), span("a", 7, 9)];
        let both: Vec<&Span<'_>> = common(&found, &there).collect();
        assert_eq!(both, [&found[1], &found[3]]);
    }

    #[test]
    fn no_rows_no_metrics_and_no_spans_no_nan() {
        assert_eq!(counter(&[]).finish(), None);
        let mut counter = counter(&[]);
        counter.add(&[], &[]);
        let metrics = counter.finish().unwrap();
        assert_eq!((metrics.f1, metrics.accuracy), (0.0, 0.0));
    }
}
