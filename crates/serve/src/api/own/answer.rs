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
    /// True if the text was truncated.
    truncated: bool,
    /// Answers by task, in the order of the model.
    #[schema(value_type = std::collections::BTreeMap<String, TaskAnswerBody>)]
    tasks: TaskBodies<'a>,
    /// The sentence vector, if `tasks` has `embedding`.
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding: Option<&'a [f32]>,
}

/// The answers for all texts.
///
/// - `of_words`: `[texts]`: whether the text was given as words
pub(crate) fn bodies<'a>(answers: &'a EngineReply, of_words: &[bool]) -> Vec<TextAnswerBody<'a>> {
    let body = |(text, of_words): (&'a TextAnswer, &bool)| {
        let tasks = answers.tasks().zip(&text.tasks).map(|(head, found)| {
            let mut body = TaskAnswerBody::new(head, found);
            if *of_words {
                body.add_words(found);
            }
            (&*head.name, body)
        });
        TextAnswerBody {
            tokens: text.tokens.total,
            truncated: text.tokens.truncated(),
            tasks: TaskBodies(tasks.collect()),
            embedding: text.vector.as_deref(),
        }
    };
    answers.texts.iter().zip(of_words).map(body).collect()
}
