//! Regression: one number.

use super::{Answer, KindRules};

pub(super) const RULES: KindRules = KindRules {
    name: "regression",
    least_labels: 0,
    reads_words: false,
    has_thresholds: false,
    // A number has no probability.
    probabilities: |_, _| Vec::new(),
    answer: |numbers| Answer::Regression(numbers.logits[0]),
};
