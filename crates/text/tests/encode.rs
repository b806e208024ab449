//! Properties that hold for every batch of any texts.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use polyhead_text::{
    LengthLimit, TextInput, TextTokens, TokenBatch, Tokenizer, TokenizerErrorKind, Truncation,
    WordSplit,
};
use proptest::prelude::*;
use serde_json::json;

/// The vocabulary of the tiny models: letters, some words, no accents.
fn tiny() -> Tokenizer {
    Tokenizer::from_files(polyhead_testing::files_of(polyhead_testing::tiny_model(
        "tiny-bert-vocab-only",
    )))
    .unwrap()
}

fn singles(texts: &[String]) -> Vec<TextInput<&str>> {
    texts.iter().map(|text| TextInput::One(text.as_str())).collect()
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ a-zA-Z.,!]{0,60}",
        "(hello|world|the|[CLS]|\\[SEP\\]|漢字|é|\u{301}|\0| ){0,12}",
        any::<String>(),
    ]
}

#[test]
fn an_empty_text_is_its_special_tokens() {
    let tokenizer = tiny();
    let batch = tokenizer.encode(&[TextInput::One(""), TextInput::Pair("", "")], 8).unwrap();
    assert_eq!(batch.offsets, [0, 2, 5]);
    assert_eq!(batch.texts[0], TextTokens { total: 2, kept: 2 });
    assert_eq!(tokenizer.encode::<&str>(&[], 8).unwrap(), TokenBatch::default());
}

#[test]
fn special_tokens_survive_any_cut() {
    let tokenizer = tiny();
    let (cls, sep) = (tokenizer.id("[CLS]").unwrap(), tokenizer.id("[SEP]").unwrap());
    let inputs = [TextInput::One("hello world"), TextInput::One("")];
    let batch = tokenizer.encode(&inputs, 2).unwrap();
    assert_eq!(batch.ids, [cls, sep, cls, sep]);
    assert!(batch.texts[0].truncated() && !batch.texts[1].truncated());
}

#[test]
fn ids_are_a_batch_as_their_text_is() {
    let tokenizer = tiny();
    let whole = tokenizer.encode(&[TextInput::One("hello world the")], 99).unwrap();
    let ids = &whole.ids[1..whole.tokens() - 1];
    for max_length in [2, 3, whole.tokens(), 99] {
        let expected = tokenizer.encode(&[TextInput::One("hello world the")], max_length).unwrap();
        let found = tokenizer.encode_ids(ids, max_length).unwrap();
        assert_eq!((&found.ids, &found.type_ids), (&expected.ids, &expected.type_ids));
        assert_eq!((found.offsets, found.texts), (expected.offsets, expected.texts));
        assert!(found.spans.iter().all(|span| span.is_empty()));
    }
    let highest = tokenizer.highest_id();
    assert!(tokenizer.encode_ids(&[highest], 9).is_ok());
    let found = tokenizer.encode_ids(&[0, highest + 1], 9).unwrap_err();
    assert_eq!(found.kind(), TokenizerErrorKind::Text);
    let found = tokenizer.encode_ids(&[], 1).unwrap_err();
    assert_eq!(found.kind(), TokenizerErrorKind::MaxLength);
}

#[test]
fn the_first_error_in_input_order_is_reported() {
    let tokenizer = tiny();
    let mut inputs = vec![TextInput::One("hello"); 50];
    inputs[20] = TextInput::Pair("a", "b");
    inputs[40] = TextInput::Pair("c", "d");
    let found = tokenizer.encode(&inputs, 2).unwrap_err();
    assert_eq!(found.kind(), TokenizerErrorKind::MaxLength);
    assert_eq!(
        found.to_string(),
        "text 21: expected a maximum length of at least 3 special tokens, found 2"
    );
    assert_eq!(found.text(), Some(20));
    let found = tokenizer.encode(&inputs, 0).unwrap_err();
    assert_eq!(found.text(), Some(0), "{found}");
    let backwards = |count: usize, work: &(dyn Fn(usize) + Sync)| (0..count).rev().for_each(work);
    let found = tokenizer.encode_with(&inputs, 2, backwards).unwrap_err();
    assert_eq!(found.text(), Some(20), "{found}");
}

