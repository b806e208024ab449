//! Writes results to a file or to standard output.

mod json_lines;
mod npy;

use std::io::{self, BufWriter, Stdout, StdoutLock, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use polyhead_files::AtomicFile;
use polyhead_model::{Encoded, TokenVectors};
use polyhead_text::TextTokens;
use serde::Serialize;

use crate::failure::usage;
use crate::resume::{Done, Journal, OutputFingerprint, RowHash};
use crate::table::thousands;
use npy::{NpyType, NpyWriter};

/// Prints a report on standard output: as JSON, or as `write` has it for people.
pub(crate) fn print_report<R: Serialize>(
    json: bool,
    report: &R,
    write: impl FnOnce(&mut BufWriter<StdoutLock>, &R) -> io::Result<()>,
) -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    if json {
        serde_json::to_writer_pretty(&mut out, report).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        write(&mut out, report)?;
    }
    Ok(out.flush()?)
}

/// Texts and their results.
pub(crate) struct Batch {
    pub(crate) texts: Vec<String>,
    /// `[texts]`: hash of the row of each text.
    pub(crate) rows: Vec<RowHash>,
    pub(crate) results: Results,
}

/// The results of a batch: one vector per text, one per token, or complete lines.
pub(crate) enum Results {
    Sentences(Encoded),
    Tokens(TokenVectors),
    Lines(Vec<u8>),
}

impl Results {
    /// `[texts]`: token counts before and after cutting; empty for lines.
    pub(crate) fn counts(&self) -> &[TextTokens] {
        match self {
            Self::Sentences(encoded) => &encoded.texts,
            Self::Tokens(tokens) => &tokens.texts,
            Self::Lines(_) => &[],
        }
    }
}

/// The kind of [`Results`] that an output takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResultKind {
    Sentences,
    Tokens,
    Lines,
}

/// Takes batches in order and writes them in one of the formats.
pub(crate) struct Output {
    format: Format,
    /// The record for `--resume`; only for files.
    journal: Option<Journal>,
    /// A complete file that `--resume` writes again: its record was removed when it was complete.
    remade: Option<PathBuf>,
}

enum Format {
    Stdout(BufWriter<Stdout>),
    JsonLines(AtomicFile),
    Npy(NpyFile),
}

impl Output {
    /// Opens the output, so that errors of `path` show before any work is done.
    ///
    /// A file appears under its name only when [`finish`](Self::finish) has succeeded.
    ///
    /// - `resume`: continue the unfinished output of a program that was killed, if there is one
    pub(crate) fn create(path: Option<&Path>, kind: ResultKind, resume: bool) -> Result<Self> {
        let Some(path) = path else {
            if resume {
                return Err(usage("--resume needs an output file: pass --out FILE"));
            }
            let out = BufWriter::with_capacity(1 << 16, io::stdout());
            return Ok(Self { format: Format::Stdout(out), journal: None, remade: None });
        };
        let suffix = path.extension().map(|s| s.to_string_lossy().to_ascii_lowercase());
        let mut journal = Journal::open(&AtomicFile::real_path(path), resume);
        let format = match (suffix.as_deref(), kind) {
            (Some("jsonl"), _) => Format::JsonLines(AtomicFile::open(path, journal.bytes(0))?),
            (Some("npy"), ResultKind::Sentences | ResultKind::Tokens) => {
                Format::Npy(NpyFile::open(path, kind, &journal)?)
            }
            (_, ResultKind::Lines) => {
                return Err(usage(format!("{}: expected .jsonl", path.display())));
            }
            _ => return Err(usage(format!("{}: expected .npy or .jsonl", path.display()))),
        };
        journal.begin();
        let remade = resume && journal.done().is_none() && path.exists();
        let remade = remade.then(|| path.to_owned());
        Ok(Self { format, journal: Some(journal), remade })
    }

    /// A note for users of `--resume`: what happens to an earlier output, if there is one.
    pub(crate) fn resumption(&self) -> Option<String> {
        match (self.done(), &self.remade) {
            (Some(done), _) => Some(format!("resuming after {} texts", thousands(done.texts))),
            (None, Some(path)) => Some(format!(
                "{}: is complete, but there is no record of its input, model and options; writing it again",
                path.display()
            )),
            (None, None) => None,
        }
    }

