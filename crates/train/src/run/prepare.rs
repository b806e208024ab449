//! From a configuration to everything that a run needs before its first step.
//!
//! What is wrong with the configuration, the model or the data shows here,
//! before any training time is spent.

use polyhead_compute::Threads;
use polyhead_model::{
    EncodeOptions, HeadInput, HeadLayer, HeadSpec, HeadWeights, LoadOptions, ModelFolder, Network,
    NetworkOptions, ParameterGroup, PoolingSpec, SentenceEncoder, TaskKind, resolve,
};
use polyhead_text::spans_in_texts;

use crate::config::{Keep, RunConfig, TaskSettings};
use crate::data::{self, DataReport, Dataset, Rows, TaskFields};
use crate::error::{Error, ErrorKind};
use crate::freeze::FreezePlan;
use crate::sampler::BatchSampler;
use crate::step::Objective;
use crate::step::RateTable;
use crate::step::Schedule;

/// A run that is ready to begin.
pub struct Prepared {
    /// Heads of tasks first, in order; then heads of the starting model that no
    /// task of this run names: they are kept as they are.
    pub network: Network,
    /// Everything else.
    pub plan: RunPlan,
}

/// What a run is going to do, settled before its first step.
pub struct RunPlan {
    /// The model that training begins with.
    pub folder: ModelFolder,
    /// All rows.
    pub data: Dataset,
    /// What was noticed about them.
    pub report: DataReport,
    /// One per task.
    pub objectives: Vec<Objective>,
    /// For each task, whether the starting model has its head.
    pub known: Vec<bool>,
    /// Which rows make a step.
    pub sampler: BatchSampler,
    /// What is trained in each step.
    pub freeze: FreezePlan,
    /// How fast.
    pub rates: RateTable,
    /// What the schedule makes of the rates.
    pub schedule: Schedule,
    /// Steps of the run.
    pub total_steps: u64,
    /// Tokens after which a text is cut.
    pub max_length: usize,
    /// Tokens at the beginning of each row that pooling leaves out.
    pub prompt_tokens: usize,
    /// Remarks for the user.
    pub notices: Vec<String>,
    /// Of each entry of the index.
    groups: Vec<ParameterGroup>,
}

/// The model that a run begins with.
///
/// # Errors
/// [`ErrorKind::Model`] if it cannot be found or read.
pub fn open_model(name: &str) -> Result<ModelFolder, Error> {
    #[cfg(feature = "builtin")]
    if name == "builtin" {
        return Ok(ModelFolder::builtin()?);
    }
    Ok(ModelFolder::open(&resolve(name, false)?)?)
}

impl Prepared {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// Of any part: the configuration, the model, the data.
    pub fn new(config: &RunConfig, threads: &Threads) -> Result<Self, Error> {
        let folder = open_model(&config.encoder.model)?;
        let rows = read_rows(config, &folder)?;
        let tokenized =
            tokenize(config.encoder.max_length.map(Into::into), &folder, threads, rows)?;
        let Tokenized { data, max_length, prompt_tokens } = tokenized;
        let report = data::check(&data);
        check_teachers(config, &data)?;

        let (heads, known) = heads(config, &folder, &data)?;
        let layers = config.encoder.layers.map(usize::from);
        if let Some(layers) = layers.filter(|layers| *layers > folder.config.layers) {
            let message =
                format!("encoder.layers: expected 1 to {}, found {layers}", folder.config.layers);
            return Err(Error::new(ErrorKind::Config, message));
        }
        let options = NetworkOptions {
            pooling: config.encoder.pooling.as_ref().map(|modes| pooling(&folder, modes)),
            hidden_dropout: config.encoder.dropout.map(f32::from),
            attention_dropout: config.encoder.attention_dropout.map(f32::from),
            layers,
            random: config.encoder.random.then_some(config.seed),
        };
        let network = Network::new(&folder, &heads, &options, threads)?;
        let objectives = objectives(config, &data)?;
        let sampler = BatchSampler::new(
            config.seed,
            config.sampler.into(),
            config.train.batch_size.get(),
            &data.train_rows(),
        )?;
        let total_steps = match (config.train.epochs.get(), config.train.max_steps) {
            (0, steps) => steps,
            (epochs, 0) => sampler.total_steps(epochs),
            (epochs, most) => sampler.total_steps(epochs).min(most),
        };
        let names: Vec<String> =
            (0..network.head_count()).map(|i| network.head_spec(i).name.clone()).collect();
        let freeze = FreezePlan::new(
            &config.freeze,
            network.store(),
            &names,
            sampler.steps_per_epoch(),
            total_steps,
        )?
        .without_heads_from(config.tasks.len());
        let rates = RateTable::new(network.store(), &config.train, &config.tasks, &freeze);
        let schedule = Schedule::new(&config.train, total_steps);
        let groups = network.store().entries().iter().map(|entry| entry.group).collect();
        let mut notices = folder.notices.clone();
        notices.extend(names[config.tasks.len()..].iter().map(|name| {
            format!("head `{name}` of the starting model is kept as it is: no task names it")
        }));
        notices.extend(config.tasks.iter().zip(&known).filter(|(_, known)| **known).map(
            |(task, _)| format!("task `{}` begins with the head of the starting model", task.name),
        ));
        let mut plan = RunPlan {
            folder,
            data,
            report,
            objectives,
            known,
            sampler,
            freeze,
            rates,
            schedule,
            total_steps,
            max_length,
            prompt_tokens,
            notices,
            groups,
        };
        plan.notices.extend(plan.random_heads(config));
        Ok(Self { network, plan })
    }
}

