//! Time limits for each phase of a connection.
//!
//! hyper's own header timeout also runs while a connection is idle between two requests, so
//! it cannot be short for the one and long for the other. Here a stream notes in which phase
//! its connection is, and [`PhaseTimeout`] says when the client is too slow for it.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::http::settings::HttpSettings;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ConnectionPhase {
    /// No byte has arrived yet.
    New = 0,
    /// The headers of a request are arriving.
    Head = 1,
    /// A request is being answered.
    Busy = 2,
    /// A request has been answered, and the next one has not begun; the response may still be on
    /// its way.
    Idle = 3,
}

/// The phase of a connection, shared by its stream and its request handler.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedPhase(Arc<PhaseState>);

#[derive(Debug, Default)]
struct PhaseState {
    phase: AtomicU8,
    /// Number of writes that the client's side has taken.
    writes: AtomicU64,
    write_failed: AtomicBool,
}

impl SharedPhase {
    pub(crate) fn get(&self) -> ConnectionPhase {
        match self.0.phase.load(Ordering::Relaxed) {
            0 => ConnectionPhase::New,
            1 => ConnectionPhase::Head,
            2 => ConnectionPhase::Busy,
            _ => ConnectionPhase::Idle,
        }
    }

    pub(crate) fn set(&self, phase: ConnectionPhase) {
        self.0.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Returns true if a response could not be written to its end.
    pub(crate) fn write_failed(&self) -> bool {
        self.0.write_failed.load(Ordering::Relaxed)
    }

    fn writes(&self) -> u64 {
        self.0.writes.load(Ordering::Relaxed)
    }

    fn note_write<T>(&self, written: &Poll<io::Result<T>>) {
        match written {
            Poll::Ready(Ok(_)) => {
                self.0.writes.fetch_add(1, Ordering::Relaxed);
            }
            Poll::Ready(Err(_)) => self.0.write_failed.store(true, Ordering::Relaxed),
            Poll::Pending => {}
        }
    }
}

/// Ends the wait for a client that is too slow for the phase of its connection.
pub(crate) struct PhaseTimeout {
    phase: SharedPhase,
    /// The phase that `end` was computed for, and the number of writes until then: the time of an
    /// idle connection begins when its response is written.
    seen: (ConnectionPhase, u64),
    end: Pin<Box<Sleep>>,
    header: Duration,
    idle: Duration,
}

impl PhaseTimeout {
    pub(crate) fn new(phase: SharedPhase, settings: &HttpSettings) -> Self {
        let (header, idle) = (settings.header_timeout, settings.idle_timeout);
        Self { seen: (phase.get(), 0), phase, end: Box::pin(sleep(header)), header, idle }
    }

    /// Waits until the client has exceeded the time limit of a phase.
    ///
    /// A change of the phase does not wake this future: it must be polled after the connection and
    /// in the same task, because every change is made in that task.
    pub(crate) async fn wait(&mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let phase = self.phase.get();
        let time_limit = match phase {
            ConnectionPhase::New | ConnectionPhase::Head => self.header,
            ConnectionPhase::Idle => self.idle,
            // The body has its own limit, and the model's answer has none.
            ConnectionPhase::Busy => {
                self.seen.0 = phase;
                return Poll::Pending;
            }
        };
        let writes = if phase == ConnectionPhase::Idle { self.phase.writes() } else { 0 };
        if self.seen != (phase, writes) {
            self.seen = (phase, writes);
            self.end.as_mut().reset(Instant::now() + time_limit);
        }
        self.end.as_mut().poll(cx)
    }
}

/// A stream that updates the phase, and fails if the client does not read for too long.
pub(crate) struct GuardedStream<S> {
    inner: S,
    phase: SharedPhase,
    write_timeout: Duration,
    /// Time at which to give up on the client, while it does not read.
    end: Option<Pin<Box<Sleep>>>,
}

impl<S> GuardedStream<S> {
    pub(crate) fn new(inner: S, phase: SharedPhase, settings: &HttpSettings) -> Self {
        Self { inner, phase, write_timeout: settings.write_timeout, end: None }
    }

    fn limit_write<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.end = None;
            return written;
        }
        let time_limit = self.write_timeout;
        let end = self.end.get_or_insert_with(|| Box::pin(sleep(time_limit)));
        ready!(end.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for GuardedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buffer);
        let more = buffer.filled().len() > before;
        if more && matches!(self.phase.get(), ConnectionPhase::New | ConnectionPhase::Idle) {
            self.phase.set(ConnectionPhase::Head);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for GuardedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        let written = self.limit_write(cx, written);
        self.phase.note_write(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        let written = self.limit_write(cx, written);
        self.phase.note_write(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.limit_write(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.limit_write(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// Seconds until a client is too slow, for a connection that goes through these phases.
    async fn timed_out_after(phases: &[(u64, ConnectionPhase)]) -> Option<u64> {
        let phase = SharedPhase::default();
        let mut phase_timeout = PhaseTimeout::new(phase.clone(), &HttpSettings::default());
        let begin = Instant::now();
        let connection = async {
            for (seconds, next) in phases {
                sleep(Duration::from_secs(*seconds)).await;
                phase.set(*next);
            }
            sleep(Duration::from_secs(1000)).await;
        };
        tokio::select! {
            biased;
            () = connection => None,
            () = phase_timeout.wait() => Some(begin.elapsed().as_secs()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_phase_has_its_time_limit() {
        assert_eq!(timed_out_after(&[]).await, Some(10), "no byte at all");
        assert_eq!(timed_out_after(&[(8, ConnectionPhase::Head)]).await, Some(18), "headers");
        assert_eq!(
            timed_out_after(&[(8, ConnectionPhase::Head), (1, ConnectionPhase::Busy)]).await,
            None,
            "answering"
        );
        let answered = [(1, ConnectionPhase::Busy), (100, ConnectionPhase::Idle)];
        assert_eq!(timed_out_after(&answered).await, Some(176), "between two requests");
        let again =
            [(1, ConnectionPhase::Busy), (1, ConnectionPhase::Idle), (70, ConnectionPhase::Head)];
        assert_eq!(timed_out_after(&again).await, Some(82), "headers of the second request");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_byte_begins_a_request() {
        let (inner, mut client) = duplex(64);
        let phase = SharedPhase::default();
        let mut stream = GuardedStream::new(inner, phase.clone(), &HttpSettings::default());
        for (before, after) in [
            (ConnectionPhase::New, ConnectionPhase::Head),
            (ConnectionPhase::Busy, ConnectionPhase::Busy),
            (ConnectionPhase::Idle, ConnectionPhase::Head),
        ] {
            phase.set(before);
            client.write_all(b"G").await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), b'G');
            assert_eq!(phase.get(), after);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_given_up() {
        let (inner, mut client) = duplex(4);
        let settings = HttpSettings::default();
        let mut stream = GuardedStream::new(inner, SharedPhase::default(), &settings);
        let begin = Instant::now();
        let error = stream.write_all(b"12345678").await.unwrap_err();
        assert_eq!((error.kind(), begin.elapsed().as_secs()), (io::ErrorKind::TimedOut, 30));
        let mut read = [0; 4];
        client.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"1234");
    }
}
