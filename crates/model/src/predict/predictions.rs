//! What heads answer: logits, probabilities, and what they mean.

use polyhead_text::{TextTokens, tag_spans};

use crate::heads::soft_max;
use crate::heads::{HeadSpec, TaskKind};
use crate::predict::text_answer::{Answer, TaskAnswer};
use crate::predict::text_words::TextWords;
use crate::sentence::Matrix;
use crate::sentence::{OnTruncate, Prompt};

/// Multi-label: the threshold of labels without one.
const THRESHOLD: f32 = 0.5;

/// The tag of words that the model does not see.
const OUTSIDE: &str = "O";

/// How [`MultiTaskModel`](crate::MultiTaskModel) answers.
#[derive(Clone, Debug, Default)]
pub struct PredictOptions {
    /// The tasks that are answered; absent: all.
    pub tasks: Option<Vec<String>>,
    /// Put before each text.
    pub prompt: Prompt,
    /// For texts that are too long.
    pub on_truncate: OnTruncate,
    /// Whether sentence vectors are given as well.
    pub embeddings: bool,
    /// Classification: an answer less probable than this is withheld.
    pub abstain: Option<f32>,
}

/// What is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PredictInput<'a> {
    /// A text as it is. Words to be tagged are found in it by
    /// [`split_words`](polyhead_text::split_words).
    Text(&'a str),
    /// Words; the text is these, joined by one blank
    /// ([`join_words`](polyhead_text::join_words)), and offsets count in it.
    Words(&'a [String]),
}

/// TaskAnswers to some texts, all from one pass of the encoder.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predictions {
    /// Token counts before and after cutting, one per text.
    pub texts: Vec<TextTokens>,
    /// `[texts, dimension]`, if they were asked for.
    pub embeddings: Option<Matrix>,
    /// One per task that was asked for, in the order of the model.
    pub tasks: Vec<TaskPredictions>,
}

/// TaskAnswers of one task.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskPredictions {
    /// The task's name.
    pub name: String,
    /// The head's labels, in the order of the columns below; empty for regression.
    pub labels: Vec<String>,
    /// `[texts, labels]`; for regression `[texts, 1]`; for tagging `[words, labels]`
    /// of all words that the model saw: see [`TaggedWord::row`].
    pub logits: Matrix,
    /// As `logits`, after the head's temperature: softmax over the labels, for
    /// multi-label each by itself. Regression has none: `[texts, 0]`.
    pub probabilities: Matrix,
    /// What the numbers mean.
    pub answers: TaskAnswers,
}

/// TaskAnswers of one task, one per text.
#[derive(Clone, Debug, PartialEq)]
pub enum TaskAnswers {
    /// One of several labels.
    Classification(Vec<ClassAnswer>),
    /// Those labels whose probability reaches their threshold, in the order of the labels.
    MultiLabel(Vec<Vec<LabelScore>>),
    /// A number.
    Regression(Vec<f32>),
    /// Words with their tags, and the spans that they form.
    Tokens(Vec<TaggedText>),
}

/// A label and how probable it is.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelScore {
    /// Its place in [`TaskPredictions::labels`].
    pub index: usize,
    /// Its name.
    pub label: String,
    /// Between 0 and 1.
    pub probability: f32,
}

/// The answer of a classification.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassAnswer {
    /// The most probable label; of equal ones the first.
    pub best: LabelScore,
    /// Whether it is less probable than [`PredictOptions::abstain`] asks for.
    pub abstained: bool,
}

impl ClassAnswer {
    /// The label, unless the answer is withheld.
    pub fn label(&self) -> Option<&str> {
        (!self.abstained).then_some(&self.best.label)
    }
}

/// A text with tags.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaggedText {
    /// In the order of the text.
    pub words: Vec<TaggedWord>,
    /// In the order of the text, by the rules of [`tag_spans`].
    pub spans: Vec<TextSpan>,
}

/// A word with its tag. Offsets are characters (Unicode scalar values).
#[derive(Clone, Debug, PartialEq)]
pub struct TaggedWord {
    /// Its first character.
    pub start: usize,
    /// One past its last character.
    pub end: usize,
    /// The most probable tag; `O` for a word that the model did not see.
    pub tag: String,
    /// How probable the tag is.
    pub probability: Option<f32>,
    /// The word's row in [`TaskPredictions::logits`]; `None` if the model did not
    /// see it: it was cut off, or the tokenizer has no token for it.
    pub row: Option<usize>,
}

