//! Texts of many callers in one batch: each caller gets the same answers as alone.

use polyhead_model::{
    BatchAnswers, EncodeOptions, MultiTaskModel, PreparedText, Prompt, RequestOptions,
    ResolvedRequest, TextAnswer, Vectors,
};

use polyhead_text::TextInput;

use crate::{head, model, texts, with_heads};

fn wants() -> Vec<RequestOptions> {
    let tasks = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    let vectors = |normalize, dim| Some(Vectors { normalize, dim, per_token: false });
    let prompt = Prompt::Text("the train: ".to_owned());
    vec![
        RequestOptions { vectors: vectors(None, None), ..RequestOptions::default() },
        RequestOptions { tasks: tasks(&["entities"]), ..RequestOptions::default() },
        RequestOptions { tasks: tasks(&["urgency"]), prompt, ..RequestOptions::default() },
        RequestOptions {
            tasks: tasks(&["moods", "topic"]),
            vectors: vectors(Some(true), Some(5)),
            ..RequestOptions::default()
        },
        RequestOptions {
            tasks: tasks(&["urgency"]),
            vectors: vectors(Some(false), None),
            ..RequestOptions::default()
        },
        RequestOptions {
            tasks: tasks(&[]),
            vectors: Some(Vectors { per_token: true, ..Vectors::default() }),
            ..RequestOptions::default()
        },
    ]
}

/// What the other ways of asking say of the text alone.
fn check(model: &MultiTaskModel, want: &RequestOptions, text: &str, found: &TextAnswer) {
    let predicted = model
        .predict_with(
            &[text],
            &RequestOptions {
                tasks: want.tasks.clone(),
                prompt: want.prompt.clone(),
                ..RequestOptions::default()
            },
        )
        .unwrap();
    assert_eq!(found.tokens, predicted.texts[0].tokens);
    assert_eq!(found.tasks, predicted.texts[0].tasks, "{text:?}");
    for (found, expected) in found.tasks.iter().zip(predicted.tasks) {
        assert_eq!(model.tasks().nth(found.task).unwrap(), &expected);
    }
    let wanted = want.vectors.unwrap_or_default();
    let options = EncodeOptions {
        normalize: wanted.normalize,
        dim: wanted.dim,
        prompt: want.prompt.clone(),
        ..EncodeOptions::default()
    };
    let encoder = model.encoder();
    let sentence = want.vectors.is_some() && !wanted.per_token;
    let vector = encoder.encode_with(&[text], &options).unwrap().embeddings.into_vec();
    assert_eq!(found.vector, sentence.then_some(vector), "{text:?}");
    let tokens = encoder.encode_tokens(&[text], &options).unwrap().vectors;
    assert_eq!(found.token_vectors, wanted.per_token.then_some(tokens), "{text:?}");
}

#[test]
fn every_text_is_answered_as_if_it_were_alone() {
    for name in ["tiny-bert", "st6-multi"] {
        let mut folder = with_heads(name);
        head(&mut folder, "topic").spec.pooling.include_prompt = false;
        let model = model(folder, 2);
        let wants = wants();
        let questions: Vec<ResolvedRequest> =
            wants.iter().map(|want| model.resolve_request(want).unwrap()).collect();
        let texts = texts(90);
        let prepared: Vec<PreparedText> = texts
            .iter()
            .enumerate()
            .map(|(i, text)| {
                model.prepare(&questions[i % wants.len()], &TextInput::One(text)).unwrap()
            })
            .collect();
        let mut all: Vec<usize> = (0..texts.len()).collect();
        all.sort_by_key(|i| i * 7919 % 90);
        for batch in [&all[..], &all[..1], &all[1..20], &all[20..]] {
            let asked: Vec<_> =
                batch.iter().map(|i| (&questions[i % wants.len()], &prepared[*i])).collect();
            for (i, found) in batch.iter().zip(model.answer(&asked)) {
                check(&model, &wants[i % wants.len()], &texts[*i], &found.unwrap());
            }
        }
        assert!(model.answer(&[]).is_empty());
    }
}

