//! `POST /` in the formats of Hugging Face's Inference API.

use polyhead_model::{
    Answer, Error, LoadOptions, ModelFolder, MultiTaskModel, RequestOptions, TaggedText,
};
use polyhead_testing::tiny_model;
use polyhead_text::TextInput;
use serde_json::{Value, json};

use crate::{Fixture, bare_model, long_text, model};

/// A text in which the model finds spans.
const TAGGED: &str = "naïve 東京\nthe AK-123-X train";

/// The model under test with some of its heads.
fn with_heads(names: &[&str]) -> Result<MultiTaskModel, Error> {
    let mut folder = ModelFolder::open(&tiny_model("st6-dense"))?;
    folder.heads = polyhead_testing::heads(&folder);
    folder.heads.retain(|head| names.contains(&head.spec.name.as_str()));
    MultiTaskModel::from_folder(folder, &LoadOptions::default().threads(1))
}

async fn server(load: fn() -> Result<MultiTaskModel, Error>) -> Fixture {
    Fixture::with(|settings| settings.load = load).await
}

async fn ask(server: &Fixture, path: &str, body: Value) -> Value {
    server.post(path, body.to_string()).await.ok()
}

/// Sends what cannot be answered.
async fn refused(server: &Fixture, path: &str, body: Value, words: &str) {
    server.post(path, body.to_string()).await.fails_tei(422, "Validation", words);
}

/// A number as a response has it: with the digits of 32 bits.
fn number(number: f32) -> Value {
    serde_json::from_str(&serde_json::to_string(&number).unwrap()).unwrap()
}

/// The labels of a task, best first.
fn labels(text: &str, task: &str, raw: bool) -> Value {
    let options =
        RequestOptions { tasks: Some(vec![task.to_owned()]), ..RequestOptions::default() };
    let found = model().unwrap().predict_with(&[text], &options).unwrap();
    let answer = &found.texts[0].tasks[0];
    let values = if raw { &answer.logits } else { &answer.probabilities };
    let mut all: Vec<_> = found.tasks[0].labels.iter().zip(values.as_slice()).collect();
    all.sort_by(|a, b| b.1.total_cmp(a.1));
    all.into_iter().map(|(label, score)| json!({"label": label, "score": number(*score)})).collect()
}

fn tagged(text: &str) -> TaggedText {
    let inputs = [TextInput::One(text)];
    let options =
        RequestOptions { tasks: Some(vec!["entities".to_owned()]), ..RequestOptions::default() };
    let found = model().unwrap().predict_inputs(&inputs, &options).unwrap();
    let Answer::Tokens(tagged) = found.texts[0].tasks[0].answer.clone() else { panic!("entities") };
    tagged
}

/// The spans as token classification has them.
fn spans(text: &str) -> Value {
    let spans = tagged(text).spans.into_iter();
    spans
        .map(|span| {
            json!({"entity_group": span.label, "score": number(span.score), "word": span.text,
                   "start": span.start, "end": span.end})
        })
        .collect()
}

