//! The backward of attention.
//!
//! A block of query rows at a time: their probabilities are computed again from
//! queries and keys (the forward keeps none), then five small products give the
//! three gradients. Those of keys and values are summed over the blocks.

use std::cell::RefCell;

use super::forward::{QUERY_ROWS, exponentials, pack_rows, pack_transposed};
use super::{AttentionShape, each_head, first_feature};
use crate::cpu::Cpu;
use crate::dropout::Dropout;
use crate::linear::{Left, Start, Tile, tile, tile_columns, tile_vectors};
use crate::memory::Buffer;
use crate::simd::{Op, Simd};
use crate::threads::SharedPointer;

/// Query rows at a time: the depth of the products for keys and values. A
/// multiple of the rows of every register tile.
const BLOCK_ROWS: usize = 96;
/// Numbers between two rows of scores that are not used: rows a power of two
/// apart would share few places of the first cache.
const GAP: usize = 16;

/// The backward of attention.
impl Cpu<'_> {
    /// The gradients of queries, keys and values.
    ///
    /// - `qkv`: `[N, 3·D]`, `offsets`: `[B + 1]`, `dropout`, `rows`: `[N]`: what
    ///   [`attention_train`](Self::attention_train) was given
    /// - `out`: `[N, D]`, what it gave; `dout`: `[N, D]`
    /// - `dqkv`: `[N, 3·D]`, overwritten
    ///
    /// # Panics
    /// If the lengths do not fit or the offsets do not grow.
    #[expect(clippy::too_many_arguments, reason = "what forward had, and two gradients")]
    pub fn attention_backward(
        self,
        shape: AttentionShape,
        qkv: &[f32],
        offsets: &[usize],
        dropout: &Dropout,
        rows: &[u64],
        out: &[f32],
        dout: &[f32],
        dqkv: &mut [f32],
    ) {
        let Self { team, isa, .. } = self;
        let (size, width) = (shape.head_size, shape.width());
        shape.check_lengths(qkv.len(), offsets, dropout, rows, out.len());
        assert_eq!(dout.len(), out.len(), "length of the gradient");
        assert_eq!(dqkv.len(), qkv.len(), "length of the gradient of qkv");
        let dqkv = SharedPointer(dqkv.as_mut_ptr());
        each_head(team, shape.heads, offsets, &|tokens, head| {
            // Columns of this head in the rows of this sequence.
            let wide = tokens.start * 3 * width + head * size;
            let narrow = tokens.start * width + head * size;
            SCRATCH.with_borrow_mut(|scratch| {
                isa.run(BackwardHead {
                    size,
                    width,
                    tokens: tokens.len(),
                    qkv: &qkv[wide..],
                    out: &out[narrow..],
                    dout: &dout[narrow..],
                    // SAFETY: within `dqkv`, whose length was checked.
                    dqkv: SharedPointer(unsafe { dqkv.get().add(wide) }),
                    dropout: *dropout,
                    rows: if dropout.is_none() { &[] } else { &rows[tokens] },
                    first_feature: first_feature(head),
                    scratch,
                });
            });
        });
    }
}

