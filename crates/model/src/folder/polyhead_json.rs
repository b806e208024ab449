//! `polyhead.json`: the heads of a model, and the origin of the model.
//!
//! The weights of the heads are in `heads.safetensors`: see
//! [`heads_file`](crate::folder::heads_file). The types of the file are a promise to folders that
//! exist, so they are separate from the types of the library. A file of a later schema is refused.

use std::str::FromStr;

use polyhead_compute::Activation;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, ErrorKind, excerpt};
use crate::folder::encoder_reference::EncoderReference;
use crate::folder::records::FileRecord;
use crate::folder::source::Source;
use crate::folder::words_json;
use crate::heads::{
    HeadInput, HeadLayer, HeadSpec, LabelFormat, LabelMatching, NumberRange, TargetScale, TaskKind,
    check_heads,
};
use crate::modules::{PoolingMode, PoolingSpec};
use crate::rows::TextFields;

/// The file's name.
pub(crate) const FILE: &str = "polyhead.json";

/// The latest version of the schema. Every version up to it is read.
const LATEST_SCHEMA: u64 = 2;

/// The origin of a trained model. It holds no clock times: the same run gives the same file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Provenance {
    /// Name of the model that training began with, as the configuration had it.
    pub base_model: String,
    /// SHA-256 hash of the training data.
    pub data_hash: String,
    /// SHA-256 hash of the resolved configuration.
    pub config_hash: String,
    /// Version of Polyhead that trained the model.
    pub polyhead_version: String,
    /// The optimizer step after which the weights were saved.
    pub step: u64,
    /// The epoch of that step, counted from 1.
    pub epoch: u64,
    /// Metrics of these weights by split and task, as the run reported them.
    pub metrics: Value,
    /// Differences of the weights from those that the run was to give: of another step than the best one.
    pub warnings: Vec<String>,
}

/// The content of the file, checked as far as that needs no encoder. [`HeadSpec::check`]
/// checks the rest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PolyheadConfig {
    /// The length in tokens to which training truncated texts.
    pub(crate) max_length: usize,
    /// The pooling of the model in training.
    pub(crate) pooling: PoolingSpec,
    pub(crate) heads: Vec<HeadSpec>,
    /// The rule by which several fields make a text; `None` for a single field.
    pub(crate) input: Option<TextFields>,
    /// The encoder, if the folder does without its weights.
    pub(crate) encoder: Option<EncoderReference>,
    pub(crate) provenance: Provenance,
    /// The other files of the folder when it was written; empty in folders of earlier versions.
    pub(crate) files: Vec<FileRecord>,
}

