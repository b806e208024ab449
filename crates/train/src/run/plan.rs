//! The plan of a run, complete before its first step.

use std::fs;
use std::path::Path;

use polyhead_files::{FileError, create_folder};
use polyhead_model::{
    EncoderReference, ModelFolder, Network, ParameterGroup, Provenance, TrainedModel,
};
use serde_json::{Value, json};

use crate::config::RunConfig;
use crate::data::{DataReport, Dataset};
use crate::error::Error;
use crate::freeze::FreezePlan;
use crate::recipe::RecipeLines;
use crate::run::contrast::Contrast;
use crate::sampler::BatchSampler;
use crate::step::RateTable;
use crate::step::Schedule;
use crate::tasks::Objective;

/// The plan of a run, complete before its first step.
pub struct RunPlan {
    /// The configuration with every key that its recipe fills in.
    pub config: RunConfig,
    /// The recipe's reason and the keys that it filled in.
    pub(crate) recipe: RecipeLines,
    /// The model that training begins with.
    pub folder: ModelFolder,
    /// The rows of all sources.
    pub data: Dataset,
    /// Remarks on the data.
    pub report: DataReport,
    /// The loss of each task.
    pub objectives: Vec<Objective>,
    /// For each task, true if the starting model answers it: it has the task's head, or that head has no
    /// weights.
    pub known: Vec<bool>,
    /// The rows of each step.
    pub sampler: BatchSampler,
    /// The steps at the beginning that set labels apart.
    pub(crate) contrast: Option<Contrast>,
    /// The parameters that each step trains.
    pub freeze: FreezePlan,
    /// Learning rate and weight decay of each parameter.
    pub rates: RateTable,
    /// The schedule's factor of all learning rates.
    pub schedule: Schedule,
    /// Number of steps of the run.
    pub total_steps: u64,
    /// Length in tokens to which texts are truncated.
    pub max_length: usize,
    /// Number of tokens at the beginning of each row that pooling leaves out.
    pub prompt_tokens: usize,
    /// Remarks on the plan for the user.
    pub notices: Vec<String>,
    /// Parameter group of each entry of the index.
    pub(crate) groups: Vec<ParameterGroup>,
    /// The encoder that the model folder will refer to; `None` if it will have a copy.
    pub(super) reference: Option<EncoderReference>,
}

impl RunPlan {
    /// Writes a network that was trained on this plan as a model folder, which
    /// `MultiTaskModel::load` and every command read. The folder is either complete or absent.
    ///
    /// The heads keep the temperature and the thresholds of their specifications: nothing is
    /// calibrated on dev.
    ///
    /// - `step`: number of steps done, for the model's record of where it comes from
    /// - `folder`: a new folder; the folders above it are created
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) if the folder exists or cannot be written,
    /// [`ErrorKind::Model`](crate::ErrorKind::Model) if a parameter is not finite.
    pub fn save_model(&self, network: &Network, step: u64, folder: &Path) -> Result<(), Error> {
        let metrics = json!({"dev": {}, "test": {}});
        let model = self.trained_model(network, step, metrics, Vec::new());
        if let Some(parent) = folder.parent() {
            fs::create_dir_all(parent).map_err(|error| FileError::new(parent, error))?;
        }
        create_folder(folder, |folder| Ok(model.write(folder)?))
    }

    /// The network as a model that can be written, with a record of where it comes from.
    pub(super) fn trained_model<'a>(
        &'a self,
        network: &'a Network,
        step: u64,
        metrics: Value,
        warnings: Vec<String>,
    ) -> TrainedModel<'a> {
        let provenance = Provenance {
            base_model: self.config.encoder.model.clone(),
            data_hash: self.data.sha256(),
            config_hash: self.config.hash(),
            polyhead_version: env!("CARGO_PKG_VERSION").to_owned(),
            step,
            epoch: step.div_ceil(self.sampler.steps_per_epoch()),
            metrics,
            warnings,
        };
        let mut model = TrainedModel::new(&self.folder, network, self.max_length, provenance);
        // Tasks that answer texts agree: the configuration is checked. A model that compares vectors
        // reads single texts, whatever its rows had.
        let task = self.config.tasks.iter().find(|task| !task.kind.compares());
        let files = task.map(|task| task.files().unwrap_or_else(|| self.config.data.clone()));
        model.input = files.and_then(|files| Some(files.input_fields().ok()?.text));
        model.reference.clone_from(&self.reference);
        if let Some(contrast) = &self.contrast {
            // It belongs to the run, not to the model.
            model.heads.remove(contrast.head);
        }
        model
    }

    /// Returns true if any step trains the encoder or its modules, so that sentence vectors move.
    pub fn moves_vectors(&self) -> bool {
        let is_head = |group: &ParameterGroup| matches!(group, ParameterGroup::Head(_));
        self.freeze
            .ever_trainable()
            .iter()
            .zip(&self.groups)
            .any(|(ever, group)| *ever && !is_head(group))
    }
}
