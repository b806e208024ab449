//! Weights in 8 bits, in the order in which the integer products read them.

use std::sync::OnceLock;

use super::kernel::{Int8Isa, Kernel, KernelOp, KernelSizes};
use super::rows::WIDTH_STEP;
use crate::cpu::Cpu;
use crate::memory::{Buffer, StoredTensor};
use crate::threads::SharedPointer;

/// The largest level of a weight: −127 … 127, so that its opposite is one too.
const LEVELS: f32 = 127.0;

/// The weight of a linear layer in 8 bits.
///
/// Panel `p` holds the outputs `p · columns …`, in an order that depends on the kernel. What is
/// beyond the weight is zeros.
pub struct Int8Matrix {
    pub(super) isa: Int8Isa,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Columns of a panel.
    pub(super) columns: usize,
    pub(super) panels: Buffer<u8>,
    /// Where each panel begins in `panels`.
    pub(super) starts: Vec<usize>,
    /// `[outputs, up to whole panels]`
    pub(super) scales: Buffer,
    /// `[outputs, up to whole panels]`: `Σₖ q` of each output.
    pub(super) sums: Buffer<i32>,
}

impl Int8Matrix {
    /// Largest number of inputs: with more, sums could overflow.
    pub const MOST_INPUTS: usize = 1 << 16;

    /// Numbers of an input row.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Numbers of an output row.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    pub(super) fn panel_count(&self) -> usize {
        self.outputs.div_ceil(self.columns)
    }

    /// Level of input `k` for output `output`.
    pub(super) fn level(&self, output: usize, k: usize) -> i32 {
        let (panel, column) = (output / self.columns, output % self.columns);
        let panel = &self.panels[self.starts[panel]..];
        self.isa.run(ReadLevel { panel, column, k })
    }
}

/// Packed weights in 8 bits.
impl Cpu<'_> {
    /// Packs `weights`, each `[outputs, inputs]`, stacked on top of each other: those
    /// in 8 bits as they are, others by [`StoredTensor::to_int8`].
    ///
    /// - `columns`: `[inputs]`, factors that the numbers of the others are divided by.
    ///   Factors of columns, also stored ones, are no part of the packed weight: they
    ///   belong to the rows that it is multiplied with.
    ///
    /// # Panics
    /// If the inputs differ, or are more than [`Int8Matrix::MOST_INPUTS`].
    pub fn pack_int8(self, weights: &[&StoredTensor], columns: Option<&[f32]>) -> Int8Matrix {
        let (team, isa) = (self.team, self.int8);
        let inputs = weights[0].columns();
        assert!(inputs <= Int8Matrix::MOST_INPUTS, "{inputs} inputs");
        assert!(
            weights.iter().all(|w| w.columns() == inputs),
            "stacked weights have the same inputs"
        );
        let outputs: usize = weights.iter().map(|w| w.rows()).sum();
        let KernelSizes { columns: width, .. } = isa.run(KernelSizes::default());
        let padded = inputs.next_multiple_of(WIDTH_STEP);
        let count = outputs.div_ceil(width);
        let (mut scales, mut sums) =
            (Buffer::<f32>::zeros(count * width), Buffer::<i32>::zeros(count * width));
        let (to_scales, to_sums) =
            (SharedPointer(scales.as_mut_ptr()), SharedPointer(sums.as_mut_ptr()));
        let rows: Vec<(&StoredTensor, usize)> =
            weights.iter().flat_map(|w| (0..w.rows()).map(move |row| (*w, row))).collect();
        let packed: Vec<OnceLock<Vec<u8>>> = (0..count).map(|_| OnceLock::new()).collect();
        team.run(count, &|panel| {
            let (mut row, mut levels) = (vec![0.0; inputs], vec![0; width * padded]);
            for column in 0..width.min(outputs - panel * width) {
                let output = panel * width + column;
                let (weight, at) = rows[output];
                let levels = &mut levels[column * padded..][..inputs];
                let scale = weight.row_levels(at, columns, &mut row, levels);
                // SAFETY: this part alone has the output.
                unsafe {
                    *to_scales.get().add(output) = scale;
                    *to_sums.get().add(output) = levels.iter().map(|q| i32::from(*q)).sum();
                }
            }
            packed[panel].get_or_init(|| isa.run(PackPanel { levels: &levels, inputs: padded }));
        });
        let packed: Vec<Vec<u8>> = packed.into_iter().filter_map(OnceLock::into_inner).collect();
        let mut starts = Vec::with_capacity(count);
        let mut panels = Buffer::zeros(packed.iter().map(Vec::len).sum());
        let mut at = 0;
        for panel in &packed {
            starts.push(at);
            panels[at..at + panel.len()].copy_from_slice(panel);
            at += panel.len();
        }
        Int8Matrix { isa, inputs, outputs, columns: width, panels, starts, scales, sums }
    }
}

/// A row of a weight in 8 bits: writes the levels and returns the scale.
///
/// `scale = max|w| / 127`, `q = round(w / scale)`, to the nearest even: nothing
/// is cut off, and zero stays zero. The scale of a row with a number that is not
/// finite is NaN, and its levels are zeros; a row of numbers below 1e-36 is zeros.
///
/// # Panics
/// If the lengths differ.
pub fn quantize_weights(row: &[f32], levels: &mut [i8]) -> f32 {
    assert_eq!(row.len(), levels.len(), "length of a row");
    let largest = row.iter().fold(0.0f32, |largest, w| largest.max(w.abs()));
    let scale = if row.iter().all(|w| w.is_finite()) { largest / LEVELS } else { f32::NAN };
    if !scale.is_normal() {
        // Zeros, or as good as that: of a subnormal scale the quotients have no digits.
        levels.fill(0);
        return if scale.is_nan() { scale } else { 0.0 };
    }
    for (level, w) in levels.iter_mut().zip(row) {
        // Adding 1.5 · 2²³ leaves the whole number in the last bits, rounded to the nearest
        // even: in vectors, where `round` would be a call.
        *level = (w / scale + 12_582_912.0).to_bits() as i8;
    }
    scale
}

struct PackPanel<'a> {
    levels: &'a [i8],
    inputs: usize,
}

impl KernelOp for PackPanel<'_> {
    type Output = Vec<u8>;
    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> Vec<u8> {
        kernel.pack_panel(self.levels, self.inputs)
    }
}

struct ReadLevel<'a> {
    panel: &'a [u8],
    column: usize,
    k: usize,
}

impl KernelOp for ReadLevel<'_> {
    type Output = i32;
    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> i32 {
        kernel.level(self.panel, self.column, self.k).into()
    }
}