    /// The texts whose results are in the output already.
    pub(crate) fn done(&self) -> Option<&Done> {
        self.journal.as_ref().and_then(Journal::done)
    }

    /// Refuses to continue an unfinished output that has another fingerprint, or whose record is
    /// damaged.
    ///
    /// - `fingerprint`: called for files only, since it takes time
    pub(crate) fn check_fingerprint(
        &mut self,
        fingerprint: impl FnOnce() -> Result<OutputFingerprint>,
    ) -> Result<()> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        journal.check_fingerprint(fingerprint()?)?;
        if let Format::Npy(NpyFile { name, fits_record: false, .. }) = &self.format {
            return Err(usage(format!(
                "{name}: the record of the unfinished results does not fit such a file; start over \
                 without --resume"
            )));
        }
        Ok(())
    }

    /// Adds the results of a batch.
    pub(crate) fn write(&mut self, batch: Batch) -> Result<()> {
        let Batch { texts, rows, results } = batch;
        match &mut self.format {
            Format::Stdout(out) => {
                json_lines::write(out, &texts, &results).context("standard output")?
            }
            Format::JsonLines(file) => {
                json_lines::write(file, &texts, &results).with_context(|| file.to_string())?;
            }
            Format::Npy(file) => file.write(results)?,
        }
        let Some(journal) = &mut self.journal else { return Ok(()) };
        match &mut self.format {
            Format::Stdout(_) => Ok(()),
            Format::JsonLines(file) => journal.add(&rows, None, vec![file.flushed_len()?]),
            Format::Npy(file) => journal.add(&rows, file.columns, file.flushed_bytes()?),
        }
    }

    /// Makes the output complete. An output that is dropped instead leaves no file.
    pub(crate) fn finish(self) -> Result<()> {
        let Self { format, journal, .. } = self;
        match format {
            Format::Stdout(mut out) => io::Write::flush(&mut out).context("standard output")?,
            Format::JsonLines(file) => file.commit()?,
            Format::Npy(file) => file.finish()?,
        }
        if let Some(journal) = journal {
            journal.finish();
        }
        Ok(())
    }
}

/// A float matrix. Token vectors also have a second file with the row at which each text begins.
pub(crate) struct NpyFile {
    matrix: NpyWriter<AtomicFile>,
    columns: Option<usize>,
    /// `[texts + 1]`: first row of each text, in the file `NAME.offsets.npy`.
    offsets: Option<NpyWriter<AtomicFile>>,
    /// The resume record, if any, describes whole rows of such a file.
    fits_record: bool,
    name: String,
}

impl NpyFile {
    fn open(path: &Path, kind: ResultKind, journal: &Journal) -> Result<Self> {
        let name = path.display().to_string();
        let writer = |path: &Path, kind: NpyType, keep: Option<u64>| {
            let file = AtomicFile::open(path, keep)?;
            match keep.and_then(|bytes| kind.values_in(bytes)) {
                None => NpyWriter::new(file, kind).with_context(|| name.clone()),
                Some(values) => Ok(NpyWriter::resume(file, kind, values)),
            }
        };
        let matrix = writer(path, NpyType::F32, journal.bytes(0))?;
        let offsets = match kind {
            ResultKind::Tokens => {
                let keep = journal.bytes(1);
                let mut offsets = writer(&offsets_path(path), NpyType::I64, keep)?;
                if keep.is_none() {
                    offsets.write_i64([0])?;
                }
                Some(offsets)
            }
            _ => None,
        };
        let fits_record = Self::fits(kind, journal);
        Ok(Self { matrix, columns: journal.columns(), offsets, fits_record, name })
    }

    /// Checks that the lengths in the resume record, if any, are those of whole rows.
    fn fits(kind: ResultKind, journal: &Journal) -> bool {
        let Some(done) = journal.done() else { return true };
        let columns = journal.columns().unwrap_or(0) as u64;
        let values = |file, kind: NpyType| kind.values_in(journal.bytes(file)?);
        let rows = values(0, NpyType::F32).filter(|values| {
            // Zero columns have no rows.
            values.checked_rem(columns) == Some(0)
        });
        match (kind, rows.map(|values| values / columns), values(1, NpyType::I64)) {
            (ResultKind::Tokens, Some(_), Some(offsets)) => {
                done.texts.checked_add(1) == Some(offsets)
            }
            (ResultKind::Sentences, Some(rows), None) => rows == done.texts,
            _ => false,
        }
    }

