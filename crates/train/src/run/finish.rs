//! The end of a run after its last step: the best weights, calibration, the final metrics, the
//! model folder.

use std::path::PathBuf;

use polyhead_files::write_folder;
use polyhead_model::cosine;
use serde::Serialize;
use serde_json::{Value, json};

use crate::config::AfterRun;
use crate::data::{Part, Tokenize};
use crate::error::Error;
use crate::evaluate::{Answers, EvalRequest, score_raw_text};
use crate::run::directory::{MODEL, REPORT};
use crate::run::evaluation::scores_by_task;
use crate::run::events::Event;
use crate::run::text_tokenizer::TextTokenizer;
use crate::run::{NOT_REMOVED, Run};
use crate::step::AdamWSettings;
use crate::step::CacheCounts;
use crate::tasks::{Calibration, MANY_LABELS, TaskMetrics};

/// The result of a run.
#[derive(Clone, Debug, Serialize)]
pub struct RunSummary {
    /// Path of the model folder.
    pub model: PathBuf,
    /// Path of the run's page, `report.html`, which `polyhead-report` draws from `report.json`.
    pub report: PathBuf,
    /// Steps done.
    pub steps: u64,
    /// The step that the model is of.
    pub best_step: u64,
    /// In the order of the tasks.
    pub tasks: Vec<TaskSummary>,
    /// Mean cosine of the dev texts' vectors to those of the starting model; `None`
    /// where nothing moved them, or without dev data.
    pub vector_cosine: Option<f64>,
    /// The parameters that were frozen for the whole run, checked number by number.
    pub frozen: String,
    /// Differences between the model and the one that the configuration describes; none in a run
    /// without problems.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Hidden states that were kept.
    #[serde(skip)]
    pub cache: CacheCounts,
    /// Seconds of training, over all sessions.
    #[serde(skip)]
    pub seconds: f64,
}

/// The result of a task.
#[derive(Clone, Debug, Serialize)]
pub struct TaskSummary {
    /// The task's name.
    pub name: String,
    /// On dev, of the starting model, where it had the head.
    pub before: Option<TaskMetrics>,
    /// On dev, of the model.
    pub dev: Option<TaskMetrics>,
    /// On test.
    pub test: Option<TaskMetrics>,
    /// The temperature that dev gives, and what it does.
    pub calibration: Option<Calibration>,
    /// Multi-label: one per label; none with more than [`MANY_LABELS`], whose model has them.
    pub thresholds: Vec<f32>,
    /// True if the thresholds were chosen on the dev rows, so that `dev` flatters the model.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub thresholds_chosen_on_dev: bool,
}

/// Answers of the finished model to one part of a source's data.
pub(crate) struct FinalAnswers {
    pub(crate) source: usize,
    pub(crate) part: Part,
    pub(crate) answers: Answers,
}

