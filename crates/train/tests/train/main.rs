//! Training as a whole: runs, steps that follow PyTorch, losses, metrics and hooks.
#![allow(clippy::unwrap_used)] // Helpers of tests are outside of `#[test]` functions.

mod common;

mod classifiers;
mod comparisons;
mod damage;
mod distillation;
mod few_shot;
mod freezing;
mod head_teachers;
mod hooks;
mod learner;
mod log_lines;
mod metrics;
mod multitask;
mod ordinal;
mod pair_metrics;
mod pairs;
mod real_data;
mod recipe;
mod reference;
mod run;
mod separate;
mod targets;
mod tensorboard;
mod trajectory;
mod transfer;
mod unknown_labels;
mod untrusted;
mod vector_losses;
