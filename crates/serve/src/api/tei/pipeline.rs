//! Answers of one task in the formats of Hugging Face's Inference API: text classification and
//! token classification, as `huggingface_hub` reads them.

use std::sync::Arc;

use polyhead_model::{HeadSpec, MultiTaskModel, TaggedText, TaskKind};
use polyhead_text::{TagScheme, TextInput};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::predict::{Prediction, classifies_texts, reserve_labels, scores};
use super::root::RootAnswer;
use crate::api::engine_call::call_engine;
use crate::api::inputs::{Inputs, check_texts};
use crate::api::one_or_many::OneOrMany;
use crate::http::answer::{JsonAnswer, to_json};
use crate::http::app::App;
use crate::http::errors::{ApiError, ApiErrorKind};
use crate::{Answer, EngineRequest, InputText, OnTruncate, Prompt, RequestOptions, TaskAnswer};

/// Label of words outside of spans.
const OUTSIDE: &str = "O";

/// Parameters of a text classification (`top_k`, `function_to_apply`) or of a token classification
/// (`aggregation_strategy`, `ignore_labels`). Others are an error.
#[derive(Debug, Default, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(crate) struct PipelineParameters {
    /// Number of labels to keep, best first. Without this field, all.
    #[schema(minimum = 1)]
    top_k: Option<usize>,
    function_to_apply: Option<ScoreFunction>,
    aggregation_strategy: Option<AggregationStrategy>,
    /// Labels that are left out; without this field, `O`.
    ignore_labels: Option<Vec<String>>,
}

/// Function that makes scores of logits. Without it, it is the one that fits the task.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ScoreFunction {
    /// The function of a multi-label task; an error for others.
    Sigmoid,
    /// The function of a classification; an error for others.
    Softmax,
    /// No function: scores are logits.
    None,
}

/// Rule by which tagged words are put together. Heads tag whole words by their first token.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AggregationStrategy {
    /// Every word on its own, with its tag, such as `B-PER`.
    None,
    /// Spans of words.
    #[default]
    Simple,
    /// The same as `simple`.
    First,
    /// Not supported: only the first token of a word has a score.
    Average,
    /// Not supported: only the first token of a word has a score.
    Max,
}

/// A span of words, or a word.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct TokenGroup<'a> {
    /// Label of a span.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    entity_group: Option<&'a str>,
    /// Tag of a word, with the strategy `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    entity: Option<&'a str>,
    /// Probability of the tag; that of a span is the mean of its words.
    score: f32,
    /// The characters from `start` to `end`.
    word: &'a str,
    /// Index of the first character (Unicode scalar value).
    start: usize,
    /// Index after the last character.
    end: usize,
}

/// Answers a request about a task.
///
/// - `task`: the task that the request names
pub(super) async fn answer(
    app: Arc<App>,
    inputs: Inputs,
    task: Option<String>,
    parameters: PipelineParameters,
    on_truncate: OnTruncate,
    prompt: Prompt,
) -> Result<JsonAnswer, ApiError> {
    let model = app.engine.model();
    let task = choose(&model, task, &parameters)?;
    let is_one = matches!(inputs.0, OneOrMany::One(_));
    let texts = check_texts(&app, inputs.0.into_vec(), "inputs")?;
    let memory = reserve_labels(&app, &model, &task, texts.len(), parameters.top_k)?;
    // Words are cut out of the texts when the answer is written.
    let is_plain = |spec: &HeadSpec| spec.name == task && spec.tag_scheme() == TagScheme::Plain;
    let by_word = parameters.aggregation_strategy == Some(AggregationStrategy::None)
        || model.tasks().any(is_plain);
    let kept = if by_word { texts.clone() } else { Vec::new() };
    let options =
        RequestOptions { tasks: Some(vec![task]), prompt, on_truncate, ..Default::default() };
    let engine_request = EngineRequest { texts, options, ..EngineRequest::default() };
    let (reply, stats) = call_engine(&app, engine_request, None, "inputs").await?;
    let write = move || {
        let spec = reply.tasks().next().expect("one task was asked for");
        let found = reply.texts.iter().filter_map(|text| text.tasks.first());
        if !spec.kind.reads_words() {
            let labels = found.map(|found| parameters.labels(spec, found)).collect();
            return to_json(&RootAnswer::Labels(labels));
        }
        let mut kept = kept.iter();
        let mut spans = found.map(|found| match (&found.answer, kept.next()) {
            (Answer::Tokens(tagged), Some(InputText::Text(TextInput::One(text)))) => {
                parameters.words(tagged, text)
            }
            (Answer::Tokens(tagged), _) => parameters.spans(tagged),
            _ => Vec::new(),
        });
        to_json(&if is_one {
            RootAnswer::Spans(spans.next().unwrap_or_default())
        } else {
            RootAnswer::ManySpans(spans.collect())
        })
    };
    JsonAnswer::new(app, memory, stats, write).await
}

