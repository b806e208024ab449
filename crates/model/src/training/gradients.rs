//! The gradients of the trainable parameters, in one buffer.

use std::collections::BTreeMap;
use std::ops::Range;

use polyhead_compute::{Buffer, Cpu, PendingRows};

use crate::encoder::{Pair, distance_bias};
use crate::training::store::TrainableLayout;

/// The gradient of every trainable parameter, summed over the rows of a step.
///
/// The rows of a step may come in several parts: call [`Self::clear`], then run any number of
/// backward passes, then call [`Self::close`]. After that the gradients can be read.
pub struct Gradients {
    layout: TrainableLayout,
    values: Buffer,
    /// Rows that still have to be added to the gradients of weights, by the start and end of these
    /// in `values`.
    open: BTreeMap<(usize, usize), PendingRows>,
    touched: TouchedRows,
    /// The gradient of a bias by distance, before it is added to its table.
    distances: Option<DistanceGradients>,
    /// The gradient of a bias that a norm does not have: written, never read.
    unused: Vec<f32>,
}

/// The gradient of a bias by distance that layers share.
struct DistanceGradients {
    /// The entry of the table in the store.
    entry: usize,
    /// `[H, 2·L − 1]` for each layer that has one: a sum over layers in the order of their
    /// backwards would depend on the parts into which a step is cut.
    layers: BTreeMap<usize, Vec<f32>>,
}

/// For embedding tables, by entry of the store: one flag per row, set where the row received a
/// gradient in this step. The gradients of all other rows are zero.
pub type TouchedRows = BTreeMap<usize, Vec<bool>>;

impl Gradients {
    /// Gradients of zero for the parameters of `layout`.
    pub fn new(layout: TrainableLayout) -> Self {
        Self {
            values: Buffer::zeros(layout.len()),
            layout,
            open: BTreeMap::new(),
            touched: TouchedRows::new(),
            distances: None,
            unused: Vec::new(),
        }
    }

    /// Sets all gradients to zero, before the first backward pass of a step.
    pub fn clear(&mut self, cpu: Cpu) {
        self.open.values_mut().for_each(PendingRows::clear);
        let distances =
            self.distances.iter_mut().flat_map(|distances| distances.layers.values_mut());
        distances.for_each(|dbias| dbias.fill(0.0));
        let mut begin = 0;
        for (entry, rows) in &mut self.touched {
            let table = self.layout.range(*entry).expect("only trained tables have touched rows");
            cpu.set_zero(&mut self.values[begin..table.start]);
            let width = table.len() / rows.len();
            for (row, touched) in rows.iter_mut().enumerate().filter(|(_, touched)| **touched) {
                self.values[table.start + row * width..][..width].fill(0.0);
                *touched = false;
            }
            begin = table.end;
        }
        cpu.set_zero(&mut self.values[begin..]);
    }

    /// Completes the sums, after the last backward pass of a step.
    pub fn close(&mut self, cpu: Cpu) {
        for ((begin, end), pending) in &mut self.open {
            cpu.close_weight_gradient(&mut self.values[*begin..*end], pending);
        }
        if let Some(DistanceGradients { entry, layers }) = &mut self.distances
            && let Some(table) = self.layout.range(*entry)
        {
            for dbias in layers.values_mut() {
                distance_bias::add_gradient(dbias, &mut self.values[table.clone()]);
                dbias.fill(0.0);
            }
        }
    }

    /// Which parameters have a gradient, and where it is stored.
    pub fn layout(&self) -> &TrainableLayout {
        &self.layout
    }

    /// Which rows of embedding tables received a gradient in this step.
    pub fn touched_rows(&self) -> &TouchedRows {
        &self.touched
    }

    /// All gradients, in the order of the layout.
    ///
    /// # Panics
    /// If the gradients are not closed.
    pub fn values(&self) -> &[f32] {
        assert!(
            self.open.values().all(PendingRows::is_empty),
            "gradients are closed before they are read"
        );
        &self.values
    }

    /// The gradient of entry `index` of the store; `None` if the entry is frozen.
    ///
    /// # Panics
    /// If the gradients are not closed.
    pub fn get(&self, index: usize) -> Option<&[f32]> {
        self.layout.range(index).map(|range| &self.values()[range])
    }

