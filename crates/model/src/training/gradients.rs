//! Gradients of the trainable parameters, end to end.

use std::collections::BTreeMap;
use std::ops::Range;

use polyhead_compute::{Buffer, Cpu, PendingRows};

use crate::training::store::TrainableLayout;

/// One number for each number of a trainable parameter.
///
/// They are sums over the rows of a step, which may come in several parts: [`Self::clear`], any
/// number of backward passes, [`Self::close`], and then they can be read.
pub struct Gradients {
    layout: TrainableLayout,
    values: Buffer,
    /// Rows of weights' gradients that are still to be added, by where these begin and end.
    open: BTreeMap<(usize, usize), PendingRows>,
    reached: TouchedRows,
}

/// Of tables of which a step reaches few rows, by their entry: a flag for each row. All numbers of
/// the other rows are zero.
pub type TouchedRows = BTreeMap<usize, Vec<bool>>;

impl Gradients {
    /// Zeros.
    pub fn new(layout: TrainableLayout) -> Self {
        Self {
            values: Buffer::zeros(layout.len()),
            layout,
            open: BTreeMap::new(),
            reached: TouchedRows::new(),
        }
    }

    /// Sets all to zero, for the next step.
    pub fn clear(&mut self, cpu: Cpu) {
        self.open.values_mut().for_each(PendingRows::clear);
        let mut begin = 0;
        for (entry, rows) in &mut self.reached {
            let table = self.layout.range(*entry).expect("what is reached is trained");
            cpu.set_zero(&mut self.values[begin..table.start]);
            let width = table.len() / rows.len();
            for (row, reached) in rows.iter_mut().enumerate().filter(|(_, reached)| **reached) {
                self.values[table.start + row * width..][..width].fill(0.0);
                *reached = false;
            }
            begin = table.end;
        }
        cpu.set_zero(&mut self.values[begin..]);
    }

    /// Ends the sums, after the last backward pass of a step.
    pub fn close(&mut self, cpu: Cpu) {
        for ((begin, end), pending) in &mut self.open {
            cpu.close_weight_gradient(&mut self.values[*begin..*end], pending);
        }
    }

    /// Which parameters have one, and where.
    pub fn layout(&self) -> &TrainableLayout {
        &self.layout
    }

    /// Which rows of tables this step has reached.
    pub fn touched_rows(&self) -> &TouchedRows {
        &self.reached
    }

    /// All numbers, in the order of the layout.
    ///
    /// # Panics
    /// If they are not closed.
    pub fn values(&self) -> &[f32] {
        assert!(
            self.open.values().all(PendingRows::is_empty),
            "gradients are closed before they are read"
        );
        &self.values
    }

    /// The gradient of entry `index`; `None` if it is frozen.
    ///
    /// # Panics
    /// If they are not closed.
    pub fn get(&self, index: usize) -> Option<&[f32]> {
        self.layout.range(index).map(|range| &self.values()[range])
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

    /// Adds the gradients of a linear layer, unless they are frozen.
    ///
    /// - `dout`: `[rows, outputs]`, `x`: `[rows, inputs]`
    pub(crate) fn add_linear(
        &mut self,
        cpu: Cpu,
        weight: Range<usize>,
        bias: Option<Range<usize>>,
        outputs: usize,
        dout: &[f32],
        x: &[f32],
    ) {
        if let Some(range) = self.range(weight) {
            let open = self.open.entry((range.start, range.end)).or_default();
            cpu.weight_gradient(dout, x, &mut self.values[range], outputs, open);
        }
        if let Some(dbias) = bias.and_then(|bias| self.of(bias)) {
            cpu.bias_gradient(dout, dbias);
        }
    }

    /// The gradient of a table, of which `rows` are added to; `None` if it is frozen.
    ///
    /// - `width`: numbers of a row
    pub(crate) fn table(&mut self, entry: usize, rows: &[u32], width: usize) -> Option<&mut [f32]> {
        let range = self.layout.range(entry)?;
        let count = range.len() / width;
        let reached = self.reached.entry(entry).or_insert_with(|| vec![false; count]);
        rows.iter().for_each(|row| reached[*row as usize] = true);
        Some(&mut self.values[range])
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
