//! From a configuration to everything that a run needs before its first step.
//!
//! What is wrong with the configuration, the model or the data shows here,
//! before any training time is spent.

use polyhead_compute::Threads;
use polyhead_files::listed;
use polyhead_model::{
    HeadSpec, HeadWeights, LabelFormat, ModelFolder, Network, NetworkOptions, OnTruncate,
    ParameterGroup, Prompt, TargetScale, TextReader, TrainableLayout, resolve,
};
use polyhead_text::{TextInput, TokenBatch, spans_in_texts};

use crate::config::{EncoderFiles, RunConfig, TaskSettings};
use crate::data::{DataReport, Dataset, Rows, TaskFields};
use crate::error::{Error, ErrorKind};
use crate::evaluate::choosing_metrics;
use crate::freeze::FreezePlan;
use crate::recipe;
use crate::run::heads::{check_teachers, heads, pooling, target_scale};
use crate::run::plan::RunPlan;
use crate::sampler::BatchSampler;
use crate::step::{AdamW, AdamWSettings, Learner, RateTable, Schedule};
use crate::tasks::{Objective, near_zero, rules};

/// A run that is ready to begin.
pub struct Prepared {
    /// Heads of tasks first, in order; then heads of the starting model that no
    /// task of this run names: they are kept as they are.
    pub network: Network,
    /// Everything else.
    pub plan: RunPlan,
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
        let tokenized = tokenize(
            ("encoder.max_length", config.encoder.max_length.map(Into::into)),
            &folder,
            threads,
            rows,
        )?;
        let Tokenized { data, tokenizer, prompt_tokens } = tokenized;
        let max_length = tokenizer.reader.max_length();
        let (mut config, mut recipe) = recipe::resolve(config, &folder, &data)?;
        let report = DataReport::of(&data, &choosing_metrics(&config));
        check_teachers(&config, &data)?;

        let (heads, known) = heads(&config, &folder, &data)?;
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
        let mut objectives = objectives(&config, &data, &heads)?;
        let losses = recipe::starting_losses(&data, &objectives, &known);
        recipe::even_losses(&mut config, &mut recipe, &mut objectives, &losses);
        let sampler = BatchSampler::new(
            config.seed,
            config.sampler,
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
        let text = config.data.input_fields().ok().map(|fields| fields.text);
        if let Some(text) = text.filter(|text| Some(text) == folder.input.as_ref()) {
            let fields = listed(&text.names());
            notices.push(format!("texts are made of {fields}, as in the starting model"));
        }
        notices.extend(names[config.tasks.len()..].iter().map(|name| {
            format!("head `{name}` of the starting model is kept as it is: no task names it")
        }));
        notices.extend(config.tasks.iter().zip(&known).filter(|(_, known)| **known).map(
            |(task, _)| format!("task `{}` begins with the head of the starting model", task.name),
        ));
        let found = |task: &TaskSettings| rules(task.kind).has_order() && task.labels.is_none();
        notices.extend(config.tasks.iter().zip(&data.tasks).filter(|(task, _)| found(task)).map(
            |(task, fields)| {
                let (name, labels) = (&task.name, listed(&fields.labels));
                format!("task `{name}`: its labels, from the lowest to the highest: {labels}")
            },
        ));
        notices.extend(config.tasks.iter().enumerate().filter_map(|(index, task)| {
            scale_notice(task, &heads[index].spec, known[index], target_scale(&data, index)?)
        }));
        notices.extend(recipe::drowned(&config, &losses));
        let mut plan = RunPlan {
            config,
            recipe,
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
        plan.notices.extend(plan.random_heads());
        plan.notices.extend(recipe::advice(&plan));
        check_output(&plan.config, &plan)?;
        Ok(Self { network, plan })
    }

    /// The network with its optimizer; no parameter trains yet.
    pub fn into_learner(self) -> (Learner, RunPlan) {
        let Self { network, plan } = self;
        let config = &plan.config;
        let nothing = vec![false; network.store().entries().len()];
        let layout = TrainableLayout::new(network.store(), &nothing);
        let optimizer = AdamW::new(AdamWSettings::new(&config.train), layout);
        let (objectives, prompt_tokens) = (plan.objectives.clone(), plan.prompt_tokens);
        let learner =
            Learner::new(network, optimizer, objectives, &nothing, config.seed, prompt_tokens);
        (learner, plan)
    }
}

/// Checks that the model can refer to the encoder of the starting model, if it is to.
fn check_output(config: &RunConfig, plan: &RunPlan) -> Result<(), Error> {
    if config.output.encoder == EncoderFiles::Copy {
        return Ok(());
    }
    let key = "`output.encoder`: expected \"copy\", found \"reference\"";
    let other = [(config.encoder.random, "random"), (config.encoder.layers.is_some(), "layers")];
    let message = if let Some((_, other)) = other.iter().find(|(set, _)| *set) {
        format!("{key}: with `encoder.{other}` the encoder is not that of the starting model")
    } else if plan.moves_vectors() {
        let has_modules =
            plan.groups.iter().any(|group| matches!(group, ParameterGroup::Module(_)));
        let groups = if has_modules { "[\"encoder\", \"modules\"]" } else { "\"encoder\"" };
        format!(
            "{key}: the encoder trains; `[[freeze]]` with `parameters = {groups}`, without `from` \
             and `until`, freezes it for the whole run"
        )
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Config, message))
}

