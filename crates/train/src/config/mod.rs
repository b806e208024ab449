//! The configuration of a run: the checked form of `config.toml`.
//!
//! [`RunConfig::parse`] reads the TOML that users write, with the values of
//! `--set` in it; [`RunConfig::to_toml`] writes it back with every default
//! filled in; [`RunConfig::differences`] says what two runs do differently;
//! [`config_keys`] lists everything that can be written.
//!
//! The types here are the configuration: a field is a key, its type says which values it takes, and
//! its documentation is what users read. Paths in the file are relative to its folder, paths in
//! `--set` to the working folder. Keys are checked against each other here; against the model, its
//! data and its tasks' labels later, where those are known.

mod document;
mod reader;
mod number;
mod words;
mod alias;
mod keys;
mod multitask;
mod check;
mod difference;
mod written;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use polyhead_compute::Activation;
use polyhead_files::{explain_missing, read_text};
use polyhead_model::{
    EmptyCell, HeadInput, HeadLayer, InputFields, LabelMatching, NumberRange, PoolingMode,
    TaskKind, TextFields, TextTemplate,
};
use polyhead_text::WordSplit;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};
use crate::tasks::TripletDistance;
use document::Document;
use keys::settings;

pub use alias::{KeyAlias, key_alias};
pub use difference::Difference;
pub use keys::{Key, config_keys};
pub use multitask::{GradientMix, MultitaskSettings, TaskWeights};
pub(crate) use number::exact;
pub use number::{
    BelowOne, Factor, NonNegative, Positive, PositiveCount, PositiveSize, Share, Size, SmallShare,
};
pub use written::WrittenKeys;

/// The longest configuration that is read, in bytes; label lists of any size
/// that can be trained fit.
const FILE_LIMIT: u64 = 4 << 20;

/// First line of the `config.toml` of a run. A user's own file of that name has another one and is
/// not overwritten.
pub(crate) const RUN_MARK: &str = "# The configuration of this run, with every default.";

settings! {
    /// A whole run, every default filled in.
    pub struct RunConfig {
        /// The seed of the order of the data, of dropout and of new heads.
        seed: u64 = 0,
        /// What is trained.
        encoder: EncoderSettings = EncoderSettings::default(),
        /// Files that all tasks share; a task with files of its own does not use them.
        data: DataFiles = DataFiles::default(),
        /// How batches are drawn when tasks have files of their own.
        sampler: SamplerSettings = SamplerSettings::default(),
        /// How the losses and gradients of several tasks are added.
        multitask: MultitaskSettings = MultitaskSettings::default(),
        /// Steps, rates and batches.
        train: TrainSettings = TrainSettings::default(),
        /// When train states are kept.
        checkpoint: CheckpointSettings = CheckpointSettings::default(),
        /// What the folder of the finished model holds.
        output: OutputSettings = OutputSettings::default(),
        /// The tasks, in order; at least one.
        #[serde(rename = "task")]
        tasks: Vec<TaskSettings> = Vec::new(),
        /// Freeze phases; they apply independently of each other.
        freeze: Vec<FreezePhase> = Vec::new(),
        /// The keys that were written: no recipe changes them. It is no key itself.
        #[serde(skip)]
        written: WrittenKeys = WrittenKeys::default(),
    }
}

settings! {
    /// `[encoder]`: the model that is trained.
    pub struct EncoderSettings {
        /// A folder, a run, a model of the hub by name, or `builtin`; a folder of that name comes before the hub.
        model: String = BUILTIN.to_owned(),
        /// How token vectors become one vector; several modes are joined end to end. Absent: as the model does.
        #[serde(with = "words::poolings")]
        pooling: Option<Vec<PoolingMode>> = None,
        /// Tokens after which a text is cut, the special ones included. Absent: as the model does.
        max_length: Option<PositiveSize> = None,
        /// Widths at which the losses of similarity and retrieval compare vectors, such as `[384, 192, 96]`: the first numbers of a vector then do for it. Absent: the whole vector.
        matryoshka: Vec<PositiveSize> = Vec::new(),
        /// Dropout of hidden states. Absent: as `config.json` says.
        dropout: Option<BelowOne> = None,
        /// Dropout of attention probabilities. Absent: as `config.json` says.
        attention_dropout: Option<BelowOne> = None,
        /// Keep only the embeddings and this many layers from the input upwards. Absent: all.
        layers: Option<PositiveSize> = None,
        /// Keep only the embeddings and these layers, counted from 0, such as `[0, 2, 4]`. Absent: `layers` decides.
        keep_layers: Vec<Size> = Vec::new(),
        /// Start from random weights in the model's shape and with its vocabulary.
        random: bool = false,
    }
}

