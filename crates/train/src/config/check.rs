//! Rules over more than one key, and the keys that others complete.

use std::path::{Path, PathBuf};

use polyhead_model::{
    HeadInput, HeadLayer, ModelFolder, RESERVED_TASK_NAME, TaskKind, TextFields, check_task_name,
};
use toml::{Table, Value};

use super::document::{Document, Section, shortened};
use super::keys::{REQUIRED, expected};
use super::multitask;
use super::{
    BUILTIN, ClassWeights, DataFiles, FreezePhase, Moment, PairReading, RunConfig, SamplerKind,
    SamplerSettings, TaskSettings, TrainSettings,
};
use crate::error::Error;
use crate::tasks::{kinds_with_key, metric_names, rules};

/// The keys of tasks that do not apply to every kind.
const OF_SOME_KINDS: [&str; 25] = [
    "labels",
    "label_matching",
    "separator",
    "empty",
    "standardize",
    "range",
    "class_weights",
    "label_smoothing",
    "positive_weights",
    "pooling",
    "input",
    "words",
    "loss",
    "teacher",
    "teacher_task",
    "teacher_weight",
    "anneal",
    "scale",
    "symmetric",
    "margin",
    "distance",
    "hidden",
    "keep",
    "pair",
    "pair_product",
];

/// The keys of a task's own files.
const OWN_FILES: [&str; 7] = ["train", "dev", "test", "text", "join", "template", "tokens"];

/// The keys that make the text of a row.
const TEXT_KEYS: [&str; 3] = ["text", "join", "template"];

/// Fills in what follows from other keys and from where the file is.
pub(super) fn complete(config: &mut RunConfig, document: &Document) -> Result<(), Error> {
    absolute_model(&document.section("encoder"), "model", &mut config.encoder.model)?;
    let shared = document.section("data");
    if !TEXT_KEYS.iter().any(|key| shared.has(key))
        && let Some(text) = text_of_model(&config.encoder.model)
    {
        config.data.set_text(text);
    }
    let DataFiles { train, dev, test, text, join, template, tokens, .. } = &mut config.data;
    make_absolute(&shared, [train, dev, test])?;
    if template.is_some() && !shared.has("text") {
        text.clear();
    }
    for (task, section) in config.tasks.iter_mut().zip(document.sections("task")) {
        if !section.has("field") {
            task.field = vec![task.name.clone()];
        }
        if let Some(teacher) = &mut task.teacher {
            absolute_model(&section, "teacher", teacher)?;
        }
        if task.kind.compares() {
            // The vectors that callers get.
            task.input = HeadInput::Embedding;
        }
        make_absolute(&section, [&mut task.train, &mut task.dev, &mut task.test])?;
        if let Some(first) = OWN_FILES.iter().find(|key| section.has(key)) {
            let own_texts = TEXT_KEYS.contains(first) && !train.is_empty();
            if task.train.is_empty() && own_texts {
                (task.train, task.dev, task.test) = (train.clone(), dev.clone(), test.clone());
            }
            if task.train.is_empty() {
                let problem = "applies to a task with files of its own, found no `train`";
                return Err(section.error(first, problem));
            }
            // A task's own keys are not mixed with the template of others.
            if !TEXT_KEYS.iter().any(|key| section.has(key)) {
                (task.text, task.join, task.template) =
                    (text.clone(), join.clone(), template.clone());
            } else if task.template.is_none() && task.text.is_empty() {
                task.text.clone_from(text);
            }
            task.tokens = task.tokens.take().or_else(|| tokens.clone());
        }
    }
    Ok(())
}

/// Makes the name of a model's folder absolute. A name is of a folder if there is one, else of the hub.
fn absolute_model(section: &Section, key: &str, model: &mut String) -> Result<(), Error> {
    if *model != BUILTIN {
        let folder = section.absolute(key, Path::new(model.as_str()))?;
        if folder.is_dir() {
            *model = folder.into_os_string().into_string().expect("checked to be UTF-8");
        }
    }
    Ok(())
}

/// The rule by which the model of a folder or a run makes texts of several fields. A folder that
/// cannot be read has none: it is an error later, where the model is needed.
fn text_of_model(model: &str) -> Option<TextFields> {
    let folder = Path::new(model);
    if model == BUILTIN || !folder.is_dir() {
        return None;
    }
    ModelFolder::open(folder).ok()?.input
}

fn make_absolute(section: &Section, lists: [&mut Vec<PathBuf>; 3]) -> Result<(), Error> {
    for (key, paths) in ["train", "dev", "test"].into_iter().zip(lists) {
        for path in paths {
            *path = section.absolute(key, path)?;
        }
    }
    Ok(())
}