impl RunPlan {
    /// A line for each new head that is frozen for the whole run.
    fn random_heads(&self, config: &RunConfig) -> Vec<String> {
        let ever = self.freeze.ever_trainable();
        let trains = |head| {
            let mut entries = self.groups.iter().zip(&ever);
            entries.any(|(group, ever)| *group == ParameterGroup::Head(head) && *ever)
        };
        let tasks = config.tasks.iter().zip(&self.known).enumerate();
        tasks
            .filter(|(head, (_, known))| !**known && !trains(*head))
            .map(|(_, (task, _))| {
                format!(
                    "task `{}`: its head is new and frozen for the whole run: it stays the random \
                     numbers that it begins with",
                    task.name
                )
            })
            .collect()
    }

    /// Whether any step trains the encoder or its modules, so that sentence
    /// vectors move.
    pub fn moves_vectors(&self) -> bool {
        let is_head = |group: &ParameterGroup| matches!(group, ParameterGroup::Head(_));
        self.freeze
            .ever_trainable()
            .iter()
            .zip(&self.groups)
            .any(|(ever, group)| *ever && !is_head(group))
    }
}

/// The rows of all files, and labels of all tasks.
fn read_rows(config: &RunConfig, folder: &ModelFolder) -> Result<Rows, Error> {
    let fields: Vec<TaskFields> = config
        .tasks
        .iter()
        .map(|task| {
            let start = folder.heads.iter().find(|head| head.spec.name == task.name);
            Ok(TaskFields {
                name: task.name.clone(),
                kind: task.kind,
                field: task.field.clone(),
                labels: task.labels.clone(),
                fixed_labels: start.map(|head| head.spec.labels.clone()),
                files: task.files(),
                may_lack_labels: task.keep == Some(Keep::Distill) || start.is_some(),
            })
        })
        .collect::<Result<_, Error>>()?;
    data::read(&config.data, &fields)
}

/// Rows as the network reads them.
pub(crate) struct Tokenized {
    pub(crate) data: Dataset,
    /// Tokens after which a text is cut.
    pub(crate) max_length: usize,
    /// Tokens at the beginning of each row that pooling leaves out.
    pub(crate) prompt_tokens: usize,
}

/// Tokenizes as the model does when it answers: with its default prompt.
///
/// - `max_length`: absent: as the folder says
pub(crate) fn tokenize(
    max_length: Option<usize>,
    folder: &ModelFolder,
    threads: &Threads,
    rows: Rows,
) -> Result<Tokenized, Error> {
    let mut options = LoadOptions::default().threads(threads.count());
    if let Some(tokens) = max_length {
        options = options.max_length(tokens);
    }
    let sentences = SentenceEncoder::from_folder(folder.clone(), &options).map_err(|error| {
        match error.kind() {
            polyhead_model::ErrorKind::Option if max_length.is_some() => {
                Error::new(ErrorKind::Config, format!("encoder.max_length: {error}"))
            }
            _ => Error::from(error),
        }
    })?;
    let encode = EncodeOptions::default();
    let prompt_name = folder.default_prompt_name.as_deref();
    let prompt = prompt_name.and_then(|name| folder.prompt(name)).unwrap_or_default();
    let data = rows.tokenize(&|texts: &[&str]| {
        let mut batch = sentences.tokenize(texts, &encode)?;
        spans_in_texts(&mut batch, texts, prompt, folder.lower_case);
        Ok(batch)
    })?;
    Ok(Tokenized {
        data,
        max_length: sentences.max_length(),
        prompt_tokens: sentences.prompt_tokens(&encode)?,
    })
}

