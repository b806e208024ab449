//! Products of linear layers in single precision on AMX tiles, which multiply bf16.
//!
//! A number in single precision is exactly the sum of three in bf16, the first 8, the next 8 and
//! the last 8 of its binary digits: `x = h + m + l`. Of the nine products of two such sums
//!
//! `x w ≈ hₓ h_w + hₓ m_w + mₓ h_w + mₓ m_w + hₓ l_w + lₓ h_w`
//!
//! leaves out three that are below 2⁻²³ of `x w`, no more than one rounding in single precision.
//! Each of the six is exact, and sums are kept in single precision (Henry, Tang and Heinecke, 2019,
//! "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision Computations").
//! The tiles do six in a third of the time that AVX-512 takes for the one.
//!
//! Parts below 2⁻¹²⁶ count as zero, so numbers below 2⁻¹¹⁰ keep fewer digits.
//! What is not finite stays not finite.
//!
//! A number of the result is summed over the inputs in one order, whatever the
//! other rows: [`STEP`] inputs at a time, in each the small products first.
//!
//! Weights stand as for the other kernels and are split panel by panel: so a single text reads no
//! more memory, and training packs no more. The gradient of a weight is such a product as well,
//! with `x` as panels. Vector units work while the tiles do: between two steps of a tile they split
//! some of the next panel and finish some rows of the tile before (bias, activation, residual,
//! derivative).

mod parts;
mod registers;

use std::arch::asm;
use std::cell::RefCell;
use std::ops::Range;

use self::parts::{LeftOperand, RightOperand, Splitting};
use self::registers::{step_both, step_upper};
use crate::activation::Activation;
use crate::linear::Epilogue;
use crate::linear::product::{self, Product};
use crate::memory::Buffer;
use crate::simd::{Avx512, Simd, Tiles};
use crate::threads::{SharedPointer, Team, share, share_in_steps};

/// Most rows of `x` that are split together, and for which a panel is split once.
const MOST_BLOCK_ROWS: usize = 320;
/// Most inputs that are split together.
const MOST_BLOCK_DEPTH: usize = 768;
/// About how many numbers of `x` are split together: with two panels they stay in the second cache.
const BLOCK_NUMBERS: usize = 128 * 1024;
/// Distance in rows at which lines are fetched before they are written.
const ROWS_AHEAD: usize = 12;
/// The same distance where sums begin with the output: the tile after the current one.
const ROWS_AHEAD_OF_SUMS: usize = 2 * ROWS;
/// Distance in rows at which a panel of a weight is fetched before it is split, from the second
/// cache. Farther ahead, the fetched lines push out what tiles load.
const AHEAD: usize = 4;
/// Distance in rows at which `x` is fetched before it is split.
const AHEAD_IN_ROWS: usize = 16;
/// Inputs that one instruction multiplies.
pub(crate) const STEP: usize = 32;
/// Rows of a register.
const TILE_ROWS: usize = 16;
/// Rows that are computed together: two registers.
const ROWS: usize = 2 * TILE_ROWS;
/// Columns that are computed together, and so of a packed panel.
pub(crate) const COLUMNS: usize = 32;
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

/// The product of [`linear`](crate::Cpu::linear); its callers have checked the lengths.
pub(crate) fn product(team: &Team, (simd, tiles): (Avx512, Tiles), product: Product) {
    let Product { x, weight, epilogue, derivative, pre, out, rows } = product;
    let panel = weight.inputs * COLUMNS;
    let right = RightOperand { numbers: &weight.panels, panel, row: COLUMNS, ahead: AHEAD };
    let residual = epilogue.residual.map(|r| SharedPointer(r.as_ptr().cast_mut()));
    let Epilogue { bias, activation, .. } = epilogue;
    let width = weight.outputs;
    let result =
        TileOutput { sums: SumStart::New, bias, activation, residual, derivative, pre, out, width };
    let size = (rows, weight.inputs);
    compute(team, tiles, TileProduct { simd, left: LeftOperand::Rows(x), right, result, size });
}

