//! Throughput of 64 clients, each with one text of 20 tokens at a time, compared with the offline
//! encoder on batches of the engine's size and on 1,024 texts at a time.
//!
//! `cargo run --release -p polyhead-serve --example saturation -- MODEL [SECONDS [BATCH_TOKENS]]`
//!
//! MODEL is a folder. Rounds of both alternate, so that noise of the machine affects both.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use polyhead_model::{EncodeOptions, MultiTaskModel};
use polyhead_serve::{Engine, EngineRequest, EngineSettings, RequestOptions, Vectors};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const CLIENTS: usize = 64;
const ROUNDS: usize = 8;
const LARGE: usize = 1024;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().ok_or("usage: saturation MODEL [SECONDS [BATCH_TOKENS]]")?;
    let seconds: f64 = arguments.next().map_or(Ok(2.0), |text| text.parse())?;
    let time = Duration::from_secs_f64(seconds);
    let mut settings = EngineSettings::default();
    if let Some(tokens) = arguments.next() {
        settings.batch_tokens = Some(tokens.parse()?);
    }
    let engine = Engine::start(move || MultiTaskModel::load(&model), settings)?;
    let text = text_of_20_tokens(&engine.model())?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build()?;
    let mut all = [0.0; 3];
    for round in 1..=ROUNDS {
        let (before, begun) = (totals(&engine), Instant::now());
        let mut latencies = runtime.block_on(load(&engine, &text, time))?;
        let elapsed = begun.elapsed().as_secs_f64();
        let after = totals(&engine);
        let [batches, texts, seconds] = [0, 1, 2].map(|i| after[i] - before[i]);
        let (per_batch, inside) = (texts / batches, seconds / elapsed);
        let served = latencies.len() as f64 / elapsed;
        let alike = offline(&engine.model(), &text, per_batch.round() as usize, time)?;
        let large = offline(&engine.model(), &text, LARGE, time)?;
        latencies.sort_unstable();
        let at = |share: f64| latencies[(share * (latencies.len() - 1) as f64) as usize];
        println!(
            "round {round}: served {served:.0} texts/s in batches of {per_batch:.1}, {:.1} % of the \
             time in passes, latency p50 {:.0?}, p99 {:.0?}; offline {alike:.0} texts/s in such \
             batches, {large:.0} in large ones",
            100.0 * inside,
            at(0.5),
            at(0.99)
        );
        for (all, one) in all.iter_mut().zip([served, alike, large]) {
            *all += one;
        }
    }
    let [served, alike, large] = all;
    println!(
        "all rounds: {:.1} % of the offline encoder in such batches, {:.1} % of it in large ones",
        100.0 * served / alike,
        100.0 * served / large
    );
    Ok(())
}

/// Batches so far, their texts and their seconds.
fn totals(engine: &Engine) -> [f64; 3] {
    let metrics = engine.metrics();
    let (batches, texts) = (metrics.batches.get(), metrics.batched_texts.get());
    [batches as f64, texts as f64, metrics.busy_seconds.get()]
}

fn text_of_20_tokens(model: &MultiTaskModel) -> Result<String, Failure> {
    let mut text = "the".to_owned();
    while model.encoder().tokenize(&[&text], &EncodeOptions::default())?.tokens() < 20 {
        text.push_str(" train");
    }
    Ok(text)
}

async fn load(engine: &Engine, text: &str, time: Duration) -> Result<Vec<Duration>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (engine, stop) = (engine.clone(), Arc::clone(&stop));
            let request = EngineRequest {
                options: RequestOptions {
                    tasks: Some(Vec::new()),
                    vectors: Some(Vectors::default()),
                    ..RequestOptions::default()
                },
                ..EngineRequest::texts([text])
            };
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    engine.answer(request.clone()).await?;
                    latencies.push(begun.elapsed());
                }
                Ok::<_, polyhead_serve::RequestError>(latencies)
            })
        })
        .collect();
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    let mut all = Vec::new();
    for client in clients {
        all.extend(client.await??);
    }
    Ok(all)
}

/// Texts per second of the encoder by itself.
fn offline(
    model: &MultiTaskModel,
    text: &str,
    batch: usize,
    time: Duration,
) -> Result<f64, Failure> {
    let texts = vec![text; batch];
    let (mut count, begun) = (0, Instant::now());
    while begun.elapsed() < time {
        model.encoder().encode(&texts)?;
        count += texts.len();
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}
