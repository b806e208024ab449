//! Cosines of pairs of rows, with their gradient.

/// Lengths count as this at least where `torch.nn.functional.normalize` divides by them.
pub(super) const NORMALIZE_EPS: f64 = 1e-12;

/// Lengths count as this at least in `torch.cosine_similarity`.
pub(super) const COSINE_EPS: f64 = 1e-8;

/// Two vectors, their lengths and their cosine.
pub(super) struct CosinePair<'a> {
    first: &'a [f32],
    second: &'a [f32],
    first_length: Length,
    second_length: Length,
    pub(super) cosine: f64,
}

/// The length by which a vector is divided.
#[derive(Clone, Copy)]
struct Length {
    divisor: f64,
    /// True if the vector is shorter than the divisor, which then does not depend on it.
    is_fixed: bool,
}

impl Length {
    fn of(x: &[f32], least: f64) -> Self {
        let length = dot(x, x).sqrt();
        Self { divisor: length.max(least), is_fixed: length < least }
    }
}

impl<'a> CosinePair<'a> {
    /// - `first`, `second`: `[width]`
    /// - `least`: what lengths count as at least
    pub(super) fn new(first: &'a [f32], second: &'a [f32], least: f64) -> Self {
        let (first_length, second_length) = (Length::of(first, least), Length::of(second, least));
        let cosine = dot(first, second) / first_length.divisor / second_length.divisor;
        Self { first, second, first_length, second_length, cosine }
    }

    /// Calls `write(i, dfirst, dsecond)` for each column with the derivatives of the cosine there:
    /// `dfirst = (v − cos · u) / |first|` with the vectors `u`, `v` of length one.
    pub(super) fn derivatives(&self, mut write: impl FnMut(usize, f64, f64)) {
        let along = |length: Length| if length.is_fixed { 0.0 } else { self.cosine };
        let (n, m) = (self.first_length, self.second_length);
        let (along_first, along_second) = (along(n), along(m));
        for (i, (x, y)) in self.first.iter().zip(self.second).enumerate() {
            let (u, v) = (f64::from(*x) / n.divisor, f64::from(*y) / m.divisor);
            write(i, (v - along_first * u) / n.divisor, (u - along_second * v) / m.divisor);
        }
    }
}

/// The pairs of rows of two matrices.
///
/// # Panics
/// If the matrices differ in size or do not have whole rows.
pub(super) fn cosine_pairs<'a>(
    first: &'a [f32],
    second: &'a [f32],
    width: usize,
    least: f64,
) -> impl Iterator<Item = CosinePair<'a>> {
    assert_eq!(first.len(), second.len(), "as many vectors on both sides");
    assert!(width > 0 && first.len().is_multiple_of(width), "whole rows of {width}");
    let rows = first.chunks_exact(width).zip(second.chunks_exact(width));
    rows.map(move |(first, second)| CosinePair::new(first, second, least))
}

/// Writes the gradients of cosines: `dcosines[row]` times the derivatives of the row's cosine.
pub(super) fn write_gradients<'a>(
    pairs: impl Iterator<Item = CosinePair<'a>>,
    width: usize,
    dcosines: &[f64],
    dfirst: &mut [f32],
    dsecond: &mut [f32],
) {
    let rows = dfirst.chunks_exact_mut(width).zip(dsecond.chunks_exact_mut(width));
    for ((pair, dcosine), (dfirst, dsecond)) in pairs.zip(dcosines).zip(rows) {
        pair.derivatives(|i, first, second| {
            dfirst[i] = (dcosine * first) as f32;
            dsecond[i] = (dcosine * second) as f32;
        });
    }
}

/// `Σ x · y` in order.
pub(super) fn dot(x: &[f32], y: &[f32]) -> f64 {
    x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
}
