//! The summary of a model's tasks and of its origin.

use polyhead_files::{listed, quoted};
use polyhead_model::{
    EmptyCell, HeadDims, HeadInput, HeadLayer, HeadSpec, LabelMatching, ModelFolder, PairForm,
    Provenance, TextFields,
};
use polyhead_text::Truncation;
use serde::Serialize;
use serde_json::Value;

use crate::table::{Table, shorten};

/// A task, as `inspect --json` prints it.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct TaskSummary {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) labels: Vec<String>,
    /// What the head reads: pooled vector, sentence vector or words.
    pub(crate) reads: String,
    /// The hidden states that the head reads.
    pub(crate) layer: String,
    /// Width of the hidden layer.
    pub(crate) hidden: Option<usize>,
    /// Activation after the hidden layer, if there is one.
    pub(crate) activation: Option<&'static str>,
    pub(crate) dropout: f32,
    pub(crate) temperature: f32,
    /// Thresholds, one per label; only for multi-label tasks.
    pub(crate) thresholds: Vec<f32>,
    /// Scale with which a regression has learned its targets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<ScaleSummary>,
    /// Least and largest answer of a regression whose answers are clipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) range: Option<[f32; 2]>,
    /// `normalized`, if spellings of a label are one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) label_matching: Option<&'static str>,
    /// One field for each label, if they are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) fields: Vec<String>,
    /// Separator between the labels in a cell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) separator: Option<String>,
    /// Meaning of an empty cell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) empty: Option<&'static str>,
    /// The rule by which a raw text becomes words; only for tagging.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) words: Option<&'static str>,
    /// The form of the pairs of texts that it reads; absent for single texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pair: Option<&'static str>,
    /// The text of a pair that is cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) truncate: Option<&'static str>,
    /// True if the head reads the product of the vectors of two texts as well.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) pair_product: bool,
    /// True if the number is the logistic function of the logit.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) sigmoid: bool,
    pub(crate) tensors: usize,
    pub(crate) parameters: usize,
}

/// Mean and standard deviation of a regression's training targets.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct ScaleSummary {
    pub(crate) mean: f32,
    pub(crate) deviation: f32,
    #[serde(skip)]
    shown: String,
}

/// The origin of a trained model.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Origin {
    pub(crate) base_model: String,
    pub(crate) step: u64,
    pub(crate) epoch: u64,
    pub(crate) polyhead_version: String,
    pub(crate) data_sha256: String,
    pub(crate) config_sha256: String,
    /// Metrics by split and task.
    pub(crate) metrics: Value,
    /// How the weights are others than the run was to give.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
}

/// The tasks of a model, in order.
pub(crate) fn tasks(folder: &ModelFolder) -> Vec<TaskSummary> {
    let site = folder.head_dims();
    folder.heads.iter().map(|head| TaskSummary::new(&head.spec, &site)).collect()
}

impl TaskSummary {
    fn new(spec: &HeadSpec, site: &HeadDims) -> Self {
        let modes: Vec<&str> = spec.pooling.modes.iter().map(|mode| mode.name()).collect();
        let tensors = spec.tensors(site);
        let format = &spec.label_format;
        let matching = format.matching.filter(|matching| *matching != LabelMatching::default());
        Self {
            name: spec.name.clone(),
            kind: spec.kind.name(),
            labels: spec.labels.clone(),
            reads: match spec.input {
                _ if spec.kind.reads_words() => "first token of each word".to_owned(),
                HeadInput::Embedding => "sentence vector".to_owned(),
                HeadInput::Pooled => format!("{} pooling", modes.join(" + ")),
            },
            layer: match spec.layer {
                HeadLayer::Last => "last".to_owned(),
                HeadLayer::At(layer) => layer.to_string(),
                HeadLayer::Mix => "mix".to_owned(),
            },
            hidden: spec.hidden,
            activation: spec.hidden.map(|_| spec.activation.name()),
            dropout: spec.dropout,
            temperature: spec.temperature,
            thresholds: spec.thresholds.clone(),
            target: spec.target.map(|scale| ScaleSummary {
                mean: scale.mean,
                deviation: scale.deviation,
                shown: scale.to_string(),
            }),
            range: spec.range.map(|range| [range.least(), range.most()]),
            label_matching: matching.map(LabelMatching::name),
            fields: format.fields.clone(),
            separator: format.separator.clone(),
            empty: format.empty.map(EmptyCell::name),
            words: spec.kind.reads_words().then(|| spec.words.name()),
            pair: spec.pair.map(PairForm::name),
            truncate: spec.pair.and_then(PairForm::truncation).map(Truncation::name),
            pair_product: spec.pair == Some(PairForm::Separate { product: true }),
            sigmoid: spec.sigmoid,
            tensors: tensors.len(),
            parameters: tensors.iter().map(|(_, shape, _)| shape.iter().product::<usize>()).sum(),
        }
    }

