//! The entry of a task in `polyhead.json`.

use std::str::FromStr;

use polyhead_compute::Activation;
use polyhead_text::Truncation;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::PoolingJson;
use crate::error::excerpt;
use crate::folder::words_json;
use crate::heads::{
    HeadInput, HeadLayer, HeadSpec, HiddenForm, HiddenNorm, LabelFormat, LabelMatching,
    NumberRange, PairForm, TargetScale,
};

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TaskJson {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) labels: Vec<String>,
    pub(super) pooling: PoolingJson,
    pub(super) input: String,
    /// `"last"`, `"mix"`, or the number of a hidden state.
    pub(super) layer: Value,
    pub(super) hidden: Option<u64>,
    pub(super) activation: String,
    pub(super) dropout: f64,
    pub(super) temperature: f64,
    pub(super) thresholds: Vec<f64>,
    /// Absent: `"exact"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) label_matching: Option<String>,
    /// Absent if one field holds all labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) fields: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) separator: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) empty: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<TargetJson>,
    /// Least and largest answer of a regression. Absent: answers are not clipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) range: Option<[f64; 2]>,
    /// Absent in folders of earlier versions, which split at punctuation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) words: Option<Value>,
    /// Absent: a linear layer with a bias, dropout before and after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hidden_form: Option<HiddenFormJson>,
    /// Absent: the head reads single texts, or was trained before version 0.7.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pair: Option<String>,
    /// The text of a joint pair that loses tokens. Absent: the longer one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) truncate: Option<String>,
    /// Absent: a head with `pair` `separate` does not read the product of the vectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pair_product: Option<bool>,
    /// Absent: the answer is the logit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sigmoid: Option<bool>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HiddenFormJson {
    bias: bool,
    norm: Option<HiddenNormJson>,
    input_dropout: bool,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct HiddenNormJson {
    eps: f64,
    bias: bool,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TargetJson {
    mean: f64,
    deviation: f64,
}

impl TaskJson {
    pub(super) fn from_spec(spec: &HeadSpec) -> Self {
        Self {
            name: spec.name.clone(),
            kind: spec.kind.name().to_owned(),
            labels: spec.labels.clone(),
            pooling: PoolingJson::from_spec(&spec.pooling),
            input: match spec.input {
                HeadInput::Pooled => "pooled".to_owned(),
                HeadInput::Embedding => "embedding".to_owned(),
            },
            layer: match spec.layer {
                HeadLayer::Last => Value::from("last"),
                HeadLayer::Mix => Value::from("mix"),
                HeadLayer::At(layer) => Value::from(layer),
            },
            hidden: spec.hidden.map(|hidden| hidden as u64),
            activation: spec.activation.name().to_owned(),
            dropout: shortest(spec.dropout),
            temperature: shortest(spec.temperature),
            thresholds: spec.thresholds.iter().copied().map(shortest).collect(),
            label_matching: spec
                .label_format
                .matching
                .filter(|matching| *matching != LabelMatching::default())
                .map(|matching| matching.name().to_owned()),
            fields: spec.label_format.fields.clone(),
            separator: spec.label_format.separator.clone(),
            empty: spec.label_format.empty.map(|meaning| meaning.name().to_owned()),
            target: spec.target.map(|scale| TargetJson {
                mean: shortest(scale.mean),
                deviation: shortest(scale.deviation),
            }),
            range: spec.range.map(|range| [range.least(), range.most()].map(shortest)),
            words: words_json::to_json(&spec.words),
            hidden_form: HiddenFormJson::from_form(spec.hidden_form),
            pair: spec.pair.map(|form| form.name().to_owned()),
            truncate: spec
                .pair
                .and_then(PairForm::truncation)
                .filter(|truncation| *truncation != Truncation::default())
                .map(|truncation| truncation.name().to_owned()),
            pair_product: spec.pair_product().filter(|product| *product),
            sigmoid: spec.sigmoid.then_some(true),
        }
    }

    pub(super) fn check(self) -> Result<HeadSpec, String> {
        Ok(HeadSpec {
            kind: self.kind.parse().map_err(|error| format!("`kind`: {error}"))?,
            labels: self.labels,
            pooling: self.pooling.check()?,
            input: match self.input.as_str() {
                "pooled" => HeadInput::Pooled,
                "embedding" => HeadInput::Embedding,
                other => {
                    let found = excerpt(other);
                    return Err(format!("`input`: expected pooled or embedding, found {found:?}"));
                }
            },
            layer: parse_layer(&self.layer)?,
            // A number that does not fit `usize` is above the limit of hidden layers as well.
            hidden: self.hidden.map(|hidden| usize::try_from(hidden).unwrap_or(usize::MAX)),
            activation: parse_activation(&self.activation)?,
            words: words_json::parse(self.words)?,
            dropout: self.dropout as f32,
            temperature: self.temperature as f32,
            thresholds: self.thresholds.into_iter().map(|threshold| threshold as f32).collect(),
            label_format: LabelFormat {
                fields: self.fields,
                separator: self.separator,
                empty: parse_word("empty", self.empty)?,
                matching: parse_word("label_matching", self.label_matching)?,
            },
            target: self.target.map(|scale| TargetScale {
                mean: scale.mean as f32,
                deviation: scale.deviation as f32,
            }),
            range: self.range.map(parse_range).transpose()?,
            hidden_form: self.hidden_form.map(HiddenFormJson::into_form).unwrap_or_default(),
            pair: parse_pair(
                self.pair.as_deref(),
                parse_word("truncate", self.truncate)?,
                self.pair_product,
            )?,
            sigmoid: self.sigmoid.unwrap_or(false),
            name: self.name,
        })
    }
}

impl HiddenFormJson {
    /// `None` for the default.
    fn from_form(form: HiddenForm) -> Option<Self> {
        let HiddenForm { bias, norm, input_dropout } = form;
        let norm = norm.map(|HiddenNorm { eps, bias }| HiddenNormJson { eps: shortest(eps), bias });
        (form != HiddenForm::default()).then_some(Self { bias, norm, input_dropout })
    }

    fn into_form(self) -> HiddenForm {
        let Self { bias, norm, input_dropout } = self;
        let norm = norm.map(|norm| HiddenNorm { eps: norm.eps as f32, bias: norm.bias });
        HiddenForm { bias, norm, input_dropout }
    }
}

/// The choice that the word of an optional key names.
fn parse_word<T: FromStr<Err = String>>(
    key: &str,
    word: Option<String>,
) -> Result<Option<T>, String> {
    word.map(|word| word.parse().map_err(|error| format!("`{key}`: {error}"))).transpose()
}

fn parse_range(ends: [f64; 2]) -> Result<NumberRange, String> {
    let [least, most] = ends.map(|end| end as f32);
    NumberRange::new(least, most).map_err(|problem| format!("`range`: {problem}"))
}

fn parse_pair(
    form: Option<&str>,
    rule: Option<Truncation>,
    product: Option<bool>,
) -> Result<Option<PairForm>, String> {
    match (form, rule, product) {
        (Some("joint"), rule, None) => Ok(Some(PairForm::Joint(rule.unwrap_or_default()))),
        (Some("separate"), None, product) => {
            Ok(Some(PairForm::Separate { product: product.unwrap_or(false) }))
        }
        (None, None, None) => Ok(None),
        (None, Some(rule), _) => {
            Err(format!("`truncate`: expected none without `pair`, found {rule}"))
        }
        (Some("separate"), Some(rule), _) => {
            Err(format!("`truncate`: expected none beside separate texts, found {rule}"))
        }
        (None | Some("joint"), _, Some(product)) => {
            Err(format!("`pair_product`: expected none without separate texts, found {product}"))
        }
        (Some(other), ..) => {
            Err(format!("`pair`: expected joint or separate, found {:?}", excerpt(other)))
        }
    }
}

fn parse_layer(value: &Value) -> Result<HeadLayer, String> {
    match (value.as_str(), value.as_u64().map(usize::try_from)) {
        (Some("last"), _) => Ok(HeadLayer::Last),
        (Some("mix"), _) => Ok(HeadLayer::Mix),
        (_, Some(Ok(layer))) => Ok(HeadLayer::At(layer)),
        _ => {
            let found = excerpt(&value.to_string());
            Err(format!("`layer`: expected \"last\", \"mix\" or a number, found {found}"))
        }
    }
}

fn parse_activation(name: &str) -> Result<Activation, String> {
    Activation::ALL.into_iter().find(|activation| activation.name() == name).ok_or_else(|| {
        let known = Activation::ALL.map(Activation::name);
        format!("`activation`: expected one of {}, found {:?}", known.join(", "), excerpt(name))
    })
}

/// The number with the fewest digits that is read back as `x`: 0.1 is written as `0.1`, not as
/// `0.10000000149011612`. Numbers are read as 64 bits and then rounded to 32, so the short
/// form is tested before it is used.
fn shortest(x: f32) -> f64 {
    match x.to_string().parse::<f64>() {
        Ok(short) if short as f32 == x => short,
        _ => f64::from(x),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn activations_all_have_names() {
        for (name, function) in Activation::ALL.map(|function| (function.name(), function)) {
            assert_eq!(parse_activation(name).unwrap(), function);
        }
    }

    proptest! {
        #[test]
        fn numbers_keep_their_bits(bits in any::<u32>()) {
            let x = f32::from_bits(bits);
            prop_assume!(x.is_finite());
            let text = serde_json::to_string(&shortest(x)).unwrap();
            let read: f64 = serde_json::from_str(&text).unwrap();
            prop_assert_eq!((read as f32).to_bits(), bits, "{}", text);
        }
    }
}
