//! Numbers for the tests of this crate.

/// `count` numbers between −1 and 1 that look random and are always the same (xorshift).
pub(crate) fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// The same numbers in double precision.
pub(crate) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|x| f64::from(*x)).collect()
}

/// Holds `gradient` against central differences of `loss` at `point`.
pub(crate) fn check_gradient(point: &[f64], gradient: &[f64], loss: impl Fn(&[f64]) -> f64) {
    assert_eq!(point.len(), gradient.len());
    let slopes = polyhead_testing::slopes(point, 1e-5, loss);
    for (i, (gradient, slope)) in gradient.iter().zip(slopes).enumerate() {
        // The third derivative times 1e-10, and 16 digits of the loss divided by 1e-5.
        let allowed = 1e-8 * gradient.abs().max(1.0);
        assert!((slope - gradient).abs() < allowed, "at {i}: {gradient}, not {slope}");
    }
}
