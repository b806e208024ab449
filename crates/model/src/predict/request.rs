//! What is asked of texts that are answered in mixed batches.
//!
//! [`MultiTaskModel::predict`] asks the same of all its texts. A server has texts
//! of many callers: each caller's options become a [`ResolvedRequest`] once, each text is
//! prepared for it, and [`MultiTaskModel::answer`] takes any texts together.

use polyhead_compute::Cpu;
use polyhead_text::{TextInput, TextTokens, TokenBatch, WordSplit};

use crate::error::{Error, ErrorKind, fail};
use crate::heads::{AnswerLimits, HeadLayer, HeadSpec, TextWords};
use crate::predict::answers::{BatchAnswers, NotFinite, TaskAnswer, TextAnswer};
use crate::predict::multi_task::MultiTaskModel;
use crate::predict::pass::{BatchLogits, PassText, TextLogits};
use crate::predict::sequences::{InputSequences, PreparedInputs};
use crate::sentence::EncodePlan;
use crate::sentence::Matrix;
use crate::sentence::{EncodeOptions, OnTruncate, Prompt, Vectors};

/// Options of a request about texts.
#[derive(Clone, Debug, Default)]
pub struct RequestOptions {
    /// The tasks that answer; absent: all that have weights. Tasks that compare the vectors of two
    /// texts are asked by name.
    pub tasks: Option<Vec<String>>,
    /// The form of the vectors that are given as well; absent: no vectors.
    pub vectors: Option<Vectors>,
    /// The prompt in front of each text.
    pub prompt: Prompt,
    /// Treatment of texts that are too long.
    pub on_truncate: OnTruncate,
    /// Classification: an answer less probable than this is withheld.
    pub abstain: Option<f32>,
    /// Tagging: spans with a lower score are left out.
    pub min_score: Option<f32>,
}

impl RequestOptions {
    /// Returns true if the task answers this request.
    pub fn asks(&self, task: &HeadSpec) -> bool {
        match &self.tasks {
            Some(names) => names.contains(&task.name),
            None => !task.kind.compares(),
        }
    }
}

/// The names of all tasks, if all answer pairs of texts: a request about pairs that names no task
/// means them. `None` if there is no task, or one that answers single texts.
pub fn pair_tasks<'a>(tasks: impl Iterator<Item = &'a HeadSpec>) -> Option<Vec<String>> {
    let name = |task: &HeadSpec| task.reads_pairs().then(|| task.name.clone());
    tasks.map(name).collect::<Option<Vec<_>>>().filter(|names| !names.is_empty())
}

/// [`RequestOptions`] resolved for a model.
pub struct ResolvedRequest {
    pub(crate) plan: EncodePlan,
    /// Indices of the heads that answer, ascending.
    pub(crate) tasks: Vec<usize>,
    pub(crate) limits: AnswerLimits,
    /// The rules by which the heads that tag words split raw texts, each once.
    pub(crate) splits: Vec<WordSplit>,
    /// True if a head that answers reads the sentence vector.
    pub(crate) reads_vector: bool,
    /// True if the whole input is read as one sequence.
    pub(crate) reads_whole: bool,
    /// True if a head that answers reads two vectors, those of the texts of a pair.
    pub(crate) reads_sides: bool,
    pub(crate) vector: bool,
    pub(crate) token_vectors: bool,
    /// Tokens at the beginning of each sequence that are the prompt's, if a head leaves them out.
    pub(crate) prompt_tokens: usize,
}

impl ResolvedRequest {
    /// The tasks that answer, as indices in [`MultiTaskModel::tasks`], ascending.
    pub fn tasks(&self) -> &[usize] {
        &self.tasks
    }
}

/// A text or a pair of texts as the encoder reads it.
pub struct PreparedText {
    /// One sequence; more of a pair of which a head reads two vectors.
    batch: TokenBatch,
    sequences: InputSequences,
    /// The words of the text, one list for each rule of the request.
    words: Vec<TextWords>,
}

impl PreparedText {
    /// Token counts before and after cutting, of all its sequences together.
    pub fn tokens(&self) -> TextTokens {
        self.sequences.tokens(&self.batch)
    }
}

