//! Measurements of a model on this machine: whether its numbers are right, how much accuracy 8 bits
//! cost, and how fast its products could be.

mod doctor;
mod precision;
mod speed;

pub use doctor::Check;
pub use precision::{CosineStats, PrecisionStudy};
pub use speed::product_rate;
