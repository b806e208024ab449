//! Measures which share of the machine's matrix-product speed the whole encoder reaches.
//!
//!     cargo bench -p polyhead-model --bench encoder -- [TEXT_FILE] [MODEL_FOLDER]
//!
//! Alternates, on all threads of the machine, a bare product of the size of the feed-forward layer
//! and the forward pass over the first 1,000 lines of TEXT_FILE (without a file: 1,000 made-up
//! texts), already tokenized, in single precision and in 8 bits. Prints the medians and their
//! ratios. Paths are relative to this crate (cargo runs benches there). The operations of the
//! encoder are those of its products: `2 · (4 D² + 2 D F) · L` per token, plus `4 · T · D · L` per
//! token for attention in a sequence of `T`; other operations are not counted.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use polyhead_compute::{Cpu, Isa, Threads};
use polyhead_model::{
    EncodeOptions, Encoder, EncoderConfig, ModelFolder, Precision, SentenceEncoder, Sequences,
    Workspace, product_rate,
};
use polyhead_text::TokenBatch;

const ROUNDS: usize = 7;
/// Tokens of a forward pass, as when encoding.
const GROUP_TOKENS: usize = 256;

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
        SentenceEncoder::from_folder(folder.clone(), &Default::default()).expect("a model");
    let batch = sentences.tokenize(&texts, &EncodeOptions::default()).expect("tokens");
    let threads = Threads::new(Threads::available()).expect("threads");
    let isa = Isa::detect();
    let config = folder.config.clone();
    let encoder = |precision| {
        Encoder::new(folder.config.clone(), folder.weights.clone(), isa, precision, &threads)
    };
    let (encoder, int8) = (encoder(Precision::F32), encoder(Precision::Int8));

    let (mut peaks, mut rates, mut gains) = (Vec::new(), Vec::new(), Vec::new());
    let rate = |encoder| {
        let start = Instant::now();
        forward(&threads, encoder, &batch);
        operations(&config, &batch) / start.elapsed().as_secs_f64()
    };
    for _ in 0..ROUNDS {
        peaks.push(product_rate(&threads, &config, isa, None, Duration::from_millis(500)));
        rates.push(rate(&encoder));
        gains.push(rate(&int8) / rates.last().expect("just pushed"));
    }
    let shares = rates.iter().zip(&peaks).map(|(rate, peak)| rate / peak).collect();
    let (peak, rate, share) = (median(peaks), median(rates), median(shares));
    let tokens = batch.tokens() as f64;
    println!("{}, {} threads, {} texts, {tokens} tokens", isa.name(), threads.count(), batch.len());
    println!("matrix product  {:.0} GFLOP/s", peak / 1e9);
    println!(
        "encoder         {:.0} GFLOP/s, {:.0} tokens/s",
        rate / 1e9,
        tokens * rate / operations(&config, &batch)
    );
    println!("share           {:.1} % (median of {ROUNDS} rounds)", 100.0 * share);
    let kernels = int8.int8_isa().expect("8 bits were asked for").name();
    println!("int8            {:.2} times as fast, with {kernels}", median(gains));
}

fn texts(file: Option<&Path>) -> Vec<String> {
    match file {
        Some(file) => std::fs::read_to_string(file)
            .expect("a text file")
            .lines()
            .take(1000)
            .map(str::to_owned)
            .collect(),
        None => (0..1000).map(|i| "some words of a sentence ".repeat(1 + i * i % 13)).collect(),
    }
}

fn forward(threads: &Threads, encoder: &Encoder, batch: &TokenBatch) {
    let mut groups = vec![TokenBatch::default()];
    for i in 0..batch.len() {
        let full = groups[groups.len() - 1].tokens() + batch.sequence(i).len() > GROUP_TOKENS;
        if full {
            groups.push(TokenBatch::default());
        }
        let last = groups.len() - 1;
        groups[last].push(batch, i);
    }
    thread_local! {
        static WORKSPACE: std::cell::RefCell<Workspace> = Default::default();
    }
    threads.for_each(groups.len(), |team, i| {
        let group = &groups[i];
        let input =
            Sequences { ids: &group.ids, type_ids: &group.type_ids, offsets: &group.offsets };
        WORKSPACE.with_borrow_mut(|workspace| {
            black_box(encoder.forward(Cpu::new(team, encoder.isa()), input, workspace));
        });
    });
}

fn operations(config: &EncoderConfig, batch: &TokenBatch) -> f64 {
    (0..batch.len()).map(|i| config.operations(batch.sequence(i).len())).sum()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
