//! How an operation is split: ranges of rows or columns, and a pointer that the parts share.

use std::ops::Range;

/// Part `part` of `parts` nearly equal ones of `0..total`.
pub(crate) fn share(total: usize, parts: usize, part: usize) -> Range<usize> {
    total * part / parts..total * (part + 1) / parts
}

/// Part `part` of `parts` of `0..total`, cut where `step` divides: tiles of so many
/// rows stay whole but for the last.
pub(crate) fn share_in_steps(
    total: usize,
    step: usize,
    (part, parts): (usize, usize),
) -> Range<usize> {
    let steps = share(total.div_ceil(step), parts, part);
    total.min(steps.start * step)..total.min(steps.end * step)
}

/// A raw pointer that parts of an operation may share: each writes elsewhere.
pub(crate) struct SharedPointer<T = f32>(pub(crate) *mut T);

impl<T> Clone for SharedPointer<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for SharedPointer<T> {}

// SAFETY: the pointer itself is plain data; every dereference is an `unsafe`
// block of its own that says why the parts do not overlap.
unsafe impl<T> Send for SharedPointer<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for SharedPointer<T> {}

impl<T> SharedPointer<T> {
    /// The pointer. A method, so that closures capture the wrapper and not its field.
    pub(crate) fn get(self) -> *mut T {
        self.0
    }

    /// The values of this range.
    ///
    /// # Safety
    /// They must lie in the buffer, which lives longer than `'a`, and no other thread may use them
    /// meanwhile.
    pub(crate) unsafe fn slice<'a>(self, range: Range<usize>) -> &'a mut [T] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(range.start), range.len()) }
    }
}
