//! The thread that owns the pass.
//!
//! A batch of few long texts takes long. Between its layers, short texts that came in the
//! meantime are answered: then a lone long text keeps nobody waiting for more than a layer.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polyhead_model::{BatchAnswers, NotFinite, PreparedText, ResolvedRequest};

use super::isolate::isolate;
use super::queue::{Batch, BatchText};
use super::settings::Fault;
use super::shared::{Finished, HeadTimes, Health, Outcome, Shared};

/// Starts worker `number`.
pub(crate) fn start(shared: &Arc<Shared>, number: u64) -> std::io::Result<()> {
    let shared = Arc::clone(shared);
    std::thread::Builder::new()
        .name(format!("polyhead-worker-{number}"))
        .spawn(move || {
            let obituary = Obituary { shared, number };
            while let Some(batch) = obituary.shared.next_batch(number) {
                answer(&obituary.shared, number, &batch);
            }
        })
        .map(drop)
}

fn answer(shared: &Shared, number: u64, batch: &Batch) {
    if batch.texts.iter().any(|text| fault(text) == Some(Fault::Die)) {
        panic!("a fault was asked for");
    }
    run(shared, number, batch, &|asked| {
        batch.served.model.answer_preemptible(asked, &mut |gap| {
            if let Some(short) = shared.gap_batch(number, batch) {
                run(shared, number, &short, &|asked| gap.answer(asked));
            }
        })
    });
}

/// What a pass is asked.
type Asked<'a> = [(&'a ResolvedRequest, &'a PreparedText)];

/// Answers a batch with `pass`, and delivers the answers.
fn run(shared: &Shared, number: u64, batch: &Batch, pass: &dyn Fn(&Asked) -> BatchAnswers) {
    let begun = Instant::now();
    let head_times = RefCell::new(HeadTimes::default());
    let answers = isolate(&batch.texts, &|texts: &[BatchText]| {
        if !shared.pass_begins(number) {
            // Nobody waits for these answers any more.
            return texts.iter().map(|_| Outcome::Panicked).collect();
        }
        let (outcomes, times) = outcomes(texts, pass);
        head_times.borrow_mut().add(&times);
        outcomes
    });
    let outcomes = answers.into_iter().map(|answer| answer.unwrap_or(Outcome::Panicked)).collect();
    let (took, head_times) = (begun.elapsed(), head_times.into_inner());
    shared.finish(number, batch, Finished { outcomes, took, head_times });
}

fn outcomes(
    texts: &[BatchText],
    pass: &dyn Fn(&Asked) -> BatchAnswers,
) -> (Vec<Outcome>, Vec<(usize, Duration)>) {
    for text in texts {
        match fault(text) {
            // In a gap, nothing is at hand that could die.
            Some(Fault::Panic | Fault::Die) => panic!("a fault was asked for"),
            Some(Fault::Sleep(time)) => std::thread::sleep(time),
            _ => {}
        }
    }
    let asked: Vec<_> = texts
        .iter()
        .map(|text| (&text.request.question, &text.request.texts[text.id.index]))
        .collect();
    let BatchAnswers { texts: answers, head_times } = pass(&asked);
    let outcomes = answers.into_iter().zip(texts).map(|(answer, text)| match answer {
        Ok(_) if fault(text) == Some(Fault::NotFinite) => {
            Outcome::NotFinite(NotFinite { task: None, value: f32::NAN })
        }
        Ok(answer) => Outcome::Answered(answer),
        Err(wrong) => Outcome::NotFinite(wrong),
    });
    (outcomes.collect(), head_times)
}

fn fault(text: &BatchText) -> Option<Fault> {
    text.request.faults[text.id.index]
}

/// Tells of the end of a worker, however it comes.
struct Obituary {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Obituary {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if state.worker.number != self.number {
            state.counters.abandoned_threads -= 1;
        } else if std::thread::panicking() {
            state.worker.health = Health::Dead;
            self.shared.trouble.notify_one();
        }
    }
}
