//! Bytes of a model file, and the tensors in them.
//!
//! A checkpoint is megabytes of numbers that most code only passes on: the reader finds them, the
//! packer or the embedding gather converts them. So a [`StoredTensor`] is a cheap handle (shape,
//! type, range of shared bytes), and conversion to `f32` happens where the numbers are used.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

/// Immutable bytes that are shared by everything that reads them: a mapped
/// file, data compiled into the program, or a buffer. Cloning is cheap.
#[derive(Clone)]
pub struct Bytes {
    source: Source,
    range: Range<usize>,
}

#[derive(Clone)]
enum Source {
    Static(&'static [u8]),
    Owned(Arc<Vec<u8>>),
    Mapped(Arc<memmap2::Mmap>),
}

impl Bytes {
    /// Maps a file into memory: pages are read when they are first used.
    ///
    /// Replacing the file by rename is safe; a program that *shortens* it in place while it is
    /// mapped makes the operating system stop this process, as with every mapped file.
    ///
    /// # Errors
    /// Whatever mapping reports. An empty file gives empty bytes.
    pub fn map(file: &File) -> std::io::Result<Self> {
        if file.metadata()?.len() == 0 {
            return Ok(Self::from(Vec::new()));
        }
        // SAFETY: the map is read-only and private to this type, which only
        // hands out `&[u8]` and reads each number by value. A writer elsewhere
        // can change what is read, never its validity: every bit pattern is a
        // number. Truncation by another process is documented above.
        let map = unsafe { memmap2::Mmap::map(file)? };
        Ok(Self { range: 0..map.len(), source: Source::Mapped(Arc::new(map)) })
    }

    /// Data compiled into the program.
    pub fn from_static(data: &'static [u8]) -> Self {
        Self { source: Source::Static(data), range: 0..data.len() }
    }

    /// The part `range`, counted from the beginning of `self`.
    ///
    /// # Panics
    /// If the range lies outside; callers check file contents before.
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(
            range.start <= range.end && range.end <= self.len(),
            "range {range:?} of {} bytes",
            self.len()
        );
        let start = self.range.start;
        Self { source: self.source.clone(), range: start + range.start..start + range.end }
    }

    /// Gives the memory of a mapped file back to the system, which reads the pages again if they are
    /// used again. Does nothing to other bytes.
    fn release(&self) {
        #[cfg(unix)]
        if let Source::Mapped(map) = &self.source {
            // SAFETY: the map is read-only, so no page has changes that could be lost: the next
            // read finds what is in the file.
            let advised = unsafe {
                map.unchecked_advise_range(
                    memmap2::UncheckedAdvice::DontNeed,
                    self.range.start,
                    self.range.len(),
                )
            };
            // Memory is not given back then, and nothing else is different.
            drop(advised);
        }
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The bytes themselves.
    pub fn as_slice(&self) -> &[u8] {
        let all: &[u8] = match &self.source {
            Source::Static(data) => data,
            Source::Owned(data) => data,
            Source::Mapped(map) => map,
        };
        &all[self.range.clone()]
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(data: Vec<u8>) -> Self {
        Self { range: 0..data.len(), source: Source::Owned(Arc::new(data)) }
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bytes({})", self.len())
    }
}

/// How the numbers of a [`StoredTensor`] are stored, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredType {
    /// IEEE single precision.
    F32,
    /// IEEE double precision; rounded to the nearest single.
    F64,
    /// IEEE half precision.
    F16,
    /// The upper half of a single.
    Bf16,
    /// Signed bytes; the tensor carries one scale per row.
    I8,
}

impl StoredType {
    /// Bytes per number.
    pub fn size(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::I8 => 1,
        }
    }
}

/// A tensor as a file stores it: converted to `f32` row by row where it is used.
#[derive(Clone, Debug)]
pub struct StoredTensor {
    bytes: Bytes,
    kind: StoredType,
    shape: Vec<usize>,
    /// One per row for [`StoredType::I8`], else empty. Shared: handles are cloned.
    scales: Arc<[f32]>,
    /// One per column: what numbers are multiplied with besides.
    columns: Option<Arc<Vec<f32>>>,
}

