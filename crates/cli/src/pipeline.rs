//! Reading and writing beside the encoder, a chunk at a time.
//!
//! The reader fills chunks in one thread, the caller encodes them, the writer
//! takes the results in another thread. The channels between them are short,
//! so memory holds a handful of chunks however long the input is.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Result;

use crate::hash::RowHash;
use crate::input::{Input, OtherFields, Place};

/// When a chunk is full: at either limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkLimits {
    pub(crate) texts: usize,
    pub(crate) bytes: usize,
}

/// Texts that are encoded together.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    pub(crate) texts: Vec<String>,
    /// `[texts]` the line of each.
    pub(crate) lines: Vec<u64>,
    /// `[texts]` the whole row of each.
    pub(crate) rows: Vec<RowHash>,
    /// `[texts]` what else stands in the row of each.
    pub(crate) others: Vec<OtherFields>,
    /// Bytes of the input up to here, for the progress bar.
    pub(crate) read: u64,
}

impl AsRef<[String]> for Chunk {
    fn as_ref(&self) -> &[String] {
        &self.texts
    }
}

/// Chunks from a reader thread that is a chunk or two ahead.
pub(crate) struct ReadAhead {
    chunks: Receiver<Result<Chunk>>,
    reader: Option<JoinHandle<()>>,
    first: Option<Chunk>,
}

impl ReadAhead {
    /// Starts the reader and waits for the first chunk.
    ///
    /// So an empty input or an error in its first lines shows here, before the
    /// caller has loaded a model.
    pub(crate) fn start(input: Input, limits: ChunkLimits) -> Result<Self> {
        let place = input.place.clone();
        let mut ahead = Self::go_on(input, limits);
        let first = ahead.next_chunk()?.ok_or_else(|| Place::no_texts(&place))?;
        ahead.first = Some(first);
        Ok(ahead)
    }

    /// As [`Self::start`], where the input may have come to its end already.
    pub(crate) fn go_on(input: Input, limits: ChunkLimits) -> Self {
        let (sender, chunks) = sync_channel(1);
        // Not a scoped thread: a reader that waits for a silent standard
        // input must not keep the program from ending.
        let reader = thread::spawn(move || {
            for chunk in chunks_of(input, limits) {
                let last = chunk.is_err();
                if sender.send(chunk).is_err() || last {
                    break;
                }
            }
        });
        Self { chunks, reader: Some(reader), first: None }
    }

    /// The next chunk; `None` at the end of the input.
    pub(crate) fn next_chunk(&mut self) -> Result<Option<Chunk>> {
        loop {
            if let Some(chunk) = self.chunk_within(Duration::MAX) {
                return chunk;
            }
        }
    }

    /// As [`Self::next_chunk`]; `None` if that is not known in `time`.
    fn chunk_within(&mut self, time: Duration) -> Option<Result<Option<Chunk>>> {
        if let Some(chunk) = self.first.take() {
            return Some(Ok(Some(chunk)));
        }
        match self.chunks.recv_timeout(time) {
            Ok(chunk) => Some(chunk.map(Some)),
            Err(RecvTimeoutError::Timeout) => None,
            // The input has ended, unless the reader has panicked, which must
            // not look like the end.
            Err(RecvTimeoutError::Disconnected) => match self.reader.take().map(JoinHandle::join) {
                Some(Err(panic)) => resume_unwind(panic),
                _ => Some(Ok(None)),
            },
        }
    }
}

/// How often a waiting iterator looks whether it should stop.
const LOOK: Duration = Duration::from_millis(50);

impl ReadAhead {
    /// All chunks, or those until `stop` is set.
    ///
    /// The encoder asks for chunks in a thread that it waits for at the end;
    /// without `stop`, an error would show only when a silent standard input
    /// speaks again.
    pub(crate) fn until(mut self, stop: &AtomicBool) -> impl Iterator<Item = Result<Chunk>> + Send {
        std::iter::from_fn(move || {
            while !stop.load(Ordering::Relaxed) {
                if let Some(chunk) = self.chunk_within(LOOK) {
                    return chunk.transpose();
                }
            }
            None
        })
    }
}

/// Texts of the first chunk: the encoder waits until they are tokenized, and only then. Each
/// chunk may have twice as many as the one before, up to the limit.
const FIRST_TEXTS: usize = 32;

