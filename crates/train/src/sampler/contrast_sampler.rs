//! The rows of the steps that set labels apart.

use std::collections::HashSet;

use polyhead_compute::Random;

use super::order::shuffled;
use crate::data::{FIRST_UNKNOWN, Split, TaskLabels};
use crate::sampler::Batch;

/// Keys that separate these random numbers from those of other orders.
const ANCHORS: u64 = 3;
const PARTNERS: u64 = 4;

/// The rows of the steps that set the labels of one task apart.
///
/// Rows are gone through in a shuffled order, pass after pass, and each brings along another row
/// with a label of its own, so that a step has pairs of one label also where there are many labels. No
/// pairs are listed: memory is that of the rows, and the rows of a step are a function of seed and step.
#[derive(Clone, Debug)]
pub(crate) struct ContrastSampler {
    seed: u64,
    batch_size: usize,
    /// In turn.
    tasks: Vec<LabelledRows>,
}

/// The rows of a task that have labels.
#[derive(Clone, Debug)]
struct LabelledRows {
    task: usize,
    source: usize,
    rows: Vec<u32>,
    /// The labels of each of these rows.
    labels: Vec<Vec<u32>>,
    /// The rows of each label.
    of_label: Vec<Vec<u32>>,
}

/// The rows of a step that sets the labels of a task apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContrastBatch {
    /// Index of the task.
    pub(crate) task: usize,
    pub(crate) batch: Batch,
}

impl ContrastSampler {
    /// A sampler without tasks.
    ///
    /// - `batch_size`: rows of a step, at most
    pub(crate) fn new(seed: u64, batch_size: usize) -> Self {
        Self { seed, batch_size, tasks: Vec::new() }
    }

    /// Adds the training rows of a task; those without a label are left out. Returns true if they have
    /// two labels or more, one of which has two rows: else there is nothing to learn, and the task is
    /// left out.
    pub(crate) fn add(&mut self, task: usize, source: usize, train: &Split) -> bool {
        let all = &train.labels[task];
        let labels_of = |row: usize| -> Option<Vec<u32>> {
            let labels = match all {
                TaskLabels::Classes(labels) => vec![labels[row]?],
                TaskLabels::Sets(labels) => labels[row].clone()?,
                TaskLabels::Numbers(_) | TaskLabels::Tags(_) => return None,
            };
            Some(labels.into_iter().filter(|label| *label < FIRST_UNKNOWN).collect())
        };
        let mut found = LabelledRows {
            task,
            source,
            rows: Vec::new(),
            labels: Vec::new(),
            of_label: Vec::new(),
        };
        for row in 0..all.len() {
            let Some(labels) = labels_of(row) else { continue };
            for label in labels.iter().map(|label| *label as usize) {
                let more = found.of_label.len().max(label + 1);
                found.of_label.resize(more, Vec::new());
                found.of_label[label].push(row as u32);
            }
            found.rows.push(row as u32);
            found.labels.push(labels);
        }
        let has = |least: usize| found.of_label.iter().filter(|rows| rows.len() >= least).count();
        let teaches = has(1) >= 2 && has(2) >= 1;
        self.tasks.extend(teaches.then_some(found));
        teaches
    }

    /// The rows of a step; steps are counted from 1, and tasks take turns.
    ///
    /// # Panics
    /// If `step` is 0, or no task was added.
    pub(crate) fn batch(&self, step: u64) -> ContrastBatch {
        let step = step.checked_sub(1).expect("steps are counted from 1");
        let count = self.tasks.len() as u64;
        let of = &self.tasks[(step % count) as usize];
        let most = self.batch_size.min(of.rows.len());
        // Every row is an anchor once in a pass.
        let anchors = self.batch_size.div_ceil(2) as u64;
        let first = step / count * anchors;
        let mut known = HashSet::new();
        let mut rows = Vec::with_capacity(most);
        let (mut pass, mut order) = (u64::MAX, Vec::new());
        let mut position = first;
        // Behind the anchors, the rows that follow fill the step.
        while rows.len() < most {
            let (of_pass, at) = (position / of.rows.len() as u64, position % of.rows.len() as u64);
            if of_pass != pass {
                let numbers = Random::keyed(&[self.seed, ANCHORS, of.task as u64, of_pass]);
                (pass, order) = (of_pass, shuffled(numbers, of.rows.len() as u32));
            }
            let anchor = order[at as usize] as usize;
            let partner = if position < first + anchors {
                of.partner(self.seed, position, anchor)
            } else {
                None
            };
            for row in [Some(of.rows[anchor]), partner].into_iter().flatten() {
                if rows.len() < most && known.insert(row) {
                    rows.push(row);
                }
            }
            position += 1;
        }
        ContrastBatch {
            task: of.task,
            batch: Batch { source: of.source, rows, pass: first / of.rows.len() as u64 },
        }
    }
}

