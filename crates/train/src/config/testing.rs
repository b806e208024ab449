//! What the tests of the configuration share.

use std::path::{Path, PathBuf};

use polyhead_compute::Activation;
use polyhead_model::{HeadInput, HeadLayer, PoolingMode, TaskKind};
use proptest::prelude::*;
use proptest::{collection, option, sample};

use super::names::SCHEDULES;
use super::{
    CheckpointSettings, ClassWeights, DataFiles, EncoderSettings, FreezePhase, Keep, Moment,
    RunConfig, Sampler, TaskSettings, TrainSettings,
};
use crate::error::Error;
use crate::evaluate::metric_names;

/// A small configuration of seven lines; its last table is the task's.
pub(super) const SMALL: &str = "\
[data]
train = \"data/train.jsonl\"

[[task]]
name = \"topic\"
kind = \"classification\"

";

/// `text` as the file `/runs/c.toml`.
pub(super) fn parse(text: &str, set: &[&str]) -> Result<RunConfig, Error> {
    let set: Vec<String> = set.iter().map(|text| (*text).to_owned()).collect();
    RunConfig::parse(text, Path::new("/runs/c.toml"), &set)
}

/// Configurations that the checks let pass.
pub(super) fn any_config() -> impl Strategy<Value = RunConfig> {
    let tasks = collection::btree_map("[A-Za-z0-9_-]{1,8}", any_task(), 1..4).prop_map(|tasks| {
        let named = |(name, task)| TaskSettings { name, ..task };
        tasks.into_iter().map(named).collect::<Vec<_>>()
    });
    let sampler = prop_oneof![
        Just(Sampler::Proportional),
        Just(Sampler::Uniform),
        Just(Sampler::RoundRobin),
        positive().prop_map(|t| Sampler::Temperature(t.to_string().parse().unwrap())),
    ];
    let parts = (
        0..=i64::MAX as u64,
        any_encoder(),
        any_files(),
        sampler,
        tasks,
        any_train(),
        (0..=i64::MAX as u64, 1..100usize),
        collection::vec(any_phase(), 0..3),
    );
    parts.prop_map(|(seed, encoder, data, sampler, tasks, train, (every, keep), freeze)| {
        let checkpoint = CheckpointSettings { every, keep };
        RunConfig { seed, encoder, data, sampler, tasks, train, checkpoint, freeze }
    })
}

fn any_encoder() -> impl Strategy<Value = EncoderSettings> {
    let parts = (
        "no-such-folder/[ -~]{0,8}",
        option::of(any_pooling()),
        option::of(1..512usize),
        option::of(0.0f32..1.0),
        option::of(0.0f32..1.0),
        option::of(1..24usize),
        any::<bool>(),
    );
    parts.prop_map(|(model, pooling, max_length, dropout, attention_dropout, layers, random)| {
        EncoderSettings { model, pooling, max_length, dropout, attention_dropout, layers, random }
    })
}

fn any_files() -> impl Strategy<Value = DataFiles> {
    let path = || "/[a-zäö \"\\\\']{1,8}/[a-z.]{1,8}x".prop_map(PathBuf::from);
    let parts = (
        collection::vec(path(), 1..3),
        collection::vec(path(), 0..3),
        collection::vec(path(), 0..2),
        "\\PC{1,6}",
        "[a-z\t\n\u{7f}]{1,6}",
    );
    parts.prop_map(|(train, dev, test, text, tokens)| DataFiles {
        train,
        dev,
        test,
        text: Some(text),
        tokens: Some(tokens),
    })
}

fn any_pooling() -> impl Strategy<Value = Vec<PoolingMode>> {
    sample::subsequence(PoolingMode::ALL.to_vec(), 1..=6).prop_shuffle()
}

fn any_weights() -> impl Strategy<Value = ClassWeights> {
    prop_oneof![
        Just(ClassWeights::Balanced),
        collection::btree_map("\\PC{0,5}", 0.0f32..1e9, 0..4)
            .prop_map(|given| ClassWeights::Given(given.into_iter().collect())),
    ]
}

