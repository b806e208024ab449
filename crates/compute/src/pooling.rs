//! Pooling: the token vectors of a sequence become one vector.
//!
//! The loops are plain and run on the calling thread: pooling reads each token vector once, a
//! ten-thousandth of the encoder's work.

use std::ops::Range;

use crate::cpu::Cpu;

/// How token vectors become one vector, as `sentence-transformers` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PoolingMode {
    /// The first token.
    Cls,
    /// The mean of all tokens.
    Mean,
    /// The largest value of each feature.
    Max,
    /// The sum divided by the square root of the token count.
    MeanSqrtLenTokens,
    /// The mean with weights 1, 2, … by position.
    WeightedMean,
    /// The last token.
    LastToken,
}

impl PoolingMode {
    /// All modes, in the order in which `sentence-transformers` concatenates
    /// those that are given as flags.
    pub const ALL: [Self; 6] = [
        Self::Cls,
        Self::Max,
        Self::Mean,
        Self::MeanSqrtLenTokens,
        Self::WeightedMean,
        Self::LastToken,
    ];

    /// The name in `sentence-transformers` and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cls => "cls",
            Self::Mean => "mean",
            Self::Max => "max",
            Self::MeanSqrtLenTokens => "mean_sqrt_len_tokens",
            Self::WeightedMean => "weightedmean",
            Self::LastToken => "lasttoken",
        }
    }
}

impl std::fmt::Display for PoolingMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for PoolingMode {
    /// The names that there are, and the one that was found.
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|mode| mode.name() == name).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|mode| mode.name()).collect();
            let shown: String = name.chars().take(80).collect();
            format!("expected one of {}, found {shown:?}", known.join(", "))
        })
    }
}

/// A sequence whose token vectors are pooled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PooledSequence {
    /// Rows of the hidden state.
    pub tokens: Range<usize>,
    /// How many tokens at the beginning do not count, because they are the prompt's.
    pub skip: usize,
}

impl PooledSequence {
    /// Rows that count, and the position of the first of them in its sequence.
    fn counted(&self) -> (Range<usize>, usize) {
        let first = self.skip.min(self.tokens.len());
        (self.tokens.start + first..self.tokens.end, first)
    }
}

/// Pooling.
impl Cpu<'_> {
    /// The pooled vectors of each sequence, one for each mode, beside each other.
    ///
    /// - `hidden`: `[N, width]`
    /// - `out`: `[sequences, modes · width]`
    ///
    /// A sequence without tokens that count gives zeros, not NaN: one empty text
    /// must not affect the rest of a batch.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn pool(
        self,
        modes: &[PoolingMode],
        hidden: &[f32],
        width: usize,
        sequences: &[PooledSequence],
        out: &mut [f32],
    ) {
        assert_eq!(out.len(), sequences.len() * modes.len() * width, "length of the output");
        for (sequence, out) in sequences.iter().zip(out.chunks_exact_mut(modes.len() * width)) {
            let (rows, first) = sequence.counted();
            let tokens = &hidden[rows.start * width..rows.end * width];
            for (mode, out) in modes.iter().zip(out.chunks_exact_mut(width)) {
                pool_one(*mode, tokens, first, out);
            }
        }
    }

    /// The backward of [`pool`](Self::pool): adds to `dhidden` what each token contributed.
    ///
    /// - `hidden`, `dhidden`: `[N, width]`; `dout`: `[sequences, modes · width]`
    ///
    /// Of equal largest values, the first token's gets the whole gradient of `max`.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn pool_backward(
        self,
        modes: &[PoolingMode],
        hidden: &[f32],
        width: usize,
        sequences: &[PooledSequence],
        dout: &[f32],
        dhidden: &mut [f32],
    ) {
        assert_eq!(dout.len(), sequences.len() * modes.len() * width, "length of the gradient");
        for (sequence, dout) in sequences.iter().zip(dout.chunks_exact(modes.len() * width)) {
            let (rows, first) = sequence.counted();
            let numbers = rows.start * width..rows.end * width;
            let (tokens, dtokens) = (&hidden[numbers.clone()], &mut dhidden[numbers]);
            for (mode, dout) in modes.iter().zip(dout.chunks_exact(width)) {
                pool_one_backward(*mode, tokens, first, dout, dtokens);
            }
        }
    }
}

