//! One pass of the encoder over a batch, group by group.
//!
//! Callers compute vectors, token vectors or logits from the hidden states of each
//! group while these are in the processor's cache; the pass stores no other states.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard};

use polyhead_compute::{Cpu, Threads};
use polyhead_text::TokenBatch;

use crate::encoder::Workspace;
use crate::encoder::{Encoder, Sequences};
use crate::sentence::plan::{Plan, plan};

/// Something that is read of the encoder besides its last hidden state.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ExtraState {
    /// A hidden state, counted as in [`Encoder::forward_observed`].
    State(usize),
    /// `Σ shareᵢ · stateᵢ`; `[L + 1]`
    Mix(Vec<f32>),
}

/// Neighbouring sequences of a batch after the encoder.
pub(crate) struct Group<'a> {
    /// Which of the batch.
    pub(crate) sequences: Range<usize>,
    /// `[b + 1]`, from 0 to `n`.
    pub(crate) offsets: &'a [usize],
    /// `[n, D]`: the last hidden state.
    pub(crate) hidden: &'a [f32],
    /// `[n, D]` for each [`ExtraState`] that was asked for.
    pub(crate) inner: &'a [Vec<f32>],
}

/// What the encoder runs over.
#[derive(Clone, Copy)]
pub(crate) struct PassInput<'a> {
    pub(crate) batch: &'a TokenBatch,
    /// What is wanted besides the last hidden state; nothing costs nothing.
    pub(crate) inner: &'a [ExtraState],
}

/// Called between two layers; the threads of the cpu are free then.
pub(crate) type Between<'a> = Option<&'a mut dyn FnMut(Cpu)>;

/// The memory of passes, kept from one to the next.
#[derive(Default)]
pub(crate) struct Workspaces(Mutex<Vec<GroupWorkspace>>);

#[derive(Default)]
struct GroupWorkspace {
    encoder: Workspace,
    inner: Vec<Vec<f32>>,
}

impl Workspaces {
    /// Runs the encoder over all sequences. `finish(cpu, group, out)` gets each
    /// group with its part of `outs`, on the thread that ran it.
    ///
    /// - `between(cpu)`: called between the layers of a pass that has all threads on one
    ///   group, when they are free for something else
    /// - `outs(groups)`: one for each range of sequences, in order
    /// - returns what `finish` made of them
    ///
    /// The hidden states of a sequence do not depend on the groups.
    pub(crate) fn forward_groups<O: Send>(
        &self,
        encoder: &Encoder,
        threads: &Threads,
        input: PassInput,
        between: &mut dyn FnMut(Cpu),
        outs: impl FnOnce(&[Range<usize>]) -> Vec<O>,
        finish: impl Fn(Cpu, &Group, &mut O) + Sync,
    ) -> Vec<O> {
        let one = |cpu: Cpu, sequences: &Range<usize>, between: Between, out: &mut O| {
            self.group(encoder, cpu, input, sequences, between, |group| {
                finish(cpu, group, out);
            });
        };
        let batch = input.batch;
        match plan(&batch.offsets, threads.count()) {
            Plan::Together => {
                let all = 0..batch.len();
                let mut outs = outs(std::slice::from_ref(&all));
                threads.cpu(encoder.isa(), |cpu| one(cpu, &all, Some(between), &mut outs[0]));
                outs
            }
            Plan::Groups(groups) => {
                let outs: Vec<Mutex<O>> = outs(&groups).into_iter().map(Mutex::new).collect();
                threads.for_each(groups.len(), |team, i| {
                    let mut out = outs[i].lock().unwrap_or_else(|e| e.into_inner());
                    one(Cpu::new(team, encoder.isa()), &groups[i], None, &mut out);
                });
                outs.into_iter()
                    .map(|out| out.into_inner().unwrap_or_else(|e| e.into_inner()))
                    .collect()
            }
        }
    }

    /// Runs the encoder over some sequences of a batch with the threads of `cpu`.
    pub(crate) fn group<R>(
        &self,
        encoder: &Encoder,
        cpu: Cpu,
        PassInput { batch, inner }: PassInput,
        sequences: &Range<usize>,
        between: Between,
        finish: impl FnOnce(&Group) -> R,
    ) -> R {
        let mut workspace = self.spare().pop().unwrap_or_default();
        let tokens = batch.offsets[sequences.start]..batch.offsets[sequences.end];
        let ends = &batch.offsets[sequences.start..=sequences.end];
        let offsets: Vec<usize> = ends.iter().map(|offset| offset - tokens.start).collect();
        let input = Sequences {
            ids: &batch.ids[tokens.clone()],
            type_ids: &batch.type_ids[tokens],
            offsets: &offsets,
        };
        let (hidden, inner) = workspace.forward(encoder, cpu, input, inner, between);
        let group = Group { sequences: sequences.clone(), offsets: &offsets, hidden, inner };
        let result = finish(&group);
        self.spare().push(workspace);
        result
    }

    fn spare(&self) -> MutexGuard<'_, Vec<GroupWorkspace>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl GroupWorkspace {
    /// The last hidden state, and what is wanted besides.
    fn forward(
        &mut self,
        encoder: &Encoder,
        cpu: Cpu,
        input: Sequences,
        wanted: &[ExtraState],
        mut between: Between,
    ) -> (&[f32], &[Vec<f32>]) {
        let Self { encoder: workspace, inner } = self;
        let layers = encoder.config().layers;
        inner.resize_with(wanted.len(), Vec::new);
        let hidden = encoder.forward_observed(cpu, input, workspace, &mut |state, values| {
            for (wanted, kept) in wanted.iter().zip(inner.iter_mut()) {
                match wanted {
                    ExtraState::State(other) if *other == state => {
                        kept.clear();
                        kept.extend_from_slice(values);
                    }
                    ExtraState::State(_) => {}
                    ExtraState::Mix(shares) => {
                        if state == 0 {
                            kept.clear();
                            kept.resize(values.len(), 0.0);
                        }
                        cpu.add_scaled(shares[state], values, kept);
                    }
                }
            }
            if let Some(between) = between.as_mut().filter(|_| state < layers) {
                between(cpu);
            }
        });
        (hidden, inner)
    }
}

/// Parts of `values` for the groups of a batch.
///
/// - `start(i)`: where in `values` sequence `i` begins; `start(B)` is the end
pub(crate) fn parts<'v>(
    mut values: &'v mut [f32],
    groups: &[Range<usize>],
    start: impl Fn(usize) -> usize,
) -> Vec<&'v mut [f32]> {
    let part = |group: &Range<usize>| {
        let size = start(group.end) - start(group.start);
        let (part, rest) = std::mem::take(&mut values).split_at_mut(size);
        values = rest;
        part
    };
    groups.iter().map(part).collect()
}
