//! Texts in, answers of every task out, from one pass of the encoder.

use polyhead_text::TokenBatch;

use crate::error::{Error, ErrorKind};
use crate::folder::ModelFolder;
use crate::heads::Head;
use crate::heads::{HeadInput, HeadSpec, TaskKind};
use crate::hub::resolve;
use crate::predict::pass::PassText;
use crate::predict::predictions::{PredictInput, PredictOptions, Predictions, TaskPredictions};
use crate::predict::request::{RequestOptions, ResolvedRequest};
use crate::predict::text_words::{TextWords, find_words};
use crate::sentence::Matrix;
use crate::sentence::SentenceEncoder;
use crate::sentence::{CHUNK_TEXTS, pipelined};
use crate::sentence::{LoadOptions, Vectors};

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
            .cpu(isa, |cpu| weights.iter().map(|head| Head::new(head, cpu)).collect());
        Ok(Self { encoder, heads })
    }

    /// The encoder, for what needs no heads.
    pub fn encoder(&self) -> &SentenceEncoder {
        &self.encoder
    }

    /// The heads of [`tasks`](Self::tasks).
    pub(crate) fn heads(&self) -> &[Head] {
        &self.heads
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
    /// ([`split_words`](polyhead_text::split_words)), as BERT's tokenizer splits before
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
            return self.predictions(&asked, self.tokens_and_words(&asked.request, inputs)?);
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
                let prepared = self.tokens_and_words(&asked.request, &inputs(chunk));
                let prepared = prepared.map_err(|e| e.after_texts(read))?;
                read += prepared.0.len();
                Ok(prepared)
            },
            |chunk, prepared| {
                let answers = self.predictions(asked, prepared);
                let answers = answers.map_err(|e| e.after_texts(before))?;
                before += answers.texts.len();
                sink(chunk, answers)
            },
        )
    }

    /// Settles `options` for this model.
    fn asked(&self, options: &PredictOptions) -> Result<Asked, Error> {
        if let Some(least) = options.abstain.filter(|least| !(0.0..=1.0).contains(least)) {
            let message = format!("abstain: expected 0 to 1, found {least}");
            return Err(Error::new(ErrorKind::Option, message));
        }
        let request = self.resolve_request(&RequestOptions {
            tasks: options.tasks.clone(),
            vectors: options.embeddings.then(Vectors::default),
            prompt: options.prompt.clone(),
            on_truncate: options.on_truncate,
        })?;
        Ok(Asked { request, abstain: options.abstain })
    }

    /// Tokens, and the words of each text if a task tags them.
    pub(crate) fn tokens_and_words(
        &self,
        request: &ResolvedRequest,
        inputs: &[PredictInput],
    ) -> Result<(TokenBatch, Vec<TextWords>), Error> {
        let texts: Vec<_> = inputs.iter().map(PredictInput::text).collect();
        let mut batch = self.encoder.tokenize_for(&request.plan, &texts)?;
        let lower_case = self.encoder.lower_case();
        let words = match request.words {
            true => find_words(inputs, &texts, &mut batch, &request.plan.prompt, lower_case),
            false => Vec::new(),
        };
        Ok((batch, words))
    }

    /// Answers to texts that are all asked the same.
    fn predictions(
        &self,
        asked: &Asked,
        (batch, words): (TokenBatch, Vec<TextWords>),
    ) -> Result<Predictions, Error> {
        let request = &asked.request;
        let texts: Vec<PassText> =
            (0..batch.len()).map(|i| PassText { request, words: words.get(i) }).collect();
        let specs: Vec<&HeadSpec> = self.tasks().collect();
        let mut vectors = Vec::new();
        let mut logits = vec![Vec::new(); request.tasks.len()];
        let numbers = self.pass(&batch, &texts, &mut |_| ()).texts;
        for (index, numbers) in numbers.into_iter().enumerate() {
            numbers.check(request, &specs).map_err(|wrong| {
                Error::new(ErrorKind::NotFinite, wrong.to_string()).of_text(index)
            })?;
            vectors.extend(numbers.vector);
            for (all, of_text) in logits.iter_mut().zip(numbers.logits) {
                all.extend(of_text);
            }
        }
        let tasks = request
            .tasks
            .iter()
            .zip(logits)
            .map(|(task, logits)| TaskPredictions::new(specs[*task], logits, &words, asked.abstain))
            .collect();
        let embeddings =
            request.vector.then(|| Matrix::new(batch.len(), request.plan.dim, vectors));
        Ok(Predictions { texts: batch.texts, embeddings, tasks })
    }
}

/// [`PredictOptions`] settled for a model.
struct Asked {
    request: ResolvedRequest,
    abstain: Option<f32>,
}
