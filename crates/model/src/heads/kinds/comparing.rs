//! The kinds that compare the vectors of two texts. `similarity` scores them, and `retrieval` finds the
//! passage for a query. Heads of both kinds have no weights: the logit is the cosine of the two vectors.

use super::{Answer, KindRules};

pub(super) const SIMILARITY: KindRules = comparing("similarity");
pub(super) const RETRIEVAL: KindRules = comparing("retrieval");
/// In training alone: no model has such a task.
pub(super) const DISTILLATION: KindRules = comparing("distillation");

const fn comparing(name: &'static str) -> KindRules {
    KindRules {
        name,
        least_labels: 0,
        outputs: |_| 1,
        reads_words: false,
        has_sets: false,
        compares: true,
        problem_type: None,
        // A cosine has no probability.
        probabilities: |_, _| Vec::new(),
        answer: |numbers| Answer::Regression(numbers.head.number(numbers.logits[0])),
    }
}
