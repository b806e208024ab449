//! A load generator for a running server. It uses one thread, because server and client share the
//! machine.
//!
//! ```sh
//! cargo run --release -p polyhead-serve --example load -- \
//!     --address 127.0.0.1:8080 --requests FILE --clients 16 --seconds 10
//! ```
//!
//! `FILE` has one request per line: `{"class": "short", "path": "/v1/embeddings", "texts": 1,
//! "body": "{\"input\": …}"}`. They are sent in turn, repeatedly. The result is one line of JSON:
//! throughput, statuses, and latency in milliseconds by class and status.
//!
//! - `--clients N`: closed loop, each client sends its next request when it has its answer.
//! - `--rate R`: open loop, R requests per second arrive as a Poisson process, even if the server
//!   is slower. Latency counts from the time at which a request should have been sent, so that a
//!   slow server cannot slow the clock (no coordinated omission).
//! - `--drop N`: N connections that send a request and close without reading the answer.
//!
//! Statuses besides those of HTTP: `refused` (no connection), `cut` (closed without an
//! answer), `none` (no answer in `--patience` seconds), `malformed`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use polyhead_compute::Random;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio::time::timeout;

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)).and_then(run_load) {
        Ok(found) => {
            println!("{found}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// How requests come.
#[derive(Clone, Copy)]
enum Arrivals {
    Closed { clients: usize },
    Open { rate: f64 },
    Drop { total: usize },
}

struct Options {
    address: SocketAddr,
    requests: String,
    arrivals: Arrivals,
    seconds: f64,
    /// Seconds at the beginning that do not count.
    warmup: f64,
    /// Seconds that a request may take.
    patience: f64,
    /// Seconds of each slice that is reported by itself; none by default.
    slice: Option<f64>,
    /// Whether to report a hash of each request's answer.
    hashes: bool,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut values = BTreeMap::new();
        while let Some(name) = arguments.next() {
            let value = match name.as_str() {
                "--hashes" => String::new(),
                _ => arguments.next().ok_or(format!("{name}: expected a value"))?,
            };
            values.insert(name, value);
        }
        let hashes = values.remove("--hashes").is_some();
        let mut number = |name: &str| -> Result<Option<f64>, String> {
            let found = values.remove(name).map(|text| text.parse::<f64>().map_err(at(name)));
            found.transpose()
        };
        let arrivals = match (number("--clients")?, number("--rate")?, number("--drop")?) {
            (Some(clients), None, None) => Arrivals::Closed { clients: clients as usize },
            (None, Some(rate), None) if rate > 0.0 => Arrivals::Open { rate },
            (None, None, Some(total)) => Arrivals::Drop { total: total as usize },
            _ => return Err("expected one of --clients, --rate, --drop".to_owned()),
        };
        let (seconds, warmup) =
            (number("--seconds")?.unwrap_or(5.0), number("--warmup")?.unwrap_or(0.0));
        let (patience, slice) = (number("--patience")?.unwrap_or(30.0), number("--slice")?);
        let mut text = |name: &str| values.remove(name).ok_or(format!("{name}: is missing"));
        let address = text("--address")?.parse().map_err(at("--address"))?;
        let requests = text("--requests")?;
        if let Some(name) = values.keys().next() {
            return Err(format!("{name}: no such option"));
        }
        Ok(Self { address, requests, arrivals, seconds, warmup, patience, slice, hashes })
    }
}

/// Prefixes an error with its place.
fn at<E: Display>(place: &str) -> impl FnOnce(E) -> String {
    let place = place.to_owned();
    move |error| format!("{place}: {error}")
}

/// A line of the file.
#[derive(Deserialize)]
struct Line {
    class: String,
    path: String,
    #[serde(default = "one")]
    texts: usize,
    body: String,
}

fn one() -> usize {
    1
}

/// A request as it goes over the wire.
struct Request {
    class: String,
    texts: usize,
    bytes: Vec<u8>,
    /// Hash of the first successful answer.
    hash: Cell<Option<u64>>,
}

fn read_requests(path: &str, address: SocketAddr) -> Result<Vec<Request>, String> {
    let file = std::fs::read_to_string(path).map_err(at(path))?;
    let request = |text: &str| {
        let Line { class, path, texts, body } = serde_json::from_str(text).map_err(at(path))?;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let bytes = [head.as_bytes(), body.as_bytes()].concat();
        Ok(Request { class, texts, bytes, hash: Cell::new(None) })
    };
    let requests: Vec<Request> = file.lines().map(request).collect::<Result<_, String>>()?;
    if requests.is_empty() { Err(format!("{path}: has no line")) } else { Ok(requests) }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Status(u16),
    Refused,
    Cut,
    None,
    Malformed,
}

impl Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            other => f.write_str(&format!("{other:?}").to_lowercase()),
        }
    }
}

