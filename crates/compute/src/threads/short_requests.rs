//! Thousands of short requests: each ends, and every thread wakes up for it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread::{sleep, spawn, yield_now};
use std::time::Duration;

use super::Threads;

/// Far longer than all requests of a test take, on the slowest machine.
const TIME: Duration = Duration::from_secs(120);

/// Runs `work(progress)` on a thread of its own, and fails when it has not ended after [`TIME`].
fn within_time(work: impl FnOnce(&AtomicUsize) + Send + 'static) {
    static REQUESTS: AtomicUsize = AtomicUsize::new(0);
    let (sender, ended) = channel();
    spawn(move || {
        work(&REQUESTS);
        let _ = sender.send(());
    });
    let result = ended.recv_timeout(TIME);
    let requests = REQUESTS.load(Ordering::Relaxed);
    assert!(result.is_ok(), "after {requests} requests: {result:?}");
}

/// Waits in some of the requests so that threads are about to sleep, or asleep, at the next one.
fn rest(request: usize) {
    match request % 16 {
        0 => sleep(Duration::from_micros(60)),
        1..4 => (0..request % 100).for_each(|_| yield_now()),
        _ => (),
    }
}

#[test]
fn every_thread_wakes_up_for_each_of_ten_thousand_requests() {
    within_time(|requests| {
        for count in 1..=5 {
            let threads = Threads::new(count).expect("threads");
            for request in 0..2000 {
                rest(request);
                // Each part waits for all others, so each thread has one.
                let begun = AtomicUsize::new(0);
                threads.team(|team| {
                    team.run(count, &|_| {
                        begun.fetch_add(1, Ordering::Relaxed);
                        while begun.load(Ordering::Relaxed) < count {
                            yield_now();
                        }
                    });
                });
                requests.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
}

#[test]
fn ten_thousand_requests_of_several_callers_end() {
    const CALLERS: usize = 4;
    const REQUESTS: usize = 500;
    within_time(|requests| {
        for count in 1..=5 {
            let threads = Threads::new(count).expect("threads");
            let (parts, items) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let call = |request: usize| {
                rest(request);
                if request.is_multiple_of(2) {
                    return threads.team(|team| {
                        for _ in 0..3 {
                            team.run(4, &|_| {
                                parts.fetch_add(1, Ordering::Relaxed);
                            });
                        }
                    });
                }
                threads.for_each(3, |team, _| {
                    team.run(team.parts(), &|part| {
                        items.fetch_add(usize::from(part == 0), Ordering::Relaxed);
                    });
                });
            };
            std::thread::scope(|scope| {
                for caller in 0..CALLERS {
                    let call = &call;
                    scope.spawn(move || {
                        for request in 0..REQUESTS {
                            call(caller + request);
                            requests.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
            });
            let half = CALLERS * REQUESTS / 2;
            assert_eq!((parts.into_inner(), items.into_inner()), (12 * half, 3 * half));
        }
    });
}
