//! `config_sentence_transformers.json`: prompts, similarity and other settings of a whole model.

use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::error::{Error, fail};
use crate::folder::config_json::check_others;
use crate::folder::source::Source;

/// The file's name.
pub(crate) const FILE: &str = "config_sentence_transformers.json";

/// The largest number of prompts, and the largest length of a prompt in bytes.
const PROMPT_LIMIT: usize = 1024;
const PROMPT_LENGTH_LIMIT: usize = 64 << 10;

/// How two vectors of a model are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Similarity {
    /// The cosine of the angle between the vectors.
    #[default]
    Cosine,
    /// The dot product of the vectors.
    Dot,
    /// The negative Euclidean distance of the vectors.
    Euclidean,
    /// The negative Manhattan distance of the vectors.
    Manhattan,
}

impl fmt::Display for Similarity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cosine => "cosine",
            Self::Dot => "dot",
            Self::Euclidean => "euclidean",
            Self::Manhattan => "manhattan",
        })
    }
}

/// The Python class that makes the score of a cross-encoder of its logits, if the file names one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScoreFunction(pub(crate) Option<String>);

/// The settings of the file, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SentenceConfig {
    /// Name and text of each prompt, in the order of the file.
    pub(crate) prompts: Vec<(String, String)>,
    /// Name of the prompt that is used by default; one of `prompts`.
    pub(crate) default_prompt_name: Option<String>,
    /// The function of the score of a cross-encoder; `None` for other models.
    pub(crate) score: Option<ScoreFunction>,
    pub(crate) similarity: Similarity,
    pub(crate) truncate_dim: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SentenceConfigJson {
    model_type: Option<String>,
    activation_fn: Option<String>,
    prompts: Option<PromptsJson>,
    default_prompt_name: Option<String>,
    similarity_fn_name: Option<String>,
    truncate_dim: Option<u64>,
    /// Every other key.
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// Reads the file. Without the file nothing is set.
pub(crate) fn read(source: &Source) -> Result<SentenceConfig, Error> {
    let Some(wire) = source.json::<SentenceConfigJson>(FILE)? else {
        return Ok(SentenceConfig::default());
    };
    wire.check().map_err(|error| error.in_file(&source.describe(FILE)))
}

impl SentenceConfigJson {
    fn check(self) -> Result<SentenceConfig, Error> {
        // The versions with which the folder was written.
        check_others(&self.others, &["__version__"])?;
        // In other types (SparseEncoder, …) modules have another meaning.
        let score = match self.model_type.as_deref() {
            Some("CrossEncoder") => Some(ScoreFunction(self.activation_fn)),
            None | Some("SentenceTransformer") => None,
            Some(found) => fail!(
                Unsupported,
                "`model_type`: expected SentenceTransformer or CrossEncoder, found {found:?}"
            ),
        };
        let prompts = self.prompts.map(|prompts| prompts.0).unwrap_or_default();
        if prompts.len() > PROMPT_LIMIT {
            fail!(Format, "expected at most {PROMPT_LIMIT} prompts, found {}", prompts.len());
        }
        if let Some((name, text)) =
            prompts.iter().find(|(_, text)| text.len() > PROMPT_LENGTH_LIMIT)
        {
            fail!(
                Format,
                "prompt {name:?}: expected at most {PROMPT_LENGTH_LIMIT} bytes, found {}",
                text.len()
            );
        }
        if let Some(name) = &self.default_prompt_name
            && !prompts.iter().any(|(known, _)| known == name)
        {
            let known: Vec<&str> = prompts.iter().map(|(name, _)| name.as_str()).collect();
            fail!(Format, "`default_prompt_name`: expected one of {known:?}, found {name:?}");
        }
        Ok(SentenceConfig {
            prompts,
            default_prompt_name: self.default_prompt_name,
            score,
            similarity: parse_similarity(self.similarity_fn_name.as_deref())?,
            truncate_dim: check_dimension(self.truncate_dim)?,
        })
    }
}

fn parse_similarity(name: Option<&str>) -> Result<Similarity, Error> {
    match name {
        None | Some("cosine") => Ok(Similarity::Cosine),
        Some("dot") => Ok(Similarity::Dot),
        Some("euclidean") => Ok(Similarity::Euclidean),
        Some("manhattan") => Ok(Similarity::Manhattan),
        Some(other) => fail!(
            Unsupported,
            "`similarity_fn_name`: expected cosine, dot, euclidean or manhattan, found {other:?}"
        ),
    }
}

fn check_dimension(value: Option<u64>) -> Result<Option<usize>, Error> {
    match value.map(usize::try_from) {
        None => Ok(None),
        Some(Ok(size)) if size > 0 => Ok(Some(size)),
        _ => fail!(Format, "`truncate_dim`: expected 1 or more"),
    }
}

/// A map in the order of the file, in which `inspect` lists the prompts. `null` is the empty
/// prompt, as in Python.
struct PromptsJson(Vec<(String, String)>);

impl<'de> Deserialize<'de> for PromptsJson {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = PromptsJson;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("prompts by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PromptsJson, A::Error> {
                let mut prompts: Vec<(String, String)> = Vec::new();
                while let Some((name, text)) = map.next_entry::<String, Option<String>>()? {
                    // If a name occurs twice, the last text counts, as usual in JSON.
                    prompts.retain(|(other, _)| *other != name);
                    prompts.push((name, text.unwrap_or_default()));
                    if prompts.len() > PROMPT_LIMIT {
                        return Err(serde::de::Error::custom(format!(
                            "expected at most {PROMPT_LIMIT} prompts"
                        )));
                    }
                }
                Ok(PromptsJson(prompts))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn parse(json: &str) -> Result<SentenceConfig, Error> {
        serde_json::from_str::<SentenceConfigJson>(json).unwrap().check()
    }

    #[test]
    fn prompts_keep_the_order_of_the_file() {
        let config = parse(
            r#"{"prompts":{"query":"q: ","document":null,"a":"b"},"default_prompt_name":"document"}"#,
        )
        .unwrap();
        let names: Vec<&str> = config.prompts.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["query", "document", "a"]);
        assert_eq!(config.prompts[1].1, "");
        assert_eq!(config.default_prompt_name.as_deref(), Some("document"));
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let cases = [
            (r#"{"model_type":"SparseEncoder"}"#, ErrorKind::Unsupported, "\"SparseEncoder\""),
            (r#"{"similarity_fn_name":"maxsim"}"#, ErrorKind::Unsupported, "\"maxsim\""),
            (
                r#"{"prompts":{"a":"b"},"default_prompt_name":"c"}"#,
                ErrorKind::Format,
                "expected one of [\"a\"]",
            ),
            (r#"{"truncate_dim":0}"#, ErrorKind::Format, "`truncate_dim`"),
            (r#"{"quantize":"int8"}"#, ErrorKind::Unsupported, "`quantize`: expected a known key"),
        ];
        for (json, kind, message) in cases {
            let error = parse(json).unwrap_err();
            let problem = error.message();
            assert_eq!(error.kind(), kind, "{json}");
            assert!(problem.contains(message), "{json}: {problem}");
        }
    }
}
