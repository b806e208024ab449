//! The specification of a head: the part of a task that is stored with the model.

use std::collections::HashSet;

use polyhead_compute::Activation;
use polyhead_text::{TagScheme, Truncation, WordSplit};

use crate::error::{Error, ErrorKind, excerpt};
use crate::heads::pair_features::pair_vectors;
use crate::heads::{LabelFormat, NumberRange, TargetScale, TaskKind, logistic};
use crate::modules::{PoolingMode, PoolingSpec};

/// The largest sizes that are accepted. A file with larger sizes is damaged or hostile.
const TASK_LIMIT: usize = 1024;
const NAME_LIMIT: usize = 64;
const LABEL_LIMIT: usize = 1 << 16;
const LABEL_LENGTH_LIMIT: usize = 1024;
const HIDDEN_LIMIT: usize = 1 << 16;

/// A task's head: dropout and a linear layer, with an optional hidden layer before it.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadSpec {
    /// Name of the task.
    pub name: String,
    /// Kind of the task.
    pub kind: TaskKind,
    /// Labels in the order of the logits; empty for regression.
    pub labels: Vec<String>,
    /// Pooling that makes the head's input of token vectors; not used by kind `tokens`.
    pub pooling: PoolingSpec,
    /// Vectors that the head reads: before or after the modules that follow the pooling.
    pub input: HeadInput,
    /// Hidden states that the head reads.
    pub layer: HeadLayer,
    /// Width of the hidden layer; `None` if there is none.
    pub hidden: Option<usize>,
    /// Activation after the hidden layer.
    pub activation: Activation,
    /// Further parts of the hidden layer.
    pub hidden_form: HiddenForm,
    /// Dropout before each linear layer, in training.
    pub dropout: f32,
    /// Logits are divided by the temperature before they become probabilities.
    pub temperature: f32,
    /// Probability from which each label of a multi-label task is given; empty if it is 0.5 for
    /// all.
    pub thresholds: Vec<f32>,
    /// Format of the labels in labelled data.
    pub label_format: LabelFormat,
    /// Scale of a regression whose targets the head has learned standardized.
    pub target: Option<TargetScale>,
    /// Range that the answers of a regression are clipped to; `None` leaves them as they are.
    pub range: Option<NumberRange>,
    /// The rule by which kind `tokens` splits a raw text into words; not used by other kinds.
    pub words: WordSplit,
    /// The form of the pairs of texts that the head was trained on; `None` for single texts, for
    /// heads of versions before 0.7 and for classifiers of transformers, which do not say it.
    pub pair: Option<PairForm>,
    /// True if the answer of a regression is the logistic function of its logit, between 0 and 1.
    pub sigmoid: bool,
}

/// The way in which a head reads a pair of texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairForm {
    /// Both texts are one sequence, as cross-encoders read them; pairs that are too long are cut by
    /// this rule.
    Joint(Truncation),
    /// Each text is a sequence of its own, with the vectors `u` and `v`, and the head reads
    /// `[u, v, |u − v|]` (Reimers and Gurevych, 2019, "Sentence-BERT", section 3).
    Separate {
        /// True if it reads `u · v`, element by element, behind them.
        product: bool,
    },
}

impl PairForm {
    /// Name in configurations and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Joint(_) => "joint",
            Self::Separate { .. } => "separate",
        }
    }

    /// Returns true if each text is a sequence of its own.
    pub fn is_separate(self) -> bool {
        matches!(self, Self::Separate { .. })
    }

    /// The text of a joint pair that loses tokens in training; `None` if each text is cut alone.
    pub fn truncation(self) -> Option<Truncation> {
        match self {
            Self::Joint(truncation) => Some(truncation),
            Self::Separate { .. } => None,
        }
    }

    /// Width of what the head reads, in widths of a vector.
    pub(crate) fn vectors(self) -> usize {
        match self {
            Self::Joint(_) => 1,
            Self::Separate { product } => pair_vectors(product),
        }
    }
}

/// Parts of a head's hidden layer beside its width and its activation. The default is that of heads
/// that Polyhead makes; heads of other programs have other parts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HiddenForm {
    /// True if the linear layer has a bias.
    pub bias: bool,
    /// Layer norm after the activation; `None` if there is none.
    pub norm: Option<HiddenNorm>,
    /// True if training applies dropout to the input of the layer. Dropout of its output always
    /// applies.
    pub input_dropout: bool,
}

/// A layer norm in a head.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HiddenNorm {
    /// Number that is added to the variance, above 0.
    pub eps: f32,
    /// True if the norm has a bias.
    pub bias: bool,
}

impl Default for HiddenForm {
    fn default() -> Self {
        Self { bias: true, norm: None, input_dropout: true }
    }
}

/// The input of a sentence head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeadInput {
    /// The pooled vector, before Dense and Normalize modules.
    #[default]
    Pooled,
    /// The final sentence vector.
    Embedding,
}

