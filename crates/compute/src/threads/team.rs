//! A team: threads that work on one operation at a time.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::share::SharedPointer;

/// Threads that work on one operation at a time.
pub struct Team {
    shared: Option<Arc<Shared>>,
    /// Not `Sync`: one thread, the one that gathered the team, gives it work.
    owner: PhantomData<Cell<()>>,
}

impl Team {
    /// The calling thread alone.
    pub fn solo() -> Self {
        Self { shared: None, owner: PhantomData }
    }

    /// The calling thread and those that join `shared`.
    pub(super) fn of(shared: &Arc<Shared>) -> Self {
        Self { shared: Some(Arc::clone(shared)), owner: PhantomData }
    }

    /// Number of parts that an operation is best cut into; it may grow from call to call.
    pub fn parts(&self) -> usize {
        let Some(shared) = &self.shared else { return 1 };
        match shared.progress.members.load(Ordering::Relaxed) {
            1 => 1,
            members => members * shared.parts_each,
        }
    }

    /// Runs `work(part)` once for every `part` below `parts` and returns when all are done.
    ///
    /// # Panics
    /// If `work` does, after the other parts have ended.
    pub fn run(&self, parts: usize, work: &(dyn Fn(usize) + Sync)) {
        match &self.shared {
            Some(shared) if parts > 1 => {
                for first in (0..parts).step_by(MAX_PARTS) {
                    let count = (parts - first).min(MAX_PARTS);
                    shared.run_round(count, &|part| work(first + part));
                }
            }
            _ => (0..parts).for_each(work),
        }
    }

    /// Runs `work` on ranges that cover `0..total`, each `size` long but for the last. The ranges
    /// do not depend on the threads.
    pub(crate) fn run_ranges(
        &self,
        total: usize,
        size: usize,
        work: &(dyn Fn(Range<usize>) + Sync),
    ) {
        self.run(total.div_ceil(size), &|part| {
            work(part * size..total.min((part + 1) * size));
        });
    }

    /// [`run_ranges`](Self::run_ranges) over rows that `work` changes: it gets some rows, and their
    /// numbers.
    ///
    /// - `numbers`: whole rows of `width` numbers
    pub(crate) fn run_rows(
        &self,
        numbers: &mut [f32],
        width: usize,
        size: usize,
        work: &(dyn Fn(Range<usize>, &mut [f32]) + Sync),
    ) {
        assert!(width > 0 && numbers.len().is_multiple_of(width), "whole rows of {width}");
        let all = SharedPointer(numbers.as_mut_ptr());
        self.run_ranges(numbers.len() / width, size, &|rows| {
            // SAFETY: the rows of this part, which no other part has.
            let numbers = unsafe { all.slice(rows.start * width..rows.end * width) };
            work(rows, numbers);
        });
    }
}

pub(super) const MAX_PARTS: usize = 1 << 12;

/// An operation that is offered to the team.
type Operation = *const (dyn Fn(usize) + Sync);

/// What the members share: a ticket that names the offered operation and its
/// next unclaimed part, and a count of the parts that are done.
///
/// Teams stand in cache lines of their own, and so do the fields that every finished part changes:
/// each change would take the line from all threads that wait for the next ticket. A pair of lines,
/// since processors fetch pairs.
#[repr(align(128))]
pub(super) struct Shared {
    /// Parts for each member that an operation is best cut into.
    parts_each: usize,
    /// Whether more operations may come.
    open: AtomicBool,
    /// Round (32 bits), parts of this round (16), next unclaimed part (16).
    ticket: AtomicU64,
    /// The operation of the round. Written only between two rounds, when every claimed part is done.
    work: UnsafeCell<Option<Operation>>,
    progress: Progress,
}