impl EncoderSettings {
    /// The number of layers that are kept; `None`: all.
    pub(crate) fn layer_count(&self) -> Option<usize> {
        let chosen = self.keep_layers.len();
        if chosen > 0 { Some(chosen) } else { self.layers.map(usize::from) }
    }
}

/// The model inside the program.
const BUILTIN: &str = "builtin";

settings! {
    /// `[data]`: files that tasks share.
    pub struct DataFiles {
        /// Rows to train on: a JSON Lines or CSV file, or several that are read one after the other.
        #[serde(deserialize_with = "words::paths")]
        train: Vec<PathBuf> = Vec::new(),
        /// Rows that choose the best model, calibrate it and set its thresholds.
        #[serde(deserialize_with = "words::paths")]
        dev: Vec<PathBuf> = Vec::new(),
        /// The share of the rows of `train` that is held out as `dev`, the same share of each label; the seed chooses them. Absent: none.
        dev_share: Option<SmallShare> = None,
        /// Rows that are looked at once, at the end.
        #[serde(deserialize_with = "words::paths")]
        test: Vec<PathBuf> = Vec::new(),
        /// The field with the text, or several that `join` or `template` make one text of. Absent: the fields from which a starting model in a folder makes its texts, or `text`.
        #[serde(with = "words::names")]
        text: Vec<String> = vec!["text".to_owned()],
        /// The text between several fields of `text`; empty fields are left out.
        join: Option<String> = None,
        /// A text with fields in braces, such as `"{title}: {body}"`; empty fields are put in as they are.
        #[serde(with = "words::template")]
        template: Option<TextTemplate> = None,
        /// The field with the words, for tasks of kind `tokens`.
        tokens: Option<String> = Some("tokens".to_owned()),
    }
}

settings! {
    /// `[sampler]`: how the next batch's task is chosen when tasks have files of their own.
    #[derive(Copy)]
    pub struct SamplerSettings {
        /// How the task of the next batch is chosen.
        kind: SamplerKind = SamplerKind::Proportional,
        /// With `kind = "temperature"` alone: 1 is proportional, large is uniform.
        temperature: Option<Positive> = None,
    }
}

/// How the task of the next batch is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SamplerKind {
    /// By the number of rows.
    Proportional,
    /// Each task equally often.
    Uniform,
    /// By the number of rows to the power `1 / temperature`: 1 is proportional, large is uniform.
    Temperature,
    /// In turn; an epoch ends with the task that has the fewest rows.
    RoundRobin,
}

