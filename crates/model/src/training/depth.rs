//! The hidden states at which a pass ends and at which its backward ends.

use polyhead_compute::Cpu;

use crate::encoder::ParameterGroup;
use crate::heads::HeadLayer;
use crate::training::head::TrainableHead;
use crate::training::module::TrainableLinear;
use crate::training::network::Network;
use crate::training::store::TrainableLayout;

/// The hidden states that the heads and losses of a pass read, and those that training changes.
///
/// Hidden states are numbered as in `transformers`: state 0 is the output of the embeddings,
/// state `i` the output of layer `i`, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Everything below this hidden state is frozen.
    pub start: usize,
    /// Whether the embeddings are trained. If they are, `start` is 0.
    pub embeddings: bool,
    /// The highest hidden state that a head reads.
    pub top: usize,
    /// Hidden states, ascending, that do not change while this depth holds and that a layer or a
    /// head reads: a caller may cache them across epochs.
    pub cached: Vec<usize>,
    /// All hidden states that heads read, ascending.
    pub(super) read: Vec<usize>,
}

impl Network {
    /// How far up a pass with these heads goes, and how far down its backward.
    ///
    /// - `layout`: which parameters are trained
    /// - `active`: one flag per head
    pub fn depth(&self, layout: &TrainableLayout, active: &[bool]) -> Depth {
        let mut read: Vec<usize> = Vec::new();
        for (head, _) in self.heads.iter().zip(active).filter(|(_, active)| **active) {
            match head.spec.layer {
                HeadLayer::Last => read.push(self.config.layers),
                HeadLayer::At(layer) => read.push(layer),
                HeadLayer::Mix => read.extend(0..=self.config.layers),
            }
        }
        read.sort_unstable();
        read.dedup();
        let top = read.last().copied().unwrap_or(self.config.layers);
        let is_trained = |entry: usize| layout.is_trainable(entry);
        let entries = self.store.entries().iter().enumerate();
        let embeddings = entries
            .take_while(|(_, entry)| entry.group == ParameterGroup::Embeddings)
            .any(|(index, _)| is_trained(index));
        let lowest = self.layers.iter().position(|layer| layer.is_trainable(&is_trained));
        let start = if embeddings { 0 } else { lowest.unwrap_or(top).min(top) };
        let mut cached: Vec<usize> = Vec::new();
        if !embeddings {
            cached.extend(read.iter().filter(|state| **state <= start));
            if cached.last() != Some(&start) {
                cached.push(start);
            }
        }
        Depth { start, embeddings, top, cached, read }
    }

    /// One flag per entry of the store: whether the logits of the active heads, or the
    /// sentence vectors, depend on it. The other entries have no gradient in a step of these
    /// heads, not even one of zero.
    ///
    /// - `active`: one flag per head
    pub fn reached(&self, active: &[bool]) -> Vec<bool> {
        let active_heads = || self.heads.iter().zip(active).filter(|(_, active)| **active);
        let top = active_heads().map(|(head, _)| self.state_of(head)).max();
        let modules = active_heads().any(|(head, _)| head.spec.reads_sentence_vector());
        let reached = |group| match group {
            ParameterGroup::Embeddings => top.is_some(),
            ParameterGroup::Layer(layer) => top.is_some_and(|top| layer < top),
            ParameterGroup::Pooler => false,
            ParameterGroup::Module(_) => modules,
            ParameterGroup::Head(head) => active[head],
        };
        let mut flags: Vec<bool> =
            self.store.entries().iter().map(|entry| reached(entry.group)).collect();
        if let Some(entry) = self.entries.distance_bias {
            // The bias is in the group of the embeddings, but only layers read it.
            flags[entry] = top.is_some_and(|top| top > 0);
        }
        flags
    }

    /// Makes the transposed weights that a backward of this depth reads, and drops all others.
    pub fn prepare_backward(&mut self, cpu: Cpu, depth: &Depth) {
        let Self { layers, projection, store, .. } = self;
        match projection {
            Some(projection) if depth.embeddings => projection.prepare_backward(store, cpu),
            projection => projection.iter_mut().for_each(TrainableLinear::drop_backward),
        }
        for (i, layer) in layers.iter_mut().enumerate() {
            if (depth.start..depth.top).contains(&i) {
                layer.linears_mut().into_iter().for_each(|w| w.prepare_backward(store, cpu));
            } else {
                layer.linears_mut().into_iter().for_each(TrainableLinear::drop_backward);
            }
        }
    }

    /// The highest hidden state that a head reads.
    pub(super) fn state_of(&self, head: &TrainableHead) -> usize {
        match head.spec.layer {
            HeadLayer::At(layer) => layer,
            HeadLayer::Last | HeadLayer::Mix => self.config.layers,
        }
    }
}
