//! Weights in 8 bits, in the order in which the integer products read them.

use super::kernel::{Int8Isa, Kernel, KernelOp, KernelSizes};
use super::rows::WIDTH_STEP;
use crate::cpu::Cpu;
use crate::memory::{Buffer, StoredTensor};
use crate::threads::SharedPointer;

/// The largest level of a weight: −127 … 127, so that its opposite is one too.
const LEVELS: f32 = 127.0;

/// The weight of a linear layer in 8 bits.
///
/// Panel `p` holds the outputs `p · columns …`, as `[groups, columns, group]`: a group is
/// the inputs that a kernel multiplies at once. What is beyond the weight is zeros.
pub struct Int8Matrix {
    pub(super) isa: Int8Isa,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Columns of a panel.
    pub(super) columns: usize,
    /// Bytes of a panel.
    pub(super) panel_size: usize,
    pub(super) panels: Buffer<u8>,
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
        let panel = &self.panels[panel * self.panel_size..][..self.panel_size];
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
        let KernelSizes { columns: width, right, .. } = isa.run(KernelSizes::default());
        let panel_size = inputs.next_multiple_of(WIDTH_STEP) * width * right;
        let count = outputs.div_ceil(width);
        let mut matrix = Int8Matrix {
            isa,
            inputs,
            outputs,
            columns: width,
            panel_size,
            panels: Buffer::zeros(count * panel_size),
            scales: Buffer::zeros(count * width),
            sums: Buffer::zeros(count * width),
        };
        let panels = SharedPointer(matrix.panels.as_mut_ptr());
        let scales = SharedPointer(matrix.scales.as_mut_ptr());
        let sums = SharedPointer(matrix.sums.as_mut_ptr());
        let rows: Vec<(&StoredTensor, usize)> =
            weights.iter().flat_map(|w| (0..w.rows()).map(move |row| (*w, row))).collect();
        team.run(count, &|panel| {
            let (mut row, mut levels) = (vec![0.0; inputs], vec![0; inputs]);
            for column in 0..width.min(outputs - panel * width) {
                let output = panel * width + column;
                let (weight, at) = rows[output];
                let scale = weight.row_levels(at, columns, &mut row, &mut levels);
                // SAFETY: this part alone has the panel and its columns.
                unsafe {
                    *scales.get().add(output) = scale;
                    *sums.get().add(output) = levels.iter().map(|q| i32::from(*q)).sum();
                    let panel = panels.get().add(panel * panel_size);
                    isa.run(PackColumn { levels: &levels, column, panel });
                }
            }
        });
        matrix
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

/// Where input `k` of a column stands in a panel.
fn place<K: Kernel>(k: usize, column: usize) -> usize {
    (k / K::GROUP * K::COLUMNS + column) * K::GROUP + k % K::GROUP
}

struct PackColumn<'a> {
    levels: &'a [i8],
    column: usize,
    panel: *mut u8,
}

impl KernelOp for PackColumn<'_> {
    type Output = ();
    #[inline(always)]
    fn run<K: Kernel>(self, _: K) {
        for (k, level) in self.levels.iter().enumerate() {
            let to = self.panel.cast::<K::Right>();
            // SAFETY: the panel has room for all inputs of its columns.
            unsafe { *to.add(place::<K>(k, self.column)) = K::Right::from(*level) }
        }
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
    fn run<K: Kernel>(self, _: K) -> i32 {
        let at = place::<K>(self.k, self.column);
        assert!((at + 1) * size_of::<K::Right>() <= self.panel.len(), "input {}", self.k);
        // SAFETY: just checked.
        unsafe { (*self.panel.as_ptr().cast::<K::Right>().add(at)).into() }
    }
}
