//! Errors to exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 done without some rows.

use std::fmt;
use std::io;
use std::process::ExitCode;

use polyhead_files::visible;
use polyhead_model::ErrorKind;
use polyhead_train::ErrorKind as TrainErrorKind;

/// The exit code of a command that has finished, but has skipped rows.
pub(crate) const ROWS_SKIPPED: u8 = 3;

/// An error in the command line: exit code 2.
///
/// clap finds most of these; this is for the rest, such as an unknown suffix.
#[derive(Debug)]
pub(crate) struct Usage(String);

/// A [`Usage`] error with this message.
pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
    Usage(message.into()).into()
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The error and its causes in one line, separated by `: `.
///
/// A cause that the previous message already contains is left out. Names in messages come from
/// files and must not control the terminal.
pub(crate) fn chain(error: &anyhow::Error) -> String {
    let mut line = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !line.contains(&cause) && !line.contains(&visible(&cause)) {
            line.push_str(": ");
            line.push_str(&cause);
        }
    }
    visible(&line)
}

/// The exit code of an error: 2 if the user has to change the command, else 1.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(if is_usage(error) { 2 } else { 1 })
}

fn is_usage(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.is::<Usage>()
            || cause
                .downcast_ref::<polyhead_model::Error>()
                .is_some_and(|e| matches!(e.kind(), ErrorKind::Option | ErrorKind::UnknownTask))
            || cause
                .downcast_ref::<polyhead_train::Error>()
                .is_some_and(|e| e.kind() == TrainErrorKind::Config)
    })
}

/// Returns true if the reader of our output has closed the pipe.
///
/// A broken pipe inside the libraries is a lost connection to the hub or a file of the user, which
/// is a failure.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let ours = !error
        .chain()
        .any(|cause| cause.is::<polyhead_model::Error>() || cause.is::<polyhead_train::Error>());
    ours && error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_cause_is_named_once() {
        let cause = anyhow::anyhow!("no such file");
        let error = cause.context("a.json: no such file").context("model");
        assert_eq!(chain(&error), "model: a.json: no such file");
    }

    #[test]
    fn context_does_not_hide_the_kind() {
        let error = Err::<(), _>(usage("no texts")).context("encode").unwrap_err();
        assert!(is_usage(&error));
        assert_eq!(chain(&error), "encode: no texts");

        let error = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(is_broken_pipe(&error.context("standard output")));
        assert!(!is_broken_pipe(&io::Error::from(io::ErrorKind::NotFound).into()));
    }
}
