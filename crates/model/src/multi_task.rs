//! Texts in, answers of every task out, from one pass of the encoder.

use polyhead_compute::Team;
use polyhead_text::TokenBatch;

use crate::error::{Error, ErrorKind};
use crate::folder::ModelFolder;
use crate::group_pass::{Group, Inner};
use crate::head::Head;
use crate::head_spec::{HeadInput, HeadLayer, HeadSpec, TaskKind};
use crate::hub::resolve;
use crate::options::{EncodeOptions, LoadOptions};
use crate::pipeline::{CHUNK_TEXTS, pipelined};
use crate::pooling::pool;
use crate::predictions::{PredictInput, PredictOptions, Predictions, TaskPredictions};
use crate::sentence::{Run, SentenceEncoder};
use crate::text_words::{TextWords, find_words};

/// An encoder with the heads that were trained on it.
///
/// The answers to a text have the same bits whatever else is asked with it, in
/// any order, on any number of threads.
pub struct MultiTaskModel {
    encoder: SentenceEncoder,
    heads: Vec<Head>,
}

impl MultiTaskModel {
    /// Loads a model folder, the directory of a training run, or a model of the
    /// hub by name (feature `hub`). A model without heads gives vectors only.
    ///
    /// # Errors
    /// As [`SentenceEncoder::load`].
    pub fn load(model: &str) -> Result<Self, Error> {
        Self::load_with(model, &LoadOptions::default())
    }

    /// [`load`](Self::load) with options.
    ///
    /// # Errors
    /// As [`load`](Self::load); also if an option does not fit the model.
    pub fn load_with(model: &str, options: &LoadOptions) -> Result<Self, Error> {
        Self::from_folder(ModelFolder::open(&resolve(model, options.offline)?)?, options)
    }

    /// Makes a folder that has been read ready to run.
    ///
    /// # Errors
    /// As [`SentenceEncoder::from_folder`]; also if another pooling is asked for
    /// and a head reads the sentence vector, which would no longer be what it
    /// was trained on.
    pub fn from_folder(folder: ModelFolder, options: &LoadOptions) -> Result<Self, Error> {
        let reader = folder.heads.iter().find(|head| {
            head.spec.input == HeadInput::Embedding && head.spec.kind != TaskKind::Tokens
        });
        if let (Some(head), true) = (reader, options.pooling.is_some()) {
            let message = format!(
                "pooling: expected the model's own, on whose vectors head `{}` was trained",
                head.spec.name
            );
            return Err(Error::new(ErrorKind::Option, message));
        }
        let weights = folder.heads.clone();
        let encoder = SentenceEncoder::from_folder(folder, options)?;
        let isa = encoder.isa();
        let heads = encoder
            .pool()
            .team(|team| weights.iter().map(|head| Head::new(head, isa, team)).collect());
        Ok(Self { encoder, heads })
    }

    /// The encoder, for what needs no heads.
    pub fn encoder(&self) -> &SentenceEncoder {
        &self.encoder
    }

    /// The tasks, in order.
    pub fn tasks(&self) -> impl ExactSizeIterator<Item = &HeadSpec> {
        self.heads.iter().map(|head| &head.spec)
    }

    /// Answers of all tasks to `texts`, and their sentence vectors.
    ///
    /// # Errors
    /// If an answer would hold a number that is not finite.
    pub fn predict(&self, texts: &[impl AsRef<str>]) -> Result<Predictions, Error> {
        self.predict_with(texts, &PredictOptions { embeddings: true, ..PredictOptions::default() })
    }

    /// Answers to `texts`, with options.
    ///
    /// The encoder reads each text as it is. Words that a task tags are runs
    /// without blanks and single punctuation characters
    /// ([`split_words`](crate::split_words)), as BERT's tokenizer splits before
    /// it looks for tokens: so a text gives the same answers as its words, with
    /// which the task was trained, unless the tokenizer minds blanks.
    ///
    /// # Errors
    /// As [`predict`](Self::predict); also if a task is unknown, an option does
    /// not fit the model, or a text is too long and must not be cut.
    /// [`Error::text`] tells which text.
    pub fn predict_with(
        &self,
        texts: &[impl AsRef<str>],
        options: &PredictOptions,
    ) -> Result<Predictions, Error> {
        let inputs: Vec<PredictInput> =
            texts.iter().map(|text| PredictInput::Text(text.as_ref())).collect();
        self.predict_inputs(&inputs, options)
    }

