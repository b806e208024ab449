//! `/v1/embeddings` and `/v1/models`, as OpenAI's clients use them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use polyhead_serve::TokenIds;
use serde_json::{Value, json};

use crate::{Fixture, long_text, model};

/// The vectors of an answer, whichever way they are written.
fn vectors(answer: &Value) -> Vec<Vec<f32>> {
    let one = |object: &Value| match &object["embedding"] {
        Value::String(text) => {
            let bytes = BASE64_STANDARD.decode(text).unwrap();
            bytes.chunks_exact(4).map(|x| f32::from_le_bytes(x.try_into().unwrap())).collect()
        }
        list => list.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect(),
    };
    answer["data"].as_array().unwrap().iter().map(one).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ways_to_write_numbers_have_the_same_bits() {
    let server = Fixture::new().await;
    let mut client = server.client().await;
    let texts = ["the train", "naïve 42 !!"];
    let mut ask = async |format: Value| {
        let body = json!({"input": texts, "model": "tiny", "encoding_format": format});
        client.post("/v1/embeddings", body.to_string()).await.ok()
    };
    let float = ask("float".into()).await;
    let base64 = ask("base64".into()).await;
    assert!(base64["data"][0]["embedding"].is_string());
    assert_eq!(vectors(&float), vectors(&base64));
    assert_eq!(vectors(&float), vectors(&ask(Value::Null).await));
    let expected = model().unwrap().encoder().encode(&texts).unwrap();
    assert_eq!(vectors(&float), [expected.row(0), expected.row(1)]);
    assert_eq!((&float["object"], &float["data"][1]["index"]), (&json!("list"), &json!(1)));
    assert_eq!(float["data"][0]["object"], "embedding");
    assert_eq!(float["usage"]["prompt_tokens"], float["usage"]["total_tokens"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fewer_dimensions_have_unit_length() {
    let server = Fixture::new().await;
    let mut client = server.client().await;
    let answer =
        client.post("/v1/embeddings", r#"{"input":"a","dimensions":3,"user":"me"}"#).await.ok();
    let vector = &vectors(&answer)[0];
    let length: f32 = vector.iter().map(|x| x * x).sum();
    assert!(vector.len() == 3 && (length - 1.0).abs() < 1e-6, "{vector:?}");
    for dimensions in [0, 100_000] {
        let body = json!({"input": "a", "dimensions": dimensions}).to_string();
        let reply = client.post("/v1/embeddings", body).await;
        reply.fails(400, "invalid_value", "dimension: expected 1 to");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_ids_are_refused_unless_allowed() {
    let server = Fixture::new().await;
    let mut client = server.client().await;
    for input in ["[5,6]", "[[5,6],[7]]", r#"["a",[5]]"#] {
        let reply = client.post("/v1/embeddings", format!("{{\"input\":{input}}}")).await;
        reply.fails(400, "token_ids_refused", "check_embedding_ctx_length=False");
    }
    server.stop().await;

    let server = Fixture::with(|settings| settings.http.token_ids = TokenIds::Accept).await;
    let mut client = server.client().await;
    let tokenizer = model()
        .unwrap()
        .encoder()
        .reader()
        .tokenizer()
        .encode(&[polyhead_text::TextInput::One("the train")], usize::MAX);
    let ids = tokenizer.unwrap().ids;
    // Without [CLS] and [SEP], which are put around them.
    let body = json!({"input": [&ids[1..ids.len() - 1], "the train"]}).to_string();
    let answer = client.post("/v1/embeddings", body).await.ok();
    assert_eq!(vectors(&answer)[0], vectors(&answer)[1]);
    let reply = client.post("/v1/embeddings", r#"{"input":[4294967295]}"#).await;
    reply.fails(400, "invalid_value", "4294967295");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_that_is_too_long_is_an_error_unless_it_may_be_cut() {
    let server = Fixture::new().await;
    let mut client = server.client().await;
    let body = json!({"input": long_text()}).to_string();
    let reply = client.post("/v1/embeddings", body).await;
    reply.fails(400, "context_length_exceeded", "expected at most 24 tokens");
    assert_eq!(reply.json()["error"]["param"], "input");
    let body = json!({"input": long_text(), "truncate": true}).to_string();
    let reply = client.post("/v1/embeddings", body).await;
    reply.ok();
    assert_eq!(reply.header("x-truncated-inputs"), Some("1"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_are_found_by_name() {
    let names = vec!["org/tiny".to_owned(), "text-embedding-3-small".to_owned()];
    let server = Fixture::with(|settings| settings.http.names = names).await;
    let mut client = server.client().await;
    let list = client.get("/v1/models").await.ok();
    let ids: Vec<&str> =
        list["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["org/tiny", "text-embedding-3-small"]);
    for path in ["/v1/models/org/tiny", "/v1/models/org%2Ftiny"] {
        assert_eq!(client.get(path).await.ok()["id"], "org/tiny");
    }
    let reply = client.get("/v1/models/gpt").await;
    reply.fails(404, "model_not_found", "served: org/tiny, text-embedding-3-small");
    let reply = client.post("/v1/embeddings", r#"{"input":"a","model":"gpt"}"#).await;
    reply.fails(404, "model_not_found", "model `gpt`");
    let body = r#"{"input":"a","model":"text-embedding-3-small"}"#;
    assert_eq!(client.post("/v1/embeddings", body).await.ok()["model"], "org/tiny");
    server.stop().await;
}