/// One request; times are since the beginning of the run.
struct Sample {
    request: usize,
    outcome: Outcome,
    /// When it should have been sent.
    due: Duration,
    /// When it was sent.
    sent: Duration,
    end: Duration,
}

/// State that all tasks of a run share.
struct Run {
    options: Options,
    requests: Vec<Request>,
    start: Instant,
    next: Cell<usize>,
    samples: RefCell<Vec<Sample>>,
    /// Answers with status 200 that are not the bytes of the first to the same request.
    different: Cell<usize>,
    /// Connections that wait for a request.
    idle: RefCell<Vec<Connection>>,
}

fn run_load(options: Options) -> Result<Value, String> {
    let requests = read_requests(&options.requests, options.address)?;
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_io().enable_time().build().map_err(at("runtime"))?;
    let arrivals = options.arrivals;
    let run = Rc::new(Run {
        options,
        requests,
        start: Instant::now(),
        next: Cell::new(0),
        samples: RefCell::default(),
        different: Cell::new(0),
        idle: RefCell::default(),
    });
    let local = LocalSet::new();
    match arrivals {
        Arrivals::Closed { clients } => local.block_on(&runtime, closed(&run, clients)),
        Arrivals::Open { rate } => local.block_on(&runtime, open(&run, rate)),
        Arrivals::Drop { total } => local.block_on(&runtime, drop_all(&run, total)),
    }
    Ok(report(&run))
}