/// Checks what the types of single keys cannot.
pub(super) fn check(config: &RunConfig, document: &Document) -> Result<(), Error> {
    let root = document.root();
    if config.tasks.is_empty() {
        return Err(root.error("task", "expected at least one `[[task]]`, found none"));
    }
    for (index, (task, section)) in config.tasks.iter().zip(document.sections("task")).enumerate() {
        check_task(task, &section)?;
        if config.tasks[..index].iter().any(|other| other.name == task.name) {
            let problem =
                format!("expected names that differ, found `{}` twice", shortened(&task.name));
            return Err(root.error("task", &problem));
        }
        if task.train.is_empty() && config.data.train.is_empty() {
            let problem = format!(
                "no training data: expected `train` in `[data]` or in the task `{}`",
                task.name
            );
            return Err(root.error("data", &problem));
        }
    }
    if config.data.dev_share.is_some() {
        let data = document.section("data");
        let problem = match (config.data.train.is_empty(), config.data.dev.is_empty()) {
            (true, _) => Some("applies to the rows of `train`, found none"),
            (_, false) => Some("applies in place of `dev`, found both"),
            _ => None,
        };
        if let Some(problem) = problem {
            return Err(data.error("dev_share", problem));
        }
    }
    if config.encoder.layers.is_some() && !config.encoder.keep_layers.is_empty() {
        let problem = "expected `layers` or `keep_layers`, found both";
        return Err(document.section("encoder").error("keep_layers", problem));
    }
    check_texts(config, document)?;
    check_sampler(config.sampler, &document.section("sampler"))?;
    multitask::check(config, &document.section("multitask"))?;
    check_train(&config.train, &document.section("train"))?;
    check_best(config, &document.section("train"))?;
    let phases = config.freeze.iter().zip(document.sections("freeze"));
    phases.into_iter().try_for_each(|(phase, section)| check_phase(phase, &section))
}

/// A model makes texts in one way: fields are joined, or put into a template, in the same way in all tasks.
fn check_texts(config: &RunConfig, document: &Document) -> Result<(), Error> {
    let section = |files: &DataFiles| {
        let own = config.tasks.iter().position(|task| task.files().as_ref() == Some(files));
        own.map_or_else(|| document.section("data"), |task| document.sections("task").remove(task))
    };
    let mut first: Option<TextFields> = None;
    for files in config.sources() {
        let section = section(&files);
        let key = TEXT_KEYS.into_iter().find(|key| section.has(key)).unwrap_or("text");
        let text = files.input_fields().map_err(|problem| section.error(key, &problem))?.text;
        let same = |first: &TextFields| match (first, &text) {
            (TextFields::One(_), TextFields::One(_)) => true,
            // A pair is given as one, whatever its fields are called.
            (TextFields::Several(_), _) | (_, TextFields::Several(_)) => true,
            (first, text) => first == text,
        };
        if !first.as_ref().is_none_or(same) {
            let problem = "expected all tasks to make their texts in one way: with the same fields \
                           and the same `join` or `template`, which the model keeps";
            return Err(section.error(key, problem));
        }
        first.get_or_insert(text);
    }
    Ok(())
}

fn check_task(task: &TaskSettings, section: &Section) -> Result<(), Error> {
    if let Some((table, key)) = REQUIRED.into_iter().find(|(_, key)| !section.has(key)) {
        let expected = expected(table, key);
        return Err(section.error(key, &format!("missing; expected {expected}")));
    }
    check_task_name(&task.name).map_err(|error| section.error("name", &error.to_string()))?;
    if task.name == RESERVED_TASK_NAME {
        let problem = format!(
            "expected another name than `{RESERVED_TASK_NAME}`, by which requests to a server ask \
             for sentence vectors"
        );
        return Err(section.error("name", &problem));
    }
    check_applies(task, section)?;
    check_fields(task, section)?;
    check_labels(task, section)?;
    let metrics = metric_names(task.kind);
    if let Some(metric) = task.metric.as_ref().filter(|name| !metrics.contains(&name.as_str())) {
        let problem =
            format!("expected one of {}, found {:?}", metrics.join(", "), shortened(metric));
        return Err(section.error("metric", &problem));
    }
    Ok(())
}

