//! Writes results to files or to standard output.

mod columns;
mod file_output;
mod json_lines;
mod npy;
mod preview;

use std::io::{self, BufWriter, IsTerminal, Stdout, StdoutLock, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use clap::ValueEnum;
use polyhead_files::visible;
use polyhead_model::{Encoded, Matrix, TokenVectors};
use polyhead_text::TextTokens;
use serde::Serialize;

use crate::failure::{chain, usage};
use crate::input::{OtherFields, Place};
use crate::pipeline::BadRow;
use crate::resume::{Done, OutputFingerprint, RowHash};
use crate::table::counted;
pub(crate) use columns::{key, write_line};
use file_output::{FileFormat, FileOutput};

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

/// Texts and their results, and the rows among them that are skipped.
pub(crate) struct Batch {
    pub(crate) texts: Vec<String>,
    /// `[texts]`: other fields of the row of each text.
    pub(crate) others: Vec<OtherFields>,
    /// `[texts + bad]`: hash of each row of the input, in order.
    pub(crate) rows: Vec<RowHash>,
    /// Rows without a result.
    pub(crate) bad: Vec<BadRow>,
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

    /// Leaves out the vectors of some texts.
    ///
    /// - `kept`: `[texts]`
    pub(crate) fn retain(&mut self, kept: &[bool]) {
        let select = |matrix: &Matrix, rows: &[usize]| {
            let values = rows.iter().flat_map(|row| matrix.row(*row)).copied().collect();
            Matrix::new(rows.len(), matrix.columns(), values)
        };
        let mut left = kept.iter();
        let mut is_kept = |_: &TextTokens| left.next().copied().unwrap_or(false);
        let texts = (0..kept.len()).filter(|text| kept[*text]);
        match self {
            Self::Sentences(Encoded { embeddings, texts: counts }) => {
                *embeddings = select(embeddings, &texts.collect::<Vec<_>>());
                counts.retain(&mut is_kept);
            }
            Self::Tokens(TokenVectors { vectors, offsets, texts: counts }) => {
                let ranges = texts.map(|text| offsets[text]..offsets[text + 1]);
                let (mut rows, mut ends) = (Vec::new(), vec![0]);
                for range in ranges {
                    rows.extend(range);
                    ends.push(rows.len());
                }
                (*vectors, *offsets) = (select(vectors, &rows), ends);
                counts.retain(&mut is_kept);
            }
            Self::Lines(_) => {}
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

/// The action for the unfinished results of a stopped run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfinished {
    /// Fail, so that they are not lost by mistake.
    Refuse,
    /// Continue them; start a new output if there are none.
    Resume,
    /// Start over.
    Overwrite,
}

/// Takes batches in order and writes them in one of the formats.
pub(crate) struct Output {
    sink: Sink,
    /// Number of rows written and skipped by this run.
    written: u64,
    skipped: u64,
}

enum Sink {
    Stdout { out: BufWriter<Stdout>, on_terminal: bool, csv: bool },
    File(Box<FileOutput>),
}

/// The format of lines on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StdoutFormat {
    Jsonl,
    Csv,
}

/// Returns true if results go to standard output: without a file, or with `-` as its name.
fn is_stdout(path: Option<&Path>) -> bool {
    path.is_none_or(|path| path == Path::new("-"))
}

impl Output {
    /// Opens the output, so that errors of `path` show before any work is done.
    ///
    /// A file appears under its name only when [`finish`](Self::finish) has succeeded.
    pub(crate) fn create(
        path: Option<&Path>,
        kind: ResultKind,
        unfinished: Unfinished,
    ) -> Result<Self> {
        let sink = match (path.filter(|path| !is_stdout(Some(path))), unfinished) {
            (Some(path), _) => Sink::File(Box::new(FileOutput::create(path, kind, unfinished)?)),
            (None, Unfinished::Refuse) => {
                let out = io::stdout();
                let on_terminal = out.is_terminal();
                Sink::Stdout {
                    out: BufWriter::with_capacity(1 << 16, out),
                    on_terminal,
                    csv: false,
                }
            }
            (None, Unfinished::Resume) => {
                return Err(usage("--resume needs an output file: pass --out FILE"));
            }
            (None, Unfinished::Overwrite) => {
                return Err(usage("--overwrite needs an output file: pass --out FILE"));
            }
        };
        Ok(Self { sink, written: 0, skipped: 0 })
    }

    /// Chooses the format of lines on standard output.
    ///
    /// # Errors
    /// A format for a file, whose name says it.
    pub(crate) fn with_format(mut self, format: Option<StdoutFormat>) -> Result<Self> {
        match (&mut self.sink, format) {
            (Sink::Stdout { csv, .. }, format) => *csv = format == Some(StdoutFormat::Csv),
            (_, None) => {}
            (Sink::File(_), Some(_)) => {
                return Err(usage(
                    "--format applies to standard output; the name of a file says its format: \
                     .jsonl or .csv",
                ));
            }
        }
        Ok(self)
    }

    fn file(&self) -> Option<&FileOutput> {
        match &self.sink {
            Sink::Stdout { .. } => None,
            Sink::File(file) => Some(file),
        }
    }

    /// Returns true unless the output is a matrix: others have the other columns of a row too.
    pub(crate) fn has_columns(&self) -> bool {
        self.file().is_none_or(|file| file.format != FileFormat::Npy)
    }

    /// Returns true if the results appear on a terminal.
    pub(crate) fn is_on_terminal(&self) -> bool {
        matches!(self.sink, Sink::Stdout { on_terminal: true, .. })
    }

    /// Returns true if the output is CSV.
    pub(crate) fn is_csv(&self) -> bool {
        match &self.sink {
            Sink::Stdout { csv, .. } => *csv,
            Sink::File(file) => file.format == FileFormat::Csv,
        }
    }

    /// Returns true if the output has no result yet, also of an earlier run.
    pub(crate) fn is_empty(&self) -> bool {
        self.file().map_or(self.written, |file| file.journal.record.done.texts()) == 0
    }

    /// A note for users of `--resume`: what happens to an earlier output, if there is one.
    pub(crate) fn resumption(&self) -> Option<String> {
        self.file().and_then(FileOutput::resumption)
    }

    /// The rows of the input that an earlier run has done.
    pub(crate) fn done(&self) -> Option<&Done> {
        let journal = &self.file()?.journal;
        journal.resumed.then_some(&journal.record.done)
    }

    /// Returns true if an earlier run has done all rows, so that only its files need their names.
    pub(crate) fn is_complete(&self) -> bool {
        self.file().is_some_and(|file| file.journal.record.complete)
    }

    /// Refuses to continue an unfinished output that has another fingerprint, or whose files are
    /// not those of its record.
    ///
    /// - `fingerprint`: called for files only, since it takes time
    pub(crate) fn check_fingerprint(
        &mut self,
        fingerprint: impl FnOnce() -> Result<OutputFingerprint>,
    ) -> Result<()> {
        match &mut self.sink {
            Sink::Stdout { .. } => Ok(()),
            Sink::File(file) => file.check_fingerprint(fingerprint()?),
        }
    }

    /// Adds the results of a batch. Bad rows are recorded, or reported if there is no file.
    ///
    /// - `place`: the input, for messages
    pub(crate) fn write(&mut self, batch: Batch, place: &Place) -> Result<()> {
        let (written, skipped) = (batch.texts.len() as u64, batch.bad.len() as u64);
        match &mut self.sink {
            Sink::File(file) => file.write(batch)?,
            Sink::Stdout { out, on_terminal, .. } => {
                let write = if *on_terminal { preview::write } else { json_lines::write };
                write(out, &batch).context("standard output")?;
                for BadRow { line, reason } in &batch.bad {
                    let warning = format!("{}: skipped: {reason}", place.of_line(*line));
                    let _ = writeln!(io::stderr(), "warning: {}", visible(&warning));
                }
            }
        }
        self.written += written;
        self.skipped += skipped;
        Ok(())
    }

    /// Makes the output complete, and returns the number of rows that were skipped, those of
    /// earlier runs included.
    ///
    /// - `place`: the input, for messages
    pub(crate) fn finish(&mut self, place: &Place) -> Result<u64> {
        let (written, skipped) = match self.file() {
            None => (self.written, self.skipped),
            Some(file) => {
                let done = &file.journal.record.done;
                (done.texts(), done.skipped)
            }
        };
        if written == 0 {
            return Err(anyhow!("{place}: no texts, {}", counted(skipped, "bad row")));
        }
        match &mut self.sink {
            Sink::Stdout { out, .. } => out.flush().context("standard output")?,
            Sink::File(file) => file.finish()?,
        }
        Ok(skipped)
    }

    /// The file of skipped rows, if the output is a file.
    pub(crate) fn errors_path(&self) -> Option<PathBuf> {
        self.file().map(FileOutput::errors_path)
    }

    /// Adds to an error what is kept of the results, and how to continue.
    pub(crate) fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let texts = self.file().map_or(0, |file| file.journal.record.done.texts());
        if texts == 0 {
            return error;
        }
        anyhow!(
            "{}; the results of {} are kept: once the cause is mended, run the same command with \
             --resume",
            chain(&error),
            counted(texts, "text")
        )
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
            others: vec![OtherFields::default(); count],
            rows: vec![RowHash::default(); count],
            bad: Vec::new(),
            results: Results::Tokens(vectors),
        }
    }

    /// Two texts with a vector each, after a bad row if `bad`.
    fn vectors(bad: bool) -> Batch {
        let Results::Tokens(tokens) = tokens(&[1., 2., 3., 4.], &[0, 1, 2]).results else {
            unreachable!("made of tokens")
        };
        let results =
            Results::Sentences(Encoded { embeddings: tokens.vectors, texts: tokens.texts });
        let reason = "no text".to_owned();
        let bad: Vec<_> = bad.then_some(BadRow { line: 1, reason }).into_iter().collect();
        let rows = vec![RowHash::default(); 2 + bad.len()];
        let others = vec![OtherFields::default(); 2];
        Batch { texts: vec![String::new(); 2], others, rows, bad, results }
    }

    fn open(path: &Path, kind: ResultKind, unfinished: Unfinished) -> Result<Output> {
        let mut output = Output::create(Some(path), kind, unfinished)?;
        output.check_fingerprint(|| Ok(OutputFingerprint::default()))?;
        Ok(output)
    }

    fn write(output: &mut Output, batch: Batch) {
        output.write(batch, &Place::Stdin).unwrap();
    }

    /// Name and content of all files of a folder.
    fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut paths: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    fn put_back(folder: &Path, left: &[(PathBuf, Vec<u8>)]) {
        files(folder).iter().for_each(|(path, _)| fs::remove_file(path).unwrap());
        left.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    }

    #[test]
    fn offsets_continue_from_batch_to_batch() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.npy");
        let mut output = open(&path, ResultKind::Tokens, Unfinished::Refuse).unwrap();
        write(&mut output, tokens(&[1., 2., 3., 4., 5., 6.], &[0, 2, 3]));
        write(&mut output, tokens(&[7., 8.], &[0, 1]));
        output.finish(&Place::Stdin).unwrap();

        let (header, values) = npy::tests::read(&fs::read(&path).unwrap());
        assert!(header.contains("'descr': '<f4'") && header.contains("'shape': (4, 2)"));
        let values: Vec<_> =
            values.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        assert_eq!(values, [1., 2., 3., 4., 5., 6., 7., 8.]);

        let (header, values) =
            npy::tests::read(&fs::read(folder.path().join("v.offsets.npy")).unwrap());
        assert!(header.contains("'descr': '<i8'") && header.contains("'shape': (4,)"), "{header}");
        let values: Vec<_> =
            values.chunks(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect();
        assert_eq!(values, [0, 2, 3, 4]);
        assert_eq!(files(folder.path()).len(), 2);
    }

    #[test]
    fn texts_are_left_out_with_their_vectors() {
        let Batch { mut results, .. } = tokens(&[1., 2., 3., 4., 5., 6., 7., 8.], &[0, 2, 3, 4]);
        results.retain(&[true, false, true]);
        let Results::Tokens(found) = &results else { panic!("token vectors") };
        assert_eq!(found.vectors.as_slice(), [1., 2., 3., 4., 7., 8.]);
        assert_eq!((&found.offsets[..], found.texts.len()), (&[0, 2, 3][..], 2));
        let mut results = vectors(false).results;
        results.retain(&[false, true]);
        let Results::Sentences(found) = &results else { panic!("vectors") };
        assert_eq!((found.embeddings.as_slice(), found.texts.len()), (&[3., 4.][..], 1));
    }

    /// A program that is killed in the middle of the second batch leaves these files.
    #[test]
    fn offsets_continue_after_a_kill() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.npy");
        let create = |unfinished| open(&path, ResultKind::Tokens, unfinished).unwrap();
        let first = || tokens(&[1., 2., 3., 4., 5., 6.], &[0, 2, 3]);
        let mut whole = create(Unfinished::Refuse);
        write(&mut whole, first());
        write(&mut whole, tokens(&[7., 8.], &[0, 1]));
        whole.finish(&Place::Stdin).unwrap();
        let expected = files(folder.path());

        let mut killed = create(Unfinished::Refuse);
        write(&mut killed, first());
        drop(killed);
        for name in ["v.npy.partial", "v.offsets.npy.partial"] {
            let path = folder.path().join(name);
            let bytes = [fs::read(&path).unwrap(), b"torn".to_vec()].concat();
            fs::write(path, bytes).unwrap();
        }

        let mut resumed = create(Unfinished::Resume);
        assert_eq!(resumed.done().unwrap().rows, 2);
        write(&mut resumed, tokens(&[7., 8.], &[0, 1]));
        resumed.finish(&Place::Stdin).unwrap();
        assert_eq!(files(folder.path()), expected);
    }

    #[test]
    fn unfinished_results_are_only_lost_on_request() {
        for (name, kind) in [("v.npy", ResultKind::Sentences), ("v.jsonl", ResultKind::Sentences)] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(name);
            let mut output = open(&path, kind, Unfinished::Refuse).unwrap();
            write(&mut output, vectors(true));
            drop(output);
            let left = files(folder.path());
            assert_eq!(left.len(), 3, "results, skipped rows and record");

            let refused = open(&path, kind, Unfinished::Refuse).err().unwrap();
            for words in [name, "the results of 2 texts", "--resume", "--overwrite"] {
                assert!(refused.to_string().contains(words), "{refused}");
            }
            drop(open(&path, kind, Unfinished::Resume).unwrap());
            assert_eq!(files(folder.path()), left, "resuming without a new row changes nothing");

            let mut output = open(&path, kind, Unfinished::Overwrite).unwrap();
            assert!(output.done().is_none());
            write(&mut output, vectors(false));
            assert_eq!(output.finish(&Place::Stdin).unwrap(), 0);
            assert_eq!(files(folder.path()).len(), 1, "no row was skipped");

            drop(open(&path, kind, Unfinished::Refuse).unwrap());
            assert_eq!(files(folder.path()).len(), 1, "a run without a result leaves nothing");

            let partial = folder.path().join(format!("{name}.partial"));
            fs::write(&partial, [1; 200]).unwrap();
            let refused = open(&path, kind, Unfinished::Refuse).err().unwrap().to_string();
            assert!(refused.contains("without a record") && refused.contains("--overwrite"));
            assert_eq!(fs::read(&partial).unwrap(), [1; 200], "nothing is lost by a refusal");
        }
    }

    /// The results are whole, and any number of the files have their names.
    #[test]
    fn a_complete_output_is_finished_by_resuming() {
        for (name, kind) in [
            ("v.npy", ResultKind::Sentences),
            ("v.npy", ResultKind::Tokens),
            ("v.jsonl", ResultKind::Sentences),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(name);
            let batch = || match kind {
                ResultKind::Tokens => tokens(&[1., 2., 3., 4., 5., 6.], &[0, 2, 3]),
                _ => vectors(true),
            };
            let mut whole = open(&path, kind, Unfinished::Refuse).unwrap();
            write(&mut whole, batch());
            let skipped = whole.finish(&Place::Stdin).unwrap();
            let finished = files(folder.path());

            let mut killed = open(&path, kind, Unfinished::Refuse).unwrap();
            write(&mut killed, batch());
            let Sink::File(file) = &mut killed.sink else { panic!("a file") };
            file.journal.complete().unwrap();
            drop(killed);
            let left = files(folder.path());
            let is_partial = |path: &Path| path.extension().is_some_and(|name| name == "partial");
            let parts: Vec<_> = left.iter().filter(|(path, _)| is_partial(path)).collect();
            let record = || left.iter().filter(|(path, _)| path.extension().unwrap() == "json");
            for renamed in 0..=parts.len() {
                // Files that are renamed already have their heads.
                let partial =
                    parts[renamed..].iter().map(|(path, bytes)| (path.clone(), bytes.clone()));
                let final_names = parts[..renamed].iter().map(|(path, _)| path.with_extension(""));
                let done = final_names.map(|path| {
                    let (_, bytes) = finished.iter().find(|(name, _)| *name == path).unwrap();
                    (path, bytes.clone())
                });
                let state: Vec<_> = record().cloned().chain(partial).chain(done).collect();
                put_back(folder.path(), &state);
                assert!(open(&path, kind, Unfinished::Refuse).is_err());
                let mut resumed = open(&path, kind, Unfinished::Resume).unwrap();
                assert!(resumed.is_complete());
                assert!(resumed.resumption().unwrap().contains("is complete"));
                assert_eq!(resumed.finish(&Place::Stdin).unwrap(), skipped);
                assert_eq!(files(folder.path()), finished, "{name}, {renamed} files renamed");
            }
            // Without one of the files there is nothing to finish.
            put_back(folder.path(), &record().cloned().collect::<Vec<_>>());
            let mut resumed = open(&path, kind, Unfinished::Resume).unwrap();
            let error = resumed.finish(&Place::Stdin).unwrap_err().to_string();
            assert!(error.contains("expected the results of a stopped run, found no"), "{error}");
            drop(resumed);
            assert_eq!(files(folder.path()).len(), 1, "nothing is created");
        }
    }

    /// The record of an unfinished output and the output itself, nearly as they were.
    #[test]
    fn changed_leftovers_are_refused_or_make_the_same_files() {
        let several = || tokens(&[1., 2., 3., 4., 5., 6.], &[0, 2, 3]);
        let with_bad = || vectors(true);
        let cases: [(&str, ResultKind, &dyn Fn() -> Batch); 3] = [
            ("v.npy", ResultKind::Sentences, &with_bad),
            ("v.npy", ResultKind::Tokens, &several),
            ("v.jsonl", ResultKind::Sentences, &with_bad),
        ];
        for (name, kind, batch) in cases {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(name);
            let mut whole = open(&path, kind, Unfinished::Refuse).unwrap();
            write(&mut whole, batch());
            write(&mut whole, batch());
            whole.finish(&Place::Stdin).unwrap();
            let expected = files(folder.path());
            put_back(folder.path(), &[]);
            let mut killed = open(&path, kind, Unfinished::Refuse).unwrap();
            write(&mut killed, batch());
            drop(killed);
            let left = files(folder.path());
            for (changed, good) in &left {
                check_mutations(good, 96, |bytes| {
                    put_back(folder.path(), &left);
                    fs::write(changed, bytes).unwrap();
                    let written = open(&path, kind, Unfinished::Resume).and_then(|mut output| {
                        output.write(batch(), &Place::Stdin)?;
                        output.finish(&Place::Stdin)
                    });
                    match written {
                        Err(error) => {
                            assert!(error.to_string().contains("v."), "{error}");
                        }
                        // A changed number or hash of rows is found in the input.
                        Ok(_) if changed.extension().is_some_and(|name| name == "json") => {}
                        Ok(_) => assert!(files(folder.path()) == expected, "{name}"),
                    }
                });
            }
        }
    }

    #[test]
    fn numbers_of_the_record_are_compared_with_the_files() {
        let folder = tempfile::tempdir().unwrap();
        for (name, kind, from, to) in [
            ("v.npy", ResultKind::Sentences, "\"columns\":2", "\"columns\":0"),
            ("v.npy", ResultKind::Sentences, "\"columns\":2", "\"columns\":41"),
            ("v.npy", ResultKind::Sentences, "\"bytes\":144", "\"bytes\":143"),
            ("v.npy", ResultKind::Sentences, "\"bytes\":144", "\"bytes\":136"),
            ("v.npy", ResultKind::Sentences, "\"rows\":3", "\"rows\":2"),
            ("v.npy", ResultKind::Sentences, "\"rows\":3", "\"rows\":18446744073709551615"),
            ("v.npy", ResultKind::Sentences, "\"skipped\":1", "\"skipped\":9"),
            ("v.npy", ResultKind::Tokens, "\"columns\":2", "\"columns\":1"),
            ("v.npy", ResultKind::Tokens, "\"columns\":2", "\"columns\":null"),
            ("v.npy", ResultKind::Tokens, "\"bytes\":152", "\"bytes\":144"),
            ("v.jsonl", ResultKind::Sentences, "\"rows\":3", "\"rows\":4"),
            (
                "v.jsonl",
                ResultKind::Sentences,
                "\"rows\":3,\"skipped\":1",
                "\"rows\":4,\"skipped\":2",
            ),
        ] {
            let path = folder.path().join(name);
            let batch = match kind {
                ResultKind::Tokens => tokens(&[1., 2., 3., 4., 5., 6.], &[0, 2, 3]),
                _ => vectors(true),
            };
            let mut output = open(&path, kind, Unfinished::Overwrite).unwrap();
            write(&mut output, batch);
            drop(output);
            let record = folder.path().join(format!("{name}.partial.json"));
            let text = fs::read_to_string(&record).unwrap();
            assert!(text.contains(from), "{from} in {text}");
            fs::write(&record, text.replacen(from, to, 1)).unwrap();
            let left = files(folder.path());
            let error = open(&path, kind, Unfinished::Resume).err().unwrap().to_string();
            assert!(error.contains(name) && error.contains("--overwrite"), "{error}");
            assert_eq!(files(folder.path()), left, "{to}: a refusal changes nothing");
        }
    }

    #[test]
    fn a_complete_file_is_written_again_with_a_note() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.jsonl");
        let note = |unfinished| {
            Output::create(Some(&path), ResultKind::Sentences, unfinished).unwrap().resumption()
        };
        assert_eq!(note(Unfinished::Resume), None, "there is nothing: it begins");
        fs::write(&path, "complete").unwrap();
        assert!(
            note(Unfinished::Resume)
                .unwrap()
                .contains("v.jsonl: is complete, but there is no record of its input")
        );
        assert_eq!(note(Unfinished::Refuse), None, "without --resume there is no note");
    }

    #[test]
    fn an_unknown_suffix_is_refused_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["v.txt", "v", "v.npz"] {
            let path = folder.path().join(name);
            assert!(
                Output::create(Some(&path), ResultKind::Sentences, Unfinished::Refuse).is_err()
            );
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
