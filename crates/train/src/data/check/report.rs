//! The findings of a check.

use serde::{Deserialize, Serialize};

use crate::data::split::Part;

/// All findings, in the order of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataReport {
    /// Hash of all files, that of [`Dataset::sha256`](crate::data::Dataset::sha256).
    pub sha256: String,
    /// One for each distinct set of files.
    pub sources: Vec<SourceReport>,
    /// One for each task.
    pub tasks: Vec<TaskReport>,
    /// Texts that stand in two splits, of whatever source.
    pub overlaps: Vec<Overlap>,
    /// Remarks about files, with their names: separators found by looking, cells with many lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
}

/// Rows that some tasks share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceReport {
    /// Names of its tasks.
    pub tasks: Vec<String>,
    /// Those that have rows.
    pub splits: Vec<SplitReport>,
}

/// Texts of one split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitReport {
    /// The split.
    pub part: Part,
    /// Files with the names that the configuration has.
    pub files: Vec<String>,
    /// Number of rows.
    pub rows: usize,
    /// Rows without a label of any task.
    pub unlabelled: usize,
    /// Texts of nothing but blanks.
    pub empty: usize,
    /// Texts cut to the model's length.
    pub truncated: usize,
    /// Words, where a task tags them.
    pub words: usize,
    /// Words that were cut off: they have no loss and count as `O`.
    pub words_cut: usize,
    /// Words of which the tokenizer keeps nothing; treated in the same way.
    pub words_dropped: usize,
    /// Tokens of the texts before they are cut, special tokens included.
    pub lengths: Lengths,
    /// Texts that stand more than once in the split.
    #[serde(default)]
    pub repeats: Repeats,
}

/// A histogram of lengths.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lengths {
    /// Longest length of each bar and its number of texts: bars end at powers
    /// of two, the last one at or after the longest text.
    pub bars: Vec<(usize, usize)>,
    /// Half of the texts are no longer.
    pub median: usize,
    /// 95 of 100 texts are no longer.
    pub percentile_95: usize,
    /// The longest text.
    pub longest: usize,
}

/// Labels of one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskReport {
    /// The task's name.
    pub name: String,
    /// Kind of the task.
    pub kind: String,
    /// The field with the label.
    pub field: String,
    /// Separator between the labels in a cell; `None` if no cell has several.
    #[serde(default)]
    pub separator: Option<String>,
    /// Index into the sources.
    pub source: usize,
    /// In the order of the logits.
    pub labels: Vec<String>,
    /// Those that have rows.
    pub splits: Vec<TaskSplitReport>,
    /// Equal texts with different labels, over all splits of the source.
    pub conflicts: Conflicts,
    /// Other oddities of the labels, a sentence each.
    #[serde(default)]
    pub findings: Vec<String>,
}

/// Labels of one task in one split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskSplitReport {
    /// The split.
    pub part: Part,
    /// Rows with and without a label.
    pub rows: usize,
    /// Rows with a label.
    pub labelled: usize,
    /// Rows with each label; for tagging, words.
    pub counts: Vec<usize>,
    /// Regression: how the numbers are spread, if there are some.
    pub numbers: Option<NumberSummary>,
    /// Labels that training does not have.
    pub unknown: UnknownLabels,
    /// Tagging: `I-` tags where no span of their type goes on.
    pub broken: BrokenTags,
    /// Tagging: words that the task's rule does not find in their raw texts.
    #[serde(default)]
    pub resplit: ResplitWords,
    /// Tagging: the scheme of the tags, if it was not BIO, as which they are read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag_scheme: Option<String>,
}

/// Spread of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NumberSummary {
    /// The least.
    pub least: f64,
    /// The greatest.
    pub greatest: f64,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation (that of a population).
    pub deviation: f64,
}

/// Labels of dev or test that the task does not have; they count as wrong.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UnknownLabels {
    /// Rows with at least one.
    pub rows: usize,
    /// Number of different ones.
    pub labels: usize,
    /// Some of the most frequent.
    pub first: Vec<LabelRows>,
}

