//! The network's answers for a whole split, and their metrics.
//!
//! Rows go through the network sorted by length, so that parts have similar sizes; answers are in
//! the order of the rows. How the rows are split into parts changes no value.

use polyhead_compute::{Cpu, Threads};
use polyhead_model::{Depth, Encoder, HeadSpec, Mode, Network, NetworkInput, Pass, Workspace};

use crate::data::Split;
use crate::error::{Error, ErrorKind};
use crate::step::{PART_TOKENS, PackedRows, StateCache, cut};
use crate::tasks::{Objective, SplitAnswers, TaskMetrics, answered, rules};

/// Logits of every task, in the order of the rows.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// One per task: `[rows, outputs]`, for kind `tokens` `[words, outputs]` of all words of the
    /// split (zeros for words without a token), for kinds that compare vectors `[sequences, width]`;
    /// empty for tasks that were not requested.
    pub logits: Vec<Vec<f32>>,
    /// `[sequences, embedding]`: the sentence vectors; empty if they were not requested.
    pub vectors: Vec<f32>,
}

/// The answers to compute.
pub struct EvalRequest<'a> {
    /// One flag per head: whether its logits are computed.
    pub active: &'a [bool],
    /// Whether sentence vectors are computed.
    pub vectors: bool,
    /// Number of prompt tokens at the beginning of each row.
    pub prompt_tokens: usize,
    /// The depth of training, whose `cached` states `cache` holds.
    pub depth: &'a Depth,
    /// An encoder in another precision that computes the hidden states in place of the network,
    /// which is then not trained.
    pub encoder: Option<&'a Encoder>,
}

impl Answers {
    /// Runs all rows of `split`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFinite`] if an answer holds a number that is not finite.
    pub fn of(
        network: &Network,
        threads: &Threads,
        split: &Split,
        questions: &EvalRequest,
        mut cache: Option<&mut StateCache>,
        pass: &mut Pass,
    ) -> Result<Self, Error> {
        let width = network.head_dims().embedding;
        let mut answers = Self {
            logits: (0..network.head_count())
                .map(|head| {
                    let kind = network.head_spec(head).kind;
                    let rows = match (kind.reads_words(), kind.compares()) {
                        (true, _) => split.words.places.len(),
                        (_, true) => split.tokens.len(),
                        _ => split.len(),
                    };
                    let outputs = network.head_outputs(head);
                    vec![0.0; if questions.active[head] { rows * outputs } else { 0 }]
                })
                .collect(),
            vectors: vec![0.0; if questions.vectors { split.tokens.len() * width } else { 0 }],
        };
        // Vectors need the last layer, whatever state the heads read.
        let mut depth = questions.depth.clone();
        if questions.vectors {
            depth.top = network.config().layers;
        }
        let mut order: Vec<u32> = (0..split.len() as u32).collect();
        order.sort_by_key(|row| split.row_tokens(*row as usize));
        threads.cpu(network.isa(), |cpu| {
            for range in cut(split, &order, 1, PART_TOKENS) {
                let packed = PackedRows::new(split, &order[range]);
                run_cached(network, cpu, &packed, questions, &depth, cache.as_deref_mut(), pass)?;
                if questions.vectors {
                    let input = packed.input(questions.prompt_tokens, None);
                    let vectors = network.sentence_vectors(cpu, &input, pass);
                    scatter(&packed.sequences, width, &vectors, &mut answers.vectors);
                }
                for head in (0..network.head_count()).filter(|head| questions.active[*head]) {
                    let spec = network.head_spec(head);
                    let to = &mut answers.logits[head];
                    let words: Vec<u32>;
                    let rows = if spec.kind.reads_words() {
                        words = packed.word_places().iter().map(|word| *word as u32).collect();
                        &words
                    } else if spec.kind.compares() {
                        &packed.sequences
                    } else {
                        &packed.rows
                    };
                    scatter(rows, network.head_outputs(head), pass.logits(head), to);
                }
            }
            Ok::<_, Error>(())
        })?;
        for (head, logits) in answers.logits.iter().enumerate() {
            if let Some(at) = logits.iter().position(|x| !x.is_finite()) {
                let name = &network.head_spec(head).name;
                let message =
                    format!("task `{name}`: an answer is {}: the run diverged", logits[at]);
                return Err(Error::new(ErrorKind::NotFinite, message));
            }
        }
        Ok(answers)
    }