    fn flushed_bytes(&mut self) -> Result<Vec<u64>> {
        let mut bytes = vec![self.matrix.out().flushed_len()?];
        if let Some(offsets) = &mut self.offsets {
            bytes.push(offsets.out().flushed_len()?);
        }
        Ok(bytes)
    }

    fn write(&mut self, results: Results) -> Result<()> {
        let (matrix, ends) = match results {
            Results::Sentences(encoded) => (encoded.embeddings, None),
            Results::Tokens(tokens) => (tokens.vectors, Some(tokens.offsets)),
            Results::Lines(_) => unreachable!("lines are not written to .npy files: see create"),
        };
        let columns = *self.columns.get_or_insert(matrix.columns());
        if columns != matrix.columns() {
            bail!(
                "{}: expected vectors of {columns} numbers, as those before, found {}",
                self.name,
                matrix.columns()
            );
        }
        if let (Some(offsets), Some(ends)) = (&mut self.offsets, ends) {
            let rows_before = self.matrix.values() / columns as u64;
            let ends = ends.iter().skip(1).map(|&end| (rows_before + end as u64) as i64);
            offsets.write_i64(ends).with_context(|| self.name.clone())?;
        }
        self.matrix.write_f32(matrix.as_slice()).with_context(|| self.name.clone())
    }

    fn finish(self) -> Result<()> {
        let Some(columns) = self.columns else {
            bail!("{}: nothing was written", self.name);
        };
        let rows = self.matrix.values() / columns as u64;
        let matrix = self.matrix.finish(&[rows, columns as u64])?;
        if let Some(offsets) = self.offsets {
            let count = offsets.values();
            // The offsets are written first, so that no matrix is without them.
            offsets.finish(&[count])?.commit()?;
        }
        Ok(matrix.commit()?)
    }
}

/// The path of the offsets: `a/vectors.npy` → `a/vectors.offsets.npy`.
pub(crate) fn offsets_path(path: &Path) -> PathBuf {
    path.with_extension("offsets.npy")
}

#[cfg(test)]
mod tests {
    use polyhead_model::Matrix;
    use polyhead_testing::check_mutations;

    use super::*;

    fn tokens(rows: &[f32], offsets: &[usize]) -> Batch {
        let vectors = TokenVectors {
            vectors: Matrix::new(rows.len() / 2, 2, rows.to_vec()),
            offsets: offsets.to_vec(),
            texts: vec![TextTokens::default(); offsets.len() - 1],
        };
        let count = offsets.len() - 1;
        Batch {
            texts: vec![String::new(); count],
            rows: vec![RowHash::default(); count],
            results: Results::Tokens(vectors),
        }
    }

    #[test]
    fn offsets_continue_from_batch_to_batch() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.npy");
        let mut output = Output::create(Some(&path), ResultKind::Tokens, false).unwrap();
        output.write(tokens(&[1., 2., 3., 4., 5., 6.], &[0, 2, 3])).unwrap();
        output.write(tokens(&[7., 8.], &[0, 1])).unwrap();
        output.finish().unwrap();

        let (header, values) = npy::tests::read(&std::fs::read(&path).unwrap());
        assert!(header.contains("'descr': '<f4'") && header.contains("'shape': (4, 2)"));
        let values: Vec<_> =
            values.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        assert_eq!(values, [1., 2., 3., 4., 5., 6., 7., 8.]);

