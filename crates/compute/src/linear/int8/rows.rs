//! Rows of activations in 8 bits, and what makes them.

use super::kernel::{Int8Isa, Kernel, KernelOp, KernelSizes};
use crate::cpu::Cpu;
use crate::layer_norm::Norm;
use crate::memory::Buffer;
use crate::simd::Simd;
use crate::threads::SharedPointer;

/// Levels of a row: 0 … 255.
const LEVELS: f32 = 255.0;
/// Numbers of a row are filled up to a multiple of this, rows to a multiple of
/// [`ROWS_STEP`]: kernels read whole tiles.
pub(super) const WIDTH_STEP: usize = 64;
const ROWS_STEP: usize = 32;
/// Rows that one part of a team takes at a time.
const ROWS_PER_PART: usize = 16;

/// `[rows, width]` numbers in 8 bits, each row with a scale and a zero point:
/// number `p` of a row stands for `scale · (p − zero)`.
///
/// Made once, grown to the largest batch, and reused.
#[derive(Default)]
pub struct QuantizedRows {
    isa: Option<Int8Isa>,
    rows: usize,
    width: usize,
    /// Copies of each row.
    copies: usize,
    /// `[rows up to a multiple of 32, copies, width up to a multiple of 64]`, as the kernel reads
    /// them.
    pub(super) levels: Buffer<u8>,
    /// `[rows]`
    pub(super) scales: Vec<f32>,
    /// `[rows]`, with what the kernel takes from each number taken from it too.
    pub(super) zeros: Vec<i32>,
}

impl QuantizedRows {
    /// Takes the shape `[rows, width]`; the old numbers are lost.
    pub fn resize(&mut self, isa: Int8Isa, rows: usize, width: usize) {
        (self.isa, self.rows, self.width) = (Some(isa), rows, width);
        let KernelSizes { left, copies, .. } = isa.run(KernelSizes::default());
        self.copies = copies;
        let row = width.next_multiple_of(WIDTH_STEP) * left;
        self.levels.resize(rows.next_multiple_of(ROWS_STEP) * row);
        self.scales.resize(rows, 0.0);
        self.zeros.resize(rows, 0);
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The integer products that read these rows.
    ///
    /// # Panics
    /// If they never had a shape.
    pub fn isa(&self) -> Int8Isa {
        self.isa.expect("rows have been resized")
    }

    /// Numbers from one row to the next.
    pub(super) fn stride(&self) -> usize {
        self.copies * self.width.next_multiple_of(WIDTH_STEP)
    }

    /// Row `row` in single precision: `scale · (p − zero)`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn to_f32(&self, row: usize) -> Vec<f32> {
        let scale = self.scales[row];
        self.isa().run(Centered { rows: self, row }).iter().map(|p| scale * *p as f32).collect()
    }

    /// `p − zero` of a row.
    pub(super) fn centered(&self, row: usize) -> Vec<i32> {
        self.isa().run(Centered { rows: self, row })
    }

    /// Writes rows, for parts of an operation that have different rows.
    pub(super) fn sink(&mut self) -> Sink {
        Sink {
            width: self.width,
            stride: self.stride(),
            levels: SharedPointer(self.levels.as_mut_ptr()),
            scales: SharedPointer(self.scales.as_mut_ptr()),
            zeros: SharedPointer(self.zeros.as_mut_ptr()),
        }
    }
}

/// Where [`QuantizedRows`] are written, row by row.
#[derive(Clone, Copy)]
pub(super) struct Sink {
    width: usize,
    stride: usize,
    levels: SharedPointer<u8>,
    scales: SharedPointer<f32>,
    zeros: SharedPointer<i32>,
}

