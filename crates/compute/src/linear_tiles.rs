//! Products of linear layers in single precision on AMX tiles, which multiply bf16.
//!
//! A number in single precision is exactly the sum of three in bf16, the first
//! 8, the next 8 and the last 8 of its binary digits: `x = h + m + l`. Of the
//! nine products of two such sums
//!
//! `x w ≈ hₓ h_w + hₓ m_w + mₓ h_w + mₓ m_w + hₓ l_w + lₓ h_w`
//!
//! leaves out three that are below 2⁻²³ of `x w`, no more than one rounding in
//! single precision. Each of the six is exact, and sums are kept in single
//! precision (Henry, Tang and Heinecke, 2019, "Leveraging the bfloat16
//! Artificial Intelligence Datatype For Higher-Precision Computations").
//! The tiles do six in a third of the time that AVX-512 takes for the one.
//!
//! Parts below 2⁻¹²⁶ count as zero, so numbers below 2⁻¹¹⁰ keep fewer digits.
//! What is not finite stays not finite.
//!
//! A number of the result is summed over the inputs in one order, whatever the
//! other rows: [`STEP`] inputs at a time, in each the small products first.
//!
//! Weights stand as for the other kernels and are split panel by panel: so a
//! single text reads no more memory, and training packs no more. Vector units
//! work while the tiles do: between two steps of a tile they split some of the
//! next panel and finish some rows of the tile before (bias, activation,
//! residual).

mod registers;

use std::arch::asm;
use std::arch::x86_64::*;
use std::cell::RefCell;
use std::ops::Range;

use self::registers::{
    clear_both, clear_upper, load_both, load_upper, step_both, step_upper, store_both, store_upper,
};
use crate::activation::Activation;
use crate::buffer::Buffer;
use crate::linear::{self, Epilogue, Product};
use crate::packed_matrix::PackedMatrix;
use crate::simd::{Avx512, Simd, Tiles};
use crate::team::{Team, share, share_in_steps};

/// Most rows of `x` that are split together, and for which a panel is split once.
const MOST_BLOCK_ROWS: usize = 320;
/// Most inputs that are split together.
const MOST_BLOCK_DEPTH: usize = 768;
/// About how many numbers of `x` are split together: with two panels they stay in
/// the second cache.
const BLOCK_NUMBERS: usize = 128 * 1024;
/// Rows before they are written that their lines are asked for.
const ROWS_AHEAD: usize = 12;
/// Inputs before they are split that numbers of a panel are asked for: only out of the second
/// cache. Farther ahead, what is asked for takes the place of what tiles load.
const AHEAD: usize = 4;
/// Inputs that one instruction multiplies.
const STEP: usize = 32;
/// Rows of a register.
const TILE_ROWS: usize = 16;
/// Rows that are computed together: two registers.
const ROWS: usize = 2 * TILE_ROWS;
/// Columns that are computed together, and so of a packed panel.
const COLUMNS: usize = 32;
/// Numbers of a register in bf16.
const TILE: usize = TILE_ROWS * STEP;
/// Registers of a step of rows: `h`, `m`, `l`.
const LEFT_STEP: usize = 3 * TILE;
/// Registers of a step of a panel: `h`, `m`, `l`, two each.
const RIGHT_STEP: usize = 6 * TILE;
/// Pairs of inputs of a step.
const STEP_PAIRS: usize = STEP / 2;
const LANES: usize = Avx512::LANES;

thread_local! {
    /// What is split: reused by every product of this thread.
    static PARTS: RefCell<Parts> = RefCell::new(Parts::default());
}

/// Numbers in three parts.
#[derive(Default)]
struct Parts {
    /// A block of rows: `[rows / 16, steps, 3, 16, 32]`
    left: Buffer<u16>,
    /// Panels, one in use and those that come: `[steps, 3, 2, 16, 32]` each.
    right: [Buffer<u16>; 3],
    /// Sums of a block of rows, where inputs are split in several blocks: `[panels, tiles, 32, 32]`
    sums: Buffer,
}

/// How many rows and inputs are split together.
#[derive(Clone, Copy)]
struct BlockSize {
    rows: usize,
    depth: usize,
}

impl BlockSize {
    fn new(inputs: usize) -> Self {
        let depth = inputs.next_multiple_of(STEP).clamp(STEP, MOST_BLOCK_DEPTH);
        let rows = (BLOCK_NUMBERS / depth / ROWS * ROWS).clamp(ROWS, MOST_BLOCK_ROWS);
        Self { rows, depth }
    }
}

