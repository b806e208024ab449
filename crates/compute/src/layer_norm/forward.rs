//! The vector code of the forward: one row after the other.

use crate::dropout::Dropout;
use crate::simd::{Op, Simd};

/// Scale and shift of a layer norm.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// `[D]`
    pub weight: &'a [f32],
    /// `[D]`
    pub bias: &'a [f32],
    /// Added to the variance.
    pub eps: f32,
}

impl Norm<'_> {
    /// Mean and `1 / √(variance + eps)` of a row.
    ///
    /// # Safety
    /// The width of the norm must be readable at `row`.
    #[inline(always)]
    unsafe fn moments<S: Simd>(&self, simd: S, row: *const f32) -> (f32, f32) {
        let width = self.weight.len();
        // SAFETY: `count` numbers from `at` on lie in the row.
        unsafe {
            let mut sum = simd.splat(0.0);
            let mut at = 0;
            while at < width {
                let count = S::LANES.min(width - at);
                sum = simd.add(sum, simd.load_first(row.add(at), count));
                at += S::LANES;
            }
            let mean_of_all = simd.sum(sum) / width as f32;
            let mean = simd.splat(mean_of_all);

            let mut squares = simd.splat(0.0);
            at = 0;
            while at + S::LANES <= width {
                let d = simd.sub(simd.load(row.add(at)), mean);
                squares = simd.mul_add(d, d, squares);
                at += S::LANES;
            }
            if at < width {
                // The lanes beyond the row must add nothing: they hold the mean, not 0.
                let mut last = [0.0; 16];
                simd.store(mean, last.as_mut_ptr());
                std::ptr::copy_nonoverlapping(row.add(at), last.as_mut_ptr(), width - at);
                let d = simd.sub(simd.load(last.as_ptr()), mean);
                squares = simd.mul_add(d, d, squares);
            }
            let variance = simd.sum(squares) / width as f32;
            (mean_of_all, 1.0 / (variance + self.eps).sqrt())
        }
    }

    /// The row becomes its norm.
    ///
    /// # Safety
    /// The width of the norm must be writable at `row`.
    #[inline(always)]
    pub(crate) unsafe fn replace<S: Simd>(&self, simd: S, row: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe {
            let moments = self.moments(simd, row);
            self.apply(simd, row, moments, row);
        }
    }

    /// `out = (row − mean) · scale · weight + bias`; `out` may be the row.
    ///
    /// # Safety
    /// The width of the norm must be readable at `row`, writable at `out`.
    #[inline(always)]
    unsafe fn apply<S: Simd>(
        &self,
        simd: S,
        row: *const f32,
        (mean, scale): (f32, f32),
        out: *mut f32,
    ) {
        let width = self.weight.len();
        let (mean, scale) = (simd.splat(mean), simd.splat(scale));
        let mut at = 0;
        while at < width {
            let count = S::LANES.min(width - at);
            // SAFETY: `count` numbers from `at` on lie in row, weight, bias and output.
            unsafe {
                let x = simd.sub(simd.load_first(row.add(at), count), mean);
                let weight = simd.load_first(self.weight.as_ptr().add(at), count);
                let bias = simd.load_first(self.bias.as_ptr().add(at), count);
                let y = simd.mul_add(simd.mul(x, scale), weight, bias);
                simd.store_first(y, out.add(at), count);
            }
            at += S::LANES;
        }
    }
}

/// Rows that are replaced by what the norm makes of them.
pub(super) struct Rows<'a> {
    pub(super) x: &'a mut [f32],
    pub(super) norm: Norm<'a>,
}

impl Op for Rows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for row in self.x.chunks_exact_mut(self.norm.weight.len()) {
            // SAFETY: the row is as wide as the norm.
            unsafe { self.norm.replace(simd, row.as_mut_ptr()) }
        }
    }
}

/// Rows of which the norm is written elsewhere.
pub(super) struct RowsTo<'a> {
    pub(super) x: &'a [f32],
    pub(super) norm: Norm<'a>,
    pub(super) stats: &'a mut [f32],
    pub(super) out: &'a mut [f32],
}

impl Op for RowsTo<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { x, norm, stats, out } = self;
        let width = norm.weight.len();
        let outputs = out.chunks_exact_mut(width).zip(stats.chunks_exact_mut(2));
        for (x, (out, stats)) in x.chunks_exact(width).zip(outputs) {
            // SAFETY: both rows are as wide as the norm.
            unsafe {
                let moments = norm.moments(simd, x.as_ptr());
                stats.copy_from_slice(&[moments.0, moments.1]);
                norm.apply(simd, x.as_ptr(), moments, out.as_mut_ptr());
            }
        }
    }
}

/// Rows that a residual is added to before they are normalized; the sum is kept for the backward.
pub(super) struct TrainingRows<'a> {
    pub(super) x: &'a mut [f32],
    pub(super) dropout: Dropout,
    /// Empty where nothing is dropped.
    pub(super) rows: &'a [u64],
    pub(super) residual: Option<&'a [f32]>,
    pub(super) norm: Norm<'a>,
    pub(super) stats: &'a mut [f32],
    pub(super) out: &'a mut [f32],
}

impl Op for TrainingRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let width = self.norm.weight.len();
        let outputs = self.out.chunks_exact_mut(width).zip(self.stats.chunks_exact_mut(2));
        for (n, (x, (out, stats))) in self.x.chunks_exact_mut(width).zip(outputs).enumerate() {
            if !self.dropout.is_none() {
                self.dropout.scale_row(self.rows[n], 0, x);
            }
            if let Some(residual) = self.residual {
                // Vectors by themselves, as the loop in `scale_row`.
                for (x, residual) in x.iter_mut().zip(&residual[n * width..(n + 1) * width]) {
                    *x += *residual;
                }
            }
            // SAFETY: both rows are as wide as the norm.
            unsafe {
                let moments = self.norm.moments(simd, x.as_ptr());
                stats.copy_from_slice(&[moments.0, moments.1]);
                self.norm.apply(simd, x.as_ptr(), moments, out.as_mut_ptr());
            }
        }
    }
}
