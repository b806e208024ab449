//! `y = f(x Wᵀ + b) (+ r)` with `x` and `W` in 8 bits.

use std::cell::RefCell;
use std::ops::Range;

use super::kernel::{Int8Isa, Kernel, KernelOp, TileSums};
use super::matrix::Int8Matrix;
use super::rows::{QuantizeBlock, QuantizedRows, Sink, WIDTH_STEP};
use crate::cpu::Cpu;
use crate::linear::Epilogue;
use crate::linear::product::{BLOCK_ROWS, split};
use crate::memory::Buffer;
use crate::simd::Simd;
use crate::threads::{SharedPointer, share, share_in_steps};

/// Rows that are computed before they are quantized: a multiple of every kernel's
/// rows, few enough to stay in the second cache or near it.
const QUANTIZED_ROWS: usize = 96;
/// Sums of a tile: 32 × 32 at most.
const MOST_SUMS: usize = 1024;

/// Linear layers in 8 bits.
impl Cpu<'_> {
    /// `out = f(x Wᵀ + b) (+ r)`
    ///
    /// - `x`: `[rows, inputs]`
    /// - `out`: `[rows, outputs]`
    ///
    /// A row of `out` depends on its row of `x` alone: neither on the others, nor on the team.
    /// [`Activation::Gelu`](crate::Activation::Gelu) is computed within 1e-4.
    ///
    /// # Panics
    /// If the lengths do not fit, or `x` was made for other kernels.
    pub fn int8_linear(
        self,
        x: &QuantizedRows,
        weight: &Int8Matrix,
        epilogue: Epilogue,
        out: &mut [f32],
    ) {
        let (team, isa) = (self.team, self.int8);
        check(isa, x, weight, &epilogue);
        assert_eq!(out.len(), x.rows() * weight.outputs, "length of the output");
        assert!(epilogue.residual.is_none_or(|r| r.len() == out.len()), "length of the residual");
        let out = SharedPointer(out.as_mut_ptr());
        let (blocks, columns) = split(team.parts(), x.rows(), BLOCK_ROWS, weight.panel_count());
        team.run(blocks * columns, &|part| {
            let (block, column) = (part / columns, part % columns);
            let panels = share(weight.panel_count(), columns, column);
            let tiles = Int8Tiles { x, weight, epilogue, out, first_out: 0 };
            isa.run(Int8Product { tiles, block: (block, blocks), panels });
        });
    }

    /// [`int8_linear`](Self::int8_linear) with its result in 8 bits: `out = f(x Wᵀ + b)`.
    ///
    /// Rows are quantized as [`quantize_rows`](Self::quantize_rows) would, while
    /// they are in the caches.
    ///
    /// - `x`: `[rows, inputs]`; `out` takes the shape `[rows, outputs]`
    ///
    /// # Panics
    /// If the lengths do not fit, or `x` was made for other kernels.
    pub fn int8_linear_quantizing(
        self,
        x: &QuantizedRows,
        weight: &Int8Matrix,
        epilogue: Epilogue,
        out: &mut QuantizedRows,
    ) {
        let (team, isa) = (self.team, self.int8);
        check(isa, x, weight, &epilogue);
        assert!(epilogue.residual.is_none(), "a residual stays in single precision");
        let (rows, outputs) = (x.rows(), weight.outputs);
        out.resize(isa, rows, outputs);
        let sink = out.sink();
        let blocks = rows.div_ceil(QUANTIZED_ROWS);
        if blocks >= team.parts() {
            // Whole rows for each thread: no waiting between product and quantization.
            team.run(blocks, &|part| {
                let rows = share_in_steps(rows, QUANTIZED_ROWS, (part, blocks));
                ROWS.with_borrow_mut(|block| {
                    block.resize(rows.len() * outputs);
                    let (out, first_out) = (SharedPointer(block.as_mut_ptr()), rows.start);
                    let tiles = Int8Tiles { x, weight, epilogue, out, first_out };
                    isa.run(BlockOfRows { tiles, rows, sink });
                });
            });
            return;
        }
        ROWS.with_borrow_mut(|whole| {
            whole.resize(rows * outputs);
            self.int8_linear(x, weight, epilogue, whole);
            let whole: &[f32] = whole;
            team.run_ranges(rows, QUANTIZE_AT_ONCE, &|rows| {
                let x = &whole[rows.start * outputs..rows.end * outputs];
                isa.run(QuantizeBlock { x, first: rows.start, sink });
            });
        });
    }
}

/// Rows that one part of a team quantizes at a time, where there are few.
const QUANTIZE_AT_ONCE: usize = 4;

/// The plain loops: document and oracle of [`int8_linear`](Cpu::int8_linear).
pub fn int8_linear_reference(
    x: &QuantizedRows,
    weight: &Int8Matrix,
    epilogue: Epilogue,
    out: &mut [f32],
) {
    for i in 0..x.rows() {
        let levels = x.centered(i);
        for j in 0..weight.outputs {
            let sum: i64 = levels
                .iter()
                .enumerate()
                .map(|(k, p)| i64::from(*p) * i64::from(weight.level(j, k)))
                .sum();
            let scale = x.scales[i] * weight.scales[j];
            let bias = epilogue.bias.map_or(0.0, |b| b[j]);
            let y = epilogue.activation.reference(f32::mul_add(sum as f32, scale, bias));
            let at = i * weight.outputs + j;
            out[at] = y + epilogue.residual.map_or(0.0, |r| r[at]);
        }
    }
}

