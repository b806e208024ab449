//! The plan of a comparison: combinations of tasks, and the configuration of each run.

use polyhead_compute::Threads;
use polyhead_model::TaskKind;

use crate::config::{FreezePhase, Moment, MultitaskSettings, RunConfig, TaskWeights};
use crate::error::{Error, ErrorKind};
use crate::evaluate::metric_of;
use crate::run::{Prepared, RunPlan};
use crate::sampler::BatchSampler;

/// The runs of a comparison, but for their seeds.
pub(super) struct TransferPlan {
    /// The configuration of all tasks together, with the keys that its recipe fills in.
    pub(super) config: RunConfig,
    /// Seed of the first runs.
    pub(super) seed: u64,
    /// Each task alone, in the order of the configuration; then all; then every two.
    pub(super) combinations: Vec<Combination>,
    /// `[tasks]`: source of the rows of each.
    source: Vec<usize>,
    /// Number of training rows of each source.
    rows: Vec<usize>,
    /// Steps of the run of all tasks.
    total_steps: u64,
    /// Steps of an epoch of that run.
    steps_per_epoch: u64,
}

/// Tasks that are trained together.
pub(super) struct Combination {
    /// Indices of the tasks, ascending.
    pub(super) tasks: Vec<usize>,
    pub(super) names: Vec<String>,
    /// Name of the folders of its runs, without the seed.
    pub(super) folder: String,
}

