//! Classifiers of transformers are served as models with one task.

use polyhead_model::{Error, LoadOptions, ModelFolder, MultiTaskModel};
use polyhead_testing::Classifier;
use serde_json::json;

use crate::Fixture;

fn classifier(name: &str, case: &str) -> Result<MultiTaskModel, Error> {
    let place = tempfile::tempdir().unwrap();
    let folder = ModelFolder::open(&Classifier::read(name, case).write(place.path()))?;
    MultiTaskModel::from_folder(folder, &LoadOptions::default().threads(1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_classifier_answers_with_its_labels() {
    let golden = Classifier::read("roberta", "sequence");
    let server =
        Fixture::with(|settings| settings.load = || classifier("roberta", "sequence")).await;
    let ask = async |path: &str, body| server.post(path, json!(body).to_string()).await.ok();
    for (index, text) in golden.texts().into_iter().enumerate() {
        let logits = golden.get(&format!("logits.{index}"));
        let sum: f32 = logits.iter().map(|x| x.exp()).sum();
        let answer = ask("/v1/predict", json!({"inputs": text})).await;
        let found = &answer["answers"][0]["tasks"]["label"];
        let listed = ask("/predict", json!({"inputs": text})).await;
        for (label, logit) in ["good", "bad", "mixed"].into_iter().zip(logits) {
            let probability = found["probabilities"][label].as_f64().unwrap();
            assert!((probability - f64::from(logit.exp() / sum)).abs() < 1e-5, "{answer}");
            let listed = listed.as_array().unwrap().iter().find(|one| one["label"] == label);
            assert_eq!(listed.unwrap()["score"].as_f64(), Some(probability), "{answer}");
        }
        // The encoder's vector comes from the same pass.
        assert_eq!(ask("/embed", json!({"inputs": text})).await[0].as_array().unwrap().len(), 20);
    }
    let model = server.get("/v1/model").await.ok();
    assert_eq!(model["tasks"][0]["name"], "label", "{model}");
    assert_eq!(model["tasks"][0]["labels"], json!(["good", "bad", "mixed"]), "{model}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tagger_answers_with_its_spans() {
    let golden = Classifier::read("mpnet", "tokens");
    let server = Fixture::with(|settings| settings.load = || classifier("mpnet", "tokens")).await;
    let tags = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"];
    for (index, text) in golden.texts().into_iter().enumerate() {
        let rows = golden.get(&format!("logits.{index}")).chunks(tags.len());
        let best = |row: &[f32]| (0..tags.len()).max_by(|a, b| row[*a].total_cmp(&row[*b]));
        let expected: Vec<&str> = rows.map(|row| tags[best(row).unwrap()]).collect();
        let words: Vec<&str> = text.split(' ').collect();
        let body = json!({"inputs": [{"tokens": words}]}).to_string();
        let answer = server.post("/v1/predict", body).await.ok();
        let spans = answer["answers"][0]["tasks"]["label"]["spans"].as_array().unwrap().iter();
        let types: Vec<&str> = spans.map(|span| span["label"].as_str().unwrap()).collect();
        let mut begun = Vec::new();
        let mut before = "O";
        for tag in expected {
            let continues = tag.starts_with("I-") && before != "O" && before[2..] == tag[2..];
            if tag != "O" && !continues {
                begun.push(&tag[2..]);
            }
            before = tag;
        }
        assert_eq!(types, begun, "{text}");
    }
    server.stop().await;
}
