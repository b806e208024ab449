//! The specification of a classifier's head, from the keys of `config.json`.

use polyhead_text::Truncation;
use serde_json::{Map, Value};

use super::forms::ClassifierForm;
use super::{cross_encoder, labels};
use crate::encoder::{EncoderConfig, Key};
use crate::error::{Error, ErrorKind, excerpt, fail};
use crate::folder::config_json::{read_activation, read_fraction, read_name, read_truth};
use crate::folder::prompts::ScoreFunction;
use crate::heads::{
    HeadSpec, HiddenForm, HiddenNorm, PairForm, TAGGING, check_heads, sequence_kind,
};
use crate::modules::{PoolingMode, PoolingSpec};

/// Name of the task, unless the user gives another one.
const TASK: &str = "label";

/// The head that the keys describe, and a remark about its labels.
///
/// - `tags`: true for a classifier of tokens
/// - `score`: as for [`find`](super::find)
pub(super) fn read(
    json: &Map<String, Value>,
    form: &ClassifierForm,
    (tags, score): (bool, Option<&ScoreFunction>),
    config: &EncoderConfig,
) -> Result<(HeadSpec, Option<String>), Error> {
    let mut labels = labels::read(json)?;
    let notice = labels::notice(json, &labels);
    // As in the forward of the classes, where the loss decides the kind.
    let sigmoid = match tags {
        true => None,
        false => cross_encoder::score(json, score, labels.len())?,
    };
    let default = if labels.len() == 1 { "regression" } else { "single_label_classification" };
    let problem = read_name(json, &Key { names: &["problem_type"], default })?;
    // The only output of a cross-encoder is a score, whatever its loss was.
    let problem = if sigmoid.is_some() && labels.len() == 1 { "regression" } else { problem };
    let kind = match sequence_kind(problem) {
        _ if tags => TAGGING,
        Ok(kind) => kind,
        Err(known) => {
            let found = excerpt(problem);
            fail!(Unsupported, "`problem_type`: expected one of {known}, found {found:?}");
        }
    };
    if !kind.has_labels() {
        if labels.len() != 1 {
            let found = labels.len();
            fail!(
                Unsupported,
                "`id2label`: expected 1 label for {problem}, found {found}; a regression of several \
                 numbers is not read"
            );
        }
        labels.clear();
    }
    let mode = match read_name(json, &form.pooling)? {
        "cls" => PoolingMode::Cls,
        "mean" => PoolingMode::Mean,
        other => {
            let key = form.pooling.names.concat();
            fail!(Unsupported, "`{key}`: expected cls or mean, found {:?}", excerpt(other));
        }
    };
    let mut spec = HeadSpec {
        labels,
        pooling: PoolingSpec { modes: vec![mode], include_prompt: true },
        dropout: read_fraction(json, &form.dropout)?,
        pair: sigmoid.map(|_| PairForm::Joint(Truncation::Longest)),
        sigmoid: sigmoid.unwrap_or(false),
        ..HeadSpec::new(TASK, kind, &[])
    };
    if let Some(hidden) = &form.hidden {
        let norm = hidden.norm.as_ref().map(|norm| {
            let (eps, bias) = (read_fraction(json, &norm.eps)?, read_truth(json, &norm.bias)?);
            Ok::<_, Error>(HiddenNorm { eps, bias })
        });
        spec.hidden = Some(config.hidden_size);
        spec.activation = read_activation(json, &hidden.activation)?;
        spec.hidden_form = HiddenForm {
            bias: read_truth(json, &hidden.bias)?,
            norm: norm.transpose()?,
            input_dropout: hidden.input_dropout,
        };
    }
    check_heads(std::iter::once(&spec))
        .map_err(|problem| Error::new(ErrorKind::Format, problem))?;
    Ok((spec, notice))
}
