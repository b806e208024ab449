//! Texts in, packed tokens out.

mod json;
mod vocab;
mod config;
mod catch_panic;

pub(crate) use self::config::TokenizerConfig;
#[cfg(test)]
pub(crate) use self::vocab::build as build_word_pieces;

use std::collections::HashSet;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use rayon::prelude::*;
use tokenizers::PostProcessorWrapper;

use crate::batch::{TextTokens, TokenBatch, TokenSpan};

use crate::error::{Cause, TokenizerError, TokenizerErrorKind};

use crate::long_text::CutRule;
use crate::offsets::Characters;
use crate::template::{Layout, Slot};

use self::catch_panic::catch_panic;
use self::config::CONFIG_FILE;
use self::json::JSON_FILE;
use self::vocab::VOCAB_FILE;
use crate::truncate::longest_first;

/// Files of more bytes are not read. The largest vocabularies in use take some 35 MB.
const LARGEST_FILE: u64 = 256 * 1024 * 1024;

/// One sequence to be tokenized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// A text by itself.
    Single(&'a str),
    /// Two texts in one sequence, as cross-encoders read them.
    Pair(&'a str, &'a str),
}

/// A text tokenizer as Hugging Face models have it.
///
/// Tokens equal those of the fast tokenizers in transformers. Cutting is not
/// part of the tokenizer but of each call: what a file says about padding and
/// truncation is ignored.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    /// Without padding and truncation; without post-processor unless `library_spans`.
    inner: tokenizers::Tokenizer,
    /// The post-processor moves offsets, so the library has to make them.
    library_spans: bool,
    single: Layout,
    /// None if the file has no usable template for pairs.
    pair: Option<Layout>,
    /// None if long texts are tokenized whole.
    cut_rule: Option<CutRule>,
    /// Ids of special tokens, be they in a layout or only in the vocabulary.
    special_ids: HashSet<u32>,
    highest_id: u32,
    model_max_length: Option<usize>,
}

/// Which spans a batch gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spans {
    Wanted,
    Skipped,
}

/// Tokens of one text, without special tokens.
#[derive(Default)]
struct Tokens {
    /// The first ones.
    ids: Vec<u32>,
    /// One per id; none if skipped.
    spans: Vec<TokenSpan>,
    /// How many there are in all.
    total: usize,
}

impl Tokenizer {
    /// Loads the bytes of a `tokenizer.json`.
    ///
    /// # Errors
    /// `TooLarge` above 256 MiB; `Damaged` if the bytes are not a tokenizer or
    /// one that breaks on ordinary text; `Unsupported` if it is random (dropout).
    pub fn from_json(json: &[u8]) -> Result<Self, TokenizerError> {
        check_size(JSON_FILE, json.len() as u64)?;
        Self::finish(json::parse(json)?, JSON_FILE)
    }

    /// Loads the bytes of a BERT `vocab.txt`, one token a line, and of the
    /// `tokenizer_config.json` beside it, if there is one.
    ///
    /// The config sets `do_lower_case`, `tokenize_chinese_chars`,
    /// `strip_accents`, the special tokens and `model_max_length`; what it
    /// lacks is as in bert-base-uncased.
    ///
    /// # Errors
    /// `TooLarge` above 256 MiB; `Damaged` if a file is not what it should be
    /// or a special token is not in the vocabulary; `Unsupported` if the config
    /// names a class other than BERT's.
    pub fn from_vocab(vocab: &[u8], config: Option<&[u8]>) -> Result<Self, TokenizerError> {
        check_size(VOCAB_FILE, vocab.len() as u64)?;
        let config = parse_config(config)?;
        let mut tokenizer = Self::finish(vocab::build(vocab, &config)?, VOCAB_FILE)?;
        tokenizer.model_max_length = config.model_max_length()?;
        Ok(tokenizer)
    }

    /// Loads a model folder: `tokenizer.json`, or else `vocab.txt`; and in both
    /// cases `tokenizer_config.json`, if it is there.
    ///
    /// # Errors
    /// `Read` if there is neither file or one cannot be read, and those of
    /// [`from_json`](Self::from_json) and [`from_vocab`](Self::from_vocab); the
    /// message begins with the path.
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Self, TokenizerError> {
        let folder = folder.as_ref();
        Self::from_files(folder).map_err(|error| error.within(folder))
    }

