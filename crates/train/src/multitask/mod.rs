//! Methods for several tasks: how their losses are weighted, and how their gradients are added.
//!
//! Each method is a [`Hook`] in a file of its own, with its formula and paper. Weights are factors of the
//! tasks' own `weight`. Gradients are mixed in the parameters that tasks share, by the dot products of
//! their weighted gradients alone.

mod given;
mod log_classes;
mod uncertainty;
mod uw_so;
mod random;
mod pcgrad;
mod upgrad;
mod conflict;

pub(crate) use conflict::JOINT;

use crate::config::{GradientMix, MultitaskSettings, TaskWeights};
use crate::run::Hook;

/// The name of the hook that sets weights.
const WEIGHTS: &str = "weights";

/// The name of the hook that mixes gradients.
const GRADIENTS: &str = "gradients";

/// The name of the hook that compares gradients.
pub(crate) const CONFLICT: &str = "conflict";

/// The hooks that a configuration asks for, which [`Trainer::new`](crate::Trainer::new) puts before
/// others.
pub fn hooks(settings: &MultitaskSettings) -> Vec<Box<dyn Hook>> {
    let mut hooks: Vec<Box<dyn Hook>> = Vec::new();
    match &settings.weights {
        TaskWeights::Sum => {}
        TaskWeights::Given(factors) => hooks.push(Box::new(given::Given::new(factors))),
        TaskWeights::LogClasses => hooks.push(Box::new(log_classes::LogClasses::default())),
        TaskWeights::Uncertainty => hooks.push(Box::new(uncertainty::Uncertainty::default())),
        TaskWeights::UwSo => {
            let temperature = settings.temperature.map_or(1.0, |given| f64::from(given.get()));
            hooks.push(Box::new(uw_so::UwSo { temperature }));
        }
        TaskWeights::Random => hooks.push(Box::new(random::RandomWeights::default())),
    }
    match settings.gradients {
        GradientMix::None => {}
        GradientMix::PcGrad => hooks.push(Box::new(pcgrad::PcGrad::default())),
        GradientMix::UpGrad => hooks.push(Box::new(upgrad::UpGrad)),
    }
    if settings.conflict_every > 0 {
        hooks.push(Box::new(conflict::Conflict::new(settings.conflict_every)));
    }
    hooks
}

/// Multiplies each weight by the factor of its task.
fn scale(weights: &mut [f32], factors: &[f32]) {
    weights.iter_mut().zip(factors).for_each(|(weight, factor)| *weight *= factor);
}

/// The bits of numbers, for the state of a hook.
fn to_bytes(numbers: &[f64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// The numbers of a state.
///
/// # Errors
/// A text with what was expected and found, if there are not `count`.
fn from_bytes(state: &[u8], count: usize) -> Result<Vec<f64>, String> {
    let (numbers, rest) = state.as_chunks::<8>();
    if numbers.len() != count || !rest.is_empty() {
        return Err(format!("expected {} bytes, found {}", 8 * count, state.len()));
    }
    Ok(numbers.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect())
}

/// `e^x / Σ e^x`
fn soft_max(values: &[f64]) -> Vec<f64> {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = values.iter().map(|value| (value - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::step::GradientProducts;

    #[test]
    fn gradients_of_zero_are_left_alone() {
        for gradients in [GradientMix::PcGrad, GradientMix::UpGrad] {
            let settings = MultitaskSettings { gradients, ..MultitaskSettings::default() };
            let mut shares = [1.0; 2];
            hooks(&settings)[0].mix(1, &GradientProducts::new(2, vec![0.0; 4]), &mut shares);
            assert_eq!(shares, [1.0; 2], "{gradients:?}");
        }
    }

    /// `reference/make_multitask_goldens.py`, in double precision.
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    pub(super) struct Golden {
        pub(super) mixes: Vec<Mix>,
        pub(super) uw_so: Vec<Weighed>,
        pub(super) uncertainty: Learned,
    }

    #[derive(Deserialize)]
    pub(super) struct Mix {
        /// `[tasks, 5]`
        pub(super) gradients: Vec<Vec<f64>>,
        /// The order of each task's projections.
        pub(super) orders: Vec<Vec<u32>>,
        pub(super) pcgrad: Vec<f64>,
        pub(super) upgrad: Vec<f64>,
    }

    #[derive(Deserialize)]
    pub(super) struct Weighed {
        pub(super) losses: Vec<f64>,
        pub(super) temperature: f64,
        pub(super) weights: Vec<f64>,
    }

    #[derive(Deserialize)]
    pub(super) struct Learned {
        pub(super) rate: f64,
        pub(super) betas: [f64; 2],
        pub(super) epsilon: f64,
        /// One for each step and task; `None` without a label.
        pub(super) losses: Vec<Vec<Option<f64>>>,
        pub(super) weights: Vec<Vec<f64>>,
    }

    pub(super) fn golden() -> Golden {
        polyhead_testing::golden_json("multitask.json")
    }

    impl Mix {
        pub(super) fn products(&self) -> GradientProducts {
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let pairs =
                self.gradients.iter().flat_map(|a| self.gradients.iter().map(move |b| (a, b)));
            let values = pairs.map(|(a, b)| dot(a, b)).collect();
            GradientProducts::new(self.gradients.len(), values)
        }

        /// The gradients times the shares, against what is expected.
        #[track_caller]
        pub(super) fn check(&self, shares: &[f64], expected: &[f64], tolerance: f64) {
            for (at, expected) in expected.iter().enumerate() {
                let mixed: f64 = shares.iter().zip(&self.gradients).map(|(s, g)| s * g[at]).sum();
                assert!((mixed - expected).abs() <= tolerance, "{mixed}, not {expected}");
            }
        }
    }
}
