//! The backward of attention.

use super::{AttentionShape, probabilities_reference};
use crate::dropout::Dropout;
use crate::simd::Isa;
use crate::team::Team;

/// The gradients of queries, keys and values.
///
/// - `qkv`: `[N, 3·D]`, `offsets`: `[B + 1]`, `dropout`, `rows`: `[N]`: what
///   [`attention_training`](super::attention_training) was given
/// - `out`: `[N, D]`, what it gave; `dout`: `[N, D]`
/// - `dqkv`: `[N, 3·D]`, overwritten
///
/// # Panics
/// If the lengths do not fit or the offsets do not grow.
#[expect(clippy::too_many_arguments, reason = "what forward had, and two gradients")]
pub fn attention_backward(
    _team: &Team,
    _isa: Isa,
    shape: AttentionShape,
    qkv: &[f32],
    offsets: &[usize],
    dropout: &Dropout,
    rows: &[u64],
    out: &[f32],
    dout: &[f32],
    dqkv: &mut [f32],
) {
    shape.check_lengths(qkv.len(), offsets, dropout, rows, out.len());
    let wide = |x: &[f32]| x.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
    let mut exact = vec![0.0; dqkv.len()];
    attention_backward_reference(
        shape,
        &wide(qkv),
        offsets,
        dropout,
        rows,
        &wide(dout),
        &mut exact,
    );
    for (d, exact) in dqkv.iter_mut().zip(exact) {
        *d = exact as f32;
    }
}

/// The plain loops in double precision: document and oracle of [`attention_backward`].
///
/// With the probabilities `P` of a query, their dropout factors `M` and scores
/// `S = q kᵀ / √K`: `dP = M · (dout vᵀ)`, `dS = P · (dP − Σⱼ P dP)`,
/// `dv += (P · M)ᵀ dout`, `dq = dS k / √K`, `dk += dSᵀ q / √K`.
pub fn attention_backward_reference(
    shape: AttentionShape,
    qkv: &[f64],
    offsets: &[usize],
    dropout: &Dropout,
    rows: &[u64],
    dout: &[f64],
    dqkv: &mut [f64],
) {
    shape.check_lengths(qkv.len(), offsets, dropout, rows, dout.len());
    let (size, width) = (shape.head_size, shape.width());
    let scale = 1.0 / (size as f64).sqrt();
    dqkv.fill(0.0);
    for sequence in offsets.windows(2) {
        let (start, end) = (sequence[0], sequence[1]);
        for head in 0..shape.heads {
            let columns = head * size..(head + 1) * size;
            for i in start..end {
                let (p, m) =
                    probabilities_reference(shape, qkv, (start, end), (head, i), dropout, rows);
                let value = |j: usize, c: usize| qkv[j * 3 * width + 2 * width + c];
                let dot = |j: usize| {
                    columns.clone().map(|c| dout[i * width + c] * value(j, c)).sum::<f64>()
                };
                let dp: Vec<f64> = m.iter().zip(start..end).map(|(m, j)| m * dot(j)).collect();
                let total: f64 = p.iter().zip(&dp).map(|(p, dp)| p * dp).sum();
                for j in start..end {
                    let k = j - start;
                    let ds = p[k] * (dp[k] - total) * scale;
                    for c in columns.clone() {
                        dqkv[i * 3 * width + c] += ds * qkv[j * 3 * width + width + c];
                        dqkv[j * 3 * width + width + c] += ds * qkv[i * 3 * width + c];
                        dqkv[j * 3 * width + 2 * width + c] += p[k] * m[k] * dout[i * width + c];
                    }
                }
            }
        }
    }
}