    /// As `from_folder`; errors name files without the folder.
    fn from_files(folder: &Path) -> Result<Self, TokenizerError> {
        let stored_config = read(folder, CONFIG_FILE)?;
        let config = parse_config(stored_config.as_deref())?;
        let mut tokenizer = if let Some(json) = read(folder, JSON_FILE)? {
            let mut inner = json::parse(&json)?;
            vocab::follow_config(&mut inner, &config)?;
            Self::finish(inner, JSON_FILE)?
        } else if let Some(vocab) = read(folder, VOCAB_FILE)? {
            if !config.has("added_tokens_decoder") && read(folder, ADDED_FILE)?.is_some() {
                return Err(TokenizerError::unsupported(
                    ADDED_FILE,
                    format!("expected added tokens in {JSON_FILE} or {CONFIG_FILE}"),
                ));
            }
            Self::finish(vocab::build(&vocab, &config)?, VOCAB_FILE)?
        } else {
            return Err(TokenizerError::new(
                TokenizerErrorKind::Read,
                "",
                format!("expected {JSON_FILE} or {VOCAB_FILE}, found neither"),
            ));
        };
        tokenizer.model_max_length = config.model_max_length()?;
        Ok(tokenizer)
    }

    /// Takes from the library's tokenizer what we do ourselves, and tries it out.
    fn finish(mut inner: tokenizers::Tokenizer, file: &str) -> Result<Self, TokenizerError> {
        let single = catch_panic(|| Layout::probe(&inner, false)).map_err(|source| {
            TokenizerError::damaged(file, "expected a post-processor that places one text")
                .with_source(source)
        })?;
        // Many a model never sees a pair, so a file without a template for one is fine.
        let pair = catch_panic(|| Layout::probe(&inner, true)).ok();
        let library_spans = match inner.get_post_processor() {
            None | Some(PostProcessorWrapper::Bert(_) | PostProcessorWrapper::Template(_)) => false,
            // These trim blanks off the offsets.
            Some(_) => true,
        };
        if !library_spans {
            // The layouts say all it does, and it copies each sequence.
            inner.with_post_processor(None::<PostProcessorWrapper>);
        }
        let mut special_ids: HashSet<u32> = single.special_ids().collect();
        special_ids.extend(pair.iter().flat_map(Layout::special_ids));
        special_ids.extend(
            inner.get_added_tokens_decoder().iter().filter(|(_, t)| t.special).map(|(&id, _)| id),
        );
        let ids = inner.get_vocab(true).into_values().chain(special_ids.iter().copied());
        let highest_id = ids.max().unwrap_or(0);
        let cut_rule = catch_panic(|| Ok(CutRule::of(&inner))).unwrap_or(None);
        let tokenizer = Self {
            inner,
            library_spans,
            single,
            pair,
            cut_rule,
            special_ids,
            highest_id,
            model_max_length: None,
        };
        for text in TRIALS {
            tokenizer.tokens(text, usize::MAX, Spans::Wanted).map_err(|source| {
                TokenizerError::damaged(file, format!("expected tokens of {text:?}"))
                    .with_source(source)
            })?;
        }
        Ok(tokenizer)
    }

