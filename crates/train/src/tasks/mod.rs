//! Tasks by kind: how a task is labelled, trained, judged and calibrated, one file a kind.
//!
//! Everything else asks the [`rules`] of a kind and never lists the kinds itself. What a kind
//! answers stands in `polyhead-model`, in `heads/kinds/`. The losses in `loss`, the counters in
//! `metric`, the temperatures in `calibration` and the thresholds in `thresholds` know no kind: a kind
//! chooses among them.

mod classification;
mod multi_label;
mod ordinal;
mod regression;
mod tokens;
mod similarity;
mod retrieval;
mod distillation;

mod comparison;
mod targets;
mod loss;
mod objective;
mod metric;
mod calibration;
mod thresholds;
mod held_out;
mod row_answers;

use calibration::AnsweredRows;
pub use calibration::{
    Calibration, Reliability, ReliabilityBin, calibrate_classes, calibrate_sets,
};
pub(crate) use comparison::{Compared, Comparison, ComparisonOptions};
pub(crate) use held_out::{LEAST_CASES, LEAST_ROWS, LEAST_TEXTS};
use held_out::{kept_temperature, kept_thresholds, threshold_at};
use loss::softened_cross_entropy;
#[cfg(test)]
pub(crate) use loss::testing::some_logits;
pub use loss::{
    CrossEntropy, DISTILLATION_TEMPERATURE, MultipleNegatives, ScoreLoss, TripletDistance,
    binary_cross_entropy, binary_cross_entropy_normaliser, cosent, cosine_error, cross_entropy,
    distillation, distillation_normaliser, dot_scores, dot_scores_backward, matryoshka,
    mean_factor, multiple_negatives, ordinal, ordinal_normaliser, score_distillation,
    score_distillation_normaliser, squared_error, squared_error_normaliser, triplet,
    vector_distillation,
};
pub(crate) use loss::{Softmax, label_contrast, sigmoid};
pub(crate) use metric::counted_spans;
pub use metric::{
    ClassificationCounter, ClassificationMetrics, ConfusedPair, DistillationCounter,
    DistillationMetrics, LabelScores, MANY_LABELS, MultiLabelCounter, MultiLabelMetrics,
    NamedScore, OrdinalCounter, OrdinalMetrics, PairCounter, PairMetrics, RETRIEVED_RANKS,
    RegressionCounter, RegressionMetrics, RetrievalAtWidth, RetrievalCounter, RetrievalMetrics,
    RunningAccuracy, SimilarityAtWidth, SimilarityCounter, SimilarityMetrics, Span, SpanScores,
    Tag, TaskMetrics, TokensCounter, TokensMetrics, argmax, kinds_with_metric, larger_is_better,
    main_metric, metric_names, pearson, spans, spearman,
};
pub use objective::{Objective, TeacherShare};
pub(crate) use regression::near_zero;
pub(crate) use row_answers::{ChosenRows, LabelNames, RowAnswers};
pub(crate) use targets::{answered, answered_texts, targets};
pub use thresholds::{best_thresholds, given_labels};
pub(crate) use tokens::word_tags;

use std::collections::BTreeSet;

use polyhead_model::{HeadSpec, NumberRange, TargetScale, TaskKind};

use polyhead_compute::Cpu;
use polyhead_files::Cell;

use crate::config::{TaskSettings, VectorLoss};
use crate::data::{RawLabel, Split, TaskLabels};

/// Rules of a kind for before, while and after it is trained. Loss, accuracy and
/// temperature are those of one label out of several unless the kind says otherwise.
pub(crate) trait TaskRules {
    /// The label in a cell that is not empty.
    fn read_label(&self, cell: Cell) -> Result<RawLabel, String>;

    /// Returns true if rows with labels in common are alike, so that their vectors can be brought together.
    fn has_alike_rows(&self) -> bool {
        false
    }

    /// The label of a row whose label needs no field; `None` for kinds that read one.
    ///
    /// - `texts`: texts of the row
    fn implied_label(&self, _texts: usize) -> Option<RawLabel> {
        None
    }

    /// The fewest texts of a row, of a kind that compares vectors.
    fn least_texts(&self) -> usize {
        2
    }

