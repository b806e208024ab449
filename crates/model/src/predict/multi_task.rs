//! Texts in, answers of every task out, from one pass of the encoder.

use polyhead_text::TextInput;

use crate::error::{Error, ErrorKind, fail};
use crate::folder::ModelFolder;
use crate::heads::{Head, HeadSpec};
use crate::hub::resolve;
use crate::predict::answers::Predictions;
use crate::predict::pass::PassText;
use crate::predict::request::{RequestOptions, ResolvedRequest};
use crate::predict::sequences::PreparedInputs;
use crate::rows::TextFields;
use crate::sentence::SentenceEncoder;
use crate::sentence::{CHUNK_TEXTS, stream_texts};
use crate::sentence::{LoadOptions, Vectors};

/// An encoder with the heads that were trained on it.
///
/// The answers to a text have the same bits whatever else is asked with it, in
/// any order, on any number of threads.
pub struct MultiTaskModel {
    pub(super) encoder: SentenceEncoder,
    /// The heads of [`tasks`](Self::tasks).
    pub(super) heads: Vec<Head>,
    /// True if heads without a form of pairs read single texts.
    pub(super) records_pairs: bool,
    input: Option<TextFields>,
}

impl MultiTaskModel {
    /// Loads a model folder, the directory of a training run, or a model of the
    /// hub by name (feature `hub`). A model without heads gives vectors only.
    ///
    /// # Errors
    /// The errors of [`SentenceEncoder::load`].
    pub fn load(model: &str) -> Result<Self, Error> {
        Self::load_with(model, &LoadOptions::default())
    }

    /// [`load`](Self::load) with options.
    ///
    /// # Errors
    /// The errors of [`load`](Self::load); also if an option does not fit the model.
    pub fn load_with(model: &str, options: &LoadOptions) -> Result<Self, Error> {
        Self::from_folder(ModelFolder::open(&resolve(model, options.offline)?)?, options)
    }

    /// Makes a folder that has been read ready to run.
    ///
    /// # Errors
    /// The errors of [`SentenceEncoder::from_folder`]; also if another pooling is asked for and a head reads
    /// the sentence vector, which would no longer be what it was trained on.
    pub fn from_folder(mut folder: ModelFolder, options: &LoadOptions) -> Result<Self, Error> {
        if let Some(name) = &options.task_name {
            folder.name_published_task(name)?;
        }
        let reader = folder.heads.iter().find(|head| head.spec.reads_sentence_vector());
        if let (Some(head), true) = (reader, options.pooling.is_some()) {
            fail!(
                Option,
                "pooling: expected the model's own, on whose vectors head `{}` was trained",
                head.spec.name
            );
        }
        let (weights, input) = (folder.heads.clone(), folder.input.clone());
        let records_pairs = folder.records_pairs();
        let encoder = SentenceEncoder::from_folder(folder, options)?;
        let heads = encoder
            .threads
            .cpu(encoder.isa(), |cpu| weights.iter().map(|head| Head::new(head, cpu)).collect());
        Ok(Self { encoder, heads, records_pairs, input })
    }

    /// The encoder, for what needs no heads.
    pub fn encoder(&self) -> &SentenceEncoder {
        &self.encoder
    }

    /// The tasks, in order.
    pub fn tasks(&self) -> impl ExactSizeIterator<Item = &HeadSpec> {
        self.heads.iter().map(|head| &head.spec)
    }

    /// The fields that the text of a row is made of, if there are several.
    pub fn input(&self) -> Option<&TextFields> {
        self.input.as_ref()
    }

    /// Answers of all tasks to `texts`, and their sentence vectors.
    ///
    /// # Errors
    /// If an answer would hold a number that is not finite.
    pub fn predict(&self, texts: &[impl AsRef<str>]) -> Result<Predictions, Error> {
        let vectors = Some(Vectors::default());
        self.predict_with(texts, &RequestOptions { vectors, ..RequestOptions::default() })
    }