/// Returns true if exactly one task of the model has labels or spans.
pub(super) fn has_one_task(model: &MultiTaskModel) -> bool {
    model.tasks().filter(|spec| spec.kind.has_labels()).count() == 1
}

/// The task of a request: the one that it names, or the only one that fits its parameters.
fn choose(
    model: &MultiTaskModel,
    named: Option<String>,
    parameters: &PipelineParameters,
) -> Result<String, ApiError> {
    let refuse = |message| Err(ApiError::new(ApiErrorKind::Value, message));
    if let Some(name) = named {
        // The engine refuses an unknown task, and the error lists the known ones.
        return match model.tasks().find(|spec| spec.name == name) {
            Some(spec) => parameters.check(spec).map_or_else(refuse, |()| Ok(name)),
            None => Ok(name),
        };
    }
    let with_labels = || model.tasks().filter(|spec| spec.kind.has_labels());
    let mut fits = with_labels().filter(|spec| parameters.check(spec).is_ok());
    match (fits.next(), fits.next()) {
        (Some(only), None) => Ok(only.name.clone()),
        (Some(first), Some(_)) => {
            let names: Vec<_> =
                with_labels().map(|spec| format!("`{}` ({})", spec.name, spec.kind)).collect();
            refuse(format!(
                "task: expected one in the address, such as `/?task={}`, because several fit the \
                 parameters; the model has {}",
                first.name,
                names.join(", ")
            ))
        }
        (None, _) => match with_labels().next().map(|spec| parameters.check(spec)) {
            Some(Err(message)) => refuse(message),
            _ => {
                let expected = TaskKind::names_of(TaskKind::has_labels);
                let message = format!(
                    "model: expected a task of kind {expected}, it has none; vectors need no \
                     `parameters`"
                );
                Err(ApiError::new(ApiErrorKind::Unsupported, message))
            }
        },
    }
}

impl PipelineParameters {
    /// Checks that the task can be asked with these parameters.
    fn check(&self, spec: &HeadSpec) -> Result<(), String> {
        let HeadSpec { name, kind, .. } = spec;
        if !kind.has_labels() {
            let expected = TaskKind::names_of(TaskKind::has_labels);
            return Err(format!(
                "task `{name}`: expected {expected}, found {kind}; use /v1/predict"
            ));
        }
        let (expected, others) = if kind.reads_words() {
            let others = [
                ("top_k", self.top_k.is_some()),
                ("function_to_apply", self.function_to_apply.is_some()),
            ];
            (TaskKind::names_of(classifies_texts), others)
        } else {
            let others = [
                ("aggregation_strategy", self.aggregation_strategy.is_some()),
                ("ignore_labels", self.ignore_labels.is_some()),
            ];
            (TaskKind::names_of(TaskKind::reads_words), others)
        };
        if let Some((parameter, _)) = others.iter().find(|(_, is_given)| *is_given) {
            return Err(format!(
                "{parameter}: applies to {expected}, found it for task `{name}` of kind {kind}"
            ));
        }
        self.check_values(spec)
    }

