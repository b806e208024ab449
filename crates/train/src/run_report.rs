//! From a finished run to its [`RunReport`].

use std::fs;

use polyhead_model::{HeadSpec, TaskKind};

use crate::checkpoint::write_file_aside;
use crate::data::{Part, Split, TaskLabels};
use crate::error::Error;
use crate::evaluate::answered;
use crate::evaluate::given_labels;
use crate::evaluate::metric_of;
use crate::evaluate::{argmax, spans};
use crate::report::{
    Answer, CacheReport, Cosines, Curves, GroupReport, MarkedSpan, Mistake, RunReport,
    SchedulePoint, TaskResult, TimePart,
};
use crate::run::Run;
use crate::run::machine;
use crate::run::{FinalAnswers, RunSummary};
use crate::step::Targets;
use crate::step::{Softmax, sigmoid};

/// Mistakes that are shown of each task.
const MISTAKES: usize = 10;
/// Points of a scatter plot.
const SCATTER: usize = 2000;
/// Points of the schedule.
const SCHEDULE: u64 = 100;

impl Run<'_> {
    /// Writes `report.json` and `report.html`.
    pub(crate) fn write_report(
        &self,
        summary: &RunSummary,
        all: &[FinalAnswers],
    ) -> Result<(), Error> {
        let report = self.report(summary, all);
        let json = serde_json::to_vec(&report).expect("plain structures are JSON");
        write_file_aside(&self.directory.report().with_extension("json"), &json)?;
        write_file_aside(&self.directory.report(), report.to_html().as_bytes())
    }

    fn report(&self, summary: &RunSummary, all: &[FinalAnswers]) -> RunReport {
        let Self { config, plan, learner, times, .. } = self;
        let names: Vec<String> = config.tasks.iter().map(|task| task.name.clone()).collect();
        let folder = self.directory.path();
        let metrics = fs::read_to_string(folder.join("metrics.jsonl")).unwrap_or_default();
        let texts: usize = plan.data.sources.iter().map(|source| source.train.len()).sum();
        let passes = summary.steps as f64 / plan.sampler.steps_per_epoch().max(1) as f64;
        let part = |name: &str, seconds| TimePart { name: name.to_owned(), seconds };
        RunReport {
            name: folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
            model: config.encoder.model.clone(),
            ending: self.ending(summary),
            notices: plan.notices.clone(),
            steps: summary.steps,
            planned_steps: plan.total_steps,
            steps_per_epoch: plan.sampler.steps_per_epoch(),
            best_step: summary.best_step,
            criterion: self.criterion_in_words(),
            best_score: self.best.score,
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

    fn ending(&self, summary: &RunSummary) -> String {
        let planned = self.plan.total_steps;
        match summary.steps {
            0 => "Nothing is trained: everything is frozen, so this run only evaluates".to_owned(),
            steps if steps == planned => format!("All {planned} steps done"),
            steps if self.gave_up() => format!(
                "Early stopping after {steps} of {planned} steps: {} evaluations without improvement",
                self.best.since
            ),
            steps => format!("The time limit ended the run after {steps} of {planned} steps"),
        }
    }

    fn criterion_in_words(&self) -> String {
        match self.config.train.best.as_str() {
            "mean" => {
                let tasks = self.config.tasks.iter();
                let parts: Vec<String> =
                    tasks.map(|task| format!("{} {}", task.name, metric_of(task))).collect();
                match parts.len() {
                    1 => parts[0].clone(),
                    _ => format!("mean of {}", parts.join(", ")),
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
        let settings = &self.config.tasks[task];
        let spec = self.learner.network.head_spec(task);
        let found = &summary.tasks[task];
        let mut remarks = Vec::new();
        if self.plan.known[task] {
            remarks.push("begins with the head of the starting model".to_owned());
        }
        if self.learner.objectives[task].distills {
            remarks.push("held to the starting model's answers".to_owned());
        }
        let source = self.plan.data.tasks[task].source;
        let of = |part: Part| all.iter().find(|a| a.source == source && a.part == part);
        let shown = match found.test.is_some() {
            true => of(Part::Test),
            false => of(Part::Dev),
        };
        let (mut scatter, mut mistakes) = (Vec::new(), Vec::new());
        if let Some(shown) = shown {
            let split = self.plan.data.sources[source].split(shown.part);
            let logits = &shown.answers.logits[task];
            let (answers, targets) = answered(logits, split, task, &self.learner.objectives[task]);
            if let Targets::Numbers(targets) = &targets {
                let pairs = answers
                    .iter()
                    .zip(targets)
                    .filter_map(|(given, target)| Some((f64::from((*target)?), f64::from(*given))));
                scatter = pairs.take(SCATTER).collect();
            }
            mistakes = mistakes_of(split, task, spec, logits);
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

/// The mistakes that the model was surest of, the worst first.
fn mistakes_of(split: &Split, task: usize, spec: &HeadSpec, logits: &[f32]) -> Vec<Mistake> {
    let outputs = spec.outputs();
    let mut found: Vec<(f64, usize)> = Vec::new();
    for row in 0..split.len() {
        if let Some(badness) = badness(split, task, spec, logits, row) {
            found.push((badness, row));
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    found
        .into_iter()
        .take(MISTAKES)
        .map(|(badness, row)| {
            let (expected, given) = both_answers(split, task, spec, logits, row, outputs);
            Mistake {
                place: split.place(row),
                text: split.texts[row].clone(),
                expected,
                given,
                confidence: (spec.kind != TaskKind::Regression).then_some(badness),
            }
        })
        .collect()
}

/// How sure the model is of a wrong answer, or how far off a number is; `None`
/// for what is right or has no label.
fn badness(split: &Split, task: usize, spec: &HeadSpec, logits: &[f32], row: usize) -> Option<f64> {
    let outputs = spec.outputs();
    let temperature = f64::from(spec.temperature);
    let of_row = || &logits[row * outputs..][..outputs];
    match &split.labels[task] {
        TaskLabels::Classes(labels) => {
            let label = labels[row]?;
            let given = argmax(of_row());
            (given != label as usize)
                .then(|| Softmax::new(of_row(), temperature).probability(given))
        }
        TaskLabels::Sets(labels) => {
            let wanted = labels[row].as_ref()?;
            let given = given_of(of_row(), spec);
            let wrong = |label: &u32| wanted.contains(label) != given.contains(label);
            (0..outputs as u32)
                .filter(wrong)
                .map(|label| {
                    let p = sigmoid(f64::from(of_row()[label as usize]) / temperature);
                    if given.contains(&label) { p } else { 1.0 - p }
                })
                .max_by(f64::total_cmp)
        }
        TaskLabels::Numbers(labels) => {
            let off = (f64::from(labels[row]?) - f64::from(of_row()[0])).abs();
            (off > 0.0).then_some(off)
        }
        TaskLabels::Tags(labels) => {
            let tags = labels[row].as_ref()?;
            let wrong = split.words.row(row).zip(tags).filter_map(|(word, tag)| {
                split.words.first_tokens[word]?;
                let logits = &logits[word * outputs..][..outputs];
                let given = argmax(logits);
                (given != *tag as usize)
                    .then(|| Softmax::new(logits, temperature).probability(given))
            });
            wrong.max_by(f64::total_cmp)
        }
    }
}

fn both_answers(
    split: &Split,
    task: usize,
    spec: &HeadSpec,
    logits: &[f32],
    row: usize,
    outputs: usize,
) -> (Answer, Answer) {
    let of_row = || &logits[row * outputs..][..outputs];
    let name = |label: u32| {
        spec.labels.get(label as usize).cloned().unwrap_or_else(|| "(unknown label)".to_owned())
    };
    match &split.labels[task] {
        TaskLabels::Classes(labels) => (
            Answer::Labels(labels[row].map(name).into_iter().collect()),
            Answer::Labels(vec![name(argmax(of_row()) as u32)]),
        ),
        TaskLabels::Sets(labels) => (
            Answer::Labels(labels[row].iter().flatten().map(|label| name(*label)).collect()),
            Answer::Labels(given_of(of_row(), spec).into_iter().map(name).collect()),
        ),
        TaskLabels::Numbers(labels) => (
            Answer::Number(f64::from(labels[row].unwrap_or_default())),
            Answer::Number(f64::from(of_row()[0])),
        ),
        TaskLabels::Tags(labels) => {
            let words = split.words.row(row);
            let given = words.clone().map(|word| match split.words.first_tokens[word] {
                Some(_) => name(argmax(&logits[word * outputs..][..outputs]) as u32),
                None => "O".to_owned(),
            });
            let wanted = labels[row].iter().flatten().map(|tag| name(*tag));
            (marked(split, row, wanted.collect()), marked(split, row, given.collect()))
        }
    }
}

/// Spans of tags, in characters of the text.
fn marked(split: &Split, row: usize, tags: Vec<String>) -> Answer {
    let places = &split.words.places[split.words.row(row)];
    let spans = spans(tags.iter().map(String::as_str)).into_iter().map(|span| MarkedSpan {
        start: places[span.first].start,
        end: places[span.last].end,
        label: span.label.to_owned(),
    });
    Answer::Spans(spans.collect())
}

fn given_of(logits: &[f32], spec: &HeadSpec) -> Vec<u32> {
    match spec.thresholds.is_empty() {
        true => given_labels(logits, spec.temperature, &vec![0.5; logits.len()]),
        false => given_labels(logits, spec.temperature, &spec.thresholds),
    }
}
