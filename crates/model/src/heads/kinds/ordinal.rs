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
    has_sets: false,
    compares: false,
    problem_type: None,
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

/// The label that a head with an order answers, counted from 0: the median of the distribution that
/// its logits mean, which is the first label that at most half of the distribution is above. Of all
/// labels it has the smallest expected distance.
///
/// It is the median at temperature 1, with which the head was trained. A temperature would move the
/// median, but it was found for honest probabilities and not for answers.
///
/// - `logits`: `[K − 1]`, finite
pub fn ordinal_answer(logits: &[f32]) -> usize {
    let mut above = 1.0;
    let median = logits.iter().position(|logit| {
        above /= 1.0 + (-f64::from(*logit)).exp();
        above <= 0.5
    });
    median.unwrap_or(logits.len())
}

fn answer(numbers: &TextNumbers) -> Answer {
    let index = ordinal_answer(numbers.logits);
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
        let mut head = head("ordinal", &["1", "2", "3", "4"]);
        head.temperature = 1.0;
        // 0.4, 0.3, 0, 0.3: the first is most probable, the second nearest to all.
        let logit = |p: f32| (p / (1.0 - p)).ln();
        let logits = [logit(0.6), logit(0.5), 40.0];
        let (found, answer) = answer(&head, &logits, None, None);
        assert!((found[0] - 0.4).abs() < 1e-6 && (found[3] - 0.3).abs() < 1e-6, "{found:?}");
        let Answer::Classification(answer) = answer else { panic!("{answer:?}") };
        assert_eq!(answer.label(), Some("2"));
    }

    #[test]
    fn the_median_is_the_answer() {
        let logit = |p: f32| (p / (1.0 - p)).ln();
        for (logits, label) in [
            (&[logit(0.4), 9.0][..], 0),
            (&[logit(0.75), logit(0.6)], 1),
            (&[logit(0.9), logit(0.8)], 2),
            // Exactly half is above.
            (&[0.0, 9.0], 0),
            (&[40.0, 0.0], 1),
            (&[40.0; 9], 9),
            (&[f32::MAX, f32::MIN], 1),
            (&[f32::MIN, f32::MAX], 0),
        ] {
            assert_eq!(ordinal_answer(logits), label, "{logits:?}");
        }
    }

    #[test]
    fn no_temperature_changes_an_answer() {
        // At temperature 1.5 the median of the first is another label, at 2 that of the second.
        for (logits, label) in [(&[3.0; 9][..], 9), (&[2.0, 0.5], 2)] {
            let names: Vec<String> = (0..=logits.len()).map(|label| label.to_string()).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let mut head = head("ordinal", &names);
            let mut seen = Vec::new();
            for temperature in [0.05, 0.5, 1.0, 1.5, 2.0, 20.0] {
                head.temperature = temperature;
                let (found, answer) = answer(&head, logits, None, None);
                let Answer::Classification(answer) = answer else { panic!("{answer:?}") };
                assert_eq!((answer.best.index, answer.best.probability), (label, found[label]));
                seen.push(answer.best.probability);
            }
            assert!(seen.windows(2).all(|two| two[0] > two[1]), "{seen:?}");
        }
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
