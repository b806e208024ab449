//! The log's way out of the process: lines wait in memory for one thread that writes them, so that
//! a terminal or a pipe that takes nothing never stops a thread that serves.

use std::io::{self, Write};
use std::mem::take;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// Largest number of bytes of all lines that wait: some thousands of requests.
const LIMIT: usize = 1 << 20;

/// A writer that never blocks: each write is one line, which a thread writes to the log. Clones
/// write to the same log.
///
/// Lines that do not fit into 1 MiB of memory are dropped and counted, and the log says how many
/// when it goes on.
#[derive(Clone)]
pub struct LogQueue(Arc<LogBuffer>);

struct LogBuffer {
    waiting: Mutex<Waiting>,
    /// Wakes the thread that writes, and those that wait for it.
    changed: Condvar,
    dropped: Arc<AtomicU64>,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    /// Number of lines in `lines`.
    count: u64,
    /// Number of lines that were dropped since the log last said so.
    untold: u64,
    /// True if lines are being written.
    is_writing: bool,
}

impl LogQueue {
    /// Starts the thread that writes to `log`.
    ///
    /// # Errors
    /// If the system starts no thread.
    pub fn start(mut log: impl Write + Send + 'static) -> io::Result<Self> {
        let waiting = Mutex::default();
        let shared = LogBuffer { waiting, changed: Condvar::new(), dropped: Arc::default() };
        let queue = Self(Arc::new(shared));
        let shared = Arc::clone(&queue.0);
        thread::Builder::new().name("polyhead-log".to_owned()).spawn(move || {
            loop {
                let (lines, count) = shared.next();
                // Nothing is left to report this to.
                if log.write_all(&lines).and_then(|()| log.flush()).is_err() {
                    shared.dropped.fetch_add(count, Ordering::Relaxed);
                }
            }
        })?;
        Ok(queue)
    }

    /// Number of lines that were dropped, for
    /// [`HttpSettings::dropped_log_lines`](crate::HttpSettings::dropped_log_lines).
    pub fn dropped_lines(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.0.dropped)
    }

    /// Waits until all lines are written, for at most `limit`; returns whether they are.
    pub fn flush_within(&self, limit: Duration) -> bool {
        let busy = |waiting: &mut Waiting| waiting.is_writing || waiting.count > 0;
        let waited = self.0.changed.wait_timeout_while(self.0.lock(), limit, busy);
        !waited.unwrap_or_else(|poisoned| poisoned.into_inner()).1.timed_out()
    }
}

impl Write for LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.0.lock();
        if waiting.lines.len() + line.len() <= LIMIT {
            if waiting.count == 0 {
                self.0.changed.notify_all();
            }
            waiting.lines.extend_from_slice(line);
            waiting.count += 1;
        } else {
            waiting.untold += 1;
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    /// Does nothing: a caller that waited for the log would block as the log does.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LogBuffer {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Waits for lines; returns them and their number.
    fn next(&self) -> (Vec<u8>, u64) {
        let mut waiting = self.lock();
        waiting.is_writing = false;
        self.changed.notify_all();
        let is_empty = |waiting: &mut Waiting| waiting.count == 0;
        let waited = self.changed.wait_while(waiting, is_empty);
        let mut waiting = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
        waiting.is_writing = true;
        let (lines, count) = (take(&mut waiting.lines), take(&mut waiting.count));
        let untold = take(&mut waiting.untold);
        drop(waiting);
        if untold > 0 {
            // Its way is through the queue, in the format of the log: there is space for it now.
            tracing::warn!(
                lines = untold,
                "lines of the log were dropped: it was not read in time"
            );
        }
        (lines, count)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// A log that takes a write only when the test allows it.
    struct Stalled {
        allowed: Receiver<()>,
        written: Sender<String>,
    }

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.allowed.recv().map_err(io::Error::other)?;
            let _ = self.written.send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_that_takes_nothing_blocks_nobody_and_tells_what_it_lost() {
        let (allow, allowed) = channel();
        let (written, writes) = channel();
        let queue = LogQueue::start(Stalled { allowed, written }).unwrap();
        let writer = queue.clone();
        let format = tracing_subscriber::fmt().json().with_writer(move || writer.clone());
        // The thread that writes logs too.
        format.init();
        let begin = std::time::Instant::now();
        let line = "x".repeat(1000);
        for _ in 0..3000 {
            tracing::info!(line);
        }
        assert!(begin.elapsed() < PATIENCE);
        assert!(!queue.flush_within(Duration::from_millis(50)), "nothing can be written");
        for _ in 0..100 {
            allow.send(()).unwrap();
        }
        assert!(queue.flush_within(PATIENCE));
        let log: String = writes.try_iter().collect();
        let lines = log.matches("xxx\"").count();
        assert!((900..2000).contains(&lines), "{lines}");
        let told = log.lines().filter_map(|line| line.split_once("\"lines\":")?.1.split_once('}'));
        let told: u64 = told.map(|(count, _)| count.parse::<u64>().unwrap()).sum();
        assert_eq!(told, queue.dropped_lines().load(Ordering::Relaxed));
    }

    #[test]
    fn lines_of_a_log_that_is_gone_are_counted() {
        let (allow, allowed) = channel();
        drop(allow);
        let mut queue = LogQueue::start(Stalled { allowed, written: channel().0 }).unwrap();
        for _ in 0..3 {
            queue.write_all(b"line\n").unwrap();
            assert!(queue.flush_within(PATIENCE));
        }
        assert_eq!(queue.dropped_lines().load(Ordering::Relaxed), 3);
    }
}