async fn closed(run: &Rc<Run>, clients: usize) {
    let client = |run: Rc<Run>| async move {
        let end = Duration::from_secs_f64(run.options.seconds);
        while run.start.elapsed() < end {
            let outcome = run.ask(run.start.elapsed()).await;
            // Without a pause, a server that is gone would get millions of connections.
            if outcome == Outcome::Refused {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    join(0..clients, |_| client(run.clone())).await;
}

/// Runs one task for each item, and waits for all of them.
async fn join<T, F: Future<Output = ()> + 'static>(
    items: impl Iterator<Item = T>,
    task: impl Fn(T) -> F,
) {
    let tasks: Vec<_> = items.map(|item| tokio::task::spawn_local(task(item))).collect();
    for task in tasks {
        let _ = task.await;
    }
}

async fn open(run: &Rc<Run>, rate: f64) {
    let (sender, mut due) = tokio::sync::mpsc::unbounded_channel();
    let (start, seconds) = (run.start, run.options.seconds);
    // A thread of its own: the runtime's timer counts whole milliseconds.
    std::thread::spawn(move || {
        let (mut random, mut at) = (Random::new(7), 0.0);
        while at < seconds {
            let moment = Duration::from_secs_f64(at);
            std::thread::sleep(moment.saturating_sub(start.elapsed()));
            if sender.send(moment).is_err() {
                return;
            }
            at -= random.uniform().ln() / rate;
        }
    });
    let mut tasks = Vec::new();
    while let Some(moment) = due.recv().await {
        let run = run.clone();
        tasks.push(tokio::task::spawn_local(async move { run.ask(moment).await }));
    }
    for task in tasks {
        let _ = task.await;
    }
}

async fn drop_all(run: &Rc<Run>, total: usize) {
    let left = Rc::new(Cell::new(total));
    let client = |run: Rc<Run>, left: Rc<Cell<usize>>, number: u64| async move {
        let mut random = Random::new(number);
        while left.get() > 0 {
            left.set(left.get() - 1);
            let due = run.start.elapsed();
            let request = run.turn();
            let Ok(mut stream) = TcpStream::connect(run.options.address).await else {
                run.keep(request, Outcome::Refused, due, due);
                continue;
            };
            // Sends a part of the request or all of it, and goes away a little later.
            let bytes = &run.requests[request].bytes;
            let part = if random.uniform() < 0.3 { bytes.len() / 2 } else { bytes.len() };
            let _ = stream.write_all(&bytes[..part]).await;
            tokio::time::sleep(Duration::from_secs_f64(random.uniform() * 0.02)).await;
            drop(stream);
            run.keep(request, Outcome::Cut, due, due);
        }
    };
    join(0..50, |number| client(run.clone(), left.clone(), number)).await;
}

impl Run {
    /// Index of the next request.
    fn turn(&self) -> usize {
        let next = self.next.get();
        self.next.set(next + 1);
        next % self.requests.len()
    }

    fn keep(&self, request: usize, outcome: Outcome, due: Duration, sent: Duration) {
        let end = self.start.elapsed();
        self.samples.borrow_mut().push(Sample { request, outcome, due, sent, end });
    }

    /// Sends the next request, which should have been sent at `due`.
    async fn ask(&self, due: Duration) -> Outcome {
        let request = self.turn();
        let sent = Cell::new(self.start.elapsed());
        let patience = Duration::from_secs_f64(self.options.patience);
        let answer = timeout(patience, self.exchange(&self.requests[request], &sent)).await;
        let outcome = answer.unwrap_or(Outcome::None);
        self.keep(request, outcome, due, sent.get());
        outcome
    }

    async fn exchange(&self, request: &Request, sent: &Cell<Duration>) -> Outcome {
        // Taken out in a statement of its own: the list is free again while we wait.
        let waiting = self.idle.borrow_mut().pop();
        if let Some(mut connection) = waiting {
            sent.set(self.start.elapsed());
            match connection.exchange(&request.bytes).await {
                Ok(status) => return self.read(request, connection, status),
                Err(error) if error.kind() == ErrorKind::InvalidData => return Outcome::Malformed,
                // The server may close a connection that waits, at any time. Then it has
                // answered nothing, and the request goes to a new one.
                Err(_) if connection.answer.is_empty() => {}
                Err(_) => return Outcome::Cut,
            }
        }
        let Ok(stream) = TcpStream::connect(self.options.address).await else {
            return Outcome::Refused;
        };
        let _ = stream.set_nodelay(true);
        let mut connection = Connection { stream, answer: Vec::new(), body: 0, last: false };
        sent.set(self.start.elapsed());
        match connection.exchange(&request.bytes).await {
            Ok(status) => self.read(request, connection, status),
            Err(error) if error.kind() == ErrorKind::InvalidData => Outcome::Malformed,
            Err(_) => Outcome::Cut,
        }
    }

    fn read(&self, request: &Request, connection: Connection, status: u16) -> Outcome {
        if status == 200 {
            let hash = fnv(&connection.answer[connection.body..]);
            if request.hash.get().is_some_and(|first| first != hash) {
                self.different.set(self.different.get() + 1);
            }
            request.hash.set(request.hash.get().or(Some(hash)));
        }
        if !connection.last {
            self.idle.borrow_mut().push(connection);
        }
        Outcome::Status(status)
    }
}

/// A connection with its last answer.
struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
    /// Where the body begins.
    body: usize,
    /// Whether the server closes it.
    last: bool,
}

impl Connection {
    /// Sends a request and reads its answer, whose status is returned. Only what our
    /// server sends is understood: a body with a length.
    async fn exchange(&mut self, request: &[u8]) -> io::Result<u16> {
        self.answer.clear();
        self.stream.write_all(request).await?;
        loop {
            if let Some(end) = self.answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                self.body = end + 4;
                break;
            }
            self.more().await?;
        }
        let malformed = || io::Error::from(ErrorKind::InvalidData);
        let head = std::str::from_utf8(&self.answer[..self.body]).map_err(|_| malformed())?;
        let status = head.get(9..12).and_then(|text| text.parse().ok()).ok_or_else(malformed)?;
        let head = head.to_ascii_lowercase();
        let field = |name: &str| {
            head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
        };
        self.last = field("connection") == Some("close");
        let length: usize =
            field("content-length").and_then(|text| text.parse().ok()).ok_or_else(malformed)?;
        while self.answer.len() < self.body + length {
            self.more().await?;
        }
        if self.answer.len() == self.body + length { Ok(status) } else { Err(malformed()) }
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.answer).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// FNV-1a, which is enough to compare answers.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn report(run: &Run) -> Value {
    let options = &run.options;
    let samples = run.samples.borrow();
    let (from, to) = (options.warmup, options.seconds);
    let counted: Vec<&Sample> =
        samples.iter().filter(|sample| sample.due.as_secs_f64() >= from).collect();
    // Only requests that end in the window count, so that a backlog does not flatter the rate.
    let good = samples.iter().filter(|sample| {
        sample.outcome == Outcome::Status(200) && (from..to).contains(&sample.end.as_secs_f64())
    });
    let (mut answers, mut texts) = (0, 0);
    for sample in good {
        answers += 1;
        texts += run.requests[sample.request].texts;
    }
    let mut statuses: BTreeMap<String, usize> = BTreeMap::new();
    let mut classes: BTreeMap<&str, BTreeMap<Outcome, Vec<&Sample>>> = BTreeMap::new();
    for sample in &counted {
        *statuses.entry(sample.outcome.to_string()).or_default() += 1;
        let class = classes.entry(&run.requests[sample.request].class).or_default();
        class.entry(sample.outcome).or_default().push(sample);
    }
    let classes: BTreeMap<&str, BTreeMap<String, Value>> = classes
        .into_iter()
        .map(|(class, outcomes)| {
            let written = outcomes.iter().map(|(outcome, all)| (outcome.to_string(), times(all)));
            (class, written.collect())
        })
        .collect();
    let mut found = json!({
        "seconds": to - from,
        "requests": counted.len(),
        "throughput": answers as f64 / (to - from),
        "texts_per_second": texts as f64 / (to - from),
        "statuses": statuses,
        "classes": classes,
        "different": run.different.get(),
        "late": percentiles(counted.iter().map(|sample| sample.sent.saturating_sub(sample.due))),
    });
    if let Some(length) = options.slice {
        found["slices"] = slices(&samples, length, to);
    }
    if options.hashes {
        let hash = |request: &Request| request.hash.get().map(|hash| format!("{hash:016x}"));
        found["hashes"] = run.requests.iter().map(hash).collect();
    }
    found
}