/// A label and the rows that hold it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelRows {
    /// The label, cut if it is long.
    pub label: String,
    /// Number of rows.
    pub rows: usize,
    /// Place of the first.
    pub first: String,
}

/// Words of the data that are other words, or parts of them, when their raw text is split by the
/// task's rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResplitWords {
    /// Number of such words.
    pub words: usize,
    /// Number of all words of labelled rows.
    pub of: usize,
    /// The first: a word, and what it becomes.
    pub examples: Vec<Example>,
}

/// Tags that go on with a span which has not begun; they are read as beginnings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BrokenTags {
    /// Number of such tags.
    pub tags: usize,
    /// The first: which tag after which.
    pub examples: Vec<Example>,
}

/// A text, cut if it is long, and where it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// The finding.
    pub text: String,
    /// File and line, once or twice.
    pub places: Vec<String>,
}

/// Texts that stand more than once in one split (case and blanks do not count).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Repeats {
    /// Different texts.
    pub texts: usize,
    /// Rows beyond the first of each.
    pub rows: usize,
    /// The first.
    pub examples: Vec<Example>,
}

/// Equal texts with different labels (case and blanks do not count).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Conflicts {
    /// Different texts.
    pub texts: usize,
    /// The first.
    pub examples: Vec<Example>,
}

/// Texts that stand in two splits (case and blanks do not count).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overlap {
    /// One split.
    pub first: Part,
    /// A later one.
    pub second: Part,
    /// Different texts.
    pub texts: usize,
    /// The first.
    pub examples: Vec<Example>,
}

impl Lengths {
    pub(super) fn of(mut lengths: Vec<usize>) -> Self {
        lengths.sort_unstable();
        let Some(&longest) = lengths.last() else { return Self::default() };
        // The least length that so many of a hundred texts do not exceed.
        let percentile = |percent: usize| lengths[(lengths.len() * percent).div_ceil(100) - 1];
        let mut bars = Vec::new();
        let (mut end, mut before) = (8, 0);
        while before < lengths.len() {
            let up_to = lengths.partition_point(|&length| length <= end);
            bars.push((end, up_to - before));
            (end, before) = (end * 2, up_to);
        }
        Self { bars, median: percentile(50), percentile_95: percentile(95), longest }
    }
}

impl NumberSummary {
    pub(super) fn of<'a>(numbers: impl Iterator<Item = &'a f32> + Clone) -> Option<Self> {
        let numbers = numbers.map(|&number| f64::from(number));
        let count = numbers.clone().count();
        if count == 0 {
            return None;
        }
        let mean = numbers.clone().sum::<f64>() / count as f64;
        let squares = numbers.clone().map(|number| (number - mean).powi(2)).sum::<f64>();
        Some(Self {
            least: numbers.clone().fold(f64::INFINITY, f64::min),
            greatest: numbers.fold(f64::NEG_INFINITY, f64::max),
            mean,
            deviation: (squares / count as f64).sqrt(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_fall_into_bars_of_powers_of_two() {
        assert_eq!(Lengths::of(vec![]), Lengths::default());
        let lengths = Lengths::of(vec![40, 3, 8, 9, 16]);
        assert_eq!(lengths.bars, [(8, 2), (16, 2), (32, 0), (64, 1)]);
        assert_eq!((lengths.median, lengths.percentile_95, lengths.longest), (9, 40, 40));
        assert_eq!(Lengths::of((1..=100).collect()).percentile_95, 95);
    }

    #[test]
    fn numbers_are_summed_up() {
        assert_eq!(NumberSummary::of([].iter()), None);
        let summary = NumberSummary::of([1.0, 2.0, 6.0].iter()).unwrap();
        assert_eq!((summary.least, summary.greatest, summary.mean), (1.0, 6.0, 3.0));
        assert!((summary.deviation - (14.0_f64 / 3.0).sqrt()).abs() < 1e-12);
    }
}
