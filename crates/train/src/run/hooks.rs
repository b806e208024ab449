//! The hooks of a run: what they answer is checked here, and their states go into checkpoints.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use polyhead_files::{hex, listed, quoted};

use crate::data::Dataset;
use crate::error::{Error, ErrorKind};
use crate::run::hook::{Hook, HookedStep};
use crate::run::plan::RunPlan;
use crate::sampler::Batch;
use crate::step::{GradientProducts, StepControl};

/// Largest size of the states of all hooks, in bytes.
const STATE_LIMIT: usize = 16_000_000;

/// The hooks of a run, in the order in which they are called.
pub(crate) struct Hooks<'a>(&'a mut [Box<dyn Hook>]);

impl<'a> Hooks<'a> {
    /// Prepares the hooks for a run.
    ///
    /// # Errors
    /// [`ErrorKind::Hook`] if two have the same name, or one has none.
    pub(super) fn begin(hooks: &'a mut [Box<dyn Hook>], plan: &RunPlan) -> Result<Self, Error> {
        for (at, hook) in hooks.iter().enumerate() {
            let name = hook.name();
            if name.is_empty() {
                return Err(error(name, "expected a name, found none"));
            }
            if hooks[..at].iter().any(|other| other.name() == name) {
                return Err(error(
                    name,
                    "expected hooks of different names, found two of this one",
                ));
            }
        }
        hooks.iter_mut().for_each(|hook| hook.begin(plan));
        Ok(Self(hooks))
    }

    /// The rows that a hook chooses for this step.
    ///
    /// # Errors
    /// [`ErrorKind::Hook`] if the source or a row does not exist, or there is no row.
    pub(super) fn batch(&mut self, step: u64, data: &Dataset) -> Result<Option<Batch>, Error> {
        for hook in self.0.iter_mut() {
            let Some(batch) = hook.batch(step) else { continue };
            let problem = match data.sources.get(batch.source) {
                None => Some(format!(
                    "expected a source from 0 to {}, found {}",
                    data.sources.len() - 1,
                    batch.source
                )),
                Some(source) => {
                    let count = source.train.len();
                    let outside = batch.rows.iter().find(|row| **row as usize >= count);
                    match outside {
                        _ if batch.rows.is_empty() => {
                            Some("expected a row or more, found none".to_owned())
                        }
                        Some(row) => Some(format!(
                            "expected rows below {count}, the number of training rows of source \
                             {}, found {row}",
                            batch.source
                        )),
                        None => None,
                    }
                }
            };
            return match problem {
                None => Ok(Some(batch)),
                Some(problem) => Err(error(hook.name(), &format!("step {step}: {problem}"))),
            };
        }
        Ok(None)
    }

    /// The weights of a step.
    ///
    /// - `weights`: those of the configuration
    ///
    /// # Errors
    /// [`ErrorKind::Hook`] if a weight is below 0 or not finite.
    pub(super) fn weights(
        &mut self,
        step: u64,
        mut weights: Vec<f32>,
        data: &Dataset,
    ) -> Result<Vec<f32>, Error> {
        for hook in self.0.iter_mut() {
            hook.weights(step, &mut weights);
            check_weights(hook.name(), step, &weights, data)?;
        }
        Ok(weights)
    }