impl LabelledRows {
    /// A random row with one of the labels of row number `anchor`, which may be that row.
    fn partner(&self, seed: u64, position: u64, anchor: usize) -> Option<u32> {
        let numbers = Random::keyed(&[seed, PARTNERS, self.task as u64, position]);
        let draw = |at: u64, list: &[u32]| -> Option<u32> {
            (!list.is_empty()).then(|| list[numbers.below_at(at, list.len() as u64) as usize])
        };
        let label = draw(0, &self.labels[anchor])?;
        draw(1, &self.of_label[label as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sampler of one task, of so many rows of each label in turn.
    fn sampler(batch_size: usize, labels: TaskLabels) -> ContrastSampler {
        let mut sampler = ContrastSampler::new(7, batch_size);
        let train = Split { labels: vec![labels], ..Split::default() };
        assert!(sampler.add(0, 0, &train));
        sampler
    }

    fn classes(rows: usize, labels: u32) -> TaskLabels {
        TaskLabels::Classes((0..rows as u32).map(|row| Some(row % labels)).collect())
    }

    #[test]
    fn a_step_has_pairs_of_one_label_however_many_labels_there_are() {
        let (rows, labels) = (500, 100);
        let sampler = sampler(16, classes(rows, labels));
        let mut anchors = vec![0; rows];
        for step in 1..=2 * rows as u64 / 8 {
            let ContrastBatch { task, batch } = sampler.batch(step);
            assert_eq!((task, batch.source, batch.rows.len()), (0, 0, 16));
            let known: HashSet<u32> = batch.rows.iter().copied().collect();
            assert_eq!(known.len(), 16, "no row twice");
            let pairs =
                |row: &u32| batch.rows.iter().filter(|of| *of % labels == row % labels).count();
            // Of 16 rows drawn at random, one in six would have another of its label.
            assert!(
                batch.rows.iter().filter(|row| pairs(row) > 1).count() >= 8,
                "{:?}",
                batch.rows
            );
            batch.rows.iter().for_each(|row| anchors[*row as usize] += 1);
        }
        assert!(anchors.iter().all(|count| *count >= 2), "every row was an anchor twice");
    }

    #[test]
    fn the_rows_of_a_step_depend_on_nothing_but_seed_and_step() {
        let one = sampler(6, classes(20, 3));
        let batches: Vec<ContrastBatch> = (1..=40).map(|step| one.batch(step)).collect();
        for step in [40, 1, 17] {
            assert_eq!(one.clone().batch(step), batches[step as usize - 1]);
        }
        let other = ContrastSampler { seed: 8, ..one };
        assert_ne!((1..=40).map(|step| other.batch(step)).collect::<Vec<_>>(), batches);
    }

    #[test]
    fn few_rows_are_all_in_each_step_and_those_without_labels_in_none() {
        let labels = [Some(0), None, Some(1), Some(0), Some(1)];
        let sampler = sampler(16, TaskLabels::Classes(labels.to_vec()));
        for step in 1..10 {
            let mut rows = sampler.batch(step).batch.rows;
            rows.sort_unstable();
            assert_eq!(rows, [0, 2, 3, 4]);
        }
    }

    #[test]
    fn tasks_take_turns_and_those_that_teach_nothing_are_left_out() {
        let sets = [Some(vec![0, 1]), Some(vec![1]), Some(Vec::new()), None];
        let train = Split {
            labels: vec![
                classes(4, 2),
                TaskLabels::Classes(vec![Some(0); 4]),
                TaskLabels::Classes(vec![Some(0), Some(1), None, None]),
                TaskLabels::Sets(sets.to_vec()),
                TaskLabels::Numbers(vec![Some(1.0); 4]),
            ],
            ..Split::default()
        };
        let mut sampler = ContrastSampler::new(0, 4);
        let added: Vec<bool> = (0..5).map(|task| sampler.add(task, 0, &train)).collect();
        assert_eq!(added, [true, false, false, true, false]);
        let tasks: Vec<usize> = (1..=4).map(|step| sampler.batch(step).task).collect();
        assert_eq!(tasks, [0, 3, 0, 3]);
    }
}
