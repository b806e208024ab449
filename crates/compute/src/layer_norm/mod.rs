//! Layer normalization of rows (Ba, Kiros and Hinton, 2016).

mod backward;
mod forward;

use self::backward::{BackwardColumns, BackwardRows, COLUMNS_PER_PART};
pub use self::forward::Norm;
use self::forward::{Rows, RowsTo, TrainingRows};
use crate::cpu::Cpu;
use crate::dropout::Dropout;
use crate::threads::SharedPointer;

/// Rows that one part of a team takes at a time.
const ROWS_PER_PART: usize = 16;

/// Layer normalization.
impl Cpu<'_> {
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
    pub fn layer_norm(self, x: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
        let Self { team, isa, .. } = self;
        let width = weight.len();
        assert_eq!(bias.len(), width, "length of the bias");
        team.run_rows(x, width, ROWS_PER_PART, &|_, x| {
            isa.run(Rows { x, norm: Norm { weight, bias, eps } });
        });
    }

    /// [`layer_norm`](Self::layer_norm) from `x` to `out`, which also returns what the backward reads.
    ///
    /// - `x`, `out`: `[N, D]`
    /// - `stats`: `[N, 2]`, mean and `1 / √(variance + eps)` of each row
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn layer_norm_to(self, x: &[f32], norm: Norm, stats: &mut [f32], out: &mut [f32]) {
        let Self { team, isa, .. } = self;
        let width = norm.weight.len();
        let count = check_rows(x.len(), width);
        assert_eq!(norm.bias.len(), width, "length of the bias");
        assert_eq!(out.len(), x.len(), "length of the output");
        assert_eq!(stats.len(), 2 * count, "length of the statistics");
        let stats = SharedPointer(stats.as_mut_ptr());
        team.run_rows(out, width, ROWS_PER_PART, &|rows, out| {
            let x = &x[rows.start * width..rows.end * width];
            // SAFETY: the rows of this part, which no other part has, in a buffer of checked length.
            let stats = unsafe { stats.slice(2 * rows.start..2 * rows.end) };
            isa.run(RowsTo { x, norm, stats, out });
        });
    }

    /// A layer whose input is the sum of a residual and a dropped-out `x`, for training.
    ///
    /// `x` becomes `sum = dropout(x) + residual`, `out = layer_norm(sum)`; the
    /// backward reads `sum` and `stats`.
    ///
    /// - `x`, `residual`, `out`: `[N, D]`
    /// - `rows`: `[N]`, see [`dropout`](crate::Cpu::dropout); may be empty where nothing is dropped
    /// - `weight`, `bias`: `[D]`
    /// - `stats`: `[N, 2]`, mean and `1 / √(variance + eps)` of each row
    ///
    /// `out` has the bits that [`layer_norm`](Self::layer_norm) makes of `sum`.
    ///
    /// # Panics
    /// If the lengths do not fit.
    #[expect(clippy::too_many_arguments, reason = "one fused pass over the rows")]
    pub fn residual_layer_norm(
        self,
        x: &mut [f32],
        dropout: &Dropout,
        rows: &[u64],
        residual: Option<&[f32]>,
        weight: &[f32],
        bias: &[f32],
        eps: f32,
        stats: &mut [f32],
        out: &mut [f32],
    ) {
        let Self { team, isa, .. } = self;
        let width = weight.len();
        let count = check_rows(x.len(), width);
        assert_eq!(bias.len(), width, "length of the bias");
        assert_eq!(out.len(), x.len(), "length of the output");
        assert_eq!(stats.len(), 2 * count, "length of the statistics");
        assert!(residual.is_none_or(|r| r.len() == x.len()), "length of the residual");
        assert!(dropout.is_none() || rows.len() == count, "an identity for each row");
        let (x, stats) = (SharedPointer(x.as_mut_ptr()), SharedPointer(stats.as_mut_ptr()));
        let out = SharedPointer(out.as_mut_ptr());
        team.run_ranges(count, ROWS_PER_PART, &|range| {
            let numbers = range.start * width..range.end * width;
            // SAFETY: the rows of this part, which no other part has, in buffers of checked lengths.
            let (x, stats, out) = unsafe {
                let stats = stats.slice(2 * range.start..2 * range.end);
                (x.slice(numbers.clone()), stats, out.slice(numbers.clone()))
            };
            isa.run(TrainingRows {
                x,
                dropout: *dropout,
                rows: if dropout.is_none() { &[] } else { &rows[range] },
                residual: residual.map(|r| &r[numbers]),
                norm: Norm { weight, bias, eps },
                stats,
                out,
            });
        });
    }

    /// The backward of [`residual_layer_norm`](Self::residual_layer_norm) down to the sum.
    ///
    /// With `y = (sum − mean) · scale` and `g = dout · weight`:
    ///
    /// `dsum = scale · (g − mean(g) − y · mean(g · y))`,
    /// `dweight += Σₙ dout · y`, `dbias += Σₙ dout`
    ///
    /// - `sum`, `dout`, `dsum`: `[N, D]`; `stats`: `[N, 2]`, as forward left them
    /// - `gradients`: `dweight` and `dbias`, `[D]` each; `None` where they are frozen
    ///
    /// The gradient of the residual is `dsum`, that of `x` is `dsum` after the same
    /// [`dropout`](crate::Cpu::dropout). Gradients are summed row after row, beginning
    /// with what the buffers hold.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn layer_norm_backward(
        self,
        sum: &[f32],
        stats: &[f32],
        weight: &[f32],
        dout: &[f32],
        dsum: &mut [f32],
        gradients: Option<(&mut [f32], &mut [f32])>,
    ) {
        let Self { team, isa, .. } = self;
        let width = weight.len();
        let count = check_rows(sum.len(), width);
        assert_eq!(stats.len(), 2 * count, "length of the statistics");
        assert_eq!(dout.len(), sum.len(), "length of the gradient");
        assert_eq!(dsum.len(), sum.len(), "length of the gradient of the sum");
        team.run_rows(dsum, width, ROWS_PER_PART, &|range, dsum| {
            let numbers = range.start * width..range.end * width;
            isa.run(BackwardRows {
                sum: &sum[numbers.clone()],
                stats: &stats[2 * range.start..2 * range.end],
                weight,
                dout: &dout[numbers],
                dsum,
            });
        });
        if let Some((dweight, dbias)) = gradients {
            assert_eq!((dweight.len(), dbias.len()), (width, width), "lengths of the gradients");
            let (dweight, dbias) =
                (SharedPointer(dweight.as_mut_ptr()), SharedPointer(dbias.as_mut_ptr()));
            team.run_ranges(width, COLUMNS_PER_PART, &|columns| {
                isa.run(BackwardColumns { sum, stats, dout, width, columns, dweight, dbias });
            });
        }
    }
}