    /// The dot product with another gradient of the same parameters, over entry `index` of the store;
    /// 0 if the entry is frozen.
    ///
    /// # Panics
    /// If one of them is not closed, or has another layout.
    pub fn product(&self, cpu: Cpu, other: &Self, index: usize) -> f64 {
        let (Some(of_self), Some(of_other)) = (self.get(index), other.get(index)) else {
            return 0.0;
        };
        match (self.touched.get(&index), other.touched.get(&index)) {
            (None, None) => cpu.sum_of_products(of_self, of_other),
            (Some(rows), Some(others)) => {
                let width = of_self.len() / rows.len();
                let both = (0..rows.len()).filter(|row| rows[*row] && others[*row]);
                let row = |values, row| -> &[f32] { row_of(values, width, row) };
                both.map(|at| cpu.sum_of_products(row(of_self, at), row(of_other, at))).sum()
            }
            // One of them has reached no row.
            _ => 0.0,
        }
    }

    /// Adds another gradient of the same parameters: `factor(i)` times that of entry `i` of the store.
    ///
    /// # Panics
    /// If one of them is not closed, or has another layout.
    pub fn add_scaled(&mut self, cpu: Cpu, other: &Self, factor: impl Fn(usize) -> f32) {
        assert!(self.layout == other.layout, "gradients of the same parameters");
        let from = other.values();
        for (index, range) in self.layout.ranges().iter().enumerate() {
            let Some(range) = range.clone() else { continue };
            let (to, from) = (&mut self.values[range.clone()], &from[range]);
            let Some(rows) = other.touched.get(&index) else {
                cpu.add_scaled(factor(index), from, to);
                continue;
            };
            let touched = self.touched.entry(index).or_insert_with(|| vec![false; rows.len()]);
            let width = to.len() / rows.len();
            for row in (0..rows.len()).filter(|row| rows[*row]) {
                touched[row] = true;
                let to = &mut to[row * width..][..width];
                cpu.add_scaled(factor(index), row_of(from, width, row), to);
            }
        }
    }

    /// The gradient of neighbouring entries; `None` if they are frozen.
    ///
    /// # Panics
    /// If some of them are frozen and others trained.
    pub(crate) fn span_mut(&mut self, entries: Range<usize>) -> Option<&mut [f32]> {
        let range = self.range(entries)?;
        Some(&mut self.values[range])
    }

    /// The gradients of weight and bias of a norm; `None` if they are frozen. That of a bias that
    /// the norm does not have has no effect.
    pub(crate) fn norm_mut(&mut self, entries: &Pair<usize>) -> Option<(&mut [f32], &mut [f32])> {
        let weight = self.layout.range(entries.weight)?;
        let Some(bias) = entries.bias else {
            self.unused.resize(weight.len(), 0.0);
            return Some((&mut self.values[weight], &mut self.unused));
        };
        let bias = self.layout.range(bias)?;
        assert!(weight.end <= bias.start, "the weight precedes the bias in the store");
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
        if let Some(dbias) = bias.and_then(|bias| self.span_mut(bias)) {
            cpu.bias_gradient(dout, dbias);
        }
    }

    /// The gradient of a table, of which `rows` are marked as touched; `None` if it is frozen.
    ///
    /// - `width`: numbers per row
    pub(crate) fn table_mut(
        &mut self,
        entry: usize,
        rows: &[u32],
        width: usize,
    ) -> Option<&mut [f32]> {
        let range = self.layout.range(entry)?;
        let count = range.len() / width;
        let touched = self.touched.entry(entry).or_insert_with(|| vec![false; count]);
        rows.iter().for_each(|row| touched[*row as usize] = true);
        Some(&mut self.values[range])
    }

    /// The gradient of the bias by distance in one layer; `None` if its table is frozen.
    ///
    /// - `entry`: the entry of the table
    /// - `size`: `H · (2·L − 1)`
    pub(crate) fn distance_bias_mut(
        &mut self,
        entry: usize,
        size: usize,
        layer: usize,
    ) -> Option<&mut [f32]> {
        self.layout.range(entry)?;
        let new = || DistanceGradients { entry, layers: BTreeMap::new() };
        let layers = &mut self.distances.get_or_insert_with(new).layers;
        Some(layers.entry(layer).or_insert_with(|| vec![0.0; size]))
    }

    /// Where the gradients of neighbouring entries are stored; `None` if they are frozen.
    fn range(&self, entries: Range<usize>) -> Option<Range<usize>> {
        let mut ranges = entries.map(|entry| self.layout.range(entry));
        let first = ranges.next().expect("at least one entry");
        let mut end = first.as_ref().map(|range| range.end);
        for range in ranges {
            assert_eq!(
                range.is_some(),
                first.is_some(),
                "entries of one layer are trained or frozen together"
            );
            end = range.map(|range| range.end).or(end);
        }
        Some(first?.start..end?)
    }
}

fn row_of(values: &[f32], width: usize, row: usize) -> &[f32] {
    &values[row * width..][..width]
}
