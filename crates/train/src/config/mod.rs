//! What a run is to do: the checked form of `config.toml`.
//!
//! [`RunConfig::parse`] reads the TOML that users write, with the values of
//! `--set` in it; [`RunConfig::to_toml`] writes it back with every default
//! filled in; [`RunConfig::differences`] says what two runs do differently.
//!
//! The keys are the fields of the types here, in tables named as each type's
//! documentation says. Paths in the file are relative to its folder, paths in
//! `--set` to the working folder. Numbers, labels of weights and options are
//! checked against each other here; against the model, its data and its tasks'
//! labels later, where those are known.

mod difference;
mod document;
mod names;
mod read;
mod read_task;
mod section;
#[cfg(test)]
mod testing;
mod write;

use std::path::PathBuf;

use polyhead_compute::Activation;
use polyhead_model::{HeadInput, HeadLayer, PoolingMode, TaskKind};

pub use difference::Difference;

/// A whole run, every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct RunConfig {
    /// Seeds data order, dropout and new heads.
    pub seed: u64,
    /// What is trained.
    pub encoder: EncoderSettings,
    /// Files that all tasks share; a task with files of its own does not use them.
    pub data: DataFiles,
    /// How batches are drawn when tasks have files of their own.
    pub sampler: Sampler,
    /// In order; at least one.
    pub tasks: Vec<TaskSettings>,
    /// Steps, rates and batches.
    pub train: TrainSettings,
    /// When train states are kept.
    pub checkpoint: CheckpointSettings,
    /// Freeze phases; they apply independently of each other.
    pub freeze: Vec<FreezePhase>,
}

/// `[encoder]`
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderSettings {
    /// A folder, a run, a hub name, or `builtin`.
    pub model: String,
    /// Instead of the folder's; several are concatenated.
    pub pooling: Option<Vec<PoolingMode>>,
    /// Tokens after which a text is cut; absent: as the folder says.
    pub max_length: Option<usize>,
    /// Dropout of hidden states; absent: as `config.json` says.
    pub dropout: Option<f32>,
    /// Dropout of attention probabilities; absent: as `config.json` says.
    pub attention_dropout: Option<f32>,
    /// Keep only the embeddings and this many layers from the input upwards.
    pub layers: Option<usize>,
    /// Start from random weights instead of the model's (its shape and vocabulary stay).
    pub random: bool,
}

/// Data files: of the whole run, or of one task.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DataFiles {
    /// JSON Lines or CSV; several are read one after the other.
    pub train: Vec<PathBuf>,
    /// For choosing the best model, calibration and thresholds.
    pub dev: Vec<PathBuf>,
    /// Looked at once, at the end.
    pub test: Vec<PathBuf>,
    /// The field with the text; `text` unless the run says otherwise, of a task
    /// as the run has it. A run that was read has a name here.
    pub text: Option<String>,
    /// The field with the words, for `tokens` tasks; `tokens` unless the run says
    /// otherwise, of a task as the run has it. A run that was read has a name here.
    pub tokens: Option<String>,
}

/// `[sampler]`: how the next batch's task is chosen when tasks have files of their own.
///
/// `kind = "temperature"` takes `temperature` besides; it is never a plain name
/// at the top, so that there is one way to write it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sampler {
    /// By the number of rows.
    Proportional,
    /// Each task equally often.
    Uniform,
    /// By the number of rows to the power `1 / t`: 1 is proportional, large is uniform.
    Temperature(f64),
    /// In turn; an epoch ends with the task that has the fewest rows.
    RoundRobin,
}

