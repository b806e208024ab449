//! Rows of train that are held out as dev.

use std::collections::BTreeMap;

use polyhead_compute::Random;

use super::issues::LabelIssues;
use super::labels::TaskLabels;
use super::split::{Split, SplitRows};
use crate::sampler::shuffled;

/// Key that separates these random numbers from those of other orders.
const HELD_OUT: u64 = 5;

impl SplitRows {
    /// Takes out a share of the rows, and returns them: a function of seed and labels. Of each label of
    /// the first task that has one label a row, the same share is taken, rounded.
    ///
    /// - `share`: above 0 and at most 0.5
    pub(super) fn hold_out(&mut self, share: f64, seed: u64) -> Self {
        let count = self.split.inputs.len();
        let classes = self.split.labels.iter().find_map(|labels| match labels {
            TaskLabels::Classes(classes) if labels.labelled() > 0 => Some(classes),
            _ => None,
        });
        let mut of_label = BTreeMap::<Option<u32>, Vec<usize>>::new();
        for row in 0..count {
            let label = classes.and_then(|classes| classes[row]);
            of_label.entry(label).or_default().push(row);
        }
        let mut is_held = vec![false; count];
        for (label, rows) in of_label {
            let label = label.map_or(0, |label| u64::from(label) + 1);
            let order = shuffled(Random::keyed(&[seed, HELD_OUT, label]), rows.len() as u32);
            let held = (share * rows.len() as f64).round() as usize;
            order[..held].iter().for_each(|at| is_held[rows[*at as usize]] = true);
        }
        let held = self.only(|row| is_held[row], false);
        *self = self.only(|row| !is_held[row], true);
        held
    }

    /// These rows, in their order.
    ///
    /// - `issues`: true if they keep the oddities of all labels
    fn only(&self, is_one: impl Fn(usize) -> bool, issues: bool) -> Self {
        let Self { split, words } = self;
        let rows: Vec<usize> = (0..split.inputs.len()).filter(|row| is_one(*row)).collect();
        let number = |row: usize| rows.binary_search(&row).ok();
        let of_task = |found: &LabelIssues| match issues {
            false => LabelIssues::default(),
            true => {
                let mut found = found.clone();
                found.first_repeated = found.first_repeated.and_then(number);
                found.first_broken.retain_mut(|tag| {
                    let row = number(tag.row);
                    tag.row = row.unwrap_or(0);
                    row.is_some()
                });
                found
            }
        };
        Self {
            split: Split {
                files: split.files.clone(),
                inputs: picked(&split.inputs, &rows),
                further: picked(&split.further, &rows),
                labels: split.labels.iter().map(|labels| labels.picked(&rows)).collect(),
                places: picked(&split.places, &rows),
                issues: split.issues.iter().map(of_task).collect(),
                ..Split::default()
            },
            words: picked(words, &rows),
        }
    }
}

impl TaskLabels {
    /// The labels of these rows.
    fn picked(&self, rows: &[usize]) -> Self {
        match self {
            Self::Classes(labels) => Self::Classes(picked(labels, rows)),
            Self::Sets(labels) => Self::Sets(picked(labels, rows)),
            Self::Numbers(labels) => Self::Numbers(picked(labels, rows)),
            Self::Tags(labels) => Self::Tags(picked(labels, rows)),
        }
    }
}

/// The items of these rows; none of a list that has nothing for rows.
fn picked<T: Clone>(items: &[T], rows: &[usize]) -> Vec<T> {
    if items.is_empty() { Vec::new() } else { rows.iter().map(|row| items[*row].clone()).collect() }
}

#[cfg(test)]
mod tests {
    use polyhead_text::TextInput;

    use super::*;
    use crate::data::split::Place;

    fn rows(labels: Vec<Option<u32>>) -> SplitRows {
        let count = labels.len();
        SplitRows {
            split: Split {
                inputs: (0..count).map(|row| TextInput::One(format!("text {row}"))).collect(),
                places: (0..count).map(|row| Place { file: 0, line: row as u64 + 1 }).collect(),
                labels: vec![TaskLabels::Classes(labels)],
                issues: vec![LabelIssues { first_repeated: Some(count - 1), ..Default::default() }],
                ..Split::default()
            },
            words: (0..count).map(|_| None).collect(),
        }
    }

    #[test]
    fn each_label_gives_its_share_and_no_row_is_lost() {
        // 40, 15, 4 and 1 rows, and 20 without a label.
        let counts = [(Some(0), 40), (Some(1), 15), (Some(2), 4), (Some(3), 1), (None, 20)];
        let labels: Vec<Option<u32>> =
            counts.iter().flat_map(|(label, count)| vec![*label; *count]).collect();
        let mut train = rows(labels.clone());
        let dev = train.hold_out(0.1, 7);
        let of = |rows: &SplitRows, label| {
            let classes = rows.split.labels[0].classes();
            classes.iter().filter(|found| **found == label).count()
        };
        assert_eq!(counts.map(|(label, _)| of(&dev, label)), [4, 2, 0, 0, 2]);
        let lines = |rows: &SplitRows| rows.split.places.iter().map(|p| p.line).collect::<Vec<_>>();
        let mut all = [lines(&train), lines(&dev)].concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(1..=80));
        for (place, input) in dev.split.places.iter().zip(&dev.split.inputs) {
            let text: Vec<&str> = input.strings().collect();
            assert_eq!(text, [format!("text {}", place.line - 1)]);
        }
        let mut again = rows(labels.clone());
        assert_eq!(lines(&again.hold_out(0.1, 7)), lines(&dev));
        let mut other = rows(labels);
        assert_ne!(lines(&other.hold_out(0.1, 8)), lines(&dev), "another seed");
    }
}