    /// Answers to texts that are given as words, which is what tagging is
    /// trained on; the encoder reads them joined by one blank.
    ///
    /// # Errors
    /// As [`predict_with`](Self::predict_with).
    pub fn predict_words(
        &self,
        texts: &[impl AsRef<[String]>],
        options: &PredictOptions,
    ) -> Result<Predictions, Error> {
        let inputs: Vec<PredictInput> =
            texts.iter().map(|words| PredictInput::Words(words.as_ref())).collect();
        self.predict_inputs(&inputs, options)
    }

    /// Answers to texts of either form.
    ///
    /// # Errors
    /// As [`predict_with`](Self::predict_with).
    pub fn predict_inputs(
        &self,
        inputs: &[PredictInput],
        options: &PredictOptions,
    ) -> Result<Predictions, Error> {
        let asked = self.asked(options)?;
        if inputs.len() <= CHUNK_TEXTS {
            return self.answer(&asked, self.prepare(&asked, inputs)?);
        }
        let mut all = Predictions::default();
        let chunks = inputs.chunks(CHUNK_TEXTS).map(Ok::<_, Error>);
        self.stream(
            &asked,
            chunks,
            |chunk| chunk.to_vec(),
            |_, part| {
                all.append(part);
                Ok(())
            },
        )?;
        Ok(all)
    }