    /// How the task reads data, where it has a rule of its own.
    fn reading(&self) -> Vec<String> {
        let fields = (!self.fields.is_empty()).then(|| {
            let fields = shorten(&self.fields.join(", "), 60);
            format!("0 or 1 for each label in the fields {fields}")
        });
        let separator = self.separator.as_ref();
        let matching = self.label_matching.map(|how| format!("label_matching {how}"));
        let words = self.words.map(|rule| format!("words of a raw text: {rule}"));
        let separator = separator.map(|text| format!("separator {}", quoted(text)));
        let empty = self.empty.map(|meaning| format!("an empty cell: {meaning}"));
        let pair = self.pair.map(|form| {
            let cut = self.truncate.map(|cut| format!(", cut {cut}")).unwrap_or_default();
            let product = if self.pair_product { ", with their product" } else { "" };
            format!("pairs of texts: {form}{cut}{product}")
        });
        [pair, matching, fields, separator, empty, words].into_iter().flatten().collect()
    }
}

impl From<&Provenance> for Origin {
    fn from(provenance: &Provenance) -> Self {
        Self {
            base_model: provenance.base_model.clone(),
            step: provenance.step,
            epoch: provenance.epoch,
            polyhead_version: provenance.polyhead_version.clone(),
            data_sha256: provenance.data_hash.clone(),
            config_sha256: provenance.config_hash.clone(),
            metrics: provenance.metrics.clone(),
            warnings: provenance.warnings.clone(),
        }
    }
}

impl Origin {
    /// The origin in one line: `builtin, trained for 63 steps (epoch 1) by Polyhead 0.1.0`.
    pub(crate) fn line(&self) -> String {
        let Self { base_model, step, epoch, polyhead_version, .. } = self;
        if *step == 0 {
            return format!("{base_model}, stored by Polyhead {polyhead_version}");
        }
        format!(
            "{base_model}, trained for {step} steps (epoch {epoch}) by Polyhead {polyhead_version}"
        )
    }
}

/// The rule by which the fields of a row make a text, if they are several.
pub(crate) fn text_rule(input: Option<&TextFields>) -> Option<String> {
    match input? {
        TextFields::One(_) => None,
        TextFields::Joined { fields, separator } => {
            Some(format!("the fields {}, joined by {separator:?}", listed(fields)))
        }
        TextFields::Template(template) => Some(format!("{:?}", template.to_string())),
        TextFields::Several(fields) => Some(format!("a pair, of the fields {}", listed(fields))),
    }
}

/// A table with one row per task that has a rule for data of its own; `None` if no task has one.
pub(crate) fn reading(tasks: &[TaskSummary]) -> Option<Table> {
    let mut table = Table::new("ll");
    table.row(["task", "in data"]);
    let rules = tasks.iter().map(|task| (task, task.reading()));
    let rules: Vec<_> = rules.filter(|(_, rules)| !rules.is_empty()).collect();
    rules.iter().for_each(|(task, rules)| table.row([task.name.clone(), rules.join("; ")]));
    (!rules.is_empty()).then_some(table)
}