settings! {
    /// `[[task]]`: a task and its head.
    pub struct TaskSettings {
        /// The task's name: 1 to 64 letters, digits, `_` and `-`; not `embedding`.
        name: String = String::new(),
        /// What sort of answer the task gives.
        #[serde(with = "words::word")]
        kind: TaskKind = TaskKind::Classification,
        /// The head of the starting model that the task begins with. Absent: the one of the task's name, or a new head.
        from: Option<String> = None,
        /// The field with the label; for multilabel also several, one for each label, with 0 or 1. Absent: the task's name.
        #[serde(with = "words::names")]
        field: Vec<String> = Vec::new(),
        /// The labels, in order. Absent: those of the training data, sorted.
        labels: Option<Vec<String>> = None,
        /// When two spellings are one label: `"exact"`, or `"normalized"` without regard to case, blanks, invisible characters, Unicode form, `1` or `1.0`, and with `1` for true and `0` for false where the task has two such labels. Absent: `"exact"`.
        #[serde(with = "words::some_word")]
        label_matching: Option<LabelMatching> = None,
        /// The separator between the labels in a cell, for multilabel. Absent: `|`, `;` or `,`, found in the cells.
        separator: Option<String> = None,
        /// The meaning of an empty cell, for multilabel: no label applies (`"none"`), or the row is `"unlabelled"`. Absent: an error if only some cells are empty.
        #[serde(with = "words::some_word")]
        empty: Option<EmptyCell> = None,
        /// Learn the targets with mean 0 and deviation 1, for regression; answers and metrics stay in the data's unit. Absent: as `false`.
        standardize: Option<bool> = None,
        /// The least and the largest answer, such as `[1, 5]`, for regression: answers are clipped to them, and a target outside of them is an error. Absent: those of a head that the run continues, or none.
        #[serde(with = "words::range")]
        range: Option<NumberRange> = None,
        /// How the task reads a pair of texts: `"joint"`, both in one sequence, or `"separate"`, each in a sequence of its own, of whose vectors u and v the head reads u, v and |u − v|. Absent: that of the head that the task begins with, or joint where all training rows are pairs.
        pair: Option<PairReading> = None,
        /// Let the head read u · v as well, element by element; only with `pair = "separate"`. Absent: that of the head that the task begins with, or `false`.
        pair_product: Option<bool> = None,
        /// The loss: `"cosent"` or `"cosine"` for similarity, `"multiple-negatives"` or `"triplet"` for retrieval, `"mean-squared-error"` of vectors or `"kl"` or `"margin-mse"` of scores for distillation. Absent: the first of these.
        loss: Option<VectorLoss> = None,
        /// The folder, run or name of the model that is followed: for distillation its vectors, or its scores of pairs; for other kinds the answers of its head, beside the labels.
        teacher: Option<String> = None,
        /// The teacher's task that is followed. Absent: the task of the same name.
        teacher_task: Option<String> = None,
        /// The share of the distance to the teacher's answers in the loss; the rest is that of the labels. Absent: 0.5.
        teacher_weight: Option<Share> = None,
        /// Let the teacher's share fall from 1 to 0 over the run, in place of `teacher_weight`. Absent: as `false`.
        anneal: Option<bool> = None,
        /// The factor of cosines in the losses `cosent` and `multiple-negatives`, and of dot products in `kl` and `margin-mse`. Absent: 20, or 1 for distillation.
        scale: Option<Positive> = None,
        /// Find the query of each passage as well, in the loss `multiple-negatives`. Absent: as `false`.
        symmetric: Option<bool> = None,
        /// How much nearer a positive has to be than a negative, in the loss `triplet`. Absent: 5 for `"euclidean"`, 0.5 for `"cosine"`.
        margin: Option<Positive> = None,
        /// The distance in the loss `triplet`: `"euclidean"` or `"cosine"`. Absent: Euclidean.
        #[serde(with = "words::some_word")]
        distance: Option<TripletDistance> = None,
        /// The weight of the task's loss in the sum over tasks.
        weight: NonNegative = NonNegative(1.0),
        /// The task's own rows to train on. Absent: all files are those of `[data]`.
        #[serde(deserialize_with = "words::paths")]
        train: Vec<PathBuf> = Vec::new(),
        /// The task's own rows that choose the best model; only with `train`.
        #[serde(deserialize_with = "words::paths")]
        dev: Vec<PathBuf> = Vec::new(),
        /// The task's own rows that are looked at once; only with `train`.
        #[serde(deserialize_with = "words::paths")]
        test: Vec<PathBuf> = Vec::new(),
        /// The field with the text in the task's own files, or several. Absent: as `[data]` says.
        #[serde(with = "words::names")]
        text: Vec<String> = Vec::new(),
        /// The text between several fields of the task's own files. Absent: as `[data]` says.
        join: Option<String> = None,
        /// A text with fields of the task's own files in braces. Absent: as `[data]` says.
        #[serde(with = "words::template")]
        template: Option<TextTemplate> = None,
        /// The field with the words in the task's own files. Absent: as `[data]` says.
        tokens: Option<String> = None,
        /// The head's own pooling. Absent: the encoder's.
        #[serde(with = "words::poolings")]
        pooling: Option<Vec<PoolingMode>> = None,
        /// What the head reads: the pooled vector, or the final embedding after the model's other modules.
        #[serde(with = "words::word")]
        input: HeadInput = HeadInput::Pooled,
        /// Which hidden states the head reads: a number (0: the embeddings), `"last"`, or `"mix"`, a learned mix of all.
        #[serde(with = "words::head_layer")]
        layer: HeadLayer = HeadLayer::Last,
        /// The width of a hidden layer in the head. Absent: that of the head that the task begins with, or no hidden layer.
        hidden: Option<PositiveSize> = None,
        /// The function after the hidden layer; only with `hidden`.
        #[serde(with = "words::word")]
        activation: Activation = Activation::Gelu,
        /// Dropout before each linear layer of the head. A task that takes over a classifier of transformers has its dropout, unless the key is written.
        dropout: BelowOne = BelowOne(0.1),
        /// The head's own learning rate. Absent: `head_learning_rate`.
        learning_rate: Option<NonNegative> = None,
        /// The weight of each label in the loss, for classification and tokens.
        class_weights: Option<ClassWeights> = None,
        /// Label smoothing, for classification and tokens.
        label_smoothing: BelowOne = BelowOne(0.0),
        /// The weight of each label's positive rows in the loss, for multilabel.
        positive_weights: Option<ClassWeights> = None,
        /// `"distill"`: hold the task to the answers of the model that the run starts from.
        keep: Option<Keep> = None,
        /// How a raw text becomes words, for tokens: `"whitespace"`, `"punctuation"`, `"unicode"`, `"characters"`, or `"learned"` from the words of the training data. Absent: learned.
        words: Option<WordRule> = None,
        /// The metric that stands for the task where `best` is `mean`. Absent: the kind's main one.
        metric: Option<String> = None,
    }
}

