//! The thread that runs forward passes.
//!
//! A batch of a few long texts takes long. Between its layers, the worker answers short texts that
//! arrived in the meantime, so a long text delays others by one layer at most.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polyhead_model::{BatchAnswers, NotFinite, PreparedText, ResolvedRequest};

use super::isolate::isolate;
use super::queue::{Batch, BatchText};
use super::settings::Fault;
use super::shared::{FinishedBatch, Outcome, Shared, WorkerHealth};

pub(crate) fn start(shared: &Arc<Shared>, number: u64) -> std::io::Result<()> {
    let shared = Arc::clone(shared);
    std::thread::Builder::new()
        .name(format!("polyhead-worker-{number}"))
        .spawn(move || {
            let guard = WorkerGuard { shared, number };
            while let Some(batch) = guard.shared.next_batch(number) {
                answer_preemptible(&guard.shared, number, &batch);
            }
        })
        .map(drop)
}

/// Answers a batch, and short texts between its layers.
fn answer_preemptible(shared: &Shared, number: u64, batch: &Batch) {
    if batch.texts.iter().any(|text| fault(text) == Some(Fault::Die)) {
        panic!("a test injected this fault");
    }
    answer_batch(shared, number, batch, &|texts| {
        batch.served.model.answer_preemptible(texts, &mut |layer_break| {
            if let Some(short) = shared.layer_break_batch(number, batch) {
                answer_batch(shared, number, &short, &|texts| layer_break.answer(texts));
            }
        })
    });
}

/// The texts of one forward pass.
type PassInput<'a> = [(&'a ResolvedRequest, &'a PreparedText)];

/// Answers a batch with `pass` and returns the outcomes to the queue.
fn answer_batch(
    shared: &Shared,
    number: u64,
    batch: &Batch,
    pass: &dyn Fn(&PassInput) -> BatchAnswers,
) {
    let begun = Instant::now();
    let head_times = RefCell::new(BTreeMap::new());
    let answers = isolate(&batch.texts, &|texts: &[BatchText]| {
        if !shared.begin_pass(number) {
            // This worker has been abandoned: no request waits for these answers.
            return texts.iter().map(|_| Outcome::Panicked).collect();
        }
        let (outcomes, times) = outcomes(texts, pass);
        for (task, time) in times {
            *head_times.borrow_mut().entry(task).or_insert(Duration::ZERO) += time;
        }
        outcomes
    });
    let outcomes = answers.into_iter().map(|answer| answer.unwrap_or(Outcome::Panicked)).collect();
    let (took, head_times) = (begun.elapsed(), head_times.into_inner());
    shared.finish(number, batch, FinishedBatch { outcomes, took, head_times });
}

fn outcomes(
    texts: &[BatchText],
    pass: &dyn Fn(&PassInput) -> BatchAnswers,
) -> (Vec<Outcome>, Vec<(usize, Duration)>) {
    for text in texts {
        match fault(text) {
            // Between layers, a thread cannot die alone: the fault is a panic there.
            Some(Fault::Panic | Fault::Die) => panic!("a test injected this fault"),
            Some(Fault::Sleep(time)) => std::thread::sleep(time),
            _ => {}
        }
    }
    let input: Vec<_> = texts
        .iter()
        .map(|text| (&text.request.resolved, &text.request.texts[text.id.index]))
        .collect();
    let BatchAnswers { texts: answers, head_times } = pass(&input);
    let outcomes = answers.into_iter().zip(texts).map(|(answer, text)| match answer {
        Ok(_) if fault(text) == Some(Fault::NotFinite) => {
            Outcome::NotFinite(NotFinite { task: None, value: f32::NAN })
        }
        Ok(answer) => Outcome::Answer(answer),
        Err(wrong) => Outcome::NotFinite(wrong),
    });
    (outcomes.collect(), head_times)
}

fn fault(text: &BatchText) -> Option<Fault> {
    text.request.faults[text.id.index]
}

/// Reports the worker's exit to the supervisor, on return and on panic.
struct WorkerGuard {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for WorkerGuard {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if state.worker.number != self.number {
            self.shared.metrics.abandoned_threads.dec();
        } else if std::thread::panicking() {
            state.worker.health = WorkerHealth::Dead;
            self.shared.supervisor_wake.notify_one();
        }
    }
}
