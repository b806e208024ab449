//! The measured side of `bench/train/run.py`: trains on the same batches as `torch_loop.py`. The
//! README there describes the arguments and the output line.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use polyhead_compute::Threads;
use polyhead_model::{
    EncodeOptions, HeadSpec, HeadWeights, LoadOptions, ModelFolder, Network, NetworkOptions,
    SentenceEncoder, TaskKind, TrainableLayout,
};
use polyhead_text::TextInput;
use polyhead_train::FreezePlan;
use polyhead_train::RateTable;
use polyhead_train::{AdamW, AdamWSettings};
use polyhead_train::{Learner, Objective, RunConfig, StateCache, StepBatch};
use polyhead_train::{Place, Split, SplitWords, TaskLabels};

const TASKS: [(&str, usize); 2] = [("first", 3), ("second", 2)];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let arguments: HashMap<&str, &str> = given
        .chunks_exact(2)
        .map(|pair| (pair[0].trim_start_matches("--"), pair[1].as_str()))
        .collect();
    let text = |name: &str, default: &'static str| *arguments.get(name).unwrap_or(&default);
    let number = |name: &str, default: &'static str| text(name, default).parse::<usize>();

    let freeze = match text("freeze", "none") {
        "none" => "",
        "lower4" => "[[freeze]]\nparameters = [\"embeddings\", \"layers.0-3\"]",
        "backbone" => "[[freeze]]\nparameters = [\"encoder\"]",
        other => return Err(format!("--freeze {other}").into()),
    };
    let config = format!(
        "[data]\ntrain = \"unused.jsonl\"\n[[task]]\nname = \"first\"\nkind = \"classification\"\n\
         [[task]]\nname = \"second\"\nkind = \"classification\"\n\
         [train]\nlearning_rate = 5e-5\nhead_learning_rate = 5e-5\nclip_norm = 0\n{freeze}"
    );
    let config = RunConfig::parse(&config, Path::new("bench.toml"), &[])?;
    let threads = Threads::new(number("threads", "2")?)?;
    let folder = ModelFolder::open(Path::new(text("model", "")))?;
    let limit = number("limit", "1000000000")?;
    let split = read(&folder, text("texts", ""), number("max-length", "128")?, limit)?;

    let site = folder.head_dims();
    let heads = TASKS.map(|(name, labels)| HeadWeights::random(spec(name, labels), &site, 7));
    let options = NetworkOptions {
        hidden_dropout: Some(0.1),
        attention_dropout: Some(0.1),
        ..NetworkOptions::default()
    };
    let network = Network::new(&folder, &heads, &options, &threads)?;
    drop(folder);
    let names = TASKS.map(|(name, _)| name.to_owned());
    let freeze = FreezePlan::new(&config.freeze, network.store(), &names, 1, 1)?;
    let rates = RateTable::new(network.store(), &config.train, &config.tasks, &freeze);
    let trainable = freeze.trainable(1);
    let layout = TrainableLayout::new(network.store(), &trainable);
    let optimizer = AdamW::new(AdamWSettings::new(&config.train), layout);
    let objectives =
        TASKS.map(|(_, labels)| Objective::new(TaskKind::Classification, labels)).to_vec();
    let width = network.config().hidden_size;
    let mut learner = Learner::new(network, optimizer, objectives, &trainable, 7, 0);
    learner.set_trainable(&threads, &trainable);
    let cached = !learner.depth().embeddings && learner.depth().start > 0;
    let states = learner.depth().cached.clone();
    let mut cache = cached.then(|| StateCache::new(states, width, split.len(), 8 << 30));

    let grouped = text("order", "random") == "grouped";
    let batch_size = number("batch-size", "32")?;
    let steps = number("steps", "20")?;
    let warmup = number("warmup-steps", "3")?;
    let mut step = 0;
    let mut run = |rows: &[u32]| -> Result<(f64, f64), polyhead_train::Error> {
        step += 1;
        let batch =
            StepBatch { split: &split, rows, tasks: &[0, 1], teachers: &[], accumulation: 1 };
        let begin = Instant::now();
        let outcome = learner.step(&threads, step, &batch, &rates, 1.0, cache.as_mut())?;
        Ok((begin.elapsed().as_secs_f64(), outcome.loss))
    };
    for rows in batches(&split, grouped, batch_size, 0, warmup) {
        run(&rows)?;
    }
    let timed = batches(&split, grouped, batch_size, 1, steps);
    let (mut seconds, mut loss) = (0.0, 0.0);
    for rows in &timed {
        let (time, last) = run(rows)?;
        seconds += time;
        loss = last;
    }
    let texts: usize = timed.iter().map(Vec::len).sum();
    let tokens: usize =
        timed.iter().flatten().map(|row| split.tokens.sequence(*row as usize).len()).sum();
    println!(
        "{}",
        serde_json::json!({
            "system": "polyhead",
            "order": text("order", "random"),
            "freeze": text("freeze", "none"),
            "threads": threads.count(),
            "steps": steps,
            "texts": texts,
            "tokens": tokens,
            "seconds": seconds,
            "tokens_per_s": tokens as f64 / seconds,
            "texts_per_s": texts as f64 / seconds,
            "seconds_per_step": seconds / steps as f64,
            "loss": loss,
            "peak_memory_mb": peak_memory_mb(),
        })
    );
    Ok(())
}

