//! The protocol of `README.md` for workers in Rust: reads commands, passes texts to an encoder,
//! measures the time, and answers.

use std::collections::HashMap;
use std::io::BufRead;
use std::time::Instant;

use serde_json::{Value, json};

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// sentence-transformers' default.
pub const BATCH: usize = 32;

/// What a worker puts behind the protocol.
pub trait Encoder {
    /// One vector of length one for each text, in the texts' order.
    fn encode(&mut self, texts: &[String]) -> Result<Vec<Vec<f32>>, Failure>;

    /// Tokens of all texts: specials included, cut where the model cuts, no padding.
    fn count_tokens(&self, texts: &[String]) -> Result<usize, Failure>;
}

/// Answers commands until one says to quit.
pub fn serve(encoder: &mut dyn Encoder) -> Result<(), Failure> {
    let mut files = Files::default();
    for line in std::io::stdin().lock().lines() {
        let command: Value = serde_json::from_str(&line?)?;
        let answer = match command["cmd"].as_str() {
            Some("encode") => encode(encoder, files.texts(&command)?)?,
            Some("vectors") => vectors(encoder, files.texts(&command)?, &command)?,
            Some("latency") => latency(encoder, &command)?,
            Some("quit") => return Ok(()),
            other => return Err(format!("command {other:?}").into()),
        };
        println!("{answer}");
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
fn encode(encoder: &mut dyn Encoder, texts: &[String]) -> Result<Value, Failure> {
    let start = Instant::now();
    encoder.encode(texts)?;
    let seconds = start.elapsed().as_secs_f64();
    let tokens = encoder.count_tokens(texts)?;
    Ok(json!({ "seconds": seconds, "texts": texts.len(), "tokens": tokens }))
}

/// Writes the vectors of the texts, end to end, to the file `out`.
fn vectors(encoder: &mut dyn Encoder, texts: &[String], command: &Value) -> Result<Value, Failure> {
    let rows = encoder.encode(texts)?;
    let bytes: Vec<u8> = rows.iter().flatten().flat_map(|x| x.to_le_bytes()).collect();
    std::fs::write(command["out"].as_str().ok_or("no out")?, bytes)?;
    Ok(json!({ "texts": texts.len(), "dimension": rows.first().map_or(0, Vec::len) }))
}

/// One text `n` times, after a tenth as many to warm up.
fn latency(encoder: &mut dyn Encoder, command: &Value) -> Result<Value, Failure> {
    let text = [command["text"].as_str().ok_or("no text")?.to_owned()];
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
    let tokens = encoder.count_tokens(&text)?;
    Ok(json!({ "p50_ms": percentile(50), "p99_ms": percentile(99), "tokens": tokens }))
}

/// The texts' places, longest text first: sentence-transformers sorts so, by characters,
/// to pad little.
pub fn longest_first(texts: &[String]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by_cached_key(|&at| std::cmp::Reverse(texts[at].chars().count()));
    order
}