    /// The decisions in step `step` that need its losses or gradients.
    pub(super) fn control<'h>(&'h mut self, step: u64, data: &'h Dataset) -> HookedControl<'h, 'a> {
        HookedControl { hooks: self, step, data }
    }

    /// Returns true if a hook reads the gradient of each task in this step.
    pub(super) fn read_task_gradients(&self, step: u64) -> bool {
        self.0.iter().any(|hook| hook.reads_task_gradients(step)) || self.read_other_sources(step)
    }

    /// Returns true if a hook reads the gradients of tasks that this step has no rows of.
    pub(super) fn read_other_sources(&self, step: u64) -> bool {
        self.0.iter().any(|hook| hook.reads_other_sources(step))
    }

    /// Shows a step to every hook; `Break` if one of them ends the run.
    ///
    /// # Errors
    /// The first of a hook.
    pub(super) fn after_step(&mut self, step: &HookedStep) -> Result<ControlFlow<()>, Error> {
        let mut flow = ControlFlow::Continue(());
        for hook in self.0.iter_mut() {
            if hook.after_step(step)?.is_break() {
                flow = ControlFlow::Break(());
            }
        }
        Ok(flow)
    }

    /// The numbers of each hook that has some, by its name.
    pub(super) fn log(&mut self) -> Vec<(String, Vec<(String, f64)>)> {
        let logs = self.0.iter_mut().map(|hook| (hook.name().to_owned(), hook.log()));
        logs.filter(|(_, numbers)| !numbers.is_empty()).collect()
    }

    /// The states by name, in hexadecimal.
    ///
    /// # Errors
    /// [`ErrorKind::Hook`] if they are too large.
    pub(super) fn save(&self) -> Result<BTreeMap<String, String>, Error> {
        let mut states = BTreeMap::new();
        let mut bytes = 0;
        for hook in self.0.iter() {
            let state = hook.save();
            bytes += state.len();
            if bytes > STATE_LIMIT {
                let problem = format!(
                    "expected states of all hooks of at most {STATE_LIMIT} bytes, found {bytes}"
                );
                return Err(error(hook.name(), &problem));
            }
            states.insert(hook.name().to_owned(), hex(state));
        }
        Ok(states)
    }

    /// The names in the order in which the hooks are called.
    pub(super) fn names(&self) -> Vec<String> {
        self.0.iter().map(|hook| hook.name().to_owned()).collect()
    }

    /// Gives the hooks the states of a checkpoint.
    ///
    /// - `order`: the names in the order of the run; empty if it is not known
    ///
    /// # Errors
    /// [`ErrorKind::Hook`] if the hooks are others or in another order, or a state is not the hook's.
    pub(super) fn restore(
        &mut self,
        states: &BTreeMap<String, String>,
        order: &[String],
    ) -> Result<(), Error> {
        let given = |name: &String| self.0.iter().any(|hook| hook.name() == name);
        if let Some(missing) = states.keys().find(|name| !given(name)) {
            let problem = "the run began with this hook: expected it again, found a run without it";
            return Err(error(missing, problem));
        }
        let mut names = self.names();
        names.retain(|name| states.contains_key(name));
        if let Some((expected, found)) = order.iter().zip(&names).find(|(a, b)| a != b) {
            let problem = format!(
                "expected the hooks in the order in which the run began, {}, found {} in place of \
                 this one",
                listed(order),
                quoted(found)
            );
            return Err(error(expected, &problem));
        }
        for hook in self.0.iter_mut() {
            let name = hook.name().to_owned();
            let Some(state) = states.get(&name) else {
                let problem = "the run began without this hook: expected a new run for it";
                return Err(error(&name, problem));
            };
            let state = bytes_of(state).ok_or_else(|| {
                error(&name, "state in the checkpoint: expected hexadecimal digits")
            })?;
            hook.restore(&state)
                .map_err(|problem| error(&name, &format!("state in the checkpoint: {problem}")))?;
        }
        Ok(())
    }
}

/// The decisions of hooks in one step.
pub(super) struct HookedControl<'h, 'a> {
    hooks: &'h mut Hooks<'a>,
    step: u64,
    data: &'h Dataset,
}

impl StepControl for HookedControl<'_, '_> {
    fn reads_losses(&self) -> bool {
        self.hooks.0.iter().any(|hook| hook.reads_losses(self.step))
    }

    fn weigh(&mut self, losses: &[Option<f64>], weights: &mut [f32]) -> Result<(), Error> {
        let Self { hooks, step, data } = self;
        for hook in hooks.0.iter_mut().filter(|hook| hook.reads_losses(*step)) {
            hook.weights_by_losses(*step, losses, weights);
            check_weights(hook.name(), *step, weights, data)?;
        }
        Ok(())
    }

    fn mixes_gradients(&self) -> bool {
        self.hooks.0.iter().any(|hook| hook.mixes_gradients())
    }

    fn mix(&mut self, products: &GradientProducts, shares: &mut [f64]) -> Result<(), Error> {
        for hook in self.hooks.0.iter_mut().filter(|hook| hook.mixes_gradients()) {
            hook.mix(self.step, products, shares);
            if let Some(task) = shares.iter().position(|share| !share.is_finite()) {
                let (step, name, found) = (self.step, &self.data.tasks[task].name, shares[task]);
                let problem =
                    format!("step {step}, task `{name}`: expected a finite share, found {found}");
                return Err(error(hook.name(), &problem));
            }
        }
        Ok(())
    }
}

/// # Errors
/// [`ErrorKind::Hook`] if a weight is below 0 or not finite.
fn check_weights(hook: &str, step: u64, weights: &[f32], data: &Dataset) -> Result<(), Error> {
    let wrong = |weight: &f32| !(weight.is_finite() && *weight >= 0.0);
    let Some(task) = weights.iter().position(wrong) else { return Ok(()) };
    let (name, found) = (&data.tasks[task].name, weights[task]);
    let problem =
        format!("step {step}, task `{name}`: expected a finite weight of 0 or more, found {found}");
    Err(error(hook, &problem))
}

fn error(hook: &str, problem: &str) -> Error {
    Error::new(ErrorKind::Hook, format!("hook {}: {problem}", quoted(hook)))
}

/// The bytes of hexadecimal digits.
fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            u8::from_str_radix(str::from_utf8(pair).ok().filter(|p| p.len() == 2)?, 16).ok()
        })
        .collect()
}
