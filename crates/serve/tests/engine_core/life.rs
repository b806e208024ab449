//! Reloading and stopping.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use polyhead_model::{LoadOptions, MultiTaskModel};
use polyhead_serve::{Answer, Engine, EngineRequest, EngineSettings, EngineState, RequestError};

use crate::{ask, assert_idle, folder, occupy, start, texts, until, with_faults};

/// Loads a model whose answer to `urgency` is about this number; none for 0.
fn load_version(version: usize) -> Result<MultiTaskModel, polyhead_model::Error> {
    if version == 0 {
        return MultiTaskModel::load("/no such folder");
    }
    let mut folder = folder();
    folder.heads[2].output.1[0] = 1000.0 * version as f32;
    MultiTaskModel::from_folder(folder, &LoadOptions::default().threads(2))
}

fn versioned(settings: EngineSettings) -> (Engine, Arc<AtomicUsize>) {
    let version = Arc::new(AtomicUsize::new(1));
    let read = Arc::clone(&version);
    let load = move || load_version(read.load(Ordering::Relaxed));
    (Engine::start(load, settings).unwrap(), version)
}

fn urgency() -> EngineRequest {
    let mut request = EngineRequest::texts(["the train"]);
    request.options.tasks = Some(vec!["urgency".to_owned()]);
    request
}

fn version(answers: &polyhead_serve::EngineReply) -> usize {
    let Answer::Regression(x) = answers.texts[0].tasks[0].answer else { panic!() };
    (x / 1000.0).round() as usize
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_swaps_between_batches_and_drops_nothing() {
    let (engine, versions) = versioned(with_faults());
    let busy = occupy(&engine, 300).await;
    let before: Vec<_> = (0..20).map(|_| ask(&engine, urgency())).collect();
    until(|| engine.backlog().requests == 21).await;
    versions.store(2, Ordering::Relaxed);
    let reloading = engine.clone();
    tokio::task::spawn_blocking(move || reloading.reload()).await.unwrap().unwrap();
    let after: Vec<_> = (0..20).map(|_| ask(&engine, urgency())).collect();
    assert!(!busy.is_finished(), "the reload waited for the batch");
    for asked in before {
        assert_eq!(version(&asked.await.unwrap().unwrap()), 1);
    }
    for asked in after {
        assert_eq!(version(&asked.await.unwrap().unwrap()), 2);
    }
    busy.await.unwrap().unwrap();
    assert_eq!(engine.metrics().reloads.get(), 1);
    assert_idle(&engine);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_does_not_load_changes_nothing() {
    let (engine, versions) = versioned(EngineSettings::default());
    versions.store(0, Ordering::Relaxed);
    let first_load = engine.metrics().last_load();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - 60.0..=now).contains(&first_load), "{first_load} at {now}");
    for failures in 1..=2 {
        assert!(engine.reload().is_err());
        assert_eq!(engine.metrics().reload_failures.get(), failures);
    }
    assert_eq!(engine.metrics().last_load(), first_load);
    assert_eq!(version(&engine.answer(urgency()).await.unwrap()), 1);
    assert_eq!((engine.state(), engine.metrics().reloads.get()), (EngineState::Ready, 0));
    versions.store(2, Ordering::Relaxed);
    engine.reload().unwrap();
    assert_eq!((engine.metrics().reloads.get(), engine.metrics().reload_failures.get()), (1, 2));
    assert!(engine.metrics().last_load() > first_load);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_answers_what_there_is_and_refuses_what_is_new() {
    let engine = start(with_faults());
    let busy = occupy(&engine, 300).await;
    let waits: Vec<_> =
        texts(30).into_iter().map(|text| ask(&engine, EngineRequest::texts([text]))).collect();
    until(|| engine.backlog().requests == 31).await;
    let stopping = engine.clone();
    let stopped = tokio::spawn(async move { stopping.stop(Duration::from_secs(10)).await });
    until(|| engine.state() == EngineState::Stopping).await;
    let refused = engine.answer(EngineRequest::texts(["a"])).await.map(|_| ());
    assert_eq!(refused, Err(RequestError::Stopping));
    for asked in waits.into_iter().chain([busy]) {
        asked.await.unwrap().unwrap();
    }
    assert_eq!(stopped.await.unwrap(), 0);
    assert_eq!(engine.state(), EngineState::Stopped);
    // Once more does no harm.
    assert_eq!(engine.stop(Duration::from_secs(10)).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_the_waiting() {
    let engine = start(with_faults());
    let busy = occupy(&engine, 1000).await;
    let waits = ask(&engine, EngineRequest::texts(["a", "b"]));
    until(|| engine.backlog().requests == 2).await;
    let begun = Instant::now();
    assert_eq!(engine.stop(Duration::from_millis(100)).await, 3);
    assert!(begun.elapsed() < Duration::from_millis(600));
    for asked in [busy, waits] {
        assert_eq!(asked.await.unwrap().map(|_| ()), Err(RequestError::Stopping));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_handle_ends_the_threads() {
    let engine = start(EngineSettings::default());
    let model = Arc::downgrade(&engine.model());
    engine.answer(EngineRequest::texts(["a"])).await.unwrap();
    drop(engine);
    until(|| model.upgrade().is_none()).await;
}
