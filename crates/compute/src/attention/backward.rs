//! The backward of attention.
//!
//! A block of query rows at a time: their probabilities are computed again from
//! queries and keys (the forward keeps none), then five small products give the
//! three gradients. Those of keys and values are summed over the blocks.

use std::cell::RefCell;
use std::ops::Range;

use super::forward::{QUERY_ROWS, pack_rows, pack_transposed};
use super::soft_max::{SoftMaxRow, exponentials};
use super::{Attention, BiasRow, Reach, each_head, first_feature};
use crate::cpu::Cpu;
use crate::dropout::Dropout;
use crate::linear::{Left, Start, Tile, tile, tile_columns, tile_vectors};
use crate::memory::Buffer;
use crate::simd::{Op, Simd};
use crate::threads::SharedPointer;

/// Query rows at a time: the depth of the products for keys and values. A
/// multiple of the rows of every register tile.
const BLOCK_ROWS: usize = 96;
/// The same with a window: fewer rows have fewer keys in reach that some of them do not reach.
const WINDOW_BLOCK_ROWS: usize = 48;
/// Panels of keys and values that the rows of a block read before they go on to the next ones:
/// those of a long sequence do not stay in the second cache.
const PANELS_AT_ONCE: usize = 16;
/// Numbers between two rows of scores that are not used: rows a power of two
/// apart would share few places of the first cache.
const GAP: usize = 16;

/// The backward of attention.
impl Cpu<'_> {
    /// The gradients of queries, keys and values, and of the bias.
    ///
    /// - `attention`, `qkv`: `[N, 3·D]`, `offsets`: `[B + 1]`: what
    ///   [`attention`](Self::attention) was given
    /// - `out`: `[N, D]`, what it gave; `dout`: `[N, D]`
    /// - `dqkv`: `[N, 3·D]`, overwritten
    /// - `dbias`: `[H, 2·L − 1]`, added to; `None` where there is no bias, or it is frozen
    ///
    /// Each number of `dbias` is one chain over the sequences, in order, which begins with what is
    /// in the buffer. Layers that share a bias need a buffer each until the step's last sequence:
    /// otherwise the order of the sum would depend on how the step is cut into calls.
    ///
    /// # Panics
    /// If the lengths do not fit or the offsets do not grow.
    #[expect(clippy::too_many_arguments, reason = "what forward had, and three gradients")]
    pub fn attention_backward(
        self,
        attention: Attention,
        qkv: &[f32],
        offsets: &[usize],
        out: &[f32],
        dout: &[f32],
        dqkv: &mut [f32],
        dbias: Option<&mut [f32]>,
    ) {
        let Self { team, isa, .. } = self;
        let Attention { shape, dropout, .. } = attention;
        let (size, width) = (shape.head_size, shape.width());
        attention.check_lengths(qkv.len(), offsets, out.len());
        assert_eq!(dout.len(), out.len(), "length of the gradient");
        assert_eq!(dqkv.len(), qkv.len(), "length of the gradient of qkv");
        let dqkv = SharedPointer(dqkv.as_mut_ptr());
        DISTANCES.with_borrow_mut(|distances| {
            let sums_bias = dbias.is_some();
            distances.resize(if sums_bias {
                2 * shape.heads * (qkv.len() / (3 * width))
            } else {
                0
            });
            let distances_at = SharedPointer(distances.as_mut_ptr());
            each_head(team, shape.heads, offsets, usize::MAX, &|tokens, head, _| {
                // Columns of this head in the rows of this sequence.
                let wide = tokens.start * 3 * width + head * size;
                let narrow = tokens.start * width + head * size;
                let distances = distances_of(shape.heads, &tokens, head);
                SCRATCH.with_borrow_mut(|scratch| {
                    isa.run(BackwardHead {
                        size,
                        width,
                        tokens: tokens.len(),
                        reach: attention.reach(),
                        qkv: &qkv[wide..],
                        out: &out[narrow..],
                        dout: &dout[narrow..],
                        // SAFETY: within `dqkv`, whose length was checked.
                        dqkv: SharedPointer(unsafe { dqkv.get().add(wide) }),
                        bias: attention.bias_of(head),
                        // SAFETY: the buffer has been sized for all of them; each belongs to one
                        // call.
                        distances: sums_bias.then(|| unsafe { distances_at.slice(distances) }),
                        dropout,
                        rows: attention.rows_of(tokens),
                        first_feature: first_feature(head),
                        scratch,
                    });
                });
            });
            if let Some(dbias) = dbias {
                assert_eq!(Some(dbias.len()), attention.bias.map(<[f32]>::len), "length of dbias");
                let columns = dbias.len() / shape.heads;
                team.run_rows(dbias, columns, 1, &|heads, dbias| {
                    for (head, dbias) in heads.zip(dbias.chunks_exact_mut(columns)) {
                        for sequence in offsets.windows(2) {
                            let tokens = sequence[0]..sequence[1];
                            let from = &distances[distances_of(shape.heads, &tokens, head)];
                            let first = columns / 2 + 1 - tokens.len();
                            for (dbias, sum) in dbias[first..].iter_mut().zip(from) {
                                *dbias += sum;
                            }
                        }
                    }
                });
            }
        });
    }
}

