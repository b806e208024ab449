//! The steps at the beginning of a run that set labels apart, before the heads train.

use polyhead_files::quoted;
use polyhead_model::{HeadInput, HeadSpec, HeadWeights, RESERVED_TASK_NAME, TaskKind};

use crate::config::RunConfig;
use crate::data::{DataTask, Dataset, Split, TaskLabels};
use crate::error::{Error, ErrorKind};
use crate::sampler::ContrastSampler;
use crate::tasks::rules;

/// The steps at the beginning of a run that set labels apart.
#[derive(Clone, Debug)]
pub(crate) struct Contrast {
    /// Number of these steps.
    pub(crate) steps: u64,
    /// Index of the head without weights that gives the sentence vectors: the last one.
    pub(crate) head: usize,
    /// Widths at which vectors are compared; empty: the whole vector.
    pub(crate) widths: Vec<usize>,
    /// The rows of these steps.
    pub(crate) sampler: ContrastSampler,
}

impl Contrast {
    /// The steps that a configuration asks for, if it does.
    ///
    /// - `heads`: number of heads of the run without the one that this adds
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if no task has labels that can be set apart, and [`ErrorKind::Data`] if one
    /// has a label with a single row.
    pub(super) fn new(
        config: &RunConfig,
        data: &Dataset,
        heads: usize,
    ) -> Result<Option<Self>, Error> {
        let Some(steps) = config.train.contrast_steps else { return Ok(None) };
        let mut sampler = ContrastSampler::new(config.seed, config.train.batch_size.get());
        let mut any = false;
        for (index, (settings, task)) in config.tasks.iter().zip(&data.tasks).enumerate() {
            if !rules(settings.kind).has_alike_rows() || settings.weight.get() == 0.0 {
                continue;
            }
            let train = &data.sources[task.source].train;
            // Rows whose texts are sequences of their own have no vector of the row.
            if !train.first_sequences.is_empty() {
                continue;
            }
            check_pairs(task, train, index)?;
            any |= sampler.add(index, task.source, train);
        }
        if !any {
            let message = "train.contrast_steps: expected a task of kind classification or \
                           multilabel whose training rows have two labels or more, one of them in \
                           two rows, found none";
            return Err(Error::new(ErrorKind::Config, message));
        }
        let widths = config.encoder.matryoshka.iter().map(|width| width.get()).collect();
        Ok(Some(Self { steps: steps.get(), head: heads, widths, sampler }))
    }

    /// The head without weights that gives the sentence vectors.
    pub(super) fn vectors_head() -> HeadWeights {
        let spec = HeadSpec {
            input: HeadInput::Embedding,
            ..HeadSpec::new(RESERVED_TASK_NAME, TaskKind::Similarity, &[])
        };
        HeadWeights::from_values(spec, [])
    }
}

/// Checks that each label of a classification has two rows or more, so that there are pairs of it.
fn check_pairs(task: &DataTask, train: &Split, index: usize) -> Result<(), Error> {
    let TaskLabels::Classes(classes) = &train.labels[index] else { return Ok(()) };
    let (counts, _) = train.labels[index].counts(task.labels.len());
    let Some(label) = counts.iter().position(|count| *count == 1) else { return Ok(()) };
    let row = classes.iter().position(|class| *class == Some(label as u32)).unwrap_or(0);
    let message = format!(
        "{}: task `{}`: label {}: expected two rows or more of each label for \
         `train.contrast_steps`, found this one",
        train.place(row),
        task.name,
        quoted(&task.labels[label])
    );
    Err(Error::new(ErrorKind::Data, message))
}
