//! A report in lines for people.

use polyhead_files::{listed, quoted};

use super::findings::is_missing_word;
use super::report::{DataReport, Example, SourceReport, SplitReport, TaskReport, TaskSplitReport};
use crate::data::spelling::{escaped, revealed};
use crate::data::split::Part;

/// Labels whose counts are shown one by one.
const LABELS_SHOWN: usize = 10;

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

    /// What a user should look at, a finding a line; none if all is well.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.files.clone();
        for task in &self.tasks {
            for split in &task.splits {
                unknown_warning(task, split, &mut warnings);
                broken_warning(task, split, &mut warnings);
                resplit_warning(task, split, &mut warnings);
                if let Some(scheme) = &split.tag_scheme {
                    let name = quoted(&task.name);
                    warnings.push(format!(
                        "task {name}, {}: tags are written as {scheme} and read as BIO",
                        split.part
                    ));
                }
                missing_warning(task, split, &mut warnings);
            }
            let name = quoted(&task.name);
            warnings.extend(task.findings.iter().map(|finding| format!("task {name}: {finding}")));
        }
        for overlap in &self.overlaps {
            let what = count(overlap.texts, "text stands", "texts stand");
            let (first, second) = (overlap.first, overlap.second);
            warnings.push(with(format!("{what} in {first} and {second}"), &overlap.examples));
        }
        for task in &self.tasks {
            if task.conflicts.texts > 0 {
                let what = count(task.conflicts.texts, "text has", "texts have");
                let name = quoted(&task.name);
                let finding = format!("task {name}: {what} different labels");
                warnings.push(with(finding, &task.conflicts.examples));
            }
        }
        for source in &self.sources {
            source_warnings(source, &mut warnings);
        }
        warnings
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
    let bars: Vec<String> =
        bars.map(|(end, texts)| format!("up to {end}: {}", percent(*texts, split.rows))).collect();
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

fn unknown_warning(task: &TaskReport, split: &TaskSplitReport, warnings: &mut Vec<String>) {
    let unknown = &split.unknown;
    if unknown.rows == 0 {
        return;
    }
    let first: Vec<String> = unknown
        .first
        .iter()
        .map(|label| format!("`{}` {} ({})", label.label, label.rows, label.first))
        .collect();
    let more = match unknown.labels - unknown.first.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    warnings.push(format!(
        "task {}, {}: {} of {} that training does not have, counted as wrong: {}{more}",
        quoted(&task.name),
        split.part,
        count(unknown.rows, "row", "rows"),
        count(unknown.labels, "label", "labels"),
        first.join(", ")
    ));
}

fn resplit_warning(task: &TaskReport, split: &TaskSplitReport, warnings: &mut Vec<String>) {
    let resplit = &split.resplit;
    if let Some(Example { text, places }) = resplit.examples.first() {
        warnings.push(format!(
            "task {}, {}: {} of words are split otherwise on raw text: {text} ({})",
            quoted(&task.name),
            split.part,
            percent(resplit.words, resplit.of),
            places.join(" and ")
        ));
    }
}

fn broken_warning(task: &TaskReport, split: &TaskSplitReport, warnings: &mut Vec<String>) {
    if split.broken.tags > 0 {
        let what = count(split.broken.tags, "tag goes on with a span", "tags go on with spans");
        let start = format!("task {}, {}: {what}", quoted(&task.name), split.part);
        let finding = format!("{start} not begun, read as beginnings");
        warnings.push(with(finding, &split.broken.examples));
    }
}

/// Labels that cannot be learned, or not be judged.
fn missing_warning(task: &TaskReport, split: &TaskSplitReport, warnings: &mut Vec<String>) {
    let name = quoted(&task.name);
    if split.labelled == 0 {
        warnings.push(format!("task {name}, {}: no row has a label", split.part));
        return;
    }
    // Of most types some span is one word long: no `I-` is no surprise.
    let counted = task.labels.iter().zip(&split.counts);
    let absent: Vec<&String> = counted
        .filter(|(label, rows)| **rows == 0 && !(task.kind == "tokens" && label.starts_with("I-")))
        .map(|(label, _)| label)
        .collect();
    if !absent.is_empty() && split.part == Part::Train {
        let labels = listed(&absent);
        warnings.push(format!("task {name}, train: no row with {labels}"));
    }
}

fn source_warnings(source: &SourceReport, warnings: &mut Vec<String>) {
    for SplitReport { part, repeats, .. } in &source.splits {
        if repeats.texts > 0 {
            let what = count(repeats.texts, "text stands", "texts stand");
            let rows = count(repeats.rows, "row", "rows");
            let finding = format!("{what} more than once in {part} ({rows} beyond the first)");
            warnings.push(with(finding, &repeats.examples));
        }
    }
    for split in &source.splits {
        let part = split.part;
        let mut add = |number: usize, one: &str, many: &str| {
            if number > 0 {
                warnings.push(format!("{part}: {}", count(number, one, many)));
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
            warnings.push(format!("{part}: {what} to the model's length ({share})"));
        }
    }
}

fn with(finding: String, examples: &[Example]) -> String {
    match examples.first() {
        None => finding,
        Some(Example { text, places }) => {
            format!("{finding}; the first: {} ({})", quoted(text), places.join(" and "))
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
    match 100.0 * part as f64 / whole as f64 {
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
