//! `polyhead.json`: the heads of a model, and the origin of the model.
//!
//! The weights of the heads are in `heads.safetensors`: see
//! [`heads_file`](crate::folder::heads_file). The types of the file are a promise to folders that
//! exist, so they are separate from the types of the library. A file of a later schema is refused.

mod schema;
mod task;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, ErrorKind, excerpt};
use crate::folder::encoder_reference::EncoderReference;
use crate::folder::records::FileRecord;
use crate::folder::source::Source;
use crate::heads::{HeadSpec, check_heads};
use crate::modules::{PoolingMode, PoolingSpec};
use crate::rows::TextFields;
use schema::{SchemaJson, check_schema};
use task::TaskJson;

/// The file's name.
pub(crate) const FILE: &str = "polyhead.json";
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

impl PolyheadJson {
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
            TextFields::Several(text) => Some(Self { text, join: None, template: None }),
        }
    }

    fn check(self) -> Result<TextFields, String> {
        let template = self.template.as_deref().map(str::parse).transpose();
        let fields = template.and_then(|template| {
            TextFields::new(&self.text, self.join.as_deref(), template.as_ref())
        });
        match fields {
            Ok(TextFields::One(_)) => {
                Err("`input`: expected several fields, or `template`, found neither".into())
            }
            fields => fields.map_err(|problem| format!("`input`: {problem}")),
        }
    }
}
