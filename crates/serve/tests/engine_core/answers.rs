//! The same bits alone, together, and under load.

use polyhead_model::{EncodeOptions, PredictOptions};
use polyhead_serve::{Answer, Ask, AskError, AskText, EngineSettings, Lane, Prompt, Vectors};

use std::time::Duration;

use crate::{ask, assert_idle, occupy, start, texts, until, with_faults};

fn tasks(names: &[&str]) -> Option<Vec<String>> {
    Some(names.iter().map(|name| (*name).to_owned()).collect())
}

/// Ways to ask about texts.
fn asks(texts: &[String]) -> Vec<Ask> {
    let all = Ask::texts(texts.to_vec());
    vec![
        Ask { vectors: Some(Vectors::default()), ..all.clone() },
        Ask { tasks: tasks(&["topic", "entities"]), lane: Lane::Bulk, ..all.clone() },
        Ask {
            tasks: tasks(&[]),
            vectors: Some(Vectors { normalize: Some(true), dim: Some(7), per_token: false }),
            ..all.clone()
        },
        Ask {
            tasks: tasks(&["moods"]),
            vectors: Some(Vectors { per_token: true, ..Vectors::default() }),
            prompt: Prompt::Text("the leaves: ".to_owned()),
            ..all
        },
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
    // Several times, so that they meet in ever other batches.
    let running: Vec<_> = (0..5)
        .flat_map(|_| parts.iter().flat_map(|part| asks(part)))
        .map(|wanted| (wanted.clone(), ask(&engine, wanted)))
        .collect();
    for (wanted, asked) in running {
        let answers = asked.await.unwrap().unwrap();
        assert_eq!(answers.texts.len(), wanted.texts.len());
        for (text, found) in wanted.texts.iter().zip(&answers.texts) {
            let AskText::Text(text) = text else { unreachable!() };
            let options = PredictOptions {
                tasks: wanted.tasks.clone(),
                prompt: wanted.prompt.clone(),
                ..PredictOptions::default()
            };
            let alone = model.predict_with(&[text], &options).unwrap();
            assert_eq!(found.tokens, alone.texts[0]);
            let names: Vec<&str> = answers.tasks().map(|task| task.name.as_str()).collect();
            let expected: Vec<&str> = alone.tasks.iter().map(|task| task.name.as_str()).collect();
            assert_eq!(names, expected);
            assert_eq!(found.tasks.len(), expected.len());
            for (found, alone) in found.tasks.iter().zip(&alone.tasks) {
                assert_eq!(
                    (&found.logits, &found.probabilities),
                    (&alone.logits, &alone.probabilities)
                );
            }
            let vectors = wanted.vectors.unwrap_or_default();
            let options = EncodeOptions {
                normalize: vectors.normalize,
                dim: vectors.dim,
                prompt: wanted.prompt.clone(),
                ..EncodeOptions::default()
            };
            if let Some(vector) = &found.vector {
                let alone = model.encoder().encode_with(&[text], &options).unwrap();
                assert_eq!(vector, alone.embeddings.row(0));
            }
            if let Some(vectors) = &found.token_vectors {
                let alone = model.encoder().encode_tokens(&[text], &options).unwrap();
                assert_eq!(vectors, &alone.vectors);
            }
            let wants_one = wanted.vectors.is_some() && !vectors.per_token;
            assert_eq!(found.vector.is_some(), wants_one);
            assert_eq!(found.token_vectors.is_some(), vectors.per_token);
        }
    }
    let counters = engine.counters();
    assert_eq!(counters.answered_texts, 5 * 4 * 64);
    assert_eq!(counters.admitted_texts, 5 * 4 * 64);
    let topic = &counters.task_texts[0];
    assert_eq!((topic.0.as_str(), topic.1), ("topic", 5 * 2 * 64));
    assert_idle(&engine);
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_ask_other_heads_share_a_batch() {
    let engine = start(with_faults());
    let busy = occupy(&engine, 300).await;
    let batches = engine.counters().batch_texts.count();
    let alike = vec!["the train leaves".to_owned(); 3];
    let asked: Vec<_> = asks(&alike)
        .into_iter()
        .map(|wanted| ask(&engine, Ask { lane: Lane::Interactive, ..wanted }))
        .collect();
    for asked in asked {
        asked.await.unwrap().unwrap();
    }
    busy.await.unwrap().unwrap();
    let counters = engine.counters();
    // The one that slept, and one with all others.
    assert_eq!(counters.batch_texts.count() - batches, 2);
    assert_eq!(counters.batch_texts.sum, 13.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn short_texts_are_answered_between_the_layers_of_a_long_one() {
    let engine = start(with_faults());
    let long = ask(&engine, Ask::texts([format!("sleep 200 {}", "the ".repeat(100))]));
    until(|| engine.counters().running_tokens > 0).await;
    // In one gap or several; what is wrong with one of them is not the long one's trouble.
    let bad = ask(&engine, Ask::texts(["panic a"]));
    let short = ask(&engine, Ask::texts(["sleep 100"]));
    long.await.unwrap().unwrap();
    let begun = std::time::Instant::now();
    short.await.unwrap().unwrap();
    // Not after the long one, for then its sleep would be.
    assert!(begun.elapsed() < Duration::from_millis(80), "{:?}", begun.elapsed());
    assert!(matches!(bad.await.unwrap(), Err(AskError::Failed { index: 0 })));
    assert_idle(&engine);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_and_errors() {
    let engine = start(EngineSettings::default());
    let text = "the train leaves";
    let batch = engine.model().encoder().tokenize(&[text], &EncodeOptions::default()).unwrap();
    let ids = batch.ids[1..batch.ids.len() - 1].to_vec();
    let by_ids = Ask {
        texts: vec![AskText::Ids(ids), AskText::Text(text.to_owned())],
        tasks: tasks(&["topic"]),
        ..Ask::default()
    };
    let answers = engine.ask(by_ids.clone()).await.unwrap();
    assert_eq!(answers.texts[0], answers.texts[1]);
    assert!(matches!(answers.texts[0].tasks[0].answer, Answer::Classification(_)));

    let long = "the ".repeat(500);
    let limit = engine.model().encoder().max_length();
    let strict = |ask: Ask| Ask { on_truncate: polyhead_serve::OnTruncate::Error, ..ask };
    let cases = [
        (Ask::default(), AskError::Empty),
        (
            Ask { tasks: tasks(&["tpoic"]), ..Ask::texts([text]) },
            AskError::UnknownTask {
                task: "tpoic".to_owned(),
                known: tasks(&["topic", "moods", "urgency", "entities"]).unwrap(),
            },
        ),
        (strict(Ask::texts([text, &long])), AskError::TooLong { index: 1, tokens: 502, limit }),
        (
            Ask {
                vectors: Some(Vectors { dim: Some(0), ..Vectors::default() }),
                ..Ask::texts([text])
            },
            AskError::Option { message: "dimension: expected 1 to 24, found 0".to_owned() },
        ),
        (
            Ask { texts: vec![AskText::Ids(vec![5, 1 << 31])], ..by_ids },
            AskError::Text {
                index: 0,
                message: "token ids: expected 0 to 119, found 2147483648".to_owned(),
            },
        ),
    ];
    for (ask, expected) in cases {
        let found = engine.ask(ask).await.map(|_| ()).unwrap_err();
        match (&found, &expected) {
            // The sizes of the model do not matter.
            (AskError::Option { .. }, AskError::Option { .. })
            | (AskError::Text { .. }, AskError::Text { .. }) => {
                let shape =
                    |error: &AskError| error.to_string().replace(|c: char| c.is_ascii_digit(), "");
                assert_eq!(shape(&found), shape(&expected));
            }
            _ => assert_eq!(found, expected),
        }
    }
    let cut = engine.ask(Ask::texts([long])).await.unwrap();
    assert!(cut.texts[0].tokens.truncated());
    assert_eq!(engine.counters().truncated_texts, 1);
    assert_eq!((engine.counters().refused.unfit, engine.counters().refused.too_long), (4, 1));
    assert_idle(&engine);
}
