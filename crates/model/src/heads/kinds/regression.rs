//! Regression: one number.

use super::{Answer, KindRules};

pub(super) const RULES: KindRules = KindRules {
    name: "regression",
    least_labels: 0,
    outputs: |_| 1,
    reads_words: false,
    has_sets: false,
    compares: false,
    problem_type: Some("regression"),
    // A number has no probability.
    probabilities: |_, _| Vec::new(),
    answer: |numbers| Answer::Regression(numbers.head.number(numbers.logits[0])),
};

#[cfg(test)]
mod tests {
    use super::super::testing::{answer, head};
    use super::*;
    use crate::heads::HeadSpec;
    use crate::heads::{NumberRange, TargetScale};

    #[test]
    fn answers_are_in_the_unit_of_the_targets() {
        let mut head = head("regression", &[]);
        assert_eq!(answer(&head, &[0.5], None, None), (vec![], Answer::Regression(0.5)));
        head.target = Some(TargetScale { mean: 1500.0, deviation: 500.0 });
        assert_eq!(answer(&head, &[0.5], None, None), (vec![], Answer::Regression(1750.0)));
    }

    #[test]
    fn answers_are_clipped_in_the_unit_of_the_targets() {
        let mut head = head("regression", &[]);
        assert_eq!((head.number(f32::MAX), head.unclipped(f32::MAX)), (f32::MAX, None));
        head.target = Some(TargetScale { mean: 3.0, deviation: 2.0 });
        head.range = Some(NumberRange::new(1.0, 5.0).unwrap());
        for (logit, number, unclipped) in [
            (0.0, 3.0, None),
            (1.0, 5.0, None),
            (-1.0, 1.0, None),
            (1.25, 5.0, Some(5.5)),
            (-3.0, 1.0, Some(-3.0)),
            (f32::MAX, 5.0, Some(f32::MAX)),
            (f32::MIN, 1.0, Some(f32::MIN)),
        ] {
            assert_eq!(answer(&head, &[logit], None, None), (vec![], Answer::Regression(number)));
            assert_eq!(head.unclipped(logit), unclipped, "{logit}");
        }
    }

    #[test]
    fn only_numbers_have_a_range() {
        let range = Some(NumberRange::new(1.0, 5.0).unwrap());
        for (kind, labels) in
            [("regression", &[][..]), ("classification", &["a", "b"]), ("ordinal", &["a", "b"])]
        {
            let head = HeadSpec { range, ..head(kind, labels) };
            let refused =
                format!("task `task`: range: expected none for kind {kind}, found 1 to 5");
            let expected = if labels.is_empty() { Ok(()) } else { Err(refused) };
            assert_eq!(crate::heads::check_heads([&head].into_iter()), expected);
        }
    }
}
