//! A model folder's tokenizer. This file loads it; `encode.rs` turns texts into tokens.

mod growth;
mod json;
mod vocab;
mod byte_pairs;
mod protobuf;
mod sentencepiece;
mod config;
mod settings;
mod encode;
mod catch_panic;

pub(crate) use self::config::TokenizerConfig;
#[cfg(test)]
pub(crate) use self::vocab::build as build_word_pieces;

use std::collections::HashSet;

use tokenizers::{AddedToken, PostProcessorWrapper};

use self::byte_pairs::{MERGES_FILE, PAIRS_VOCAB_FILE};
use self::catch_panic::catch_panic;
use self::config::CONFIG_FILE;
use self::encode::Spans;
use self::json::JSON_FILE;
use self::sentencepiece::SENTENCEPIECE_FILE;
use self::vocab::VOCAB_FILE;
use crate::error::{TokenizerError, TokenizerErrorKind};
use crate::long_text::CutRule;
use crate::template::Template;

/// Larger files are not read. The largest vocabularies in use take some 35 MB.
const LARGEST_FILE: u64 = 256 * 1024 * 1024;

/// A tokenizer with the tokens of transformers' fast tokenizers. Each call says how many tokens it
/// keeps; padding that is set in a file has no effect.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    /// The library's tokenizer, without padding, truncation and post-processor.
    inner: tokenizers::Tokenizer,
    single: Template,
    /// Template for pairs; `None` if the file has no usable one.
    pair: Option<Template>,
    /// Rule for cutting long texts; `None` if they are tokenized whole.
    cut_rule: Option<CutRule>,
    /// Ids of the special tokens in the templates and in the vocabulary.
    special_ids: HashSet<u32>,
    highest_id: u32,
    model_max_length: Option<usize>,
}

impl Tokenizer {
    /// Loads the bytes of a `tokenizer.json`.
    ///
    /// `TooLarge` above 256 MiB; `Damaged` if the bytes are no tokenizer, or one that fails on
    /// ordinary text; `Unsupported` if it is random (dropout).
    pub fn from_json(json: &[u8]) -> Result<Self, TokenizerError> {
        check_size(JSON_FILE, json.len() as u64)?;
        let config = TokenizerConfig::default();
        Self::finish(json::parse(json, &config)?, JSON_FILE, &config)
    }

    /// Loads the bytes of a `vocab.txt` of BERT or MPNet, one token a line, and of the
    /// `tokenizer_config.json` beside it, if there is one.
    ///
    /// The config sets `do_lower_case`, `tokenize_chinese_chars`, `strip_accents`, the special
    /// tokens, `model_max_length`, and by `model_input_names` if the model reads token types. Absent keys have the values of
    /// bert-base-uncased or, if `tokenizer_class` is MPNet's, of mpnet-base.
    ///
    /// # Errors
    /// `TooLarge` above 256 MiB; `Damaged` if a file does not hold what it should, or a special
    /// token is not in the vocabulary; `Unsupported` if the config names a class other than BERT's and MPNet's.
    pub fn from_vocab(vocab: &[u8], config: Option<&[u8]>) -> Result<Self, TokenizerError> {
        check_size(VOCAB_FILE, vocab.len() as u64)?;
        let config = TokenizerConfig::parse(config)?;
        Self::finish(vocab::build(vocab, &config)?, VOCAB_FILE, &config)
    }

