//! Weights in the order in which the matrix product reads them.
//!
//! Inference packs what a file stores, once. Training packs its flat f32 store
//! again after each step, in place, twice: as it is for the forward product,
//! and transposed for the gradient of the input.

use crate::cpu::Cpu;
use crate::linear::tile::{TileWidth, transpose};
use crate::memory::{Buffer, StoredTensor};
use crate::simd::{Isa, Op, Simd};
use crate::threads::{SharedPointer, Team};

/// The weight of a linear layer in the order in which the kernel reads it.
///
/// Panel `p` holds the outputs `p · width …`, as `[inputs, width]`; the last
/// panel is filled up with zeros.
pub struct PackedMatrix {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Columns of a panel.
    pub(super) width: usize,
    pub(super) panels: Buffer,
}

impl PackedMatrix {
    /// A weight of zeros, to be filled by [`Cpu::repack`].
    pub fn zeros(isa: Isa, outputs: usize, inputs: usize) -> Self {
        let width = isa.run(TileWidth);
        let panels: Buffer = Buffer::zeros(outputs.div_ceil(width) * inputs * width);
        Self { inputs, outputs, width, panels }
    }

    /// Hands each panel, `[inputs, width]`, to `fill`, spread over the team.
    fn fill_panels(&mut self, team: &Team, fill: &(dyn Fn(usize, &mut [f32]) + Sync)) {
        let size = self.inputs * self.width;
        let to = SharedPointer(self.panels.as_mut_ptr());
        team.run(self.panel_count(), &|panel| {
            // SAFETY: `panels` has disjoint panels of this length, one for each part.
            fill(panel, unsafe { to.slice(panel * size..(panel + 1) * size) });
        });
    }

    /// Numbers of an input row.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Numbers of an output row.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    pub(super) fn panel_count(&self) -> usize {
        self.outputs.div_ceil(self.width)
    }
}

/// Packed weights.
impl Cpu<'_> {
    /// Packs `weights`, each `[outputs, inputs]`, stacked on top of each other:
    /// query, key and value become one product.
    ///
    /// # Panics
    /// If their inputs differ; callers check the shapes of files before.
    pub fn pack(self, weights: &[&StoredTensor]) -> PackedMatrix {
        let inputs = weights[0].columns();
        assert!(
            weights.iter().all(|w| w.columns() == inputs),
            "stacked weights have the same inputs"
        );
        let outputs = weights.iter().map(|w| w.rows()).sum();
        let mut packed = PackedMatrix::zeros(self.isa, outputs, inputs);
        let width = packed.width;
        packed.fill_panels(self.team, &|panel, panel_values| {
            let mut row = vec![0.0; inputs];
            for column in 0..width.min(outputs - panel * width) {
                let (weight, at) = locate(weights, panel * width + column);
                weight.read_row(at, &mut row);
                for (k, value) in row.iter().enumerate() {
                    panel_values[k * width + column] = *value;
                }
            }
        });
        packed
    }

    /// Packs `weight`, `[outputs, inputs]`, in place of what was in `packed`.
    ///
    /// # Panics
    /// If the length does not fit.
    pub fn repack(self, packed: &mut PackedMatrix, weight: &[f32]) {
        let Self { team, isa, .. } = self;
        let PackedMatrix { inputs, outputs, width, .. } = *packed;
        assert_eq!(weight.len(), outputs * inputs, "length of the weight");
        packed.fill_panels(team, &|panel, to| {
            let count = width.min(outputs - panel * width);
            let rows = &weight[panel * width * inputs..][..count * inputs];
            isa.run(TransposePanel { rows, inputs, to, width });
        });
    }

    /// Packs the transpose of `weight`, `[inputs, outputs]`, in place of what was in `packed`.
    ///
    /// With `W` `[O, I]` so packed (`inputs = O`, `outputs = I`), [`linear`](Self::linear) of
    /// `dout` is `dout · W`: the gradient of the input of a layer with the weight `W`.
    ///
    /// # Panics
    /// If the length does not fit.
    pub fn repack_transposed(self, packed: &mut PackedMatrix, weight: &[f32]) {
        let PackedMatrix { inputs, outputs, width, .. } = *packed;
        assert_eq!(weight.len(), outputs * inputs, "length of the weight");
        packed.fill_panels(self.team, &|panel, to| {
            let count = width.min(outputs - panel * width);
            for (k, to) in to.chunks_exact_mut(width).enumerate() {
                let from = &weight[k * outputs + panel * width..][..count];
                to[..count].copy_from_slice(from);
            }
        });
    }
}

/// The weight, and the row in it, that output `output` of the stack comes from.
fn locate<'a>(weights: &[&'a StoredTensor], mut output: usize) -> (&'a StoredTensor, usize) {
    for weight in weights {
        if output < weight.rows() {
            return (weight, output);
        }
        output -= weight.rows();
    }
    unreachable!("outputs are the sum of the rows")
}

/// A panel from the rows of a weight, `[count, inputs]` with `count ≤ width`.
struct TransposePanel<'a> {
    rows: &'a [f32],
    inputs: usize,
    /// `[inputs, width]`
    to: &'a mut [f32],
    width: usize,
}

impl Op for TransposePanel<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { rows, inputs, to, width } = self;
        if inputs == 0 {
            return;
        }
        let count = rows.len() / inputs;
        assert!(count <= width && to.len() == inputs * width && width.is_multiple_of(S::LANES));
        // SAFETY: rows and panel are as long as just checked; whole vectors from the first `count`
        // lanes on end within the row of the panel, as its width is a number of whole vectors.
        unsafe {
            transpose(simd, rows.as_ptr(), inputs, (count, inputs), to.as_mut_ptr(), width);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::numbers;
    use crate::threads::Threads;

    #[test]
    fn repacking_gives_what_packing_gives() {
        for isa in Isa::available() {
            for (outputs, inputs) in [(1, 1), (5, 7), (32, 16), (33, 50), (70, 19), (96, 384)] {
                let weight = numbers(outputs * inputs, 1);
                let stored = StoredTensor::from_f32(vec![outputs, inputs], &weight);
                let solo = Team::solo();
                let expected = Cpu::new(&solo, isa).pack(&[&stored]);
                let transposed: Vec<f32> = (0..inputs * outputs)
                    .map(|i| weight[i % outputs * inputs + i / outputs])
                    .collect();
                // Filled before, as in training: nothing of the last step may stay.
                let mut packed = PackedMatrix::zeros(isa, outputs, inputs);
                let threads = Threads::new(3).expect("threads");
                for _ in 0..2 {
                    Cpu::new(&solo, isa).repack(&mut packed, &numbers(outputs * inputs, 2));
                    threads.team(|team| Cpu::new(team, isa).repack(&mut packed, &weight));
                    assert_eq!(packed.panels[..], expected.panels[..], "{}", isa.name());
                    threads.team(|team| {
                        Cpu::new(team, isa).repack_transposed(&mut packed, &transposed);
                    });
                    assert_eq!(packed.panels[..], expected.panels[..], "{}", isa.name());
                }
            }
        }
    }
}