/// What one mode makes of `tokens`, `[T, D]`.
///
/// - `first`: position in its sequence of the first token of `tokens`
fn pool_one(mode: PoolingMode, tokens: &[f32], first: usize, out: &mut [f32]) {
    let width = out.len();
    let count = tokens.len() / width;
    out.fill(0.0);
    if count == 0 {
        return;
    }
    match mode {
        PoolingMode::Cls => out.copy_from_slice(&tokens[..width]),
        PoolingMode::LastToken => out.copy_from_slice(&tokens[tokens.len() - width..]),
        PoolingMode::Mean => weighted_sum(tokens, out, |_| 1.0, count as f32),
        PoolingMode::MeanSqrtLenTokens => weighted_sum(tokens, out, |_| 1.0, (count as f32).sqrt()),
        PoolingMode::WeightedMean => {
            let weight = |i: usize| (first + i + 1) as f32;
            weighted_sum(tokens, out, weight, (0..count).map(weight).sum());
        }
        PoolingMode::Max => {
            out.fill(f32::NEG_INFINITY);
            for token in tokens.chunks_exact(width) {
                for (out, x) in out.iter_mut().zip(token) {
                    // Not `f32::max`, which would hide a NaN.
                    *out = if *out > *x { *out } else { *x };
                }
            }
        }
    }
}

/// `out = Σ weight(i) · token i / divisor`
fn weighted_sum(tokens: &[f32], out: &mut [f32], weight: impl Fn(usize) -> f32, divisor: f32) {
    for (i, token) in tokens.chunks_exact(out.len()).enumerate() {
        let weight = weight(i);
        for (out, x) in out.iter_mut().zip(token) {
            *out += weight * x;
        }
    }
    for out in out {
        *out /= divisor;
    }
}