/// Keys that mean nothing for a kind, or beside each other, are mistakes.
fn check_applies(task: &TaskSettings, section: &Section) -> Result<(), Error> {
    for key in OF_SOME_KINDS {
        let kinds = kinds_with_key(key);
        if section.has(key) && !kinds.contains(&task.kind) {
            let kinds: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
            let (kinds, found) = (kinds.join(", "), task.kind);
            let problem = format!("applies to {kinds}, found a task of kind {found}");
            return Err(section.error(key, &problem));
        }
    }
    if task.kind == TaskKind::Distillation && task.teacher.is_none() {
        let problem = "missing; expected the folder or the name of the model that is followed";
        return Err(section.error("teacher", problem));
    }
    check_teacher(task, section)?;
    let losses = rules(task.kind).vector_losses();
    if let Some(loss) = task.loss.filter(|loss| !losses.contains(loss)) {
        let names: Vec<String> = losses.iter().map(|loss| format!("{:?}", loss.name())).collect();
        let (names, found) = (names.join(" or "), loss.name());
        let problem = format!("expected {names} for {}, found {found:?}", task.kind);
        return Err(section.error("loss", &problem));
    }
    if section.has("pair_product") && task.pair != Some(PairReading::Separate) {
        let problem = "applies to `pair = \"separate\"` alone";
        return Err(section.error("pair_product", problem));
    }
    if section.has("activation") && task.hidden.is_none() {
        let problem = "applies after a hidden layer, found no `hidden`";
        return Err(section.error("activation", problem));
    }
    if task.input != Default::default()
        && let Some((key, _)) = [("pooling", true), ("layer", task.layer != HeadLayer::Last)]
            .into_iter()
            .find(|(key, counts)| *counts && section.has(key))
    {
        let problem = "applies to `input = \"pooled\"`: the embedding is the encoder's own";
        return Err(section.error(key, problem));
    }
    Ok(())
}

/// Checks that keys about a teacher have one, and that its share is said in one way.
fn check_teacher(task: &TaskSettings, section: &Section) -> Result<(), Error> {
    let keys = ["teacher_task", "teacher_weight", "anneal"];
    if let Some(key) = keys.into_iter().find(|key| section.has(key) && task.teacher.is_none()) {
        return Err(section.error(key, "applies beside `teacher`, found none"));
    }
    if task.teacher.is_some() && task.keep.is_some() {
        return Err(section.error("keep", "applies without `teacher`, found both"));
    }
    if task.anneal == Some(true) && task.teacher_weight.is_some() {
        let problem = "applies without `anneal`, which lets it fall from 1 to 0";
        return Err(section.error("teacher_weight", problem));
    }
    Ok(())
}

/// One field, or one for each label of a set; and what separates labels in a single one.
fn check_fields(task: &TaskSettings, section: &Section) -> Result<(), Error> {
    let several = task.field.len() > 1;
    if task.field.is_empty() || task.field.iter().any(String::is_empty) {
        return Err(section.error("field", "expected the name of a field, found none"));
    }
    if several && !task.kind.has_sets() {
        let (kind, found) = (task.kind, task.field.len());
        let problem = format!("expected one field for {kind}, found {found}");
        return Err(section.error("field", &problem));
    }
    if let Some(twice) =
        (1..task.field.len()).find(|at| task.field[..*at].contains(&task.field[*at]))
    {
        let twice = shortened(&task.field[twice]);
        return Err(
            section.error("field", &format!("expected each field once, found {twice:?} twice"))
        );
    }
    if let Some(labels) =
        task.labels.as_ref().filter(|labels| several && labels.len() != task.field.len())
    {
        let (expected, found) = (task.field.len(), labels.len());
        let problem =
            format!("expected {expected}, one for each of the fields in `field`, found {found}");
        return Err(section.error("labels", &problem));
    }
    if let Some(key) = ["separator", "empty"].into_iter().find(|key| several && section.has(key)) {
        return Err(section.error(key, "applies to a single field, found several in `field`"));
    }
    if task.separator.as_ref().is_some_and(String::is_empty) {
        return Err(
            section.error("separator", "expected a text between labels, found an empty one")
        );
    }
    Ok(())
}

