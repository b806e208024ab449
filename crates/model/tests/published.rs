//! Published values for a well-known model and sentence.

use polyhead_model::{EncodeOptions, SentenceEncoder};

const SENTENCE: &str = "This is the assessement for sentence transformer implementation. \
                        Let's embed this sentence and check the length";

#[test]
fn the_sentence_is_24_tokens_in_the_vocabulary_of_bert_base_uncased() {
    let encoder = SentenceEncoder::builtin().expect("the built-in model");
    let batch = encoder.tokenize(&[SENTENCE], &EncodeOptions::default()).expect("tokens");
    assert_eq!(batch.tokens(), 24);
    let tokens: Vec<String> = batch
        .ids
        .iter()
        .map(|id| encoder.reader().tokenizer().token(*id).expect("a token"))
        .collect();
    assert_eq!(tokens[..8], ["[CLS]", "this", "is", "the", "assess", "##ement", "for", "sentence"]);
}

#[cfg(feature = "hub")]
#[test]
#[ignore = "downloads 268 MB from the hub: run with --ignored"]
fn distilbert_base_uncased_matches_published_values() {
    let encoder = SentenceEncoder::load("distilbert-base-uncased").expect("the model");
    let encoded = encoder.encode_tokens(&[SENTENCE], &EncodeOptions::default()).expect("vectors");
    assert_eq!(encoded.texts[0].total, 24);
    let first = encoded.vectors.row(0);
    assert_eq!(first.len(), 768);
    // Published with four decimals.
    let near = |found: &[f32], expected: [f32; 3]| {
        found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() <= 0.6e-4)
    };
    assert!(near(&first[..3], [-0.2685, -0.3769, 0.0627]), "begins {:?}", &first[..3]);
    assert!(near(&first[765..], [-0.0342, 0.0350, 0.6689]), "ends {:?}", &first[765..]);
}