thread_local! {
    static SCRATCH: RefCell<Buffer> = RefCell::new(Buffer::default());
    /// The sums over the queries of each head of each sequence, by the distance of the key.
    static DISTANCES: RefCell<Buffer> = RefCell::new(Buffer::default());
}

/// The places of the `2·T − 1` sums by distance of one head of a sequence.
fn distances_of(heads: usize, tokens: &Range<usize>, head: usize) -> Range<usize> {
    let first = 2 * (heads * tokens.start + head * tokens.len());
    first..first + (2 * tokens.len()).saturating_sub(1)
}

/// One head of one sequence.
struct BackwardHead<'a> {
    /// `K`
    size: usize,
    /// `D`: rows of `qkv` and `dqkv` are `3·D` apart, those of `out` and `dout` `D`;
    /// a key stands `D` behind the query of its token, a value `2·D`.
    width: usize,
    /// `T`, not 0.
    tokens: usize,
    reach: Reach,
    qkv: &'a [f32],
    out: &'a [f32],
    dout: &'a [f32],
    dqkv: SharedPointer,
    bias: Option<BiasRow<'a>>,
    /// `[2·T − 1]`: the gradient of the bias by this sequence, overwritten; `None` where it is
    /// not needed.
    distances: Option<&'a mut [f32]>,
    dropout: Dropout,
    /// Identities of the queries; empty where nothing is dropped.
    rows: &'a [u64],
    first_feature: u32,
    scratch: &'a mut Buffer,
}

impl Op for BackwardHead<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        tile_vectors!(S, self.gradients(simd))
    }
}

