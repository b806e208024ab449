//! The loss of a task, with its options resolved.

use std::collections::HashMap;

use polyhead_files::{listed, quoted};
use polyhead_model::{HeadSpec, NumberRange, TargetScale, TaskKind};

use crate::config::{ClassWeights, Keep, TaskSettings};
use crate::data::TaskLabels;
use crate::error::{Error, ErrorKind};
use crate::tasks::loss::{CrossEntropy, distillation, distillation_normaliser};
use crate::tasks::metric::RunningAccuracy;
use crate::tasks::{ComparisonOptions, Labelled, rules};

/// The share that the distance to a teacher's answers has in a task's loss; the labels have the rest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TeacherShare {
    /// The share now, from 0 to 1.
    pub share: f32,
    /// True if it falls from 1 to 0 over the run (Clark et al., 2019, "BAM! Born-Again Multi-Task Networks
    /// for Natural Language Understanding", section 3.2).
    pub anneals: bool,
}

impl TeacherShare {
    /// A teacher in place of labels.
    pub const ALL: Self = Self { share: 1.0, anneals: false };

    fn of(settings: &TaskSettings) -> Option<Self> {
        if settings.keep == Some(Keep::Distill) {
            return Some(Self::ALL);
        }
        let has_teacher = settings.teacher.is_some() && !settings.kind.compares();
        let share = settings.teacher_weight.map_or(0.5, |given| given.get());
        has_teacher.then_some(Self { share, anneals: settings.anneal == Some(true) })
    }
}

/// The loss of one task.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// Weight of the task in the sum over tasks.
    pub weight: f32,
    kind: TaskKind,
    /// Numbers per answer.
    outputs: usize,
    cross_entropy: CrossEntropy,
    positive_weights: Option<Vec<f32>>,
    /// The teacher's share of the loss; `None` without a teacher.
    pub teacher: Option<TeacherShare>,
    /// Options of a kind that compares vectors.
    comparison: Option<ComparisonOptions>,
    /// Scale of a regression's targets, [`HeadSpec::target`]: the
    /// loss compares logits with standardized targets.
    pub target: Option<TargetScale>,
}

impl Objective {
    /// A plain loss of this kind, without options.
    ///
    /// - `outputs`: [`TaskKind::outputs`] of the labels
    pub fn new(kind: TaskKind, outputs: usize) -> Self {
        Self {
            weight: 1.0,
            kind,
            outputs,
            cross_entropy: CrossEntropy::default(),
            positive_weights: None,
            teacher: None,
            comparison: rules(kind).comparison(&TaskSettings::default()),
            target: None,
        }
    }

    /// A plain loss of a trained head.
    pub fn of_head(spec: &HeadSpec) -> Self {
        let mut objective = Self::new(spec.kind, spec.outputs());
        objective.target = spec.target;
        objective.map_scores(spec.range);
        objective
    }

    /// The loss that a configuration asks for.
    ///
    /// - `labels`: of the task, in order
    /// - `train`: labels of the training rows, for balanced weights
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if weights name a label that the task does not have.
    pub fn from_settings(
        settings: &TaskSettings,
        labels: &[String],
        train: &TaskLabels,
    ) -> Result<Self, Error> {
        let outputs = settings.kind.outputs(labels.len());
        let resolve =
            |key: &str, weights: &Option<ClassWeights>, balanced: &dyn Fn() -> Vec<f32>| {
                weights
                    .as_ref()
                    .map(|weights| match weights {
                        ClassWeights::Balanced => Ok(balanced()),
                        ClassWeights::Given(given) => given_weights(settings, key, labels, given),
                    })
                    .transpose()
            };
        let counts = || train.counts(outputs);
        let class_weights = resolve("class_weights", &settings.class_weights, &|| {
            let (counts, total) = counts();
            let share = |count: usize| total as f64 / (outputs as f64 * count.max(1) as f64);
            counts.into_iter().map(|count| share(count) as f32).collect()
        })?;
        let positive_weights = resolve("positive_weights", &settings.positive_weights, &|| {
            let (counts, total) = counts();
            let ratio = |count: usize| (total - count) as f64 / count.max(1) as f64;
            counts.into_iter().map(|count| ratio(count) as f32).collect()
        })?;
        Ok(Self {
            weight: settings.weight.get(),
            cross_entropy: CrossEntropy {
                class_weights,
                label_smoothing: settings.label_smoothing.get(),
            },
            positive_weights,
            teacher: TeacherShare::of(settings),
            comparison: rules(settings.kind).comparison(settings),
            ..Self::new(settings.kind, outputs)
        })
    }

    /// Sets the teacher's share, if it changes from step to step.
    ///
    /// - `step`: number of the step, counted from 1, of `steps`
    pub(crate) fn begin_step(&mut self, step: u64, steps: u64) {
        if let Some(teacher) = self.teacher.as_mut().filter(|teacher| teacher.anneals) {
            teacher.share = (1.0 - (step - 1) as f64 / steps.max(1) as f64) as f32;
        }
    }

    /// The share of the loss of labels.
    pub(crate) fn label_share(&self) -> f32 {
        1.0 - self.teacher_share()
    }

    /// The share of the distance to a teacher's answers.
    pub(crate) fn teacher_share(&self) -> f32 {
        self.teacher.map_or(0.0, |teacher| teacher.share)
    }