    /// Answers to `texts`, with options.
    ///
    /// The encoder reads each text as it is. Each task that tags words splits it by its own rule
    /// ([`HeadSpec::words`]), as the words of its training data were split.
    ///
    /// # Errors
    /// The errors of [`predict`](Self::predict); also if a task is unknown, an option does not fit the model,
    /// or a text is too long and must not be cut. [`Error::text`] tells which text.
    pub fn predict_with(
        &self,
        texts: &[impl AsRef<str>],
        options: &RequestOptions,
    ) -> Result<Predictions, Error> {
        let inputs: Vec<_> = texts.iter().map(|text| TextInput::One(text.as_ref())).collect();
        self.predict_inputs(&inputs, options)
    }

    /// Answers texts, pairs of texts, or words of texts, on which tagging is trained. Tagging
    /// tasks read the words of a pair's first text. Heads that read two vectors share those of equal
    /// texts: a query beside many passages is encoded once.
    ///
    /// # Errors
    /// The errors of [`predict_with`](Self::predict_with).
    pub fn predict_inputs(
        &self,
        inputs: &[TextInput<impl AsRef<str> + Sync>],
        options: &RequestOptions,
    ) -> Result<Predictions, Error> {
        let request = self.resolve_request(options)?;
        if inputs.len() <= CHUNK_TEXTS {
            return self.predictions(&request, self.prepare_inputs(&request, inputs)?);
        }
        let count = inputs.len();
        let mut all = Predictions::default();
        stream_texts(
            (0..count).step_by(CHUNK_TEXTS).map(Ok::<_, Error>),
            |start| {
                let chunk = &inputs[*start..count.min(start + CHUNK_TEXTS)];
                Ok((chunk.len(), self.prepare_inputs(&request, chunk)?))
            },
            |prepared| self.predictions(&request, prepared),
            |_, part| {
                all.tasks = part.tasks;
                all.texts.extend(part.texts);
                Ok(())
            },
        )?;
        Ok(all)
    }

    /// Answers any number of texts as a stream: while one chunk is answered, the next is
    /// read and tokenized and the one before is written. Memory is that of a few chunks.
    ///
    /// - `chunks`: the input, read in a thread of its own
    /// - `inputs`: the texts of a chunk
    /// - `sink`: receives each chunk with its answers, in order, in another thread
    ///
    /// # Errors
    /// The first error of `chunks`, of answering or of `sink`, which ends the stream.
    /// [`Error::text`] counts from the first text of the first chunk.
    pub fn predict_stream<C: Send + 'static, E: From<Error> + Send + 'static>(
        &self,
        chunks: impl Iterator<Item = Result<C, E>> + Send + 'static,
        inputs: impl for<'c> Fn(&'c C) -> Vec<TextInput<&'c str>> + Send,
        options: &RequestOptions,
        sink: impl FnMut(C, Predictions) -> Result<(), E> + Send,
    ) -> Result<(), E> {
        let request = &self.resolve_request(options)?;
        stream_texts(
            chunks,
            move |chunk| {
                let inputs = inputs(chunk);
                Ok((inputs.len(), self.prepare_inputs(request, &inputs)?))
            },
            |prepared| self.predictions(request, prepared),
            sink,
        )
    }

    /// Answers to texts with the same request.
    fn predictions(
        &self,
        request: &ResolvedRequest,
        PreparedInputs { batch, inputs, words }: PreparedInputs,
    ) -> Result<Predictions, Error> {
        let words_of = |text: usize| words.get(text).map_or(&[][..], Vec::as_slice);
        let text = |(text, sequences)| PassText { request, words: words_of(text), sequences };
        let texts: Vec<PassText> = inputs.into_iter().enumerate().map(text).collect();
        let found = self.pass(&batch, &texts, &mut |_| ()).texts;
        let answers = found.into_iter().zip(&texts).enumerate();
        let texts = answers.map(|(index, (found, text))| {
            self.text_answer(text, text.sequences.tokens(&batch), found)
                .map_err(|wrong| Error::new(ErrorKind::NotFinite, wrong.to_string()).of_text(index))
        });
        Ok(Predictions {
            texts: texts.collect::<Result<_, _>>()?,
            tasks: request.tasks.iter().map(|task| self.heads[*task].spec.clone()).collect(),
        })
    }
}