fn spec(name: &str, labels: usize) -> HeadSpec {
    HeadSpec {
        labels: (0..labels).map(|label| label.to_string()).collect(),
        ..HeadSpec::new(name, TaskKind::Classification, &[])
    }
}

/// The lines of a file, tokenized, with labels from their hash.
fn read(
    folder: &ModelFolder,
    path: &str,
    max_length: usize,
    limit: usize,
) -> Result<Split, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string(path)?;
    let lines: Vec<&str> =
        text.strip_suffix('\n').unwrap_or(&text).split('\n').take(limit).collect();
    let options = LoadOptions::default().max_length(max_length);
    let sentences = SentenceEncoder::from_folder(folder.clone(), &options)?;
    let hashes: Vec<u64> = lines.iter().map(|line| fnv_1a(line.as_bytes())).collect();
    let labels = |task: u64, divisor: u64| {
        let label = |hash: &u64| Some((hash / divisor % task) as u32);
        TaskLabels::Classes(hashes.iter().map(label).collect())
    };
    Ok(Split {
        tokens: sentences.tokenize(&lines, &EncodeOptions::default())?,
        labels: vec![labels(3, 1), labels(2, 3)],
        words: SplitWords { offsets: vec![0; lines.len() + 1], ..SplitWords::default() },
        places: (1..=lines.len() as u64).map(|line| Place { file: 0, line }).collect(),
        files: vec![path.into()],
        inputs: lines.into_iter().map(|line| TextInput::One(line.to_owned())).collect(),
        issues: Vec::new(),
        ..Split::default()
    })
}

fn fnv_1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// As `batches` of `torch_loop.py`.
fn batches(split: &Split, grouped: bool, size: usize, epoch: u64, count: usize) -> Vec<Vec<u32>> {
    let mut chosen = Vec::new();
    for epoch in epoch.. {
        if chosen.len() >= count {
            break;
        }
        let mut rows: Vec<u32> = (0..split.len() as u32).collect();
        rows.sort_by_key(|row| mixed(epoch << 32 | u64::from(*row)));
        if grouped {
            rows.sort_by_key(|row| split.tokens.sequence(*row as usize).len());
        }
        let mut found: Vec<(u64, Vec<u32>)> = (0..)
            .zip(rows.chunks(size))
            .map(|(i, rows)| (mixed(1 << 63 | epoch << 32 | i), rows.to_vec()))
            .collect();
        if grouped {
            found.sort_by_key(|(key, _)| *key);
        }
        chosen.extend(found.into_iter().map(|(_, rows)| rows));
    }
    chosen.truncate(count);
    chosen
}

/// SplitMix64's next number from this state.
fn mixed(value: u64) -> u64 {
    let z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// The most memory this process has held, where the system says.
fn peak_memory_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024.0 / 1e6)
}
