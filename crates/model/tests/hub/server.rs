//! A hub on this machine that serves a tiny model.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use polyhead_testing::tiny_model;
use serde_json::{Value, json};

/// The commit that every revision is at.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A question, as far as a hub looks.
pub(crate) struct ResolvedRequest {
    pub(crate) path: String,
    pub(crate) token: Option<String>,
}

/// What is answered; by default nothing, with status 200.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The length that is announced; absent: none, and the connection's end ends the body.
    pub(crate) announce: Option<usize>,
}

impl Default for Answer {
    fn default() -> Self {
        Self { status: 200, headers: Vec::new(), body: Vec::new(), announce: None }
    }
}

impl Answer {
    pub(crate) fn status(status: u16) -> Self {
        Self { status, announce: Some(0), ..Self::default() }
    }

    pub(crate) fn of(body: Vec<u8>) -> Self {
        Self { announce: Some(body.len()), body, ..Self::default() }
    }

    pub(crate) fn json(value: &Value) -> Self {
        Self::of(value.to_string().into_bytes())
    }
}

/// What an honest hub answers about a tiny model.
pub(crate) fn answer(model: &str, request: &ResolvedRequest) -> Answer {
    if request.path.starts_with("/api/") { listing(model) } else { file(model, request) }
}

/// The files of a model, and some that must not be downloaded.
pub(crate) fn listing(model: &str) -> Answer {
    let mut files =
        vec![json!({"rfilename": "README.md"}), json!({"rfilename": "onnx/model.onnx"})];
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(tiny_model(model).join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else {
                let size = entry.metadata().unwrap().len();
                files.push(json!({"rfilename": path.to_str().unwrap(), "size": size}));
            }
        }
    }
    Answer::json(&json!({"sha": COMMIT, "siblings": files}))
}

/// Takes the sizes out of a listing, as mirrors do that do not know them.
pub(crate) fn without_sizes(listing: &mut Value) {
    for file in listing["siblings"].as_array_mut().unwrap() {
        file.as_object_mut().unwrap().remove("size");
    }
}

/// A file of the one commit.
pub(crate) fn file(model: &str, request: &ResolvedRequest) -> Answer {
    let name = request.path.strip_prefix(&format!("/org/tiny/resolve/{COMMIT}/"));
    match name.map(|name| std::fs::read(tiny_model(model).join(name))) {
        Some(Ok(body)) => Answer::of(body),
        _ => Answer::status(404),
    }
}

/// A server that runs until it is dropped.
pub(crate) struct Server {
    port: u16,
    seen: Arc<Mutex<Vec<ResolvedRequest>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// An honest hub with one model.
    pub(crate) fn of(model: &'static str) -> Self {
        Self::new(move |request| answer(model, request))
    }

    pub(crate) fn new(answer: impl Fn(&ResolvedRequest) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (log, end) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    break;
                }
                // A client that hangs up is no concern of the server.
                let _ = stream.and_then(|stream| serve(stream, &answer, &log));
            }
        });
        Self { port, seen, stop, thread: Some(thread) }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The requested paths.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|request| request.path.clone()).collect()
    }

    /// The tokens that were sent.
    pub(crate) fn tokens(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().filter_map(|request| request.token.clone()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread, which then sees that it is over.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    mut stream: TcpStream,
    answer: &impl Fn(&ResolvedRequest) -> Answer,
    log: &Mutex<Vec<ResolvedRequest>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let mut token = None;
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("authorization")
        {
            token = Some(value.trim().to_owned());
        }
    }
    let request = ResolvedRequest { path, token };
    let Answer { status, headers, body, announce } = answer(&request);
    log.lock().unwrap().push(request);
    let mut head = format!("HTTP/1.1 {status} Answer\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(length) = announce {
        head.push_str(&format!("Content-Length: {length}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    stream.write_all(&body)
}
