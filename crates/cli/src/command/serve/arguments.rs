//! The arguments of `polyhead serve`, and the settings of the libraries that they give.

use std::env::{self, VarError};
use std::fs;
use std::net::Ipv6Addr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{ArgAction, Args, ValueEnum};
use polyhead_files::{explain_missing, read_text};
use polyhead_model::OnTruncate;
use polyhead_serve::{ApiKey, EngineSettings, HttpSettings, TokenIds};

use super::ServeArgs;
use crate::failure::usage;

/// The address of the server and access to it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Address and access")]
pub(super) struct AddressArgs {
    /// Address or name to listen on
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    pub(super) host: String,

    /// Port to listen on; 0 for any free port
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    pub(super) port: u16,

    /// Name of the model for clients; may be repeated, responses have the first one
    /// [default: the name of its folder or on the hub]
    #[arg(long, value_name = "NAME")]
    served_name: Vec<String>,

    /// File with the keys of clients, one per line; lines that start with # are comments
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,

    /// Allow requests from web pages of this origin, such as https://example.org, or * for
    /// all; may be repeated
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    cors_origin: Vec<String>,

    /// Allow requests to this host name or address, without port, besides localhost and the
    /// server's own address; may be repeated. A server on a loopback address refuses others,
    /// any other server only with this option
    #[arg(long, value_name = "NAME", value_parser = host)]
    allow_host: Vec<String>,
}

/// The limits of requests, connections and queues.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct LimitArgs {
    /// Most bytes of a request body [default: 2097152]
    #[arg(long, value_name = "BYTES")]
    max_body: Option<NonZeroUsize>,

    /// Most texts of a request [default: 2048]
    #[arg(long, value_name = "N")]
    max_inputs: Option<NonZeroUsize>,

    /// Most bytes of a text [default: 1000 for each token that the model reads]
    #[arg(long, value_name = "BYTES")]
    max_text_bytes: Option<NonZeroUsize>,

    /// Most open connections [default: 1024]
    #[arg(long, value_name = "N")]
    max_connections: Option<NonZeroUsize>,

    /// Most tokens of small requests that wait; more get status 429 [default: 8192]
    #[arg(long, value_name = "TOKENS")]
    queue_tokens: Option<NonZeroUsize>,

    /// Most tokens of large requests that wait, and of one request [default: 65536]
    #[arg(long, value_name = "TOKENS")]
    bulk_queue_tokens: Option<NonZeroUsize>,

    /// Tokens of a batch [default: 320 per thread]
    #[arg(long, value_name = "TOKENS")]
    batch_tokens: Option<NonZeroUsize>,
}

/// How the server treats requests, its end and its log.
#[derive(Debug, Args)]
#[command(next_help_heading = "Behaviour")]
pub(super) struct MannerArgs {
    /// Accept token ids of the model's vocabulary in place of texts
    #[arg(long)]
    allow_token_ids: bool,

    /// Let the routes of text-embeddings-inference cut texts that are too long for the model
    #[arg(
        long,
        value_name = "true|false",
        action = ArgAction::Set,
        default_value_t = true,
        hide_possible_values = true
    )]
    auto_truncate: bool,

    /// On SIGTERM: seconds for which /readyz reports the stop before connections are refused
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "0")]
    drain_delay: Duration,

    /// On SIGTERM: seconds that running requests have to finish
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "25")]
    drain_timeout: Duration,

    /// Format of the log on standard error: one line per request, without texts or keys
    #[arg(
        long,
        value_enum,
        value_name = "text|json",
        default_value = "text",
        hide_possible_values = true
    )]
    pub(super) log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    Text,
    Json,
}

/// Reads a number of seconds, up to a day.
fn seconds(text: &str) -> Result<Duration, String> {
    const MOST: f64 = 86_400.0;
    let found = text.parse().ok().filter(|seconds| (0.0..=MOST).contains(seconds));
    found.map(Duration::from_secs_f64).ok_or_else(|| format!("expected 0 to {MOST} seconds"))
}

/// Reads an origin as browsers send it: with a scheme and without a path.
fn origin(text: &str) -> Result<String, String> {
    let host = text.split_once("://").map(|(_, host)| host);
    let is_origin = host.is_some_and(|host| {
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
    });
    if is_origin || text == "*" {
        Ok(text.to_owned())
    } else {
        Err("expected * or an origin such as https://example.org".to_owned())
    }
}