/// [`linear`](crate::linear), whose callers have checked the lengths.
pub(crate) fn product(team: &Team, isa: (Avx512, Tiles), product: Product) {
    let panels = product.weight.panel_count();
    let (blocks, columns) = linear::split(team.parts(), product.rows, MOST_BLOCK_ROWS, panels);
    team.run(blocks * columns, &|part| {
        let (block, column) = (part / columns, part % columns);
        PARTS.with_borrow_mut(|parts| {
            let size = BlockSize::new(product.weight.inputs);
            let panels = share(panels, columns, column);
            parts.left.resize(size.rows * size.depth * 3);
            parts.right.iter_mut().for_each(|right| right.resize(COLUMNS * size.depth * 3));
            let kept = if product.weight.inputs > size.depth { panels.len() } else { 0 };
            parts.sums.resize(kept * size.rows * COLUMNS);
            let rows = share_in_steps(product.rows, ROWS, (block, blocks));
            let share = TileProduct { simd: isa.0, product, rows, panels, size };
            // SAFETY: `isa` proves that the processor has AVX-512F and tiles.
            unsafe { share.compiled(isa.1, parts) }
        });
    });
}

/// Some rows and panels of a product.
struct TileProduct<'a> {
    simd: Avx512,
    product: Product<'a>,
    rows: Range<usize>,
    panels: Range<usize>,
    size: BlockSize,
}

/// Sums of 32 × 32, at a cache line.
#[repr(align(64))]
struct Sums([f32; ROWS * COLUMNS]);

