//! Helpers of the training tests: golden files, configurations and networks of the tiny models,
//! and splits made by hand.
#![allow(dead_code)] // Each test file uses a part of it.
#![allow(clippy::unwrap_used)] // Helpers of tests are outside of `#[test]` functions.

pub(crate) mod place;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use polyhead_compute::Threads;
use polyhead_model::{
    HeadLayer, HeadSpec, HeadWeights, HiddenWeights, ModelFolder, Network, NetworkOptions,
    PairForm, ParameterStore, PoolingMode, PoolingSpec, TrainableLayout,
};
use polyhead_testing::{Golden, largest, tiny_model};
use polyhead_text::{TextInput, TextTokens, TokenBatch, TokenSpan};
use polyhead_train::FreezePlan;
use polyhead_train::PairReading;
use polyhead_train::RateTable;
use polyhead_train::TaskSettings;
use polyhead_train::{AdamW, AdamWSettings};
use polyhead_train::{LabelIssues, Place, Split, SplitWords, TaskLabels};
use polyhead_train::{Learner, Objective, RunConfig};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The head that a task begins with.
///
/// - `prefix`: of the names: `initial.` or nothing
pub(crate) fn head(golden: &Golden, prefix: &str, spec: HeadSpec) -> HeadWeights {
    let tensor = |part: &str| golden.get(&format!("{prefix}heads.{}.{part}", spec.name)).to_vec();
    HeadWeights {
        mix: (spec.layer == HeadLayer::Mix).then(|| tensor("mix")),
        hidden: spec.hidden.map(|_| HiddenWeights {
            weight: tensor("hidden.weight"),
            bias: Some(tensor("hidden.bias")),
            norm: None,
        }),
        output: (tensor("weight"), tensor("bias")),
        spec,
    }
}

/// The packed sequences whose tensors begin with `prefix`, without words.
pub(crate) fn sequences(golden: &Golden, prefix: &str) -> Vec<Sequence> {
    let whole = |name: &str| -> Vec<u32> {
        golden.get(&format!("{prefix}{name}")).iter().map(|x| *x as u32).collect()
    };
    let (ids, type_ids) = (whole("ids"), whole("type_ids"));
    whole("offsets")
        .windows(2)
        .map(|ends| ends[0] as usize..ends[1] as usize)
        .map(|range| Sequence {
            ids: ids[range.clone()].to_vec(),
            type_ids: type_ids[range].to_vec(),
            words: Vec::new(),
        })
        .collect()
}

/// Labels of `task`, `None` where there is none: `width` numbers each.
pub(crate) fn labels(
    golden: &Golden,
    prefix: &str,
    task: &str,
    width: usize,
) -> Vec<Option<Vec<f32>>> {
    golden
        .get(&format!("{prefix}labels.{task}"))
        .chunks(width)
        .zip(golden.get(&format!("{prefix}present.{task}")))
        .map(|(label, present)| (*present != 0.0).then(|| label.to_vec()))
        .collect()
}

/// A row as the encoder reads it.
#[derive(Clone, Debug)]
pub(crate) struct Sequence {
    pub(crate) ids: Vec<u32>,
    pub(crate) type_ids: Vec<u32>,
    /// First token of each word, as a place in the sequence.
    pub(crate) words: Vec<u32>,
}

/// A split without a file behind it: row `i` claims to be line `i + 1` of `rows.jsonl`.
///
/// - `labels`: one per task
pub(crate) fn split(sequences: &[Sequence], labels: Vec<TaskLabels>) -> Split {
    let mut tokens = TokenBatch::default();
    let mut words = SplitWords { offsets: vec![0], ..SplitWords::default() };
    for Sequence { ids, type_ids, words: first } in sequences {
        tokens.ids.extend(ids);
        tokens.type_ids.extend(type_ids);
        tokens.spans.extend(vec![TokenSpan::NOWHERE; ids.len()]);
        tokens.offsets.push(tokens.ids.len());
        tokens.texts.push(TextTokens { total: ids.len(), kept: ids.len() });
        words.first_tokens.extend(first.iter().copied().map(Some));
        words.places.extend(vec![0..0; first.len()]);
        words.offsets.push(words.places.len());
    }
    Split {
        files: vec![PathBuf::from("rows.jsonl")],
        inputs: vec![TextInput::One(String::new()); sequences.len()],
        tokens,
        issues: vec![LabelIssues::default(); labels.len()],
        labels,
        words,
        places: (1..=sequences.len() as u64).map(|line| Place { file: 0, line }).collect(),
        ..Split::default()
    }
}

