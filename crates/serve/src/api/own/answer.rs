//! The answer to a text, as `polyhead predict` prints it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::answer_body::{Probabilities, SpanBody, TaskAnswerBody, TaskBodies};
use crate::{Answer, EngineReply, TextAnswer};

/// The answer to one text.
#[derive(Serialize, ToSchema)]
pub(crate) struct TextAnswerBody<'a> {
    /// Tokens of the whole text before truncation, special tokens included.
    tokens: usize,
    /// Whether the text was truncated.
    truncated: bool,
    /// Answers by task, in the order of the model.
    #[schema(value_type = std::collections::BTreeMap<String, TaskAnswerBody>)]
    tasks: TaskBodies<'a>,
    /// The sentence vector, if `tasks` has `embedding`.
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding: Option<&'a [f32]>,
}

/// The answers to all texts.
///
/// - `abstain`: least probability of a label
pub(crate) fn bodies(answers: &EngineReply, abstain: Option<f32>) -> Vec<TextAnswerBody<'_>> {
    answers.texts.iter().map(|text| body(answers, text, abstain)).collect()
}

fn body<'a>(
    answers: &'a EngineReply,
    text: &'a TextAnswer,
    abstain: Option<f32>,
) -> TextAnswerBody<'a> {
    let tasks = answers.tasks().zip(&text.tasks).map(|(spec, found)| {
        // One row, except for tagging, which has one per word.
        let probabilities =
            || Probabilities { labels: &spec.labels, values: found.probabilities.as_slice() };
        let answer = match &found.answer {
            Answer::Classification(class) => TaskAnswerBody::Classification {
                label: Some(class.best.label.as_str())
                    .filter(|_| abstain.is_none_or(|least| class.best.probability >= least)),
                probability: class.best.probability,
                probabilities: probabilities(),
            },
            Answer::MultiLabel(scores) => TaskAnswerBody::MultiLabel {
                labels: scores.iter().map(|score| score.label.as_str()).collect(),
                probabilities: probabilities(),
            },
            Answer::Regression(value) => TaskAnswerBody::Regression { value: *value },
            Answer::Tokens(tagged) => TaskAnswerBody::Tokens {
                spans: tagged
                    .spans
                    .iter()
                    .map(|span| SpanBody {
                        label: &span.label,
                        start: span.start,
                        end: span.end,
                        text: span.text.as_str().into(),
                        score: span.score,
                    })
                    .collect(),
            },
        };
        (spec.name.as_str(), answer)
    });
    TextAnswerBody {
        tokens: text.tokens.total,
        truncated: text.tokens.truncated(),
        tasks: TaskBodies(tasks.collect()),
        embedding: text.vector.as_deref(),
    }
}
