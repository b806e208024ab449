//! AdamW (Loshchilov and Hutter, 2019), number by number, as PyTorch computes it.

use std::ops::Range;

use crate::cpu::Cpu;
use crate::simd::{Isa, Op, Simd};
use crate::threads::SharedPointer;

/// Numbers that one part of a team updates at a time.
const NUMBERS_PER_PART: usize = 1 << 14;
/// Numbers whose products are one partial sum.
const NUMBERS_PER_SUM: usize = 1 << 16;
/// Sums of products that grow side by side, on every instruction set the same.
const SUMS: usize = 16;

/// The numbers of one AdamW step of one tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate of this step and tensor.
    pub learning_rate: f32,
    /// Share of the first moment that stays, β₁.
    pub beta1: f32,
    /// Share of the second moment that stays, β₂.
    pub beta2: f32,
    /// ε, added to the root of the second moment.
    pub epsilon: f32,
    /// Weight decay, as a multiple of the learning rate.
    pub weight_decay: f32,
    /// Number of the step of this tensor, from 1.
    pub step: u64,
    /// Factor that gradients are multiplied with first, to clip their norm; 1 changes nothing.
    pub gradient_factor: f32,
}

/// The factors of [`AdamW`] that are the same for all numbers.
#[derive(Clone, Copy)]
struct Factors {
    /// `1 − lr · decay`
    keep: f64,
    /// `lr / (1 − β₁ᵗ)`
    rate: f64,
    /// `√(1 − β₂ᵗ)`
    root_correction: f64,
}

impl AdamW {
    /// The factors, computed in double precision, as PyTorch does.
    fn factors(&self) -> Factors {
        let rate = f64::from(self.learning_rate);
        let correction = |beta: f32| 1.0 - f64::from(beta).powf(self.step as f64);
        Factors {
            keep: 1.0 - rate * f64::from(self.weight_decay),
            rate: rate / correction(self.beta1),
            root_correction: correction(self.beta2).sqrt(),
        }
    }
}

/// The optimizer.
impl Cpu<'_> {
    /// One step, in place:
    ///
    /// `g = factor · gradient`, `m += (1 − β₁)(g − m)`, `v = β₂ v + (1 − β₂) g²`,
    /// `p = (1 − lr · decay) p − lr / (1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + ε)`
    ///
    /// - `parameters`, `gradients`, `first` (`m`), `second` (`v`): as many numbers
    ///
    /// # Panics
    /// If the lengths differ or the step is 0.
    pub fn adamw(
        self,
        hyper: &AdamW,
        parameters: &mut [f32],
        gradients: &[f32],
        first: &mut [f32],
        second: &mut [f32],
    ) {
        let Self { team, isa, .. } = self;
        let tensor = Tensor::new(hyper, parameters, gradients, first, second);
        team.run_ranges(gradients.len(), NUMBERS_PER_PART, &|range| {
            // SAFETY: the numbers of this part, which no other part has.
            unsafe { tensor.update(isa, range) }
        });
    }

    /// [`adamw`](Self::adamw) of a table of which few rows move: the same bits, and less to read
    /// and write.
    ///
    /// - `moving`: for each row whether its gradient or its moments are other than zero; all the
    ///   others only decay
    /// - `parameters`, `gradients`, `first`, `second`: `[moving.len(), width]`
    ///
    /// # Panics
    /// If the lengths do not fit or the step is 0.
    pub fn adamw_rows(
        self,
        hyper: &AdamW,
        moving: &[bool],
        parameters: &mut [f32],
        gradients: &[f32],
        first: &mut [f32],
        second: &mut [f32],
    ) {
        let Self { team, isa, .. } = self;
        if moving.is_empty() {
            return;
        }
        let width = parameters.len() / moving.len();
        assert_eq!(parameters.len(), moving.len() * width, "whole rows of {width}");
        let tensor = Tensor::new(hyper, parameters, gradients, first, second);
        let rows_per_part = (NUMBERS_PER_PART / width.max(1)).max(1);
        team.run_ranges(moving.len(), rows_per_part, &|rows| {
            let mut row = rows.start;
            for run in moving[rows].chunk_by(|one, next| one == next) {
                let numbers = row * width..(row + run.len()) * width;
                row += run.len();
                // SAFETY: the rows of this part, which no other part has.
                unsafe {
                    if run[0] { tensor.update(isa, numbers) } else { tensor.decay(isa, numbers) }
                }
            }
        });
    }

    /// `Σ x²`, in double precision.
    ///
    /// Partial sums are of fixed runs of numbers and are added in order: the same
    /// bits on any team and any instruction set.
    pub fn sum_of_squares(self, values: &[f32]) -> f64 {
        self.sum_of_products(values, values)
    }

    /// `Σ x · y`, as [`sum_of_squares`](Self::sum_of_squares) adds.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn sum_of_products(self, x: &[f32], y: &[f32]) -> f64 {
        assert_eq!(x.len(), y.len(), "length of the second vector");
        let Self { team, isa, .. } = self;
        let mut partial = vec![0.0; x.len().div_ceil(NUMBERS_PER_SUM)];
        let to = SharedPointer(partial.as_mut_ptr());
        team.run_ranges(x.len(), NUMBERS_PER_SUM, &|range| {
            let at = range.start / NUMBERS_PER_SUM;
            let sum = isa.run(SumOfProducts(&x[range.clone()], &y[range]));
            // SAFETY: one number for each part, which no other part writes.
            unsafe { *to.get().add(at) = sum }
        });
        partial.iter().sum()
    }
}