fn check_labels(task: &TaskSettings, section: &Section) -> Result<(), Error> {
    let Some(labels) = &task.labels else { return Ok(()) };
    let least = task.kind.least_labels();
    if labels.len() < least {
        let (kind, found) = (task.kind, labels.len());
        let problem = format!("expected at least {least} for {kind}, found {found}");
        return Err(section.error("labels", &problem));
    }
    let mut sorted: Vec<&str> = labels.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    if sorted[0].is_empty() {
        return Err(section.error("labels", "expected labels, found an empty one"));
    }
    if let Some(label) = sorted.iter().find(|label| label.trim() != **label) {
        let found = shortened(label);
        let problem = format!("expected labels without blanks at their ends, found {found:?}");
        return Err(section.error("labels", &problem));
    }
    if let Some(twice) = sorted.windows(2).find(|two| two[0] == two[1]) {
        let problem = format!("expected each label once, found {:?} twice", shortened(twice[0]));
        return Err(section.error("labels", &problem));
    }
    let weights =
        [("class_weights", &task.class_weights), ("positive_weights", &task.positive_weights)];
    for (key, weights) in weights {
        let Some(ClassWeights::Given(given)) = weights else { continue };
        if let Some((label, _)) =
            given.iter().find(|(label, _)| sorted.binary_search(&label.as_str()).is_err())
        {
            let problem = format!("expected labels of the task, found {:?}", shortened(label));
            return Err(section.error(key, &problem));
        }
    }
    Ok(())
}

fn check_sampler(sampler: SamplerSettings, section: &Section) -> Result<(), Error> {
    match (sampler.kind == SamplerKind::Temperature, sampler.temperature) {
        (true, None) => {
            let problem = "missing; expected a number above 0: 1 is proportional, large is uniform";
            Err(section.error("temperature", problem))
        }
        (false, Some(_)) => {
            let problem = "applies to `kind = \"temperature\"` alone";
            Err(section.error("temperature", problem))
        }
        _ => Ok(()),
    }
}

fn check_train(train: &TrainSettings, section: &Section) -> Result<(), Error> {
    if train.epochs.get() == 0 && train.max_steps == 0 {
        let problem = "expected at least 1, or `max_steps`, found 0";
        return Err(section.error("epochs", problem));
    }
    let (parts, rows) = (train.accumulation.get(), train.batch_size.get());
    if parts > rows {
        let problem = format!("expected a whole number from 1 to {rows}, found {parts}");
        return Err(section.error("accumulation", &problem));
    }
    Ok(())
}

/// `mean`, or `TASK.METRIC` of a task that there is.
fn check_best(config: &RunConfig, section: &Section) -> Result<(), Error> {
    let best = &config.train.best;
    if best == "mean" {
        return Ok(());
    }
    let (name, metric) = best.split_once('.').unwrap_or((best, ""));
    let problem = match config.tasks.iter().find(|task| task.name == name) {
        Some(task) if metric_names(task.kind).contains(&metric) => return Ok(()),
        Some(task) => {
            let names = metric_names(task.kind).join(", ");
            format!("expected a metric of {name} ({names}), found {:?}", shortened(best))
        }
        None => {
            let names: Vec<&str> = config.tasks.iter().map(|task| task.name.as_str()).collect();
            let names = names.join(", ");
            format!(
                "expected \"mean\" or TASK.METRIC with a task of {names}, found {:?}",
                shortened(best)
            )
        }
    };
    Err(section.error("best", &problem))
}

fn check_phase(phase: &FreezePhase, section: &Section) -> Result<(), Error> {
    if phase.parameters.is_empty() {
        let problem = "expected groups such as \"embeddings\", \"layers.0-3\" or \"head.NAME\", \
                       found none";
        return Err(section.error("parameters", problem));
    }
    let backwards = match (phase.from, phase.until) {
        (Some(Moment::Epoch(from)), Some(Moment::Epoch(until)))
        | (Some(Moment::Step(from)), Some(Moment::Step(until))) => from > until,
        _ => false,
    };
    if backwards {
        return Err(section.error("until", "expected a moment that is not before `from`"));
    }
    Ok(())
}

/// Takes keys out of a written configuration that [`check`] would refuse, and empty lists.
pub(super) fn keep_what_applies(table: &mut Table) {
    table.retain(|_, value| value.as_array().is_none_or(|items| !items.is_empty()));
    for (_, value) in table.iter_mut() {
        match value {
            Value::Table(inner) => keep_what_applies(inner),
            Value::Array(items) => {
                items.iter_mut().filter_map(Value::as_table_mut).for_each(keep_what_applies);
            }
            _ => {}
        }
    }
    // Only tasks have an input.
    if !table.contains_key("input") {
        return;
    }
    let is = |table: &Table, key, word| table.get(key).and_then(Value::as_str) == Some(word);
    if is(table, "input", "embedding") && is(table, "layer", "last") {
        table.remove("layer");
    }
    for key in OF_SOME_KINDS {
        if !kinds_with_key(key).iter().any(|kind| is(table, "kind", kind.name())) {
            table.remove(key);
        }
    }
    if !table.contains_key("hidden") {
        table.remove("activation");
    }
}
