//! Evaluation of a finished model on new data: metrics of every task with labels in the data.

mod answers;
mod raw_text;
mod criterion;

pub(crate) use answers::keep_states;
pub use answers::{Answers, EvalRequest};
pub(crate) use criterion::{Best, choosing_metrics, criterion, deciding_loss, metric_of};
pub(crate) use raw_text::score_raw_text;

use std::path::PathBuf;

use polyhead_compute::Threads;
use polyhead_model::{
    Encoder, HeadSpec, LabelFormat, ModelFolder, Network, NetworkOptions, Pass, Precision,
    TextFields, TrainableLayout,
};

use polyhead_files::listed;

use crate::config::DataFiles;
use crate::data::{DataReport, Rows, TaskFields, Tokenize};
use crate::error::{Error, ErrorKind};
use crate::run::{Tokenized, tokenize};
use crate::tasks::{Objective, TaskMetrics, kinds_with_key};

/// Options of [`evaluate`].
#[derive(Clone, Debug, Default)]
pub struct EvaluateOptions {
    /// Files in JSON Lines or CSV, read one after the other.
    pub files: Vec<PathBuf>,
    /// The fields with the text; `None`: those of the model, or `text`.
    pub text: Option<TextFields>,
    /// Name of the field with the words; `None`: `tokens`.
    pub tokens: Option<String>,
    /// The tasks to evaluate; `None`: all tasks with labels in the files.
    pub tasks: Option<Vec<String>>,
    /// Pairs of task and field, for labels in a field that does not have the task's name; for
    /// sets also a field for each label, with commas between their names.
    pub fields: Vec<(String, String)>,
    /// The format of the labels, where it is another than in training; its fields are not used.
    pub format: LabelFormat,
    /// Length in tokens to which texts are truncated; `None`: as in training.
    pub max_length: Option<usize>,
    /// Precision of the encoder's products.
    pub precision: Precision,
    /// Further widths at which vectors are compared, by similarity and retrieval.
    pub widths: Vec<usize>,
}

/// The result of [`evaluate`].
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Name and metrics of each task that has labels, in the order of the model.
    pub tasks: Vec<(String, TaskMetrics)>,
    /// Report on all rows as the split `test`: unknown labels, truncated texts.
    pub report: DataReport,
}

/// Answers every row of the files with the model's heads, in one pass, and computes metrics.
///
/// Losses are unweighted: label weights and smoothing of the training run are not part of a model.
/// A label that the model does not know counts as wrong. The results have the same bits with any
/// number of threads.
///
/// # Errors
/// - [`ErrorKind::Config`] if a task is unknown
/// - [`ErrorKind::Data`] if a row is malformed, or no row has a label
/// - [`ErrorKind::Io`] if a file cannot be read, [`ErrorKind::NotFinite`] if an answer is not
///   finite
pub fn evaluate(
    folder: &ModelFolder,
    options: &EvaluateOptions,
    threads: &Threads,
) -> Result<Evaluation, Error> {
    let specs: Vec<HeadSpec> = folder.heads.iter().map(|head| head.spec.clone()).collect();
    let text = options.text.clone().or_else(|| folder.input.clone());
    let several = matches!(text, Some(TextFields::Several(_)));
    let requested = requested_heads(&specs, several, options)?;
    let mut files = DataFiles {
        test: options.files.clone(),
        tokens: options.tokens.clone(),
        ..DataFiles::default()
    };
    if let Some(text) = text {
        files.set_text(text);
    }
    let fields: Vec<TaskFields> = requested.iter().map(|(_, fields)| fields.clone()).collect();
    let rows = Rows::read(&files, &fields)?;
    let max_length = ("max_length", options.max_length);
    let Tokenized { data, tokenizer, prompt_tokens } = tokenize(max_length, folder, threads, rows)?;
    let report = DataReport::of(&data, &[]);
    let labelled: Vec<usize> = (0..fields.len())
        .map(|task| data.sources[data.tasks[task].source].test.labels[task].labelled())
        .collect();
    for (task, fields) in fields.iter().enumerate() {
        let named =
            options.tasks.is_some() || options.fields.iter().any(|(t, _)| *t == fields.name);
        if named && labelled[task] == 0 {
            let (task, field) = (&fields.name, listed(&fields.fields));
            let message = format!("task `{task}`: no row has a label in field {field}");
            return Err(Error::new(ErrorKind::Data, message));
        }
    }
    if labelled.iter().all(|rows| *rows == 0) {
        let names: Vec<&str> =
            fields.iter().flat_map(|task| &task.fields).map(String::as_str).collect();
        return Err(Error::new(
            ErrorKind::Data,
            format!("no row has a label: expected one of the fields {}", names.join(", ")),
        ));
    }

    let heads: Vec<_> = requested.iter().map(|(head, _)| folder.heads[*head].clone()).collect();
    let specs: Vec<HeadSpec> = heads.iter().map(|head| head.spec.clone()).collect();
    let network = Network::new(folder, &heads, &NetworkOptions::default(), threads)?;
    let most = network.head_dims().embedding;
    if let Some(width) = options.widths.iter().find(|width| !(1..=most).contains(*width)) {
        let message = format!("expected widths of 1 to {most}, found {width}");
        return Err(Error::new(ErrorKind::Config, message));
    }
    let nothing = vec![false; network.store().entries().len()];
    let layout = TrainableLayout::new(network.store(), &nothing);
    let encoder = (options.precision != Precision::F32).then(|| {
        let (config, weights) = (folder.config.clone(), folder.weights.clone());
        Encoder::new(config, weights, network.isa(), options.precision, threads)
    });
    let mut objectives: Vec<Objective> = specs.iter().map(Objective::of_head).collect();
    objectives.iter_mut().for_each(|objective| objective.compare_at(options.widths.clone()));
    let mut pass = Pass::default();
    let mut found: Vec<Option<TaskMetrics>> = vec![None; specs.len()];
    for source in &data.sources {
        let split = &source.test;
        let active: Vec<bool> = (0..specs.len())
            .map(|task| source.tasks.contains(&task) && labelled[task] > 0)
            .collect();
        let depth = network.depth(&layout, &active);
        let questions = EvalRequest {
            active: &active,
            vectors: false,
            prompt_tokens,
            depth: &depth,
            encoder: encoder.as_ref(),
        };
        let answers = Answers::of(&network, threads, split, &questions, None, &mut pass)?;
        let scored = answers.score(split, &specs, &objectives).into_iter().enumerate();
        for (task, mut metrics) in scored.filter(|(task, _)| active[*task]) {
            if let Some(TaskMetrics::Tokens(metrics)) = &mut metrics {
                let tokenize: &Tokenize<'_> = &|texts| tokenizer.tokenize(threads, texts);
                let (network, head) = ((&network, threads), (task, &specs[task]));
                metrics.raw_text =
                    score_raw_text(network, split, head, &questions, tokenize, &mut pass)?;
            }
            found[task] = metrics;
        }
    }
    let tasks = specs.into_iter().zip(found);
    let tasks = tasks.filter_map(|(spec, metrics)| Some((spec.name, metrics?))).collect();
    Ok(Evaluation { tasks, report })
}

