//! The plain matrix that vectors are returned in.

/// A row-major matrix of `f32`.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    values: Vec<f32>,
}

impl Matrix {
    /// `values`: `[rows, columns]`, row after row.
    ///
    /// # Panics
    /// If the count of values is not `rows · columns`.
    pub fn new(rows: usize, columns: usize, values: Vec<f32>) -> Self {
        assert_eq!(values.len(), rows * columns, "values of a {rows} × {columns} matrix");
        Self { rows, columns, values }
    }
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }
    /// Numbers per row.
    pub fn columns(&self) -> usize {
        self.columns
    }
    /// Row `i`.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.columns..(i + 1) * self.columns]
    }
    /// The matrix of the first `columns` numbers of each row.
    ///
    /// # Panics
    /// If rows have fewer numbers.
    pub fn first_columns(&self, columns: usize) -> Self {
        assert!(columns <= self.columns, "{columns} of {} columns", self.columns);
        let values = (0..self.rows).flat_map(|row| &self.row(row)[..columns]);
        Self::new(self.rows, columns, values.copied().collect())
    }
    /// All values, row after row.
    pub fn as_slice(&self) -> &[f32] {
        &self.values
    }
    /// The values, row after row.
    pub fn into_vec(self) -> Vec<f32> {
        self.values
    }
}

#[cfg(feature = "ndarray")]
impl From<Matrix> for ndarray::Array2<f32> {
    /// Takes the values over, without a copy.
    fn from(matrix: Matrix) -> Self {
        let shape = (matrix.rows, matrix.columns);
        Self::from_shape_vec(shape, matrix.values).expect("rows · columns values: checked in `new`")
    }
}

#[cfg(feature = "ndarray")]
impl From<ndarray::Array2<f32>> for Matrix {
    /// Copies the values: an array may have another order in memory.
    fn from(array: ndarray::Array2<f32>) -> Self {
        let (rows, columns) = array.dim();
        Self::new(rows, columns, array.iter().copied().collect())
    }
}

#[cfg(all(test, feature = "ndarray"))]
mod tests {
    use super::*;

    #[test]
    fn to_ndarray_and_back() {
        let matrix = Matrix::new(2, 3, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let array = ndarray::Array2::from(matrix.clone());
        assert_eq!(array[[1, 0]], 4.0);
        assert_eq!(Matrix::from(array.clone()), matrix);
        assert_eq!(Matrix::from(array.reversed_axes()).as_slice(), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }
}
