//! Token vectors of a sequence to one vector.
//!
//! Plain loops: pooling reads each token vector once, a ten-thousandth of the
//! encoder's work.

use crate::module::{PoolingMode, PoolingSpec};

/// Writes the pooled vectors of `spec` beside each other.
///
/// - `tokens`: `[T, D]`, one sequence
/// - `prompt_tokens`: how many at the beginning belong to the prompt; they count
///   only if the spec includes the prompt
/// - `out`: `[modes · D]`
///
/// A sequence without tokens that count gives zeros, not NaN: one empty text
/// must not spoil a batch.
pub(crate) fn pool(
    spec: &PoolingSpec,
    tokens: &[f32],
    width: usize,
    prompt_tokens: usize,
    out: &mut [f32],
) {
    let skipped = if spec.include_prompt { 0 } else { prompt_tokens.min(tokens.len() / width) };
    let counted = &tokens[skipped * width..];
    for (mode, out) in spec.modes.iter().zip(out.chunks_exact_mut(width)) {
        pool_one(*mode, counted, skipped, out);
    }
}

/// `first`: position in its sequence of the first token of `tokens`.
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
        PoolingMode::Mean => add_scaled(tokens, out, |_| 1.0, count as f32),
        PoolingMode::MeanSqrtLenTokens => add_scaled(tokens, out, |_| 1.0, (count as f32).sqrt()),
        PoolingMode::WeightedMean => {
            let weight = |i: usize| (first + i + 1) as f32;
            add_scaled(tokens, out, weight, (0..count).map(weight).sum());
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
fn add_scaled(tokens: &[f32], out: &mut [f32], weight: impl Fn(usize) -> f32, divisor: f32) {
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

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENS: [f32; 6] = [1.0, -2.0, 3.0, 4.0, 5.0, -6.0];

    fn pooled(mode: PoolingMode, include_prompt: bool, prompt_tokens: usize) -> Vec<f32> {
        let spec = PoolingSpec { modes: vec![mode], include_prompt };
        let mut out = vec![f32::NAN; 2];
        pool(&spec, &TOKENS, 2, prompt_tokens, &mut out);
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
            assert_eq!(pooled(mode, true, 1), expected, "{mode}");
        }
    }

    #[test]
    fn a_prompt_that_is_left_out_does_not_count() {
        use PoolingMode::*;
        for (mode, expected) in [
            (Cls, [3.0, 4.0]),
            (Mean, [4.0, -1.0]),
            (WeightedMean, [21.0 / 5.0, -10.0 / 5.0]),
            (Max, [5.0, 4.0]),
        ] {
            assert_eq!(pooled(mode, false, 1), expected, "{mode}");
        }
    }

    #[test]
    fn nothing_to_pool_gives_zeros_and_a_nan_stays_visible() {
        for mode in PoolingMode::ALL {
            assert_eq!(pooled(mode, false, 9), [0.0, 0.0], "{mode}");
        }
        let mut out = [0.0];
        let spec = PoolingSpec { modes: vec![PoolingMode::Max], include_prompt: true };
        pool(&spec, &[1.0, f32::NAN], 1, 0, &mut out);
        assert!(out[0].is_nan());
    }
}
