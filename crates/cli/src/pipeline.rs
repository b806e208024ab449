//! The input in chunks, as the library's streams take it, and what happens to bad rows.

use std::sync::atomic::Ordering;

use anyhow::{Error, Result, anyhow};
use clap::ValueEnum;
use polyhead_files::RowError;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::input::{Input, OtherFields, Place};
use crate::resume::RowHash;

/// The action for a row that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnBadRow {
    /// Stop, and keep the results of the rows before it.
    Fail,
    /// Go on without it.
    Skip,
}

/// A row that cannot be used, as the file of skipped rows has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct BadRow {
    /// Line of the input where the row begins, counted from 1.
    pub(crate) line: u64,
    /// What was expected and what was found.
    pub(crate) reason: String,
}

impl BadRow {
    /// The row that an error of the input is about; `None` if the rows after it cannot be read.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        match error.downcast_ref() {
            Some(RowError::Row { line, message }) => {
                Some(Self { line: *line, reason: message.clone() })
            }
            _ => None,
        }
    }

    /// A hash in place of that of a row that could be read.
    pub(crate) fn sha256(&self) -> RowHash {
        Sha256::digest(format!("bad row {}: {}", self.line, self.reason)).into()
    }
}

/// The limits of a chunk, which is full when it reaches either of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkLimits {
    pub(crate) texts: usize,
    pub(crate) bytes: usize,
}

/// Texts that are encoded together.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    pub(crate) texts: Vec<String>,
    /// `[texts]`: line of each text.
    pub(crate) lines: Vec<u64>,
    /// `[texts + bad]`: hash of each row, in order.
    pub(crate) rows: Vec<RowHash>,
    /// Rows that are skipped.
    pub(crate) bad: Vec<BadRow>,
    /// `[texts]`: other fields of the row of each text.
    pub(crate) others: Vec<OtherFields>,
    /// Bytes of the input up to the end of the chunk, for the progress bar.
    pub(crate) read: u64,
}

impl AsRef<[String]> for Chunk {
    fn as_ref(&self) -> &[String] {
        &self.texts
    }
}

impl Chunk {
    /// Takes out the texts that turn out to be bad.
    ///
    /// - `bad`: index and fault of each of them, in order; with [`OnBadRow::Fail`], everything
    ///   from the first on is taken out
    /// - returns `[texts]`, which of them stay; and the error with which to stop, if any
    pub(crate) fn take_out(
        &mut self,
        bad: Vec<(usize, String)>,
        on_bad_row: OnBadRow,
        place: &Place,
    ) -> (Vec<bool>, Option<Error>) {
        let mut stays = vec![true; self.texts.len()];
        let mut error = None;
        for (index, reason) in bad {
            let line = self.lines[index];
            if on_bad_row == OnBadRow::Fail {
                error = Some(anyhow!("{}: {reason}", place.of_line(line)));
                stays[index..].fill(false);
                // Without skipped rows, there is one hash for each text.
                self.rows.truncate(index);
                break;
            }
            stays[index] = false;
            self.bad.push(BadRow { line, reason });
        }
        self.bad.sort_by_key(|row| row.line);
        retain(&mut self.texts, &stays);
        retain(&mut self.lines, &stays);
        retain(&mut self.others, &stays);
        (stays, error)
    }
}

fn retain<T>(values: &mut Vec<T>, stays: &[bool]) {
    let mut stays = stays.iter();
    values.retain(|_| stays.next().copied().unwrap_or(false));
}

/// The chunks of `input`, with the first one already read.
///
/// An empty input or an error in its first lines is reported here, before a model is loaded.
pub(crate) fn first_read(
    input: Input,
    limits: ChunkLimits,
    on_bad_row: OnBadRow,
) -> Result<impl Iterator<Item = Result<Chunk>> + Send + 'static> {
    let place = input.place.clone();
    let mut chunks = chunks_of(input, limits, on_bad_row, FirstFault::AtOnce);
    let first = chunks.next().ok_or_else(|| Place::no_texts(&place))??;
    Ok(std::iter::once(Ok(first)).chain(chunks))
}

/// Number of texts of the first chunk, which is small because the encoder waits for its tokens.
/// Each chunk may have twice as many texts as the one before, up to the limit.
const FIRST_TEXTS: usize = 32;

/// Most skipped rows of a chunk.
const MOST_BAD: usize = 1024;