/// `[[task]]`
#[derive(Clone, Debug, PartialEq)]
pub struct TaskSettings {
    /// Also the field in the data unless `field` says otherwise.
    pub name: String,
    /// What sort of answer.
    pub kind: TaskKind,
    /// The field with the label.
    pub field: String,
    /// Given labels, in order; absent: those of the training data, sorted.
    pub labels: Option<Vec<String>>,
    /// Of its loss in the sum.
    pub weight: f32,
    /// Files of its own: `train`, `dev`, `test`, `text` and `tokens` in the task's table.
    pub data: Option<DataFiles>,
    /// The head's pooling; absent: the encoder's.
    pub pooling: Option<Vec<PoolingMode>>,
    /// What the head reads; absent: the pooled vector.
    pub input: HeadInput,
    /// Which hidden states the head reads: a number, `"last"` or `"mix"`.
    pub layer: HeadLayer,
    /// Width of a hidden layer in the head.
    pub hidden: Option<usize>,
    /// After the hidden layer; of no meaning without one.
    pub activation: Activation,
    /// Before each linear layer of the head.
    pub dropout: f32,
    /// The head's own rate; absent: `head_learning_rate`.
    pub learning_rate: Option<f32>,
    /// Classification and tokens: weight of each label in the loss.
    pub class_weights: Option<ClassWeights>,
    /// Classification and tokens.
    pub label_smoothing: f32,
    /// Multi-label: weight of the positive rows of each label.
    pub positive_weights: Option<ClassWeights>,
    /// Hold the task to the outputs of the model that the run starts from.
    pub keep: Option<Keep>,
    /// The metric that stands for the task in the criterion; absent: the kind's main one.
    pub metric: Option<String>,
}

/// Weights per label.
#[derive(Clone, Debug, PartialEq)]
pub enum ClassWeights {
    /// From the training data: rows / (labels · rows of the label), as scikit-learn's
    /// `balanced`; for positive weights: negative rows / positive rows.
    Balanced,
    /// By label name.
    Given(Vec<(String, f32)>),
}

/// How a task is kept while others train.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Learning without forgetting (Li and Hoiem, 2016): the loss is the distance
    /// to the answers of the starting model, on every row.
    Distill,
}

/// `[train]`
#[derive(Clone, Debug, PartialEq)]
pub struct TrainSettings {
    /// Times that the data is gone through; 0, with `max_steps`: as often as that takes.
    pub epochs: usize,
    /// Rows of an optimizer step, over all its parts.
    pub batch_size: usize,
    /// Into how many parts of rows a step is cut at least; memory, not results.
    pub accumulation: usize,
    /// Of the encoder.
    pub learning_rate: f32,
    /// Of the heads that have none of their own.
    pub head_learning_rate: f32,
    /// Each layer below learns this much slower.
    pub layer_decay: f32,
    /// How rates change over the steps.
    pub schedule: Schedule,
    /// Share of all steps.
    pub warmup: f32,
    /// Decoupled; not on biases and layer norms.
    pub weight_decay: f32,
    /// Largest global norm of the gradient; 0: no clipping.
    pub clip_norm: f32,
    /// Adam's β₁, β₂.
    pub betas: (f32, f32),
    /// Adam's ε.
    pub epsilon: f32,
    /// 0: no limit.
    pub max_steps: u64,
    /// Stop after this many seconds; 0: no limit.
    pub max_seconds: u64,
    /// Stop after this many evaluations without improvement; 0: never.
    pub patience: usize,
    /// Steps between two lines of progress and of `metrics.jsonl`.
    pub log_every: u64,
    /// Steps between two evaluations on dev; 0: once an epoch.
    pub evaluate_every: u64,
    /// What is best: `mean` over tasks, or `TASK.METRIC`.
    pub best: String,
    /// Bytes of memory for hidden states below a frozen boundary; more go to a file.
    pub cache_bytes: u64,
}

/// How rates change after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// They stay.
    Constant,
    /// They fall to 0 on a line.
    Linear,
    /// They fall to 0 on half a cosine.
    Cosine,
}

/// `[checkpoint]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointSettings {
    /// Steps between two; 0: at the end of each epoch only.
    pub every: u64,
    /// How many of the newest are kept.
    pub keep: usize,
}

/// `[[freeze]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreezePhase {
    /// Groups: `all`, `encoder`, `embeddings`, `layers.A-B`, `layers.I`, `pooler`, `modules`,
    /// `heads`, `head.NAME`.
    pub parameters: Vec<String>,
    /// The first step; absent: from the start.
    pub from: Option<Moment>,
    /// The last step; absent: for the whole run.
    pub until: Option<Moment>,
}

/// A point in a run, counted from 1: `"epoch 2"`, `"step 500"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// `from`: where this epoch begins; `until`: where it has ended.
    Epoch(u64),
    /// This step, included.
    Step(u64),
}
