//! Measures which share of the machine's matrix-product speed forward and backward reach.
//!
//!     cargo bench -p polyhead-model --bench training -- [TEXT_FILE] [MODEL_FOLDER]
//!
//! Alternates, on all threads of the machine, a bare product of the size of the feed-forward layer
//! and forward and backward of two heads (dropout 0.1, all parameters trained) over parts of 1,024
//! tokens of TEXT_FILE (without a file: made-up texts), truncated at 128 tokens. The operations
//! are three times those of the forward's products: `3 · 2 · (4 D² + 2 D F) · L` per token, plus
//! `14 · T · D · L` per token for attention in a sequence of `T`; other operations are not
//! counted.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use polyhead_compute::{Cpu, Epilogue, Isa, StoredTensor, Team, Threads};
use polyhead_model::{
    EncodeOptions, EncoderConfig, Gradients, HeadDims, HeadSpec, HeadWeights, LoadOptions, Mode,
    ModelFolder, Network, NetworkInput, NetworkOptions, Pass, SentenceEncoder, Sequences, TaskKind,
    TrainableLayout,
};
use polyhead_text::TokenBatch;

const ROUNDS: usize = 7;
const PART_TOKENS: usize = 1024;

fn main() {
    // `cargo bench` adds `--bench`; `cargo test --benches` runs without it: only compile there.
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(flag) = arguments.iter().position(|a| a == "--bench") else { return };
    arguments.remove(flag);
    let texts = texts(arguments.first().map(Path::new));
    let folder = match arguments.get(1) {
        Some(folder) => ModelFolder::open(Path::new(folder)),
        None => ModelFolder::builtin(),
    }
    .expect("a model");
    let sentences =
        SentenceEncoder::from_folder(folder.clone(), &LoadOptions::default().max_length(128))
            .expect("a model");
    let batch = sentences.tokenize(&texts, &EncodeOptions::default()).expect("tokens");
    drop(sentences);
    let threads = Threads::new(Threads::available()).expect("threads");
    let isa = Isa::detect();
    let site = HeadDims {
        hidden_size: folder.config.hidden_size,
        layers: folder.config.layers,
        embedding: folder.dimension(),
    };
    let heads = [head("a", 3, &site), head("b", 2, &site)];
    let options = NetworkOptions {
        hidden_dropout: Some(0.1),
        attention_dropout: Some(0.1),
        ..Default::default()
    };
    let mut network = Network::new(&folder, &heads, &options, &threads).expect("a network");
    let layout =
        TrainableLayout::new(network.store(), &vec![true; network.store().entries().len()]);
    let mut gradients = Gradients::new(layout.clone());
    let depth = network.depth(&layout, &[true; 2]);
    let parts = parts(&batch);
    let mut pass = Pass::default();
    let (mut peaks, mut rates) = (Vec::new(), Vec::new());
    let count = parts.iter().map(TokenBatch::tokens).sum::<usize>() as f64;
    let work: f64 = parts.iter().map(|part| operations(&folder.config, part)).sum();
    for round in 0..=ROUNDS {
        let peak = product_rate(&threads, isa, &folder.config);
        let start = Instant::now();
        threads.cpu(network.isa(), |cpu| {
            network.prepare_backward(cpu, &depth);
            for part in &parts {
                let rows: Vec<u32> = (0..part.len() as u32).collect();
                let input = NetworkInput {
                    sequences: Sequences {
                        ids: &part.ids,
                        type_ids: &part.type_ids,
                        offsets: &part.offsets,
                    },
                    rows: &rows,
                    words: &[],
                    prompt_tokens: 0,
                    known: None,
                };
                let mode = Mode::Train { seed: 1, step: round as u64 + 1 };
                network.forward(cpu, &input, mode, &depth, &[true; 2], &mut pass);
                for head in 0..2 {
                    pass.logits_and_gradient(head).1.fill(1e-3);
                }
                network.backward(cpu, &input, &depth, &mut pass, &mut gradients);
            }
            gradients.close(cpu);
        });
        // The first round takes the pages of the buffers from the system.
        if round > 0 {
            peaks.push(peak);
            rates.push(work / start.elapsed().as_secs_f64());
        }
    }
    let shares = rates.iter().zip(&peaks).map(|(rate, peak)| rate / peak).collect();
    let (peak, rate, share) = (median(peaks), median(rates), median(shares));
    println!("{}, {} threads, {} parts, {count} tokens", isa.name(), threads.count(), parts.len());
    println!("matrix product      {:.0} GFLOP/s", peak / 1e9);
    println!("forward + backward  {:.0} GFLOP/s, {:.0} tokens/s", rate / 1e9, count * rate / work);
    println!("share               {:.1} % (median of {ROUNDS} rounds)", 100.0 * share);
}

fn head(name: &str, labels: usize, site: &HeadDims) -> HeadWeights {
    let spec = HeadSpec {
        labels: (0..labels).map(|i| i.to_string()).collect(),
        ..HeadSpec::new(name, TaskKind::Classification, &[])
    };
    HeadWeights::random(spec, site, 1)
}

fn texts(file: Option<&Path>) -> Vec<String> {
    match file {
        Some(file) => std::fs::read_to_string(file)
            .expect("a text file")
            .lines()
            .take(128)
            .map(str::to_owned)
            .collect(),
        None => (0..128).map(|i| "some words of a sentence ".repeat(1 + i * i % 13)).collect(),
    }
}

/// Whole sequences in order, up to [`PART_TOKENS`].
fn parts(batch: &TokenBatch) -> Vec<TokenBatch> {
    let mut parts = vec![TokenBatch::default()];
    for i in 0..batch.len() {
        if parts[parts.len() - 1].tokens() + batch.sequence(i).len() > PART_TOKENS {
            parts.push(TokenBatch::default());
        }
        let last = parts.len() - 1;
        parts[last].push(batch, i);
    }
    parts
}

/// Operations per second of `x Wᵀ` on all threads, each with rows of its own.
fn product_rate(threads: &Threads, isa: Isa, config: &EncoderConfig) -> f64 {
    let (inputs, outputs) = (config.hidden_size, config.intermediate_size);
    let weight = StoredTensor::from_f32(vec![outputs, inputs], &vec![0.01; outputs * inputs]);
    let weight = Cpu::new(&Team::solo(), isa).pack(&[&weight]);
    let x = vec![0.5; 256 * inputs];
    let repeats = 400;
    let start = Instant::now();
    threads.for_each(threads.count(), |_, _| {
        let mut out = vec![0.0; 256 * outputs];
        for _ in 0..repeats {
            Cpu::new(&Team::solo(), isa).linear(
                black_box(&x),
                &weight,
                Epilogue::default(),
                &mut out,
            );
        }
    });
    (threads.count() * repeats * 2 * 256 * inputs * outputs) as f64 / start.elapsed().as_secs_f64()
}

fn operations(config: &EncoderConfig, batch: &TokenBatch) -> f64 {
    let (d, f) = (config.hidden_size, config.intermediate_size);
    let one = |tokens: usize| 3 * tokens * 2 * (4 * d * d + 2 * d * f) + 14 * tokens * tokens * d;
    (0..batch.len()).map(|i| (one(batch.sequence(i).len()) * config.layers) as f64).sum()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