        let (header, values) =
            npy::tests::read(&std::fs::read(folder.path().join("v.offsets.npy")).unwrap());
        assert!(header.contains("'descr': '<i8'") && header.contains("'shape': (4,)"), "{header}");
        let values: Vec<_> =
            values.chunks(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect();
        assert_eq!(values, [0, 2, 3, 4]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn offsets_continue_after_a_kill() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.npy");
        let create = |resume| Output::create(Some(&path), ResultKind::Tokens, resume).unwrap();
        let first = || tokens(&[1., 2., 3., 4., 5., 6.], &[0, 2, 3]);
        let mut whole = create(false);
        whole.write(first()).unwrap();
        whole.write(tokens(&[7., 8.], &[0, 1])).unwrap();
        whole.finish().unwrap();
        let files =
            || ["v.npy", "v.offsets.npy"].map(|n| std::fs::read(folder.path().join(n)).unwrap());
        let expected = files();

        // A process killed in the middle of the second batch leaves such files.
        let mut killed = create(false);
        killed.write(first()).unwrap();
        let Format::Npy(file) = &mut killed.format else { panic!("an .npy file") };
        file.write(tokens(&[9., 9.], &[0, 1]).results).unwrap();
        file.flushed_bytes().unwrap();
        let names = ["v.npy.partial", "v.npy.partial.json", "v.offsets.npy.partial"];
        let left = names.map(|name| std::fs::read(folder.path().join(name)).unwrap());
        drop(killed);
        names.iter().zip(left).for_each(|(n, b)| std::fs::write(folder.path().join(n), b).unwrap());

        let mut resumed = create(true);
        assert_eq!(resumed.done().unwrap().texts, 2);
        resumed.write(tokens(&[7., 8.], &[0, 1])).unwrap();
        resumed.finish().unwrap();
        assert_eq!(files(), expected);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    /// The record of an unfinished output and the output itself, nearly as they were.
    #[test]
    fn changed_leftovers_are_refused_or_make_a_whole_file() {
        let vectors = || {
            let Results::Tokens(tokens) = tokens(&[1., 2., 3., 4.], &[0, 1, 2]).results else {
                unreachable!("made of tokens")
            };
            let encoded = Encoded { embeddings: tokens.vectors, texts: tokens.texts };
            let rows = vec![RowHash::default(); 2];
            Batch { texts: vec![String::new(); 2], rows, results: Results::Sentences(encoded) }
        };
        let several = || tokens(&[1., 2., 3., 4., 5., 6.], &[0, 2, 3]);
        let cases: [(&str, ResultKind, &dyn Fn() -> Batch); 3] = [
            ("v.npy", ResultKind::Sentences, &vectors),
            ("v.npy", ResultKind::Tokens, &several),
            ("v.jsonl", ResultKind::Sentences, &vectors),
        ];
        for (name, kind, batch) in cases {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(name);
            let files = || -> Vec<(PathBuf, Vec<u8>)> {
                let entries = std::fs::read_dir(folder.path()).unwrap();
                let paths = entries.map(|entry| entry.unwrap().path());
                paths.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
            };
            let mut killed = Output::create(Some(&path), kind, false).unwrap();
            killed.write(batch()).unwrap();
            let left = files();
            drop(killed);
            for (changed, good) in &left {
                check_mutations(good, 96, |bytes| {
                    files().iter().for_each(|(path, _)| std::fs::remove_file(path).unwrap());
                    left.iter().for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
                    std::fs::write(changed, bytes).unwrap();
                    let written = Output::create(Some(&path), kind, true).and_then(|mut output| {
                        output.check_fingerprint(|| Ok(OutputFingerprint::default()))?;
                        output.write(batch())?;
                        output.finish()
                    });
                    if let Err(error) = written {
                        return assert!(error.to_string().contains("v."), "{error}");
                    }
                    let whole = std::fs::read(&path).unwrap();
                    if name == "v.npy" {
                        let (header, values) = npy::tests::read(&whole);
                        let (_, shape) = header.split_once("'shape': (").unwrap();
                        let (rows, columns) = shape.split_once(", ").unwrap();
                        assert_eq!(columns.trim_end(), "2), }");
                        assert_eq!(rows.parse::<usize>().unwrap() * 2 * 4, values.len());
                    }
                });
            }
        }
    }

    #[test]
    fn a_complete_file_is_written_again_with_a_note() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.jsonl");
        let note = |resume| {
            Output::create(Some(&path), ResultKind::Sentences, resume).unwrap().resumption()
        };
        assert_eq!(note(true), None, "there is nothing: it begins");
        std::fs::write(&path, "complete").unwrap();
        assert!(
            note(true)
                .unwrap()
                .contains("v.jsonl: is complete, but there is no record of its input")
        );
        assert_eq!(note(false), None, "without --resume there is no note");
    }

    #[test]
    fn an_unknown_suffix_is_refused_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["v.txt", "v", "v.npz"] {
            let path = folder.path().join(name);
            assert!(Output::create(Some(&path), ResultKind::Sentences, false).is_err(), "{name}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
