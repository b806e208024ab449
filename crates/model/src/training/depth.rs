//! How far a pass goes up and its backward down.

use polyhead_compute::Cpu;

use crate::encoder::ParameterGroup;
use crate::heads::HeadLayer;
use crate::training::head::TrainableHead;
use crate::training::network::Network;
use crate::training::store::TrainableLayout;

/// How far up the heads of a pass read, and how far down training reaches.
///
/// Hidden states are counted as in `transformers`: 0 is the embeddings, `i` the
/// output of layer `i`, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Depth {
    /// The hidden state below which everything is frozen.
    pub start: usize,
    /// Whether the embeddings are trained; then `start` is 0.
    pub embeddings: bool,
    /// The highest hidden state that a head reads.
    pub top: usize,
    /// Hidden states that do not change while this depth is in force and that
    /// something above reads, ascending: worth keeping from epoch to epoch.
    pub cached: Vec<usize>,
    /// All hidden states that heads read.
    pub(super) read: Vec<usize>,
}

impl Network {
    /// How far a pass with these heads goes up, and its backward down.
    ///
    /// - `layout`: what is trained
    /// - `active`: one flag a head
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
        let flags = |entry: usize| layout.is_trainable(entry);
        let embeddings = (self.entries.word..=self.entries.norm.bias).any(flags);
        let lowest = self.layers.iter().position(|layer| layer.is_trainable(&flags));
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

    /// Which entries of the index the answers of these heads depend on. The
    /// others have no gradient in a step of these heads, not even one of zero.
    pub fn reached(&self, active: &[bool]) -> Vec<bool> {
        let heads = || self.heads.iter().zip(active).filter(|(_, active)| **active);
        let top = heads().map(|(head, _)| self.state_of(head)).max();
        let modules = heads().any(|(head, _)| head.reads_embedding());
        let reached = |group| match group {
            ParameterGroup::Embeddings => top.is_some(),
            ParameterGroup::Layer(layer) => top.is_some_and(|top| layer < top),
            ParameterGroup::Pooler => false,
            ParameterGroup::Module(_) => modules,
            ParameterGroup::Head(head) => active[head],
        };
        self.store.entries().iter().map(|entry| reached(entry.group)).collect()
    }

    /// Makes what a backward of this depth needs, and drops what it does not.
    pub fn prepare_backward(&mut self, cpu: Cpu, depth: &Depth) {
        let Self { layers, config, store, .. } = self;
        for (i, layer) in layers.iter_mut().enumerate() {
            match (depth.start..depth.top).contains(&i) {
                true => layer.prepare_backward(config, store, cpu),
                false => layer.drop_backward(),
            }
        }
    }

    /// The hidden state that a head without a mix reads.
    pub(super) fn state_of(&self, head: &TrainableHead) -> usize {
        match head.spec.layer {
            HeadLayer::At(layer) => layer,
            HeadLayer::Last | HeadLayer::Mix => self.config.layers,
        }
    }
}