fn pool_one_backward(
    mode: PoolingMode,
    tokens: &[f32],
    first: usize,
    dout: &[f32],
    dtokens: &mut [f32],
) {
    let width = dout.len();
    let count = tokens.len() / width;
    if count == 0 {
        return;
    }
    let mut spread = |weight: &dyn Fn(usize) -> f32| {
        for (i, dtoken) in dtokens.chunks_exact_mut(width).enumerate() {
            let weight = weight(i);
            for (dtoken, dout) in dtoken.iter_mut().zip(dout) {
                *dtoken += weight * dout;
            }
        }
    };
    match mode {
        PoolingMode::Cls => spread(&|i| if i == 0 { 1.0 } else { 0.0 }),
        PoolingMode::LastToken => spread(&|i| if i + 1 == count { 1.0 } else { 0.0 }),
        PoolingMode::Mean => spread(&|_| 1.0 / count as f32),
        PoolingMode::MeanSqrtLenTokens => spread(&|_| 1.0 / (count as f32).sqrt()),
        PoolingMode::WeightedMean => {
            let weight = |i: usize| (first + i + 1) as f32;
            let total: f32 = (0..count).map(weight).sum();
            spread(&|i| weight(i) / total);
        }
        PoolingMode::Max => {
            for (column, dout) in dout.iter().enumerate() {
                let mut best = column;
                for at in (column..tokens.len()).step_by(width) {
                    if tokens[at] > tokens[best] {
                        best = at;
                    }
                }
                dtokens[best] += dout;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Isa;
    use crate::testing::{numbers, wide};
    use crate::threads::Team;

    const TOKENS: [f32; 6] = [1.0, -2.0, 3.0, 4.0, 5.0, -6.0];

    fn pool(modes: &[PoolingMode], hidden: &[f32], width: usize, skip: usize) -> Vec<f32> {
        let sequence = PooledSequence { tokens: 0..hidden.len() / width, skip };
        let mut out = vec![f32::NAN; modes.len() * width];
        let team = Team::solo();
        Cpu::new(&team, Isa::detect()).pool(modes, hidden, width, &[sequence], &mut out);
        out
    }

    #[test]
    fn every_mode() {
        use PoolingMode::*;
        let root = 3f32.sqrt();
        for (mode, expected) in [
            (Cls, [1.0, -2.0]),
            (LastToken, [5.0, -6.0]),
            (Mean, [3.0, -4.0 / 3.0]),
            (MeanSqrtLenTokens, [9.0 / root, -4.0 / root]),
            (WeightedMean, [22.0 / 6.0, -12.0 / 6.0]),
            (Max, [5.0, 4.0]),
        ] {
            assert_eq!(pool(&[mode], &TOKENS, 2, 0), expected, "{mode}");
        }
    }

    #[test]
    fn tokens_that_are_skipped_do_not_count_but_keep_their_positions() {
        use PoolingMode::*;
        for (mode, expected) in [
            (Cls, [3.0, 4.0]),
            (Mean, [4.0, -1.0]),
            (WeightedMean, [21.0 / 5.0, -10.0 / 5.0]),
            (Max, [5.0, 4.0]),
        ] {
            assert_eq!(pool(&[mode], &TOKENS, 2, 1), expected, "{mode}");
        }
    }

    #[test]
    fn modes_stand_beside_each_other_and_sequences_below() {
        let (width, hidden) = (5, numbers(9 * 5, 1));
        let sequences = [(0..4, 0), (4..4, 0), (4..9, 2), (2..7, 0)]
            .map(|(tokens, skip)| PooledSequence { tokens, skip });
        let modes = PoolingMode::ALL;
        let mut out = vec![f32::NAN; sequences.len() * modes.len() * width];
        let team = Team::solo();
        Cpu::new(&team, Isa::detect()).pool(&modes, &hidden, width, &sequences, &mut out);
        for (sequence, out) in sequences.iter().zip(out.chunks_exact(modes.len() * width)) {
            let (rows, first) = sequence.counted();
            let tokens = wide(&hidden[rows.start * width..rows.end * width]);
            for (mode, out) in modes.iter().zip(out.chunks_exact(width)) {
                let expected = if tokens.is_empty() {
                    vec![0.0; width]
                } else {
                    pool_reference(*mode, &tokens, first, width)
                };
                for (a, b) in out.iter().zip(expected) {
                    // Sums of at most 5 numbers below 1, in single precision.
                    assert!((f64::from(*a) - b).abs() < 2e-6, "{mode}: {a}, not {b}");
                }
            }
        }
    }

    #[test]
    fn nothing_to_pool_gives_zeros_and_a_nan_stays_visible() {
        for mode in PoolingMode::ALL {
            assert_eq!(pool(&[mode], &TOKENS, 2, 9), [0.0, 0.0], "{mode}");
        }
        assert!(pool(&[PoolingMode::Max], &[1.0, f32::NAN], 1, 0)[0].is_nan());
    }

    #[test]
    fn the_gradient_is_the_slope_of_every_mode() {
        let (width, step) = (2, 1e-2);
        let dout = [0.5, -1.5];
        for mode in PoolingMode::ALL {
            for skip in [0, 1] {
                let loss = |tokens: &[f64]| {
                    let tokens: Vec<f32> = tokens.iter().map(|x| *x as f32).collect();
                    let out = pool(&[mode], &tokens, width, skip);
                    f64::from(out[0] * dout[0] + out[1] * dout[1])
                };
                let mut dtokens = [0.0; 6];
                let sequence = [PooledSequence { tokens: 0..3, skip }];
                let team = Team::solo();
                let cpu = Cpu::new(&team, Isa::detect());
                cpu.pool_backward(&[mode], &TOKENS, width, &sequence, &dout, &mut dtokens);
                let slopes = polyhead_testing::slopes(&wide(&TOKENS), step, loss);
                for (i, (found, slope)) in dtokens.iter().zip(slopes).enumerate() {
                    // Pooling is linear here, so only rounding of sums of some tens is left.
                    assert!(
                        (slope - f64::from(*found)).abs() < 1e-3,
                        "{mode} {i}: {slope} {found}"
                    );
                }
            }
        }
    }

    #[test]
    fn names_are_read_and_an_unknown_one_lists_them() {
        for mode in PoolingMode::ALL {
            assert_eq!(mode.name().parse(), Ok(mode));
        }
        let message = "average".parse::<PoolingMode>().unwrap_err();
        assert!(
            message.starts_with("expected one of cls, max, ") && message.ends_with("\"average\"")
        );
    }

    /// The definition in double precision: document and oracle of [`Cpu::pool`] for one mode and
    /// the tokens of one sequence that count, of which there is at least one.
    ///
    /// - `tokens`: `[T, width]`; `first`: position of the first of them in its sequence
    fn pool_reference(mode: PoolingMode, tokens: &[f64], first: usize, width: usize) -> Vec<f64> {
        let count = tokens.len() / width;
        let weight = |i: usize| match mode {
            PoolingMode::Cls => f64::from(u8::from(i == 0)),
            PoolingMode::LastToken => f64::from(u8::from(i + 1 == count)),
            PoolingMode::Mean | PoolingMode::Max => 1.0 / count as f64,
            PoolingMode::MeanSqrtLenTokens => 1.0 / (count as f64).sqrt(),
            PoolingMode::WeightedMean => {
                (first + i + 1) as f64 / (first + 1..=first + count).sum::<usize>() as f64
            }
        };
        let column = |c: usize| (0..count).map(move |i| tokens[i * width + c]);
        let pooled = |c: usize| match mode {
            PoolingMode::Max => column(c).fold(f64::NEG_INFINITY, f64::max),
            _ => column(c).enumerate().map(|(i, x)| weight(i) * x).sum(),
        };
        (0..width).map(pooled).collect()
    }
}
