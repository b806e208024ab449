//! A report in lines for people.

use polyhead_files::{listed, quoted};

use super::findings::is_missing_word;
use super::report::{DataReport, Example, SourceReport, SplitReport, TaskReport, TaskSplitReport};
use crate::data::spelling::{escaped, revealed};
use crate::data::split::Part;

/// Labels whose counts are shown one by one.
const LABELS_SHOWN: usize = 10;

/// A problem or an oddity of the data, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct DataFinding<'a> {
    /// One line.
    pub text: String,
    /// Some of the texts, labels or tags that it is about; may be empty.
    pub examples: &'a [Example],
}

impl DataReport {
    /// The report, a finding a line; continued lines are indented. Short however large the data.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for source in &self.sources {
            lines.push(format!("data of {}", names(&source.tasks)));
            lines.extend(source.splits.iter().map(split_line));
            lines.extend(source.splits.iter().map(length_line));
        }
        for task in &self.tasks {
            let separator =
                task.separator.as_ref().map(|text| format!(", {} between labels", quoted(text)));
            let separator = separator.unwrap_or_default();
            lines.push(format!("task {} ({}{separator})", quoted(&task.name), task.kind));
            lines.extend(task.splits.iter().map(|split| task_line(task, split)));
        }
        let warnings = self.warnings();
        lines.push(match warnings.len() {
            0 => "nothing to warn of".to_owned(),
            _ => "to look at:".to_owned(),
        });
        lines.extend(warnings.into_iter().map(|warning| format!("  {warning}")));
        lines
    }

    /// The findings that a user should look at, a line each; none if all is well.
    pub fn warnings(&self) -> Vec<String> {
        self.findings().into_iter().map(DataFinding::into_line).collect()
    }

    /// The findings that a user should look at, with examples; none if all is well.
    pub fn findings(&self) -> Vec<DataFinding<'_>> {
        let mut findings = Vec::new();
        findings.extend(self.files.iter().cloned().map(DataFinding::alone));
        for task in &self.tasks {
            for split in &task.splits {
                findings.extend(unknown_labels(task, split).map(DataFinding::alone));
                findings.extend(broken_tags(task, split));
                findings.extend(resplit_words(task, split).map(DataFinding::alone));
                if let Some(scheme) = &split.tag_scheme {
                    let name = quoted(&task.name);
                    findings.push(DataFinding::alone(format!(
                        "task {name}, {}: tags are written as {scheme} and read as BIO",
                        split.part
                    )));
                }
                findings.extend(missing_labels(task, split).map(DataFinding::alone));
            }
            let name = quoted(&task.name);
            let of_task = task.findings.iter().map(|finding| format!("task {name}: {finding}"));
            findings.extend(of_task.map(DataFinding::alone));
        }
        for overlap in &self.overlaps {
            let what = count(overlap.texts, "text stands", "texts stand");
            let (first, second) = (overlap.first, overlap.second);
            let text = format!("{what} in {first} and {second}");
            findings.push(DataFinding { text, examples: &overlap.examples });
        }
        for task in &self.tasks {
            if task.conflicts.texts > 0 {
                let what = count(task.conflicts.texts, "text has", "texts have");
                let name = quoted(&task.name);
                let text = format!("task {name}: {what} different labels");
                findings.push(DataFinding { text, examples: &task.conflicts.examples });
            }
        }
        for source in &self.sources {
            source_findings(source, &mut findings);
        }
        findings
    }
}

impl DataFinding<'_> {
    /// A finding without examples.
    fn alone(text: String) -> Self {
        Self { text, examples: &[] }
    }

    fn into_line(self) -> String {
        match self.examples.first() {
            None => self.text,
            Some(Example { text, places }) => {
                format!("{}; the first: {} ({})", self.text, quoted(text), places.join(" and "))
            }
        }
    }
}

