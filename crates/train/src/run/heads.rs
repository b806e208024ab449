//! The heads of a run's tasks: new ones, and those of the starting model.

use polyhead_model::{
    HeadInput, HeadLayer, HeadSpec, HeadWeights, LabelFormat, ModelFolder, PairForm, PoolingSpec,
    TargetScale,
};
use polyhead_text::Truncation;

use crate::config::{Keep, PairReading, RunConfig, TaskSettings};
use crate::data::Dataset;
use crate::error::{Error, ErrorKind};
use crate::run::teachers::teacher_width;
use crate::tasks::rules;

/// The heads of the tasks, those of the starting model where it has them, and
/// its other heads behind them.
pub(super) fn heads(
    config: &RunConfig,
    folder: &ModelFolder,
    data: &Dataset,
) -> Result<(Vec<HeadWeights>, Vec<bool>), Error> {
    let mut site = folder.head_dims();
    site.layers = config.encoder.layer_count().unwrap_or(site.layers);
    let model_pooling = match (&config.encoder.pooling, folder.modules.first()) {
        (Some(modes), _) => pooling(folder, modes),
        (None, Some(polyhead_model::Module::Pooling(spec))) => spec.clone(),
        (None, _) => unreachable!("the pooling is the first module: see ModelFolder::modules"),
    };
    if let Some(modes) = &config.encoder.pooling {
        let mut modules = folder.modules.clone();
        if let Some(polyhead_model::Module::Pooling(spec)) = modules.first_mut() {
            *spec = pooling(folder, modes);
        }
        site.embedding = polyhead_model::output_width(site.hidden_size, &modules)?;
    }
    let mut heads = Vec::new();
    let mut known = Vec::new();
    for (index, (task, fields)) in config.tasks.iter().zip(&data.tasks).enumerate() {
        let start = folder.heads.iter().find(|head| head.spec.name == task.start_name());
        check_start(task, folder, start)?;
        let parts = start.map(|head| &head.spec);
        let teacher_width = teacher_width(task, &data.sources[fields.source].train, index);
        let spec = HeadSpec {
            name: task.name.clone(),
            kind: task.kind,
            labels: fields.labels.clone(),
            pooling: task
                .pooling
                .as_ref()
                .map_or_else(|| model_pooling.clone(), |modes| pooling(folder, modes)),
            input: task.input,
            layer: task.layer,
            hidden: task
                .hidden
                .map(usize::from)
                .or_else(|| parts?.hidden)
                .or(teacher_width.filter(|width| *width != site.embedding)),
            activation: match parts {
                Some(parts) if task.hidden.is_none() => parts.activation,
                _ => task.activation,
            },
            hidden_form: parts.map(|parts| parts.hidden_form).unwrap_or_default(),
            dropout: task.dropout.get(),
            temperature: 1.0,
            thresholds: Vec::new(),
            label_format: stored_format(&fields.format, task, start),
            target: target_scale(data, index).filter(|_| task.standardize == Some(true)),
            range: task.range.or_else(|| {
                rules(task.kind).found_range(&data.sources[fields.source].train.labels[index])
            }),
            words: fields.words.clone(),
            pair: pair_form(data, index, task, parts),
            sigmoid: false,
        };
        spec.check(&site)?;
        if task.keep == Some(Keep::Distill) && start.is_none() {
            let message = format!(
                "task `{}`: keep = \"distill\": expected a head of this name in the starting \
                 model {}, found none",
                task.name, config.encoder.model
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
        // A head without weights answers before it is trained.
        known.push(start.is_some() || task.kind.compares());
        heads.push(match start {
            Some(head) => start_from(head, spec, task)?,
            None => HeadWeights::random(spec, &site, config.seed),
        });
    }
    heads.extend(kept_heads(config, folder).cloned());
    Ok((heads, known))
}

/// The configuration in which each task without a `dropout` of its own has that of the classifier of
/// `transformers` that it takes over.
pub(super) fn with_dropouts(config: &RunConfig, folder: &ModelFolder) -> RunConfig {
    let set = config.set_keys();
    let mut config = config.clone();
    let heads = if folder.has_published_head() { &folder.heads[..] } else { &[] };
    for task in &mut config.tasks {
        let start = heads.iter().find(|head| head.spec.name == task.start_name());
        if let Some(dropout) = start.and_then(|head| head.spec.dropout.try_into().ok())
            && !set.contains(&format!("task.{}.dropout", task.name))
        {
            task.dropout = dropout;
        }
    }
    config
}

/// The heads of the starting model that stay as they are, beside those of the tasks. A classifier that
/// `transformers` has written is left out: its folder is not a model of tasks that are kept.
pub(crate) fn kept_heads<'a>(
    config: &RunConfig,
    folder: &'a ModelFolder,
) -> impl Iterator<Item = &'a HeadWeights> {
    let names: Vec<String> = config.tasks.iter().map(|task| task.name.clone()).collect();
    let heads = if folder.has_published_head() { &[][..] } else { &folder.heads };
    heads.iter().filter(move |head| !names.contains(&head.spec.name))
}

