//! A task whose labels have an order: every route puts its median label first, and none gives logits of
//! labels, which the head does not have.

use polyhead_model::{Error, LoadOptions, ModelFolder, MultiTaskModel};
use polyhead_testing::tiny_model;
use serde_json::{Value, json};

use crate::Fixture;

/// A head whose probabilities are about 0.4, 0.3, 0 and 0.3, whatever the text: the first label is
/// the most probable one, the second the median.
fn grades() -> Result<MultiTaskModel, Error> {
    let mut folder = ModelFolder::open(&tiny_model("st6-dense"))?;
    let mut heads = polyhead_testing::heads(&folder);
    heads.retain(|head| head.spec.name == "grade");
    let (weight, bias) = &mut heads[0].output;
    weight.fill(0.0);
    *bias = vec![1.5f32.ln(), 0.01, 40.0];
    heads[0].spec.temperature = 1.0;
    folder.heads = heads;
    MultiTaskModel::from_folder(folder, &LoadOptions::default().threads(1))
}

fn names(labels: &Value) -> Vec<&str> {
    labels.as_array().unwrap().iter().map(|found| found["label"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_puts_the_median_first() {
    let server = Fixture::with(|settings| settings.load = grades).await;
    let ask = async |path: &str, body: Value| server.post(path, body.to_string()).await.ok();
    let own = ask("/v1/predict", json!({"inputs": "a"})).await["answers"][0]["tasks"].clone();
    assert_eq!(own["grade"]["label"], "fair");
    let probability = own["grade"]["probability"].as_f64().unwrap();
    assert!((probability - 0.2985).abs() < 1e-3, "{own}");
    assert!(own["grade"]["probabilities"]["poor"].as_f64().unwrap() > probability);

    let order = ["fair", "poor", "great", "good"];
    let found = ask("/predict", json!({"inputs": "a"})).await;
    assert_eq!(names(&found), order);
    assert_eq!(found[0]["score"], own["grade"]["probability"]);
    let found = ask("/", json!({"inputs": "a", "parameters": {}})).await;
    assert_eq!(names(&found[0]), order);
    let found = ask("/", json!({"inputs": ["a", "b"], "parameters": {"top_k": 1}})).await;
    assert_eq!((names(&found[0]), names(&found[1])), (vec!["fair"], vec!["fair"]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logits_of_its_labels_are_refused_by_name() {
    let server = Fixture::with(|settings| settings.load = grades).await;
    let raw = json!({"inputs": "a", "raw_scores": true}).to_string();
    let words = "raw_scores: task `grade` of kind ordinal has no logits of single labels";
    server.post("/predict", raw).await.fails_tei(422, "Validation", words);
    for function in ["none", "softmax", "sigmoid"] {
        let body = json!({"inputs": "a", "parameters": {"function_to_apply": function}});
        let words =
            "function_to_apply: expected no such parameter for task `grade` of kind ordinal";
        server.post("/", body.to_string()).await.fails_tei(422, "Validation", words);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_name_every_kind_that_is_taken() {
    let server = Fixture::new().await;
    let refused = async |path: &str, body: Value, words: &str| {
        server.post(path, body.to_string()).await.fails_tei(422, "Validation", words);
    };
    let text = json!({"inputs": "a"});
    for (task, kind) in [("entities", "tokens"), ("urgency", "regression")] {
        let words = format!(
            "task `{task}`: expected classification, multilabel or ordinal, found {kind}; use /v1/predict"
        );
        refused(&format!("/predict?task={task}"), text.clone(), &words).await;
    }
    let words =
        "task `urgency`: expected classification, multilabel, tokens or ordinal, found regression";
    refused("/?task=urgency", json!({"inputs": "a", "parameters": {}}), words).await;
    for (task, parameter, value, kinds) in [
        ("entities", "top_k", json!(1), "classification, multilabel or ordinal"),
        ("grade", "ignore_labels", json!([]), "tokens"),
    ] {
        let body = json!({"inputs": "a", "parameters": {parameter: value}});
        let words = format!("{parameter}: applies to {kinds}, found it for task `{task}`");
        refused(&format!("/?task={task}"), body, &words).await;
    }
    server.stop().await;
}