/// The words as token classification has them without aggregation.
fn words(text: &str, is_kept: impl Fn(&str) -> bool) -> Value {
    let words = tagged(text).words.into_iter().filter(|word| is_kept(&word.tag));
    words
        .map(|word| {
            let characters = text.chars().skip(word.start).take(word.end - word.start);
            json!({"entity": word.tag, "score": number(word.probability.unwrap()),
                   "word": characters.collect::<String>(), "start": word.start, "end": word.end})
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_classification_is_a_list_of_labels_for_each_text() {
    let server = Fixture::new().await;
    for (parameters, topic) in [
        (json!({}), labels("the train", "topic", false)),
        (json!({"top_k": 3}), labels("the train", "topic", false)),
        (json!({"top_k": 99}), labels("the train", "topic", false)),
        (json!({"top_k": null}), labels("the train", "topic", false)),
        (json!({"top_k": 1}), json!([labels("the train", "topic", false)[0]])),
        (json!({"function_to_apply": "softmax"}), labels("the train", "topic", false)),
        (json!({"function_to_apply": "none"}), labels("the train", "topic", true)),
    ] {
        let body = json!({"inputs": "the train", "parameters": parameters});
        assert_eq!(ask(&server, "/?task=topic", body).await, json!([topic]), "{parameters}");
    }
    let two = json!({"inputs": ["the train", "leaves"], "task": "moods",
                     "parameters": {"function_to_apply": "sigmoid"}});
    let expected = ["the train", "leaves"].map(|text| labels(text, "moods", false));
    assert_eq!(ask(&server, "/", two).await, json!(expected));
    // The body names the task before the address does, and the name is enough.
    let body = json!({"inputs": ["leaves"], "task": "moods"});
    assert_eq!(ask(&server, "/?task=topic", body).await, json!([expected[1]]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_classification_is_a_list_of_spans_or_words() {
    let server = Fixture::new().await;
    let found = spans(TAGGED);
    assert!(!found.as_array().unwrap().is_empty());
    for parameters in [
        json!({}),
        json!({"aggregation_strategy": "simple"}),
        json!({"aggregation_strategy": "first", "ignore_labels": ["O"]}),
        json!({"ignore_labels": ["O", "nothing"]}),
    ] {
        let body = json!({"inputs": TAGGED, "parameters": parameters});
        assert_eq!(ask(&server, "/?task=entities", body).await, found, "{parameters}");
    }
    let body = json!({"inputs": TAGGED, "parameters": {"ignore_labels": ["O", "x"]}});
    assert_eq!(ask(&server, "/?task=entities", body).await, json!([]));
    let body = json!({"inputs": [TAGGED, "a"], "parameters": {}});
    assert_eq!(ask(&server, "/?task=entities", body).await, json!([found, spans("a")]));
    let body = json!({"inputs": [TAGGED], "parameters": {}});
    assert_eq!(ask(&server, "/?task=entities", body).await, json!([found]));

    let none = |ignored: Value| {
        json!({"inputs": TAGGED, "task": "entities",
               "parameters": {"aggregation_strategy": "none", "ignore_labels": ignored}})
    };
    for (ignored, expected) in [
        (Value::Null, words(TAGGED, |tag| tag != "O")),
        (json!([]), words(TAGGED, |_| true)),
        (json!(["B-x"]), words(TAGGED, |tag| tag != "B-x")),
    ] {
        assert_eq!(ask(&server, "/", none(ignored.clone())).await, expected, "{ignored}");
    }
    // Words that were cut off have no score.
    let long = json!({"inputs": long_text(), "task": "entities",
                      "parameters": {"aggregation_strategy": "none", "ignore_labels": []}});
    let found = ask(&server, "/", long).await;
    assert_eq!(found.as_array().unwrap().len(), 22, "{found}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_task_that_fits_answers() {
    let plain = json!({"inputs": "the train", "parameters": {}});
    let of_labels = json!({"inputs": "the train", "parameters": {"top_k": 99}});
    let of_spans = json!({"inputs": "the train", "parameters": {"aggregation_strategy": "simple"}});
    let (topic, found) = (json!([labels("the train", "topic", false)]), spans("the train"));

    let one = server(|| with_heads(&["topic", "urgency"])).await;
    assert_eq!(ask(&one, "/", plain.clone()).await, topic);
    assert_eq!(ask(&one, "/", of_labels.clone()).await, topic);
    let applies = "aggregation_strategy: applies to tokens, found it for task `topic`";
    refused(&one, "/", of_spans.clone(), applies).await;
    one.stop().await;

    let one = server(|| with_heads(&["entities"])).await;
    assert_eq!(ask(&one, "/", plain.clone()).await, found);
    assert_eq!(ask(&one, "/", of_spans.clone()).await, found);
    let applies =
        "top_k: applies to classification, multilabel or ordinal, found it for task `entities`";
    refused(&one, "/", of_labels.clone(), applies).await;
    one.stop().await;

    let two = server(|| with_heads(&["topic", "entities"])).await;
    assert_eq!(ask(&two, "/", of_labels.clone()).await, topic);
    assert_eq!(ask(&two, "/", of_spans.clone()).await, found);
    let several = "task: expected one in the address, such as `/?task=topic`, because several fit \
                   the parameters; the model has `topic` (classification), `entities` (tokens)";
    refused(&two, "/", plain.clone(), several).await;
    two.stop().await;

    for load in [bare_model, || with_heads(&["urgency"])] {
        let none = server(load).await;
        for body in [&plain, &of_labels] {
            let reply = none.post("/", body.to_string()).await;
            reply.fails_tei(424, "Backend", "classification, multilabel, tokens or ordinal");
        }
        none.stop().await;
    }
}

/// Without a task and parameters, the model's kind decides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_with_one_task_answers_with_it() {
    let plain = json!({"inputs": "the train"});
    for (names, expected) in [
        (&["topic"][..], Some(json!([labels("the train", "topic", false)]))),
        (&["topic", "urgency"], Some(json!([labels("the train", "topic", false)]))),
        (&["moods"], Some(json!([labels("the train", "moods", false)]))),
        (&["entities"], Some(spans("the train"))),
        (&["topic", "entities"], None),
        (&["urgency"], None),
        (&[], None),
    ] {
        let server = Fixture::with(|settings| {
            settings.load = match names {
                ["topic"] => || with_heads(&["topic"]),
                ["topic", "urgency"] => || with_heads(&["topic", "urgency"]),
                ["moods"] => || with_heads(&["moods"]),
                ["entities"] => || with_heads(&["entities"]),
                ["topic", "entities"] => || with_heads(&["topic", "entities"]),
                ["urgency"] => || with_heads(&["urgency"]),
                _ => || with_heads(&[]),
            }
        })
        .await;
        let vectors = ask(&server, "/embed", plain.clone()).await;
        assert_eq!(vectors[0].as_array().unwrap().len(), 24, "{names:?}");
        let found = ask(&server, "/", plain.clone()).await;
        assert_eq!(found, expected.unwrap_or_else(|| vectors.clone()), "{names:?}");
        // Every model gives vectors to a request that is about them.
        assert_eq!(ask(&server, "/?task=embedding", plain.clone()).await, vectors, "{names:?}");
        let normal = json!({"inputs": "the train", "normalize": true});
        assert_eq!(ask(&server, "/", normal).await, vectors, "{names:?}");
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sentence_is_compared_with_others() {
    for load in [model as fn() -> _, || with_heads(&["topic"])] {
        let server = server(load).await;
        let inputs = json!({"source_sentence": "a", "sentences": ["a", "the train"]});
        let expected = ask(&server, "/similarity", json!({"inputs": inputs})).await;
        for body in [
            json!({"inputs": inputs}),
            json!({"inputs": inputs, "parameters": {}}),
            json!({"inputs": inputs, "task": "embedding", "truncate": true}),
        ] {
            assert_eq!(ask(&server, "/", body).await, expected);
        }
        for (field, value) in [
            ("parameters", json!({"top_k": 1})),
            ("task", json!("topic")),
            ("dimensions", json!(2)),
        ] {
            let mut body = json!({"inputs": inputs});
            body[field] = value;
            let words = format!("{field}: expected no such field beside `source_sentence`");
            refused(&server, "/", body, &words).await;
        }
        for (inputs, words) in [
            (json!({"source_sentence": "a"}), "missing field `sentences`"),
            (json!({"sentences": ["a"]}), "missing field `source_sentence`"),
            (json!({"source_sentence": "a", "sentences": "a"}), "expected a sequence"),
        ] {
            refused(&server, "/", json!({"inputs": inputs}), words).await;
        }
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_of_many_texts_reserve_their_memory_first() {
    // The JSON of three labels of 1,000 texts takes more than 100 KiB.
    let server = Fixture::with(|settings| settings.http.max_answers = 100 << 10).await;
    let texts = vec!["a"; 1000];
    let all = json!({"inputs": texts, "parameters": {}});
    let one = json!({"inputs": texts, "parameters": {"top_k": 1}});
    let lists = json!({"inputs": texts.iter().map(|text| [text]).collect::<Vec<_>>()});
    let limit = "expected at most 102400 bytes, found about";
    for (path, body) in [("/?task=topic", &all), ("/predict", &lists)] {
        refused(&server, path, body.clone(), limit).await;
    }
    assert_eq!(server.metric("polyhead_task_texts_total{task=\"topic\"}").await, 0.0);
    let found = ask(&server, "/?task=topic", one).await;
    assert!(found.as_array().unwrap().iter().all(|labels| labels.as_array().unwrap().len() == 1));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_with_several_tasks_gives_vectors_to_requests_without_one() {
    let server = Fixture::new().await;
    let body = json!({"inputs": ["the train", "a"], "normalize": false, "dimensions": 3});
    let expected = ask(&server, "/embed", body.clone()).await;
    assert_eq!(ask(&server, "/", body.clone()).await, expected);
    assert_eq!(ask(&server, "/?task=embedding", body.clone()).await, expected);
    let mut floats = body.clone();
    floats["encoding_format"] = json!("float");
    floats["task"] = json!("embedding");
    assert_eq!(ask(&server, "/?task=topic", floats.clone()).await, expected);
    floats["parameters"] = json!({});
    refused(&server, "/", floats, "parameters: apply to tasks").await;
    for path in ["/", "/embed"] {
        let base64 = json!({"inputs": "a", "encoding_format": "base64"});
        refused(&server, path, base64, "encoding_format: expected `float`, found `base64`").await;
    }
    for (field, value) in
        [("normalize", json!(true)), ("dimensions", json!(3)), ("encoding_format", json!("float"))]
    {
        let mut body = json!({"inputs": "a", "parameters": {}});
        body[field] = value;
        let words = format!("{field}: applies to vectors, found in a request for a task");
        refused(&server, "/?task=topic", body, &words).await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_supported_is_named() {
    let server = Fixture::new().await;
    for (task, parameters, words) in [
        ("topic", json!({"top_k": 0}), "top_k: expected 1 or more, found 0"),
        ("topic", json!({"top_k": -1}), "-1"),
        (
            "topic",
            json!({"function_to_apply": "sigmoid"}),
            "function_to_apply: expected softmax or none for task `topic`",
        ),
        (
            "moods",
            json!({"function_to_apply": "softmax"}),
            "function_to_apply: expected sigmoid or none for task `moods`",
        ),
        (
            "topic",
            json!({"function_to_apply": "tanh"}),
            "unknown variant `tanh`, expected one of `sigmoid`, `softmax`, `none`",
        ),
        (
            "topic",
            json!({"return_all_scores": true}),
            "unknown field `return_all_scores`, expected one of `top_k`",
        ),
        ("moods", json!({"ignore_labels": []}), "ignore_labels: applies to tokens"),
        ("entities", json!({"stride": 16}), "unknown field `stride`"),
        (
            "entities",
            json!({"function_to_apply": "none"}),
            "function_to_apply: applies to classification, multilabel or ordinal",
        ),
        (
            "entities",
            json!({"aggregation_strategy": "average"}),
            "aggregation_strategy: expected none, simple or first, found average",
        ),
        ("entities", json!({"aggregation_strategy": "max"}), "found max"),
        (
            "entities",
            json!({"ignore_labels": []}),
            "ignore_labels: expected `O` among them unless aggregation_strategy is none",
        ),
        (
            "urgency",
            json!({}),
            "task `urgency`: expected classification, multilabel, tokens or ordinal, found regression",
        ),
        ("nope", json!({}), "task `nope`: the model has no such task (it has: topic, moods"),
        ("topic", json!("top_k"), "expected an object"),
    ] {
        let body = json!({"inputs": "a", "parameters": parameters});
        refused(&server, &format!("/?task={task}"), body, words).await;
    }
    let several = json!({"inputs": "a", "parameters": {}});
    refused(&server, "/", several, "`/?task=topic`").await;
    refused(&server, "/?task=a&task=b", json!({"inputs": "a"}), "query: ").await;
    for (inputs, words) in [
        (json!([["a", "b"]]), "expected u32"),
        (json!({"text": "a", "text_pair": "b"}), "only /v1/predict makes a text of fields"),
        (json!([1, 2]), "token ids"),
    ] {
        let body = json!({"inputs": inputs, "parameters": {}});
        refused(&server, "/?task=topic", body, words).await;
    }
    for inputs in ["", "a"].map(|text| json!([text, ""])) {
        let body = json!({"inputs": inputs, "parameters": {}}).to_string();
        server.post("/?task=topic", body).await.fails_tei(400, "Empty", "found an empty one");
    }
    // Options of every text hold here, too.
    let body = json!({"inputs": long_text(), "parameters": {}, "truncate": false});
    refused(&server, "/?task=topic", body, "at most 24 tokens").await;
    let body = json!({"inputs": "a", "parameters": {}, "prompt_name": "nope"});
    refused(&server, "/?task=topic", body, "nope").await;
    server.stop().await;
}

/// Only `embedding` cannot name a task. Answers have their tasks in an object of their own, so that
/// other keys of requests and answers, and words of the address, are names like all others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_may_be_called_as_keys_of_the_answers() {
    const NAMES: [&str; 12] = [
        "tokens",
        "truncated",
        "tasks",
        "answers",
        "usage",
        "model",
        "task",
        "v1",
        "label",
        "__proto__",
        "größe",
        "Embedding",
    ];
    let server = server(|| {
        let mut folder = ModelFolder::open(&tiny_model("st6-dense"))?;
        let topic = polyhead_testing::heads(&folder).swap_remove(0);
        folder.heads = vec![topic; NAMES.len()];
        for (head, name) in folder.heads.iter_mut().zip(NAMES) {
            head.spec.name = name.to_owned();
        }
        MultiTaskModel::from_folder(folder, &LoadOptions::default().threads(1))
    })
    .await;
    let asked = [&NAMES[..], &["embedding"]].concat();
    let body = json!({"inputs": "the train", "tasks": asked});
    let answer = ask(&server, "/v1/predict", body).await["answers"][0].clone();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&answer), ["embedding", "tasks", "tokens", "truncated"]);
    assert_eq!(answer["tasks"].as_object().unwrap().len(), NAMES.len());
    let expected = labels("the train", "topic", false);
    let listed = server.get("/v1/model").await.ok()["tasks"].clone();
    for (name, card) in NAMES.into_iter().zip(listed.as_array().unwrap()) {
        assert_eq!(
            (&card["name"], &answer["tasks"][name]["label"]),
            (&json!(name), &expected[0]["label"])
        );
        let body = json!({"inputs": "the train", "task": name});
        assert_eq!(ask(&server, "/", body.clone()).await, json!([expected]), "{name}");
        assert_eq!(ask(&server, "/predict", body).await, expected, "{name}");
        let address = name.replace('ö', "%C3%B6").replace('ß', "%C3%9F");
        let body = json!({"inputs": "the train"});
        assert_eq!(ask(&server, &format!("/?task={address}"), body).await, json!([expected]));
        let metric = format!("polyhead_task_texts_total{{task=\"{name}\"}}");
        assert_eq!(server.metric(&metric).await, 4.0);
    }
    server.stop().await;
}
