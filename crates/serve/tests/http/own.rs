//! The routes `POST /v1/predict` and `GET /v1/model`.

use polyhead_model::{
    Answer, LabelMatching, LoadOptions, ModelFolder, MultiTaskModel, NumberRange, Precision,
    RequestOptions, TargetScale,
};
use polyhead_testing::tiny_model;
use polyhead_text::{TextInput, WordSplit};
use serde_json::{Value, json};

use crate::{Fixture, MAX_TOKENS, bare_model, long_text, model};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_head_answers_as_predict_does() {
    let server = Fixture::new().await;
    let text = "naïve trains in 東京, not leaves.";
    let body = json!({"inputs": ["the train", text, ""]}).to_string();
    let reply = server.post("/v1/predict", body).await;
    let answer = reply.ok();
    assert_eq!(answer["model"], "tiny");
    assert_eq!(answer["answers"].as_array().unwrap().len(), 3);
    assert_eq!(answer["usage"]["texts"], 3);
    assert_eq!(answer["usage"]["truncated"], 0);
    assert_eq!(reply.header("x-truncated-inputs"), Some("0"));
    assert_eq!(reply.header("x-compute-characters"), Some("40"));
    for part in ["tokenize_ms", "queue_ms", "inference_ms", "total_ms"] {
        assert!(answer["timings"][part].as_f64().unwrap() >= 0.0, "{part}");
    }

    let expected = model().unwrap().predict_with(&[text], &RequestOptions::default()).unwrap();
    let found = &answer["answers"][1];
    assert_eq!(found["tokens"], expected.texts[0].tokens.total);
    assert_eq!(found["truncated"], false);
    assert!(found.get("embedding").is_none());
    let tasks = found["tasks"].as_object().unwrap();
    assert_eq!(tasks.len(), 5);
    let topic = &tasks["topic"];
    let answers = &expected.texts[0].tasks;
    let probabilities = answers[0].probabilities.row(0);
    for (label, probability) in expected.tasks[0].labels.iter().zip(probabilities) {
        // Through text and back without a changed bit.
        assert_eq!(topic["probabilities"][label].as_f64().unwrap() as f32, *probability);
    }
    assert_eq!(
        topic["probability"].as_f64(),
        topic["probabilities"][topic["label"].as_str().unwrap()].as_f64()
    );
    assert!(tasks["moods"]["labels"].is_array());
    let urgency = tasks["urgency"]["value"].as_f64().unwrap() as f32;
    assert_eq!(urgency, answers[2].logits.row(0)[0]);
    for span in tasks["entities"]["spans"].as_array().unwrap() {
        let (start, end) = (span["start"].as_u64().unwrap(), span["end"].as_u64().unwrap());
        let inside: String =
            text.chars().skip(start as usize).take((end - start) as usize).collect();
        assert_eq!(span["text"], inside.as_str());
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_two_texts_is_a_pair() {
    let server = Fixture::new().await;
    let body = r#"{"inputs":[["the train","leaves"],"the train"]}"#;
    let answer = server.post("/v1/predict", body).await.ok();
    let inputs = [TextInput::Pair("the train", "leaves"), TextInput::One("the train")];
    let expected = model().unwrap().predict_inputs(&inputs, &RequestOptions::default()).unwrap();
    for (found, expected) in answer["answers"].as_array().unwrap().iter().zip(&expected.texts) {
        assert_eq!(found["tokens"], expected.tokens.total);
        let urgency = found["tasks"]["urgency"]["value"].as_f64().unwrap() as f32;
        assert_eq!(urgency, expected.tasks[2].logits.row(0)[0]);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_are_tagged_as_they_are_given() {
    let server = Fixture::new().await;
    let body = r#"{"inputs":[{"tokens":["the","AK-123-X","train"]},"the AK-123-X train"]}"#;
    let answer = server.post("/v1/predict", body).await.ok();
    let words = TextInput::Words(vec!["the", "AK-123-X", "train"]);
    let inputs = [words, TextInput::One("the AK-123-X train")];
    let expected = model().unwrap().predict_inputs(&inputs, &RequestOptions::default()).unwrap();
    let mut spans = 0;
    for (index, expected) in expected.texts.iter().enumerate() {
        let Answer::Tokens(tagged) = &expected.tasks[3].answer else { panic!("entities") };
        let found = answer["answers"][index]["tasks"]["entities"]["spans"].as_array().unwrap();
        assert_eq!(found.len(), tagged.spans.len());
        for (found, expected) in found.iter().zip(&tagged.spans) {
            assert_eq!(
                (&found["start"], &found["end"]),
                (&json!(expected.start), &json!(expected.end))
            );
            // Positions among words belong to words that were given.
            let given = |key: &str, word: usize| match index {
                0 => assert_eq!(found[key], word, "{found}"),
                _ => assert_eq!(found.get(key), None, "{found}"),
            };
            given("first_word", expected.first_word);
            given("last_word", expected.last_word);
            spans += 1;
        }
    }
    assert!(spans > 0, "the fixture finds some span");
    let body = json!({"inputs": {"tokens": ["the", "train"]}, "min_score": 1}).to_string();
    let answer = server.post("/v1/predict", body).await.ok();
    assert_eq!(answer["answers"][0]["tasks"]["entities"]["spans"], json!([]));
    for (body, message) in [
        (r#"{"inputs":[["Anna","Lee","AK-1"]]}"#, "words of one text are {\"tokens\": [words]}"),
        (r#"{"inputs":"a","min_score":2}"#, "min_score: expected 0 to 1, found 2"),
    ] {
        let error = server.post("/v1/predict", body).await.json()["error"].to_string();
        assert!(error.contains(&message.replace('"', "\\\"")), "{error}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vectors_come_when_asked_for() {
    let server = Fixture::new().await;
    let mut client = server.client().await;
    let only = client.post("/v1/predict", r#"{"inputs":"a","tasks":["embedding"]}"#).await.ok();
    assert_eq!(only["answers"][0]["tasks"], json!({}));
    let vector = only["answers"][0]["embedding"].as_array().unwrap();
    let expected = model().unwrap().encoder().encode(&["a"]).unwrap();
    let found: Vec<f32> = vector.iter().map(|x| x.as_f64().unwrap() as f32).collect();
    assert_eq!(found, expected.row(0));

    let body = r#"{"inputs":"a","tasks":["embedding","topic"],"dimensions":4,"normalize":true}"#;
    let both = client.post("/v1/predict", body).await.ok();
    let short = both["answers"][0]["embedding"].as_array().unwrap();
    let square: f64 = short.iter().map(|x| x.as_f64().unwrap().powi(2)).sum();
    assert!(short.len() == 4 && (square - 1.0).abs() < 1e-6, "{short:?}");
    assert!(both["answers"][0]["tasks"]["topic"]["label"].is_string());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_without_tasks_has_a_vector_to_give() {
    let server = Fixture::with(|settings| settings.load = bare_model).await;
    let answer = server.post("/v1/predict", r#"{"inputs":"a"}"#).await.ok();
    assert_eq!(answer["answers"][0]["tasks"], json!({}));
    assert_eq!(answer["answers"][0]["embedding"].as_array().map(Vec::len), Some(40));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cutting_is_asked_for_and_told() {
    let server = Fixture::new().await;
    let mut client = server.client().await;
    let body = json!({"inputs": ["a", long_text()]}).to_string();
    let refused = client.post("/v1/predict", &body).await;
    refused.fails(400, "context_length_exceeded", "text 2: expected at most 24 tokens, found 5");
    let body = json!({"inputs": ["a", long_text()], "truncate": true}).to_string();
    let reply = client.post("/v1/predict", body).await;
    let answer = reply.ok();
    assert_eq!(reply.header("x-truncated-inputs"), Some("1"));
    assert_eq!(answer["answers"][0]["truncated"], false);
    assert_eq!(answer["answers"][1]["truncated"], true);
    assert!(answer["answers"][1]["tokens"].as_u64().unwrap() > MAX_TOKENS as u64);
    assert_eq!(answer["usage"]["truncated"], 1);
    assert_eq!(server.metric("polyhead_truncated_inputs_total").await, 1.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_that_is_not_probable_is_withheld() {
    let server = Fixture::new().await;
    let body = r#"{"inputs":"a","tasks":["topic"],"abstain":1}"#;
    let answer = server.post("/v1/predict", body).await.ok();
    let topic = &answer["answers"][0]["tasks"]["topic"];
    assert_eq!(topic["label"], Value::Null);
    assert!(topic["probability"].as_f64().unwrap() > 0.3);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_model_says_what_it_is() {
    let server = Fixture::new().await;
    let card = server.get("/v1/model").await.ok();
    assert_eq!((&card["model"], &card["names"]), (&json!("tiny"), &json!(["tiny"])));
    let tasks = card["tasks"].as_array().unwrap();
    let kinds: Vec<&str> = tasks.iter().map(|task| task["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["classification", "multilabel", "regression", "tokens", "ordinal"]);
    assert_eq!(tasks[0]["labels"], json!(["sport", "politics", "ünïcode ☃"]));
    let only = |key: &str| tasks.iter().map(|task| task.get(key).cloned()).collect::<Vec<_>>();
    let exact = Some(json!("exact"));
    assert_eq!(only("label_matching"), [exact.clone(), exact.clone(), None, exact.clone(), exact]);
    assert_eq!(only("words"), [None, None, None, Some(json!("punctuation")), None]);
    assert_eq!(only("target"), [None, None, None, None, None]);
    assert_eq!(only("range"), [None, None, None, None, None]);
    assert_eq!(card["limits"]["tokens_per_text"], MAX_TOKENS);
    assert_eq!(card["limits"]["texts_per_request"], 2048);
    let dimension = model().unwrap().encoder().dimension();
    assert_eq!(card["embedding"]["dimension"], dimension);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_model_lists_what_its_heads_have_learned() {
    let server = Fixture::with(|settings| {
        settings.load = || {
            let mut folder = ModelFolder::open(&tiny_model("st6-dense"))?;
            folder.heads = polyhead_testing::heads(&folder);
            folder.heads[0].spec.label_format.matching = Some(LabelMatching::Normalized);
            folder.heads[2].spec.target = Some(TargetScale { mean: 1500.0, deviation: 0.5 });
            folder.heads[3].spec.words = WordSplit::Characters;
            MultiTaskModel::from_folder(folder, &LoadOptions::default().threads(1))
        };
    })
    .await;
    let tasks = server.get("/v1/model").await.ok()["tasks"].clone();
    assert_eq!(tasks[0]["label_matching"], "normalized");
    assert_eq!(tasks[1]["label_matching"], "exact");
    assert_eq!(tasks[2]["target"], json!({"mean": 1500.0, "deviation": 0.5}));
    assert_eq!(tasks[3]["words"], "characters");
    server.stop().await;
}

/// Heads whose numbers are all below the range, and all within it.
fn clipped(precision: Precision) -> Result<MultiTaskModel, polyhead_model::Error> {
    let mut folder = ModelFolder::open(&tiny_model("st6-dense"))?;
    let mut heads = polyhead_testing::heads(&folder).split_off(2);
    heads.truncate(1);
    heads[0].spec.range = NumberRange::new(1000.0, 2000.0).ok();
    let mut within = heads[0].clone();
    within.spec.name = "within".to_owned();
    within.spec.target = Some(TargetScale { mean: 1500.0, deviation: 1.0 });
    heads.push(within);
    folder.heads = heads;
    let options = LoadOptions::default().precision(precision).threads(1);
    MultiTaskModel::from_folder(folder, &options)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clipped_number_says_what_it_was() {
    type Load = fn() -> Result<MultiTaskModel, polyhead_model::Error>;
    let loads: [Load; 2] = [|| clipped(Precision::F32), || clipped(Precision::Int8)];
    for load in loads {
        let server = Fixture::with(|settings| settings.load = load).await;
        let answer = server.post("/v1/predict", r#"{"inputs":"the train"}"#).await.ok();
        let tasks = &answer["answers"][0]["tasks"];
        let expected = load().unwrap().predict(&["the train"]).unwrap();
        let logits = |task: usize| expected.texts[0].tasks[task].logits.row(0)[0];
        assert_eq!(tasks["urgency"]["value"], 1000.0);
        assert_eq!(tasks["urgency"]["unclipped"].as_f64().unwrap() as f32, logits(0));
        assert_eq!(tasks["within"]["value"].as_f64().unwrap() as f32, 1500.0 + logits(1));
        assert!(tasks["within"].get("unclipped").is_none(), "{tasks}");
        let card = server.get("/v1/model").await.ok();
        assert_eq!(card["tasks"][0]["range"], json!([1000.0, 2000.0]));
        server.stop().await;
    }
}
