//! Pairs of texts: which heads answer them, and which text of a long pair is cut.

use polyhead_model::{
    Answer, EncodeOptions, ErrorKind, HeadInput, HeadSpec, HeadWeights, ModelFolder,
    MultiTaskModel, NumberRange, OnTruncate, PairForm, PreparedText, Provenance, RequestOptions,
    TaskKind, TextAnswer, Vectors, cosine, pair_tasks,
};
use polyhead_text::{TextInput, Truncation};

use crate::{head, model, texts, with_heads};

/// A model of a version that records pairs; `topic` and `urgency` read them.
fn with_pairs(version: &str, cut: [Truncation; 2]) -> MultiTaskModel {
    let mut folder = with_heads("tiny-bert");
    folder.provenance =
        Some(Provenance { polyhead_version: version.into(), step: 1, ..Default::default() });
    head(&mut folder, "topic").spec.pair = Some(PairForm::Joint(cut[0]));
    head(&mut folder, "urgency").spec.pair = Some(PairForm::Joint(cut[1]));
    model(folder, 1)
}

fn of(tasks: &[&str]) -> RequestOptions {
    let tasks = Some(tasks.iter().map(|name| (*name).to_owned()).collect());
    RequestOptions { tasks, ..RequestOptions::default() }
}

#[test]
fn a_head_answers_what_it_was_trained_on() {
    let (one, pair) = (TextInput::One("the train"), TextInput::Pair("the train", "leaves"));
    let both = [Truncation::Longest; 2];
    let wants_pair =
        "task `topic`: expected a pair of texts, as it was trained on pairs, found one text";
    let wants_one =
        "task `moods`: expected one text, as it was trained on single texts, found a pair of texts";
    for (version, tasks, input, expected) in [
        ("0.7.0", &["topic"][..], &pair, None),
        ("0.7.0", &["topic"], &one, Some(wants_pair)),
        ("0.7.0", &["moods"], &pair, Some(wants_one)),
        ("0.7.0", &["moods"], &one, None),
        ("1.0.0", &["moods"], &pair, Some(wants_one)),
        ("0.10.1", &["moods"], &pair, Some(wants_one)),
        // These versions did not say what a head was trained on.
        ("0.6.0", &["moods"], &pair, None),
        ("", &["moods"], &pair, None),
        ("0.6.0", &["topic"], &one, Some(wants_pair)),
    ] {
        let model = with_pairs(version, both);
        let found = model.predict_inputs(std::slice::from_ref(input), &of(tasks));
        let found =
            found.err().map(|error| (error.kind(), error.text(), error.message().to_owned()));
        let expected = expected.map(|message| (ErrorKind::Text, Some(0), message.to_owned()));
        assert_eq!(found, expected, "{version} {tasks:?} {input:?}");
    }
    // Words are one text.
    let model = with_pairs("0.7.0", both);
    let words = TextInput::Words(vec!["the", "train"]);
    let error = model.predict_inputs(&[pair, words], &of(&["topic"])).unwrap_err();
    assert_eq!(error.text(), Some(1));
    let error = model.predict_inputs(&[one], &of(&["topic", "moods"])).unwrap_err();
    let expected = format!("{wants_pair}; tasks that read one text: moods");
    assert_eq!(error.message(), expected);
}

