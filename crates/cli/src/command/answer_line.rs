//! The line of JSON that `predict` prints for a text.

use std::borrow::Cow;

use anyhow::{Result, anyhow};
use polyhead_model::{Predictions, TaskAnswers, TaskPredictions, TextSpan};
use polyhead_serve::answer_body::{Probabilities, SpanBody, TaskAnswerBody, TaskBodies};
use polyhead_text::locate_words;
use serde::Serialize;

/// Keys of a line that are ours; columns of these names get [`PREFIX`].
const OURS: [&str; 4] = ["text", "tokens", "truncated", "tasks"];

const PREFIX: &str = "input_";

/// A text that was asked about.
pub(super) struct Row<'a> {
    /// Its place among the predictions.
    pub(super) index: usize,
    pub(super) text: &'a str,
    /// Names and JSON values of the row's other fields; no name comes twice.
    pub(super) columns: &'a [(String, String)],
    /// The words that the model was asked about in place of the text.
    pub(super) words: Option<&'a [String]>,
}

/// Appends the line of `row`.
pub(super) fn answer_line(line: &mut Vec<u8>, row: &Row, answers: &Predictions) -> Result<()> {
    line.push(b'{');
    for (name, value) in row.columns {
        serde_json::to_writer(&mut *line, &*key(name, row.columns))?;
        line.push(b':');
        line.extend_from_slice(value.as_bytes());
        line.push(b',');
    }
    let counts = &answers.texts[row.index];
    let tasks = TaskBodies(
        answers
            .tasks
            .iter()
            .map(|task| Ok((task.name.as_str(), answer(task, row)?)))
            .collect::<Result<_>>()?,
    );
    let own = Own { text: row.text, tokens: counts.total, truncated: counts.truncated(), tasks };
    let own = serde_json::to_vec(&own)?;
    // Without its own opening brace.
    line.extend_from_slice(&own[1..]);
    line.push(b'\n');
    Ok(())
}

/// The key of column `name`: another name where that is ours, and one that no
/// other column has.
fn key<'a>(name: &'a str, columns: &[(String, String)]) -> Cow<'a, str> {
    let mut key = Cow::Borrowed(name);
    if OURS.contains(&name) {
        key = Cow::Owned(format!("{PREFIX}{name}"));
        while columns.iter().any(|(other, _)| *other == *key) {
            key.to_mut().insert_str(0, PREFIX);
        }
    }
    key
}

/// Our part of the line.
#[derive(Serialize)]
struct Own<'a> {
    text: &'a str,
    /// Of the whole text, also where `truncated` says that some were cut.
    tokens: usize,
    truncated: bool,
    tasks: TaskBodies<'a>,
}

fn answer<'a>(task: &'a TaskPredictions, row: &Row) -> Result<TaskAnswerBody<'a>> {
    let probabilities =
        || Probabilities { labels: &task.labels, values: task.probabilities.row(row.index) };
    Ok(match &task.answers {
        TaskAnswers::Classification(all) => {
            let answer = &all[row.index];
            TaskAnswerBody::Classification {
                label: answer.label(),
                probability: answer.best.probability,
                probabilities: probabilities(),
            }
        }
        TaskAnswers::MultiLabel(all) => TaskAnswerBody::MultiLabel {
            labels: all[row.index].iter().map(|score| score.label.as_str()).collect(),
            probabilities: probabilities(),
        },
        TaskAnswers::Regression(all) => TaskAnswerBody::Regression { value: all[row.index] },
        TaskAnswers::Tokens(all) => {
            TaskAnswerBody::Tokens { spans: spans(&all[row.index].spans, row)? }
        }
    })
}

