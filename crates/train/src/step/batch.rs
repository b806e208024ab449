//! The rows of a step: packed for the network, with the targets of every task.

use polyhead_compute::Cpu;

use crate::data::{Split, TaskLabels};
use crate::step::packed_rows::{NumberedRow, PackedRows, cut, numbered};
use crate::tasks::{Compared, Comparison, Objective, targets as labels_of};

/// The rows of a step and what the losses are taken against.
pub struct StepBatch<'a> {
    /// The split that the rows are taken from.
    pub split: &'a Split,
    /// Indices of the rows in the split.
    pub rows: &'a [u32],
    /// Indices of the tasks that the rows have labels for.
    pub tasks: &'a [usize],
    /// One per task: a teacher's logits for all rows (words) of the split; empty without one.
    pub teachers: &'a [Vec<f32>],
    /// Smallest number of parts (micro-batches) that the step is cut into.
    pub accumulation: usize,
}

/// A [`StepBatch`] as the network reads it: one packed batch and its targets per part.
pub(crate) struct PackedStep {
    pub(crate) parts: Vec<PackedRows>,
    /// One per head of the network: whether it has a label in this step.
    pub(crate) active: Vec<bool>,
    tasks: Vec<TaskTargets>,
}

/// Targets of a task in a step.
#[derive(Default)]
struct TaskTargets {
    parts: Vec<PartTargets>,
    /// One flag per part: true if it has labels. Empty for a task that compares the vectors of all.
    in_part: Vec<bool>,
    /// The number that the sum of losses of labels is divided by.
    normaliser: f64,
    /// The number that the sum of distances to a teacher is divided by.
    teacher_normaliser: f64,
}

/// Targets of a task in one part of a step.
pub(crate) struct PartTargets {
    /// Labels of the data; `None` where a teacher stands for them.
    pub(crate) labels: Option<TaskLabels>,
    /// Logits of a teacher.
    pub(crate) teacher: Option<Vec<f32>>,
}

/// The loss of a task: sums over rows.
#[derive(Clone, Copy, Default)]
pub(crate) struct LossSums {
    /// The losses of labels.
    pub(crate) labels: f64,
    /// The distances to a teacher's answers.
    pub(crate) teacher: f64,
}

impl LossSums {
    pub(crate) fn add(&mut self, other: Self) {
        self.labels += other.labels;
        self.teacher += other.teacher;
    }

    pub(crate) fn is_finite(self) -> bool {
        self.labels.is_finite() && self.teacher.is_finite()
    }
}

impl PackedStep {
    /// Packs the rows in parts of at most `part_tokens` tokens.
    ///
    /// - `objectives`: one per task
    /// - `heads`: number of heads of the network
    pub(crate) fn new(
        batch: &StepBatch,
        objectives: &[Objective],
        heads: usize,
        part_tokens: usize,
        packing: Packing,
    ) -> Self {
        let mut parts = Vec::new();
        for rows in packing.groups(batch, objectives) {
            let numbers: Vec<u32> = rows.iter().map(|numbered| numbered.row).collect();
            for part in cut(batch.split, &numbers, batch.accumulation, part_tokens) {
                parts.push(PackedRows::numbered(batch.split, &rows[part]));
            }
        }
        let tasks: Vec<TaskTargets> = (0..objectives.len())
            .map(|task| TaskTargets::new(batch, task, &objectives[task], &parts))
            .collect();
        // Heads of the starting model without a task come behind those of the tasks.
        let mut active = vec![false; heads];
        for (active, targets) in active.iter_mut().zip(&tasks) {
            *active = targets.is_active();
        }
        Self { parts, active, tasks }
    }

    /// Indices of the tasks that have a label in this step.
    pub(crate) fn active_tasks(&self) -> impl Iterator<Item = usize> + use<'_> {
        (0..self.tasks.len()).filter(|task| self.is_active(*task))
    }

    /// Returns true if the task has a label in this step.
    pub(crate) fn is_active(&self, task: usize) -> bool {
        self.tasks[task].is_active()
    }

    /// Indices of the tasks that have a gradient in this part of the step.
    pub(crate) fn tasks_of(&self, part: usize) -> impl Iterator<Item = usize> + use<'_> {
        self.active_tasks().filter(move |task| {
            self.tasks[*task].in_part.get(part).is_none_or(|has_labels| *has_labels)
        })
    }

    /// The numbers that the task's sums over all parts are divided by: of losses of labels, and of
    /// distances to a teacher.
    pub(crate) fn normalisers(&self, task: usize) -> (f64, f64) {
        (self.tasks[task].normaliser, self.tasks[task].teacher_normaliser)
    }

    /// The mean loss of a task over the step; `None` without a label and a teacher.
    pub(crate) fn mean(&self, task: usize, objective: &Objective, sums: LossSums) -> Option<f64> {
        let (labels, teacher) = self.normalisers(task);
        let part = |sum: f64, normaliser: f64, share: f32| {
            (normaliser > 0.0).then(|| f64::from(share) * sum / normaliser)
        };
        let of_labels = part(sums.labels, labels, objective.label_share());
        match (of_labels, part(sums.teacher, teacher, objective.teacher_share())) {
            (Some(labels), Some(teacher)) => Some(labels + teacher),
            (one, other) => one.or(other),
        }
    }

    /// The loss and gradient of a task that compares the vectors of all texts of the step.
    ///
    /// - `vectors`: `[texts, width]`, of all parts
    pub(crate) fn compare(
        &self,
        cpu: Cpu,
        split: &Split,
        task: usize,
        objective: &Objective,
        vectors: &[f32],
    ) -> Comparison {
        let rows = || self.parts.iter().flat_map(|part| &part.rows).map(|row| *row as usize);
        let mut first = vec![0];
        first.extend(rows().scan(0, |texts, row| {
            *texts += split.sequences(row).len();
            Some(*texts)
        }));
        let texts: Vec<u32> =
            rows().flat_map(|row| &split.equal_texts[split.sequences(row)]).copied().collect();
        let targets = &labels_of(split, task, rows());
        let width = vectors.len() / texts.len().max(1);
        let of_task = split.teachers.get(task).filter(|teacher| !teacher.is_empty());
        let teacher: Vec<&[f32]> =
            of_task.map_or_else(Vec::new, |of_task| rows().map(|row| of_task.row(row)).collect());
        let teacher = &teacher[..];
        let compared = Compared { vectors, width, first: &first, texts: &texts, targets, teacher };
        Comparison::new(cpu, objective, compared)
    }

    /// Targets of an active task in one part, unless it compares vectors.
    pub(crate) fn targets(&self, part: usize, task: usize) -> &PartTargets {
        &self.tasks[task].parts[part]
    }
}

