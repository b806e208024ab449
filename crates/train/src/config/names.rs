//! The words that stand for choices, for reading and for writing.

use polyhead_compute::Activation;
use polyhead_model::{HeadInput, PoolingMode, TaskKind};

use super::Schedule;

pub(super) const SCHEDULES: [(&str, Schedule); 3] =
    [("constant", Schedule::Constant), ("linear", Schedule::Linear), ("cosine", Schedule::Cosine)];

pub(super) const INPUTS: [(&str, HeadInput); 2] =
    [("pooled", HeadInput::Pooled), ("embedding", HeadInput::Embedding)];

pub(super) fn activations() -> Vec<(&'static str, Activation)> {
    Activation::ALL.into_iter().map(|activation| (activation.name(), activation)).collect()
}

pub(super) fn poolings() -> Vec<(&'static str, PoolingMode)> {
    PoolingMode::ALL.into_iter().map(|mode| (mode.name(), mode)).collect()
}

pub(super) fn kinds() -> Vec<(&'static str, TaskKind)> {
    TaskKind::ALL.into_iter().map(|kind| (kind.name(), kind)).collect()
}

/// The word for `choice`.
pub(super) fn name_of<T: PartialEq>(choices: &[(&'static str, T)], choice: &T) -> &'static str {
    let found = choices.iter().find(|(_, known)| known == choice);
    found.expect("every choice has a name").0
}
