//! Scaled dot-product attention (Vaswani et al., 2017, equation 1), sequence by sequence and head
//! by head: a token attends to the tokens of its own sequence only, so packed batches need no mask.
//!
//! No `[T, T]` matrix exists: scores are computed for a block of queries at a time. With a window,
//! only the keys in reach of a block are packed and multiplied, so that time is `O(T · window)`.

mod backward;
mod forward;
mod soft_max;

use std::ops::Range;

use crate::dropout::Dropout;
use crate::simd::Simd;
use crate::threads::{Team, share_in_steps};

pub use forward::attention_reference;

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
}

/// An attention layer: its sizes, and what changes its scores and probabilities.
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a> {
    /// The number and the size of the heads.
    pub shape: AttentionShape,
    /// `[H, 2·L − 1]`: what is added to the score of a query and a key after the division by `√K`.
    /// The column is `key − query + L − 1`; `L` is any length that no sequence exceeds.
    pub bias: Option<&'a [f32]>,
    /// The largest distance of a key to which a query attends; `None` for all keys of the sequence.
    pub window: Option<usize>,
    /// Dropout of the probabilities.
    pub dropout: Dropout,
    /// `[N]`, see [`dropout`](crate::Cpu::dropout): a mask belongs to the row of the query, the
    /// features are head and position of the key. May be empty where nothing is dropped.
    pub rows: &'a [u64],
}

impl<'a> Attention<'a> {
    /// Attention to all keys of a sequence, without bias and dropout.
    pub fn new(shape: AttentionShape) -> Self {
        Self { shape, bias: None, window: None, dropout: Dropout::none(), rows: &[] }
    }

    /// Checks that `qkv` is `[N, 3·D]`, `out` `[N, D]`, and the rest as long as it must be.
    fn check_lengths(&self, qkv: usize, offsets: &[usize], out: usize) {
        let tokens = *offsets.last().expect("offsets have one entry more than sequences");
        assert!(offsets.is_sorted(), "offsets grow");
        assert_eq!(qkv, tokens * 3 * self.shape.width(), "length of qkv");
        assert_eq!(out, tokens * self.shape.width(), "length of the output");
        assert!(self.dropout.is_none() || self.rows.len() == tokens, "an identity for each token");
        if let Some(bias) = self.bias {
            let columns = bias.len() / self.shape.heads;
            assert_eq!(bias.len(), self.shape.heads * columns, "a row of the bias for each head");
            assert!(columns % 2 == 1, "as many distances to the left as to the right");
            let longest = offsets.windows(2).map(|s| s[1] - s[0]).max().unwrap_or(0);
            assert!(longest <= columns.div_ceil(2), "a bias for each distance");
        }
    }

    /// The identities of these tokens; empty where nothing is dropped.
    fn rows_of(&self, tokens: Range<usize>) -> &'a [u64] {
        if self.dropout.is_none() { &[] } else { &self.rows[tokens] }
    }

    /// The keys in reach of each query.
    fn reach(&self) -> Reach {
        Reach(self.window.unwrap_or(usize::MAX))
    }

    /// The bias of this head.
    fn bias_of(&self, head: usize) -> Option<BiasRow<'a>> {
        self.bias.map(|bias| {
            let columns = bias.len() / self.shape.heads;
            BiasRow(&bias[head * columns..][..columns])
        })
    }
}

/// The largest distance of a key to which a query attends.
#[derive(Clone, Copy)]
struct Reach(usize);

impl Reach {
    /// The keys of a sequence of `tokens` tokens to which any of `queries` attends.
    #[inline(always)]
    fn keys(self, queries: &Range<usize>, tokens: usize) -> Range<usize> {
        queries.start.saturating_sub(self.0)..tokens.min(queries.end.saturating_add(self.0))
    }

    /// Returns true if a query of a sequence of `tokens` tokens does not reach all its keys.
    fn is_short(self, tokens: usize) -> bool {
        self.0 < tokens - 1
    }

    /// Most keys that `queries` queries of a sequence of `tokens` tokens attend to.
    fn most_keys(self, queries: usize, tokens: usize) -> usize {
        tokens.min(queries.saturating_add(self.0.saturating_mul(2)))
    }

