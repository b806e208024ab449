//! Dropout of a training pass: which masks its sites have.

use polyhead_compute::Dropout;

/// Whether a pass is one of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// No dropout; nothing is kept.
    Evaluate,
    /// Dropout from this seed and step; what the backward needs is kept.
    Train {
        /// Seed of the training run.
        seed: u64,
        /// Number of the optimizer step, counted from 1.
        step: u64,
    },
}

/// Where dropout falls; part of its key.
#[derive(Clone, Copy)]
pub(super) enum Site {
    Embeddings,
    Attention,
    AttentionOutput,
    Output,
    HeadInput,
    HeadHidden,
}

/// Gives each site of a training pass its dropout mask, from the seed of the run and the
/// number of the step; a pass that answers has none.
#[derive(Clone, Copy, Default)]
pub(super) struct DropoutStream(Option<(u64, u64)>);

impl DropoutStream {
    pub(super) fn of(mode: Mode) -> Self {
        match mode {
            Mode::Evaluate => Self(None),
            Mode::Train { seed, step } => Self(Some((seed, step))),
        }
    }

    /// Whether this is a pass of training.
    pub(super) fn is_training(self) -> bool {
        self.0.is_some()
    }

    /// The dropout of one site; none in a pass that answers.
    pub(super) fn dropout(self, probability: f32, layer: usize, site: Site) -> Dropout {
        match self.0 {
            Some((seed, step)) if probability > 0.0 => {
                Dropout::new(probability, seed, step, layer as u32, site as u32)
            }
            _ => Dropout::none(),
        }
    }
}