    /// Loads `tokenizer.json` of a model folder, or without it `vocab.txt` of a BERT or MPNet, `vocab.json`
    /// and `merges.txt` of a RoBERTa, or `sentencepiece.bpe.model` of an XLM-RoBERTa or CamemBERT;
    /// always with `tokenizer_config.json`, if present.
    ///
    /// - `read`: gives the bytes of the file of this name, `None` if there is none; fails if there
    ///   are more bytes than this number
    ///
    /// # Errors
    /// `Read` if none of the files exists or `read` fails (`TooLarge` if it says so), and the errors of
    /// [`from_json`](Self::from_json) and [`from_vocab`](Self::from_vocab).
    pub fn from_files(
        read: impl Fn(&str, u64) -> std::io::Result<Option<Vec<u8>>>,
    ) -> Result<Self, TokenizerError> {
        let read = |name: &str| {
            read(name, LARGEST_FILE).map_err(|error| {
                let kind = match error.kind() {
                    std::io::ErrorKind::FileTooLarge => TokenizerErrorKind::TooLarge,
                    _ => TokenizerErrorKind::Read,
                };
                let message = format!("could not be read: {error}");
                TokenizerError::new(kind, name, message).with_source(error)
            })
        };
        let mut config = TokenizerConfig::parse(read(CONFIG_FILE)?.as_deref())?;
        if config.tokenizer_class()?.is_none() {
            config.class_of_model(read(MODEL_FILE)?.as_deref());
        }
        if let Some(json) = read(JSON_FILE)? {
            let mut inner = json::parse(&json, &config)?;
            vocab::follow_config(&mut inner, &config)?;
            Self::finish(inner, JSON_FILE, &config)
        } else if let Some(vocab) = read(VOCAB_FILE)? {
            if !config.has("added_tokens_decoder") && read(ADDED_FILE)?.is_some() {
                return Err(TokenizerError::unsupported(
                    ADDED_FILE,
                    format!("expected added tokens in {JSON_FILE} or {CONFIG_FILE}"),
                ));
            }
            Self::finish(vocab::build(&vocab, &config)?, VOCAB_FILE, &config)
        } else if let Some(vocab) = read(PAIRS_VOCAB_FILE)? {
            let Some(merges) = read(MERGES_FILE)? else {
                let message = format!("expected {MERGES_FILE} beside it, found none");
                return Err(TokenizerError::new(
                    TokenizerErrorKind::Read,
                    PAIRS_VOCAB_FILE,
                    message,
                ));
            };
            config.expect_class(PAIRS_VOCAB_FILE, &["RobertaTokenizer"])?;
            let json = byte_pairs::to_json(&vocab, &merges, &config)?;
            Self::from_built(json, Vec::new(), PAIRS_VOCAB_FILE, &config)
        } else if let Some(model) = read(SENTENCEPIECE_FILE)? {
            let camembert = config.is_class("CamembertTokenizer")?;
            let classes = ["XLMRobertaTokenizer", "CamembertTokenizer"];
            config.expect_class(SENTENCEPIECE_FILE, &classes)?;
            let (json, added) = sentencepiece::to_json(&model, &config, camembert)?;
            Self::from_built(json, added, SENTENCEPIECE_FILE, &config)
        } else {
            Err(TokenizerError::new(
                TokenizerErrorKind::Read,
                "",
                format!(
                    "expected {JSON_FILE}, {VOCAB_FILE}, {PAIRS_VOCAB_FILE} or \
                     {SENTENCEPIECE_FILE}, found none of them"
                ),
            ))
        }
    }

    /// Loads what was built from `file`, a file of another form than tokenizer.json.
    ///
    /// - `added`: special tokens that the file adds, beside those of the configuration
    fn from_built(
        json: serde_json::Value,
        added: Vec<AddedToken>,
        file: &str,
        config: &TokenizerConfig,
    ) -> Result<Self, TokenizerError> {
        let json = json.to_string();
        let parsed = json::parse(json.as_bytes(), &TokenizerConfig::default());
        let mut inner = parsed.map_err(|error| error.of_file(file))?;
        let mut special = Vec::new();
        for (key, token) in FAIRSEQ_ROLES {
            let token = config.added_token(key, AddedToken::from(token, true))?;
            special.extend(inner.token_to_id(&token.content).map(|_| token));
        }
        special.extend(added);
        let more = config.additional_special_tokens()?;
        special.extend(more.into_iter().map(|token| AddedToken::from(token, true)));
        vocab::add_tokens(&mut inner, special, file, config)?;
        Self::finish(inner, file, config)
    }

