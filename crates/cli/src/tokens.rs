//! Texts to tokens with their spelling, without loading an encoder.

use anyhow::{Context, Result};
use polyhead_model::{ModelFolder, decide_max_length};
use polyhead_text::{Input, TextTokens, TokenSpan, Tokenizer};

/// The tokens of one text.
pub(crate) struct Tokens {
    pub(crate) spelling: Vec<String>,
    pub(crate) ids: Vec<u32>,
    pub(crate) spans: Vec<TokenSpan>,
    pub(crate) counts: TextTokens,
}

/// A model's tokenizer and its limit.
pub(crate) struct TokenReader {
    tokenizer: Tokenizer,
    max_length: usize,
    lower_case: bool,
}

impl TokenReader {
    /// Of `folder`. `max_length`: what the user says, if anything.
    pub(crate) fn new(folder: &ModelFolder, max_length: Option<usize>) -> Result<Self> {
        let tokenizer = match folder.encoder_directory() {
            Some(path) => Tokenizer::from_folder(path)?,
            None => {
                let json = folder.file("tokenizer.json")?.context("built-in tokenizer")?;
                Tokenizer::from_json(json.as_slice())?
            }
        };
        let positions = folder.config.max_positions;
        let stored = tokenizer.model_max_length();
        let max_length = decide_max_length(folder.max_length, stored, positions, max_length)?;
        Ok(Self { tokenizer, max_length, lower_case: folder.lower_case })
    }

    /// `model_max_length` of the tokenizer.
    pub(crate) fn model_max_length(&self) -> Option<usize> {
        self.tokenizer.model_max_length()
    }

    /// Tokens after which a text is cut.
    pub(crate) fn max_length(&self) -> usize {
        self.max_length
    }

    /// The tokens that the encoder sees, for each text; prompts are left out.
    pub(crate) fn read(&self, texts: &[impl AsRef<str>]) -> Result<Vec<Tokens>> {
        let lower: Vec<String> = match self.lower_case {
            true => texts.iter().map(|text| text.as_ref().to_lowercase()).collect(),
            false => Vec::new(),
        };
        let inputs: Vec<_> = match self.lower_case {
            true => lower.iter().map(|text| Input::Single(text)).collect(),
            false => texts.iter().map(|text| Input::Single(text.as_ref())).collect(),
        };
        let batch = self.tokenizer.encode(&inputs, self.max_length)?;
        let spell = |&id: &u32| self.tokenizer.token(id).unwrap_or_else(|| format!("<{id}>"));
        let tokens = (0..batch.len()).map(|i| {
            let range = batch.sequence(i);
            Tokens {
                spelling: batch.ids[range.clone()].iter().map(spell).collect(),
                ids: batch.ids[range.clone()].to_vec(),
                spans: batch.spans[range].to_vec(),
                counts: batch.texts[i],
            }
        });
        Ok(tokens.collect())
    }
}
