//! A minimal HTTP client, so that a test can also send what no regular client would.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A connection.
pub(crate) struct Client(BufReader<TcpStream>);

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::of(TcpStream::connect(address).await.unwrap())
    }

    pub(crate) fn of(stream: TcpStream) -> Self {
        Self(BufReader::new(stream))
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.try_write(bytes).await.unwrap();
    }

    /// [`write`](Self::write) to a server that may have closed the connection.
    pub(crate) async fn try_write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes).await
    }

    /// The next answer; `None` if the server has closed the connection.
    pub(crate) async fn read(&mut self) -> Option<Reply> {
        self.read_answer(true).await
    }

    async fn read_answer(&mut self, has_body: bool) -> Option<Reply> {
        let mut line = String::new();
        // A connection that is reset is closed as well.
        if self.0.read_line(&mut line).await.unwrap_or(0) == 0 {
            return None;
        }
        let status = line.split(' ').nth(1).expect(&line).parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).await.unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.push((name.to_owned(), value.to_owned()));
        }
        let mut reply = Reply { status, headers, body: Vec::new() };
        let length = reply.header("content-length").map_or(0, |length| length.parse().unwrap());
        reply.body.resize(if has_body { length } else { 0 }, 0);
        self.0.read_exact(&mut reply.body).await.unwrap();
        Some(reply)
    }

    pub(crate) async fn get(&mut self, path: &str) -> Reply {
        self.ask("GET", path, &[], b"").await
    }

    pub(crate) async fn post(&mut self, path: &str, body: impl AsRef<[u8]>) -> Reply {
        self.ask("POST", path, &["content-type: application/json"], body.as_ref()).await
    }

    pub(crate) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &[u8],
    ) -> Reply {
        // The server may have answered before it has read all.
        let _ = self.try_write(&request(method, path, headers, body)).await;
        self.read_answer(method != "HEAD").await.expect("an answer")
    }
}

/// The bytes of a request.
pub(crate) fn request(method: &str, path: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    [head.as_bytes(), body].concat()
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body, which must be JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The body of a good answer.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }

    /// Checks an error in OpenAI's envelope.
    #[track_caller]
    pub(crate) fn fails(&self, status: u16, code: &str, words: &str) {
        let body = self.json();
        assert_eq!((self.status, &body["error"]["code"]), (status, &Value::from(code)), "{body}");
        let message = body["error"]["message"].as_str().expect("a message");
        assert!(message.contains(words), "expected `{words}` in: {message}");
        let kind = match status {
            429 => "rate_limit_error",
            424 | 500.. => "server_error",
            _ => "invalid_request_error",
        };
        assert_eq!(body["error"]["type"], kind);
        assert!(self.header("x-request-id").is_some());
    }

    /// Checks an error in the envelope of text-embeddings-inference.
    #[track_caller]
    pub(crate) fn fails_tei(&self, status: u16, error_type: &str, words: &str) {
        let body = self.json();
        assert_eq!((self.status, &body["error_type"]), (status, &error_type.into()), "{body}");
        let message = body["error"].as_str().expect("a message");
        assert!(message.contains(words), "expected `{words}` in: {message}");
    }
}