fn check(isa: Int8Isa, x: &QuantizedRows, weight: &Int8Matrix, epilogue: &Epilogue) {
    assert_eq!((x.isa(), weight.isa), (isa, isa), "kernels of rows and weight");
    assert_eq!(x.width(), weight.inputs, "numbers of a row");
    assert!(epilogue.bias.is_none_or(|b| b.len() == weight.outputs), "length of the bias");
}

thread_local! {
    /// Results that are not quantized yet: reused by every product of this thread.
    static ROWS: RefCell<Buffer> = RefCell::new(Buffer::default());
}

struct Int8Product<'a> {
    tiles: Int8Tiles<'a>,
    /// Which block of rows, of how many.
    block: (usize, usize),
    panels: Range<usize>,
}

impl KernelOp for Int8Product<'_> {
    type Output = ();
    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) {
        let Self { tiles, block, panels } = self;
        let all = share_in_steps(tiles.x.rows(), K::ROWS, block);
        for first in all.clone().step_by(BLOCK_ROWS) {
            let rows = first..all.end.min(first + BLOCK_ROWS);
            // SAFETY: `int8_linear` has checked the lengths, and no other part of it has
            // both these rows and these panels.
            unsafe { tiles.compute(kernel, &rows, panels.clone()) }
        }
    }
}

struct BlockOfRows<'a> {
    /// Their output is a buffer of this thread, `[rows, outputs]`.
    tiles: Int8Tiles<'a>,
    rows: Range<usize>,
    sink: Sink,
}

impl KernelOp for BlockOfRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) {
        let Self { tiles, rows, sink } = self;
        // SAFETY: the buffer has room for these rows, and this part alone has them.
        let x = unsafe {
            tiles.compute(kernel, &rows, 0..tiles.weight.panel_count());
            tiles.out.slice(0..rows.len() * tiles.weight.outputs)
        };
        QuantizeBlock { x, first: rows.start, sink }.run(kernel);
    }
}

/// A block of rows against some panels.
struct Int8Tiles<'a> {
    x: &'a QuantizedRows,
    weight: &'a Int8Matrix,
    epilogue: Epilogue<'a>,
    out: SharedPointer,
    /// The row at the beginning of `out`.
    first_out: usize,
}

impl Int8Tiles<'_> {
    /// # Safety
    /// Rows and panels must exist, `out` must have room for the rows from
    /// `first_out` on, and no other thread may use these rows and columns of it.
    #[inline(always)]
    unsafe fn compute<K: Kernel>(&self, kernel: K, rows: &Range<usize>, panels: Range<usize>) {
        let Self { x, weight, .. } = self;
        let mut sums = SumsBuffer([0; MOST_SUMS]);
        const { assert!(K::ROWS * K::COLUMNS <= MOST_SUMS) };
        for panel in panels {
            let right = weight.panels[panel * weight.panel_size..].as_ptr().cast();
            let mut first = rows.start;
            while first < rows.end {
                let count = K::ROWS.min(rows.end - first);
                // SAFETY: rows of `x` are readable in whole tiles, panels are whole; the
                // rest is the caller's promise.
                unsafe {
                    kernel.sums(TileSums {
                        rows: count,
                        groups: weight.inputs.next_multiple_of(WIDTH_STEP) / K::GROUP,
                        left: x.levels.as_ptr().cast::<K::Left>().add(first * x.stride()),
                        left_row: x.stride(),
                        right,
                        out: sums.0.as_mut_ptr(),
                    });
                    self.finish(kernel, &sums.0, first..first + count, panel * K::COLUMNS);
                }
                first += count;
            }
        }
    }

    /// From sums to results.
    ///
    /// # Safety
    /// As [`compute`](Self::compute); `column` is the first of the tile.
    #[inline(always)]
    unsafe fn finish<K: Kernel>(
        &self,
        kernel: K,
        sums: &[i32; MOST_SUMS],
        rows: Range<usize>,
        column: usize,
    ) {
        let Self { x, weight, epilogue: Epilogue { bias, activation, residual }, .. } = *self;
        let simd = kernel.float();
        let lanes = <K::Float as Simd>::LANES;
        let columns = K::COLUMNS.min(weight.outputs - column);
        let mut at = 0;
        while at < columns {
            let count = lanes.min(columns - at);
            // SAFETY: scales and sums are filled up to whole panels; `count` numbers from
            // here on lie in bias, residual and output; `sums` holds whole rows.
            unsafe {
                let scales = simd.load(weight.scales.as_ptr().add(column + at));
                let bias = match bias {
                    Some(bias) => simd.load_first(bias.as_ptr().add(column + at), count),
                    None => simd.splat(0.0),
                };
                let mut i = 0;
                while i < rows.len() {
                    let row = rows.start + i;
                    let sum = simd.centered(
                        sums.as_ptr().add(i * K::COLUMNS + at),
                        *x.zeros.get_unchecked(row),
                        weight.sums.as_ptr().add(column + at),
                    );
                    let scale = simd.mul(simd.splat(*x.scales.get_unchecked(row)), scales);
                    let mut y = activation.coarse_vector(simd, simd.mul_add(sum, scale, bias));
                    if let Some(residual) = residual {
                        let from = row * weight.outputs + column + at;
                        y = simd.add(y, simd.load_first(residual.as_ptr().add(from), count));
                    }
                    let to = (row - self.first_out) * weight.outputs + column + at;
                    simd.store_first(y, self.out.get().add(to), count);
                    i += 1;
                }
            }
            at += lanes;
        }
    }
}

/// Sums of a tile, at a cache line.
#[repr(align(64))]
struct SumsBuffer([i32; MOST_SUMS]);