/// The one key that is read before the version of the schema is known.
#[derive(Deserialize)]
struct SchemaJson {
    schema_version: Option<Value>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PolyheadJson {
    schema_version: u64,
    max_length: u64,
    pooling: PoolingJson,
    tasks: Vec<TaskJson>,
    /// Absent if a text is a single field, as in folders of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    input: Option<InputJson>,
    /// Absent if the folder has the weights of its encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encoder: Option<EncoderReference>,
    #[serde(with = "ProvenanceJson")]
    provenance: Provenance,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    files: Vec<FileRecord>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PoolingJson {
    modes: Vec<String>,
    include_prompt: bool,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct TaskJson {
    name: String,
    kind: String,
    labels: Vec<String>,
    pooling: PoolingJson,
    input: String,
    /// `"last"`, `"mix"`, or the number of a hidden state.
    layer: Value,
    hidden: Option<u64>,
    activation: String,
    dropout: f64,
    temperature: f64,
    thresholds: Vec<f64>,
    /// Absent: `"exact"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label_matching: Option<String>,
    /// Absent if one field holds all labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fields: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    separator: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    empty: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<TargetJson>,
    /// Least and largest answer of a regression. Absent: answers are not clipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    range: Option<[f64; 2]>,
    /// Absent in folders of earlier versions, which split at punctuation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    words: Option<Value>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct TargetJson {
    mean: f64,
    deviation: f64,
}

/// The rule by which fields make a text: several names with `join`, or a `template`.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct InputJson {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    text: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    join: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    template: Option<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, remote = "Provenance")]
struct ProvenanceJson {
    base_model: String,
    data_hash: String,
    config_hash: String,
    polyhead_version: String,
    step: u64,
    epoch: u64,
    metrics: Value,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// Reads the file; `None` if the folder has none.
pub(crate) fn read(source: &Source) -> Result<Option<PolyheadConfig>, Error> {
    let Some(SchemaJson { schema_version }) = source.json(FILE)? else { return Ok(None) };
    let file = source.describe(FILE);
    check_schema(schema_version)
        .map_err(|problem| Error::new(ErrorKind::Unsupported, format!("{file}: {problem}")))?;
    let Some(wire) = source.json::<PolyheadJson>(FILE)? else { return Ok(None) };
    wire.check()
        .map(Some)
        .map_err(|problem| Error::new(ErrorKind::Format, format!("{file}: {problem}")))
}

/// The text of the file. The caller has checked the heads.
pub(crate) fn to_text(config: &PolyheadConfig) -> String {
    let mut wire = PolyheadJson {
        schema_version: 1,
        max_length: config.max_length as u64,
        pooling: PoolingJson::from_spec(&config.pooling),
        tasks: config.heads.iter().map(TaskJson::from_spec).collect(),
        input: config.input.as_ref().and_then(InputJson::from_fields),
        encoder: config.encoder.clone(),
        provenance: config.provenance.clone(),
        files: config.files.clone(),
    };
    wire.schema_version = wire.lowest_schema();
    let mut text = serde_json::to_string_pretty(&wire).expect("names, numbers and lists only");
    text.push('\n');
    text
}

/// Checks that this program reads the version `found` of the schema.
fn check_schema(found: Option<Value>) -> Result<(), String> {
    let version = found.as_ref().and_then(Value::as_u64);
    if version.is_some_and(|version| (1..=LATEST_SCHEMA).contains(&version)) {
        return Ok(());
    }
    let shown = found.map_or("nothing".to_owned(), |value| excerpt(&value.to_string()));
    let problem = format!("`schema_version`: expected 1 to {LATEST_SCHEMA}, found {shown}");
    Err(match version {
        Some(version) if version > LATEST_SCHEMA => {
            let program = env!("CARGO_PKG_VERSION");
            format!(
                "{problem}: a later version of Polyhead wrote this folder, and {program} would \
                 misread it; update Polyhead to use it"
            )
        }
        _ => problem,
    })
}

impl PolyheadJson {
    /// The lowest version of the schema that has every part of this file. Programs of version
    /// 0.3.0 read version 1 and refuse others by the number, so a file without newer parts has
    /// version 1. A part that is new in version 2 declares itself here.
    fn lowest_schema(&self) -> u64 {
        let is_second = |task: &TaskJson| {
            let labels = task.label_matching.is_some()
                || !task.fields.is_empty()
                || task.separator.is_some()
                || task.empty.is_some();
            labels
                || task.target.is_some()
                || task.range.is_some()
                || task.words.is_some()
                || task.kind == TaskKind::Ordinal.name()
        };
        if self.input.is_some() || self.encoder.is_some() || self.tasks.iter().any(is_second) {
            2
        } else {
            1
        }
    }

    fn check(self) -> Result<PolyheadConfig, String> {
        let max_length = match usize::try_from(self.max_length) {
            Ok(length) if length > 0 => length,
            _ => {
                return Err(format!("`max_length`: expected 1 or more, found {}", self.max_length));
            }
        };
        let pooling = self.pooling.check()?;
        let heads = self
            .tasks
            .into_iter()
            .map(|task| {
                let name = excerpt(&task.name);
                task.check().map_err(|problem| format!("task `{name}`: {problem}"))
            })
            .collect::<Result<Vec<_>, _>>()?;
        check_heads(heads.iter())?;
        let input = self.input.map(InputJson::check).transpose()?;
        self.encoder.iter().try_for_each(EncoderReference::check)?;
        let (encoder, provenance, files) = (self.encoder, self.provenance, self.files);
        Ok(PolyheadConfig { max_length, pooling, heads, input, encoder, provenance, files })
    }
}

impl PoolingJson {
    fn from_spec(spec: &PoolingSpec) -> Self {
        let modes = spec.modes.iter().map(|mode| mode.name().to_owned()).collect();
        Self { modes, include_prompt: spec.include_prompt }
    }

    fn check(self) -> Result<PoolingSpec, String> {
        let modes: Result<Vec<PoolingMode>, String> =
            self.modes.iter().map(|name| name.parse()).collect();
        let modes = modes.map_err(|error| format!("`pooling`: {error}"))?;
        if !(1..=PoolingMode::ALL.len()).contains(&modes.len()) {
            return Err(format!("`pooling`: expected 1 to 6 modes, found {}", modes.len()));
        }
        Ok(PoolingSpec { modes, include_prompt: self.include_prompt })
    }
}

impl InputJson {
    fn from_fields(fields: &TextFields) -> Option<Self> {
        match fields.clone() {
            TextFields::One(_) => None,
            TextFields::Joined { fields, separator } => {
                Some(Self { text: fields, join: Some(separator), template: None })
            }
            TextFields::Template(template) => {
                let template = Some(template.to_string());
                Some(Self { text: Vec::new(), join: None, template })
            }
        }
    }

    fn check(self) -> Result<TextFields, String> {
        let template = self.template.as_deref().map(str::parse).transpose();
        let fields = template.and_then(|template| {
            TextFields::new(&self.text, self.join.as_deref(), template.as_ref())
        });
        match fields {
            Ok(TextFields::One(_)) => {
                Err("`input`: expected several fields with `join`, or `template`, found neither"
                    .into())
            }
            fields => fields.map_err(|problem| format!("`input`: {problem}")),
        }
    }
}

impl TaskJson {
    fn from_spec(spec: &HeadSpec) -> Self {
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
        }
    }

    fn check(self) -> Result<HeadSpec, String> {
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
            name: self.name,
        })
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
    use super::*;
    use crate::heads::EmptyCell;
    use polyhead_text::{LearnedSplit, WordSplit};
    use proptest::prelude::*;
    use serde_json::json;
    use std::collections::BTreeSet;

    fn spec(name: &str, kind: TaskKind) -> HeadSpec {
        let labels: &[&str] = if kind.has_labels() { &["O", "B-x"] } else { &[] };
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        HeadSpec {
            name: name.to_owned(),
            kind,
            thresholds: if kind.has_thresholds() { vec![0.3, 0.55] } else { vec![] },
            label_format: LabelFormat::default(),
            labels,
            pooling: PoolingSpec { modes: vec![PoolingMode::Cls], include_prompt: false },
            input: HeadInput::Pooled,
            layer: HeadLayer::Mix,
            hidden: Some(7),
            activation: Activation::GeluTanh,
            dropout: 0.1,
            temperature: 1.7,
            target: (!kind.has_labels()).then_some(TargetScale { mean: 2015.5, deviation: 6.1 }),
            range: (!kind.has_labels()).then(|| NumberRange::new(1950.1, 2025.0).unwrap()),
            words: WordSplit::default(),
        }
    }

    fn config() -> PolyheadConfig {
        let mut heads: Vec<HeadSpec> =
            TaskKind::ALL.iter().map(|kind| spec(kind.name(), *kind)).collect();
        heads[1].layer = HeadLayer::At(3);
        heads[2].layer = HeadLayer::Last;
        heads[2].input = HeadInput::Embedding;
        heads[2].hidden = None;
        heads[0].label_format.matching = Some(LabelMatching::Normalized);
        heads[1].label_format = LabelFormat {
            fields: vec!["is_o".into(), "is_x".into()],
            separator: Some(" / ".into()),
            empty: Some(EmptyCell::Unlabelled),
            matching: None,
        };
        heads[3].words = WordSplit::Learned(LearnedSplit {
            begin: "@#".into(),
            letters: true,
            ..LearnedSplit::default()
        });
        PolyheadConfig {
            max_length: 128,
            pooling: PoolingSpec {
                modes: vec![PoolingMode::Mean, PoolingMode::Max],
                include_prompt: true,
            },
            heads,
            input: Some(TextFields::Template("{title}: {body}".parse().unwrap())),
            encoder: Some(EncoderReference {
                model: "models/a".into(),
                path: Some("/x/models/a".into()),
                relative_path: Some("../../models/a".into()),
                files: vec![FileRecord {
                    name: "model.safetensors".into(),
                    bytes: 9,
                    sha256: "01".into(),
                }],
            }),
            provenance: Provenance {
                base_model: "builtin".into(),
                data_hash: "ab".into(),
                config_hash: "cd".into(),
                polyhead_version: "0.1.0".into(),
                step: 189,
                epoch: 3,
                metrics: json!({"dev": {"topic": {"accuracy": 0.9}}}),
                warnings: Vec::new(),
            },
            files: vec![FileRecord { name: "a/b".into(), bytes: 3, sha256: "ef".into() }],
        }
    }

    fn parse(value: &Value) -> Result<PolyheadConfig, String> {
        PolyheadJson::deserialize(value).map_err(|error| error.to_string())?.check()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = to_text(&config());
        assert!(text.contains("\"dropout\": 0.1,"), "{text}");
        // The default is not written: programs of earlier versions refuse keys that they do not know.
        for key in ["label_matching", "fields", "separator", "empty"] {
            assert_eq!(text.matches(&format!("{key:?}: ")).count(), 1, "{key} in {text}");
        }
        assert_eq!(parse(&serde_json::from_str(&text).unwrap()).unwrap(), config());
    }

    #[test]
    fn fields_of_the_text_are_written_where_there_are_several() {
        let fields = ["a", "b"].map(str::to_owned).to_vec();
        let joined = TextFields::Joined { fields, separator: "\n".into() };
        for (input, written) in
            [(Some(joined), Some(json!({"text": ["a", "b"], "join": "\n"}))), (None, None)]
        {
            let config = PolyheadConfig { input, ..config() };
            let text: Value = serde_json::from_str(&to_text(&config)).unwrap();
            assert_eq!(text.get("input"), written.as_ref());
            assert_eq!(parse(&text).unwrap(), config);
        }
    }

    /// The file as version 0.3.0 wrote it.
    const OF_0_3_0: &str = r#"{
  "schema_version": 1,
  "max_length": 128,
  "pooling": {
    "modes": [
      "cls"
    ],
    "include_prompt": true
  },
  "tasks": [
    {
      "name": "entities",
      "kind": "tokens",
      "labels": [
        "O",
        "B-x"
      ],
      "pooling": {
        "modes": [
          "cls"
        ],
        "include_prompt": true
      },
      "input": "pooled",
      "layer": "last",
      "hidden": null,
      "activation": "gelu",
      "dropout": 0.1,
      "temperature": 1.25,
      "thresholds": []
    }
  ],
  "provenance": {
    "base_model": "builtin",
    "data_hash": "ab",
    "config_hash": "cd",
    "polyhead_version": "0.3.0",
    "step": 189,
    "epoch": 3,
    "metrics": {}
  },
  "files": [
    {
      "name": "config.json",
      "bytes": 3,
      "sha256": "ef"
    }
  ]
}
"#;

    #[test]
    fn a_file_of_version_0_3_0_is_read_and_written_alike() {
        assert_eq!(to_text(&parse(&serde_json::from_str(OF_0_3_0).unwrap()).unwrap()), OF_0_3_0);
    }

    #[test]
    fn a_part_that_is_new_raises_the_version_and_nothing_else_does() {
        let known: Value = serde_json::from_str(OF_0_3_0).unwrap();
        let file = json!({"name": "a.safetensors", "bytes": 9, "sha256": "01"});
        let paths = ("/x/a", "../a");
        let encoder =
            json!({"model": "a", "path": paths.0, "relative_path": paths.1, "files": [file]});
        // With warnings, which version 0.3.0 wrote of some runs.
        let parts = [
            ("/provenance", "warnings", json!(["the last step"]), 1),
            ("", "input", json!({"text": ["a", "b"], "join": " "}), 2),
            ("", "input", json!({"template": "{a}: {b}"}), 2),
            ("", "encoder", encoder, 2),
            ("/tasks/0", "words", json!("whitespace"), 2),
            ("/tasks/0", "label_matching", json!("normalized"), 2),
            ("/tasks/0", "kind", json!("ordinal"), 2),
            ("/tasks/1", "target", json!({"mean": 1.0, "deviation": 2.0}), 2),
            ("/tasks/1", "range", json!([1.0, 5.5]), 2),
            ("/tasks/2", "fields", json!(["is_o", "is_x"]), 2),
            ("/tasks/2", "separator", json!(";"), 2),
            ("/tasks/2", "empty", json!("none"), 2),
        ];
        let mut all = known.clone();
        let number = json!({"name": "number", "kind": "regression", "labels": []});
        let mut task = known["tasks"][0].clone();
        task.as_object_mut().unwrap().extend(number.as_object().unwrap().clone());
        let mut set = known["tasks"][0].clone();
        set.as_object_mut()
            .unwrap()
            .extend([("name".to_owned(), json!("set")), ("kind".to_owned(), json!("multilabel"))]);
        all["tasks"].as_array_mut().unwrap().extend([task, set]);
        let base = all.clone();
        for (place, key, value, version) in parts {
            let mut one = base.clone();
            one.pointer_mut(place).unwrap()[key] = value.clone();
            all.pointer_mut(place).unwrap()[key] = value;
            let written: Value = serde_json::from_str(&to_text(&parse(&one).unwrap())).unwrap();
            assert_eq!(written["schema_version"], version, "{key}");
            // The program of version 0.3.0 compares the number with 1 before all else.
            one["schema_version"] = json!(version);
            assert_eq!(written, one, "{key}");
        }
        // A part that has no line above fails here.
        let written: Value = serde_json::from_str(&to_text(&config())).unwrap();
        let (written, listed) = (keys_of(&written), keys_of(&all));
        assert_eq!(written.difference(&listed).collect::<Vec<_>>(), Vec::<&String>::new());
    }

    /// All keys of objects in `json`, at any depth; a learned rule of words is a part as a whole.
    fn keys_of(json: &Value) -> BTreeSet<String> {
        let inner = |value: &Value| keys_of(value).into_iter();
        match json {
            Value::Object(fields) => fields
                .iter()
                .flat_map(|(key, value)| match key.as_str() {
                    "words" | "metrics" => [key.clone()].into(),
                    _ => inner(value).chain([key.clone()]).collect::<BTreeSet<_>>(),
                })
                .collect(),
            Value::Array(list) => list.iter().flat_map(inner).collect(),
            _ => BTreeSet::new(),
        }
    }

    #[test]
    fn activations_all_have_names() {
        for (name, function) in Activation::ALL.map(|function| (function.name(), function)) {
            assert_eq!(parse_activation(name).unwrap(), function);
        }
    }

    #[test]
    fn every_rule_says_what_was_found() {
        struct Case {
            at: &'static str,
            value: Value,
            message: &'static str,
        }
        let long = "x".repeat(1025);
        let cases = [
            Case {
                at: "/max_length",
                value: json!(0),
                message: "`max_length`: expected 1 or more",
            },
            Case {
                at: "/pooling/modes",
                value: json!([]),
                message: "expected 1 to 6 modes, found 0",
            },
            Case { at: "/pooling/modes/0", value: json!("median"), message: "found \"median\"" },
            Case { at: "/tasks/0/name", value: json!("a.hidden"), message: "found \"a.hidden\"" },
            Case { at: "/tasks/0/name", value: json!(""), message: "expected 1 to 64 letters" },
            Case {
                at: "/tasks/0/name",
                value: json!("tokens"),
                message: "task `tokens`: found twice",
            },
            Case { at: "/tasks/0/kind", value: json!("pairs"), message: "found \"pairs\"" },
            Case {
                at: "/tasks/2/target/deviation",
                value: json!(0),
                message: "target: expected a finite mean and a deviation above 0, found 2015.5 and 0",
            },
            Case { at: "/tasks/2/target/mean", value: json!(1e39), message: "found inf and 6.1" },
            Case {
                at: "/tasks/2/range",
                value: json!([5, 1]),
                message: "`range`: expected two finite numbers, the smaller one first, found 5 and 1",
            },
            Case { at: "/tasks/2/range/1", value: json!(1e39), message: "found 1950.1 and inf" },
            Case {
                at: "/tasks/2/range",
                value: json!([1]),
                message: "expected an array of length 2",
            },
            Case {
                at: "/tasks/0/labels",
                value: json!([]),
                message: "task `classification`: labels: expected 1 to 65536, found 0",
            },
            Case {
                at: "/tasks/0/labels/1",
                value: json!("O"),
                message: "label \"O\": found twice",
            },
            Case {
                at: "/tasks/0/labels/1",
                value: json!(long),
                message: "expected at most 1024 bytes, found 1025",
            },
            Case {
                at: "/tasks/2/labels",
                value: json!(["a"]),
                message: "task `regression`: labels: expected 0 to 0, found 1",
            },
            Case { at: "/tasks/0/input", value: json!("cls"), message: "found \"cls\"" },
            Case { at: "/tasks/0/layer", value: json!("first"), message: "found \"first\"" },
            Case { at: "/tasks/0/layer", value: json!(-1), message: "found -1" },
            Case { at: "/tasks/0/hidden", value: json!(0), message: "hidden: expected 1 to 65536" },
            Case { at: "/tasks/0/hidden", value: json!(u64::MAX), message: "found 1844674407" },
            Case { at: "/tasks/0/activation", value: json!("mish"), message: "found \"mish\"" },
            Case {
                at: "/tasks/0/dropout",
                value: json!(1),
                message: "dropout: expected 0 or more",
            },
            Case {
                at: "/tasks/0/temperature",
                value: json!(0),
                message: "temperature: expected a",
            },
            Case { at: "/tasks/0/temperature", value: json!(1e300), message: "found inf" },
            Case {
                at: "/tasks/0/thresholds",
                value: json!([0.5, 0.5]),
                message: "thresholds: expected none or 0, found 2",
            },
            Case {
                at: "/tasks/1/thresholds",
                value: json!([0.5]),
                message: "thresholds: expected none or 2, found 1",
            },
            Case { at: "/tasks/1/thresholds/0", value: json!(1.5), message: "found 1.5" },
            Case {
                at: "/tasks/0/label_matching",
                value: json!("fuzzy"),
                message: "`label_matching`: expected exact or normalized, found \"fuzzy\"",
            },
            Case {
                at: "/tasks/1/empty",
                value: json!("zero"),
                message: "`empty`: expected none or unlabelled, found \"zero\"",
            },
            Case {
                at: "/tasks/1/separator",
                value: json!(""),
                message: "separator: expected a text between labels, found an empty one",
            },
            Case {
                at: "/tasks/1/fields",
                value: json!(["a", "b", "c"]),
                message: "fields: expected one for each of 2 labels, found 3",
            },
            Case {
                at: "/tasks/1/kind",
                value: json!("classification"),
                message: "expected no `fields`, `separator` and `empty` for this kind",
            },
            Case { at: "/tasks", value: json!({}), message: "expected a sequence" },
            Case {
                at: "/input",
                value: json!({"text": ["a", "b"]}),
                message: "`input`: several fields need `join`",
            },
            Case {
                at: "/input/template",
                value: json!("{title"),
                message: "`input`: expected a name and `}` after `{`",
            },
            Case {
                at: "/encoder/files",
                value: json!([]),
                message: "`encoder.files`: expected 1 to 1024, found 0",
            },
            Case {
                at: "/encoder/files/0/name",
                value: json!("../model.safetensors"),
                message: "`encoder.files`: expected a path inside the model folder, found",
            },
            Case {
                at: "/encoder/files/0/name",
                value: json!("key.pem"),
                message: "expected names of safetensors files, found \"key.pem\"",
            },
            Case { at: "/provenance/step", value: json!("x"), message: "expected u64" },
        ];
        for Case { at, value, message } in cases {
            let mut json: Value = serde_json::from_str(&to_text(&config())).unwrap();
            *json.pointer_mut(at).unwrap() = value.clone();
            let error = parse(&json).unwrap_err();
            assert!(error.contains(message), "{at} = {value}: {error}");
        }
        let tables = [
            "",
            "/pooling",
            "/input",
            "/encoder",
            "/encoder/files/0",
            "/tasks/0",
            "/tasks/0/pooling",
            "/tasks/2/target",
        ];
        for place in tables.into_iter().chain(["/provenance"]) {
            let mut json: Value = serde_json::from_str(&to_text(&config())).unwrap();
            json.pointer_mut(place).unwrap()["colour"] = json!("red");
            let error = parse(&json).unwrap_err();
            assert!(error.contains("unknown field `colour`"), "{place}: {error}");
        }
        let mut json: Value = serde_json::from_str(&to_text(&config())).unwrap();
        assert!(["target", "range"].iter().all(|key| json["tasks"][0].get(key).is_none()));
        json["tasks"][0]["target"] = json!({"mean": 1, "deviation": 2});
        let error = parse(&json).unwrap_err();
        let message = "task `classification`: target: expected none for kind classification";
        assert!(error.contains(message), "{error}");
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
