//! The parameter store of training: every parameter in one buffer, in a fixed order.
//!
//! Optimizer, clipping, freezing and checkpoints are loops over its entries. Data that
//! exist for trainable entries only (gradients, moments) have a [`TrainableLayout`].

use std::ops::Range;

use polyhead_compute::Buffer;

use crate::encoder::ParameterGroup;

/// Description of one parameter of a [`ParameterStore`].
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterEntry {
    /// Name of the parameter, such as `encoder.layer.3.output.dense.weight` or `heads.topic.bias`.
    pub name: String,
    /// Shape: `[out, in]` for linear layers, `[rows, D]` for tables, `[n]` for vectors.
    pub shape: Vec<usize>,
    /// The part of the model that the parameter belongs to.
    pub group: ParameterGroup,
    /// Whether weight decay applies. It does not apply to biases and layer norms.
    pub decays: bool,
    /// Range of its values in the buffer of the store.
    pub range: Range<usize>,
}

/// All parameters in one buffer: embeddings, layers, modules, heads.
#[derive(Clone, Default)]
pub struct ParameterStore {
    entries: Vec<ParameterEntry>,
    values: Buffer,
}

impl ParameterStore {
    /// Appends a parameter and returns the index of its entry.
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
        assert_eq!(shape.iter().product::<usize>(), values.len(), "values of a {shape:?} tensor");
        let start = self.values.len();
        let range = start..start + values.len();
        self.values.resize(range.end);
        self.values[range.clone()].copy_from_slice(values);
        self.entries.push(ParameterEntry { name: name.into(), shape, group, decays, range });
        self.entries.len() - 1
    }

    /// The entries, in the order of the buffer.
    pub fn entries(&self) -> &[ParameterEntry] {
        &self.entries
    }

    /// All values, in the order of the entries.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// All values, for the optimizer.
    ///
    /// A network holds packed copies of them: change its values through
    /// [`Network::update`](crate::Network::update).
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// The values of neighbouring entries.
    pub fn span(&self, entries: Range<usize>) -> &[f32] {
        let start = self.entries[entries.start].range.start;
        &self.values[start..self.entries[entries.end - 1].range.end]
    }

    /// The values of entry `index`.
    pub fn get(&self, index: usize) -> &[f32] {
        &self.values[self.entries[index].range.clone()]
    }
}

/// Where the values of trainable entries are stored in a buffer that holds only those.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TrainableLayout {
    /// One range per entry of the store; `None` for frozen entries.
    ranges: Vec<Option<Range<usize>>>,
    len: usize,
}

impl TrainableLayout {
    /// The layout of a buffer for the trainable entries of `store`.
    ///
    /// - `trainable`: one flag per entry of `store`
    pub fn new(store: &ParameterStore, trainable: &[bool]) -> Self {
        assert_eq!(trainable.len(), store.entries.len(), "one flag per entry");
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

    /// Number of values of all trainable entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether every entry is frozen.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether entry `index` is trained.
    pub fn is_trainable(&self, index: usize) -> bool {
        self.ranges[index].is_some()
    }

    /// Range of entry `index` in the buffer; `None` if the entry is frozen.
    pub fn range(&self, index: usize) -> Option<Range<usize>> {
        self.ranges[index].clone()
    }

    /// The range of every entry in the buffer; `None` for frozen entries. Neighbours in the store
    /// are neighbours in the buffer.
    pub fn ranges(&self) -> &[Option<Range<usize>>] {
        &self.ranges
    }
}
