//! Damaged and hostile model folders: each is refused, and the message says where and why.

use std::fs;
use std::path::Path;

use crate::tiny_models::Copy;
use polyhead_model::{ErrorKind, ModelFolder};
use polyhead_testing::{FAMILIES, tiny_model};
use serde_json::json;

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
            message: "found \"gpt2\"",
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
            message: "config.json: `hidden_size`: expected a whole number, 0 or more, found -40",
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
    let error = ModelFolder::open(&tiny_model("tiny-bert").join("config.json")).unwrap_err();
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
            message: "and 3156 more",
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
            message: "tensor `embeddings.LayerNorm.bias`: expected F32, F64, F16 or BF16, found I32",
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
                copy.edit_tensors("model.safetensors", |tensors| {
                    let mut twins = tensors.clone();
                    tensors.iter_mut().for_each(|tensor| tensor.name.insert_str(0, "query."));
                    twins.iter_mut().for_each(|tensor| tensor.name.insert_str(0, "text."));
                    tensors.extend(twins);
                });
            },
            kind: ErrorKind::Format,
            message: "tensor `embeddings.word_embeddings.weight`: expected one encoder, found one under each of `query.`, `text.`",
        },
        Case {
            of: "tiny-bert",
            spoil: |copy| {
                copy.edit_tensors("model.safetensors", |tensors| {
                    let mut twin = tensors[1].clone();
                    tensors
                        .iter_mut()
                        .for_each(|tensor| tensor.name.insert_str(0, "0.auto_model."));
                    assert_ne!(twin.name, "embeddings.word_embeddings.weight");
                    twin.name = "pooler.dense.bias".to_owned();
                    tensors.push(twin);
                });
            },
            kind: ErrorKind::Format,
            message: "tensor `pooler.dense.bias`: found twice, with and without `0.auto_model.`",
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
            message: "found an empty file",
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
            message: "`in_features`: expected 40, the width of the module before, found 41",
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
            message: "`dimension`: expected 120, the width of the module before, found 40",
        },
        Case {
            of: "st6-multi",
            spoil: |copy| {
                copy.edit("config_sentence_transformers.json", |c| {
                    c["model_type"] = json!("SparseEncoder")
                });
            },
            kind: ErrorKind::Unsupported,
            message: "expected SentenceTransformer or CrossEncoder, found \"SparseEncoder\"",
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

/// A `config.json` that asks for what the encoder does not compute: the message has key and value.
#[test]
fn keys_of_other_arithmetic_are_refused_in_every_family() {
    let everywhere = [
        ("position_embedding_type", json!("relative_key_query"), "found \"relative_key_query\""),
        ("is_decoder", json!(true), "found true"),
        ("add_cross_attention", json!(true), "found true"),
        ("is_encoder_decoder", json!(true), "found true"),
        ("rope_scaling", json!({"type": "linear", "factor": 2.0}), "found \"linear\""),
        ("rope_scaling", json!({"rope_type": "default", "factor": 8}), "`rope_scaling.factor`"),
        ("rope_scaling", json!(4), "`rope_scaling`: expected an object, found 4"),
        ("pruned_heads", json!({"1": [0]}), "expected none, found some"),
        ("quantization_config", json!({"bits": 4}), "expected none, found one"),
        ("auto_map", json!({"AutoModel": "own.Model"}), "found \"own.Model\""),
        ("model_type", json!("deberta"), "found \"deberta\", whose attention"),
        ("model_type", json!("t5"), "found \"t5\", an encoder with a decoder"),
        ("model_type", json!("qwen3"), "found \"qwen3\", a decoder"),
    ];
    for name in FAMILIES {
        for (key, value, expected) in &everywhere {
            let copy = Copy::of(name);
            copy.edit("config.json", |config| config[*key] = value.clone());
            let (_, message) = copy.error();
            assert!(message.contains("config.json: "), "{name}: {message}");
            assert!(message.contains(&format!("`{key}")), "{name}, {key}: {message}");
            assert!(message.contains(expected), "{name}, {key}: {message}");
        }
    }
}

/// A tokenizer of another model has ids beyond the rows of the encoder.
#[test]
fn a_tokenizer_of_a_larger_vocabulary_is_refused_in_every_family() {
    for name in FAMILIES {
        let copy = Copy::of(name);
        let rows = copy.open().unwrap().config.vocab_size;
        copy.edit("tokenizer.json", |tokenizer| {
            let vocab = tokenizer["model"]["vocab"].as_object_mut().unwrap();
            vocab.insert("onemore".to_owned(), json!(rows));
        });
        let error = crate::load(copy.folder.path()).err().unwrap();
        let expected = format!("the tokenizer gives ids up to {rows}, the encoder has {rows} rows");
        assert!(error.contains(&expected), "{name}: {error}");
    }
}

/// The tensors that not every family has, absent or of another shape.
#[test]
fn parts_of_other_families_are_checked_like_all_tensors() {
    for (name, tensor, found, expected) in [
        ("tiny-mpnet", "encoder.relative_attention_bias.weight", [2, 32], "[32, 2]"),
        ("tiny-electra", "embeddings_project.weight", [12, 20], "[20, 12]"),
        ("tiny-roberta", "embeddings.position_embeddings.weight", [20, 66], "[66, 20]"),
        ("tiny-modernbert", "layers.1.attn.Wqkv.weight", [20, 60], "[60, 20]"),
        ("tiny-modernbert", "layers.2.mlp.Wi.weight", [28, 40], "[56, 20]"),
        ("tiny-modernbert", "layers.3.mlp.Wo.weight", [28, 20], "[20, 28]"),
        ("tiny-modernbert", "layers.1.attn_norm.weight", [4, 5], "[20]"),
        ("tiny-modernbert", "final_norm.weight", [1, 20], "[20]"),
    ] {
        let copy = Copy::of(name);
        copy.edit_tensors("model.safetensors", |tensors| {
            let at = tensors.iter_mut().find(|t| t.name == tensor).unwrap();
            let count = |shape: &[u64]| shape.iter().product::<u64>();
            assert_eq!(count(&at.shape), count(&found), "{tensor}");
            at.shape = found.to_vec();
        });
        let (kind, message) = copy.error();
        assert_eq!(kind, ErrorKind::Format, "{message}");
        let wanted = format!("tensor `{tensor}`: expected {expected}, found {found:?}");
        assert!(message.contains(&wanted), "{message}");

        let copy = Copy::of(name);
        copy.edit_tensors("model.safetensors", |tensors| tensors.retain(|t| t.name != tensor));
        let (kind, message) = copy.error();
        assert_eq!(kind, ErrorKind::Format, "{message}");
        assert!(message.contains(&format!("missing tensors: `{tensor}`")), "{message}");
    }
}
