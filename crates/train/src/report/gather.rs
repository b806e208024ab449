//! Fills the [`RunReport`] of a finished run.

use std::fs;

use polyhead_files::write_file;
use polyhead_model::{HeadSpec, TaskKind, cosine};

use crate::data::{Part, Split, TaskLabels};
use crate::error::Error;
use crate::evaluate::metric_of;
use crate::report::mistakes::worst_mistakes;
use crate::report::{
    CacheReport, ConflictReport, Cosines, Curves, GroupReport, RunReport, SchedulePoint,
    TaskResult, TimePart,
};
use crate::run::{FinalAnswers, RECORD, Run, RunSummary, machine};
use crate::step::{group_name, is_shared};
use crate::tasks::answered;

/// Largest number of points of a scatter plot.
const SCATTER: usize = 2000;
/// Number of points of the learning-rate schedule.
const SCHEDULE: u64 = 100;

impl Run<'_> {
    /// Writes `report.json`, from which `polyhead-report` draws the page.
    pub(crate) fn write_report(
        &self,
        summary: &RunSummary,
        all: &[FinalAnswers],
    ) -> Result<(), Error> {
        let report = self.report(summary, all);
        let json = serde_json::to_vec(&report).expect("plain structures are JSON");
        Ok(write_file(&self.directory.join(RECORD), &json)?)
    }

    fn report(&self, summary: &RunSummary, all: &[FinalAnswers]) -> RunReport {
        let Self { plan, learner, times, .. } = self;
        let config = &plan.config;
        let names: Vec<String> = config.tasks.iter().map(|task| task.name.clone()).collect();
        let folder = &self.directory.path;
        let metrics = fs::read_to_string(folder.join("metrics.jsonl")).unwrap_or_default();
        let texts: usize = plan.data.sources.iter().map(|source| source.train.len()).sum();
        let passes = summary.steps as f64 / plan.sampler.steps_per_epoch().max(1) as f64;
        let chosen = summary.best_step == self.best.step && self.best.score.is_some();
        let part = |name: &str, seconds| TimePart { name: name.to_owned(), seconds };
        RunReport {
            name: folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
            model: config.encoder.model.clone(),
            ending: self.ending(summary),
            notices: plan.notices.clone(),
            warnings: summary.warnings.clone(),
            steps: summary.steps,
            planned_steps: plan.total_steps,
            steps_per_epoch: plan.sampler.steps_per_epoch(),
            best_step: summary.best_step,
            criterion: if chosen { self.criterion_in_words() } else { String::new() },
            best_score: self.best.score.filter(|_| chosen),
            seconds: Some(summary.seconds),
            texts_per_second: (times.steps > 0.0).then(|| texts as f64 * passes / times.steps),
            peak_memory: machine::peak_memory(),
            threads: Some(self.threads.count()),
            instructions: learner.network.isa().name().to_owned(),
            processor: machine::processor(),
            seed: Some(config.seed),
            versions: vec![
                ("polyhead".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
                ("data".to_owned(), plan.data.sha256()),
                ("configuration".to_owned(), config.hash()),
            ],
            curves: Curves::of_metrics(&metrics, &names),
            schedule: self.schedule_points(),
            groups: plan.rates.groups.iter().map(GroupReport::from).collect(),
            phases: plan.freeze.lines(),
            frozen: summary.frozen.clone(),
            cosines: self.vector_cosines(all).as_deref().and_then(Cosines::of),
            conflict: ConflictReport::of_metrics(&metrics, &names, &self.shared_groups()),
            cache: self.cache_report(summary),
            times: vec![
                part("model and data", times.preparation),
                part("forward, backward, update", times.steps),
                part("evaluation", times.evaluation),
                part("checkpoints", times.checkpoints),
            ],
            tasks: (0..names.len()).map(|task| self.task_result(task, summary, all)).collect(),
            data: Some(plan.report.clone()),
            config: config.to_toml(),
        }
    }

    /// Names of the groups of parameters that tasks share, from the input on.
    fn shared_groups(&self) -> Vec<String> {
        let shared = self.plan.groups.iter().filter(|group| is_shared(**group));
        let mut groups: Vec<String> =
            shared.map(|group| group_name(*group, &self.plan.freeze)).collect();
        groups.dedup();
        groups
    }

    fn ending(&self, summary: &RunSummary) -> String {
        let planned = self.plan.total_steps;
        match summary.steps {
            0 => "Everything is frozen, so this run only evaluates the model".to_owned(),
            steps if steps == planned => format!("All {planned} steps done"),
            steps if self.gave_up => format!(
                "Early stopping after {steps} of {planned} steps: {} evaluations without improvement",
                self.best.since
            ),
            steps => format!("The time limit ended the run after {steps} of {planned} steps"),
        }
    }

    fn criterion_in_words(&self) -> String {
        match self.plan.config.train.best.as_str() {
            "mean" => {
                let tasks = self.plan.config.tasks.iter();
                let parts: Vec<String> =
                    tasks.map(|task| format!("{} {}", task.name, metric_of(task))).collect();
                if let [one] = &parts[..] {
                    one.clone()
                } else {
                    format!("mean of {}", parts.join(", "))
                }
            }
            other => other.to_owned(),
        }
    }

    fn schedule_points(&self) -> Vec<SchedulePoint> {
        let total = self.plan.total_steps;
        let mut steps: Vec<u64> =
            (0..=SCHEDULE).map(|i| 1 + i * total.saturating_sub(1) / SCHEDULE).collect();
        steps.push(self.plan.schedule.warmup_steps() + 1);
        steps.retain(|step| (1..=total).contains(step));
        steps.sort_unstable();
        steps.dedup();
        let multiplier = |step: u64| self.plan.schedule.multiplier(step);
        steps.into_iter().map(|step| SchedulePoint { step, multiplier: multiplier(step) }).collect()
    }

    fn cache_report(&self, summary: &RunSummary) -> Option<CacheReport> {
        let counts = summary.cache;
        let entries = self.learner.network.store().entries();
        let ever = self.plan.freeze.ever_trainable();
        let frozen: usize = entries
            .iter()
            .zip(&ever)
            .filter(|(_, ever)| !**ever)
            .map(|(entry, _)| entry.range.len())
            .sum();
        let nothing = counts.memory == 0 && counts.file == 0 && frozen == 0;
        (!nothing).then(|| CacheReport {
            seconds_saved: self.learner.forward_times.saved(),
            // A gradient and two moments, four bytes each.
            optimizer_bytes_saved: Some(12 * frozen as u64),
            ..CacheReport::from(counts)
        })
    }

    fn task_result(&self, task: usize, summary: &RunSummary, all: &[FinalAnswers]) -> TaskResult {
        let settings = &self.plan.config.tasks[task];
        let spec = self.learner.network.head_spec(task);
        let found = &summary.tasks[task];
        let mut remarks = Vec::new();
        if self.plan.known[task] && !settings.kind.compares() {
            remarks.push("starts from the head of the starting model".to_owned());
        }
        match (&settings.teacher, self.learner.objectives[task].teacher) {
            (Some(teacher), Some(_)) => {
                remarks.push(format!("also learns the answers of {teacher}"))
            }
            (None, Some(_)) => remarks.push("held to the starting model's answers".to_owned()),
            _ => {}
        }
        if let Some(scale) = spec.target {
            remarks.push(format!("learns its targets standardized, {scale}"));
        }
        if let Some(range) = spec.range {
            remarks.push(format!("answers are clipped to {range}"));
        }
        if found.thresholds_chosen_on_dev {
            remarks.push(
                "thresholds were chosen on the dev rows: the metrics on dev flatter the model"
                    .to_owned(),
            );
        }
        let source = self.plan.data.tasks[task].source;
        let of = |part: Part| all.iter().find(|a| a.source == source && a.part == part);
        let shown = of(if found.test.is_some() { Part::Test } else { Part::Dev });
        let (mut scatter, mut mistakes) = (Vec::new(), Vec::new());
        if let Some(shown) = shown {
            let split = self.plan.data.sources[source].split(shown.part);
            let logits = &shown.answers.logits[task];
            let cosines = cosines_of_rows(split, spec, logits);
            let logits = cosines.as_ref().unwrap_or(logits);
            let (answers, targets) = answered(logits, split, task, &self.learner.objectives[task]);
            let is_answer = cosines.is_some() || !spec.kind.compares();
            if let (TaskLabels::Numbers(targets), true) = (&targets, is_answer) {
                let pairs = answers.iter().zip(targets).filter_map(|(given, target)| {
                    Some((f64::from((*target)?), f64::from(spec.number(*given))))
                });
                scatter = pairs.take(SCATTER).collect();
            }
            if is_answer {
                mistakes = worst_mistakes(split, task, spec, logits);
            }
        }
        TaskResult {
            name: settings.name.clone(),
            kind: settings.kind.name().to_owned(),
            main_metric: metric_of(settings).to_owned(),
            weight: settings.weight.to_string().parse().ok(),
            remarks,
            labels: spec.labels.clone(),
            before: found.before.clone(),
            dev: found.dev.clone(),
            test: found.test.clone(),
            calibration: found.calibration.clone(),
            thresholds: found.thresholds.clone(),
            scatter,
            mistakes,
        }
    }
}

/// `[rows]`: the cosines of a similarity, which answer its rows; `None` for other kinds.
///
/// - `vectors`: `[sequences, width]`
fn cosines_of_rows(split: &Split, spec: &HeadSpec, vectors: &[f32]) -> Option<Vec<f32>> {
    if spec.kind != TaskKind::Similarity {
        return None;
    }
    let width = vectors.len() / split.tokens.len().max(1);
    let vector = |sequence: usize| &vectors[sequence * width..][..width];
    let of_row = |row: usize| {
        let first = split.sequences(row).start;
        cosine(vector(first), vector(first + 1)) as f32
    };
    Some((0..split.len()).map(of_row).collect())
}