impl TransferPlan {
    pub(super) fn new(config: &RunConfig, pairs: bool, threads: &Threads) -> Result<Self, Error> {
        check_config(config)?;
        let plan = Prepared::new(config, threads)?.plan;
        check_plan(&plan)?;
        let names: Vec<&str> = plan.config.tasks.iter().map(|task| task.name.as_str()).collect();
        let combination = |tasks: Vec<usize>, folder: String| Combination {
            names: tasks.iter().map(|task| names[*task].to_owned()).collect(),
            tasks,
            folder,
        };
        let count = names.len();
        let mut combinations: Vec<Combination> = (0..count)
            .map(|task| combination(vec![task], format!("alone-{}", names[task])))
            .collect();
        combinations.push(combination((0..count).collect(), "together".to_owned()));
        if pairs && count > 2 {
            let all = (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b)));
            combinations.extend(
                all.map(|(a, b)| {
                    combination(vec![a, b], format!("pair-{}+{}", names[a], names[b]))
                }),
            );
        }
        Ok(Self {
            seed: plan.config.seed,
            combinations,
            source: plan.data.tasks.iter().map(|task| task.source).collect(),
            rows: plan.data.train_rows(),
            total_steps: plan.total_steps,
            steps_per_epoch: plan.sampler.steps_per_epoch(),
            // The keys that the recipe has chosen hold for all runs.
            config: plan
                .config
                .with(&["train.recipe=full", "output.answers=true"].map(str::to_owned))?,
        })
    }

    /// The configuration of a run. Its tasks see as many batches of their rows as in the run of all tasks
    /// with the same seed, and phases and evaluations keep their share of the steps.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if a key means nothing for fewer tasks, or no step reads rows of a task.
    pub(super) fn config_of(&self, combination: usize, seed: u64) -> Result<RunConfig, Error> {
        let Combination { tasks, names, .. } = &self.combinations[combination];
        let mut config = self.config.clone();
        config.seed = seed;
        let steps = self.steps_of(tasks, seed)?;
        if steps == 0 {
            let message = format!(
                "task `{}`: expected steps with its rows, found none among the {} steps with seed {seed}",
                names[0], self.total_steps
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
        if tasks.len() == self.config.tasks.len() {
            return config.with(&[]);
        }
        config.tasks = tasks.iter().map(|task| self.config.tasks[*task].clone()).collect();
        if let Some((task, _)) = config.train.best.split_once('.')
            && !names.iter().any(|name| name == task)
        {
            config.train.best = "mean".to_owned();
        }
        config.freeze.iter_mut().for_each(|phase| self.keep_heads(phase, names));
        config.freeze.retain(|phase| !phase.parameters.is_empty());
        if let TaskWeights::Given(weights) = &mut config.multitask.weights {
            weights.retain(|(name, _)| names.contains(name));
        }
        if names.len() == 1 {
            config.multitask = MultitaskSettings::default();
        }
        if steps == self.total_steps {
            return config.with(&[]);
        }
        self.scale(&mut config, steps);
        config.with(&["train.epochs=0".to_owned(), format!("train.max_steps={steps}")])
    }

    /// Gives phases and evaluations their share of this number of steps.
    fn scale(&self, config: &mut RunConfig, steps: u64) {
        let share = |of: u64| {
            let product = u128::from(of) * u128::from(steps);
            u64::try_from(product.div_ceil(u128::from(self.total_steps))).unwrap_or(u64::MAX)
        };
        let last = |moment: Moment| match moment {
            Moment::Epoch(epoch) => epoch.saturating_mul(self.steps_per_epoch),
            Moment::Step(step) => step,
        };
        let before = |moment: Moment| match moment {
            Moment::Epoch(epoch) => epoch.saturating_sub(1).saturating_mul(self.steps_per_epoch),
            Moment::Step(step) => step.saturating_sub(1),
        };
        for phase in &mut config.freeze {
            phase.from = phase.from.map(|from| Moment::Step(share(before(from)) + 1));
            phase.until = phase.until.map(|until| Moment::Step(share(last(until))));
        }
        // A phase that is shorter than a step has none left.
        config.freeze.retain(|phase| match (phase.from, phase.until) {
            (Some(from), Some(until)) => before(from) < last(until),
            _ => true,
        });
        let every = match config.train.evaluate_every {
            0 => self.steps_per_epoch,
            every => every,
        };
        config.train.evaluate_every = share(every);
    }

    /// Steps of the run of all tasks that read rows of some tasks.
    fn steps_of(&self, tasks: &[usize], seed: u64) -> Result<u64, Error> {
        let RunConfig { sampler, train, .. } = &self.config;
        let sampler = BatchSampler::new(seed, *sampler, train.batch_size.get(), &self.rows)?;
        let draws = sampler.draws(self.total_steps).into_iter().enumerate();
        let has_task = |source: usize| tasks.iter().any(|task| self.source[*task] == source);
        Ok(draws.filter(|(source, _)| has_task(*source)).map(|(_, steps)| steps).sum())
    }

    /// Removes the heads of tasks that a run does not train from a phase.
    fn keep_heads(&self, phase: &mut FreezePhase, names: &[String]) {
        phase.parameters.retain(|group| {
            let head = group.strip_prefix("head.");
            let is_left_out = |head: &str| {
                let is_task = self.config.tasks.iter().any(|task| task.name == head);
                is_task && !names.iter().any(|name| name == head)
            };
            !head.is_some_and(is_left_out)
        });
    }
}

/// Checks what the runs have to have in common, before anything is read.
fn check_config(config: &RunConfig) -> Result<(), Error> {
    let fail = |message: String| Err(Error::new(ErrorKind::Config, message));
    if config.tasks.len() < 2 {
        let found = config.tasks.len();
        return fail(format!("task: expected two tasks or more to compare, found {found}"));
    }
    let ends = [
        ("max_seconds", config.train.max_seconds > 0),
        ("patience", config.train.patience.get() > 0),
    ];
    if let Some((key, _)) = ends.iter().find(|(_, is_set)| *is_set) {
        return fail(format!(
            "train.{key}: expected none, since all runs see the same number of batches of a task's rows"
        ));
    }
    if config.data.dev_share.is_some() {
        return fail(
            "data.dev_share: expected a file in `dev`, since all runs are judged on the same rows, \
             and each seed holds out others"
                .into(),
        );
    }
    for task in &config.tasks {
        let name = &task.name;
        if task.kind == TaskKind::Distillation {
            return fail(format!(
                "task `{name}`: expected a task with labels, found distillation, which has no metric \
                 of rows"
            ));
        }
        if metric_of(task) == "loss" {
            return fail(format!(
                "task `{name}`: metric: expected one of answers, found a loss, which is no metric of \
                 rows"
            ));
        }
    }
    Ok(())
}

/// Checks that every task is judged, and something trains.
fn check_plan(plan: &RunPlan) -> Result<(), Error> {
    for (at, task) in plan.data.tasks.iter().enumerate() {
        if plan.data.sources[task.source].dev.labels[at].labelled() == 0 {
            let message = format!(
                "task `{}`: expected labelled rows in `dev`, which choose the best step of each run, \
                 found none",
                task.name
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
    }
    if let Some(contrast) = &plan.contrast {
        let message = format!(
            "train.contrast_steps: expected none, since tasks share these steps among them, found {}; \
             `train.recipe = \"full\"` has none",
            contrast.steps
        );
        return Err(Error::new(ErrorKind::Config, message));
    }
    if plan.freeze.trains_nothing() {
        let message = "freeze: expected parameters that train, found none";
        return Err(Error::new(ErrorKind::Config, message));
    }
    Ok(())
}
