//! How much accuracy products in 8 bits cost, one by one and together.

use serde::Serialize;

use crate::encoder::{Precision, Product};
use crate::error::{Error, ErrorKind};
use crate::folder::ModelFolder;
use crate::sentence::{LoadOptions, Matrix, SentenceEncoder, cosine};

/// How close sentence vectors are to those in single precision.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CosineStats {
    /// The mean cosine over all texts.
    pub mean: f64,
    /// The lowest cosine of any text.
    pub worst: f64,
}

/// Compares sentence vectors of a model in 8 bits with those in single precision, on given texts.
pub struct PrecisionStudy<'a> {
    folder: &'a ModelFolder,
    texts: &'a [String],
    options: LoadOptions,
    /// The sentence vectors in single precision.
    reference: Matrix,
}

impl<'a> PrecisionStudy<'a> {
    /// Encodes `texts` in single precision, as the reference.
    ///
    /// # Errors
    /// As [`SentenceEncoder::from_folder`] and [`SentenceEncoder::encode`];
    /// [`ErrorKind::Option`] if there are no texts.
    pub fn new(
        folder: &'a ModelFolder,
        texts: &'a [String],
        options: &LoadOptions,
    ) -> Result<Self, Error> {
        if texts.is_empty() {
            return Err(Error::new(ErrorKind::Option, "texts: expected at least one, found none"));
        }
        let options = options.clone().precision(Precision::F32);
        let reference = SentenceEncoder::from_folder(folder.clone(), &options)?.encode(texts)?;
        Ok(Self { folder, texts, options, reference })
    }

    /// Encodes the texts with only these products in 8 bits.
    ///
    /// # Errors
    /// If a vector holds a number that is not finite.
    pub fn with_products(&self, products: &[Product]) -> Result<CosineStats, Error> {
        let mut options = self.options.clone().precision(Precision::Int8);
        options.int8_products = Some(products.to_vec());
        self.compare(self.folder, &options)
    }

    /// Encodes the texts by another folder, in 8 bits as its weights are stored.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_folder(&self, folder: &ModelFolder) -> Result<CosineStats, Error> {
        self.compare(folder, &self.options.clone().precision(Precision::Int8))
    }

    fn compare(&self, folder: &ModelFolder, options: &LoadOptions) -> Result<CosineStats, Error> {
        let found = SentenceEncoder::from_folder(folder.clone(), options)?.encode(self.texts)?;
        let cosines: Vec<f64> =
            (0..self.texts.len()).map(|i| closeness(found.row(i), self.reference.row(i))).collect();
        Ok(CosineStats {
            mean: cosines.iter().sum::<f64>() / cosines.len() as f64,
            worst: cosines.iter().copied().fold(1.0, f64::min),
        })
    }
}

/// The cosine of two vectors; 1 for equal vectors, also of zeros.
pub(crate) fn closeness(a: &[f32], b: &[f32]) -> f64 {
    if a == b { 1.0 } else { cosine(a, b) }
}