/// Checks that the starting model has a head that the task asks for by `from`.
fn check_start(
    task: &TaskSettings,
    folder: &ModelFolder,
    start: Option<&HeadWeights>,
) -> Result<(), Error> {
    let (Some(from), None) = (&task.from, start) else { return Ok(()) };
    let names: Vec<&str> = folder.heads.iter().map(|head| head.spec.name.as_str()).collect();
    let expected = match &names[..] {
        [] => "no `from`, as the starting model has no head".to_owned(),
        names => format!("a head of the starting model ({})", names.join(", ")),
    };
    let message = format!("task `{}`: from: expected {expected}, found {from:?}", task.name);
    Err(Error::new(ErrorKind::Config, message))
}

/// The format of labels that a head keeps, for data that are read later. A separator `|` that only
/// the cells show is left out: readers find it in other cells as well, and programs of version 0.3.0
/// can read a model without newer parts.
fn stored_format(
    format: &LabelFormat,
    task: &TaskSettings,
    start: Option<&HeadWeights>,
) -> LabelFormat {
    let of_start = start.and_then(|head| head.spec.label_format.separator.as_ref());
    let is_given = task.separator.is_some() || of_start.is_some();
    let separator = format.separator.clone().filter(|text| is_given || text != "|");
    LabelFormat { separator, ..format.clone() }
}

/// A tagging task is held to the answers for words, so there have to be some.
pub(super) fn check_teachers(config: &RunConfig, data: &Dataset) -> Result<(), Error> {
    for (task, fields) in config.tasks.iter().zip(&data.tasks) {
        let words = &data.sources[fields.source].train.words;
        let tagged = task.kind.reads_words() && task.keep == Some(Keep::Distill);
        if tagged && words.first_tokens.iter().flatten().next().is_none() {
            let message = format!(
                "task `{}`: keep = \"distill\": expected training rows with words in the field of \
                 `tokens`, found none",
                task.name
            );
            return Err(Error::new(ErrorKind::Data, message));
        }
    }
    Ok(())
}

/// Mean and deviation of the training targets of a regression.
pub(super) fn target_scale(data: &Dataset, task: usize) -> Option<TargetScale> {
    let fields = &data.tasks[task];
    rules(fields.kind).target_scale(&data.sources[fields.source].train.labels[task])
}

/// How a task reads pairs of texts, if it or the head that it begins with says so.
pub(super) fn pair_reading(task: &TaskSettings, start: Option<&HeadSpec>) -> Option<PairReading> {
    let separate = start.and_then(|head| head.pair).is_some_and(PairForm::is_separate);
    task.pair.or(separate.then_some(PairReading::Separate))
}