/// What a step reads and writes, for all threads.
struct Tensor<'a> {
    hyper: AdamW,
    factors: Factors,
    parameters: SharedPointer,
    gradients: &'a [f32],
    first: SharedPointer,
    second: SharedPointer,
}

impl<'a> Tensor<'a> {
    fn new(
        hyper: &AdamW,
        parameters: &'a mut [f32],
        gradients: &'a [f32],
        first: &'a mut [f32],
        second: &'a mut [f32],
    ) -> Self {
        assert!(hyper.step > 0, "steps count from 1");
        assert_eq!(gradients.len(), parameters.len(), "length of the gradients");
        assert_eq!(first.len(), parameters.len(), "length of the first moments");
        assert_eq!(second.len(), parameters.len(), "length of the second moments");
        let [parameters, first, second] =
            [parameters, first, second].map(|values| SharedPointer(values.as_mut_ptr()));
        Self { hyper: *hyper, factors: hyper.factors(), parameters, gradients, first, second }
    }

    /// # Safety
    /// No other thread may use these numbers.
    unsafe fn update(&self, isa: Isa, range: Range<usize>) {
        let gradients = &self.gradients[range.clone()];
        // SAFETY: the numbers lie in buffers as long as `gradients`; the caller's promise.
        let [parameters, first, second] = [self.parameters, self.first, self.second]
            .map(|values| unsafe { values.slice(range.clone()) });
        let Self { hyper, factors, .. } = *self;
        isa.run(Update { hyper, factors, parameters, gradients, first, second });
    }

    /// Only decays numbers whose gradients and moments are zero.
    ///
    /// # Safety
    /// No other thread may use these numbers.
    unsafe fn decay(&self, isa: Isa, range: Range<usize>) {
        let keep = self.factors.keep as f32;
        if keep != 1.0 {
            // SAFETY: as in `update`.
            let parameters = unsafe { self.parameters.slice(range) };
            isa.run(Decay { keep, parameters });
        }
    }
}

/// `p = (1 − lr · decay) p`
struct Decay<'a> {
    keep: f32,
    parameters: &'a mut [f32],
}

impl Op for Decay<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        // A plain loop: vectors of the set that this is compiled for.
        for p in self.parameters {
            *p *= self.keep;
        }
    }
}

struct Update<'a> {
    hyper: AdamW,
    factors: Factors,
    parameters: &'a mut [f32],
    gradients: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
}

impl Op for Update<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { hyper, factors, parameters, gradients, first, second } = self;
        let clip = simd.splat(hyper.gradient_factor);
        let new1 = simd.splat((1.0 - f64::from(hyper.beta1)) as f32);
        let old2 = simd.splat(hyper.beta2);
        let new2 = simd.splat((1.0 - f64::from(hyper.beta2)) as f32);
        let keep = simd.splat(factors.keep as f32);
        let rate = simd.splat(-factors.rate as f32);
        let root_correction = simd.splat(factors.root_correction as f32);
        let epsilon = simd.splat(hyper.epsilon);
        let (p, g) = (parameters.as_mut_ptr(), gradients.as_ptr());
        let (m, v) = (first.as_mut_ptr(), second.as_mut_ptr());
        let mut at = 0;
        while at < gradients.len() {
            let count = S::LANES.min(gradients.len() - at);
            // SAFETY: `count` numbers from `at` on lie in all four, whose lengths are equal.
            unsafe {
                let gradient = simd.mul(simd.load_first(g.add(at), count), clip);
                let moment = simd.load_first(m.add(at), count);
                let moment = simd.mul_add(new1, simd.sub(gradient, moment), moment);
                let square = simd.mul(simd.mul(gradient, gradient), new2);
                let square = simd.mul_add(simd.load_first(v.add(at), count), old2, square);
                let root = simd.add(simd.div(simd.sqrt(square), root_correction), epsilon);
                let kept = simd.mul(simd.load_first(p.add(at), count), keep);
                let value = simd.mul_add(rate, simd.div(moment, root), kept);
                simd.store_first(value, p.add(at), count);
                simd.store_first(moment, m.add(at), count);
                simd.store_first(square, v.add(at), count);
            }
            at += S::LANES;
        }
    }
}

