//! Slow, idle, closed and too many connections.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use crate::client::{Client, request};
use crate::{Fixture, until};

const JSON: &str = "content-type: application/json";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_slow_is_left_and_others_are_served() {
    let server = Fixture::with(|settings| {
        settings.http.header_timeout = Duration::from_millis(300);
        settings.http.body_timeout = Duration::from_millis(300);
        settings.http.idle_timeout = Duration::from_millis(900);
    })
    .await;
    let begin = Instant::now();
    let mut silent = server.client().await;
    let mut dripping = server.client().await;
    let mut idle = server.client().await;
    idle.get("/livez").await.ok();
    let mut half = server.client().await;
    half.write(b"POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"inp\r\n").await;
    let drip = tokio::spawn(async move {
        dripping.write(b"GET /livez HTTP/1.1\r\n").await;
        let (mut read, begin) = (Box::pin(async { dripping.read().await }), Instant::now());
        let ended = tokio::time::timeout(Duration::from_secs(3), &mut read).await;
        (ended.is_ok_and(|reply| reply.is_none()), begin.elapsed())
    });
    assert!(silent.read().await.is_none());
    assert!(begin.elapsed() < Duration::from_secs(2));
    half.read().await.unwrap().fails(408, "body_timeout", "within 0.3 s");
    let (closed, after) = drip.await.unwrap();
    assert!(closed && after < Duration::from_secs(2), "{after:?}");
    server.works().await;
    assert!(idle.read().await.is_none());
    assert!(begin.elapsed() >= Duration::from_millis(850), "idle connections have longer");
    until("no connection", async || server.metric("polyhead_connections").await == 1.0).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_idle_connections_are_in_nobodys_way() {
    let server = Fixture::new().await;
    let mut idle = Vec::new();
    for _ in 0..1000 {
        idle.push(server.client().await);
    }
    let begin = Instant::now();
    for _ in 0..20 {
        server.works().await;
    }
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    drop(idle);
    until("no connection", async || server.metric("polyhead_connections").await == 1.0).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_too_many_is_told_so() {
    let server = Fixture::with(|settings| settings.http.max_connections = 3).await;
    let mut kept = Vec::new();
    for _ in 0..3 {
        let mut client = server.client().await;
        client.get("/livez").await.ok();
        kept.push(client);
    }
    let reply = server.client().await.read().await.unwrap();
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    assert_eq!(reply.json()["error"]["code"], "too_many_connections");
    kept.pop();
    until("a place", async || {
        let mut client = server.client().await;
        client.write(&request("GET", "/livez", &[], b"")).await;
        client.read().await.is_some_and(|reply| reply.status == 200)
    })
    .await;
    server.stop().await;
}

/// Requests whose clients go away at every stage leave nothing behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_goes_away_frees_the_place() {
    let server = Fixture::new().await;
    let body = json!({"inputs": vec!["the train leaves"; 20]}).to_string();
    let whole = request("POST", "/v1/predict", &[JSON], body.as_bytes());
    for i in 0..600 {
        let mut client = server.client().await;
        let sent = if i % 3 == 0 { whole.len() } else { i * whole.len() / 600 };
        client.write(&whole[..sent]).await;
    }
    until("gauges at zero", async || {
        let backlog = server.engine.backlog();
        backlog.tokens == 0
            && backlog.requests == 0
            && backlog.tokenizing_bytes == 0
            && server.metric("polyhead_requests_in_flight").await == 1.0
            && server.metric("polyhead_connections").await == 1.0
    })
    .await;
    assert!(server.metric("polyhead_abandoned_requests_total").await > 0.0);
    server.works().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_the_answer_is_left() {
    let server =
        Fixture::with(|settings| settings.http.write_timeout = Duration::from_millis(300)).await;
    let mut client = Client::connect(server.address).await;
    let body = json!({"inputs": vec!["the train leaves"; 2000]}).to_string();
    // Far more than the buffers of a socket hold.
    for _ in 0..6 {
        client.write(&request("POST", "/embed_all", &[JSON], body.as_bytes())).await;
    }
    until("the connection is closed", async || server.metric("polyhead_connections").await == 1.0)
        .await;
    assert_eq!(server.metric("polyhead_abandoned_requests_total").await, 1.0);
    server.works().await;
    server.stop().await;
}

/// A client that takes longer than an idle connection may, but never nothing for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_slowly_gets_the_whole_answer() {
    let server = Fixture::with(|settings| {
        // A socket counts as writable once a third of its buffer is free: of 4 MB, after 0.3 s.
        settings.http.idle_timeout = Duration::from_millis(800);
        settings.http.write_timeout = Duration::from_secs(5);
    })
    .await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(server.address).await.unwrap();
    let body = json!({"inputs": vec!["the train is not a train of leaves"; 2000]}).to_string();
    stream.write_all(&request("POST", "/embed_all", &[JSON], body.as_bytes())).await.unwrap();
    // About 2 s, of which the buffers of the socket hide half.
    let (mut received, begin) = (Vec::new(), Instant::now());
    let mut part = vec![0; 256 << 10];
    loop {
        let count = stream.read(&mut part).await.unwrap();
        received.extend_from_slice(&part[..count]);
        if count == 0 || received.ends_with(b"]]]") {
            break;
        }
        let due = Duration::from_secs_f64(received.len() as f64 / 4e6);
        tokio::time::sleep(due.saturating_sub(begin.elapsed())).await;
    }
    assert!(received.ends_with(b"]]]"), "{} bytes", received.len());
    assert!(begin.elapsed() > Duration::from_secs(1), "{:?}", begin.elapsed());
    assert_eq!(server.metric("polyhead_abandoned_requests_total").await, 0.0);
    server.stop().await;
}
