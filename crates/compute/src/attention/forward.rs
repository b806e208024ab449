//! The forward of attention.
//!
//! A few query rows are taken at a time against all keys in their reach: their
//! scores are the only `[rows, T]` matrix there ever is.

use std::cell::RefCell;
use std::ops::Range;

use super::soft_max::exponentials;
use super::{Attention, BiasRow, Reach, each_head, first_feature, probabilities_reference};
use crate::cpu::Cpu;
use crate::dropout::Dropout;
use crate::linear::{Left, Start, Tile, tile, tile_vectors, transpose};
use crate::memory::Buffer;
use crate::simd::{Op, Simd};
use crate::threads::SharedPointer;

/// Query rows at a time: enough to hide the latency of the arithmetic, few
/// enough that their addresses fit the general registers.
pub(super) const QUERY_ROWS: usize = 6;

/// Queries that one part of a team takes at a time: keys and values are packed for each part.
const ROWS_PER_PART: usize = 512;
/// Keys of a query beyond which [`LONG_GROUPS`] groups of query rows share what they read of packed
/// keys and values: then those of a head do not stay in the second cache.
const LONG: usize = 512;
const LONG_GROUPS: usize = 4;
/// Panels of keys, and values, that the groups read before they go on to the next ones.
const PANELS_AT_ONCE: usize = 16;
const VALUES_AT_ONCE: usize = 512;

/// Attention.
impl Cpu<'_> {
    /// `out = softmax(q kᵀ / √K + bias) v` for every sequence and head, over the keys in the window.
    ///
    /// - `qkv`: `[N, 3·D]`: queries, keys and values beside each other, `D = H·K`
    /// - `offsets`: `[B + 1]`, where each sequence begins; the last entry is `N`
    /// - `out`: `[N, D]`
    ///
    /// # Panics
    /// If the lengths do not fit or the offsets do not grow.
    pub fn attention(self, attention: Attention, qkv: &[f32], offsets: &[usize], out: &mut [f32]) {
        let Self { team, isa, .. } = self;
        let Attention { shape, dropout, .. } = attention;
        let (size, width) = (shape.head_size, shape.width());
        attention.check_lengths(qkv.len(), offsets, out.len());
        let out = SharedPointer(out.as_mut_ptr());
        each_head(team, shape.heads, offsets, ROWS_PER_PART, &|tokens, head, queries| {
            // Columns of this head in the rows of this sequence.
            let (wide, narrow) = (tokens.start * 3 * width, tokens.start * width);
            SCRATCH.with_borrow_mut(|scratch| {
                isa.run(ForwardQueries {
                    size,
                    width,
                    tokens: tokens.len(),
                    queries,
                    reach: attention.reach(),
                    qkv: &qkv[wide + head * size..],
                    // SAFETY: within `out`, whose length was checked.
                    out: SharedPointer(unsafe { out.get().add(narrow + head * size) }),
                    bias: attention.bias_of(head),
                    dropout,
                    rows: attention.rows_of(tokens),
                    first_feature: first_feature(head),
                    scratch,
                });
            });
        });
    }
}

/// The plain loops in double precision: document and oracle of [`attention`](Cpu::attention).
pub fn attention_reference(attention: Attention, qkv: &[f32], offsets: &[usize], out: &mut [f32]) {
    let wide = |values: &[f32]| values.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
    let (qkv, bias, mut exact) = (wide(qkv), attention.bias.map(wide), vec![0.0; out.len()]);
    exact_attention(&attention, bias.as_deref(), &qkv, offsets, &mut exact);
    for (out, exact) in out.iter_mut().zip(exact) {
        *out = exact as f32;
    }
}

/// [`attention_reference`] of numbers in double precision.
///
/// - `bias`: `[H, 2·L − 1]`, in place of that of `attention`
pub(super) fn exact_attention(
    attention: &Attention,
    bias: Option<&[f64]>,
    qkv: &[f64],
    offsets: &[usize],
    out: &mut [f64],
) {
    attention.check_lengths(qkv.len(), offsets, out.len());
    let shape = attention.shape;
    let (size, width) = (shape.head_size, shape.width());
    for sequence in offsets.windows(2) {
        let sequence = (sequence[0], sequence[1]);
        for head in 0..shape.heads {
            for i in sequence.0..sequence.1 {
                let (p, m) = probabilities_reference(attention, bias, qkv, sequence, (head, i));
                for c in head * size..(head + 1) * size {
                    let value = |j: usize| qkv[(sequence.0 + j) * 3 * width + 2 * width + c];
                    out[i * width + c] = (0..p.len()).map(|j| p[j] * m[j] * value(j)).sum();
                }
            }
        }
    }
}

