//! Threads: many texts side by side, or one text with all hands.
//!
//! [`Threads`] owns the worker threads. [`Threads::team`] gathers them around
//! the calling thread for as long as a closure runs; inside, [`Team::run`]
//! splits one operation into parts. Workers that wait for the next operation
//! spin, since the next one is microseconds away; parts are claimed, not
//! assigned, so a worker that arrives late, or not at all because another team
//! has it, only costs speed. [`Team::solo`] is the team of one.
//!
//! [`Threads::for_each`] gives each thread a team of its own, and items of work. A
//! thread for which none is left joins the team of another, so that all end together.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Worker threads that wait for work; the thread that calls is one more.
pub struct Threads {
    /// All but the calling thread. `None` for one thread: then the caller does everything.
    helpers: Option<rayon::ThreadPool>,
    /// Parallel iterators need all threads besides the caller, who only waits. A pool apart: one
    /// thread more among the helpers would be woken for nothing by each operation.
    iterators: rayon::ThreadPool,
    count: usize,
}

impl Threads {
    /// `count` threads, the calling one included; 0 means one.
    ///
    /// # Errors
    /// If the operating system gives no thread.
    pub fn new(count: usize) -> std::io::Result<Self> {
        let count = count.clamp(1, MAX_PARTS);
        let pool = |name: &'static str, count: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(count);
            let pool = pool.thread_name(move |i| format!("{name}-{i}"));
            pool.build().map_err(std::io::Error::other)
        };
        let helpers = (count > 1).then(|| pool("polyhead", count - 1)).transpose()?;
        Ok(Self { helpers, iterators: pool("polyhead-iter", count)?, count })
    }

    /// What this process may use: affinity and cgroup quota count.
    pub fn available() -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    /// How many, the calling thread included.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Runs `work` where rayon's parallel iterators use these threads.
    pub fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.iterators.install(work)
    }

    /// Runs `work(team, i)` once for each `i` below `items`, each on one thread, in about the order
    /// of `i`. The team grows while `work` runs, once other threads have no item any more.
    ///
    /// # Panics
    /// If `work` does.
    pub fn for_each(&self, items: usize, work: impl Fn(&Team, usize) + Sync) {
        let next = AtomicUsize::new(0);
        let take_turns = |team: &Team| {
            loop {
                let item = next.fetch_add(1, Ordering::Relaxed);
                if item >= items {
                    return;
                }
                work(team, item);
            }
        };
        if self.helpers.is_none() {
            return take_turns(&Team::solo());
        }
        let team = |_| Arc::new(Shared::new(1, PARTS_WHEN_JOINED));
        let teams: Vec<Arc<Shared>> = (0..self.count).map(team).collect();
        let take_part = |own: usize| {
            let (before, after) = (&teams[..own], &teams[own + 1..]);
            teams[own].open.store(true, Ordering::Release);
            let close = Close(&teams[own]);
            take_turns(&Team { shared: Some(Arc::clone(&teams[own])), owner: PhantomData });
            drop(close);
            after.iter().chain(before).for_each(|other| other.join());
        };
        // For a helper that comes late, another thread takes the part, and finds no item left.
        self.team(|all| all.run(self.count, &take_part));
    }

    /// Gathers the threads for as long as `work` runs on the calling one.
    pub fn team<R>(&self, work: impl FnOnce(&Team) -> R) -> R {
        let Some(helpers) = &self.helpers else { return work(&Team::solo()) };
        let shared = Arc::new(Shared::new(self.count, 1));
        shared.open.store(true, Ordering::Release);
        // Nobody waits for a helper that does not come, since another caller has it: `run` waits
        // for parts that are claimed.
        let _close = Close(&shared);
        for _ in 1..self.count {
            let shared = Arc::clone(&shared);
            helpers.spawn(move || shared.serve());
        }
        work(&Team { shared: Some(Arc::clone(&shared)), owner: PhantomData })
    }
}

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

    /// Into how many parts an operation is best cut: it may be more the next time.
    pub fn parts(&self) -> usize {
        let Some(shared) = &self.shared else { return 1 };
        match shared.members.load(Ordering::Relaxed) {
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
                    shared.run(count, &|part| work(first + part));
                }
            }
            _ => (0..parts).for_each(work),
        }
    }

    /// Runs `work` on ranges that cover `0..total`, each `size` long but for the
    /// last: always the same ones, whoever takes them.
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
}

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
    /// By method, so that closures capture the wrapper and not its field.
    pub(crate) fn get(self) -> *mut T {
        self.0
    }
}

