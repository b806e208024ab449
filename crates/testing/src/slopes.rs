//! Gradients by finite differences.

/// The slope of `function` at `point` in each coordinate, by central differences.
///
/// - `step`: the distance to both sides
pub fn slopes(point: &[f64], step: f64, mut function: impl FnMut(&[f64]) -> f64) -> Vec<f64> {
    let mut moved = point.to_vec();
    let mut at = |i: usize, to: f64| {
        moved[i] = to;
        let value = function(&moved);
        moved[i] = point[i];
        value
    };
    let slope = |(i, x): (usize, &f64)| (at(i, x + step) - at(i, x - step)) / (2.0 * step);
    point.iter().enumerate().map(slope).collect()
}
