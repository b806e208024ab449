//! Shutdown of a server: no running request is lost, and nothing hangs.

use std::time::{Duration, Instant};

use polyhead_serve::ShutdownReport;
use tokio::net::TcpStream;

use crate::Fixture;
use crate::client::{Client, request};

const JSON: &str = "content-type: application/json";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ending_under_load_loses_nothing() {
    let server =
        Fixture::with(|settings| settings.http.drain_delay = Duration::from_millis(300)).await;
    let address = server.address;
    let clients: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn(async move {
                let mut answers = 0;
                // Until the door is shut.
                while let Ok(stream) = TcpStream::connect(address).await {
                    let mut client = Client::of(stream);
                    loop {
                        let body = br#"{"inputs":["the train","a"]}"#;
                        // A connection may be closed before its first request, not within one.
                        let whole = request("POST", "/v1/predict", &[JSON], body);
                        if client.try_write(&whole).await.is_err() {
                            break;
                        }
                        let Some(reply) = client.read().await else { break };
                        reply.ok();
                        answers += 1;
                        if reply.header("connection") == Some("close") {
                            break;
                        }
                    }
                }
                answers
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut probe = server.client().await;
    probe.get("/readyz").await.ok();
    let _ = server.stop.send(());
    // Still served, and no longer wanted.
    let mut said_no = false;
    for _ in 0..20 {
        let reply = probe.get("/readyz").await;
        if reply.status == 503 {
            reply.fails(503, "not_ready", "stopping");
            said_no = true;
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(said_no, "`/readyz` never said no");
    probe.get("/livez").await.ok();
    probe.post("/v1/predict", r#"{"inputs":"a"}"#).await.ok();
    let begin = Instant::now();
    assert_eq!(server.done.await.unwrap(), ShutdownReport { dropped_requests: 0 });
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    for client in clients {
        assert!(client.await.unwrap() > 0);
    }
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_flight_is_answered_and_idle_connections_are_closed() {
    let server = Fixture::new().await;
    let mut idle = server.client().await;
    idle.get("/livez").await.ok();
    let mut silent = server.client().await;
    let mut busy = server.client().await;
    busy.write(&request("POST", "/v1/predict", &[JSON], br#"{"inputs":"SLOW a"}"#)).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begin = Instant::now();
    let stopped = tokio::spawn(server.stop());
    let reply = busy.read().await.unwrap();
    reply.ok();
    assert!(idle.read().await.is_none() && silent.read().await.is_none());
    assert_eq!(stopped.await.unwrap(), ShutdownReport { dropped_requests: 0 });
    assert!(begin.elapsed() < Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_hangs_does_not_hold_the_end() {
    let server =
        Fixture::with(|settings| settings.http.drain_timeout = Duration::from_millis(400)).await;
    let mut half = server.client().await;
    half.write(b"POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begin = Instant::now();
    assert_eq!(server.stop().await, ShutdownReport { dropped_requests: 1 });
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    assert!(half.read().await.is_none());
}