#[test]
fn a_text_on_which_the_tokenizer_breaks_is_named() {
    let tokenizer = Tokenizer::from_json(breaks_on_q().to_string().as_bytes()).unwrap();
    let words = ["w", "q"];
    for (bad, inputs) in [
        (1, [TextInput::One("world"), TextInput::One("q"), TextInput::One("q")]),
        (
            2,
            [
                TextInput::One("world"),
                TextInput::Words(words[..1].into()),
                TextInput::Words(words.into()),
            ],
        ),
    ] {
        let found = tokenizer.encode(&inputs, 9).unwrap_err();
        assert_eq!((found.kind(), found.text()), (TokenizerErrorKind::Text, Some(bad)));
        assert!(found.to_string().starts_with(&format!("text {}: expected tokens", bad + 1)));
        assert!(std::error::Error::source(&found).is_some());
    }
    let found = tokenizer.count_prompt_tokens("q: ").unwrap_err();
    assert_eq!((found.kind(), found.text()), (TokenizerErrorKind::Text, None));
    assert_eq!(found.to_string(), "prompt: expected tokens of a text of 3 bytes");
}

#[test]
fn words_are_a_text_of_words() {
    let tokenizer = tiny();
    let words: Vec<String> = ["hello", "the world", "é"].map(str::to_owned).into();
    let words = TextInput::Words(words);
    let expected = tokenizer.encode(&[TextInput::One(words.text())], 20).unwrap();
    let found = tokenizer.encode(std::slice::from_ref(&words), 20).unwrap();
    assert_eq!(found, expected);
    let tokens = found.first_tokens(0, &words.words(&WordSplit::default()));
    assert_eq!(tokens[0], Some(1));
    assert!(tokens[0] < tokens[1] && tokens[1] < tokens[2]);
}

#[test]
fn the_second_text_of_a_pair_can_be_found() {
    let tokenizer = tiny();
    let inputs = [TextInput::One("hello"), TextInput::Pair("the world", "hello world")];
    for max_length in [5, 6, 99] {
        let batch = tokenizer.encode(&inputs, max_length).unwrap();
        assert_eq!(batch.second_texts[0], 0..0);
        let types = &batch.type_ids[batch.sequence(1)];
        // In a BERT, its separator has the same type.
        let first = types.iter().position(|&type_id| type_id == 1).unwrap();
        assert_eq!(batch.second_texts[1], first..types.len() - 1);
    }
}