    /// The losses of a kind that compares vectors.
    fn vector_losses(&self) -> &'static [VectorLoss] {
        &[]
    }

    /// The options of a kind that compares vectors.
    fn comparison(&self, _: &TaskSettings) -> Option<ComparisonOptions> {
        None
    }

    /// The range of the training targets, for kinds whose answers are mapped to it.
    fn found_range(&self, _train: &TaskLabels) -> Option<NumberRange> {
        None
    }

    /// Checks that the training rows have what the loss of a kind that compares vectors needs.
    ///
    /// # Errors
    /// A row, and what was expected and found.
    fn check_rows(&self, _: &TaskSettings, _train: &TaskLabels) -> Result<(), (usize, String)> {
        Ok(())
    }

    /// The loss of all rows of a step, of a kind that compares vectors; the gradients become `factor`
    /// times those of the sum.
    ///
    /// # Panics
    /// If the kind compares no vectors.
    fn compare(&self, _: Cpu, _: &Objective, _: Compared, _factor: f64, _: &mut [f32]) -> f64 {
        unreachable!("only kinds that compare vectors are asked")
    }

    /// The label in a cell of blanks; `None` where the row counts as unlabelled.
    fn empty_label(&self) -> Option<RawLabel> {
        None
    }

    /// `rows` rows without a label.
    fn unlabelled(&self, rows: usize) -> TaskLabels;

    /// The names of labels among those of the training rows, in the order of the head.
    fn order_labels(&self, names: BTreeSet<&str>) -> Vec<String> {
        names.into_iter().map(str::to_owned).collect()
    }

    /// Checks that given labels, which are neither empty nor repeated, can be a head's.
    ///
    /// # Errors
    /// The labels that were expected and found.
    fn check_labels(&self, _labels: &[String]) -> Result<(), String> {
        Ok(())
    }

    /// Checks that labels that were found in the training data, in the order of the head, can be a
    /// head's.
    ///
    /// # Errors
    /// The labels that were expected and found.
    fn check_found(&self, _labels: &[String]) -> Result<(), String> {
        Ok(())
    }

    /// Returns true if the labels have an order.
    fn has_order(&self) -> bool {
        false
    }

    /// Mean and deviation of the training targets; `None` if they are no numbers.
    fn target_scale(&self, _train: &TaskLabels) -> Option<TargetScale> {
        None
    }

    /// Words of a message about a task with too few labels.
    fn expected_labels(&self) -> &'static str {
        "two labels or more"
    }

    /// Keys of a task's configuration about labels and loss that not all kinds have.
    fn own_keys(&self) -> &'static [&'static str] {
        &["class_weights", "label_smoothing"]
    }

    /// The sum of losses; `out`, unless it is empty, becomes `factor` times its gradient.
    fn loss(&self, objective: &Objective, rows: Labelled, factor: f64, out: &mut [f32]) -> f64 {
        let (targets, options) = (rows.targets.classes(), objective.cross_entropy());
        cross_entropy(rows.logits, rows.outputs, targets, options, factor, out)
    }

    /// Divisor of the sum of losses over these targets.
    fn normaliser(&self, objective: &Objective, targets: &TaskLabels) -> f64 {
        objective.cross_entropy().normaliser(targets.classes())
    }

    /// The distance of one row of logits to those of the starting model; `out` becomes `factor`
    /// times its gradient.
    fn distillation(&self, logits: &[f32], teacher: &[f32], factor: f64, out: &mut [f32]) -> f64 {
        softened_cross_entropy(logits, teacher, factor, out)
    }

    /// Divisor of the sum of distances over `rows` rows.
    fn distillation_normaliser(&self, rows: usize, _outputs: usize) -> f64 {
        rows as f64
    }

    /// The label that a row of logits gives, and its probability.
    fn answer(&self, logits: &[f32], temperature: f64) -> (usize, f64) {
        let given = argmax(logits);
        (given, Softmax::new(logits, temperature).probability(given))
    }

    /// Counts right answers while training; kinds without right and wrong count nothing.
    fn count(&self, accuracy: &mut RunningAccuracy, rows: Labelled) {
        accuracy.add_classes(rows.logits, rows.outputs, rows.targets.classes());
    }

    /// Names of the scores, as in `best = "TASK.METRIC"`.
    fn metric_names(&self) -> &'static [&'static str];

    /// The score that stands for the task where none is chosen.
    fn main_metric(&self) -> &'static str;

    /// Metrics of a split; `None` if no row has a label.
    fn score(&self, answers: &SplitAnswers) -> Option<TaskMetrics> {
        let rows = self.row_answers(answers)?;
        let (names, chosen) = (answers.label_names(), &mut (0..rows.len()));
        self.score_rows(ChosenRows { names, answers: &rows, chosen, loss: answers.loss })
    }

    /// The answers to the labelled rows of a split, in the form that [`score_rows`](Self::score_rows) reads;
    /// `None` if the metrics of the kind are not those of rows.
    fn row_answers(&self, answers: &SplitAnswers) -> Option<RowAnswers>;

    /// Metrics of some rows of this kind; `None` if there is none.
    fn score_rows(&self, rows: ChosenRows) -> Option<TaskMetrics>;

    /// The temperature for a head by answers to dev: that of the head unless another one is better;
    /// `None` if the kind has none, or no row is left.
    ///
    /// - `texts`: the text that each row is of, ascending
    fn calibrate(&self, rows: Labelled, texts: &[usize], temperature: f32) -> Option<Calibration> {
        let rows = AnsweredRows::classes(rows.logits, rows.outputs, rows.targets.classes());
        kept_temperature(&rows, texts, temperature)
    }

    /// The threshold of every label at this temperature, that of the head unless another one is
    /// better, and how many others there are. Empty: ½ for all, or the kind has none.
    fn thresholds(&self, _: Labelled, _: &HeadSpec, _temperature: f32) -> (Vec<f32>, usize) {
        (Vec::new(), 0)
    }
}