struct SumOfProducts<'a>(&'a [f32], &'a [f32]);

impl Op for SumOfProducts<'_> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> f64 {
        // Plain loops of known length: vectors of the set that this is compiled for. Products of
        // singles are exact in double precision.
        let mut sums = [0.0f64; SUMS];
        let (x_runs, x_rest) = self.0.as_chunks::<SUMS>();
        let (y_runs, y_rest) = self.1.as_chunks::<SUMS>();
        for (x_run, y_run) in x_runs.iter().zip(y_runs) {
            for ((sum, x), y) in sums.iter_mut().zip(x_run).zip(y_run) {
                *sum += f64::from(*x) * f64::from(*y);
            }
        }
        for ((sum, x), y) in sums.iter_mut().zip(x_rest).zip(y_rest) {
            *sum += f64::from(*x) * f64::from(*y);
        }
        let mut total = 0.0;
        for sum in sums {
            total += sum;
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{numbers, wide};
    use crate::threads::{Team, Threads};

    #[test]
    fn steps_follow_the_plain_loop_and_any_team_gives_the_same_bits() {
        for isa in Isa::available() {
            for count in [1, 7, 16, 33, 40_000] {
                let mut parameters = numbers(count, 1);
                let (mut first, mut second) = (vec![0.0; count], vec![0.0; count]);
                let mut exact = (wide(&parameters), wide(&first), wide(&second));
                for step in 1..=5 {
                    let gradients = numbers(count, 10 + step);
                    let hyper = AdamW {
                        learning_rate: 1e-2,
                        beta1: 0.9,
                        beta2: 0.999,
                        epsilon: 1e-8,
                        weight_decay: 0.1,
                        step,
                        gradient_factor: 0.7,
                    };
                    let mut others = vec![];
                    for threads in [2, 3, 5] {
                        let mut other = (parameters.clone(), first.clone(), second.clone());
                        Threads::new(threads).expect("threads").team(|team| {
                            let (p, m, v) = (&mut other.0, &mut other.1, &mut other.2);
                            Cpu::new(team, isa).adamw(&hyper, p, &gradients, m, v);
                        });
                        others.push(other);
                    }
                    let (m, v) = (&mut first, &mut second);
                    Cpu::new(&Team::solo(), isa).adamw(&hyper, &mut parameters, &gradients, m, v);
                    for other in others {
                        assert_eq!(other.0, parameters, "{}", isa.name());
                        assert_eq!((&other.1, &other.2), (&first, &second), "{}", isa.name());
                    }
                    let (p, m, v) = (&mut exact.0, &mut exact.1, &mut exact.2);
                    adamw_reference(&hyper, p, &wide(&gradients), m, v);
                    for i in 0..count {
                        // Each step moves by up to 1e-2 and rounds a number below 1.1 to 6e-8 of it.
                        let error = (f64::from(parameters[i]) - exact.0[i]).abs();
                        assert!(error < 1e-6, "step {step} at {i} on {}: {error}", isa.name());
                        assert!((f64::from(first[i]) - exact.1[i]).abs() < 1e-6);
                        assert!((f64::from(second[i]) - exact.2[i]).abs() < 1e-8);
                    }
                }
            }
        }
    }

    #[test]
    fn rows_that_do_not_move_only_decay_and_all_have_the_bits_of_the_whole() {
        for isa in Isa::available() {
            // Several parts of a team in the last.
            for (rows, width) in [(1, 1), (7, 5), (40, 33), (300, 128)] {
                let moving: Vec<bool> = (0..rows).map(|row| row % 7 < 2 || row == 5).collect();
                let of_rows = |seed| {
                    let mut values = numbers(rows * width, seed);
                    for (row, values) in values.chunks_exact_mut(width).enumerate() {
                        if !moving[row] {
                            values.fill(0.0);
                        }
                    }
                    values
                };
                for (weight_decay, step) in [(0.1, 1), (0.0, 2)] {
                    let hyper = AdamW {
                        learning_rate: 1e-2,
                        beta1: 0.9,
                        beta2: 0.999,
                        epsilon: 1e-8,
                        weight_decay,
                        step,
                        gradient_factor: 0.7,
                    };
                    let gradients = of_rows(1);
                    let start = [
                        numbers(rows * width, 2),
                        of_rows(3),
                        of_rows(4).iter().map(|x| x * x).collect(),
                    ];
                    let [mut p, mut m, mut v] = start.clone();
                    Cpu::new(&Team::solo(), isa).adamw(&hyper, &mut p, &gradients, &mut m, &mut v);
                    for threads in [1, 2, 3] {
                        let [mut rows_p, mut rows_m, mut rows_v] = start.clone();
                        Threads::new(threads).expect("threads").team(|team| {
                            let (p, m, v) = (&mut rows_p, &mut rows_m, &mut rows_v);
                            Cpu::new(team, isa).adamw_rows(&hyper, &moving, p, &gradients, m, v);
                        });
                        let name = isa.name();
                        assert!([&rows_p, &rows_m, &rows_v] == [&p, &m, &v], "{rows} on {name}");
                    }
                }
            }
        }
    }

    /// Three steps of `torch.optim.AdamW([0.5], lr=0.1, weight_decay=0.01)` with the gradients
    /// 1, −2 and 0.25.
    #[test]
    fn steps_are_those_of_the_definition() {
        let (mut p, mut m, mut v) = ([0.5f32], [0.0], [0.0]);
        for (step, gradient, expected) in
            [(1, 1.0f32, 0.399_5), (2, -2.0, 0.435_710_85), (3, 0.25, 0.456_297_47)]
        {
            let hyper = AdamW {
                learning_rate: 0.1,
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-8,
                weight_decay: 0.01,
                step,
                gradient_factor: 1.0,
            };
            Cpu::new(&Team::solo(), Isa::detect()).adamw(
                &hyper,
                &mut p,
                &[gradient],
                &mut m,
                &mut v,
            );
            assert!((p[0] - expected).abs() < 1e-6, "step {step}: {}", p[0]);
        }
    }

    #[test]
    fn squares_sum_to_the_same_bits_everywhere() {
        for count in [0, 1, 15, 16, 100, NUMBERS_PER_SUM, 3 * NUMBERS_PER_SUM + 77] {
            let values = numbers(count, 1);
            let exact: f64 = wide(&values).iter().map(|x| x * x).sum();
            let portable = Cpu::new(&Team::solo(), Isa::available()[0]).sum_of_squares(&values);
            // Another order of 2e5 additions in double precision.
            assert!((portable - exact).abs() <= 1e-12 * exact, "{portable}, not {exact}");
            for isa in Isa::available() {
                for threads in [1, 2, 3, 5] {
                    let threads = Threads::new(threads).expect("threads");
                    let sum = threads.team(|team| Cpu::new(team, isa).sum_of_squares(&values));
                    assert_eq!(sum.to_bits(), portable.to_bits(), "{} of {count}", isa.name());
                }
            }
        }
        let (x, y) = (numbers(100_000, 1), numbers(100_000, 2));
        let exact: f64 = wide(&x).iter().zip(wide(&y)).map(|(x, y)| x * y).sum();
        let found = Cpu::new(&Team::solo(), Isa::detect()).sum_of_products(&x, &y);
        let size: f64 = wide(&x).iter().zip(wide(&y)).map(|(x, y)| (x * y).abs()).sum();
        assert!((found - exact).abs() <= 1e-12 * size, "{found}, not {exact}");
        // Larger than any single: a gradient that explodes is not yet infinite.
        assert!(Cpu::new(&Team::solo(), Isa::detect()).sum_of_squares(&[1e30, 1e30]).is_finite());
    }

    /// The plain loop in double precision: document and oracle of [`adamw`](Cpu::adamw).
    fn adamw_reference(
        hyper: &AdamW,
        parameters: &mut [f64],
        gradients: &[f64],
        first: &mut [f64],
        second: &mut [f64],
    ) {
        let Factors { keep, rate, root_correction } = hyper.factors();
        let (beta1, beta2) = (f64::from(hyper.beta1), f64::from(hyper.beta2));
        for (i, p) in parameters.iter_mut().enumerate() {
            let g = gradients[i] * f64::from(hyper.gradient_factor);
            first[i] = beta1 * first[i] + (1.0 - beta1) * g;
            second[i] = beta2 * second[i] + (1.0 - beta2) * g * g;
            let root = second[i].sqrt() / root_correction + f64::from(hyper.epsilon);
            *p = keep * *p - rate * first[i] / root;
        }
    }
}
