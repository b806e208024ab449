//! Runs the program as a user does, each test in its own folder.

// A test that cannot get at its file or output should say so and stop.
#![allow(clippy::unwrap_used)]

mod bad_input;
mod bad_rows;
mod bench;
mod classifiers;
mod commands;
mod controls;
mod encode;
mod eval;
mod fit;
mod honest;
mod init;
#[cfg(unix)]
mod kills;
mod labels;
#[cfg(target_os = "linux")]
mod limits;
mod mistakes;
mod number_range;
mod one_reader;
mod ordinal;
mod predict;
mod predict_csv;
mod quantize;
mod raw_text;
mod referenced;
mod rerank;
mod search;
#[cfg(unix)]
mod serve;
pub(crate) mod train;
mod transfer;
mod usage;
mod workspace;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A folder to run in, which is removed on drop.
struct Folder(TempDir);

/// What a run left.
#[derive(Debug)]
struct Run {
    code: i32,
    out: String,
    err: String,
}

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// With one file in it.
    fn with(name: &str, content: impl AsRef<[u8]>) -> Self {
        let folder = Self::new();
        fs::write(folder.path(name), content).unwrap();
        folder
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }

    /// Every file in it, sorted: what is left over shows.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_polyhead"));
        command
            .current_dir(self.0.path())
            .env_remove("POLYHEAD_MODEL")
            .env_remove("POLYHEAD_THREADS")
            .env("HF_HUB_OFFLINE", "1");
        command
    }

    fn run(&self, args: &[&str]) -> Run {
        self.run_with(args, "")
    }

    /// With `stdin` on standard input.
    fn run_with(&self, args: &[&str], stdin: impl AsRef<[u8]>) -> Run {
        let mut child = self
            .command()
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A program that finds its usage wrong does not read.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_ref());
        let output = child.wait_with_output().unwrap();
        Run {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Run {
    /// Checks that all went well.
    #[track_caller]
    fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.err);
        self
    }

    /// Checks the exit code, that nothing was printed, and that the error says `words`.
    #[track_caller]
    fn fails(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.out, "");
        assert!(self.err.starts_with("error: "), "{}", self.err);
        for word in words {
            assert!(self.err.contains(word), "expected `{word}` in: {}", self.err);
        }
    }

    /// Standard output, a JSON value a line.
    fn json_lines(&self) -> Vec<serde_json::Value> {
        self.out.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }
}

/// A number as the program writes it.
fn thousands(number: u64) -> String {
    match number / 1_000 {
        0 => number.to_string(),
        thousands => format!("{thousands},{:03}", number % 1_000),
    }
}

/// Shape and values of a float32 `.npy` file.
fn read_npy(path: &Path) -> (String, Vec<f32>) {
    let (header, bytes) = npy(path);
    assert!(header.contains("'descr': '<f4'"), "{header}");
    let values = bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    (shape(&header), values)
}

/// Shape and values of an int64 `.npy` file.
fn read_npy_i64(path: &Path) -> (String, Vec<i64>) {
    let (header, bytes) = npy(path);
    assert!(header.contains("'descr': '<i8'"), "{header}");
    let values = bytes.chunks(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect();
    (shape(&header), values)
}

fn npy(path: &Path) -> (String, Vec<u8>) {
    let file = fs::read(path).unwrap();
    assert_eq!(&file[..8], b"\x93NUMPY\x01\x00");
    let start = 10 + usize::from(u16::from_le_bytes([file[8], file[9]]));
    assert_eq!(start % 64, 0);
    let header = String::from_utf8(file[10..start].to_vec()).unwrap();
    assert!(header.contains("'fortran_order': False"), "{header}");
    (header, file[start..].to_vec())
}

fn shape(header: &str) -> String {
    let from = header.find('(').unwrap();
    header[from..=header.find(')').unwrap()].to_owned()
}