impl StoredTensor {
    /// - `shape`: `[rows, ...]` or `[n]`; rows are the first dimension of two
    ///   or more, a vector is one row
    /// - `scales`: `[rows]` for [`StoredType::I8`], empty otherwise
    ///
    /// # Panics
    /// If bytes, shape and scales do not belong together: readers check first.
    pub fn new(bytes: Bytes, kind: StoredType, shape: Vec<usize>, scales: Vec<f32>) -> Self {
        let count: usize = shape.iter().product();
        assert_eq!(bytes.len(), count * kind.size(), "bytes of a {shape:?} tensor");
        let tensor = Self { bytes, kind, shape, scales: scales.into(), columns: None };
        let expected = if kind == StoredType::I8 { tensor.rows() } else { 0 };
        assert_eq!(tensor.scales.len(), expected, "scales of a {:?} tensor", tensor.shape);
        tensor
    }

    /// A tensor of our own numbers; for tests and conversions.
    pub fn from_f32(shape: Vec<usize>, values: &[f32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self::new(bytes.into(), StoredType::F32, shape, Vec::new())
    }

    /// The shape as stored.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How the numbers are stored.
    pub fn stored_type(&self) -> StoredType {
        self.kind
    }

    /// First dimension; 1 for a vector.
    pub fn rows(&self) -> usize {
        if self.shape.len() < 2 { 1 } else { self.shape[0] }
    }

    /// Numbers per row.
    pub fn columns(&self) -> usize {
        if self.shape.len() < 2 {
            self.shape.iter().product()
        } else {
            self.shape[1..].iter().product()
        }
    }

    /// Gives back the memory of its pages, if the file is mapped: for a tensor that has been copied or
    /// packed. It can still be read.
    pub fn release(&self) {
        self.bytes.release();
    }

    /// Writes row `row` into `out`, `[columns]`.
    ///
    /// # Panics
    /// If `row` or the length of `out` is wrong.
    pub fn read_row(&self, row: usize, out: &mut [f32]) {
        let columns = self.columns();
        assert_eq!(out.len(), columns, "length of a row");
        let size = self.kind.size();
        let bytes = &self.bytes.as_slice()[row * columns * size..(row + 1) * columns * size];
        match self.kind {
            StoredType::F32 => convert(bytes, out, f32::from_le_bytes),
            StoredType::F64 => convert(bytes, out, |b| f64::from_le_bytes(b) as f32),
            StoredType::F16 => convert(bytes, out, |b| half::f16::from_le_bytes(b).to_f32()),
            StoredType::Bf16 => convert(bytes, out, |b| half::bf16::from_le_bytes(b).to_f32()),
            StoredType::I8 => {
                let scale = self.scales[row];
                convert(bytes, out, |b| f32::from(i8::from_le_bytes(b)) * scale);
                for (number, factor) in
                    out.iter_mut().zip(self.column_factors().unwrap_or_default())
                {
                    *number *= factor;
                }
            }
        }
    }

    /// The same levels and scales, with a factor for each column: a number is
    /// `level · scale of the row · factor of the column`.
    ///
    /// # Panics
    /// If the tensor is not of 8 bits, or the length is wrong.
    pub fn with_columns(mut self, columns: Vec<f32>) -> Self {
        assert_eq!(self.kind, StoredType::I8, "type of a tensor with factors of columns");
        assert_eq!(columns.len(), self.columns(), "factors of columns");
        self.columns = Some(Arc::new(columns));
        self
    }

    /// The factor of each column, where there are any.
    pub fn column_factors(&self) -> Option<&[f32]> {
        self.columns.as_ref().map(|columns| columns.as_slice())
    }

    /// The tensor in 8 bits, by [`quantize_weights`](crate::quantize_weights); one
    /// that is so already, as it is.
    ///
    /// - `columns`: factors that are taken out of the numbers before, none of them 0
    ///
    /// # Panics
    /// If the length of `columns` is wrong.
    pub fn to_int8(&self, columns: Option<&[f32]>) -> Self {
        if self.kind == StoredType::I8 {
            return self.clone();
        }
        let (mut row, mut levels) = (vec![0.0; self.columns()], vec![0; self.columns()]);
        let (mut bytes, mut scales) = (Vec::with_capacity(self.rows() * row.len()), Vec::new());
        for at in 0..self.rows() {
            scales.push(self.row_levels(at, columns, &mut row, &mut levels));
            bytes.extend(levels.iter().map(|level| level.to_le_bytes()[0]));
        }
        let tensor = Self::new(bytes.into(), StoredType::I8, self.shape.clone(), scales);
        match columns {
            Some(columns) => tensor.with_columns(columns.to_vec()),
            None => tensor,
        }
    }

    /// Row `row` in 8 bits: writes the levels and returns their scale. Of a tensor
    /// in 8 bits, as they stand there; of others as [`to_int8`](Self::to_int8) has it.
    ///
    /// - `values`, `levels`: `[columns]`; `values` is room for numbers in between
    ///
    /// # Panics
    /// If there is no such row, or a length is wrong.
    pub fn row_levels(
        &self,
        row: usize,
        columns: Option<&[f32]>,
        values: &mut [f32],
        levels: &mut [i8],
    ) -> f32 {
        assert_eq!(levels.len(), self.columns(), "length of a row");
        if self.kind == StoredType::I8 {
            let bytes = &self.bytes.as_slice()[row * levels.len()..][..levels.len()];
            for (level, byte) in levels.iter_mut().zip(bytes) {
                *level = i8::from_le_bytes([*byte]);
            }
            return self.scales[row];
        }
        self.read_row(row, values);
        if let Some(columns) = columns {
            assert_eq!(columns.len(), values.len(), "factors of columns");
            values.iter_mut().zip(columns).for_each(|(number, factor)| *number /= factor);
        }
        crate::linear::quantize_weights(values, levels)
    }

    /// The numbers as stored, row after row.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    /// The scale of each row of a tensor in 8 bits; empty for others.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// All numbers, row after row.
    pub fn to_vec(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.rows() * self.columns()];
        if !out.is_empty() {
            for (row, out) in out.chunks_exact_mut(self.columns()).enumerate() {
                self.read_row(row, out);
            }
        }
        out
    }
}