impl BackwardHead<'_> {
    #[inline(always)]
    fn gradients<S: Simd, const VECTORS: usize>(mut self, simd: S) {
        let panel_width = VECTORS * S::LANES;
        let Self { size, width, tokens, reach, qkv, out, dout, .. } = self;
        assert!(qkv.len() >= (tokens - 1) * 3 * width + 2 * width + size, "rows of the sequence");
        assert!(dout.len() >= (tokens - 1) * width + size && out.len() >= dout.len());
        let token_panels = tokens.div_ceil(panel_width);
        let size_panels = size.div_ceil(panel_width);
        let is_short = reach.is_short(tokens);
        let block_rows = if is_short { WINDOW_BLOCK_ROWS } else { BLOCK_ROWS }.min(tokens);
        // Rows of scores are the whole panels that have the keys in reach, and a gap.
        let most_panels = reach.most_keys(block_rows, tokens).div_ceil(panel_width) + 1;
        let scores_row = most_panels.min(token_panels) * panel_width + GAP;
        let (across, along) =
            (token_panels * size * panel_width, size_panels * tokens * panel_width);
        // Rows of scores are taken in whole groups.
        let rows = block_rows.next_multiple_of(QUERY_ROWS);
        self.scratch.resize(2 * across + 3 * along + (2 * rows + 1) * scores_row);
        let (keys_across, rest) = self.scratch.split_at_mut(across);
        let (values_across, rest) = rest.split_at_mut(across);
        let (queries, rest) = rest.split_at_mut(along);
        let (keys, rest) = rest.split_at_mut(along);
        let (douts, rest) = rest.split_at_mut(along);
        let (weights, rest) = rest.split_at_mut(rows * scores_row);
        let (slopes, factors) = rest.split_at_mut(rows * scores_row);

        let shape = (tokens, size);
        // SAFETY: the rows have just been checked, the panels sized.
        unsafe {
            let (key, value) = (qkv.as_ptr().add(width), qkv.as_ptr().add(2 * width));
            pack_transposed(simd, key, 3 * width, shape, panel_width, keys_across);
            pack_transposed(simd, value, 3 * width, shape, panel_width, values_across);
            pack_rows(simd, qkv.as_ptr(), 3 * width, shape, panel_width, queries);
            pack_rows(simd, key, 3 * width, shape, panel_width, keys);
            pack_rows(simd, dout.as_ptr(), width, shape, panel_width, douts);
        }

        let scale = simd.splat(1.0 / (size as f32).sqrt());
        // Scores to which a bias has been added are scaled already.
        let rest_of_scale = if self.bias.is_some() { simd.splat(1.0) } else { scale };
        if let Some(distances) = &mut self.distances {
            distances.fill(0.0);
        }
        let mut token = 0;
        // A block of queries does not reach all keys: their sums begin before the first block.
        while is_short && token < tokens {
            // SAFETY: columns of this head in a row of the sequence.
            unsafe {
                let dkey = self.dqkv.get().add(token * 3 * width + width);
                std::ptr::write_bytes(dkey, 0, size);
                std::ptr::write_bytes(dkey.add(width), 0, size);
            }
            token += 1;
        }
        let rows_at_once = QUERY_ROWS.min(S::TILE_ROWS);
        let mut first = 0;
        while first < tokens {
            let block = block_rows.min(tokens - first);
            // SAFETY (of all blocks below): operands and results are the panels and rows that have
            // just been sized, and rows of this head in buffers that have been checked; its columns
            // of `dqkv` belong to this call alone.
            let reached = reach.keys(&(first..first + block), tokens);
            let panels = reached.start / panel_width..reached.end.div_ceil(panel_width);
            // Columns of the scores are counted from the first key of the first panel.
            let first_column = panels.start * panel_width;
            let (from, count) = (reached.start - first_column, reached.len());
            let mut at_once = panels.start;
            while at_once < panels.end {
                let end = panels.end.min(at_once + PANELS_AT_ONCE);
                let mut i = 0;
                while i < block {
                    let rows = rows_at_once.min(block - i);
                    for panel in at_once..end {
                        // SAFETY: see above.
                        unsafe {
                            let query = qkv.as_ptr().add((first + i) * 3 * width);
                            let scores = i * scores_row + panel * panel_width - first_column;
                            let product = Tile {
                                rows,
                                depth: size,
                                left: Left { at: query, row: 3 * width, step: 1 },
                                right: keys_across.as_ptr().add(panel * size * panel_width),
                                out: weights.as_mut_ptr().add(scores),
                                out_row: scores_row,
                                start: Start::Zero,
                                next_panel: None,
                            };
                            tile::<S, VECTORS>(simd, product);
                            let dout = dout.as_ptr().add((first + i) * width);
                            let product = Tile {
                                left: Left { at: dout, row: width, step: 1 },
                                right: values_across.as_ptr().add(panel * size * panel_width),
                                out: slopes.as_mut_ptr().add(scores),
                                ..product
                            };
                            tile::<S, VECTORS>(simd, product);
                        }
                    }
                    i += rows;
                }
                at_once = end;
            }

            let mut i = 0;
            while i < block {
                let scores = &mut weights[i * scores_row + from..][..count];
                if let Some(bias) = self.bias {
                    bias.add(simd, scores, (first + i, reached.start), scale);
                }
                reach.mask(scores, first + i, reached.start);
                i += 1;
            }

            let mut totals = [0.0; QUERY_ROWS];
            i = 0;
            while i < block {
                // SAFETY: see above.
                unsafe {
                    let weights = weights.as_mut_ptr().add(i * scores_row + from);
                    let slopes = slopes.as_mut_ptr().add(i * scores_row + from);
                    if i.is_multiple_of(QUERY_ROWS) {
                        totals = exponentials(simd, weights, scores_row, count, rest_of_scale);
                    }
                    let total = totals[i % QUERY_ROWS];
                    let at = (first + i) * width;
                    let mean = dot(simd, out.as_ptr().add(at), dout.as_ptr().add(at), size);
                    // The sum of distance 0 has `tokens − 1` others before it.
                    let distances = self
                        .distances
                        .as_mut()
                        .map(|sums| sums[tokens - 1 + reached.start - (first + i)..].as_mut_ptr());
                    let row = SoftMaxRow { weights, slopes, count, total, mean, scale, distances };
                    if self.dropout.is_none() {
                        row.backward(simd, None);
                    } else {
                        let factors = &mut factors[..count];
                        let feature = self.first_feature.wrapping_add(reached.start as u32);
                        self.dropout.factors(self.rows[first + i], feature, factors);
                        row.backward(simd, Some(factors.as_ptr()));
                    }
                }
                i += 1;
            }

            // Keys and values: sums over the queries of this block.
            let start = if first == 0 && !is_short { Start::Zero } else { Start::Out };
            let mut j = reached.start;
            while j < reached.end {
                let rows = S::TILE_ROWS.min(reached.end - j);
                let column = j - first_column;
                for panel in 0..size_panels {
                    let columns = panel_width.min(size - panel * panel_width);
                    // SAFETY: see above.
                    unsafe {
                        let to = self.dqkv.get().add(j * 3 * width + panel * panel_width);
                        let right = (panel * tokens + first) * panel_width;
                        let product = Tile {
                            rows,
                            depth: block,
                            left: Left {
                                at: slopes.as_ptr().add(column),
                                row: 1,
                                step: scores_row,
                            },
                            right: queries.as_ptr().add(right),
                            out: to.add(width),
                            out_row: 3 * width,
                            start,
                            next_panel: None,
                        };
                        tile_columns::<S, VECTORS>(simd, product, columns);
                        let product = Tile {
                            left: Left {
                                at: weights.as_ptr().add(column),
                                row: 1,
                                step: scores_row,
                            },
                            right: douts.as_ptr().add(right),
                            out: to.add(2 * width),
                            ..product
                        };
                        tile_columns::<S, VECTORS>(simd, product, columns);
                    }
                }
                j += rows;
            }

            i = 0;
            while i < block {
                let rows = rows_at_once.min(block - i);
                for panel in 0..size_panels {
                    let columns = panel_width.min(size - panel * panel_width);
                    // SAFETY: see above.
                    unsafe {
                        let at = slopes.as_ptr().add(i * scores_row + from);
                        let key = panel * tokens + reached.start;
                        let to = (first + i) * 3 * width + panel * panel_width;
                        let product = Tile {
                            rows,
                            depth: count,
                            left: Left { at, row: scores_row, step: 1 },
                            right: keys.as_ptr().add(key * panel_width),
                            out: self.dqkv.get().add(to),
                            out_row: 3 * width,
                            start: Start::Zero,
                            next_panel: None,
                        };
                        tile_columns::<S, VECTORS>(simd, product, columns);
                    }
                }
                i += rows;
            }
            first += block;
        }
    }
}

