//! Measures tokens per second on one thread and on all threads, and for one long line.
//!
//!     cargo run --release -p polyhead-text --example tokenize_speed -- MODEL_FOLDER TEXT_FILE
//!
//! Each line of the file is a text. Prints the fastest and slowest of some rounds.

use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;
use std::{fs, io, iter, thread};

use polyhead_text::{TextInput, Tokenizer, TokenizerError};

const ROUNDS: usize = 7;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, file] = &arguments[..] else {
        return Err("expected a model folder and a text file".into());
    };
    let started = Instant::now();
    let tokenizer =
        Tokenizer::from_files(|name, _| match fs::read(Path::new(folder).join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            found => found.map(Some),
        })?;
    println!("load: {:.1} ms", started.elapsed().as_secs_f64() * 1e3);

    let text = fs::read_to_string(file)?;
    let lines: Vec<_> = text.lines().map(TextInput::One).collect();
    for threads in [1, thread::available_parallelism()?.get()] {
        let name = format!("{} lines, {threads} threads", lines.len());
        measure(&name, || tokens(&tokenizer, &lines, threads))?;
    }

    let line = text.replace('\n', " ");
    let line = line.repeat(10_000_000 / line.len().max(1) + 1);
    measure(&format!("one line of {} bytes", line.len()), || {
        tokens(&tokenizer, &[TextInput::One(line.as_str())], 1)
    })?;
    Ok(())
}

/// Number of tokens of all inputs before cutting.
fn tokens(
    tokenizer: &Tokenizer,
    inputs: &[TextInput<&str>],
    threads: usize,
) -> Result<usize, TokenizerError> {
    let next = AtomicUsize::new(0);
    let batch = tokenizer.encode_with(inputs, 512, |count, work| {
        let take_turns = || {
            iter::repeat_with(|| next.fetch_add(1, Relaxed))
                .take_while(|i| *i < count)
                .for_each(work)
        };
        thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(take_turns))));
    })?;
    Ok(batch.texts.iter().map(|text| text.total).sum())
}

fn measure(
    name: &str,
    work: impl Fn() -> Result<usize, TokenizerError>,
) -> Result<(), TokenizerError> {
    let mut seconds = Vec::new();
    let mut tokens = 0;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        tokens = work()?;
        seconds.push(started.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let rate = |seconds: f64| tokens as f64 / seconds / 1e3;
    println!(
        "{name}: {tokens} tokens, {:.0} to {:.0} thousand tokens/s",
        rate(seconds[ROUNDS - 1]),
        rate(seconds[0])
    );
    Ok(())
}
