//! Kinds of tasks: what the logits of a head mean, one file per kind.
//!
//! All other code calls methods of [`TaskKind`] and never lists the kinds itself. How a kind is
//! trained is in `polyhead-train`, in `tasks/`.

mod classification;
mod comparing;
mod multi_label;
mod ordinal;
mod regression;
mod tokens;

pub use classification::ClassAnswer;
pub(crate) use multi_label::sigmoid as logistic;
pub use ordinal::ordinal_answer;
pub(crate) use tokens::TextWords;
pub use tokens::{TaggedText, TaggedWord, TextSpan};

use crate::error::{Error, ErrorKind};
use crate::heads::HeadSpec;

/// The kind of a task: what it predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskKind {
    /// One of several labels.
    Classification,
    /// Any of several labels.
    MultiLabel,
    /// A number.
    Regression,
    /// A label for every word, in BIO form for spans.
    Tokens,
    /// One of several labels that have an order.
    Ordinal,
    /// A score of the similarity of two texts.
    Similarity,
    /// The passage that answers a query.
    Retrieval,
    /// The vectors or the scores of another model, in training alone.
    Distillation,
}

/// The answer of a task about one text.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// One of several labels, also of those that have an order.
    Classification(ClassAnswer),
    /// The labels whose probability reaches their threshold, in the order of the head's labels.
    MultiLabel(Vec<LabelScore>),
    /// A number.
    Regression(f32),
    /// Words with their tags, and the spans that they form.
    Tokens(TaggedText),
}

/// A label and its probability.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelScore {
    /// Index of the label in [`HeadSpec::labels`].
    pub index: usize,
    /// Name of the label.
    pub label: String,
    /// Probability of the label, between 0 and 1.
    pub probability: f32,
}

/// The rules that differ between kinds.
pub(crate) struct KindRules {
    /// Name in configurations and files.
    name: &'static str,
    /// Fewest labels that a task of this kind can have; 0 if it has no labels.
    least_labels: usize,
    /// Number of outputs per row, from the number of labels.
    outputs: fn(usize) -> usize,
    /// True if the head reads the first token of every word, not the pooled vector.
    reads_words: bool,
    /// True if a row has any number of labels, each with a threshold.
    has_sets: bool,
    /// True if the vectors of two texts are compared; the head has no weights.
    compares: bool,
    /// The `problem_type` of sequence classifiers of `transformers`; `None` if they have no such kind.
    problem_type: Option<&'static str>,
    /// Probabilities of `logits`, `[rows, outputs]`. They are never NaN: logits are
    /// finite and the head's temperature is above 0.
    pub(crate) probabilities: fn(head: &HeadSpec, logits: &[f32]) -> Vec<f32>,
    /// The answer that the numbers of one text mean.
    pub(crate) answer: fn(&TextNumbers) -> Answer,
}

/// The output of a head for one text: one row, or one row for each word that has a token.
pub(crate) struct TextNumbers<'a> {
    pub(crate) head: &'a HeadSpec,
    /// `[rows, outputs]`: the logits, all finite.
    pub(crate) logits: &'a [f32],
    /// `[rows, labels]`: the probabilities.
    pub(crate) probabilities: &'a [f32],
    /// Words of the text, for kinds that read them.
    pub(crate) words: Option<&'a TextWords>,
    pub(crate) limits: AnswerLimits,
}

/// Least probabilities of what is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct AnswerLimits {
    /// A single label less probable than this is withheld.
    pub(crate) abstain: Option<f32>,
    /// Spans with a lower score are left out.
    pub(crate) min_score: Option<f32>,
}

impl TaskKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::Classification,
        Self::MultiLabel,
        Self::Regression,
        Self::Tokens,
        Self::Ordinal,
        Self::Similarity,
        Self::Retrieval,
        Self::Distillation,
    ];

    pub(crate) fn rules(self) -> &'static KindRules {
        match self {
            Self::Classification => &classification::RULES,
            Self::MultiLabel => &multi_label::RULES,
            Self::Regression => &regression::RULES,
            Self::Tokens => &tokens::RULES,
            Self::Ordinal => &ordinal::RULES,
            Self::Similarity => &comparing::SIMILARITY,
            Self::Retrieval => &comparing::RETRIEVAL,
            Self::Distillation => &comparing::DISTILLATION,
        }
    }

    /// Name in configurations and files.
    pub fn name(self) -> &'static str {
        self.rules().name
    }

    /// Fewest labels that a task of this kind can have; 0 if it has no labels.
    pub fn least_labels(self) -> usize {
        self.rules().least_labels
    }

    /// Number of outputs per row of a head with so many labels.
    pub fn outputs(self, labels: usize) -> usize {
        (self.rules().outputs)(labels)
    }

    /// Returns true if a task of this kind has labels.
    pub fn has_labels(self) -> bool {
        self.least_labels() > 0
    }

    /// Returns true if the head reads the first token of every word, not the pooled vector.
    pub fn reads_words(self) -> bool {
        self.rules().reads_words
    }

    /// Returns true if a row has any number of labels: then each label has a threshold, and labelled
    /// data may have a field for each label.
    pub fn has_sets(self) -> bool {
        self.rules().has_sets
    }

    /// Returns true if a task of this kind compares the vectors of texts: its head has no weights,
    /// unless vectors of a teacher have another width.
    pub fn compares(self) -> bool {
        self.rules().compares
    }

    /// The `problem_type` of sequence classifiers of `transformers` of this kind.
    pub(crate) fn problem_type(self) -> Option<&'static str> {
        self.rules().problem_type
    }

    /// The names of the kinds for which `applies` holds, as messages list them: `classification,
    /// multilabel or ordinal`.
    pub fn names_of(applies: impl Fn(Self) -> bool) -> String {
        let kinds = Self::ALL.into_iter().filter(|kind| applies(*kind));
        let names: Vec<&str> = kinds.map(Self::name).collect();
        match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => names.concat(),
        }
    }
}

