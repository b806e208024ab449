//! One pass of the encoder over texts, each with its own request: every head runs
//! on those texts that ask for it.

use std::ops::Range;
use std::time::{Duration, Instant};

use polyhead_compute::Cpu;
use polyhead_text::TokenBatch;

use crate::heads::{Head, HeadLayer, HeadSpec, TextWords};
use crate::predict::answers::NotFinite;
use crate::predict::multi_task::MultiTaskModel;
use crate::predict::request::ResolvedRequest;
use crate::sentence::{ExtraState, Group, PassInput, SentenceEncoder};

/// A text of a batch.
pub(crate) struct PassText<'a> {
    pub(crate) request: &'a ResolvedRequest,
    /// Words by each rule of the request, in its order.
    pub(crate) words: &'a [TextWords],
}

impl<'a> PassText<'a> {
    /// The words that a head tags; `None` if it tags none.
    pub(crate) fn words_of(&self, head: &HeadSpec) -> Option<&'a TextWords> {
        let rule = self.request.splits.iter().position(|split| *split == head.words)?;
        self.words.get(rule).filter(|_| head.kind.reads_words())
    }
}

/// Numbers of one text from a pass; those that were not asked for are empty.
#[derive(Default)]
pub(crate) struct TextLogits {
    /// The sentence vector, as the caller gets it.
    pub(crate) vector: Vec<f32>,
    /// `[T, D]`
    pub(crate) token_vectors: Vec<f32>,
    /// Logits of each task of the request.
    pub(crate) logits: Vec<Vec<f32>>,
}

/// Numbers of all texts from a pass.
#[derive(Default)]
pub(crate) struct BatchLogits {
    /// In order.
    pub(crate) texts: Vec<TextLogits>,
    /// Times of [`BatchAnswers::head_times`](crate::BatchAnswers::head_times).
    pub(crate) head_times: Vec<(usize, Duration)>,
}

impl BatchLogits {
    /// Goes on with another part of the batch, in which the same heads ran.
    fn append(&mut self, mut other: Self) {
        self.texts.append(&mut other.texts);
        if self.head_times.is_empty() {
            self.head_times = other.head_times;
        } else {
            for ((_, all), (_, time)) in self.head_times.iter_mut().zip(other.head_times) {
                *all += time;
            }
        }
    }
}

impl TextLogits {
    /// Returns true if all numbers are finite.
    ///
    /// - `heads`: all heads of the model
    pub(crate) fn check(&self, request: &ResolvedRequest, heads: &[Head]) -> Result<(), NotFinite> {
        let wrong = |values: &[f32]| values.iter().copied().find(|x| !x.is_finite());
        for (task, logits) in request.tasks.iter().zip(&self.logits) {
            if let Some(value) = wrong(logits) {
                return Err(NotFinite { task: Some(heads[*task].spec.name.clone()), value });
            }
        }
        match wrong(&self.vector).or_else(|| wrong(&self.token_vectors)) {
            Some(value) => Err(NotFinite { task: None, value }),
            None => Ok(()),
        }
    }
}

/// Input of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeadInputSource {
    /// The last hidden state.
    Last,
    /// One of those that are kept besides.
    ExtraState(usize),
    /// The sentence vector.
    Vector,
}

impl MultiTaskModel {
    /// - `batch`: the tokens of `texts`
    /// - `between`: as for [`Workspaces::forward_groups`](crate::sentence::Workspaces::forward_groups)
    pub(crate) fn pass(
        &self,
        batch: &TokenBatch,
        texts: &[PassText],
        between: &mut dyn FnMut(Cpu),
    ) -> BatchLogits {
        let (heads, inner) = self.heads_of(texts);
        let SentenceEncoder { encoder, threads, workspaces, .. } = &self.encoder;
        let groups = workspaces.forward_groups(
            encoder,
            threads,
            PassInput { batch, inner: &inner },
            between,
            |groups| groups.iter().map(|_| BatchLogits::default()).collect(),
            |cpu, group, out| {
                *out = self.answer_group(cpu, &heads, group, &texts[group.sequences.clone()]);
            },
        );
        groups.into_iter().fold(BatchLogits::default(), |mut all, group| {
            all.append(group);
            all
        })
    }