#[test]
fn ids_are_answered_as_their_text() {
    let model = model(with_heads("tiny-bert"), 2);
    let options = RequestOptions {
        tasks: Some(vec!["topic".to_owned()]),
        vectors: Some(Vectors::default()),
        prompt: Prompt::None,
        ..RequestOptions::default()
    };
    let request = model.resolve_request(&options).unwrap();
    for text in texts(50) {
        let batch = model.encoder().tokenize(&[&text], &EncodeOptions::default()).unwrap();
        // Of a text that is cut, the tokens that are left.
        let ids = &batch.ids[1..batch.ids.len() - 1];
        let from_ids = model.prepare_ids(&request, ids).unwrap();
        let found = model.answer(&[(&request, &from_ids)]).remove(0).unwrap();
        let from_text = model.prepare(&request, &TextInput::One(&*text)).unwrap();
        let expected = model.answer(&[(&request, &from_text)]).remove(0).unwrap();
        assert_eq!(
            (found.tasks, found.vector, found.tokens.kept),
            (expected.tasks, expected.vector, expected.tokens.kept)
        );
    }
    let long = model.prepare_ids(&request, &vec![5; 10_000]).unwrap().tokens();
    assert_eq!((long.total, long.kept), (10_002, model.encoder().max_length()));
    let none = model.prepare_ids(&request, &[]).unwrap().tokens();
    assert_eq!(none.total, 2);
    let foreign = model.prepare_ids(&request, &[u32::MAX]).err().unwrap().to_string();
    assert!(foreign.contains("found 4294967295"), "{foreign}");
    let all = model.resolve_request(&RequestOptions::default()).unwrap();
    assert!(model.prepare_ids(&all, &[5]).is_err(), "words of ids are not known");
    let prompt = Prompt::Text("a".to_owned());
    let prompted = RequestOptions { prompt, ..options };
    assert!(model.prepare_ids(&model.resolve_request(&prompted).unwrap(), &[5]).is_err());
}

#[test]
fn a_damaged_head_spoils_only_who_asks_it() {
    let mut folder = with_heads("tiny-bert");
    head(&mut folder, "moods").output.1[1] = f32::NAN;
    let model = model(folder, 2);
    let ask = |task: &str| {
        let options =
            RequestOptions { tasks: Some(vec![task.to_owned()]), ..RequestOptions::default() };
        model.resolve_request(&options).unwrap()
    };
    let (topic, moods) = (ask("topic"), ask("moods"));
    let text = |request| model.prepare(request, &TextInput::One("the train")).unwrap();
    let (first, second) = (text(&topic), text(&moods));
    let found = model.answer(&[(&topic, &first), (&moods, &second), (&topic, &first)]);
    let wrong: Vec<Option<String>> =
        found.into_iter().map(|answer| answer.err().and_then(|wrong| wrong.task)).collect();
    assert_eq!(wrong, [None, Some("moods".to_owned()), None]);
}

#[test]
fn short_texts_in_the_gaps_of_a_long_one() {
    let model = model(with_heads("tiny-bert"), 2);
    let request = model
        .resolve_request(&RequestOptions {
            vectors: Some(Vectors::default()),
            ..RequestOptions::default()
        })
        .unwrap();
    let prepare = |text: &str| model.prepare(&request, &TextInput::One(text)).unwrap();
    let (long, short) = (prepare(&"the train ".repeat(40)), prepare("the naïve train"));
    let expected = model.answer(&[(&request, &long)]);
    let alone = model.answer(&[(&request, &short), (&request, &long)]);
    let mut gaps = 0;
    let found = model.answer_preemptible(&[(&request, &long)], &mut |gap| {
        gaps += 1;
        let answered = gap.answer(&[(&request, &short), (&request, &long)]);
        assert_eq!(answered.texts, alone);
        let timed: Vec<usize> = answered.head_times.iter().map(|(task, _)| *task).collect();
        assert_eq!(timed, request.tasks());
        assert_eq!(gap.answer(&[]), BatchAnswers::default());
    });
    assert_eq!(found.texts, expected);
    assert_eq!(found.head_times.len(), request.tasks().len());
    assert_eq!(gaps, model.encoder().config().layers);
}
