//! Memory for kernels: aligned to cache lines.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use crate::cpu::Cpu;
use crate::threads::SharedPointer;

/// Numbers that one part of a team clears: long runs go past the caches.
const NUMBERS_PER_PART: usize = 1 << 20;

/// One cache line, and one AVX-512 vector.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

const LINE: usize = 64;

/// Numbers for which every bit pattern is valid.
///
/// # Safety
/// No padding, no invalid bit pattern, at most a line long and dividing it.
pub unsafe trait Plain: Copy {}

// SAFETY: plain numbers.
unsafe impl Plain for f32 {}
// SAFETY: plain numbers.
unsafe impl Plain for i32 {}
// SAFETY: plain numbers.
unsafe impl Plain for u8 {}
// SAFETY: plain numbers.
unsafe impl Plain for u16 {}

/// A growable run of numbers that begins at a cache line, so that vectors do not straddle two.
#[derive(Clone)]
pub struct Buffer<T = f32> {
    lines: Vec<Line>,
    len: usize,
    numbers: PhantomData<T>,
}

impl<T> Default for Buffer<T> {
    fn default() -> Self {
        Self { lines: Vec::new(), len: 0, numbers: PhantomData }
    }
}

impl<T: Plain> Buffer<T> {
    /// Numbers of a line.
    const PER_LINE: usize = LINE / size_of::<T>();

    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        let lines = vec![Line([0; LINE]); len.div_ceil(Self::PER_LINE)];
        Self { lines, len, numbers: PhantomData }
    }

    /// Sets the length. Old numbers stay as far as they fit; only memory that is
    /// used for the first time is cleared.
    pub fn resize(&mut self, len: usize) {
        let lines = len.div_ceil(Self::PER_LINE);
        if lines > self.lines.len() {
            self.lines.resize(lines, Line([0; LINE]));
        }
        self.len = len;
    }
}

/// Memory.
impl Cpu<'_> {
    /// Sets all numbers to zero.
    pub fn set_zero(self, numbers: &mut [f32]) {
        let team = self.team;
        let to = SharedPointer(numbers.as_mut_ptr());
        team.run_ranges(numbers.len(), NUMBERS_PER_PART, &|range| {
            // SAFETY: the numbers of this part, which no other part has; all bits 0 are 0.0.
            unsafe { std::ptr::write_bytes(to.get().add(range.start), 0, range.len()) }
        });
    }
}

impl<T: Plain> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `lines` holds at least `len` numbers, end to end (`repr(C)`, size 64), and
        // `Plain` says that any bytes are numbers.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl<T: Plain> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`; the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Isa;
    use crate::threads::Threads;

    #[test]
    fn every_part_becomes_zero() {
        let mut buffer: Buffer = Buffer::zeros(3 * NUMBERS_PER_PART + 5);
        for threads in [1, 2, 3] {
            buffer.fill(1.0);
            let threads = Threads::new(threads).expect("threads");
            threads.team(|team| Cpu::new(team, Isa::detect()).set_zero(&mut buffer));
            assert!(buffer.iter().all(|x| *x == 0.0));
        }
    }

    #[test]
    fn begins_at_a_cache_line_and_keeps_its_values() {
        let mut buffer: Buffer = Buffer::zeros(3);
        buffer.copy_from_slice(&[1.0, 2.0, 3.0]);
        buffer.resize(100);
        assert_eq!(buffer.as_ptr() as usize % 64, 0);
        assert_eq!(&buffer[..4], &[1.0, 2.0, 3.0, 0.0]);
        assert_eq!(buffer.len(), 100);
    }

    #[test]
    fn bytes_fill_whole_lines() {
        let mut buffer = Buffer::<u8>::zeros(65);
        buffer.fill(7);
        buffer.resize(129);
        assert_eq!((buffer[64], buffer[65], buffer[128]), (7, 0, 0));
    }
}
