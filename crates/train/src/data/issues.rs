//! Oddities of labels that are no errors.

use polyhead_text::Tag;

/// Broken tags that are kept as examples.
const EXAMPLES: usize = 5;

/// Oddities of one task in one split.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelIssues {
    /// Labels of dev or test that the task does not have, by name.
    pub unknown: Vec<UnknownLabel>,
    /// Names of the unknown labels in the order of their numbers, which follow
    /// [`FIRST_UNKNOWN`](super::FIRST_UNKNOWN).
    pub others: Vec<String>,
    /// Rows with at least one unknown label.
    pub unknown_rows: usize,
    /// Spellings that are counted as one label, those of each label together; empty unless labels are
    /// matched in their normal form.
    pub spellings: Vec<LabelSpelling>,
    /// Rows whose set has a label twice.
    pub repeated: usize,
    /// The first row whose set has a label twice.
    pub first_repeated: Option<usize>,
    /// Tags `I-X` where no span of `X` goes on; they are read as beginnings.
    pub broken: usize,
    /// The first broken tags.
    pub first_broken: Vec<BrokenTag>,
    /// The scheme of the tags, if it was not BIO.
    pub tag_scheme: Option<&'static str>,
}

/// One spelling of a label that the task has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelSpelling {
    /// Number of the label.
    pub label: u32,
    /// The label as it stands in the data.
    pub spelling: String,
    /// Rows that hold it.
    pub rows: usize,
}

/// A label of dev or test that the task does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownLabel {
    /// The label as it stands in the data.
    pub label: String,
    /// Rows that hold it.
    pub rows: usize,
    /// The first of them, as a row of the split.
    pub first: usize,
}

/// A tag that goes on with a span which has not begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenTag {
    /// Row of the split.
    pub row: usize,
    /// Word of the row, from 0.
    pub word: usize,
    /// The tag before; None at the first word.
    pub before: Option<String>,
    /// The tag.
    pub tag: String,
}

impl LabelIssues {
    /// Counts the tags of a row that go on with a span which has not begun.
    ///
    /// - `tags`: tags of BIO, one for each word of the data
    pub(super) fn note_broken(&mut self, row: usize, tags: &[String]) {
        let mut before = None;
        for (word, text) in tags.iter().enumerate() {
            let tag = Tag::parse(text);
            if tag.is_some_and(|tag| !tag.may_follow(before)) {
                self.broken += 1;
                if self.first_broken.len() < EXAMPLES {
                    let before = word.checked_sub(1).map(|word| tags[word].clone());
                    self.first_broken.push(BrokenTag { row, word, before, tag: text.clone() });
                }
            }
            before = tag;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_tags_are_counted() {
        let mut issues = LabelIssues::default();
        for (row, tags) in ["I-a I-a O", "B-a I-b I-b I-a", "B I O I"].into_iter().enumerate() {
            issues.note_broken(row, &tags.split(' ').map(str::to_owned).collect::<Vec<_>>());
        }
        assert_eq!(issues.broken, 4);
        let found: Vec<_> = issues.first_broken.iter().map(|b| (b.row, b.word)).collect();
        assert_eq!(found, [(0, 0), (1, 1), (1, 3), (2, 3)]);
        assert_eq!(issues.first_broken[1].before.as_deref(), Some("B-a"));
    }
}
