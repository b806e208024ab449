//! Rows in, files out. This crate knows no model, no task and no tokenizer.
//!
//! - [`RowReader`] reads plain text, JSON Lines, CSV and TSV, also in gzip, as a stream of [`Record`]s.
//! - [`AtomicFile`], [`write_file`], [`write_folder`] and [`create_folder`] write under another name,
//!   sync, and rename. A crash leaves the old content or the new one, never half of it.
//! - [`safetensors`] writes `f32` tensors without a copy of them, and reads them one by one.
//! - [`Hashing`] takes the SHA-256 of what passes through it.
//!
//! ```
//! use polyhead_files::{RowFormat, RowReader, hex};
//!
//! let source = "id,text\n7,\"soup, hot\"\n8,bread\n";
//! let mut texts = Vec::new();
//! for record in RowReader::new(source.as_bytes(), RowFormat::Csv)? {
//!     let record = record?;
//!     let text = record.text("text")?.ok_or_else(|| record.no_text("text", None))?;
//!     texts.push((record.line(), text.to_owned(), record.other_fields(Some("text"))?));
//! }
//! let id = |id: &str| vec![("id".to_owned(), format!("{id:?}"))];
//! assert_eq!(texts[0], (2, "soup, hot".to_owned(), id("7")));
//! assert_eq!(texts[1], (3, "bread".to_owned(), id("8")));
//! assert_eq!(hex([0xc0, 0x01]), "c001");
//! # Ok::<(), polyhead_files::RowError>(())
//! ```
//!
//! # What it leaves out
//!
//! - What a field means: labels belong to `polyhead-train`, options to `polyhead-cli`.
//! - Parquet, and compressed files other than gzip.
//! - Safetensors of other types than `f32`: `polyhead-model` maps those files instead of reading them.

#![forbid(unsafe_code)]

mod missing;
mod nearest;
mod open;
mod quote;
mod rows;

mod atomic;
pub mod safetensors;
mod sha256;

pub use atomic::{
    AtomicFile, FileError, StreamState, create_folder, discard_folder, is_leftover, recover_folder,
    write_file, write_file_shared, write_folder,
};
pub use missing::explain_missing;
pub use nearest::nearest;
pub use open::{file_kind, open_file, read_file, read_text};
pub use quote::{controls_terminal, listed, quoted, shortened, visible};
pub use rows::{Cell, JsonValue, Record, RowError, RowFormat, RowReader};
pub use sha256::{Hashing, add_pieces, hex, sha256};