impl TileProduct<'_> {
    #[target_feature(enable = "avx512f,avx2,fma")]
    fn compiled(self, tiles: Tiles, parts: &mut Parts) {
        self.blocks(tiles, parts);
        tiles.release();
    }

    #[inline(always)]
    fn blocks(&self, tiles: Tiles, parts: &mut Parts) {
        let inputs = self.product.weight.inputs;
        // Blocks of equal size: a few rows alone would cost as much as many.
        let count = self.rows.len().div_ceil(self.size.rows).max(1);
        let block = self.rows.len().div_ceil(count).next_multiple_of(ROWS).max(ROWS);
        for first in self.rows.clone().step_by(block) {
            let rows = first..self.rows.end.min(first + block);
            for first_k in (0..inputs).step_by(self.size.depth) {
                let depth = first_k..inputs.min(first_k + self.size.depth);
                self.split_rows(&rows, &depth, &mut parts.left);
                tiles.configure_rows(registers::rows(rows.len()));
                // SAFETY: `parts` have room for a block of this size; the lengths of the rest
                // have been checked by the callers of `product`.
                unsafe { self.block(&rows, &depth, parts) }
            }
        }
    }

    /// One block of rows and inputs against all panels.
    ///
    /// # Safety
    /// `left` must hold the rows, split; the other parts must have room.
    #[inline(always)]
    unsafe fn block(&self, rows: &Range<usize>, depth: &Range<usize>, parts: &mut Parts) {
        let Self { simd, product, .. } = *self;
        let weight = product.weight;
        let steps = depth.len().div_ceil(STEP);
        let tiles = rows.len().div_ceil(ROWS);
        // A lone tile reads what is split once: a step at a time stays in the first cache.
        let by_steps = tiles == 1;
        let chunk = if by_steps { STEP } else { depth.len() };
        let chunks = depth.len().div_ceil(chunk);
        let count = self.panels.len() * chunks;
        let splitting = |chunk_at: usize, to: *mut u16| match chunk_at < count {
            true => {
                let panel = self.panels.start + chunk_at / chunks;
                let first = depth.start + chunk_at % chunks * chunk;
                Splitting::new(weight, simd, panel, first..depth.end.min(first + chunk), to)
            }
            false => Splitting::nothing(simd),
        };
        // The same in every step, so that the processor foresees all branches.
        let shares = Shares::new(STEP_PAIRS.div_ceil(tiles), ROWS.div_ceil(steps));
        let (first, last) = (depth.start == 0, depth.end == weight.inputs);
        let mut scratch = Sums([0.0; ROWS * COLUMNS]);
        let left = parts.left.as_ptr();
        let mut right = parts.right.each_mut().map(|right| right.as_mut_ptr());
        // What has just been written takes a while until tiles can load it.
        let lead = if by_steps { 2 } else { 1 };
        let mut chunk_at = 0;
        // SAFETY: the caller's promise; every tile has its rows and columns, and the registers
        // are configured.
        unsafe {
            let finishing = Finishing::nothing(product, simd);
            let mut work = Work { splitting: splitting(0, right[0]), finishing };
            work.splitting.some(usize::MAX);
            if by_steps {
                work.splitting = splitting(1, right[1]);
                work.splitting.some(usize::MAX);
            }
            for (i, panel) in self.panels.clone().enumerate() {
                let columns = panel * COLUMNS..weight.outputs.min((panel + 1) * COLUMNS);
                for tile in 0..tiles {
                    let first_row = rows.start + tile * ROWS;
                    let tile_rows = first_row..rows.end.min(first_row + ROWS);
                    let upper = left.add(2 * tile * steps * LEFT_STEP);
                    let lower = upper.add(steps * LEFT_STEP);
                    let both = tile_rows.len() > TILE_ROWS;
                    let sums = match first && last {
                        true => scratch.0.as_mut_ptr(),
                        false => parts.sums.as_mut_ptr().add((i * tiles + tile) * ROWS * COLUMNS),
                    };
                    match (first, both) {
                        (true, true) => clear_both(),
                        (true, false) => clear_upper(),
                        (false, true) => load_both(sums),
                        (false, false) => load_upper(sums),
                    }
                    for step in 0..steps {
                        if by_steps || (tile == 0 && step == 0) {
                            work.splitting = splitting(chunk_at + lead, right[lead]);
                            chunk_at += 1;
                        }
                        let right_step = right[0].add(if by_steps { 0 } else { step * RIGHT_STEP });
                        let (upper, lower) =
                            (upper.add(step * LEFT_STEP), lower.add(step * LEFT_STEP));
                        match both {
                            true => step_both(upper, lower, right_step, &mut work, &shares),
                            false => step_upper(upper, right_step, &mut work, &shares),
                        }
                        if by_steps || (tile + 1 == tiles && step + 1 == steps) {
                            right[..=lead].rotate_left(1);
                        }
                    }
                    match both {
                        true => store_both(sums),
                        false => store_upper(sums),
                    }
                    if last {
                        work.finishing.begin(sums, tile_rows, columns.clone());
                    }
                }
            }
            work.finishing.some(ROWS);
        }
    }

    /// Splits rows of `x`. Rows beyond the last keep what was there: rows of a register do not
    /// mix, and nobody reads their sums.
    #[inline(always)]
    fn split_rows(&self, rows: &Range<usize>, depth: &Range<usize>, left: &mut [u16]) {
        let (simd, inputs) = (self.simd, self.product.weight.inputs);
        let steps = depth.len().div_ceil(STEP);
        for (i, row) in rows.clone().enumerate() {
            let from = &self.product.x[row * inputs..][depth.clone()];
            let first = (i / TILE_ROWS * steps * LEFT_STEP) + i % TILE_ROWS * STEP;
            for step in 0..steps {
                let (k, to) = (step * STEP, first + step * LEFT_STEP);
                let to = &mut left[to..to + 2 * TILE + STEP];
                let first = LANES.min(from.len() - k);
                let second = LANES.min(from.len() - k - first);
                // SAFETY: so many numbers lie in the row; three times 32 numbers lie in `to`.
                unsafe {
                    let from = from.as_ptr().add(k);
                    let low = split(simd.load_first(from, first));
                    let high = split(simd.load_first(from.add(first), second));
                    let to = to.as_mut_ptr();
                    store_512(upper_halves(low.0, high.0), to);
                    store_512(upper_halves(low.1, high.1), to.add(TILE));
                    store_512(upper_halves(low.2, high.2), to.add(2 * TILE));
                }
            }
        }
    }
}

/// What the vector units do in the six parts of a step.
struct Shares {
    pairs: [usize; 6],
    rows: [usize; 6],
}

impl Shares {
    /// - `pairs`, `rows`: of a step
    fn new(pairs: usize, rows: usize) -> Self {
        let part = |part| share(pairs, 6, part).len();
        // Late in the step: the sums of the tile before have arrived by then.
        let late = |part| if part < 3 { 0 } else { share(rows, 3, part - 3).len() };
        Self { pairs: std::array::from_fn(part), rows: std::array::from_fn(late) }
    }
}

/// The work of the vector units beside the tiles.
struct Work<'a> {
    splitting: Splitting,
    finishing: Finishing<'a>,
}