/// The kind of token classifiers.
pub(crate) const TAGGING: TaskKind = TaskKind::Tokens;

/// The kind of sequence classifiers of `transformers` with this `problem_type`.
///
/// # Errors
/// The names that are known, if it is none of them.
pub(crate) fn sequence_kind(problem_type: &str) -> Result<TaskKind, String> {
    let named = |kind: &TaskKind| kind.rules().problem_type == Some(problem_type);
    TaskKind::ALL.into_iter().find(named).ok_or_else(|| {
        let known = TaskKind::ALL.into_iter().filter_map(|kind| kind.rules().problem_type);
        known.collect::<Vec<_>>().join(", ")
    })
}

impl std::fmt::Display for TaskKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for TaskKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|kind| kind.name()).collect();
            let shown: String = name.chars().take(80).collect();
            let message = format!("expected one of {}, found {shown:?}", known.join(", "));
            Error::new(ErrorKind::Option, message)
        })
    }
}

/// Softmax of every row of `logits`, `[rows, labels]`, divided by the head's temperature.
fn softmax_rows(head: &HeadSpec, logits: &[f32]) -> Vec<f32> {
    let rows = logits.chunks_exact(head.outputs());
    rows.flat_map(|row| {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        // The largest becomes 0 before the division, which could overflow.
        let scaled: Vec<f32> = row.iter().map(|x| (x - largest) / head.temperature).collect();
        soft_max(&scaled)
    })
    .collect()
}

/// The most probable label; the first one if several are equally probable.
fn best(labels: &[String], probabilities: &[f32]) -> LabelScore {
    let mut index = 0;
    for (other, probability) in probabilities.iter().enumerate() {
        if *probability > probabilities[index] {
            index = other;
        }
    }
    LabelScore { index, label: labels[index].clone(), probability: probabilities[index] }
}

/// `eˣⁱ / Σ eˣʲ` in single precision, as in all inference; losses and metrics have their own
/// function in double precision.
pub(crate) fn soft_max(x: &[f32]) -> Vec<f32> {
    let largest = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = x.iter().map(|x| (x - largest).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.iter().map(|p| p / sum).collect()
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A head with temperature 2.
    pub(crate) fn head(kind: &str, labels: &[&str]) -> HeadSpec {
        HeadSpec { temperature: 2.0, ..HeadSpec::new("task", kind.parse().unwrap(), labels) }
    }

    /// Probabilities and answer of a head for one text.
    pub(crate) fn answer(
        head: &HeadSpec,
        logits: &[f32],
        words: Option<&TextWords>,
        least: Option<f32>,
    ) -> (Vec<f32>, Answer) {
        let probabilities = (head.kind.rules().probabilities)(head, logits);
        let limits = AnswerLimits { abstain: least, min_score: least };
        let numbers = TextNumbers { head, logits, probabilities: &probabilities, words, limits };
        let answer = (head.kind.rules().answer)(&numbers);
        (probabilities, answer)
    }

    #[test]
    fn kinds_are_listed_by_what_they_have() {
        for (names, expected) in [
            (TaskKind::names_of(TaskKind::has_sets), "multilabel"),
            (
                TaskKind::names_of(|kind| !kind.has_sets() && kind.has_labels()),
                "classification, tokens or ordinal",
            ),
            (TaskKind::names_of(|_| false), ""),
        ] {
            assert_eq!(names, expected);
        }
    }

    #[test]
    fn probabilities_of_extreme_logits_are_numbers() {
        for kind in ["classification", "multilabel"] {
            let mut head = head(kind, &["a", "b"]);
            head.temperature = f32::from_bits(1);
            let logits = [f32::MAX, f32::MIN, 0.0, -0.0];
            let found = (head.kind.rules().probabilities)(&head, &logits);
            assert_eq!(found, [1.0, 0.0, 0.5, 0.5], "{kind}");
        }
    }
}
