//! What 8 bits cost: product by product, and all together.

use crate::encoder::{Precision, Product};
use crate::error::{Error, ErrorKind};
use crate::folder::ModelFolder;
use crate::sentence::LoadOptions;
use crate::sentence::Matrix;
use crate::sentence::SentenceEncoder;

/// How near sentence vectors are to those in single precision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CosineStats {
    /// Mean cosine.
    pub mean: f64,
    /// The least cosine.
    pub worst: f64,
}

/// Texts, and a model whose precision is tried on them.
pub struct Calibration<'a> {
    folder: &'a ModelFolder,
    texts: &'a [String],
    options: LoadOptions,
    /// In single precision.
    reference: Matrix,
}

impl<'a> Calibration<'a> {
    /// Encodes `texts` in single precision.
    ///
    /// # Errors
    /// As [`SentenceEncoder::from_folder`] and `encode`;
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

    /// With only these products in 8 bits.
    ///
    /// # Errors
    /// If a vector would hold a number that is not finite.
    pub fn with(&self, products: &[Product]) -> Result<CosineStats, Error> {
        let mut options = self.options.clone().precision(Precision::Int8);
        options.int8_products = Some(products.to_vec());
        self.likeness(self.folder, &options)
    }

    /// Of another folder, computed in 8 bits as it is stored.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of_stored(&self, folder: &ModelFolder) -> Result<CosineStats, Error> {
        self.likeness(folder, &self.options.clone().precision(Precision::Int8))
    }

    fn likeness(&self, folder: &ModelFolder, options: &LoadOptions) -> Result<CosineStats, Error> {
        let found = SentenceEncoder::from_folder(folder.clone(), options)?.encode(self.texts)?;
        let cosines: Vec<f64> =
            (0..self.texts.len()).map(|i| cosine(found.row(i), self.reference.row(i))).collect();
        Ok(CosineStats {
            mean: cosines.iter().sum::<f64>() / cosines.len() as f64,
            worst: cosines.iter().copied().fold(1.0, f64::min),
        })
    }
}

/// Two vectors of zeros are alike; one of zeros is like no other.
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    };
    let size = (dot(a, a) * dot(b, b)).sqrt();
    match size > 0.0 {
        true => dot(a, b) / size,
        false => f64::from(u8::from(a == b)),
    }
}
