//! Every gradient of a network with five heads of different kinds, compared with PyTorch
//! (`reference/make_training_goldens.py`).

use std::collections::HashMap;

use polyhead_compute::Threads;
use polyhead_model::{
    Gradients, HeadLayer, HeadSpec, HeadWeights, HiddenWeights, Mode, ModelFolder, Network,
    NetworkInput, NetworkOptions, Pass, PoolingMode, PoolingSpec, Sequences, TaskKind,
    TrainableLayout,
};
use polyhead_testing::{FAMILIES, Golden, assert_close, largest, tiny_model};

/// The golden file of a tiny model.
fn golden_of(model: &str) -> Golden {
    Golden::read(&model.replace("tiny-", "train-"))
}

fn whole(golden: &Golden, name: &str) -> Vec<usize> {
    golden.get(name).iter().map(|x| *x as usize).collect()
}

fn spec(name: &str, kind: TaskKind, outputs: usize, pooling: PoolingMode) -> HeadSpec {
    HeadSpec {
        labels: (0..outputs).map(|i| i.to_string()).collect(),
        pooling: PoolingSpec { modes: vec![pooling], include_prompt: true },
        dropout: 0.0,
        ..HeadSpec::new(name, kind, &[])
    }
}

fn heads(golden: &Golden) -> Vec<HeadWeights> {
    use PoolingMode::{Cls, Mean};
    let specs = [
        spec("topic", TaskKind::Classification, 3, Cls),
        HeadSpec { hidden: Some(16), ..spec("mood", TaskKind::MultiLabel, 4, Mean) },
        spec("tags", TaskKind::Tokens, 5, Mean),
        HeadSpec { layer: HeadLayer::At(1), ..spec("score", TaskKind::Regression, 0, Mean) },
        HeadSpec { layer: HeadLayer::Mix, ..spec("mixed", TaskKind::Classification, 2, Cls) },
    ];
    specs
        .into_iter()
        .map(|spec| {
            let tensor = |part: &str| golden.get(&format!("heads.{}.{part}", spec.name)).to_vec();
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
        })
        .collect()
}

const HEADS: [&str; 5] = ["topic", "mood", "tags", "score", "mixed"];

fn soft_max(logits: &[f32]) -> Vec<f64> {
    let powers: Vec<f64> = logits.iter().map(|x| f64::from(*x).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|p| p / sum).collect()
}

/// The gradients of the losses of the golden file, by their plain formulas.
fn dlogits(golden: &Golden, head: usize, logits: &[f32]) -> Vec<f32> {
    let name = HEADS[head];
    let labels = golden.get(&format!("labels.{name}"));
    let present = golden.get(&format!("present.{name}"));
    let rows = present.len();
    let outputs = logits.len() / rows;
    let task_weight = [1.0, 0.5, 2.0, 0.3, 1.5][head];
    let label_rows = labels.chunks(labels.len() / rows);
    let mut gradient = Vec::new();
    let mut normaliser = 0.0;
    for ((logits, label), present) in logits.chunks(outputs).zip(label_rows).zip(present) {
        if *present == 0.0 {
            gradient.extend(vec![0.0; outputs]);
            continue;
        }
        match name {
            "mood" => {
                normaliser += outputs as f64;
                for ((x, y), weight) in logits.iter().zip(label).zip([1.0, 3.0, 0.5, 2.0]) {
                    let p = 1.0 / (1.0 + (-f64::from(*x)).exp());
                    let y = f64::from(*y);
                    gradient.push((1.0 - y) * p - weight * y * (1.0 - p));
                }
            }
            "score" => {
                normaliser += 1.0;
                gradient.push(2.0 * f64::from(logits[0] - label[0]));
            }
            _ => {
                let smoothing = if name == "topic" { 0.1 } else { 0.0 };
                let weights = if name == "topic" { [1.0, 2.0, 0.5] } else { [1.0; 3] };
                let weight = |class: usize| weights.get(class).copied().unwrap_or(1.0);
                let target = label[0] as usize;
                normaliser += weight(target);
                // Loss: −Σ tᵢ wᵢ log pᵢ; gradient: p Σ tᵢ wᵢ − tᵢ wᵢ.
                let shares: Vec<f64> = (0..outputs)
                    .map(|i| {
                        let hot = if i == target { 1.0 - smoothing } else { 0.0 };
                        weight(i) * (hot + smoothing / outputs as f64)
                    })
                    .collect();
                let total: f64 = shares.iter().sum();
                gradient.extend(soft_max(logits).iter().zip(&shares).map(|(p, t)| p * total - t));
            }
        }
    }
    gradient.iter().map(|g| (g * task_weight / normaliser) as f32).collect()
}

