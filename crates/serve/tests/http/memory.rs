//! Responses hold their memory until their clients have received them.

use serde_json::json;
use tokio::net::TcpSocket;

use crate::client::{Client, request};
use crate::{Fixture, until};

const JSON: &str = "content-type: application/json";

/// A request whose answer takes megabytes.
fn large() -> Vec<u8> {
    json!({"inputs": vec!["the train is not a train of leaves"; 1000]}).to_string().into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_not_read_keeps_its_memory_and_no_more() {
    let size = {
        let server = Fixture::new().await;
        let reply = server.post("/embed_all", large()).await;
        assert_eq!(reply.status, 200);
        server.stop().await;
        reply.body.len()
    };
    assert!(size > 4 << 20, "{size} bytes do not fit into the buffers of a connection");
    let server = Fixture::with(|settings| settings.http.max_answers = size * 3 / 2).await;
    // A client that sends a request and reads nothing.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut deaf = Client::of(socket.connect(server.address).await.unwrap());
    deaf.write(&request("POST", "/embed_all", &[JSON], &large())).await;
    let refused = || async {
        let reply = server.post("/embed_all", large()).await;
        match reply.status {
            200 => false,
            _ => {
                reply.fails_tei(429, "Overloaded", "answers to all requests");
                assert_eq!(reply.header("retry-after"), Some("1"));
                true
            }
        }
    };
    until("no room for another answer", refused).await;
    server.works().await;
    drop(deaf);
    until("room again", async || !refused().await).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_never_fits_says_so() {
    let server = Fixture::with(|settings| settings.http.max_answers = 100 << 10).await;
    let reply = server.post("/embed_all", large()).await;
    reply.fails_tei(422, "Validation", "expected at most 102400 bytes, found about");
    assert!(reply.header("retry-after").is_none(), "later is no better");
    let inputs = vec!["a"; 2000];
    let reply = server.post("/v1/embeddings", json!({"input": inputs}).to_string()).await;
    reply.fails(413, "request_too_large", "request less at a time");
    let reply = server.post("/tokenize", json!({"inputs": "a ".repeat(2000)}).to_string()).await;
    reply.fails_tei(422, "Validation", "answer: expected at most");
    server.post("/tokenize", json!({"inputs": "the train"}).to_string()).await.ok();
    server.works().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_texts_are_that_and_not_too_large_an_answer() {
    let server = Fixture::with(|settings| settings.http.max_answers = 1 << 20).await;
    let many = json!({"input": vec!["a"; 100_000]}).to_string();
    server.post("/v1/embeddings", many).await.fails(400, "too_many_texts", "at most 2048");
    server.stop().await;
}