impl MultiTaskModel {
    /// Resolves a request for this model.
    ///
    /// # Errors
    /// If a task is unknown or an option does not fit the model.
    pub fn resolve_request(&self, options: &RequestOptions) -> Result<ResolvedRequest, Error> {
        let limits = AnswerLimits { abstain: options.abstain, min_score: options.min_score };
        for (name, least) in [("abstain", limits.abstain), ("min_score", limits.min_score)] {
            if let Some(least) = least.filter(|least| !(0.0..=1.0).contains(least)) {
                fail!(Option, "{name}: expected 0 to 1, found {least}");
            }
        }
        for name in options.tasks.iter().flatten() {
            if !self.tasks().any(|spec| spec.name == *name) {
                let known: Vec<&str> = self.tasks().map(|spec| spec.name.as_str()).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                fail!(UnknownTask, "task `{name}`: the model has no such task (it has: {known})");
            }
        }
        let (tasks, specs): (Vec<usize>, Vec<_>) =
            self.tasks().enumerate().filter(|(_, spec)| options.asks(spec)).unzip();
        let vectors = options.vectors.unwrap_or_default();
        let plan = self.encoder().resolve(&EncodeOptions {
            normalize: vectors.normalize,
            dim: vectors.dim,
            prompt: options.prompt.clone(),
            on_truncate: match options.on_truncate {
                OnTruncate::Cut => cut_as_trained(&specs)?,
                other => other,
            },
        })?;
        let prompt_tokens = if specs.iter().all(|spec| spec.pooling.include_prompt) {
            0
        } else {
            self.encoder().reader().prompt_tokens(&plan.prompt)?
        };
        let per_token = options.vectors.is_some_and(|vectors| vectors.per_token);
        let mut splits: Vec<WordSplit> = Vec::new();
        for spec in specs.iter().filter(|spec| spec.kind.reads_words()) {
            if !splits.contains(&spec.words) {
                splits.push(spec.words.clone());
            }
        }
        let reads_two = |spec: &&HeadSpec| spec.reads_two_vectors();
        Ok(ResolvedRequest {
            splits,
            reads_whole: options.vectors.is_some()
                || specs.is_empty()
                || !specs.iter().all(reads_two),
            reads_sides: specs.iter().any(reads_two),
            reads_vector: specs
                .iter()
                .any(|spec| spec.reads_sentence_vector() && spec.layer == HeadLayer::Last),
            limits,
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
        input: &TextInput<impl AsRef<str> + Sync>,
    ) -> Result<PreparedText, Error> {
        let PreparedInputs { batch, inputs, mut words } =
            self.prepare_inputs(request, std::slice::from_ref(input))?;
        Ok(PreparedText { batch, sequences: inputs[0], words: words.pop().unwrap_or_default() })
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
        if !request.splits.is_empty() {
            return option("tasks: expected none that tags words, for a text given as token ids");
        }
        if request.reads_sides {
            return option("tasks: expected none that reads pairs, for a text given as token ids");
        }
        let batch = self.encoder.reader().batch_of_ids(ids, request.plan.on_truncate)?;
        let sequences = InputSequences { whole: Some(0), sides: None };
        Ok(PreparedText { batch, sequences, words: Vec::new() })
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
    /// The errors of [`answer`](Self::answer); also if `between` does.
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
        let mut asked = Vec::with_capacity(texts.len());
        for (request, text) in texts {
            let sequences = text.sequences.after(batch.len());
            asked.push(PassText { request, words: &text.words, sequences });
            batch.append(&text.batch);
        }
        let BatchLogits { texts: found, head_times } = pass(&batch, &asked);
        let texts = found
            .into_iter()
            .zip(&asked)
            .map(|(found, text)| self.text_answer(text, text.sequences.tokens(&batch), found));
        BatchAnswers { texts: texts.collect(), head_times }
    }

    /// The answer that the logits and vectors of one text mean.
    pub(crate) fn text_answer(
        &self,
        text: &PassText,
        tokens: TextTokens,
        found: TextLogits,
    ) -> Result<TextAnswer, NotFinite> {
        let request = text.request;
        found.check(request, &self.heads)?;
        let width = self.encoder().config().hidden_size;
        let task = |(task, logits): (&usize, Vec<f32>)| {
            let spec = &self.heads[*task].spec;
            TaskAnswer::new(*task, spec, logits, text.words_of(spec), request.limits)
        };
        Ok(TextAnswer {
            tokens,
            tasks: request.tasks.iter().zip(found.logits).map(task).collect(),
            vector: request.vector.then_some(found.vector),
            token_vectors: request.token_vectors.then(|| {
                Matrix::new(found.token_vectors.len() / width, width, found.token_vectors)
            }),
        })
    }

    /// Returns true if requests and texts that were prepared for one of the two models can be
    /// answered by the other, as with the same model loaded twice.
    pub fn is_compatible_with(&self, other: &Self) -> bool {
        let (mine, others) = (self.encoder(), other.encoder());
        self.tasks().eq(other.tasks())
            && mine.config() == others.config()
            && mine.dimension() == others.dimension()
            && mine.max_length() == others.max_length()
            && mine.reader().tokenizer().vocab_size() == others.reader().tokenizer().vocab_size()
    }
}

/// The rule for cutting pairs with which all these heads were trained.
fn cut_as_trained(specs: &[&HeadSpec]) -> Result<OnTruncate, Error> {
    let mut rules = specs.iter().filter_map(|spec| Some((spec, spec.pair?.truncation()?)));
    let Some((first, rule)) = rules.next() else { return Ok(OnTruncate::Cut) };
    match rules.find(|(_, other)| *other != rule) {
        None => Ok(OnTruncate::CutPairs(rule)),
        Some((other, differs)) => fail!(
            Option,
            "tasks: expected tasks that cut pairs by the same rule, found `{}` ({rule}) and \
             `{}` ({differs}); ask for one of them, or choose the rule",
            first.name,
            other.name
        ),
    }
}

/// A moment between two layers of a pass, with its threads.
pub struct LayerBreak<'a> {
    model: &'a MultiTaskModel,
    cpu: Cpu<'a>,
}

impl LayerBreak<'_> {
    /// Answers texts by the same model, at once; see [`MultiTaskModel::answer`].
    ///
    /// # Panics
    /// Where [`MultiTaskModel::answer`] panics.
    pub fn answer(&self, texts: &[(&ResolvedRequest, &PreparedText)]) -> BatchAnswers {
        self.model.answer_by(texts, |batch, asked| self.model.pass_within(self.cpu, batch, asked))
    }
}
