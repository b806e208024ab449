//! Texts to the answers of every head, from one pass of the encoder.

mod words;
mod bio;
mod multi_task;
mod request;
mod pass;
mod predictions;
mod text_answer;
mod text_words;

pub use bio::{Tag, TagSpan, tag_spans};
pub use multi_task::MultiTaskModel;
pub use predictions::{
    ClassAnswer, LabelScore, PredictInput, PredictOptions, Predictions, TaggedText, TaggedWord,
    TaskAnswers, TaskPredictions, TextSpan,
};
pub use request::{LayerBreak, PreparedText, RequestOptions, ResolvedRequest};
pub use text_answer::{Answer, BatchAnswers, NotFinite, TaskAnswer, TextAnswer};
pub use words::{first_tokens, join_words, locate_words, spans_in_texts, split_words};