fn split_line(split: &SplitReport) -> String {
    let mut line = format!("  {}: {}", split.part, count(split.rows, "row", "rows"));
    let mut add = |number: usize, what: &str| {
        if number > 0 {
            line.push_str(&format!(", {number} {what}"));
        }
    };
    add(split.unlabelled, "without any label");
    add(split.empty, "with an empty text");
    if split.truncated > 0 {
        add(split.truncated, &format!("cut ({})", percent(split.truncated, split.rows)));
    }
    add(split.words, "words");
    line
}

fn length_line(split: &SplitReport) -> String {
    let lengths = &split.lengths;
    let bars = lengths.bars.iter().filter(|(_, texts)| *texts > 0);
    // A row may have several texts.
    let all = lengths.bars.iter().map(|(_, texts)| texts).sum();
    let bars: Vec<String> =
        bars.map(|(end, texts)| format!("up to {end}: {}", percent(*texts, all))).collect();
    format!(
        "  {}: tokens a text {} in the middle, {} at 95 %, {} at most ({})",
        split.part,
        lengths.median,
        lengths.percentile_95,
        lengths.longest,
        bars.join(", ")
    )
}

fn task_line(task: &TaskReport, split: &TaskSplitReport) -> String {
    let share = match split.labelled {
        0 => String::new(),
        labelled if labelled == split.rows => String::new(),
        labelled => format!(" ({})", percent(labelled, split.rows)),
    };
    let start =
        format!("  {}: {} of {} rows{share} have a label", split.part, split.labelled, split.rows);
    if let Some(numbers) = &split.numbers {
        return format!(
            "{start}: {} to {}, mean {:.4}, standard deviation {:.4}",
            numbers.least, numbers.greatest, numbers.mean, numbers.deviation
        );
    }
    if split.labelled == 0 || task.labels.is_empty() {
        return start;
    }
    let mut counts: Vec<(&String, usize)> =
        task.labels.iter().zip(split.counts.iter().copied()).collect();
    if counts.len() <= LABELS_SHOWN {
        return format!("{start}: {}", label_counts(&counts));
    }
    counts.sort_by_key(|&(_, rows)| std::cmp::Reverse(rows));
    let (most, rest) = counts.split_at(LABELS_SHOWN - 1);
    let Some((least, between)) = rest.split_last() else { return start };
    format!(
        "{start}: {}, {} more labels, {}",
        label_counts(most),
        between.len(),
        label_counts(&[*least])
    )
}

fn label_counts(counts: &[(&String, usize)]) -> String {
    let counts: Vec<String> =
        counts.iter().map(|(label, rows)| format!("{} {rows}", label_name(label))).collect();
    counts.join(", ")
}

/// The label as it is if it can be read in one way only, else in quotes.
fn label_name(label: &str) -> String {
    let plain = |c: char| c.is_alphabetic() || c.is_ascii_digit() || "_-./".contains(c);
    let is_word = label.chars().all(plain) && label.chars().any(char::is_alphabetic);
    match is_word && escaped(label) == label && !is_missing_word(label) {
        true => label.to_owned(),
        false => revealed(label),
    }
}

fn unknown_labels(task: &TaskReport, split: &TaskSplitReport) -> Option<String> {
    let unknown = &split.unknown;
    if unknown.rows == 0 {
        return None;
    }
    let first: Vec<String> = unknown
        .first
        .iter()
        .map(|label| format!("`{}` {} ({})", label.label, label.rows, label.first))
        .collect();
    let more = match unknown.labels.saturating_sub(unknown.first.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "task {}, {}: {} of {} that training does not have, counted as wrong: {}{more}",
        quoted(&task.name),
        split.part,
        count(unknown.rows, "row", "rows"),
        count(unknown.labels, "label", "labels"),
        first.join(", ")
    ))
}

fn resplit_words(task: &TaskReport, split: &TaskSplitReport) -> Option<String> {
    let resplit = &split.resplit;
    let Example { text, places } = resplit.examples.first()?;
    Some(format!(
        "task {}, {}: {} of words are split otherwise on raw text: {text} ({})",
        quoted(&task.name),
        split.part,
        percent(resplit.words, resplit.of),
        places.join(" and ")
    ))
}

