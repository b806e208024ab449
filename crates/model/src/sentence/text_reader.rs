//! Texts to tokens, as one model reads them: prompt, case, tokenizer, maximum length.

use std::io;

use polyhead_compute::Threads;
use polyhead_text::{LengthLimit, TextInput, TokenBatch, Tokenizer, TokenizerError};

use crate::encoder::EncoderConfig;
use crate::error::{Error, ErrorKind, fail};
use crate::folder::{ModelFolder, decide_max_length, mistaken_file};
use crate::sentence::{OnTruncate, Prompt};

/// Reads texts as a model does, without the model's weights.
///
/// [`SentenceEncoder`](crate::SentenceEncoder) owns one; training tokenizes its rows with another.
pub struct TextReader {
    tokenizer: Tokenizer,
    max_length: usize,
    /// Whether texts are lower-cased before the tokenizer.
    lower_case: bool,
    prompts: Vec<(String, String)>,
    default_prompt_name: Option<String>,
    /// Rows of the encoder's table of token types; 0 without one.
    token_types: usize,
}

impl TextReader {
    /// The reader of a model folder.
    ///
    /// - `max_length`: tokens after which a text is cut; absent: as the folder says
    ///
    /// # Errors
    /// If the tokenizer cannot be loaded or does not fit the encoder;
    /// [`ErrorKind::Option`] if `max_length` does not fit the encoder.
    pub fn from_folder(folder: &ModelFolder, max_length: Option<usize>) -> Result<Self, Error> {
        let tokenizer = load_tokenizer(folder)?;
        check_vocabulary(&tokenizer, &folder.config)?;
        let max_length = decide_max_length(
            folder.max_length,
            tokenizer.model_max_length(),
            folder.config.longest_sequence(),
            max_length,
        )?;
        Ok(Self {
            tokenizer,
            max_length,
            lower_case: folder.lower_case,
            prompts: folder.prompts.clone(),
            default_prompt_name: folder.default_prompt_name.clone(),
            token_types: folder.config.type_vocab_size,
        })
    }

    /// Tokens of `inputs`, each with `prompt` before it, cut to the maximum length.
    ///
    /// # Errors
    /// If the tokenizer fails on a text, or with [`OnTruncate::Error`] a text is too
    /// long. [`Error::text`] is the number of the text.
    pub fn tokenize(
        &self,
        threads: &Threads,
        inputs: &[TextInput<impl AsRef<str> + Sync>],
        prompt: &str,
        on_truncate: OnTruncate,
    ) -> Result<TokenBatch, Error> {
        let batch = if prompt.is_empty() && !self.lower_case {
            self.encode(threads, inputs, on_truncate)
        } else {
            let case = |text: String| if self.lower_case { text.to_lowercase() } else { text };
            let changed = inputs.iter().map(|input| {
                let first = case(format!("{prompt}{}", input.text()));
                match input.second() {
                    None => TextInput::One(first),
                    Some(second) => TextInput::Pair(first, case(second.to_owned())),
                }
            });
            self.encode(threads, &changed.collect::<Vec<_>>(), on_truncate)
        };
        self.check(batch?, on_truncate)
    }

    fn encode(
        &self,
        threads: &Threads,
        inputs: &[TextInput<impl AsRef<str> + Sync>],
        on_truncate: OnTruncate,
    ) -> Result<TokenBatch, TokenizerError> {
        let limit = LengthLimit { tokens: self.max_length, truncation: on_truncate.truncation() };
        // Waking other threads for a single text takes longer than tokenizing it.
        if inputs.len() < 2 {
            return self.tokenizer.encode(inputs, limit);
        }
        self.tokenizer.encode_with(inputs, limit, |count, work| {
            threads.for_each(count, |_, index| work(index));
        })
    }

    /// One sequence from tokens of the vocabulary, given without the special tokens.
    ///
    /// # Errors
    /// If an id is not in the vocabulary; as [`tokenize`](Self::tokenize).
    pub(crate) fn batch_of_ids(
        &self,
        ids: &[u32],
        on_truncate: OnTruncate,
    ) -> Result<TokenBatch, Error> {
        self.check(self.tokenizer.encode_ids(ids, self.max_length)?, on_truncate)
    }

