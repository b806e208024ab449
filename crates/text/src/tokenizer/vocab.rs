//! A tokenizer of word pieces, BERT's or MPNet's, from `vocab.txt`, for folders without a
//! tokenizer.json.

use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::bert::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::{AddedToken, Model, NormalizerWrapper, PostProcessorWrapper};

use super::catch_panic::catch_panic;
use super::config::{CONFIG_FILE, TokenizerConfig};
use crate::error::{Cause, TokenizerError};

/// The file's name, for messages.
pub(crate) const VOCAB_FILE: &str = "vocab.txt";

/// Python classes whose vocab.txt holds BERT's word pieces, in BERT's template. Other classes use
/// the same file name for other things (MeCab's words).
const BERT_CLASSES: [&str; 8] = [
    "BertTokenizer",
    "DistilBertTokenizer",
    "ElectraTokenizer",
    "MobileBertTokenizer",
    "ConvBertTokenizer",
    "SqueezeBertTokenizer",
    "LayoutLMTokenizer",
    "RetriBertTokenizer",
];

/// The class with BERT's word pieces in the template of RoBERTa.
const MPNET_CLASS: &str = "MPNetTokenizer";

/// Words of more characters become the unknown token; no BERT model changes this.
const LONGEST_WORD: usize = 100;

/// The message of a vocabulary that the library refuses.
const NO_PIECES: &str = "expected a vocabulary of word pieces";

/// Builds the tokenizer from the lines of vocab.txt; a token's id is its line, counted from 0.
pub(crate) fn build(
    vocab: &[u8],
    config: &TokenizerConfig,
) -> Result<tokenizers::Tokenizer, TokenizerError> {
    let mpnet = config.is_class(MPNET_CLASS)?;
    if let Some(class) = config.tokenizer_class()?.filter(|class| !mpnet && !is_bert_class(class)) {
        let message = format!(
            "`tokenizer_class`: expected a BERT class or {MPNET_CLASS} beside {VOCAB_FILE}, found \
             `{class}`; save it with a tokenizer.json"
        );
        return Err(TokenizerError::unsupported(CONFIG_FILE, message));
    }
    let role = |key: &str, of_bert: &str, of_mpnet: &str| {
        let default = if mpnet { of_mpnet } else { of_bert };
        // Only MPNet's mask takes the blank before it, as a word of RoBERTa does.
        let strips = mpnet && key == "mask_token";
        config.added_token(key, AddedToken::from(default, true).lstrip(strips))
    };
    let unknown = role("unk_token", "[UNK]", "[UNK]")?;
    let separator = role("sep_token", "[SEP]", "</s>")?;
    let classifier = role("cls_token", "[CLS]", "<s>")?;
    let mut optional =
        vec![role("pad_token", "[PAD]", "<pad>")?, role("mask_token", "[MASK]", "<mask>")?];
    if mpnet {
        optional.extend([role("bos_token", "", "<s>")?, role("eos_token", "", "</s>")?]);
    }

    let model = word_pieces(vocab, &unknown.content)?;
    let find = |token: &AddedToken| {
        let token = &token.content;
        let id = model.token_to_id(token).ok_or_else(|| {
            TokenizerError::damaged(VOCAB_FILE, format!("expected the token `{token}`, found none"))
        })?;
        Ok((token.clone(), id))
    };
    find(&unknown)?;
    let ends = (find(&separator)?, find(&classifier)?);

    let mut special = vec![unknown, separator, classifier];
    // A vocabulary without padding or mask tokens works: nothing here produces them.
    special
        .extend(optional.into_iter().filter(|token| model.token_to_id(&token.content).is_some()));
    let more = config.additional_special_tokens()?.into_iter();
    special.extend(more.map(|token| AddedToken::from(token, true)));

    let normalizer = BertNormalizer::new(
        true,
        config.flag("tokenize_chinese_chars")?.unwrap_or(true),
        config.flag("strip_accents")?,
        config.flag("do_lower_case")?.unwrap_or(true),
    );
    let template: PostProcessorWrapper = if mpnet {
        RobertaProcessing::new(ends.0, ends.1).into()
    } else {
        BertProcessing::new(ends.0, ends.1).into()
    };
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    catch_panic(|| {
        tokenizer.with_normalizer(Some(normalizer))?;
        tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
        tokenizer.with_post_processor(Some(template));
        Ok(())
    })
    .map_err(TokenizerError::damaged_by(VOCAB_FILE, NO_PIECES))?;
    add_tokens(&mut tokenizer, special, VOCAB_FILE, config)?;
    Ok(tokenizer)
}