/// `Σ a · b`
///
/// # Safety
/// `count` numbers must be readable at both.
#[inline(always)]
unsafe fn dot<S: Simd>(simd: S, a: *const f32, b: *const f32, count: usize) -> f32 {
    let mut sum = simd.splat(0.0);
    let mut at = 0;
    while at < count {
        let lanes = S::LANES.min(count - at);
        // SAFETY: `lanes` numbers from `at` on are among those.
        unsafe {
            sum = simd.mul_add(
                simd.load_first(a.add(at), lanes),
                simd.load_first(b.add(at), lanes),
                sum,
            );
        }
        at += S::LANES;
    }
    simd.sum(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::forward::exact_attention;
    use crate::attention::{AttentionShape, probabilities_reference};
    use crate::simd::Isa;
    use crate::testing::{check_gradient, numbers, wide};
    use crate::threads::{Team, Threads};

    const OFFSETS: [usize; 7] = [0, 1, 1, 8, 41, 100, 210];
    /// No sequence is longer.
    const LONGEST: usize = 115;

    /// The attention of a test.
    #[derive(Clone, Copy)]
    struct Case {
        heads: usize,
        head_size: usize,
        dropout: f32,
        bias: bool,
        window: Option<usize>,
    }

    impl Case {
        /// Heads of any size, with and without dropout, bias and a window.
        fn all(shapes: &[(usize, usize)]) -> Vec<Self> {
            let mut cases = Vec::new();
            for &(heads, head_size) in shapes {
                for window in [None, Some(0), Some(20)] {
                    for (dropout, bias) in [(0.0, false), (0.3, false), (0.0, true), (0.3, true)] {
                        cases.push(Self { heads, head_size, dropout, bias, window });
                    }
                }
            }
            cases
        }
    }

    struct Input {
        shape: AttentionShape,
        qkv: Vec<f32>,
        dout: Vec<f32>,
        rows: Vec<u64>,
        dropout: Dropout,
        bias: Option<Vec<f32>>,
        window: Option<usize>,
    }

    impl Input {
        fn new(case: Case) -> Self {
            let Case { heads, head_size, dropout, bias, window } = case;
            let (shape, width) = (AttentionShape { heads, head_size }, heads * head_size);
            Self {
                shape,
                qkv: numbers(210 * 3 * width, 1).iter().map(|x| 2.0 * x).collect(),
                dout: numbers(210 * width, 2),
                rows: (0..210).map(|n| (n % 3) << 32 | n).collect(),
                dropout: Dropout::new(dropout, 1, 2, 3, 4),
                bias: bias.then(|| numbers(heads * (2 * LONGEST - 1), 3)),
                window,
            }
        }

        fn attention(&self, tokens: Range<usize>) -> Attention<'_> {
            let Self { shape, dropout, window, .. } = *self;
            let (bias, rows) = (self.bias.as_deref(), &self.rows[tokens]);
            Attention { shape, dropout, window, rows, bias }
        }

        /// The gradients of earlier sequences, to which those of the bias are added.
        fn dbias(&self) -> Vec<f32> {
            self.bias.as_ref().map(|bias| numbers(bias.len(), 4)).unwrap_or_default()
        }

        /// Forward and backward of some sequences: `out` and `dqkv`. Adds to `dbias`.
        fn gradients(
            &self,
            team: &Team,
            isa: Isa,
            sequences: Range<usize>,
            dbias: &mut [f32],
        ) -> (Vec<f32>, Vec<f32>) {
            let (width, cpu) = (self.shape.width(), Cpu::new(team, isa));
            let (first, end) = (OFFSETS[sequences.start], OFFSETS[sequences.end]);
            let offsets: Vec<usize> =
                OFFSETS[sequences.start..=sequences.end].iter().map(|o| o - first).collect();
            let qkv = &self.qkv[first * 3 * width..end * 3 * width];
            let attention = self.attention(first..end);
            let mut out = vec![f32::NAN; (end - first) * width];
            cpu.attention(attention, qkv, &offsets, &mut out);
            let dout = &self.dout[first * width..end * width];
            let mut dqkv = vec![f32::NAN; qkv.len()];
            let dbias = self.bias.is_some().then_some(dbias);
            cpu.attention_backward(attention, qkv, &offsets, &out, dout, &mut dqkv, dbias);
            (out, dqkv)
        }
    }

    #[test]
    fn both_passes_follow_the_plain_loops_at_any_size() {
        let shapes = [(1, 1), (4, 10), (3, 16), (2, 32), (2, 64), (1, 100)];
        for case in Case::all(&shapes) {
            let input = Input::new(case);
            let bias = input.bias.as_deref().map(wide);
            let (attention, qkv) = (input.attention(0..210), wide(&input.qkv));
            let mut out = vec![0.0; input.dout.len()];
            exact_attention(&attention, bias.as_deref(), &qkv, &OFFSETS, &mut out);
            let dout = wide(&input.dout);
            let (dqkv, mut dbias) =
                attention_backward_reference(&attention, bias.as_deref(), &qkv, &OFFSETS, &dout);
            dbias.iter_mut().zip(input.dbias()).for_each(|(d, begin)| *d += f64::from(begin));
            for isa in Isa::available() {
                let mut fast_dbias = input.dbias();
                let fast = input.gradients(&Team::solo(), isa, 0..6, &mut fast_dbias);
                let pairs = fast.0.iter().zip(&out).chain(fast.1.iter().zip(&dqkv));
                for (i, (a, b)) in pairs.chain(fast_dbias.iter().zip(&dbias)).enumerate() {
                    // Scores of up to 40 carry errors of some 1e-6, which the exponential
                    // keeps; gradients are sums of up to 210 products of them.
                    let (error, shape) = ((f64::from(*a) - b).abs(), input.shape);
                    assert!(error < 1e-4, "{shape:?} on {} at {i}: {a}, not {b}", isa.name());
                }
            }
        }
    }

    #[test]
    fn a_long_sequence_follows_the_plain_loops() {
        let (shape, tokens) = (AttentionShape { heads: 2, head_size: 5 }, 1_200);
        let (qkv, dout) = (numbers(tokens * 30, 1), numbers(tokens * 10, 2));
        let bias = numbers(2 * (2 * tokens - 1), 3);
        let (exact_qkv, exact_dout) = (wide(&qkv), wide(&dout));
        for (window, bias) in [(None, Some(&bias[..])), (Some(64), None), (Some(300), Some(&bias))]
        {
            let attention = Attention { window, bias, ..Attention::new(shape) };
            let exact_bias = bias.map(wide);
            let mut exact_out = vec![0.0; dout.len()];
            let bias_of = exact_bias.as_deref();
            exact_attention(&attention, bias_of, &exact_qkv, &[0, tokens], &mut exact_out);
            let (exact_dqkv, exact_dbias) = attention_backward_reference(
                &attention,
                bias_of,
                &exact_qkv,
                &[0, tokens],
                &exact_dout,
            );
            for isa in Isa::available() {
                let passes = |team: &Team| {
                    let (cpu, offsets) = (Cpu::new(team, isa), [0, tokens]);
                    let mut out = vec![f32::NAN; dout.len()];
                    let mut dqkv = vec![f32::NAN; qkv.len()];
                    let mut dbias = vec![0.0; bias.map_or(0, <[f32]>::len)];
                    cpu.attention(attention, &qkv, &offsets, &mut out);
                    let to = bias.map(|_| &mut dbias[..]);
                    cpu.attention_backward(attention, &qkv, &offsets, &out, &dout, &mut dqkv, to);
                    (out, dqkv, dbias)
                };
                let fast = passes(&Team::solo());
                let threads = Threads::new(3).expect("threads");
                assert_eq!(fast, threads.team(passes), "{window:?} on {}", isa.name());
                let pairs =
                    [(&fast.0, &exact_out), (&fast.1, &exact_dqkv), (&fast.2, &exact_dbias)];
                for (fast, exact) in pairs {
                    for (i, (a, b)) in fast.iter().zip(exact).enumerate() {
                        // Sums of up to 1,200 products of numbers below 1.
                        let error = (f64::from(*a) - b).abs();
                        assert!(error < 1e-4, "{window:?} on {} at {i}: {a}, not {b}", isa.name());
                    }
                }
            }
        }
    }

    #[test]
    fn a_key_out_of_reach_has_no_influence() {
        let shape = AttentionShape { heads: 1, head_size: 4 };
        let attention = Attention { window: Some(2), ..Attention::new(shape) };
        let (qkv, dout) = (numbers(40 * 12, 1), numbers(40 * 4, 2));
        // Token 20 has another key and value, and its own query.
        let mut other = qkv.clone();
        other[20 * 12 + 4..21 * 12].fill(7.0);
        for isa in Isa::available() {
            let [(out, dqkv), (other_out, other_dqkv)] = [&qkv, &other].map(|qkv| {
                let (team, mut out, mut dqkv) = (Team::solo(), vec![0.0; 160], vec![0.0; 480]);
                let cpu = Cpu::new(&team, isa);
                cpu.attention(attention, qkv, &[0, 40], &mut out);
                cpu.attention_backward(attention, qkv, &[0, 40], &out, &dout, &mut dqkv, None);
                (out, dqkv)
            });
            for token in 0..40usize {
                let (own, all) = (token * 4..token * 4 + 4, token * 12..token * 12 + 12);
                let in_reach = token.abs_diff(20) <= 2;
                assert_eq!(out[own.clone()] != other_out[own], in_reach, "{token}");
                // Queries in reach of the token have other probabilities for keys twice as far.
                if token.abs_diff(20) > 4 {
                    assert_eq!(dqkv[all.clone()], other_dqkv[all], "{token} on {}", isa.name());
                }
            }
        }
    }

    #[test]
    fn the_gradients_are_those_of_attention() {
        let offsets = [0, 1, 6];
        for case in Case::all(&[(2, 3)]) {
            let input = Input::new(case);
            let (attention, qkv) = (input.attention(0..6), wide(&input.qkv[..6 * 18]));
            let dout = wide(&input.dout[..6 * 6]);
            let bias = input.bias.as_deref().map(wide);
            let loss = |bias: Option<&[f64]>, qkv: &[f64]| -> f64 {
                let mut out = vec![0.0; dout.len()];
                exact_attention(&attention, bias, qkv, &offsets, &mut out);
                out.iter().zip(&dout).map(|(y, d)| y * d).sum()
            };
            let (dqkv, dbias) =
                attention_backward_reference(&attention, bias.as_deref(), &qkv, &offsets, &dout);
            check_gradient(&qkv, &dqkv, |qkv| loss(bias.as_deref(), qkv));
            if let Some(bias) = &bias {
                check_gradient(bias, &dbias, |bias| loss(Some(bias), &qkv));
            }
        }
    }

    #[test]
    fn both_passes_have_the_same_bits_in_any_batch_and_team() {
        for case in Case::all(&[(3, 20)]) {
            let input = Input::new(case);
            for isa in Isa::available() {
                let mut whole_dbias = input.dbias();
                let whole = input.gradients(&Team::solo(), isa, 0..6, &mut whole_dbias);
                for threads in [2, 3, 5] {
                    let threads = Threads::new(threads).expect("threads");
                    let mut dbias = input.dbias();
                    let other = threads.team(|team| input.gradients(team, isa, 0..6, &mut dbias));
                    assert_eq!((&whole, &whole_dbias), (&other, &dbias), "{}", isa.name());
                }
                for cut in 0..=6 {
                    let mut dbias = input.dbias();
                    let a = input.gradients(&Team::solo(), isa, 0..cut, &mut dbias);
                    let b = input.gradients(&Team::solo(), isa, cut..6, &mut dbias);
                    assert_eq!([a.0, b.0].concat(), whole.0, "{}", isa.name());
                    assert_eq!([a.1, b.1].concat(), whole.1, "{}", isa.name());
                    assert_eq!(dbias, whole_dbias, "{}", isa.name());
                }
            }
        }
    }

    #[test]
    fn a_bias_for_longer_sequences_changes_no_bit() {
        let case = Case { heads: 3, head_size: 16, dropout: 0.0, bias: true, window: Some(70) };
        let (input, mut longer) = (Input::new(case), Input::new(case));
        let bias = input.bias.as_ref().expect("a bias");
        let rows =
            bias.chunks_exact(2 * LONGEST - 1).map(|row| [&[9.0; 7], row, &[9.0; 7]].concat());
        longer.bias = Some(rows.collect::<Vec<_>>().concat());
        for isa in Isa::available() {
            let [short, long] = [&input, &longer].map(|input| {
                let mut dbias = vec![0.0; input.bias.as_ref().expect("a bias").len()];
                (input.gradients(&Team::solo(), isa, 0..6, &mut dbias), dbias)
            });
            assert_eq!(short.0, long.0, "{}", isa.name());
            let inner = |row: &[f32]| row[7..row.len() - 7].to_vec();
            let long: Vec<f32> = long.1.chunks_exact(2 * LONGEST + 13).flat_map(inner).collect();
            assert_eq!(short.1, long, "{}", isa.name());
        }
    }

    /// The plain loops of [`attention_backward`](Cpu::attention_backward) in double precision: the
    /// gradients of queries, keys and values, and of the bias.
    ///
    /// With the probabilities `P` of a query, their dropout factors `M` and scores
    /// `S = q kᵀ / √K + bias`: `dP = M · (dout vᵀ)`, `dS = P · (dP − Σⱼ P dP)`,
    /// `dv += (P · M)ᵀ dout`, `dq = dS k / √K`, `dk += dSᵀ q / √K`, `dbias += dS`.
    fn attention_backward_reference(
        attention: &Attention,
        bias: Option<&[f64]>,
        qkv: &[f64],
        offsets: &[usize],
        dout: &[f64],
    ) -> (Vec<f64>, Vec<f64>) {
        attention.check_lengths(qkv.len(), offsets, dout.len());
        let AttentionShape { heads, head_size: size } = attention.shape;
        let (width, scale) = (heads * size, 1.0 / (size as f64).sqrt());
        let (mut dqkv, mut dbias) = (vec![0.0; qkv.len()], vec![0.0; bias.map_or(0, <[f64]>::len)]);
        let columns = dbias.len() / heads;
        for sequence in offsets.windows(2) {
            let (start, end) = (sequence[0], sequence[1]);
            for head in 0..heads {
                let c = head * size..(head + 1) * size;
                for i in start..end {
                    let (p, m) =
                        probabilities_reference(attention, bias, qkv, (start, end), (head, i));
                    let value = |j: usize, c: usize| qkv[j * 3 * width + 2 * width + c];
                    let dot = |j: usize| {
                        c.clone().map(|c| dout[i * width + c] * value(j, c)).sum::<f64>()
                    };
                    let dp: Vec<f64> = m.iter().zip(start..end).map(|(m, j)| m * dot(j)).collect();
                    let total: f64 = p.iter().zip(&dp).map(|(p, dp)| p * dp).sum();
                    for j in start..end {
                        let k = j - start;
                        let ds = p[k] * (dp[k] - total);
                        if bias.is_some() {
                            dbias[head * columns + columns / 2 + j - i] += ds;
                        }
                        for c in c.clone() {
                            let (query, key) = (i * 3 * width + c, j * 3 * width + width + c);
                            dqkv[query] += ds * scale * qkv[key];
                            dqkv[key] += ds * scale * qkv[query];
                            dqkv[key + width] += p[k] * m[k] * dout[i * width + c];
                        }
                    }
                }
            }
        }
        (dqkv, dbias)
    }
}
