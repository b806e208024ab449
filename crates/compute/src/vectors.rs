//! Sums, choices and lengths of row vectors.
//!
//! The loops are plain: they read each number once, and what they read has just been computed. Those
//! over many rows and over hidden states are spread over the team, the others run on the calling thread.

use crate::cpu::Cpu;
use crate::threads::SharedPointer;

/// Rows that one part of a team takes: a batch of a few texts stays on the calling thread.
const ROWS_PER_PART: usize = 64;
/// Rows that one part of a team maps: their work is long, exponentials of each number.
const ROWS_PER_MAPPED_PART: usize = 4;

/// Numbers that one part of a team takes at a time.
const NUMBERS_PER_PART: usize = 1 << 14;

/// Shorter vectors than this count as zero when they are divided by their length, as in
/// `torch.nn.functional.normalize`.
const LEAST_LENGTH: f32 = 1e-12;

/// Row vectors.
impl Cpu<'_> {
    /// `out[i] = x[index[i]]`
    ///
    /// - `x`: `[N, width]`; `out`: `[index.len(), width]`
    ///
    /// # Panics
    /// If the lengths do not fit, or `x` has no such row.
    pub fn gather_rows(self, x: &[f32], width: usize, index: &[usize], out: &mut [f32]) {
        assert_eq!(out.len(), index.len() * width, "length of the output");
        for (row, out) in index.iter().zip(out.chunks_exact_mut(width)) {
            out.copy_from_slice(&x[row * width..(row + 1) * width]);
        }
    }

    /// The backward of [`gather_rows`](Self::gather_rows): `dx[index[i]] += dout[i]`, in order.
    ///
    /// # Panics
    /// If the lengths do not fit, or `dx` has no such row.
    pub fn gather_rows_backward(self, dout: &[f32], width: usize, index: &[usize], dx: &mut [f32]) {
        assert_eq!(dout.len(), index.len() * width, "length of the gradient");
        for (row, dout) in index.iter().zip(dout.chunks_exact(width)) {
            self.add(dout, &mut dx[row * width..(row + 1) * width]);
        }
    }

    /// `out += x`
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn add(self, x: &[f32], out: &mut [f32]) {
        assert_eq!(x.len(), out.len(), "length of the output");
        self.team.run_rows(out, 1, NUMBERS_PER_PART, &|range, out| {
            for (out, x) in out.iter_mut().zip(&x[range]) {
                *out += x;
            }
        });
    }

    /// `out = x`
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn copy(self, x: &[f32], out: &mut [f32]) {
        assert_eq!(x.len(), out.len(), "length of the output");
        self.team.run_rows(out, 1, NUMBERS_PER_PART, &|range, out| out.copy_from_slice(&x[range]));
    }

    /// `out += factor · x`
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn add_scaled(self, factor: f32, x: &[f32], out: &mut [f32]) {
        assert_eq!(x.len(), out.len(), "length of the output");
        self.team.run_rows(out, 1, NUMBERS_PER_PART, &|range, out| {
            for (out, x) in out.iter_mut().zip(&x[range]) {
                *out += factor * x;
            }
        });
    }

    /// `Σ x · y`, in double precision and in order.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn dot(self, x: &[f32], y: &[f32]) -> f64 {
        assert_eq!(x.len(), y.len(), "length of the second vector");
        x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    }

    /// Divides each row by its Euclidean length, in place; a row of zeros stays one.
    ///
    /// - `x`: `[rows, width]`
    ///
    /// # Panics
    /// If there are not whole rows.
    pub fn normalize(self, x: &mut [f32], width: usize) {
        self.team.run_rows(x, width, ROWS_PER_PART, &|_, rows| {
            for row in rows.chunks_exact_mut(width) {
                let square: f64 = row.iter().map(|x| f64::from(*x).powi(2)).sum();
                let length = (square.sqrt() as f32).max(LEAST_LENGTH);
                for x in row {
                    *x /= length;
                }
            }
        });
    }

    /// The backward of [`normalize`](Self::normalize), `y = x / |x|`:
    /// `dx = (dy − y (y · dy)) / |x|`, in place.
    ///
    /// - `x`: `[rows, width]`, the input; `dout`: `[rows, width]`, becomes the gradient of `x`
    ///
    /// Rows that count as zero are only scaled: their divisor does not depend on them.
    ///
    /// # Panics
    /// If there are not whole rows, as many in both.
    pub fn normalize_backward(self, x: &[f32], width: usize, dout: &mut [f32]) {
        assert_eq!(x.len(), dout.len(), "length of the gradient");
        self.team.run_rows(dout, width, ROWS_PER_PART, &|rows, dout| {
            let x = &x[rows.start * width..rows.end * width];
            for (x, dout) in x.chunks_exact(width).zip(dout.chunks_exact_mut(width)) {
                let square: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
                let length = square.sqrt().max(1e-12);
                let products = x.iter().zip(&*dout).map(|(x, d)| f64::from(*x) * f64::from(*d));
                let dot: f64 = products.sum();
                let along = if square.sqrt() > 1e-12 { dot / (length * length) } else { 0.0 };
                for (d, x) in dout.iter_mut().zip(x) {
                    *d = ((f64::from(*d) - f64::from(*x) * along) / length) as f32;
                }
            }
        });
    }

    /// Runs `work(row, numbers)` once for each row, spread over the team, and returns what it
    /// returned, in the order of the rows.
    ///
    /// - `x`: `[rows, width]`
    ///
    /// # Panics
    /// If there are not whole rows, or `work` panics.
    pub fn map_rows(
        self,
        x: &mut [f32],
        width: usize,
        work: &(dyn Fn(usize, &mut [f32]) -> f64 + Sync),
    ) -> Vec<f64> {
        assert!(width > 0, "whole rows of {width}");
        let mut results = vec![0.0; x.len() / width];
        let to = SharedPointer(results.as_mut_ptr());
        self.team.run_rows(x, width, ROWS_PER_MAPPED_PART, &|rows, numbers| {
            // SAFETY: the results of this part's rows, which no other part has.
            let results = unsafe { to.slice(rows.clone()) };
            for ((row, numbers), result) in rows.zip(numbers.chunks_exact_mut(width)).zip(results) {
                *result = work(row, numbers);
            }
        });
        results
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Isa;
    use crate::testing::{numbers, wide};
    use crate::threads::{Team, Threads};

    #[test]
    fn rows_are_gathered_and_their_gradients_added_where_they_came_from() {
        let team = Team::solo();
        let cpu = Cpu::new(&team, Isa::detect());
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let mut out = [f32::NAN; 6];
        cpu.gather_rows(&x, 2, &[2, 0, 2], &mut out);
        assert_eq!(out, [5.0, 6.0, 1.0, 2.0, 5.0, 6.0]);
        let mut dx = [1.0; 6];
        cpu.gather_rows_backward(&[1.0, 2.0, 10.0, 20.0, 100.0, 200.0], 2, &[2, 0, 2], &mut dx);
        assert_eq!(dx, [11.0, 21.0, 1.0, 1.0, 102.0, 203.0]);
    }

    #[test]
    fn sums_and_products_of_vectors() {
        let team = Team::solo();
        let cpu = Cpu::new(&team, Isa::detect());
        let mut out = [1.0, 2.0];
        cpu.add(&[3.0, 4.0], &mut out);
        cpu.add_scaled(-0.5, &[2.0, 8.0], &mut out);
        assert_eq!(out, [3.0, 2.0]);
        assert_eq!(cpu.dot(&out, &[2.0, -1.0]), 4.0);
    }

    #[test]
    fn rows_get_length_one_and_zeros_stay() {
        let team = Team::solo();
        let cpu = Cpu::new(&team, Isa::detect());
        let x = numbers(7 * 31, 1);
        let mut unit = x.clone();
        cpu.normalize(&mut unit, 31);
        for (a, b) in unit.iter().zip(normalize_reference(&wide(&x), 31)) {
            // One rounding of the length and one of the quotient, of numbers up to 1.
            assert!((f64::from(*a) - b).abs() < 2e-7, "{a}, not {b}");
        }
        let mut zeros = [0.0; 4];
        cpu.normalize(&mut zeros, 2);
        assert_eq!(zeros, [0.0; 4]);
    }

    #[test]
    fn rows_have_the_same_bits_on_any_number_of_threads() {
        let (x, dout) = (numbers(300 * 7, 2), numbers(300 * 7, 3));
        let on = |cpu: Cpu| {
            let (mut unit, mut dx) = (x.clone(), dout.clone());
            cpu.normalize(&mut unit, 7);
            cpu.normalize_backward(&x, 7, &mut dx);
            let sums = cpu.map_rows(&mut unit, 7, &|row, numbers| {
                numbers[0] = row as f32;
                numbers.iter().map(|x| f64::from(*x)).sum()
            });
            assert!(unit.chunks_exact(7).enumerate().all(|(row, unit)| unit[0] == row as f32));
            (unit, dx, sums)
        };
        let expected = on(Cpu::new(&Team::solo(), Isa::detect()));
        assert_eq!(expected.2.len(), 300);
        let threads = Threads::new(3).expect("threads");
        assert!(threads.cpu(Isa::detect(), on) == expected);
    }

    #[test]
    fn the_gradient_of_normalize_is_its_slope() {
        let x = [3.0f32, -4.0, 1.0, 0.5, 0.25, -0.125];
        let dout = [0.5f32, 1.0, -2.0, 1.0, 1.0, 3.0];
        let mut dx = dout;
        let team = Team::solo();
        Cpu::new(&team, Isa::detect()).normalize_backward(&x, 3, &mut dx);
        let loss = |x: &[f64]| -> f64 {
            normalize_reference(x, 3).iter().zip(dout).map(|(y, d)| y * f64::from(d)).sum()
        };
        let slopes = polyhead_testing::slopes(&wide(&x), 1e-5, loss);
        for (i, (found, slope)) in dx.iter().zip(slopes).enumerate() {
            // The gradient is rounded to single precision; its numbers are below 10.
            assert!((slope - f64::from(*found)).abs() < 1e-6, "at {i}: {found}, not {slope}");
        }
        // Rows that count as zero.
        let mut dx = [1.0, 2.0];
        Cpu::new(&team, Isa::detect()).normalize_backward(&[0.0, 0.0], 2, &mut dx);
        assert_eq!(dx, [1e12, 2e12]);
    }

    /// The plain loops in double precision: document and oracle of [`Cpu::normalize`].
    fn normalize_reference(x: &[f64], width: usize) -> Vec<f64> {
        let unit = |row: &[f64]| {
            let length = row.iter().map(|x| x * x).sum::<f64>().sqrt().max(LEAST_LENGTH.into());
            row.iter().map(|x| x / length).collect::<Vec<_>>()
        };
        x.chunks_exact(width).flat_map(unit).collect()
    }
}
