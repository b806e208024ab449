//! Reranking as clients of text-embeddings-inference, Cohere and Jina ask for it, and pairs of texts.

use polyhead_model::{
    HeadInput, HeadSpec, HeadWeights, LoadOptions, ModelFolder, MultiTaskModel, NumberRange,
    OnTruncate, PairForm, RequestOptions, TaskKind,
};
use polyhead_testing::tiny_model;
use polyhead_text::{TextInput, Truncation};
use serde_json::{Value, json};

use crate::{Fixture, MAX_TOKENS, long_text, pair_model};

const TEXTS: [&str; 4] = ["leaves", "the old road", "leaves", "a train"];

/// Index and logit of each text for a query, best first.
fn expected(query: &str) -> Vec<(usize, f32)> {
    let pairs: Vec<_> = TEXTS.iter().map(|text| TextInput::Pair(query, *text)).collect();
    let options = RequestOptions {
        tasks: Some(vec!["urgency".to_owned()]),
        on_truncate: OnTruncate::CutPairs(Truncation::Second),
        ..RequestOptions::default()
    };
    let found = pair_model().unwrap().predict_inputs(&pairs, &options).unwrap();
    let logits = found.texts.iter().map(|text| text.tasks[0].logits.as_slice()[0]);
    let mut all: Vec<_> = logits.enumerate().collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all
}

fn number(value: &Value) -> f32 {
    value.as_f64().unwrap() as f32
}

fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_are_sorted_as_that_server_sorts_them() {
    let server = Fixture::with(|settings| settings.load = pair_model).await;
    let mut client = server.client().await;
    let wanted = expected("the train");
    for (raw, text) in [(false, false), (true, true)] {
        let body =
            json!({"query": "the train", "texts": TEXTS, "raw_scores": raw, "return_text": text});
        let found = client.post("/rerank", body.to_string()).await.ok();
        let found = found.as_array().unwrap();
        assert_eq!(found.len(), TEXTS.len());
        for (found, (index, logit)) in found.iter().zip(&wanted) {
            assert_eq!(found["index"], *index);
            let score = if raw { *logit } else { sigmoid(*logit) };
            assert_eq!(number(&found["score"]), score);
            assert_eq!(found.get("text"), text.then(|| json!(TEXTS[*index])).as_ref());
        }
    }
    // The same score keeps the order.
    let places: Vec<usize> = wanted.iter().map(|(index, _)| *index).collect();
    let place = |text: usize| places.iter().position(|index| *index == text).unwrap();
    assert_eq!(place(2), place(0) + 1);

    let long = json!({"query": "a", "texts": [long_text()], "truncate": false}).to_string();
    client.post("/rerank", &long).await.fails_tei(422, "Validation", "at most 24 tokens");
    let long = json!({"query": "a", "texts": [long_text()]}).to_string();
    let reply = client.post("/rerank", &long).await;
    reply.ok();
    assert_eq!(reply.header("x-truncated-inputs"), Some("1"));
    let long = json!({"query": long_text(), "texts": ["a"]}).to_string();
    let refused = "because only the second text is cut";
    client.post("/rerank", &long).await.fails_tei(422, "Validation", refused);
    for (body, status, of_type, message) in [
        (json!({"query": "", "texts": ["a"]}), 400, "Empty", "query: text 1: expected a text"),
        (json!({"query": "a", "texts": []}), 400, "Empty", "texts: expected at least one text"),
        (json!({"query": "a", "texts": "b"}), 422, "Validation", "invalid type"),
        (
            json!({"query": "a", "texts": ["b"], "truncation_direction": "Left"}),
            422,
            "Validation",
            "found `left`",
        ),
        (
            json!({"query": "a", "texts": ["b"], "task": "topic"}),
            422,
            "Validation",
            "task `topic`: expected a regression that was trained on pairs",
        ),
    ] {
        client.post("/rerank", body.to_string()).await.fails_tei(status, of_type, message);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_are_sorted_as_clients_of_cohere_and_jina_expect() {
    let server = Fixture::with(|settings| {
        settings.load = pair_model;
        settings.http.max_inputs = 5;
    })
    .await;
    let mut client = server.client().await;
    let wanted = expected("the train");
    let documents: Vec<Value> = TEXTS.iter().map(|text| json!({"text": text, "id": 7})).collect();
    for (path, documents) in [("/v1/rerank", json!(TEXTS)), ("/v2/rerank", json!(documents))] {
        let body = json!({
            "model": "tiny", "query": "the train", "documents": documents, "top_n": 3,
            "return_documents": true, "max_tokens_per_doc": 4096,
        });
        let found = client.post(path, body.to_string()).await.ok();
        assert_eq!(found["model"], "tiny");
        assert!(found["usage"]["total_tokens"].as_u64().unwrap() > 12);
        let results = found["results"].as_array().unwrap();
        assert_eq!(results.len(), 3);
        for (found, (index, logit)) in results.iter().zip(&wanted) {
            assert_eq!(
                (&found["index"], &found["document"]["text"]),
                (&json!(index), &json!(TEXTS[*index]))
            );
            assert_eq!(number(&found["relevance_score"]), sigmoid(*logit));
        }
    }
    let body = json!({"query": "the train", "documents": TEXTS}).to_string();
    let found = client.post("/v1/rerank", &body).await.ok();
    assert!(found["results"].as_array().unwrap().iter().all(|one| one.get("document").is_none()));
    assert_eq!(found["results"].as_array().unwrap().len(), 4);
    for (body, status, code, message) in [
        (
            json!({"query": "a", "documents": []}),
            400,
            "empty_input",
            "documents: expected at least one text",
        ),
        (
            json!({"query": "a", "documents": ["b"], "top_n": 0}),
            400,
            "invalid_value",
            "top_n: expected 1 or more",
        ),
        (json!({"query": "a", "documents": [["b"]]}), 400, "invalid_value", "found a list"),
        (
            json!({"query": "a", "documents": [{"title": "b"}]}),
            400,
            "invalid_value",
            "missing field `text`",
        ),
        (
            json!({"query": "a", "documents": ["b", "b", "b", "b", "b", "b"]}),
            400,
            "too_many_texts",
            "documents: expected at most 5 texts, found 6",
        ),
        (
            json!({"query": "a", "documents": ["b"], "model": "rerank-v3.5"}),
            404,
            "model_not_found",
            "model `rerank-v3.5`",
        ),
    ] {
        client.post("/v1/rerank", body.to_string()).await.fails(status, code, message);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_without_a_score_of_pairs_says_so() {
    let server = Fixture::new().await;
    let message =
        "model: expected a cross-encoder, a model with a regression that was trained on pairs";
    let body = json!({"query": "a", "texts": ["b"]}).to_string();
    server.post("/rerank", body).await.fails_tei(424, "Backend", message);
    let body = json!({"query": "a", "documents": ["b"]}).to_string();
    server.post("/v1/rerank", body).await.fails(424, "unsupported", message);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_answer_the_texts_that_they_were_trained_on() {
    let server = Fixture::with(|settings| settings.load = pair_model).await;
    let mut client = server.client().await;
    let ask = |input: Value, task: &str| json!({"inputs": [input], "tasks": [task]}).to_string();
    let found =
        client.post("/v1/predict", ask(json!(["the train", "leaves"]), "urgency")).await.ok();
    let logit = expected("the train").into_iter().find(|(index, _)| *index == 0).unwrap().1;
    assert_eq!(number(&found["answers"][0]["tasks"]["urgency"]["value"]), logit);
    let message = "inputs: text 1: task `urgency`: expected a pair of texts";
    client.post("/v1/predict", ask(json!("a"), "urgency")).await.fails(
        400,
        "invalid_value",
        message,
    );
    client.post("/v1/predict", ask(json!("a"), "topic")).await.ok();
    let tasks = client.get("/v1/model").await.ok()["tasks"].clone();
    for task in tasks.as_array().unwrap() {
        let pair = (task["name"] == "urgency").then(|| json!("joint"));
        assert_eq!(task.get("pair"), pair.as_ref());
    }
    server.stop().await;
}

/// A tiny folder whose task `urgency` reads the vectors of two texts.
fn separate_model() -> Result<MultiTaskModel, polyhead_model::Error> {
    let mut folder = ModelFolder::open(&tiny_model("st6-dense"))?;
    folder.heads = polyhead_testing::heads(&folder);
    let dims = folder.head_dims();
    let urgency = folder.heads.iter_mut().find(|head| head.spec.name == "urgency").unwrap();
    let pair = Some(PairForm::Separate { product: true });
    let spec = HeadSpec { pair, ..urgency.spec.clone() };
    *urgency = HeadWeights::random(spec, &dims, 7);
    MultiTaskModel::from_folder(folder, &LoadOptions::default().threads(1).max_length(MAX_TOKENS))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_of_two_vectors_answers_pairs_and_sorts_texts() {
    let tasks = Some(vec!["urgency".to_owned()]);
    let options = RequestOptions { tasks, ..RequestOptions::default() };
    let pairs = TEXTS.map(|text| TextInput::Pair("the train", text));
    let found = separate_model().unwrap().predict_inputs(&pairs, &options).unwrap();
    let logits: Vec<f32> =
        found.texts.iter().map(|text| text.tasks[0].logits.as_slice()[0]).collect();
    let server = Fixture::with(|settings| settings.load = separate_model).await;
    let mut client = server.client().await;
    let inputs: Vec<Value> = TEXTS.iter().map(|text| json!(["the train", text])).collect();
    let body = json!({"inputs": inputs, "tasks": ["urgency"]}).to_string();
    let found = client.post("/v1/predict", body).await.ok();
    for (found, logit) in found["answers"].as_array().unwrap().iter().zip(&logits) {
        assert_eq!(number(&found["tasks"]["urgency"]["value"]), *logit);
    }
    let body = json!({"query": "the train", "texts": TEXTS, "raw_scores": true}).to_string();
    let found = client.post("/rerank", body).await.ok();
    for found in found.as_array().unwrap() {
        let index = found["index"].as_u64().unwrap() as usize;
        assert_eq!(number(&found["score"]), logits[index]);
    }
    let tasks = client.get("/v1/model").await.ok()["tasks"].clone();
    let pair = |name| tasks.as_array().unwrap().iter().find(|task| task["name"] == name);
    assert_eq!(pair("urgency").unwrap()["pair"], "separate");
    server.stop().await;
}

/// A tiny folder whose only task compares the vectors of two texts, on a scale from 0 to 5.
fn similarity_model() -> Result<MultiTaskModel, polyhead_model::Error> {
    let mut folder = ModelFolder::open(&tiny_model("st6-dense"))?;
    let spec = HeadSpec {
        input: HeadInput::Embedding,
        range: Some(NumberRange::new(0.0, 5.0).unwrap()),
        ..HeadSpec::new("closeness", TaskKind::Similarity, &[])
    };
    folder.heads = vec![HeadWeights::random(spec, &folder.head_dims(), 7)];
    MultiTaskModel::from_folder(folder, &LoadOptions::default().threads(1).max_length(MAX_TOKENS))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_similarity_answers_pairs_and_gives_the_vectors_of_texts() {
    let server = Fixture::with(|settings| settings.load = similarity_model).await;
    let mut client = server.client().await;
    let vectors = similarity_model().unwrap();
    let vectors = vectors.encoder().encode(&["the train", "leaves"]).unwrap();
    let cosine = polyhead_model::cosine(vectors.row(0), vectors.row(1)) as f32;
    let pair = json!(["the train", "leaves"]);
    for body in [json!({"inputs": [pair]}), json!({"inputs": [pair], "tasks": ["closeness"]})] {
        let found = client.post("/v1/predict", body.to_string()).await.ok();
        let answer = &found["answers"][0];
        assert_eq!(number(&answer["tasks"]["closeness"]["value"]), (5.0 * cosine).clamp(0.0, 5.0));
        assert_eq!(answer.get("embedding"), None);
    }
    let found = client.post("/v1/predict", json!({"inputs": ["the train"]}).to_string()).await.ok();
    assert_eq!(found["answers"][0]["tasks"], json!({}));
    let first = number(&found["answers"][0]["embedding"][0]);
    assert_eq!(first, vectors.row(0)[0]);
    let body = json!({"inputs": ["the train"], "tasks": ["closeness"]}).to_string();
    let message = "inputs: text 1: task `closeness`: expected a pair of texts";
    client.post("/v1/predict", body).await.fails(400, "invalid_value", message);
    let task = client.get("/v1/model").await.ok()["tasks"][0].clone();
    assert_eq!((&task["kind"], &task["pair"]), (&json!("similarity"), &json!("separate")));
    server.stop().await;
}