/// Fields that threads change when they join, finish a part or panic.
#[repr(align(128))]
struct Progress {
    /// Threads that work here or have been called.
    members: AtomicUsize,
    /// Parts of this round that are done.
    done: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: `work` is written by the one thread that owns the team, before the
// ticket of a new round is published (release), and read only by a thread that
// has claimed a part of that round (acquire); the writer starts a new round
// only after every claimed part is done. Only `Team` calls `run`, there is one
// for each `Shared`, and `Team` is not `Sync`, so two rounds never overlap.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer in `work` is never used after its round.
unsafe impl Send for Shared {}

impl Shared {
    /// A closed team without an operation.
    pub(super) fn new(members: usize, parts_each: usize) -> Self {
        Self {
            parts_each,
            open: AtomicBool::new(false),
            ticket: AtomicU64::new(0),
            work: UnsafeCell::new(None),
            progress: Progress {
                members: AtomicUsize::new(members),
                done: AtomicUsize::new(0),
                panic: Mutex::new(None),
            },
        }
    }

    /// Opens the team for operations until the guard is dropped.
    pub(super) fn open(&self) -> Close<'_> {
        self.open.store(true, Ordering::Release);
        Close(self)
    }

    /// Returns true if more operations may come.
    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    fn run_round(&self, parts: usize, work: &(dyn Fn(usize) + Sync)) {
        // SAFETY: all parts of the last round are done (the loop at the end of
        // this function), so no thread reads `work`; the lifetime is erased, and
        // the pointer is not used after this function returns, since only a
        // thread with a claimed part uses it and all parts are waited for.
        unsafe {
            *self.work.get() = Some(std::mem::transmute::<
                &(dyn Fn(usize) + Sync),
                &'static (dyn Fn(usize) + Sync),
            >(work));
        }
        self.progress.done.store(0, Ordering::Relaxed);
        let round = (self.ticket.load(Ordering::Relaxed) >> 32).wrapping_add(1) & 0xffff_ffff;
        self.ticket.store(round << 32 | (parts as u64) << 16, Ordering::Release);
        while self.claim_and_work() {}
        let mut spins = 0;
        while self.progress.done.load(Ordering::Acquire) < parts {
            pause(&mut spins);
        }
        let panic = self.progress.panic.lock().unwrap_or_else(|e| e.into_inner()).take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    /// Does one part of the offered operation, if one is left.
    fn claim_and_work(&self) -> bool {
        let ticket = self.ticket.load(Ordering::Acquire);
        let (parts, next) = (ticket >> 16 & 0xffff, ticket & 0xffff);
        if next >= parts {
            return false;
        }
        if self
            .ticket
            .compare_exchange(ticket, ticket + 1, Ordering::AcqRel, Ordering::Relaxed)
            .is_err()
        {
            return true;
        }
        // SAFETY: this thread has claimed a part of the current round, so the
        // round cannot end, and `work` cannot change, before `done` counts it.
        let result = unsafe {
            let work = (*self.work.get()).expect("a round has work");
            catch_unwind(AssertUnwindSafe(|| (*work)(next as usize)))
        };
        if let Err(panic) = result {
            self.progress.panic.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(panic);
        }
        self.progress.done.fetch_add(1, Ordering::Release);
        true
    }

    /// Works here until the team closes. Returns at once if it is not open: the thread that will
    /// open it may be waiting for this one.
    pub(super) fn join(&self) {
        if self.is_open() {
            self.progress.members.fetch_add(1, Ordering::Relaxed);
            self.serve();
        }
    }

    /// Works on parts until the team closes.
    pub(super) fn serve(&self) {
        let mut spins = 0;
        while self.is_open() {
            if self.claim_and_work() { spins = 0 } else { pause(&mut spins) }
        }
    }
}

/// Spins for some microseconds, then lets other threads run: with more threads
/// than cores, the one that is waited for may need this very core.
fn pause(spins: &mut u32) {
    *spins += 1;
    if *spins < 2000 { std::hint::spin_loop() } else { std::thread::yield_now() }
}

/// Closes the team on drop: helpers leave their spin loop.
pub(super) struct Close<'a>(&'a Shared);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        self.0.open.store(false, Ordering::Release);
    }
}