/// The model's offsets count in the words joined by blanks; here they count in
/// the text as it was given.
fn spans<'a>(found: &'a [TextSpan], row: &Row) -> Result<Vec<SpanBody<'a>>> {
    let places = match row.words {
        None => None,
        Some(words) => Some(locate_words(row.text, words).map_err(|index| {
            anyhow!(
                "word {} `{}`: not in the text after the words before it",
                index + 1,
                words[index]
            )
        })?),
    };
    Ok(found
        .iter()
        .map(|span| {
            let (start, end) = match &places {
                Some(places) => (places[span.first_word].start, places[span.last_word].end),
                None => (span.start, span.end),
            };
            let text: String = row.text.chars().skip(start).take(end - start).collect();
            SpanBody { label: &span.label, start, end, text: text.into(), score: span.score }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use polyhead_model::{ClassAnswer, LabelScore, Matrix, TaggedText};
    use polyhead_text::TextTokens;

    use super::*;

    fn predictions() -> Predictions {
        let labels = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect();
        let score = |index, label: &str, probability| LabelScore {
            index,
            label: label.into(),
            probability,
        };
        let task =
            |name: &str, labels: Vec<String>, probabilities: &[f32], answers| TaskPredictions {
                name: name.into(),
                logits: Matrix::new(1, probabilities.len(), probabilities.to_vec()),
                probabilities: Matrix::new(1, probabilities.len(), probabilities.to_vec()),
                labels,
                answers,
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
        Predictions {
            texts: vec![TextTokens { total: 9, kept: 6 }],
            embeddings: None,
            tasks: vec![
                task(
                    "topic",
                    labels(&["film", "food"]),
                    &[0.25, 0.75],
                    TaskAnswers::Classification(vec![class]),
                ),
                task("mood", labels(&["bad"]), &[0.5], TaskAnswers::Classification(vec![withheld])),
                task(
                    "tags",
                    labels(&["a", "b"]),
                    &[0.1, 0.9],
                    TaskAnswers::MultiLabel(vec![vec![score(1, "b", 0.9)]]),
                ),
                task("urgency", vec![], &[1.5], TaskAnswers::Regression(vec![1.5])),
                task(
                    "dishes",
                    labels(&["O", "B-dish"]),
                    &[0.5, 0.5],
                    TaskAnswers::Tokens(vec![TaggedText { words: vec![], spans: vec![span] }]),
                ),
            ],
        }
    }

    #[test]
    fn columns_then_ours_then_every_task() {
        let columns = [("id".to_owned(), "07.50".to_owned()), ("tokens".into(), "[1]".into())];
        let words = ["the", "soup"].map(str::to_owned);
        let row = Row { index: 0, text: "the  soup", columns: &columns, words: Some(&words) };
        let mut line = Vec::new();
        answer_line(&mut line, &row, &predictions()).unwrap();
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
             \"score\":0.5}]}}}\n"
        );
    }

    #[test]
    fn no_key_comes_twice() {
        let keys = |names: &[&str]| -> Vec<String> {
            let columns: Vec<(String, String)> =
                names.iter().map(|name| ((*name).to_owned(), "1".to_owned())).collect();
            columns.iter().map(|(name, _)| key(name, &columns).into_owned()).collect()
        };
        assert_eq!(keys(&["id", "tokens"]), ["id", "input_tokens"]);
        assert_eq!(keys(&["input_text", "text"]), ["input_text", "input_input_text"]);
        assert_eq!(
            keys(&["tasks", "input_tasks", "input_input_tasks", "tokens", "input_"]),
            [
                "input_input_input_tasks",
                "input_tasks",
                "input_input_tasks",
                "input_tokens",
                "input_"
            ]
        );
    }

    #[test]
    fn words_that_are_not_in_the_text_are_named() {
        let words = ["the", "soap"].map(str::to_owned);
        let row = Row { index: 0, text: "the soup", columns: &[], words: Some(&words) };
        let error = answer_line(&mut Vec::new(), &row, &predictions()).unwrap_err();
        assert!(error.to_string().starts_with("word 2 `soap`: not in the text"), "{error}");
    }
}