/// Neighbouring words that belong together. Offsets are characters.
#[derive(Clone, Debug, PartialEq)]
pub struct TextSpan {
    /// Without `B-` and `I-`.
    pub label: String,
    /// Its first character.
    pub start: usize,
    /// One past its last character.
    pub end: usize,
    /// The text between the two.
    pub text: String,
    /// Its first word, counted from 0.
    pub first_word: usize,
    /// Its last word.
    pub last_word: usize,
    /// The mean probability of its words' tags.
    pub score: f32,
}

impl Predictions {
    /// Appends the answers to further texts, asked in the same way.
    pub(crate) fn append(&mut self, other: Self) {
        if self.texts.is_empty() && self.tasks.is_empty() {
            *self = other;
            return;
        }
        self.texts.extend(other.texts);
        if let (Some(mine), Some(others)) = (&mut self.embeddings, other.embeddings) {
            append_rows(mine, others);
        }
        for (mine, other) in self.tasks.iter_mut().zip(other.tasks) {
            mine.append(other);
        }
    }
}

impl TaskPredictions {
    /// - `logits`: `[rows, outputs]`, all finite
    /// - `words`: one per text, for tagging
    pub(crate) fn new(
        spec: &HeadSpec,
        logits: Vec<f32>,
        words: &[TextWords],
        abstain: Option<f32>,
    ) -> Self {
        let (logits, probabilities, answers) = interpret(spec, logits, words, abstain);
        let labels = spec.labels.clone();
        Self { name: spec.name.clone(), labels, logits, probabilities, answers }
    }

    fn append(&mut self, other: Self) {
        let before = self.logits.rows();
        append_rows(&mut self.logits, other.logits);
        append_rows(&mut self.probabilities, other.probabilities);
        match (&mut self.answers, other.answers) {
            (TaskAnswers::Classification(mine), TaskAnswers::Classification(others)) => {
                mine.extend(others)
            }
            (TaskAnswers::MultiLabel(mine), TaskAnswers::MultiLabel(others)) => mine.extend(others),
            (TaskAnswers::Regression(mine), TaskAnswers::Regression(others)) => mine.extend(others),
            (TaskAnswers::Tokens(mine), TaskAnswers::Tokens(others)) => {
                mine.extend(others.into_iter().map(|mut text| {
                    for row in text.words.iter_mut().filter_map(|word| word.row.as_mut()) {
                        *row += before;
                    }
                    text
                }));
            }
            _ => unreachable!("answers of the same head are of the same kind"),
        }
    }
}

impl TaskAnswer {
    /// - `task`: the head's place
    /// - `logits`: `[rows, outputs]` of one text, all finite
    /// - `words`: the text's, for tagging
    pub(crate) fn new(task: usize, spec: &HeadSpec, logits: Vec<f32>, words: &[TextWords]) -> Self {
        let (logits, probabilities, answers) = interpret(spec, logits, words, None);
        let answer = match answers {
            TaskAnswers::Classification(mut texts) => texts.pop().map(Answer::Classification),
            TaskAnswers::MultiLabel(mut texts) => texts.pop().map(Answer::MultiLabel),
            TaskAnswers::Regression(mut texts) => texts.pop().map(Answer::Regression),
            TaskAnswers::Tokens(mut texts) => texts.pop().map(Answer::Tokens),
        };
        let answer = answer.expect("a text has one row, or words");
        Self { task, logits, probabilities, answer }
    }
}

