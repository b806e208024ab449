//! The queue has space for a whole request or refuses it, and the space is released when the
//! caller stops waiting.

use std::time::Duration;

use polyhead_serve::{EngineRequest, EngineSettings, Lane, RequestError};

use crate::{ask, assert_idle, occupy, start, texts, until, with_faults};

/// Six tokens each.
fn six_tokens(count: usize) -> Vec<&'static str> {
    vec!["the train the train"; count]
}

#[tokio::test(flavor = "multi_thread")]
async fn admission_is_of_the_whole_request() {
    let mut settings = with_faults();
    settings.queue_tokens = 100;
    settings.bulk_queue_tokens = 128;
    let engine = start(settings);
    let busy = occupy(&engine, 400).await;
    let held = engine.backlog().tokens;
    let first = ask(&engine, EngineRequest::texts(six_tokens(5)));
    until(|| engine.backlog().requests == 2).await;
    assert_eq!(engine.backlog().tokens, held + 30);

    let fit = (100 - 30 - held) / 6;
    let refused =
        engine.answer(EngineRequest::texts(six_tokens(fit + 1))).await.map(|_| ()).unwrap_err();
    let RequestError::Full { queued_tokens, limit, retry_after } = refused else {
        panic!("{refused}")
    };
    assert_eq!((queued_tokens, limit), (held + 30, 100));
    assert!(retry_after > Duration::ZERO);
    assert_eq!(engine.backlog().tokens, held + 30);
    let second = ask(&engine, EngineRequest::texts(six_tokens(fit)));
    until(|| engine.backlog().requests == 3).await;

    // More than the interactive lane can hold: a bulk request, whatever its lane.
    let bulk = ask(&engine, EngineRequest::texts(six_tokens(17)));
    until(|| engine.backlog().requests == 4).await;
    let refused = engine
        .answer(EngineRequest { lane: Lane::Bulk, ..EngineRequest::texts(six_tokens(10)) })
        .await;
    assert!(matches!(refused, Err(RequestError::Full { queued_tokens: 102, limit: 128, .. })));
    let refused =
        engine.answer(EngineRequest::texts(six_tokens(22))).await.map(|_| ()).unwrap_err();
    assert_eq!(refused, RequestError::TooLarge { tokens: 132, limit: 128 });

    for asked in [busy, first, second, bulk] {
        asked.await.unwrap().unwrap();
    }
    assert_eq!(engine.metrics().admitted_requests.get(), 4);
    assert_idle(&engine);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_request_gives_its_space_back() {
    let engine = start(with_faults());
    let busy = occupy(&engine, 400).await;
    let (batches, held) = (engine.metrics().batches.get(), engine.backlog().tokens);
    let gone: Vec<_> = (0..50).map(|_| ask(&engine, EngineRequest::texts(texts(3)))).collect();
    until(|| engine.backlog().requests == 51).await;
    gone.iter().for_each(|asked| asked.abort());
    until(|| engine.backlog().requests == 1).await;
    assert_eq!(engine.backlog().tokens, held);
    assert_eq!(engine.metrics().cancelled_requests.get(), 50);
    busy.abort();
    until(|| engine.backlog().requests == 0).await;
    engine.answer(EngineRequest::texts(["a"])).await.unwrap();
    // Of the cancelled requests, only the text that was running was computed.
    assert_eq!(engine.metrics().batches.get() - batches, 2);
    assert_idle(&engine);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_requests_are_cancelled_at_any_moment() {
    let engine = start(EngineSettings::default());
    let texts = texts(4);
    let mut random = 7u64;
    for _ in 0..100 {
        let asked: Vec<_> =
            (0..100).map(|i| ask(&engine, EngineRequest::texts([texts[i % 4].as_str()]))).collect();
        for asked in asked {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if random >> 63 == 0 {
                tokio::task::yield_now().await;
            }
            asked.abort();
        }
    }
    until(|| engine.backlog().tokenizing_bytes == 0 && engine.backlog().texts == 0).await;
    until(|| engine.backlog().running_tokens == 0).await;
    engine.answer(EngineRequest::texts(["a"])).await.unwrap();
    assert_idle(&engine);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_megabytes_are_refused_before_they_are_tokenized() {
    let engine = start(EngineSettings::default());
    let begun = std::time::Instant::now();
    let huge = "a ".repeat(5_000_000);
    let refused = engine.answer(EngineRequest::texts(["a", &huge])).await.map(|_| ()).unwrap_err();
    let limit = engine.text_bytes();
    assert_eq!(refused, RequestError::TooManyBytes { index: 1, bytes: 10_000_000, limit });
    let many =
        engine.answer(EngineRequest::texts(vec![""; 100_000])).await.map(|_| ()).unwrap_err();
    assert!(matches!(many, RequestError::TooLarge { .. }), "{many}");
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_idle(&engine);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interactive_text_does_not_wait_for_a_bulk_request() {
    let mut settings = with_faults();
    settings.batch_tokens = Some(64);
    let engine = start(settings);
    let busy = occupy(&engine, 300).await;
    let bulk =
        ask(&engine, EngineRequest { lane: Lane::Bulk, ..EngineRequest::texts(six_tokens(2000)) });
    until(|| engine.backlog().requests == 2).await;
    busy.await.unwrap().unwrap();
    engine.answer(EngineRequest::texts(["the train"])).await.unwrap();
    assert!(!bulk.is_finished(), "two hundred batches took less time than one");
    assert_eq!(bulk.await.unwrap().unwrap().texts.len(), 2000);
    assert_idle(&engine);
}
