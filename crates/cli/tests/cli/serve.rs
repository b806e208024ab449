//! `polyhead serve` as an operator runs it: start, requests, signals.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use polyhead_compute::Threads;
use polyhead_model::{Answer, MultiTaskModel};
use polyhead_train::{RunConfig, TrainingSession};

use crate::Folder;

/// A server that listens; killed when dropped.
struct Server {
    child: Child,
    address: String,
    log: Arc<Mutex<String>>,
}

impl Server {
    fn start(folder: &Folder, args: &[&str]) -> Self {
        let mut command = folder.command();
        command.args(["serve", "--port", "0", "--threads", "1"]).args(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut server = Self::of(child);
        let address = line.trim_end().strip_prefix("listening on http://");
        let log = || server.log.lock().unwrap().clone();
        server.address = address.unwrap_or_else(|| panic!("{line} {}", log())).to_owned();
        server
    }

    /// A process whose log is read.
    fn of(mut child: Child) -> Self {
        let log = Arc::new(Mutex::new(String::new()));
        let (mut stderr, written) = (BufReader::new(child.stderr.take().unwrap()), log.clone());
        thread::spawn(move || {
            let mut line = String::new();
            while stderr.read_line(&mut line).unwrap_or(0) > 0 {
                written.lock().unwrap().push_str(&line);
                line.clear();
            }
        });
        Self { address: String::new(), child, log }
    }

    /// Status and body.
    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\n{headers}content-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    fn wait_for_log(&self, words: &str) {
        let begin = Instant::now();
        while !self.log.lock().unwrap().contains(words) {
            let log = self.log.lock().unwrap().clone();
            assert!(begin.elapsed() < Duration::from_secs(20), "no `{words}` in: {log}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Exit code after SIGTERM, and the whole log.
    fn end(mut self) -> (Option<i32>, String) {
        self.signal("TERM");
        let code = self.child.wait().unwrap().code();
        thread::sleep(Duration::from_millis(50));
        let log = self.log.lock().unwrap().clone();
        (code, log)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const EMBED: &str = r#"{"input":"a secret text","model":"all-MiniLM-L6-v2"}"#;

#[test]
fn the_built_in_model_is_served_and_the_log_keeps_secrets() {
    let folder = Folder::with("keys", "# mine\na-secret-key\n");
    let server = Server::start(&folder, &["--api-key-file", "keys", "--log-format", "json"]);
    assert_eq!(server.ask("GET", "/readyz", "", "").0, 200);
    assert_eq!(server.ask("POST", "/v1/embeddings", "", EMBED).0, 401);
    let key = "authorization: Bearer a-secret-key\r\nx-request-id: my-request\r\n";
    let (status, body) = server.ask("POST", "/v1/embeddings", key, EMBED);
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, answer["data"][0]["embedding"].as_array().unwrap().len()), (200, 384));
    server.ask("POST", "/v1/predict", key, r#"{"inputs":"a","a secret field":1}"#);
    server.ask("GET", "/a-secret-path", key, "");
    let (code, log) = server.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("secret"), "{log}");
    let line = log.lines().find(|line| line.contains("my-request")).expect(&log);
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["status"], &line["route"]), (&200.into(), &"/v1/embeddings".into()));
    assert_eq!(line["texts"], 1);
}

#[test]
fn a_model_that_does_not_load_again_leaves_the_old_one() {
    let folder = Folder::new();
    let tiny = polyhead_testing::tiny_model("tiny-bert");
    polyhead_testing::copy_folder(&tiny, &folder.path("model"));
    let server = Server::start(&folder, &["model"]);
    let embed = || server.ask("POST", "/embed", "", r#"{"inputs":"the train"}"#);
    let before = embed();
    assert_eq!(before.0, 200);
    let config = folder.path("model/config.json");
    let good = fs::read(&config).unwrap();
    fs::write(&config, "{").unwrap();
    server.signal("HUP");
    server.wait_for_log("the old model stays in use: the model cannot be served: ");
    server.wait_for_log("config.json: ");
    assert_eq!(embed(), before);
    assert_eq!(server.ask("GET", "/readyz", "", "").0, 200);
    fs::write(&config, good).unwrap();

    // Without a bound, trying this tokenizer takes all memory.
    let tokenizer = folder.path("model/tokenizer.json");
    let good = fs::read_to_string(&tokenizer).unwrap();
    let double = r#"{"type": "Replace", "pattern": {"String": "l"}, "content": "ll"}"#;
    let mut hostile: serde_json::Value = serde_json::from_str(&good).unwrap();
    let steps: Vec<serde_json::Value> = vec![serde_json::from_str(double).unwrap(); 40];
    hostile["normalizer"] = serde_json::json!({"type": "Sequence", "normalizers": steps});
    fs::write(&tokenizer, hostile.to_string()).unwrap();
    server.signal("HUP");
    server.wait_for_log("expected steps that make a text at most 10000 times as long");
    assert_eq!(embed(), before);
    fs::write(&tokenizer, good).unwrap();
    server.signal("HUP");
    server.wait_for_log("the new model is in use");
    assert_eq!(embed(), before);
    let metrics = server.ask("GET", "/metrics", "", "").1;
    for line in ["polyhead_reload_failures_total 2\n", "polyhead_reloads_total 1\n"] {
        assert!(metrics.contains(line), "{metrics}");
    }
    assert_eq!(server.end().0, Some(0));
}

/// Standard error is a pipe that nothing reads; it holds some 400 lines.
#[test]
fn a_log_that_is_not_read_stops_nothing() {
    let folder = Folder::new();
    let mut command = folder.command();
    command.args(["serve", "--port", "0", "--threads", "1"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut server = Server { child, address: String::new(), log: Arc::default() };
    let mut line = String::new();
    BufReader::new(server.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("listening on http://").unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut stream = BufReader::new(stream);
    for _ in 0..1500 {
        stream.get_mut().write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        while !answer.ends_with("\r\n\r\n") {
            assert_ne!(stream.read_line(&mut answer).unwrap(), 0);
        }
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        stream.read_exact(&mut [0; r#"{"status":"alive"}"#.len()]).unwrap();
    }
    server.signal("TERM");
    let begin = Instant::now();
    let code = loop {
        if let Some(status) = server.child.try_wait().unwrap() {
            break status.code();
        }
        assert!(begin.elapsed() < Duration::from_secs(10), "the log keeps the process");
        thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(code, Some(0));
}

/// As in `polyhead serve | true`.
#[test]
fn a_standard_output_that_is_gone_does_not_end_the_server() {
    let folder = Folder::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = folder.command();
    command.args(["serve", "--port", "0", "--threads", "1"]).stdout(writer);
    let mut server = Server::of(command.stderr(Stdio::piped()).spawn().unwrap());
    server.wait_for_log("standard output: ");
    let log = server.log.lock().unwrap().clone();
    let address = log.split_once("listening on http://").and_then(|(_, rest)| rest.split_once(';'));
    server.address = address.expect(&log).0.to_owned();
    assert_eq!(server.ask("GET", "/readyz", "", "").0, 200);
    assert_eq!(server.end().0, Some(0));
}

#[test]
fn what_cannot_be_served_is_said_at_once() {
    let folder = Folder::with("keys", "# none\n");
    let check = folder.run(&["serve", "--check", "--threads", "1"]).ok();
    assert_eq!(
        check.out,
        "model all-MiniLM-L6-v2\ntasks none\nvectors of 384 numbers\ntexts of at most 256 tokens\n"
    );
    folder.run(&["serve", "--check", "nowhere"]).fails(1, &["nowhere"]);
    folder.run(&["serve", "--api-key-file", "keys"]).fails(2, &["keys", "at least one key"]);
    folder.run(&["serve", "--api-key-file", "none"]).fails(1, &["none"]);
    folder.run(&["serve", "--check", "--max-length", "1"]).fails(2, &["max"]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    folder.run(&["serve", "--port", &port]).fails(1, &[&format!("127.0.0.1:{port}")]);
    let other = folder
        .command()
        .env("POLYHEAD_API_KEYS", "good,not good")
        .args(["serve", "--check"])
        .output()
        .unwrap();
    let error = String::from_utf8(other.stderr).unwrap();
    assert_eq!(other.status.code(), Some(2));
    assert!(error.contains("POLYHEAD_API_KEYS") && !error.contains("not good"), "{error}");
}

/// Rows of two labels.
const ROWS: &str = r#"{"text": "the soup was good", "mood": "glad"}
{"text": "the soup was cold", "mood": "cross"}
{"text": "a good day", "mood": "glad"}
{"text": "a cold day", "mood": "cross"}
"#;

#[test]
fn a_model_trained_by_hand_is_served() {
    let folder = Folder::with("rows.jsonl", ROWS);
    let text = format!(
        "encoder.model = {:?}\ndata.train = \"rows.jsonl\"\ntrain = {{ recipe = \"full\", \
         max_steps = 3 }}\ntask = [{{ name = \"mood\", kind = \"classification\" }}]",
        polyhead_testing::tiny_model("tiny-bert")
    );
    let config = RunConfig::parse(&text, &folder.path("by-hand.toml"), &[]).unwrap();
    let threads = Threads::new(1).unwrap();
    let mut session = TrainingSession::new(&config, &threads).unwrap();
    for step in 1..=session.total_steps() {
        let batch = session.batch(step);
        session.forward(&batch);
        session.loss(&batch, 0).unwrap();
        session.backward(&batch);
        session.step(&batch).unwrap();
    }
    session.save(&folder.path("model")).unwrap();

    let path = folder.path("model").display().to_string();
    let model = MultiTaskModel::load(&path).unwrap();
    let found = model.predict(&["the soup was cold"]).unwrap();
    let Answer::Classification(class) = &found.texts[0].tasks[0].answer else { panic!("a class") };
    let server = Server::start(&folder, &["-m", &path]);
    let (status, body) = server.ask("POST", "/v1/predict", "", r#"{"inputs":"the soup was cold"}"#);
    assert_eq!(status, 200, "{body}");
    let label = format!("\"{}\"", class.label().unwrap());
    assert!(body.contains("\"mood\"") && body.contains(&label), "{body}");
    server.end();
}

#[test]
fn a_model_of_fit_is_served() {
    let csv = "Body of the mail;which team?\nmy card was charged;billing\nthe app closes;technical\n\
               send an invoice;billing\nI cannot log in;technical\n";
    let folder = Folder::with("mails.csv", csv);
    let tiny = polyhead_testing::tiny_model("tiny-bert").display().to_string();
    let quick = ["--model", &tiny, "--set", "train.max_steps=2", "-o", "run"];
    folder.run(&[&["fit", "mails.csv"], &quick[..]].concat()).ok();
    let server = Server::start(&folder, &["run"]);
    let (status, body) = server.ask("POST", "/v1/predict", "", r#"{"inputs":"a bill"}"#);
    assert!(
        status == 200 && body.contains("\"which_team_\"") && body.contains("billing"),
        "{body}"
    );
    server.end();
}