#[test]
fn pairs_are_cut_as_the_head_was_trained_or_as_asked() {
    let long = "the train leaves ".repeat(40);
    let pairs = [TextInput::Pair("the train", &*long), TextInput::Pair(&*long, "leaves now")];
    let logits = |cut: Truncation, on_truncate: OnTruncate, pair: usize| {
        let model = with_pairs("0.7.0", [cut; 2]);
        let options = RequestOptions { on_truncate, ..of(&["topic"]) };
        let found = model.predict_inputs(&pairs[pair..=pair], &options);
        found.map(|found| found.texts[0].tasks[0].logits.clone())
    };
    for rule in Truncation::ALL {
        for pair in [0, 1] {
            let trained = logits(rule, OnTruncate::Cut, pair);
            let asked = logits(Truncation::Longest, OnTruncate::CutPairs(rule), pair);
            match (trained, asked) {
                (Ok(trained), Ok(asked)) => assert_eq!(trained, asked, "{rule} {pair}"),
                (Err(trained), Err(asked)) => {
                    assert_eq!((trained.kind(), trained.text()), (ErrorKind::Text, Some(0)));
                    assert_eq!(trained.message(), asked.message());
                    let side = if pair == 0 { "second" } else { "first" };
                    let expected = format!("expected a {side} text of at most ");
                    assert!(trained.message().starts_with(&expected), "{trained}");
                }
                (trained, asked) => panic!("{rule} {pair}: {trained:?} {asked:?}"),
            }
        }
    }
    let error = logits(Truncation::Second, OnTruncate::Error, 0).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TooLong { .. }), "{error}");

    let differ = with_pairs("0.7.0", [Truncation::Longest, Truncation::Second]);
    let error = differ.predict_inputs(&pairs[..1], &of(&["topic", "urgency"])).unwrap_err();
    let expected = "tasks: expected tasks that cut pairs by the same rule, found `topic` \
                    (longest) and `urgency` (second); ask for one of them, or choose the rule";
    assert_eq!((error.kind(), error.message()), (ErrorKind::Option, expected));
    let on_truncate = OnTruncate::CutPairs(Truncation::Second);
    let options = RequestOptions { on_truncate, ..of(&["topic", "urgency"]) };
    assert!(differ.predict_inputs(&pairs[..1], &options).is_ok());
}

/// A folder whose `urgency` reads two sentence vectors and their product, `topic` two pooled vectors,
/// and `moods` both texts together; `closeness` compares two sentence vectors, on a scale from 1 to 5.
fn with_separate() -> ModelFolder {
    let mut folder = with_heads("st6-dense");
    folder.provenance =
        Some(Provenance { polyhead_version: "0.8.0".into(), step: 1, ..Default::default() });
    let dims = folder.head_dims();
    for (name, form) in [
        ("urgency", PairForm::Separate { product: true }),
        ("topic", PairForm::Separate { product: false }),
        ("moods", PairForm::Joint(Truncation::Longest)),
    ] {
        let head = head(&mut folder, name);
        let mut spec = head.spec.clone();
        spec.pair = Some(form);
        *head = HeadWeights { mix: head.mix.clone(), ..HeadWeights::random(spec, &dims, 7) };
    }
    let spec = HeadSpec {
        input: HeadInput::Embedding,
        range: Some(NumberRange::new(1.0, 5.0).unwrap()),
        ..HeadSpec::new("closeness", TaskKind::Similarity, &[])
    };
    folder.heads.push(HeadWeights::random(spec, &dims, 7));
    folder
}

const READ_PAIRS: [&str; 4] = ["topic", "moods", "urgency", "closeness"];

/// Bits of all numbers of an answer.
fn bits(answer: &TextAnswer) -> Vec<u32> {
    let logits = answer.tasks.iter().flat_map(|task| task.logits.as_slice());
    logits.chain(answer.vector.iter().flatten()).map(|x| x.to_bits()).collect()
}

