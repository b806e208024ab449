//! Model folders: regular ones, ones with 8-bit weights, and damaged or hostile ones.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod honest;
mod hostile;
mod hostile_heads;
mod int8;
mod mutated;
#[cfg(unix)]
mod pipes;
mod readable;
mod referenced;
mod tiny_models;
mod trained;
mod written;
