//! A step that sets labels apart: it trains the sentence vectors, and no head.

use polyhead_compute::Threads;

use crate::error::{Error, ErrorKind};
use crate::step::batch::{Packing, StepBatch};
use crate::step::learner::{Learner, StepOutcome, TaskStep};
use crate::step::packed_rows::{PART_TOKENS, PackedRows};
use crate::step::rates::RateTable;
use crate::tasks::{label_contrast, matryoshka, targets};

/// The task whose labels a step sets apart.
#[derive(Clone, Copy)]
pub(crate) struct ContrastTask<'a> {
    /// Index of the task.
    pub(crate) task: usize,
    /// Index of the head without weights that gives the sentence vectors.
    pub(crate) head: usize,
    /// Widths at which vectors are compared; empty: the whole vector.
    pub(crate) widths: &'a [usize],
}

impl Learner {
    /// Does one optimizer step that sets labels apart. A step in several parts runs forward twice, as
    /// one of tasks that compare vectors does.
    ///
    /// - `step`: number of the step, counted from 1
    /// - `multiplier`: the schedule's factor of all learning rates
    /// - returns the loss as that of the task
    ///
    /// # Errors
    /// [`ErrorKind::NotFinite`] if the loss or the gradient is not finite; no parameter has changed then.
    pub(crate) fn contrast_step(
        &mut self,
        threads: &Threads,
        step: u64,
        batch: &StepBatch,
        contrast: ContrastTask,
        rates: &RateTable,
        multiplier: f64,
    ) -> Result<StepOutcome, Error> {
        let ContrastTask { task, head, widths } = contrast;
        // No task has labels in this step.
        let mut packed = self.pack(&StepBatch { tasks: &[], ..*batch }, PART_TOKENS, Packing::All);
        packed.active[head] = true;
        let rows = || packed.parts.iter().flat_map(|part| &part.rows).map(|row| *row as usize);
        let labels = &targets(batch.split, task, rows());
        let (loss, gradient_norm) = threads
            .cpu(self.network.isa(), |cpu| {
                self.clear_gradients(cpu);
                let mut vectors = Vec::new();
                for part in 0..packed.parts.len() {
                    self.forward(cpu, step, &packed, part, None)?;
                    vectors.extend_from_slice(self.parts().2.logits(head));
                }
                let width = self.network.head_outputs(head);
                let mut dvectors = vec![0.0; vectors.len()];
                let compare = |width, [vectors]: [&[f32]; 1], [out]: [&mut [f32]; 1]| {
                    label_contrast(vectors, width, labels, 1.0, out)
                };
                let (all, out) = ([&vectors[..]], [&mut dvectors[..]]);
                let loss = match widths {
                    [] => compare(width, all, out),
                    widths => matryoshka(cpu, all, width, widths, out, compare),
                };
                if !loss.is_finite() {
                    let message = format!("expected a finite loss, found {loss}");
                    return Err(Error::new(ErrorKind::NotFinite, message));
                }
                let mut begin = 0;
                for part in 0..packed.parts.len() {
                    if packed.parts.len() > 1 {
                        self.forward(cpu, step, &packed, part, None)?;
                    }
                    let to = self.vector_gradient(head);
                    to.copy_from_slice(&dvectors[begin..][..to.len()]);
                    begin += to.len();
                    self.backward(cpu, &packed, part);
                }
                Ok((loss, self.update(cpu, &packed, rates, multiplier)?))
            })
            .map_err(|error: Error| self.locate(error, step, &[task], batch.rows, batch.split))?;
        let mut tasks = vec![TaskStep::default(); self.objectives.len()];
        tasks[task].loss = Some(loss);
        Ok(StepOutcome {
            loss,
            tasks,
            gradient_norm,
            texts: batch.rows.len(),
            tokens: packed.parts.iter().map(PackedRows::tokens).sum(),
        })
    }
}
