//! Measurements of a model on this machine: the doctor, what 8 bits cost, how fast products could be.

mod doctor;
mod precision;
mod speed;

pub use doctor::Check;
pub use precision::{Calibration, CosineStats};
pub use speed::product_rate;
