//! A loss that reads the sentence vectors of a head without weights, and returns their gradient.

use std::path::Path;

use polyhead_compute::Threads;
use polyhead_model::{
    Gradients, HeadInput, HeadSpec, HeadWeights, Mode, ModelFolder, Network, NetworkInput,
    NetworkOptions, Pass, Sequences, TaskKind, TrainableLayout,
};

/// Three sequences, one without tokens.
const IDS: [u32; 9] = [2, 7, 9, 3, 2, 11, 5, 8, 3];
const TYPE_IDS: [u32; 9] = [0, 0, 0, 0, 0, 0, 0, 1, 1];
const OFFSETS: [usize; 4] = [0, 4, 4, 9];

/// The vectors that the loss pulls towards.
fn target(i: usize) -> f32 {
    ((i * 37) % 11) as f32 / 8.0 - 0.6
}

/// `Σ (v − t)²`, and its gradient `2 (v − t)`.
fn loss(vectors: &[f32], gradient: Option<&mut [f32]>) -> f64 {
    if let Some(gradient) = gradient {
        for (i, (v, out)) in vectors.iter().zip(gradient).enumerate() {
            *out = 2.0 * (v - target(i));
        }
    }
    let square = |(i, v): (usize, &f32)| (f64::from(*v) - f64::from(target(i))).powi(2);
    vectors.iter().enumerate().map(square).sum()
}

/// A head that gives the sentence vectors, or what its hidden layer makes of them.
fn vectors_head(hidden: Option<usize>) -> HeadSpec {
    let spec = HeadSpec::new("vectors", TaskKind::Similarity, &[]);
    HeadSpec { input: HeadInput::Embedding, hidden, dropout: 0.0, ..spec }
}

/// Along each tensor's gradient `g`, the loss rises by `|g|` per step of length 1.
fn check(model: &str, hidden: Option<usize>, trainable: &dyn Fn(&str) -> bool) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/models").join(model);
    let folder = ModelFolder::open(&path).expect("a model");
    let threads = Threads::new(2).expect("threads");
    let options = NetworkOptions {
        hidden_dropout: Some(0.0),
        attention_dropout: Some(0.0),
        ..NetworkOptions::default()
    };
    let head = HeadWeights::random(vectors_head(hidden), &folder.head_dims(), 0);
    let mut network = Network::new(&folder, &[head], &options, &threads).expect("a network");
    let flags: Vec<bool> =
        network.store().entries().iter().map(|entry| trainable(&entry.name)).collect();
    let layout = TrainableLayout::new(network.store(), &flags);
    let mut gradients = Gradients::new(layout.clone());
    let depth = network.depth(&layout, &[true]);
    let input = NetworkInput {
        sequences: Sequences { ids: &IDS, type_ids: &TYPE_IDS, offsets: &OFFSETS },
        rows: &[0, 1, 2],
        words: &[],
        prompt_tokens: 0,
        known: None,
    };
    let mode = Mode::Train { seed: 1, step: 1 };
    let mut pass = Pass::default();
    threads.cpu(network.isa(), |cpu| {
        network.prepare_backward(cpu, &depth);
        network.forward(cpu, &input, mode, &depth, &[true], &mut pass);
        let (vectors, gradient) = pass.logits_and_gradient(0);
        let width = hidden.unwrap_or(network.head_dims().embedding);
        assert_eq!(vectors.len(), 3 * width, "{model}");
        loss(vectors, Some(gradient));
        network.backward(cpu, &input, &depth, &mut pass, &mut gradients);
        gradients.close(cpu);
    });
    let reached = network.reached(&[true]);
    let mut compared = 0;
    for entry in 0..flags.len() {
        let name = network.store().entries()[entry].name.clone();
        let Some(gradient) = gradients.get(entry).map(<[f32]>::to_vec) else {
            assert!(!flags[entry], "{model} {name}: trained without a gradient");
            continue;
        };
        let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        assert!(reached[entry] || norm == 0.0, "{model} {name}: not reached, gradient {norm}");
        // Of a key's bias the gradient is 0 but for rounding: softmax does not see it.
        if norm < 1e-4 {
            continue;
        }
        // Steps change the loss by about 2 % of its curvature's scale and by far more than
        // its rounding, 1e-6 of some tens.
        let step = 2e-3;
        let begin = network.store().get(entry).to_vec();
        let range = network.store().entries()[entry].range.clone();
        let mut at = |length: f64| {
            let moved: Vec<f32> = begin
                .iter()
                .zip(&gradient)
                .map(|(x, g)| (f64::from(*x) + length * f64::from(*g) / norm) as f32)
                .collect();
            threads.cpu(network.isa(), |cpu| {
                network.update(cpu, &|changed| changed == entry, |store| {
                    store.values_mut()[range.clone()].copy_from_slice(&moved);
                });
                network.forward(cpu, &input, mode, &depth, &[true], &mut pass);
            });
            loss(pass.logits(0), None)
        };
        let slope = (at(step) - at(-step)) / (2.0 * step);
        at(0.0);
        // The difference quotient is off by the third derivative and the rounding of the loss.
        let error = (slope - norm).abs();
        assert!(error < 0.02 * norm + 2e-3, "{model} {name}: slope {slope}, gradient {norm}");
        compared += 1;
    }
    assert!(compared > 0, "{model}: nothing was compared");
}

#[test]
fn gradients_of_sentence_vectors_agree_with_finite_differences() {
    // Mean pooling alone; pooling, Dense and Normalize.
    for model in ["tiny-bert", "st6-dense", "st6-multi"] {
        check(model, None, &|_| true);
        check(model, Some(24), &|_| true);
    }
}

#[test]
fn what_lies_below_the_frozen_part_needs_no_gradient() {
    check("tiny-bert", None, &|name| name.contains("layer.1."));
    check("tiny-bert", Some(24), &|name| name.contains("heads."));
    check("st6-dense", None, &|name| !name.contains("layer") && !name.contains("embeddings"));
}