    /// [`pass`](Self::pass) with the threads of a cpu.
    pub(crate) fn pass_within(
        &self,
        cpu: Cpu,
        batch: &TokenBatch,
        texts: &[PassText],
    ) -> BatchLogits {
        let (heads, inner) = self.heads_of(texts);
        let answer = |group: &Group| self.answer_group(cpu, &heads, group, texts);
        let SentenceEncoder { encoder, workspaces, .. } = &self.encoder;
        let input = PassInput { batch, inner: &inner };
        workspaces.group(encoder, cpu, input, &(0..batch.len()), None, answer)
    }

    /// The heads that a text asks for, ascending, and what they read of the encoder
    /// besides its last hidden state.
    fn heads_of(&self, texts: &[PassText]) -> (Vec<(usize, HeadInputSource)>, Vec<ExtraState>) {
        let layers = self.encoder().config().layers;
        let mut asked = vec![false; self.heads.len()];
        for text in texts {
            text.request.tasks.iter().for_each(|task| asked[*task] = true);
        }
        let mut inner = Vec::new();
        let mut place = |wanted: ExtraState| {
            inner.iter().position(|other| *other == wanted).unwrap_or_else(|| {
                inner.push(wanted);
                inner.len() - 1
            })
        };
        let heads = self
            .heads
            .iter()
            .enumerate()
            .filter(|(task, _)| asked[*task])
            .map(|(task, head)| {
                let reads = match (head.spec.layer, &head.mix) {
                    (HeadLayer::Mix, Some(shares)) => {
                        HeadInputSource::ExtraState(place(ExtraState::Mix(shares.clone())))
                    }
                    (HeadLayer::At(layer), _) if layer < layers => {
                        HeadInputSource::ExtraState(place(ExtraState::State(layer)))
                    }
                    _ if head.spec.reads_sentence_vector() => HeadInputSource::Vector,
                    _ => HeadInputSource::Last,
                };
                (task, reads)
            })
            .collect();
        (heads, inner)
    }

    /// - `texts`: those of the group
    fn answer_group(
        &self,
        cpu: Cpu,
        heads: &[(usize, HeadInputSource)],
        group: &Group,
        texts: &[PassText],
    ) -> BatchLogits {
        let mut found: Vec<TextLogits> = texts.iter().map(|_| TextLogits::default()).collect();
        // Heads were trained on vectors with all modules, whatever the caller gets.
        let whole = self.vectors_of(cpu, group, texts, true);
        let bare = self.vectors_of(cpu, group, texts, false);
        for (i, (text, found)) in texts.iter().zip(&mut found).enumerate() {
            let plan = &text.request.plan;
            if text.request.vector {
                let vectors = if plan.normalize_modules { &whole } else { &bare };
                found.vector.resize(plan.dim, 0.0);
                self.encoder().cut(cpu, plan, vectors.of(i), &mut found.vector);
            }
            if text.request.token_vectors {
                found.token_vectors = self.states(group, group.hidden, i).to_vec();
            }
        }
        let mut head_times = Vec::with_capacity(heads.len());
        for (task, reads) in heads {
            let begun = Instant::now();
            let head = &self.heads[*task];
            let asked = || (0..texts.len()).filter(|i| texts[*i].request.tasks.contains(task));
            let states = match reads {
                HeadInputSource::Last | HeadInputSource::Vector => group.hidden,
                HeadInputSource::ExtraState(place) => &group.inner[*place],
            };
            let mut x = Vec::new();
            // Rows of each text that asks.
            let mut rows = Vec::new();
            for i in asked() {
                let before = x.len();
                match reads {
                    _ if head.spec.kind.reads_words() => {
                        self.first_tokens(
                            cpu,
                            self.states(group, states, i),
                            texts[i].words_of(&head.spec),
                            &mut x,
                        );
                    }
                    HeadInputSource::Vector => x.extend_from_slice(whole.of(i)),
                    _ => {
                        let prompt_tokens = texts[i].request.prompt_tokens;
                        let states = self.states(group, states, i);
                        self.pooled(cpu, &head.spec, states, prompt_tokens, &mut x);
                    }
                }
                rows.push((x.len() - before) / head.inputs());
            }
            let logits = logits(cpu, head, &x);
            let mut rest = &logits[..];
            for (i, rows) in asked().zip(rows) {
                let (mine, others) = rest.split_at(rows * head.spec.outputs());
                found[i].logits.push(mine.to_vec());
                rest = others;
            }
            head_times.push((*task, begun.elapsed()));
        }
        BatchLogits { texts: found, head_times }
    }

