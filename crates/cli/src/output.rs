//! Results to a file or to standard output.

mod aside;
mod json_lines;
mod npy;

use std::io::{self, BufWriter, Stdout};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use polyhead_model::{Encoded, TokenVectors};
use polyhead_text::TextTokens;

use crate::failure::usage;
use crate::pipeline::Sink;
use aside::FileAside;
use npy::{NpyType, NpyWriter};

/// Texts and what the encoder made of them.
pub(crate) struct Batch {
    pub(crate) texts: Vec<String>,
    pub(crate) vectors: Vectors,
}

/// A vector for each text, or one for each token.
pub(crate) enum Vectors {
    Sentences(Encoded),
    Tokens(TokenVectors),
}

impl Vectors {
    /// `[texts]` token counts before and after cutting.
    pub(crate) fn counts(&self) -> &[TextTokens] {
        match self {
            Self::Sentences(encoded) => &encoded.texts,
            Self::Tokens(tokens) => &tokens.texts,
        }
    }
}

/// Which of [`Vectors`] comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VectorKind {
    Sentences,
    Tokens,
}

/// Takes batches in order and writes them in one of the formats.
pub(crate) enum Output {
    Stdout(BufWriter<Stdout>),
    JsonLines(FileAside),
    Npy(NpyFile),
}

impl Output {
    /// Finds what is wrong with `path` before any work is done.
    ///
    /// A file appears under its name only when [`Sink::finish`] has succeeded.
    pub(crate) fn create(path: Option<&Path>, kind: VectorKind) -> Result<Self> {
        let Some(path) = path else {
            return Ok(Self::Stdout(BufWriter::with_capacity(1 << 16, io::stdout())));
        };
        let suffix = path.extension().map(|s| s.to_string_lossy().to_ascii_lowercase());
        match suffix.as_deref() {
            Some("jsonl") => Ok(Self::JsonLines(FileAside::create(path)?)),
            Some("npy") => Ok(Self::Npy(NpyFile::create(path, kind)?)),
            _ => Err(usage(format!("{}: expected .npy or .jsonl", path.display()))),
        }
    }
}

impl Sink<Batch> for Output {
    fn write(&mut self, batch: Batch) -> Result<()> {
        match self {
            Self::Stdout(out) => json_lines::write(out, &batch).context("standard output"),
            Self::JsonLines(file) => {
                json_lines::write(file, &batch).with_context(|| file.to_string())
            }
            Self::Npy(file) => file.write(batch.vectors),
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            Self::Stdout(mut out) => io::Write::flush(&mut out).context("standard output"),
            Self::JsonLines(file) => file.commit(),
            Self::Npy(file) => file.finish(),
        }
    }
}

/// A float matrix; with token vectors also a second file, which says where in
/// it each text begins.
pub(crate) struct NpyFile {
    matrix: NpyWriter<FileAside>,
    columns: Option<usize>,
    /// `[texts + 1]`, in the file `NAME.offsets.npy`.
    offsets: Option<NpyWriter<FileAside>>,
    name: String,
}

impl NpyFile {
    fn create(path: &Path, kind: VectorKind) -> Result<Self> {
        let name = path.display().to_string();
        let writer = |path: &Path, kind| {
            let file = FileAside::create(path)?;
            NpyWriter::new(file, kind).with_context(|| name.clone())
        };
        let matrix = writer(path, NpyType::F32)?;
        let offsets = match kind {
            VectorKind::Sentences => None,
            VectorKind::Tokens => {
                let mut offsets = writer(&offsets_path(path), NpyType::I64)?;
                offsets.write_i64([0])?;
                Some(offsets)
            }
        };
        Ok(Self { matrix, columns: None, offsets, name })
    }

    fn write(&mut self, vectors: Vectors) -> Result<()> {
        let (matrix, ends) = match vectors {
            Vectors::Sentences(encoded) => (encoded.embeddings, None),
            Vectors::Tokens(tokens) => (tokens.vectors, Some(tokens.offsets)),
        };
        let columns = *self.columns.get_or_insert(matrix.columns());
        assert_eq!(columns, matrix.columns(), "every batch has vectors of one width");
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
            // First, so that a matrix is never without its offsets.
            offsets.finish(&[count])?.commit()?;
        }
        matrix.commit()
    }
}

/// `a/vectors.npy` → `a/vectors.offsets.npy`
pub(crate) fn offsets_path(path: &Path) -> PathBuf {
    path.with_extension("offsets.npy")
}

#[cfg(test)]
mod tests {
    use polyhead_model::Matrix;

    use super::*;

    fn tokens(rows: &[f32], offsets: &[usize]) -> Batch {
        let vectors = TokenVectors {
            vectors: Matrix::new(rows.len() / 2, 2, rows.to_vec()),
            offsets: offsets.to_vec(),
            texts: vec![TextTokens::default(); offsets.len() - 1],
        };
        Batch { texts: vec![String::new(); offsets.len() - 1], vectors: Vectors::Tokens(vectors) }
    }

    #[test]
    fn offsets_go_on_from_batch_to_batch() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.npy");
        let mut output = Output::create(Some(&path), VectorKind::Tokens).unwrap();
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
    fn an_unknown_suffix_is_refused_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["v.txt", "v", "v.npz"] {
            let path = folder.path().join(name);
            assert!(Output::create(Some(&path), VectorKind::Sentences).is_err(), "{name}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