    /// Checks the values of the parameters for a task that has them.
    fn check_values(&self, spec: &HeadSpec) -> Result<(), String> {
        if self.top_k == Some(0) {
            return Err("top_k: expected 1 or more, found 0".to_owned());
        }
        if self.function_to_apply.is_some() && !spec.has_label_logits() {
            return Err(format!(
                "function_to_apply: expected no such parameter for task `{}` of kind {}, whose logits \
                 are not those of single labels",
                spec.name, spec.kind
            ));
        }
        let unfit = match (self.function_to_apply, spec.kind.has_sets()) {
            (Some(ScoreFunction::Softmax), true) => Some(("sigmoid", "softmax")),
            (Some(ScoreFunction::Sigmoid), false) => Some(("softmax", "sigmoid")),
            _ => None,
        };
        if let Some((own, found)) = unfit {
            return Err(format!(
                "function_to_apply: expected {own} or none for task `{}` of kind {}, found {found}",
                spec.name, spec.kind
            ));
        }
        let strategy = match self.aggregation_strategy.unwrap_or_default() {
            AggregationStrategy::Average => Some("average"),
            AggregationStrategy::Max => Some("max"),
            _ => None,
        };
        if let Some(found) = strategy {
            return Err(format!(
                "aggregation_strategy: expected none, simple or first, found {found}, which needs \
                 scores of every token: heads tag words by their first token"
            ));
        }
        let groups = self.aggregation_strategy != Some(AggregationStrategy::None);
        let keeps_outside = |labels: &Vec<String>| !labels.iter().any(|label| label == OUTSIDE);
        if groups && self.ignore_labels.as_ref().is_some_and(keeps_outside) {
            return Err(format!(
                "ignore_labels: expected `{OUTSIDE}` among them unless aggregation_strategy is \
                 none, because words outside of spans form no groups"
            ));
        }
        Ok(())
    }

    fn labels<'a>(&self, spec: &'a HeadSpec, found: &TaskAnswer) -> Vec<Prediction<'a>> {
        let raw = self.function_to_apply == Some(ScoreFunction::None);
        let mut labels = scores(spec, found, raw);
        labels.truncate(self.top_k.unwrap_or(usize::MAX));
        // All texts are held until the JSON is written.
        labels.shrink_to_fit();
        labels
    }

    fn is_ignored(&self, label: &str) -> bool {
        match &self.ignore_labels {
            Some(labels) => labels.iter().any(|ignored| ignored == label),
            None => label == OUTSIDE,
        }
    }

    fn spans<'a>(&self, tagged: &'a TaggedText) -> Vec<TokenGroup<'a>> {
        let spans = tagged.spans.iter().filter(|span| !self.is_ignored(&span.label));
        spans
            .map(|span| TokenGroup {
                entity_group: Some(&span.label),
                entity: None,
                score: span.score,
                word: &span.text,
                start: span.start,
                end: span.end,
            })
            .collect()
    }

    /// The words that the model saw.
    ///
    /// - `text`: the text that was tagged
    fn words<'a>(&self, tagged: &'a TaggedText, text: &'a str) -> Vec<TokenGroup<'a>> {
        // Byte offsets of all characters, and of the end.
        let offsets: Vec<usize> =
            text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let byte = |character: usize| offsets.get(character).copied().unwrap_or(text.len());
        let words = tagged.words.iter().filter(|word| !self.is_ignored(&word.tag));
        words
            .filter_map(|word| {
                Some(TokenGroup {
                    entity_group: None,
                    entity: Some(&word.tag),
                    score: word.probability?,
                    word: &text[byte(word.start)..byte(word.end)],
                    start: word.start,
                    end: word.end,
                })
            })
            .collect()
    }
}
