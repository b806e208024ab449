//! The training store: every parameter in one buffer, in the order of the index.
//!
//! Optimizer, clipping, freezing and checkpoints are loops over its entries;
//! what exists for trainable entries only (gradients, moments) has a
//! [`TrainableLayout`].

use std::ops::Range;

use polyhead_compute::Buffer;

use crate::encoder::ParameterGroup;

/// One parameter of a [`ParameterStore`].
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterEntry {
    /// `encoder.layer.3.output.dense.weight`, `heads.topic.bias`.
    pub name: String,
    /// `[out, in]` for linear layers, `[rows, D]` for tables, `[n]` for vectors.
    pub shape: Vec<usize>,
    /// The part of the model.
    pub group: ParameterGroup,
    /// Whether weight decay applies: not to biases and layer norms.
    pub decays: bool,
    /// Where its numbers stand in the buffer.
    pub range: Range<usize>,
}

/// All parameters end to end: embeddings, layers, modules, heads.
#[derive(Clone, Default)]
pub struct ParameterStore {
    entries: Vec<ParameterEntry>,
    values: Buffer,
}

impl ParameterStore {
    /// Appends a parameter of `values` with this shape; returns its place in the index.
    ///
    /// # Panics
    /// If shape and values differ in size.
    pub fn push(
        &mut self,
        name: impl Into<String>,
        shape: Vec<usize>,
        group: ParameterGroup,
        decays: bool,
        values: &[f32],
    ) -> usize {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "numbers of a {shape:?} tensor");
        let start = self.values.len();
        let range = start..start + values.len();
        self.values.resize(range.end);
        self.values[range.clone()].copy_from_slice(values);
        self.entries.push(ParameterEntry { name: name.into(), shape, group, decays, range });
        self.entries.len() - 1
    }

    /// The index, in order.
    pub fn entries(&self) -> &[ParameterEntry] {
        &self.entries
    }

    /// All numbers, in the order of the index.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// All numbers, for the optimizer. Whoever changes them tells the network:
    /// it holds packed copies.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// The numbers of neighbouring entries.
    pub fn span(&self, entries: Range<usize>) -> &[f32] {
        let start = self.entries[entries.start].range.start;
        &self.values[start..self.entries[entries.end - 1].range.end]
    }

    /// The numbers of entry `index`.
    pub fn get(&self, index: usize) -> &[f32] {
        &self.values[self.entries[index].range.clone()]
    }
}

/// Where the numbers of trainable entries stand in a buffer that has only those.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TrainableLayout {
    /// One per entry of the index; `None` is frozen.
    ranges: Vec<Option<Range<usize>>>,
    len: usize,
}

impl TrainableLayout {
    /// - `trainable`: one flag per entry of `store`
    pub fn new(store: &ParameterStore, trainable: &[bool]) -> Self {
        assert_eq!(trainable.len(), store.entries.len(), "a flag for each entry");
        let mut len = 0;
        let ranges = store
            .entries
            .iter()
            .zip(trainable)
            .map(|(entry, trainable)| {
                trainable.then(|| {
                    len += entry.range.len();
                    len - entry.range.len()..len
                })
            })
            .collect();
        Self { ranges, len }
    }

    /// Numbers of all trainable entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is trained.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether entry `index` is trained.
    pub fn is_trainable(&self, index: usize) -> bool {
        self.ranges[index].is_some()
    }

    /// Where entry `index` stands; `None` if it is frozen.
    pub fn range(&self, index: usize) -> Option<Range<usize>> {
        self.ranges[index].clone()
    }

    /// Where the trainable ones among neighbouring entries stand: they are neighbours here too.
    pub fn ranges(&self) -> &[Option<Range<usize>>] {
        &self.ranges
    }
}
