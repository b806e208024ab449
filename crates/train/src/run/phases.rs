//! Phases of freezing: the trained parameters from a step on, and the proof that the others did
//! not change.

use crate::error::Error;
use crate::freeze::FrozenTensors;
use crate::run::events::Event;
use crate::run::{Emit, Run};
use crate::step::Passes;

impl Run<'_> {
    /// Starts training the parameters of step `step`.
    pub(crate) fn enter_phase(&mut self, step: u64, emit: &mut Emit) -> Result<(), Error> {
        let trainable = self.plan.freeze.trainable(step);
        if trainable != self.trainable {
            self.end_phase()?;
            let later = self.plan.freeze.ever_trainable();
            let only_now: Vec<bool> =
                trainable.iter().zip(later).map(|(now, later)| !now && later).collect();
            let store = self.learner.network.store();
            self.frozen_in_phase = Some((step, FrozenTensors::new(store, &only_now)));
            self.set_trainable(step, trainable);
            let spans = self.plan.freeze.spans();
            let at = spans.iter().position(|span| span.last >= step).unwrap_or(0);
            if let Some(line) = self.plan.freeze.lines().get(at) {
                emit(Event::Phase { step, line });
            }
        }
        Ok(())
    }

    /// Proves that the tensors frozen in this phase are unchanged.
    pub(super) fn end_phase(&mut self) -> Result<(), Error> {
        if let Some((first, frozen)) = self.frozen_in_phase.take() {
            let line = frozen.verify_steps(self.learner.network.store(), first, self.done)?;
            self.frozen_phases.extend(line);
        }
        Ok(())
    }

    /// Proves after the last step that frozen tensors are unchanged; returns a line for the user.
    pub(crate) fn prove_frozen(&mut self) -> Result<String, Error> {
        self.end_phase()?;
        let whole = self.frozen.verify(self.learner.network.store())?;
        Ok(match &self.frozen_phases[..] {
            [] => whole,
            phases => format!("{whole}; unchanged while they were frozen: {}", phases.join(", ")),
        })
    }

    /// Trains these parameters from step `step` on.
    pub(super) fn set_trainable(&mut self, step: u64, trainable: Vec<bool>) {
        self.learner.set_trainable(self.threads, &trainable);
        self.trainable = trainable;
        if !self.caches.fits(self.learner.depth()) {
            let passes = self.passes_from(step);
            let width = self.learner.network.config().hidden_size;
            let (depth, budget) = (self.learner.depth(), self.plan.config.train.cache_bytes);
            self.caches.renew(step, depth, width, &self.plan.data, budget, &passes);
        }
    }

    /// The passes over each source from step `step` on, until the states worth caching change.
    pub(super) fn passes_from(&self, step: u64) -> Vec<Passes> {
        let cached = &self.learner.depth().cached;
        let spans = self.plan.freeze.spans();
        let changes = spans.iter().map(|span| span.first).filter(|first| *first > step);
        let end = changes
            .into_iter()
            .find(|first| {
                self.learner.depth_of(&self.plan.freeze.trainable(*first)).cached != *cached
            })
            .map_or(self.plan.total_steps, |first| first - 1);
        let every = match self.plan.config.train.evaluate_every {
            0 => self.plan.sampler.steps_per_epoch(),
            every => every,
        };
        let mut looks = end / every - (step - 1) / every;
        if end == self.plan.total_steps {
            // An evaluation always follows the last step, and another one the finished model.
            looks += 1 + u64::from(!end.is_multiple_of(every));
        }
        let sampler = &self.plan.sampler;
        let (before, after) = (sampler.effective_epochs(step - 1), sampler.effective_epochs(end));
        let train = before.iter().zip(after).map(|(before, after)| after - before);
        train.map(|train| Passes { train, dev: looks as f64 }).collect()
    }
}
