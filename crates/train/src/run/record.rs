//! The checkpoints and the best weights of a run: writing them, and going on from one.

use std::collections::BTreeMap;
use std::time::Instant;

use polyhead_model::TrainableLayout;

use crate::checkpoint::{self, Checkpoints, Snapshot};
use crate::config::TaskSettings;
use crate::error::{Error, ErrorKind};
use crate::evaluate::Best;
use crate::run::directory::CHECKPOINTS;
use crate::run::events::Event;
use crate::run::log_window::LogWindow;
use crate::run::{Emit, Run};
use crate::step::{AdamW, AdamWSettings};

impl Run<'_> {
    /// Writes a checkpoint.
    pub(crate) fn save(&mut self, emit: &mut Emit) -> Result<(), Error> {
        let begin = Instant::now();
        self.metrics.sync()?;
        self.timings.sync()?;
        let record = checkpoint::SavedProgress {
            hooks: self.hooks.save()?,
            hook_names: self.hooks.names(),
            ..self.progress_record()
        };
        let snapshot = Snapshot {
            progress: &record,
            store: self.learner.network.store(),
            trained: &self.plan.freeze.ever_trainable(),
            optimizer: &self.learner.optimizer,
        };
        self.checkpoints().save(&snapshot)?;
        // If this checkpoint is damaged one day, the one before it is gone on from.
        let needed = self.best_kept.min(self.best.step);
        self.best_weights().discard(|step| step < needed)?;
        self.best_kept = self.best.step;
        emit(Event::Checkpointed { step: self.done });
        self.times.checkpoints += begin.elapsed().as_secs_f64();
        Ok(())
    }

    /// Keeps the weights of now as the best ones.
    pub(super) fn keep_best(&mut self) -> Result<(), Error> {
        let store = self.learner.network.store();
        let nothing = vec![false; store.entries().len()];
        let settings = AdamWSettings::new(&self.plan.config.train);
        let no_moments = AdamW::new(settings, TrainableLayout::new(store, &nothing));
        // Also what is trained only later: at the end, all of it comes back.
        let trained = self.plan.freeze.ever_trainable();
        let snapshot = Snapshot {
            progress: &self.progress_record(),
            store,
            trained: &trained,
            optimizer: &no_moments,
        };
        let saved = self.best_weights().add(&snapshot).map(|_| ());
        saved.map_err(|error| {
            let stands = self.checkpoints().what_stands();
            let message = format!(
                "best weights, of step {}: {error}; of the checkpoints, {stands}",
                self.done
            );
            Error::new(error.kind(), message)
        })
    }

    /// The folder of the best weights so far. Those that checkpoints know of stay
    /// beside newer ones, since a run may go on from any of these checkpoints.
    pub(crate) fn best_weights(&self) -> Checkpoints {
        Checkpoints::new(self.directory.join(CHECKPOINTS).join("best"), 1)
    }

    pub(super) fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(self.directory.join(CHECKPOINTS), self.plan.config.checkpoint.keep.get())
    }

    pub(super) fn progress_record(&self) -> checkpoint::SavedProgress {
        checkpoint::SavedProgress {
            step: self.done,
            epoch: self.epoch_of(self.done),
            best: self.best.score.map(|value| {
                let Best { step, loss, .. } = self.best;
                checkpoint::SavedBest { step, value, loss }
            }),
            evaluations_without_improvement: self.best.since as usize,
            metrics_bytes: self.metrics.bytes(),
            timings_bytes: self.timings.bytes(),
            seconds: self.times.total(),
            config_hash: self.plan.config.hash(),
            data_hash: self.plan.data.sha256(),
            model_hash: self.model_hash.clone(),
            window: self.window.to_words(),
            gave_up: self.gave_up,
            times: self.times,
            targets: self.target_scales(),
            ..Default::default()
        }
    }

    /// The scale of targets of each task that has one.
    fn target_scales(&self) -> BTreeMap<String, String> {
        let tasks = self.plan.config.tasks.iter().zip(&self.learner.objectives);
        let scales = tasks.filter_map(|(task, objective)| {
            objective.target.map(|scale| (task.name.clone(), scale.to_string()))
        });
        scales.collect()
    }

    /// Goes on from a checkpoint.
    pub(super) fn restore(
        &mut self,
        state: &checkpoint::TrainState,
        emit: &mut Emit,
    ) -> Result<(), Error> {
        let progress = &state.progress;
        let data = self.plan.data.sha256();
        if progress.data_hash != data {
            let message = format!(
                "the data are not those that the run began with: expected SHA-256 {}, found {data}",
                progress.data_hash
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
        if progress.model_hash != self.model_hash {
            let message = format!(
                "{} is not the model that the run began with: expected numbers of SHA-256 {}, \
                 found {}",
                self.plan.config.encoder.model, progress.model_hash, self.model_hash
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
        self.hooks.restore(&progress.hooks, &progress.hook_names)?;
        let scales = self.target_scales();
        // The scales of new heads follow from the data, which are the same.
        let changed =
            |task: &&TaskSettings| progress.targets.get(&task.name) != scales.get(&task.name);
        if let Some(task) = self.plan.config.tasks.iter().find(changed) {
            let none = "none".to_owned();
            let message = format!(
                "task `{}`: the head in {} has another scale of targets than when the run \
                 began: expected {}, found {}",
                task.name,
                self.plan.config.encoder.model,
                progress.targets.get(&task.name).unwrap_or(&none),
                scales.get(&task.name).unwrap_or(&none),
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
        let tasks = self.plan.objectives.len();
        self.window = LogWindow::from_words(&progress.window, tasks).ok_or_else(|| {
            let message = format!(
                "checkpoint of step {}: expected sums of {tasks} tasks, found {} numbers",
                progress.step,
                progress.window.len()
            );
            Error::new(ErrorKind::Run, message)
        })?;
        self.gave_up = progress.gave_up;
        self.times = progress.times;
        self.done = progress.step;
        self.best = Best {
            score: progress.best.map(|best| best.value),
            loss: progress.best.map_or(f64::INFINITY, |best| best.loss),
            step: progress.best.map_or(0, |best| best.step),
            since: progress.evaluations_without_improvement as u64,
        };
        self.best_kept = self.best.step;
        // Those of steps that are done again come again.
        self.best_weights().discard(|step| step > self.done)?;
        let settings = AdamWSettings::new(&self.plan.config.train);
        let Self { learner, threads, .. } = self;
        learner.optimizer = threads.cpu(learner.network.isa(), |cpu| {
            learner.network.update(cpu, &|_| true, |store| state.restore(store, settings))
        })?;
        emit(Event::Notice(&format!("going on after step {}", self.done)));
        Ok(())
    }
}
