//! Connections: accepting, limiting and closing them.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tower::ServiceExt;

use super::phases::{ConnectionPhase, GuardedStream, PhaseTimeout, SharedPhase};
use crate::Engine;
use crate::http::app::App;
use crate::http::head::LocalAddress;
use crate::http::routes::router;
use crate::http::settings::HttpSettings;

const MAX_HEADERS: usize = 64;
const MAX_HEADER_BYTES: usize = 64 << 10;

/// A server for an engine on a listening socket.
pub struct Server {
    listener: TcpListener,
    app: Arc<App>,
    router: Router,
}

/// The work that a server left unfinished when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Number of requests that were cut off at the end of [`HttpSettings::drain_timeout`].
    pub dropped_requests: usize,
}

impl Server {
    /// Makes a server that answers the connections of `listener` with `engine`, once
    /// [`serve_until`](Self::serve_until) is called.
    pub fn new(listener: TcpListener, engine: Engine, settings: HttpSettings) -> Self {
        // An address that the system does not report is treated with more caution.
        let is_public = |address: SocketAddr| !address.ip().to_canonical().is_loopback();
        let is_loopback = !listener.local_addr().is_ok_and(is_public);
        let app = Arc::new(App::new(engine, settings, is_loopback));
        Self { listener, router: router(&app), app }
    }

    /// The address that the server listens on.
    ///
    /// # Errors
    /// If the system does not report the address.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` completes, and then shuts down gracefully: `/readyz` answers 503, after
    /// [`HttpSettings::drain_delay`] no connection is accepted, and requests in flight have
    /// [`HttpSettings::drain_timeout`] to finish.
    pub async fn serve_until(self, stop: impl Future<Output = ()>) -> ShutdownReport {
        let (closing, watched) = watch::channel(false);
        let mut connections = JoinSet::new();
        self.accept(&mut connections, &watched, stop).await;

        let Self { listener, app, .. } = self;
        drop(listener);
        let deadline = Instant::now() + app.settings.drain_timeout;
        closing.send_replace(true);
        let all = async { while connections.join_next().await.is_some() {} };
        let mut dropped_requests = 0;
        if timeout_at(deadline, all).await.is_err() {
            dropped_requests = app.metrics.in_flight();
            let limit = app.settings.drain_timeout.as_secs_f64();
            tracing::error!(
                "{dropped_requests} requests were not answered within {limit} s of the drain and \
                 are cut off; --drain-timeout gives them more time"
            );
            connections.shutdown().await;
        }
        // No connection is left to send requests.
        app.engine.stop(Duration::from_secs(1)).await;
        ShutdownReport { dropped_requests }
    }

    /// Accepts connections until `stop` has completed and the drain delay has passed.
    async fn accept(
        &self,
        connections: &mut JoinSet<()>,
        closing: &watch::Receiver<bool>,
        stop: impl Future<Output = ()>,
    ) {
        let settings = &self.app.settings;
        let mut stop = pin!(async {
            stop.await;
            self.app.drain();
            tracing::info!(delay_s = settings.drain_delay.as_secs_f64(), "draining");
            sleep(settings.drain_delay).await;
        });
        loop {
            tokio::select! {
                () = &mut stop => return,
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => self.spawn_connection(stream, connections, closing),
                    Err(error) if is_about_one_connection(&error) => {}
                    Err(error) => {
                        // Usually all file descriptors are in use: some become free when
                        // connections close.
                        tracing::warn!(%error, "no connection is accepted");
                        sleep(Duration::from_millis(50)).await;
                    }
                },
            }
        }
    }

    fn spawn_connection(
        &self,
        stream: TcpStream,
        connections: &mut JoinSet<()>,
        closing: &watch::Receiver<bool>,
    ) {
        while connections.try_join_next().is_some() {}
        if connections.len() >= self.app.settings.max_connections {
            self.app.metrics.refused_connections.inc();
            refuse(&stream, self.app.settings.max_connections);
            return;
        }
        // Responses are written as a whole, so waiting for more bytes gains nothing.
        let _ = stream.set_nodelay(true);
        let (app, router, closing) = (self.app.clone(), self.router.clone(), closing.clone());
        let local = LocalAddress(stream.local_addr().ok().map(|address| address.ip()));
        connections.spawn(async move {
            let _open = app.metrics.open_connection();
            let end = serve_connection(stream, local, router, &app.settings, closing).await;
            if end == ConnectionEnd::Unread {
                app.metrics.abandoned.inc();
                let limit = app.settings.write_timeout.as_secs_f64();
                tracing::info!("a client took nothing of its response for {limit} s or went away");
            }
        });
    }
}

