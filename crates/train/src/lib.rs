//! Training: many heads on one encoder.
//!
//! In the order of the data's way: `config` says what is wanted, `data` reads and checks the rows,
//! `sampler` decides which rows make a step, `step` computes losses, gradients and the update,
//! `freeze` says what may change, `multitask` weighs tasks and mixes their gradients, `evaluate`
//! computes the metrics, `checkpoint` saves the state, and `run` joins them to [`Trainer::train`].
//! [`fit`](fit()) needs no configuration, and [`Transfer`] says what tasks gain from each other.
//!
//! What it leaves out: the network itself (`polyhead-model`) and everything that is printed.
#![forbid(unsafe_code)]

mod config;
mod error;

mod data;
mod sampler;

mod report;

mod tasks;
mod recipe;
mod step;
mod freeze;
mod evaluate;
mod checkpoint;
mod run;
mod multitask;
mod tensorboard;

mod fit;
mod transfer;

pub use config::{
    AfterRun, BelowOne, CheckpointSettings, ClassWeights, DataFiles, Difference, EncoderFiles,
    EncoderSettings, Factor, FreezePhase, GradientMix, Keep, Key, KeyAlias, Moment,
    MultitaskSettings, NonNegative, OutputSettings, PairReading, Positive, PositiveCount,
    PositiveSize, Recipe, RunConfig, SamplerKind, SamplerSettings, ScheduleKind, Share, Size,
    SmallShare, TaskSettings, TaskWeights, TrainSettings, WordRule, WrittenKeys, config_keys,
    key_alias,
};
pub use data::{
    BrokenTag, BrokenTags, Collection, ConfigDraft, Conflicts, DataFile, DataFinding, DataReport,
    DataTask, Dataset, Example, FIRST_UNKNOWN, IdentifiedText, LabelIssues, LabelRows,
    LabelSpelling, Lengths, MiningRules, NumberSummary, Overlap, Part, Place, Repeats,
    ResplitWords, Rows, Source, SourceReport, Split, SplitReport, SplitWords, TaskFields,
    TaskLabels, TaskReport, TaskSplitReport, TeacherAnswers, Tokenize, UnknownLabel, UnknownLabels,
    mine_judged_negatives, mine_negatives,
};
pub use error::{Error, ErrorKind};
pub use evaluate::{Answers, EvalRequest, EvaluateOptions, Evaluation, evaluate};
pub use fit::{FitPlan, FitRequest, FitTask, fit};
pub use freeze::{FreezePlan, FreezeSpan, FrozenTensors};
pub use multitask::hooks as multitask_hooks;
pub use report::{
    Answer, CacheReport, ConflictReport, Cosines, Curves, DevPoint, GroupReport, MarkedSpan,
    Mistake, PairConflict, RunReport, SchedulePoint, TaskResult, TimePart, TrainPoint,
};
pub use run::{
    Ending, Evaluated, Event, Hook, HookedStep, Observer, Prepared, Progress, RunPlan, RunSummary,
    TaskProgress, TaskSummary, Trainer, TrainingBatch, TrainingSession, check_data, open_model,
    peak_memory, processor,
};
pub use sampler::{Batch, BatchSampler, epoch_order};
pub use step::{
    AdamW, AdamWSettings, CacheCounts, ForwardTimes, GradientNorm, GradientProducts, GroupRates,
    Learner, Moments, PackedRows, RateTable, Schedule, StateCache, StepBatch, StepControl,
    StepOutcome, StepRates, TaskGradients, TaskStep, Update, cut,
};
pub use tasks::{
    Calibration, ClassificationCounter, ClassificationMetrics, ConfusedPair, CrossEntropy,
    DISTILLATION_TEMPERATURE, DistillationCounter, DistillationMetrics, LabelScores, MANY_LABELS,
    MultiLabelCounter, MultiLabelMetrics, MultipleNegatives, NamedScore, Objective, OrdinalCounter,
    OrdinalMetrics, PairCounter, PairMetrics, RETRIEVED_RANKS, RegressionCounter,
    RegressionMetrics, Reliability, ReliabilityBin, RetrievalAtWidth, RetrievalCounter,
    RetrievalMetrics, RunningAccuracy, ScoreLoss, SimilarityAtWidth, SimilarityCounter,
    SimilarityMetrics, Span, SpanScores, Tag, TaskMetrics, TeacherShare, TokensCounter,
    TokensMetrics, TripletDistance, argmax, best_thresholds, binary_cross_entropy,
    binary_cross_entropy_normaliser, calibrate_classes, calibrate_sets, cosent, cosine_error,
    cross_entropy, distillation, distillation_normaliser, dot_scores, dot_scores_backward,
    given_labels, kinds_with_metric, larger_is_better, main_metric, matryoshka, mean_factor,
    metric_names, multiple_negatives, ordinal, ordinal_normaliser, pearson, score_distillation,
    score_distillation_normaliser, spans, spearman, squared_error, squared_error_normaliser,
    triplet, vector_distillation,
};
pub use tensorboard::TensorBoard;
pub use transfer::{
    CombinationResult, Gain, JudgedTask, TaskInCombination, Transfer, TransferOptions,
    TransferReport, TransferRun, Verdict,
};