/// Rows of random tokens with labels of all four kinds, of which many are missing: `topic` (3
/// classes), `mood` (4 labels), `tags` (5 tags), `score`. The same for each number of rows.
pub(crate) fn random_split(rows: usize) -> Split {
    let mut state = 1u64;
    // Knuth's linear congruential generator; the upper bits are good enough here.
    let mut below = |end: u32| -> u32 {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % u64::from(end)) as u32
    };
    let (mut sequences, mut tags) = (Vec::new(), Vec::new());
    let (mut topic, mut mood, mut score) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..rows {
        let length = 1 + below(30);
        let ids = (0..length).map(|_| 5 + below(151)).collect();
        let words: Vec<u32> =
            if row % 5 == 2 { Vec::new() } else { (1..length).step_by(2).collect() };
        topic.push((below(4) > 0).then(|| below(3)));
        mood.push((below(3) > 0).then(|| (0..4).filter(|_| below(2) > 0).collect()));
        score.push((below(2) > 0).then(|| below(1000) as f32 / 500.0 - 1.0));
        tags.push((row % 5 != 2 && below(4) > 0).then(|| words.iter().map(|_| below(5)).collect()));
        sequences.push(Sequence { type_ids: vec![0; length as usize], ids, words });
    }
    let labels = vec![
        TaskLabels::Classes(topic),
        TaskLabels::Sets(mood),
        TaskLabels::Tags(tags),
        TaskLabels::Numbers(score),
    ];
    split(&sequences, labels)
}

