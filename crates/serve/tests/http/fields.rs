//! Inputs of `/v1/predict` that are objects with the fields of the model.

use polyhead_model::{
    Answer, Error, LoadOptions, ModelFolder, MultiTaskModel, RequestOptions, TextFields,
};
use polyhead_testing::tiny_model;
use polyhead_text::TextInput;
use serde_json::{Value, json};

use crate::{Fixture, model};

/// The model under test, with this rule for its text.
fn model_with(fields: TextFields) -> Result<MultiTaskModel, Error> {
    let mut folder = ModelFolder::open(&tiny_model("st6-dense"))?;
    folder.heads = polyhead_testing::heads(&folder);
    folder.input = Some(fields);
    MultiTaskModel::from_folder(folder, &LoadOptions::default().threads(1))
}

fn joined() -> Result<MultiTaskModel, Error> {
    let names = ["title", "body"].map(str::to_owned);
    model_with(TextFields::new(&names, Some("\n"), None).unwrap())
}

fn template() -> Result<MultiTaskModel, Error> {
    model_with(TextFields::Template("{title}: {body} ({title})".parse().unwrap()))
}

/// A model with a field of the name that words have in requests.
fn tokens_field() -> Result<MultiTaskModel, Error> {
    model_with(TextFields::Template("the {tokens}".parse().unwrap()))
}

async fn server(load: fn() -> Result<MultiTaskModel, Error>) -> Fixture {
    Fixture::with(|settings| settings.load = load).await
}

