//! The sequences that the encoder reads of inputs: the whole input, and each text of a pair where a
//! head reads two vectors.

use std::collections::HashMap;

use polyhead_text::{TextInput, TextTokens, TokenBatch, spans_in_texts};

use crate::error::{Error, fail};
use crate::heads::{HeadSpec, TextWords};
use crate::predict::multi_task::MultiTaskModel;
use crate::predict::request::ResolvedRequest;

/// The sequences of an input, as indices in a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InputSequences {
    /// The whole input; `None` if nothing that is requested reads it.
    pub(crate) whole: Option<usize>,
    /// Both texts of a pair; `None` if no head reads two vectors.
    pub(crate) sides: Option<[usize; 2]>,
}

/// Inputs as the encoder reads them.
pub(crate) struct PreparedInputs {
    pub(crate) batch: TokenBatch,
    /// The sequences of each input.
    pub(crate) inputs: Vec<InputSequences>,
    /// The words of each input, by each rule of the request; empty if no task tags them.
    pub(crate) words: Vec<Vec<TextWords>>,
}

impl InputSequences {
    /// The same sequences behind `count` others.
    pub(crate) fn after(self, count: usize) -> Self {
        Self {
            whole: self.whole.map(|sequence| count + sequence),
            sides: self.sides.map(|sides| sides.map(|sequence| count + sequence)),
        }
    }

    /// Token counts of all sequences together.
    pub(crate) fn tokens(self, batch: &TokenBatch) -> TextTokens {
        let all = self.whole.into_iter().chain(self.sides.into_iter().flatten());
        let none = TextTokens { total: 0, kept: 0 };
        all.map(|sequence| batch.texts[sequence]).fold(none, |sum, tokens| TextTokens {
            total: sum.total + tokens.total,
            kept: sum.kept + tokens.kept,
        })
    }
}

impl MultiTaskModel {
    /// Checks and tokenizes inputs, and finds their words by each rule of the request. A text that
    /// stands in several pairs is one sequence.
    ///
    /// # Errors
    /// If a head does not read such an input, the tokenizer breaks on it, or it is too long and must
    /// not be cut.
    pub(crate) fn prepare_inputs(
        &self,
        request: &ResolvedRequest,
        inputs: &[TextInput<impl AsRef<str> + Sync>],
    ) -> Result<PreparedInputs, Error> {
        for (index, input) in inputs.iter().enumerate() {
            self.check_input(request, input).map_err(|error| error.of_text(index))?;
        }
        let mut batch = match request.reads_whole {
            true => self.encoder.tokenize_inputs(&request.plan, inputs)?,
            false => TokenBatch::default(),
        };
        let words = match request.splits.is_empty() {
            true => Vec::new(),
            false => self.words(request, &mut batch, inputs),
        };
        let sides = match request.reads_sides {
            true => self.append_sides(request, &mut batch, inputs)?,
            false => Vec::new(),
        };
        let sequences = (0..inputs.len()).map(|index| InputSequences {
            whole: request.reads_whole.then_some(index),
            sides: sides.get(index).copied(),
        });
        Ok(PreparedInputs { inputs: sequences.collect(), batch, words })
    }

    /// Appends the texts of pairs, each once, and returns the sequences of each pair.
    fn append_sides(
        &self,
        request: &ResolvedRequest,
        batch: &mut TokenBatch,
        pairs: &[TextInput<impl AsRef<str>>],
    ) -> Result<Vec<[usize; 2]>, Error> {
        // Looked up by key alone: the order of its entries is not the same twice.
        let mut known: HashMap<&str, usize> = HashMap::new();
        let mut texts: Vec<TextInput<&str>> = Vec::new();
        let mut first_pairs = Vec::new();
        let mut sides = Vec::with_capacity(pairs.len());
        for (index, pair) in pairs.iter().enumerate() {
            let mut sequence = |text| {
                *known.entry(text).or_insert_with(|| {
                    texts.push(TextInput::One(text));
                    first_pairs.push(index);
                    batch.len() + texts.len() - 1
                })
            };
            let TextInput::Pair(first, second) = pair else {
                unreachable!("a head that reads two vectors answers pairs: see `check_input`")
            };
            sides.push([sequence(first.as_ref()), sequence(second.as_ref())]);
        }
        let tokens = self.encoder.tokenize_inputs(&request.plan, &texts);
        batch.append(&tokens.map_err(|error| match error.text() {
            Some(text) => error.of_text(first_pairs[text]),
            None => error,
        })?);
        Ok(sides)
    }

    /// The words of each input by each rule of the request.
    ///
    /// - `batch`: the sequences of whole inputs
    fn words(
        &self,
        request: &ResolvedRequest,
        batch: &mut TokenBatch,
        inputs: &[TextInput<impl AsRef<str>>],
    ) -> Vec<Vec<TextWords>> {
        let lower_case = self.encoder.reader().lower_case();
        spans_in_texts(batch, inputs, &request.plan.prompt, lower_case);
        let words = inputs.iter().enumerate().map(|(index, input)| {
            let by_rule = request.splits.iter().map(|split| {
                let places = input.words(split);
                let tokens = batch.first_tokens(index, &places);
                let inside = batch.words_inside_tokens(index, &places, &tokens);
                TextWords { text: input.text().into_owned(), places, tokens, inside }
            });
            by_rule.collect()
        });
        words.collect()
    }

    /// Checks that the heads that answer read a text, or a pair of texts, as `input` is.
    fn check_input(
        &self,
        request: &ResolvedRequest,
        input: &TextInput<impl AsRef<str>>,
    ) -> Result<(), Error> {
        let is_pair = input.second().is_some();
        let unfit = |spec: &&HeadSpec| match spec.reads_pairs() {
            true => !is_pair,
            false => is_pair && self.records_pairs,
        };
        let asked = request.tasks.iter().map(|task| &self.heads[*task].spec);
        let name = match asked.clone().find(unfit) {
            Some(spec) => &spec.name,
            None => return Ok(()),
        };
        let (expected, found) = match is_pair {
            true => ("one text, as it was trained on single texts", "a pair of texts"),
            false => ("a pair of texts, as it was trained on pairs", "one text"),
        };
        let others: Vec<&str> =
            asked.filter(|spec| !unfit(spec)).map(|spec| spec.name.as_str()).collect();
        let hint = match others[..] {
            [] => String::new(),
            _ => format!("; tasks that read {found}: {}", others.join(", ")),
        };
        fail!(Text, "task `{name}`: expected {expected}, found {found}{hint}")
    }
}
