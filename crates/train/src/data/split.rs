//! The rows of one split, tokenized.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;

use polyhead_text::{TextInput, TokenBatch};
use serde::{Deserialize, Serialize};

use super::issues::LabelIssues;
use super::labels::TaskLabels;
use super::row::RowWords;
use super::teacher::TeacherAnswers;
use crate::error::{Error, ErrorKind};

/// Tokenizes as the model does: with its prompt and lower-casing, cut to its
/// length. Spans count characters of the inputs as they are given here
/// (`polyhead_text::spans_in_texts` makes them do so).
pub type Tokenize<'a> =
    dyn Fn(&[TextInput<&str>]) -> Result<TokenBatch, polyhead_model::Error> + 'a;

/// Use of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Learned from.
    Train,
    /// For choosing the best model, calibration and thresholds.
    Dev,
    /// Looked at once, at the end.
    Test,
}

/// Where a row begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index into the split's files.
    pub file: usize,
    /// Line of the file, from 1.
    pub line: u64,
}

/// The rows of one split of one source.
#[derive(Clone, Debug, Default)]
pub struct Split {
    /// Read one after the other.
    pub files: Vec<PathBuf>,
    /// `[rows]` original texts, or pairs of texts.
    pub inputs: Vec<TextInput>,
    /// `[rows]` the texts behind those of a pair, where each text of a row is a sequence of its own;
    /// empty where a row is one sequence.
    pub further: Vec<Vec<String>>,
    /// `[sequences]` as the encoder reads them: of the words joined by
    /// blanks where a row has words and a task tags them, else of the text.
    pub tokens: TokenBatch,
    /// `[rows + 1]` where each row's sequences begin; empty where each row is one sequence.
    pub first_sequences: Vec<usize>,
    /// `[sequences]` equal numbers for equal texts; empty where each row is one sequence.
    pub equal_texts: Vec<u32>,
    /// One per task of the whole run, in order, each `[rows]`; rows of another
    /// source's task have no label.
    pub labels: Vec<TaskLabels>,
    /// One per task of the whole run: the answers of its teacher; empty without teachers.
    pub teachers: Vec<TeacherAnswers>,
    /// Words of the rows that have some.
    pub words: SplitWords,
    /// `[rows]`
    pub places: Vec<Place>,
    /// One per task of the whole run.
    pub issues: Vec<LabelIssues>,
}

/// Words of the rows of a split, end to end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SplitWords {
    /// `[rows + 1]` where each row's words begin.
    pub offsets: Vec<usize>,
    /// `[words]` the word's first token, as an index into its row's sequence;
    /// None if it has none: it was cut off, or holds nothing that the tokenizer
    /// keeps. Such a word has no loss, and its prediction is `O`.
    pub first_tokens: Vec<Option<u32>>,
    /// `[words]` whether the word has none because it stands inside a token that the word before it
    /// begins; its prediction goes on with that word's.
    pub inside: Vec<bool>,
    /// `[words]` characters of the original text.
    pub places: Vec<Range<usize>>,
}

/// Rows of a split before they are tokenized.
#[derive(Debug)]
pub(super) struct SplitRows {
    /// Without tokens and words.
    pub(super) split: Split,
    /// `[rows]`
    pub(super) words: Vec<Option<RowWords>>,
}

impl Part {
    /// In the order in which files are read.
    pub const ALL: [Self; 3] = [Self::Train, Self::Dev, Self::Test];

    /// `train`, `dev` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Dev => "dev",
            Self::Test => "test",
        }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Split {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.inputs.len()
    }

    /// Returns true if there is no row.
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }

    /// `FILE: line N`
    ///
    /// # Panics
    /// If there is no such row.
    pub fn place(&self, row: usize) -> String {
        let Place { file, line } = self.places[row];
        format!("{}: line {line}", self.files[file].display())
    }

    /// The sequences of a row, as indices into `tokens`: one, or one for each of its texts.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn sequences(&self, row: usize) -> Range<usize> {
        match &self.first_sequences[..] {
            [] => row..row + 1,
            first => first[row]..first[row + 1],
        }
    }

    /// Number of tokens of a row.
    pub fn row_tokens(&self, row: usize) -> usize {
        self.sequences(row).map(|sequence| self.tokens.sequence(sequence).len()).sum()
    }

    /// Number of rows that were cut to the model's length.
    pub fn truncated(&self) -> usize {
        let is_cut = |row: &usize| {
            self.sequences(*row).any(|sequence| self.tokens.texts[sequence].truncated())
        };
        (0..self.len()).filter(is_cut).count()
    }
}

impl SplitWords {
    /// Where the words of `row` stand in the other arrays.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: usize) -> Range<usize> {
        self.offsets[row]..self.offsets[row + 1]
    }

    /// Adds the words of the next row.
    ///
    /// - `row`: its sequence in `tokens`
    /// - `words`: characters of each word in the text that was tokenized
    /// - `places`: the same in the original text
    pub(crate) fn push_row(
        &mut self,
        tokens: &TokenBatch,
        row: usize,
        words: &[Range<usize>],
        places: Vec<Range<usize>>,
    ) {
        let first = tokens.first_tokens(row, words);
        self.inside.extend(tokens.words_inside_tokens(row, words, &first));
        self.first_tokens.extend(first);
        self.places.extend(places);
        self.offsets.push(self.places.len());
    }
}

impl SplitRows {
    /// Tokenizes all rows at once.
    pub(super) fn tokenize(self, tokenize: &Tokenize<'_>) -> Result<Split, Error> {
        let Self { mut split, words } = self;
        let mut encoded: Vec<TextInput<&str>> = Vec::new();
        for (row, (input, words)) in split.inputs.iter().zip(&words).enumerate() {
            match (words, split.further.get(row)) {
                (Some(words), _) => encoded.push(TextInput::One(words.joined.as_str())),
                (None, None) => encoded.push(input.borrowed()),
                (None, Some(further)) => {
                    split.first_sequences.push(encoded.len());
                    let texts = input.strings().chain(further.iter().map(String::as_str));
                    encoded.extend(texts.map(TextInput::One));
                }
            }
        }
        let sequences = encoded.len();
        if !split.further.is_empty() {
            split.first_sequences.push(sequences);
            // Keys are looked up and never iterated: the order of a `HashMap` differs between runs.
            let mut known: HashMap<&str, u32> = HashMap::new();
            for input in &encoded {
                let TextInput::One(text) = input else { continue };
                let next = known.len() as u32;
                split.equal_texts.push(*known.entry(text).or_insert(next));
            }
        }
        let row_of = |sequence: usize| match &split.first_sequences[..] {
            [] => sequence,
            first => first.partition_point(|first| *first <= sequence) - 1,
        };
        split.tokens = tokenize(&encoded).map_err(|error| match error.text().map(row_of) {
            Some(row) if row < split.len() => {
                let message = format!("{}: {error}", split.place(row));
                Error::with_source(ErrorKind::Model, message, error)
            }
            _ => Error::from(error),
        })?;
        assert_eq!(split.tokens.len(), sequences, "the tokenizer gives a sequence for each text");
        split.words.offsets.push(0);
        for (row, words) in words.into_iter().enumerate() {
            let RowWords { in_joined, in_text, .. } = words.unwrap_or_default();
            let sequence = split.sequences(row).start;
            split.words.push_row(&split.tokens, sequence, &in_joined, in_text);
        }
        Ok(split)
    }
}
