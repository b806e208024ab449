//! What is asked of texts that are answered in mixed batches.
//!
//! [`MultiTaskModel::predict`] asks the same of all its texts. A server has texts
//! of many callers: each caller's options become a [`ResolvedRequest`] once, each text is
//! prepared for it, and [`MultiTaskModel::answer`] takes any texts together.

use polyhead_compute::Cpu;
use polyhead_text::{TextTokens, TokenBatch};

use crate::error::{Error, ErrorKind};
use crate::heads::{HeadInput, HeadLayer, TaskKind};
use crate::predict::multi_task::MultiTaskModel;
use crate::predict::pass::{BatchLogits, PassText, TextLogits};
use crate::predict::predictions::PredictInput;
use crate::predict::text_answer::{BatchAnswers, NotFinite, TaskAnswer, TextAnswer};
use crate::predict::text_words::TextWords;
use crate::sentence::EncodePlan;
use crate::sentence::Matrix;
use crate::sentence::{EncodeOptions, OnTruncate, Prompt, Vectors};

/// What is wanted of texts.
#[derive(Clone, Debug, Default)]
pub struct RequestOptions {
    /// The tasks that are answered; absent: all.
    pub tasks: Option<Vec<String>>,
    /// Whether vectors are given as well, and of which form.
    pub vectors: Option<Vectors>,
    /// Put before each text.
    pub prompt: Prompt,
    /// For texts that are too long.
    pub on_truncate: OnTruncate,
}

/// [`RequestOptions`] settled for a model.
pub struct ResolvedRequest {
    pub(crate) plan: EncodePlan,
    /// Places of the heads that answer, ascending.
    pub(crate) tasks: Vec<usize>,
    /// Whether a head that answers tags words.
    pub(crate) words: bool,
    /// Whether a head that answers reads the sentence vector.
    pub(crate) reads_vector: bool,
    pub(crate) vector: bool,
    pub(crate) token_vectors: bool,
    /// Tokens at the beginning of each sequence that are the prompt's, if a head leaves them out.
    pub(crate) prompt_tokens: usize,
}

impl ResolvedRequest {
    /// The tasks that answer, as places among [`MultiTaskModel::tasks`], ascending.
    pub fn tasks(&self) -> &[usize] {
        &self.tasks
    }
}

/// A text as the encoder reads it.
pub struct PreparedText {
    /// One sequence.
    batch: TokenBatch,
    words: Option<TextWords>,
}

impl PreparedText {
    /// Token counts before and after cutting.
    pub fn tokens(&self) -> TextTokens {
        self.batch.texts[0]
    }
}

impl MultiTaskModel {
    /// Settles what is asked for this model.
    ///
    /// # Errors
    /// If a task is unknown or an option does not fit the model.
    pub fn resolve_request(&self, options: &RequestOptions) -> Result<ResolvedRequest, Error> {
        for name in options.tasks.iter().flatten() {
            if !self.tasks().any(|spec| spec.name == *name) {
                let known: Vec<&str> = self.tasks().map(|spec| spec.name.as_str()).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let message =
                    format!("task `{name}`: the model has no such task (it has: {known})");
                return Err(Error::new(ErrorKind::UnknownTask, message));
            }
        }
        let vectors = options.vectors.unwrap_or_default();
        let plan = self.encoder().resolve(&EncodeOptions {
            normalize: vectors.normalize,
            dim: vectors.dim,
            prompt: options.prompt.clone(),
            on_truncate: options.on_truncate,
        })?;
        let asked = |name: &String| options.tasks.as_ref().is_none_or(|tasks| tasks.contains(name));
        let (tasks, specs): (Vec<usize>, Vec<_>) =
            self.tasks().enumerate().filter(|(_, spec)| asked(&spec.name)).unzip();
        let prompt_tokens = match specs.iter().any(|spec| !spec.pooling.include_prompt) {
            true if !plan.prompt.is_empty() => {
                self.encoder().tokenizer().count_prompt_tokens(&plan.prompt)?
            }
            _ => 0,
        };
        let per_token = options.vectors.is_some_and(|vectors| vectors.per_token);
        Ok(ResolvedRequest {
            words: specs.iter().any(|spec| spec.kind == TaskKind::Tokens),
            reads_vector: specs.iter().any(|spec| {
                spec.kind != TaskKind::Tokens
                    && spec.input == HeadInput::Embedding
                    && spec.layer == HeadLayer::Last
            }),
            vector: options.vectors.is_some() && !per_token,
            token_vectors: per_token,
            tasks,
            prompt_tokens,
            plan,
        })
    }

    /// Tokens of a text, and its words if a task tags them. Runs on the calling thread.
    ///
    /// # Errors
    /// If the tokenizer breaks on the text, or it is too long and must not be cut.
    pub fn prepare(
        &self,
        request: &ResolvedRequest,
        input: PredictInput,
    ) -> Result<PreparedText, Error> {
        let (batch, mut words) = self.tokens_and_words(request, &[input])?;
        Ok(PreparedText { batch, words: words.pop() })
    }