thread_local! {
    static SCRATCH: RefCell<Buffer> = RefCell::new(Buffer::default());
}

/// Some queries of one head of one sequence.
struct ForwardQueries<'a> {
    /// `K`
    size: usize,
    /// `D`: rows of `qkv` are `3·D` apart, those of `out` `D`; a key stands `D` behind the query of
    /// its token, a value `2·D`.
    width: usize,
    /// `T`
    tokens: usize,
    /// Not empty.
    queries: Range<usize>,
    reach: Reach,
    qkv: &'a [f32],
    out: SharedPointer,
    bias: Option<BiasRow<'a>>,
    dropout: Dropout,
    /// Identities of the queries of the sequence; empty where nothing is dropped.
    rows: &'a [u64],
    first_feature: u32,
    scratch: &'a mut Buffer,
}

impl Op for ForwardQueries<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        tile_vectors!(S, self.attend(simd))
    }
}

impl ForwardQueries<'_> {
    #[inline(always)]
    fn attend<S: Simd, const VECTORS: usize>(self, simd: S) {
        let width = VECTORS * S::LANES;
        let Self { size, tokens, reach, .. } = self;
        let row = 3 * self.width;
        assert!(
            self.qkv.len() >= (tokens - 1) * row + 2 * self.width + size,
            "rows of the sequence"
        );
        let rows_at_once = QUERY_ROWS.min(S::TILE_ROWS);
        let is_long = reach.most_keys(1, tokens) > LONG;
        let groups = if is_long { LONG_GROUPS } else { 1 };

        let packed = reach.keys(&self.queries, tokens);
        let count = packed.len();
        let key_panels = count.div_ceil(width);
        let value_panels = size.div_ceil(width);
        // Whole vectors of scores may begin at any key.
        let scores_row = key_panels * width + S::LANES;
        let out_row = value_panels * width;
        let rows_of_scores = groups * QUERY_ROWS;
        self.scratch.resize(
            key_panels * size * width
                + value_panels * count * width
                + rows_of_scores * (scores_row + out_row),
        );
        let (keys, rest) = self.scratch.split_at_mut(key_panels * size * width);
        let (values, rest) = rest.split_at_mut(value_panels * count * width);
        let (scores, sums) = rest.split_at_mut(rows_of_scores * scores_row);

        // SAFETY: the rows have just been checked, the panels sized.
        unsafe {
            let from = self.qkv.as_ptr().add(packed.start * row + self.width);
            pack_transposed(simd, from, row, (count, size), width, keys);
            let from = self.qkv.as_ptr().add(packed.start * row + 2 * self.width);
            pack_rows(simd, from, row, (count, size), width, values);
        }

        let scale = simd.splat(1.0 / (size as f32).sqrt());
        // Scores to which a bias has been added are scaled already.
        let rest_of_scale = if self.bias.is_some() { simd.splat(1.0) } else { scale };
        let mut first = self.queries.start;
        while first < self.queries.end {
            let end = self.queries.end.min(first + groups * rows_at_once);
            let reached = reach.keys(&(first..end), tokens);
            // Columns of the scores: keys are counted from the first one that is packed.
            let (from, count) = (reached.start - packed.start, reached.len());

            let mut panel = from / width;
            while panel * width < from + count {
                let panels = panel..(from + count).div_ceil(width).min(panel + PANELS_AT_ONCE);
                let mut group = 0;
                while first + group * rows_at_once < end {
                    let query = first + group * rows_at_once;
                    for panel in panels.clone() {
                        // SAFETY: queries, packed panels and scores have been sized for these.
                        unsafe {
                            let scores = scores.as_mut_ptr().add(group * QUERY_ROWS * scores_row);
                            let product = Tile {
                                rows: rows_at_once.min(end - query),
                                depth: size,
                                left: Left { at: self.qkv.as_ptr().add(query * row), row, step: 1 },
                                right: keys.as_ptr().add(panel * size * width),
                                out: scores.add(panel * width),
                                out_row: scores_row,
                                start: Start::Zero,
                                next_panel: None,
                            };
                            tile::<S, VECTORS>(simd, product);
                        }
                    }
                    group += 1;
                }
                panel = panels.end;
            }

            let mut totals = [[0.0; QUERY_ROWS]; LONG_GROUPS];
            let mut group = 0;
            while first + group * rows_at_once < end {
                let query = first + group * rows_at_once;
                let scores = &mut scores[group * QUERY_ROWS * scores_row + from..];
                let rows = rows_at_once.min(end - query);
                let mut i = 0;
                while i < rows {
                    let scores = &mut scores[i * scores_row..][..count];
                    if let Some(bias) = self.bias {
                        bias.add(simd, scores, (query + i, reached.start), scale);
                    }
                    reach.mask(scores, query + i, reached.start);
                    i += 1;
                }
                // SAFETY: so many rows have been sized, and vectors beyond the last key.
                totals[group] = unsafe {
                    exponentials(simd, scores.as_mut_ptr(), scores_row, count, rest_of_scale)
                };
                i = 0;
                // After the sums: what is dropped still counts in the other probabilities.
                while i < rows && !self.dropout.is_none() {
                    let weights = &mut scores[i * scores_row..][..count];
                    let feature = self.first_feature.wrapping_add(reached.start as u32);
                    self.dropout.scale_row(self.rows[query + i], feature, weights);
                    i += 1;
                }
                group += 1;
            }

            let mut key = from;
            while key < from + count {
                let depth = VALUES_AT_ONCE.min(from + count - key);
                let mut group = 0;
                while first + group * rows_at_once < end {
                    let query = first + group * rows_at_once;
                    for panel in 0..value_panels {
                        // SAFETY: packed panels, scores and sums have been sized for these.
                        unsafe {
                            let scores = scores.as_ptr().add(group * QUERY_ROWS * scores_row);
                            let sums = sums.as_mut_ptr().add(group * QUERY_ROWS * out_row);
                            let product = Tile {
                                rows: rows_at_once.min(end - query),
                                depth,
                                left: Left { at: scores.add(key), row: scores_row, step: 1 },
                                right: values.as_ptr().add((panel * packed.len() + key) * width),
                                out: sums.add(panel * width),
                                out_row,
                                start: if key == from { Start::Zero } else { Start::Out },
                                next_panel: None,
                            };
                            tile::<S, VECTORS>(simd, product);
                        }
                    }
                    group += 1;
                }
                key += depth;
            }

            let mut query = first;
            while query < end {
                let (group, i) = ((query - first) / rows_at_once, (query - first) % rows_at_once);
                let factor = simd.splat(1.0 / totals[group][i]);
                let mut at = 0;
                while at < size {
                    // SAFETY: sums have been sized for these rows; the output rows of this head
                    // belong to this call alone.
                    unsafe {
                        let sums = sums.as_ptr().add((group * QUERY_ROWS + i) * out_row);
                        simd.store_first(
                            simd.mul(simd.load(sums.add(at)), factor),
                            self.out.get().add(query * self.width + at),
                            S::LANES.min(size - at),
                        );
                    }
                    at += S::LANES;
                }
                query += 1;
            }
            first = end;
        }
    }
}