const MAX_PARTS: usize = 1 << 12;

/// Who joins a team is the faster one: its processor may run at twice the speed, or do nothing
/// else. It is to have more than half of the work, which with one part each it could not.
const PARTS_WHEN_JOINED: usize = 2;

/// An operation that is offered to the team.
type Work = *const (dyn Fn(usize) + Sync);

/// What the members share: a ticket that names the offered operation and its
/// next unclaimed part, and a count of the parts that are done.
struct Shared {
    /// Threads that work here, or are on their way.
    members: AtomicUsize,
    /// Into how many parts for each of them an operation is best cut.
    parts_each: usize,
    /// Whether there may be operations to come.
    open: AtomicBool,
    /// Round (32 bits), parts of this round (16), next unclaimed part (16).
    ticket: AtomicU64,
    /// Written between two rounds only, when no part is claimed and not done.
    work: UnsafeCell<Option<Work>>,
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
    /// Closed, and without an operation.
    fn new(members: usize, parts_each: usize) -> Self {
        Self {
            members: AtomicUsize::new(members),
            parts_each,
            open: AtomicBool::new(false),
            ticket: AtomicU64::new(0),
            work: UnsafeCell::new(None),
            done: AtomicUsize::new(0),
            panic: Mutex::new(None),
        }
    }

    fn run(&self, parts: usize, work: &(dyn Fn(usize) + Sync)) {
        // SAFETY: all parts of the last round are done (the loop at the end of
        // this function), so nobody reads `work`; the lifetime is erased, and
        // the pointer is not used after this function returns, since only a
        // thread with a claimed part uses it and all parts are waited for.
        unsafe {
            *self.work.get() = Some(std::mem::transmute::<
                &(dyn Fn(usize) + Sync),
                &'static (dyn Fn(usize) + Sync),
            >(work));
        }
        self.done.store(0, Ordering::Relaxed);
        let round = (self.ticket.load(Ordering::Relaxed) >> 32).wrapping_add(1) & 0xffff_ffff;
        self.ticket.store(round << 32 | (parts as u64) << 16, Ordering::Release);
        while self.claim_and_work() {}
        let mut spins = 0;
        while self.done.load(Ordering::Acquire) < parts {
            pause(&mut spins);
        }
        let panic = self.panic.lock().unwrap_or_else(|e| e.into_inner()).take();
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
            self.panic.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(panic);
        }
        self.done.fetch_add(1, Ordering::Release);
        true
    }

    /// Works here until the end, unless that was already, or nothing has begun: who waited for
    /// that could be what keeps the thread from it.
    fn join(&self) {
        if self.open.load(Ordering::Acquire) {
            self.members.fetch_add(1, Ordering::Relaxed);
            self.serve();
        }
    }

    /// The life of a worker in a team.
    fn serve(&self) {
        let mut spins = 0;
        while self.open.load(Ordering::Acquire) {
            match self.claim_and_work() {
                true => spins = 0,
                false => pause(&mut spins),
            }
        }
    }
}

/// Spins for some microseconds, then lets other threads run: with more threads
/// than cores, the one that is waited for may need this very core.
fn pause(spins: &mut u32) {
    *spins += 1;
    match *spins < 2000 {
        true => std::hint::spin_loop(),
        false => std::thread::yield_now(),
    }
}

