//! The answers of a teacher, which stand for the labels of a distillation.

/// The answers of a teacher about the rows of a split: a list of numbers for each row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TeacherAnswers {
    /// `[rows + 1]`: where the numbers of each row begin; empty without a teacher.
    first: Vec<usize>,
    values: Vec<f32>,
}

impl TeacherAnswers {
    /// - `values`: the numbers of all rows, end to end
    /// - `counts`: how many of them each row has
    ///
    /// # Panics
    /// If the counts do not add up to the numbers.
    pub fn new(values: Vec<f32>, counts: impl IntoIterator<Item = usize>) -> Self {
        let mut first = vec![0];
        let mut end = 0;
        first.extend(counts.into_iter().map(|count| {
            end += count;
            end
        }));
        assert_eq!(end, values.len(), "numbers of all rows");
        Self { first, values }
    }

    /// The numbers of a row: the vectors of its texts end to end, or the score of each text behind its
    /// first one.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[self.first[row]..self.first[row + 1]]
    }

    /// Returns true if there are no numbers.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}
