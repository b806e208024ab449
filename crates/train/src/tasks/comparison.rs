//! Losses that compare the vectors of all texts of a step.
//!
//! Such a loss needs all vectors before the first gradient. Where a step is cut into parts, the
//! [`Learner`](crate::Learner) computes the vectors of all parts, then this loss, then each part once
//! more with its gradients: memory does not grow with the batch, and the bits are those of one part
//! (Gao et al., 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup").

use polyhead_compute::Cpu;
use polyhead_model::NumberRange;

use crate::config::{TaskSettings, VectorLoss};
use crate::data::TaskLabels;
use crate::tasks::loss::{TripletDistance, matryoshka};
use crate::tasks::{Objective, mean_factor, rules};

/// Options of the losses that compare vectors.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ComparisonOptions {
    pub(crate) loss: VectorLoss,
    /// Factor of the cosines.
    pub(crate) scale: f64,
    pub(crate) symmetric: bool,
    pub(crate) margin: f64,
    pub(crate) distance: TripletDistance,
    /// Range of the scores; `None` if it is that of the cosine of texts, 0 to 1.
    pub(crate) range: Option<NumberRange>,
    /// Widths at which vectors are compared; empty: the whole vector.
    pub(crate) widths: Vec<usize>,
}

/// The vectors of the texts of some rows, and what they are compared with.
#[derive(Clone, Copy)]
pub(crate) struct Compared<'a> {
    /// `[texts, width]`
    pub(crate) vectors: &'a [f32],
    pub(crate) width: usize,
    /// `[rows + 1]`: where the texts of each row begin.
    pub(crate) first: &'a [usize],
    /// `[texts]`: equal numbers for equal texts.
    pub(crate) texts: &'a [u32],
    /// `[rows]`
    pub(crate) targets: &'a TaskLabels,
    /// `[rows]`: the answers of a teacher; empty without one.
    pub(crate) teacher: &'a [&'a [f32]],
}

/// The loss of a task over a step, and its gradient.
pub(crate) struct Comparison {
    /// The sum of losses.
    pub(crate) sum: f64,
    /// `[texts, width]`: the gradient of the mean loss by the vectors, for a task of weight 1.
    dvectors: Vec<f32>,
}

impl ComparisonOptions {
    /// The options that a configuration asks for, without range and widths.
    ///
    /// - `loss`: that of the kind, if the task names none
    pub(crate) fn new(settings: &TaskSettings, loss: VectorLoss) -> Self {
        let distance = settings.distance.unwrap_or(TripletDistance::Euclidean);
        let margin = match distance {
            TripletDistance::Euclidean => 5.0,
            TripletDistance::Cosine => 0.5,
        };
        Self {
            loss: settings.loss.unwrap_or(loss),
            scale: settings.scale.map_or(20.0, |scale| f64::from(scale.get())),
            symmetric: settings.symmetric == Some(true),
            margin: settings.margin.map_or(margin, |margin| f64::from(margin.get())),
            distance,
            range: None,
            widths: Vec::new(),
        }
    }

    /// The loss of matrices of vectors, or its sum at each of the widths.
    ///
    /// - `loss(width, vectors, gradients)` overwrites gradients and returns a value
    pub(crate) fn at_each_width<const N: usize>(
        &self,
        cpu: Cpu,
        vectors: [&[f32]; N],
        width: usize,
        gradients: [&mut [f32]; N],
        mut loss: impl FnMut(usize, [&[f32]; N], [&mut [f32]; N]) -> f64,
    ) -> f64 {
        match &self.widths[..] {
            [] => loss(width, vectors, gradients),
            widths => matryoshka(cpu, vectors, width, widths, gradients, loss),
        }
    }
}

impl Compared<'_> {
    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.first.len() - 1
    }

    /// The vectors of these texts, end to end.
    pub(crate) fn gather(&self, texts: &[usize]) -> Vec<f32> {
        let vector = |text: &usize| &self.vectors[text * self.width..][..self.width];
        texts.iter().flat_map(vector).copied().collect()
    }

    /// Adds gradients of [gathered](Self::gather) vectors to those of all.
    pub(crate) fn scatter(&self, texts: &[usize], gradients: &[f32], to: &mut [f32]) {
        for (text, gradient) in texts.iter().zip(gradients.chunks_exact(self.width)) {
            let to = &mut to[text * self.width..][..self.width];
            to.iter_mut().zip(gradient).for_each(|(to, gradient)| *to += gradient);
        }
    }
}

impl Comparison {
    /// Computes the loss of a step.
    pub(crate) fn new(cpu: Cpu, objective: &Objective, compared: Compared) -> Self {
        let mut dvectors = vec![0.0; compared.vectors.len()];
        let factor = mean_factor(1.0, objective.normaliser(compared.targets));
        let sum = rules(objective.kind()).compare(cpu, objective, compared, factor, &mut dvectors);
        Self { sum, dvectors }
    }

    /// Writes the gradients of the vectors of a part.
    ///
    /// - `at`: numbers of the vectors of the step before those of the part
    /// - `weight`: of the task
    pub(crate) fn write_gradient(&self, at: usize, weight: f32, to: &mut [f32]) {
        let from = &self.dvectors[at..][..to.len()];
        to.iter_mut().zip(from).for_each(|(to, from)| *to = weight * from);
    }
}