impl Work<'_> {
    /// # Safety
    /// As of both.
    #[inline(always)]
    unsafe fn some(&mut self, shares: &Shares, part: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            self.splitting.some(shares.pairs[part]);
            self.finishing.some(shares.rows[part]);
        }
    }
}

/// Splits some inputs of a panel of a weight, `[inputs, 32]`, a little at a time.
struct Splitting {
    simd: Avx512,
    /// The first of the inputs.
    from: *const f32,
    inputs: usize,
    to: *mut u16,
    /// Pairs of inputs: the next one, and the end.
    next: usize,
    end: usize,
}

impl Splitting {
    /// - `to`: room for these inputs of the panel
    #[inline(always)]
    fn new(
        weight: &PackedMatrix,
        simd: Avx512,
        panel: usize,
        depth: Range<usize>,
        to: *mut u16,
    ) -> Self {
        let first = panel * weight.inputs + depth.start;
        let from = weight.panels[first * COLUMNS..][..depth.len() * COLUMNS].as_ptr();
        let end = depth.len().div_ceil(STEP) * STEP_PAIRS;
        Self { simd, from, inputs: depth.len(), to, next: 0, end }
    }

    fn nothing(simd: Avx512) -> Self {
        let (from, to) = (std::ptr::null(), std::ptr::null_mut());
        Self { simd, from, inputs: 0, to, next: 0, end: 0 }
    }

    /// The next `count` pairs of inputs, if there are so many.
    ///
    /// # Safety
    /// There must be room at `to`.
    #[inline(always)]
    unsafe fn some(&mut self, count: usize) {
        let Self { simd, inputs, .. } = *self;
        let end = self.end.min(self.next.saturating_add(count));
        while self.next < end {
            let (k, step, row) = (2 * self.next, self.next / STEP_PAIRS, self.next % STEP_PAIRS);
            let from = self.from.wrapping_add(k * COLUMNS);
            let ahead = from.wrapping_add(AHEAD * COLUMNS);
            // SAFETY: 32 numbers lie in the panel where an input is one of it; three times
            // 2 registers lie in the step of `to`.
            unsafe {
                let to = self.to.add(step * RIGHT_STEP + row * STEP);
                for half in [0, LANES] {
                    let zero = simd.splat(0.0);
                    let even = if k < inputs { simd.load(from.add(half)) } else { zero };
                    let odd =
                        if k + 1 < inputs { simd.load(from.add(COLUMNS + half)) } else { zero };
                    simd.prefetch(ahead.wrapping_add(half));
                    simd.prefetch(ahead.wrapping_add(COLUMNS + half));
                    let (even, odd) = (split(even), split(odd));
                    let to = to.add(half / LANES * TILE);
                    store_512(pair(even.0, odd.0), to);
                    store_512(pair(even.1, odd.1), to.add(2 * TILE));
                    store_512(pair(even.2, odd.2), to.add(4 * TILE));
                }
            }
            self.next += 1;
        }
    }
}

/// Makes results of the sums of a tile (bias, activation, residual), a little at a time.
struct Finishing<'a> {
    product: Product<'a>,
    simd: Avx512,
    sums: *const f32,
    rows: Range<usize>,
    columns: Range<usize>,
    /// Of the tile.
    next: usize,
}

impl<'a> Finishing<'a> {
    fn nothing(product: Product<'a>, simd: Avx512) -> Self {
        Self { product, simd, sums: std::ptr::null(), rows: 0..0, columns: 0..0, next: 0 }
    }

    /// The next tile; the one before must be finished.
    #[inline(always)]
    fn begin(&mut self, sums: *const f32, rows: Range<usize>, columns: Range<usize>) {
        debug_assert!(self.next == self.rows.len(), "the tile before is finished");
        (self.sums, self.rows, self.columns, self.next) = (sums, rows, columns, 0);
    }