    /// Tokenizes `inputs` into one packed batch, in order.
    ///
    /// - `max_length`: tokens of the longest sequence, special tokens included;
    ///   longer ones lose tokens at the right, pairs from the longer text
    ///   first, special tokens never
    /// - returns a batch of `inputs.len()` sequences; an empty text has only
    ///   the special tokens
    ///
    /// Runs on the rayon pool it is called in (the global one outside of any),
    /// input by input. The result does not depend on the number of threads, nor
    /// that of an input on the others.
    ///
    /// # Errors
    /// That of the first input that has one: `MaxLength` if `max_length` is
    /// less than its special tokens; `Unsupported` for a pair if the tokenizer
    /// has no template for pairs; `TooLarge` for a text of 4 GiB or more;
    /// `Text` if the tokenizer breaks on it.
    pub fn encode(
        &self,
        inputs: &[Input<'_>],
        max_length: usize,
    ) -> Result<TokenBatch, TokenizerError> {
        self.encode_with(inputs, max_length, Spans::Wanted)
    }

    fn encode_with(
        &self,
        inputs: &[Input<'_>],
        max_length: usize,
        spans: Spans,
    ) -> Result<TokenBatch, TokenizerError> {
        let one =
            |(index, input): (usize, &Input<'_>)| self.sequence(index, *input, max_length, spans);
        // Results are collected before the first error is looked for: stopping
        // at an error as rayon does would report whichever came first in time.
        let sequences: Vec<_> = match inputs {
            [input] => vec![one((0, input))],
            _ => inputs.par_iter().enumerate().map(one).collect(),
        };
        let mut batch = TokenBatch::default();
        for sequence in sequences {
            sequence?.pack(&mut batch);
        }
        Ok(batch)
    }

    /// A batch of one sequence from tokens that are known already, special tokens put
    /// around them as around a single text. They have no spans.
    ///
    /// - `max_length`: as for [`encode`](Self::encode)
    ///
    /// # Errors
    /// `Text` if an id is above [`highest_id`](Self::highest_id); `MaxLength` as for
    /// [`encode`](Self::encode).
    pub fn encode_ids(&self, ids: &[u32], max_length: usize) -> Result<TokenBatch, TokenizerError> {
        if let Some(foreign) = ids.iter().find(|id| **id > self.highest_id) {
            return Err(TokenizerError::new(
                TokenizerErrorKind::Text,
                "token ids",
                format!("expected 0 to {}, found {foreign}", self.highest_id),
            ));
        }
        let budget = budget(&self.single, max_length, "token ids")?;
        let kept = ids.len().min(budget);
        let first = Tokens {
            ids: ids[..kept].to_vec(),
            spans: vec![TokenSpan::NOWHERE; kept],
            total: ids.len(),
        };
        let second = Tokens::default();
        let mut batch = TokenBatch::default();
        Sequence { layout: &self.single, first, second, kept: (kept, 0) }.pack(&mut batch);
        Ok(batch)
    }

    /// Tokenizes one input; `index` is for messages.
    fn sequence(
        &self,
        index: usize,
        input: Input<'_>,
        max_length: usize,
        spans: Spans,
    ) -> Result<Sequence<'_>, TokenizerError> {
        let place = || format!("text {index}");
        let layout = match (input, &self.pair) {
            (Input::Single(_), _) => &self.single,
            (Input::Pair(..), Some(layout)) => layout,
            (Input::Pair(..), None) => {
                return Err(TokenizerError::unsupported(
                    place(),
                    "expected a single text, because this tokenizer has no template for pairs, found a pair",
                ));
            }
        };
        let budget = budget(layout, max_length, &place())?;
        let tokens = |text: &str| {
            if u32::try_from(text.len()).is_err() {
                return Err(TokenizerError::new(
                    TokenizerErrorKind::TooLarge,
                    place(),
                    format!("expected less than 4 GiB, found {} bytes", text.len()),
                ));
            }
            self.tokens(text, budget, spans).map_err(|source| {
                TokenizerError::new(
                    TokenizerErrorKind::Text,
                    place(),
                    format!("expected tokens of a text of {} bytes", text.len()),
                )
                .with_source(source)
            })
        };
        let (first, second) = match input {
            Input::Single(text) => (tokens(text)?, Tokens::default()),
            Input::Pair(first, second) => (tokens(first)?, tokens(second)?),
        };
        let kept = longest_first(first.total, second.total, budget);
        Ok(Sequence { layout, first, second, kept })
    }

    /// The first `keep` tokens of a text, and how many it has.
    fn tokens(&self, text: &str, keep: usize, spans: Spans) -> Result<Tokens, Cause> {
        catch_panic(|| {
            let mut tokens = Tokens::default();
            match &self.cut_rule {
                Some(rule) if text.len() > rule.piece_bytes => {
                    for piece in rule.pieces(&self.inner, text) {
                        self.add(&mut tokens, &piece.text, keep, spans, |span| piece.place(span))?;
                    }
                }
                _ => self.add(&mut tokens, text, keep, spans, |span| span)?,
            }
            Ok(tokens)
        })
    }

    /// Tokenizes `piece`, and appends to `tokens` what `keep` leaves room for.
    fn add(
        &self,
        tokens: &mut Tokens,
        piece: &str,
        keep: usize,
        spans: Spans,
        place: impl Fn(TokenSpan) -> TokenSpan,
    ) -> Result<(), Cause> {
        let room = keep - tokens.ids.len();
        let spans = if room == 0 { Spans::Skipped } else { spans };
        let encoding = match spans {
            Spans::Skipped => self.inner.encode_fast(piece, false)?,
            Spans::Wanted if self.library_spans => self.inner.encode_char_offsets(piece, false)?,
            Spans::Wanted => self.inner.encode(piece, false)?,
        };
        tokens.total += encoding.len();
        let added = room.min(encoding.len());
        tokens.ids.extend_from_slice(&encoding.get_ids()[..added]);
        if spans == Spans::Wanted {
            let offsets = &encoding.get_offsets()[..added];
            if self.library_spans {
                tokens.spans.extend(offsets.iter().map(|&offsets| place(library_span(offsets))));
            } else {
                let characters = Characters::of(piece);
                tokens.spans.extend(offsets.iter().map(|&bytes| place(characters.span(bytes))));
            }
        }
        Ok(())
    }

    /// Number of tokens in the vocabulary, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The largest id that a batch can hold: the embedding table needs one row more.
    ///
    /// Not always `vocab_size() - 1`, because files may leave ids out.
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

    /// Number of special tokens around a single text or a pair; 0 for pairs if
    /// the tokenizer has no template for them.
    pub fn special_tokens_count(&self, pair: bool) -> usize {
        let layout = if pair { self.pair.as_ref() } else { Some(&self.single) };
        layout.map_or(0, Layout::specials)
    }

    /// `model_max_length` of tokenizer_config.json: tokens of the longest
    /// sequence the model was made for, special tokens included. None without
    /// that file, or if it holds the huge number that means "no limit".
    pub fn model_max_length(&self) -> Option<usize> {
        self.model_max_length
    }

    /// Tokens at the beginning of a sequence that belong to `prompt`, for
    /// pooling that leaves the prompt out.
    ///
    /// Counted as sentence-transformers does: all tokens of the prompt by
    /// itself, special tokens included, less a special one at the end.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn count_prompt_tokens(&self, prompt: &str) -> Result<usize, TokenizerError> {
        let batch = self.encode_with(&[Input::Single(prompt)], usize::MAX, Spans::Skipped)?;
        let ends_special = batch.ids.last().is_some_and(|id| self.special_ids.contains(id));
        Ok(batch.tokens() - usize::from(ends_special))
    }
}

/// Tokens of texts that a sequence of `max_length` has room for.
fn budget(layout: &Layout, max_length: usize, place: &str) -> Result<usize, TokenizerError> {
    max_length.checked_sub(layout.specials()).ok_or_else(|| {
        TokenizerError::new(
            TokenizerErrorKind::MaxLength,
            place,
            format!(
                "expected a maximum length of at least {} special tokens, found {max_length}",
                layout.specials()
            ),
        )
    })
}

/// An input between tokenizing and packing.
struct Sequence<'a> {
    layout: &'a Layout,
    first: Tokens,
    second: Tokens,
    /// Tokens to keep of each.
    kept: (usize, usize),
}

