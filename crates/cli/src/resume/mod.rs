//! Resuming an output: which rows have results, and whether the same results are wanted now.

mod journal;
mod model_fingerprint;
mod output_fingerprint;
mod row_hash;

pub(crate) use journal::{Done, Journal, Record, START_OVER};
pub(crate) use output_fingerprint::OutputFingerprint;
pub(crate) use row_hash::{RowHash, RowsHash};
