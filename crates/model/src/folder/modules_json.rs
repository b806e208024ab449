//! `modules.json`: the list of the modules of a `sentence-transformers` folder.
//!
//! The type of a module is the path of a Python class. Versions up to 5.3 wrote
//! `sentence_transformers.models.Pooling`. Later versions write
//! `sentence_transformers.sentence_transformer.modules.pooling.Pooling` and, for modules
//! that all kinds of models share, `sentence_transformers.base.modules.dense.Dense`
//! (`util/deprecated_import.py` of version 6.2 has the table).

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind, excerpt, fail};
use crate::folder::config_json::check_others;
use crate::folder::source::{Source, checked_path};

/// The file's name.
pub(crate) const FILE: &str = "modules.json";

/// The largest number of modules that a folder may list.
const MODULE_LIMIT: usize = 64;

/// The kind of a module that Polyhead reads; each has the name of its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ModuleKind {
    Transformer,
    Pooling,
    Dense,
    LayerNorm,
    Normalize,
    /// Dropout, which has no effect when sentences are encoded.
    Dropout,
}

/// One entry of the list of modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModuleEntry {
    pub(crate) kind: ModuleKind,
    /// Folder of the module inside the model folder. Its text has been checked; the folder may
    /// be absent.
    pub(crate) path: String,
}