/// Adds the tokens of `added_tokens_decoder`, and the special tokens that it does not have.
pub(super) fn add_tokens(
    tokenizer: &mut tokenizers::Tokenizer,
    mut special: Vec<AddedToken>,
    file: &str,
    config: &TokenizerConfig,
) -> Result<(), TokenizerError> {
    let added = config.added_tokens()?;
    special.retain(|token| !added.values().any(|known| known.content == token.content));
    catch_panic(|| {
        tokenizer.add_tokens(added.values().cloned())?;
        tokenizer.add_special_tokens(special)
    })
    .map_err(TokenizerError::damaged_by(file, "expected special tokens that fit the vocabulary"))?;
    for (&id, token) in &added {
        let found = tokenizer.token_to_id(&token.content);
        if found != Some(id) {
            let found = found.map_or("no id".to_owned(), |id| id.to_string());
            let message = format!(
                "`added_tokens_decoder`: expected `{}` at {id}, found it at {found}",
                token.content
            );
            return Err(TokenizerError::damaged(CONFIG_FILE, message));
        }
    }
    Ok(())
}

/// Applies an explicit switch in tokenizer_config.json over a BERT normalizer in tokenizer.json,
/// as transformers does for BERT classes.
pub(crate) fn follow_config(
    tokenizer: &mut tokenizers::Tokenizer,
    config: &TokenizerConfig,
) -> Result<(), TokenizerError> {
    // Without a class Python takes that of the model's family: BERT's, for all that have this
    // normalizer.
    if !config.tokenizer_class()?.is_none_or(is_bert_class) {
        return Ok(());
    }
    let Some(NormalizerWrapper::BertNormalizer(stored)) = tokenizer.get_normalizer() else {
        return Ok(());
    };
    let wanted = BertNormalizer::new(
        stored.clean_text,
        config.flag("tokenize_chinese_chars")?.unwrap_or(stored.handle_chinese_chars),
        // Null is a value for this key: it means "as do_lower_case".
        if config.has("strip_accents") {
            config.flag("strip_accents")?
        } else {
            stored.strip_accents
        },
        config.flag("do_lower_case")?.unwrap_or(stored.lowercase),
    );
    let switches = |n: &BertNormalizer| (n.handle_chinese_chars, n.strip_accents, n.lowercase);
    if switches(&wanted) != switches(stored) {
        catch_panic(|| tokenizer.with_normalizer(Some(wanted)).map(|_| ())).map_err(
            TokenizerError::damaged_by(CONFIG_FILE, "expected switches that fit the added tokens"),
        )?;
    }
    Ok(())
}

fn is_bert_class(name: &str) -> bool {
    BERT_CLASSES.contains(&name.strip_suffix("Fast").unwrap_or(name))
}

