//! Evaluations of a run: answers of the starting model, and metrics on dev between steps.

use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::data::Part;
use crate::error::Error;
use crate::evaluate::{Answers, EvalRequest, criterion, deciding_loss};
use crate::run::events::{Evaluated, Event};
use crate::run::head_teacher::{head_answers, teacher_of};
use crate::run::{Emit, Run};
use crate::tasks::TaskMetrics;

/// Answers of the starting model on dev.
#[derive(Default)]
pub(crate) struct Start {
    /// Metrics of each task; `None` if the head is new.
    pub(crate) metrics: Vec<Option<TaskMetrics>>,
    /// Sentence vectors of each source, if training changes them.
    pub(crate) vectors: Vec<Vec<f32>>,
}

impl Run<'_> {
    /// Evaluates the starting model before training: answers that tasks are held to, metrics of
    /// its own heads, sentence vectors.
    pub(super) fn look_at_start(&mut self, emit: &mut Emit) -> Result<(), Error> {
        let tasks = self.plan.objectives.len();
        self.start.metrics = vec![None; tasks];
        let moves = self.plan.moves_vectors();
        let some_known = self.plan.known.contains(&true);
        for source in 0..self.plan.data.sources.len() {
            let mut vectors = Vec::new();
            if (moves || some_known)
                && let Some(answers) = self.answers(source, Part::Dev, moves)?
            {
                let (tasks, found) = self.score_source(source, Part::Dev, &answers);
                for (task, found) in tasks.into_iter().zip(found) {
                    if self.plan.known[task] {
                        self.start.metrics[task] = found;
                    }
                }
                vectors = answers.vectors;
            }
            self.start.vectors.push(vectors);
            let held: Vec<usize> = self.plan.data.sources[source]
                .tasks
                .iter()
                .copied()
                .filter(|task| self.learner.objectives[*task].teacher.is_some())
                .collect();
            let (taught, held): (Vec<usize>, Vec<usize>) = held
                .into_iter()
                .partition(|task| teacher_of(&self.plan.config.tasks[*task]).is_some());
            for task in taught {
                let settings = &self.plan.config.tasks[task];
                let labels = &self.plan.data.tasks[task].labels;
                let target = self.learner.objectives[task].target;
                let train = &self.plan.data.sources[source].train;
                self.teachers[task] = head_answers(settings, labels, target, train, self.threads)?;
            }
            if !held.is_empty()
                && let Some(mut answers) = self.answers(source, Part::Train, false)?
            {
                for task in held {
                    self.teachers[task] = std::mem::take(&mut answers.logits[task]);
                }
            }
        }
        if some_known {
            let names = self.plan.config.tasks.iter().map(|task| task.name.clone());
            let tasks = names.zip(self.start.metrics.clone()).collect();
            emit(Event::Evaluated(&Evaluated {
                step: 0,
                epoch: 0,
                tasks,
                score: None,
                best: false,
            }));
        }
        Ok(())
    }

    /// Evaluates on dev; saves the weights if they are the best so far.
    pub(crate) fn evaluate(&mut self, emit: &mut Emit) -> Result<(), Error> {
        let begin = Instant::now();
        let metrics = self.score(Part::Dev)?;
        let score = criterion(&self.plan.config, &metrics);
        let best = self.best.update(score, deciding_loss(&self.plan.config, &metrics), self.done);
        let patience = self.plan.config.train.patience.get() as u64;
        self.gave_up = patience > 0 && self.best.since >= patience && self.best.score.is_some();
        let names = self.plan.config.tasks.iter().map(|task| task.name.clone());
        let evaluated = Evaluated {
            step: self.done,
            epoch: self.epoch_of(self.done),
            tasks: names.zip(metrics).collect(),
            score,
            best,
        };
        if evaluated.tasks.iter().any(|(_, metrics)| metrics.is_some()) {
            self.metrics.append(&json!({
                "step": evaluated.step,
                "epoch": evaluated.epoch,
                "dev": scores_by_task(&evaluated.tasks),
                "score": score,
                "best": best,
            }))?;
            emit(Event::Evaluated(&evaluated));
        }
        if best {
            self.keep_best()?;
        }
        if self.gave_up {
            emit(Event::Notice(&format!(
                "step {}: {patience} evaluations without improvement end the run",
                self.done
            )));
        }
        self.times.evaluation += begin.elapsed().as_secs_f64();
        Ok(())
    }

    /// Metrics of every task on one split of its data.
    pub(crate) fn score(&mut self, part: Part) -> Result<Vec<Option<TaskMetrics>>, Error> {
        let mut metrics = vec![None; self.plan.objectives.len()];
        for source in 0..self.plan.data.sources.len() {
            if let Some(answers) = self.answers(source, part, false)? {
                let (tasks, found) = self.score_source(source, part, &answers);
                for (task, found) in tasks.into_iter().zip(found) {
                    metrics[task] = found;
                }
            }
        }
        Ok(metrics)
    }

    /// The tasks of a source, and their metrics.
    pub(crate) fn score_source(
        &self,
        source: usize,
        part: Part,
        answers: &Answers,
    ) -> (Vec<usize>, Vec<Option<TaskMetrics>>) {
        let specs: Vec<_> = (0..self.plan.objectives.len())
            .map(|task| self.learner.network.head_spec(task).clone())
            .collect();
        let source = &self.plan.data.sources[source];
        let all = answers.score(source.split(part), &specs, &self.learner.objectives);
        let found = source.tasks.iter().map(|task| all[*task].clone()).collect();
        (source.tasks.clone(), found)
    }

    /// Answers of a source's tasks for one split; `None` if it has no rows.
    pub(crate) fn answers(
        &mut self,
        source: usize,
        part: Part,
        vectors: bool,
    ) -> Result<Option<Answers>, Error> {
        let Self { plan, learner, caches, threads, .. } = self;
        let split = plan.data.sources[source].split(part);
        if split.is_empty() {
            return Ok(None);
        }
        let tasks = &plan.data.sources[source].tasks;
        let prompt_tokens = plan.prompt_tokens;
        let (network, depth, pass) = learner.parts();
        let active: Vec<bool> =
            (0..network.head_count()).map(|head| tasks.contains(&head)).collect();
        let questions =
            EvalRequest { active: &active, vectors, prompt_tokens, depth, encoder: None };
        let cache = caches.of(source, part);
        Answers::of(network, threads, split, &questions, cache, pass).map(Some)
    }
}

/// Scores by task, for tasks that have some. Confusion matrices are left out: the log has many
/// lines, and a model folder is read at every start.
pub(crate) fn scores_by_task(tasks: &[(String, Option<TaskMetrics>)]) -> Value {
    let mut object = Map::new();
    for (name, metrics) in tasks {
        if let Some(metrics) = metrics {
            let scores = metrics.scores().map(|(score, value)| (score.to_owned(), json!(value)));
            object.insert(name.clone(), Value::Object(scores.collect()));
        }
    }
    Value::Object(object)
}