/// Hidden states that a head reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeadLayer {
    /// The encoder's output.
    #[default]
    Last,
    /// The hidden state with this number: 0 is state 0, `i` the output of layer `i`, counted from
    /// 1.
    At(usize),
    /// A learned mix of all hidden states, state 0 included: `Σ softmax(w)ᵢ hᵢ` (Peters et al.,
    /// 2018, equation 1, without the factor γ).
    Mix,
}

impl HeadSpec {
    /// A head with one linear layer, behind dropout of a tenth, on the mean of the last hidden states.
    pub fn new(name: &str, kind: TaskKind, labels: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            pooling: PoolingSpec { modes: vec![PoolingMode::Mean], include_prompt: true },
            input: HeadInput::Pooled,
            layer: HeadLayer::Last,
            hidden: None,
            activation: Activation::Gelu,
            hidden_form: HiddenForm::default(),
            dropout: 0.1,
            temperature: 1.0,
            thresholds: Vec::new(),
            label_format: LabelFormat::default(),
            target: None,
            range: None,
            words: WordSplit::default(),
            pair: None,
            sigmoid: false,
        }
    }

    /// Number of outputs per row: one per label, one less if the labels have an order, or one if the
    /// kind has no labels.
    pub fn outputs(&self) -> usize {
        self.kind.outputs(self.labels.len())
    }

    /// The number that a logit of a regression means: in the unit of the targets, clipped to the
    /// head's range. A cosine of 0 means the least number of the range, a cosine of 1 the largest;
    /// without a range, the number is the cosine.
    pub fn number(&self, logit: f32) -> f32 {
        let number = self.in_target_unit(logit);
        self.range.map_or(number, |range| range.clipped(number))
    }

    /// The number before it was clipped to the head's range; `None` if it is in the range.
    pub fn unclipped(&self, logit: f32) -> Option<f32> {
        let number = self.in_target_unit(logit);
        self.range.is_some_and(|range| !range.contains(number)).then_some(number)
    }

    fn in_target_unit(&self, logit: f32) -> f32 {
        if self.kind.compares() {
            return self.range.map_or(logit, |range| range.at(logit));
        }
        let logit = if self.sigmoid { logistic(logit) } else { logit };
        self.target.map_or(logit, |scale| scale.restored(logit))
    }

    /// The meaning of the labels of kind `tokens`.
    pub fn tag_scheme(&self) -> TagScheme {
        TagScheme::of_tags(self.labels.iter().map(String::as_str))
    }

    /// Dropout of the head's input, in training.
    pub(crate) fn input_dropout(&self) -> f32 {
        let applies = self.hidden.is_none() || self.hidden_form.input_dropout;
        if applies { self.dropout } else { 0.0 }
    }

    /// Returns true if every label has a logit of its own: labels with an order share theirs, and
    /// numbers have no label.
    pub fn has_label_logits(&self) -> bool {
        self.kind.has_labels() && self.outputs() == self.labels.len()
    }

    /// Returns true if the answer is a score of two texts, as that of a cross-encoder.
    pub fn scores_pairs(&self) -> bool {
        self.pair.is_some() && !self.kind.has_labels() && !self.kind.compares()
    }

    /// Returns true if the head answers pairs of texts and no single texts.
    pub fn reads_pairs(&self) -> bool {
        self.pair.is_some() || self.kind.compares()
    }

    /// Returns true if the head reads the vectors of two texts that are a sequence each.
    pub fn reads_two_vectors(&self) -> bool {
        self.pair_product().is_some() || self.kind.compares()
    }

    /// True if the head has weights for the product of two vectors, false if it has weights for two
    /// vectors alone; `None` if it has none for two vectors.
    pub(crate) fn pair_product(&self) -> Option<bool> {
        match self.pair? {
            PairForm::Separate { product } => Some(product),
            PairForm::Joint(_) => None,
        }
    }

    /// Returns true if the head reads the final sentence vector.
    pub fn reads_sentence_vector(&self) -> bool {
        self.input == HeadInput::Embedding && !self.kind.reads_words()
    }
}

/// The name by which requests ask for sentence vectors, where others name a task. Servers refuse
/// models with a task of this name, so none is trained; other commands take such a model.
pub const RESERVED_TASK_NAME: &str = "embedding";

/// Checks the name of a task, which becomes part of tensor names (`heads.NAME.weight`), of
/// freeze rules and of lists on the command line.
///
/// # Errors
/// [`ErrorKind::Option`] if the name is empty, longer than 64 characters, or has a
/// character that is no letter, digit, `_` or `-`.
pub fn check_task_name(name: &str) -> Result<(), Error> {
    let plain = name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    if plain && (1..=NAME_LIMIT).contains(&name.chars().count()) {
        return Ok(());
    }
    let message = format!(
        "task name: expected 1 to {NAME_LIMIT} letters, digits, `_` or `-`, found {:?}",
        excerpt(name)
    );
    Err(Error::new(ErrorKind::Option, message))
}

