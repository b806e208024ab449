//! Pairs of texts: which heads answer them, and which text of a long pair is cut.

use polyhead_model::{ErrorKind, MultiTaskModel, OnTruncate, PairForm, Provenance, RequestOptions};
use polyhead_text::{TextInput, Truncation};

use crate::{head, model, with_heads};

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
    let expected = "tasks: expected tasks that were trained on pairs cut alike, found `topic` \
                    (longest) and `urgency` (second); ask for one of them, or choose the rule";
    assert_eq!((error.kind(), error.message()), (ErrorKind::Option, expected));
    let on_truncate = OnTruncate::CutPairs(Truncation::Second);
    let options = RequestOptions { on_truncate, ..of(&["topic", "urgency"]) };
    assert!(differ.predict_inputs(&pairs[..1], &options).is_ok());
}