/// The plain loops in double precision: document and oracle of [`layer_norm`](Cpu::layer_norm).
pub fn layer_norm_reference(x: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
    let wide = |values: &[f32]| values.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
    let (weight, bias, exact) = (wide(weight), wide(bias), wide(x));
    let none = Dropout::none();
    let (_, out) =
        residual_layer_norm_reference(&exact, &none, &[], None, &weight, &bias, eps.into());
    for (x, out) in x.iter_mut().zip(out) {
        *x = out as f32;
    }
}

/// The plain loops of [`residual_layer_norm`](Cpu::residual_layer_norm) in double precision: returns sum and output.
pub fn residual_layer_norm_reference(
    x: &[f64],
    dropout: &Dropout,
    rows: &[u64],
    residual: Option<&[f64]>,
    weight: &[f64],
    bias: &[f64],
    eps: f64,
) -> (Vec<f64>, Vec<f64>) {
    let width = weight.len();
    let mut sum = x.to_vec();
    for (i, sum) in sum.iter_mut().enumerate() {
        if !dropout.is_none() {
            *sum *= f64::from(dropout.factor(rows[i / width], (i % width) as u32));
        }
        *sum += residual.map_or(0.0, |r| r[i]);
    }
    let mut out = sum.clone();
    for row in out.chunks_exact_mut(width) {
        let (mean, scale) = moments_reference(row, eps);
        for ((x, w), b) in row.iter_mut().zip(weight).zip(bias) {
            *x = (*x - mean) * scale * w + b;
        }
    }
    (sum, out)
}

/// Mean and `1 / √(variance + eps)`.
fn moments_reference(row: &[f64], eps: f64) -> (f64, f64) {
    let width = row.len() as f64;
    let mean = row.iter().sum::<f64>() / width;
    let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width;
    (mean, 1.0 / (variance + eps).sqrt())
}

