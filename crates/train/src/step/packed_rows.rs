//! Rows of a split as the network reads them: one packed batch, and the labels
//! that belong to its answers.

use std::ops::Range;

use polyhead_model::{NetworkInput, Sequences};

use crate::data::{Split, TaskLabels};
use crate::tasks::targets;

/// Most tokens that go through the network at once, as a part of a step or of a split:
/// what is kept for the backward grows with them. Results do not depend on it, except
/// those of a learned mix of layers.
pub(crate) const PART_TOKENS: usize = 2048;

/// Some rows of a split, end to end: `R` rows of `B` sequences.
#[derive(Clone, Debug, Default)]
pub struct PackedRows {
    /// `[R]`: which rows of the split.
    pub rows: Vec<u32>,
    /// `[B]`: which sequences of the split.
    pub sequences: Vec<u32>,
    /// `[B]`: the number of each sequence in its optimizer step.
    pub numbers: Vec<u32>,
    ids: Vec<u32>,
    type_ids: Vec<u32>,
    offsets: Vec<usize>,
    /// `[M]`: the first token of every word that has one, as a place in the batch.
    words: Vec<usize>,
    /// `[M]`: the word's index in the split.
    word_places: Vec<usize>,
}

/// A row of a split, and the number of its first sequence among those of all rows of the step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NumberedRow {
    pub(crate) row: u32,
    pub(crate) first: u32,
}

impl PackedRows {
    /// - `rows`: rows of `split`, in any order
    pub fn new(split: &Split, rows: &[u32]) -> Self {
        Self::numbered(split, &numbered(split, rows))
    }

    /// Some rows of a step.
    pub(crate) fn numbered(split: &Split, rows: &[NumberedRow]) -> Self {
        let mut packed = Self { offsets: vec![0], ..Self::default() };
        for NumberedRow { row, first } in rows {
            packed.rows.push(*row);
            let row = *row as usize;
            let start = packed.ids.len();
            for (number, sequence) in (*first..).zip(split.sequences(row)) {
                let tokens = split.tokens.sequence(sequence);
                packed.ids.extend_from_slice(&split.tokens.ids[tokens.clone()]);
                packed.type_ids.extend_from_slice(&split.tokens.type_ids[tokens]);
                packed.offsets.push(packed.ids.len());
                packed.sequences.push(sequence as u32);
                packed.numbers.push(number);
            }
            for word in split.words.row(row) {
                if let Some(token) = split.words.first_tokens[word] {
                    packed.words.push(start + token as usize);
                    packed.word_places.push(word);
                }
            }
        }
        packed
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns true if there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// The first token of each sequence, `[B + 1]`.
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// `[M]`: the words that have answers, as indices into the split's words.
    pub fn word_places(&self) -> &[usize] {
        &self.word_places
    }

    /// The rows as the network reads them.
    ///
    /// - `prompt_tokens`: at the beginning of each sequence, that pooling leaves out
    /// - `known`: hidden states that need not be computed
    pub fn input<'a>(
        &'a self,
        prompt_tokens: usize,
        known: Option<&'a [&'a [f32]]>,
    ) -> NetworkInput<'a> {
        NetworkInput {
            sequences: Sequences {
                ids: &self.ids,
                type_ids: &self.type_ids,
                offsets: &self.offsets,
            },
            rows: &self.numbers,
            words: &self.words,
            prompt_tokens,
            known,
        }
    }

    /// The labels of task `task` for the answers to these rows; an unknown label is none.
    pub fn targets(&self, split: &Split, task: usize) -> TaskLabels {
        targets(split, task, self.rows.iter().map(|row| *row as usize))
    }
}

/// The rows with their numbers.
pub(super) fn numbered(split: &Split, rows: &[u32]) -> Vec<NumberedRow> {
    let mut next = 0;
    let mut number = |row: &u32| {
        let first = next;
        next += split.sequences(*row as usize).len() as u32;
        NumberedRow { row: *row, first }
    };
    rows.iter().map(&mut number).collect()
}

/// Cuts the rows of a step into parts of at most `budget` tokens (a longer row
/// stands alone), at least `least` parts where there are as many rows.
pub fn cut(split: &Split, rows: &[u32], least: usize, budget: usize) -> Vec<Range<usize>> {
    let most_rows = rows.len().div_ceil(least.max(1)).max(1);
    let mut parts = Vec::new();
    let (mut start, mut tokens) = (0, 0);
    for (i, row) in rows.iter().enumerate() {
        let length = split.row_tokens(*row as usize);
        if i > start && (tokens + length > budget || i - start == most_rows) {
            parts.push(start..i);
            (start, tokens) = (i, 0);
        }
        tokens += length;
    }
    if start < rows.len() {
        parts.push(start..rows.len());
    }
    parts
}