/// [`weight_gradient`](crate::Cpu::weight_gradient), whose caller has checked the lengths:
/// `dweight += doutᵀ · x`.
///
/// Each number is a chain of sums of [`STEP`] rows, which begins with the number in `dweight`.
///
/// - `dout`: `[N, outputs]`, `x`: `[N, inputs]`, `dweight`: `[outputs, inputs]`
/// - `inputs`: a multiple of [`COLUMNS`], of which panels are
pub(crate) fn weight_gradient(
    team: &Team,
    (simd, tiles): (Avx512, Tiles),
    (dout, x): (&[f32], &[f32]),
    dweight: SharedPointer,
    (outputs, inputs): (usize, usize),
) {
    assert!(inputs.is_multiple_of(COLUMNS), "whole panels");
    let right = RightOperand { numbers: x, panel: COLUMNS, row: inputs, ahead: AHEAD_IN_ROWS };
    let result = TileOutput {
        sums: SumStart::Added,
        bias: None,
        activation: Activation::Identity,
        residual: None,
        derivative: None,
        pre: dweight,
        out: dweight,
        width: inputs,
    };
    let size = (outputs, x.len() / inputs);
    compute(
        team,
        tiles,
        TileProduct { simd, left: LeftOperand::Columns(dout), right, result, size },
    );
}

fn compute(team: &Team, tiles: Tiles, product: TileProduct) {
    let (rows, depth) = product.size;
    let panels = product.result.width.div_ceil(COLUMNS);
    let (blocks, columns) = product::split(team.parts(), rows, MOST_BLOCK_ROWS, panels);
    team.run(blocks * columns, &|part| {
        let (block, column) = (part / columns, part % columns);
        PARTS.with_borrow_mut(|parts| {
            let size = BlockSize::new(depth);
            let panels = share(panels, columns, column);
            parts.left.resize(size.rows * size.depth * 3);
            parts.right.iter_mut().for_each(|right| right.resize(COLUMNS * size.depth * 3));
            let kept = if depth > size.depth { panels.len() } else { 0 };
            parts.sums.resize(kept * size.rows * COLUMNS);
            let rows = share_in_steps(rows, ROWS, (block, blocks));
            // SAFETY: `Avx512` and `Tiles` prove that the processor has them.
            unsafe { product.compiled(tiles, size, rows, panels, parts) }
        });
    });
}

/// `result = left · right`
#[derive(Clone, Copy)]
struct TileProduct<'a> {
    simd: Avx512,
    left: LeftOperand<'a>,
    right: RightOperand<'a>,
    result: TileOutput<'a>,
    /// Rows of the left operand, and its columns, of which sums are made.
    size: (usize, usize),
}

/// What sums begin with.
#[derive(Clone, Copy)]
enum SumStart {
    /// Zero.
    New,
    /// The numbers of the output.
    Added,
}

/// What is done to the sums, and where they go: `[rows, width]`, as [`Epilogue`] says.
#[derive(Clone, Copy)]
struct TileOutput<'a> {
    sums: SumStart,
    bias: Option<&'a [f32]>,
    activation: Activation,
    /// May be `out`.
    residual: Option<SharedPointer>,
    derivative: Option<(Activation, &'a [f32])>,
    pre: SharedPointer,
    out: SharedPointer,
    width: usize,
}

/// Numbers of a tile, at a cache line.
#[repr(align(64))]
struct ScratchTile([f32; ROWS * COLUMNS]);

