//! Connections: accepted, limited, and ended in good order.

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
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tower::ServiceExt;

use super::phases::{GuardedStream, Lateness, Phase, PhaseCell};
use crate::Engine;
use crate::http::app::App;
use crate::http::routes::router;
use crate::http::settings::HttpSettings;

/// Most headers of a request, and most bytes of them.
const HEADERS: usize = 64;
const HEADER_BYTES: usize = 64 << 10;

/// An engine behind a listening socket.
pub struct Server {
    listener: TcpListener,
    app: Arc<App>,
    router: Router,
}

/// How a server has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Requests that were cut off at the end of [`HttpSettings::drain_timeout`].
    pub dropped_requests: usize,
}

impl Server {
    /// Answers what comes to `listener` with `engine`, once [`run`](Self::run) is called.
    pub fn new(listener: TcpListener, engine: Engine, settings: HttpSettings) -> Self {
        let app = Arc::new(App::new(engine, settings));
        Self { listener, router: router(&app), app }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop` is done, and then ends in good order: `/readyz` says no, after
    /// [`HttpSettings::drain_delay`] nothing more is accepted, and what is in flight has
    /// [`HttpSettings::drain_timeout`] to finish.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Stopped {
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
            tracing::warn!(requests = dropped_requests, "drain timeout: requests are cut off");
            connections.shutdown().await;
        }
        // Nobody asks any more.
        app.engine.stop(Duration::from_secs(1)).await;
        Stopped { dropped_requests }
    }

    /// Until `stop` is done and the drain delay after it.
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
                    Ok((stream, _)) => self.take(stream, connections, closing),
                    Err(error) if is_about_one_connection(&error) => {}
                    Err(error) => {
                        // No file descriptors, as a rule: some come back when others close.
                        tracing::warn!(%error, "no connection is accepted");
                        sleep(Duration::from_millis(50)).await;
                    }
                },
            }
        }
    }

    fn take(
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
        // Answers are written as a whole: there is nothing to wait for.
        let _ = stream.set_nodelay(true);
        let (app, router, closing) = (self.app.clone(), self.router.clone(), closing.clone());
        connections.spawn(async move {
            let _open = app.metrics.open_connection();
            serve(stream, router, &app.settings, closing).await;
        });
    }
}

/// The client gave up before it was accepted.
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// As much of an answer as goes out at once: waiting would be a connection more.
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

/// One connection, from its first byte to its end.
async fn serve(
    stream: TcpStream,
    router: Router,
    settings: &HttpSettings,
    mut closing: watch::Receiver<bool>,
) {
    let phase = PhaseCell::default();
    let mut lateness = Lateness::new(phase.clone(), settings);
    let stream = GuardedStream::new(stream, phase.clone(), settings);
    let service = service_fn(|request: Request<Incoming>| {
        phase.set(Phase::Busy);
        let (answer, phase) = (router.clone().oneshot(request.map(Body::new)), phase.clone());
        async move {
            let answer = answer.await;
            phase.set(Phase::Idle);
            answer.map_err(|never: Infallible| never)
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            // `Lateness` has better ones.
            .header_read_timeout(None)
            .max_headers(HEADERS)
            .max_buf_size(HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), service)
    );
    // How a connection ends is the client's affair: an error here is a client that went
    // away or does not speak HTTP.
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        () = lateness.wait() => return,
        _ = closing.wait_for(|closing| *closing) => {}
    }
    // hyper takes a connection without a byte for one with a request on its way.
    if phase.get() == Phase::New {
        return;
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        biased;
        _ = connection => {}
        () = lateness.wait() => {}
    }
}
