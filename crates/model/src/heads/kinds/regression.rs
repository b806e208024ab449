//! Regression: one number.

use super::{Answer, KindRules, TextNumbers};
use crate::heads::HeadSpec;

pub(super) struct Regression;

impl KindRules for Regression {
    fn name(&self) -> &'static str {
        "regression"
    }

    fn least_labels(&self) -> usize {
        0
    }

    /// Returns nothing: a number has no probability.
    fn probabilities(&self, _: &HeadSpec, _: &[f32]) -> Vec<f32> {
        Vec::new()
    }

    fn answer(&self, numbers: &TextNumbers) -> Answer {
        Answer::Regression(numbers.logits[0])
    }
}
