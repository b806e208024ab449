//! Dropout (Srivastava et al., 2014) from a counter: a mask is a function, not a state.
//!
//! Whether a number is dropped depends on the seed, the step, the layer, the
//! site in it, the row of the step and the position in that row, and on nothing
//! else. So backward recomputes what forward did, resuming needs no generator,
//! and neither packing nor micro-batches nor threads change a mask.

use crate::cpu::Cpu;
use crate::random::Random;
use crate::simd::{Op, Simd};

/// Rows that one part of a team takes at a time.
const ROWS_PER_PART: usize = 16;

/// What is dropped at one site of one step.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// Hash of seed, step, layer and site.
    key: u64,
    /// Numbers whose 24 random bits are below this are dropped.
    threshold: u32,
    /// `1 / (1 − p)`
    scale: f32,
}

impl Dropout {
    /// Drops each number with `probability` (in steps of 2⁻²⁴), and scales those
    /// that stay so that the expectation stays.
    ///
    /// - `site`: tells apart the places in a layer where something is dropped
    ///
    /// # Panics
    /// If `probability` is not in `0 .. 1`: configurations are checked before.
    pub fn new(probability: f32, seed: u64, step: u64, layer: u32, site: u32) -> Self {
        assert!((0.0..1.0).contains(&probability), "probability {probability} of dropout");
        let place = u64::from(layer) << 32 | u64::from(site);
        let key = [seed, step, place].into_iter().fold(0, |key, part| mix(key ^ mix(part)));
        Self {
            key,
            threshold: (probability * (1 << 24) as f32).round() as u32,
            scale: (1.0 / (1.0 - f64::from(probability))) as f32,
        }
    }

    /// A dropout that drops nothing.
    pub fn none() -> Self {
        Self::new(0.0, 0, 0, 0, 0)
    }

    /// Whether it drops nothing.
    pub fn is_none(&self) -> bool {
        self.threshold == 0
    }

    /// What number `feature` of row `row` is multiplied by: 0 or `1 / (1 − p)`.
    #[inline(always)]
    pub fn factor(&self, row: u64, feature: u32) -> f32 {
        self.factor_in(self.row_key(row), feature)
    }

    /// The key of a row.
    #[inline(always)]
    fn row_key(&self, row: u64) -> (u32, u32) {
        let key = mix(self.key ^ mix(row));
        (key as u32, (key >> 32) as u32)
    }

    /// [`factor`](Self::factor) with the key of the row at hand: only 32-bit
    /// arithmetic, which compilers turn into vectors.
    ///
    /// Two rounds of multiplication and shift (the constants are those that
    /// Ettinger's search found to mix best), the second key between them.
    #[inline(always)]
    fn factor_in(&self, (first, second): (u32, u32), feature: u32) -> f32 {
        let mut x = feature.wrapping_mul(0x9e37_79b9).wrapping_add(first);
        x = (x ^ x >> 16).wrapping_mul(0x21f0_aaad);
        x = (x ^ x >> 15).wrapping_add(second).wrapping_mul(0x735a_2d97);
        x ^= x >> 15;
        if x >> 8 >= self.threshold { self.scale } else { 0.0 }
    }

    /// `x[i] *= factor(row, first + i)`
    #[inline(always)]
    pub(crate) fn scale_row(&self, row: u64, first: u32, x: &mut [f32]) {
        let key = self.row_key(row);
        // No closure: this is to be compiled for the instruction set of the caller.
        let mut feature = first;
        for x in x {
            *x *= self.factor_in(key, feature);
            feature = feature.wrapping_add(1);
        }
    }

    /// `to[i] = factor(row, first + i)`
    #[inline(always)]
    pub(crate) fn factors(&self, row: u64, first: u32, to: &mut [f32]) {
        let key = self.row_key(row);
        let mut feature = first;
        for to in to {
            *to = self.factor_in(key, feature);
            feature = feature.wrapping_add(1);
        }
    }
}

/// A permutation of 64-bit numbers in which every bit depends on all: the first number of the
/// sequence that begins at `x`.
#[inline(always)]
fn mix(x: u64) -> u64 {
    Random::from_state(x).at(0)
}

/// Dropout.
impl Cpu<'_> {
    /// `x[n, c] *= factor(rows[n], c)`, in the forward and in the backward.
    ///
    /// - `rows`: `[N]`, what identifies each row in its step: (row of the step) · 2³²
    ///   + position of the token
    /// - `x`: `[N, D]`
    ///
    /// # Panics
    /// If there are not whole rows. `rows` may be empty where nothing is dropped.
    pub fn dropout(self, dropout: &Dropout, rows: &[u64], x: &mut [f32]) {
        let Self { team, isa, .. } = self;
        if dropout.is_none() || x.is_empty() {
            return;
        }
        assert!(!rows.is_empty() && x.len().is_multiple_of(rows.len()), "whole rows");
        let width = x.len() / rows.len();
        team.run_rows(x, width, ROWS_PER_PART, &|range, x| {
            isa.run(Scale { dropout: *dropout, rows: &rows[range], x, width });
        });
    }

    /// [`dropout`](Self::dropout) from `x` to `out`, both `[N, D]`.
    ///
    /// # Panics
    /// If there are not whole rows, as many in both, each with its name in `rows`.
    pub fn dropout_to(self, dropout: &Dropout, rows: &[u64], x: &[f32], out: &mut [f32]) {
        let Self { team, isa, .. } = self;
        assert_eq!(x.len(), out.len(), "length of the output");
        if x.is_empty() {
            return;
        }
        assert!(!rows.is_empty() && x.len().is_multiple_of(rows.len()), "whole rows");
        let width = x.len() / rows.len();
        team.run_rows(out, width, ROWS_PER_PART, &|range, out| {
            out.copy_from_slice(&x[range.start * width..range.end * width]);
            if !dropout.is_none() {
                isa.run(Scale { dropout: *dropout, rows: &rows[range], x: out, width });
            }
        });
    }
}

