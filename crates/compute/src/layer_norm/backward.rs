//! The vector code of the backward: rows for the gradient of the sum, columns
//! for those of weight and bias.

use std::ops::Range;

use crate::simd::{Op, Simd};
use crate::threads::SharedPointer;

/// Columns whose gradients one part sums over all rows: some vectors of any set.
pub(super) const COLUMNS_PER_PART: usize = 64;

/// The gradient of some rows of the sum.
pub(super) struct BackwardRows<'a> {
    pub(super) sum: &'a [f32],
    pub(super) stats: &'a [f32],
    pub(super) weight: &'a [f32],
    pub(super) dout: &'a [f32],
    pub(super) dsum: &'a mut [f32],
}

impl Op for BackwardRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let width = self.weight.len();
        for (n, dsum) in self.dsum.chunks_exact_mut(width).enumerate() {
            let (x, dout) = (&self.sum[n * width..][..width], &self.dout[n * width..][..width]);
            let (x, dout, weight) = (x.as_ptr(), dout.as_ptr(), self.weight.as_ptr());
            let dsum = dsum.as_mut_ptr();
            let mean = simd.splat(self.stats[2 * n]);
            let scale = simd.splat(self.stats[2 * n + 1]);
            let mut total_g = simd.splat(0.0);
            let mut total_gy = simd.splat(0.0);
            let mut at = 0;
            while at < width {
                let count = S::LANES.min(width - at);
                // SAFETY: `count` numbers from `at` on lie in the rows. Beyond them `g` is 0, so
                // that these lanes add nothing.
                unsafe {
                    let d = simd.load_first(dout.add(at), count);
                    let g = simd.mul(d, simd.load_first(weight.add(at), count));
                    let y = simd.mul(simd.sub(simd.load_first(x.add(at), count), mean), scale);
                    total_g = simd.add(total_g, g);
                    total_gy = simd.mul_add(g, y, total_gy);
                }
                at += S::LANES;
            }
            let mean_g = simd.splat(simd.sum(total_g) / width as f32);
            let mean_gy = simd.splat(simd.sum(total_gy) / width as f32);
            at = 0;
            while at < width {
                let count = S::LANES.min(width - at);
                // SAFETY: as above.
                unsafe {
                    let d = simd.load_first(dout.add(at), count);
                    let g = simd.mul(d, simd.load_first(weight.add(at), count));
                    let y = simd.mul(simd.sub(simd.load_first(x.add(at), count), mean), scale);
                    let along = simd.mul(y, mean_gy);
                    let d = simd.mul(scale, simd.sub(simd.sub(g, mean_g), along));
                    simd.store_first(d, dsum.add(at), count);
                }
                at += S::LANES;
            }
        }
    }
}

/// The gradients of some columns of weight and bias, over all rows.
pub(super) struct BackwardColumns<'a> {
    pub(super) sum: &'a [f32],
    pub(super) stats: &'a [f32],
    pub(super) dout: &'a [f32],
    pub(super) width: usize,
    /// At most [`COLUMNS_PER_PART`].
    pub(super) columns: Range<usize>,
    pub(super) dweight: SharedPointer,
    pub(super) dbias: SharedPointer,
}

impl Op for BackwardColumns<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut first = self.columns.start;
        while first < self.columns.end {
            let count = self.columns.end - first;
            // Several vectors at a time, so that their chains of additions overlap.
            let count = if count >= 4 * S::LANES {
                self.sums::<S, 4>(simd, first, S::LANES);
                4 * S::LANES
            } else {
                self.sums::<S, 1>(simd, first, S::LANES.min(count));
                S::LANES
            };
            first += count;
        }
    }
}

impl BackwardColumns<'_> {
    /// `VECTORS` vectors of columns, `lanes` of each.
    #[inline(always)]
    fn sums<S: Simd, const VECTORS: usize>(&self, simd: S, first: usize, lanes: usize) {
        let rows = self.sum.len() / self.width;
        let mut dweight = [simd.splat(0.0); VECTORS];
        let mut dbias = [simd.splat(0.0); VECTORS];
        // SAFETY: `lanes` columns of each vector lie in the rows and in the gradients; the columns
        // belong to this part alone.
        unsafe {
            for (j, (dweight, dbias)) in dweight.iter_mut().zip(dbias.iter_mut()).enumerate() {
                let at = first + j * S::LANES;
                *dweight = simd.load_first(self.dweight.get().add(at), lanes);
                *dbias = simd.load_first(self.dbias.get().add(at), lanes);
            }
            let mut n = 0;
            while n < rows {
                let mean = simd.splat(*self.stats.as_ptr().add(2 * n));
                let scale = simd.splat(*self.stats.as_ptr().add(2 * n + 1));
                for (j, (dweight, dbias)) in dweight.iter_mut().zip(dbias.iter_mut()).enumerate() {
                    let at = n * self.width + first + j * S::LANES;
                    let x = simd.load_first(self.sum.as_ptr().add(at), lanes);
                    let d = simd.load_first(self.dout.as_ptr().add(at), lanes);
                    let y = simd.mul(simd.sub(x, mean), scale);
                    *dweight = simd.mul_add(d, y, *dweight);
                    *dbias = simd.add(*dbias, d);
                }
                n += 1;
            }
            for (j, (dweight, dbias)) in dweight.iter().zip(&dbias).enumerate() {
                let at = first + j * S::LANES;
                simd.store_first(*dweight, self.dweight.get().add(at), lanes);
                simd.store_first(*dbias, self.dbias.get().add(at), lanes);
            }
        }
    }
}
