//! One optimizer step: its rows, its losses, what changes and how fast.

mod packed_rows;
mod batch;
mod state_caches;
mod shared_states;
mod state_cache;
mod rates;
mod schedule;
mod optimizer;
mod task_gradients;
mod control;
mod learner;
mod contrast;

pub use batch::StepBatch;
pub(crate) use batch::{PackedStep, Packing};
pub(crate) use contrast::ContrastTask;
pub use control::StepControl;
pub use learner::{ForwardTimes, Learner, StepOutcome, StepRates, TaskStep};
pub use optimizer::{AdamW, AdamWSettings, GradientNorm, Moments, Update};
pub(crate) use packed_rows::PART_TOKENS;
pub use packed_rows::{PackedRows, cut};
pub(crate) use rates::group_name;
pub use rates::{GroupRates, RateTable};
pub use schedule::Schedule;
pub(crate) use shared_states::SharedStates;
pub use state_cache::{CacheCounts, StateCache};
pub(crate) use state_caches::{Passes, StateCaches};
pub(crate) use task_gradients::is_shared;
pub use task_gradients::{GradientProducts, TaskGradients};
