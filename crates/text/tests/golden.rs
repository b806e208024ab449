//! Ids, type ids, offsets and special tokens, compared with transformers' fast tokenizers.
//!
//! `reference/make_tokenizer_goldens.py` makes the file.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use polyhead_testing::{golden_json, shared, tiny_model};
use polyhead_text::{TextInput, TokenBatch, Tokenizer};
use serde::Deserialize;

#[derive(Deserialize)]
struct Goldens {
    cut_length: usize,
    models: std::collections::BTreeMap<String, Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    text: String,
    pair: Option<String>,
    full: Tokens,
    cut: Tokens,
}

#[derive(Deserialize)]
struct Tokens {
    ids: Vec<u32>,
    type_ids: Vec<u32>,
    offsets: Vec<(u32, u32)>,
    special: Vec<u8>,
}

fn minilm() -> Tokenizer {
    Tokenizer::from_files(polyhead_testing::files_of(shared().join("models/all-MiniLM-L6-v2")))
        .unwrap()
}

/// Compares all texts of `model`, first one by one, then packed into one batch.
fn check(model: &str, tokenizer: &Tokenizer) {
    let goldens: Goldens = golden_json("tokenizer.json");
    let entries = &goldens.models[model];
    assert!(entries.len() > 40, "{} entries", entries.len());
    let inputs: Vec<_> = entries
        .iter()
        .map(|entry| match &entry.pair {
            None => TextInput::One(&entry.text),
            Some(pair) => TextInput::Pair(&entry.text, pair),
        })
        .collect();
    for (length, cut) in [(usize::MAX, false), (goldens.cut_length, true)] {
        let packed = tokenizer.encode(&inputs, length).unwrap();
        for (index, entry) in entries.iter().enumerate() {
            let expected = if cut { &entry.cut } else { &entry.full };
            let case = format!("{:?} {:?} cut to {length}", entry.text, entry.pair);
            compare(&tokenizer.encode(&inputs[index..=index], length).unwrap(), 0, expected, &case);
            compare(&packed, index, expected, &case);
            assert_eq!(packed.texts[index].total, entry.full.ids.len(), "total of {case}");
            assert_eq!(packed.texts[index].kept, expected.ids.len(), "kept of {case}");
        }
    }
}

fn compare(batch: &TokenBatch, index: usize, expected: &Tokens, case: &str) {
    let range = batch.sequence(index);
    assert_eq!(batch.ids[range.clone()], expected.ids, "ids of {case}");
    assert_eq!(batch.type_ids[range.clone()], expected.type_ids, "type ids of {case}");
    let spans = &batch.spans[range];
    let offsets: Vec<_> = spans.iter().map(|span| (span.start, span.end)).collect();
    assert_eq!(offsets, expected.offsets, "offsets of {case}");
    let special: Vec<_> = spans.iter().map(|span| u8::from(span.is_empty())).collect();
    assert_eq!(special, expected.special, "special tokens of {case}");
}

#[test]
fn a_vocabulary_file_gives_the_tokens_of_transformers() {
    let tokenizer =
        Tokenizer::from_files(polyhead_testing::files_of(tiny_model("tiny-bert-vocab-only")))
            .unwrap();
    assert_eq!(tokenizer.model_max_length(), Some(64));
    check("tiny-bert-vocab-only", &tokenizer);
}

#[test]
#[ignore = "needs ../shared: run with --ignored"]
fn minilm_gives_the_tokens_of_transformers() {
    let tokenizer = minilm();
    check("all-MiniLM-L6-v2", &tokenizer);
    assert_eq!(tokenizer.vocab_size(), 30522);
    assert_eq!(tokenizer.highest_id(), 30521);
    assert_eq!(tokenizer.model_max_length(), Some(512));
    assert_eq!(tokenizer.token(101).as_deref(), Some("[CLS]"));
    assert_eq!(tokenizer.id("hello"), Some(7592));
    assert_eq!(tokenizer.count_prompt_tokens("query: ").unwrap(), 3);
}

#[test]
#[ignore = "needs ../shared: run with --ignored"]
fn minilm_counts_24_tokens_in_the_example_sentence() {
    let sentence = "This is the assessement for sentence transformer implementation. \
                    Let's embed this sentence and check the length";
    let batch = minilm().encode(&[TextInput::One(sentence)], 512).unwrap();
    assert_eq!((batch.texts[0].total, batch.texts[0].kept), (24, 24));
}

#[test]
#[ignore = "needs ../shared: run with --ignored"]
fn minilm_from_its_vocabulary_file_is_the_same_tokenizer() {
    let folder = shared().join("models/all-MiniLM-L6-v2");
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let config = read("tokenizer_config.json");
    let from_vocab = Tokenizer::from_vocab(&read("vocab.txt"), Some(&config)).unwrap();
    check("all-MiniLM-L6-v2", &from_vocab);
}
