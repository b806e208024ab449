//! The answer for a text, as `polyhead predict` prints it.

use polyhead_model::TextAnswer;
use serde::Serialize;
use utoipa::ToSchema;

use crate::EngineReply;
use crate::api::answer_body::{TaskAnswerBody, TaskBodies};

/// The answer for one text.
#[derive(Serialize, ToSchema)]
pub(crate) struct TextAnswerBody<'a> {
    /// Number of tokens of the whole text before truncation, special tokens included.
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

/// The answers for all texts.
pub(crate) fn bodies<'a>(answers: &'a EngineReply) -> Vec<TextAnswerBody<'a>> {
    let body = |text: &'a TextAnswer| {
        let tasks = answers.tasks().zip(&text.tasks);
        let tasks = tasks.map(|(head, found)| (&*head.name, TaskAnswerBody::new(head, found)));
        TextAnswerBody {
            tokens: text.tokens.total,
            truncated: text.tokens.truncated(),
            tasks: TaskBodies(tasks.collect()),
            embedding: text.vector.as_deref(),
        }
    };
    answers.texts.iter().map(body).collect()
}
