//! One optimizer step: its rows, its losses, what changes and how fast.

mod packed_rows;
mod loss;
mod objective;
mod kept_states;
mod state_cache;
mod rates;
mod schedule;
mod optimizer;
mod learner;

pub(crate) use kept_states::{Passes, StateCaches};
pub use learner::{ForwardTimes, Learner, StepBatch, StepOutcome, TaskStep};
#[cfg(test)]
pub(crate) use loss::testing::some_logits;
pub use loss::{
    CrossEntropy, DISTILLATION_TEMPERATURE, binary_cross_entropy, binary_cross_entropy_normaliser,
    cross_entropy, distillation, distillation_normaliser, mean_factor, squared_error,
    squared_error_normaliser,
};
pub(crate) use loss::{Softmax, sigmoid, softplus};
pub use objective::Objective;
pub use optimizer::{AdamW, AdamWSettings, GradientNorm, Moments, Update};
pub use packed_rows::{PackedRows, Targets, cut};
pub use rates::{GroupRates, RateTable};
pub use schedule::Schedule;
pub use state_cache::{CacheCounts, StateCache};
