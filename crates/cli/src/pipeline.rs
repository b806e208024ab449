//! The input in chunks, as the library's streams take it.

use std::sync::atomic::Ordering;

use anyhow::Result;

use crate::input::{Input, OtherFields, Place};
use crate::resume::RowHash;

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
    /// `[texts]`: hash of the whole row of each text.
    pub(crate) rows: Vec<RowHash>,
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

/// The chunks of `input`, with the first one already read.
///
/// An empty input or an error in its first lines is reported here, before a model is loaded.
pub(crate) fn first_read(
    input: Input,
    limits: ChunkLimits,
) -> Result<impl Iterator<Item = Result<Chunk>> + Send + 'static> {
    let place = input.place.clone();
    let mut chunks = chunks_of(input, limits);
    let first = chunks.next().ok_or_else(|| Place::no_texts(&place))??;
    Ok(std::iter::once(Ok(first)).chain(chunks))
}

/// Number of texts of the first chunk, which is small because the encoder waits for its tokens.
/// Each chunk may have twice as many texts as the one before, up to the limit.
const FIRST_TEXTS: usize = 32;

/// The chunks of `input`, none of them empty; there may be no chunk. Ends after the first error.
pub(crate) fn chunks_of(
    input: Input,
    limits: ChunkLimits,
) -> impl Iterator<Item = Result<Chunk>> + Send + 'static {
    let Input { mut texts, read, .. } = input;
    let mut most = FIRST_TEXTS;
    std::iter::from_fn(move || {
        let mut chunk = Chunk::default();
        let (mut bytes, limit) = (0, limits.texts.min(most));
        most = most.saturating_mul(2);
        while chunk.texts.len() < limit && bytes < limits.bytes {
            match texts.next() {
                Some(Ok(text)) => {
                    bytes += text.text.len() + text.others.second.as_ref().map_or(0, String::len);
                    chunk.texts.push(text.text);
                    chunk.lines.push(text.line);
                    chunk.rows.push(text.row);
                    chunk.others.push(text.others);
                }
                Some(Err(error)) => return Some(Err(error)),
                None => break,
            }
        }
        chunk.read = read.load(Ordering::Relaxed);
        (!chunk.texts.is_empty()).then_some(Ok(chunk))
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
        let chunks = first_read(input(texts), limits).unwrap();
        let found: Vec<_> = chunks.map(|chunk| chunk.unwrap().lines).collect();
        assert_eq!(found, [vec![1, 2, 3], vec![4], vec![5], vec![6]]);
    }

    #[test]
    fn chunks_begin_small_and_double() {
        let limits = ChunkLimits { texts: 100, bytes: 1 << 20 };
        let texts = (1..=500).map(|line| text("a", line)).collect();
        let chunks = first_read(input(texts), limits).unwrap();
        let found: Vec<_> = chunks.map(|chunk| chunk.unwrap().texts.len()).collect();
        assert_eq!(found, [32, 64, 100, 100, 100, 100, 4]);
    }

    #[test]
    fn an_empty_input_and_an_early_error_show_at_the_start() {
        let limits = ChunkLimits { texts: 2, bytes: 100 };
        let error = first_read(input(vec![]), limits).err().unwrap();
        assert_eq!(error.to_string(), "standard input: no texts");

        let bad = || Err(anyhow::anyhow!("line 2: bad"));
        let error = first_read(input(vec![text("a", 1), bad()]), limits).err().unwrap();
        assert_eq!(error.to_string(), "line 2: bad");

        let texts = vec![text("a", 1), text("b", 2), bad()];
        let mut chunks = first_read(input(texts), limits).unwrap();
        assert_eq!(chunks.next().unwrap().unwrap().texts, ["a", "b"]);
        assert!(chunks.next().unwrap().is_err());
    }
}
