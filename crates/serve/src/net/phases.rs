//! A connection that does not wait for ever.
//!
//! hyper's own header timeout also runs while a connection is idle between two requests, so
//! it cannot be short for the one and long for the other. Here a stream notes in which phase
//! its connection is, and [`Lateness`] says when the client has taken too long for it.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::http::settings::HttpSettings;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Nothing has come yet.
    New = 0,
    /// The headers of a request are coming.
    Head = 1,
    /// A request is being answered.
    Busy = 2,
    /// A request has been answered, and no other has begun.
    Idle = 3,
}

/// The phase of a connection, seen by its stream and by those who answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct PhaseCell(Arc<AtomicU8>);

impl PhaseCell {
    pub(crate) fn get(&self) -> Phase {
        match self.0.load(Ordering::Relaxed) {
            0 => Phase::New,
            1 => Phase::Head,
            2 => Phase::Busy,
            _ => Phase::Idle,
        }
    }

    pub(crate) fn set(&self, phase: Phase) {
        self.0.store(phase as u8, Ordering::Relaxed);
    }
}

/// When a client has taken too long to send what its connection's phase is about.
pub(crate) struct Lateness {
    phase: PhaseCell,
    /// The phase that `end` was set for.
    seen: Phase,
    end: Pin<Box<Sleep>>,
    header: Duration,
    idle: Duration,
}

impl Lateness {
    pub(crate) fn new(phase: PhaseCell, settings: &HttpSettings) -> Self {
        let (header, idle) = (settings.header_timeout, settings.idle_timeout);
        Self { seen: phase.get(), phase, end: Box::pin(sleep(header)), header, idle }
    }

    /// Waits until the client is late.
    ///
    /// A change of the phase wakes nobody: this must be polled after the connection, in the
    /// same task, which every change is made in.
    pub(crate) async fn wait(&mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let phase = self.phase.get();
        let patience = match phase {
            Phase::New | Phase::Head => self.header,
            Phase::Idle => self.idle,
            // The body has a limit of its own, and the answer takes what it takes.
            Phase::Busy => {
                self.seen = phase;
                return Poll::Pending;
            }
        };
        if self.seen != phase {
            self.seen = phase;
            self.end.as_mut().reset(Instant::now() + patience);
        }
        self.end.as_mut().poll(cx)
    }
}

/// `S`, noting the phase, and with an end to waiting for a client that does not read.
pub(crate) struct GuardedStream<S> {
    inner: S,
    phase: PhaseCell,
    patience: Duration,
    /// When the client has had time enough, while it does not read.
    end: Option<Pin<Box<Sleep>>>,
}

impl<S> GuardedStream<S> {
    pub(crate) fn new(inner: S, phase: PhaseCell, settings: &HttpSettings) -> Self {
        Self { inner, phase, patience: settings.write_timeout, end: None }
    }

    fn waited<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.end = None;
            return written;
        }
        let patience = self.patience;
        let end = self.end.get_or_insert_with(|| Box::pin(sleep(patience)));
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
        if more && matches!(self.phase.get(), Phase::New | Phase::Idle) {
            self.phase.set(Phase::Head);
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
        self.waited(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.waited(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.waited(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.waited(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// Seconds until a client is late whose connection goes through these phases.
    async fn late_after(phases: &[(u64, Phase)]) -> Option<u64> {
        let phase = PhaseCell::default();
        let mut lateness = Lateness::new(phase.clone(), &HttpSettings::default());
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
            () = lateness.wait() => Some(begin.elapsed().as_secs()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_phase_has_its_patience() {
        assert_eq!(late_after(&[]).await, Some(10), "no byte at all");
        assert_eq!(late_after(&[(8, Phase::Head)]).await, Some(18), "headers");
        assert_eq!(late_after(&[(8, Phase::Head), (1, Phase::Busy)]).await, None, "answering");
        let answered = [(1, Phase::Busy), (100, Phase::Idle)];
        assert_eq!(late_after(&answered).await, Some(176), "between two requests");
        let again = [(1, Phase::Busy), (1, Phase::Idle), (70, Phase::Head)];
        assert_eq!(late_after(&again).await, Some(82), "headers of the second request");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_byte_begins_a_request() {
        let (inner, mut client) = duplex(64);
        let phase = PhaseCell::default();
        let mut stream = GuardedStream::new(inner, phase.clone(), &HttpSettings::default());
        for (before, after) in
            [(Phase::New, Phase::Head), (Phase::Busy, Phase::Busy), (Phase::Idle, Phase::Head)]
        {
            phase.set(before);
            client.write_all(b"G").await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), b'G');
            assert_eq!(phase.get(), after);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_is_left() {
        let (inner, mut client) = duplex(4);
        let settings = HttpSettings::default();
        let mut stream = GuardedStream::new(inner, PhaseCell::default(), &settings);
        let begin = Instant::now();
        let error = stream.write_all(b"12345678").await.unwrap_err();
        assert_eq!((error.kind(), begin.elapsed().as_secs()), (io::ErrorKind::TimedOut, 30));
        let mut read = [0; 4];
        client.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"1234");
    }
}
