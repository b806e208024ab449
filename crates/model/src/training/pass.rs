//! What a pass through the network leaves.

use polyhead_compute::Buffer;

use crate::encoder::Workspace;
use crate::training::dropout::DropoutStream;
use crate::training::embeddings::EmbeddingCache;
use crate::training::head::HeadCache;
use crate::training::layer::{LayerCache, LayerScratch};
use crate::training::module::ModuleCache;
use crate::training::network::{Network, NetworkInput};

/// What one forward leaves: answers, and what the backward needs. Made once,
/// grown to the largest batch, reused.
#[derive(Default)]
pub struct Pass {
    /// Dropout keys of all tokens.
    pub(super) tokens: Vec<u64>,
    pub(super) workspace: Workspace,
    /// Hidden states, `[N, D]` each; those that were not wanted are stale.
    pub(super) states: Vec<Buffer>,
    pub(super) embeddings: EmbeddingCache,
    pub(super) layers: Vec<LayerCache>,
    pub(super) scratch: LayerScratch,
    pub(super) heads: Vec<HeadCache>,
    /// Sentence vectors by the model's own pooling, and after its modules.
    pub(super) sentence: SentenceCache,
    /// Gradients of hidden states that came from heads.
    pub(super) dstates: Vec<Buffer>,
    pub(super) live: Vec<bool>,
    pub(super) active: Vec<bool>,
    pub(super) stream: DropoutStream,
}

#[derive(Default)]
pub(super) struct SentenceCache {
    pub(super) modules: Vec<ModuleCache>,
    /// `[B, embedding]`
    pub(super) vectors: Vec<f32>,
}

impl Pass {
    /// Logits of head `head` in the last forward: `[B, outputs]`, for `tokens`
    /// heads `[M, outputs]`.
    pub fn logits(&self, head: usize) -> &[f32] {
        &self.heads[head].logits
    }

    /// Logits, and where the gradient of the loss with respect to them goes; 0
    /// until it is written.
    pub fn logits_and_gradient(&mut self, head: usize) -> (&[f32], &mut [f32]) {
        let kept = &mut self.heads[head];
        (&kept.logits, &mut kept.dlogits)
    }

    /// Hidden state `state` of the last forward, `[N, D]`, if it is one of
    /// [`Depth::cached`](crate::training::Depth::cached) or a head reads it.
    pub fn state(&self, state: usize) -> &[f32] {
        &self.states[state]
    }

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
        self.active = active.to_vec();
        self.stream = stream;
    }

    /// The dropout key of the sequence that begins at token `at`; a sequence
    /// without tokens has that of its neighbour, and nothing to drop.
    pub(super) fn key_at(&self, at: usize) -> u64 {
        self.tokens.get(at).copied().unwrap_or(0)
    }

    /// Makes the gradient of a hidden state zero, when it is first added to.
    pub(super) fn wake(&mut self, state: usize, size: usize) {
        if !self.live[state] {
            self.live[state] = true;
            self.dstates[state].resize(size);
            self.dstates[state].fill(0.0);
        }
    }
}
