//! Text to packed token batches: the first step of the data's way.
//!
//! A [`Tokenizer`] is loaded from a model folder (`tokenizer.json`, or the vocabulary of a BERT,
//! RoBERTa, XLM-RoBERTa or CamemBERT) and gives the tokens that transformers' fast tokenizers give. A [`TokenBatch`] holds the tokens of
//! all texts end to end, without padding. [`TextTokens`] says of each text how many tokens it has
//! and how many of them were kept. [`WordSplit`] and [`TokenBatch::first_tokens`] find the words
//! of a text and their tokens; [`tag_spans`] joins the words whose tags belong together.
//!
//! ```
//! use polyhead_text::{TextInput, Tokenizer};
//!
//! let vocab = b"[PAD]\n[UNK]\n[CLS]\n[SEP]\nlong\nthe\nroad\n##er\n";
//! let tokenizer = Tokenizer::from_vocab(vocab, None)?;
//!
//! let inputs = [TextInput::One("The LONGER road"), TextInput::One(""), TextInput::Pair("the", "road")];
//! let batch = tokenizer.encode(&inputs, 5)?;
//!
//! assert_eq!(batch.ids, [2, 5, 4, 7, 3, 2, 3, 2, 5, 3, 6, 3]);
//! assert_eq!(batch.offsets, [0, 5, 7, 12]);
//! assert_eq!(batch.type_ids[batch.sequence(2)], [0, 0, 0, 1, 1]);
//! assert_eq!(batch.second_texts[2], 3..4);
//! assert_eq!((batch.texts[0].total, batch.texts[0].kept), (6, 5));
//! assert!(batch.texts[0].truncated());
//! // `##er` is characters 8 to 10 of the first text.
//! assert_eq!((batch.spans[3].start, batch.spans[3].end), (8, 10));
//! # Ok::<(), polyhead_text::TokenizerError>(())
//! ```
//!
//! # What it leaves out
//!
//! - Padding, attention masks, strides, cutting at the left: packed batches do not need them.
//! - Decoding, training of tokenizers, chat templates: encoders do not need them.
//! - Threads: [`Tokenizer::encode_with`] takes those of its caller.
//! - Tokenizers as Python code, and vocabularies of other families: save the model once with
//!   transformers to get a tokenizer.json.
//! - `special_tokens_map.json`: the names in tokenizer_config.json count.
//! - Stripping blanks around texts and lower-casing before the tokenizer: the caller does it.
//! - Bounded memory for long texts without blanks, unless the tokenizer is a BERT's: they are read
//!   whole, at some hundred bytes of memory per byte of text.
#![forbid(unsafe_code)]

mod error;

mod words;
mod word_split;
mod input;
mod tokenizer;
mod template;
mod truncate;
mod long_text;
mod offsets;
mod batch;
mod spans;
mod bio;

pub use batch::{TextTokens, TokenBatch, TokenSpan};
pub use bio::{Tag, TagScheme, TagSpan, tag_inside, tag_spans};
pub use error::{TokenizerError, TokenizerErrorKind};
pub use input::TextInput;
pub use spans::spans_in_texts;
pub use tokenizer::Tokenizer;
pub use truncate::{LengthLimit, Truncation};
pub use word_split::{LearnedSplit, SplitEvidence, WordSplit};
pub use words::{join_words, locate_words};
