//! `y = f(x Wᵀ + b) (+ r)` with `x` and `W` in 8 bits.

use std::cell::RefCell;
use std::ops::Range;

use super::kernel::{GROUP, Int8Isa, Kernel, KernelOp, Tile};
use super::matrix::Int8Matrix;
use super::rows::{QuantizeBlock, QuantizedRows, Sink, WIDTH_STEP};
use crate::cpu::Cpu;
use crate::linear::Epilogue;
use crate::linear::product::{BLOCK_ROWS, split};
use crate::memory::Buffer;
use crate::threads::{SharedPointer, share, share_in_steps};

/// Rows that are computed before they are quantized: a multiple of every kernel's
/// rows, few enough to stay in the second cache or near it.
const QUANTIZED_ROWS: usize = 96;

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
        const { assert!(K::ROWS * K::COLUMNS <= MOST_RESULTS && K::COLUMNS <= MOST_COLUMNS) };
        let Self { x, weight, epilogue: Epilogue { bias, activation, residual }, .. } = *self;
        for panel in panels {
            let next_panel = weight.starts.get(panel + 1);
            let column = panel * K::COLUMNS;
            let columns = K::COLUMNS.min(weight.outputs - column);
            let mut first = rows.start;
            while first < rows.end {
                let count = K::ROWS.min(rows.end - first);
                // SAFETY: rows of `x` are readable in whole tiles, panels are whole, scales and
                // sums filled up to whole panels; the rest is the caller's promise.
                unsafe {
                    let at = (first - self.first_out) * weight.outputs + column;
                    let tile = Tile {
                        rows: count,
                        groups: weight.inputs.next_multiple_of(WIDTH_STEP) / GROUP,
                        left: x.levels.as_ptr().cast::<K::Left>().add(first * x.stride()),
                        left_row: x.stride(),
                        right: weight.panels.as_ptr().add(weight.starts[panel]),
                        next_panel: next_panel
                            .filter(|_| first + count == rows.end)
                            .map(|start| weight.panels.as_ptr().add(*start)),
                        row_scales: x.scales.as_ptr().add(first),
                        zeros: x.zeros.as_ptr().add(first),
                        scales: weight.scales.as_ptr().add(column),
                        sums: weight.sums.as_ptr().add(column),
                        bias: bias.map_or(NO_BIAS.as_ptr(), |bias| bias.as_ptr().add(column)),
                        activation,
                        residual: residual.map_or(std::ptr::null(), |residual| {
                            residual.as_ptr().add(first * weight.outputs + column)
                        }),
                        out: self.out.get().add(at),
                        out_row: weight.outputs,
                    };
                    if columns == K::COLUMNS {
                        kernel.tile(&tile);
                    } else {
                        narrow(kernel, tile, columns, bias.is_some());
                    }
                }
                first += count;
            }
        }
    }
}

/// Results of a tile: 32 × 32 at most.
const MOST_RESULTS: usize = 1024;
/// Columns of a tile.
const MOST_COLUMNS: usize = 32;
/// The bias of a layer without one.
static NO_BIAS: [f32; MOST_COLUMNS] = [0.0; MOST_COLUMNS];

/// Computes a tile of which only the first `columns` are outputs of the weight.
///
/// # Safety
/// The caller keeps the promises of [`Kernel::tile`] for these columns.
unsafe fn narrow<K: Kernel>(kernel: K, tile: Tile<K>, columns: usize, has_bias: bool) {
    let (mut bias, mut results) = (NO_BIAS, [0.0; MOST_RESULTS]);
    // SAFETY: rows and columns are within both, as the caller promises and `compute` has checked.
    unsafe {
        if has_bias {
            bias.as_mut_ptr().copy_from_nonoverlapping(tile.bias, columns);
        }
        if !tile.residual.is_null() {
            for (i, row) in results.chunks_exact_mut(K::COLUMNS).take(tile.rows).enumerate() {
                let from = tile.residual.add(i * tile.out_row);
                row.as_mut_ptr().copy_from_nonoverlapping(from, columns);
            }
        }
        let aside = results.as_mut_ptr();
        kernel.tile(&Tile {
            bias: bias.as_ptr(),
            residual: if tile.residual.is_null() { tile.residual } else { aside },
            out: aside,
            out_row: K::COLUMNS,
            ..tile
        });
        for (i, row) in results.chunks_exact(K::COLUMNS).take(tile.rows).enumerate() {
            let to = tile.out.add(i * tile.out_row);
            to.copy_from_nonoverlapping(row.as_ptr(), columns);
        }
    }
}
