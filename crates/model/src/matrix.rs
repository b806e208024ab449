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
    /// All values, row after row.
    pub fn as_slice(&self) -> &[f32] {
        &self.values
    }
    /// The values, row after row.
    pub fn into_vec(self) -> Vec<f32> {
        self.values
    }
}