    /// `[T, D]` of the group's text `i`, of hidden states `[n, D]`.
    fn states<'s>(&self, group: &Group, states: &'s [f32], i: usize) -> &'s [f32] {
        let width = self.encoder().config().hidden_size;
        &states[group.offsets[i] * width..group.offsets[i + 1] * width]
    }

    /// Sentence vectors of those texts that need them in this form.
    ///
    /// - `normalize`: whether Normalize modules run
    fn vectors_of(
        &self,
        cpu: Cpu,
        group: &Group,
        texts: &[PassText],
        normalize: bool,
    ) -> SomeVectors {
        let needed = |request: &ResolvedRequest| {
            request.vector && request.plan.normalize_modules == normalize
                || request.reads_vector && normalize
        };
        let mut sequences: Vec<(Range<usize>, usize)> = Vec::new();
        let rows = texts
            .iter()
            .zip(group.offsets.windows(2))
            .map(|(text, ends)| {
                needed(text.request).then(|| {
                    sequences.push((ends[0]..ends[1], text.request.plan.prompt_tokens));
                    sequences.len() - 1
                })
            })
            .collect();
        let values = if sequences.is_empty() {
            Vec::new()
        } else {
            self.encoder.modules.forward(cpu, group.hidden, &sequences, normalize)
        };
        SomeVectors { width: values.len() / sequences.len().max(1), values, rows }
    }

    /// Appends `[modes · D]` of a text's hidden states.
    fn pooled(
        &self,
        cpu: Cpu,
        spec: &HeadSpec,
        states: &[f32],
        prompt_tokens: usize,
        x: &mut Vec<f32>,
    ) {
        let width = self.encoder().config().hidden_size;
        let before = x.len();
        x.resize(before + spec.pooling.modes.len() * width, 0.0);
        let sequence = spec.pooling.sequence(0..states.len() / width, prompt_tokens);
        cpu.pool(&spec.pooling.modes, states, width, &[sequence], &mut x[before..]);
    }

    /// Appends `[words, D]`: the first token of every word that has one.
    fn first_tokens(&self, cpu: Cpu, states: &[f32], words: Option<&TextWords>, x: &mut Vec<f32>) {
        let width = self.encoder().config().hidden_size;
        let tokens = words.iter().flat_map(|words| words.tokens.iter().flatten());
        let tokens: Vec<usize> = tokens.map(|token| *token as usize).collect();
        let before = x.len();
        x.resize(before + tokens.len() * width, 0.0);
        cpu.gather_rows(states, width, &tokens, &mut x[before..]);
    }
}

/// Sentence vectors of some texts of a group.
struct SomeVectors {
    /// `[texts that have one, width]`
    values: Vec<f32>,
    width: usize,
    /// The row of each text of the group.
    rows: Vec<Option<usize>>,
}

impl SomeVectors {
    fn of(&self, text: usize) -> &[f32] {
        let row = self.rows[text].expect("the text's request needs this form");
        &self.values[row * self.width..(row + 1) * self.width]
    }
}

/// `[rows, outputs]`. Where the input of a row is not finite, so are the logits,
/// also if an activation between would hide it.
fn logits(cpu: Cpu, head: &Head, x: &[f32]) -> Vec<f32> {
    if x.is_empty() {
        return Vec::new();
    }
    let mut logits = head.forward(cpu, x);
    let outputs = head.spec.outputs();
    for (x, logits) in x.chunks_exact(head.inputs()).zip(logits.chunks_exact_mut(outputs)) {
        if x.iter().any(|x| !x.is_finite()) {
            logits.fill(f32::NAN);
        }
    }
    logits
}