fn convert<const SIZE: usize>(bytes: &[u8], out: &mut [f32], number: impl Fn([u8; SIZE]) -> f32) {
    let (parts, _) = bytes.as_chunks::<SIZE>();
    for (out, part) in out.iter_mut().zip(parts) {
        *out = number(*part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_released_tensor_can_still_be_read() {
        let numbers: Vec<f32> = (0..100_000).map(|i| i as f32).collect();
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let path = std::env::temp_dir().join(format!("released-{}", std::process::id()));
        std::fs::write(&path, &bytes).expect("a file");
        let mapped = Bytes::map(&File::open(&path).expect("the file")).expect("a map");
        std::fs::remove_file(&path).expect("removed");
        for bytes in [mapped, bytes.into()] {
            let kind = StoredType::F32;
            let whole = StoredTensor::new(bytes.clone(), kind, vec![100, 1000], Vec::new());
            // One that neither begins nor ends with a page.
            let part = StoredTensor::new(bytes.slice(12..200_012), kind, vec![50_000], Vec::new());
            assert_eq!(whole.to_vec(), numbers);
            whole.release();
            part.release();
            assert_eq!(part.to_vec(), numbers[3..50_003]);
            assert_eq!(whole.to_vec(), numbers);
        }
    }

    #[test]
    fn doubles_are_rounded_to_the_nearest_single() {
        let step = 2f64.powi(-23);
        let cases = [
            (0.1, 0.1f32),
            (-0.0, -0.0),
            (1.0 + 0.5 * step, 1.0),
            (1.0 + 1.5 * step, 1.0 + 2.0 * f32::EPSILON),
            (1.0 + 0.500001 * step, 1.0 + f32::EPSILON),
            (1e-45, f32::from_bits(1)),
            (1e-60, 0.0),
            (-f64::from(f32::MAX), f32::MIN),
            (1e300, f32::INFINITY),
        ];
        let bytes: Vec<u8> = cases.iter().flat_map(|(double, _)| double.to_le_bytes()).collect();
        let shape = vec![3, 3];
        let found = StoredTensor::new(bytes.into(), StoredType::F64, shape, Vec::new()).to_vec();
        for ((double, single), found) in cases.iter().zip(found) {
            assert_eq!(found.to_bits(), single.to_bits(), "{double}");
        }
    }
}
