//! Regression: one number.

use super::{Answer, KindRules};

pub(super) const RULES: KindRules = KindRules {
    name: "regression",
    least_labels: 0,
    outputs: |_| 1,
    reads_words: false,
    has_thresholds: false,
    // A number has no probability.
    probabilities: |_, _| Vec::new(),
    answer: |numbers| Answer::Regression(numbers.head.number(numbers.logits[0])),
};

#[cfg(test)]
mod tests {
    use super::super::testing::{answer, head};
    use super::*;
    use crate::heads::TargetScale;

    #[test]
    fn answers_are_in_the_unit_of_the_targets() {
        let mut head = head("regression", &[]);
        assert_eq!(answer(&head, &[0.5], None, None), (vec![], Answer::Regression(0.5)));
        head.target = Some(TargetScale { mean: 1500.0, deviation: 500.0 });
        assert_eq!(answer(&head, &[0.5], None, None), (vec![], Answer::Regression(1750.0)));
    }
}