/// How many rows there are.
fn check_rows(len: usize, width: usize) -> usize {
    assert!(width > 0 && len.is_multiple_of(width), "whole rows");
    len / width
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::simd::Isa;
    use crate::testing::{check_gradient, numbers, wide};
    use crate::threads::{Team, Threads};

    const SIZES: [(usize, usize); 8] =
        [(1, 1), (5, 2), (3, 7), (40, 16), (17, 33), (50, 70), (20, 133), (30, 384)];

    /// Everything that the two passes give for some rows: sum, out, dsum.
    struct Passes {
        sum: Vec<f32>,
        stats: Vec<f32>,
        out: Vec<f32>,
        dsum: Vec<f32>,
    }

    struct Input {
        width: usize,
        x: Vec<f32>,
        residual: Vec<f32>,
        dout: Vec<f32>,
        weight: Vec<f32>,
        bias: Vec<f32>,
        rows: Vec<u64>,
    }

    impl Input {
        fn new(count: usize, width: usize) -> Self {
            Self {
                width,
                x: numbers(count * width, 1),
                residual: numbers(count * width, 2),
                dout: numbers(count * width, 3),
                weight: numbers(width, 4),
                bias: numbers(width, 5),
                rows: (0..count as u64).collect(),
            }
        }

        /// Both passes over some of the rows, adding to `gradients`.
        fn passes(
            &self,
            team: &Team,
            isa: Isa,
            dropout: &Dropout,
            range: Range<usize>,
            gradients: &mut (Vec<f32>, Vec<f32>),
        ) -> Passes {
            let numbers = range.start * self.width..range.end * self.width;
            let mut sum = self.x[numbers.clone()].to_vec();
            let mut stats = vec![f32::NAN; 2 * range.len()];
            let (mut out, mut dsum) = (vec![f32::NAN; sum.len()], vec![f32::NAN; sum.len()]);
            Cpu::new(team, isa).residual_layer_norm(
                &mut sum,
                dropout,
                &self.rows[range],
                Some(&self.residual[numbers.clone()]),
                &self.weight,
                &self.bias,
                EPS,
                &mut stats,
                &mut out,
            );
            let gradients = Some((&mut gradients.0[..], &mut gradients.1[..]));
            let dout = &self.dout[numbers];
            Cpu::new(team, isa).layer_norm_backward(
                &sum,
                &stats,
                &self.weight,
                dout,
                &mut dsum,
                gradients,
            );
            Passes { sum, stats, out, dsum }
        }

        fn gradients(&self) -> (Vec<f32>, Vec<f32>) {
            (numbers(self.width, 6), numbers(self.width, 7))
        }
    }

    const EPS: f32 = 1e-3;

    #[test]
    fn both_passes_follow_the_plain_loops() {
        for isa in Isa::available() {
            for (count, width) in SIZES {
                let input = Input::new(count, width);
                let dropout = Dropout::new(0.2, 1, 2, 3, 4);
                let mut gradients = input.gradients();
                let fast = input.passes(&Team::solo(), isa, &dropout, 0..count, &mut gradients);
                let (sum, out) = residual_layer_norm_reference(
                    &wide(&input.x),
                    &dropout,
                    &input.rows,
                    Some(&wide(&input.residual)),
                    &wide(&input.weight),
                    &wide(&input.bias),
                    EPS.into(),
                );
                let (dsum, dweight, dbias) = layer_norm_backward_reference(
                    &sum,
                    &wide(&input.weight),
                    EPS.into(),
                    &wide(&input.dout),
                );
                let (before_weight, before_bias) = input.gradients();
                let dweight: Vec<f64> =
                    dweight.iter().zip(&before_weight).map(|(d, b)| d + f64::from(*b)).collect();
                let dbias: Vec<f64> =
                    dbias.iter().zip(&before_bias).map(|(d, b)| d + f64::from(*b)).collect();
                let pairs = [
                    ("sum", &fast.sum, &sum),
                    ("out", &fast.out, &out),
                    ("dsum", &fast.dsum, &dsum),
                    ("dweight", &gradients.0, &dweight),
                    ("dbias", &gradients.1, &dbias),
                ];
                for (name, fast, exact) in pairs {
                    for (i, (a, b)) in fast.iter().zip(exact).enumerate() {
                        // 1 / std is below 32: a rounding of 1e-7 in a row of some numbers near
                        // each other grows by that, twice in the gradient.
                        let error = (f64::from(*a) - b).abs();
                        assert!(
                            error < 1e-5 * b.abs().max(1.0),
                            "{name} of {count} × {width} on {} at {i}: {a}, not {b}",
                            isa.name()
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn the_gradients_are_those_of_the_norm() {
        let (count, width) = (3, 5);
        let input = Input::new(count, width);
        let (sum, weight, bias) = (wide(&input.x), wide(&input.weight), wide(&input.bias));
        let dout = wide(&input.dout);
        let loss = |sum: &[f64], weight: &[f64], bias: &[f64]| -> f64 {
            let none = Dropout::none();
            let eps = f64::from(EPS);
            let (_, out) = residual_layer_norm_reference(sum, &none, &[], None, weight, bias, eps);
            out.iter().zip(&dout).map(|(y, d)| y * d).sum()
        };
        let (dsum, dweight, dbias) =
            layer_norm_backward_reference(&sum, &weight, f64::from(EPS), &dout);
        check_gradient(&sum, &dsum, |sum| loss(sum, &weight, &bias));
        check_gradient(&weight, &dweight, |weight| loss(&sum, weight, &bias));
        check_gradient(&bias, &dbias, |bias| loss(&sum, &weight, bias));
    }

    #[test]
    fn both_passes_have_the_same_bits_in_any_team_and_however_rows_are_cut() {
        for isa in Isa::available() {
            for (count, width) in SIZES {
                let input = Input::new(count, width);
                let dropout = Dropout::new(0.2, 1, 2, 3, 4);
                let mut whole_gradients = input.gradients();
                let whole =
                    input.passes(&Team::solo(), isa, &dropout, 0..count, &mut whole_gradients);
                for threads in [2, 3, 5] {
                    let mut gradients = input.gradients();
                    let other = Threads::new(threads)
                        .expect("threads")
                        .team(|team| input.passes(team, isa, &dropout, 0..count, &mut gradients));
                    assert_eq!(gradients, whole_gradients, "{}", isa.name());
                    assert_eq!((&other.sum, &other.stats), (&whole.sum, &whole.stats));
                    assert_eq!((&other.out, &other.dsum), (&whole.out, &whole.dsum));
                }
                let mut gradients = input.gradients();
                let cut = count / 3;
                let a = input.passes(&Team::solo(), isa, &dropout, 0..cut, &mut gradients);
                let b = input.passes(&Team::solo(), isa, &dropout, cut..count, &mut gradients);
                assert_eq!(gradients, whole_gradients, "{count} × {width} on {}", isa.name());
                assert_eq!([a.dsum, b.dsum].concat(), whole.dsum);
            }
        }
    }

    #[test]
    fn training_gives_the_bits_of_inference_where_nothing_is_dropped() {
        for isa in Isa::available() {
            for (count, width) in SIZES {
                let input = Input::new(count, width);
                let mut gradients = input.gradients();
                let none = Dropout::none();
                let passes = input.passes(&Team::solo(), isa, &none, 0..count, &mut gradients);
                let mut rows = passes.sum;
                Cpu::new(&Team::solo(), isa).layer_norm(&mut rows, &input.weight, &input.bias, EPS);
                assert_eq!(rows, passes.out, "{count} × {width} on {}", isa.name());
                let mut sum = input.x.clone();
                sum.iter_mut().zip(&input.residual).for_each(|(x, residual)| *x += residual);
                let norm = Norm { weight: &input.weight, bias: &input.bias, eps: EPS };
                for threads in [1, 3] {
                    let (mut stats, mut out) = (vec![0.0; 2 * count], vec![0.0; sum.len()]);
                    Threads::new(threads).expect("threads").team(|team| {
                        Cpu::new(team, isa).layer_norm_to(&sum, norm, &mut stats, &mut out);
                    });
                    assert_eq!((&stats, &out), (&passes.stats, &passes.out), "{}", isa.name());
                }
            }
        }
    }

    #[test]
    fn follows_the_plain_loops_at_any_width() {
        for isa in Isa::available() {
            for width in [1, 2, 7, 8, 15, 16, 17, 40, 384] {
                let rows = 5;
                // Far from zero: a one-pass variance would show here.
                let x: Vec<f32> = numbers(rows * width, 1).iter().map(|x| x + 100.0).collect();
                let (weight, bias) = (numbers(width, 2), numbers(width, 3));
                let (mut fast, mut exact) = (x.clone(), x);
                Cpu::new(&Team::solo(), isa).layer_norm(&mut fast, &weight, &bias, 1e-12);
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
        Cpu::new(&Team::solo(), isa).layer_norm(&mut alone, &weight, &bias, 1e-5);
        let mut together = x;
        Threads::new(3)
            .expect("threads")
            .team(|team| Cpu::new(team, isa).layer_norm(&mut together, &weight, &bias, 1e-5));
        assert_eq!(alone, together);
    }

    /// The plain loops of [`layer_norm_backward`](Cpu::layer_norm_backward) in double precision; the three gradients.
    fn layer_norm_backward_reference(
        sum: &[f64],
        weight: &[f64],
        eps: f64,
        dout: &[f64],
    ) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let width = weight.len();
        let (mut dsum, mut dweight, mut dbias) =
            (Vec::with_capacity(sum.len()), vec![0.0; width], vec![0.0; width]);
        for (sum, dout) in sum.chunks_exact(width).zip(dout.chunks_exact(width)) {
            let (mean, scale) = moments_reference(sum, eps);
            let y: Vec<f64> = sum.iter().map(|x| (x - mean) * scale).collect();
            let g: Vec<f64> = dout.iter().zip(weight).map(|(d, w)| d * w).collect();
            let mean_g = g.iter().sum::<f64>() / width as f64;
            let mean_gy = g.iter().zip(&y).map(|(g, y)| g * y).sum::<f64>() / width as f64;
            dsum.extend(g.iter().zip(&y).map(|(g, y)| scale * (g - mean_g - y * mean_gy)));
            for c in 0..width {
                dweight[c] += dout[c] * y[c];
                dbias[c] += dout[c];
            }
        }
        (dsum, dweight, dbias)
    }
}
