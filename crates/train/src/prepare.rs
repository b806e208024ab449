//! From a configuration to everything that a run needs before its first step.
//!
//! What is wrong with the configuration, the model or the data shows here,
//! before any training time is spent.

use polyhead_compute::Threads;
use polyhead_model::{
    EncodeOptions, HeadInput, HeadSpec, HeadWeights, LoadOptions, ModelFolder, Network,
    NetworkOptions, ParameterGroup, PoolingSpec, SentenceEncoder, TaskKind, resolve,
    spans_in_texts,
};

use crate::config::{Keep, RunConfig, TaskSettings};
use crate::criterion;
use crate::data::{self, DataReport, Dataset, Rows, TaskFields};
use crate::error::{Error, ErrorKind};
use crate::freeze::FreezePlan;
use crate::objective::Objective;
use crate::rates::RateTable;
use crate::sampler::Plan;
use crate::schedule::Schedule;

/// A run that is ready to begin.
pub struct Prepared {
    /// Heads of tasks first, in order; then heads of the starting model that no
    /// task of this run names: they are kept as they are.
    pub network: Network,
    /// Everything else.
    pub course: Course,
}

/// What a run is going to do, settled before its first step.
pub struct Course {
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
    pub plan: Plan,
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
        criterion::check(config)?;
        let folder = open_model(&config.encoder.model)?;
        let rows = read_rows(config, &folder)?;
        let tokenized = tokenize(config.encoder.max_length, &folder, threads, rows)?;
        let Tokenized { data, max_length, prompt_tokens } = tokenized;
        let report = data::check(&data);

        let (heads, known) = heads(config, &folder, &data)?;
        let options = NetworkOptions {
            pooling: config.encoder.pooling.as_ref().map(|modes| pooling(&folder, modes)),
            hidden_dropout: config.encoder.dropout,
            attention_dropout: config.encoder.attention_dropout,
            layers: config.encoder.layers,
            random: config.encoder.random.then_some(config.seed),
        };
        let network = Network::new(&folder, &heads, &options, threads)?;
        let objectives = objectives(config, &data)?;
        let plan =
            Plan::new(config.seed, config.sampler, config.train.batch_size, &data.train_rows())?;
        let total_steps = match (config.train.epochs, config.train.max_steps) {
            (0, steps) => steps,
            (epochs, 0) => plan.total_steps(epochs),
            (epochs, most) => plan.total_steps(epochs).min(most),
        };
        let names: Vec<String> =
            (0..network.head_count()).map(|i| network.head_spec(i).name.clone()).collect();
        let freeze = FreezePlan::new(
            &config.freeze,
            network.store(),
            &names,
            plan.steps_per_epoch(),
            total_steps,
        )?;
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
        let mut course = Course {
            folder,
            data,
            report,
            objectives,
            known,
            plan,
            freeze,
            rates,
            schedule,
            total_steps,
            max_length,
            prompt_tokens,
            notices,
            groups,
        };
        course.notices.extend(course.random_heads(config));
        Ok(Self { network, course })
    }
}

impl Course {
    /// One flag per entry of the index: what step `step` trains. Heads without
    /// a task are never trained.
    pub fn trainable(&self, step: u64) -> Vec<bool> {
        let mut trainable = self.freeze.trainable(step);
        for (flag, group) in trainable.iter_mut().zip(&self.groups) {
            if let ParameterGroup::Head(head) = group {
                *flag &= *head < self.data.tasks.len();
            }
        }
        trainable
    }

    /// One flag per entry: whether any step trains it.
    pub fn ever_trainable(&self) -> Vec<bool> {
        let mut ever = vec![false; self.groups.len()];
        for span in self.freeze.spans() {
            for (ever, now) in ever.iter_mut().zip(self.trainable(span.first)) {
                *ever |= now;
            }
        }
        ever
    }

    /// A line for each new head that is frozen for the whole run.
    fn random_heads(&self, config: &RunConfig) -> Vec<String> {
        let ever = self.ever_trainable();
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
        self.ever_trainable().iter().zip(&self.groups).any(|(ever, group)| *ever && !is_head(group))
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
                files: task.data.clone(),
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
    let sentences = SentenceEncoder::from_folder(folder.clone(), &options)?;
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
    site.layers = config.encoder.layers.unwrap_or(site.layers);
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
            hidden: task.hidden,
            activation: task.activation,
            dropout: task.dropout,
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

/// The head of the starting model, if it is what the task asks for.
fn start_from(
    head: &HeadWeights,
    wanted: HeadSpec,
    task: &TaskSettings,
) -> Result<HeadWeights, Error> {
    let found = &head.spec;
    let differs = [
        ("kind", found.kind != wanted.kind, found.kind.to_string(), wanted.kind.to_string()),
        (
            "labels",
            found.labels != wanted.labels,
            found.labels.join(", "),
            wanted.labels.join(", "),
        ),
        (
            "hidden",
            found.hidden != wanted.hidden,
            format!("{:?}", found.hidden),
            format!("{:?}", wanted.hidden),
        ),
        (
            "layer",
            found.layer != wanted.layer,
            format!("{:?}", found.layer),
            format!("{:?}", wanted.layer),
        ),
        (
            "input",
            found.input != wanted.input,
            format!("{:?}", found.input),
            format!("{:?}", wanted.input),
        ),
        (
            "pooling",
            found.kind != TaskKind::Tokens
                && found.input == HeadInput::Pooled
                && found.pooling.modes.len() != wanted.pooling.modes.len(),
            format!("{:?}", found.pooling.modes),
            format!("{:?}", wanted.pooling.modes),
        ),
    ];
    if let Some((key, _, found, wanted)) = differs.into_iter().find(|(_, differs, ..)| *differs) {
        let message = format!(
            "task `{}`: the starting model has a head of this name with {key} {found}, the \
             configuration asks for {wanted}; give the task another name to begin anew",
            task.name
        );
        return Err(Error::new(ErrorKind::Config, message));
    }
    Ok(HeadWeights { spec: wanted, ..head.clone() })
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
    Ok(data::check(&tokenize(config.encoder.max_length, &folder, threads, rows)?.data))
}
