//! The museum: a collection of odd requests. Each has its status and JSON, and the next good
//! request is answered.

use std::cell::RefCell;

use polyhead_testing::check_mutations;
use serde_json::json;

use crate::Fixture;
use crate::client::{Client, request};

const JSON: &str = "content-type: application/json";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_route() {
    let server = Fixture::new().await;
    let cases: Vec<(Vec<u8>, u16, &str, &str)> = [
        ("", 400, "invalid_json", "EOF"),
        ("{", 400, "invalid_json", "EOF"),
        ("inputs=a", 400, "invalid_json", "expected value"),
        ("[]", 400, "invalid_value", "expected an object, found a list"),
        ("null", 400, "invalid_value", "invalid type: null, expected an object"),
        ("{}", 400, "invalid_value", "missing field `inputs`"),
        (r#"{"input":"a"}"#, 400, "invalid_value", "unknown field `input`"),
        (r#"{"inputs":"a","truncated":true}"#, 400, "invalid_value", "unknown field `truncated`"),
        (r#"{"inputs":"a","inputs":"b"}"#, 400, "invalid_value", "duplicate field `inputs`"),
        (r#"{"inputs":"a"} {}"#, 400, "invalid_json", "trailing"),
        (r#"{"inputs":NaN}"#, 400, "invalid_json", "expected value"),
        (r#"{"inputs":[]}"#, 400, "empty_input", "at least one text"),
        (r#"{"inputs":null}"#, 400, "invalid_value", "a text, an object or a list of texts"),
        (r#"{"inputs":5}"#, 400, "invalid_value", "a text, an object or a list of texts"),
        (r#"{"inputs":{"a":"b"}}"#, 400, "invalid_value", "does not make its text of several"),
        (r#"{"inputs":[["a"]]}"#, 400, "invalid_value", "a list of two texts (a pair)"),
        (r#"{"inputs":["a",null]}"#, 400, "invalid_value", "expected a text, a list of two"),
        (r#"{"inputs":[1,-1,99999999999999999999]}"#, 400, "invalid_value", "expected a text"),
        (r#"{"inputs":"\ud800"}"#, 400, "invalid_json", "hex escape"),
        (r#"{"inputs":"\udc00 \ud800x"}"#, 400, "invalid_json", "surrogate"),
        ("{\"inputs\":\"a\u{0}b\"}", 400, "invalid_json", "control character"),
        (r#"{"inputs":"a","truncate":"yes"}"#, 400, "invalid_value", "expected a boolean"),
        (r#"{"inputs":"a","tasks":"topic"}"#, 400, "invalid_value", "expected a sequence"),
        (r#"{"inputs":"a","tasks":[]}"#, 400, "invalid_value", "tasks: expected at least one"),
        (r#"{"inputs":"a","tasks":["nope"]}"#, 400, "unknown_task", "it has: topic, moods"),
        (r#"{"inputs":"a","abstain":1.5}"#, 400, "invalid_value", "expected 0 to 1"),
        (r#"{"inputs":"a","abstain":-0.1}"#, 400, "invalid_value", "expected 0 to 1"),
        (r#"{"inputs":"a","prompt_name":"nope"}"#, 400, "invalid_value", "prompt `nope`"),
        (r#"{"inputs":"a","normalize":true}"#, 400, "invalid_value", "`embedding` among `tasks`"),
        (r#"{"inputs":"a","dimensions":3}"#, 400, "invalid_value", "`embedding` among `tasks`"),
        (r#"{"inputs":"a","tasks":["embedding"],"dimensions":0}"#, 400, "invalid_value", "dim"),
        (r#"{"inputs":"a","tasks":["embedding"],"dimensions":-1}"#, 400, "invalid_value", "-1"),
        (r#"{"inputs":"a","lane":"fast"}"#, 400, "invalid_value", "unknown variant `fast`"),
    ]
    .into_iter()
    .map(|(body, status, code, words)| (body.as_bytes().to_vec(), status, code, words))
    .chain([
        (b"{\"inputs\":\"\xff\"}".to_vec(), 400, "invalid_json", "unicode"),
        (b"\xef\xbb\xbf{\"inputs\":\"a\"}".to_vec(), 400, "invalid_json", "expected value"),
        ("[".repeat(100_000).into_bytes(), 400, "invalid_value", "expected an object"),
        (
            format!("{{\"inputs\":{}", "[".repeat(100_000)).into_bytes(),
            400,
            "invalid_value",
            "expected a string",
        ),
        (json!({"inputs": vec!["a"; 6000]}).to_string().into(), 400, "too_many_texts", "2048"),
        (json!({"inputs": vec!["a"; 2049]}).to_string().into(), 400, "too_many_texts", "2049"),
        (
            json!({"inputs": "a".repeat(24_001)}).to_string().into(),
            400,
            "text_too_large",
            "at most 24000 bytes, found 24001",
        ),
        (
            json!({"inputs": "a".repeat(10_000_000)}).to_string().into(),
            413,
            "body_too_large",
            "at most 2097152 bytes",
        ),
    ])
    .collect();
    for (body, status, code, words) in cases {
        server.post("/v1/predict", &body).await.fails(status, code, words);
        server.works().await;
    }
    server.stop().await;
}

/// Odd, and yet texts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_of_every_kind_are_answered() {
    let server = Fixture::new().await;
    let mut client = server.client().await;
    let texts = [
        "".to_owned(),
        " ".to_owned(),
        "\u{0}".to_owned(),
        "a\u{0}b".to_owned(),
        "\t\r\n".to_owned(),
        "👩‍👩‍👧‍👦 שלום \u{202e}abc".to_owned(),
        format!("e{}", "\u{301}".repeat(5000)),
        "\u{fffd}\u{ffff}\u{10ffff}".to_owned(),
        "a".repeat(24_000),
        " ".repeat(24_000),
        "[CLS] [SEP] [MASK]".to_owned(),
        "\"}],{\\".to_owned(),
    ];
    let body =
        json!({"inputs": texts, "truncate": true, "tasks": ["topic", "entities", "embedding"]});
    let answer = client.post("/v1/predict", body.to_string()).await.ok();
    for (text, answer) in texts.iter().zip(answer["answers"].as_array().unwrap()) {
        let vector = answer["embedding"].as_array().unwrap();
        assert!(vector.iter().all(|x| x.is_number()), "{text:?}");
    }
    // A pair of surrogates is a character.
    let answer = client.post("/v1/predict", r#"{"inputs":"\ud83d\ude00"}"#).await.ok();
    assert_eq!(answer["usage"]["texts"], 1);
    let most = json!({"inputs": vec!["a"; 2048]}).to_string();
    assert_eq!(client.post("/v1/predict", most).await.ok()["usage"]["texts"], 2048);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openai_route() {
    let server = Fixture::new().await;
    for (body, status, code, words) in [
        ("", 400, "invalid_json", "EOF"),
        ("{}", 400, "invalid_value", "missing field `input`"),
        (r#"{"input":""}"#, 400, "empty_input", "text 1: expected a text, found an empty one"),
        (
            r#"{"input":["a",""]}"#,
            400,
            "empty_input",
            "text 2: expected a text, found an empty one",
        ),
        (r#"{"input":[]}"#, 400, "empty_input", "at least one text"),
        (r#"{"input":[[]]}"#, 400, "token_ids_refused", "token ids"),
        (r#"{"input":[-1]}"#, 400, "invalid_value", "token id -1"),
        (r#"{"input":[99999999999]}"#, 400, "invalid_value", "token id 99999999999"),
        (r#"{"input":[1,"a"]}"#, 400, "invalid_value", "expected u32"),
        (r#"{"input":[[[1]]]}"#, 400, "invalid_value", "expected u32"),
        (r#"{"input":"a","model":5}"#, 400, "invalid_value", "expected a string"),
        (r#"{"input":"a","model":"gpt"}"#, 404, "model_not_found", "gpt"),
        (r#"{"input":"a","encoding_format":"hex"}"#, 400, "invalid_value", "unknown variant"),
        (r#"{"input":"a","dimensions":"3"}"#, 400, "invalid_value", "expected usize"),
        (r#"{"input":"a","input":"b"}"#, 400, "invalid_value", "duplicate field"),
    ] {
        server.post("/v1/embeddings", body).await.fails(status, code, words);
        server.works().await;
    }
    let body = r#"{"input":" ","model":null,"some_client_adds":{"this":[1]}}"#;
    server.post("/v1/embeddings", body).await.ok();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tei_routes() {
    let server = Fixture::new().await;
    for path in ["/embed", "/embed_all", "/predict", "/tokenize", "/"] {
        for (body, status, error_type) in [
            ("", 400, "Validation"),
            ("{", 400, "Validation"),
            ("{}", 422, "Validation"),
            (r#"{"inputs":null}"#, 422, "Validation"),
            (r#"{"inputs":{}}"#, 422, "Validation"),
            (r#"{"inputs":""}"#, 400, "Empty"),
            (r#"{"inputs":[-1]}"#, 422, "Validation"),
            (r#"{"inputs":"\ud800"}"#, 400, "Validation"),
            (r#"{"inputs":"a","truncate":5,"add_special_tokens":5}"#, 422, "Validation"),
        ] {
            server.post(path, body).await.fails_tei(status, error_type, "");
        }
        let many = match path {
            "/predict" => json!({"inputs": vec![["a"]; 6000]}),
            _ => json!({"inputs": vec!["a"; 6000]}),
        };
        server.post(path, many.to_string()).await.fails_tei(422, "Validation", "at most 2048");
        let long = json!({"inputs": "a".repeat(24_001)}).to_string();
        server.post(path, long).await.fails_tei(422, "Validation", "at most 24000 bytes");
        // As that server has it: no text is empty, but no pair, text or class is wrong.
        let (status, error_type) = match path {
            "/predict" => (422, "Validation"),
            _ => (400, "Empty"),
        };
        server.post(path, r#"{"inputs":[]}"#).await.fails_tei(status, error_type, "");
        server.works().await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_not_what_they_say() {
    let server = Fixture::new().await;
    let good = br#"{"inputs":"a"}"#;
    for headers in [
        &["content-type: text/plain"][..],
        &["content-type: application/x-www-form-urlencoded"],
        &["content-type: multipart/form-data; boundary=x"],
        &["content-type: \u{80}"],
        &[],
    ] {
        let mut client = server.client().await;
        let reply = client.ask("POST", "/v1/predict", headers, good).await;
        reply.fails(415, "unsupported_media_type", "application/json");
        let reply = client.ask("POST", "/embed", headers, good).await;
        reply.fails_tei(415, "Validation", "application/json");
    }
    for header in
        ["content-type: application/json; charset=utf-8", "Content-Type: APPLICATION/JSON"]
    {
        server.client().await.ask("POST", "/v1/predict", &[header], good).await.ok();
    }
    // More than the limit, said or not said.
    let mut client = server.client().await;
    client.write(b"POST /embed HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 3000000\r\n\r\n").await;
    client.read().await.unwrap().fails_tei(413, "Validation", "at most 2097152 bytes");
    let mut client = server.client().await;
    client.write(b"POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n").await;
    for _ in 0..33 {
        client.write(b"10000\r\n").await;
        client.write(&[b' '; 0x10000]).await;
        client.write(b"\r\n").await;
    }
    client.read().await.unwrap().fails(413, "body_too_large", "at most 2097152 bytes");
    server.works().await;
    // Chunks, and a client that asks whether it may send.
    let mut client = server.client().await;
    client.write(b"POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n6\r\n{\"inpu\r\n8\r\nts\":\"a\"}\r\n0\r\n\r\n").await;
    client.read().await.unwrap().ok();
    client.write(b"POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nexpect: 100-continue\r\ncontent-length: 14\r\n\r\n").await;
    assert_eq!(client.read().await.unwrap().status, 100);
    client.write(good).await;
    client.read().await.unwrap().ok();
    // Encodings of the body, and codings of its transfer.
    for (header, expected) in [
        ("content-encoding: identity", None),
        ("content-encoding: gzip", Some((415, "unsupported_media_type", "content-encoding"))),
        (
            "content-encoding: identity, br",
            Some((415, "unsupported_media_type", "content-encoding")),
        ),
    ] {
        let mut client = server.client().await;
        let headers = [JSON, header];
        let reply = client.ask("POST", "/v1/predict", &headers, good).await;
        match expected {
            None => drop(reply.ok()),
            Some((status, code, words)) => reply.fails(status, code, words),
        }
        if expected.is_some() {
            let reply = client.ask("POST", "/embed", &headers, good).await;
            reply.fails_tei(415, "Validation", "content-encoding");
        }
    }
    for coding in ["gzip, chunked", "chunked, chunked", "chunked\r\ntransfer-encoding: chunked"] {
        let head =
            format!("host: localhost\r\n{JSON}\r\ntransfer-encoding: {coding}\r\n\r\n0\r\n\r\n");
        let mut client = server.client().await;
        client.write(format!("POST /v1/predict HTTP/1.1\r\n{head}").as_bytes()).await;
        let reply = client.read().await.unwrap();
        reply.fails(501, "unsupported_transfer_encoding", "`chunked` alone");
        let mut client = server.client().await;
        client.write(format!("POST /embed HTTP/1.1\r\n{head}").as_bytes()).await;
        client.read().await.unwrap().fails_tei(501, "Validation", "`chunked` alone");
    }
    // hyper refuses these itself, without a body: a coding that does not end in `chunked`, and
    // lengths that are no number or near 2^64.
    for (header, status) in [
        ("transfer-encoding: gzip", 400),
        ("transfer-encoding: chunked, gzip", 400),
        ("content-length: 5x", 400),
        ("content-length: 18446744073709551616", 400),
        ("content-length: 18446744073709551615", 431),
    ] {
        let head = format!("host: localhost\r\n{JSON}\r\n{header}\r\n\r\n");
        let mut client = server.client().await;
        client.write(format!("POST /embed HTTP/1.1\r\n{head}").as_bytes()).await;
        let reply = client.read().await.unwrap();
        assert_eq!((reply.status, reply.body.len()), (status, 0), "{header}");
    }
    let mut client = server.client().await;
    client.write(b"POST /embed HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 18446744073709551613\r\n\r\n").await;
    client.read().await.unwrap().fails_tei(413, "Validation", "at most 2097152 bytes");
    server.works().await;
    // An old client.
    let mut client = server.client().await;
    client.write(b"POST /v1/predict HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: 14\r\n\r\n{\"inputs\":\"a\"}").await;
    client.read().await.unwrap().ok();
    // Not HTTP at all.
    for bytes in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01"[..], b"hello\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
    {
        let mut client = server.client().await;
        client.write(bytes).await;
        let reply = client.read().await;
        assert!(reply.as_ref().is_none_or(|reply| reply.status == 400), "{reply:?}");
    }
    let mut client = server.client().await;
    let headers: Vec<String> = (0..200).map(|i| format!("x-{i}: a")).collect();
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    client.write(&request("GET", "/livez", &headers, b"")).await;
    assert_eq!(client.read().await.unwrap().status, 431);
    server.works().await;
    server.stop().await;
}

/// What the framework refuses before a handler sees it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_and_queries_that_cannot_be_read_have_json_errors() {
    let server = Fixture::new().await;
    let mut client = server.client().await;
    client.get("/v1/models/%ff").await.fails(400, "invalid_value", "UTF-8");
    client.get("/v1/models/a%2f%c3%28").await.fails(400, "invalid_value", "UTF-8");
    client.get("/v1/models/%zz").await.fails(404, "model_not_found", "%zz");
    client.get("/v1/models/").await.fails(404, "unknown_route", "");
    client.get("/%ff").await.fails(404, "unknown_route", "");
    for query in ["task=a&task=b", "task=%ff"] {
        let reply = client.post(&format!("/predict?{query}"), r#"{"inputs":"a"}"#).await;
        reply.fails_tei(422, "Validation", "");
    }
    for (method, path) in [("DELETE", "/v1/models/%ff"), ("POST", "/v1/models"), ("PUT", "/")] {
        let reply = client.ask(method, path, &[], b"").await;
        assert!(reply.status == 405 && reply.json().get("error").is_some(), "{reply:?}");
    }
    server.works().await;
    server.stop().await;
}

/// Any bytes, and any JSON that is nearly a request, have a status that fits and JSON in
/// their answer, and the connection goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_sent_is_answered() {
    let server = Fixture::new().await;
    let address = server.address;
    let requests = [
        (
            "/v1/predict",
            json!({"inputs": ["a", "the train"], "tasks": ["topic", "embedding"], "abstain": 0.5,
                   "truncate": true, "normalize": true, "dimensions": 3, "prompt_name": null,
                   "lane": "bulk"}),
        ),
        (
            "/v1/embeddings",
            json!({"input": ["a"], "model": "tiny", "encoding_format": "float", "dimensions": 3}),
        ),
        ("/embed", json!({"inputs": ["a", "b"], "truncate": true, "normalize": false})),
        ("/embed_all", json!({"inputs": "a", "truncation_direction": "right"})),
        ("/predict", json!({"inputs": [["a"], ["b"]], "raw_scores": true, "task": "topic"})),
        ("/tokenize", json!({"inputs": "a", "add_special_tokens": true})),
        (
            "/similarity",
            json!({"inputs": {"source_sentence": "a", "sentences": ["b"]}, "parameters": null}),
        ),
    ];
    let handle = tokio::runtime::Handle::current();
    let run = move || {
        let client = RefCell::new(handle.block_on(Client::connect(address)));
        for (route, good) in requests {
            check_mutations(good.to_string().as_bytes(), 64, |body| {
                let reply = handle.block_on(client.borrow_mut().ask("POST", route, &[JSON], body));
                assert!([200, 400, 404, 413, 422].contains(&reply.status), "{reply:?}");
                let answer = reply.json();
                assert!(reply.status == 200 || answer.get("error").is_some(), "{answer}");
                assert!(reply.status != 200 || !answer.to_string().contains("null,null"));
            });
        }
    };
    tokio::task::spawn_blocking(run).await.unwrap();
    server.works().await;
    server.stop().await;
}
