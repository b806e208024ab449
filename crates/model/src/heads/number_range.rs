//! The range of a regression's answers.

use std::fmt;

/// Range of a regression's answers: numbers outside of it are moved to its nearest end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NumberRange {
    least: f32,
    most: f32,
}

impl NumberRange {
    /// The range from `least` to `most`, both included.
    ///
    /// # Errors
    /// The numbers, unless both are finite and `least` is below `most`.
    pub fn new(least: f32, most: f32) -> Result<Self, String> {
        if least.is_finite() && most.is_finite() && least < most {
            return Ok(Self { least, most });
        }
        Err(format!("expected two finite numbers, the smaller one first, found {least} and {most}"))
    }

    /// The smallest number of the range.
    pub fn least(self) -> f32 {
        self.least
    }

    /// The largest number of the range.
    pub fn most(self) -> f32 {
        self.most
    }

    /// Returns true if the number is in the range.
    pub fn contains(self, number: f32) -> bool {
        (self.least..=self.most).contains(&number)
    }

    /// The number at this share of the way from the smallest number to the largest; outside the range
    /// for a share outside 0 to 1.
    pub(crate) fn at(self, share: f32) -> f32 {
        // In double precision, since the width of a range may be above the largest `f32`.
        let (least, most) = (f64::from(self.least), f64::from(self.most));
        (least + f64::from(share) * (most - least)) as f32
    }

    /// The number of the range that is nearest to `number`, which is not NaN.
    pub fn clipped(self, number: f32) -> f32 {
        number.clamp(self.least, self.most)
    }
}

/// `1 to 5`.
impl fmt::Display for NumberRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.least, self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_outside_are_moved_to_the_nearest_end() {
        let range = NumberRange::new(-1.5, 5.0).unwrap();
        for (share, number) in [(0.0, -1.5), (1.0, 5.0), (0.5, 1.75), (-1.0, -8.0)] {
            assert_eq!(range.at(share), number);
        }
        let widest = NumberRange::new(f32::MIN, f32::MAX).unwrap();
        assert_eq!([0.0, 0.5, 1.0].map(|share| widest.at(share)), [f32::MIN, 0.0, f32::MAX]);
        for (number, clipped) in [
            (f32::MIN, -1.5),
            (-1.500_001, -1.5),
            (-1.5, -1.5),
            (0.0, 0.0),
            (5.0, 5.0),
            (5.000_001, 5.0),
            (f32::MAX, 5.0),
        ] {
            assert_eq!(range.clipped(number), clipped, "{number}");
            assert_eq!(range.contains(number), number == clipped, "{number}");
        }
        assert_eq!(range.to_string(), "-1.5 to 5");
    }

    #[test]
    fn ends_are_finite_and_differ() {
        assert!(NumberRange::new(f32::MIN, f32::MAX).is_ok());
        for (least, most) in [
            (1.0, 1.0),
            (5.0, 1.0),
            (0.0, -0.0),
            (f32::NAN, 1.0),
            (1.0, f32::NAN),
            (f32::NEG_INFINITY, 1.0),
            (1.0, f32::INFINITY),
        ] {
            let expected = format!("the smaller one first, found {least} and {most}");
            assert!(NumberRange::new(least, most).unwrap_err().ends_with(&expected));
        }
    }
}
