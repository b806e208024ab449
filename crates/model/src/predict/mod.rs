//! Texts to the answers of every head, from one pass of the encoder.

mod multi_task;
mod request;
mod pass;
mod predictions;
mod text_answer;
mod text_words;

pub use multi_task::MultiTaskModel;
pub use predictions::{
    ClassAnswer, LabelScore, PredictInput, PredictOptions, Predictions, TaggedText, TaggedWord,
    TaskAnswers, TaskPredictions, TextSpan,
};
pub use request::{LayerBreak, PreparedText, RequestOptions, ResolvedRequest};
pub use text_answer::{Answer, BatchAnswers, NotFinite, TaskAnswer, TextAnswer};