fn broken_tags<'a>(task: &TaskReport, split: &'a TaskSplitReport) -> Option<DataFinding<'a>> {
    if split.broken.tags == 0 {
        return None;
    }
    let what = count(split.broken.tags, "tag goes on with a span", "tags go on with spans");
    let start = format!("task {}, {}: {what}", quoted(&task.name), split.part);
    let text = format!("{start} not begun, read as beginnings");
    Some(DataFinding { text, examples: &split.broken.examples })
}

/// Labels that cannot be learned, or not be judged.
fn missing_labels(task: &TaskReport, split: &TaskSplitReport) -> Option<String> {
    let name = quoted(&task.name);
    if split.labelled == 0 {
        return Some(format!("task {name}, {}: no row has a label", split.part));
    }
    // Of most types some span is one word long: no `I-` is no surprise.
    let counted = task.labels.iter().zip(&split.counts);
    let absent: Vec<&String> = counted
        .filter(|(label, rows)| **rows == 0 && !(task.kind == "tokens" && label.starts_with("I-")))
        .map(|(label, _)| label)
        .collect();
    let is_missing = !absent.is_empty() && split.part == Part::Train;
    is_missing.then(|| format!("task {name}, train: no row with {}", listed(&absent)))
}

fn source_findings<'a>(source: &'a SourceReport, findings: &mut Vec<DataFinding<'a>>) {
    for SplitReport { part, repeats, .. } in &source.splits {
        if repeats.texts > 0 {
            let what = count(repeats.texts, "text stands", "texts stand");
            let rows = count(repeats.rows, "row", "rows");
            let text = format!("{what} more than once in {part} ({rows} beyond the first)");
            findings.push(DataFinding { text, examples: &repeats.examples });
        }
    }
    for split in &source.splits {
        let part = split.part;
        let mut add = |number: usize, one: &str, many: &str| {
            if number > 0 {
                let text = format!("{part}: {}", count(number, one, many));
                findings.push(DataFinding::alone(text));
            }
        };
        add(split.empty, "text is empty", "texts are empty");
        add(split.unlabelled, "row has no label of any task", "rows have no label of any task");
        add(
            split.words_cut,
            "word was cut off and counts as `O`",
            "words were cut off and count as `O`",
        );
        add(
            split.words_dropped,
            "word has nothing that the tokenizer keeps and counts as `O`",
            "words have nothing that the tokenizer keeps and count as `O`",
        );
        if split.truncated > 0 {
            let what = count(split.truncated, "text was cut", "texts were cut");
            let share = percent(split.truncated, split.rows);
            let text = format!("{part}: {what} to the model's length ({share})");
            findings.push(DataFinding::alone(text));
        }
    }
}

fn count(number: usize, one: &str, many: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {many}"),
    }
}

fn names(tasks: &[String]) -> String {
    let plural = if tasks.len() == 1 { "task" } else { "tasks" };
    format!("{plural} {}", listed(tasks))
}

fn percent(part: usize, whole: usize) -> String {
    match 100.0 * part as f64 / whole.max(1) as f64 {
        share if part > 0 && share < 0.05 => "under 0.1 %".to_owned(),
        share => format!("{share:.1} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_could_be_misread_are_in_quotes() {
        for plain in ["x", "B-PER", "größe", "北京", "food/drinks", "a_1"] {
            assert_eq!(label_name(plain), plain);
        }
        for (label, expected) in [
            ("1", "`1`"),
            ("a b", "`a b`"),
            ("a, b 3", "`a, b 3`"),
            ("None", "`None`"),
            ("pos\u{200b}", "`pos\\u{200b}`"),
            ("ne\u{301}g", "`ne\\u{301}g`"),
            ("['a']", "`['a']`"),
            ("-", "`-`"),
        ] {
            assert_eq!(label_name(label), expected);
        }
    }
}