thread_local! {
    static SCRATCH: RefCell<Buffer> = RefCell::new(Buffer::default());
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
    qkv: &'a [f32],
    out: &'a [f32],
    dout: &'a [f32],
    dqkv: SharedPointer,
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
    fn gradients<S: Simd, const VECTORS: usize>(self, simd: S) {
        let panel_width = VECTORS * S::LANES;
        let Self { size, width, tokens, qkv, out, dout, .. } = self;
        assert!(qkv.len() >= (tokens - 1) * 3 * width + 2 * width + size, "rows of the sequence");
        assert!(dout.len() >= (tokens - 1) * width + size && out.len() >= dout.len());
        let token_panels = tokens.div_ceil(panel_width);
        let size_panels = size.div_ceil(panel_width);
        // Rows of scores are whole panels, and a gap.
        let scores_row = token_panels * panel_width + GAP;
        let block_rows = BLOCK_ROWS.min(tokens);
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
        let rows_at_once = QUERY_ROWS.min(S::TILE_ROWS);
        let mut first = 0;
        while first < tokens {
            let block = block_rows.min(tokens - first);
            // SAFETY (of all blocks below): operands and results are the panels and rows that have
            // just been sized, and rows of this head in buffers that have been checked; its columns
            // of `dqkv` belong to this call alone.
            let mut i = 0;
            while i < block {
                let rows = rows_at_once.min(block - i);
                for panel in 0..token_panels {
                    // SAFETY: see above.
                    unsafe {
                        let query = qkv.as_ptr().add((first + i) * 3 * width);
                        let product = Tile {
                            rows,
                            depth: size,
                            left: Left { at: query, row: 3 * width, step: 1 },
                            right: keys_across.as_ptr().add(panel * size * panel_width),
                            out: weights.as_mut_ptr().add(i * scores_row + panel * panel_width),
                            out_row: scores_row,
                            start: Start::Zero,
                        };
                        tile::<S, VECTORS>(simd, product);
                        let product = Tile {
                            left: Left {
                                at: dout.as_ptr().add((first + i) * width),
                                row: width,
                                step: 1,
                            },
                            right: values_across.as_ptr().add(panel * size * panel_width),
                            out: slopes.as_mut_ptr().add(i * scores_row + panel * panel_width),
                            ..product
                        };
                        tile::<S, VECTORS>(simd, product);
                    }
                }
                i += rows;
            }

            let mut totals = [0.0; QUERY_ROWS];
            i = 0;
            while i < block {
                // SAFETY: see above.
                unsafe {
                    let weights = weights.as_mut_ptr().add(i * scores_row);
                    let slopes = slopes.as_mut_ptr().add(i * scores_row);
                    if i.is_multiple_of(QUERY_ROWS) {
                        totals = exponentials(simd, weights, scores_row, tokens, scale);
                    }
                    let total = totals[i % QUERY_ROWS];
                    let at = (first + i) * width;
                    let mean = dot(simd, out.as_ptr().add(at), dout.as_ptr().add(at), size);
                    let row = SoftMaxRow { weights, slopes, tokens, total, mean, scale };
                    if self.dropout.is_none() {
                        row.backward(simd, None);
                    } else {
                        let factors = &mut factors[..tokens];
                        self.dropout.factors(self.rows[first + i], self.first_feature, factors);
                        row.backward(simd, Some(factors.as_ptr()));
                    }
                }
                i += 1;
            }

            // Keys and values: sums over the queries of this block.
            let start = if first == 0 { Start::Zero } else { Start::Out };
            let mut j = 0;
            while j < tokens {
                let rows = S::TILE_ROWS.min(tokens - j);
                for panel in 0..size_panels {
                    let columns = panel_width.min(size - panel * panel_width);
                    // SAFETY: see above.
                    unsafe {
                        let to = self.dqkv.get().add(j * 3 * width + panel * panel_width);
                        let right = (panel * tokens + first) * panel_width;
                        let product = Tile {
                            rows,
                            depth: block,
                            left: Left { at: slopes.as_ptr().add(j), row: 1, step: scores_row },
                            right: queries.as_ptr().add(right),
                            out: to.add(width),
                            out_row: 3 * width,
                            start,
                        };
                        tile_columns::<S, VECTORS>(simd, product, columns);
                        let product = Tile {
                            left: Left { at: weights.as_ptr().add(j), row: 1, step: scores_row },
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
                        let at = slopes.as_ptr().add(i * scores_row);
                        let to = (first + i) * 3 * width + panel * panel_width;
                        let product = Tile {
                            rows,
                            depth: tokens,
                            left: Left { at, row: scores_row, step: 1 },
                            right: keys.as_ptr().add(panel * tokens * panel_width),
                            out: self.dqkv.get().add(to),
                            out_row: 3 * width,
                            start: Start::Zero,
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

/// A row of the soft-max: exponentials in `weights`, and in `slopes` the gradient
/// of what the values are weighted with. Whole vectors are read and written.
struct SoftMaxRow<V> {
    weights: *mut f32,
    slopes: *mut f32,
    tokens: usize,
    /// Sum of the exponentials.
    total: f32,
    /// `dout · out`: the mean of the gradients of the probabilities.
    mean: f32,
    scale: V,
}

impl<V: Copy> SoftMaxRow<V> {
    /// `slopes` become the gradients of `q · k`, `weights` the probabilities, times the factors of
    /// dropout where there are any.
    ///
    /// # Safety
    /// Whole vectors that cover `tokens` numbers must be readable in all rows, and writable in these
    /// two.
    #[inline(always)]
    unsafe fn backward<S: Simd<V = V>>(&self, simd: S, factors: Option<*const f32>) {
        let (factor, mean) = (simd.splat(1.0 / self.total), simd.splat(self.mean));
        let mut at = 0;
        while at < self.tokens {
            // SAFETY: whole vectors of the rows.
            unsafe {
                let p = simd.mul(simd.load(self.weights.add(at)), factor);
                let (mut slope, mut weight) = (simd.load(self.slopes.add(at)), p);
                if let Some(factors) = factors {
                    let kept = simd.load(factors.add(at));
                    (slope, weight) = (simd.mul(slope, kept), simd.mul(p, kept));
                }
                let slope = simd.mul(p, simd.sub(slope, mean));
                simd.store(simd.mul(slope, self.scale), self.slopes.add(at));
                simd.store(weight, self.weights.add(at));
            }
            at += S::LANES;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::{attention_train_reference, probabilities_reference};
    use crate::simd::Isa;
    use crate::testing::{check_gradient, numbers, wide};
    use crate::threads::{Team, Threads};

    const OFFSETS: [usize; 7] = [0, 1, 1, 8, 41, 100, 210];

    struct Input {
        shape: AttentionShape,
        qkv: Vec<f32>,
        dout: Vec<f32>,
        rows: Vec<u64>,
        dropout: Dropout,
    }

    impl Input {
        fn new(heads: usize, head_size: usize, probability: f32) -> Self {
            let (shape, width) = (AttentionShape { heads, head_size }, heads * head_size);
            Self {
                shape,
                qkv: numbers(210 * 3 * width, 1).iter().map(|x| 2.0 * x).collect(),
                dout: numbers(210 * width, 2),
                rows: (0..210).map(|n| (n % 3) << 32 | n).collect(),
                dropout: Dropout::new(probability, 1, 2, 3, 4),
            }
        }

        /// Forward and backward of some sequences: `out` and `dqkv`.
        fn gradients(
            &self,
            team: &Team,
            isa: Isa,
            sequences: std::ops::Range<usize>,
        ) -> (Vec<f32>, Vec<f32>) {
            let width = self.shape.width();
            let (first, end) = (OFFSETS[sequences.start], OFFSETS[sequences.end]);
            let offsets: Vec<usize> =
                OFFSETS[sequences.start..=sequences.end].iter().map(|o| o - first).collect();
            let qkv = &self.qkv[first * 3 * width..end * 3 * width];
            let (rows, dropout) = (&self.rows[first..end], &self.dropout);
            let mut out = vec![f32::NAN; (end - first) * width];
            Cpu::new(team, isa).attention_train(self.shape, qkv, &offsets, dropout, rows, &mut out);
            let dout = &self.dout[first * width..end * width];
            let mut dqkv = vec![f32::NAN; qkv.len()];
            Cpu::new(team, isa).attention_backward(
                self.shape, qkv, &offsets, dropout, rows, &out, dout, &mut dqkv,
            );
            (out, dqkv)
        }
    }

    #[test]
    fn both_passes_follow_the_plain_loops_at_any_size() {
        for isa in Isa::available() {
            for (heads, head_size) in [(1, 1), (4, 10), (3, 16), (2, 32), (2, 64), (1, 100)] {
                for probability in [0.0, 0.3] {
                    let input = Input::new(heads, head_size, probability);
                    let Input { shape, rows, dropout, .. } = &input;
                    let fast = input.gradients(&Team::solo(), isa, 0..6);
                    let qkv = wide(&input.qkv);
                    let mut out = vec![0.0; fast.0.len()];
                    let mut dqkv = vec![0.0; fast.1.len()];
                    attention_train_reference(*shape, &qkv, &OFFSETS, dropout, rows, &mut out);
                    let dout = wide(&input.dout);
                    attention_backward_reference(
                        *shape, &qkv, &OFFSETS, dropout, rows, &dout, &mut dqkv,
                    );
                    let pairs = fast.0.iter().zip(&out).chain(fast.1.iter().zip(&dqkv));
                    for (i, (a, b)) in pairs.enumerate() {
                        // Scores of up to 40 carry errors of some 1e-6, which the exponential
                        // keeps; gradients are sums of up to 110 products of them.
                        let error = (f64::from(*a) - b).abs();
                        let name = isa.name();
                        assert!(error < 1e-4, "{shape:?} on {name} at {i}: {a}, not {b}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_gradients_are_those_of_attention() {
        let shape = AttentionShape { heads: 2, head_size: 3 };
        let offsets = [0, 1, 6];
        let rows: Vec<u64> = (0..6).collect();
        let (qkv, dout) = (wide(&numbers(6 * 18, 1)), wide(&numbers(6 * 6, 2)));
        for probability in [0.0, 0.4] {
            let dropout = Dropout::new(probability, 1, 2, 3, 4);
            let mut dqkv = vec![0.0; qkv.len()];
            attention_backward_reference(shape, &qkv, &offsets, &dropout, &rows, &dout, &mut dqkv);
            check_gradient(&qkv, &dqkv, |qkv| {
                let mut out = vec![0.0; dout.len()];
                attention_train_reference(shape, qkv, &offsets, &dropout, &rows, &mut out);
                out.iter().zip(&dout).map(|(y, d)| y * d).sum()
            });
        }
    }

    #[test]
    fn both_passes_have_the_same_bits_in_any_batch_and_team() {
        for isa in Isa::available() {
            for probability in [0.0, 0.3] {
                let input = Input::new(3, 20, probability);
                let whole = input.gradients(&Team::solo(), isa, 0..6);
                for threads in [2, 3, 5] {
                    let threads = Threads::new(threads).expect("threads");
                    let other = threads.team(|team| input.gradients(team, isa, 0..6));
                    assert_eq!(whole, other, "{}", isa.name());
                }
                for cut in 0..=6 {
                    let a = input.gradients(&Team::solo(), isa, 0..cut);
                    let b = input.gradients(&Team::solo(), isa, cut..6);
                    assert_eq!([a.0, b.0].concat(), whole.0, "{}", isa.name());
                    assert_eq!([a.1, b.1].concat(), whole.1, "{}", isa.name());
                }
            }
        }
    }

    /// The plain loops in double precision: document and oracle of [`attention_backward`](Cpu::attention_backward).
    ///
    /// With the probabilities `P` of a query, their dropout factors `M` and scores
    /// `S = q kᵀ / √K`: `dP = M · (dout vᵀ)`, `dS = P · (dP − Σⱼ P dP)`,
    /// `dv += (P · M)ᵀ dout`, `dq = dS k / √K`, `dk += dSᵀ q / √K`.
    fn attention_backward_reference(
        shape: AttentionShape,
        qkv: &[f64],
        offsets: &[usize],
        dropout: &Dropout,
        rows: &[u64],
        dout: &[f64],
        dqkv: &mut [f64],
    ) {
        shape.check_lengths(qkv.len(), offsets, dropout, rows, dout.len());
        let (size, width) = (shape.head_size, shape.width());
        let scale = 1.0 / (size as f64).sqrt();
        dqkv.fill(0.0);
        for sequence in offsets.windows(2) {
            let (start, end) = (sequence[0], sequence[1]);
            for head in 0..shape.heads {
                let columns = head * size..(head + 1) * size;
                for i in start..end {
                    let (p, m) =
                        probabilities_reference(shape, qkv, (start, end), (head, i), dropout, rows);
                    let value = |j: usize, c: usize| qkv[j * 3 * width + 2 * width + c];
                    let dot = |j: usize| {
                        columns.clone().map(|c| dout[i * width + c] * value(j, c)).sum::<f64>()
                    };
                    let dp: Vec<f64> = m.iter().zip(start..end).map(|(m, j)| m * dot(j)).collect();
                    let total: f64 = p.iter().zip(&dp).map(|(p, dp)| p * dp).sum();
                    for j in start..end {
                        let k = j - start;
                        let ds = p[k] * (dp[k] - total) * scale;
                        for c in columns.clone() {
                            dqkv[i * 3 * width + c] += ds * qkv[j * 3 * width + width + c];
                            dqkv[j * 3 * width + width + c] += ds * qkv[i * 3 * width + c];
                            dqkv[j * 3 * width + 2 * width + c] +=
                                p[k] * m[k] * dout[i * width + c];
                        }
                    }
                }
            }
        }
    }
}