    fn check(&self, mut batch: TokenBatch, on_truncate: OnTruncate) -> Result<TokenBatch, Error> {
        if on_truncate == OnTruncate::Error
            && let Some(index) = batch.texts.iter().position(|text| text.truncated())
        {
            let (tokens, limit) = (batch.texts[index].total, self.max_length);
            let message = format!("expected at most {limit} tokens, found {tokens}");
            return Err(Error::new(ErrorKind::TooLong { tokens, limit }, message).of_text(index));
        }
        let types = self.token_types;
        // One type says nothing, and the classes of transformers for such encoders give none.
        if types == 1 {
            batch.type_ids.fill(0);
        }
        // The template of a tokenizer may give types that the encoder does not have.
        match batch.type_ids.iter().max() {
            Some(highest) if types > 0 && *highest as usize >= types => {
                fail!(Format, "token type {highest} of the tokenizer: the encoder has {types}")
            }
            _ => Ok(batch),
        }
    }

    /// The text of a prompt.
    ///
    /// # Errors
    /// [`ErrorKind::Option`] if the model has no prompt of that name, or the prompt leaves no room
    /// for a text.
    pub fn prompt(&self, prompt: &Prompt) -> Result<String, Error> {
        let name = match prompt {
            Prompt::None => return Ok(String::new()),
            Prompt::Text(text) => return self.with_room(text.clone(), "prompt"),
            Prompt::Named(name) => name,
            Prompt::Default => match &self.default_prompt_name {
                Some(name) => name,
                None => return Ok(String::new()),
            },
        };
        let found = self.prompts.iter().find(|(known, _)| known == name);
        let found = found.map(|(_, text)| text.clone()).ok_or_else(|| {
            let known: Vec<&str> = self.prompts.iter().map(|(name, _)| name.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let message =
                format!("prompt `{name}`: the model has no such prompt (it has: {known})");
            Error::new(ErrorKind::Option, message)
        })?;
        self.with_room(found, &format!("prompt `{name}`"))
    }

    /// The prompt, if it leaves room for a token of a text.
    fn with_room(&self, prompt: String, name: &str) -> Result<String, Error> {
        if prompt.is_empty() {
            return Ok(prompt);
        }
        let inputs = [TextInput::One(prompt.as_str())];
        let (tokens, limit) =
            (self.tokenizer.encode(&inputs, self.max_length)?.texts[0].total, self.max_length);
        if tokens < limit {
            return Ok(prompt);
        }
        fail!(
            Option,
            "{name}: expected fewer than {limit} tokens, the maximum length, so that the text has \
             room, found {tokens} with the special tokens"
        )
    }

    /// Tokens at the beginning of each sequence that `prompt` takes, special tokens included.
    ///
    /// # Errors
    /// If the tokenizer fails on the prompt.
    pub fn prompt_tokens(&self, prompt: &str) -> Result<usize, Error> {
        if prompt.is_empty() {
            return Ok(0);
        }
        Ok(self.tokenizer.count_prompt_tokens(prompt)?)
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Tokens after which a text is cut, special tokens included.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// Whether texts are lower-cased before the tokenizer.
    pub fn lower_case(&self) -> bool {
        self.lower_case
    }

    /// The prompts that the folder names, in its order: name and text.
    pub fn prompts(&self) -> &[(String, String)] {
        &self.prompts
    }

    /// The name of the prompt that precedes texts by default, if there is one.
    pub fn default_prompt_name(&self) -> Option<&str> {
        self.default_prompt_name.as_deref()
    }
}

fn load_tokenizer(folder: &ModelFolder) -> Result<Tokenizer, Error> {
    let tokenizer = Tokenizer::from_files(|name, limit| {
        let bytes = folder.read(name, limit)?;
        // An error of its own: the lines of a pointer are a vocabulary to the tokenizer.
        match bytes.as_deref().and_then(mistaken_file) {
            Some(found) => Err(io::Error::new(io::ErrorKind::InvalidData, found)),
            None => Ok(bytes),
        }
    });
    Ok(tokenizer.map_err(|error| match folder.encoder_directory() {
        Some(directory) => error.within(&directory),
        None => error,
    })?)
}

/// Every id that the tokenizer can give must be a row of the word table.
fn check_vocabulary(tokenizer: &Tokenizer, config: &EncoderConfig) -> Result<(), Error> {
    let highest = tokenizer.highest_id() as usize;
    if highest < config.vocab_size {
        return Ok(());
    }
    let rows = config.vocab_size;
    fail!(
        Format,
        "vocabulary: the tokenizer gives ids up to {highest}, the encoder has {rows} rows"
    )
}