/// A table with one row per task.
pub(crate) fn table(tasks: &[TaskSummary]) -> Table {
    let mut table = Table::new("lllrrrl");
    table.row(["task", "kind", "reads", "layer", "hidden", "temperature", "labels"]);
    for task in tasks {
        let labels = match task.thresholds.len() {
            0 => task.labels.join(", "),
            _ => {
                let with = task.labels.iter().zip(&task.thresholds);
                let with = with.map(|(label, threshold)| format!("{label} ≥ {threshold:.2}"));
                with.collect::<Vec<_>>().join(", ")
            }
        };
        let labels = match task.labels.len() {
            0 => {
                let range = task.range.map(|[least, most]| format!(" from {least} to {most}"));
                let scale = task.target.as_ref().map(|scale| format!(", {}", scale.shown));
                let range = range.or(task.sigmoid.then(|| " between 0 and 1".to_owned()));
                format!("a number{}{}", range.unwrap_or_default(), scale.unwrap_or_default())
            }
            count => format!("{count}: {}", shorten(&labels, 60)),
        };
        table.row([
            task.name.clone(),
            task.kind.to_owned(),
            task.reads.clone(),
            task.layer.clone(),
            match (task.hidden, task.activation) {
                (Some(width), Some(activation)) => format!("{width} {activation}"),
                _ => "–".to_owned(),
            },
            format!("{:.2}", task.temperature),
            labels,
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use polyhead_model::{LabelFormat, PoolingMode, PoolingSpec};

    use super::*;

    fn spec(kind: &str) -> HeadSpec {
        HeadSpec {
            pooling: PoolingSpec {
                modes: vec![PoolingMode::Cls, PoolingMode::Mean],
                include_prompt: true,
            },
            layer: HeadLayer::Mix,
            hidden: Some(5),
            temperature: 1.5,
            ..HeadSpec::new("topic", kind.parse().unwrap(), &["a", "b"])
        }
    }

    #[test]
    fn heads_are_counted_and_shown() {
        let site = HeadDims { hidden_size: 4, layers: 2, embedding: 4 };
        let class = TaskSummary::new(&spec("classification"), &site);
        // The mix of 3 states, then 8 × 5 + 5 and 5 × 2 + 2 parameters.
        assert_eq!((class.tensors, class.parameters), (5, 3 + 45 + 12));
        assert_eq!((&*class.reads, &*class.layer), ("cls + mean pooling", "mix"));
        assert_eq!((class.hidden, class.activation), (Some(5), Some("gelu")));

        let several = HeadSpec {
            thresholds: vec![0.25, 0.5],
            layer: HeadLayer::At(1),
            hidden: None,
            ..spec("multilabel")
        };
        let several = TaskSummary::new(&several, &site);
        assert_eq!(several.activation, None, "nothing is activated");
        let mut out = Vec::new();
        table(&[class, several]).write(&mut out, 0).unwrap();
        let out = String::from_utf8(out).unwrap();
        let rows: Vec<Vec<&str>> = out
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        let pooling = "cls + mean pooling";
        assert_eq!(
            rows[1],
            ["topic", "classification", pooling, "mix", "5 gelu", "1.50", "2: a, b"]
        );
        let labels = "2: a ≥ 0.25, b ≥ 0.50";
        assert_eq!(rows[2], ["topic", "multilabel", pooling, "1", "–", "1.50", labels]);
    }

    #[test]
    fn rules_for_data_are_shown_where_a_task_has_some() {
        let site = HeadDims { hidden_size: 4, layers: 2, embedding: 4 };
        let shown = |format: LabelFormat, kind: &str| {
            let task = HeadSpec { label_format: format, ..spec(kind) };
            let mut out = Vec::new();
            let table = reading(&[TaskSummary::new(&task, &site)])?;
            table.write(&mut out, 0).unwrap();
            String::from_utf8(out).unwrap().lines().nth(1).map(str::to_owned)
        };
        let format = LabelFormat {
            fields: vec!["is_a".into(), "is_b".into()],
            separator: Some(" / ".into()),
            empty: Some(EmptyCell::None),
            matching: Some(LabelMatching::Normalized),
        };
        assert_eq!(
            shown(format, "multilabel").unwrap(),
            "topic  label_matching normalized; 0 or 1 for each label in the fields is_a, is_b; \
             separator ` / `; an empty cell: none"
        );
        let tokens = shown(LabelFormat::default(), "tokens").unwrap();
        assert_eq!(tokens, "topic  words of a raw text: punctuation");
        for (form, expected) in [
            (PairForm::Joint(Truncation::First), "pairs of texts: joint, cut first"),
            (PairForm::Separate { product: false }, "pairs of texts: separate"),
            (PairForm::Separate { product: true }, "pairs of texts: separate, with their product"),
        ] {
            let task = HeadSpec { pair: Some(form), ..spec("classification") };
            let rules = TaskSummary::new(&task, &site).reading();
            assert_eq!(rules, [expected]);
        }
        let exact = LabelFormat { matching: Some(LabelMatching::Exact), ..LabelFormat::default() };
        assert_eq!(shown(exact, "classification"), None);

        let names = || ["title", "body"].map(str::to_owned).to_vec();
        let joined = TextFields::Joined { fields: names(), separator: "\n".into() };
        let template = TextFields::Template("{title}: {body}".parse().unwrap());
        for (input, expected) in [
            (Some(joined), Some("the fields `title`, `body`, joined by \"\\n\"")),
            (Some(template), Some("\"{title}: {body}\"")),
            (Some(TextFields::One("title".into())), None),
            (None, None),
        ] {
            assert_eq!(text_rule(input.as_ref()).as_deref(), expected);
        }
    }
}
