//! Answers have the same bits alone, together, and under load.

use polyhead_model::{
    EncodeOptions, LoadOptions, ModelFolder, Module, MultiTaskModel, RequestOptions,
};
use polyhead_serve::{
    Answer, Engine, EngineRequest, EngineSettings, InputText, Lane, Prompt, RequestError, Vectors,
};

use std::time::Duration;

use crate::{ask, assert_idle, occupy, start, texts, until, with_faults};

fn tasks(names: &[&str]) -> Option<Vec<String>> {
    Some(names.iter().map(|name| (*name).to_owned()).collect())
}

fn with(mut request: EngineRequest, change: impl Fn(&mut RequestOptions)) -> EngineRequest {
    change(&mut request.options);
    request
}

/// Requests of every form for some texts.
fn asks(texts: &[String]) -> Vec<EngineRequest> {
    let of = |options| EngineRequest { options, ..EngineRequest::texts(texts.to_vec()) };
    let all = RequestOptions::default();
    let two = RequestOptions { tasks: tasks(&["topic", "entities"]), ..all.clone() };
    vec![
        of(RequestOptions { vectors: Some(Vectors::default()), ..all.clone() }),
        EngineRequest { lane: Lane::Bulk, ..of(two) },
        of(RequestOptions {
            tasks: tasks(&[]),
            vectors: Some(Vectors { normalize: Some(true), dim: Some(7), per_token: false }),
            ..all.clone()
        }),
        of(RequestOptions {
            tasks: tasks(&["moods"]),
            vectors: Some(Vectors { per_token: true, ..Vectors::default() }),
            prompt: Prompt::Text("the leaves: ".to_owned()),
            ..all
        }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_have_the_bits_of_a_text_alone() {
    let mut settings = EngineSettings::default();
    settings.queue_tokens = settings.bulk_queue_tokens;
    let engine = start(settings);
    let model = engine.model();
    let all = texts(64);
    let parts: Vec<&[String]> = [&all[..1], &all[1..3], &all[3..40], &all[40..]].to_vec();
    // Several times, so that they meet in different batches.
    let running: Vec<_> = (0..5)
        .flat_map(|_| parts.iter().flat_map(|part| asks(part)))
        .map(|wanted| (wanted.clone(), ask(&engine, wanted)))
        .collect();
    for (wanted, asked) in running {
        let answers = asked.await.unwrap().unwrap();
        assert_eq!(answers.texts.len(), wanted.texts.len());
        for (text, found) in wanted.texts.iter().zip(&answers.texts) {
            let InputText::Text(text) = text else { unreachable!() };
            let options = RequestOptions {
                tasks: wanted.options.tasks.clone(),
                prompt: wanted.options.prompt.clone(),
                ..RequestOptions::default()
            };
            let alone = model.predict_with(&[text.text()], &options).unwrap();
            assert_eq!(found.tokens, alone.texts[0].tokens);
            let names: Vec<&str> = answers.tasks().map(|task| task.name.as_str()).collect();
            let expected: Vec<&str> = alone.tasks.iter().map(|task| task.name.as_str()).collect();
            assert_eq!(names, expected);
            assert_eq!(found.tasks, alone.texts[0].tasks);
            let vectors = wanted.options.vectors.unwrap_or_default();
            let options = EncodeOptions {
                normalize: vectors.normalize,
                dim: vectors.dim,
                prompt: wanted.options.prompt.clone(),
                ..EncodeOptions::default()
            };
            if let Some(vector) = &found.vector {
                let alone = model.encoder().encode_with(&[text.text()], &options).unwrap();
                assert_eq!(vector, alone.embeddings.row(0));
            }
            if let Some(vectors) = &found.token_vectors {
                let alone = model.encoder().encode_tokens(&[text.text()], &options).unwrap();
                assert_eq!(vectors, &alone.vectors);
            }
            let wants_one = wanted.options.vectors.is_some() && !vectors.per_token;
            assert_eq!(found.vector.is_some(), wants_one);
            assert_eq!(found.token_vectors.is_some(), vectors.per_token);
        }
    }
    let metrics = engine.metrics();
    assert_eq!(metrics.answered_texts.get(), 5 * 4 * 64);
    assert_eq!(metrics.admitted_texts.get(), 5 * 4 * 64);
    assert_eq!(metrics.task_texts("topic"), Some(5 * 2 * 64));
    assert_idle(&engine);
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_ask_other_heads_share_a_batch() {
    let engine = start(with_faults());
    let busy = occupy(&engine, 300).await;
    let batches = engine.metrics().batches.get();
    let alike = vec!["the train leaves".to_owned(); 3];
    let asked: Vec<_> = asks(&alike)
        .into_iter()
        .map(|wanted| ask(&engine, EngineRequest { lane: Lane::Interactive, ..wanted }))
        .collect();
    for asked in asked {
        asked.await.unwrap().unwrap();
    }
    busy.await.unwrap().unwrap();
    let metrics = engine.metrics();
    // The one that slept, and one with all others.
    assert_eq!(metrics.batches.get() - batches, 2);
    assert_eq!(metrics.batched_texts.get(), 13);
}

#[tokio::test(flavor = "multi_thread")]
async fn short_texts_are_answered_between_the_layers_of_a_long_one() {
    let engine = start(with_faults());
    let long = ask(&engine, EngineRequest::texts([format!("sleep 200 {}", "the ".repeat(100))]));
    until(|| engine.backlog().running_tokens > 0).await;
    // In one layer break or several; a fault of one short text does not affect the long one.
    let bad = ask(&engine, EngineRequest::texts(["panic a"]));
    let short = ask(&engine, EngineRequest::texts(["sleep 100"]));
    long.await.unwrap().unwrap();
    let begun = std::time::Instant::now();
    short.await.unwrap().unwrap();
    // If it had run after the long one, its sleep would come after it as well.
    assert!(begun.elapsed() < Duration::from_millis(80), "{:?}", begun.elapsed());
    assert!(matches!(bad.await.unwrap(), Err(RequestError::Failed { index: 0 })));
    assert_idle(&engine);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_and_errors() {
    let engine = start(EngineSettings::default());
    let text = "the train leaves";
    let batch = engine.model().encoder().tokenize(&[text], &EncodeOptions::default()).unwrap();
    let ids = batch.ids[1..batch.ids.len() - 1].to_vec();
    let by_ids = EngineRequest {
        texts: vec![InputText::Ids(ids), InputText::from(text.to_owned())],
        options: RequestOptions { tasks: tasks(&["topic"]), ..RequestOptions::default() },
        ..EngineRequest::default()
    };
    let answers = engine.answer(by_ids.clone()).await.unwrap();
    assert_eq!(answers.texts[0], answers.texts[1]);
    assert!(matches!(answers.texts[0].tasks[0].answer, Answer::Classification(_)));

    let long = "the ".repeat(500);
    let limit = engine.model().encoder().max_length();
    let strict = |ask| with(ask, |options| options.on_truncate = polyhead_serve::OnTruncate::Error);
    let cases = [
        (EngineRequest::default(), RequestError::Empty),
        (
            with(EngineRequest::texts([text]), |options| options.tasks = tasks(&["tpoic"])),
            RequestError::UnknownTask(
                "task `tpoic`: the model has no such task (it has: topic, moods, urgency, \
                 entities, grade)"
                    .to_owned(),
            ),
        ),
        (
            strict(EngineRequest::texts([text, &long])),
            RequestError::TooLong { index: 1, tokens: 502, limit },
        ),
        (
            with(EngineRequest::texts([text]), |options| {
                options.vectors = Some(Vectors { dim: Some(0), ..Vectors::default() });
            }),
            RequestError::Option("dimension: expected 1 to 24, found 0".to_owned()),
        ),
        (
            EngineRequest { texts: vec![InputText::Ids(vec![5, 1 << 31])], ..by_ids },
            RequestError::Text {
                index: 0,
                message: "token ids: expected 0 to 119, found 2147483648".to_owned(),
            },
        ),
    ];
    for (ask, expected) in cases {
        let found = engine.answer(ask).await.map(|_| ()).unwrap_err();
        match (&found, &expected) {
            // The sizes of the model do not matter.
            (RequestError::Option(_), RequestError::Option(_))
            | (RequestError::Text { .. }, RequestError::Text { .. }) => {
                let shape = |error: &RequestError| {
                    error.to_string().replace(|c: char| c.is_ascii_digit(), "")
                };
                assert_eq!(shape(&found), shape(&expected));
            }
            _ => assert_eq!(found, expected),
        }
    }
    let cut = engine.answer(EngineRequest::texts([long])).await.unwrap();
    assert!(cut.texts[0].tokens.truncated());
    assert_idle(&engine);
}

#[tokio::test]
async fn a_prompt_that_leaves_no_room_for_the_text_is_an_error() {
    let mut folder = ModelFolder::open(&polyhead_testing::tiny_model("tiny-bert")).unwrap();
    let long = "a ".repeat(40);
    folder.prompts = vec![("long".to_owned(), long.clone()), ("short".into(), "a ".into())];
    let options = LoadOptions::default().max_length(16);
    let load = move || MultiTaskModel::from_folder(folder.clone(), &options);
    let engine = Engine::start(load, EngineSettings::default()).unwrap();
    let ask = async |prompt: Prompt| {
        let request = with(EngineRequest::texts(["world"]), |options| {
            options.prompt = prompt.clone();
            options.vectors = Some(Vectors::default());
        });
        engine.answer(request).await.map(|_| ())
    };
    assert_eq!(ask(Prompt::Named("short".to_owned())).await, Ok(()));
    for prompt in [Prompt::Named("long".to_owned()), Prompt::Text(long)] {
        let error = ask(prompt).await.unwrap_err();
        assert!(matches!(error, RequestError::Option(_)), "{error:?}");
        assert!(error.to_string().contains("expected fewer than 16 tokens"), "{error}");
    }
}

/// A tokenizer without an unknown token fails on characters that it does not know.
#[tokio::test]
async fn a_prompt_that_cannot_be_tokenized_is_no_fault_of_a_text() {
    let place = tempfile::tempdir().unwrap();
    polyhead_testing::copy_folder(&polyhead_testing::tiny_model("tiny-bert"), place.path());
    let known = "aHelo, wrd\0\u{301}é漢🙂\u{fffd}[]x<y>▁e".chars();
    let vocab: Vec<_> = known.map(|piece| serde_json::json!([piece.to_string(), -1.0])).collect();
    let model = serde_json::json!({"type": "Unigram", "unk_id": null, "byte_fallback": false, "vocab": vocab});
    let tokenizer = serde_json::json!({"version": "1.0", "added_tokens": [], "model": model});
    std::fs::write(place.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    std::fs::remove_file(place.path().join("tokenizer_config.json")).unwrap();
    let mut folder = ModelFolder::open(place.path()).unwrap();
    folder.prompts = vec![("good".to_owned(), "word ".to_owned()), ("bad".into(), "q ".into())];
    // Only then are the prompt's tokens counted.
    let Module::Pooling(pooling) = &mut folder.modules[0] else { panic!("pooling comes first") };
    pooling.include_prompt = false;
    let load = move || MultiTaskModel::from_folder(folder.clone(), &LoadOptions::default());
    let engine = Engine::start(load, EngineSettings::default()).unwrap();
    let ask = async |prompt: &str, text: &str| {
        let request = with(EngineRequest::texts([text]), |options| {
            options.prompt = Prompt::Named(prompt.to_owned());
            options.vectors = Some(Vectors::default());
        });
        engine.answer(request).await.map(|_| ())
    };
    assert_eq!(ask("good", "world").await, Ok(()));
    let error = ask("bad", "world").await.unwrap_err();
    assert!(matches!(error, RequestError::Prompt(_)), "{error:?}");
    assert!(error.to_string().starts_with("prompt: "), "{error}");
    let error = ask("good", "q").await.unwrap_err();
    assert!(matches!(error, RequestError::Text { index: 0, .. }), "{error:?}");
}