impl Sink {
    /// Quantizes `x`, or `(x − shift) · factor`, into row `row`.
    ///
    /// A row with a number that is not finite gets a scale that is none, so
    /// that everything that is computed of it shows it.
    ///
    /// # Safety
    /// The width must be readable at `x` and, where there are any, shift and
    /// factor; the row must exist, and no other thread may use it.
    #[inline(always)]
    pub(super) unsafe fn put<K: Kernel>(
        self,
        kernel: K,
        row: usize,
        x: *const f32,
        change: Option<Change>,
    ) {
        let simd = kernel.float();
        let lanes = <K::Float as Simd>::LANES;
        // SAFETY: `count` numbers from `at` on lie in the row, in the change, and in the sink.
        unsafe {
            // Two of each, so that a vector does not wait for the one before.
            let mut lows = [simd.splat(0.0); 2];
            let (mut highs, mut not_finite) = (lows, lows);
            let mut at = 0;
            while at < self.width {
                for i in 0..2 {
                    let count = lanes.min(self.width.saturating_sub(at));
                    let v = load(simd, x, change, at, count);
                    // A NaN is dropped here and found below.
                    (lows[i], highs[i]) = (simd.min(v, lows[i]), simd.max(v, highs[i]));
                    // 0 · ∞ and 0 · NaN are NaN, everything else adds 0.
                    not_finite[i] = simd.mul_add(v, simd.splat(0.0), not_finite[i]);
                    at += lanes;
                }
            }
            let (low, high) = (simd.min(lows[0], lows[1]), simd.max(highs[0], highs[1]));
            let not_finite = simd.add(not_finite[0], not_finite[1]);
            let (low, high) = (-simd.maximum(simd.sub(simd.splat(0.0), low)), simd.maximum(high));
            let range = high - low + simd.sum(not_finite);
            // Of a subnormal range the inverse would be infinite.
            let inverse = if range > f32::MIN_POSITIVE { LEVELS / range } else { 0.0 };
            let zero = (-low * inverse).round_ties_even();
            *self.scales.get().add(row) =
                if inverse == 0.0 && range >= 0.0 { 0.0 } else { range / LEVELS };
            *self.zeros.get().add(row) = zero as i32 - K::OFFSET;

            let (inverse, zero) = (simd.splat(inverse), simd.splat(zero));
            let (lowest, highest) = (simd.splat(0.0), simd.splat(LEVELS));
            let to = self.levels.get().cast::<K::Left>().add(row * self.stride);
            at = 0;
            while at < self.width {
                let count = lanes.min(self.width - at);
                let v = load(simd, x, change, at, count);
                let level = simd.mul_add(v, inverse, zero);
                // Whole vectors: the row is filled up to a multiple of every number of lanes.
                let level = simd.min(highest, simd.max(lowest, level));
                kernel.store_levels(level, to.add(at));
                at += lanes;
            }
            kernel.copy_row(to, self.width.next_multiple_of(WIDTH_STEP));
        }
    }
}

/// What is done to the numbers of each row before they are quantized.
#[derive(Clone, Copy)]
pub(super) struct Change {
    /// `[width]`, subtracted first.
    shift: *const f32,
    /// `[width]`, multiplied with what is left.
    factor: *const f32,
}

/// `x`, changed, from `at` on, which may lie behind the row where `count` is 0.
///
/// # Safety
/// `count` numbers must be readable from `at` on.
#[inline(always)]
unsafe fn load<S: Simd>(
    simd: S,
    x: *const f32,
    change: Option<Change>,
    at: usize,
    count: usize,
) -> S::V {
    // SAFETY: the caller's promise.
    unsafe {
        let v = simd.load_first(x.wrapping_add(at), count);
        match change {
            Some(Change { shift, factor }) => {
                let shifted = simd.sub(v, simd.load_first(shift.wrapping_add(at), count));
                simd.mul(shifted, simd.load_first(factor.wrapping_add(at), count))
            }
            None => v,
        }
    }
}

struct Centered<'a> {
    rows: &'a QuantizedRows,
    row: usize,
}

impl KernelOp for Centered<'_> {
    type Output = Vec<i32>;
    #[inline(always)]
    fn run<K: Kernel>(self, _: K) -> Vec<i32> {
        let Self { rows, row } = self;
        assert!(row < rows.rows, "row {row} of {}", rows.rows);
        let from = rows.levels.as_ptr().cast::<K::Left>();
        let mut out = Vec::with_capacity(rows.width);
        for k in 0..rows.width {
            // SAFETY: the row exists and is at least so wide.
            let level = unsafe { *from.add(row * rows.stride() + k) };
            out.push(level.into() - rows.zeros[row]);
        }
        out
    }
}