/// Logits `[rows, outputs]` as a matrix, their probabilities, and what these mean.
fn interpret(
    spec: &HeadSpec,
    logits: Vec<f32>,
    words: &[TextWords],
    abstain: Option<f32>,
) -> (Matrix, Matrix, TaskAnswers) {
    let outputs = spec.outputs();
    let logits = Matrix::new(logits.len() / outputs, outputs, logits);
    let probabilities = probabilities(spec, &logits);
    let labels = &spec.labels;
    let rows = 0..logits.rows();
    let answers = match spec.kind {
        TaskKind::Classification => TaskAnswers::Classification(
            rows.map(|row| {
                let best = best(labels, probabilities.row(row));
                let abstained = abstain.is_some_and(|least| best.probability < least);
                ClassAnswer { best, abstained }
            })
            .collect(),
        ),
        TaskKind::MultiLabel => TaskAnswers::MultiLabel(
            rows.map(|row| above_threshold(spec, probabilities.row(row))).collect(),
        ),
        TaskKind::Regression => TaskAnswers::Regression(logits.as_slice().to_vec()),
        TaskKind::Tokens => {
            let mut row = 0;
            let tagged = words.iter().map(|text| tag(labels, text, &probabilities, &mut row));
            TaskAnswers::Tokens(tagged.collect())
        }
    };
    (logits, probabilities, answers)
}

fn append_rows(mine: &mut Matrix, others: Matrix) {
    let (rows, columns) = (mine.rows() + others.rows(), mine.columns());
    let mut values = std::mem::take(mine).into_vec();
    values.extend(others.into_vec());
    *mine = Matrix::new(rows, columns, values);
}

