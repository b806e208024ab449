//! The cosines between the gradients of tasks, layer by layer.

use std::ops::ControlFlow;

use polyhead_compute::{Cpu, Isa, Team};
use polyhead_model::Gradients;

use crate::error::Error;
use crate::run::{Hook, HookedStep, RunPlan};
use crate::step::{group_name, is_shared};

use super::{CONFLICT, from_bytes, to_bytes};

/// Compares the gradients of tasks in every so many steps, for the report: of each pair of tasks in each
/// layer, and of each task with a joint step of several tasks over all parameters that tasks share.
///
/// A comparison costs a backward pass for each task, and a forward pass for each source that the step does
/// not read. It changes no bit of the run.
pub(super) struct Conflict {
    every: u64,
    /// Shared parameters by name, as entries of the store.
    groups: Vec<(String, Vec<usize>)>,
    /// Names of the tasks.
    tasks: Vec<String>,
    /// The pairs of gradients that a step compares.
    comparisons: Vec<Comparison>,
    /// Sum of cosines and number of steps of each comparison since the last line of `metrics.jsonl`.
    sums: Vec<(f64, u64)>,
}

/// Two gradients.
struct Comparison {
    task: usize,
    /// The other task and the group of parameters; `None`: the joint step, over all groups.
    with: Option<(usize, usize)>,
}

impl Conflict {
    pub(super) fn new(every: u64) -> Self {
        Self {
            every,
            groups: Vec::new(),
            tasks: Vec::new(),
            comparisons: Vec::new(),
            sums: Vec::new(),
        }
    }

    /// The name of a comparison: `topic sentiment layers.3`, or `topic joint`.
    fn name(&self, comparison: &Comparison) -> String {
        let task = &self.tasks[comparison.task];
        match comparison.with {
            Some((other, group)) => {
                format!("{task} {} {}", self.tasks[other], self.groups[group].0)
            }
            None => format!("{task} {JOINT}"),
        }
    }

    fn cosine(&self, cpu: Cpu, step: &HookedStep, comparison: &Comparison) -> Option<f64> {
        let all = step.task_gradients?;
        let of_task = |task: usize| all.get(task).or_else(|| all.of_other_source(task));
        match comparison.with {
            Some((other, group)) => {
                let (a, b) = (of_task(comparison.task)?, of_task(other)?);
                cosine(cpu, a, b, &self.groups[group].1)
            }
            // The step of a single task is that task's.
            None if (0..self.tasks.len()).filter(|task| all.get(*task).is_some()).count() < 2 => {
                None
            }
            None => {
                let a = all.get(comparison.task)?;
                let all: Vec<usize> =
                    self.groups.iter().flat_map(|(_, entries)| entries).copied().collect();
                cosine(cpu, a, step.gradients, &all)
            }
        }
    }
}

/// The word for the joint step in names of comparisons.
pub(crate) const JOINT: &str = "joint";

/// The cosine over some entries; `None` if one of the gradients is 0 there.
fn cosine(cpu: Cpu, a: &Gradients, b: &Gradients, entries: &[usize]) -> Option<f64> {
    let product = |a: &Gradients, b: &Gradients| -> f64 {
        entries.iter().map(|entry| a.product(cpu, b, *entry)).sum()
    };
    let lengths = (product(a, a) * product(b, b)).sqrt();
    (lengths > 0.0).then(|| product(a, b) / lengths)
}

impl Hook for Conflict {
    fn name(&self) -> &str {
        CONFLICT
    }

    fn begin(&mut self, plan: &RunPlan) {
        self.tasks = plan.config.tasks.iter().map(|task| task.name.clone()).collect();
        self.groups.clear();
        let shared = plan.groups.iter().enumerate();
        for (entry, group) in shared.filter(|(_, group)| is_shared(**group)) {
            let name = group_name(*group, &plan.freeze);
            match self.groups.iter_mut().find(|(known, _)| *known == name) {
                Some((_, entries)) => entries.push(entry),
                None => self.groups.push((name, vec![entry])),
            }
        }
        let groups = self.groups.len();
        let pairs = (0..self.tasks.len()).flat_map(|b| (0..b).map(move |a| (a, b)));
        let pairs = pairs.flat_map(|(a, b)| {
            (0..groups).map(move |group| Comparison { task: a, with: Some((b, group)) })
        });
        let joint = (0..self.tasks.len()).map(|task| Comparison { task, with: None });
        self.comparisons = pairs.chain(joint).collect();
        self.sums = vec![(0.0, 0); self.comparisons.len()];
    }

    fn reads_task_gradients(&self, step: u64) -> bool {
        step.is_multiple_of(self.every)
    }

    fn reads_other_sources(&self, step: u64) -> bool {
        step.is_multiple_of(self.every)
    }

    fn after_step(&mut self, step: &HookedStep) -> Result<ControlFlow<()>, Error> {
        if !self.reads_task_gradients(step.step) {
            return Ok(ControlFlow::Continue(()));
        }
        let team = Team::solo();
        let cpu = Cpu::new(&team, Isa::detect());
        for at in 0..self.comparisons.len() {
            if let Some(cosine) = self.cosine(cpu, step, &self.comparisons[at]) {
                let (sum, steps) = &mut self.sums[at];
                *sum += cosine;
                *steps += 1;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn log(&mut self) -> Vec<(String, f64)> {
        let sums = std::mem::replace(&mut self.sums, vec![(0.0, 0); self.comparisons.len()]);
        let compared = self.comparisons.iter().zip(sums).filter(|(_, (_, steps))| *steps > 0);
        compared.map(|(of, (sum, steps))| (self.name(of), sum / steps as f64)).collect()
    }

    fn save(&self) -> Vec<u8> {
        let numbers = self.sums.iter().flat_map(|(sum, steps)| [*sum, *steps as f64]);
        to_bytes(&numbers.collect::<Vec<_>>())
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), String> {
        let numbers = from_bytes(state, 2 * self.comparisons.len())?;
        self.sums =
            numbers.as_chunks::<2>().0.iter().map(|[sum, steps]| (*sum, *steps as u64)).collect();
        Ok(())
    }
}
