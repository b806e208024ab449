//! Routes of text-embeddings-inference.

use polyhead_model::{EncodeOptions, OnTruncate};
use polyhead_serve::TokenIds;
use serde_json::{Value, json};

use crate::{Fixture, bare_model, long_text, model, model_with_pairs};

fn numbers(list: &Value) -> Vec<f32> {
    list.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vectors_are_normalized_unless_told_otherwise() {
    let server = Fixture::new().await;
    let mut client = server.client().await;
    let model = model().unwrap();
    let expected = |normalize| {
        let options = EncodeOptions { normalize: Some(normalize), ..EncodeOptions::default() };
        model.encoder().encode_with(&["the train"], &options).unwrap().embeddings.into_vec()
    };
    for path in ["/embed", "/"] {
        let reply = client.post(path, r#"{"inputs":"the train"}"#).await;
        let answer = reply.ok();
        assert_eq!(answer.as_array().unwrap().len(), 1);
        assert_eq!(numbers(&answer[0]), expected(true));
        for header in ["x-compute-type", "x-compute-tokens", "x-total-time", "x-queue-time"] {
            assert!(reply.header(header).is_some(), "{header}");
        }
    }
    let body = r#"{"inputs":["the train"],"normalize":false,"unknown":[{}]}"#;
    let answer = client.post("/embed", body).await.ok();
    assert_eq!(numbers(&answer[0]), expected(false));
    let answer = client.post("/embed", r#"{"inputs":"a","dimensions":2}"#).await.ok();
    assert_eq!(answer[0].as_array().unwrap().len(), 2);
    for dimensions in [0, 9999] {
        let body = json!({"inputs": "a", "dimensions": dimensions}).to_string();
        client.post("/embed", body).await.fails_tei(422, "Validation", "dimension");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_token_has_a_vector() {
    let server = Fixture::new().await;
    let answer = server.post("/embed_all", r#"{"inputs":["the train","a"]}"#).await.ok();
    let model = model().unwrap();
    let tokens =
        model.encoder().encode_tokens(&["the train", "a"], &EncodeOptions::default()).unwrap();
    assert_eq!(answer.as_array().unwrap().len(), 2);
    assert_eq!(answer[0].as_array().unwrap().len(), tokens.offsets[1]);
    assert_eq!(numbers(&answer[1][0]), tokens.vectors.row(tokens.offsets[1]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_classification_answers_unless_another_is_named() {
    let server = Fixture::new().await;
    let mut client = server.client().await;
    let one = client.post("/predict", r#"{"inputs":"the train"}"#).await.ok();
    let labels: Vec<&str> =
        one.as_array().unwrap().iter().map(|label| label["label"].as_str().unwrap()).collect();
    assert!(labels.len() == 3 && labels.contains(&"politics"), "{labels:?}");
    let scores: Vec<f64> =
        one.as_array().unwrap().iter().map(|label| label["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    assert!((scores.iter().sum::<f64>() - 1.0).abs() < 1e-5);

    assert_eq!(client.post("/predict", r#"{"inputs":["the train"]}"#).await.ok(), one);
    let many = client.post("/predict", r#"{"inputs":[["the train"],["a"]]}"#).await.ok();
    assert_eq!((many.as_array().unwrap().len(), &many[0]), (2, &one));

    let raw = client.post("/predict", r#"{"inputs":"the train","raw_scores":true}"#).await.ok();
    assert_ne!(raw[0]["score"], one[0]["score"]);
    assert_eq!(raw[0]["label"], one[0]["label"]);

    for (path, body) in [
        ("/predict?task=moods", r#"{"inputs":"the train"}"#),
        ("/predict?task=topic", r#"{"inputs":"the train","task":"moods"}"#),
    ] {
        let moods = client.post(path, body).await.ok();
        assert!(["glad", "sad"].contains(&moods[0]["label"].as_str().unwrap()), "{moods}");
    }
    for (task, words) in [("urgency", "found regression"), ("nope", "it has: topic, moods")] {
        let reply = client.post(&format!("/predict?task={task}"), r#"{"inputs":"a"}"#).await;
        reply.fails_tei(422, "Validation", words);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pairs_have_labels_by_the_task_that_reads_them() {
    let server = Fixture::with(|settings| settings.load = || model_with_pairs("moods")).await;
    let mut client = server.client().await;
    let one = client.post("/predict", r#"{"inputs":["the train","a"]}"#).await.ok();
    assert!(["glad", "sad"].contains(&one[0]["label"].as_str().unwrap()), "{one}");
    let many = client.post("/predict", r#"{"inputs":[["a","the train"],["the train","a"]]}"#).await;
    let many = many.ok();
    assert_eq!((many.as_array().unwrap().len(), &many[1]), (2, &one));
    assert_ne!(many[0], many[1], "the order of a pair counts");
    // Single texts are for the other task.
    let text = client.post("/predict", r#"{"inputs":"the train"}"#).await.ok();
    assert!(!["glad", "sad"].contains(&text[0]["label"].as_str().unwrap()), "{text}");
    let half = client.post("/predict", r#"{"inputs":["a",""]}"#).await;
    half.fails_tei(400, "Empty", "inputs: text 1: expected a text, found an empty one");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn similarity_is_the_cosine() {
    let server = Fixture::new().await;
    let body = r#"{"inputs":{"source_sentence":"a","sentences":["a","the train"]}}"#;
    let answer = numbers(&server.post("/similarity", body).await.ok());
    assert!(answer.len() == 2 && (answer[0] - 1.0).abs() < 1e-6 && answer[1] < 0.9999);
    let body = r#"{"inputs":{"source_sentence":"a","sentences":[]}}"#;
    server.post("/similarity", body).await.fails_tei(400, "Empty", "inputs.sentences");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_have_bytes_as_offsets() {
    let server = Fixture::new().await;
    let mut client = server.client().await;
    let text = "naïve train 東";
    let body = json!({"inputs": [text, long_text()]}).to_string();
    let answer = client.post("/tokenize", body).await.ok();
    let tokens = answer[0].as_array().unwrap();
    assert_eq!(tokens[0]["text"], "[CLS]");
    assert_eq!((&tokens[0]["special"], &tokens[0]["start"]), (&json!(true), &Value::Null));
    for token in &tokens[1..tokens.len() - 1] {
        let at = |key: &str| token[key].as_u64().unwrap() as usize;
        assert_eq!(token["text"], text[at("start")..at("stop")]);
        assert_eq!(token["special"], false);
    }
    assert!(answer[1].as_array().unwrap().len() > 40, "tokens that would be cut are shown");
    let body = json!({"inputs": text, "add_special_tokens": false}).to_string();
    let bare = client.post("/tokenize", body).await.ok();
    assert_eq!(bare[0].as_array().unwrap()[..], tokens[1..tokens.len() - 1]);
    let reply = client.post("/tokenize", r#"{"inputs":"a","prompt_name":"nope"}"#).await;
    reply.fails_tei(422, "Validation", "nope");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_are_cut_by_default_and_not_at_the_left() {
    let server = Fixture::new().await;
    let mut client = server.client().await;
    let long = json!({"inputs": long_text()}).to_string();
    let reply = client.post("/embed", &long).await;
    reply.ok();
    assert_eq!(reply.header("x-truncated-inputs"), Some("1"));
    let body = json!({"inputs": long_text(), "truncate": false}).to_string();
    client.post("/embed", body).await.fails_tei(422, "Validation", "at most 24 tokens");
    for direction in ["Left", "left"] {
        let body = json!({"inputs": "a", "truncation_direction": direction}).to_string();
        client.post("/embed", body).await.fails_tei(422, "Validation", "found `left`");
    }
    let body = r#"{"inputs":"a","truncation_direction":"right"}"#;
    client.post("/embed", body).await.ok();
    server.stop().await;

    let server = Fixture::with(|settings| settings.http.tei_on_truncate = OnTruncate::Error).await;
    server.post("/embed", &long).await.fails_tei(422, "Validation", "at most 24 tokens");
    assert_eq!(server.get("/info").await.ok()["auto_truncate"], false);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_says_so() {
    let server = Fixture::new().await;
    let mut client = server.client().await;
    for path in ["/embed_sparse", "/decode"] {
        client.post(path, "{}").await.fails_tei(424, "Backend", "does not have");
    }
    client.post("/embed", r#"{"inputs":[1,2]}"#).await.fails_tei(422, "Validation", "token ids");
    let info = client.get("/info").await.ok();
    assert_eq!(info["model_id"], "tiny");
    assert_eq!(info["model_type"]["embedding"]["pooling"], "mean");
    assert_eq!(info["max_input_length"], 24);
    server.stop().await;

    let server = Fixture::with(|settings| {
        settings.http.token_ids = TokenIds::Accept;
        settings.load = bare_model;
    })
    .await;
    server.post("/embed", r#"{"inputs":[5,6]}"#).await.ok();
    let reply = server.post("/predict", r#"{"inputs":"a"}"#).await;
    reply.fails_tei(424, "Backend", "it has none");
    server.stop().await;
}
