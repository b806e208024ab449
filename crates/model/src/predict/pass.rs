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
use crate::predict::sequences::InputSequences;
use crate::sentence::{ExtraState, Group, PassInput, SentenceEncoder};

/// A text of a batch.
#[derive(Clone, Copy)]
pub(crate) struct PassText<'a> {
    pub(crate) request: &'a ResolvedRequest,
    /// Words by each rule of the request, in its order.
    pub(crate) words: &'a [TextWords],
    pub(crate) sequences: InputSequences,
}

/// A sequence of a batch.
#[derive(Clone, Copy)]
struct PassSequence<'a> {
    /// The text, or one of those with this sequence.
    text: PassText<'a>,
    /// True if it is one text of a pair, false if it is all that its text is.
    is_side: bool,
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
pub(crate) struct BatchLogits {
    /// In order.
    pub(crate) texts: Vec<TextLogits>,
    /// Times of [`BatchAnswers::head_times`](crate::BatchAnswers::head_times).
    pub(crate) head_times: Vec<(usize, Duration)>,
}

/// Numbers of one sequence from a pass.
#[derive(Default)]
pub(super) struct SequenceNumbers {
    /// Those of its text, without heads that read two vectors; nothing for one text of a pair.
    text: TextLogits,
    /// The vectors of one text of a pair, one for each head of the request that reads two.
    pub(super) vectors: Vec<Vec<f32>>,
}

/// Numbers of some sequences from a pass.
#[derive(Default)]
pub(super) struct GroupNumbers {
    /// In order.
    pub(super) sequences: Vec<SequenceNumbers>,
    head_times: Vec<(usize, Duration)>,
}

impl GroupNumbers {
    /// Goes on with another part of the batch, in which the same heads ran.
    fn append(&mut self, mut other: Self) {
        self.sequences.append(&mut other.sequences);
        if self.head_times.is_empty() {
            self.head_times = other.head_times;
        } else {
            for ((_, all), (_, time)) in self.head_times.iter_mut().zip(other.head_times) {
                *all += time;
            }
        }
    }
}

impl GroupNumbers {
    /// The numbers of each text, without heads that read two vectors.
    pub(super) fn of_texts(self, texts: &[PassText]) -> BatchLogits {
        let Self { mut sequences, head_times } = self;
        let of_text = |text: &PassText| {
            let whole = text.sequences.whole;
            whole.map(|whole| std::mem::take(&mut sequences[whole].text)).unwrap_or_default()
        };
        BatchLogits { texts: texts.iter().map(of_text).collect(), head_times }
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
        let sequences = sequences_of(texts, batch.len());
        let SentenceEncoder { encoder, threads, workspaces, .. } = &self.encoder;
        let groups = workspaces.forward_groups(
            encoder,
            threads,
            PassInput { batch, inner: &inner },
            between,
            |groups| groups.iter().map(|_| GroupNumbers::default()).collect(),
            |cpu, group, out| {
                *out = self.answer_group(cpu, &heads, group, &sequences[group.sequences.clone()]);
            },
        );
        let numbers = groups.into_iter().fold(GroupNumbers::default(), |mut all, group| {
            all.append(group);
            all
        });
        match texts.iter().any(|text| text.sequences.sides.is_some()) {
            true => threads.cpu(encoder.isa(), |cpu| self.answer_pairs(cpu, texts, numbers)),
            false => numbers.of_texts(texts),
        }
    }