/// When an error among the rows of the first chunk is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstFault {
    /// In place of the chunk: nothing is done yet.
    AtOnce,
    /// After the chunk with the rows before it, as in all other chunks.
    InOrder,
}

/// The chunks of `input`, each with a row; there may be no chunk. Ends after the first error, which
/// comes after the rows before it.
pub(crate) fn chunks_of(
    input: Input,
    limits: ChunkLimits,
    on_bad_row: OnBadRow,
    mut first: FirstFault,
) -> impl Iterator<Item = Result<Chunk>> + Send + 'static {
    let Input { mut texts, read, .. } = input;
    let mut most = FIRST_TEXTS;
    let mut fault = None;
    std::iter::from_fn(move || {
        if let Some(error) = fault.take() {
            return Some(Err(error));
        }
        let mut chunk = Chunk::default();
        let (mut bytes, limit) = (0, limits.texts.min(most));
        most = most.saturating_mul(2);
        while chunk.texts.len() < limit && chunk.bad.len() < MOST_BAD && bytes < limits.bytes {
            match texts.next() {
                Some(Ok(text)) => {
                    bytes += text.text.len() + text.others.second.as_ref().map_or(0, String::len);
                    chunk.texts.push(text.text);
                    chunk.lines.push(text.line);
                    chunk.rows.push(text.row);
                    chunk.others.push(text.others);
                }
                Some(Err(error)) => match BadRow::of(&error) {
                    Some(bad) if on_bad_row == OnBadRow::Skip => {
                        chunk.rows.push(bad.sha256());
                        chunk.bad.push(bad);
                    }
                    _ if chunk.rows.is_empty() || first == FirstFault::AtOnce => {
                        return Some(Err(error));
                    }
                    _ => {
                        fault = Some(error);
                        break;
                    }
                },
                None => break,
            }
        }
        first = FirstFault::InOrder;
        chunk.read = read.load(Ordering::Relaxed);
        (!chunk.rows.is_empty()).then_some(Ok(chunk))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::input::Text;

    fn input(texts: Vec<Result<Text>>) -> Input {
        Input {
            texts: Box::new(texts.into_iter()),
            place: Place::Stdin,
            reading: String::new(),
            size: None,
            read: Arc::default(),
        }
    }

    fn text(text: &str, line: u64) -> Result<Text> {
        Ok(Text { text: text.into(), line, ..Text::default() })
    }

    #[test]
    fn chunks_end_at_either_limit() {
        let limits = ChunkLimits { texts: 3, bytes: 10 };
        let texts = ["a", "b", "c", "0123456789", "0123456789", "d"];
        let texts = texts.iter().zip(1..).map(|(t, line)| text(t, line)).collect();
        let chunks = first_read(input(texts), limits, OnBadRow::Fail).unwrap();
        let found: Vec<_> = chunks.map(|chunk| chunk.unwrap().lines).collect();
        assert_eq!(found, [vec![1, 2, 3], vec![4], vec![5], vec![6]]);
    }

    #[test]
    fn chunks_begin_small_and_double() {
        let limits = ChunkLimits { texts: 100, bytes: 1 << 20 };
        let texts = (1..=500).map(|line| text("a", line)).collect();
        let chunks = first_read(input(texts), limits, OnBadRow::Fail).unwrap();
        let found: Vec<_> = chunks.map(|chunk| chunk.unwrap().texts.len()).collect();
        assert_eq!(found, [32, 64, 100, 100, 100, 100, 4]);
    }

    #[test]
    fn an_empty_input_and_an_early_error_show_at_the_start() {
        let limits = ChunkLimits { texts: 2, bytes: 100 };
        let error = first_read(input(vec![]), limits, OnBadRow::Fail).err().unwrap();
        assert!(error.to_string().starts_with("standard input: no texts"), "{error}");

        let bad = || Err(anyhow::anyhow!("line 2: bad"));
        let error =
            first_read(input(vec![text("a", 1), bad()]), limits, OnBadRow::Fail).err().unwrap();
        assert_eq!(error.to_string(), "line 2: bad");

        let texts = vec![text("a", 1), text("b", 2), bad()];
        let mut chunks = first_read(input(texts), limits, OnBadRow::Fail).unwrap();
        assert_eq!(chunks.next().unwrap().unwrap().texts, ["a", "b"]);
        assert!(chunks.next().unwrap().is_err());
    }
}