/// Answers to some rows, or words where the kind reads words, and what they should have been.
#[derive(Clone, Copy)]
pub(crate) struct Labelled<'a> {
    /// `[rows, outputs]`.
    pub(crate) logits: &'a [f32],
    pub(crate) outputs: usize,
    pub(crate) targets: &'a TaskLabels,
}

/// The answers of a head to a whole split, and what they should have been.
pub(crate) struct SplitAnswers<'a> {
    /// `[rows, outputs]`; `[words, outputs]` where the kind reads words.
    pub(crate) logits: &'a [f32],
    pub(crate) head: &'a HeadSpec,
    pub(crate) split: &'a Split,
    /// Index of the task.
    pub(crate) task: usize,
    /// Mean loss over the rows that have a label.
    pub(crate) loss: Option<f64>,
    /// Further widths at which vectors are compared.
    pub(crate) widths: &'a [usize],
    pub(crate) objective: &'a Objective,
}

impl SplitAnswers<'_> {
    fn labels(&self) -> &TaskLabels {
        &self.split.labels[self.task]
    }

    /// The labels of the head, and those that only the split has.
    pub(crate) fn label_names(&self) -> LabelNames<'_> {
        let issues = self.split.issues.get(self.task);
        let others = issues.map_or(&[][..], |issues| &issues.others);
        LabelNames { head: &self.head.labels, others }
    }

    /// Numbers of a vector, of a kind that compares them.
    fn width(&self) -> usize {
        self.logits.len() / self.split.tokens.len().max(1)
    }

    /// The vector of a sequence of the split, of a kind that compares them.
    fn vector(&self, sequence: usize) -> &[f32] {
        &self.logits[sequence * self.width()..][..self.width()]
    }

    fn rows(&self) -> std::slice::ChunksExact<'_, f32> {
        self.logits.chunks_exact(self.head.outputs().max(1))
    }

    /// Given and true label of each labelled row, of a kind with one label out of several.
    fn class_answers(&self, answer: impl Fn(&[f32]) -> usize) -> RowAnswers {
        let rows = self.rows().zip(self.labels().classes());
        let labelled = rows.filter_map(|(logits, label)| Some((answer(logits) as u32, (*label)?)));
        RowAnswers::Classes(labelled.collect())
    }
}

/// The kinds that a key of a task's configuration applies to, of keys that not all kinds have.
pub(crate) fn kinds_with_key(key: &str) -> Vec<TaskKind> {
    let applies = |kind: &TaskKind| match key {
        "labels" => kind.has_labels(),
        "pooling" | "input" => !kind.reads_words() && !kind.compares(),
        "hidden" | "keep" | "teacher_task" | "teacher_weight" | "anneal" => !kind.compares(),
        "teacher" => !kind.compares() || *kind == TaskKind::Distillation,
        "pair" | "pair_product" => !kind.reads_words() && !kind.compares(),
        "words" => kind.reads_words(),
        key => rules(*kind).own_keys().contains(&key),
    };
    TaskKind::ALL.into_iter().filter(applies).collect()
}

/// The rules of a kind.
pub(crate) fn rules(kind: TaskKind) -> &'static dyn TaskRules {
    match kind {
        TaskKind::Classification => &classification::Classification,
        TaskKind::MultiLabel => &multi_label::MultiLabel,
        TaskKind::Regression => &regression::Regression,
        TaskKind::Ordinal => &ordinal::Ordinal,
        TaskKind::Tokens => &tokens::Tokens,
        TaskKind::Similarity => &similarity::Similarity,
        TaskKind::Retrieval => &retrieval::Retrieval,
        TaskKind::Distillation => &distillation::Distillation,
    }
}

#[cfg(test)]
pub(crate) mod kinds {
    pub(crate) use polyhead_model::TaskKind::{Classification, MultiLabel, Regression, Tokens};
}
