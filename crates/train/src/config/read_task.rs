//! `[[task]]`: from a table to checked [`TaskSettings`].

use polyhead_compute::Activation;
use polyhead_model::{HeadLayer, TaskKind};

use super::document::Value;
use super::names::{INPUTS, activations, kinds, poolings};
use super::read::data;
use super::section::{Range, Section};
use super::{ClassWeights, DataFiles, Keep, TaskSettings};
use crate::error::Error;
use crate::evaluate::metric_names;

/// Reads a task; `shared` are the files of the run.
pub(super) fn task(section: &Section, shared: &DataFiles) -> Result<TaskSettings, Error> {
    let name = section
        .text("name")?
        .ok_or_else(|| section.problem("name", "missing; expected the task's name"))?;
    check_name(section, &name)?;
    let kind = kind(section)?;
    check_kind_options(section, kind)?;
    let labels = labels(section, kind)?;
    Ok(TaskSettings {
        field: section.text("field")?.unwrap_or_else(|| name.clone()),
        name,
        kind,
        weight: section.number("weight", Range::NOT_NEGATIVE)?.unwrap_or(1.0),
        data: own_data(section, shared)?,
        pooling: section.several("pooling", &poolings())?,
        input: section.choice("input", &INPUTS)?.unwrap_or_default(),
        layer: layer(section)?,
        hidden: section.size("hidden", 1..=u64::MAX)?,
        activation: section.choice("activation", &activations())?.unwrap_or(Activation::Gelu),
        dropout: section.number("dropout", Range::BELOW_ONE)?.unwrap_or(0.1),
        learning_rate: section.number("learning_rate", Range::NOT_NEGATIVE)?,
        class_weights: weights(section, "class_weights", labels.as_deref())?,
        label_smoothing: section.number("label_smoothing", Range::BELOW_ONE)?.unwrap_or(0.0),
        positive_weights: weights(section, "positive_weights", labels.as_deref())?,
        keep: section.choice("keep", &[("distill", Keep::Distill)])?,
        metric: metric(section, kind)?,
        labels,
    })
}

/// One that tasks of the kind have.
fn metric(section: &Section, kind: TaskKind) -> Result<Option<String>, Error> {
    let metric = section.text("metric")?;
    let names = metric_names(kind);
    match &metric {
        Some(name) if !names.contains(&name.as_str()) => {
            let problem = format!("expected one of {}, found {name:?}", names.join(", "));
            Err(section.problem("metric", &problem))
        }
        _ => Ok(metric),
    }
}

/// A name is part of tensor names, of metrics and of `--set` keys.
fn check_name(section: &Section, name: &str) -> Result<(), Error> {
    let known = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.len() > 64 || !name.chars().all(known) {
        let shown: String = name.chars().take(80).collect();
        let problem = format!("expected 1 to 64 letters, digits, _ and -, found {shown:?}");
        return Err(section.problem("name", &problem));
    }
    Ok(())
}

fn kind(section: &Section) -> Result<TaskKind, Error> {
    if section.text("kind")?.is_some_and(|kind| kind == "pairs") {
        let problem = "pairs of texts come later; expected a kind of task on one text";
        return Err(section.problem("kind", problem));
    }
    section.choice("kind", &kinds())?.ok_or_else(|| {
        let known: Vec<&str> = TaskKind::ALL.iter().map(|kind| kind.name()).collect();
        section.problem("kind", &format!("missing; expected one of {}", known.join(", ")))
    })
}

/// Options that mean nothing for a kind, or beside each other, are mistakes.
fn check_kind_options(section: &Section, kind: TaskKind) -> Result<(), Error> {
    use TaskKind::{Classification, MultiLabel, Regression, Tokens};
    let options: [(&str, &[TaskKind]); 6] = [
        ("labels", &[Classification, MultiLabel, Tokens]),
        ("class_weights", &[Classification, Tokens]),
        ("label_smoothing", &[Classification, Tokens]),
        ("positive_weights", &[MultiLabel]),
        ("pooling", &[Classification, MultiLabel, Regression]),
        ("input", &[Classification, MultiLabel, Regression]),
    ];
    for (key, kinds) in options {
        if section.has(key) && !kinds.contains(&kind) {
            let kinds: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
            let problem = format!("applies to {}, found a task of kind {kind}", kinds.join(", "));
            return Err(section.problem(key, &problem));
        }
    }
    if section.has("activation") && !section.has("hidden") {
        let problem = "applies after a hidden layer, found no `hidden`";
        return Err(section.problem("activation", problem));
    }
    if section.text("input")?.as_deref() == Some("embedding") {
        for key in ["pooling", "layer"] {
            if section.has(key) {
                let problem = "applies to `input = \"pooled\"`: the embedding is the encoder's own";
                return Err(section.problem(key, problem));
            }
        }
    }
    Ok(())
}

fn labels(section: &Section, kind: TaskKind) -> Result<Option<Vec<String>>, Error> {
    let Some(labels) = section.list("labels")? else { return Ok(None) };
    let least = if kind == TaskKind::MultiLabel { 1 } else { 2 };
    if labels.len() < least {
        let problem = format!("expected at least {least} for {kind}, found {}", labels.len());
        return Err(section.problem("labels", &problem));
    }
    let mut sorted: Vec<&str> = labels.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    if sorted[0].is_empty() {
        return Err(section.problem("labels", "expected labels, found an empty one"));
    }
    if let Some(twice) = sorted.windows(2).find(|two| two[0] == two[1]) {
        let problem = format!("expected each label once, found {:?} twice", twice[0]);
        return Err(section.problem("labels", &problem));
    }
    Ok(Some(labels))
}

/// Files of the task alone. Fields that it does not name are those of the run.
fn own_data(section: &Section, shared: &DataFiles) -> Result<Option<DataFiles>, Error> {
    let keys = ["train", "dev", "test", "text", "tokens"];
    let Some(first) = keys.into_iter().find(|key| section.has(key)) else { return Ok(None) };
    let mut own = data(section)?;
    if own.train.is_empty() {
        let problem = "applies to a task with files of its own, found no `train`";
        return Err(section.problem(first, problem));
    }
    own.text = own.text.or_else(|| shared.text.clone());
    own.tokens = own.tokens.or_else(|| shared.tokens.clone());
    Ok(Some(own))
}

fn layer(section: &Section) -> Result<HeadLayer, Error> {
    let expected = "\"last\", \"mix\" or the number of a layer (0: the embeddings)";
    let found = section.read("layer", expected, |node| match &node.value {
        Value::String(text) if text == "last" => Some(HeadLayer::Last),
        Value::String(text) if text == "mix" => Some(HeadLayer::Mix),
        Value::Integer(Ok(layer @ 0..=1000)) => Some(HeadLayer::At(*layer as usize)),
        _ => None,
    })?;
    Ok(found.unwrap_or_default())
}

/// `"balanced"`, or a table by label.
fn weights(
    section: &Section,
    key: &str,
    labels: Option<&[String]>,
) -> Result<Option<ClassWeights>, Error> {
    let weights = section.weights(key, Range::NOT_NEGATIVE)?;
    let (Some(ClassWeights::Given(given)), Some(labels)) = (&weights, labels) else {
        return Ok(weights);
    };
    if let Some((name, _)) = given.iter().find(|(name, _)| !labels.contains(name)) {
        let problem = format!("expected labels of the task, found {name:?}");
        return Err(section.problem(key, &problem));
    }
    Ok(weights)
}