    /// Sets the scores of keys out of reach to −∞, whose exponential is 0.
    ///
    /// - `scores`: the scores of `query` for the keys from `first_key` on
    #[inline(always)]
    fn mask(self, scores: &mut [f32], query: usize, first_key: usize) {
        let keys = self.keys(&(query..query + 1), first_key + scores.len());
        scores[..keys.start.saturating_sub(first_key)].fill(f32::NEG_INFINITY);
        scores[keys.end - first_key..].fill(f32::NEG_INFINITY);
    }
}

/// `[2·L − 1]`: the bias of one head.
#[derive(Clone, Copy)]
struct BiasRow<'a>(&'a [f32]);

impl BiasRow<'_> {
    /// `scores · scale + bias`, in place.
    ///
    /// - `scores`: the scores of `query` for the keys from `first_key` on
    #[inline(always)]
    fn add<S: Simd>(
        self,
        simd: S,
        scores: &mut [f32],
        (query, first_key): (usize, usize),
        scale: S::V,
    ) {
        let bias = &self.0[self.0.len() / 2 + first_key - query..][..scores.len()];
        let mut at = 0;
        while at < scores.len() {
            let lanes = S::LANES.min(scores.len() - at);
            // SAFETY: `lanes` numbers from `at` on are among both.
            unsafe {
                let bias = simd.load_first(bias.as_ptr().add(at), lanes);
                let scores = scores.as_mut_ptr().add(at);
                let sum = simd.mul_add(simd.load_first(scores, lanes), scale, bias);
                simd.store_first(sum, scores, lanes);
            }
            at += S::LANES;
        }
    }
}

/// Calls `work` with the tokens of each sequence, each of its heads, and blocks of at most about
/// `rows` of its queries, spread over the team.
fn each_head(
    team: &Team,
    heads: usize,
    offsets: &[usize],
    rows: usize,
    work: &(dyn Fn(Range<usize>, usize, Range<usize>) + Sync),
) {
    let longest = offsets.windows(2).map(|s| s[1] - s[0]).max().unwrap_or(0);
    // Shorter sequences have fewer blocks: their last items are empty.
    let blocks = longest.div_ceil(rows).max(1);
    let items = (offsets.len() - 1) * heads * blocks;
    let parts = if team.parts() == 1 { 1 } else { items.min(8 * team.parts()) };
    team.run(parts, &|part| {
        for item in items * part / parts..items * (part + 1) / parts {
            let (block, item) = (item % blocks, item / blocks);
            let (sequence, head) = (item / heads, item % heads);
            let tokens = offsets[sequence]..offsets[sequence + 1];
            let own_blocks = tokens.len().div_ceil(rows);
            if block < own_blocks {
                let queries = share_in_steps(tokens.len(), ROWS_STEP, (block, own_blocks));
                work(tokens, head, queries);
            }
        }
    });
}

/// Blocks of queries end at a multiple of this, itself one of the rows that any instruction set
/// takes at a time: so where they end changes no result.
const ROWS_STEP: usize = 48;

/// What names the probability of key 0 in the dropout of a query's row; those of
/// the other keys follow. Heads stay apart up to 2²⁰ tokens.
#[inline(always)]
fn first_feature(head: usize) -> u32 {
    (head as u32) << 20
}

/// The probabilities of query `i` for the keys of its sequence, before dropout,
/// and what dropout multiplies them by.
///
/// - `bias`: that of `attention` in double precision
fn probabilities_reference(
    attention: &Attention,
    bias: Option<&[f64]>,
    qkv: &[f64],
    sequence: (usize, usize),
    (head, i): (usize, usize),
) -> (Vec<f64>, Vec<f64>) {
    let Attention { shape, dropout, rows, .. } = attention;
    let (size, width) = (shape.head_size, shape.width());
    let at = |row: usize, column: usize| qkv[row * 3 * width + column];
    let score = |j: usize| {
        if j.abs_diff(i) > attention.window.unwrap_or(usize::MAX) {
            return f64::NEG_INFINITY;
        }
        let columns = head * size..(head + 1) * size;
        let product: f64 = columns.map(|c| at(i, c) * at(j, width + c)).sum();
        let bias = bias.map_or(0.0, |bias| {
            let columns = bias.len() / shape.heads;
            bias[head * columns + columns / 2 + j - i]
        });
        product / (size as f64).sqrt() + bias
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
