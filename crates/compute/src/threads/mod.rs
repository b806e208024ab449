//! Threads: many texts in parallel, or one operation split across all threads.
//!
//! [`Threads`] owns the worker threads. [`Threads::team`] gathers them around the calling thread
//! for as long as a closure runs; inside, [`Team::run`] splits one operation into parts. Workers
//! spin while they wait for the next operation, which is microseconds away. Parts are claimed, not
//! assigned: a worker that arrives late, or never because another team has it, only costs speed.
//! [`Team::solo`] is the team of one.
//!
//! [`Threads::for_each`] gives each thread a team of its own and items of work. A thread that finds
//! no item left joins the team of another thread, so that all threads finish together.

mod share;
mod team;

#[cfg(test)]
mod short_requests;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) use self::share::{SharedPointer, share, share_in_steps};
pub use self::team::Team;
use self::team::{MAX_PARTS, Shared};

/// Worker threads that wait for work; the thread that calls is one more.
pub struct Threads {
    /// All threads but the calling one. `None` for one thread: then the caller does everything.
    helpers: Option<rayon::ThreadPool>,
    count: usize,
}

impl Threads {
    /// Starts threads: `count` with the calling one, at least one.
    ///
    /// # Errors
    /// If the operating system gives no thread.
    pub fn new(count: usize) -> std::io::Result<Self> {
        let count = count.clamp(1, MAX_PARTS);
        let helpers = (count > 1).then(|| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(count - 1);
            pool.thread_name(|i| format!("polyhead-{i}")).build().map_err(std::io::Error::other)
        });
        Ok(Self { helpers: helpers.transpose()?, count })
    }

    /// Number of threads that this process may use, by affinity and cgroup quota.
    pub fn available() -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    /// Number of threads, the calling one included.
    pub fn count(&self) -> usize {
        self.count
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
            let close = teams[own].open();
            take_turns(&Team::of(&teams[own]));
            drop(close);
            after.iter().chain(before).for_each(|other| other.join());
        };
        // If a helper comes late, another thread takes its part and finds no item left.
        self.team(|all| all.run(self.count, &take_part));
    }

    /// Gathers the threads for as long as `work` runs on the calling one.
    pub fn team<R>(&self, work: impl FnOnce(&Team) -> R) -> R {
        let Some(helpers) = &self.helpers else { return work(&Team::solo()) };
        let shared = Arc::new(Shared::new(self.count, 1));
        // A helper that another caller has is not waited for: `run` waits for claimed parts only.
        let _close = shared.open();
        for number in helpers_called_by(0, self.count) {
            let (shared, count) = (Arc::clone(&shared), self.count);
            helpers.spawn(move || help(&shared, number, count));
        }
        work(&Team::of(&shared))
    }
}

/// Threads that thread `number` of `count` wakes, so that all are awake after as many steps as a
/// binary tree has levels. The calling thread is number 0. It takes some microseconds to wake a
/// thread: the caller would still wake the last of 64 when a short text is done.
fn helpers_called_by(number: usize, count: usize) -> Range<usize> {
    count.min(2 * number + 1)..count.min(2 * number + 3)
}

/// Work of helper `number`: wakes others, then works until the team closes.
fn help(shared: &Arc<Shared>, number: usize, count: usize) {
    if !shared.is_open() {
        return;
    }
    for next in helpers_called_by(number, count) {
        let shared = Arc::clone(shared);
        rayon::spawn(move || help(&shared, next, count));
    }
    shared.serve();
}

/// Parts for each thread of a team that others join. The thread that joins is often the faster
/// one: it should get more than half of the work, which is impossible with one part for each.
const PARTS_WHEN_JOINED: usize = 2;

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::AtomicBool;
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