    /// The next `count` rows, if there are so many.
    ///
    /// # Safety
    /// Rows and columns must lie in the output and belong to this part; the sums must be there.
    #[inline(always)]
    unsafe fn some(&mut self, count: usize) {
        let (simd, Product { weight, epilogue, pre, out, .. }) = (self.simd, self.product);
        let Epilogue { bias, activation, residual } = epilogue;
        let end = self.rows.len().min(self.next + count);
        while self.next < end {
            let (row, mut at) = (self.rows.start + self.next, 0);
            while at < self.columns.len() {
                let count = LANES.min(self.columns.len() - at);
                let column = self.columns.start + at;
                let place = row * weight.outputs + column;
                // SAFETY: `count` numbers from here on lie in all of these.
                unsafe {
                    let mut y = simd.load(self.sums.add(self.next * COLUMNS + at));
                    if let Some(bias) = bias {
                        y = simd.add(y, simd.load_first(bias.as_ptr().add(column), count));
                    }
                    if pre.get() != out.get() {
                        simd.store_first(y, pre.get().add(place), count);
                    }
                    if activation != Activation::Identity {
                        y = activation.vector(simd, y);
                    }
                    if let Some(residual) = residual {
                        y = simd.add(y, simd.load_first(residual.as_ptr().add(place), count));
                    }
                    simd.store_first(y, out.get().add(place), count);
                    prefetch_to_write(out.get().wrapping_add(place + ROWS_AHEAD * weight.outputs));
                }
                at += LANES;
            }
            self.next += 1;
        }
    }
}

/// The bits of single precision that are a number in bf16.
const UPPER: i32 = 0xFFFF_0000_u32 as i32;

/// `h`, `m`, `l` in the upper halves; what is in the lower ones is not part of them.
///
/// # Safety
/// AVX-512F.
#[inline(always)]
unsafe fn split(x: __m512) -> (__m512i, __m512i, __m512i) {
    // SAFETY: the caller's promise.
    unsafe {
        let mask = _mm512_set1_epi32(UPPER);
        let bits = _mm512_castps_si512(x);
        let rest = _mm512_sub_ps(x, _mm512_castsi512_ps(_mm512_and_si512(bits, mask)));
        let rest_bits = _mm512_castps_si512(rest);
        let last = _mm512_sub_ps(rest, _mm512_castsi512_ps(_mm512_and_si512(rest_bits, mask)));
        (bits, rest_bits, _mm512_castps_si512(last))
    }
}

/// The upper halves of both, number by number: those of `even` in even places.
///
/// # Safety
/// AVX-512F.
#[inline(always)]
unsafe fn pair(even: __m512i, odd: __m512i) -> __m512i {
    // SAFETY: the caller's promise. 0xEA: `(odd & UPPER) | even`.
    unsafe {
        let even = _mm512_srli_epi32::<16>(even);
        _mm512_ternarylogic_epi32::<0xEA>(odd, _mm512_set1_epi32(UPPER), even)
    }
}

/// The upper halves of `low`, then those of `high`.
///
/// # Safety
/// AVX-512F.
#[inline(always)]
unsafe fn upper_halves(low: __m512i, high: __m512i) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe {
        let low = _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(low));
        let high = _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(high));
        _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
    }
}

/// # Safety
/// 32 numbers must be writable at `to`; AVX-512F.
#[inline(always)]
unsafe fn store_512(numbers: __m512i, to: *mut u16) {
    // SAFETY: the caller's promise.
    unsafe { _mm512_storeu_si512(to.cast(), numbers) }
}

