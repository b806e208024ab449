//! Training: many heads on one encoder.
//!
//! In the order of the data's way: a [`RunConfig`] says what is wanted,
//! [`data`] reads and checks the rows, [`sampler`] decides which rows make a
//! step, [`loss`] and [`metric`] judge what the network answers, [`freeze`] and
//! [`rates`] say what may change and how fast, [`optimizer`] changes it,
//! [`checkpoint`] keeps it.
//!
//! What it leaves out: the network itself (`polyhead-model`) and everything
//! that is printed.
#![forbid(unsafe_code)]

pub mod config;
mod error;

pub mod data;
pub mod sampler;

pub mod calibration;
pub mod loss;
pub mod metric;

pub mod checkpoint;
pub mod freeze;
pub mod optimizer;
pub mod rates;
pub mod run_directory;
pub mod schedule;

pub use config::RunConfig;
pub use error::{Error, ErrorKind};
