//! Words, spans and their offsets.

use polyhead_model::{Answer, MultiTaskModel, Prompt, RequestOptions, TaggedText, Vectors};
use polyhead_text::{LearnedSplit, TextInput, WordSplit};

use crate::{head, model, texts, with_heads};

fn tagged(model: &MultiTaskModel, input: TextInput<&str>, options: &RequestOptions) -> TaggedText {
    let mut found = model.predict_inputs(&[input], options).unwrap();
    let task = found.tasks.iter().position(|task| task.name == "entities").unwrap();
    let Answer::Tokens(tagged) = found.texts.remove(0).tasks.remove(task).answer else { panic!() };
    tagged
}

#[test]
fn offsets_are_characters_of_the_text_that_was_given() {
    let text = "naïve  東京 leaves,the\ttrain";
    let expected = ["naïve", "東", "京", "leaves", ",", "the", "train"];
    for (name, prompt) in [
        ("tiny-bert", Prompt::None),
        ("tiny-bert", Prompt::Text("a Prompt: ".into())),
        ("st6-multi", Prompt::Default),
    ] {
        let mut folder = with_heads(name);
        // Everything is a `B-x`: every word a span.
        head(&mut folder, "entities").output.1 = vec![0.0, 1e3, 0.0];
        let model = model(folder, 1);
        let options = RequestOptions { prompt, ..RequestOptions::default() };
        let found = tagged(&model, TextInput::One(text), &options);
        let spans: Vec<&str> = found.spans.iter().map(|span| span.text.as_str()).collect();
        assert_eq!(spans, expected, "{name}");
        for (span, word) in found.spans.iter().zip(&found.words) {
            assert_eq!((span.start, span.end), (word.start, word.end));
            assert_eq!((span.label.as_str(), span.score), ("x", 1.0));
            let inside: String =
                text.chars().skip(span.start).take(span.end - span.start).collect();
            assert_eq!(inside, span.text);
        }
    }
}

#[test]
fn spans_of_several_words_have_the_text_between() {
    let mut folder = with_heads("tiny-bert");
    head(&mut folder, "entities").output.1 = vec![0.0, 0.0, 1e3];
    let model = model(folder, 1);
    let found = tagged(&model, TextInput::One("the  train, 東京"), &RequestOptions::default());
    let [span] = &found.spans[..] else { panic!("{:?}", found.spans) };
    assert_eq!((span.start, span.end, span.text.as_str()), (0, 14, "the  train, 東京"));
    assert_eq!((span.first_word, span.last_word), (0, 4));
}

#[test]
fn every_head_splits_a_text_by_its_own_rule() {
    let text = "leaves,the AK-1 東京";
    let mut folder = with_heads("tiny-bert");
    // Everything is a `B-x`: every word a span.
    head(&mut folder, "entities").output.1 = vec![0.0, 1e3, 0.0];
    let rules = [
        (WordSplit::Whitespace, &["leaves,the", "AK-1", "東京"][..]),
        (WordSplit::Punctuation, &["leaves", ",", "the", "AK", "-", "1", "東", "京"]),
        (WordSplit::Learned(LearnedSplit::default()), &["leaves,the", "AK-1", "東京"]),
    ];
    for (rule, _) in &rules {
        let mut other = head(&mut folder, "entities").clone();
        other.spec.words = rule.clone();
        other.spec.name = format!("by-{}", rule.name());
        folder.heads.push(other);
    }
    let model = model(folder, 1);
    let asked = |names: &[&str]| {
        let tasks = Some(names.iter().map(|name| (*name).to_owned()).collect());
        let options = RequestOptions { tasks, ..RequestOptions::default() };
        let words = TextInput::Words(vec!["leaves,the", "x"]);
        model.predict_inputs(&[TextInput::One(text), words], &options).unwrap()
    };
    let names: Vec<String> = rules.iter().map(|(rule, _)| format!("by-{}", rule.name())).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let together = asked(&names);
    for (task, (rule, expected)) in rules.iter().enumerate() {
        let [of_text, of_words] = &together.texts[..] else { panic!("two texts") };
        let spans = |answer: &Answer| match answer {
            Answer::Tokens(tagged) => {
                tagged.spans.iter().map(|span| span.text.clone()).collect::<Vec<_>>()
            }
            _ => panic!("{answer:?}"),
        };
        assert_eq!(spans(&of_text.tasks[task].answer), *expected, "{rule:?}");
        assert_eq!(spans(&of_words.tasks[task].answer), ["leaves,the", "x"], "{rule:?}");
        let alone = asked(&names[task..=task]);
        assert_eq!(alone.texts[0].tasks[0], of_text.tasks[task], "{rule:?}");
    }
}

#[test]
fn words_and_their_text_have_the_same_answers() {
    let model = model(with_heads("tiny-bert"), 2);
    let texts = texts(30).into_iter().map(|text| text.replace("!!", "!").replace("東京", "東 京"));
    let words = texts.map(|text| text.split_whitespace().map(str::to_owned).collect());
    let words: Vec<TextInput> = words.map(TextInput::Words).collect();
    let joined: Vec<String> = words.iter().map(|words| words.text().into_owned()).collect();
    let options = RequestOptions { vectors: Some(Vectors::default()), ..RequestOptions::default() };
    let found = model.predict_inputs(&words, &options).unwrap();
    assert!(found.vectors().is_some());
    assert_eq!(found, model.predict(&joined).unwrap());
    // One blank or several, of whatever sort: BERT's tokenizer does not mind.
    let spread: Vec<String> = joined.iter().map(|text| text.replace(' ', " \u{3000}\n")).collect();
    let spread = model.predict(&spread).unwrap();
    let tasks = found.texts.iter().flat_map(|text| &text.tasks);
    for (found, spread) in tasks.zip(spread.texts.iter().flat_map(|text| &text.tasks)) {
        assert_eq!((&found.logits, &found.probabilities), (&spread.logits, &spread.probabilities));
    }
}

#[test]
fn words_that_are_cut_off_are_outside() {
    let mut folder = with_heads("tiny-bert");
    head(&mut folder, "entities").output.1 = vec![0.0, 0.0, 1e3];
    let model = model(folder, 1);
    let words = TextInput::Words(vec!["the"; 80]);
    let found = model.predict_inputs(&[words], &RequestOptions::default()).unwrap();
    assert!(found.texts[0].tokens.truncated());
    let task = &found.texts[0].tasks[3];
    let Answer::Tokens(text) = &task.answer else { panic!() };
    assert_eq!(text.words.len(), 80);
    let seen = text.words.iter().take_while(|word| word.row.is_some()).count();
    // 64 positions, two of which are special tokens.
    assert_eq!((seen, task.logits.rows()), (62, 62));
    assert!(text.words[seen..].iter().all(|word| word.tag == "O" && word.probability.is_none()));
    assert_eq!((text.spans.len(), text.spans[0].last_word), (1, 61));
}

#[test]
fn no_words_are_no_trouble() {
    let model = model(with_heads("tiny-bert"), 2);
    let none: [&str; 0] = [];
    assert_eq!(model.predict(&none).unwrap().texts.len(), 0);
    for input in [TextInput::One(""), TextInput::One(" \t"), TextInput::Words(vec![])] {
        let found = tagged(&model, input.clone(), &RequestOptions::default());
        assert_eq!(found, TaggedText::default(), "{input:?}");
    }
}