    /// Answers to an endless supply of texts: while one chunk is answered, the
    /// next one is read and tokenized. Memory is that of a few chunks.
    ///
    /// `chunks` is asked in a thread of its own, and so is `inputs` for the texts
    /// of a chunk; `sink` gets each chunk with its answers, in order, on the
    /// calling thread.
    ///
    /// # Errors
    /// The first error of `chunks`, of answering or of `sink`, which ends it.
    /// [`Error::text`] counts from the first text of the first chunk.
    pub fn predict_chunks<C: Send, E: From<Error> + Send>(
        &self,
        chunks: impl Iterator<Item = Result<C, E>> + Send,
        inputs: impl for<'c> Fn(&'c C) -> Vec<PredictInput<'c>> + Send,
        options: &PredictOptions,
        sink: impl FnMut(C, Predictions) -> Result<(), E>,
    ) -> Result<(), E> {
        self.stream(&self.asked(options)?, chunks, inputs, sink)
    }

    fn stream<C: Send, E: From<Error> + Send>(
        &self,
        asked: &Asked,
        chunks: impl Iterator<Item = Result<C, E>> + Send,
        inputs: impl for<'c> Fn(&'c C) -> Vec<PredictInput<'c>> + Send,
        mut sink: impl FnMut(C, Predictions) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut read, mut before) = (0, 0);
        pipelined(
            chunks,
            move |chunk| {
                let prepared = self.prepare(asked, &inputs(chunk));
                let prepared = prepared.map_err(|e| e.after_texts(read))?;
                read += prepared.batch.len();
                Ok(prepared)
            },
            |chunk, prepared| {
                let answers = self.answer(asked, prepared);
                let answers = answers.map_err(|e| e.after_texts(before))?;
                before += answers.texts.len();
                sink(chunk, answers)
            },
        )
    }

    /// Settles `options` for this model.
    fn asked(&self, options: &PredictOptions) -> Result<Asked<'_>, Error> {
        let option = |message: String| Err(Error::new(ErrorKind::Option, message));
        if let Some(least) = options.abstain.filter(|least| !(0.0..=1.0).contains(least)) {
            return option(format!("abstain: expected 0 to 1, found {least}"));
        }
        for name in options.tasks.iter().flatten() {
            if !self.tasks().any(|spec| spec.name == *name) {
                let known: Vec<&str> = self.tasks().map(|spec| spec.name.as_str()).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return option(format!(
                    "task `{name}`: the model has no such task (it has: {known})"
                ));
            }
        }
        let run = self.encoder.run(&EncodeOptions {
            prompt: options.prompt.clone(),
            on_truncate: options.on_truncate,
            ..EncodeOptions::default()
        })?;
        let layers = self.encoder.config().layers;
        let mut inner = Vec::new();
        let mut place = |wanted: Inner| {
            inner.iter().position(|other| *other == wanted).unwrap_or_else(|| {
                inner.push(wanted);
                inner.len() - 1
            })
        };
        let wanted = |head: &&Head| {
            options.tasks.as_ref().is_none_or(|names| names.contains(&head.spec.name))
        };
        let heads: Vec<(&Head, Reads)> = self
            .heads
            .iter()
            .filter(wanted)
            .map(|head| {
                let reads = match (head.spec.layer, &head.mix) {
                    (HeadLayer::Mix, Some(shares)) => {
                        Reads::Inner(place(Inner::Mix(shares.clone())))
                    }
                    (HeadLayer::At(layer), _) if layer < layers => {
                        Reads::Inner(place(Inner::State(layer)))
                    }
                    _ if head.spec.kind == TaskKind::Tokens => Reads::Last,
                    _ if head.spec.input == HeadInput::Embedding => Reads::Vector,
                    _ => Reads::Last,
                };
                (head, reads)
            })
            .collect();
        let is_left_out = |(head, _): &(&Head, Reads)| !head.spec.pooling.include_prompt;
        let prompt_tokens = match heads.iter().any(is_left_out) && !run.prompt.is_empty() {
            true => self.encoder.tokenizer().count_prompt_tokens(&run.prompt)?,
            false => 0,
        };
        Ok(Asked {
            words: heads.iter().any(|(head, _)| head.spec.kind == TaskKind::Tokens),
            vectors: options.embeddings || heads.iter().any(|(_, reads)| *reads == Reads::Vector),
            embeddings: options.embeddings,
            abstain: options.abstain,
            inner,
            heads,
            prompt_tokens,
            run,
        })
    }

    /// Tokens, and the words of those who tag.
    fn prepare(&self, asked: &Asked, inputs: &[PredictInput]) -> Result<Prepared, Error> {
        let texts: Vec<_> = inputs.iter().map(PredictInput::text).collect();
        let mut batch = self.encoder.tokenize_for(&asked.run, &texts)?;
        let lower_case = self.encoder.lower_case();
        let words = match asked.words {
            true => find_words(inputs, &texts, &mut batch, &asked.run.prompt, lower_case),
            false => Vec::new(),
        };
        Ok(Prepared { batch, words })
    }

    fn answer(&self, asked: &Asked, prepared: Prepared) -> Result<Predictions, Error> {
        let Prepared { batch, words } = prepared;
        let groups = self.encoder.pass(
            &batch,
            &asked.inner,
            |groups| groups.iter().map(|_| GroupAnswer::default()).collect(),
            |team, group, out| *out = self.answer_group(team, asked, group, &words),
        );
        let mut vectors = Vec::new();
        let mut logits = vec![Vec::new(); asked.heads.len()];
        for group in groups {
            vectors.extend(group.vectors);
            for (all, of_group) in logits.iter_mut().zip(group.logits) {
                all.extend(of_group);
            }
        }
        let tasks = asked
            .heads
            .iter()
            .zip(logits)
            .map(|((head, _), logits)| {
                check_logits(&head.spec, &logits, &words)?;
                Ok(TaskPredictions::new(&head.spec, logits, &words, asked.abstain))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let embeddings = match asked.embeddings {
            true => Some(self.encoder.embeddings(&asked.run, batch.len(), &vectors)?),
            false => None,
        };
        Ok(Predictions { texts: batch.texts, embeddings, tasks })
    }

    fn answer_group(
        &self,
        team: &Team,
        asked: &Asked,
        group: &Group,
        words: &[TextWords],
    ) -> GroupAnswer {
        let vectors = match asked.vectors {
            true => self.encoder.vectors(team, &asked.run, group),
            false => Vec::new(),
        };
        let logits = asked
            .heads
            .iter()
            .map(|(head, reads)| {
                let states = match reads {
                    Reads::Last | Reads::Vector => group.hidden,
                    Reads::Inner(place) => &group.inner[*place],
                };
                let x = match (head.spec.kind, reads) {
                    (TaskKind::Tokens, _) => self.first_tokens(group, states, words),
                    (_, Reads::Vector) => vectors.clone(),
                    _ => self.pooled(&head.spec, group, states, asked.prompt_tokens),
                };
                logits(team, head, &x)
            })
            .collect();
        let vectors = if asked.embeddings { vectors } else { Vec::new() };
        GroupAnswer { vectors, logits }
    }

    /// `[b, modes · D]` of a group's hidden states.
    fn pooled(
        &self,
        spec: &HeadSpec,
        group: &Group,
        states: &[f32],
        prompt_tokens: usize,
    ) -> Vec<f32> {
        let width = self.encoder.config().hidden_size;
        let pooled = spec.pooling.modes.len() * width;
        let mut x = vec![0.0; (group.offsets.len() - 1) * pooled];
        for (ends, out) in group.offsets.windows(2).zip(x.chunks_exact_mut(pooled)) {
            let tokens = &states[ends[0] * width..ends[1] * width];
            pool(&spec.pooling, tokens, width, prompt_tokens, out);
        }
        x
    }

    /// `[words, D]`: the first token of every word that has one.
    fn first_tokens(&self, group: &Group, states: &[f32], words: &[TextWords]) -> Vec<f32> {
        let width = self.encoder.config().hidden_size;
        let mut x = Vec::new();
        for (text, start) in words[group.sequences.clone()].iter().zip(group.offsets) {
            for token in text.tokens.iter().flatten() {
                let at = start + *token as usize;
                x.extend_from_slice(&states[at * width..(at + 1) * width]);
            }
        }
        x
    }
}

/// [`PredictOptions`] settled for a model.
struct Asked<'a> {
    run: Run,
    heads: Vec<(&'a Head, Reads)>,
    /// What heads read besides the last hidden state.
    inner: Vec<Inner>,
    /// Tokens at the beginning of each sequence that are the prompt's, if a head leaves them out.
    prompt_tokens: usize,
    /// Whether a head tags words.
    words: bool,
    /// Whether sentence vectors are needed, by a head or by the caller.
    vectors: bool,
    /// Whether the caller wants them.
    embeddings: bool,
    abstain: Option<f32>,
}

/// What a head reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reads {
    /// The last hidden state.
    Last,
    /// One of [`Asked::inner`].
    Inner(usize),
    /// The sentence vector.
    Vector,
}