/// Asserts that each input has the answer of the text beside it.
async fn answers_alike(server: &Fixture, cases: &[(Value, Value)]) {
    let (inputs, texts): (Vec<_>, Vec<_>) = cases.iter().cloned().unzip();
    let ask = async |inputs: Value| {
        let body = json!({"inputs": inputs, "tasks": ["topic", "entities", "embedding"]});
        server.post("/v1/predict", body.to_string()).await.ok()["answers"].clone()
    };
    let found = ask(json!(inputs)).await;
    assert_eq!(found, ask(json!(texts)).await);
    for (index, input) in inputs.into_iter().enumerate().filter(|(_, input)| input.is_object()) {
        assert_eq!(ask(input).await[0], found[index], "alone, as in a list");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_make_the_text_that_the_model_was_trained_on() {
    let by_join = server(joined).await;
    let words = json!({"tokens": ["the", "train"]});
    let cases = [
        (json!({"title": "naïve", "body": "the train"}), json!("naïve\nthe train")),
        (json!({"body": "leaves", "title": "東京"}), json!("東京\nleaves")),
        (json!({"title": "", "body": "the train"}), json!("the train")),
        (json!({"title": "the train", "body": ""}), json!("the train")),
        (json!({"title": "", "body": ""}), json!("")),
        (json!("the train"), json!("the train")),
        (json!(["the train", "leaves"]), json!(["the train", "leaves"])),
        (words.clone(), words),
    ];
    answers_alike(&by_join, &cases).await;
    by_join.stop().await;

    let by_template = server(template).await;
    let cases = [
        (json!({"title": "naïve", "body": "the train"}), json!("naïve: the train (naïve)")),
        (json!({"title": "", "body": "leaves"}), json!(": leaves ()")),
        (json!({"title": "", "body": ""}), json!(":  ()")),
    ];
    answers_alike(&by_template, &cases).await;
    by_template.stop().await;

    let with_tokens = server(tokens_field).await;
    let words = json!({"tokens": ["train", "leaves"]});
    let cases = [(json!({"tokens": "train"}), json!("the train")), (words.clone(), words)];
    answers_alike(&with_tokens, &cases).await;
    with_tokens.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_count_characters_of_the_composed_text() {
    let server = server(joined).await;
    let text = "naïve 東京\nthe AK-123-X train";
    let body = json!({"inputs": {"title": "naïve 東京", "body": "the AK-123-X train"}});
    let answer = server.post("/v1/predict", body.to_string()).await.ok();
    let spans = answer["answers"][0]["tasks"]["entities"]["spans"].as_array().unwrap();
    let inputs = [TextInput::One(text)];
    let expected = model().unwrap().predict_inputs(&inputs, &RequestOptions::default()).unwrap();
    let Answer::Tokens(tagged) = &expected.texts[0].tasks[3].answer else { panic!("entities") };
    assert!(!spans.is_empty() && spans.len() == tagged.spans.len());
    for (span, expected) in spans.iter().zip(&tagged.spans) {
        assert_eq!((&span["start"], &span["end"]), (&json!(expected.start), &json!(expected.end)));
        let inside: String =
            text.chars().skip(expected.start).take(expected.end - expected.start).collect();
        assert_eq!(span["text"], inside.as_str());
        assert_eq!(span.get("first_word"), None);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_fields_than_the_model_has_are_an_error_that_names_both() {
    let server = server(joined).await;
    let fields = "inputs: text 2: expected the model's fields `title`, `body`";
    for (input, expected) in [
        (json!({"title": "a"}), ", found no field `body`"),
        (json!({}), ", found no field `title`"),
        (json!({"title": null, "body": "b"}), ", found null in field `title`"),
        (json!({"title": "a", "body": ["b"]}), " with strings, found a list in field `body`"),
        (json!({"title": "a", "body": "b", "url": "c"}), ", found also `url`"),
        (json!({"title": "a", "Body": "b", "url": null}), ", found also `Body`, `url`"),
        (json!({"title": "a", "body": "b", "tokens": ["c"]}), ", found also `tokens`"),
        (json!({"tokens": "a"}), ", found also `tokens`"),
    ] {
        let body = json!({"inputs": ["a", input]}).to_string();
        let reply = server.post("/v1/predict", body).await;
        reply.fails(400, "invalid_value", &format!("{fields}{expected}"));
        assert_eq!(reply.json()["error"]["param"], "inputs");
    }
    for (body, code, expected) in [
        (r#"{"inputs":{"title":5,"body":"b"}}"#, "invalid_value", "a string in field `title`"),
        (r#"{"inputs":{"title":"a","title":"b"}}"#, "invalid_value", "duplicate field `title`"),
        (r#"{"inputs":{"title":"a","body":"b"#, "invalid_json", "EOF"),
    ] {
        server.post("/v1/predict", body).await.fails(400, code, expected);
    }
    // The text that is composed has the limits of every text.
    let long = json!({"inputs": {"title": "a", "body": "train ".repeat(2000)}}).to_string();
    server.post("/v1/predict", long).await.fails(400, "context_length_exceeded", "text 1");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_routes_read_texts_as_they_are() {
    let server = server(template).await;
    let object = json!({"title": "naïve", "body": "the train"});
    let composed = "naïve: the train (naïve)";
    let body = json!({"inputs": object, "tasks": ["topic", "entities", "embedding"]});
    let answer = server.post("/v1/predict", body.to_string()).await.ok()["answers"][0].clone();
    let ask = async |path: &str, body: Value| server.post(path, body.to_string()).await.ok();
    let normalized = json!({"inputs": object, "tasks": ["embedding"], "normalize": true});
    let normalized = ask("/v1/predict", normalized).await["answers"][0]["embedding"].clone();
    let of_input = json!({"input": composed});
    let vector = ask("/v1/embeddings", of_input).await["data"][0]["embedding"].clone();
    assert_eq!(vector, answer["embedding"]);
    let inputs = json!({"inputs": composed});
    for path in ["/embed", "/"] {
        assert_eq!(ask(path, inputs.clone()).await, json!([normalized]));
    }
    let labels = ask("/predict", inputs.clone()).await;
    assert_eq!(ask("/?task=topic", inputs.clone()).await, json!([labels]));
    assert_eq!(labels[0]["label"], answer["tasks"]["topic"]["label"]);
    let spans = ask("/?task=entities", inputs.clone()).await;
    let count = |spans: &Value| spans.as_array().unwrap().len();
    assert_eq!(count(&spans), count(&answer["tasks"]["entities"]["spans"]));
    assert_eq!(ask("/embed_all", inputs.clone()).await[0][0].as_array().unwrap().len(), 40);
    let similar = json!({"inputs": {"source_sentence": composed, "sentences": [composed]}});
    assert!((ask("/similarity", similar).await[0].as_f64().unwrap() - 1.0).abs() < 1e-5);

    for path in ["/embed", "/", "/?task=topic", "/embed_all", "/predict", "/tokenize"] {
        let reply = server.post(path, json!({"inputs": object}).to_string()).await;
        reply.fails_tei(422, "Validation", "only /v1/predict makes a text of fields");
        let reply = server.post(path, json!({"inputs": [object]}).to_string()).await;
        reply.fails_tei(422, "Validation", "expected a");
    }
    let body = json!({"input": object}).to_string();
    server.post("/v1/embeddings", body).await.fails(400, "invalid_value", "only /v1/predict");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_model_lists_its_fields() {
    for (load, expected) in [
        (joined as fn() -> _, json!({"fields": ["title", "body"], "join": "\n"})),
        (template, json!({"fields": ["title", "body"], "template": "{title}: {body} ({title})"})),
        (model, Value::Null),
    ] {
        let server = server(load).await;
        assert_eq!(server.get("/v1/model").await.ok()["input"], expected);
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_without_several_fields_says_what_it_takes() {
    let server = Fixture::new().await;
    let forms = "inputs: text 1: expected a text, a pair [\"a\", \"b\"] in a list of inputs, or \
                 words {\"tokens\": [words]}, because this model does not make its text of several \
                 fields; found an object with ";
    for (input, expected) in [
        (json!({"title": "a", "body": "b"}), "`body`, `title`"),
        (json!({"text": "a"}), "`text`"),
        (json!({"words": ["a"]}), "`words`"),
        (json!({"tokens": "a b"}), "`tokens`"),
        (json!({"tokens": ["a"], "text": "a"}), "`text`, `tokens`"),
        (json!({}), "nothing"),
    ] {
        for inputs in [input.clone(), json!([input])] {
            let reply = server.post("/v1/predict", json!({"inputs": inputs}).to_string()).await;
            reply.fails(400, "invalid_value", &format!("{forms}{expected}"));
        }
    }
    // A message stays short.
    let many: serde_json::Map<String, Value> =
        (0..1000).map(|n| (format!("f{n:03}"), json!(""))).collect();
    let reply = server.post("/v1/predict", json!({"inputs": many}).to_string()).await;
    reply.fails(400, "invalid_value", "`f011` and 988 more");
    server.stop().await;
}
