//! The score of a tagging task on raw texts, where no words are given.
//!
//! Metrics of a split are about the words of the data. At use the task splits a raw text by its own
//! rule; here the texts of labelled rows are split so too, and spans are compared by their characters.

use std::collections::HashSet;
use std::ops::Range;

use polyhead_compute::Threads;
use polyhead_model::{HeadSpec, Network, Pass};
use polyhead_text::{TextInput, WordSplit};

use crate::data::{FIRST_UNKNOWN, Split, SplitWords, Tokenize};
use crate::error::Error;
use crate::evaluate::{Answers, EvalRequest};
use crate::tasks::{SpanScores, counted_spans, word_tags};

/// The raw texts of the rows of a split that have words and tags of a task.
struct RawTexts {
    /// Texts split by the rule of a task; without labels.
    split: Split,
    /// The rows of the labelled split, with the places of their words in the raw text.
    rows: Vec<(usize, Vec<Range<usize>>)>,
}

impl RawTexts {
    /// - `is_wanted`: returns true for a row that counts
    fn of(
        split: &Split,
        rule: &WordSplit,
        is_wanted: impl Fn(usize) -> bool,
        tokenize: &Tokenize<'_>,
    ) -> Result<Self, Error> {
        let (mut inputs, mut rows) = (Vec::new(), Vec::new());
        let wanted = |row: &usize| is_wanted(*row) && !split.words.row(*row).is_empty();
        for row in (0..split.len()).filter(wanted) {
            let (text, places) = split.raw_text(row);
            inputs.push(TextInput::One(text));
            rows.push((row, places));
        }
        let borrowed: Vec<TextInput<&str>> = inputs.iter().map(TextInput::borrowed).collect();
        let tokens = tokenize(&borrowed)?;
        let mut words = SplitWords { offsets: vec![0], ..SplitWords::default() };
        for (row, input) in inputs.iter().enumerate() {
            let places = input.words(rule);
            words.push_row(&tokens, row, &places, places.clone());
        }
        Ok(Self { split: Split { inputs, tokens, words, ..Split::default() }, rows })
    }
}

impl Split {
    /// The text of a row as it is without its words, and the place of each word: the row's own text,
    /// or its words joined.
    pub(crate) fn raw_text(&self, row: usize) -> (String, Vec<Range<usize>>) {
        let places = self.words.places[self.words.row(row)].to_vec();
        (self.inputs[row].text().into_owned(), places)
    }
}

/// Precision, recall and F1 of the spans of one task on the raw texts of its labelled rows; `None`
/// without such rows.
///
/// - `questions`: as for [`Answers::of`]; those of `task` alone are answered
pub(crate) fn score_raw_text(
    (network, threads): (&Network, &Threads),
    split: &Split,
    (task, head): (usize, &HeadSpec),
    questions: &EvalRequest,
    tokenize: &Tokenize<'_>,
    pass: &mut Pass,
) -> Result<Option<SpanScores>, Error> {
    let tags = split.labels[task].tags();
    let raw = RawTexts::of(split, &head.words, |row| tags[row].is_some(), tokenize)?;
    if raw.rows.is_empty() {
        return Ok(None);
    }
    let active: Vec<bool> = (0..network.head_count()).map(|other| other == task).collect();
    let questions = EvalRequest { active: &active, vectors: false, ..*questions };
    let answers = Answers::of(network, threads, &raw.split, &questions, None, pass)?;
    let others = split.issues.get(task).map_or(&[][..], |issues| &issues.others);
    let name = |tag: u32| match tag.checked_sub(FIRST_UNKNOWN) {
        None => head.labels[tag as usize].as_str(),
        Some(other) => others.get(other as usize).map_or("O", String::as_str),
    };
    let (mut hits, mut found, mut support) = (0, 0, 0);
    for (at, (row, places)) in raw.rows.iter().enumerate() {
        let Some(tags) = &tags[*row] else { continue };
        let there: HashSet<_> = spans(head, tags.iter().map(|tag| name(*tag)), places).collect();
        let words = raw.split.words.row(at);
        let given = word_tags(&answers.logits[task], head, &raw.split.words, words.clone());
        let given = given.iter().map(|tag| tag.map_or("O", name));
        for span in spans(head, given, &raw.split.words.places[words]) {
            found += 1;
            hits += u64::from(there.contains(&span));
        }
        support += there.len() as u64;
    }
    Ok(Some(SpanScores::of(hits, found, support)))
}

/// Spans with the characters that they cover.
fn spans<'a>(
    head: &HeadSpec,
    tags: impl Iterator<Item = &'a str>,
    places: &[Range<usize>],
) -> impl Iterator<Item = (&'a str, usize, usize)> {
    let spans = counted_spans(head.tag_scheme(), tags).into_iter();
    spans.map(|span| (span.label, places[span.first].start, places[span.last].end))
}
