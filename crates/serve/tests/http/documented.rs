//! The OpenAPI document equals the committed file, and every status in it is reached.

use std::collections::BTreeSet;
use std::time::Duration;

use polyhead_serve::{ApiKey, openapi_json};
use serde_json::{Value, json};

use crate::client::request;
use crate::{Fixture, pair_model, until};

#[test]
fn the_committed_document_is_that_of_the_code() {
    let committed = include_str!("../../openapi.json");
    assert!(
        committed == openapi_json(),
        "openapi.json: run `cargo run -p polyhead-serve --example openapi > crates/serve/openapi.json`"
    );
}

/// Two routes with bodies of one type name would share one schema.
#[test]
fn every_route_has_the_schema_of_its_own_body() {
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    let fields = |path: &str| {
        let body = &document["paths"][path]["post"]["requestBody"]["content"]["application/json"];
        let name = body["schema"]["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
        document["components"]["schemas"][name]["properties"].clone()
    };
    assert!(fields("/v1/predict").get("abstain").is_some());
    assert!(fields("/predict").get("raw_scores").is_some());
    assert_ne!(fields("/v1/predict")["inputs"], fields("/predict")["inputs"]);
}

/// Clients are generated from the document: a parameter in the path has to be part of it.
#[test]
fn parameters_are_where_the_address_has_them() {
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    let mut seen = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for operation in methods.as_object().unwrap().values() {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let name = parameter["name"].as_str().unwrap();
                let in_path = path.contains(&format!("{{{name}}}"));
                assert_eq!(parameter["in"], if in_path { "path" } else { "query" }, "{path}");
                assert_eq!(parameter["required"], in_path, "{path}");
                seen.push(format!("{path} {name}"));
            }
        }
    }
    assert_eq!(seen, ["/ task", "/predict task", "/v1/models/{id} id"]);
}

/// A page shows an example of every route that can be tried.
#[test]
fn every_body_has_an_example() {
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let body = &methods["post"]["requestBody"]["content"]["application/json"];
        let Some(name) = body["schema"]["$ref"].as_str() else { continue };
        let schema = &document["components"]["schemas"][name.rsplit('/').next().unwrap()];
        let fields = schema["properties"].as_object().unwrap();
        for field in schema["example"].as_object().expect(path).keys() {
            assert!(fields.contains_key(field), "{path}: {field}");
        }
    }
}

/// A good body of a route that takes one.
fn good(path: &str) -> Value {
    body(path, "the train")
}

/// The same, about this text.
fn body(path: &str, text: &str) -> Value {
    match path {
        "/v1/embeddings" => json!({"input": text}),
        "/rerank" => json!({"query": text, "texts": ["a"]}),
        "/v1/rerank" => json!({"query": text, "documents": ["a"]}),
        "/similarity" => json!({"inputs": {"source_sentence": text, "sentences": ["a"]}}),
        _ => json!({"inputs": text}),
    }
}

/// A status as it is written in the document, by route.
type Reached = BTreeSet<(String, String)>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_documented_status_is_reached() {
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    let mut documented = Reached::new();
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            routes.push((method.to_uppercase(), path.clone()));
            for status in operation["responses"].as_object().unwrap().keys() {
                documented.insert((format!("{} {path}", method.to_uppercase()), status.clone()));
            }
        }
    }
    let reached = reach(&routes).await;
    let missing: Vec<_> = documented.difference(&reached).collect();
    assert!(missing.is_empty(), "documented, not reached: {missing:?}");
    let more: Vec<_> = reached.difference(&documented).collect();
    assert!(more.is_empty(), "reached, not documented: {more:?}");
}