#[test]
fn a_rule_says_which_text_of_a_pair_is_cut() {
    let tokenizer = tiny();
    let pair = TextInput::Pair("the world hello", "hello world the world");
    let lengths = |tokens: usize, truncation: Truncation| {
        let batch = tokenizer
            .encode(std::slice::from_ref(&pair), LengthLimit { tokens, truncation })
            .unwrap();
        assert_eq!(batch.texts[0].kept, batch.tokens());
        let second = batch.second_texts[0].clone();
        (batch.tokens() - second.len() - 3, second.len(), batch.texts[0].truncated())
    };
    let (first, second, _) = lengths(99, Truncation::Longest);
    let whole = first + second + 3;
    for rule in Truncation::ALL {
        assert_eq!(lengths(whole, rule), (first, second, false));
    }
    assert_eq!(lengths(whole - 1, Truncation::First), (first - 1, second, true));
    assert_eq!(lengths(whole - 1, Truncation::Second), (first, second - 1, true));
    assert_eq!(lengths(first + 4, Truncation::Second), (first, 1, true));
    assert_eq!(lengths(second + 4, Truncation::First), (1, second, true));
    // A single text has one side.
    let limit = LengthLimit { tokens: 4, truncation: Truncation::Second };
    let one = tokenizer.encode(&[TextInput::One("hello the world")], limit).unwrap();
    assert_eq!(one, tokenizer.encode(&[TextInput::One("hello the world")], 4).unwrap());

    let limit = LengthLimit { tokens: first + 3, truncation: Truncation::Second };
    let inputs = [TextInput::One("the"), pair.borrowed()];
    let error = tokenizer.encode(&inputs, limit).unwrap_err();
    assert_eq!((error.kind(), error.text()), (TokenizerErrorKind::Text, Some(1)));
    let expected = format!(
        "text 2: expected a first text of at most {} tokens, because only the second text is cut, \
         found {first}",
        first - 1
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn prompts_count_all_but_the_last_special_token() {
    let tokenizer = tiny();
    let words = tokenizer.encode(&[TextInput::One("hello world")], 99).unwrap().tokens() - 2;
    assert_eq!(tokenizer.count_prompt_tokens("hello world").unwrap(), words + 1);
    assert_eq!(tokenizer.count_prompt_tokens("").unwrap(), 1);
}

#[test]
fn every_character_has_tokens_or_none() {
    let vocab = b"[UNK]\n[CLS]\n[SEP]\nx\n";
    // Some hundred characters a text: far fewer calls than a text each.
    // All planes that Unicode uses, less most of the private ones.
    let planes = ('\0'..'\u{34000}').chain('\u{e0000}'..'\u{e0200}').chain([char::MAX]);
    let characters: Vec<char> = planes.collect();
    let texts: Vec<String> = characters
        .chunks(512)
        .map(|chunk| chunk.iter().flat_map(|&c| ['x', c, ' ', c, ' ']).collect())
        .collect();
    for config in [r#"{"do_lower_case": true}"#, r#"{"do_lower_case": false}"#] {
        let tokenizer = Tokenizer::from_vocab(vocab, Some(config.as_bytes())).unwrap();
        let batch = tokenizer.encode(&singles(&texts), usize::MAX).unwrap();
        for (text, tokens) in texts.iter().zip(&batch.texts) {
            assert!(tokens.total >= text.matches('x').count() + 2, "{text:?}");
        }
    }
}

#[test]
fn threads_do_not_change_a_batch() {
    let tokenizer = tiny();
    let texts: Vec<String> = (0..200).map(|i| "hello the world ".repeat(i % 17)).collect();
    let inputs = singles(&texts);
    let on = |threads: usize| {
        let for_each = |count: usize, work: &(dyn Fn(usize) + Sync)| {
            std::thread::scope(|scope| {
                for thread in 0..threads {
                    scope.spawn(move || (thread..count).step_by(threads).for_each(work));
                }
            });
        };
        tokenizer.encode_with(&inputs, 20, for_each).unwrap()
    };
    assert_eq!(on(1), on(3));
    assert_eq!(on(1), tokenizer.encode(&inputs, 20).unwrap());
    assert_eq!(on(1), tokenizer.encode_with(&inputs, 20, |_, _| ()).unwrap());
}

#[test]
fn a_long_line_is_counted_and_cut() {
    let tokenizer = tiny();
    let words = 60_000;
    let line = "hello world ".repeat(words / 2);
    let batch =
        tokenizer.encode(&[TextInput::One(&*line), TextInput::Pair("hello", &*line)], 16).unwrap();
    let per_pair = tokenizer.encode(&[TextInput::One("hello world")], 99).unwrap().tokens() - 2;
    assert_eq!(batch.texts[0], TextTokens { total: words / 2 * per_pair + 2, kept: 16 });
    assert_eq!(batch.texts[1].kept, 16);
    let head = tokenizer.encode(&[TextInput::One(&line[..1200])], 16).unwrap();
    assert_eq!(batch.ids[batch.sequence(0)], head.ids[..]);
    assert_eq!(batch.spans[batch.sequence(0)], head.spans[..]);
}

/// A tokenizer that knows the characters on which tokenizers are tried, and no others.
fn breaks_on_q() -> serde_json::Value {
    let known = "Helo, wrd\0\u{301}é漢🙂\u{fffd}[]x<y>▁e";
    let mut pieces: Vec<String> = known.chars().map(String::from).collect();
    pieces.dedup();
    let vocab: Vec<_> = pieces.iter().map(|piece| json!([piece, -1.0])).collect();
    json!({"version": "1.0", "added_tokens": [],
           "model": {"type": "Unigram", "unk_id": null, "byte_fallback": false, "vocab": vocab}})
}

/// Tokenizers of each kind, as tokenizer.json.
fn every_kind() -> [serde_json::Value; 4] {
    let template = json!({
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}});
    let with = |mut parts: serde_json::Value| {
        for (key, value) in [("version", json!("1.0")), ("added_tokens", json!([]))] {
            parts[key] = value;
        }
        parts
    };
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    // Some bytes of multi-byte characters, so that tokens end inside of characters.
    let byte_pairs = json!({"type": "BPE", "vocab":
        {"<s>": 0, "a": 1, "b": 2, "ab": 3, "Ġ": 4, "Ġab": 5, "Ã": 6, "©": 7, "æ": 8, "¼": 9, "¢": 10, "Ċ": 11},
        "merges": [["a", "b"], ["Ġ", "ab"]]});
    [
        with(json!({
            "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                           "strip_accents": null, "lowercase": true},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": template.clone(),
            "model": {"type": "WordPiece", "unk_token": "<s>", "continuing_subword_prefix": "##",
                      "max_input_chars_per_word": 9, "vocab": {"<s>": 0, "a": 1, "##b": 2, "e": 3}}})),
        with(json!({
            "normalizer": {"type": "NFKC"},
            "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
            "post_processor": template.clone(),
            "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": false,
                      "vocab": [["<s>", 0.0], ["▁", -1.0], ["a", -2.0], ["▁ab", -1.5], ["é", -2.5]]}})),
        with(
            json!({"pre_tokenizer": bytes.clone(), "post_processor": template, "model": byte_pairs.clone()}),
        ),
        with(json!({
            "pre_tokenizer": bytes,
            "post_processor": {"type": "RobertaProcessing", "sep": ["<s>", 0], "cls": ["<s>", 0],
                               "trim_offsets": true, "add_prefix_space": false},
            "model": byte_pairs})),
    ]
}

