//! Results in files: vectors or lines, the offsets of token vectors, the skipped rows, and the
//! record that lets a later program continue all of them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use polyhead_files::{AtomicFile, FileError, StreamState};

use super::npy::{self, HEADER_LEN, NpyType};
use super::{Batch, ResultKind, Results, Unfinished, json_lines};
use crate::failure::usage;
use crate::pipeline::BadRow;
use crate::resume::{Journal, OutputFingerprint, Record, START_OVER};
use crate::table::counted;

/// The format of an output file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileFormat {
    Npy,
    JsonLines,
    Csv,
}

/// The files of an output and their record.
pub(crate) struct FileOutput {
    /// The output file, as the user has named it.
    path: PathBuf,
    kind: ResultKind,
    pub(super) format: FileFormat,
    /// The partial file of earlier results, locked until it is opened.
    found: Option<AtomicFile>,
    /// The output file, and the offsets of token vectors; none until they are opened.
    files: Vec<AtomicFile>,
    /// The skipped rows, if there are any.
    errors: Option<AtomicFile>,
    pub(super) journal: Journal,
    /// True if this run replaces a complete file that has no record.
    remade: bool,
}

impl FileOutput {
    /// Opens new files, or locks the earlier results that are to be continued.
    pub(super) fn create(path: &Path, kind: ResultKind, unfinished: Unfinished) -> Result<Self> {
        let suffix = path.extension().map(|s| s.to_string_lossy().to_ascii_lowercase());
        let format = match (suffix.as_deref(), kind) {
            (Some("jsonl"), _) => FileFormat::JsonLines,
            (Some("npy"), ResultKind::Sentences | ResultKind::Tokens) => FileFormat::Npy,
            (Some("csv"), ResultKind::Lines) => FileFormat::Csv,
            (_, ResultKind::Lines) => {
                return Err(usage(format!("{}: expected .jsonl or .csv", path.display())));
            }
            _ => return Err(usage(format!("{}: expected .npy or .jsonl", path.display()))),
        };
        let mut found = AtomicFile::find(path)?;
        let head = if format == FileFormat::Npy { HEADER_LEN } else { 0 };
        let target = AtomicFile::real_path(path);
        let journal = match (unfinished, Journal::find(&target)) {
            (Unfinished::Resume, Ok(Some(journal))) => {
                if found.is_none() && !journal.record.complete {
                    return Err(missing(path));
                }
                Some(journal)
            }
            (Unfinished::Refuse, Ok(Some(journal)))
                if found.is_some() || journal.record.complete =>
            {
                return Err(usage(format!(
                    "{}: a stopped run has left the results of {}; continue it with --resume, or \
                     start over with --overwrite",
                    path.display(),
                    counted(journal.record.done.texts(), "text")
                )));
            }
            (Unfinished::Refuse, Ok(None)) => {
                if let Some(file) = &mut found
                    && file.has_content(head)?
                {
                    return Err(usage(format!(
                        "{}: a stopped run has left results without a record, which cannot be \
                         continued; start over with --overwrite",
                        path.display()
                    )));
                }
                None
            }
            (Unfinished::Resume, Err(error)) => return Err(error),
            (Unfinished::Refuse, Err(error)) if found.is_some() => return Err(error),
            _ => None,
        };
        let remade = unfinished == Unfinished::Resume && journal.is_none() && path.exists();
        let resumed = journal.is_some();
        let mut output = Self {
            path: path.to_owned(),
            kind,
            format,
            found,
            files: Vec::new(),
            errors: None,
            journal: journal.unwrap_or_else(|| Journal::new(&target)),
            remade,
        };
        if !resumed {
            output.start()?;
        }
        Ok(output)
    }

