//! Gradients of the trainable parameters, end to end.

use std::ops::Range;

use polyhead_compute::{Buffer, Team};

use crate::parameter_store::TrainableLayout;

/// One number for each number of a trainable parameter.
pub struct Gradients {
    layout: TrainableLayout,
    values: Buffer,
}

impl Gradients {
    /// Zeros.
    pub fn new(layout: TrainableLayout) -> Self {
        Self { values: Buffer::zeros(layout.len()), layout }
    }

    /// Sets all to zero, for the next step.
    pub fn clear(&mut self, team: &Team) {
        self.values.set_zero(team);
    }

    /// Which parameters have one, and where.
    pub fn layout(&self) -> &TrainableLayout {
        &self.layout
    }

    /// All numbers, in the order of the layout.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The gradient of entry `index`; `None` if it is frozen.
    pub fn get(&self, index: usize) -> Option<&[f32]> {
        self.layout.range(index).map(|range| &self.values[range])
    }

    /// The gradient of neighbouring entries; `None` if they are frozen.
    ///
    /// # Panics
    /// If only some of them are: what is trained together is frozen together.
    pub(crate) fn of(&mut self, entries: Range<usize>) -> Option<&mut [f32]> {
        let range = self.range(entries)?;
        Some(&mut self.values[range])
    }

    /// The gradients of weight and bias, which stand side by side.
    pub(crate) fn pair(
        &mut self,
        weight: Range<usize>,
        bias: Range<usize>,
    ) -> Option<(&mut [f32], &mut [f32])> {
        let (weight, bias) = (self.range(weight)?, self.range(bias)?);
        assert!(weight.end <= bias.start, "weights stand before biases");
        let (left, right) = self.values.split_at_mut(bias.start);
        Some((&mut left[weight], &mut right[..bias.len()]))
    }

    fn range(&self, entries: Range<usize>) -> Option<Range<usize>> {
        let mut ranges = entries.map(|entry| self.layout.range(entry));
        let first = ranges.next().expect("at least one entry");
        let mut end = first.as_ref().map(|range| range.end);
        for range in ranges {
            assert_eq!(range.is_some(), first.is_some(), "trained together, frozen together");
            end = range.map(|range| range.end).or(end);
        }
        Some(first?.start..end?)
    }
}
