//! The activations of a pass through the network.

use polyhead_compute::Buffer;

use crate::encoder::Workspace;
use crate::training::dropout::DropoutStream;
use crate::training::embeddings::EmbeddingCache;
use crate::training::head::HeadCache;
use crate::training::layer::{LayerCache, LayerScratch};
use crate::training::module::ModuleCache;
use crate::training::network::{Network, NetworkInput};

/// The logits of one forward, and the activations that its backward reads. Allocated once,
/// grown to the largest batch, and reused.
#[derive(Default)]
pub struct Pass {
    /// `[N]`: the dropout key of each token.
    pub(super) tokens: Vec<u64>,
    pub(super) workspace: Workspace,
    /// Hidden states, `[N, D]` each. States that the last forward did not store are stale.
    pub(super) states: Vec<Buffer>,
    pub(super) embeddings: EmbeddingCache,
    pub(super) layers: Vec<LayerCache>,
    pub(super) scratch: LayerScratch,
    pub(super) heads: Vec<HeadCache>,
    /// The sentence vectors, and the caches of the modules that made them.
    pub(super) sentence: SentenceCache,
    /// Gradients of hidden states, `[N, D]` each, as far as heads have added to them.
    pub(super) dstates: Vec<Buffer>,
    /// One flag per hidden state: whether `dstates` holds its gradient.
    pub(super) live: Vec<bool>,
    /// One flag per head: whether it was active in the last forward.
    pub(super) active: Vec<bool>,
    pub(super) stream: DropoutStream,
}

/// Activations of the pooling of the model and of its modules.
#[derive(Default)]
pub(super) struct SentenceCache {
    pub(super) modules: Vec<ModuleCache>,
    /// `[B, embedding]`: the sentence vectors; empty until a head of the pass reads them.
    pub(super) vectors: Vec<f32>,
}

impl Pass {
    /// The logits of head `head` in the last forward: `[B, outputs]`, or `[M, outputs]` for a
    /// head of kind `tokens`.
    pub fn logits(&self, head: usize) -> &[f32] {
        &self.heads[head].logits
    }

    /// The logits of head `head`, and the gradient of the loss with respect to them. The caller
    /// writes the gradient; it is 0 after a forward.
    pub fn logits_and_gradient(&mut self, head: usize) -> (&[f32], &mut [f32]) {
        let cache = &mut self.heads[head];
        (&cache.logits, &mut cache.dlogits)
    }

    /// Hidden state `state` of the last forward, `[N, D]`. It is valid if it is one of
    /// [`Depth::cached`](crate::Depth::cached) or if a head reads it.
    pub fn state(&self, state: usize) -> &[f32] {
        &self.states[state]
    }

    /// Prepares the pass for a forward with this input.
    pub(super) fn begin(
        &mut self,
        network: &Network,
        input: &NetworkInput,
        stream: DropoutStream,
        active: &[bool],
    ) {
        self.tokens.clear();
        for (ends, row) in input.sequences.offsets.windows(2).zip(input.rows) {
            let row = u64::from(*row) << 32;
            self.tokens.extend((0..(ends[1] - ends[0]) as u64).map(|position| row | position));
        }
        let layers = network.config.layers;
        self.states.resize_with(layers + 1, Buffer::default);
        self.dstates.resize_with(layers + 1, Buffer::default);
        self.layers.resize_with(layers, LayerCache::default);
        self.heads.resize_with(network.heads.len(), HeadCache::default);
        self.sentence.vectors.clear();
        self.active = active.to_vec();
        self.stream = stream;
    }

    /// The dropout key of the sequence that begins at token `at`. An empty sequence has the key of
    /// the next one, which is harmless: it has no values to drop.
    pub(super) fn key_at(&self, at: usize) -> u64 {
        self.tokens.get(at).copied().unwrap_or(0)
    }

    /// Sets the gradient of a hidden state to zero, unless a head has added to it already.
    ///
    /// - `size`: `N · D`
    pub(super) fn begin_gradient(&mut self, state: usize, size: usize) {
        if !self.live[state] {
            self.live[state] = true;
            self.dstates[state].resize(size);
            self.dstates[state].fill(0.0);
        }
    }
}