/// The heads of the tasks, those of the starting model where it has them, and
/// its other heads behind them.
fn heads(
    config: &RunConfig,
    folder: &ModelFolder,
    data: &Dataset,
) -> Result<(Vec<HeadWeights>, Vec<bool>), Error> {
    let mut site = folder.site();
    site.layers = config.encoder.layers.map_or(site.layers, usize::from);
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
    for (task, fields) in config.tasks.iter().zip(&data.tasks) {
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
            hidden: task.hidden.map(usize::from),
            activation: task.activation,
            dropout: task.dropout.get(),
            temperature: 1.0,
            thresholds: Vec::new(),
        };
        spec.check(&site)?;
        let start = folder.heads.iter().find(|head| head.spec.name == task.name);
        if task.keep == Some(Keep::Distill) && start.is_none() {
            let message = format!(
                "task `{}`: keep = \"distill\": expected a head of this name in the starting \
                 model {}, found none",
                task.name, config.encoder.model
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
        known.push(start.is_some());
        heads.push(match start {
            Some(head) => start_from(head, spec, task)?,
            None => HeadWeights::random(spec, &site, config.seed),
        });
    }
    let named = |head: &&HeadWeights| config.tasks.iter().any(|task| task.name == head.spec.name);
    heads.extend(folder.heads.iter().filter(|head| !named(head)).cloned());
    Ok((heads, known))
}

/// A tagging task is held to the answers for words, so there have to be some.
fn check_teachers(config: &RunConfig, data: &Dataset) -> Result<(), Error> {
    for (task, fields) in config.tasks.iter().zip(&data.tasks) {
        let words = &data.sources[fields.source].train.words;
        let tagged = task.kind == TaskKind::Tokens && task.keep == Some(Keep::Distill);
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

/// The head of the starting model with its pooling, temperature and thresholds, if
/// it is what the task asks for.
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
    let own_pooling = task.pooling.is_some();
    type Shown<'a> = &'a dyn Fn(&HeadSpec) -> String;
    let aspects: [(&str, bool, Shown); 6] = [
        ("kind", true, &|spec| spec.kind.to_string()),
        ("labels", true, &|spec| spec.labels.join(", ")),
        ("hidden", true, &hidden),
        ("layer", true, &layer),
        ("input", true, &input),
        ("pooling", own_pooling, &modes),
    ];
    let differs =
        |(_, counts, shown): &(&str, bool, Shown)| *counts && shown(found) != shown(&wanted);
    if let Some((key, _, shown)) = aspects.iter().find(|aspect| differs(aspect)) {
        let message = format!(
            "task `{}`: {key}: expected that of the head of this name in the starting model, {}, \
             found {}; give the task another name to begin anew",
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
        ..wanted
    };
    Ok(HeadWeights { spec, ..head.clone() })
}

/// These modes; whether the prompt counts is the folder's to say.
fn pooling(folder: &ModelFolder, modes: &[polyhead_model::PoolingMode]) -> PoolingSpec {
    let include_prompt = match folder.modules.first() {
        Some(polyhead_model::Module::Pooling(spec)) => spec.include_prompt,
        _ => true,
    };
    PoolingSpec { modes: modes.to_vec(), include_prompt }
}

fn objectives(config: &RunConfig, data: &Dataset) -> Result<Vec<Objective>, Error> {
    config
        .tasks
        .iter()
        .zip(&data.tasks)
        .enumerate()
        .map(|(index, (settings, task))| {
            let train = &data.sources[task.source].train.labels[index];
            Objective::from_settings(settings, &task.labels, train)
        })
        .collect()
}

/// `check-data`: the report alone.
///
/// # Errors
/// As [`Prepared::new`], of model and data.
pub fn check_data(config: &RunConfig, threads: &Threads) -> Result<DataReport, Error> {
    let folder = open_model(&config.encoder.model)?;
    let rows = read_rows(config, &folder)?;
    Ok(data::check(
        &tokenize(config.encoder.max_length.map(Into::into), &folder, threads, rows)?.data,
    ))
}