impl TileProduct<'_> {
    /// Some rows and panels.
    #[target_feature(enable = "avx512f,avx2,fma")]
    fn compiled(
        self,
        tiles: Tiles,
        size: BlockSize,
        rows: Range<usize>,
        panels: Range<usize>,
        parts: &mut Parts,
    ) {
        // Blocks of equal size: a few rows alone would cost as much as many.
        let count = rows.len().div_ceil(size.rows).max(1);
        let block = rows.len().div_ceil(count).next_multiple_of(ROWS).max(ROWS);
        let all = self.size.1;
        for first in rows.clone().step_by(block) {
            let rows = first..rows.end.min(first + block);
            for first_k in (0..all).step_by(size.depth) {
                let depth = first_k..all.min(first_k + size.depth);
                self.left.split(self.simd, self.size, &rows, &depth, &mut parts.left);
                tiles.configure_rows(registers::rows(rows.len()));
                // SAFETY: `parts` have room for a block of this size; the lengths of the rest
                // have been checked by the callers.
                unsafe { self.block(&rows, &depth, &panels, parts) }
            }
        }
        tiles.release();
    }

    /// One block of rows and inputs against all panels.
    ///
    /// # Safety
    /// `left` must hold the rows, split; the other parts must have room.
    #[inline(always)]
    unsafe fn block(
        &self,
        rows: &Range<usize>,
        depth: &Range<usize>,
        panels: &Range<usize>,
        parts: &mut Parts,
    ) {
        let Self { simd, right: operand, result, .. } = *self;
        let steps = depth.len().div_ceil(STEP);
        let tiles = rows.len().div_ceil(ROWS);
        // A lone tile reads what is split once: a step at a time stays in the first cache.
        let by_steps = tiles == 1;
        let chunk = if by_steps { STEP } else { depth.len() };
        let chunks = depth.len().div_ceil(chunk);
        let count = panels.len() * chunks;
        let splitting = |chunk_at: usize, to: *mut u16| {
            if chunk_at < count {
                let panel = panels.start + chunk_at / chunks;
                let first = depth.start + chunk_at % chunks * chunk;
                Splitting::new(operand, simd, panel, first..depth.end.min(first + chunk), to)
            } else {
                Splitting::nothing(simd)
            }
        };
        // The same in every step, so that the processor foresees all branches.
        let shares = Shares::new(STEP_PAIRS.div_ceil(tiles), ROWS.div_ceil(steps));
        let (first, last) = (depth.start == 0, depth.end == self.size.1);
        let mut scratch = ScratchTile([0.0; ROWS * COLUMNS]);
        let left = parts.left.as_ptr();
        let mut right = parts.right.each_mut().map(|right| right.as_mut_ptr());
        // What has just been written takes a while until tiles can load it.
        let lead = if by_steps { 2 } else { 1 };
        let mut chunk_at = 0;
        // SAFETY: the caller's promise; every tile has its rows and columns, and the registers
        // are configured.
        unsafe {
            let finishing = Finishing::nothing(result, simd);
            let mut work = VectorWork { splitting: splitting(0, right[0]), finishing };
            work.splitting.some(usize::MAX);
            if by_steps {
                work.splitting = splitting(1, right[1]);
                work.splitting.some(usize::MAX);
            }
            for (i, panel) in panels.clone().enumerate() {
                let columns = panel * COLUMNS..result.width.min((panel + 1) * COLUMNS);
                for tile in 0..tiles {
                    let first_row = rows.start + tile * ROWS;
                    let tile_rows = first_row..rows.end.min(first_row + ROWS);
                    let upper = left.add(2 * tile * steps * LEFT_STEP);
                    let lower = upper.add(steps * LEFT_STEP);
                    let both = tile_rows.len() > TILE_ROWS;
                    let sums = if first && last {
                        scratch.0.as_mut_ptr()
                    } else {
                        parts.sums.as_mut_ptr().add((i * tiles + tile) * ROWS * COLUMNS)
                    };
                    if first {
                        self.begin(&tile_rows, columns.clone(), both);
                    } else {
                        registers::load(sums, COLUMNS, both);
                    }
                    for step in 0..steps {
                        if by_steps || (tile == 0 && step == 0) {
                            work.splitting = splitting(chunk_at + lead, right[lead]);
                            chunk_at += 1;
                        }
                        let right_step = right[0].add(if by_steps { 0 } else { step * RIGHT_STEP });
                        let (upper, lower) =
                            (upper.add(step * LEFT_STEP), lower.add(step * LEFT_STEP));
                        if both {
                            step_both(upper, lower, right_step, &mut work, &shares)
                        } else {
                            step_upper(upper, right_step, &mut work, &shares)
                        }
                        if by_steps || (tile + 1 == tiles && step + 1 == steps) {
                            right[..=lead].rotate_left(1);
                        }
                    }
                    registers::store(sums, both);
                    if last {
                        work.finishing.begin(sums, tile_rows, columns.clone());
                    }
                }
            }
            work.finishing.some(ROWS);
        }
    }

    /// The sums of a tile before its first step.
    ///
    /// # Safety
    /// The tile must lie in the output; the registers must be configured for it.
    #[inline(always)]
    unsafe fn begin(&self, rows: &Range<usize>, columns: Range<usize>, both: bool) {
        let Self { simd, result, .. } = *self;
        // SAFETY: the caller's promise; `all` holds as many rows as registers do.
        unsafe {
            match result.sums {
                SumStart::New => registers::clear(both),
                SumStart::Added => {
                    let width = result.width;
                    let out = result.out.get().add(rows.start * width + columns.start).cast_const();
                    if rows.len() == ROWS && columns.len() == COLUMNS {
                        return registers::load(out, width, true);
                    }
                    // Registers may have more rows than the tile.
                    let mut all = ScratchTile([0.0; ROWS * COLUMNS]);
                    for row in 0..rows.len() {
                        let to = all.0.as_mut_ptr().add(row * COLUMNS);
                        let from = out.add(row * width);
                        for at in (0..columns.len()).step_by(LANES) {
                            let count = LANES.min(columns.len() - at);
                            simd.store(simd.load_first(from.add(at), count), to.add(at));
                        }
                    }
                    registers::load(all.0.as_ptr(), COLUMNS, both)
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
struct VectorWork<'a> {
    splitting: Splitting,
    finishing: Finishing<'a>,
}

impl VectorWork<'_> {
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

/// Makes results of the sums of a tile, a little at a time: bias, activation, residual, derivative.
struct Finishing<'a> {
    result: TileOutput<'a>,
    simd: Avx512,
    sums: *const f32,
    rows: Range<usize>,
    columns: Range<usize>,
    /// Of the tile.
    next: usize,
}

impl<'a> Finishing<'a> {
    fn nothing(result: TileOutput<'a>, simd: Avx512) -> Self {
        Self { result, simd, sums: std::ptr::null(), rows: 0..0, columns: 0..0, next: 0 }
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
        let simd = self.simd;
        let TileOutput { bias, activation, residual, derivative, pre, out, width, sums } =
            self.result;
        let rows_ahead = match sums {
            SumStart::New => ROWS_AHEAD,
            SumStart::Added => ROWS_AHEAD_OF_SUMS,
        };
        let end = self.rows.len().min(self.next + count);
        while self.next < end {
            let (row, mut at) = (self.rows.start + self.next, 0);
            while at < self.columns.len() {
                let count = LANES.min(self.columns.len() - at);
                let column = self.columns.start + at;
                let place = row * width + column;
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
                        y = simd.add(y, simd.load_first(residual.get().add(place), count));
                    }
                    if let Some((function, pre)) = derivative {
                        let pre = simd.load_first(pre.as_ptr().add(place), count);
                        y = simd.mul(y, function.derivative(simd, pre));
                    }
                    simd.store_first(y, out.get().add(place), count);
                    prefetch_to_write(out.get().wrapping_add(place + rows_ahead * width));
                }
                at += LANES;
            }
            self.next += 1;
        }
    }
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
    use crate::cpu::Cpu;
    use crate::memory::StoredTensor;
    use crate::simd::{Isa, Level};
    use crate::testing::numbers;
    use crate::threads::Threads;

    /// The largest error, in units of 2⁻²⁴ of `Σ |x w|`, and the root of its mean square.
    fn errors(isa: Isa, x: &[f32], weight: &[f32], inputs: usize) -> (f64, f64) {
        let outputs = weight.len() / inputs;
        let stored = StoredTensor::from_f32(vec![outputs, inputs], weight);
        let packed = Cpu::new(&Team::solo(), isa).pack(&[&stored]);
        let mut out = vec![f32::NAN; x.len() / inputs * outputs];
        Cpu::new(&Team::solo(), isa).linear(x, &packed, Epilogue::default(), &mut out);
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
        let packed = Cpu::new(&Team::solo(), isa).pack(&[&weight]);
        let bias = numbers(outputs, 9);
        let run = |team: &Team, x: &[f32]| {
            let epilogue = Epilogue { bias: Some(&bias), ..Epilogue::default() };
            let mut out = vec![f32::NAN; x.len() / inputs * outputs];
            Cpu::new(team, isa).linear(x, &packed, epilogue, &mut out);
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
        let packed = Cpu::new(&Team::solo(), isa).pack(&[&weight]);
        for bad in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            let mut x = numbers(18 * 40, 6);
            x[3 * 40 + 39] = bad;
            let mut out = vec![0.0; 18 * 33];
            Cpu::new(&Team::solo(), isa).linear(&x, &packed, Epilogue::default(), &mut out);
            for (row, out) in out.chunks_exact(33).enumerate() {
                assert!(out.iter().all(|y| y.is_finite() != (row == 3)), "{bad} in row {row}");
            }
        }
    }
}
