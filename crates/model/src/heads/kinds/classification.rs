//! Classification: one of several labels.

use super::{Answer, KindRules, LabelScore, TextNumbers, best, softmax_rows};

/// The answer of a classification.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassAnswer {
    /// The most probable label, the first one if several are equally probable; of labels with an
    /// order, the median ([`ordinal_answer`](crate::ordinal_answer)), which need not be the most
    /// probable one.
    pub best: LabelScore,
    /// The label is withheld: its probability is below
    /// [`RequestOptions::abstain`](crate::RequestOptions::abstain).
    pub abstained: bool,
}

impl ClassAnswer {
    /// The label; `None` if the head abstained.
    pub fn label(&self) -> Option<&str> {
        (!self.abstained).then_some(&self.best.label)
    }
}

pub(super) const RULES: KindRules = KindRules {
    name: "classification",
    least_labels: 2,
    outputs: |labels| labels,
    reads_words: false,
    has_sets: false,
    compares: false,
    problem_type: Some("single_label_classification"),
    probabilities: softmax_rows,
    answer,
};

fn answer(numbers: &TextNumbers) -> Answer {
    let best = best(&numbers.head.labels, numbers.probabilities);
    let abstained = numbers.limits.abstain.is_some_and(|least| best.probability < least);
    Answer::Classification(ClassAnswer { best, abstained })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{answer, head};
    use super::*;

    #[test]
    fn temperature_softmax_and_abstaining() {
        let head = head("classification", &["a", "b"]);
        let answer = |logits: [f32; 2], expected: [f32; 2]| {
            let (found, answer) = answer(&head, &logits, None, Some(0.6));
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6, "{found} {expected}");
            }
            let Answer::Classification(answer) = answer else { panic!("{answer:?}") };
            answer
        };
        let sure = answer([0.0, 2.0 * 3f32.ln()], [0.25, 0.75]);
        assert_eq!((sure.label(), sure.best.index), (Some("b"), 1));
        // The first of several equal labels wins, and 0.5 is below 0.6.
        let unsure = answer([5.0, 5.0], [0.5, 0.5]);
        assert_eq!((unsure.label(), unsure.best.label.as_str()), (None, "a"));
    }
}
