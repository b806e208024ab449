//! The scale of a regression's targets.
//!
//! A head begins with answers near 0 and learns in steps of a fixed size, so it takes long to
//! numbers in the thousands and overshoots those around a thousandth. Where the targets are of that
//! kind, the head learns them standardized, and the scale that is stored with it leads back.

use std::fmt;

/// Mean and standard deviation of a regression's targets: the head learns
/// `(target − mean) / deviation`, and answers are `mean + deviation · logit`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TargetScale {
    /// Mean of the training targets.
    pub mean: f32,
    /// Standard deviation of the training targets, above 0.
    pub deviation: f32,
}

impl TargetScale {
    /// A target as the head learns it.
    pub fn standardized(self, target: f32) -> f32 {
        ((f64::from(target) - f64::from(self.mean)) / f64::from(self.deviation)) as f32
    }

    /// The number in the unit of the targets that a logit means; finite if the logit is.
    pub fn restored(self, logit: f32) -> f32 {
        let number = f64::from(self.mean) + f64::from(self.deviation) * f64::from(logit);
        number.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
    }
}

/// `mean 1497, deviation 499.8`, with four digits each.
impl fmt::Display for TargetScale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mean {}, deviation {}", rounded(self.mean), rounded(self.deviation))
    }
}

/// The number with four significant digits.
fn rounded(number: f32) -> f64 {
    let number = f64::from(number);
    if number == 0.0 {
        return 0.0;
    }
    // One factor is 1; up to 10^22, f64 holds the other one exactly, and few targets are larger.
    let digits = 3 - number.abs().log10().floor() as i32;
    let (up, down) = (10f64.powi(digits.max(0)), 10f64.powi((-digits).max(0)));
    (number / down * up).round() / up * down
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_standardized_comes_back() {
        for (mean, deviation) in [(1500.0, 500.0), (-2.5e9, 1e7), (2e-4, 1e-5), (0.0, 12.0)] {
            let scale = TargetScale { mean, deviation };
            assert_eq!((scale.standardized(mean), scale.restored(0.0)), (0.0, mean));
            for logit in [-3.0f32, -0.25, 1.0, 2.5] {
                let back = scale.standardized(scale.restored(logit));
                // The answer is rounded to f32: half a unit in its last place.
                let rounding = (mean.abs() / deviation + logit.abs()) * f32::EPSILON;
                assert!((back - logit).abs() <= rounding, "{scale}: {logit} became {back}");
            }
        }
    }

    #[test]
    fn extreme_logits_are_finite_numbers() {
        let scale = TargetScale { mean: 1e15, deviation: 1e15 };
        assert_eq!(scale.restored(f32::MAX), f32::MAX);
        assert_eq!(scale.restored(f32::MIN), f32::MIN);
    }

    #[test]
    fn four_digits_are_shown() {
        for (mean, deviation, shown) in [
            (1500.0, 500.0, "mean 1500, deviation 500"),
            (-1_234_567.0, 0.001_234_56, "mean -1235000, deviation 0.001235"),
            (0.0, 1e-7, "mean 0, deviation 0.0000001"),
            (2015.432, 6.0, "mean 2015, deviation 6"),
        ] {
            assert_eq!(TargetScale { mean, deviation }.to_string(), shown);
        }
    }
}