/// Rows of activations in 8 bits.
impl Cpu<'_> {
    /// `x` in 8 bits, a scale and a zero point for each row.
    ///
    /// - `x`: `[rows, width]`; `out` takes this shape
    ///
    /// With `low = min(x, 0)`, `high = max(x, 0)` of a row, `scale = (high − low) /
    /// 255`, `zero = round(−low / scale)` and `p = round(x / scale + zero)`: the
    /// ends are kept, and 0 is a level of its own.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn quantize_rows(self, x: &[f32], width: usize, out: &mut QuantizedRows) {
        let (team, isa) = (self.team, self.int8);
        assert!(width > 0 && x.len().is_multiple_of(width), "whole rows");
        let rows = x.len() / width;
        out.resize(isa, rows, width);
        let sink = out.sink();
        team.run_ranges(rows, ROWS_PER_PART, &|rows| {
            let x = &x[rows.start * width..rows.end * width];
            isa.run(QuantizeBlock { x, first: rows.start, sink });
        });
    }

    /// [`layer_norm`](crate::Cpu::layer_norm) that also gives its rows in 8 bits, as
    /// `(x − bias) · factors`.
    ///
    /// The bias of the norm is the same in every row, so the layer that reads the
    /// rows can have it in its own bias (`b + W · bias`), and the levels are spent on
    /// what differs. With factors below 1, a few large columns do not take the
    /// levels of all others: the weights of the layer have been divided by them
    /// (Xiao et al., 2023, SmoothQuant, equation 3, where they are 1 / s).
    ///
    /// - `x`: `[rows, D]`, replaced by the norm; `factors`: `[D]`
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn layer_norm_quantizing(
        self,
        x: &mut [f32],
        norm: Norm,
        factors: &[f32],
        out: &mut QuantizedRows,
    ) {
        let (team, isa) = (self.team, self.int8);
        let width = norm.weight.len();
        assert_eq!(norm.bias.len(), width, "length of the bias");
        assert_eq!(factors.len(), width, "length of the factors");
        assert!(width > 0 && x.len().is_multiple_of(width), "whole rows");
        let rows = x.len() / width;
        out.resize(isa, rows, width);
        let sink = out.sink();
        team.run_rows(x, width, ROWS_PER_PART, &|rows, x| {
            isa.run(NormAndQuantize { x, first: rows.start, norm, factors, sink });
        });
    }
}

/// Some rows in 8 bits.
pub(super) struct QuantizeBlock<'a> {
    pub(super) x: &'a [f32],
    /// The number of the first row.
    pub(super) first: usize,
    pub(super) sink: Sink,
}

impl KernelOp for QuantizeBlock<'_> {
    type Output = ();
    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) {
        for (i, row) in self.x.chunks_exact(self.sink.width).enumerate() {
            // SAFETY: the row is as wide as the sink, and this part alone has it.
            unsafe { self.sink.put(kernel, self.first + i, row.as_ptr(), None) }
        }
    }
}

struct NormAndQuantize<'a> {
    /// The rows of this part.
    x: &'a mut [f32],
    /// The number of the first of them.
    first: usize,
    norm: Norm<'a>,
    factors: &'a [f32],
    sink: Sink,
}

impl KernelOp for NormAndQuantize<'_> {
    type Output = ();
    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) {
        let Self { x, first, norm, factors, sink } = self;
        let change = Change { shift: norm.bias.as_ptr(), factor: factors.as_ptr() };
        for (i, row) in x.chunks_exact_mut(sink.width).enumerate() {
            // SAFETY: the row is as wide as norm and sink; this part alone has it.
            unsafe {
                norm.replace(kernel.float(), row.as_mut_ptr());
                sink.put(kernel, first + i, row.as_ptr(), Some(change));
            }
        }
    }
}
