//! `1_Pooling/config.json`: the pooling, as flags or as names of modes.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, fail};
use crate::folder::source::{Source, joined};
use crate::modules::{PoolingMode, PoolingSpec};

/// The keys of all versions. An unknown key is an error: it may change the result.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PoolingModuleJson {
    word_embedding_dimension: Option<u64>,
    embedding_dimension: Option<u64>,
    pooling_mode: Option<ModesJson>,
    pooling_mode_cls_token: bool,
    pooling_mode_max_tokens: bool,
    pooling_mode_mean_tokens: bool,
    pooling_mode_mean_sqrt_len_tokens: bool,
    pooling_mode_weightedmean_tokens: bool,
    pooling_mode_lasttoken: bool,
    include_prompt: Option<bool>,
}

/// The value of `pooling_mode`.
#[derive(Deserialize)]
#[serde(untagged)]
enum ModesJson {
    One(String),
    Several(Vec<String>),
}

/// Reads the pooling module in `folder`; `hidden_size` is the width of its input.
pub(crate) fn read(
    source: &Source,
    folder: &str,
    hidden_size: usize,
) -> Result<PoolingSpec, Error> {
    let name = joined(folder, "config.json");
    let file = source.describe(&name);
    let Some(wire) = source.json::<PoolingModuleJson>(&name)? else {
        fail!(Format, "{file}: no such file");
    };
    wire.check(hidden_size).map_err(|error| error.in_file(&file))
}

/// The content of the file for `spec`. Flags, which every version reads, if they give the modes
/// in this order; otherwise names, which versions from 5.4 on read.
pub(crate) fn to_json(spec: &PoolingSpec, hidden_size: usize) -> Value {
    let in_order: Vec<PoolingMode> =
        PoolingMode::ALL.into_iter().filter(|mode| spec.modes.contains(mode)).collect();
    if in_order != spec.modes {
        let names: Vec<&str> = spec.modes.iter().map(|mode| mode.name()).collect();
        return json!({
            "embedding_dimension": hidden_size,
            "pooling_mode": names,
            "include_prompt": spec.include_prompt,
        });
    }
    let has = |mode| spec.modes.contains(&mode);
    let mut json = json!({
        "word_embedding_dimension": hidden_size,
        "pooling_mode_cls_token": has(PoolingMode::Cls),
        "pooling_mode_mean_tokens": has(PoolingMode::Mean),
        "pooling_mode_max_tokens": has(PoolingMode::Max),
        "pooling_mode_mean_sqrt_len_tokens": has(PoolingMode::MeanSqrtLenTokens),
    });
    // The oldest versions do not know these keys, so they are written only if they are set.
    if has(PoolingMode::WeightedMean) || has(PoolingMode::LastToken) {
        json["pooling_mode_weightedmean_tokens"] = has(PoolingMode::WeightedMean).into();
        json["pooling_mode_lasttoken"] = has(PoolingMode::LastToken).into();
    }
    if !spec.include_prompt {
        json["include_prompt"] = false.into();
    }
    json
}

impl PoolingModuleJson {
    fn check(self, hidden_size: usize) -> Result<PoolingSpec, Error> {
        let width = self.embedding_dimension.or(self.word_embedding_dimension);
        match width {
            Some(width) if width == hidden_size as u64 => {}
            found => {
                let found = found.map_or("nothing".to_owned(), |width| width.to_string());
                fail!(
                    Format,
                    "`embedding_dimension` (`word_embedding_dimension`): expected {hidden_size}, the \
                     width of the encoder, found {found}"
                );
            }
        }
        let modes = match &self.pooling_mode {
            Some(ModesJson::One(name)) => vec![parse_mode(name)?],
            Some(ModesJson::Several(names)) => {
                names.iter().map(|name| parse_mode(name)).collect::<Result<_, _>>()?
            }
            None => self.flags(),
        };
        if modes.is_empty() || modes.len() > PoolingMode::ALL.len() {
            fail!(Format, "`pooling_mode`: expected 1 to 6 modes, found {}", modes.len());
        }
        Ok(PoolingSpec { modes, include_prompt: self.include_prompt.unwrap_or(true) })
    }

