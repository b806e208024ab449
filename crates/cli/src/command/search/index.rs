//! Vectors in a file, with the fingerprint of all that they depend on.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use polyhead_files::safetensors::{self, Tensor};
use polyhead_files::{hex, write_file};
use polyhead_model::Matrix;
use sha2::{Digest, Sha256};

use crate::resume::OutputFingerprint;

/// Begin of the name of the tensor in the file; the fingerprint's hash follows.
const NAME: &str = "polyhead.search.";

/// The file of an index, and the vectors that it should have.
pub(super) struct Index {
    path: PathBuf,
    name: String,
    shape: (usize, usize),
}

impl Index {
    pub(super) fn new(
        path: &Path,
        fingerprint: &OutputFingerprint,
        shape: (usize, usize),
    ) -> Result<Self> {
        let hash = hex(Sha256::digest(serde_json::to_vec(fingerprint)?));
        Ok(Self { path: path.to_owned(), name: format!("{NAME}{hash}"), shape })
    }

    /// The vectors; else why there are none, if the file exists.
    ///
    /// # Errors
    /// The file is damaged or no index: it is not written over.
    pub(super) fn read(&self) -> Result<Result<Matrix, Option<String>>> {
        let shown = self.path.display();
        if !self.path.try_exists()? {
            return Ok(Err(None));
        }
        let damage = |problem: String| {
            anyhow!("{shown}: expected an index that `search` has written: {problem}")
        };
        let tensors = safetensors::read(&self.path).map_err(damage)?;
        let mut tensors = tensors.into_iter();
        let Some((name, tensor)) = tensors.next().filter(|(name, _)| name.starts_with(NAME)) else {
            return Err(damage("it has other tensors".to_owned()));
        };
        let shape = [self.shape.0, self.shape.1];
        if name != self.name || tensor.shape != shape {
            return Ok(Err(Some(format!(
                "{shown}: the index is of other rows or another model, so it is made again"
            ))));
        }
        Ok(Ok(Matrix::new(shape[0], shape[1], tensor.values.into_owned())))
    }

    /// Writes the vectors in place of what is there.
    pub(super) fn write(&self, vectors: &Matrix) -> Result<()> {
        let shape = vec![vectors.rows(), vectors.columns()];
        let tensor = Tensor { shape, values: Cow::Borrowed(vectors.as_slice()) };
        let mut bytes = Vec::new();
        safetensors::write(&mut bytes, None, &[(self.name.clone(), tensor)])?;
        Ok(write_file(&self.path, &bytes)?)
    }
}
