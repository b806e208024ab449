//! Heads: their layers and weights, and the meaning of their logits.

mod label_format;
mod number_range;
mod pair_features;
mod spec;
mod target;
mod kinds;
mod weights;

pub use kinds::{
    Answer, ClassAnswer, LabelScore, TaggedText, TaggedWord, TaskKind, TextSpan, ordinal_answer,
};
pub(crate) use kinds::{
    AnswerLimits, TAGGING, TextNumbers, TextWords, logistic, sequence_kind, soft_max,
};
pub use label_format::{EmptyCell, LabelFormat, LabelMatching};
pub use number_range::NumberRange;
pub(crate) use pair_features::{pair_features, pair_features_backward};
pub(crate) use spec::check_heads;
pub use spec::{
    HeadInput, HeadLayer, HeadSpec, HiddenForm, HiddenNorm, PairForm, RESERVED_TASK_NAME,
    check_task_name,
};
pub use target::TargetScale;
pub(crate) use weights::{Head, INITIAL_DEVIATION};
pub use weights::{HeadDims, HeadWeights, HiddenWeights};
