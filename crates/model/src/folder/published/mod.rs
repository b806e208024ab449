//! Classifiers that `transformers` has written: the heads of `BertForSequenceClassification` and the
//! like, which `config.json` names in `architectures` and `model.safetensors` holds beside the
//! encoder.
//!
//! Such a folder is a model with one task. Where it also has a `polyhead.json`, that file says what
//! the heads are.

mod cross_encoder;
mod forms;
mod labels;
mod spec;
mod tensors;
mod write;

use serde_json::{Map, Value};

use crate::encoder::EncoderConfig;
use crate::error::{Error, excerpt};
use crate::folder::prompts::ScoreFunction;
use crate::folder::source::{Source, joined};
use crate::heads::HeadSpec;
use forms::{ClassifierForm, FAMILIES};

/// The ends of the names of classes whose heads are read, and whether they tag tokens.
const READ: [(&str, bool); 2] =
    [("ForSequenceClassification", false), ("ForTokenClassification", true)];

/// The ends of the names of classes with other heads. Those of pre-training are in
/// [`TensorNames::pretraining_heads`](crate::encoder::TensorNames::pretraining_heads).
const UNREAD: [&str; 3] =
    ["ForQuestionAnswering", "ForMultipleChoice", "ForNextSentencePrediction"];

/// The classifier that a `config.json` names.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    /// Name of the class.
    class: String,
    form: &'static ClassifierForm,
    /// The specification of its head.
    spec: HeadSpec,
    /// The name of its `config.json` in messages.
    file: String,
}

/// Finds the classifier that `config.json` in `folder` names. Also returns remarks about it.
///
/// - `score`: the function of its score, if the file for the whole model is of a cross-encoder
///
/// # Errors
/// The key of the file that does not fit, what was expected and what was found.
pub(crate) fn find(
    source: &Source,
    folder: &str,
    config: &EncoderConfig,
    score: Option<&ScoreFunction>,
) -> Result<(Option<Published>, Vec<String>), Error> {
    let name = joined(folder, "config.json");
    let json = source.json::<Map<String, Value>>(&name)?.unwrap_or_default();
    let file = source.describe(&name);
    let classes = json.get("architectures").and_then(Value::as_array).into_iter().flatten();
    let mut notices = Vec::new();
    for class in classes.filter_map(Value::as_str) {
        if let Some((form, tags)) = form_of(class) {
            let (spec, notice) = spec::read(&json, form, (tags, score), config)
                .map_err(|error| without_classifier(error, &file))?;
            notices.extend(notice.map(|notice| format!("{file}: {notice}")));
            let class = class.to_owned();
            return Ok((Some(Published { class, form, spec, file }), notices));
        }
        let mut ends = READ.iter().map(|(end, _)| end).chain(&UNREAD);
        if ends.any(|end| class.ends_with(end)) {
            let families = FAMILIES.iter().flat_map(|family| family.classes);
            let expected: Vec<&str> = families.copied().collect();
            let [(sequence, _), (tokens, _)] = READ;
            notices.push(format!(
                "{file}: `architectures`: the head of {} is not read, its encoder is; heads are \
                 read of {}, each with {sequence} or {tokens}",
                excerpt(class),
                expected.join(", ")
            ));
        }
    }
    Ok((None, notices))
}

/// The form of a class, and whether it tags tokens.
fn form_of(class: &str) -> Option<(&'static ClassifierForm, bool)> {
    READ.into_iter().find_map(|(end, tags)| {
        let name = class.strip_suffix(end)?;
        let family = FAMILIES.iter().find(|family| family.classes.contains(&name))?;
        Some((if tags { &family.tokens } else { &family.sequence }, tags))
    })
}

/// The error with its file and the way to do without the classifier.
fn without_classifier(error: Error, file: &str) -> Error {
    let hint = "without `architectures` in config.json, the encoder is read alone";
    Error::new(error.kind(), format!("{}; {hint}", error.message())).in_file(file)
}