/// Checks the heads of a model as far as possible without the model. Readers and writers of
/// folders call it, so that every written folder can be read.
///
/// # Errors
/// The message begins with the task.
pub(crate) fn check_heads<'a>(heads: impl Iterator<Item = &'a HeadSpec>) -> Result<(), String> {
    let mut names = HashSet::new();
    for (index, head) in heads.enumerate() {
        if index == TASK_LIMIT {
            return Err(format!("expected at most {TASK_LIMIT} tasks, found more"));
        }
        check_task_name(&head.name).map_err(|error| format!("task {index}: {error}"))?;
        let in_task = |problem: String| format!("task `{}`: {problem}", head.name);
        if !names.insert(&head.name) {
            return Err(in_task("found twice".to_owned()));
        }
        check_labels(head).map_err(in_task)?;
        check_numbers(head).map_err(in_task)?;
        let separate = head.pair.is_some_and(PairForm::is_separate);
        if separate && (head.kind.reads_words() || head.kind.compares()) {
            let problem =
                format!("pair: expected none or joint for kind {}, found separate", head.kind);
            return Err(in_task(problem));
        }
    }
    Ok(())
}

/// Checks the number and the length of the labels, and that they differ.
fn check_labels(head: &HeadSpec) -> Result<(), String> {
    let count = head.labels.len();
    // Labels with an order have an output less than labels, and an answer needs one.
    let least = if head.kind.outputs(1) > 0 { 1 } else { 2 };
    let expected = if head.kind.has_labels() { least..=LABEL_LIMIT } else { 0..=0 };
    if !expected.contains(&count) {
        return Err(format!(
            "labels: expected {} to {}, found {count}",
            expected.start(),
            expected.end()
        ));
    }
    head.label_format.check(head.kind, count)?;
    let mut seen = HashSet::new();
    for label in &head.labels {
        if label.len() > LABEL_LENGTH_LIMIT {
            let found = label.len();
            return Err(format!(
                "label {:?}: expected at most {LABEL_LENGTH_LIMIT} bytes, found {found}",
                excerpt(label)
            ));
        }
        if !seen.insert(label) {
            return Err(format!("label {:?}: found twice", excerpt(label)));
        }
    }
    Ok(())
}

/// Checks the sizes, probabilities and thresholds of a head.
fn check_numbers(head: &HeadSpec) -> Result<(), String> {
    let modes = head.pooling.modes.len();
    if !(1..=PoolingMode::ALL.len()).contains(&modes) {
        return Err(format!("pooling: expected 1 to 6 modes, found {modes}"));
    }
    if let Some(hidden) = head.hidden.filter(|hidden| !(1..=HIDDEN_LIMIT).contains(hidden)) {
        return Err(format!("hidden: expected 1 to {HIDDEN_LIMIT}, found {hidden}"));
    }
    let form = head.hidden_form;
    if head.hidden.is_none() && form != HiddenForm::default() {
        return Err("hidden_form: expected none without a hidden layer, found one".to_owned());
    }
    if let Some(HiddenNorm { eps, .. }) =
        form.norm.filter(|norm| !(norm.eps > 0.0 && norm.eps < 1.0))
    {
        return Err(format!(
            "hidden_form: eps: expected a number above 0 and below 1, found {eps}"
        ));
    }
    if !(0.0..1.0).contains(&head.dropout) {
        return Err(format!("dropout: expected 0 or more and below 1, found {}", head.dropout));
    }
    if !(head.temperature.is_finite() && head.temperature > 0.0) {
        let found = head.temperature;
        return Err(format!("temperature: expected a number above 0, found {found}"));
    }
    if let Some(TargetScale { mean, deviation }) = head.target {
        if head.kind.has_labels() {
            return Err(format!("target: expected none for kind {}, found a scale", head.kind));
        }
        if !(mean.is_finite() && deviation.is_finite() && deviation > 0.0) {
            return Err(format!(
                "target: expected a finite mean and a deviation above 0, found {mean} and {deviation}"
            ));
        }
    }
    if head.sigmoid && (head.kind.has_labels() || head.target.is_some()) {
        let found = if head.target.is_some() { "a scale of targets" } else { head.kind.name() };
        return Err(format!("sigmoid: expected a regression without a scale, found {found}"));
    }
    if let Some(range) = head.range.filter(|_| head.kind.has_labels()) {
        return Err(format!("range: expected none for kind {}, found {range}", head.kind));
    }
    let thresholds = &head.thresholds;
    let wanted = if head.kind.has_sets() { head.labels.len() } else { 0 };
    if !thresholds.is_empty() && thresholds.len() != wanted {
        let found = thresholds.len();
        return Err(format!("thresholds: expected none or {wanted}, found {found}"));
    }
    match thresholds.iter().find(|threshold| !(0.0..=1.0).contains(*threshold)) {
        Some(found) => Err(format!("thresholds: expected 0 to 1, found {found}")),
        None => Ok(()),
    }
}
