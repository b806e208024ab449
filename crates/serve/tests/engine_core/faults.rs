//! A fault in a batch affects only the text that caused it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use polyhead_compute::StoredTensor;
use polyhead_model::{EncodeOptions, LoadOptions, MultiTaskModel};
use polyhead_serve::{Engine, EngineRequest, EngineSettings, EngineState, RequestError};

use crate::{ask, assert_idle, folder, load, occupy, start, texts, until, with_faults};

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_isolated_to_its_text() {
    let engine = start(with_faults());
    let busy = occupy(&engine, 200).await;
    let good: Vec<_> =
        texts(20).into_iter().map(|text| ask(&engine, EngineRequest::texts([text]))).collect();
    let bad = ask(&engine, EngineRequest::texts(["the train", "panic now", "the leaves"]));
    let other = ask(&engine, EngineRequest::texts(["panic too"]));
    until(|| engine.backlog().requests == 23).await;
    assert_eq!(bad.await.unwrap().map(|_| ()), Err(RequestError::Failed { index: 1 }));
    assert_eq!(other.await.unwrap().map(|_| ()), Err(RequestError::Failed { index: 0 }));
    for asked in good.into_iter().chain([busy]) {
        asked.await.unwrap().unwrap();
    }
    let metrics = engine.metrics();
    assert_eq!((metrics.panics.get(), metrics.restarts.get()), (2, 0));
    assert_eq!(engine.state(), EngineState::Ready);
    assert_idle(&engine);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_is_not_finite_is_isolated_to_its_text() {
    let engine = start(with_faults());
    let busy = occupy(&engine, 200).await;
    let good: Vec<_> =
        texts(20).into_iter().map(|text| ask(&engine, EngineRequest::texts([text]))).collect();
    let bad = ask(&engine, EngineRequest::texts(["the train", "nan now"]));
    let expected = RequestError::NotFinite { index: 1, task: None };
    assert_eq!(bad.await.unwrap().map(|_| ()), Err(expected));
    for asked in good.into_iter().chain([busy]) {
        asked.await.unwrap().unwrap();
    }
    assert_eq!(engine.metrics().not_finite_vectors(), 1);
    assert_idle(&engine);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_worker_is_replaced() {
    let engine = start(with_faults());
    for round in 1..=3 {
        let busy = occupy(&engine, 100).await;
        let bad = ask(&engine, EngineRequest::texts(["the train", "die now"]));
        until(|| engine.backlog().requests == 2).await;
        busy.await.unwrap().unwrap();
        let lost = bad.await.unwrap().map(|_| ()).unwrap_err();
        assert!(matches!(lost, RequestError::Lost { .. }), "{lost}");
        engine.answer(EngineRequest::texts(["the train"])).await.unwrap();
        assert_eq!(engine.metrics().restarts.get(), round);
        assert_eq!(engine.state(), EngineState::Ready);
    }
    assert_idle(&engine);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_worker_is_given_up_and_others_are_answered() {
    let mut settings = with_faults();
    settings.stuck_after = Duration::from_millis(300);
    settings.batch_tokens = Some(1);
    let loads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&loads);
    let engine = Engine::start(
        move || {
            counted.fetch_add(1, Ordering::Relaxed);
            load()
        },
        settings,
    )
    .unwrap();
    let begun = Instant::now();
    let before = engine.model();
    let stuck = occupy(&engine, 1500).await;
    let waits: Vec<_> =
        texts(10).into_iter().map(|text| ask(&engine, EngineRequest::texts([text]))).collect();
    let lost = stuck.await.unwrap().map(|_| ()).unwrap_err();
    assert_eq!(lost, RequestError::Lost { index: 0 });
    for asked in waits {
        asked.await.unwrap().unwrap();
    }
    assert!(begun.elapsed() < Duration::from_millis(1400), "waited for the stuck thread");
    assert!(!Arc::ptr_eq(&before, &engine.model()), "its model may be stuck as well");
    assert_eq!((loads.load(Ordering::Relaxed), engine.state()), (2, EngineState::Ready));
    let metrics = engine.metrics();
    assert_eq!((metrics.restarts.get(), metrics.abandoned_threads.get()), (1, 1));
    // It ends when it can, and changes nothing.
    until(|| engine.metrics().abandoned_threads.get() == 0).await;
    engine.answer(EngineRequest::texts(["the train"])).await.unwrap();
    assert_eq!(engine.metrics().restarts.get(), 1);
    assert_idle(&engine);
}

struct LogWriter(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_does_not_load_again_is_said_and_tried_again() {
    let mut settings = with_faults();
    settings.stuck_after = Duration::from_millis(200);
    let broken = Arc::new(AtomicBool::new(false));
    let is_broken = Arc::clone(&broken);
    // Of all tests of this program: the supervisor logs from a thread of its own.
    let log = Arc::new(Mutex::new(Vec::new()));
    let writer = Arc::clone(&log);
    tracing_subscriber::fmt().with_writer(move || LogWriter(writer.clone())).init();
    let engine = Engine::start(
        move || {
            if is_broken.load(Ordering::Relaxed) {
                MultiTaskModel::load("/no such folder")
            } else {
                load()
            }
        },
        settings,
    )
    .unwrap();
    let stuck = occupy(&engine, 1000).await;
    let waits = ask(&engine, EngineRequest::texts(["the train"]));
    broken.store(true, Ordering::Relaxed);
    assert!(matches!(stuck.await.unwrap(), Err(RequestError::Lost { index: 0 })));
    assert!(matches!(waits.await.unwrap(), Err(RequestError::NotReady)));
    assert_eq!(engine.state(), EngineState::Restarting);
    let refused = engine.answer(EngineRequest::texts(["a"])).await.map(|_| ());
    assert_eq!(refused, Err(RequestError::NotReady));
    let log = String::from_utf8(log.lock().unwrap().clone()).unwrap();
    let causes = "next try in 0.5 s: the model cannot be served: no folder `/no such folder`";
    assert!(log.contains("did not end within 0.2 s") && log.contains(causes), "{log}");
    broken.store(false, Ordering::Relaxed);
    until(|| engine.state() == EngineState::Ready).await;
    engine.answer(EngineRequest::texts(["a"])).await.unwrap();
    assert_idle(&engine);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_weight_of_the_encoder_is_isolated_to_the_texts_that_read_it() {
    // One row of the table of words, which most texts do not read.
    let damaged = || {
        let mut folder = folder();
        let healthy = load()?;
        let tokens = healthy.encoder().tokenize(&["leaves"], &EncodeOptions::default())?;
        let id = tokens.ids[tokens.sequence(0)][1] as usize;
        let table = &mut folder.weights.word;
        let (shape, mut values) = (table.shape().to_vec(), table.to_vec());
        values[id * shape[1]..(id + 1) * shape[1]].fill(f32::NAN);
        *table = StoredTensor::from_f32(shape, &values);
        MultiTaskModel::from_folder(folder, &LoadOptions::default().threads(2))
    };
    let engine = Engine::start(damaged, with_faults()).unwrap();
    let healthy = start(with_faults());
    let busy = occupy(&engine, 100).await;
    let bad = ask(&engine, EngineRequest::texts(["the train", "the leaves"]));
    let good = ask(&engine, EngineRequest::texts(["the train", "naïve 42"]));
    until(|| engine.backlog().requests == 3).await;
    busy.await.unwrap().unwrap();
    let error = bad.await.unwrap().map(|_| ()).unwrap_err();
    assert!(matches!(error, RequestError::NotFinite { index: 1, .. }), "{error}");
    let (good, expected) =
        (good.await.unwrap().unwrap(), EngineRequest::texts(["the train", "naïve 42"]));
    let expected = healthy.answer(expected).await.unwrap();
    assert_eq!(format!("{:?}", good.texts), format!("{:?}", expected.texts));
    assert_eq!((engine.state(), engine.metrics().restarts.get()), (EngineState::Ready, 0));
    assert_idle(&engine);
}

#[test]
fn damaged_weights_do_not_start() {
    let damaged = || {
        let mut folder = folder();
        folder.heads[0].output.1[1] = f32::NAN;
        MultiTaskModel::from_folder(folder, &LoadOptions::default().threads(1))
    };
    let error = Engine::start(damaged, EngineSettings::default()).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("task `topic` hold NaN"), "{error}");
    let missing = || MultiTaskModel::load("/no such folder");
    let error = Engine::start(missing, EngineSettings::default()).map(|_| ()).unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    assert!(source.is::<polyhead_model::Error>(), "{source}");
    let named = || {
        let mut folder = folder();
        folder.heads[0].spec.name = "embedding".to_owned();
        MultiTaskModel::from_folder(folder, &LoadOptions::default().threads(1))
    };
    assert!(Engine::start(named, EngineSettings::default()).is_err());
}