    /// Removes from the library's tokenizer the steps that this crate does itself,
    /// and tries it on a few texts.
    fn finish(
        mut inner: tokenizers::Tokenizer,
        file: &str,
        config: &TokenizerConfig,
    ) -> Result<Self, TokenizerError> {
        let single = catch_panic(|| Template::probe(&inner, false)).map_err(
            TokenizerError::damaged_by(file, "expected a post-processor that places one text"),
        )?;
        // Many models never read a pair, so a file without a template for pairs is fine.
        let pair = catch_panic(|| Template::probe(&inner, true)).ok();
        // The templates hold all that the post-processor does but the trimming of spans, and it
        // copies each sequence.
        inner.with_post_processor(None::<PostProcessorWrapper>);
        let mut special_ids: HashSet<u32> = single.special_ids().collect();
        special_ids.extend(pair.iter().flat_map(Template::special_ids));
        special_ids.extend(
            inner.get_added_tokens_decoder().iter().filter(|(_, t)| t.special).map(|(&id, _)| id),
        );
        let ids = inner.get_vocab(true).into_values().chain(special_ids.iter().copied());
        let highest_id = ids.max().unwrap_or(0);
        let cut_rule = catch_panic(|| Ok(CutRule::of(&inner))).unwrap_or(None);
        let (single, pair) = match config.reads_types()? {
            true => (single, pair),
            false => (single.without_types(), pair.map(Template::without_types)),
        };
        let tokenizer = Self {
            inner,
            single,
            pair,
            cut_rule,
            special_ids,
            highest_id,
            model_max_length: config.model_max_length()?,
        };
        for text in TRIALS {
            tokenizer.tokens(text, usize::MAX, Spans::Wanted).map_err(
                TokenizerError::damaged_by(file, format!("expected tokens of {text:?}")),
            )?;
        }
        Ok(tokenizer)
    }

    /// Number of tokens in the vocabulary, added tokens included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The largest id that a batch can hold; an embedding table needs one row more. It may be larger
    /// than `vocab_size() - 1`, because files may leave ids out.
    pub fn highest_id(&self) -> u32 {
        self.highest_id
    }

    /// The token with this id, as the vocabulary writes it (`##ing`, `▁the`).
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The id of a token, written as in the vocabulary.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// `model_max_length` of tokenizer_config.json: the longest sequence that the model was made
    /// for, in tokens, special tokens included. `None` without that file, or if it holds the huge
    /// number that means "no limit".
    pub fn model_max_length(&self) -> Option<usize> {
        self.model_max_length
    }
}

/// Texts on which a tokenizer is tried: an empty one, words, and rare characters.
const TRIALS: [&str; 3] = ["", "Hello, world", " \0\u{301}é漢🙂\u{fffd} [x]<y> "];

/// The model's configuration, whose `model_type` stands in for a missing class of tokenizers.
const MODEL_FILE: &str = "config.json";

/// Special tokens of RoBERTa, XLM-RoBERTa and CamemBERT: their keys, and what they are without.
const FAIRSEQ_ROLES: [(&str, &str); 7] = [
    ("bos_token", "<s>"),
    ("eos_token", "</s>"),
    ("unk_token", "<unk>"),
    ("sep_token", "</s>"),
    ("pad_token", "<pad>"),
    ("cls_token", "<s>"),
    ("mask_token", "<mask>"),
];

/// A file of slow tokenizers; no other file holds its tokens.
const ADDED_FILE: &str = "added_tokens.json";

fn check_size(file: &str, bytes: u64) -> Result<(), TokenizerError> {
    if bytes <= LARGEST_FILE {
        return Ok(());
    }
    Err(TokenizerError::new(
        TokenizerErrorKind::TooLarge,
        file,
        format!("expected at most {LARGEST_FILE} bytes, found {bytes}"),
    ))
}
