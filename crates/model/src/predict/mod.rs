//! Texts to the answers of every head, from one pass of the encoder.

mod multi_task;
mod request;
mod sequences;
mod pass;
mod pair_logits;
mod answers;
mod cross_encoder;

pub use answers::{BatchAnswers, NotFinite, Predictions, TaskAnswer, TextAnswer};
pub use cross_encoder::{CrossEncoder, RankedPassage};
pub use multi_task::MultiTaskModel;
pub use request::{LayerBreak, PreparedText, RequestOptions, ResolvedRequest, pair_tasks};