/// Panels of `width` tokens, each `[size, width]`; the last one is filled up with zeros.
///
/// # Safety
/// `size` numbers must be readable in each of `tokens` rows, `row` apart.
#[inline(always)]
pub(super) unsafe fn pack_transposed<S: Simd>(
    simd: S,
    from: *const f32,
    row: usize,
    (tokens, size): (usize, usize),
    width: usize,
    to: &mut [f32],
) {
    for (panel, to) in to.chunks_exact_mut(size * width).enumerate() {
        let first = panel * width;
        let count = width.min(tokens - first);
        if count < width {
            to.fill(0.0);
        }
        // SAFETY: the caller's rows; panels are `size · width` long, and rows of them whole vectors.
        unsafe {
            let from = from.add(first * row);
            transpose(simd, from, row, (count, size), to.as_mut_ptr(), width);
        }
    }
}

/// Panels of `width` columns, each `[tokens, width]`; the last one is filled up with zeros.
///
/// # Safety
/// As [`pack_transposed`].
#[inline(always)]
pub(super) unsafe fn pack_rows<S: Simd>(
    simd: S,
    from: *const f32,
    row: usize,
    (tokens, size): (usize, usize),
    width: usize,
    to: &mut [f32],
) {
    for (panel, to) in to.chunks_exact_mut(tokens * width).enumerate() {
        for (token, to) in to.chunks_exact_mut(width).enumerate() {
            for (vector, to) in to.chunks_exact_mut(S::LANES).enumerate() {
                let column = panel * width + vector * S::LANES;
                let count = S::LANES.min(size.saturating_sub(column));
                // SAFETY: the caller's rows; `to` is a vector long.
                unsafe {
                    let values = from.wrapping_add(token * row + column);
                    simd.store(simd.load_first(values, count), to.as_mut_ptr());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::AttentionShape;
    use crate::simd::Isa;
    use crate::testing::numbers;
    use crate::threads::{Team, Threads};

    #[test]
    fn follows_the_plain_loops_at_any_size() {
        for isa in Isa::available() {
            for (heads, head_size) in [(1, 1), (4, 10), (3, 16), (2, 32), (2, 64), (1, 100)] {
                let shape = AttentionShape { heads, head_size };
                let offsets = [0, 1, 1, 8, 41, 100, 200];
                let width = heads * head_size;
                // Spread out, so that some weights are near 1 and others near 0.
                let qkv: Vec<f32> = numbers(200 * 3 * width, 1).iter().map(|x| 3.0 * x).collect();
                let (mut fast, mut exact) = (vec![f32::NAN; 200 * width], vec![0.0; 200 * width]);
                Cpu::new(&Team::solo(), isa).attention(
                    Attention::new(shape),
                    &qkv,
                    &offsets,
                    &mut fast,
                );
                attention_reference(Attention::new(shape), &qkv, &offsets, &mut exact);
                for (i, (a, b)) in fast.iter().zip(&exact).enumerate() {
                    // Scores of up to 100 carry errors of some 1e-5, which the exponential keeps.
                    assert!(
                        (a - b).abs() < 1e-4,
                        "{shape:?} on {} at {i}: {a}, not {b}",
                        isa.name()
                    );
                }
            }
        }
    }

    #[test]
    fn a_sequence_has_the_same_bits_in_any_batch_and_team() {
        let shape = AttentionShape { heads: 3, head_size: 20 };
        // An empty sequence at the end, too.
        let offsets = [0, 7, 40, 41, 90, 90];
        let qkv = numbers(90 * 180, 2);
        for isa in Isa::available() {
            let mut whole = vec![0.0; 90 * 60];
            Cpu::new(&Team::solo(), isa).attention(
                Attention::new(shape),
                &qkv,
                &offsets,
                &mut whole,
            );
            for s in offsets.windows(2) {
                let mut alone = vec![0.0; (s[1] - s[0]) * 60];
                let part = &qkv[s[0] * 180..s[1] * 180];
                Cpu::new(&Team::solo(), isa).attention(
                    Attention::new(shape),
                    part,
                    &[0, s[1] - s[0]],
                    &mut alone,
                );
                assert_eq!(alone, whole[s[0] * 60..s[1] * 60]);
            }
            let mut together = vec![0.0; 90 * 60];
            let threads = Threads::new(3).expect("threads");
            threads.team(|team| {
                Cpu::new(team, isa).attention(Attention::new(shape), &qkv, &offsets, &mut together)
            });
            assert_eq!(whole, together);
        }
    }

    #[test]
    fn a_nan_stays_visible() {
        let shape = AttentionShape { heads: 1, head_size: 4 };
        let mut qkv = numbers(3 * 12, 3);
        qkv[5] = f32::NAN;
        let mut out = vec![0.0; 12];
        Cpu::new(&Team::solo(), Isa::detect()).attention(
            Attention::new(shape),
            &qkv,
            &[0, 3],
            &mut out,
        );
        assert!(out.iter().any(|x| x.is_nan()));
    }
}