/// `input` in chunks; none of them is empty. Ends after the first error.
fn chunks_of(input: Input, limits: ChunkLimits) -> impl Iterator<Item = Result<Chunk>> {
    let Input { mut texts, read, .. } = input;
    let mut most = FIRST_TEXTS;
    std::iter::from_fn(move || {
        let mut chunk = Chunk::default();
        let (mut bytes, limit) = (0, limits.texts.min(most));
        most = most.saturating_mul(2);
        while chunk.texts.len() < limit && bytes < limits.bytes {
            match texts.next() {
                Some(Ok(text)) => {
                    bytes += text.text.len();
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

/// What takes results, in its own thread.
pub(crate) trait Sink<T>: Send + Sized + 'static {
    /// Takes one result.
    fn write(&mut self, item: T) -> Result<()>;
    /// Makes the output complete. A sink that is dropped instead leaves none.
    fn finish(self) -> Result<()>;
}

/// A writer thread; `send` waits only while the item before is being written.
pub(crate) struct WriteBehind<S, T> {
    items: SyncSender<T>,
    writer: JoinHandle<Result<S>>,
}

impl<T: Send + 'static, S: Sink<T>> WriteBehind<S, T> {
    /// Starts the writer.
    pub(crate) fn start(mut sink: S) -> Self {
        let (items, received) = sync_channel(0);
        let writer = thread::spawn(move || {
            for item in received {
                sink.write(item)?;
            }
            Ok(sink)
        });
        Self { items, writer }
    }

    /// Hands over one item. `None` when the writer has stopped: [`Self::finish`] says why.
    pub(crate) fn send(&self, item: T) -> Option<()> {
        self.items.send(item).ok()
    }

    /// Waits for the writer and makes the output complete.
    pub(crate) fn finish(self) -> Result<()> {
        self.stop()?.finish()
    }

    /// Waits for the writer and leaves no output; the error is the writer's own.
    pub(crate) fn abandon(self) -> Result<()> {
        self.stop().map(drop)
    }

    fn stop(self) -> Result<S> {
        drop(self.items);
        self.writer.join().unwrap_or_else(|panic| resume_unwind(panic))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use anyhow::bail;

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
        let mut chunks = ReadAhead::start(input(texts), limits).unwrap();
        let mut found = Vec::new();
        while let Some(chunk) = chunks.next_chunk().unwrap() {
            found.push(chunk.lines);
        }
        assert_eq!(found, [vec![1, 2, 3], vec![4], vec![5], vec![6]]);
    }

    #[test]
    fn chunks_begin_small_and_double() {
        let limits = ChunkLimits { texts: 100, bytes: 1 << 20 };
        let texts = (1..=500).map(|line| text("a", line)).collect();
        let mut chunks = ReadAhead::start(input(texts), limits).unwrap();
        let mut found = Vec::new();
        while let Some(chunk) = chunks.next_chunk().unwrap() {
            found.push(chunk.texts.len());
        }
        assert_eq!(found, [32, 64, 100, 100, 100, 100, 4]);
    }

    #[test]
    fn an_empty_input_and_an_early_error_show_at_the_start() {
        let limits = ChunkLimits { texts: 2, bytes: 100 };
        let error = ReadAhead::start(input(vec![]), limits).err().unwrap();
        assert_eq!(error.to_string(), "standard input: no texts");

        let bad = || Err(anyhow::anyhow!("line 2: bad"));
        let error = ReadAhead::start(input(vec![text("a", 1), bad()]), limits).err().unwrap();
        assert_eq!(error.to_string(), "line 2: bad");

        let texts = vec![text("a", 1), text("b", 2), bad()];
        let mut chunks = ReadAhead::start(input(texts), limits).unwrap();
        assert_eq!(chunks.next_chunk().unwrap().unwrap().texts, ["a", "b"]);
        assert!(chunks.next_chunk().is_err());
    }

    struct Collect {
        items: Arc<Mutex<Vec<u32>>>,
        finished: bool,
    }

    impl Sink<u32> for Collect {
        fn write(&mut self, item: u32) -> Result<()> {
            if item == 13 {
                bail!("unlucky");
            }
            self.items.lock().unwrap().push(item);
            Ok(())
        }
        fn finish(mut self) -> Result<()> {
            self.finished = true;
            Ok(())
        }
    }

    impl Drop for Collect {
        fn drop(&mut self) {
            if !self.finished {
                self.items.lock().unwrap().clear();
            }
        }
    }

    #[test]
    fn results_are_written_in_order_or_not_at_all() {
        let items = Arc::new(Mutex::new(Vec::new()));
        let sink = || Collect { items: items.clone(), finished: false };

        let writer = WriteBehind::start(sink());
        (0..5).for_each(|i| writer.send(i).unwrap());
        writer.finish().unwrap();
        assert_eq!(*items.lock().unwrap(), [0, 1, 2, 3, 4]);

        let writer = WriteBehind::start(sink());
        writer.send(9).unwrap();
        writer.abandon().unwrap();
        assert!(items.lock().unwrap().is_empty());

        let writer = WriteBehind::start(sink());
        while writer.send(13).is_some() {}
        assert_eq!(writer.finish().unwrap_err().to_string(), "unlucky");
    }
}