/// Index and fields of the requested heads, in the order of the model.
///
/// - `several`: whether rows have texts of their own to compare
fn requested_heads(
    specs: &[HeadSpec],
    several: bool,
    options: &EvaluateOptions,
) -> Result<Vec<(usize, TaskFields)>, Error> {
    if specs.is_empty() {
        let message = "the model has no tasks: expected one that was trained";
        return Err(Error::new(ErrorKind::Config, message));
    }
    let named = options.tasks.iter().flatten().chain(options.fields.iter().map(|(task, _)| task));
    for name in named {
        if !specs.iter().any(|spec| spec.name == *name) {
            let known: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
            let known = known.join(", ");
            let message = format!("task `{name}`: the model has no such task (it has: {known})");
            return Err(Error::new(ErrorKind::Config, message));
        }
    }
    // A file has rows of one form: single texts, or several of which a head makes something.
    let reads_several = HeadSpec::reads_pairs;
    let all_several = specs.iter().all(reads_several);
    let wants_several = all_several || several && specs.iter().any(reads_several);
    let wanted = |spec: &HeadSpec| match &options.tasks {
        Some(names) => names.contains(&spec.name),
        None => reads_several(spec) == wants_several,
    };
    let fields = |spec: &HeadSpec| {
        let mut fields = TaskFields::from(spec);
        if let Some((_, field)) = options.fields.iter().rev().find(|(task, _)| *task == spec.name) {
            fields.fields = match fields.kind.has_sets() {
                true => field.split(',').map(str::to_owned).collect(),
                false => vec![field.clone()],
            };
            (fields.fields, fields.labels) = in_order_of_labels(fields.fields, spec);
        }
        fields.format = options.format.or(&fields.format);
        if !kinds_with_key("label_matching").contains(&spec.kind) {
            fields.format.matching = spec.label_format.matching;
        }
        fields
    };
    let all = specs.iter().enumerate().filter(|(_, spec)| wanted(spec));
    let (of_several, of_one): (Vec<&HeadSpec>, Vec<&HeadSpec>) =
        all.clone().map(|(_, spec)| spec).partition(|spec| reads_several(spec));
    if let (Some(of_several), Some(of_one)) = (of_several.first(), of_one.first()) {
        let message = format!(
            "expected tasks that read rows in one way, found `{}`, which reads several texts of a \
             row, and `{}`, which reads one: evaluate them one after the other",
            of_several.name, of_one.name
        );
        return Err(Error::new(ErrorKind::Config, message));
    }
    Ok(all.map(|(head, spec)| (head, fields(spec))).collect())
}

/// Fields in the order of the head's labels, and these labels; fields that are labels keep their
/// order and need no others.
///
/// - `fields`: one for each label, as the head has them or by the labels, in any order; or of other
///   names, in the order of the labels
fn in_order_of_labels(fields: Vec<String>, head: &HeadSpec) -> (Vec<String>, Option<Vec<String>>) {
    let stored = &head.label_format.fields;
    let are_stored = fields.len() == stored.len() && stored.iter().all(|f| fields.contains(f));
    let is_label = |field: &String| head.labels.contains(field);
    let are_new = fields.len() == head.labels.len() && !fields.iter().any(is_label);
    match (fields.len(), are_stored, are_new) {
        (2.., true, _) => (stored.clone(), Some(head.labels.clone())),
        (2.., false, true) => (fields, Some(head.labels.clone())),
        _ => (fields, None),
    }
}