/// Never NaN: the logits are finite, and the temperature is above 0.
fn probabilities(spec: &HeadSpec, logits: &Matrix) -> Matrix {
    let temperature = spec.temperature;
    let rows = (0..logits.rows()).map(|row| logits.row(row));
    let values: Vec<f32> = match spec.kind {
        TaskKind::Regression => return Matrix::new(logits.rows(), 0, Vec::new()),
        TaskKind::MultiLabel => {
            logits.as_slice().iter().map(|x| sigmoid(x / temperature)).collect()
        }
        TaskKind::Classification | TaskKind::Tokens => rows
            .flat_map(|row| {
                let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                // The largest becomes 0 before the division, which may overflow.
                let scaled: Vec<f32> = row.iter().map(|x| (x - largest) / temperature).collect();
                soft_max(&scaled)
            })
            .collect(),
    };
    Matrix::new(logits.rows(), logits.columns(), values)
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

fn best(labels: &[String], probabilities: &[f32]) -> LabelScore {
    let mut index = 0;
    for (other, probability) in probabilities.iter().enumerate() {
        if *probability > probabilities[index] {
            index = other;
        }
    }
    LabelScore { index, label: labels[index].clone(), probability: probabilities[index] }
}

fn above_threshold(spec: &HeadSpec, probabilities: &[f32]) -> Vec<LabelScore> {
    let scores = spec.labels.iter().zip(probabilities).enumerate();
    scores
        .filter(|(index, (_, probability))| {
            **probability >= spec.thresholds.get(*index).copied().unwrap_or(THRESHOLD)
        })
        .map(|(index, (label, probability))| LabelScore {
            index,
            label: label.clone(),
            probability: *probability,
        })
        .collect()
}

/// - `row`: the next row of `probabilities`
fn tag(labels: &[String], text: &TextWords, probabilities: &Matrix, row: &mut usize) -> TaggedText {
    let words: Vec<TaggedWord> = text
        .places
        .iter()
        .zip(&text.tokens)
        .map(|(place, token)| {
            let seen = token.map(|_| {
                *row += 1;
                (*row - 1, best(labels, probabilities.row(*row - 1)))
            });
            TaggedWord {
                start: place.start,
                end: place.end,
                row: seen.as_ref().map(|(row, _)| *row),
                probability: seen.as_ref().map(|(_, best)| best.probability),
                tag: seen.map_or_else(|| OUTSIDE.to_owned(), |(_, best)| best.label),
            }
        })
        .collect();
    let spans = tag_spans(words.iter().map(|word| word.tag.as_str()))
        .into_iter()
        .map(|span| {
            let inside = &words[span.first..=span.last];
            let (start, end) = (inside[0].start, inside[inside.len() - 1].end);
            let scores = inside.iter().filter_map(|word| word.probability);
            TextSpan {
                label: span.label.to_owned(),
                start,
                end,
                text: text.text.chars().skip(start).take(end - start).collect(),
                first_word: span.first,
                last_word: span.last,
                score: scores.sum::<f32>() / inside.len() as f32,
            }
        })
        .collect();
    TaggedText { words, spans }
}

#[cfg(test)]
mod tests {
    use polyhead_compute::Activation;

    use super::*;
    use crate::heads::{HeadInput, HeadLayer};
    use crate::modules::{PoolingMode, PoolingSpec};

    fn spec(kind: TaskKind, labels: &[&str]) -> HeadSpec {
        HeadSpec {
            name: "task".into(),
            kind,
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            pooling: PoolingSpec { modes: vec![PoolingMode::Mean], include_prompt: true },
            input: HeadInput::Pooled,
            layer: HeadLayer::Last,
            hidden: None,
            activation: Activation::Gelu,
            dropout: 0.0,
            temperature: 2.0,
            thresholds: vec![],
        }
    }

    #[test]
    fn temperature_softmax_and_abstaining() {
        let spec = spec(TaskKind::Classification, &["a", "b"]);
        let logits = vec![0.0, 2.0 * 3f32.ln(), 5.0, 5.0];
        let found = TaskPredictions::new(&spec, logits, &[], Some(0.6));
        for (found, expected) in found.probabilities.as_slice().iter().zip([0.25, 0.75, 0.5, 0.5]) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
        let TaskAnswers::Classification(answers) = &found.answers else { panic!() };
        assert_eq!((answers[0].label(), answers[0].best.index), (Some("b"), 1));
        // Of equal ones the first, and 0.5 is below 0.6.
        assert_eq!((answers[1].label(), answers[1].best.label.as_str()), (None, "a"));
    }

    #[test]
    fn every_label_has_its_threshold() {
        let mut spec = spec(TaskKind::MultiLabel, &["a", "b", "c"]);
        let labels = |spec: &HeadSpec| {
            let found = TaskPredictions::new(spec, vec![0.0, -0.1, 9.0], &[], None);
            let TaskAnswers::MultiLabel(answers) = found.answers else { panic!() };
            answers[0].iter().map(|score| score.label.clone()).collect::<Vec<_>>()
        };
        assert_eq!(labels(&spec), ["a", "c"]);
        spec.thresholds = vec![0.6, 0.3, 1.0];
        assert_eq!(labels(&spec), ["b"]);
    }

    #[test]
    fn probabilities_of_extreme_logits_are_numbers() {
        for kind in [TaskKind::Classification, TaskKind::MultiLabel] {
            let mut spec = spec(kind, &["a", "b"]);
            spec.temperature = f32::from_bits(1);
            let logits = vec![f32::MAX, f32::MIN, 0.0, -0.0];
            let found = TaskPredictions::new(&spec, logits, &[], None).probabilities;
            assert_eq!(found.row(0), [1.0, 0.0], "{kind}");
            assert_eq!(found.row(1), [0.5, 0.5], "{kind}");
        }
    }

    #[test]
    fn words_that_were_not_seen_are_outside() {
        let spec = spec(TaskKind::Tokens, &["O", "B-x", "I-x"]);
        let words = TextWords {
            text: "é fünf sechs zwölf".into(),
            places: vec![0..1, 2..6, 7..12, 13..18],
            tokens: vec![Some(1), Some(2), Some(3), None],
        };
        let logits = vec![4.0, 0.0, 0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 8.0];
        let mut found =
            TaskPredictions::new(&spec, logits.clone(), std::slice::from_ref(&words), None);
        let TaskAnswers::Tokens(texts) = &found.answers else { panic!() };
        let tags: Vec<&str> = texts[0].words.iter().map(|word| word.tag.as_str()).collect();
        assert_eq!(tags, ["O", "B-x", "I-x", "O"]);
        assert_eq!(texts[0].words[3].probability, None);
        let [span] = &texts[0].spans[..] else { panic!("{:?}", texts[0].spans) };
        assert_eq!((span.start, span.end, span.text.as_str()), (2, 12, "fünf sechs"));
        let mean = (found.probabilities.row(1)[1] + found.probabilities.row(2)[2]) / 2.0;
        assert_eq!((span.label.as_str(), span.score), ("x", mean));

        found.append(TaskPredictions::new(&spec, logits, &[words], None));
        let TaskAnswers::Tokens(texts) = &found.answers else { panic!() };
        let rows: Vec<Option<usize>> = texts[1].words.iter().map(|word| word.row).collect();
        assert_eq!((rows, found.logits.rows()), (vec![Some(3), Some(4), Some(5), None], 6));
    }
}