    /// Opens empty files.
    fn start(&mut self) -> Result<()> {
        // Removes what an earlier run has skipped.
        if let Some(mut errors) = AtomicFile::find(&self.errors_path())? {
            errors.start_over(0)?;
        }
        for (path, _) in self.parts() {
            let found = match self.found.take() {
                None => AtomicFile::find(&path)?,
                found => found,
            };
            let mut file = found.map_or_else(|| AtomicFile::create(&path), Ok)?;
            file.start_over(self.head_len())?;
            self.files.push(file);
        }
        if let [_, offsets] = &mut self.files[..] {
            npy::write_i64(offsets, [0])?;
        }
        Ok(())
    }

    /// Sets the fingerprint or compares it with that of the earlier results, and opens their files.
    pub(super) fn check_fingerprint(&mut self, fingerprint: OutputFingerprint) -> Result<()> {
        self.journal.check_fingerprint(fingerprint)?;
        if !self.journal.resumed {
            return Ok(());
        }
        self.check_lengths()?;
        if self.journal.record.complete {
            return Ok(());
        }
        let record = self.journal.record.clone();
        let texts = record.done.texts();
        for ((path, _), state) in self.parts().iter().zip(&record.files) {
            let (file, lines) = resumed(self.found.take(), path, self.head_len(), state)?;
            self.files.push(file);
            let fits = match self.format {
                FileFormat::Npy => true,
                FileFormat::JsonLines => lines == texts,
                // The header has a line end too, and cells may have any number of them.
                FileFormat::Csv => lines > texts,
            };
            if !fits {
                return Err(self.misfit(&format!("{texts} texts, but {lines} lines")));
            }
        }
        if let [_, offsets] = &mut self.files[..] {
            let rows = rows_of(&record);
            let last = u64::from_le_bytes(offsets.last_bytes()?);
            if last != rows {
                return Err(self.misfit(&format!("{rows} rows, but offsets up to {last}")));
            }
        }
        if let Some(state) = &record.errors {
            let (errors, lines) = resumed(None, &self.errors_path(), 0, state)?;
            self.errors = Some(errors);
            if lines != record.done.skipped {
                let skipped = record.done.skipped;
                return Err(self.misfit(&format!("{skipped} skipped rows, but {lines} lines")));
            }
        }
        Ok(())
    }

    /// Checks that the lengths in the record are those of whole rows.
    fn check_lengths(&self) -> Result<()> {
        let record = &self.journal.record;
        let texts = record.done.rows.checked_sub(record.done.skipped);
        let values = |file: usize, kind: NpyType| kind.values_in(record.files.get(file)?.bytes);
        let floats = || values(0, NpyType::F32);
        // Zero columns have no rows.
        let columns = record.columns.map(|columns| columns as u64).filter(|columns| *columns > 0);
        let fits = record.files.len() == self.parts().len()
            && (record.done.skipped > 0) == record.errors.is_some()
            && texts.is_some()
            && match self.kind {
                _ if self.is_text() => true,
                ResultKind::Tokens => {
                    columns.is_some_and(|columns| {
                        floats().is_some_and(|values| values.is_multiple_of(columns))
                    }) && values(1, NpyType::I64) == texts.and_then(|texts| texts.checked_add(1))
                }
                _ => {
                    let expected =
                        texts.zip(columns).and_then(|(t, columns)| t.checked_mul(columns));
                    expected.is_some() && floats() == expected
                }
            };
        if fits { Ok(()) } else { Err(self.misfit("other lengths than those of whole rows")) }
    }

    fn misfit(&self, found: &str) -> anyhow::Error {
        let name = self.path.display();
        anyhow!("{name}.partial.json: expected the record of {name}, found {found}; {START_OVER}")
    }

    /// Describes how this run treats an earlier output, if there is one.
    pub(super) fn resumption(&self) -> Option<String> {
        let (path, record) = (self.path.display(), &self.journal.record);
        let texts = counted(record.done.texts(), "text");
        if self.remade {
            return Some(format!(
                "{path}: is complete, but there is no record of its input, model and options; \
                 writing it again"
            ));
        }
        self.journal.resumed.then(|| match record.complete {
            true => format!("{path}: is complete, with the results of {texts}"),
            false => format!("resuming after {texts}"),
        })
    }