/// The rows of all files, and labels of all tasks.
fn read_rows(config: &RunConfig, folder: &ModelFolder) -> Result<Rows, Error> {
    let fields: Vec<TaskFields> = config
        .tasks
        .iter()
        .map(|task| {
            let start = folder.heads.iter().find(|head| head.spec.name == task.name);
            let fields = TaskFields::from(task);
            let kept = start.map(|head| LabelFormat {
                fields: fields.format.fields.clone(),
                ..head.spec.label_format.clone()
            });
            TaskFields {
                format: fields.format.or(&kept.unwrap_or_default()),
                fixed_labels: start.map(|head| head.spec.labels.clone()),
                start_words: start.map(|head| head.spec.words.clone()),
                may_lack_labels: task.keep.is_some() || start.is_some(),
                ..fields
            }
        })
        .collect();
    Rows::read(&config.data, &fields)
}

/// Rows as the network reads them.
pub(crate) struct Tokenized {
    pub(crate) data: Dataset,
    pub(crate) tokenizer: TextTokenizer,
    /// Tokens at the beginning of each row that pooling leaves out.
    pub(crate) prompt_tokens: usize,
}

/// Tokenizes as the model does when it answers: with its default prompt.
pub(crate) struct TextTokenizer {
    reader: TextReader,
    prompt: String,
    lower_case: bool,
}

impl TextTokenizer {
    /// - `max_length`: absent: as the folder says; `option`: its name in messages
    pub(crate) fn new(
        (option, max_length): (&str, Option<usize>),
        folder: &ModelFolder,
    ) -> Result<Self, Error> {
        let reader =
            TextReader::from_folder(folder, max_length).map_err(|error| match error.kind() {
                polyhead_model::ErrorKind::Option => {
                    Error::new(ErrorKind::Config, format!("{option}: {error}"))
                }
                _ => Error::from(error),
            })?;
        let prompt = reader.prompt(&Prompt::Default)?;
        Ok(Self { reader, prompt, lower_case: folder.lower_case })
    }

    /// Tokens whose spans count characters of the inputs as they are given.
    pub(crate) fn tokenize(
        &self,
        threads: &Threads,
        inputs: &[TextInput<&str>],
    ) -> Result<TokenBatch, polyhead_model::Error> {
        let mut batch = self.reader.tokenize(threads, inputs, &self.prompt, OnTruncate::Cut)?;
        spans_in_texts(&mut batch, inputs, &self.prompt, self.lower_case);
        Ok(batch)
    }
}

/// Tokenizes all rows as the model does when it answers.
///
/// - `max_length`: as for [`TextTokenizer::new`]
pub(crate) fn tokenize(
    max_length: (&str, Option<usize>),
    folder: &ModelFolder,
    threads: &Threads,
    rows: Rows,
) -> Result<Tokenized, Error> {
    let tokenizer = TextTokenizer::new(max_length, folder)?;
    let TextTokenizer { reader, prompt, .. } = &tokenizer;
    check_room(reader, threads, prompt, max_length.0)?;
    let data = rows.tokenize(&|inputs: &[TextInput<&str>]| tokenizer.tokenize(threads, inputs))?;
    let include_prompt = folder.modules.iter().any(
        |module| matches!(module, polyhead_model::Module::Pooling(spec) if spec.include_prompt),
    );
    let prompt_tokens = if include_prompt { 0 } else { reader.prompt_tokens(prompt)? };
    Ok(Tokenized { data, tokenizer, prompt_tokens })
}

/// The note about the scale of a regression's targets, if there is one.
///
/// - `known`: the starting model has the head
/// - `found`: the scale of the training targets
fn scale_notice(
    task: &TaskSettings,
    head: &HeadSpec,
    known: bool,
    found: TargetScale,
) -> Option<String> {
    let name = &head.name;
    let asked = task.standardize == Some(true);
    match head.target {
        Some(scale) => Some(format!(
            "task `{name}`: learns its targets standardized ({scale}); answers and metrics are in \
             the unit of the data, the loss is in deviations"
        )),
        None if known && (asked || !near_zero(found)) => Some(format!(
            "task `{name}`: the targets have {found}, and the head of the starting model has no \
             scale for them; under another name and with `standardize = true` the task begins \
             with a new head that has one"
        )),
        None if !near_zero(found) => Some(format!(
            "task `{name}`: the targets have {found}, and a head that learns them as they are \
             does so slowly or not at all: set `standardize = true` in the task"
        )),
        None => None,
    }
}

fn objectives(
    config: &RunConfig,
    data: &Dataset,
    heads: &[HeadWeights],
) -> Result<Vec<Objective>, Error> {
    config
        .tasks
        .iter()
        .zip(&data.tasks)
        .enumerate()
        .map(|(index, (settings, task))| {
            let train = &data.sources[task.source].train.labels[index];
            let mut objective = Objective::from_settings(settings, &task.labels, train)?;
            objective.target = heads[index].spec.target;
            Ok(objective)
        })
        .collect()
}

/// Makes every check that a run makes before its first step, and returns the report about the data.
///
/// # Errors
/// As [`Prepared::new`].
pub fn check_data(config: &RunConfig, threads: &Threads) -> Result<DataReport, Error> {
    Ok(Prepared::new(config, threads)?.plan.report)
}

/// Checks that the prompt and the special tokens leave a token for the text at least.
fn check_room(
    reader: &TextReader,
    threads: &Threads,
    prompt: &str,
    option: &str,
) -> Result<(), Error> {
    let nothing = [TextInput::One("")];
    let taken = reader.tokenize(threads, &nothing, prompt, OnTruncate::Cut)?.texts[0].total;
    if taken < reader.max_length() {
        return Ok(());
    }
    let found = reader.max_length();
    let what = if prompt.is_empty() { "special tokens" } else { "prompt and special tokens" };
    let message =
        format!("{option}: expected more than the {taken} tokens that {what} take, found {found}");
    Err(Error::new(ErrorKind::Config, message))
}