/// Texts ready for the encoder.
struct Prepared {
    batch: TokenBatch,
    /// One per text if a head tags words; else none.
    words: Vec<TextWords>,
}

#[derive(Default)]
struct GroupAnswer {
    /// `[b, dimension]`, before cutting.
    vectors: Vec<f32>,
    /// Of each head that was asked.
    logits: Vec<Vec<f32>>,
}

/// `[rows, outputs]`. Where the input of a row is not finite, so are the logits,
/// also if an activation between would hide it.
fn logits(team: &Team, head: &Head, x: &[f32]) -> Vec<f32> {
    if x.is_empty() {
        return Vec::new();
    }
    let mut logits = head.forward(team, x);
    let outputs = head.spec.outputs();
    for (x, logits) in x.chunks_exact(head.inputs()).zip(logits.chunks_exact_mut(outputs)) {
        if x.iter().any(|x| !x.is_finite()) {
            logits.fill(f32::NAN);
        }
    }
    logits
}

fn check_logits(spec: &HeadSpec, logits: &[f32], words: &[TextWords]) -> Result<(), Error> {
    let Some(at) = logits.iter().position(|x| !x.is_finite()) else { return Ok(()) };
    let row = at / spec.outputs();
    let text = match spec.kind {
        TaskKind::Tokens => {
            let seen = |text: &TextWords| text.tokens.iter().flatten().count();
            let ends = words.iter().map(seen).scan(0, |end, count| {
                *end += count;
                Some(*end)
            });
            ends.take_while(|end| *end <= row).count()
        }
        _ => row,
    };
    let message = format!(
        "the logits of task `{}` hold {}: the weights of this model are damaged",
        spec.name, logits[at]
    );
    Err(Error::new(ErrorKind::NotFinite, message).of_text(text))
}
