//! Multi-label classification: any of several labels.

use super::{Answer, KindRules, LabelScore, TextNumbers};

/// The threshold of every label if the head has no thresholds.
const THRESHOLD: f32 = 0.5;

pub(super) const RULES: KindRules = KindRules {
    name: "multilabel",
    least_labels: 1,
    outputs: |labels| labels,
    reads_words: false,
    has_sets: true,
    compares: false,
    problem_type: Some("multi_label_classification"),
    probabilities: |head, logits| logits.iter().map(|x| sigmoid(x / head.temperature)).collect(),
    answer,
};

fn answer(numbers: &TextNumbers) -> Answer {
    let head = numbers.head;
    let scores = head.labels.iter().zip(numbers.probabilities).enumerate();
    let reached = scores.filter(|(index, (_, probability))| {
        **probability >= head.thresholds.get(*index).copied().unwrap_or(THRESHOLD)
    });
    let score = |(index, (label, probability)): (usize, (&String, &f32))| LabelScore {
        index,
        label: label.clone(),
        probability: *probability,
    };
    Answer::MultiLabel(reached.map(score).collect())
}

/// `1 / (1 + e⁻ˣ)` in single precision; losses and calibration have their own function in double
/// precision.
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{answer, head};
    use super::*;
    use crate::heads::HeadSpec;

    #[test]
    fn every_label_has_its_threshold() {
        let mut head = head("multilabel", &["a", "b", "c"]);
        let labels = |head: &HeadSpec| {
            let (_, answer) = answer(head, &[0.0, -0.1, 9.0], None, None);
            let Answer::MultiLabel(scores) = answer else { panic!("{answer:?}") };
            scores.into_iter().map(|score| score.label).collect::<Vec<_>>()
        };
        assert_eq!(labels(&head), ["a", "c"]);
        head.thresholds = vec![0.6, 0.3, 1.0];
        assert_eq!(labels(&head), ["b"]);
    }
}
