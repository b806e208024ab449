//! What is answered to one text of a mixed batch.

use std::fmt;
use std::time::Duration;

use polyhead_text::TextTokens;

use crate::predict::predictions::{ClassAnswer, LabelScore, TaggedText};
use crate::sentence::Matrix;

/// The answers to the texts of a batch, and what its heads took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchAnswers {
    /// One a text, in order.
    pub texts: Vec<Result<TextAnswer, NotFinite>>,
    /// The time of each head that ran, from the encoder's states to logits, after its
    /// place among [`MultiTaskModel::tasks`](crate::MultiTaskModel::tasks); ascending.
    /// Where threads each had a part of the batch, it is the sum of their times.
    pub head_times: Vec<(usize, Duration)>,
}

/// Everything that was asked about one text.
#[derive(Clone, Debug, PartialEq)]
pub struct TextAnswer {
    /// Token counts before and after cutting.
    pub tokens: TextTokens,
    /// One per task that was asked for, in the order of the model.
    pub tasks: Vec<TaskAnswer>,
    /// The sentence vector, if it was asked for.
    pub vector: Option<Vec<f32>>,
    /// `[kept tokens, D]`: the last hidden state of every token, if they were asked for.
    pub token_vectors: Option<Matrix>,
}

/// The answer of one task to one text.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskAnswer {
    /// Its place among [`MultiTaskModel::tasks`](crate::MultiTaskModel::tasks), where
    /// name and labels are.
    pub task: usize,
    /// `[1, labels]`; for regression `[1, 1]`; for tagging `[words, labels]` of the
    /// words that the model saw.
    pub logits: Matrix,
    /// As [`TaskPredictions::probabilities`](crate::TaskPredictions::probabilities),
    /// with the rows of `logits`.
    pub probabilities: Matrix,
    /// What the numbers mean.
    pub answer: Answer,
}

/// What the numbers of a task mean for one text.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// One of several labels.
    Classification(ClassAnswer),
    /// Those labels whose probability reaches their threshold, in the order of the labels.
    MultiLabel(Vec<LabelScore>),
    /// A number.
    Regression(f32),
    /// Words with their tags, and the spans that they form.
    Tokens(TaggedText),
}

/// The answer to a text would hold a number that is not finite: the weights are damaged.
#[derive(Clone, Debug, PartialEq)]
pub struct NotFinite {
    /// The task whose logits hold it; absent: a vector does.
    pub task: Option<String>,
    /// Infinite, or NaN.
    pub value: f32,
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
