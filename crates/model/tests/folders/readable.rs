//! Regular model folders of every supported form.

use std::fs;

use crate::tiny_models::Copy;
use polyhead_compute::{Activation, StoredType};
use polyhead_model::{ModelFolder, Module, ParameterGroup, PoolingMode, Residual, Similarity};
use polyhead_testing::{copy_folder, tiny_model};
use serde_json::json;

fn open(name: &str) -> ModelFolder {
    ModelFolder::open(&tiny_model(name)).unwrap()
}

#[test]
fn a_plain_bert_folder_has_roles_index_and_mean_pooling() {
    let folder = open("tiny-bert");
    assert_eq!(folder.config.family.name, "BERT");
    assert_eq!((folder.config.hidden_size, folder.config.layers, folder.config.heads), (40, 2, 4));
    assert_eq!(folder.weights.word.shape(), [156, 40]);
    assert_eq!(folder.weights.position.as_ref().unwrap().shape(), [64, 40]);
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

/// Each role holds the tensor of its name, for all families with names of their own.
#[test]
fn roles_hold_the_tensors_of_their_names() {
    let by_name = |folder: &ModelFolder, name: &str| {
        folder.parameters.iter().find(|p| p.name == name).unwrap().tensor.to_vec()
    };
    let bert = open("tiny-bert");
    let layer = &bert.weights.layers[1];
    let named = |part: &str| by_name(&bert, &format!("encoder.layer.1.{part}"));
    assert_eq!(layer.query_key_value[0].weight.to_vec(), named("attention.self.query.weight"));
    assert_eq!(layer.query_key_value[1].bias.as_deref().unwrap(), named("attention.self.key.bias"));
    assert_eq!(layer.query_key_value[2].weight.to_vec(), named("attention.self.value.weight"));
    assert_eq!(layer.attention_output.weight.to_vec(), named("attention.output.dense.weight"));
    assert_eq!(layer.attention_norm.weight, named("attention.output.LayerNorm.weight"));
    assert_eq!(layer.intermediate.bias.as_deref().unwrap(), named("intermediate.dense.bias"));
    assert_eq!(layer.output.weight.to_vec(), named("output.dense.weight"));
    assert_eq!(layer.output_norm.as_ref().unwrap().bias, named("output.LayerNorm.bias"));
    assert_eq!(bert.weights.embedding_norm.bias, by_name(&bert, "embeddings.LayerNorm.bias"));

    let distil = open("tiny-distilbert");
    let layer = &distil.weights.layers[1];
    let named = |part: &str| by_name(&distil, &format!("transformer.layer.1.{part}"));
    assert_eq!(layer.query_key_value[0].weight.to_vec(), named("attention.q_lin.weight"));
    assert_eq!(layer.query_key_value[1].weight.to_vec(), named("attention.k_lin.weight"));
    assert_eq!(layer.query_key_value[2].bias.as_deref().unwrap(), named("attention.v_lin.bias"));
    assert_eq!(layer.attention_output.weight.to_vec(), named("attention.out_lin.weight"));
    assert_eq!(layer.attention_norm.bias, named("sa_layer_norm.bias"));
    assert_eq!(layer.intermediate.weight.to_vec(), named("ffn.lin1.weight"));
    assert_eq!(layer.output.weight.to_vec(), named("ffn.lin2.weight"));
    assert_eq!(layer.output_norm.as_ref().unwrap().weight, named("output_layer_norm.weight"));
    assert!(distil.weights.token_type.is_none());
    assert_eq!((distil.config.hidden_size, distil.config.heads), (48, 3));
    assert_eq!(distil.parameters.len(), 4 + 2 * 16);

    let mpnet = open("tiny-mpnet");
    let layer = &mpnet.weights.layers[1];
    let named = |part: &str| by_name(&mpnet, &format!("encoder.layer.1.{part}"));
    assert_eq!(layer.query_key_value[0].weight.to_vec(), named("attention.attn.q.weight"));
    assert_eq!(layer.query_key_value[1].weight.to_vec(), named("attention.attn.k.weight"));
    assert_eq!(layer.query_key_value[2].bias.as_deref().unwrap(), named("attention.attn.v.bias"));
    assert_eq!(layer.attention_output.weight.to_vec(), named("attention.attn.o.weight"));
    assert_eq!(layer.attention_norm.weight, named("attention.LayerNorm.weight"));
    assert_eq!(
        mpnet.weights.distance_bias.as_deref().unwrap(),
        by_name(&mpnet, "encoder.relative_attention_bias.weight")
    );
    assert!(mpnet.weights.token_type.is_none());
    assert_eq!(mpnet.parameters.len(), 5 + 2 * 16 + 2);

    let electra = open("tiny-electra");
    let projection = electra.weights.projection.as_ref().unwrap();
    assert_eq!(projection.weight.to_vec(), by_name(&electra, "embeddings_project.weight"));
    assert_eq!(projection.weight.shape(), [20, 12]);
    assert_eq!(electra.weights.word.shape(), [156, 12]);
    assert_eq!(electra.parameters.len(), 5 + 2 + 2 * 16);

    let modern = open("tiny-modernbert");
    let layer = &modern.weights.layers[3];
    let named = |part: &str| by_name(&modern, &format!("layers.3.{part}"));
    assert_eq!(layer.input_norm.as_ref().unwrap().weight, named("attn_norm.weight"));
    assert_eq!(layer.query_key_value[0].weight.to_vec(), named("attn.Wqkv.weight"));
    assert_eq!(layer.attention_output.weight.to_vec(), named("attn.Wo.weight"));
    assert_eq!(layer.attention_norm.weight, named("mlp_norm.weight"));
    assert_eq!(layer.intermediate.weight.to_vec(), named("mlp.Wi.weight"));
    assert_eq!(layer.intermediate.weight.shape(), [56, 20]);
    assert_eq!(layer.output.weight.to_vec(), named("mlp.Wo.weight"));
    assert_eq!(layer.output_norm.as_ref().unwrap().weight, by_name(&modern, "final_norm.weight"));
    assert!(modern.weights.layers[0].input_norm.is_none());
    assert!(modern.weights.position.is_none() && modern.weights.token_type.is_none());
    assert_eq!(modern.parameters.len(), 2 + 4 * 6 - 1 + 1);
}

/// Published checkpoints have a prefix before the encoder's names, and the heads of pre-training.
#[test]
fn published_checkpoints_of_every_family_lose_prefix_and_heads() {
    for (name, prefix, heads) in [
        ("tiny-roberta", "roberta.", vec!["lm_head.bias", "lm_head.dense.weight"]),
        (
            "tiny-electra",
            "electra.",
            vec![
                "discriminator_predictions.dense.weight",
                "generator_predictions.LayerNorm.weight",
                "generator_lm_head.weight",
            ],
        ),
        ("tiny-mpnet", "mpnet.", vec!["lm_head.layer_norm.bias"]),
        (
            "tiny-modernbert",
            "model.",
            vec!["head.dense.weight", "head.norm.weight", "decoder.bias"],
        ),
    ] {
        let copy = Copy::of(name);
        copy.edit_tensors("model.safetensors", |tensors| {
            tensors.iter_mut().for_each(|tensor| tensor.name = format!("{prefix}{}", tensor.name));
            for head in &heads {
                let other = tensors[0].clone();
                tensors.push(crate::tiny_models::Tensor { name: (*head).to_owned(), ..other });
            }
        });
        let (found, expected) = (copy.open().unwrap(), open(name));
        for (found, expected) in found.parameters.iter().zip(&expected.parameters) {
            assert_eq!(found.name, format!("{prefix}{}", expected.name));
            assert_eq!(found.tensor.to_vec(), expected.tensor.to_vec(), "{name} {}", found.name);
        }
        let lines: Vec<_> = found.notices.iter().filter(|line| line.contains("tensors")).collect();
        assert_eq!(lines.len(), 1, "{name}: {lines:?}");
        assert!(
            lines[0].contains(&format!("{} tensors of pre-training", heads.len())),
            "{lines:?}"
        );
    }
}

/// Three families that differ in their name alone, and positions that begin after the padding token.
#[test]
fn positions_begin_after_the_padding_token() {
    for (model_type, name) in
        [("roberta", "RoBERTa"), ("xlm-roberta", "XLM-RoBERTa"), ("camembert", "CamemBERT")]
    {
        for (padding, first) in [(json!(1), 2), (json!(null), 2), (json!(0), 1), (json!(5), 6)] {
            let copy = Copy::of("tiny-roberta");
            copy.edit("config.json", |config| {
                config["model_type"] = json!(model_type);
                config["pad_token_id"] = padding;
            });
            let config = copy.open().unwrap().config;
            assert_eq!((config.family.name, config.first_position), (name, first));
            assert_eq!(config.longest_sequence(), 66 - first);
        }
    }
    // Every row of the table would be before the first position.
    let copy = Copy::of("tiny-roberta");
    copy.edit("config.json", |config| config["pad_token_id"] = json!(65));
    let (_, message) = copy.error();
    assert!(message.contains("`max_position_embeddings`: expected 67 to"), "{message}");
    // MPNet has them after row 1, whatever `config.json` says.
    let copy = Copy::of("tiny-mpnet");
    copy.edit("config.json", |config| config["pad_token_id"] = json!(7));
    assert_eq!(copy.open().unwrap().config.first_position, 2);
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
    copy_folder(&tiny_model("st6-dense"), &run.path().join("model"));
    assert_eq!(ModelFolder::open(run.path()).unwrap().dimension(), 24);
}

#[test]
fn a_run_without_a_model_says_how_it_comes_to_one() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path();
    let error = || ModelFolder::open(run).unwrap_err().to_string();
    fs::write(run.join("config.toml"), "").unwrap();
    assert!(error().contains("is no model folder"), "a configuration alone is no run: {}", error());
    fs::create_dir(run.join("checkpoints")).unwrap();
    let name = run.display();
    assert_eq!(
        error(),
        format!(
            "{name}: this training run has not finished, so it has no model yet; continue it with \
             `polyhead train CONFIG -o {name} --resume`"
        )
    );
    fs::write(run.join("finished.json"), "{}").unwrap();
    assert!(error().contains("is no model folder"), "its model was taken away: {}", error());
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

/// Programs save the encoder as a part of a larger module, under names of their own.
#[test]
fn names_of_a_larger_module_are_found() {
    let rename = |copy: &Copy, name: &dyn Fn(&str) -> String| {
        copy.edit_tensors("model.safetensors", |tensors| {
            tensors.iter_mut().for_each(|tensor| tensor.name = name(&tensor.name));
        });
    };
    let cases = [
        ("tiny-bert", "0.auto_model.", "0.auto_model."),
        ("tiny-bert", "module.model.bert.", "module.model."),
        ("tiny-bert", "my_bert.", "my_bert."),
        ("tiny-bert", "é.", "é."),
        ("tiny-bert-prefixed", "0.auto_model.", "0.auto_model."),
        ("tiny-distilbert", "0.auto_model.", "0.auto_model."),
        ("tiny-distilbert", "model.distilbert.", "model."),
        ("tiny-bert-f16", "wrapped.", "wrapped."),
    ];
    for (name, prefix, left_out) in cases {
        let copy = Copy::of(name);
        rename(&copy, &|name| format!("{prefix}{name}"));
        let (found, expected) = (copy.open().unwrap(), open(name));
        assert_eq!(found.parameters.len(), expected.parameters.len(), "{prefix}{name}");
        for (found, expected) in found.parameters.iter().zip(&expected.parameters) {
            assert!(found.name.ends_with(&expected.name) && !found.name.contains(left_out));
            assert_eq!(found.group, expected.group, "{}", found.name);
            assert_eq!(found.tensor.to_vec(), expected.tensor.to_vec(), "{}", found.name);
        }
        let line = format!("begin with `{left_out}`, which is left out");
        assert!(found.notices.iter().any(|notice| notice.ends_with(&line)), "{:?}", found.notices);
        let others = found.notices.len() - expected.notices.len();
        assert_eq!(others, 1, "{:?}", found.notices);
    }
    // Tensors of other modules keep their names, and are named.
    let copy = Copy::of("tiny-bert");
    copy.edit_tensors("model.safetensors", |tensors| {
        let mut dense = tensors[0].clone();
        tensors.iter_mut().for_each(|tensor| tensor.name.insert_str(0, "0.auto_model."));
        dense.name = "2.linear.weight".to_owned();
        tensors.push(dense);
    });
    let notices = copy.open().unwrap().notices;
    assert!(
        notices.iter().any(|line| line.ends_with("not used: `2.linear.weight`")),
        "{notices:?}"
    );
}

/// Rounds to the nearest f32, ties to even.
#[test]
fn doubles_are_read_as_the_nearest_singles() {
    let copy = Copy::of("tiny-bert");
    copy.edit_tensors("model.safetensors", |tensors| {
        for tensor in tensors {
            let (numbers, _) = tensor.data.as_chunks::<4>();
            let doubles = numbers.iter().map(|number| f64::from(f32::from_le_bytes(*number)));
            // Less than half of the last digit of a single.
            let near = doubles.map(|number| number * (1.0 + 2f64.powi(-26)));
            tensor.data = near.flat_map(f64::to_le_bytes).collect();
            tensor.dtype = "F64".to_owned();
        }
    });
    let (found, expected) = (copy.open().unwrap(), open("tiny-bert"));
    for (found, expected) in found.parameters.iter().zip(&expected.parameters) {
        assert_eq!(found.stored_type, StoredType::F64, "{}", found.name);
        assert_eq!(found.tensor.to_vec(), expected.tensor.to_vec(), "{}", found.name);
    }
    assert_eq!(found.weights.embedding_norm.weight, expected.weights.embedding_norm.weight);
}