/// One entry of the list as the file has it.
#[derive(Deserialize)]
struct ModuleJson {
    path: String,
    #[serde(rename = "type")]
    class: String,
    #[serde(default)]
    kwargs: Vec<String>,
    /// Every other key.
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// Reads the list; `None` where the folder has none.
pub(crate) fn read(source: &Source) -> Result<Option<Vec<ModuleEntry>>, Error> {
    let Some(list) = source.json::<Vec<ModuleJson>>(FILE)? else { return Ok(None) };
    check(list).map(Some).map_err(|error| error.in_file(&source.describe(FILE)))
}

fn check(list: Vec<ModuleJson>) -> Result<Vec<ModuleEntry>, Error> {
    if list.len() > MODULE_LIMIT {
        fail!(Format, "expected at most {MODULE_LIMIT} modules, found {}", list.len());
    }
    let mut entries = Vec::with_capacity(list.len());
    for (index, module) in list.into_iter().enumerate() {
        let Some(kind) = kind_of_class(&module.class) else {
            let found = excerpt(&module.class);
            fail!(
                Unsupported,
                "module {index}: expected Transformer, Pooling, Dense, LayerNorm, Normalize or \
                 Dropout of sentence-transformers, found {found:?}"
            );
        };
        check_others(&module.others, &["idx", "name"])
            .map_err(|error| error.in_file(&format!("module {index}")))?;
        if let Some(argument) = module.kwargs.first() {
            fail!(
                Unsupported,
                "module {index}: arguments of `encode` are not passed on, found {argument:?}"
            );
        }
        checked_path(&module.path).map_err(|problem| {
            Error::new(ErrorKind::Format, format!("module {index}: {problem}"))
        })?;
        entries.push(ModuleEntry { kind, path: module.path });
    }
    check_order(&entries)?;
    Ok(entries)
}

/// The content of the file for this list, in the form that every version of
/// `sentence-transformers` reads.
pub(crate) fn to_json(entries: &[ModuleEntry]) -> Value {
    let list = entries.iter().enumerate().map(|(index, entry)| {
        json!({
            "idx": index,
            "name": index.to_string(),
            "path": entry.path,
            "type": format!("sentence_transformers.models.{:?}", entry.kind),
        })
    });
    list.collect()
}

/// Checks the order: one transformer, then one pooling, then modules for sentence vectors. A
/// cross-encoder has a transformer alone.
fn check_order(entries: &[ModuleEntry]) -> Result<(), Error> {
    if matches!(entries, [ModuleEntry { kind: ModuleKind::Transformer, .. }]) {
        return Ok(());
    }
    for (index, expected) in [ModuleKind::Transformer, ModuleKind::Pooling].into_iter().enumerate()
    {
        match entries.get(index) {
            Some(entry) if entry.kind == expected => {}
            found => {
                let found = found.map_or("nothing".to_owned(), |entry| format!("{:?}", entry.kind));
                fail!(Unsupported, "module {index}: expected {expected:?}, found {found}");
            }
        }
    }
    for (index, entry) in entries.iter().enumerate().skip(2) {
        if matches!(entry.kind, ModuleKind::Transformer | ModuleKind::Pooling) {
            fail!(Unsupported, "module {index}: expected a single {:?}, found another", entry.kind);
        }
    }
    Ok(())
}

/// The kind of the module with this Python class; `None` if Polyhead does not read it.
fn kind_of_class(class: &str) -> Option<ModuleKind> {
    let path = class.strip_prefix("sentence_transformers.")?;
    let packages = ["models.", "base.modules.", "sentence_transformer.modules."];
    let rest = packages.iter().find_map(|package| path.strip_prefix(package))?;
    // The class alone, or its file and the class.
    let (file, class) = match rest.rsplit_once('.') {
        Some((file, class)) => (Some(file), class),
        None => (None, rest),
    };
    let (kind, home) = match class {
        "Transformer" => (ModuleKind::Transformer, "transformer"),
        "Pooling" => (ModuleKind::Pooling, "pooling"),
        "Dense" => (ModuleKind::Dense, "dense"),
        "LayerNorm" => (ModuleKind::LayerNorm, "layer_norm"),
        "Normalize" => (ModuleKind::Normalize, "normalize"),
        "Dropout" => (ModuleKind::Dropout, "dropout"),
        _ => return None,
    };
    file.is_none_or(|file| file == home || file == class).then_some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Vec<ModuleEntry>, Error> {
        check(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn both_generations_of_type_names_are_read() {
        let cases = [
            ("sentence_transformers.models.Transformer", Some(ModuleKind::Transformer)),
            ("sentence_transformers.models.Pooling", Some(ModuleKind::Pooling)),
            ("sentence_transformers.models.Dense.Dense", Some(ModuleKind::Dense)),
            (
                "sentence_transformers.base.modules.transformer.Transformer",
                Some(ModuleKind::Transformer),
            ),
            ("sentence_transformers.base.modules.dense.Dense", Some(ModuleKind::Dense)),
            ("sentence_transformers.base.modules.normalize.Normalize", Some(ModuleKind::Normalize)),
            (
                "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
                Some(ModuleKind::Pooling),
            ),
            (
                "sentence_transformers.sentence_transformer.modules.layer_norm.LayerNorm",
                Some(ModuleKind::LayerNorm),
            ),
            ("sentence_transformers.models.Dropout", Some(ModuleKind::Dropout)),
            ("sentence_transformers.models.WeightedLayerPooling", None),
            ("sentence_transformers.sparse_encoder.models.Pooling", None),
            ("sentence_transformers.models.other.Pooling", None),
            ("custom.Pooling", None),
        ];
        for (class, expected) in cases {
            assert_eq!(kind_of_class(class), expected, "{class}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let entry = |kind, path: &str| ModuleEntry { kind, path: path.to_owned() };
        let entries = vec![
            entry(ModuleKind::Transformer, ""),
            entry(ModuleKind::Pooling, "1_Pooling"),
            entry(ModuleKind::LayerNorm, "2_LayerNorm"),
            entry(ModuleKind::Dense, "3_Dense"),
            entry(ModuleKind::Dropout, "4_Dropout"),
            entry(ModuleKind::Normalize, "5_Normalize"),
        ];
        assert_eq!(parse(&to_json(&entries).to_string()).unwrap(), entries);
    }

    #[test]
    fn lists_that_cannot_be_run_are_errors() {
        struct Case {
            json: &'static str,
            kind: ErrorKind,
            message: &'static str,
        }
        let cases = [
            Case {
                json: "[]",
                kind: ErrorKind::Unsupported,
                message: "module 0: expected Transformer, found nothing",
            },
            Case {
                json: r#"[{"path":"","type":"sentence_transformers.models.Transformer"},
                {"path":"1","type":"sentence_transformers.models.Dense"}]"#,
                kind: ErrorKind::Unsupported,
                message: "module 1: expected Pooling, found Dense",
            },
            Case {
                json: r#"[{"path":"","type":"sentence_transformers.models.Pooling"}]"#,
                kind: ErrorKind::Unsupported,
                message: "module 0: expected Transformer, found Pooling",
            },
            Case {
                json: r#"[{"path":"","type":"sentence_transformers.models.CNN"}]"#,
                kind: ErrorKind::Unsupported,
                message: "found \"sentence_transformers.models.CNN\"",
            },
            Case {
                json: r#"[{"path":"../x","type":"sentence_transformers.models.Transformer"}]"#,
                kind: ErrorKind::Format,
                message: "found \"../x\"",
            },
            Case {
                json: r#"[{"path":"/x","type":"sentence_transformers.models.Transformer"}]"#,
                kind: ErrorKind::Format,
                message: "found \"/x\"",
            },
            Case {
                json: r#"[{"path":"","type":"sentence_transformers.models.Transformer","kwargs":["task"]}]"#,
                kind: ErrorKind::Unsupported,
                message: "found \"task\"",
            },
            Case {
                json: r#"[{"path":"","type":"sentence_transformers.models.Transformer","device":"x"}]"#,
                kind: ErrorKind::Unsupported,
                message: "module 0: `device`: expected a known key",
            },
        ];
        for case in cases {
            let error = parse(case.json).unwrap_err();
            let message = error.message();
            assert_eq!(error.kind(), case.kind, "{}", case.json);
            assert!(message.contains(case.message), "{}: {message}", case.json);
        }
    }
}