async fn reach(routes: &[(String, String)]) -> Reached {
    let mut reached = Reached::new();
    let mut note = |method: &str, path: &str, status: u16| {
        reached.insert((format!("{method} {path}"), status.to_string()));
    };
    const JSON: &str = "content-type: application/json";
    let server = Fixture::with(|settings| {
        settings.http.body_timeout = Duration::from_millis(200);
    })
    .await;
    let pairs = Fixture::with(|settings| {
        settings.http.body_timeout = Duration::from_millis(200);
        settings.load = pair_model;
    })
    .await;
    let guarded =
        Fixture::with(|settings| settings.http.keys = vec![ApiKey::new("key").unwrap()]).await;
    let crowded = Fixture::with(|settings| settings.http.max_bodies = 0).await;
    let posts = || routes.iter().filter(|(method, _)| method == "POST");
    for (method, path) in routes {
        let real = path.replace("{id}", "tiny");
        let body = if method == "POST" { good(path).to_string() } else { String::new() };
        let bytes = request(method, &real, &[JSON], body.as_bytes());
        for server in [&server, &guarded, &pairs] {
            // Tasks of both kinds: none answers all that is asked.
            let reads_pairs = ["/rerank", "/v1/rerank"].contains(&path.as_str());
            if std::ptr::eq(server, &pairs) && !reads_pairs {
                continue;
            }
            let mut client = server.client().await;
            client.write(&bytes).await;
            note(method, path, client.read().await.unwrap().status);
        }
    }
    for id in ["/v1/models/nope", "/v1/embeddings", "/v1/rerank"] {
        let mut client = server.client().await;
        let (method, path) = match id {
            "/v1/models/nope" => ("GET", "/v1/models/{id}"),
            _ => ("POST", id),
        };
        let body = br#"{"input":"a","query":"a","documents":["b"],"model":"nope"}"#;
        note(method, path, client.ask(method, id, &[JSON], body).await.status);
    }
    for (method, path) in posts() {
        // Those that are not there do not read what is sent.
        if ["/embed_sparse", "/decode"].contains(&path.as_str()) {
            continue;
        }
        let server = if path.ends_with("/rerank") { &pairs } else { &server };
        let huge = body(path, &"a".repeat(3_000_000)).to_string();
        for text in ["{", "{}", huge.as_str()] {
            note(method, path, server.post(path, text).await.status);
        }
        let plain = ["content-type: text/plain"];
        note(method, path, server.client().await.ask(method, path, &plain, b"{}").await.status);
        let mut client = server.client().await;
        let whole = request(method, path, &[JSON], good(path).to_string().as_bytes());
        client.write(&whole[..whole.len() - 1]).await;
        note(method, path, client.read().await.unwrap().status);
        let reply = crowded.post(path, good(path).to_string()).await;
        assert!(reply.header("retry-after").is_some());
        note(method, path, reply.status);
        if path == "/tokenize" {
            continue;
        }
        for text in ["NAN a", "PANIC a"] {
            note(method, path, server.post(path, body(path, text).to_string()).await.status);
        }
    }
    server.stop().await;
    pairs.stop().await;
    guarded.stop().await;
    // While the server drains, probes say so; once the engine has stopped, no request is answered.
    let stopped = Fixture::new().await;
    stopped.engine.stop(Duration::ZERO).await;
    let no_pairs = Fixture::with(|settings| settings.load = pair_model).await;
    no_pairs.engine.stop(Duration::ZERO).await;
    for (method, path) in posts() {
        let stopped = if path.ends_with("/rerank") { &no_pairs } else { &stopped };
        let status = stopped.post(path, good(path).to_string()).await.status;
        if status == 503 {
            note(method, path, status);
        }
    }
    for path in ["/readyz", "/health"] {
        note("GET", path, stopped.get(path).await.status);
    }
    reached
}

/// 429 and 413 by tokens, which need a queue of a known state.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_says_when_to_come_again() {
    let server = Fixture::with(|settings| {
        settings.engine.queue_tokens = 12;
        settings.engine.bulk_queue_tokens = 12;
    })
    .await;
    let big = json!({"inputs": ["a a a a a a", "a a a a a a", "a a a a a a"]}).to_string();
    server.post("/v1/predict", &big).await.fails(413, "request_too_large", "at most 12 tokens");
    server.post("/embed", &big).await.fails_tei(422, "Validation", "at most 12 tokens");

    let mut slow = server.client().await;
    let body = r#"{"inputs":"SLOW a a a"}"#;
    slow.write(&request(
        "POST",
        "/v1/predict",
        &["content-type: application/json"],
        body.as_bytes(),
    ))
    .await;
    until("the slow request waits", async || server.engine.backlog().tokens > 0).await;
    let body = r#"{"inputs":"a a a a a a"}"#;
    let reply = server.post("/v1/predict", body).await;
    reply.fails(429, "queue_full", "of 12 tokens are taken");
    assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    server.post("/embed", body).await.fails_tei(429, "Overloaded", "of 12 tokens are taken");
    slow.read().await.unwrap().ok();
    server.works().await;
    server.stop().await;
}
