//! Rows as the network reads them: tokenized as the model does when it answers.

use polyhead_compute::Threads;
use polyhead_model::{ModelFolder, OnTruncate, Prompt, TextReader};
use polyhead_text::{TextInput, TokenBatch, spans_in_texts};

use crate::data::{Dataset, Rows};
use crate::error::{Error, ErrorKind};

/// Rows as the network reads them.
pub(crate) struct Tokenized {
    pub(crate) data: Dataset,
    pub(crate) tokenizer: TextTokenizer,
    /// Tokens at the beginning of each row that pooling leaves out.
    pub(crate) prompt_tokens: usize,
}

/// Tokenizes as the model does when it answers: with its default prompt.
pub(crate) struct TextTokenizer {
    reader: TextReader,
    prompt: String,
    lower_case: bool,
}

impl TextTokenizer {
    /// - `max_length`: absent: as the folder says; `option`: its name in messages
    pub(crate) fn new(
        (option, max_length): (&str, Option<usize>),
        folder: &ModelFolder,
    ) -> Result<Self, Error> {
        let reader =
            TextReader::from_folder(folder, max_length).map_err(|error| match error.kind() {
                polyhead_model::ErrorKind::Option => {
                    Error::new(ErrorKind::Config, format!("{option}: {error}"))
                }
                _ => Error::from(error),
            })?;
        let prompt = reader.prompt(&Prompt::Default)?;
        Ok(Self { reader, prompt, lower_case: folder.lower_case })
    }

    /// Length in tokens to which texts are truncated.
    pub(super) fn max_length(&self) -> usize {
        self.reader.max_length()
    }

    /// Tokens whose spans count characters of the inputs as they are given.
    pub(crate) fn tokenize(
        &self,
        threads: &Threads,
        inputs: &[TextInput<&str>],
    ) -> Result<TokenBatch, polyhead_model::Error> {
        let mut batch = self.reader.tokenize(threads, inputs, &self.prompt, OnTruncate::Cut)?;
        spans_in_texts(&mut batch, inputs, &self.prompt, self.lower_case);
        Ok(batch)
    }
}

/// Tokenizes all rows as the model does when it answers.
///
/// - `max_length`: as for [`TextTokenizer::new`]
pub(crate) fn tokenize(
    max_length: (&str, Option<usize>),
    folder: &ModelFolder,
    threads: &Threads,
    rows: Rows,
) -> Result<Tokenized, Error> {
    let tokenizer = TextTokenizer::new(max_length, folder)?;
    let TextTokenizer { reader, prompt, .. } = &tokenizer;
    check_prompt_fits(reader, threads, prompt, max_length.0)?;
    let data = rows.tokenize(&|inputs: &[TextInput<&str>]| tokenizer.tokenize(threads, inputs))?;
    let include_prompt = folder.modules.iter().any(
        |module| matches!(module, polyhead_model::Module::Pooling(spec) if spec.include_prompt),
    );
    let prompt_tokens = if include_prompt { 0 } else { reader.prompt_tokens(prompt)? };
    Ok(Tokenized { data, tokenizer, prompt_tokens })
}

/// Checks that the prompt and the special tokens leave a token for the text at least.
fn check_prompt_fits(
    reader: &TextReader,
    threads: &Threads,
    prompt: &str,
    option: &str,
) -> Result<(), Error> {
    let nothing = [TextInput::One("")];
    let taken = reader.tokenize(threads, &nothing, prompt, OnTruncate::Cut)?.texts[0].total;
    if taken < reader.max_length() {
        return Ok(());
    }
    let found = reader.max_length();
    let what = if prompt.is_empty() { "special tokens" } else { "prompt and special tokens" };
    let message =
        format!("{option}: expected more than the {taken} tokens that {what} take, found {found}");
    Err(Error::new(ErrorKind::Config, message))
}