    /// A text that is given as tokens of the model's vocabulary: special tokens are put
    /// around them as around a text.
    ///
    /// # Errors
    /// If an id is not of the vocabulary, the request has a prompt or a task that tags
    /// words, or there are too many tokens and they must not be cut.
    pub fn prepare_ids(
        &self,
        request: &ResolvedRequest,
        ids: &[u32],
    ) -> Result<PreparedText, Error> {
        let option = |message: &str| Err(Error::new(ErrorKind::Option, message));
        if !request.plan.prompt.is_empty() {
            return option("prompt: expected none before token ids");
        }
        if request.words {
            return option("tasks: expected none that tags words, for a text given as token ids");
        }
        let batch = self.encoder().batch_of_ids(&request.plan, ids)?;
        Ok(PreparedText { batch, words: None })
    }

    /// Answers any texts in one pass of the encoder, each by its own request.
    ///
    /// The answers to a text have the same bits whatever else is in the batch: those of
    /// [`predict_with`](Self::predict_with) and of
    /// [`SentenceEncoder::encode_with`](crate::SentenceEncoder::encode_with). A text
    /// whose numbers are not finite does not spoil those of others.
    ///
    /// # Panics
    /// If a request or a text was made by a model that is not [alike](Self::is_compatible_with).
    pub fn answer(
        &self,
        texts: &[(&ResolvedRequest, &PreparedText)],
    ) -> Vec<Result<TextAnswer, NotFinite>> {
        self.answer_preemptible(texts, &mut |_| ()).texts
    }

    /// [`answer`](Self::answer) that lets others in: `between` is called in the gaps
    /// between the layers of a pass that has all threads on a long text, and may answer
    /// short texts there that would have to wait for its end.
    ///
    /// # Panics
    /// As [`answer`](Self::answer); also if `between` does.
    pub fn answer_preemptible(
        &self,
        texts: &[(&ResolvedRequest, &PreparedText)],
        between: &mut dyn FnMut(&LayerBreak),
    ) -> BatchAnswers {
        self.answer_by(texts, |batch, asked| {
            self.pass(batch, asked, &mut |cpu| between(&LayerBreak { model: self, cpu }))
        })
    }

    fn answer_by(
        &self,
        texts: &[(&ResolvedRequest, &PreparedText)],
        pass: impl FnOnce(&TokenBatch, &[PassText]) -> BatchLogits,
    ) -> BatchAnswers {
        let mut batch = TokenBatch::default();
        for (_, text) in texts {
            batch.append(&text.batch);
        }
        let asked: Vec<PassText> = texts
            .iter()
            .map(|(request, text)| PassText { request, words: text.words.as_ref() })
            .collect();
        let specs: Vec<_> = self.tasks().collect();
        let width = self.encoder().config().hidden_size;
        let answer =
            |(numbers, (request, text)): (TextLogits, &(&ResolvedRequest, &PreparedText))| {
                numbers.check(request, &specs)?;
                let words = text.words.as_slice();
                let answers = request.tasks.iter().zip(numbers.logits);
                let tokens = text.tokens();
                Ok(TextAnswer {
                    tokens,
                    tasks: answers
                        .map(|(task, logits)| TaskAnswer::new(*task, specs[*task], logits, words))
                        .collect(),
                    vector: request.vector.then_some(numbers.vector),
                    token_vectors: request
                        .token_vectors
                        .then(|| Matrix::new(tokens.kept, width, numbers.token_vectors)),
                })
            };
        let BatchLogits { texts: numbers, head_times } = pass(&batch, &asked);
        BatchAnswers { texts: numbers.into_iter().zip(texts).map(answer).collect(), head_times }
    }

    /// Whether questions and texts that were prepared for one of the two can be answered
    /// by the other, as with the same model loaded twice.
    pub fn is_compatible_with(&self, other: &Self) -> bool {
        let (mine, others) = (self.encoder(), other.encoder());
        self.tasks().eq(other.tasks())
            && mine.config() == others.config()
            && mine.dimension() == others.dimension()
            && mine.max_length() == others.max_length()
            && mine.tokenizer().vocab_size() == others.tokenizer().vocab_size()
    }
}

/// A moment between two layers of a pass, with its threads.
pub struct LayerBreak<'a> {
    model: &'a MultiTaskModel,
    cpu: Cpu<'a>,
}

impl LayerBreak<'_> {
    /// As [`MultiTaskModel::answer`], by the same model, at once.
    ///
    /// # Panics
    /// As that.
    pub fn answer(&self, texts: &[(&ResolvedRequest, &PreparedText)]) -> BatchAnswers {
        self.model.answer_by(texts, |batch, asked| self.model.pass_within(self.cpu, batch, asked))
    }
}
