//! Options, errors and streams.

use polyhead_model::{
    Answer, Error, ErrorKind, LoadOptions, MultiTaskModel, OnTruncate, PoolingMode, RequestOptions,
    Vectors,
};

use polyhead_text::TextInput;

use crate::{folder, head, model, texts, with_heads};

fn options() -> RequestOptions {
    RequestOptions::default()
}

#[test]
fn tasks_are_answered_in_the_order_of_the_model() {
    let model = model(with_heads("tiny-bert"), 1);
    let names: Vec<&str> = model.tasks().map(|spec| spec.name.as_str()).collect();
    assert_eq!(names, ["topic", "moods", "urgency", "entities", "grade"]);
    let tasks = Some(vec!["urgency".to_owned(), "topic".to_owned(), "urgency".to_owned()]);
    let found = model.predict_with(&["a train"], &RequestOptions { tasks, ..options() }).unwrap();
    let names: Vec<&str> = found.tasks.iter().map(|task| task.name.as_str()).collect();
    assert_eq!(names, ["topic", "urgency"]);
    let task = &found.texts[0].tasks[1];
    let Answer::Regression(number) = &task.answer else { panic!() };
    assert_eq!((&[*number][..], task.task), (task.logits.as_slice(), 2));
    let tasks = Some(vec![]);
    let found = model.predict_with(&["a train"], &RequestOptions { tasks, ..options() }).unwrap();
    assert!(found.tasks.is_empty());
}

#[test]
fn a_model_without_heads_gives_vectors() {
    let model = model(folder("st3-dense"), 1);
    let options = RequestOptions { vectors: Some(Vectors::default()), ..options() };
    let found = model.predict_with(&["the train", "42"], &options).unwrap();
    assert!(found.tasks.is_empty());
    assert_eq!(found.vectors().unwrap(), model.encoder().encode(&["the train", "42"]).unwrap());
}

#[test]
fn improbable_answers_are_withheld() {
    let model = model(with_heads("tiny-bert"), 1);
    for (abstain, withheld) in [(None, false), (Some(0.0), false), (Some(0.99), true)] {
        let options = RequestOptions { abstain, ..options() };
        let found = model.predict_with(&["the train"], &options).unwrap();
        let task = &found.texts[0].tasks[0];
        let Answer::Classification(answer) = &task.answer else { panic!() };
        assert_eq!((answer.abstained, answer.label().is_none()), (withheld, withheld));
        let sum: f32 = task.probabilities.row(0).iter().sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let model = model(with_heads("tiny-bert"), 1);
    let long = "the ".repeat(80);
    let cases = [
        (
            RequestOptions { tasks: Some(vec!["colour".into()]), ..options() },
            ErrorKind::UnknownTask,
            "task `colour`: the model has no such task (it has: topic, moods, urgency, entities, grade)",
            None,
        ),
        (
            RequestOptions { abstain: Some(1.5), ..options() },
            ErrorKind::Option,
            "abstain: expected 0 to 1, found 1.5",
            None,
        ),
        (
            RequestOptions { abstain: Some(f32::NAN), ..options() },
            ErrorKind::Option,
            "abstain: expected 0 to 1, found NaN",
            None,
        ),
        (
            RequestOptions { on_truncate: OnTruncate::Error, ..options() },
            ErrorKind::TooLong { tokens: 82, limit: 64 },
            "text 2: expected at most 64 tokens, found 82",
            Some(1),
        ),
    ];
    for (options, kind, message, text) in cases {
        let error = model.predict_with(&["short", &long], &options).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert_eq!((error.kind(), error.text()), (kind, text), "{message}");
    }
}

#[test]
fn another_pooling_is_refused_where_a_head_reads_the_vector() {
    let mut folder = with_heads("tiny-bert");
    let load = LoadOptions::default().threads(1).pooling(vec![PoolingMode::Cls]);
    let error = MultiTaskModel::from_folder(folder.clone(), &load).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Option);
    assert!(error.to_string().contains("head `urgency` was trained"), "{error}");
    folder.heads.retain(|head| head.spec.name != "urgency");
    // The other heads have a pooling of their own.
    let other = MultiTaskModel::from_folder(folder.clone(), &load).unwrap();
    let texts = texts(3);
    let (found, expected) =
        (other.predict(&texts).unwrap(), model(folder, 1).predict(&texts).unwrap());
    for (found, expected) in found.texts.iter().zip(&expected.texts) {
        assert_eq!(found.tasks, expected.tasks);
    }
    assert_ne!(found.vectors(), expected.vectors());
}

#[test]
fn logits_that_are_not_finite_name_the_text() {
    for name in ["topic", "moods", "urgency", "entities", "grade"] {
        let mut folder = with_heads("tiny-bert");
        let head = head(&mut folder, name);
        // Whatever is read, a sum of such products overflows.
        head.output.0.fill(f32::MAX);
        head.output.1.fill(f32::MAX);
        if let Some(hidden) = &mut head.hidden {
            hidden.weight.fill(0.0);
            hidden.bias.as_mut().unwrap().fill(10.0);
        }
        let tasks = Some(vec![name.to_owned()]);
        let texts = ["", "  ", "the train"];
        let options = RequestOptions { tasks, ..options() };
        let error = model(folder, 1).predict_with(&texts, &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFinite, "{error}");
        let expected = format!("the logits of task `{name}` hold");
        assert!(error.to_string().contains(&expected), "{error}");
        // Texts without words have no tag that could be damaged.
        assert_eq!(error.text(), Some(if name == "entities" { 2 } else { 0 }), "{error}");
    }
}

#[test]
fn chunks_come_in_order_and_errors_count_from_the_first_text() {
    let model = model(with_heads("tiny-bert"), 2);
    let texts = texts(23);
    let all = model.predict(&texts).unwrap();
    let owned: Vec<Vec<String>> = texts.chunks(5).map(<[String]>::to_vec).collect();
    let chunks = || owned.clone().into_iter().map(Ok::<_, Error>);
    let mut before = 0;
    model
        .predict_stream(
            chunks(),
            |chunk| chunk.iter().map(|text| TextInput::One(text.as_str())).collect(),
            &options(),
            |chunk, part| {
                assert_eq!(chunk, texts[before..before + chunk.len()]);
                for (found, all) in part.texts.iter().zip(&all.texts[before..]) {
                    assert_eq!(found.tasks, all.tasks);
                }
                before += chunk.len();
                Ok(())
            },
        )
        .unwrap();
    assert_eq!(before, texts.len());

    let long = "the ".repeat(80);
    let chunks = chunks().chain(std::iter::once(Ok(vec!["a".to_owned(), long])));
    let options = RequestOptions { on_truncate: OnTruncate::Error, ..options() };
    let short: Vec<usize> = all
        .texts
        .iter()
        .enumerate()
        .filter(|(_, t)| t.tokens.truncated())
        .map(|(i, _)| i)
        .collect();
    let expected = short.first().copied().unwrap_or(texts.len() + 1);
    let error = model
        .predict_stream(
            chunks,
            |chunk| chunk.iter().map(|text| TextInput::One(text.as_str())).collect(),
            &options,
            |_, _| Ok(()),
        )
        .unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TooLong { .. }), "{error}");
    assert_eq!(error.text(), Some(expected));
}