/// Reads a host as requests name it: without scheme and port, an IPv6 address in brackets.
fn host(text: &str) -> Result<String, String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_name = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    match address.map(|address| address.parse::<Ipv6Addr>().is_ok()) {
        Some(true) => Ok(name.to_owned()),
        None if is_name(name) => Ok(name.to_owned()),
        _ => {
            Err("expected a host name or address without port, such as models.example.org"
                .to_owned())
        }
    }
}

/// The variable with keys: other users can see a command line, but not the environment.
const KEYS_VARIABLE: &str = "POLYHEAD_API_KEYS";

impl ServeArgs {
    pub(super) fn http_settings(&self) -> Result<HttpSettings> {
        let given =
            |value: Option<NonZeroUsize>, default: usize| value.map_or(default, NonZeroUsize::get);
        let (limits, manners) = (&self.limits, &self.manners);
        let default = HttpSettings::default();
        Ok(HttpSettings {
            names: self.names(),
            keys: keys(self.address.api_key_file.as_deref())?,
            cors_origins: self.address.cors_origin.clone(),
            allowed_hosts: self.address.allow_host.clone(),
            max_body: given(limits.max_body, default.max_body),
            max_bodies: default.max_bodies.max(given(limits.max_body, 0)),
            max_inputs: given(limits.max_inputs, default.max_inputs),
            max_connections: given(limits.max_connections, default.max_connections),
            token_ids: if manners.allow_token_ids { TokenIds::Accept } else { TokenIds::Refuse },
            tei_on_truncate: if manners.auto_truncate {
                OnTruncate::Cut
            } else {
                OnTruncate::Error
            },
            drain_delay: manners.drain_delay,
            drain_timeout: manners.drain_timeout,
            ..default
        })
    }

    pub(super) fn engine_settings(&self) -> EngineSettings {
        let limits = &self.limits;
        let mut settings = EngineSettings::default();
        let set = |place: &mut usize, value: Option<NonZeroUsize>| {
            *place = value.map_or(*place, NonZeroUsize::get);
        };
        set(&mut settings.queue_tokens, limits.queue_tokens);
        set(&mut settings.bulk_queue_tokens, limits.bulk_queue_tokens);
        settings.batch_tokens = limits.batch_tokens.map(NonZeroUsize::get);
        settings.text_bytes = limits.max_text_bytes.map(NonZeroUsize::get);
        settings
    }

    /// The names that the user has given; else the last part of a path, or the whole hub name.
    fn names(&self) -> Vec<String> {
        if !self.address.served_name.is_empty() {
            return self.address.served_name.clone();
        }
        let Some(model) = self.model.named() else {
            return vec!["all-MiniLM-L6-v2".to_owned()];
        };
        let folder = fs::canonicalize(model).ok();
        let last = folder.as_deref().and_then(Path::file_name);
        vec![last.map_or_else(|| model.to_owned(), |name| name.to_string_lossy().into_owned())]
    }
}

/// The largest key file, in bytes.
const KEYS_LIMIT: u64 = 1 << 20;

