//! Whether a pass drops something, and the masks of it.

use polyhead_compute::Dropout;

/// Whether a pass is one of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// No dropout; nothing is kept.
    Evaluate,
    /// Dropout from this seed and step; what the backward needs is kept.
    Train {
        /// Of the run.
        seed: u64,
        /// Of the optimizer, counted from 1.
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

/// The randomness of a pass: seed and step, in training.
#[derive(Clone, Copy, Default)]
pub(super) struct Noise(Option<(u64, u64)>);

impl Noise {
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

    /// The mask of a place; none in a pass that answers.
    pub(super) fn dropout(self, probability: f32, layer: usize, site: Site) -> Dropout {
        match self.0 {
            Some((seed, step)) if probability > 0.0 => {
                Dropout::new(probability, seed, step, layer as u32, site as u32)
            }
            _ => Dropout::none(),
        }
    }
}
