//! The way from a configuration to everything that a run needs before its first step.
//!
//! Mistakes in the configuration, the model or the data show here, before any training time is
//! spent.

use polyhead_compute::Threads;
use polyhead_model::{
    HeadWeights, LabelFormat, ModelFolder, Network, NetworkOptions, ParameterGroup,
    TrainableLayout, resolve,
};

use crate::config::{EncoderFiles, PositiveSize, RunConfig, exact};
use crate::data::{DataReport, Dataset, Rows, TaskFields};
use crate::error::{Error, ErrorKind};
use crate::evaluate::choosing_metrics;
use crate::freeze::FreezePlan;
use crate::recipe;
use crate::run::contrast::Contrast;
use crate::run::head_teacher::check_head_teachers;
use crate::run::heads::{check_teachers, heads, pair_reading, pooling, with_dropouts};
use crate::run::notices::notices;
use crate::run::plan::RunPlan;
use crate::run::teachers::ask_teachers;
use crate::run::text_tokenizer::{Tokenized, tokenize};
use crate::sampler::BatchSampler;
use crate::step::{AdamW, AdamWSettings, Learner, RateTable, Schedule};
use crate::tasks::{Objective, rules};

/// A run that is ready to begin.
pub struct Prepared {
    /// Heads of tasks first, in order; then heads of the starting model that no
    /// task of this run names: they are kept as they are.
    pub network: Network,
    /// Everything else.
    pub plan: RunPlan,
}