impl TaskSettings {
    /// The name of the head that the task begins with, if the starting model has it.
    pub(crate) fn start_name(&self) -> &str {
        self.from.as_ref().unwrap_or(&self.name)
    }

    /// The task's own files; `None` if it uses those of the run.
    pub fn files(&self) -> Option<DataFiles> {
        let Self { train, dev, test, text, join, template, tokens, .. } = self.clone();
        let files =
            DataFiles { train, dev, test, text, join, template, tokens, ..DataFiles::default() };
        (!files.train.is_empty()).then_some(files)
    }
}

impl DataFiles {
    /// Makes `text` the fields with the texts of the rows.
    pub(crate) fn set_text(&mut self, text: TextFields) {
        (self.text, self.join, self.template) = match text {
            TextFields::One(name) => (vec![name], None, None),
            TextFields::Joined { fields, separator } => (fields, Some(separator), None),
            TextFields::Template(template) => (Vec::new(), None, Some(template)),
            TextFields::Several(fields) => (fields, None, None),
        };
    }

    /// The fields with the texts and the words of the rows.
    ///
    /// # Errors
    /// The contradiction between `text`, `join` and `template`.
    pub fn input_fields(&self) -> Result<InputFields, String> {
        let text = TextFields::new(&self.text, self.join.as_deref(), self.template.as_ref())?;
        let tokens = self.tokens.clone().unwrap_or_else(|| InputFields::default().tokens);
        Ok(InputFields { text, tokens })
    }
}

/// How a task reads the texts of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PairReading {
    /// Both in one sequence, as cross-encoders do.
    Joint,
    /// Each in a sequence of its own.
    Separate,
}

impl PairReading {
    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Joint => "joint",
            Self::Separate => "separate",
        }
    }
}

/// A loss that compares the vectors of texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VectorLoss {
    /// Pairs with a higher score get a higher cosine than pairs with a lower one.
    Cosent,
    /// The squared difference of cosine and score.
    Cosine,
    /// Each query finds its passage among all passages of the batch.
    MultipleNegatives,
    /// Each query is nearer to its positive than to its negatives, by a margin.
    Triplet,
    /// The squared difference of vectors from those of a teacher.
    MeanSquaredError,
    /// The divergence of the scores of a row's texts from those of a teacher.
    Kl,
    /// The squared difference of the margins between scores from those of a teacher.
    MarginMse,
}

impl VectorLoss {
    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cosent => "cosent",
            Self::Cosine => "cosine",
            Self::MultipleNegatives => "multiple-negatives",
            Self::Triplet => "triplet",
            Self::MeanSquaredError => "mean-squared-error",
            Self::Kl => "kl",
            Self::MarginMse => "margin-mse",
        }
    }
}

/// Weights of labels.
#[derive(Clone, Debug, PartialEq)]
pub enum ClassWeights {
    /// From the training data: rows / (labels · rows of the label), as scikit-learn's
    /// `balanced`; for positive weights: negative rows / positive rows.
    Balanced,
    /// By the name of the label.
    Given(Vec<(String, f32)>),
}

/// The means by which a task is kept while others train.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// Learning without forgetting (Li and Hoiem, 2016): the loss is the distance
    /// to the answers of the starting model, on every row.
    Distill,
}

/// The rule by which a raw text becomes the words that a task tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WordRule {
    /// The rule that the words of the training data show in their texts.
    Learned,
    /// The rule [`WordSplit::Whitespace`].
    Whitespace,
    /// The rule [`WordSplit::Punctuation`].
    Punctuation,
    /// The rule [`WordSplit::Unicode`].
    Unicode,
    /// The rule [`WordSplit::Characters`].
    Characters,
}