/// The rule for blanks in spans, character by character.
fn spans_without_blanks(
    encoding: &tokenizers::Encoding,
    texts: &[Vec<char>; 2],
) -> Vec<(usize, usize)> {
    let word =
        |token: usize| Some((encoding.token_to_sequence(token)?, encoding.get_word_ids()[token]));
    let span = |token: usize| {
        let (mut start, mut end) = encoding.get_offsets()[token];
        let Some(text) = encoding.token_to_sequence(token) else { return (start, end) };
        if start < end && texts[text][start..end].iter().all(|c| c.is_whitespace()) {
            let begins_word = token + 1 < encoding.len() && word(token + 1) == word(token);
            return (if begins_word { end } else { start }, end);
        }
        while start < end && texts[text][start].is_whitespace() {
            start += 1;
        }
        while start < end && texts[text][end - 1].is_whitespace() {
            end -= 1;
        }
        (start, end)
    };
    (0..encoding.len()).map(span).collect()
}

proptest! {
    #[test]
    fn tokens_and_spans_equal_those_of_the_library(
        text in "(a|b|ab|e|é|漢| |  |\n|\u{301}|🙂|ﬁ|<s>|\u{3000}){0,16}",
        kind in 0usize..4,
    ) {
        let json = every_kind()[kind].to_string();
        let ours = Tokenizer::from_json(json.as_bytes()).unwrap();
        // The library has a rule of its own for blanks, and not for tabs and line ends.
        let json = json.replace("\"trim_offsets\":true", "\"trim_offsets\":false");
        let library: tokenizers::Tokenizer = json.parse().unwrap();
        for pair in [false, true] {
            let (batch, expected) = if pair {
                (
                    ours.encode(&[TextInput::Pair(&*text, "ab é")], 999).unwrap(),
                    library.encode_char_offsets((text.as_str(), "ab é"), true).unwrap(),
                )
            } else {
                (
                    ours.encode(&[TextInput::One(&text)], 999).unwrap(),
                    library.encode_char_offsets(text.as_str(), true).unwrap(),
                )
            };
            prop_assert_eq!(&batch.ids[..], expected.get_ids());
            prop_assert_eq!(&batch.type_ids[..], expected.get_type_ids());
            let texts = [&*text, "ab é"].map(|text| text.chars().collect::<Vec<_>>());
            let spans: Vec<_> =
                batch.spans.iter().map(|s| (s.start as usize, s.end as usize)).collect();
            prop_assert_eq!(spans, spans_without_blanks(&expected, &texts));
        }
    }

    #[test]
    fn batches_are_consistent(
        texts in prop::collection::vec((any_text(), prop::option::of(any_text())), 0..6),
        max_length in 3usize..24,
    ) {
        let tokenizer = tiny();
        let inputs: Vec<_> = texts
            .iter()
            .map(|(first, second)| match second {
                None => TextInput::One(first),
                Some(second) => TextInput::Pair(first, second),
            })
            .collect();
        let batch = tokenizer.encode(&inputs, max_length).unwrap();
        prop_assert_eq!(batch.len(), inputs.len());
        prop_assert_eq!(batch.offsets.len(), inputs.len() + 1);
        prop_assert_eq!(*batch.offsets.last().unwrap(), batch.tokens());
        prop_assert_eq!(batch.type_ids.len(), batch.tokens());
        prop_assert_eq!(batch.spans.len(), batch.tokens());
        prop_assert!(batch.ids.iter().all(|&id| id <= tokenizer.highest_id()));

        let mut one_by_one = TokenBatch::default();
        for (index, input) in inputs.iter().enumerate() {
            let TextTokens { total, kept } = batch.texts[index];
            let range = batch.sequence(index);
            prop_assert_eq!(range.len(), kept);
            prop_assert!(kept <= max_length && kept == total.min(max_length));
            one_by_one.append(&tokenizer.encode(std::slice::from_ref(input), max_length).unwrap());

            // Within each text of the sequence, tokens go from left to right and inside of it.
            let longest = match input {
                TextInput::One(_) | TextInput::Words(_) => input.text().chars().count(),
                TextInput::Pair(first, second) => first.chars().count().max(second.chars().count()),
            };
            for type_id in [0, 1] {
                let mut last = 0;
                for token in range.clone().filter(|&token| batch.type_ids[token] == type_id) {
                    let span = batch.spans[token];
                    if !span.is_empty() {
                        prop_assert!(span.start >= last && span.end as usize <= longest);
                        last = span.start;
                    }
                }
            }
        }
        prop_assert_eq!(one_by_one, batch);
    }
}
