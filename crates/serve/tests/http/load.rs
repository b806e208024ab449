//! Many clients at once: the same bits as alone, and a fault fails its own request only.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use polyhead_model::MultiTaskModel;
use serde_json::{Value, json};

use crate::client::Client;
use crate::{Fixture, model, until};

const TEXTS: [&str; 6] = [
    "the train",
    "naïve 42 !! of leaves",
    "a",
    "is it not a train ,",
    "東京 of the embedding",
    "x",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_under_load_have_the_bits_of_those_alone() {
    let server = Fixture::new().await;
    let tasks = json!(["topic", "moods", "urgency", "entities", "grade", "embedding"]);
    let mut alone = Vec::new();
    for text in TEXTS {
        let body = json!({"inputs": text, "tasks": tasks}).to_string();
        alone.push(server.post("/v1/predict", body).await.ok()["answers"][0].clone());
    }
    let alone = Arc::new(alone);
    let clients: Vec<_> = (0..8)
        .map(|seed: usize| {
            let (address, alone, tasks) = (server.address, alone.clone(), tasks.clone());
            tokio::spawn(async move {
                let mut client = Client::connect(address).await;
                for round in 0..25 {
                    let chosen: Vec<usize> = (0..1 + (seed + round) % 5)
                        .map(|i| (seed * 7 + round + i * i) % 6)
                        .collect();
                    let texts: Vec<&str> = chosen.iter().map(|i| TEXTS[*i]).collect();
                    let body = json!({"inputs": texts, "tasks": tasks}).to_string();
                    let answer = client.post("/v1/predict", body).await.ok();
                    let expected: Vec<&Value> = chosen.iter().map(|i| &alone[*i]).collect();
                    assert_eq!(answer["answers"], json!(expected));
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_fails_its_own_request_only() {
    let server = Fixture::new().await;
    let others: Vec<_> = (0..4)
        .map(|_| {
            let address = server.address;
            tokio::spawn(async move {
                let mut client = Client::connect(address).await;
                for _ in 0..30 {
                    client.post("/v1/predict", r#"{"inputs":["the train","a"]}"#).await.ok();
                }
            })
        })
        .collect();
    for _ in 0..5 {
        let reply = server.post("/v1/predict", r#"{"inputs":["a","PANIC b"]}"#).await;
        reply.fails(500, "inference_failed", "inputs: text 2:");
        let reply = server.post("/v1/predict", r#"{"inputs":["NAN a","b"]}"#).await;
        reply.fails(500, "not_finite", "inputs: text 1:");
        server.post("/embed", r#"{"inputs":"NAN a"}"#).await.fails_tei(
            424,
            "Backend",
            "inputs: text 1:",
        );
    }
    for other in others {
        other.await.unwrap();
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_tells_the_truth_while_a_model_is_loaded_again() {
    static IS_GONE: AtomicBool = AtomicBool::new(false);
    let server = Fixture::with(|settings| {
        settings.engine.stuck_after = Duration::from_millis(100);
        settings.load = || {
            if IS_GONE.load(Ordering::Relaxed) {
                MultiTaskModel::load("/no such folder")
            } else {
                model()
            }
        };
    })
    .await;
    server.get("/readyz").await.ok();
    IS_GONE.store(true, Ordering::Relaxed);
    // It takes 300 ms, so its worker is given up.
    let reply = server.post("/v1/predict", r#"{"inputs":"SLOW a"}"#).await;
    reply.fails(503, "not_ready", "");
    until("not ready", async || server.get("/readyz").await.status == 503).await;
    assert_eq!(server.get("/livez").await.status, 200);
    assert_eq!(server.metric("polyhead_ready").await, 0.0);
    let reply = server.post("/v1/predict", r#"{"inputs":"a"}"#).await;
    reply.fails(503, "not_ready", "");
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert!(server.metric("polyhead_reload_failures_total").await >= 1.0);
    assert_eq!(server.metric("polyhead_reloads_total").await, 0.0);
    IS_GONE.store(false, Ordering::Relaxed);
    until("ready", async || server.get("/readyz").await.status == 200).await;
    assert_eq!(server.metric("polyhead_reloads_total").await, 1.0);
    server.works().await;
    server.stop().await;
}