/// Returns true if an error means that a client gave up before it was accepted.
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Sends as much of a 503 response as possible without waiting, because a waiting connection would
/// be one more.
fn refuse(stream: &TcpStream, limit: usize) {
    let body = format!(
        r#"{{"error":{{"message":"connections: expected at most {limit}, try later","type":"server_error","param":null,"code":"too_many_connections"}}}}"#
    );
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nretry-after: 1\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.try_write(answer.as_bytes());
}

/// The end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConnectionEnd {
    /// All responses were written.
    Read,
    /// The client did not take all of a response.
    Unread,
}

/// Serves one connection, from its first byte to its end.
///
/// - `local`: the address of this machine that the client has connected to
async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    local: LocalAddress,
    router: Router,
    settings: &HttpSettings,
    mut closing: watch::Receiver<bool>,
) -> ConnectionEnd {
    let phase = SharedPhase::default();
    let mut phase_timeout = PhaseTimeout::new(phase.clone(), settings);
    let stream = GuardedStream::new(stream, phase.clone(), settings);
    let end = || if phase.write_failed() { ConnectionEnd::Unread } else { ConnectionEnd::Read };
    let service = service_fn(|mut request: Request<Incoming>| {
        phase.set(ConnectionPhase::Busy);
        request.extensions_mut().insert(local);
        let (answer, phase) = (router.clone().oneshot(request.map(Body::new)), phase.clone());
        async move {
            let answer = answer.await;
            phase.set(ConnectionPhase::Idle);
            answer.map_err(|never: Infallible| never)
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            // `PhaseTimeout` treats a slow client and an idle connection differently.
            .header_read_timeout(None)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), service)
    );
    // Errors are ignored: they come from clients that disconnected or do not speak HTTP.
    tokio::select! {
        biased;
        _ = connection.as_mut() => return end(),
        () = phase_timeout.wait() => return end(),
        _ = closing.wait_for(|closing| *closing) => {}
    }
    // hyper would wait for a request on a connection that has not sent a byte.
    if phase.get() == ConnectionPhase::New {
        return ConnectionEnd::Read;
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        biased;
        _ = connection => {}
        () = phase_timeout.wait() => {}
    }
    end()
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::task::JoinHandle;

    use super::*;

    const BODY: usize = 1 << 20;

    /// A connection that has asked for [`BODY`] bytes and read the head of the response.
    async fn asked() -> (DuplexStream, JoinHandle<(ConnectionEnd, Duration)>, watch::Sender<bool>) {
        let (mut client, stream) = duplex(1 << 12);
        let router = Router::new().route("/", get(|| async { vec![b'x'; BODY] }));
        let (close, closing) = watch::channel(false);
        let served = tokio::spawn(async move {
            let (begin, local) = (Instant::now(), LocalAddress(None));
            let settings = HttpSettings::default();
            let end = serve_connection(stream, local, router, &settings, closing).await;
            (end, begin.elapsed())
        });
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.unwrap());
        }
        (client, served, close)
    }

    /// Reads `bytes` bytes in `seconds` seconds.
    async fn read(client: &mut DuplexStream, bytes: usize, seconds: u64) {
        let mut part = vec![0; bytes / seconds as usize];
        for _ in 0..seconds {
            client.read_exact(&mut part).await.unwrap();
            sleep(Duration::from_secs(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_but_steady_client_is_served_to_the_end() {
        let (mut client, served, _close) = asked().await;
        read(&mut client, BODY, 512).await;
        assert!(!served.is_finished(), "an idle connection has 75 s for its next request");
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'H');
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_for_30_s_is_left_and_noted() {
        let (mut client, served, _close) = asked().await;
        read(&mut client, BODY / 2, 256).await;
        let (end, after) = served.await.unwrap();
        assert_eq!(end, ConnectionEnd::Unread);
        assert!((280..=290).contains(&after.as_secs()), "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_idle_time_begins_when_the_response_is_written() {
        let (mut client, served, _close) = asked().await;
        read(&mut client, BODY, 256).await;
        let (end, after) = served.await.unwrap();
        assert_eq!(end, ConnectionEnd::Read);
        assert!((325..=335).contains(&after.as_secs()), "{after:?}");
    }
}
