//! Rows of a weight's gradient that wait for the next call.

use std::ops::Range;

/// Rows of a block.
const BLOCK: usize = 32;

#[cfg(target_arch = "x86_64")]
const _: () = assert!(BLOCK == crate::linear::amx::STEP, "blocks are those of tiles");

/// Rows that do not fill a 32-row AMX block yet; carried over to the next call so that the sum is
/// the same however a step is split.
///
/// Other instruction sets need no blocks and leave it empty.
#[derive(Default)]
pub struct PendingRows {
    /// `[rows, outputs]`
    dout: Vec<f32>,
    /// `[rows, inputs]`
    x: Vec<f32>,
    rows: usize,
}

impl PendingRows {
    /// Whether no row is pending.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Drops the pending rows and keeps the memory.
    pub fn clear(&mut self) {
        self.dout.clear();
        self.x.clear();
        self.rows = 0;
    }

    /// Takes rows and gives whole blocks, in order.
    ///
    /// - `outputs`, `inputs`: the same in every call
    /// - `dout`: `[N, outputs]`, `x`: `[N, inputs]`
    /// - `sum`: gets both, of some blocks end to end
    pub(super) fn take(
        &mut self,
        (outputs, inputs): (usize, usize),
        dout: &[f32],
        x: &[f32],
        mut sum: impl FnMut(&[f32], &[f32]),
    ) {
        let part = |rows: Range<usize>| {
            (
                &dout[rows.start * outputs..rows.end * outputs],
                &x[rows.start * inputs..rows.end * inputs],
            )
        };
        let rows = dout.len() / outputs;
        let missing = if self.is_empty() { 0 } else { rows.min(BLOCK - self.rows) };
        self.keep(part(0..missing), missing);
        if self.rows == BLOCK {
            self.give(|_, dout, x| sum(dout, x));
        }
        let end = missing + (rows - missing) / BLOCK * BLOCK;
        if end > missing {
            let (dout, x) = part(missing..end);
            sum(dout, x);
        }
        self.keep(part(end..rows), rows - end);
    }

    /// Gives the pending rows to `sum`, if there are any.
    ///
    /// - `sum`: gets the number of rows too
    pub(super) fn give(&mut self, sum: impl FnOnce(usize, &[f32], &[f32])) {
        if !self.is_empty() {
            sum(self.rows, &self.dout, &self.x);
        }
        self.clear();
    }

    fn keep(&mut self, (dout, x): (&[f32], &[f32]), rows: usize) {
        self.dout.extend_from_slice(dout);
        self.x.extend_from_slice(x);
        self.rows += rows;
    }
}
