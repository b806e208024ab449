//! Token vectors of a sequence to one vector.
//!
//! Plain loops: pooling reads each token vector once, a ten-thousandth of the
//! encoder's work.

use crate::modules::spec::{PoolingMode, PoolingSpec};

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

/// The gradient of [`pool`]: adds to `dtokens` what each token contributed.
///
/// - `tokens`, `dtokens`: `[T, D]`; `dout`: `[modes · D]`
///
/// Of equal largest values, the first token's gets the whole gradient of `max`.
pub(crate) fn pool_backward(
    spec: &PoolingSpec,
    tokens: &[f32],
    width: usize,
    prompt_tokens: usize,
    dout: &[f32],
    dtokens: &mut [f32],
) {
    let skipped = if spec.include_prompt { 0 } else { prompt_tokens.min(tokens.len() / width) };
    let (counted, dcounted) = (&tokens[skipped * width..], &mut dtokens[skipped * width..]);
    for (mode, dout) in spec.modes.iter().zip(dout.chunks_exact(width)) {
        pool_one_backward(*mode, counted, skipped, dout, dcounted);
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

    #[test]
    fn the_gradient_is_the_slope_of_every_mode() {
        let (width, step) = (2, 1e-2);
        let dout = [0.5, -1.5];
        for mode in PoolingMode::ALL {
            for (include_prompt, prompt_tokens) in [(true, 0), (false, 1)] {
                let spec = PoolingSpec { modes: vec![mode], include_prompt };
                let loss = |tokens: &[f32]| {
                    let mut out = [0.0; 2];
                    pool(&spec, tokens, width, prompt_tokens, &mut out);
                    f64::from(out[0] * dout[0] + out[1] * dout[1])
                };
                let mut dtokens = [0.0; 6];
                pool_backward(&spec, &TOKENS, width, prompt_tokens, &dout, &mut dtokens);
                for (i, found) in dtokens.iter().enumerate() {
                    let mut moved = TOKENS;
                    moved[i] += step;
                    let up = loss(&moved);
                    moved[i] -= 2.0 * step;
                    let slope = (up - loss(&moved)) / f64::from(2.0 * step);
                    // Pooling is linear here, so only rounding of sums of some tens is left.
                    assert!(
                        (slope - f64::from(*found)).abs() < 1e-3,
                        "{mode} {i}: {slope} {found}"
                    );
                }
            }
        }
    }
}
