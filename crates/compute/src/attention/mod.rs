//! Scaled dot-product attention (Vaswani et al., 2017, equation 1), sequence by sequence and head
//! by head: a token attends to the tokens of its own sequence only, so packed batches need no mask.

mod backward;
mod forward;

use std::ops::Range;

use crate::dropout::Dropout;
use crate::threads::Team;

pub use forward::{attention_reference, attention_train_reference};

/// Sizes of an attention layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    /// `H`
    pub heads: usize,
    /// `K`, numbers per head.
    pub head_size: usize,
}

impl AttentionShape {
    /// `D`
    fn width(self) -> usize {
        self.heads * self.head_size
    }

    /// The number of tokens; `qkv` is `[N, 3·D]`, `out` `[N, D]`.
    fn check_lengths(
        self,
        qkv: usize,
        offsets: &[usize],
        dropout: &Dropout,
        rows: &[u64],
        out: usize,
    ) -> usize {
        let tokens = *offsets.last().expect("offsets have one entry more than sequences");
        assert!(offsets.is_sorted(), "offsets grow");
        assert_eq!(qkv, tokens * 3 * self.width(), "length of qkv");
        assert_eq!(out, tokens * self.width(), "length of the output");
        assert!(dropout.is_none() || rows.len() == tokens, "an identity for each token");
        tokens
    }
}

/// Calls `work` with the tokens of each sequence and each of its heads, spread over the team.
fn each_head(
    team: &Team,
    heads: usize,
    offsets: &[usize],
    work: &(dyn Fn(Range<usize>, usize) + Sync),
) {
    let items = (offsets.len() - 1) * heads;
    let parts = if team.parts() == 1 { 1 } else { items.min(8 * team.parts()) };
    team.run(parts, &|part| {
        for item in items * part / parts..items * (part + 1) / parts {
            let (sequence, head) = (item / heads, item % heads);
            let tokens = offsets[sequence]..offsets[sequence + 1];
            if !tokens.is_empty() {
                work(tokens, head);
            }
        }
    });
}

/// What names the probability of key 0 in the dropout of a query's row; those of
/// the other keys follow. Heads stay apart up to 2²⁰ tokens.
#[inline(always)]
fn first_feature(head: usize) -> u32 {
    (head as u32) << 20
}

/// The probabilities of query `i` for the keys of its sequence, before dropout,
/// and what dropout multiplies them by.
fn probabilities_reference(
    shape: AttentionShape,
    qkv: &[f64],
    sequence: (usize, usize),
    (head, i): (usize, usize),
    dropout: &Dropout,
    rows: &[u64],
) -> (Vec<f64>, Vec<f64>) {
    let (size, width) = (shape.head_size, shape.width());
    let at = |row: usize, column: usize| qkv[row * 3 * width + column];
    let score = |j: usize| {
        let columns = head * size..(head + 1) * size;
        columns.map(|c| at(i, c) * at(j, width + c)).sum::<f64>() / (size as f64).sqrt()
    };
    let scores: Vec<f64> = (sequence.0..sequence.1).map(score).collect();
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
    let total: f64 = weights.iter().sum();
    let factor = |j: usize| {
        if dropout.is_none() {
            1.0
        } else {
            f64::from(dropout.factor(rows[i], first_feature(head).wrapping_add(j as u32)))
        }
    };
    (
        weights.iter().map(|w| w / total).collect(),
        (0..sequence.1 - sequence.0).map(factor).collect(),
    )
}