/// The whole batch as `parts` passes; returns every gradient by name.
fn gradients_of(
    model: &str,
    golden: &Golden,
    threads: usize,
    parts: &[usize],
    trainable: &dyn Fn(&str) -> bool,
) -> HashMap<String, Option<Vec<f32>>> {
    let folder = ModelFolder::open(&tiny_model(model)).expect("a model");
    let threads = Threads::new(threads).expect("threads");
    let options = NetworkOptions {
        hidden_dropout: Some(0.0),
        attention_dropout: Some(0.0),
        ..Default::default()
    };
    let mut network = Network::new(&folder, &heads(golden), &options, &threads).expect("a network");
    let flags: Vec<bool> =
        network.store().entries().iter().map(|entry| trainable(&entry.name)).collect();
    let layout = TrainableLayout::new(network.store(), &flags);
    let mut gradients = Gradients::new(layout.clone());
    let active = [true; 5];
    let depth = network.depth(&layout, &active);
    let (ids, type_ids) = (whole(golden, "ids"), whole(golden, "type_ids"));
    let ids: Vec<u32> = ids.iter().map(|x| *x as u32).collect();
    let type_ids: Vec<u32> = type_ids.iter().map(|x| *x as u32).collect();
    let offsets = whole(golden, "offsets");
    let words = whole(golden, "tags.positions");
    threads.cpu(network.isa(), |cpu| {
        network.prepare_backward(cpu, &depth);
        // The whole batch once, for the logits and their gradients.
        let all = NetworkInput {
            sequences: Sequences { ids: &ids, type_ids: &type_ids, offsets: &offsets },
            rows: &(0..offsets.len() as u32 - 1).collect::<Vec<_>>(),
            words: &words,
            prompt_tokens: 0,
            known: None,
        };
        let mut pass = Pass::default();
        network.forward(cpu, &all, Mode::Evaluate, &depth, &active, &mut pass);
        let slopes: Vec<Vec<f32>> = (0..5)
            .map(|head| {
                let logits = pass.logits(head);
                let name = HEADS[head];
                close(
                    logits,
                    golden.get(&format!("logits.{name}")),
                    1e-5,
                    &format!("logits of {name}"),
                );
                dlogits(golden, head, logits)
            })
            .collect();
        for state in 0..=network.config().layers {
            close(pass.state(state), golden.get(&format!("hidden.{state}")), 1e-5, "hidden state");
        }
        // Then part by part, as training does.
        let mut first = 0;
        for end in parts.iter().copied().chain([offsets.len() - 1]) {
            let tokens = offsets[first]..offsets[end];
            let part_offsets: Vec<usize> =
                offsets[first..=end].iter().map(|o| o - tokens.start).collect();
            let places = words.partition_point(|w| *w < tokens.start)
                ..words.partition_point(|w| *w < tokens.end);
            let part_words: Vec<usize> =
                words[places.clone()].iter().map(|w| w - tokens.start).collect();
            let input = NetworkInput {
                sequences: Sequences {
                    ids: &ids[tokens.clone()],
                    type_ids: &type_ids[tokens],
                    offsets: &part_offsets,
                },
                rows: &(first as u32..end as u32).collect::<Vec<_>>(),
                words: &part_words,
                ..all
            };
            let mode = Mode::Train { seed: 1, step: 1 };
            network.forward(cpu, &input, mode, &depth, &active, &mut pass);
            for (head, slope) in slopes.iter().enumerate() {
                let rows = if head == 2 { places.clone() } else { first..end };
                let outputs = slope.len() / if head == 2 { words.len() } else { offsets.len() - 1 };
                let (_, gradient) = pass.logits_and_gradient(head);
                gradient.copy_from_slice(&slope[rows.start * outputs..rows.end * outputs]);
            }
            network.backward(cpu, &input, &depth, &mut pass, &mut gradients);
            first = end;
        }
        gradients.close(cpu);
    });
    let entries = network.store().entries();
    (0..entries.len())
        .map(|i| (entries[i].name.clone(), gradients.get(i).map(<[f32]>::to_vec)))
        .collect()
}

