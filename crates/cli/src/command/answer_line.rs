//! The line of JSON that `predict` prints for a text.

use std::borrow::Cow;

use anyhow::Result;
use polyhead_model::{Answer, HeadSpec, RowWords, TaskAnswer, TextAnswer};
use polyhead_serve::answer_body::{TaskAnswerBody, TaskBodies};
use serde::Serialize;

use crate::output::write_line;

/// The keys of [`Own`].
const KEYS: [&str; 4] = ["text", "tokens", "truncated", "tasks"];

/// A row of the input.
pub(super) struct Row<'a> {
    pub(super) text: &'a str,
    /// Second text of a pair.
    pub(super) second: Option<&'a str>,
    /// Names and JSON values of the row's other fields; no name comes twice.
    pub(super) columns: &'a [(String, String)],
    /// The words that the model read in place of the text.
    pub(super) words: Option<&'a RowWords>,
}

/// Appends the line of `row`.
///
/// - `heads`: heads of the tasks in `found`
pub(super) fn answer_line(
    line: &mut Vec<u8>,
    row: &Row,
    heads: &[HeadSpec],
    found: &TextAnswer,
) -> Result<()> {
    let tasks = heads.iter().zip(&found.tasks);
    let tasks = tasks.map(|(head, task)| Ok((head.name.as_str(), body(head, task, row)?)));
    let own = Own {
        text: row
            .second
            .map_or(InputText::One(row.text), |second| InputText::Pair(row.text, second)),
        tokens: found.tokens.total,
        truncated: found.tokens.truncated(),
        tasks: TaskBodies(tasks.collect::<Result<_>>()?),
    };
    Ok(write_line(line, row.columns, &own, &KEYS)?)
}

/// The text as the input has it.
#[derive(Serialize)]
#[serde(untagged)]
enum InputText<'a> {
    One(&'a str),
    Pair(&'a str, &'a str),
}

/// The keys that Polyhead sets.
#[derive(Serialize)]
struct Own<'a> {
    text: InputText<'a>,
    /// Number of tokens of the whole text, even if `truncated` says that some were cut.
    tokens: usize,
    truncated: bool,
    tasks: TaskBodies<'a>,
}

/// Builds the JSON body of an answer and moves its offsets from the joined words to the row's text.
pub(super) fn body<'a>(
    head: &'a HeadSpec,
    found: &'a TaskAnswer,
    row: &Row,
) -> Result<TaskAnswerBody<'a>> {
    let mut body = TaskAnswerBody::new(head, found);
    if row.words.is_some() {
        body.add_words(found);
    }
    if let (
        TaskAnswerBody::Tokens { spans, words: tagged_words },
        Answer::Tokens(tagged),
        Some(words),
    ) = (&mut body, &found.answer, row.words)
    {
        for (body, span) in spans.iter_mut().zip(&tagged.spans) {
            body.start = words.in_text[span.first_word].start;
            body.end = words.in_text[span.last_word].end;
            let text = row.text.chars().skip(body.start).take(body.end - body.start);
            body.text = Cow::Owned(text.collect());
        }
        for (body, place) in tagged_words.iter_mut().flatten().zip(&words.in_text) {
            (body.start, body.end) = (place.start, place.end);
        }
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use polyhead_model::{ClassAnswer, LabelScore, Matrix, TaggedText, TextSpan};
    use polyhead_text::TextTokens;

    use super::*;

    fn predictions() -> (Vec<HeadSpec>, TextAnswer) {
        let score = |index, label: &str, probability| LabelScore {
            index,
            label: label.into(),
            probability,
        };
        let task = |name: &str, labels: &[&str], probabilities: &[f32], answer: Answer| {
            let kind = match &answer {
                Answer::Classification(_) => "classification",
                Answer::MultiLabel(_) => "multilabel",
                Answer::Regression(_) => "regression",
                Answer::Tokens(_) => "tokens",
            };
            let head = HeadSpec::new(name, kind.parse().unwrap(), labels);
            let numbers = Matrix::new(1, probabilities.len(), probabilities.to_vec());
            let (logits, probabilities) = (numbers.clone(), numbers);
            (head, TaskAnswer { task: 0, logits, probabilities, answer })
        };
        let span = TextSpan {
            label: "dish".into(),
            start: 4,
            end: 8,
            text: "soup".into(),
            first_word: 1,
            last_word: 1,
            score: 0.5,
        };
        let class = ClassAnswer { best: score(1, "food", 0.75), abstained: false };
        let withheld = ClassAnswer { best: score(0, "bad", 0.5), abstained: true };
        let tagged = TaggedText { words: vec![], spans: vec![span] };
        let (heads, tasks) = [
            task("topic", &["film", "food"], &[0.25, 0.75], Answer::Classification(class)),
            task("mood", &["bad"], &[0.5], Answer::Classification(withheld)),
            task("tags", &["a", "b"], &[0.1, 0.9], Answer::MultiLabel(vec![score(1, "b", 0.9)])),
            task("urgency", &[], &[1.5], Answer::Regression(1.5)),
            task("dishes", &["O", "B-dish"], &[0.5, 0.5], Answer::Tokens(tagged)),
        ]
        .into_iter()
        .unzip();
        let tokens = TextTokens { total: 9, kept: 6 };
        (heads, TextAnswer { tokens, tasks, vector: None, token_vectors: None })
    }

    #[test]
    fn columns_then_ours_then_every_task() {
        let columns = [("id".to_owned(), "07.50".to_owned()), ("tokens".into(), "[1]".into())];
        let words = ["the", "soup"].map(str::to_owned).to_vec();
        let words = RowWords { words, in_text: vec![0..3, 5..9] };
        let row = Row { text: "the  soup", second: None, columns: &columns, words: Some(&words) };
        let mut line = Vec::new();
        let (heads, found) = predictions();
        answer_line(&mut line, &row, &heads, &found).unwrap();
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "{\"id\":07.50,\"input_tokens\":[1],\"text\":\"the  soup\",\"tokens\":9,\
             \"truncated\":true,\"tasks\":{\
             \"topic\":{\"label\":\"food\",\"probability\":0.75,\
             \"probabilities\":{\"film\":0.25,\"food\":0.75}},\
             \"mood\":{\"label\":null,\"probability\":0.5,\"probabilities\":{\"bad\":0.5}},\
             \"tags\":{\"labels\":[\"b\"],\"probabilities\":{\"a\":0.1,\"b\":0.9}},\
             \"urgency\":{\"value\":1.5},\
             \"dishes\":{\"spans\":[{\"label\":\"dish\",\"start\":5,\"end\":9,\"text\":\"soup\",\
             \"score\":0.5,\"first_word\":1,\"last_word\":1}]}}}\n"
        );
    }
}
