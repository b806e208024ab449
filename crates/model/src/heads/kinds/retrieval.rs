//! Retrieval: how well a passage answers a query, the cosine of their vectors.

use super::{Answer, KindRules};

pub(super) const RULES: KindRules = KindRules {
    name: "retrieval",
    least_labels: 0,
    outputs: |_| 1,
    reads_words: false,
    has_sets: false,
    compares: true,
    problem_type: None,
    // A cosine has no probability.
    probabilities: |_, _| Vec::new(),
    answer: |numbers| Answer::Regression(numbers.logits[0]),
};
