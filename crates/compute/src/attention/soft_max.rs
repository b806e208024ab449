//! The soft-max of rows of scores: exponentials and their sums, and the gradient of a row.

use super::forward::QUERY_ROWS;
use crate::simd::{Simd, functions};

/// Replaces the first `count` scores of [`QUERY_ROWS`] rows by `exp((score − largest) · scale)`;
/// returns the sum of each row.
///
/// Rows together, since most texts are short: one alone would wait for itself. Those that are
/// not used may hold anything. The scores lie in whole vectors; those beyond `count` become 0.
///
/// # Safety
/// Whole vectors that cover `count` numbers must be readable and writable in each of the rows,
/// which begin `row` apart.
#[inline(always)]
pub(super) unsafe fn exponentials<S: Simd>(
    simd: S,
    scores: *mut f32,
    row: usize,
    count: usize,
    scale: S::V,
) -> [f32; QUERY_ROWS] {
    let end = count.next_multiple_of(S::LANES);
    // SAFETY: as the caller promises.
    unsafe {
        let mut largest = [simd.splat(f32::NEG_INFINITY); QUERY_ROWS];
        for (i, largest) in largest.iter_mut().enumerate() {
            let scores = scores.add(i * row);
            // The lanes beyond the last score must lose: they get −∞, whose exponential is 0.
            for at in count..end {
                *scores.add(at) = f32::NEG_INFINITY;
            }
            let mut at = 0;
            while at < count {
                // A NaN may be lost here, but not its exponential.
                *largest = simd.max(*largest, simd.load(scores.add(at)));
                at += S::LANES;
            }
        }
        for largest in &mut largest {
            *largest = simd.splat(simd.maximum(*largest));
        }
        let mut sums = [simd.splat(0.0); QUERY_ROWS];
        let mut at = 0;
        while at < count {
            let mut i = 0;
            while i < QUERY_ROWS {
                let scores = scores.add(i * row + at);
                let distance = simd.mul(simd.sub(simd.load(scores), largest[i]), scale);
                let weight = functions::exp(simd, distance);
                simd.store(weight, scores);
                sums[i] = simd.add(sums[i], weight);
                i += 1;
            }
            at += S::LANES;
        }
        let mut totals = [0.0; QUERY_ROWS];
        for (total, sum) in totals.iter_mut().zip(sums) {
            *total = simd.sum(sum);
        }
        totals
    }
}

/// A row of the soft-max: exponentials in `weights`, and in `slopes` the gradient
/// of what the values are weighted with. Whole vectors are read and written.
pub(super) struct SoftMaxRow<V> {
    pub(super) weights: *mut f32,
    pub(super) slopes: *mut f32,
    pub(super) count: usize,
    /// Sum of the exponentials.
    pub(super) total: f32,
    /// `dout · out`: the mean of the gradients of the probabilities.
    pub(super) mean: f32,
    pub(super) scale: V,
    /// The sums for the bias, from that of key 0 on.
    pub(super) distances: Option<*mut f32>,
}

impl<V: Copy> SoftMaxRow<V> {
    /// `slopes` become the gradients of `q · k`, `weights` the probabilities, times the factors of
    /// dropout where there are any. Adds the gradients of the scores to the sums for the bias.
    ///
    /// # Safety
    /// Whole vectors that cover `count` numbers must be readable in all rows, and writable in these
    /// two; `count` numbers writable from `distances` on.
    #[inline(always)]
    pub(super) unsafe fn backward<S: Simd<V = V>>(&self, simd: S, factors: Option<*const f32>) {
        let (factor, mean) = (simd.splat(1.0 / self.total), simd.splat(self.mean));
        let mut at = 0;
        while at < self.count {
            // SAFETY: whole vectors of the rows.
            unsafe {
                let p = simd.mul(simd.load(self.weights.add(at)), factor);
                let (mut slope, mut weight) = (simd.load(self.slopes.add(at)), p);
                if let Some(factors) = factors {
                    let kept = simd.load(factors.add(at));
                    (slope, weight) = (simd.mul(slope, kept), simd.mul(p, kept));
                }
                let slope = simd.mul(p, simd.sub(slope, mean));
                if let Some(distances) = self.distances {
                    let (sums, lanes) = (distances.add(at), S::LANES.min(self.count - at));
                    let sum = simd.add(simd.load_first(sums, lanes), slope);
                    simd.store_first(sum, sums, lanes);
                }
                simd.store(simd.mul(slope, self.scale), self.slopes.add(at));
                simd.store(weight, self.weights.add(at));
            }
            at += S::LANES;
        }
    }
}