impl Sequence<'_> {
    /// Appends the sequence to `batch`.
    fn pack(&self, batch: &mut TokenBatch) {
        for slot in self.layout.slots() {
            match *slot {
                Slot::Special { id, type_id } => {
                    batch.ids.push(id);
                    batch.type_ids.push(type_id);
                    batch.spans.push(TokenSpan::NOWHERE);
                }
                Slot::Text { second, type_id } => {
                    let (tokens, kept) = if second {
                        (&self.second, self.kept.1)
                    } else {
                        (&self.first, self.kept.0)
                    };
                    batch.ids.extend_from_slice(&tokens.ids[..kept]);
                    batch.type_ids.resize(batch.ids.len(), type_id);
                    batch.spans.extend(tokens.spans.iter().take(kept));
                }
            }
        }
        let specials = self.layout.specials();
        batch.close_sequence(TextTokens {
            total: self.first.total + self.second.total + specials,
            kept: self.kept.0 + self.kept.1 + specials,
        });
    }
}

/// Texts that each tokenizer must survive: nothing, words, and characters that
/// hardly any vocabulary has.
const TRIALS: [&str; 3] = ["", "Hello, world", " \0\u{301}é漢🙂\u{fffd} [x]<y> "];

/// Legacy file of slow tokenizers; its tokens stand in no other file.
const ADDED_FILE: &str = "added_tokens.json";

/// Offsets that the library counted in characters.
fn library_span((start, end): (usize, usize)) -> TokenSpan {
    let position = |position: usize| u32::try_from(position).unwrap_or(u32::MAX);
    let start = position(start);
    TokenSpan { start, end: position(end).max(start) }
}

fn parse_config(json: Option<&[u8]>) -> Result<TokenizerConfig, TokenizerError> {
    json.map_or_else(|| Ok(TokenizerConfig::default()), TokenizerConfig::parse)
}

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

/// The bytes of a file; none if there is no such file.
fn read(folder: &Path, name: &str) -> Result<Option<Vec<u8>>, TokenizerError> {
    let unreadable = |source: std::io::Error| {
        TokenizerError::new(TokenizerErrorKind::Read, name, "expected a readable file")
            .with_source(source)
    };
    let file = match File::open(folder.join(name)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    check_size(name, file.metadata().map_err(unreadable)?.len())?;
    let mut bytes = Vec::new();
    // The size may lie, or grow: devices say 0.
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    check_size(name, bytes.len() as u64)?;
    Ok(Some(bytes))
}