/// Checks that each task's training rows have what its loss needs.
fn check_rows(config: &RunConfig, data: &Dataset) -> Result<(), Error> {
    for (index, (settings, task)) in config.tasks.iter().zip(&data.tasks).enumerate() {
        let train = &data.sources[task.source].train;
        let checked = rules(settings.kind).check_rows(settings, &train.labels[index]);
        checked.map_err(|(row, problem)| {
            let message = format!("{}: task `{}`: {problem}", train.place(row), task.name);
            Error::new(ErrorKind::Data, message)
        })?;
    }
    Ok(())
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
    /// Every error of the configuration, the model and the data.
    pub fn new(config: &RunConfig, threads: &Threads) -> Result<Self, Error> {
        config.check_writable()?;
        let folder = open_model(&config.encoder.model)?;
        // Now: another model may stand in its place when the run ends.
        let reference = match config.output.encoder {
            EncoderFiles::Copy => None,
            EncoderFiles::Reference => Some(folder.refer_to_encoder(&config.encoder.model)?),
        };
        let rows = read_rows(config, &folder)?;
        let tokenized = tokenize(
            ("encoder.max_length", config.encoder.max_length.map(Into::into)),
            &folder,
            threads,
            rows,
        )?;
        let Tokenized { mut data, tokenizer, prompt_tokens } = tokenized;
        let max_length = tokenizer.max_length();
        let config = with_dropouts(config, &folder);
        let (mut config, mut recipe) = recipe::resolve(&config, &folder, &data)?;
        let report = DataReport::of(&data, &choosing_metrics(&config));
        check_teachers(&config, &data)?;
        check_head_teachers(&config, &data)?;
        check_layers(&config, &folder)?;
        ask_teachers(&config, &mut data, threads)?;
        check_rows(&config, &data)?;

        let (mut heads, known) = heads(&config, &folder, &data)?;
        let contrast = Contrast::new(&config, &data, heads.len())?;
        heads.extend(contrast.as_ref().map(|_| Contrast::vectors_head()));
        let options = NetworkOptions {
            pooling: config.encoder.pooling.as_ref().map(|modes| pooling(&folder, modes)),
            hidden_dropout: config.encoder.dropout.map(f32::from),
            attention_dropout: config.encoder.attention_dropout.map(f32::from),
            layers: config.encoder.layers.map(usize::from),
            chosen_layers: config.encoder.keep_layers.iter().map(|layer| layer.get()).collect(),
            random: config.encoder.random.then_some(config.seed),
        };
        let network = Network::new(&folder, &heads, &options, threads)?;
        let most = network.head_dims().embedding;
        let too_wide = |width: &&PositiveSize| width.get() > most;
        if let Some(width) = config.encoder.matryoshka.iter().find(too_wide) {
            let message = format!(
                "encoder.matryoshka: expected widths of 1 to {most}, found {}",
                width.get()
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
        let sampler = BatchSampler::new(
            config.seed,
            config.sampler,
            config.train.batch_size.get(),
            &data.train_rows(),
        )?;
        let total_steps = sampler.total_steps(config.train.epochs.get(), config.train.max_steps);
        if let Some(contrast) = contrast.as_ref().filter(|of| of.steps >= total_steps) {
            let message = format!(
                "train.contrast_steps: expected fewer than the {total_steps} steps of the run, as \
                 those behind them train the heads, found {}",
                contrast.steps
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
        let own = contrast.as_ref().map_or(network.head_count(), |contrast| contrast.head);
        let names: Vec<String> = (0..own).map(|i| network.head_spec(i).name.clone()).collect();
        let freeze = FreezePlan::new(
            &config.freeze,
            network.store(),
            &names,
            sampler.steps_per_epoch(),
            total_steps,
        )?
        .without_heads_from(config.tasks.len());
        let unweighted = objectives(&config, &data, &heads)?;
        let losses = match freeze.trains_nothing() {
            true => vec![None; known.len()],
            false => recipe::starting_losses(&data, &unweighted, &known),
        };
        recipe::even_losses(&mut config, &mut recipe, &losses);
        let objectives = objectives(&config, &data, &heads)?;
        let rates = RateTable::new(network.store(), &config.train, &config.tasks, &freeze);
        let schedule = Schedule::new(&config.train, total_steps);
        let groups = network.store().entries().iter().map(|entry| entry.group).collect();
        let drowned = recipe::drowned(&config, &losses);
        let mut plan = RunPlan {
            config,
            recipe,
            folder,
            data,
            report,
            objectives,
            known,
            sampler,
            contrast,
            freeze,
            rates,
            schedule,
            total_steps,
            max_length,
            prompt_tokens,
            notices: Vec::new(),
            groups,
            reference,
        };
        plan.notices = notices(&plan, &network);
        plan.notices.extend(drowned);
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
        let vectors_head = plan.contrast.as_ref().map(|contrast| contrast.head);
        (learner.with_vectors_head(vectors_head), plan)
    }
}

/// Checks that the starting model has the layers that are kept of it.
fn check_layers(config: &RunConfig, folder: &ModelFolder) -> Result<(), Error> {
    let count = folder.config.layers;
    let fail = |message: String| Err(Error::new(ErrorKind::Config, message));
    if let Some(layers) = config.encoder.layers.map(usize::from).filter(|layers| *layers > count) {
        return fail(format!("encoder.layers: expected 1 to {count}, found {layers}"));
    }
    let chosen: Vec<usize> = config.encoder.keep_layers.iter().map(|layer| layer.get()).collect();
    let ascending = chosen.windows(2).all(|pair| pair[0] < pair[1]);
    if !ascending || chosen.last().is_some_and(|layer| *layer >= count) {
        return fail(format!(
            "encoder.keep_layers: expected layers from 0 to {} in ascending order, found {chosen:?}",
            count - 1
        ));
    }
    Ok(())
}

/// Checks that the model can refer to the encoder of the starting model, if it is to.
fn check_output(config: &RunConfig, plan: &RunPlan) -> Result<(), Error> {
    if plan.reference.is_none() {
        return Ok(());
    }
    let key = "`output.encoder`: expected \"copy\", found \"reference\"";
    let other = [
        (config.encoder.random, "random"),
        (config.encoder.layers.is_some(), "layers"),
        (!config.encoder.keep_layers.is_empty(), "keep_layers"),
    ];
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
            let start = folder.heads.iter().find(|head| head.spec.name == task.start_name());
            let fields = TaskFields::from(task);
            let kept = start.map(|head| LabelFormat {
                fields: fields.format.fields.clone(),
                ..head.spec.label_format.clone()
            });
            TaskFields {
                format: fields.format.or(&kept.unwrap_or_default()),
                fixed_labels: start.map(|head| head.spec.labels.clone()),
                start_words: start.map(|head| head.spec.words.clone()),
                pair: pair_reading(task, start.map(|head| &head.spec)),
                range: fields.range.or(start.and_then(|head| head.spec.range)),
                may_lack_labels: task.keep.is_some() || start.is_some(),
                ..fields
            }
        })
        .collect();
    let mut rows = Rows::read(&config.data, &fields)?;
    if let Some(share) = config.data.dev_share {
        rows.hold_out(&config.data, exact(share.get()), config.seed);
    }
    Ok(rows)
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
            objective.map_scores(heads[index].spec.range);
            objective.compare_at(config.encoder.matryoshka.iter().map(|w| w.get()).collect());
            Ok(objective)
        })
        .collect()
}

/// Makes every check that a run makes before its first step, and returns the report about the data.
///
/// # Errors
/// The errors of [`Prepared::new`].
pub fn check_data(config: &RunConfig, threads: &Threads) -> Result<DataReport, Error> {
    Ok(Prepared::new(config, threads)?.plan.report)
}