/// Latency from when requests were due, and from when they were sent.
fn times(samples: &[&Sample]) -> Value {
    json!({
        "count": samples.len(),
        "latency": percentiles(samples.iter().map(|sample| sample.end - sample.due)),
        "service": percentiles(samples.iter().map(|sample| sample.end.saturating_sub(sample.sent))),
    })
}

/// Successful answers by the time at which they were due.
fn slices(samples: &[Sample], length: f64, to: f64) -> Value {
    let count = (to / length).ceil() as usize;
    let mut slices: Vec<(Vec<Duration>, usize)> = vec![Default::default(); count];
    for sample in samples {
        let index = ((sample.due.as_secs_f64() / length) as usize).min(count - 1);
        match sample.outcome {
            Outcome::Status(200) => slices[index].0.push(sample.end - sample.due),
            _ => slices[index].1 += 1,
        }
    }
    let written = slices.into_iter().map(|(good, others)| {
        json!({ "good": good.len(), "others": others, "latency": percentiles(good.into_iter()) })
    });
    written.collect()
}

/// Percentiles in milliseconds, by the nearest rank; `null` without times.
fn percentiles(times: impl Iterator<Item = Duration>) -> Value {
    let mut times: Vec<f64> = times.map(|time| time.as_secs_f64() * 1e3).collect();
    times.sort_by(f64::total_cmp);
    let Some(max) = times.last() else {
        return Value::Null;
    };
    let rank = |share: f64| times[((share * times.len() as f64).ceil() as usize).max(1) - 1];
    json!({ "p50": rank(0.5), "p90": rank(0.9), "p99": rank(0.99), "max": max })
}
