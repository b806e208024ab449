//! Dropout in a training pass: which mask each of its sites has.

use polyhead_compute::Dropout;

/// Whether a pass trains or evaluates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Without dropout and without caches for a backward.
    Evaluate,
    /// With dropout, and with the caches that the backward reads.
    Train {
        /// Seed of the training run; dropout masks depend on it.
        seed: u64,
        /// Number of the optimizer step, counted from 1; dropout masks depend on it.
        step: u64,
    },
}

/// The site of a dropout in the network; part of the key of its mask.
#[derive(Clone, Copy)]
pub(super) enum DropoutSite {
    Embeddings,
    Attention,
    AttentionOutput,
    Output,
    HeadInput,
    HeadHidden,
}

/// Gives each site of a training pass its dropout mask, from the seed of the run and the
/// number of the step. A pass that evaluates has no dropout.
#[derive(Clone, Copy, Default)]
pub(super) struct DropoutStream(Option<(u64, u64)>);

impl DropoutStream {
    pub(super) fn from_mode(mode: Mode) -> Self {
        match mode {
            Mode::Evaluate => Self(None),
            Mode::Train { seed, step } => Self(Some((seed, step))),
        }
    }

    /// Whether the pass trains.
    pub(super) fn is_training(self) -> bool {
        self.0.is_some()
    }

    /// The dropout of one site; none in a pass that evaluates.
    pub(super) fn dropout(self, probability: f32, layer: usize, site: DropoutSite) -> Dropout {
        match self.0 {
            Some((seed, step)) if probability > 0.0 => {
                Dropout::new(probability, seed, step, layer as u32, site as u32)
            }
            _ => Dropout::none(),
        }
    }
}
