//! `polyhead serve`: a model over HTTP.

mod arguments;
#[cfg(unix)]
mod reload;

use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::{self, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use polyhead_model::{LoadOptions, ModelFolder, MultiTaskModel};
use polyhead_serve::{Engine, EngineError, HttpSettings, LogQueue, Server, ShutdownReport};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::task::spawn_blocking;
use tracing::Level;

use self::arguments::{AddressArgs, LimitArgs, LogFormat, MannerArgs};
use crate::flags::FirstModelArgs;
use crate::interrupt::INTERRUPTED;

const HELP: &str = "\
Routes (all of them: docs/guide/serving.md and /openapi.json):
  POST /v1/predict      {\"inputs\": \"…\" or […], \"tasks\": [\"topic\", \"embedding\"]}
  GET  /v1/model        tasks, labels, dimensions, limits
  POST /v1/embeddings, GET /v1/models                     for clients of OpenAI
  POST /embed, /embed_all, /predict, /similarity, /tokenize, GET /info
                                            for clients of text-embeddings-inference
  POST /                for huggingface_hub: vectors, labels or spans
  GET  /                a page to try it; also /docs, /livez, /readyz, /metrics

Signals: the first SIGTERM or Ctrl-C finishes running requests and exits, a
second one exits at once. SIGHUP reloads the model and keeps the old one if
the new one does not load.

Keys are in a file, one per line, or in POLYHEAD_API_KEYS, separated by commas.
For TLS, use a proxy: it sends the host localhost, or a name of --allow-host.

Examples:
  polyhead serve                                      the built-in model: vectors
  polyhead serve runs/a --port 9000                   a model of yours: all its tasks
  polyhead serve runs/a --host 0.0.0.0 --api-key-file keys.txt --log-format json
  polyhead serve runs/a --check                       only try whether it loads";

/// Serve a model over HTTP
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct ServeArgs {
    /// Load the model, try it, print what it is, and exit
    #[arg(long)]
    check: bool,

    #[command(flatten)]
    address: AddressArgs,

    #[command(flatten)]
    limits: LimitArgs,

    #[command(flatten)]
    manners: MannerArgs,

    #[command(flatten)]
    model: FirstModelArgs,
}

/// Blocking threads that write answers, in addition to those that tokenize.
const WRITERS: usize = 2;

/// Time for the log at the end. A log that nothing reads does not keep the process.
const LOG_TIME: Duration = Duration::from_secs(2);

/// Serves until a signal ends the program.
pub(crate) fn run(args: ServeArgs) -> Result<ExitCode> {
    let mut settings = args.http_settings()?;
    let engine_settings = args.engine_settings();
    let model = args.model.one()?;
    let options = model.load.options();
    let name = model.named().map(str::to_owned);
    let start = move || Engine::start(move || load(name.as_deref(), &options), engine_settings);
    if args.check {
        return check(&start()?, &settings).map(|()| ExitCode::SUCCESS);
    }
    let log = log_to_stderr(args.manners.log_format, model.load.quiet)?;
    settings.dropped_log_lines = log.dropped_lines();
    polyhead_serve::log_panics();
    let threads = model.load.threads.expected();
    let stopped = serve((args.address.host, args.address.port), threads, start, settings);
    // From here to the end, nothing else is written to standard error, which may be stuck.
    log.flush_within(LOG_TIME);
    Ok(match stopped?.dropped_requests {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Serves what `start` loads at an address, a name and a port, until a signal tells it to stop.
fn serve(
    address: (String, u16),
    threads: usize,
    start: impl FnOnce() -> Result<Engine, EngineError> + Send + 'static,
    settings: HttpSettings,
) -> Result<ShutdownReport> {
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(threads.clamp(2, 4))
        // One thread per text that is tokenized at a time, and some that write answers. Each of
        // tokio's default 512 would need a stack and memory in the allocator.
        .max_blocking_threads(threads + WRITERS)
        .enable_all()
        .build()
        .context("no threads to answer requests")?;
    let stopped = runtime.block_on(async {
        // Before the model is loaded: a port that is in use shows at once.
        let listener = TcpListener::bind((address.0.as_str(), address.1))
            .await
            .with_context(|| format!("{}:{}", address.0, address.1))?;
        let engine = spawn_blocking(start)
            .await
            .context("the thread that loads the model has panicked")??;
        warn_exposure(&settings, listener.local_addr()?);
        engine.model().encoder().notices().iter().for_each(|notice| tracing::info!("{notice}"));
        let server = Server::new(listener, engine.clone(), settings);
        let told_to_stop = told_to_stop(engine)?;
        announce(server.address()?);
        anyhow::Ok(server.serve_until(told_to_stop).await)
    })?;
    // Does not wait for a reload that is still running.
    runtime.shutdown_background();
    Ok(stopped)
}

fn load(
    model: Option<&str>,
    options: &LoadOptions,
) -> Result<MultiTaskModel, polyhead_model::Error> {
    match model {
        Some(name) => MultiTaskModel::load_with(name, options),
        None => MultiTaskModel::from_folder(ModelFolder::builtin()?, options),
    }
}

/// Says where the server listens. A server whose standard output nothing reads serves all the same,
/// and says so in the log.
fn announce(address: SocketAddr) {
    let mut out = io::stdout().lock();
    if let Err(error) = writeln!(out, "listening on http://{address}").and_then(|()| out.flush()) {
        tracing::warn!("listening on http://{address}; standard output: {error}");
    }
}

/// Warns when other machines can reach a server that has no keys.
fn warn_exposure(settings: &HttpSettings, address: SocketAddr) {
    if !address.ip().is_loopback() && settings.keys.is_empty() {
        tracing::warn!(
            "other machines can reach this address without a key; pass --api-key-file to require one"
        );
    }
}

/// Prints a description of the model that would be served.
fn check(engine: &Engine, settings: &HttpSettings) -> Result<()> {
    let model = engine.model();
    let tasks: Vec<&str> = model.tasks().map(|task| task.name.as_str()).collect();
    let tasks = if tasks.is_empty() { "none".to_owned() } else { tasks.join(", ") };
    let mut out = io::stdout().lock();
    writeln!(out, "model {}", settings.names.join(", "))?;
    writeln!(out, "tasks {tasks}")?;
    writeln!(out, "vectors of {} numbers", model.encoder().dimension())?;
    writeln!(out, "texts of at most {} tokens", model.encoder().max_length())?;
    Ok(())
}

fn log_to_stderr(format: LogFormat, quiet: bool) -> Result<LogQueue> {
    let level = if quiet { Level::WARN } else { Level::INFO };
    let queue = LogQueue::start(io::stderr()).context("no thread for the log")?;
    let writer = queue.clone();
    let log = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_max_level(level)
        .log_internal_errors(false);
    let done = match format {
        LogFormat::Text => log.with_ansi(false).with_target(false).try_init(),
        LogFormat::Json => log.json().flatten_event(true).with_target(false).try_init(),
    };
    done.map_err(|error| anyhow::anyhow!("log: {error}"))?;
    Ok(queue)
}

/// Resolves at the first SIGTERM or Ctrl-C; until then, SIGHUP reloads the model. The second
/// signal ends the program at once.
#[cfg(unix)]
fn told_to_stop(engine: Engine) -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let start_reload = reload::start_reloads(move || reload_model(&engine))?;
    Ok(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => start_reload(),
            }
        }
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            process::exit(INTERRUPTED.into());
        });
    })
}

#[cfg(not(unix))]
fn told_to_stop(_: Engine) -> Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
        tokio::spawn(async {
            let _ = tokio::signal::ctrl_c().await;
            process::exit(INTERRUPTED.into());
        });
    })
}

#[cfg(unix)]
fn reload_model(engine: &Engine) {
    tracing::info!("reloading the model");
    match engine.reload() {
        Ok(()) => tracing::info!("the new model is in use"),
        Err(error) => {
            let cause = crate::failure::chain(&error.into());
            tracing::error!("reload failed, the old model stays in use: {cause}");
        }
    }
}
