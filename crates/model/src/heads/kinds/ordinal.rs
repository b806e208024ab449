//! Ordinal: one of several labels that have an order, such as grades.
//!
//! A head of `K` labels has `K − 1` outputs (CORN; Shi, Cao and Raschka, "Deep Neural Networks for
//! Rank-Consistent Ordinal Regression Based On Conditional Probabilities", 2021). Output `k` is the
//! logit of `P(y > k | y ≥ k)`: whether a text that is at least at label `k`, counted from 0, is above
//! it. Products of them are `P(y > k)`, which never grow with `k`.

use super::multi_label::sigmoid;
use super::{Answer, ClassAnswer, KindRules, LabelScore, TextNumbers};
use crate::heads::HeadSpec;

pub(super) const RULES: KindRules = KindRules {
    name: "ordinal",
    least_labels: 2,
    outputs: |labels| labels.saturating_sub(1),
    reads_words: false,
    has_thresholds: false,
    probabilities,
    answer,
};

/// `[rows, K]`: `P(y = k) = P(y > k − 1) − P(y > k)`, as products, so that none is below 0.
fn probabilities(head: &HeadSpec, logits: &[f32]) -> Vec<f32> {
    let mut found = Vec::with_capacity(logits.len() + logits.len() / head.outputs().max(1));
    for row in logits.chunks_exact(head.outputs().max(1)) {
        let mut reached = 1.0;
        for logit in row {
            let z = logit / head.temperature;
            found.push(reached * sigmoid(-z));
            reached *= sigmoid(z);
        }
        found.push(reached);
    }
    found
}

/// The first label that at most half of the distribution is above: of all labels, the one with the
/// smallest expected distance.
fn answer(numbers: &TextNumbers) -> Answer {
    let mut above = 1.0;
    let last = numbers.probabilities.len() - 1;
    let middle = numbers.probabilities.iter().position(|probability| {
        above -= probability;
        above <= 0.5
    });
    let index = middle.unwrap_or(last);
    let probability = numbers.probabilities[index];
    let best = LabelScore { index, label: numbers.head.labels[index].clone(), probability };
    let abstained = numbers.limits.abstain.is_some_and(|least| probability < least);
    Answer::Classification(ClassAnswer { best, abstained })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{answer, head};
    use super::*;

    #[test]
    fn probabilities_are_those_of_the_conditions() {
        let head = head("ordinal", &["bad", "ok", "good"]);
        // At temperature 2: 3/4 are above `bad`, of these 1/3 above `ok`.
        let logits = [2.0 * 3f32.ln(), -2.0 * 2f32.ln()];
        let (found, answer) = answer(&head, &logits, None, Some(0.6));
        for (found, expected) in found.iter().zip([0.25, 0.5, 0.25]) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
        let Answer::Classification(answer) = answer else { panic!("{answer:?}") };
        assert_eq!((answer.best.index, answer.label()), (1, None));
    }

    #[test]
    fn the_answer_is_the_middle_label_not_the_most_probable_one() {
        let head = head("ordinal", &["1", "2", "3", "4"]);
        // 0.4, 0.3, 0, 0.3: the first is most probable, the second nearest to all.
        let logit = |p: f32| 2.0 * (p / (1.0 - p)).ln();
        let logits = [logit(0.6), logit(0.5), 40.0];
        let (found, answer) = answer(&head, &logits, None, None);
        assert!((found[0] - 0.4).abs() < 1e-6 && (found[3] - 0.3).abs() < 1e-6, "{found:?}");
        let Answer::Classification(answer) = answer else { panic!("{answer:?}") };
        assert_eq!(answer.label(), Some("2"));
    }

    #[test]
    fn a_head_of_one_label_is_refused() {
        let checked = |labels: &[&str]| {
            let head = head("ordinal", labels);
            crate::heads::check_heads([&head].into_iter())
        };
        let expected = "task `task`: labels: expected 2 to 65536, found 1";
        assert_eq!(checked(&["a"]), Err(expected.to_owned()));
        assert_eq!(checked(&["a", "b"]), Ok(()));
    }

    #[test]
    fn extreme_logits_give_a_distribution() {
        let mut head = head("ordinal", &["a", "b", "c"]);
        for temperature in [2.0, f32::from_bits(1)] {
            head.temperature = temperature;
            for logits in [[f32::MAX, f32::MAX], [f32::MIN, f32::MAX], [f32::MAX, f32::MIN]] {
                let (found, answer) = answer(&head, &logits, None, None);
                assert_eq!(found.iter().sum::<f32>(), 1.0, "{logits:?}");
                let Answer::Classification(answer) = answer else { panic!("{answer:?}") };
                assert_eq!(answer.best.probability, 1.0);
            }
        }
    }
}