/// The keys of the file and of the environment.
fn keys(file: Option<&Path>) -> Result<Vec<ApiKey>> {
    let mut keys = Vec::new();
    if let Some(path) = file {
        let name = path.display();
        let text = read_text(path, KEYS_LIMIT)
            .map_err(|error| explain_missing(path, error))
            .with_context(|| name.to_string())?;
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                let key = ApiKey::new(line);
                keys.push(key.map_err(|e| usage(format!("{name}: line {}: {e}", index + 1)))?);
            }
        }
        // A user with a key file wants keys to be required: an empty file must not allow everyone.
        if keys.is_empty() {
            return Err(usage(format!("{name}: expected at least one key, found none")));
        }
    }
    match env::var(KEYS_VARIABLE) {
        Ok(all) => {
            for key in all.split(',') {
                let key = ApiKey::new(key.trim());
                keys.push(key.map_err(|e| usage(format!("{KEYS_VARIABLE}: {e}")))?);
            }
        }
        // A user who sets the variable wants keys to be required, whatever it holds.
        Err(VarError::NotUnicode(_)) => {
            return Err(usage(format!(
                "{KEYS_VARIABLE}: expected ASCII, found bytes that are not UTF-8"
            )));
        }
        Err(VarError::NotPresent) => {}
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use polyhead_testing::check_mutations;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        serve: ServeArgs,
    }

    fn parse(line: &str) -> Result<ServeArgs, clap::Error> {
        Line::try_parse_from(["test"].into_iter().chain(line.split_whitespace()))
            .map(|line| line.serve)
    }

    #[test]
    fn every_flag_is_read() {
        let args = parse(
            "runs/a --host 0.0.0.0 --port 0 --served-name x --served-name y --check \
             --cors-origin https://a.org --cors-origin * --max-body 1 --max-inputs 2 \
             --max-text-bytes 3 --max-connections 4 --queue-tokens 5 --bulk-queue-tokens 6 \
             --batch-tokens 7 --allow-token-ids --auto-truncate false --drain-delay 0.5 \
             --drain-timeout 9 --log-format json --api-key-file k \
             --allow-host models.example. --allow-host [::2]",
        )
        .unwrap();
        assert_eq!((args.address.host.as_str(), args.address.port), ("0.0.0.0", 0));
        assert_eq!(args.address.api_key_file.as_deref(), Some(Path::new("k")));
        assert!(args.check && args.manners.log_format == LogFormat::Json);
        let engine = args.engine_settings();
        assert_eq!((engine.queue_tokens, engine.bulk_queue_tokens), (5, 6));
        assert_eq!((engine.text_bytes, engine.batch_tokens), (Some(3), Some(7)));
        let args =
            ServeArgs { address: AddressArgs { api_key_file: None, ..args.address }, ..args };
        let http = args.http_settings().unwrap();
        assert_eq!(http.names, ["x", "y"]);
        assert_eq!(http.cors_origins, ["https://a.org", "*"]);
        assert_eq!(http.allowed_hosts, ["models.example", "[::2]"]);
        assert_eq!((http.max_body, http.max_inputs, http.max_connections), (1, 2, 4));
        assert_eq!(http.token_ids, TokenIds::Accept);
        assert_eq!(http.tei_on_truncate, OnTruncate::Error);
        assert_eq!(http.drain_delay, Duration::from_millis(500));
        assert_eq!(http.drain_timeout, Duration::from_secs(9));
    }

    #[test]
    fn the_defaults_are_those_of_the_help() {
        let args = parse("").unwrap();
        let (http, engine) = (args.http_settings().unwrap(), args.engine_settings());
        assert_eq!((http.max_body, http.max_inputs, http.max_connections), (2_097_152, 2048, 1024));
        assert_eq!((engine.queue_tokens, engine.bulk_queue_tokens), (8192, 65_536));
        assert_eq!(http.tei_on_truncate, OnTruncate::Cut);
        assert_eq!(http.drain_delay, Duration::ZERO);
    }

    #[test]
    fn what_cannot_be_is_wrong_usage() {
        for line in [
            "--port 65536",
            "--max-body 0",
            "--drain-delay -1",
            "--drain-delay inf",
            "--drain-timeout NaN",
            "--cors-origin example.org",
            "--cors-origin https://a.org/path",
            "--allow-host https://a.org",
            "--allow-host a.org:80",
            "--allow-host [a.org]",
            "--allow-host *",
            "--auto-truncate maybe",
            "--log-format xml",
            "a b",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_model_is_called_as_its_folder() {
        let name = |model: &str| parse(model).unwrap().names().remove(0);
        assert_eq!(name(""), "all-MiniLM-L6-v2");
        assert_eq!(name("builtin"), "all-MiniLM-L6-v2");
        assert_eq!(name("src"), "src");
        assert_eq!(name("src/../src/command/"), "command");
        assert_eq!(name("org/name"), "org/name");
    }

    #[test]
    fn a_changed_file_of_keys_is_refused_without_showing_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        check_mutations(b"# mine\n\nalpha-1\nbeta beta\n", 256, |bytes| {
            fs::write(&file, bytes).unwrap();
            match keys(Some(&file)) {
                Ok(keys) => assert!(!keys.is_empty()),
                Err(error) => {
                    let message = format!("{error:#}");
                    assert!(message.contains("keys") && !message.contains("beta"), "{message}");
                }
            }
        });
    }

    #[test]
    fn keys_are_read_and_an_empty_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        let read = |text: &str| {
            fs::write(&file, text).unwrap();
            keys(Some(&file))
        };
        assert_eq!(read("# mine\n\n one \ntwo\n").unwrap().len(), 2);
        for (text, expected) in [("\n# none\n", "at least one key"), ("a\nb c\n", "line 2")] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("b c"), "{error}");
        }
    }
}