impl Run<'_> {
    /// Ends the run: best weights, temperatures and thresholds, metrics, model
    /// folder, `report.json`.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind) if something cannot be written.
    pub(crate) fn finish(mut self, emit: &mut dyn FnMut(Event)) -> Result<RunSummary, Error> {
        let frozen = self.prove_frozen()?;
        let best_step = self.take_best_weights(emit)?;
        let mut all = Vec::new();
        for source in 0..self.plan.data.sources.len() {
            for part in [Part::Dev, Part::Test] {
                let vectors = part == Part::Dev && self.plan.moves_vectors();
                if let Some(answers) = self.answers(source, part, vectors)? {
                    all.push(FinalAnswers { source, part, answers });
                }
            }
        }
        let calibrations = self.calibrate(&all, emit);
        let mut tasks = self.task_summaries(&all, calibrations);
        let vector_cosine = self.vector_cosines(&all).map(|all| mean(&all));
        let finals = |part: &dyn Fn(&TaskSummary) -> Option<TaskMetrics>| {
            scores_by_task(&tasks.iter().map(|t| (t.name.clone(), part(t))).collect::<Vec<_>>())
        };
        let metrics = json!({
            "dev": finals(&|task| task.dev.clone()),
            "test": finals(&|task| task.test.clone()),
        });
        for warning in &self.warnings {
            self.metrics.append(&json!({"step": self.done, "warning": warning}))?;
        }
        self.metrics.append(&json!({
            "step": self.done,
            "epoch": self.epoch_of(self.done),
            "best_step": best_step,
            "final": metrics,
            "vector_cosine": vector_cosine,
        }))?;
        self.metrics.sync()?;
        self.timings.sync()?;
        self.write_model(best_step, metrics)?;
        self.score_raw_texts(&mut tasks)?;
        let summary = RunSummary {
            model: self.directory.join(MODEL),
            report: self.directory.join(REPORT),
            steps: self.done,
            best_step,
            tasks,
            vector_cosine,
            frozen,
            warnings: self.warnings.clone(),
            cache: self.caches.counts(),
            seconds: self.times.total(),
        };
        self.write_report(&summary, &all)?;
        if self.plan.config.output.answers == Some(true) {
            self.write_answers(&all)?;
        }
        self.directory.finish(&summary)?;
        if self.plan.config.checkpoint.after == AfterRun::Remove
            && let Err(error) = self.directory.remove_checkpoints()
        {
            emit(Event::Warning(&format!("{NOT_REMOVED}: {error}")));
        }
        emit(Event::Finished(&summary));
        Ok(summary)
    }

    /// Goes back to the best weights; says of which step they are.
    fn take_best_weights(&mut self, emit: &mut dyn FnMut(Event)) -> Result<u64, Error> {
        let (last, best) = (self.done, self.best.step);
        let judged = self.plan.data.sources.iter().any(|source| !source.dev.is_empty());
        if self.best.score.is_none() && judged && last > 0 {
            let warning = "on dev, `train.best` never had a value to choose by: the model is that \
                           of the last step";
            self.warn(warning.to_owned(), emit);
        }
        if self.best.score.is_none() || best == last {
            return Ok(last);
        }
        let state = match self.best_weights().of_step(best) {
            Ok(state) => state,
            Err(error) => {
                let warning = format!(
                    "the best weights, of step {best}, cannot be read: {error}; the model is that \
                     of the last step, {last}"
                );
                self.warn(warning, emit);
                return Ok(last);
            }
        };
        let settings = AdamWSettings::new(&self.plan.config.train);
        let Self { learner, threads, .. } = self;
        threads.cpu(learner.network.isa(), |cpu| {
            learner.network.update(cpu, &|_| true, |store| state.restore(store, settings))
        })?;
        self.caches.go_back_to(best);
        Ok(best)
    }

    /// Warns now and in all records of the run.
    fn warn(&mut self, warning: String, emit: &mut dyn FnMut(Event)) {
        emit(Event::Warning(&warning));
        self.warnings.push(warning);
    }

    /// Adds what tagging tasks find in the raw texts of dev. It chooses nothing and is in no record
    /// that another run could be compared by.
    fn score_raw_texts(&mut self, tasks: &mut [TaskSummary]) -> Result<(), Error> {
        let Self { plan, learner, threads, .. } = self;
        let tokenizer =
            TextTokenizer::new(("encoder.max_length", Some(plan.max_length)), &plan.folder)?;
        let tokenize: &Tokenize<'_> = &|texts| tokenizer.tokenize(threads, texts);
        for (task, summary) in tasks.iter_mut().enumerate() {
            let Some(TaskMetrics::Tokens(metrics)) = &mut summary.dev else { continue };
            let dev = &plan.data.sources[plan.data.tasks[task].source].dev;
            let (network, depth, pass) = learner.parts();
            let questions = EvalRequest {
                active: &[],
                vectors: false,
                prompt_tokens: plan.prompt_tokens,
                depth,
                encoder: None,
            };
            let head = (task, network.head_spec(task));
            metrics.raw_text =
                score_raw_text((network, threads), dev, head, &questions, tokenize, pass)?;
        }
        Ok(())
    }

    fn task_summaries(
        &self,
        all: &[FinalAnswers],
        calibrations: Vec<(Option<Calibration>, bool)>,
    ) -> Vec<TaskSummary> {
        let mut tasks: Vec<TaskSummary> = calibrations
            .into_iter()
            .enumerate()
            .map(|(task, (calibration, chosen))| {
                let spec = self.learner.network.head_spec(task);
                TaskSummary {
                    thresholds_chosen_on_dev: chosen,
                    name: spec.name.clone(),
                    before: self.start.metrics[task].clone(),
                    dev: None,
                    test: None,
                    calibration,
                    thresholds: match spec.labels.len() {
                        0..=MANY_LABELS => spec.thresholds.clone(),
                        _ => Vec::new(),
                    },
                }
            })
            .collect();
        for FinalAnswers { source, part, answers } in all {
            let (of, found) = self.score_source(*source, *part, answers);
            for (task, found) in of.into_iter().zip(found) {
                match part {
                    Part::Dev => tasks[task].dev = found,
                    _ => tasks[task].test = found,
                }
            }
        }
        tasks
    }

    /// The cosine of each dev text's vector to that of the starting model.
    pub(crate) fn vector_cosines(&self, all: &[FinalAnswers]) -> Option<Vec<f64>> {
        let width = self.learner.network.head_dims().embedding;
        let mut cosines = Vec::new();
        for dev in all.iter().filter(|answers| answers.part == Part::Dev) {
            let start = &self.start.vectors[dev.source];
            let now = &dev.answers.vectors;
            if start.len() == now.len() {
                let pairs = start.chunks_exact(width).zip(now.chunks_exact(width));
                cosines.extend(pairs.map(|(a, b)| cosine(a, b)));
            }
        }
        (!cosines.is_empty()).then_some(cosines)
    }

    fn write_model(&self, best_step: u64, metrics: Value) -> Result<(), Error> {
        let network = &self.learner.network;
        let model = self.plan.trained_model(network, best_step, metrics, self.warnings.clone());
        write_folder(&self.directory.join(MODEL), |folder| Ok(model.write(folder)?))
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