    /// Computes the metrics of each requested task that has a label in the split.
    ///
    /// - `objectives`: one per task, for the losses
    pub fn score(
        &self,
        split: &Split,
        specs: &[HeadSpec],
        objectives: &[Objective],
    ) -> Vec<Option<TaskMetrics>> {
        (0..specs.len())
            .map(|task| {
                let logits = &self.logits[task];
                if logits.is_empty() {
                    return None;
                }
                score(logits, split, task, &specs[task], &objectives[task])
            })
            .collect()
    }
}

/// Runs one forward without training; reads hidden states from the cache, or stores them there.
fn run_cached(
    network: &Network,
    cpu: Cpu,
    packed: &PackedRows,
    questions: &EvalRequest,
    depth: &Depth,
    cache: Option<&mut StateCache>,
    pass: &mut Pass,
) -> Result<(), Error> {
    let mut cache = cache;
    let input = packed.input(questions.prompt_tokens, None);
    let states = match (questions.encoder, &mut cache) {
        (Some(encoder), _) => Some(states_of(encoder, cpu, &input, &depth.cached)),
        (None, Some(cache)) if cache.has(&packed.sequences) => Some(cache.get(&packed.sequences)?),
        _ => None,
    };
    let known: Option<Vec<&[f32]>> =
        states.as_ref().map(|states| states.iter().map(Vec::as_slice).collect());
    let input = packed.input(questions.prompt_tokens, known.as_deref());
    network.forward(cpu, &input, Mode::Evaluate, depth, questions.active, pass);
    if let (Some(cache), None) = (cache, known) {
        keep_states(network, packed, cache, pass);
    }
    Ok(())
}

/// The hidden states `wanted` of an encoder, `[N, D]` each.
fn states_of(encoder: &Encoder, cpu: Cpu, input: &NetworkInput, wanted: &[usize]) -> Vec<Vec<f32>> {
    let mut states = vec![Vec::new(); wanted.len()];
    let mut workspace = Workspace::default();
    encoder.forward_observed(cpu, input.sequences, &mut workspace, &mut |state, values| {
        if let Some(place) = wanted.iter().position(|wanted| *wanted == state) {
            states[place] = values.to_vec();
        }
    });
    states
}

/// Stores the hidden states of a pass in the cache.
pub(crate) fn keep_states(
    network: &Network,
    packed: &PackedRows,
    cache: &mut StateCache,
    pass: &Pass,
) {
    let width = network.config().hidden_size;
    let wanted = cache.states().to_vec();
    for (sequence, ends) in packed.sequences.iter().zip(packed.offsets().windows(2)) {
        let states: Vec<&[f32]> = wanted
            .iter()
            .map(|state| &pass.state(*state)[ends[0] * width..ends[1] * width])
            .collect();
        cache.put(*sequence, &states);
    }
}

/// Copies the rows of `from` to the rows of `to` with these indices.
fn scatter(rows: &[u32], width: usize, from: &[f32], to: &mut [f32]) {
    for (row, values) in rows.iter().zip(from.chunks_exact(width.max(1))) {
        to[*row as usize * width..][..width].copy_from_slice(values);
    }
}

fn score(
    logits: &[f32],
    split: &Split,
    task: usize,
    head: &HeadSpec,
    objective: &Objective,
) -> Option<TaskMetrics> {
    let loss = if objective.compares() {
        // It is one of a batch: over a whole split it is another number.
        None
    } else {
        let (logits, targets) = answered(logits, split, task, objective);
        let normaliser = objective.normaliser(&targets);
        let sum = objective.loss(&logits, &targets, 0.0, &mut []);
        (normaliser > 0.0).then(|| sum / normaliser)
    };
    let widths = objective.widths();
    rules(head.kind).score(&SplitAnswers { logits, head, split, task, loss, widths, objective })
}