    /// [`pass`](Self::pass) with the threads of a cpu.
    pub(crate) fn pass_within(
        &self,
        cpu: Cpu,
        batch: &TokenBatch,
        texts: &[PassText],
    ) -> BatchLogits {
        let (heads, inner) = self.heads_of(texts);
        let sequences = sequences_of(texts, batch.len());
        let answer = |group: &Group| self.answer_group(cpu, &heads, group, &sequences);
        let SentenceEncoder { encoder, workspaces, .. } = &self.encoder;
        let input = PassInput { batch, inner: &inner };
        let numbers = workspaces.group(encoder, cpu, input, &(0..batch.len()), None, answer);
        self.answer_pairs(cpu, texts, numbers)
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

    /// - `sequences`: those of the group
    fn answer_group(
        &self,
        cpu: Cpu,
        heads: &[(usize, HeadInputSource)],
        group: &Group,
        sequences: &[PassSequence],
    ) -> GroupNumbers {
        let mut found: Vec<SequenceNumbers> =
            sequences.iter().map(|_| SequenceNumbers::default()).collect();
        // Heads were trained on vectors with all modules, whatever the caller gets.
        let whole = self.vectors_of(cpu, group, sequences, true);
        let bare = self.vectors_of(cpu, group, sequences, false);
        for (i, (sequence, found)) in sequences.iter().zip(&mut found).enumerate() {
            let request = sequence.text.request;
            let (plan, found) = (&request.plan, &mut found.text);
            if request.vector && !sequence.is_side {
                let vectors = if plan.normalize_modules { &whole } else { &bare };
                found.vector.resize(plan.dim, 0.0);
                self.encoder().cut(cpu, plan, vectors.of(i), &mut found.vector);
            }
            if request.token_vectors && !sequence.is_side {
                found.token_vectors = self.states(group, group.hidden, i).to_vec();
            }
        }
        let mut head_times = Vec::with_capacity(heads.len());
        for (task, reads) in heads {
            let begun = Instant::now();
            let head = &self.heads[*task];
            let reads_two = head.spec.reads_two_vectors();
            let asks = |sequence: &PassSequence| {
                sequence.is_side == reads_two && sequence.text.request.tasks.contains(task)
            };
            let asked = || (0..sequences.len()).filter(|i| asks(&sequences[*i]));
            let states = match reads {
                HeadInputSource::Last | HeadInputSource::Vector => group.hidden,
                HeadInputSource::ExtraState(place) => &group.inner[*place],
            };
            let mut x = Vec::new();
            // Numbers of each sequence that asks.
            let mut sizes = Vec::new();
            for i in asked() {
                let before = x.len();
                let text = sequences[i].text;
                match reads {
                    _ if head.spec.kind.reads_words() => {
                        let states = self.states(group, states, i);
                        self.first_tokens(cpu, states, text.words_of(&head.spec), &mut x);
                    }
                    HeadInputSource::Vector => x.extend_from_slice(whole.of(i)),
                    _ => {
                        let states = self.states(group, states, i);
                        self.pooled(cpu, &head.spec, states, text.request.prompt_tokens, &mut x);
                    }
                }
                sizes.push(x.len() - before);
            }
            let mut rest = &x[..];
            let logits;
            if !reads_two {
                logits = self::logits(cpu, head, &x);
                rest = &logits;
                let (inputs, outputs) = (head.inputs(), head.spec.outputs());
                sizes.iter_mut().for_each(|size| *size = *size / inputs * outputs);
            }
            for (i, size) in asked().zip(sizes) {
                let (mine, others) = rest.split_at(size);
                let SequenceNumbers { text, vectors } = &mut found[i];
                if reads_two { vectors } else { &mut text.logits }.push(mine.to_vec());
                rest = others;
            }
            head_times.push((*task, begun.elapsed()));
        }
        GroupNumbers { sequences: found, head_times }
    }

    /// `[T, D]` of the group's text `i`, of hidden states `[n, D]`.
    fn states<'s>(&self, group: &Group, states: &'s [f32], i: usize) -> &'s [f32] {
        let width = self.encoder().config().hidden_size;
        &states[group.offsets[i] * width..group.offsets[i + 1] * width]
    }

    /// Sentence vectors of those sequences that need them in this form.
    ///
    /// - `normalize`: whether Normalize modules run
    fn vectors_of(
        &self,
        cpu: Cpu,
        group: &Group,
        sequences: &[PassSequence],
        normalize: bool,
    ) -> SomeVectors {
        let needed = |sequence: &PassSequence| {
            let request = sequence.text.request;
            let given = request.vector && !sequence.is_side;
            given && request.plan.normalize_modules == normalize
                || request.reads_vector && normalize
        };
        let mut pooled: Vec<(Range<usize>, usize)> = Vec::new();
        let rows = sequences
            .iter()
            .zip(group.offsets.windows(2))
            .map(|(sequence, ends)| {
                needed(sequence).then(|| {
                    pooled.push((ends[0]..ends[1], sequence.text.request.plan.prompt_tokens));
                    pooled.len() - 1
                })
            })
            .collect();
        let values = if pooled.is_empty() {
            Vec::new()
        } else {
            self.encoder.modules.forward(cpu, group.hidden, &pooled, normalize)
        };
        SomeVectors { width: values.len() / pooled.len().max(1), values, rows }
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

/// Sentence vectors of some sequences of a group.
struct SomeVectors {
    /// `[sequences that have one, width]`
    values: Vec<f32>,
    width: usize,
    /// The row of each sequence of the group.
    rows: Vec<Option<usize>>,
}

impl SomeVectors {
    fn of(&self, sequence: usize) -> &[f32] {
        let row = self.rows[sequence].expect("the request of its text needs this form");
        &self.values[row * self.width..(row + 1) * self.width]
    }
}

/// The sequences of a batch.
///
/// - `count`: how many
fn sequences_of<'a>(texts: &[PassText<'a>], count: usize) -> Vec<PassSequence<'a>> {
    let mut found: Vec<Option<PassSequence>> = vec![None; count];
    for text in texts {
        let InputSequences { whole, sides } = text.sequences;
        let mut put = |sequence: usize, is_side| {
            found[sequence] = Some(PassSequence { text: *text, is_side });
        };
        whole.into_iter().for_each(|sequence| put(sequence, false));
        sides.into_iter().flatten().for_each(|sequence| put(sequence, true));
    }
    found.into_iter().map(|sequence| sequence.expect("each sequence is of a text")).collect()
}

/// `[rows, outputs]`. Where the input of a row is not finite, so are the logits,
/// also if an activation between would hide it.
pub(super) fn logits(cpu: Cpu, head: &Head, x: &[f32]) -> Vec<f32> {
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