/// The form of the pairs of a task, if all its training rows are pairs: what it asks for, else that of
/// the starting model's head, else both texts in one sequence.
fn pair_form(
    data: &Dataset,
    index: usize,
    task: &TaskSettings,
    start: Option<&HeadSpec>,
) -> Option<PairForm> {
    if task.kind.compares() {
        return None;
    }
    let of_start = start.and_then(|head| head.pair);
    if pair_reading(task, start) == Some(PairReading::Separate) {
        let product = matches!(of_start, Some(PairForm::Separate { product: true }));
        return Some(PairForm::Separate { product: task.pair_product.unwrap_or(product) });
    }
    let inputs = &data.sources[data.tasks[index].source].train.inputs;
    let pairs = !inputs.is_empty() && inputs.iter().all(|input| input.second().is_some());
    let joint = || match of_start {
        Some(PairForm::Joint(rule)) => PairForm::Joint(rule),
        _ => PairForm::Joint(Truncation::Longest),
    };
    pairs.then(joint)
}

/// The head of the starting model with its pooling, temperature, thresholds, scale of targets and,
/// unless the task has one, range, if it is what the task asks for.
fn start_from(
    head: &HeadWeights,
    wanted: HeadSpec,
    task: &TaskSettings,
) -> Result<HeadWeights, Error> {
    let found = &head.spec;
    let hidden = |spec: &HeadSpec| match spec.hidden {
        None => "no hidden layer".to_owned(),
        Some(width) => format!("a hidden layer of {width}, {}", spec.activation.name()),
    };
    let input = |spec: &HeadSpec| match spec.input {
        HeadInput::Pooled => "the pooled vector".to_owned(),
        HeadInput::Embedding => "the embedding".to_owned(),
    };
    let layer = |spec: &HeadSpec| match spec.layer {
        HeadLayer::Last => "the last".to_owned(),
        HeadLayer::At(layer) => layer.to_string(),
        HeadLayer::Mix => "a mix".to_owned(),
    };
    let modes = |spec: &HeadSpec| {
        let names: Vec<&str> = spec.pooling.modes.iter().map(|mode| mode.name()).collect();
        names.join(" + ")
    };
    let pair = |spec: &HeadSpec| match spec.pair {
        Some(PairForm::Separate { product: false }) => "separate vectors of two texts".to_owned(),
        Some(PairForm::Separate { product: true }) => {
            "separate vectors of two texts and their product".to_owned()
        }
        Some(PairForm::Joint(_)) | None => "one sequence".to_owned(),
    };
    let own_pooling = task.pooling.is_some();
    type Shown<'a> = &'a dyn Fn(&HeadSpec) -> String;
    let aspects: [(&str, bool, Shown); 7] = [
        ("kind", true, &|spec| spec.kind.to_string()),
        ("labels", true, &|spec| spec.labels.join(", ")),
        ("hidden", true, &hidden),
        ("layer", true, &layer),
        ("input", true, &input),
        ("pair", true, &pair),
        ("pooling", own_pooling, &modes),
    ];
    let differs =
        |(_, counts, shown): &(&str, bool, Shown)| *counts && shown(found) != shown(&wanted);
    if let Some((key, _, shown)) = aspects.iter().find(|aspect| differs(aspect)) {
        let message = format!(
            "task `{}`: {key}: expected that of the head of this name in the starting model, {}, \
             found {}; give the task another name to start fresh",
            task.name,
            shown(found),
            shown(&wanted)
        );
        return Err(Error::new(ErrorKind::Config, message));
    }
    let spec = HeadSpec {
        pooling: found.pooling.clone(),
        temperature: found.temperature,
        thresholds: found.thresholds.clone(),
        target: found.target,
        range: wanted.range.or(found.range),
        ..wanted
    };
    Ok(HeadWeights { spec, ..head.clone() })
}

/// These modes; whether the prompt counts is the folder's to say.
pub(super) fn pooling(folder: &ModelFolder, modes: &[polyhead_model::PoolingMode]) -> PoolingSpec {
    let include_prompt = match folder.modules.first() {
        Some(polyhead_model::Module::Pooling(spec)) => spec.include_prompt,
        _ => true,
    };
    PoolingSpec { modes: modes.to_vec(), include_prompt }
}