impl TaskTargets {
    fn new(batch: &StepBatch, task: usize, objective: &Objective, parts: &[PackedRows]) -> Self {
        let mut targets = Self::default();
        if !batch.tasks.contains(&task) {
            return targets;
        }
        if objective.compares() {
            // The loss is one of the whole step.
            let rows = batch.rows.iter().map(|row| *row as usize);
            targets.normaliser = objective.normaliser(&labels_of(batch.split, task, rows));
            return targets;
        }
        for part in parts {
            let labels = (objective.label_share() > 0.0).then(|| part.targets(batch.split, task));
            let of_labels = labels.as_ref().map_or(0.0, |labels| objective.normaliser(labels));
            let teacher = (objective.teacher_share() > 0.0)
                .then(|| teacher_logits(&batch.teachers[task], objective, part));
            let rows = teacher.as_ref().map_or(0, |(_, rows)| *rows);
            let of_teacher = if rows > 0 { objective.teacher_normaliser(rows) } else { 0.0 };
            targets.normaliser += of_labels;
            targets.teacher_normaliser += of_teacher;
            targets.in_part.push(of_labels + of_teacher > 0.0);
            let teacher = teacher.map(|(logits, _)| logits);
            targets.parts.push(PartTargets { labels, teacher });
        }
        targets
    }

    fn is_active(&self) -> bool {
        self.normaliser > 0.0 || self.teacher_normaliser > 0.0
    }
}

/// The choice of the rows of a step that go through the network, and their groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// All rows together.
    All,
    /// The rows with a label of a task, together: other rows add nothing to any gradient.
    Labelled,
    /// The rows with a label of a task, in groups with labels for the same tasks.
    ByLabels,
}

impl Packing {
    /// The groups in the order in which their first rows come.
    fn groups(self, batch: &StepBatch, objectives: &[Objective]) -> Vec<Vec<NumberedRow>> {
        let rows = numbered(batch.split, batch.rows);
        if self == Self::All {
            return vec![rows];
        }
        let mut groups: Vec<(Vec<bool>, Vec<NumberedRow>)> = Vec::new();
        for row in rows {
            let mut tasks = tasks_of_row(batch, objectives, row.row);
            if !tasks.contains(&true) {
                continue;
            }
            if self == Self::Labelled {
                tasks.clear();
            }
            match groups.iter_mut().find(|(of_group, _)| *of_group == tasks) {
                Some((_, rows)) => rows.push(row),
                None => groups.push((tasks, vec![row])),
            }
        }
        groups.into_iter().map(|(_, rows)| rows).collect()
    }
}

/// One flag per task of the batch: true if the row adds to its gradient.
fn tasks_of_row(batch: &StepBatch, objectives: &[Objective], row: u32) -> Vec<bool> {
    let adds = |task: &usize| {
        let objective = &objectives[*task];
        let labels = || labels_of(batch.split, *task, [row as usize].into_iter());
        let is_answered = objective.teacher_share() > 0.0 || objective.compares();
        is_answered || objective.normaliser(&labels()) > 0.0
    };
    batch.tasks.iter().map(adds).collect()
}

/// A teacher's logits for a part, and for how many rows (words) they are.
fn teacher_logits(teacher: &[f32], objective: &Objective, part: &PackedRows) -> (Vec<f32>, usize) {
    let outputs = objective.outputs();
    let rows: Vec<usize> = if objective.kind().reads_words() {
        part.word_places().to_vec()
    } else {
        part.rows.iter().map(|row| *row as usize).collect()
    };
    let logits = rows.iter().flat_map(|row| &teacher[row * outputs..][..outputs]).copied();
    (logits.collect(), rows.len())
}
