//! Accuracy while training, for the line of progress.

use super::argmax;

/// Share of right answers so far, from logits that the step has anyway.
///
/// Rough on purpose: answers are those of the moment, with dropout. Regression has none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RunningAccuracy {
    right: u64,
    rows: u64,
}

impl RunningAccuracy {
    /// Rows of a classification task, or words of a tagging one.
    ///
    /// - `logits`: `[rows, C]`
    /// - `targets`: `[rows]`; rows without one are passed over
    pub fn add_classes(&mut self, logits: &[f32], classes: usize, targets: &[Option<u32>]) {
        assert_eq!(logits.len(), targets.len() * classes, "a row of logits per target");
        for (row, target) in targets.iter().enumerate() {
            if let Some(target) = target {
                let given = argmax(&logits[row * classes..][..classes]);
                self.add(given == *target as usize);
            }
        }
    }

    /// Rows of a multi-label task: right if every label is, at probability ½.
    ///
    /// - `logits`: `[rows, C]`
    /// - `targets`: `[rows]`; rows without are passed over
    pub fn add_sets(&mut self, logits: &[f32], labels: usize, targets: &[Option<Vec<u32>>]) {
        assert_eq!(logits.len(), targets.len() * labels, "a row of logits per target");
        for (row, target) in targets.iter().enumerate() {
            if let Some(target) = target {
                let logits = &logits[row * labels..][..labels];
                let given = logits.iter().filter(|logit| **logit >= 0.0).count();
                let all_there = target.iter().all(|label| logits[*label as usize] >= 0.0);
                self.add(all_there && given == target.len());
            }
        }
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: Self) {
        self.right += other.right;
        self.rows += other.rows;
    }

    /// Right answers and all of them.
    pub fn counts(&self) -> (u64, u64) {
        (self.right, self.rows)
    }

    /// Counts that [`counts`](Self::counts) gave.
    pub fn from_counts((right, rows): (u64, u64)) -> Self {
        Self { right, rows }
    }

    /// `None` before the first labelled row.
    pub fn get(&self) -> Option<f64> {
        (self.rows > 0).then(|| self.right as f64 / self.rows as f64)
    }

    pub(crate) fn add(&mut self, right: bool) {
        self.right += u64::from(right);
        self.rows += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_labelled_rows_only() {
        let mut running = RunningAccuracy::default();
        assert_eq!(running.get(), None);
        running.add_classes(&[1.0, 2.0, 2.0, 1.0, 9.0, 0.0], 2, &[Some(1), Some(1), None]);
        assert_eq!(running.get(), Some(0.5));
    }

    #[test]
    fn a_set_is_right_as_a_whole() {
        let mut running = RunningAccuracy::default();
        let targets = [Some(vec![0]), Some(vec![0, 1]), Some(vec![]), None];
        running.add_sets(&[1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 0.0, 0.0], 2, &targets);
        assert_eq!(running.get(), Some(1.0 / 3.0));
    }
}
