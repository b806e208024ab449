//! `[multitask]`: how the losses and gradients of several tasks are added.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::document::Section;
use super::keys::settings;
use super::number::Positive;
use super::words::{read_weights, write_weights};
use super::{RunConfig, TaskSettings};
use crate::error::Error;

settings! {
    /// `[multitask]`: how the losses and gradients of several tasks are added.
    pub struct MultitaskSettings {
        /// Factors of the tasks' own `weight`: `"sum"` 1 for each, `"log-classes"` by the number of classes, `"uncertainty"` learned, `"uw-so"` by the inverse losses of each step, `"random"` drawn for each step, or a table with a number for each task.
        weights: TaskWeights = TaskWeights::Sum,
        /// The temperature of `weights = "uw-so"`: a large one makes weights equal. Absent: 1.
        temperature: Option<Positive> = None,
        /// How the tasks' gradients are added in the parameters that they share: `"none"` as they are, `"pcgrad"` without the parts that point against another task, `"upgrad"` each turned so that it points against none.
        gradients: GradientMix = GradientMix::None,
        /// Steps between two comparisons of the tasks' gradients for the report, each of which costs a backward pass for each task; 0: none.
        conflict_every: u64 = 0,
    }
}

/// Factors of the tasks' weights.
#[derive(Clone, Debug, PartialEq)]
pub enum TaskWeights {
    /// Each factor is 1.
    Sum,
    /// The factor is `1 / ln C` for `C` classes (Aghajanyan et al., 2021).
    LogClasses,
    /// The factors are learned as uncertainties (Kendall, Gal and Cipolla, 2018).
    Uncertainty,
    /// The factors are the softmax of the inverse losses of a step (Kirchdorfer et al., 2024).
    UwSo,
    /// Each step draws its factors (Lin et al., 2022).
    Random,
    /// The user names tasks with their factors; the factor of other tasks is 1.
    Given(Vec<(String, f32)>),
}

/// How the tasks' gradients are added in the parameters that they share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GradientMix {
    /// The sum of the weighted gradients.
    None,
    /// PCGrad removes the parts of a gradient that point against another task (Yu et al., 2020).
    PcGrad,
    /// UPGrad turns each gradient so that it points against no task (Quinton and Rey, 2024).
    UpGrad,
}

/// The methods by their words.
const WORDS: [(&str, TaskWeights); 5] = [
    ("sum", TaskWeights::Sum),
    ("log-classes", TaskWeights::LogClasses),
    ("uncertainty", TaskWeights::Uncertainty),
    ("uw-so", TaskWeights::UwSo),
    ("random", TaskWeights::Random),
];

impl<'de> Deserialize<'de> for TaskWeights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WeightsVisitor)
    }
}

struct WeightsVisitor;

impl<'de> de::Visitor<'de> for WeightsVisitor {
    type Value = TaskWeights;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let words: Vec<String> = WORDS.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        write!(
            f,
            "one of {}, or a table with a number of at least 0 for each task",
            words.join(", ")
        )
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<TaskWeights, E> {
        let found = WORDS.iter().find(|(word, _)| *word == text);
        let unknown = || E::invalid_value(de::Unexpected::Str(text), &self);
        found.map(|(_, weights)| weights.clone()).ok_or_else(unknown)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<TaskWeights, A::Error> {
        read_weights(map).map(TaskWeights::Given)
    }
}

impl Serialize for TaskWeights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some((word, _)) = WORDS.iter().find(|(_, weights)| weights == self) {
            return serializer.serialize_str(word);
        }
        let Self::Given(given) = self else { unreachable!("all others have a word") };
        write_weights(given, serializer)
    }
}

/// Checks that methods have two tasks or more, and that numbers belong to tasks that exist.
pub(super) fn check(config: &RunConfig, section: &Section) -> Result<(), Error> {
    let MultitaskSettings { weights, temperature, gradients, conflict_every } = &config.multitask;
    if temperature.is_some() && *weights != TaskWeights::UwSo {
        return Err(section.error("temperature", "applies to `weights = \"uw-so\"` alone"));
    }
    if let TaskWeights::Given(given) = weights {
        let is_known = |name: &str| config.tasks.iter().any(|task| task.name == name);
        if let Some((name, _)) = given.iter().find(|(name, _)| !is_known(name)) {
            let names: Vec<&str> =
                config.tasks.iter().map(|TaskSettings { name, .. }| &**name).collect();
            let problem = format!("expected names of tasks ({}), found {name:?}", names.join(", "));
            return Err(section.error("weights", &problem));
        }
    }
    let is_plain = matches!(weights, TaskWeights::Sum | TaskWeights::Given(_));
    let methods = [
        ("weights", !is_plain),
        ("gradients", *gradients != GradientMix::None),
        ("conflict_every", *conflict_every > 0),
    ];
    match methods.iter().find(|(_, used)| *used) {
        Some((key, _)) if config.tasks.len() == 1 => {
            Err(section.error(key, "expected two tasks or more, found one"))
        }
        _ => Ok(()),
    }
}