fn any_task() -> impl Strategy<Value = TaskSettings> {
    let activations = Activation::ALL.to_vec();
    let layers = prop_oneof![
        Just(HeadLayer::Last),
        Just(HeadLayer::Mix),
        (0..100usize).prop_map(HeadLayer::At)
    ];
    let first = (
        sample::select(TaskKind::ALL.to_vec()),
        "\\PC{0,6}",
        option::of(collection::btree_set("\\PC{1,5}", 2..4)),
        0.0f32..100.0,
        option::of(any_files()),
        option::of(any_pooling()),
        any::<bool>(),
        layers,
    );
    let second = (
        option::of((1..1000usize, sample::select(activations))),
        0.0f32..1.0,
        option::of(0.0f32..1.0),
        option::of(any_weights()),
        0.0f32..1.0,
        option::of(any_weights()),
        any::<bool>(),
        option::of(any::<sample::Index>()),
    );
    (first, second).prop_map(|(first, second)| {
        let (kind, field, labels, weight, data, pooling, embedding, layer) = first;
        let (hidden, dropout, rate, class, smoothing, positive, keep, metric) = second;
        // What the checks refuse is left out, as a user would have to.
        let of_classes = matches!(kind, TaskKind::Classification | TaskKind::Tokens);
        let embedding = embedding && kind != TaskKind::Tokens;
        let labels: Option<Vec<String>> =
            labels.filter(|_| kind != TaskKind::Regression).map(|all| all.into_iter().collect());
        let fits = |weights: &ClassWeights| match (weights, &labels) {
            (ClassWeights::Given(given), Some(labels)) => {
                given.iter().all(|(name, _)| labels.contains(name))
            }
            _ => true,
        };
        TaskSettings {
            name: String::new(),
            kind,
            field,
            weight,
            data,
            pooling: pooling.filter(|_| kind != TaskKind::Tokens && !embedding),
            input: if embedding { HeadInput::Embedding } else { HeadInput::Pooled },
            layer: if embedding { HeadLayer::Last } else { layer },
            hidden: hidden.map(|(width, _)| width),
            activation: hidden.map_or(Activation::Gelu, |(_, activation)| activation),
            dropout,
            learning_rate: rate,
            class_weights: class.filter(|weights| of_classes && fits(weights)),
            label_smoothing: if of_classes { smoothing } else { 0.0 },
            positive_weights: positive
                .filter(|weights| kind == TaskKind::MultiLabel && fits(weights)),
            keep: keep.then_some(Keep::Distill),
            metric: metric.map(|index| (*index.get(metric_names(kind))).to_owned()),
            labels,
        }
    })
}

fn positive() -> impl Strategy<Value = f32> {
    any::<u32>()
        .prop_map(|bits| f32::from_bits(bits & 0x7fff_ffff))
        .prop_filter("finite and above 0", |number| number.is_finite() && *number > 0.0)
}

fn any_train() -> impl Strategy<Value = TrainSettings> {
    let large = || 0..=i64::MAX as u64;
    let first = (
        1..1000usize,
        1..1000usize,
        positive(),
        positive(),
        0.01f32..=1.0,
        sample::select(SCHEDULES.map(|(_, schedule)| schedule).to_vec()),
        0.0f32..=1.0,
        positive(),
        positive(),
    );
    let second = (
        (0.0f32..1.0, 0.0f32..1.0),
        positive(),
        large(),
        large(),
        0..1000usize,
        1..=i64::MAX as u64,
        large(),
        large(),
    );
    (first, second).prop_map(|(first, second)| {
        let (epochs, batch_size, rate, head_rate, layer_decay, schedule, warmup, decay, clip) =
            first;
        let (betas, epsilon, max_steps, max_seconds, patience, log_every, every, cache) = second;
        TrainSettings {
            epochs,
            batch_size,
            accumulation: batch_size.div_ceil(2),
            learning_rate: rate,
            head_learning_rate: head_rate,
            layer_decay,
            schedule,
            warmup,
            weight_decay: decay,
            clip_norm: clip,
            betas,
            epsilon,
            max_steps,
            max_seconds,
            patience,
            log_every,
            evaluate_every: every,
            best: "mean".to_owned(),
            cache_bytes: cache,
        }
    })
}

fn any_phase() -> impl Strategy<Value = FreezePhase> {
    let groups = collection::vec("[a-z.0-9-]{1,12}", 1..3);
    (groups, option::of(1..9u64), option::of(9..99u64), any::<bool>()).prop_map(
        |(parameters, from, until, steps)| {
            let moment = |number| if steps { Moment::Step(number) } else { Moment::Epoch(number) };
            FreezePhase { parameters, from: from.map(moment), until: until.map(moment) }
        },
    )
}