    /// Writes a batch and records it.
    pub(super) fn write(&mut self, batch: Batch) -> Result<()> {
        if !batch.texts.is_empty() && self.is_text() {
            let name = || self.path.display().to_string();
            json_lines::write(&mut self.files[0], &batch).with_context(name)?;
        }
        let Batch { texts, rows, bad, results, .. } = batch;
        if !texts.is_empty() && !self.is_text() {
            let name = self.path.display().to_string();
            self.write_vectors(results).context(name)?;
        }
        self.write_errors(&bad)?;
        let states: Result<_, FileError> = self.files.iter_mut().map(AtomicFile::state).collect();
        let errors = self.errors.as_mut().map(AtomicFile::state).transpose()?;
        self.journal.add(&rows, bad.len() as u64, states?, errors)?;
        if self.journal.record.done.texts() > 0 {
            self.files.iter_mut().chain(&mut self.errors).for_each(AtomicFile::keep);
        }
        Ok(())
    }

    fn write_vectors(&mut self, results: Results) -> Result<()> {
        let (vectors, ends) = match results {
            Results::Sentences(encoded) => (encoded.embeddings, Vec::new()),
            Results::Tokens(tokens) => (tokens.vectors, tokens.offsets),
            Results::Lines(_) => unreachable!("lines are not written to .npy files: see create"),
        };
        let found = vectors.columns();
        let columns = *self.journal.record.columns.get_or_insert(found);
        if columns != found {
            bail!("expected vectors of {columns} numbers, as those before, found {found}");
        }
        if let [_, offsets] = &mut self.files[..] {
            let before = rows_of(&self.journal.record);
            npy::write_i64(offsets, ends.iter().skip(1).map(|&end| before + end as u64))?;
        }
        Ok(npy::write_f32(&mut self.files[0], vectors.as_slice())?)
    }

    fn write_errors(&mut self, bad: &[BadRow]) -> Result<()> {
        let path = self.errors_path();
        if self.errors.is_none() && !bad.is_empty() {
            let mut errors =
                AtomicFile::find(&path)?.map_or_else(|| AtomicFile::create(&path), Ok)?;
            errors.start_over(0)?;
            self.errors = Some(errors);
        }
        let Some(errors) = &mut self.errors else { return Ok(()) };
        for row in bad {
            let line = serde_json::to_string(row)?;
            writeln!(errors, "{line}").with_context(|| path.display().to_string())?;
        }
        Ok(())
    }

    /// Gives the complete files their names. What is left after a kill at any moment, `--resume`
    /// can finish.
    pub(super) fn finish(&mut self) -> Result<()> {
        let heads = self.heads();
        if !self.journal.record.complete {
            for (file, head) in self.files.iter_mut().zip(&heads) {
                file.seal(head)?;
            }
            if let Some(errors) = &mut self.errors {
                errors.seal(&[])?;
            }
            self.journal.complete()?;
        }
        let record = &self.journal.record;
        let errors = self.errors_path();
        match &record.errors {
            Some(state) => commit(self.errors.take(), &errors, &[], state)?,
            // That of an earlier output would be wrong for this one.
            None if fs::symlink_metadata(&errors).is_ok_and(|data| data.is_file()) => {
                fs::remove_file(&errors).with_context(|| errors.display().to_string())?;
            }
            None => {}
        }
        // The output file is the last one, so that it is never without the others.
        for (index, (path, _)) in self.parts().iter().enumerate().rev() {
            let (head, state) = (&heads[index], &record.files[index]);
            let file = match (self.files.pop(), index) {
                (None, 0) => finished(self.found.take(), head, state)?,
                (file, _) => file,
            };
            commit(file, path, head, state)?;
        }
        self.journal.remove();
        Ok(())
    }