#[test]
fn a_head_reads_the_vectors_of_both_texts() {
    let mut folder = with_separate();
    let weights = head(&mut folder, "urgency").clone();
    let model = model(folder, 2);
    let found =
        model.predict_inputs(&[TextInput::Pair("the train", "leaves")], &of(&["urgency"])).unwrap();
    let encoded =
        model.encoder().encode_with(&["the train", "leaves"], &EncodeOptions::default()).unwrap();
    let vectors = encoded.embeddings;
    let (u, v) = (vectors.row(0), vectors.row(1));
    let both = || u.iter().zip(v).map(|(u, v)| (f64::from(*u), f64::from(*v)));
    let features: Vec<f64> = both()
        .map(|(u, _)| u)
        .chain(both().map(|(_, v)| v))
        .chain(both().map(|(u, v)| (u - v).abs()))
        .chain(both().map(|(u, v)| u * v))
        .collect();
    let (weight, bias) = &weights.output;
    assert_eq!(weight.len(), features.len());
    let products = weight.iter().zip(&features).map(|(w, x)| f64::from(*w) * x);
    let expected = products.sum::<f64>() + f64::from(bias[0]);
    let logit = f64::from(found.texts[0].tasks[0].logits.as_slice()[0]);
    // A sum of 96 products below 0.1, in single precision.
    assert!((logit - expected).abs() < 1e-6, "{logit} and {expected}");

    // Each text has its own special tokens, and is cut by itself.
    let tokens = |text: &str| model.predict_with(&[text], &of(&[])).unwrap().texts[0].tokens;
    let long = "the train leaves ".repeat(40);
    for second in ["leaves", &*long] {
        let pair = [TextInput::Pair("the train", second)];
        for on_truncate in [OnTruncate::Cut, OnTruncate::CutPairs(Truncation::First)] {
            let options = RequestOptions { on_truncate, ..of(&["urgency", "topic"]) };
            let found = model.predict_inputs(&pair, &options).unwrap().texts[0].tokens;
            let (first, second) = (tokens("the train"), tokens(second));
            let sums = (first.total + second.total, first.kept + second.kept);
            assert_eq!((found.total, found.kept), sums);
        }
        let options = RequestOptions { on_truncate: OnTruncate::Error, ..of(&["urgency"]) };
        let pairs = [TextInput::Pair("the", "train"), pair[0].clone()];
        let error = model.predict_inputs(&pairs, &options).err();
        assert_eq!(error.map(|error| error.text()), (second == long).then_some(Some(1)));
    }
}

#[test]
fn a_comparison_answers_with_the_cosine_in_its_range() {
    let mut folder = with_separate();
    let mut search = head(&mut folder, "closeness").clone();
    search.spec = HeadSpec {
        range: None,
        ..HeadSpec { name: "search".into(), kind: TaskKind::Retrieval, ..search.spec }
    };
    folder.heads.push(search);
    let model = model(folder, 2);
    let pairs = [
        TextInput::Pair("the train", "leaves"),
        TextInput::Pair("the train", "the train"),
        TextInput::Pair("", "a"),
    ];
    let found = model.predict_inputs(&pairs, &of(&["closeness", "search"])).unwrap();
    for (pair, found) in pairs.iter().zip(&found.texts) {
        let sides = [pair.text().into_owned(), pair.second().unwrap().to_string()];
        let vectors = model.encoder().encode_with(&sides, &EncodeOptions::default()).unwrap();
        let expected = cosine(vectors.embeddings.row(0), vectors.embeddings.row(1)) as f32;
        let [closeness, search] = &found.tasks[..] else { panic!("two tasks") };
        for task in [closeness, search] {
            assert_eq!(
                (task.logits.as_slice(), task.probabilities.columns()),
                (&[expected][..], 0)
            );
        }
        let score = (1.0 + 4.0 * expected).clamp(1.0, 5.0);
        assert_eq!(closeness.answer, Answer::Regression(score));
        assert_eq!(search.answer, Answer::Regression(expected));
    }
    let of_equal = &found.texts[1].tasks;
    assert!((of_equal[1].logits.as_slice()[0] - 1.0).abs() < 1e-6);

    // They are asked by name, or with all others that answer pairs.
    let unnamed = RequestOptions::default();
    assert!(model.tasks().all(|task| unnamed.asks(task) != task.kind.compares()));
    assert_eq!(pair_tasks(model.tasks()), None, "`grade` answers single texts");
    let of_pairs = pair_tasks(model.tasks().filter(|task| task.reads_pairs())).unwrap();
    let known: Vec<&String> = model.tasks().map(|task| &task.name).collect();
    let named = |name: &&String| READ_PAIRS.contains(&name.as_str()) || *name == "search";
    assert!(known.into_iter().filter(named).eq(&of_pairs), "{of_pairs:?}");
    assert_eq!(pair_tasks(model.tasks().take(0)), None);
    let error = model.predict_inputs(&[TextInput::One("a")], &of(&["closeness"])).unwrap_err();
    let expected =
        "task `closeness`: expected a pair of texts, as it was trained on pairs, found one text";
    assert_eq!(error.message(), expected);
}