/// `tolerance` is relative to the largest number expected, or to 1.
#[track_caller]
fn close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_close(what, found, expected, tolerance * largest(expected).max(1.0));
}

#[test]
fn every_gradient_follows_pytorch() {
    for model in FAMILIES {
        let golden = golden_of(model);
        let found = gradients_of(model, &golden, 2, &[], &|_| true);
        let mut compared = 0;
        for (name, gradient) in &found {
            let gradient = gradient.as_ref().expect("everything is trained");
            // PyTorch's own single precision differs from its double by up to 3e-6 (see the
            // JSON file): sums of some hundred products of numbers of up to 5.
            close(gradient, golden.get(&format!("grad.{name}")), 5e-6, &format!("{model} {name}"));
            compared += 1;
        }
        let expected = golden.names("grad.").len();
        assert_eq!(compared, expected, "{model}: gradients in the golden file");
    }
}

#[test]
fn gradients_have_the_same_bits_in_parts_and_on_any_number_of_threads() {
    for model in FAMILIES {
        let golden = golden_of(model);
        let whole = gradients_of(model, &golden, 1, &[], &|_| true);
        for (threads, parts) in [(2, vec![]), (1, vec![3]), (3, vec![1, 2, 5])] {
            let other = gradients_of(model, &golden, threads, &parts, &|_| true);
            for (name, gradient) in &whole {
                // The mix of layers is summed part by part.
                if !name.ends_with(".mix") {
                    let what = format!("{model} {name}, {threads} threads, {parts:?}");
                    assert_eq!(&other[name], gradient, "{what}");
                }
            }
        }
    }
}

#[test]
fn what_is_frozen_has_no_gradient_and_what_trains_has_the_same_one() {
    for model in ["tiny-bert", "tiny-roberta", "tiny-electra", "tiny-mpnet"] {
        check_frozen_parts(model, &golden_of(model));
    }
}

#[track_caller]
fn check_frozen_parts(model: &str, golden: &Golden) {
    let all = gradients_of(model, golden, 1, &[], &|_| true);
    // The layer after narrow embeddings and the bias that all layers share are among them.
    let is_embedding =
        |name: &str| ["embeddings", "encoder.relative"].iter().any(|start| name.starts_with(start));
    let is_layer = |name: &str, layer: &str| name.starts_with(&format!("encoder.layer.{layer}."));
    type Policy<'a> = (&'a str, &'a dyn Fn(&str) -> bool);
    let policies: [Policy; 6] = [
        ("embeddings frozen", &|name| !is_embedding(name)),
        ("embeddings and lower layer frozen", &|name| !is_embedding(name) && !is_layer(name, "0")),
        ("backbone frozen", &|name| name.starts_with("heads.")),
        ("upper layer frozen", &|name| !is_layer(name, "1")),
        ("one head frozen", &|name| !name.starts_with("heads.topic")),
        ("only embeddings", &is_embedding),
    ];
    for (what, trainable) in policies {
        let found = gradients_of(model, golden, 2, &[4], trainable);
        let what = format!("{model}, {what}");
        for (name, gradient) in &found {
            assert_eq!(gradient.is_some(), trainable(name), "{what}: {name}");
            // Layers below the boundary run as in answering, which rounds in another order.
            if let Some(gradient) = gradient {
                close(gradient, all[name].as_ref().expect("all"), 5e-6, &format!("{what}: {name}"));
            }
        }
    }
}
