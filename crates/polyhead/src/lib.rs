//! Sentence embeddings from BERT-family models, exactly as
//! `sentence-transformers` gives them, without Python.
//!
//! ```
//! use polyhead::{SentenceEncoder, cosine_similarity};
//!
//! let encoder = SentenceEncoder::builtin()?;
//! let vectors = encoder.encode(&["I like trains.", "Railways are great.", "It rains."])?;
//! assert_eq!((vectors.rows(), vectors.columns()), (3, 384));
//!
//! let similarity = cosine_similarity(&vectors, &vectors);
//! assert!(similarity.row(0)[1] > similarity.row(0)[2]);
//! # Ok::<(), polyhead::Error>(())
//! ```
//!
//! A model that was trained with heads answers all of them in one pass:
//!
//! ```no_run
//! use polyhead::{Answer, MultiTaskModel};
//!
//! // A run of `polyhead train`, with a task that classifies and one that tags.
//! let model = MultiTaskModel::load("runs/news")?;
//! let found = model.predict(&["Anna moved to Berlin.", "The match was lost."])?;
//! for text in &found.texts {
//!     for (head, task) in found.tasks.iter().zip(&text.tasks) {
//!         match &task.answer {
//!             Answer::Classification(class) => println!("{}: {:?}", head.name, class.label()),
//!             Answer::Tokens(tagged) => println!("{}: {:?}", head.name, tagged.spans),
//!             Answer::MultiLabel(_) | Answer::Regression(_) => {}
//!         }
//!     }
//! }
//! let vectors = found.vectors().expect("`predict` gives them");
//! assert_eq!(vectors.rows(), 2);
//! # Ok::<(), polyhead::Error>(())
//! ```
//!
//! A cross-encoder reads two texts at once and gives them a score, for reranking what a search has
//! found; [`CrossEncoder::load`] takes the folders of sentence-transformers:
//!
//! ```no_run
//! use polyhead::CrossEncoder;
//!
//! let model = CrossEncoder::load("cross-encoder/ms-marco-MiniLM-L6-v2")?;
//! let passages = ["Trains run daily.", "Berlin has 3.7 million inhabitants.", "Bread is baked."];
//! for ranked in model.rank("How many people live in Berlin?", &passages)? {
//!     println!("{:.3} {}", ranked.score, passages[ranked.index]);
//! }
//! let scores = model.scores(&[("Where is Rome?", "In Italy."), ("Where is Rome?", "No.")])?;
//! assert!(scores[0] > scores[1]);
//! # Ok::<(), polyhead::Error>(())
//! ```
//!
//! A model with heads is trained from a configuration, the same file that
//! `polyhead train` reads; an [`Observer`] hears how it goes:
//!
//! ```no_run
//! use std::path::Path;
//!
//! use polyhead::{Ending, Event, Observer, RunConfig, Trainer};
//!
//! struct Losses;
//!
//! impl Observer for Losses {
//!     fn observe(&mut self, event: &Event) {
//!         if let Event::Logged(progress) = event {
//!             println!("step {}: loss {:.3}", progress.step, progress.loss);
//!         }
//!     }
//! }
//!
//! let config = RunConfig::from_file(Path::new("config.toml"), &[])?;
//! let mut trainer = Trainer::new(config).observe(Box::new(Losses));
//! if let Ending::Finished(summary) = trainer.train(Path::new("runs/news"), false)? {
//!     println!("the model of step {} is in {}", summary.best_step, summary.model.display());
//! }
//! # Ok::<(), polyhead::train::Error>(())
//! ```
//!
//! Without a configuration, [`fit`](fit()) looks at the rows of a file and chooses one, as `polyhead fit`
//! does:
//!
//! ```no_run
//! use polyhead::{FitRequest, fit};
//!
//! let request = FitRequest {
//!     data: "tickets.csv".into(),
//!     text: vec!["body".to_owned()],
//!     tasks: vec!["topic".parse()?, "urgency:regression".parse()?],
//!     ..FitRequest::default()
//! };
//! fit(&request, "runs/tickets".as_ref())?;
//! # Ok::<(), polyhead::train::Error>(())
//! ```
//!
//! A [`Hook`] takes part in every step: it weights the losses, chooses the rows, reads the gradient
//! of each task, stops the run. Checkpoints, resuming and the report stay:
//! `examples/weighting.rs` weights losses by how fast they fall and logs the length of each task's
//! gradient.
//!
//! The loop itself can be written by hand, from the parts that [`Trainer`] is made
//! of: `examples/train_loop.rs` does so with a [`TrainingSession`], whose
//! [`save`](TrainingSession::save) writes a model folder, and a [`Learner`] does a whole step.
//!
//! # What to know
//!
//! - [`SentenceEncoder::load`] takes a folder as Hugging Face or
//!   `sentence-transformers` saves it, or a name of the hub (feature `hub`);
//!   [`SentenceEncoder::builtin`] is all-MiniLM-L6-v2 with 8-bit weights, inside
//!   the program (feature `builtin`).
//! - [`MultiTaskModel::load`] takes a folder that `polyhead train` has written; its
//!   [`encoder`](MultiTaskModel::encoder) gives vectors as any other.
//! - Batches are packed, not padded: the vector of a text has the same bits
//!   alone and in any batch, and there is no batch size to tune.
//! - A text that is longer than [`SentenceEncoder::max_length`] is cut, and
//!   [`Encoded::texts`] says so; [`OnTruncate::Error`] refuses it.
//! - Training is in [`train`], with its own error type; the most common items are exported here
//!   too.
//! - A run writes `report.json`; `report::write_page` draws `report.html` from it (feature
//!   `report`, which adds the library for plots).
//! - All calls are safe from several threads at once; they share the threads
//!   that the encoder was loaded with ([`LoadOptions::threads`]).
//! - Compile with optimization: a `dev` profile without it is about fifty times slower.
#![forbid(unsafe_code)]

pub use polyhead_compute::{Cpu, Threads};
pub use polyhead_model::{
    Activation, Answer, Check, ClassAnswer, CrossEncoder, EncodeOptions, Encoded, EncoderConfig,
    Error, ErrorKind, Family, HeadInput, HeadLayer, HeadSpec, HeadWeights, HiddenForm, HiddenNorm,
    HiddenWeights, Hit, LabelMatching, LabelScore, LoadOptions, Matrix, ModelFolder, Module,
    MultiTaskModel, OnTruncate, PairForm, Parameter, ParameterGroup, PoolingMode, PoolingSpec,
    Precision, Predictions, Prompt, Provenance, RankedPassage, RequestOptions, SentenceEncoder,
    TaggedText, TaggedWord, TaskAnswer, TaskKind, TextAnswer, TextSpan, TokenVectors, Vectors,
    cosine_similarity, semantic_search,
};
pub use polyhead_model::{
    Depth, Gradients, Mode, Network, NetworkInput, NetworkOptions, ParameterStore, Pass,
    TrainableLayout,
};
#[cfg(feature = "report")]
pub use polyhead_report as report;
pub use polyhead_text::{
    LearnedSplit, LengthLimit, TextInput, TextTokens, TokenBatch, TokenSpan, Tokenizer, Truncation,
    WordSplit, join_words,
};
pub use polyhead_train as train;
pub use polyhead_train::{
    Ending, Evaluation, Event, FitPlan, FitRequest, FitTask, Hook, HookedStep, Learner, Objective,
    Observer, PackedRows, RunConfig, RunSummary, StepBatch, TaskLabels, Trainer, TrainingSession,
    evaluate, fit,
};