impl WordRule {
    /// The rule; `None` if the training data have to teach it.
    pub fn split(self) -> Option<WordSplit> {
        match self {
            Self::Learned => None,
            Self::Whitespace => Some(WordSplit::Whitespace),
            Self::Punctuation => Some(WordSplit::Punctuation),
            Self::Unicode => Some(WordSplit::Unicode),
            Self::Characters => Some(WordSplit::Characters),
        }
    }
}

settings! {
    /// `[train]`: steps, rates and batches.
    pub struct TrainSettings {
        /// The recipe that fills in rates, epochs, weights and what is frozen: `"auto"` chooses by the number of training rows, the encoder's width and what is frozen, `"heads"` trains the heads alone, `"few-shot"` sets labels apart in the sentence vectors before it trains the heads on them, `"full"` fills in nothing.
        recipe: Recipe = Recipe::Auto,
        /// Passes over the data; 0 together with `max_steps`: as many as those steps take.
        epochs: Size = Size(3),
        /// Rows of an optimizer step.
        batch_size: PositiveSize = PositiveSize(32),
        /// Parts into which a step is cut at least: less memory, the same step, to the bit.
        accumulation: PositiveSize = PositiveSize(1),
        /// The learning rate of the encoder.
        learning_rate: NonNegative = NonNegative(5e-5),
        /// The learning rate of heads without one of their own.
        head_learning_rate: NonNegative = NonNegative(1e-3),
        /// Each layer learns at the rate of the layer above it times this.
        layer_decay: Factor = Factor(1.0),
        /// How rates change after the warm-up.
        schedule: ScheduleKind = ScheduleKind::Linear,
        /// The share of all steps in which rates rise from 0.
        warmup: Share = Share(0.1),
        /// Decoupled weight decay; not on biases and layer norms.
        weight_decay: NonNegative = NonNegative(0.01),
        /// Steps at the beginning that set labels apart: they train the sentence vectors so that rows of one label are near each other, and no head. Later steps train the heads. Absent: none.
        contrast_steps: Option<PositiveCount> = None,
        /// The largest global norm of the gradient; 0: no clipping.
        clip_norm: NonNegative = NonNegative(1.0),
        /// Adam's β₁ and β₂.
        betas: (BelowOne, BelowOne) = (BelowOne(0.9), BelowOne(0.999)),
        /// Adam's ε.
        epsilon: Positive = Positive(1e-8),
        /// Stop after this many steps; 0: no limit.
        max_steps: u64 = 0,
        /// Stop after this many seconds, those before a resume included; 0: no limit.
        max_seconds: u64 = 0,
        /// Stop after this many evaluations without improvement; 0: never.
        patience: Size = Size(0),
        /// Steps between two lines of progress and of `metrics.jsonl`.
        log_every: PositiveCount = PositiveCount(10),
        /// Steps between two evaluations on dev; 0: once an epoch.
        evaluate_every: u64 = 0,
        /// What chooses the best model: `mean` over tasks, or `TASK.METRIC`.
        best: String = "mean".to_owned(),
        /// Bytes of memory for hidden states below a frozen boundary; more go to a file.
        cache_bytes: u64 = 256 << 20,
    }
}

/// The recipe that fills in the keys that are not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recipe {
    /// Every value is chosen by the number of training rows, the encoder's width and what is frozen.
    Auto,
    /// Every key has its default.
    Full,
    /// The heads are trained, on an encoder that is frozen.
    Heads,
    /// The sentence vectors are trained to set labels apart, then the heads on vectors that are frozen
    /// (Tunstall et al., 2022, "Efficient Few-Shot Learning Without Prompts").
    FewShot,
}

/// How rates change after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleKind {
    /// They stay.
    Constant,
    /// They fall to 0 on a line.
    Linear,
    /// They fall to 0 on half a cosine.
    Cosine,
}

settings! {
    /// `[checkpoint]`: when train states are kept.
    pub struct CheckpointSettings {
        /// Steps between two train states; 0: at the end of each epoch only.
        every: u64 = 200,
        /// How many of the newest train states are kept.
        keep: PositiveSize = PositiveSize(2),
        /// What happens to them once the run is finished: `"remove"` or `"keep"`.
        after: AfterRun = AfterRun::Remove,
    }
}

