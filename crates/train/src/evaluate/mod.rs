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
    let split = &data.sources[0].test;
    for (task, fields) in fields.iter().enumerate() {
        let named =
            options.tasks.is_some() || options.fields.iter().any(|(t, _)| *t == fields.name);
        if named && split.labels[task].labelled() == 0 {
            let (task, field) = (&fields.name, listed(&fields.fields));
            let message = format!("task `{task}`: no row has a label in field {field}");
            return Err(Error::new(ErrorKind::Data, message));
        }
    }
    if !split.labels.iter().any(|labels| labels.labelled() > 0) {
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
    let active: Vec<bool> = split.labels.iter().map(|labels| labels.labelled() > 0).collect();
    let nothing = vec![false; network.store().entries().len()];
    let depth = network.depth(&TrainableLayout::new(network.store(), &nothing), &active);
    let encoder = (options.precision != Precision::F32).then(|| {
        let (config, weights) = (folder.config.clone(), folder.weights.clone());
        Encoder::new(config, weights, network.isa(), options.precision, threads)
    });
    let questions = EvalRequest {
        active: &active,
        vectors: false,
        prompt_tokens,
        depth: &depth,
        encoder: encoder.as_ref(),
    };
    let mut pass = Pass::default();
    let answers = Answers::of(&network, threads, split, &questions, None, &mut pass)?;
    let mut objectives: Vec<Objective> = specs.iter().map(Objective::of_head).collect();
    objectives.iter_mut().for_each(|objective| objective.compare_at(options.widths.clone()));
    let mut found = answers.score(split, &specs, &objectives);
    for (task, metrics) in found.iter_mut().enumerate() {
        let Some(TaskMetrics::Tokens(metrics)) = metrics else { continue };
        let tokenize: &Tokenize<'_> = &|texts| tokenizer.tokenize(threads, texts);
        let (network, head) = ((&network, threads), (task, &specs[task]));
        metrics.raw_text = score_raw_text(network, split, head, &questions, tokenize, &mut pass)?;
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
    // A file has rows of one form.
    let comparing = several && specs.iter().any(|spec| spec.kind.compares());
    let wanted = |spec: &HeadSpec| match &options.tasks {
        Some(names) => names.contains(&spec.name),
        None => spec.kind.compares() == comparing,
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
    let (apart, together): (Vec<&HeadSpec>, Vec<&HeadSpec>) =
        all.clone().map(|(_, spec)| spec).partition(|spec| spec.kind.compares());
    if let (Some(apart), Some(together)) = (apart.first(), together.first()) {
        let message = format!(
            "expected tasks that read rows alike, found `{}`, which compares the texts of a row, and \
             `{}`: evaluate them one after the other",
            apart.name, together.name
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
