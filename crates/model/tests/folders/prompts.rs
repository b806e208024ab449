//! The prompts of a folder and the length that they leave for texts.

use polyhead_model::{EncodeOptions, LoadOptions, Prompt, SentenceEncoder};
use polyhead_testing::tiny_model;

#[test]
fn a_prompt_leaves_room_for_the_text() {
    // `query`, with the special tokens: as many tokens as the encoder says.
    let folder = tiny_model("st6-multi");
    let load = |max_length: usize| {
        let options = LoadOptions::default().max_length(max_length);
        SentenceEncoder::load_with(&folder.display().to_string(), &options).unwrap()
    };
    let encode = |encoder: &SentenceEncoder, prompt: Prompt| {
        let options = EncodeOptions { prompt, ..EncodeOptions::default() };
        encoder.encode_with(&["a b c"], &options).map_err(|error| error.to_string())
    };
    let reader = load(64);
    let query = reader.reader().prompt(&Prompt::Default).unwrap();
    let none = encode(&reader, Prompt::None).unwrap().texts[0].total;
    let tokens = encode(&reader, Prompt::Default).unwrap().texts[0].total - none + 2;
    let error = encode(&load(tokens), Prompt::Default).unwrap_err();
    let wanted = format!(
        "prompt `query`: expected fewer than {tokens} tokens, the maximum length, so that the text \
         has room, found {tokens} with the special tokens"
    );
    assert_eq!(error, wanted);
    assert_eq!(encode(&load(tokens), Prompt::Named("query".to_owned())).unwrap_err(), wanted);
    let error = encode(&load(tokens - 1), Prompt::Text(query)).unwrap_err();
    assert!(error.starts_with("prompt: expected fewer than"), "{error}");
    assert_eq!(encode(&load(tokens + 1), Prompt::Default).unwrap().texts[0].kept, tokens + 1);
    assert!(encode(&load(tokens), Prompt::None).is_ok());
}
