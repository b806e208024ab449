//! The Polyhead side of `bench/encode`: answers commands on standard input, a
//! JSON object a line, with the seconds that the work took.
//!
//!     bench_worker --model DIR|builtin --threads N

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::time::Instant;

use polyhead::{EncodeOptions, LoadOptions, SentenceEncoder};
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let options: HashMap<&str, &str> =
        arguments.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
    let threads = options.get("--threads").map_or(Ok(2), |n| n.parse())?;
    let load = LoadOptions::default().threads(threads);
    let encoder = match options.get("--model") {
        None | Some(&"builtin") => SentenceEncoder::builtin_with(&load)?,
        Some(folder) => SentenceEncoder::load_with(folder, &load)?,
    };
    let mut texts = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let command: Value = serde_json::from_str(&line?)?;
        let answer = match command["cmd"].as_str() {
            Some("encode") => encode(&encoder, &command, &mut texts)?,
            Some("latency") => latency(&encoder, &command)?,
            Some("quit") => return Ok(()),
            other => return Err(format!("command {other:?}").into()),
        };
        println!("{answer}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// One pass over the first `limit` lines of `file`, which are read once.
fn encode(
    encoder: &SentenceEncoder,
    command: &Value,
    files: &mut HashMap<String, Vec<String>>,
) -> Result<Value, Failure> {
    let file = command["file"].as_str().ok_or("no file")?;
    if !files.contains_key(file) {
        let lines = std::fs::read_to_string(file)?.lines().map(str::to_owned).collect();
        files.insert(file.to_owned(), lines);
    }
    let all = &files[file];
    let limit = command["limit"].as_u64().map_or(all.len(), |n| all.len().min(n as usize));
    let start = Instant::now();
    let encoded = encoder.encode_with(&all[..limit], &EncodeOptions::default())?;
    let seconds = start.elapsed().as_secs_f64();
    let tokens: usize = encoded.texts.iter().map(|text| text.kept).sum();
    Ok(json!({ "seconds": seconds, "texts": limit, "tokens": tokens }))
}

/// One text `n` times, after a warm-up.
fn latency(encoder: &SentenceEncoder, command: &Value) -> Result<Value, Failure> {
    let text = [command["text"].as_str().ok_or("no text")?];
    let count = command["n"].as_u64().unwrap_or(200).max(1) as usize;
    let mut times = Vec::with_capacity(count);
    for i in 0..count + 20 {
        let start = Instant::now();
        encoder.encode(&text)?;
        if i >= 20 {
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.sort_by(f64::total_cmp);
    let percentile = |p: f64| times[((p * count as f64) as usize).min(count - 1)];
    let tokens = encoder.encode_with(&text, &EncodeOptions::default())?.texts[0].kept;
    Ok(json!({ "p50_ms": percentile(0.5), "p99_ms": percentile(0.99), "tokens": tokens }))
}