struct Scale<'a> {
    dropout: Dropout,
    rows: &'a [u64],
    x: &'a mut [f32],
    width: usize,
}

impl Op for Scale<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (x, row) in self.x.chunks_exact_mut(self.width).zip(self.rows) {
            self.dropout.scale_row(*row, 0, x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Isa;
    use crate::testing::numbers;
    use crate::threads::{Team, Threads};

    /// Identities of `count` rows: two rows of a step, tokens in turn.
    fn rows(count: usize) -> Vec<u64> {
        (0..count as u64).map(|n| ((n % 2) << 32) | (n / 2)).collect()
    }

    #[test]
    fn multiplies_by_the_factor_of_row_and_feature() {
        for isa in Isa::available() {
            for (count, width) in [(1, 1), (3, 5), (40, 33), (7, 384)] {
                let (x, rows) = (numbers(count * width, 1), rows(count));
                let some = Dropout::new(0.3, 7, 1, 2, 3);
                for threads in [1, 2, 3, 5] {
                    let (mut y, mut z) = (x.clone(), vec![f32::NAN; x.len()]);
                    let threads = Threads::new(threads).expect("threads");
                    threads.team(|team| {
                        Cpu::new(team, isa).dropout(&some, &rows, &mut y);
                        Cpu::new(team, isa).dropout_to(&some, &rows, &x, &mut z);
                    });
                    assert_eq!(y, z, "{}", isa.name());
                    for (i, (x, y)) in x.iter().zip(&y).enumerate() {
                        let factor = some.factor(rows[i / width], (i % width) as u32);
                        assert_eq!((x * factor).to_bits(), y.to_bits(), "{}", isa.name());
                    }
                }
            }
        }
        let mut x = numbers(10, 1);
        Cpu::new(&Team::solo(), Isa::detect()).dropout(&Dropout::none(), &[], &mut x);
        assert_eq!(x, numbers(10, 1));
        let mut y = vec![f32::NAN; 10];
        Cpu::new(&Team::solo(), Isa::detect()).dropout_to(&Dropout::none(), &rows(2), &x, &mut y);
        assert_eq!(x, y);
    }

    /// Shares and dependences within five standard deviations of a fair coin with this weight.
    #[test]
    fn drops_as_often_as_it_says_and_independently() {
        for probability in [0.1f32, 0.5, 0.9] {
            let count = 400 * 400;
            let p = f64::from(probability);
            let deviation = (p * (1.0 - p) / count as f64).sqrt();
            let mask = |seed, step, layer, site, shift: u32, next: u64| -> Vec<bool> {
                let dropout = Dropout::new(probability, seed, step, layer, site);
                (0..count)
                    .map(|i| dropout.factor((i / 400) as u64 + next, (i % 400) as u32 + shift))
                    .map(|factor| {
                        assert!(factor == 0.0 || (factor * (1.0 - probability) - 1.0).abs() < 1e-6);
                        factor == 0.0
                    })
                    .collect()
            };
            let first = mask(1, 1, 1, 1, 0, 0);
            let share = first.iter().filter(|d| **d).count() as f64 / count as f64;
            assert!((share - p).abs() < 5.0 * deviation, "{share}, not {p}");
            let others = [
                mask(2, 1, 1, 1, 0, 0),
                mask(1, 2, 1, 1, 0, 0),
                mask(1, 1, 2, 1, 0, 0),
                mask(1, 1, 1, 2, 0, 0),
                mask(1, 1, 1, 1, 1, 0),
                mask(1, 1, 1, 1, 2, 0),
                mask(1, 1, 1, 1, 0, 1),
                mask(1, 1, 1, 1, 0, 1 << 32),
            ];
            for (i, other) in others.iter().enumerate() {
                let both = first.iter().zip(other).filter(|(a, b)| **a && **b).count();
                let both = both as f64 / count as f64;
                let deviation = (p * p * (1.0 - p * p) / count as f64).sqrt();
                assert!((both - p * p).abs() < 5.0 * deviation, "{i}: {both}, not {}", p * p);
            }
        }
    }

    /// A mask is part of a run that is to be resumed, perhaps by a later version.
    #[test]
    fn a_mask_never_changes() {
        let dropout = Dropout::new(0.5, 7, 100, 3, 1);
        let bits = (0..64).fold(0u64, |bits, feature| {
            bits << 1 | u64::from(dropout.factor(5 << 32 | 9, feature) == 0.0)
        });
        assert_eq!(bits, 0xe2c5_6832_7355_f3b5);
    }
}