settings! {
    /// `[output]`: the folder of the finished model.
    pub struct OutputSettings {
        /// The weights of the encoder: `"copy"`, or `"reference"` to those of the starting model, whose encoder does not train.
        encoder: EncoderFiles = EncoderFiles::Copy,
        /// Write the answers of each task to the rows of test, or of dev where test has no labels, to `answers.json` of the run, beside the right ones: two runs can be compared row by row. Absent: as `false`.
        answers: Option<bool> = None,
    }
}

/// The way in which a model folder has the weights of its encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EncoderFiles {
    /// The folder has them.
    Copy,
    /// The folder says where they are and which SHA-256 they have.
    Reference,
}

/// The fate of the train states of a run that is finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AfterRun {
    /// They are removed: the model folder has all that the run has come to.
    Remove,
    /// They stay.
    Keep,
}

settings! {
    /// `[[freeze]]`: parameters that do not change for a while.
    pub struct FreezePhase {
        /// Groups of parameters: `all`, `encoder`, `embeddings`, `layers.A-B`, `layers.I`, `pooler`, `modules`, `heads`, `head.NAME`.
        #[serde(deserialize_with = "words::strings")]
        parameters: Vec<String> = Vec::new(),
        /// The first step. Absent: the first of the run.
        from: Option<Moment> = None,
        /// The last step. Absent: the last of the run.
        until: Option<Moment> = None,
    }
}

/// A point in a run, counted from 1: `"epoch 2"`, `"step 500"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// `from`: where this epoch begins; `until`: where it has ended.
    Epoch(u64),
    /// This step, included.
    Step(u64),
}

impl RunConfig {
    /// Files of the run that tasks use: those of `[data]` if a task has none of its own, then
    /// those of the tasks.
    pub(crate) fn sources(&self) -> Vec<DataFiles> {
        let shared = self.tasks.iter().any(|task| task.train.is_empty());
        let shared = shared.then(|| self.data.clone());
        shared.into_iter().chain(self.tasks.iter().filter_map(TaskSettings::files)).collect()
    }

    /// Reads and checks the file at `path`; `set` as in [`Self::parse`].
    ///
    /// # Errors
    /// The errors of [`Self::parse`]; [`ErrorKind::Config`] if the file cannot be read.
    pub fn from_file(path: &Path, set: &[String]) -> Result<Self, Error> {
        let text = read_text(path, FILE_LIMIT).map_err(|error| {
            let error = explain_missing(path, error);
            let message = format!("{}: {error}", path.display());
            Error::with_source(ErrorKind::Config, message, error)
        })?;
        Self::parse(&text, path, set)
    }

    /// Reads and checks `text`.
    ///
    /// - `file`: its name in messages; paths in it are relative to its folder
    /// - `set`: `key=value`, laid over the text before anything is checked:
    ///   `seed=7`, `train.epochs=5`, `task.topic.weight=2` (tasks by name). A
    ///   value that is not TOML is a string
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with the file, the line and the key.
    pub fn parse(text: &str, file: &Path, set: &[String]) -> Result<Self, Error> {
        let document = Document::parse(text, file, set)?;
        let mut config: Self = document.read()?;
        config.written = document.keys();
        // A run of a version without recipes has the defaults, which are those of `full`.
        if text.starts_with(RUN_MARK) && !document.section("train").has("recipe") {
            config.train.recipe = Recipe::Full;
        }
        check::complete(&mut config, &document)?;
        check::check(&config, &document)?;
        Ok(config)
    }

    /// The configuration as a file that [`Self::parse`] reads back as the same.
    ///
    /// Absent keys are left to the model or the data: pooling and dropouts of
    /// the encoder, labels, main metrics. Paths are absolute.
    ///
    /// # Panics
    /// If a whole number is above `i64::MAX`, more than TOML holds, or a path is not UTF-8.
    pub fn to_toml(&self) -> String {
        let mut table = self.table();
        if self.train.recipe != Recipe::Full && self.freeze.is_empty() {
            // Without the key, the recipe would choose what is frozen.
            table.insert("freeze".to_owned(), toml::Value::Array(Vec::new()));
        }
        toml::to_string(&table).expect("a table can be written")
    }

    /// The configuration as a table of the keys that apply.
    fn table(&self) -> toml::Table {
        let mut table = toml::Table::try_from(self).expect("checked by `check_writable`");
        check::keep_what_applies(&mut table);
        // A plain sum is not said: runs keep the hash that they had before there was this table.
        if self.multitask == MultitaskSettings::default() {
            table.remove("multitask");
        }
        table
    }
}