/// Reads the tokens. As in Python, the id of a token listed twice is its last line.
fn word_pieces(vocab: &[u8], unknown: &str) -> Result<WordPiece, TokenizerError> {
    let text = std::str::from_utf8(vocab)
        .map_err(TokenizerError::damaged_by(VOCAB_FILE, "expected UTF-8"))?;
    if text.trim().is_empty() {
        return Err(TokenizerError::damaged(VOCAB_FILE, "expected a token a line, found none"));
    }
    let build = || -> Result<WordPiece, Cause> {
        // Reading nothing gives an empty map, whose type comes from a crate that we do not use.
        let mut map = WordPiece::read_bytes(b"")?;
        map.extend(text.lines().zip(0u32..).map(|(token, id)| (token.to_owned(), id)));
        WordPiece::builder()
            .vocab(map)
            .unk_token(unknown.to_owned())
            .max_input_chars_per_word(LONGEST_WORD)
            .build()
    };
    catch_panic(build).map_err(TokenizerError::damaged_by(VOCAB_FILE, NO_PIECES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::TokenizerErrorKind;

    const VOCAB: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\ncafe\nCafé\n漢\nab\n##c\n";

    fn tokens(config: &str, text: &str) -> Vec<String> {
        let config = TokenizerConfig::parse(Some(config.as_bytes())).unwrap();
        let tokenizer = build(VOCAB.as_bytes(), &config).unwrap();
        tokenizer.encode(text, true).unwrap().get_tokens().to_vec()
    }

    #[test]
    fn the_config_sets_the_normalizer() {
        struct Case {
            config: &'static str,
            text: &'static str,
            expected: &'static [&'static str],
        }
        let cases = [
            Case {
                config: "{}",
                text: "Café abc",
                expected: &["[CLS]", "cafe", "ab", "##c", "[SEP]"],
            },
            Case {
                config: r#"{"do_lower_case": false}"#,
                text: "Café cafe",
                expected: &["[CLS]", "Café", "cafe", "[SEP]"],
            },
            Case {
                config: r#"{"do_lower_case": false, "strip_accents": true}"#,
                text: "café",
                expected: &["[CLS]", "cafe", "[SEP]"],
            },
            Case {
                config: r#"{"tokenize_chinese_chars": false}"#,
                text: "漢ab 漢",
                expected: &["[CLS]", "[UNK]", "漢", "[SEP]"],
            },
            Case {
                config: r#"{"sep_token": {"content": "cafe"}, "cls_token": "[PAD]"}"#,
                text: "ab",
                expected: &["[PAD]", "ab", "cafe"],
            },
            Case {
                config: r#"{"added_tokens_decoder": {"9": {"content": "new", "special": false}}}"#,
                text: "abnew",
                expected: &["[CLS]", "ab", "new", "[SEP]"],
            },
        ];
        for Case { config, text, expected } in cases {
            assert_eq!(tokens(config, text), expected, "{config}");
        }
    }

    #[test]
    fn mpnet_has_its_own_special_tokens_and_template() {
        let vocab = "<s>\n<pad>\n</s>\n<unk>\n[UNK]\nthe\n<x>\n<mask>\n";
        let build = |config: &str| {
            let config = TokenizerConfig::parse(Some(config.as_bytes())).unwrap();
            build(vocab.as_bytes(), &config).unwrap()
        };
        let tokens = |config: &str, text: &str| {
            build(config).encode(text, true).unwrap().get_tokens().to_vec()
        };
        let class = r#"{"tokenizer_class": "MPNetTokenizer"}"#;
        assert_eq!(tokens(class, "the  <mask> x"), ["<s>", "the", "  <mask>", "[UNK]", "</s>"]);
        let pair = build(class).encode(("the", "the"), true).unwrap();
        assert_eq!(pair.get_tokens(), ["<s>", "the", "</s>", "</s>", "the", "</s>"]);
        assert_eq!(pair.get_type_ids(), [0; 6]);
        let changed = r#"{"tokenizer_class": "MPNetTokenizerFast", "sep_token": {"content": "<x>"},
            "unk_token": "<unk>", "mask_token": {"content": "<mask>", "lstrip": false}}"#;
        // Without its switch the mask leaves the blanks before it.
        assert_eq!(tokens(changed, "the  <mask> y"), ["<s>", "the", "<mask>", "<unk>", "<x>"]);
    }

    #[test]
    fn windows_line_ends_are_line_ends() {
        let vocab = VOCAB.replace('\n', "\r\n");
        let tokenizer = build(vocab.as_bytes(), &TokenizerConfig::default()).unwrap();
        assert_eq!(tokenizer.token_to_id("##c"), Some(8));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        struct Case {
            vocab: &'static [u8],
            config: &'static str,
            kind: TokenizerErrorKind,
            expected: &'static str,
        }
        let cases = [
            Case {
                vocab: b"",
                config: "{}",
                kind: TokenizerErrorKind::Damaged,
                expected: "vocab.txt: expected a token a line, found none",
            },
            Case {
                vocab: b"\xff\n",
                config: "{}",
                kind: TokenizerErrorKind::Damaged,
                expected: "vocab.txt: expected UTF-8",
            },
            Case {
                vocab: b"[CLS]\n[SEP]\n",
                config: "{}",
                kind: TokenizerErrorKind::Damaged,
                expected: "vocab.txt: expected the token `[UNK]`, found none",
            },
            Case {
                vocab: VOCAB.as_bytes(),
                config: r#"{"cls_token": "<s>"}"#,
                kind: TokenizerErrorKind::Damaged,
                expected: "vocab.txt: expected the token `<s>`, found none",
            },
            Case {
                vocab: VOCAB.as_bytes(),
                config: r#"{"tokenizer_class": "BertJapaneseTokenizer"}"#,
                kind: TokenizerErrorKind::Unsupported,
                expected: "tokenizer_config.json: `tokenizer_class`: expected a BERT class or MPNetTokenizer beside vocab.txt, found `BertJapaneseTokenizer`; save it with a tokenizer.json",
            },
            Case {
                vocab: VOCAB.as_bytes(),
                config: r#"{"added_tokens_decoder": {"12": {"content": "new"}}}"#,
                kind: TokenizerErrorKind::Damaged,
                expected: "tokenizer_config.json: `added_tokens_decoder`: expected `new` at 12, found it at 9",
            },
        ];
        for Case { vocab, config, kind, expected } in cases {
            let config = TokenizerConfig::parse(Some(config.as_bytes())).unwrap();
            let found = build(vocab, &config).unwrap_err();
            assert_eq!((found.kind(), found.to_string().as_str()), (kind, expected));
        }
    }
}
