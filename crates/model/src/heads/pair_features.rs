//! The input that a head makes of the vectors of two texts: `[u, v, |u − v|]`, and `u · v` if it is
//! wanted.
//!
//! Reimers and Gurevych, 2019, "Sentence-BERT", section 3 and table 6; `SoftmaxLoss` of
//! sentence-transformers with `concatenation_sent_rep`, `concatenation_sent_difference` and, for the
//! product, `concatenation_sent_multiplication`. Training and answering use the same function.

/// Width of the features, in widths of a vector.
pub(crate) fn pair_vectors(product: bool) -> usize {
    if product { 4 } else { 3 }
}

/// Appends the features of pairs to `out`, `[rows, features · width]`.
///
/// - `vectors`: `[2 · rows, width]`, both of a pair beside each other
///
/// # Panics
/// If `vectors` are not `2 · rows` vectors of one width.
pub(crate) fn pair_features(vectors: &[f32], rows: usize, product: bool, out: &mut Vec<f32>) {
    for (u, v) in pairs(vectors, rows) {
        out.extend_from_slice(u);
        out.extend_from_slice(v);
        out.extend(u.iter().zip(v).map(|(u, v)| (u - v).abs()));
        if product {
            out.extend(u.iter().zip(v).map(|(u, v)| u * v));
        }
    }
}

/// The gradient of the vectors, `[2 · rows, width]`. That of `|u − v|` is 0 where `u = v`, as in
/// PyTorch.
///
/// - `vectors`, `rows`, `product`: as for [`pair_features`]
/// - `dout`: `[rows, features · width]`, the gradient of the features
pub(crate) fn pair_features_backward(
    vectors: &[f32],
    rows: usize,
    product: bool,
    dout: &[f32],
) -> Vec<f32> {
    let mut dvectors = Vec::with_capacity(vectors.len());
    let features = (dout.len() / rows.max(1)).max(1);
    for ((u, v), dout) in pairs(vectors, rows).zip(dout.chunks_exact(features)) {
        let width = u.len();
        let mut parts = dout.chunks_exact(width);
        let mut part = || parts.next().expect("features have the width of their vectors");
        let (du, dv, ddifference) = (part(), part(), part());
        let dproduct = product.then(part);
        // The difference gives `v` the gradient of `u` with the other sign.
        for (d, sign, other) in [(du, 1.0, v), (dv, -1.0, u)] {
            dvectors.extend((0..width).map(|i| {
                let d = d[i] + sign * ddifference[i] * direction(u[i] - v[i]);
                dproduct.map_or(d, |dproduct| d + dproduct[i] * other[i])
            }));
        }
    }
    dvectors
}

/// The slope of `|x|`.
fn direction(x: f32) -> f32 {
    if x > 0.0 {
        1.0
    } else if x < 0.0 {
        -1.0
    } else {
        0.0
    }
}

/// The two vectors of each pair.
fn pairs(vectors: &[f32], rows: usize) -> impl Iterator<Item = (&[f32], &[f32])> {
    let width = vectors.len() / (2 * rows).max(1);
    assert_eq!(2 * rows * width, vectors.len(), "each row has two vectors");
    vectors.chunks_exact((2 * width).max(1)).map(move |pair| pair.split_at(width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_both_vectors_their_distance_and_their_product() {
        let vectors = [1.0, -2.0, 3.0, 0.5, /* next */ 0.0, 4.0, 0.0, -1.0];
        let mut out = vec![9.0];
        pair_features(&vectors, 2, true, &mut out);
        let first = [1.0, -2.0, 3.0, 0.5, 2.0, 2.5, 3.0, -1.0];
        let second = [0.0, 4.0, 0.0, -1.0, 0.0, 5.0, 0.0, -4.0];
        assert_eq!(out, [&[9.0][..], &first, &second].concat());
        out.clear();
        pair_features(&vectors, 2, false, &mut out);
        assert_eq!(out, [&first[..6], &second[..6]].concat());
        out.clear();
        pair_features(&[], 0, true, &mut out);
        assert!(out.is_empty());
    }

    #[test]
    fn gradients_are_those_of_each_part() {
        // u > v, u < v and u = v.
        let vectors = [2.0, -1.0, 0.5, /* v */ 1.0, 3.0, 0.5];
        let dout = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 1.0, 2.0, 3.0, 0.5, 0.25, 8.0];
        let du = [10.0 + 1.0 + 0.5, 20.0 - 2.0 + 0.75, 30.0 + 4.0];
        let dv = [40.0 - 1.0 + 1.0, 50.0 + 2.0 - 0.25, 60.0 + 4.0];
        assert_eq!(pair_features_backward(&vectors, 1, true, &dout), [du, dv].concat());
        let du = [11.0, 18.0, 30.0];
        let dv = [39.0, 52.0, 60.0];
        assert_eq!(pair_features_backward(&vectors, 1, false, &dout[..9]), [du, dv].concat());
        assert!(pair_features_backward(&[], 0, false, &[]).is_empty());
    }
}