#[test]
fn pairs_have_the_same_answers_in_any_company() {
    let all = texts(60);
    // Some texts stand in many pairs, on both sides.
    let pairs: Vec<TextInput<&str>> = (0..60)
        .map(|i| TextInput::Pair(&*all[if i % 3 == 0 { 5 } else { i }], &*all[(i * 7) % 60]))
        .collect();
    let vectors = Some(Vectors::default());
    let requests: Vec<RequestOptions> =
        [&READ_PAIRS[..], &["topic"], &["urgency", "moods", "closeness"], &["closeness"]]
            .into_iter()
            .flat_map(|tasks| [of(tasks), RequestOptions { vectors, ..of(tasks) }])
            .collect();
    let one = model(with_separate(), 1);
    let alone: Vec<Vec<Vec<u32>>> = requests
        .iter()
        .map(|request| {
            let answer = |pair| one.predict_inputs(std::slice::from_ref(pair), request).unwrap();
            pairs.iter().map(|pair| bits(&answer(pair).texts[0])).collect()
        })
        .collect();
    let of_topic = |request: usize, row: usize| &alone[request][row][..3];
    for row in 0..pairs.len() {
        assert_eq!(of_topic(0, row), of_topic(2, row), "whatever else is asked");
        assert_eq!(of_topic(0, row), of_topic(3, row), "whatever else is asked");
    }
    for threads in [1, 3] {
        let model = model(with_separate(), threads);
        for (request, expected) in requests.iter().zip(&alone) {
            let found = model.predict_inputs(&pairs, request).unwrap();
            let found: Vec<_> = found.texts.iter().map(bits).collect();
            assert!(found == *expected, "{threads} threads, {:?}", request.tasks);
        }
        // Of many callers, some with single texts.
        let single = model.resolve_request(&RequestOptions { vectors, ..of(&["grade"]) }).unwrap();
        let resolved: Vec<_> =
            requests.iter().map(|request| model.resolve_request(request).unwrap()).collect();
        let which = |row: usize| if row % 7 == 6 { &single } else { &resolved[row % 8] };
        let prepared: Vec<PreparedText> = pairs
            .iter()
            .enumerate()
            .map(|(row, pair)| match row % 7 {
                6 => model.prepare(&single, &TextInput::One(pair.text())),
                _ => model.prepare(which(row), pair),
            })
            .map(Result::unwrap)
            .collect();
        let asked: Vec<_> =
            prepared.iter().enumerate().map(|(row, text)| (which(row), text)).collect();
        let found = model.answer(&asked);
        for (row, found) in found.into_iter().enumerate().filter(|(row, _)| row % 7 != 6) {
            assert_eq!(bits(&found.unwrap()), alone[row % 8][row], "{threads} threads, {row}");
        }
    }
    let request = one.resolve_request(&of(&["urgency"])).unwrap();
    let error = one.prepare_ids(&request, &[7, 8]).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Option);
    let error = one.predict_inputs(&[TextInput::One("a")], &of(&["urgency"])).unwrap_err();
    let expected =
        "task `urgency`: expected a pair of texts, as it was trained on pairs, found one text";
    assert_eq!(error.message(), expected);
}