    /// The head of each file: the shapes of matrix and offsets.
    fn heads(&self) -> Vec<Vec<u8>> {
        let record = &self.journal.record;
        let head = |(_, kind)| match kind {
            None => Vec::new(),
            Some(kind @ NpyType::F32) => {
                npy::header(kind, &[rows_of(record), record.columns.unwrap_or(0) as u64])
            }
            Some(kind @ NpyType::I64) => npy::header(kind, &[record.done.texts() + 1]),
        };
        self.parts().into_iter().map(head).collect()
    }

    /// Paths and types of the files: the output file, and the offsets of token vectors.
    fn parts(&self) -> Vec<(PathBuf, Option<NpyType>)> {
        let mut parts = vec![(self.path.clone(), (!self.is_text()).then_some(NpyType::F32))];
        if !self.is_text() && self.kind == ResultKind::Tokens {
            parts.push((offsets_path(&self.path), Some(NpyType::I64)));
        }
        parts
    }

    /// Returns true for a file of lines, false for a matrix.
    fn is_text(&self) -> bool {
        self.format != FileFormat::Npy
    }

    fn head_len(&self) -> usize {
        if self.is_text() { 0 } else { HEADER_LEN }
    }

    /// The file of skipped rows: `a/vectors.npy` → `a/vectors.npy.errors.jsonl`.
    pub(super) fn errors_path(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".errors.jsonl");
        name.into()
    }
}

impl Drop for FileOutput {
    /// Removes the record of a run that has no result; its files remove themselves.
    fn drop(&mut self) {
        if !self.journal.resumed && self.journal.record.done.texts() == 0 {
            self.files.iter_mut().chain(&mut self.errors).for_each(AtomicFile::discard);
            self.journal.remove();
        }
    }
}

/// The path of the offsets: `a/vectors.npy` → `a/vectors.offsets.npy`.
pub(crate) fn offsets_path(path: &Path) -> PathBuf {
    path.with_extension("offsets.npy")
}

/// Number of vectors that a record has: one per text, or one per token.
fn rows_of(record: &Record) -> u64 {
    let values = record.files.first().and_then(|file| NpyType::F32.values_in(file.bytes));
    values.unwrap_or(0) / record.columns.unwrap_or(1).max(1) as u64
}

fn missing(path: &Path) -> anyhow::Error {
    let path = path.display();
    anyhow!("{path}.partial: expected the results of a stopped run, found no file; {START_OVER}")
}

/// Opens earlier content, and returns the number of its line ends.
fn resumed(
    found: Option<AtomicFile>,
    path: &Path,
    head: usize,
    state: &StreamState,
) -> Result<(AtomicFile, u64)> {
    let found = found.map_or_else(|| AtomicFile::find(path), |found| Ok(Some(found)))?;
    let mut file = found.ok_or_else(|| missing(path))?;
    let lines = file.resume(head, state).map_err(|error| anyhow!("{error}; {START_OVER}"))?;
    Ok((file, lines))
}

/// Checks and seals a file that a complete record describes.
fn finished(
    found: Option<AtomicFile>,
    head: &[u8],
    state: &StreamState,
) -> Result<Option<AtomicFile>> {
    let Some(mut file) = found else { return Ok(None) };
    file.resume(head.len(), state).map_err(|error| anyhow!("{error}; {START_OVER}"))?;
    file.seal(head)?;
    Ok(Some(file))
}

/// Gives a file its name, unless an earlier run has done that.
fn commit(file: Option<AtomicFile>, path: &Path, head: &[u8], state: &StreamState) -> Result<()> {
    let file = match file {
        Some(file) => Some(file),
        None => finished(AtomicFile::find(path)?, head, state)?,
    };
    match file {
        Some(file) => Ok(file.commit()?),
        None if AtomicFile::is_finished(path, head, state) => Ok(()),
        None => Err(missing(path)),
    }
}