/// Asks for the line at `at`, which is written soon; any address will do.
#[inline(always)]
fn prefetch_to_write(at: *mut f32) {
    // SAFETY: a hint, which changes nothing.
    unsafe { asm!("prefetchw [{}]", in(reg) at, options(nostack, preserves_flags, readonly)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear;
    use crate::packed_matrix::PackedMatrix;
    use crate::simd::{Isa, Level};
    use crate::storage::StoredTensor;
    use crate::team::Threads;
    use crate::testing::numbers;

    /// The largest error, in units of 2⁻²⁴ of `Σ |x w|`, and the root of its mean square.
    fn errors(isa: Isa, x: &[f32], weight: &[f32], inputs: usize) -> (f64, f64) {
        let outputs = weight.len() / inputs;
        let stored = StoredTensor::from_f32(vec![outputs, inputs], weight);
        let packed = PackedMatrix::pack(isa, &[&stored], &Team::solo());
        let mut out = vec![f32::NAN; x.len() / inputs * outputs];
        linear(&Team::solo(), x, &packed, Epilogue::default(), &mut out);
        let (mut worst, mut squares) = (0.0f64, 0.0);
        for (x, out) in x.chunks_exact(inputs).zip(out.chunks_exact(outputs)) {
            for (weight, out) in weight.chunks_exact(inputs).zip(out) {
                let products = || x.iter().zip(weight).map(|(x, w)| f64::from(*x) * f64::from(*w));
                let size: f64 = products().map(f64::abs).sum();
                let error =
                    (f64::from(*out) - products().sum::<f64>()).abs() / size * 2f64.powi(24);
                worst = worst.max(error);
                squares += error * error;
            }
        }
        (worst, (squares / out.len() as f64).sqrt())
    }

    fn tiles() -> Option<Isa> {
        Isa::available().into_iter().find(|isa| matches!(isa.0, Level::Amx(..)))
    }

    /// Single precision: no more error than the chain of fused multiply-adds.
    #[test]
    fn three_parts_are_as_exact_as_single_precision() {
        let Some(isa) = tiles() else { return };
        let chain =
            Isa::available().into_iter().find(|isa| isa.name() == "avx512").expect("AVX-512");
        for inputs in [32, 384, 1536] {
            // As after GELU too: all of one sign, where errors of one sign would add up.
            for positive in [false, true] {
                let mut x = numbers(40 * inputs, 1);
                let mut weight = numbers(48 * inputs, 2);
                if positive {
                    x.iter_mut().chain(&mut weight).for_each(|x| *x = x.abs());
                }
                let (worst, mean) = errors(isa, &x, &weight, inputs);
                let (chain_worst, chain_mean) = errors(chain, &x, &weight, inputs);
                println!(
                    "{inputs} {positive}: worst {worst:.2} of {chain_worst:.2}, mean {mean:.3} of {chain_mean:.3}"
                );
                assert!(worst <= chain_worst, "{inputs}: {worst}, {chain_worst}");
                assert!(mean <= chain_mean, "{inputs}: {mean}, {chain_mean}");
            }
        }
    }

    #[test]
    fn numbers_of_any_size_keep_their_digits() {
        let Some(isa) = tiles() else { return };
        for size in [1e-30f32, 1e-10, 1e10, 1e30] {
            let x: Vec<f32> = numbers(20 * 64, 3).iter().map(|x| x * size).collect();
            let (worst, _) = errors(isa, &x, &numbers(40 * 64, 4), 64);
            assert!(worst < 5.0, "{size}: {worst}");
        }
    }

    /// Inputs in several blocks, rows in several blocks and in lone tiles of either height.
    #[test]
    fn deep_rows_have_the_same_bits_in_any_batch_and_team() {
        let Some(isa) = tiles() else { return };
        let (rows, inputs, outputs) = (420, 2 * MOST_BLOCK_DEPTH + 33, 70);
        let x = numbers(rows * inputs, 7);
        let weight = StoredTensor::from_f32(vec![outputs, inputs], &numbers(outputs * inputs, 8));
        let packed = PackedMatrix::pack(isa, &[&weight], &Team::solo());
        let bias = numbers(outputs, 9);
        let run = |team: &Team, x: &[f32]| {
            let epilogue = Epilogue { bias: Some(&bias), ..Epilogue::default() };
            let mut out = vec![f32::NAN; x.len() / inputs * outputs];
            linear(team, x, &packed, epilogue, &mut out);
            out
        };
        let whole = run(&Team::solo(), &x);
        for (row, count) in [(0, 1), (5, 17), (17, 33), (150, 200), (419, 1)] {
            let part = run(&Team::solo(), &x[row * inputs..(row + count) * inputs]);
            assert_eq!(part, whole[row * outputs..(row + count) * outputs], "{count} from {row}");
        }
        for count in [2, 3] {
            let threads = Threads::new(count).expect("threads");
            for rows in [1, 40, 420] {
                let out = threads.team(|team| run(team, &x[..rows * inputs]));
                assert_eq!(out, whole[..rows * outputs], "{rows} rows by {count}");
            }
        }
    }

    #[test]
    fn what_is_not_finite_stays_not_finite() {
        let Some(isa) = tiles() else { return };
        let weight = StoredTensor::from_f32(vec![33, 40], &numbers(33 * 40, 5));
        let packed = PackedMatrix::pack(isa, &[&weight], &Team::solo());
        for bad in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            let mut x = numbers(18 * 40, 6);
            x[3 * 40 + 39] = bad;
            let mut out = vec![0.0; 18 * 33];
            linear(&Team::solo(), &x, &packed, Epilogue::default(), &mut out);
            for (row, out) in out.chunks_exact(33).enumerate() {
                assert!(out.iter().all(|y| y.is_finite() != (row == 3)), "{bad} in row {row}");
            }
        }
    }
}