    /// Kind of the task.
    pub fn kind(&self) -> TaskKind {
        self.kind
    }

    /// Returns true if the loss compares the vectors of all texts of a step.
    pub(crate) fn compares(&self) -> bool {
        self.comparison.is_some()
    }

    /// Options of a kind that compares vectors.
    ///
    /// # Panics
    /// If the kind compares none.
    pub(crate) fn comparison(&self) -> &ComparisonOptions {
        self.comparison.as_ref().expect("the kind compares vectors")
    }

    /// Widths at which vectors are compared beside the whole one.
    pub(crate) fn widths(&self) -> &[usize] {
        self.comparison.as_ref().map_or(&[], |comparison| &comparison.widths)
    }

    /// Sets the range of the scores that cosines are compared with.
    pub(crate) fn map_scores(&mut self, range: Option<NumberRange>) {
        if let Some(comparison) = &mut self.comparison {
            comparison.range = range;
        }
    }

    /// Sets the widths at which vectors are compared; none: the whole vector.
    pub(crate) fn compare_at(&mut self, widths: Vec<usize>) {
        if let Some(comparison) = &mut self.comparison {
            comparison.widths = widths;
        }
    }

    /// Options of a cross-entropy.
    pub(super) fn cross_entropy(&self) -> &CrossEntropy {
        &self.cross_entropy
    }

    /// The weight of each label where a row has it.
    pub(super) fn positive_weights(&self) -> Option<&[f32]> {
        self.positive_weights.as_deref()
    }

    /// Numbers per answer.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Divisor of the sum of losses over these targets.
    pub fn normaliser(&self, targets: &TaskLabels) -> f64 {
        rules(self.kind).normaliser(self, targets)
    }

    /// The sum of losses; `dlogits` becomes `factor` times its gradient.
    ///
    /// - `logits`, `dlogits`: `[rows, outputs]`; for a loss on vectors, these in their place. Without
    ///   `dlogits` only the sum is computed
    pub fn loss(
        &self,
        logits: &[f32],
        targets: &TaskLabels,
        factor: f64,
        dlogits: &mut [f32],
    ) -> f64 {
        let rows = Labelled { logits, outputs: self.outputs, targets };
        rules(self.kind).loss(self, rows, factor, dlogits)
    }

    /// Counts right answers while training.
    pub(crate) fn count(
        &self,
        accuracy: &mut RunningAccuracy,
        logits: &[f32],
        targets: &TaskLabels,
    ) {
        let rows = Labelled { logits, outputs: self.outputs, targets };
        rules(self.kind).count(accuracy, rows);
    }

    /// Divisor of the sum of losses against `rows` answers of a teacher.
    pub fn teacher_normaliser(&self, rows: usize) -> f64 {
        distillation_normaliser(self.kind, rows, self.outputs)
    }

    /// The sum of losses against the logits of a teacher; see [`loss`](Self::loss).
    pub fn teacher_loss(
        &self,
        logits: &[f32],
        teacher: &[f32],
        factor: f64,
        dlogits: &mut [f32],
    ) -> f64 {
        distillation(self.kind, logits, teacher, self.outputs, factor, dlogits)
    }
}

/// Weights in the order of the labels; labels that are not named weigh 1.
fn given_weights(
    settings: &TaskSettings,
    key: &str,
    labels: &[String],
    given: &[(String, f32)],
) -> Result<Vec<f32>, Error> {
    let mut weights = vec![1.0; labels.len()];
    let places: HashMap<&String, usize> = labels.iter().zip(0..).collect();
    for (label, weight) in given {
        let Some(at) = places.get(label) else {
            let message = format!(
                "task `{}`: {key}: expected one of its labels ({}), found {}",
                settings.name,
                listed(labels),
                quoted(label)
            );
            return Err(Error::new(ErrorKind::Config, message));
        };
        weights[*at] = *weight;
    }
    if weights.iter().all(|weight| *weight == 0.0) {
        let message =
            format!("task `{}`: {key}: expected a weight above 0, found 0 for all", settings.name);
        return Err(Error::new(ErrorKind::Config, message));
    }
    Ok(weights)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::RunConfig;

    /// The loss of a task with labels `a` and `b`, without training rows.
    fn objective(kind: TaskKind, weights: &str) -> Result<Objective, Error> {
        let text = format!(
            "[data]\ntrain = \"t.jsonl\"\n[[task]]\nname = \"t\"\nkind = \"{kind}\"\n{weights}"
        );
        let config = RunConfig::parse(&text, Path::new("t.toml"), &[]).unwrap();
        let labels = ["a", "b"].map(str::to_owned);
        Objective::from_settings(&config.tasks[0], &labels, &rules(kind).unlabelled(0))
    }

    #[test]
    fn some_label_has_a_weight_above_zero() {
        for (kind, key) in [
            ("classification", "class_weights"),
            ("tokens", "class_weights"),
            ("multilabel", "positive_weights"),
        ] {
            let kind = kind.parse().unwrap();
            let error = objective(kind, &format!("{key} = {{ a = 0, b = 0 }}")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert_eq!(
                error.to_string(),
                format!("task `t`: {key}: expected a weight above 0, found 0 for all")
            );
            // `b` is not named and weighs 1.
            assert!(objective(kind, &format!("{key} = {{ a = 0 }}")).is_ok(), "{kind}");
        }
    }
}