    /// The modes of a file with flags, in the order in which they are concatenated; the mean if
    /// no flag is set. Both are as in `Pooling` of `sentence-transformers`.
    fn flags(&self) -> Vec<PoolingMode> {
        let flags = [
            (self.pooling_mode_cls_token, PoolingMode::Cls),
            (self.pooling_mode_max_tokens, PoolingMode::Max),
            (self.pooling_mode_mean_tokens, PoolingMode::Mean),
            (self.pooling_mode_mean_sqrt_len_tokens, PoolingMode::MeanSqrtLenTokens),
            (self.pooling_mode_weightedmean_tokens, PoolingMode::WeightedMean),
            (self.pooling_mode_lasttoken, PoolingMode::LastToken),
        ];
        let modes: Vec<_> =
            flags.into_iter().filter(|(set, _)| *set).map(|(_, mode)| mode).collect();
        if modes.is_empty() { vec![PoolingMode::Mean] } else { modes }
    }
}

fn parse_mode(name: &str) -> Result<PoolingMode, Error> {
    name.parse::<PoolingMode>()
        .map_err(|error| Error::new(ErrorKind::Unsupported, format!("`pooling_mode`: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<PoolingSpec, String> {
        let wire: PoolingModuleJson =
            serde_json::from_str(json).map_err(|error| error.to_string())?;
        wire.check(40).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_is_read_again() {
        use PoolingMode::{Cls, LastToken, Max, Mean, WeightedMean};
        for modes in [vec![Cls], vec![Max, Mean], vec![Mean, Cls], vec![Mean, Mean]] {
            check_written(PoolingSpec { modes, include_prompt: true });
        }
        for modes in [vec![WeightedMean], vec![Cls, LastToken], PoolingMode::ALL.to_vec()] {
            check_written(PoolingSpec { modes, include_prompt: false });
        }
    }

    #[track_caller]
    fn check_written(spec: PoolingSpec) {
        let json = to_json(&spec, 40).to_string();
        assert_eq!(parse(&json).unwrap(), spec, "{json}");
    }

    #[test]
    fn flags_and_names_give_modes_in_the_order_of_concatenation() {
        use PoolingMode::{Cls, LastToken, Max, Mean};
        struct Case {
            json: &'static str,
            modes: &'static [PoolingMode],
            include_prompt: bool,
        }
        let cases = [
            Case {
                json: r#"{"word_embedding_dimension":40}"#,
                modes: &[Mean],
                include_prompt: true,
            },
            Case {
                json: r#"{"word_embedding_dimension":40,"pooling_mode_mean_tokens":true,"pooling_mode_max_tokens":true,"pooling_mode_cls_token":true}"#,
                modes: &[Cls, Max, Mean],
                include_prompt: true,
            },
            Case {
                json: r#"{"word_embedding_dimension":40,"pooling_mode_lasttoken":true,"include_prompt":false}"#,
                modes: &[LastToken],
                include_prompt: false,
            },
            Case {
                json: r#"{"embedding_dimension":40,"pooling_mode":"cls"}"#,
                modes: &[Cls],
                include_prompt: true,
            },
            Case {
                json: r#"{"embedding_dimension":40,"pooling_mode":["mean","cls"]}"#,
                modes: &[Mean, Cls],
                include_prompt: true,
            },
        ];
        for case in cases {
            let spec = parse(case.json).unwrap();
            assert_eq!(spec.modes, case.modes, "{}", case.json);
            assert_eq!(spec.include_prompt, case.include_prompt, "{}", case.json);
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let cases = [
            (r#"{"pooling_mode":"mean"}"#, "found nothing"),
            (
                r#"{"word_embedding_dimension":41}"#,
                "expected 40, the width of the encoder, found 41",
            ),
            (r#"{"embedding_dimension":40,"pooling_mode":"median"}"#, "\"median\""),
            (r#"{"embedding_dimension":40,"pooling_mode":[]}"#, "found 0"),
            (r#"{"embedding_dimension":40,"pooling_mode_median":true}"#, "pooling_mode_median"),
        ];
        for (json, message) in cases {
            let error = parse(json).unwrap_err();
            assert!(error.contains(message), "{json}: {error}");
        }
    }
}
