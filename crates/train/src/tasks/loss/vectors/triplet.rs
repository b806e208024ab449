//! An anchor that is nearer to its positive than to its negative, by a margin.

use super::cosines::{CosinePair, NORMALIZE_EPS};

/// The distance in [`triplet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TripletDistance {
    /// `1 − cos`.
    Cosine,
    /// `|x − y|`, the default of sentence-transformers.
    Euclidean,
}

/// `Σ max(d(anchor, positive) − d(anchor, negative) + margin, 0)`, as sentence-transformers'
/// `TripletLoss` before its mean.
///
/// - `[anchors, positives, negatives]`: `[rows, width]` each
/// - `margin`: 5 in the library
/// - `factor`: [`mean_factor`](crate::mean_factor) of the number of rows
/// - gradients: `[rows, width]` each, overwritten: `factor` times the derivative of the sum; a
///   distance of 0 has the derivative 0
/// - returns the sum over the rows, to be divided by their number
///
/// # Panics
/// If lengths do not agree.
pub fn triplet(
    [anchors, positives, negatives]: [&[f32]; 3],
    width: usize,
    margin: f64,
    distance: TripletDistance,
    factor: f64,
    [danchors, dpositives, dnegatives]: [&mut [f32]; 3],
) -> f64 {
    assert!(width > 0 && anchors.len().is_multiple_of(width), "whole rows of {width}");
    let lengths = [positives.len(), negatives.len(), danchors.len()];
    assert_eq!(lengths, [anchors.len(); 3], "vectors and gradients of every row");
    let lengths = [dpositives.len(), dnegatives.len()];
    assert_eq!(lengths, [anchors.len(); 2], "gradients like the vectors");
    let mut sum = 0.0;
    for row in 0..anchors.len() / width {
        let columns = row * width..(row + 1) * width;
        let near = Distance::new(distance, &anchors[columns.clone()], &positives[columns.clone()]);
        let far = Distance::new(distance, &anchors[columns.clone()], &negatives[columns.clone()]);
        let danchor = &mut danchors[columns.clone()];
        let (dpositive, dnegative) = (&mut dpositives[columns.clone()], &mut dnegatives[columns]);
        danchor.fill(0.0);
        dpositive.fill(0.0);
        dnegative.fill(0.0);
        let loss = near.value() - far.value() + margin;
        if loss > 0.0 {
            sum += loss;
            let mut of_anchor = vec![0.0; width];
            near.derivatives(|i, anchor, positive| {
                of_anchor[i] = anchor;
                dpositive[i] = (factor * positive) as f32;
            });
            far.derivatives(|i, anchor, negative| {
                danchor[i] = (factor * (of_anchor[i] - anchor)) as f32;
                dnegative[i] = (-factor * negative) as f32;
            });
        }
    }
    sum
}

/// Two vectors and the distance between them.
enum Distance<'a> {
    Cosine(CosinePair<'a>),
    Euclidean { first: &'a [f32], second: &'a [f32], length: f64 },
}

impl<'a> Distance<'a> {
    fn new(distance: TripletDistance, first: &'a [f32], second: &'a [f32]) -> Self {
        match distance {
            TripletDistance::Cosine => Self::Cosine(CosinePair::new(first, second, NORMALIZE_EPS)),
            TripletDistance::Euclidean => {
                let square = |(x, y): (&f32, &f32)| (f64::from(*x) - f64::from(*y)).powi(2);
                let length = first.iter().zip(second).map(square).sum::<f64>().sqrt();
                Self::Euclidean { first, second, length }
            }
        }
    }

    fn value(&self) -> f64 {
        match self {
            Self::Cosine(pair) => 1.0 - pair.cosine,
            Self::Euclidean { length, .. } => *length,
        }
    }

    /// Calls `write(i, dfirst, dsecond)` for each column.
    fn derivatives(&self, mut write: impl FnMut(usize, f64, f64)) {
        match self {
            Self::Cosine(pair) => pair.derivatives(|i, first, second| write(i, -first, -second)),
            Self::Euclidean { first, second, length } => {
                for (i, (x, y)) in first.iter().zip(*second).enumerate() {
                    let difference = f64::from(*x) - f64::from(*y);
                    let d = if *length > 0.0 { difference / length } else { 0.0 };
                    write(i, d, -d);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_gradients, some_vectors};
    use super::*;

    #[test]
    fn gradient_is_the_difference_quotient() {
        let [a, p, n] = [1, 2, 3].map(|seed| some_vectors(5 * 3, seed));
        for distance in [TripletDistance::Cosine, TripletDistance::Euclidean] {
            // With margin 5 all rows count, with 0.1 some.
            for margin in [5.0, 0.1] {
                check_gradients([&a, &p, &n], |matrices, factor, gradients| {
                    triplet(matrices, 3, margin, distance, factor, gradients)
                });
            }
        }
    }

    #[test]
    fn rows_beyond_the_margin_and_equal_vectors_have_no_gradient() {
        let anchor = [1.0, 0.0];
        for (positive, negative, margin, expected) in [
            // Far beyond the margin.
            ([1.0, 0.0], [-9.0, 0.0], 5.0, 0.0),
            // Exactly at it: no gradient, as in PyTorch.
            ([1.0, 0.0], [-4.0, 0.0], 5.0, 0.0),
            // All equal: the margin stays, but distances of 0 have no direction.
            ([1.0, 0.0], [1.0, 0.0], 0.5, 0.5),
        ] {
            let mut gradients = [[f32::NAN; 2]; 3];
            let out = gradients.each_mut().map(|g| &mut g[..]);
            let vectors = [&anchor[..], &positive, &negative];
            let sum = triplet(vectors, 2, margin, TripletDistance::Euclidean, 1.0, out);
            assert_eq!((sum, gradients), (expected, [[0.0; 2]; 3]));
        }
    }

    #[test]
    fn zero_vectors_give_finite_numbers() {
        let zeros = [0.0; 3];
        for distance in [TripletDistance::Cosine, TripletDistance::Euclidean] {
            let mut gradients = [[f32::NAN; 3]; 3];
            let out = gradients.each_mut().map(|g| &mut g[..]);
            let sum = triplet([&zeros, &[1.0, 2.0, 3.0], &zeros], 3, 5.0, distance, 1.0, out);
            assert!(sum.is_finite() && gradients.iter().flatten().all(|d| d.is_finite()));
        }
    }
}