/// The tasks of [`random_split`] as a configuration has them.
pub(crate) const RANDOM_TASKS: &str = "
    [[task]]
    name = \"topic\"
    kind = \"classification\"
    labels = [\"a\", \"b\", \"c\"]
    pooling = \"cls\"

    [[task]]
    name = \"mood\"
    kind = \"multilabel\"
    labels = [\"a\", \"b\", \"c\", \"d\"]
    hidden = 16
    weight = 0.5

    [[task]]
    name = \"tags\"
    kind = \"tokens\"
    labels = [\"O\", \"B-a\", \"I-a\", \"B-b\", \"I-b\"]

    [[task]]
    name = \"score\"
    kind = \"regression\"
    layer = 1
    ";

pub(crate) fn config(text: &str) -> RunConfig {
    let text = format!("[data]\ntrain = \"rows.jsonl\"\n{text}");
    let set = ["train.recipe=full".to_owned()];
    RunConfig::parse(&text, Path::new("test.toml"), &set).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// The tasks that a golden file was made with, as TOML; no dropout.
pub(crate) fn golden_tasks(golden: &Golden) -> String {
    let mut text = String::new();
    for task in golden.json["tasks"].as_array().unwrap() {
        text += "[[task]]\ndropout = 0\n";
        let labels = match task["kind"].as_str().unwrap() {
            "regression" => Vec::new(),
            "tokens" => ["O", "B-a", "I-a", "B-b", "I-b"].map(str::to_owned).to_vec(),
            _ => (0..task["labels"].as_u64().unwrap()).map(|i| format!("l{i}")).collect(),
        };
        for (key, value) in task.as_object().unwrap() {
            let value = match (key.as_str(), value) {
                ("labels", _) if labels.is_empty() => continue,
                ("labels", _) => format!("{labels:?}"),
                (_, Value::Array(weights)) => {
                    let pairs = labels.iter().zip(weights);
                    let pairs: Vec<String> = pairs.map(|(l, w)| format!("{l} = {w}")).collect();
                    format!("{{ {} }}", pairs.join(", "))
                }
                (_, value) => value.to_string(),
            };
            writeln!(text, "{key} = {value}").unwrap();
        }
    }
    text
}

/// What a head of this task is; where the task names no pooling, the mean.
pub(crate) fn spec(task: &TaskSettings) -> HeadSpec {
    HeadSpec {
        labels: task.labels.clone().unwrap_or_default(),
        pooling: PoolingSpec {
            modes: task.pooling.clone().unwrap_or_else(|| vec![PoolingMode::Mean]),
            include_prompt: true,
        },
        input: task.input,
        layer: task.layer,
        hidden: task.hidden.map(usize::from),
        activation: task.activation,
        dropout: task.dropout.get(),
        pair: (task.pair == Some(PairReading::Separate))
            .then(|| PairForm::Separate { product: task.pair_product == Some(true) }),
        ..HeadSpec::new(&task.name, task.kind, &[])
    }
}

/// A tiny model with these heads.
///
/// - `dropout`: of hidden states and attention
pub(crate) fn network(
    model: &str,
    heads: &[HeadWeights],
    dropout: f32,
    threads: &Threads,
) -> Network {
    let folder = ModelFolder::open(&tiny_model(model)).unwrap();
    let options = NetworkOptions {
        hidden_dropout: Some(dropout),
        attention_dropout: Some(dropout),
        ..NetworkOptions::default()
    };
    Network::new(&folder, heads, &options, threads).unwrap()
}

/// A folder like that of `tiny-bert`, but with layers of 64 and 96 numbers: as wide as tiles,
/// of which other kernels are where processors have them.
pub(crate) fn wide_model(folder: &Path) {
    let tiny = tiny_model("tiny-bert");
    for name in ["tokenizer.json", "tokenizer_config.json", "vocab.txt"] {
        std::fs::copy(tiny.join(name), folder.join(name)).unwrap();
    }
    let config = std::fs::read_to_string(tiny.join("config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&config).unwrap();
    config["hidden_size"] = 64.into();
    config["intermediate_size"] = 96.into();
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();

    let bytes = std::fs::read(tiny.join("model.safetensors")).unwrap();
    let mut state = 1u64;
    let mut number = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        ((state >> 40) as f32 / (1 << 24) as f32 - 0.5) * 0.3
    };
    let wider = |size: &usize| match size {
        40 => 64,
        72 => 96,
        other => *other,
    };
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = SafeTensors::deserialize(&bytes)
        .unwrap()
        .iter()
        .map(|(name, tensor)| {
            let shape: Vec<usize> = tensor.shape().iter().map(wider).collect();
            let middle = if name.ends_with("LayerNorm.weight") { 1.0 } else { 0.0 };
            let numbers = (0..shape.iter().product()).map(|_: usize| middle + number());
            (name.to_owned(), shape, numbers.flat_map(f32::to_le_bytes).collect())
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, &folder.join("model.safetensors")).unwrap();
}

/// A tiny model with new heads for all tasks of a configuration.
pub(crate) fn network_of(
    config: &RunConfig,
    model: &str,
    dropout: f32,
    threads: &Threads,
) -> Network {
    let bare = network(model, &[], 0.0, threads);
    let new = |task| HeadWeights::random(spec(task), bare.head_dims(), 3);
    network(model, &config.tasks.iter().map(new).collect::<Vec<_>>(), dropout, threads)
}

/// The losses of a configuration, for tasks with these labels.
pub(crate) fn objectives(config: &RunConfig, split: &Split) -> Vec<Objective> {
    let tasks = config.tasks.iter().zip(&split.labels);
    tasks
        .map(|(task, labels)| {
            let names = task.labels.clone().unwrap_or_default();
            assert_eq!(task.kind.has_labels(), !names.is_empty(), "{}", task.name);
            Objective::from_settings(task, &names, labels).unwrap()
        })
        .collect()
}

pub(crate) fn plan(config: &RunConfig, network: &Network, epoch: u64, steps: u64) -> FreezePlan {
    let heads: Vec<String> = config.tasks.iter().map(|task| task.name.clone()).collect();
    FreezePlan::new(&config.freeze, network.store(), &heads, epoch, steps).unwrap()
}

/// Peak rates of a run that never freezes: which steps the table shows is of no
/// meaning to the optimizer.
pub(crate) fn rates(config: &RunConfig, network: &Network) -> RateTable {
    let plan = plan(&RunConfig { freeze: Vec::new(), ..config.clone() }, network, 1, 1);
    RateTable::new(network.store(), &config.train, &config.tasks, &plan)
}

/// A learner that trains what the flags say.
pub(crate) fn learner(
    network: Network,
    config: &RunConfig,
    objectives: Vec<Objective>,
    trainable: &[bool],
) -> Learner {
    let layout = TrainableLayout::new(network.store(), trainable);
    let optimizer = AdamW::new(AdamWSettings::new(&config.train), layout);
    Learner::new(network, optimizer, objectives, trainable, config.seed, 0)
}

/// The index of a parameter.
pub(crate) fn entry(store: &ParameterStore, name: &str) -> usize {
    let at = store.entries().iter().position(|entry| entry.name == name);
    at.unwrap_or_else(|| panic!("no parameter {name}"))
}

pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// SHA-256 of all numbers, in hexadecimal.
pub(crate) fn hash(store: &ParameterStore) -> String {
    let bytes: Vec<u8> = store.values().iter().flat_map(|value| value.to_le_bytes()).collect();
    polyhead_files::hex(Sha256::digest(bytes))
}

/// `tolerance` is relative to the largest number expected.
#[track_caller]
pub(crate) fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    polyhead_testing::assert_close(what, found, expected, tolerance * largest(expected));
}