/// Sends the members home.
struct Close<'a>(&'a Shared);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        self.0.open.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// Runs `work` on so many threads of its own at once.
    fn side_by_side(callers: usize, work: impl Fn() + Sync) {
        std::thread::scope(|scope| (0..callers).for_each(|_| drop(scope.spawn(&work))));
    }

    fn threads(count: usize) -> Threads {
        Threads::new(count).expect("threads")
    }

    #[test]
    fn every_part_of_every_round_runs_once() {
        for count in [1, 2, 3, 7] {
            threads(count).team(|team| {
                for parts in (1..40).chain([MAX_PARTS + 3]) {
                    let runs: Vec<AtomicUsize> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
                    team.run(parts, &|part| {
                        runs[part].fetch_add(1, Ordering::Relaxed);
                    });
                    assert!(runs.iter().all(|r| r.load(Ordering::Relaxed) == 1));
                }
            });
        }
    }

    #[test]
    fn every_item_is_worked_on_once() {
        for count in [1, 2, 5] {
            for items in [0, 1, 2, 100] {
                let runs: Vec<AtomicUsize> = (0..items).map(|_| AtomicUsize::new(0)).collect();
                threads(count).for_each(items, |_, i| {
                    runs[i].fetch_add(1, Ordering::Relaxed);
                });
                assert!(runs.iter().all(|r| r.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_threads_live_on() {
        let threads = threads(3);
        for _ in 0..3 {
            let result = catch_unwind(AssertUnwindSafe(|| {
                threads.team(|team| team.run(8, &|part| assert!(part != 5, "part five")))
            }));
            assert!(result.is_err());
        }
        let sum = AtomicUsize::new(0);
        threads.team(|team| {
            team.run(10, &|part| {
                sum.fetch_add(part, Ordering::Relaxed);
            })
        });
        assert_eq!(sum.into_inner(), 45);
    }

    #[test]
    fn who_has_no_item_helps_the_others() {
        let threads = threads(3);
        // The first item ends when another thread has had a part of it, or far too late.
        let (short, helped) = (AtomicUsize::new(0), AtomicBool::new(false));
        threads.for_each(200, |team, i| {
            if i > 0 {
                short.fetch_add(1, Ordering::Relaxed);
                return;
            }
            let (owner, begun) = (std::thread::current().id(), Instant::now());
            while !helped.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_secs(60) {
                team.run(team.parts(), &|_| {
                    if std::thread::current().id() != owner {
                        helped.store(true, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!((short.into_inner(), helped.into_inner()), (199, true));
    }

    #[test]
    fn many_callers_of_for_each_do_not_wait_for_each_other() {
        let threads = threads(4);
        let sum = AtomicUsize::new(0);
        side_by_side(8, || {
            for items in 0..100 {
                threads.for_each(items, |team, _| {
                    team.run(team.parts(), &|part| {
                        sum.fetch_add(usize::from(part == 0), Ordering::Relaxed);
                    });
                });
            }
        });
        assert_eq!(sum.into_inner(), 8 * 99 * 100 / 2);
    }

    #[test]
    fn nobody_waits_for_a_helper_that_another_caller_keeps() {
        let threads = threads(2);
        let (kept, ended) = (AtomicBool::new(false), AtomicBool::new(false));
        let wait_until = |holds: &dyn Fn() -> bool| {
            let begun = Instant::now();
            while !holds() && begun.elapsed() < Duration::from_secs(60) {
                std::thread::yield_now();
            }
            holds()
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                threads.team(|team| {
                    // Both parts wait for each other: one is the helper's.
                    let begun = AtomicUsize::new(0);
                    team.run(2, &|_| {
                        begun.fetch_add(1, Ordering::Relaxed);
                        assert!(wait_until(&|| begun.load(Ordering::Relaxed) == 2), "no helper");
                    });
                    kept.store(true, Ordering::Relaxed);
                    let ended = wait_until(&|| ended.load(Ordering::Relaxed));
                    assert!(ended, "the other caller has waited");
                })
            });
            assert!(wait_until(&|| kept.load(Ordering::Relaxed)));
            threads.team(|team| team.run(2, &|_| {}));
            threads.for_each(2, |_, _| {});
            ended.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn teams_of_several_callers_do_not_block_each_other() {
        let threads = threads(2);
        let sum = AtomicUsize::new(0);
        side_by_side(4, || {
            threads.team(|team| {
                for _ in 0..100 {
                    team.run(4, &|_| {
                        sum.fetch_add(1, Ordering::Relaxed);
                    });
                }
            });
        });
        assert_eq!(sum.into_inner(), 1600);
    }
}
