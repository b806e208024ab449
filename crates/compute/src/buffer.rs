//! Memory for kernels: aligned to cache lines.

use std::ops::{Deref, DerefMut};

/// One cache line, and one AVX-512 vector.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

const LINE: usize = 16;

/// A growable run of `f32` that begins at a cache line, so that vectors do not
/// straddle two.
#[derive(Clone, Default)]
pub struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        Self { lines: vec![Line([0.0; LINE]); len.div_ceil(LINE)], len }
    }

    /// Makes it `len` long. What was there stays where it fits; only memory
    /// that is used for the first time is cleared.
    pub fn resize(&mut self, len: usize) {
        let lines = len.div_ceil(LINE);
        if lines > self.lines.len() {
            self.lines.resize(lines, Line([0.0; LINE]));
        }
        self.len = len;
    }
}

impl Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        // SAFETY: `lines` holds at least `len` numbers, end to end (`repr(C)`, size 64).
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`; the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_at_a_cache_line_and_keeps_its_values() {
        let mut buffer = Buffer::zeros(3);
        buffer.copy_from_slice(&[1.0, 2.0, 3.0]);
        buffer.resize(100);
        assert_eq!(buffer.as_ptr() as usize % 64, 0);
        assert_eq!(&buffer[..4], &[1.0, 2.0, 3.0, 0.0]);
        assert_eq!(buffer.len(), 100);
    }
}
