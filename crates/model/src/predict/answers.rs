//! What a model answers: a row for each text.

use std::fmt;
use std::time::Duration;

use polyhead_text::TextTokens;

use crate::heads::{Answer, AnswerLimits, HeadSpec, TextNumbers, TextWords};
use crate::sentence::Matrix;

/// Answers of every requested task for a list of texts, from one encoder pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predictions {
    /// The requested tasks, in the order of the model and of [`TextAnswer::tasks`].
    pub tasks: Vec<HeadSpec>,
    /// The answer to each text, in order.
    pub texts: Vec<TextAnswer>,
}

/// Everything that was requested about one text.
#[derive(Clone, Debug, PartialEq)]
pub struct TextAnswer {
    /// Token counts before and after cutting, of all sequences that were read of the text. If none
    /// is kept, heads read a vector of zeros.
    pub tokens: TextTokens,
    /// One answer for each requested task, in the order of the model.
    pub tasks: Vec<TaskAnswer>,
    /// The sentence vector, if it was requested; of a pair that of both texts in one sequence.
    pub vector: Option<Vec<f32>>,
    /// `[kept tokens, D]`: the last hidden state of every token, if it was requested.
    pub token_vectors: Option<Matrix>,
}

/// The answer of one task to one text.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskAnswer {
    /// Index of the task in [`MultiTaskModel::tasks`](crate::MultiTaskModel::tasks).
    pub task: usize,
    /// `[1, labels]`; for ordinal labels `[1, labels − 1]`, one for each label that another one is
    /// above; for regression `[1, 1]`, before [`HeadSpec::number`]; for tagging `[words, labels]` of
    /// the words that the model saw: see [`TaggedWord::row`](crate::TaggedWord::row).
    pub logits: Matrix,
    /// `[1, labels]`, for tagging `[words, labels]`: probabilities of the labels at the head's
    /// temperature. They are a softmax of the logits, for multi-label a sigmoid of each, for ordinal
    /// labels products of sigmoids. Regression has none: `[1, 0]`.
    pub probabilities: Matrix,
    /// The answer that the numbers mean.
    pub answer: Answer,
}

/// The answers to the texts of a batch, and the time of its heads.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchAnswers {
    /// The answer to each text, in order.
    pub texts: Vec<Result<TextAnswer, NotFinite>>,
    /// The time of each head that ran, from the encoder's states to logits, after its
    /// index in [`MultiTaskModel::tasks`](crate::MultiTaskModel::tasks); ascending.
    /// Where several threads ran parts of the batch, it is the sum of their times.
    pub head_times: Vec<(usize, Duration)>,
}

/// The answer to a text would hold a number that is not finite: the weights are damaged.
#[derive(Clone, Debug, PartialEq)]
pub struct NotFinite {
    /// The task whose logits hold the number; absent: a vector holds it.
    pub task: Option<String>,
    /// The number: infinite, or NaN.
    pub value: f32,
}

impl Predictions {
    /// Sentence vectors as `[texts, dimension]`; `None` if they were not requested or
    /// there is no text.
    pub fn vectors(&self) -> Option<Matrix> {
        let mut values = Vec::new();
        for text in &self.texts {
            values.extend_from_slice(text.vector.as_ref()?);
        }
        let dimension = values.len().checked_div(self.texts.len())?;
        Some(Matrix::new(self.texts.len(), dimension, values))
    }
}

impl TaskAnswer {
    /// - `task`: index of the head
    /// - `logits`: `[rows, outputs]` of one text, all finite
    /// - `words`: words of the text, for kinds that read them
    pub(crate) fn new(
        task: usize,
        head: &HeadSpec,
        logits: Vec<f32>,
        words: Option<&TextWords>,
        limits: AnswerLimits,
    ) -> Self {
        let rules = head.kind.rules();
        let probabilities = (rules.probabilities)(head, &logits);
        let numbers =
            TextNumbers { head, logits: &logits, probabilities: &probabilities, words, limits };
        let answer = (rules.answer)(&numbers);
        let rows = logits.len() / head.outputs();
        Self {
            task,
            answer,
            logits: Matrix::new(rows, head.outputs(), logits),
            probabilities: Matrix::new(rows, head.labels.len(), probabilities),
        }
    }
}

impl fmt::Display for NotFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value;
        match &self.task {
            Some(task) => write!(f, "the logits of task `{task}` hold {value}")?,
            None => write!(f, "the vector holds {value}")?,
        }
        f.write_str(": the weights of this model are damaged")
    }
}

impl std::error::Error for NotFinite {}
