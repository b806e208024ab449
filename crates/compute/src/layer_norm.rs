//! Layer normalization of rows (Ba, Kiros and Hinton, 2016).

use crate::simd::{Isa, Op, Simd};
use crate::team::{SharedPointer, Team};

/// Rows that one part of a team takes at a time.
const ROWS_PER_PART: usize = 16;

/// `x = (x − mean) / √(variance + eps) · weight + bias` for each row, in place.
///
/// - `x`: `[rows, D]`
/// - `weight`, `bias`: `[D]`
///
/// The variance is the mean of squares (not divided by `D − 1`), from a second
/// pass over the row: the difference of large sums would lose its digits.
///
/// # Panics
/// If the lengths do not fit.
pub fn layer_norm(team: &Team, isa: Isa, x: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
    let width = weight.len();
    assert_eq!(bias.len(), width, "length of the bias");
    assert_eq!(x.len() % width, 0, "whole rows");
    let rows = x.len() / width;
    let x = SharedPointer(x.as_mut_ptr());
    let parts = if team.parts() == 1 { 1 } else { rows.div_ceil(ROWS_PER_PART) };
    team.run(parts, &|part| {
        let (first, end) = (rows * part / parts, rows * (part + 1) / parts);
        // SAFETY: the rows of this part, which no other part has.
        let x = unsafe {
            std::slice::from_raw_parts_mut(x.get().add(first * width), (end - first) * width)
        };
        isa.run(Rows { x, weight, bias, eps });
    });
}

/// The plain loops in double precision: document and oracle of [`layer_norm`].
pub fn layer_norm_reference(x: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
    let width = weight.len() as f64;
    for row in x.chunks_exact_mut(weight.len()) {
        let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / width;
        let variance = row.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / width;
        let scale = 1.0 / (variance + f64::from(eps)).sqrt();
        for ((x, w), b) in row.iter_mut().zip(weight).zip(bias) {
            *x = ((f64::from(*x) - mean) * scale * f64::from(*w) + f64::from(*b)) as f32;
        }
    }
}

struct Rows<'a> {
    x: &'a mut [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    eps: f32,
}

impl Op for Rows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let width = self.weight.len();
        for row in self.x.chunks_exact_mut(width) {
            let row = row.as_mut_ptr();
            // SAFETY: `count` numbers from `at` on lie in the row, weight and bias, all `width` long.
            unsafe {
                let mut sum = simd.splat(0.0);
                let mut at = 0;
                while at < width {
                    let count = S::LANES.min(width - at);
                    sum = simd.add(sum, simd.load_first(row.add(at), count));
                    at += S::LANES;
                }
                let mean = simd.splat(simd.sum(sum) / width as f32);

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
                let scale = simd.splat(1.0 / (variance + self.eps).sqrt());

                at = 0;
                while at < width {
                    let count = S::LANES.min(width - at);
                    let x = simd.sub(simd.load_first(row.add(at), count), mean);
                    let weight = simd.load_first(self.weight.as_ptr().add(at), count);
                    let bias = simd.load_first(self.bias.as_ptr().add(at), count);
                    let y = simd.mul_add(simd.mul(x, scale), weight, bias);
                    simd.store_first(y, row.add(at), count);
                    at += S::LANES;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::team::Threads;
    use crate::testing::numbers;

    #[test]
    fn follows_the_plain_loops_at_any_width() {
        for isa in Isa::available() {
            for width in [1, 2, 7, 8, 15, 16, 17, 40, 384] {
                let rows = 5;
                // Far from zero: a one-pass variance would show here.
                let x: Vec<f32> = numbers(rows * width, 1).iter().map(|x| x + 100.0).collect();
                let (weight, bias) = (numbers(width, 2), numbers(width, 3));
                let (mut fast, mut exact) = (x.clone(), x);
                layer_norm(&Team::solo(), isa, &mut fast, &weight, &bias, 1e-12);
                layer_norm_reference(&mut exact, &weight, &bias, 1e-12);
                for (a, b) in fast.iter().zip(&exact) {
                    // Inputs near 100 have steps of 8e-6, deviations are about 0.6.
                    assert!((a - b).abs() < 1e-4, "width {width} on {}: {a}, not {b}", isa.name());
                }
            }
        }
    }

    #[test]
    fn has_the_same_bits_in_any_team() {
        let (x, weight, bias) = (numbers(100 * 40, 1), numbers(40, 2), numbers(40, 3));
        let isa = Isa::detect();
        let mut alone = x.clone();
        layer_norm(&Team::solo(), isa, &mut alone, &weight, &bias, 1e-5);
        let mut together = x;
        Threads::new(3)
            .expect("threads")
            .team(|team| layer_norm(team, isa, &mut together, &weight, &bias, 1e-5));
        assert_eq!(alone, together);
    }
}
