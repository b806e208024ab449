//! The Polyhead side of `bench/peers`: reads commands from standard input and answers each with a
//! line of JSON that has the seconds the work took.
//!
//!     bench_worker --model DIR|builtin --precision f32|int8 --threads N

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::time::Instant;

use polyhead::{EncodeOptions, LoadOptions, Precision, SentenceEncoder};
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let options: HashMap<&str, &str> =
        arguments.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
    let threads = options.get("--threads").map_or(Ok(2), |n| n.parse())?;
    let precision = match options.get("--precision") {
        None | Some(&"f32") => Precision::F32,
        Some(&"int8") => Precision::Int8,
        Some(other) => {
            return Err(format!("--precision: expected f32 or int8, found {other}").into());
        }
    };
    let load = LoadOptions::default().threads(threads).precision(precision);
    let encoder = match options.get("--model") {
        None | Some(&"builtin") => SentenceEncoder::builtin_with(&load)?,
        Some(folder) => SentenceEncoder::load_with(folder, &load)?,
    };
    let mut files = Files::default();
    for line in std::io::stdin().lock().lines() {
        let command: Value = serde_json::from_str(&line?)?;
        let answer = match command["cmd"].as_str() {
            Some("encode") => encode(&encoder, files.texts(&command)?)?,
            Some("vectors") => vectors(&encoder, files.texts(&command)?, &command)?,
            Some("latency") => latency(&encoder, &command)?,
            Some("quit") => return Ok(()),
            other => return Err(format!("command {other:?}").into()),
        };
        println!("{answer}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// Lines of text files, each read once.
#[derive(Default)]
struct Files(HashMap<String, Vec<String>>);

impl Files {
    /// The first `limit` lines of a command's `file`.
    fn texts(&mut self, command: &Value) -> Result<&[String], Failure> {
        let file = command["file"].as_str().ok_or("no file")?;
        if !self.0.contains_key(file) {
            let lines = std::fs::read_to_string(file)?.lines().map(str::to_owned).collect();
            self.0.insert(file.to_owned(), lines);
        }
        let all = &self.0[file];
        let limit = command["limit"].as_u64().map_or(all.len(), |n| all.len().min(n as usize));
        Ok(&all[..limit])
    }
}

/// One pass over the texts.
fn encode(encoder: &SentenceEncoder, texts: &[String]) -> Result<Value, Failure> {
    let start = Instant::now();
    let encoded = encoder.encode_with(texts, &EncodeOptions::default())?;
    let seconds = start.elapsed().as_secs_f64();
    let tokens: usize = encoded.texts.iter().map(|text| text.kept).sum();
    Ok(json!({ "seconds": seconds, "texts": texts.len(), "tokens": tokens }))
}

/// Writes the vectors of the texts, end to end, to the file `out`.
fn vectors(encoder: &SentenceEncoder, texts: &[String], command: &Value) -> Result<Value, Failure> {
    let encoded = encoder.encode(texts)?;
    let bytes: Vec<u8> = encoded.as_slice().iter().flat_map(|x| x.to_le_bytes()).collect();
    std::fs::write(command["out"].as_str().ok_or("no out")?, bytes)?;
    Ok(json!({ "texts": texts.len(), "dimension": encoder.dimension() }))
}

/// One text `n` times, after a tenth as many to warm up.
fn latency(encoder: &SentenceEncoder, command: &Value) -> Result<Value, Failure> {
    let text = [command["text"].as_str().ok_or("no text")?];
    let count = command["n"].as_u64().unwrap_or(200).max(1) as usize;
    for _ in 0..count / 10 {
        encoder.encode(&text)?;
    }
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        encoder.encode(&text)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let percentile = |p: usize| times[count * p / 100];
    let tokens = encoder.encode_with(&text, &EncodeOptions::default())?.texts[0].kept;
    Ok(json!({ "p50_ms": percentile(50), "p99_ms": percentile(99), "tokens": tokens }))
}
