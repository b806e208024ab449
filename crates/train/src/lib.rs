//! Training: many heads on one encoder.
//!
//! In the order of the data's way: a [`RunConfig`] says what is wanted,
//! [`data`] reads and checks the rows, [`sampler`] decides which rows make a
//! step, [`loss`] and [`metric`] judge what the network answers, [`freeze`] and
//! [`rates`] say what may change and how fast, [`optimizer`] changes it,
//! [`checkpoint`] keeps it, [`report`] shows it.
//!
//! What it leaves out: the network itself (`polyhead-model`) and everything
//! that is printed.
#![forbid(unsafe_code)]

pub mod config;
mod error;

pub mod data;
pub mod sampler;

mod answers;
pub mod calibration;
mod criterion;
mod evaluate;
mod finish;
mod kept_states;
mod learner;
pub mod loss;
mod machine;
pub mod metric;
mod observer;

pub mod checkpoint;
pub mod freeze;
mod objective;
pub mod optimizer;
mod packed_rows;
mod prepare;
pub mod rates;
pub mod report;
mod run;
pub mod run_directory;
mod run_report;
pub mod schedule;
mod state_cache;
mod trainer;
mod window;

pub use answers::{Answers, Questions};
pub use config::RunConfig;
pub use error::{Error, ErrorKind};
pub use evaluate::{EvaluateOptions, Evaluation, evaluate};
pub use finish::{RunSummary, TaskSummary};
pub use learner::{ForwardTimes, Learner, Lesson, StepOutcome, TaskStep};
pub use machine::{peak_memory, processor};
pub use objective::Objective;
pub use observer::{Evaluated, Event, Observer, Progress, TaskProgress};
pub use packed_rows::{PackedRows, Targets, cut};
pub use prepare::{Course, Prepared, check_data, open_model};
pub use state_cache::{CacheCounts, StateCache};
pub use trainer::{Ending, Trainer};
