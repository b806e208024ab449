//! Model folders as users have them, and as nobody should.

use std::fs;
use std::path::{Path, PathBuf};

use polyhead_compute::{Activation, StoredType};
use polyhead_model::{
    Architecture, Error, ErrorKind, ModelFolder, Module, ParameterGroup, PoolingMode, Residual,
    Similarity,
};
use serde_json::{Value, json};

fn tiny(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/models").join(name)
}

fn open(name: &str) -> ModelFolder {
    ModelFolder::open(&tiny(name)).unwrap()
}

/// A copy of a tiny folder that a test may spoil.
struct Copy {
    folder: tempfile::TempDir,
}

impl Copy {
    fn of(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy_tree(&tiny(name), folder.path());
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Changes a JSON file.
    fn edit(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut value = serde_json::from_slice(&fs::read(self.path(name)).unwrap()).unwrap();
        change(&mut value);
        self.write(name, value.to_string());
    }

    fn write(&self, name: &str, data: impl AsRef<[u8]>) {
        fs::write(self.path(name), data).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    /// Changes the tensors of a safetensors file.
    fn edit_tensors(&self, name: &str, change: impl FnOnce(&mut Vec<Tensor>)) {
        let mut tensors = read_tensors(&self.path(name));
        change(&mut tensors);
        self.write(name, file_of(&tensors));
    }

    fn open(&self) -> Result<ModelFolder, Error> {
        ModelFolder::open(self.folder.path())
    }

    fn error(&self) -> (ErrorKind, String) {
        let error = self.open().unwrap_err();
        (error.kind(), error.to_string())
    }
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::write(target, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

#[derive(Clone)]
struct Tensor {
    name: String,
    dtype: String,
    shape: Vec<u64>,
    data: Vec<u8>,
}

fn read_tensors(path: &Path) -> Vec<Tensor> {
    let bytes = fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Map<String, Value> =
        serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let data = &bytes[8 + length..];
    let entries = header.into_iter().filter(|(name, _)| name != "__metadata__");
    let mut tensors: Vec<(usize, Tensor)> = entries
        .map(|(name, entry)| {
            let at = |i: usize| entry["data_offsets"][i].as_u64().unwrap() as usize;
            let tensor = Tensor {
                name,
                dtype: entry["dtype"].as_str().unwrap().to_owned(),
                shape: entry["shape"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|n| n.as_u64().unwrap())
                    .collect(),
                data: data[at(0)..at(1)].to_vec(),
            };
            (at(0), tensor)
        })
        .collect();
    tensors.sort_by_key(|(start, _)| *start);
    tensors.into_iter().map(|(_, tensor)| tensor).collect()
}

fn file_of(tensors: &[Tensor]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for tensor in tensors {
        let start = data.len();
        data.extend_from_slice(&tensor.data);
        let entry = json!({
            "dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [start, data.len()]
        });
        header.insert(tensor.name.clone(), entry);
    }
    let header = Value::Object(header).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(&data);
    bytes
}

#[test]
fn a_plain_bert_folder_has_roles_index_and_mean_pooling() {
    let folder = open("tiny-bert");
    assert_eq!(folder.config.architecture, Architecture::Bert);
    assert_eq!((folder.config.hidden_size, folder.config.layers, folder.config.heads), (40, 2, 4));
    assert_eq!(folder.weights.word.shape(), [156, 40]);
    assert_eq!(folder.weights.position.shape(), [64, 40]);
    assert_eq!(folder.weights.token_type.as_ref().unwrap().shape(), [2, 40]);
    assert_eq!(folder.weights.layers.len(), 2);
    let layer = &folder.weights.layers[1];
    assert_eq!(layer.intermediate.weight.shape(), [72, 40]);
    assert_eq!(layer.output.weight.shape(), [40, 72]);

    let names: Vec<&str> = folder.parameters.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names.len(), 5 + 2 * 16 + 2);
    assert_eq!(names[0], "embeddings.word_embeddings.weight");
    assert_eq!(names[5], "encoder.layer.0.attention.self.query.weight");
    assert_eq!(names[38], "pooler.dense.bias");
    let groups: Vec<_> = folder.parameters.iter().map(|p| p.group).collect();
    assert_eq!(groups[4], ParameterGroup::Embeddings);
    assert_eq!(groups[36], ParameterGroup::Layer(1));
    assert_eq!(groups[37], ParameterGroup::Pooler);

    let [Module::Pooling(pooling)] = folder.modules.as_slice() else {
        panic!("{:?}", folder.modules)
    };
    assert_eq!(pooling.modes, [PoolingMode::Mean]);
    assert_eq!(folder.notices.len(), 1, "{:?}", folder.notices);
    assert!(folder.notices[0].contains("no modules.json"), "{:?}", folder.notices);
    assert_eq!((folder.dimension(), folder.max_length), (40, None));
    assert!(folder.file("tokenizer.json").unwrap().is_some());
    assert!(folder.file("nothing.json").unwrap().is_none());
}

/// Each role holds the tensor of its name, for both families.
#[test]
fn roles_hold_the_tensors_of_their_names() {
    let by_name = |folder: &ModelFolder, name: &str| {
        folder.parameters.iter().find(|p| p.name == name).unwrap().tensor.to_vec()
    };
    let bert = open("tiny-bert");
    let layer = &bert.weights.layers[1];
    let named = |part: &str| by_name(&bert, &format!("encoder.layer.1.{part}"));
    assert_eq!(layer.query.weight.to_vec(), named("attention.self.query.weight"));
    assert_eq!(layer.key.bias.as_deref().unwrap(), named("attention.self.key.bias"));
    assert_eq!(layer.value.weight.to_vec(), named("attention.self.value.weight"));
    assert_eq!(layer.attention_output.weight.to_vec(), named("attention.output.dense.weight"));
    assert_eq!(layer.attention_norm.weight, named("attention.output.LayerNorm.weight"));
    assert_eq!(layer.intermediate.bias.as_deref().unwrap(), named("intermediate.dense.bias"));
    assert_eq!(layer.output.weight.to_vec(), named("output.dense.weight"));
    assert_eq!(layer.output_norm.bias, named("output.LayerNorm.bias"));
    assert_eq!(bert.weights.embedding_norm.bias, by_name(&bert, "embeddings.LayerNorm.bias"));

    let distil = open("tiny-distilbert");
    let layer = &distil.weights.layers[1];
    let named = |part: &str| by_name(&distil, &format!("transformer.layer.1.{part}"));
    assert_eq!(layer.query.weight.to_vec(), named("attention.q_lin.weight"));
    assert_eq!(layer.key.weight.to_vec(), named("attention.k_lin.weight"));
    assert_eq!(layer.value.bias.as_deref().unwrap(), named("attention.v_lin.bias"));
    assert_eq!(layer.attention_output.weight.to_vec(), named("attention.out_lin.weight"));
    assert_eq!(layer.attention_norm.bias, named("sa_layer_norm.bias"));
    assert_eq!(layer.intermediate.weight.to_vec(), named("ffn.lin1.weight"));
    assert_eq!(layer.output.weight.to_vec(), named("ffn.lin2.weight"));
    assert_eq!(layer.output_norm.weight, named("output_layer_norm.weight"));
    assert!(distil.weights.token_type.is_none());
    assert_eq!((distil.config.hidden_size, distil.config.heads), (48, 3));
    assert_eq!(distil.parameters.len(), 4 + 2 * 16);
}

#[test]
fn every_form_of_a_checkpoint_holds_the_same_numbers() {
    struct Case {
        name: &'static str,
        like: &'static str,
        stored_type: StoredType,
        tolerance: f32,
    }
    let cases = [
        Case {
            name: "tiny-bert-sharded",
            like: "tiny-bert",
            stored_type: StoredType::F32,
            tolerance: 0.0,
        },
        Case {
            name: "tiny-bert-prefixed",
            like: "tiny-bert",
            stored_type: StoredType::F32,
            tolerance: 0.0,
        },
        // Half precision keeps 11 bits, the bfloat 8; the weights are below 4.
        Case {
            name: "tiny-bert-f16",
            like: "tiny-bert",
            stored_type: StoredType::F16,
            tolerance: 2e-3,
        },
        Case {
            name: "tiny-bert-bf16",
            like: "tiny-bert",
            stored_type: StoredType::Bf16,
            tolerance: 2e-2,
        },
        Case {
            name: "tiny-distilbert-prefixed",
            like: "tiny-distilbert",
            stored_type: StoredType::F32,
            tolerance: 0.0,
        },
    ];
    for case in cases {
        let (found, expected) = (open(case.name), open(case.like));
        assert_eq!(found.parameters.len(), expected.parameters.len(), "{}", case.name);
        for (found, expected) in found.parameters.iter().zip(&expected.parameters) {
            assert_eq!(found.stored_type, case.stored_type, "{} {}", case.name, found.name);
            assert_eq!(found.group, expected.group, "{} {}", case.name, found.name);
            let (a, b) = (found.tensor.to_vec(), expected.tensor.to_vec());
            let worst = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst <= case.tolerance, "{} {}: {worst}", case.name, found.name);
        }
    }
}

#[test]
fn heads_of_pretraining_take_one_line_and_buffers_none() {
    for (name, heads) in [("tiny-bert-prefixed", 8), ("tiny-distilbert-prefixed", 6)] {
        let folder = open(name);
        let lines: Vec<_> = folder.notices.iter().filter(|line| line.contains("tensors")).collect();
        assert_eq!(lines.len(), 1, "{name}: {:?}", folder.notices);
        assert!(lines[0].contains(&format!("{heads} tensors of pre-training heads")), "{lines:?}");
    }
    let names = open("tiny-bert-prefixed").parameters;
    assert_eq!(names[3].name, "bert.embeddings.LayerNorm.gamma");
}

#[test]
fn a_folder_of_version_3_loads() {
    let folder = open("st3-dense");
    let [
        Module::Pooling(pooling),
        Module::Dense { linear, activation, residual },
        Module::Normalize,
    ] = folder.modules.as_slice()
    else {
        panic!("{:?}", folder.modules)
    };
    assert_eq!(pooling.modes, [PoolingMode::Mean]);
    assert_eq!(linear.weight.shape(), [24, 40]);
    assert_eq!((*activation, residual.is_none()), (Activation::Tanh, true));
    assert_eq!((folder.dimension(), folder.max_length), (24, Some(32)));
    assert_eq!(folder.notices, Vec::<String>::new());
    let last = folder.parameters.last().unwrap();
    assert_eq!(
        (last.name.as_str(), last.group),
        ("2_Dense/linear.bias", ParameterGroup::Module(1))
    );

    let folder = open("st3-distil");
    let [Module::Pooling(pooling)] = folder.modules.as_slice() else {
        panic!("{:?}", folder.modules)
    };
    assert_eq!(pooling.modes, [PoolingMode::LastToken]);
}

#[test]
fn a_folder_of_version_6_loads() {
    let folder = open("st6-dense");
    assert_eq!((folder.modules.len(), folder.dimension(), folder.max_length), (3, 24, None));
    assert_eq!(
        folder.prompts,
        [("document".into(), String::new()), ("query".into(), String::new())]
    );
    assert_eq!((folder.default_prompt_name, folder.similarity), (None, Similarity::Cosine));

    let folder = open("st6-multi");
    let [Module::Pooling(pooling), Module::LayerNorm { norm, eps }, first, second] =
        folder.modules.as_slice()
    else {
        panic!("{:?}", folder.modules)
    };
    assert_eq!(pooling.modes, [PoolingMode::Cls, PoolingMode::Max, PoolingMode::Mean]);
    assert!(!pooling.include_prompt);
    assert_eq!((norm.weight.len(), *eps), (120, 1e-5));
    let Module::Dense {
        linear,
        activation: Activation::Gelu,
        residual: Some(Residual::Projection(shortcut)),
    } = first
    else {
        panic!("{first:?}")
    };
    assert_eq!((linear.weight.shape(), shortcut.weight.shape()), (&[28, 120][..], &[28, 120][..]));
    let Module::Dense {
        linear,
        activation: Activation::Identity,
        residual: Some(Residual::Identity),
    } = second
    else {
        panic!("{second:?}")
    };
    assert!(linear.bias.is_none());
    assert_eq!(folder.default_prompt_name.as_deref(), Some("query"));
    assert_eq!(folder.prompt("passage"), Some("passage: "));
    assert_eq!(folder.prompt("nothing"), None);
}

#[test]
fn the_encoder_may_stand_in_a_sub_folder() {
    let copy = Copy::of("st3-dense");
    let inner = copy.path("0_Transformer");
    fs::create_dir(&inner).unwrap();
    for name in ["config.json", "model.safetensors", "sentence_bert_config.json", "tokenizer.json"]
    {
        fs::rename(copy.path(name), inner.join(name)).unwrap();
    }
    copy.edit("modules.json", |modules| modules[0]["path"] = json!("0_Transformer"));
    let folder = copy.open().unwrap();
    assert_eq!((folder.max_length, folder.dimension()), (Some(32), 24));
    assert_eq!(folder.encoder_directory(), Some(inner));
    assert!(folder.file("tokenizer.json").unwrap().is_some());
}

#[test]
fn the_directory_of_a_run_opens_its_model() {
    let run = tempfile::tempdir().unwrap();
    copy_tree(&tiny("st6-dense"), &run.path().join("model"));
    assert_eq!(ModelFolder::open(run.path()).unwrap().dimension(), 24);
}

#[test]
fn dropout_modules_do_nothing() {
    let copy = Copy::of("st3-distil");
    copy.edit("modules.json", |modules| {
        let dropout = json!({"path": "2_Dropout", "type": "sentence_transformers.models.Dropout"});
        modules.as_array_mut().unwrap().push(dropout);
    });
    assert_eq!(copy.open().unwrap().modules.len(), 1);
}

#[test]
fn the_pooler_may_be_missing_and_strangers_are_named() {
    let copy = Copy::of("tiny-bert");
    copy.edit_tensors("model.safetensors", |tensors| {
        tensors.retain(|tensor| !tensor.name.starts_with("pooler."));
        let mut stranger = tensors[0].clone();
        stranger.name = "classifier.weight".to_owned();
        tensors.push(stranger);
    });
    let folder = copy.open().unwrap();
    assert!(folder.parameters.iter().all(|p| p.group != ParameterGroup::Pooler));
    assert!(
        folder.notices.iter().any(|line| line.ends_with("not used: `classifier.weight`")),
        "{:?}",
        folder.notices
    );
}

/// One thing wrong with a folder, and what must be said about it.
struct Case {
    of: &'static str,
    spoil: fn(&Copy),
    kind: ErrorKind,
    message: &'static str,
}

#[track_caller]
fn check(cases: &[Case]) {
    for case in cases {
        let copy = Copy::of(case.of);
        (case.spoil)(&copy);
        let (kind, message) = copy.error();
        assert!(message.contains(case.message), "expected {:?} in: {message}", case.message);
        assert_eq!(kind, case.kind, "{message}");
    }
}

#[test]
fn a_folder_without_what_it_needs_is_refused() {
    check(&[
        Case {
            of: "tiny-bert",
            spoil: |copy| copy.remove("config.json"),
            kind: ErrorKind::Format,
            message: "config.json: no such file",
        },
        Case {
            of: "tiny-bert",
            spoil: |copy| copy.write("config.json", "{"),
            kind: ErrorKind::Format,
            message: "config.json: EOF",
        },
        Case {
            of: "tiny-bert",
            spoil: |copy| copy.edit("config.json", |config| config["model_type"] = json!("gpt2")),
            kind: ErrorKind::Unsupported,
            message: "expected bert or distilbert, found \"gpt2\"",
        },
        Case {
            of: "tiny-bert",
            spoil: |copy| {
                copy.edit("config.json", |config| config["hidden_size"] = json!(1u64 << 62))
            },
            kind: ErrorKind::Format,
            message: "`hidden_size`: expected 1 to 16384, found 4611686018427387904",
        },
        Case {
            of: "tiny-bert",
            spoil: |copy| copy.edit("config.json", |config| config["hidden_size"] = json!(-40)),
            kind: ErrorKind::Format,
            message: "config.json: invalid value: integer `-40`",
        },
        Case {
            of: "tiny-bert",
            spoil: |copy| copy.remove("model.safetensors"),
            kind: ErrorKind::Format,
            message: "no weights: expected model.safetensors",
        },
    ]);
    let error = ModelFolder::open(Path::new("does/not/exist")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("does/not/exist"), "{error}");
    let error = ModelFolder::open(&tiny("tiny-bert").join("config.json")).unwrap_err();
    assert!(error.to_string().contains("expected a model folder, found a file"), "{error}");
}

#[test]
fn a_pickle_is_not_opened_but_can_be_converted() {
    let copy = Copy::of("tiny-bert");
    copy.remove("model.safetensors");
    copy.write("pytorch_model.bin", "not read");
    let (kind, message) = copy.error();
    assert_eq!(kind, ErrorKind::Unsupported);
    let place = copy.folder.path().display().to_string();
    let lines: Vec<&str> = message.lines().collect();
    assert_eq!(lines.len(), 3, "{message}");
    assert!(lines[0].contains("expected model.safetensors, found pytorch_model.bin"), "{message}");
    assert_eq!(lines[1].trim(), "from transformers import AutoModel");
    assert_eq!(
        lines[2].trim(),
        format!(
            "AutoModel.from_pretrained({place:?}).save_pretrained({place:?}, safe_serialization=True)"
        )
    );

    let copy = Copy::of("st6-dense");
    copy.remove("2_Dense/model.safetensors");
    copy.write("2_Dense/pytorch_model.bin", "not read");
    let (kind, message) = copy.error();
    assert_eq!((kind, message.lines().count()), (ErrorKind::Unsupported, 3), "{message}");
    assert!(
        message.contains("from sentence_transformers import SentenceTransformer\n"),
        "{message}"
    );
}

#[test]
fn tensors_that_do_not_fit_the_configuration_are_named() {
    check(&[
        Case {
            of: "tiny-bert",
            spoil: |copy| {
                copy.edit_tensors("model.safetensors", |tensors| {
                    let at = tensors.iter().position(|t| t.name.ends_with("1.output.dense.weight"));
                    tensors[at.unwrap()].shape.reverse();
                });
            },
            kind: ErrorKind::Format,
            message: "model.safetensors: tensor `encoder.layer.1.output.dense.weight`: expected [40, 72], found [72, 40]",
        },
        Case {
            of: "tiny-bert",
            spoil: |copy| copy.edit("config.json", |config| config["vocab_size"] = json!(157)),
            kind: ErrorKind::Format,
            message: "tensor `embeddings.word_embeddings.weight`: expected [157, 40], found [156, 40]",
        },
        Case {
            of: "tiny-bert",
            spoil: |copy| {
                copy.edit_tensors("model.safetensors", |tensors| {
                    tensors.retain(|t| !t.name.contains("layer.0.attention.self.key"));
                });
            },
            kind: ErrorKind::Format,
            message: "missing tensors: `encoder.layer.0.attention.self.key.weight`, `encoder.layer.0.attention.self.key.bias`",
        },
        Case {
            of: "tiny-bert",
            spoil: |copy| {
                copy.edit("config.json", |config| config["num_hidden_layers"] = json!(200))
            },
            kind: ErrorKind::Format,
            message: "and 3148 more",
        },
        Case {
            of: "tiny-bert",
            spoil: |copy| {
                copy.edit_tensors("model.safetensors", |tensors| {
                    let bias = tensors.iter_mut().find(|t| t.name == "embeddings.LayerNorm.bias");
                    bias.unwrap().dtype = "I32".to_owned();
                });
            },
            kind: ErrorKind::Unsupported,
            message: "tensor `embeddings.LayerNorm.bias`: expected F32, F16 or BF16, found I32",
        },
        Case {
            of: "tiny-bert",
            spoil: |copy| {
                copy.edit_tensors("model.safetensors", |tensors| {
                    let mut twin = tensors[0].clone();
                    twin.name = format!("bert.{}", twin.name);
                    tensors.push(twin);
                });
            },
            kind: ErrorKind::Format,
            message: "found twice",
        },
        Case {
            of: "tiny-bert",
            spoil: |copy| {
                let bytes = fs::read(copy.path("model.safetensors")).unwrap();
                copy.write("model.safetensors", &bytes[..bytes.len() - 1]);
            },
            kind: ErrorKind::Format,
            message: "the file is damaged or cut short",
        },
        Case {
            of: "tiny-bert",
            spoil: |copy| copy.write("model.safetensors", []),
            kind: ErrorKind::Format,
            message: "found 0 bytes",
        },
    ]);
}

#[test]
fn an_index_cannot_name_files_elsewhere() {
    fn point(copy: &Copy, to: &str) {
        copy.edit("model.safetensors.index.json", |index| {
            index["weight_map"]["pooler.dense.bias"] = json!(to);
        });
    }
    check(&[
        Case {
            of: "tiny-bert-sharded",
            spoil: |copy| point(copy, "../model.safetensors"),
            kind: ErrorKind::Format,
            message: "found \"../model.safetensors\"",
        },
        Case {
            of: "tiny-bert-sharded",
            spoil: |copy| point(copy, "/etc/hosts.safetensors"),
            kind: ErrorKind::Format,
            message: "found \"/etc/hosts.safetensors\"",
        },
        Case {
            of: "tiny-bert-sharded",
            spoil: |copy| point(copy, "absent.safetensors"),
            kind: ErrorKind::Format,
            message: "shard \"absent.safetensors\": no such file",
        },
        Case {
            of: "tiny-bert-sharded",
            spoil: |copy| {
                copy.edit("model.safetensors.index.json", |index| {
                    index["weight_map"]["extra"] = json!("model-00001-of-00002.safetensors");
                });
            },
            kind: ErrorKind::Format,
            message: "tensor `extra`: expected in model-00001-of-00002.safetensors, not found",
        },
        Case {
            of: "tiny-bert-sharded",
            spoil: |copy| {
                copy.edit_tensors("model-00002-of-00002.safetensors", |tensors| {
                    tensors[0].name = "embeddings.LayerNorm.bias".to_owned();
                });
            },
            kind: ErrorKind::Format,
            message: "tensor `embeddings.LayerNorm.bias`: found twice",
        },
    ]);
}

#[test]
fn modules_that_do_not_fit_are_named() {
    check(&[
        Case {
            of: "st6-dense",
            spoil: |copy| copy.edit("modules.json", |list| list[2]["path"] = json!("../2_Dense")),
            kind: ErrorKind::Format,
            message: "module 2: expected a path inside the model folder, found \"../2_Dense\"",
        },
        Case {
            of: "st6-dense",
            spoil: |copy| copy.edit("modules.json", |list| list[2]["type"] = json!("os.system")),
            kind: ErrorKind::Unsupported,
            message: "found \"os.system\"",
        },
        Case {
            of: "st6-dense",
            spoil: |copy| copy.edit("modules.json", |list| list[2]["path"] = json!("absent")),
            kind: ErrorKind::Format,
            message: "config.json: no such file",
        },
        Case {
            of: "st6-dense",
            spoil: |copy| {
                copy.edit("1_Pooling/config.json", |c| c["embedding_dimension"] = json!(41))
            },
            kind: ErrorKind::Format,
            message: "expected 40, the width of the encoder, found 41",
        },
        Case {
            of: "st6-dense",
            spoil: |copy| {
                copy.edit("1_Pooling/config.json", |c| c["pooling_mode"] = json!("median"))
            },
            kind: ErrorKind::Unsupported,
            message: "`pooling_mode`: expected one of cls",
        },
        Case {
            of: "st6-dense",
            spoil: |copy| copy.edit("2_Dense/config.json", |c| c["in_features"] = json!(41)),
            kind: ErrorKind::Format,
            message: "`in_features`: expected 40, the width of what comes before, found 41",
        },
        Case {
            of: "st6-dense",
            spoil: |copy| copy.edit("2_Dense/config.json", |c| c["out_features"] = json!(25)),
            kind: ErrorKind::Format,
            message: "tensor `linear.weight`: expected [25, 40], found [24, 40]",
        },
        Case {
            of: "st6-dense",
            spoil: |copy| copy.edit("2_Dense/config.json", |c| c["out_features"] = json!(0)),
            kind: ErrorKind::Format,
            message: "`out_features`: expected 1 to",
        },
        Case {
            of: "st6-dense",
            spoil: |copy| copy.edit("2_Dense/config.json", |c| c["bias"] = json!(false)),
            kind: ErrorKind::Format,
            message: "unexpected tensors: `linear.bias`",
        },
        Case {
            of: "st6-dense",
            spoil: |copy| copy.edit("2_Dense/config.json", |c| c["use_residual"] = json!(true)),
            kind: ErrorKind::Format,
            message: "missing tensors: `residual.weight`",
        },
        Case {
            of: "st6-dense",
            spoil: |copy| {
                copy.edit("2_Dense/config.json", |c| {
                    c["activation_function"] = json!("torch.nn.Softmax")
                });
            },
            kind: ErrorKind::Unsupported,
            message: "found \"torch.nn.Softmax\"",
        },
        Case {
            of: "st6-dense",
            spoil: |copy| {
                copy.edit("2_Dense/config.json", |c| c["activation_function"] = json!("evil.Tanh"));
            },
            kind: ErrorKind::Unsupported,
            message: "found \"evil.Tanh\"",
        },
        Case {
            of: "st6-dense",
            spoil: |copy| {
                copy.edit("2_Dense/config.json", |c| {
                    c["module_input_name"] = json!("token_embeddings")
                });
            },
            kind: ErrorKind::Unsupported,
            message: "`module_input_name`: expected sentence_embedding, found \"token_embeddings\"",
        },
        Case {
            of: "st6-dense",
            spoil: |copy| copy.edit("2_Dense/config.json", |c| c["new_setting"] = json!(1)),
            kind: ErrorKind::Format,
            message: "new_setting",
        },
        Case {
            of: "st6-dense",
            spoil: |copy| {
                copy.edit("3_Normalize/config.json", |c| {
                    c["module_input_name"] = json!("token_embeddings")
                });
            },
            kind: ErrorKind::Unsupported,
            message: "3_Normalize/config.json: `module_input_name`",
        },
        Case {
            of: "st6-multi",
            spoil: |copy| copy.edit("2_LayerNorm/config.json", |c| c["dimension"] = json!(40)),
            kind: ErrorKind::Format,
            message: "`dimension`: expected 120, the width of what comes before, found 40",
        },
        Case {
            of: "st6-multi",
            spoil: |copy| {
                copy.edit("config_sentence_transformers.json", |c| {
                    c["model_type"] = json!("SparseEncoder")
                });
            },
            kind: ErrorKind::Unsupported,
            message: "expected SentenceTransformer, found \"SparseEncoder\"",
        },
        Case {
            of: "st6-multi",
            spoil: |copy| {
                copy.edit("config_sentence_transformers.json", |c| c["truncate_dim"] = json!(29));
            },
            kind: ErrorKind::Format,
            message: "`truncate_dim`: expected at most 28, found 29",
        },
        Case {
            of: "st6-multi",
            spoil: |copy| {
                copy.edit("sentence_bert_config.json", |c| {
                    c["transformer_task"] = json!("fill-mask")
                });
            },
            kind: ErrorKind::Unsupported,
            message: "`transformer_task`: expected feature-extraction, found \"fill-mask\"",
        },
    ]);
}
