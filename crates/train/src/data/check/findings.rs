//! Findings about the labels of one task: spellings, rare labels, targets without information.

use std::collections::BTreeMap;

use polyhead_files::listed;
use polyhead_model::LabelMatching;

use crate::data::labels::TaskLabels;
use crate::data::source::{DataTask, Dataset};
use crate::data::spelling::{differences, normal_form, revealed};
use crate::data::split::{Part, Split};
use crate::tasks::rules;

/// Labels with several spellings that are shown one by one.
const SPELLINGS_SHOWN: usize = 3;

/// Labels of one row that are named.
const SINGLETONS_SHOWN: usize = 5;

/// Ratio of the rows of the most frequent label to those of the rarest one that is worth a line.
const IMBALANCE: usize = 10;

/// Words that programs write for a missing value.
const MISSING: [&str; 14] = [
    "nan", "NaN", "NAN", "None", "NULL", "null", "Null", "N/A", "n/a", "NA", "#N/A", "<NA>", "NaT",
    "-",
];

/// Returns true if the label is a word that programs write for a missing value.
pub(super) fn is_missing_word(label: &str) -> bool {
    MISSING.contains(&label)
}

/// A label as it stands in a split, and the rows that hold it.
#[derive(Clone, Copy)]
struct Spelling<'a> {
    label: &'a str,
    rows: usize,
    part: Part,
}

/// Everything odd about the labels of a task.
///
/// - `metric`: the metric of the task that chooses the best model, if it does
pub(super) fn of(data: &Dataset, index: usize, metric: Option<&str>) -> Vec<String> {
    let task = &data.tasks[index];
    let source = &data.sources[task.source];
    let spellings = spellings(data, index);
    let mut findings = alike(task, &spellings);
    findings.extend(together(data, index));
    findings.extend(missing_words(&spellings));
    let labels = &source.train.labels[index];
    let (counts, _) = labels.counts(task.labels.len());
    let counted = Counted { task, labelled: labels.labelled(), counts: &counts };
    findings.extend(match labels {
        TaskLabels::Classes(_) => counted.imbalance(metric),
        TaskLabels::Sets(_) => counted.everywhere(),
        // Numbers that no field holds are no targets.
        TaskLabels::Numbers(_) if rules(task.kind).implied_label(1).is_some() => None,
        TaskLabels::Numbers(numbers) => constant(numbers),
        TaskLabels::Tags(_) => None,
    });
    if matches!(labels, TaskLabels::Classes(_) | TaskLabels::Sets(_)) {
        findings.extend(counted.singletons());
    }
    for part in Part::ALL {
        findings.extend(repeated(part, source.split(part), index));
    }
    findings
}

/// The labels of training, then the unknown ones of dev and test.
fn spellings(data: &Dataset, index: usize) -> Vec<Spelling<'_>> {
    let task = &data.tasks[index];
    let source = &data.sources[task.source];
    let (counts, _) = source.train.labels[index].counts(task.labels.len());
    let known = task.labels.iter().zip(counts);
    let mut all: Vec<Spelling> =
        known.map(|(label, rows)| Spelling { label, rows, part: Part::Train }).collect();
    for part in [Part::Dev, Part::Test] {
        let Some(issues) = source.split(part).issues.get(index) else { continue };
        let unknown = issues.unknown.iter();
        all.extend(unknown.map(|u| Spelling { label: &u.label, rows: u.rows, part }));
    }
    all
}

/// Labels that differ by what people do not see or mean.
fn alike(task: &DataTask, spellings: &[Spelling]) -> Vec<String> {
    let mut groups: BTreeMap<String, Vec<Spelling>> = BTreeMap::new();
    for spelling in spellings {
        groups.entry(normal_form(spelling.label)).or_default().push(*spelling);
    }
    // Without rows there is only the list of labels, which the data is compared with.
    let several = |group: &Vec<Spelling>| {
        group.iter().any(|spelling| spelling.label != group[0].label)
            && group.iter().any(|spelling| spelling.rows > 0)
    };
    let groups: Vec<_> = groups.into_values().filter(several).collect();
    let unasked =
        !task.kind.reads_words() && task.format.matching != Some(LabelMatching::Normalized);
    let describe = |group: &Vec<Spelling>| {
        let mut names: Vec<&str> = group.iter().map(|spelling| spelling.label).collect();
        names.dedup();
        let how = differences(&names);
        let shown: Vec<String> = group.iter().map(shown).collect();
        let advice = match unasked {
            false => "",
            true => "; `label_matching = \"normalized\"` makes them one label",
        };
        format!("{} differ by {how} and are counted apart{advice}", shown.join(", "))
    };
    few(groups.iter().map(describe).collect())
}

/// Spellings that are counted as one label, and the one that names it.
fn together(data: &Dataset, index: usize) -> Vec<String> {
    let task = &data.tasks[index];
    let source = &data.sources[task.source];
    let mut groups: BTreeMap<u32, Vec<Spelling>> = BTreeMap::new();
    for part in Part::ALL {
        let issues = source.split(part).issues.get(index);
        for found in issues.into_iter().flat_map(|issues| &issues.spellings) {
            let label = found.spelling.as_str();
            let spelling = Spelling { label, rows: found.rows, part };
            groups.entry(found.label).or_default().push(spelling);
        }
    }
    let describe = |(number, group): (u32, Vec<Spelling>)| {
        let name = task.labels[number as usize].as_str();
        if group.iter().all(|spelling| spelling.label == name) {
            return None;
        }
        let mut names: Vec<&str> = group.iter().map(|spelling| spelling.label).collect();
        names.push(name);
        names.sort_unstable();
        names.dedup();
        let shown: Vec<String> = group.iter().map(shown).collect();
        let (shown, how, name) = (shown.join(", "), differences(&names), revealed(name));
        Some(format!("{shown} differ by {how} and are counted together as {name}"))
    };
    few(groups.into_iter().filter_map(describe).collect())
}

/// The first findings about spellings, and how many more there are.
fn few(mut findings: Vec<String>) -> Vec<String> {
    if let Some(more @ 1..) = findings.len().checked_sub(SPELLINGS_SHOWN) {
        findings.truncate(SPELLINGS_SHOWN);
        findings.push(format!("{more} more labels have several spellings"));
    }
    findings
}

/// Labels that programs write where there is none.
fn missing_words(spellings: &[Spelling]) -> Option<String> {
    let words = spellings.iter().filter(|s| s.rows > 0 && is_missing_word(s.label));
    let words: Vec<String> = words.map(shown).collect();
    (!words.is_empty()).then(|| {
        format!(
            "words for a missing value are labels: {}; a row without a label has an empty cell, or \
             null",
            words.join(", ")
        )
    })
}

/// A label in quotes, how many rows have it, and in which split if that is not the training split.
fn shown(spelling: &Spelling) -> String {
    let Spelling { label, rows, part } = spelling;
    match part {
        Part::Train if *rows == 0 => revealed(label),
        Part::Train => format!("{} {rows}", revealed(label)),
        part => format!("{} {rows} ({part})", revealed(label)),
    }
}

/// The labels of the training split.
struct Counted<'a> {
    task: &'a DataTask,
    labelled: usize,
    /// `[labels]` rows with each.
    counts: &'a [usize],
}

impl Counted<'_> {
    /// Labels that do not matter to the metric that chooses the model.
    fn imbalance(&self, metric: Option<&str>) -> Option<String> {
        let metric =
            metric.filter(|name| ["accuracy", "f1_micro", "f1_weighted"].contains(name))?;
        let present = (0..self.counts.len()).filter(|&label| self.counts[label] > 0);
        let most = present.clone().rev().max_by_key(|&label| self.counts[label])?;
        let least = present.min_by_key(|&label| self.counts[label])?;
        let times = self.counts[most] / self.counts[least];
        let name = |label: usize| revealed(&self.task.labels[label]);
        (times >= IMBALANCE).then(|| {
            format!(
                "{} has {} rows, {times} times as many as {} ({}), and `{metric}` chooses the best \
                 model: `metric = \"f1_macro\"` counts every label alike",
                name(most),
                self.counts[most],
                name(least),
                self.counts[least]
            )
        })
    }

    /// Labels of sets that every row has: an answer that is always right, and tells nothing.
    fn everywhere(&self) -> Option<String> {
        let labels = self.task.labels.iter().zip(self.counts);
        let labels: Vec<&String> =
            labels.filter(|(_, rows)| **rows == self.labelled).map(|(label, _)| label).collect();
        (self.labelled > 1 && !labels.is_empty())
            .then(|| format!("every row has {}: nothing can be learned of it", listed(&labels)))
    }

    /// Labels that one row has: nothing is left to judge them by.
    fn singletons(&self) -> Option<String> {
        let labels = self.task.labels.iter().zip(self.counts);
        let once: Vec<String> =
            labels.filter(|(_, rows)| **rows == 1).map(|(label, _)| revealed(label)).collect();
        let (all, rows) = (self.task.labels.len(), self.labelled);
        if once.len() == all && all == rows && rows > 2 {
            let fields = listed(&self.task.fields);
            let text = format!("there are as many labels as rows ({rows}): is {fields} the label?");
            return Some(text);
        }
        if once.is_empty() || rows <= all {
            return None;
        }
        let verb = if once.len() == 1 { "stands" } else { "stand" };
        let shown = once.iter().take(SINGLETONS_SHOWN).cloned().collect::<Vec<_>>().join(", ");
        let more = match once.len().saturating_sub(SINGLETONS_SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Some(format!("{} of {all} labels {verb} in one row alone: {shown}{more}", once.len()))
    }
}

/// A target that is the same everywhere.
fn constant(numbers: &[Option<f32>]) -> Option<String> {
    let mut numbers = numbers.iter().flatten();
    let first = numbers.next()?;
    let mut others = numbers.peekable();
    (others.peek().is_some() && others.all(|number| number == first))
        .then(|| format!("every target is {first}: there is nothing to learn"))
}

/// Rows whose set has a label twice.
fn repeated(part: Part, split: &Split, index: usize) -> Option<String> {
    let issues = split.issues.get(index)?;
    let first = split.place(issues.first_repeated?);
    let what = match issues.repeated {
        1 => "1 row names a label twice".to_owned(),
        rows => format!("{rows} rows name a label twice"),
    };
    Some(format!("{what} in {part}; it counts once (the first: {first})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Dataset;
    use crate::data::tests::{Folder, task, tokenize};
    use crate::tasks::kinds::*;

    /// The findings about a task in the field `l`, whose data are these files.
    fn findings(kind: polyhead_model::TaskKind, files: &[(&str, &str)]) -> Vec<String> {
        let folder = Folder::new(files);
        let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
        let data = Dataset::load(&folder.files(&names), &[task("l", kind)], &tokenize).unwrap();
        let found = of(&data, 0, Some("accuracy"));
        found.iter().map(|finding| folder.strip(finding)).collect()
    }

    fn rows(labels: &[&str]) -> String {
        let rows = labels.iter().enumerate();
        rows.map(|(row, label)| format!("{{\"text\": \"{row}\", \"l\": {label}}}\n")).collect()
    }

    #[test]
    fn spellings_that_look_alike_are_shown_with_their_rows() {
        let labels = [
            r#""pos""#,
            r#""pos ""#,
            r#""Pos""#,
            r#""pos\u00a0""#,
            r#""pos\u200b""#,
            r#""neg""#,
            r#"" ""#,
            r#""n\u00e9g""#,
            r#""ne\u0301g""#,
            "1",
            "1.0",
            r#""neg""#,
        ];
        let found = findings(Classification, &[("train.jsonl", &rows(&labels))]);
        let advice = "`label_matching = \"normalized\"` makes them one label";
        assert_eq!(
            found[..3],
            [
                format!(
                    "`1` 1, `1.0` 1 differ by the form of a number and are counted apart; {advice}"
                ),
                format!(
                    "`ne\\u{{301}}g` 1, `nég` 1 differ by Unicode form and are counted apart; {advice}"
                ),
                format!(
                    "`Pos` 1, `pos` 3, `pos\\u{{200b}}` 1 differ by invisible characters and case \
                     and are counted apart; {advice}"
                ),
            ]
        );
        let train = rows(&["true", "false", "true", "false"]);
        let dev = rows(&[r#""True""#, "false", "false"]);
        let found = findings(Classification, &[("train.jsonl", &train), ("dev.jsonl", &dev)]);
        assert_eq!(
            found,
            [format!("`true` 2, `True` 1 (dev) differ by case and are counted apart; {advice}")]
        );
        let many: Vec<String> =
            (0..5).flat_map(|i| [format!("\"a{i}\""), format!("\"A{i}\"")]).collect();
        let many: Vec<&str> = many.iter().chain(&many).map(String::as_str).collect();
        let found = findings(Classification, &[("train.jsonl", &rows(&many))]);
        assert_eq!((found.len(), found[3].as_str()), (4, "2 more labels have several spellings"));
    }

    #[test]
    fn spellings_that_are_counted_together_are_shown_with_the_one_that_is_kept() {
        let findings = |kind: polyhead_model::TaskKind, files: &[(&str, &str)]| {
            let folder = Folder::new(files);
            let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
            let mut task = task("l", kind);
            task.format.matching = Some(LabelMatching::Normalized);
            let data = Dataset::load(&folder.files(&names), &[task], &tokenize).unwrap();
            together(&data, 0)
        };
        let train = "text,l\na,Pos\nb,pos\nc,Pos\nd,1\ne,1.0\nf,neg\n";
        let dev = "text,l\na,POS\nb,neg\n";
        assert_eq!(
            findings(Classification, &[("train.csv", train), ("dev.csv", dev)]),
            [
                "`1` 1, `1.0` 1 differ by the form of a number and are counted together as `1`",
                "`Pos` 2, `pos` 1, `POS` 1 (dev) differ by case and are counted together as `Pos`",
            ]
        );
        // The name of a label may stand in another split alone.
        assert_eq!(
            findings(
                Classification,
                &[("train.csv", "text,l\na,x\nb,y\n"), ("test.csv", "text,l\na,X\nb,y\n")]
            ),
            ["`x` 1, `X` 1 (test) differ by case and are counted together as `x`"]
        );
        let sets = "text,l\na,joy;Joy\nb,joy;love\nc,love\n";
        assert_eq!(
            findings(MultiLabel, &[("train.csv", sets)]),
            ["`Joy` 1, `joy` 2 differ by case and are counted together as `joy`"]
        );
        let truths = "text,l\na,true\nb,false\n";
        assert_eq!(
            findings(
                Classification,
                &[("train.csv", truths), ("dev.csv", "text,l\na,1\nb,false\n")]
            ),
            ["`true` 1, `1` 1 (dev) differ by spelling and are counted together as `true`"]
        );
        assert_eq!(findings(Classification, &[("train.csv", truths)]), [""; 0]);
        let many: String = (0..5).map(|i| format!("a,a{i}\nb,A{i}\n")).collect();
        let found = findings(Classification, &[("train.csv", &format!("text,l\n{many}"))]);
        assert_eq!((found.len(), &*found[3]), (4, "2 more labels have several spellings"));
    }

    #[test]
    fn what_cannot_be_learned_or_judged_is_said() {
        let imbalanced = format!("text,l\n{}b,no\nc,no\n", "a,yes\n".repeat(39));
        for (kind, train, expected) in [
            (
                Classification,
                imbalanced.as_str(),
                "`yes` has 39 rows, 19 times as many as `no` (2), and `accuracy` chooses the best model: `metric = \"f1_macro\"` counts every label alike",
            ),
            (
                Regression,
                "text,l\na,2.5\nb,2.5\nc,\n",
                "every target is 2.5: there is nothing to learn",
            ),
            (
                MultiLabel,
                "text,l\na,joy\nb,joy;love\nc,love;joy\n",
                "every row has `joy`: nothing can be learned of it",
            ),
            (
                Classification,
                "text,l\na,x\nb,y\nc,z\n",
                "there are as many labels as rows (3): is `l` the label?",
            ),
            (
                Classification,
                "text,l\na,x\nb,y\nc,x\n",
                "1 of 2 labels stands in one row alone: `y`",
            ),
            (
                MultiLabel,
                "text,l\na,x;y\nb,z;y\nc,x\nd,[]\n",
                "1 of 3 labels stands in one row alone: `z`",
            ),
            (
                Classification,
                "text,l\na,nan\nb,nan\nc,x\nd,x\ne,N/A\nf,N/A\n",
                "words for a missing value are labels: `N/A` 2, `nan` 2; a row without a label has an empty cell, or null",
            ),
            (
                MultiLabel,
                "text,l\na,\"['x', 'x']\"\nb,x;y\nc,y\n",
                "1 row names a label twice in train; it counts once (the first: train.csv: line 2)",
            ),
        ] {
            assert_eq!(findings(kind, &[("train.csv", train)]), [expected], "{train}");
        }
        for (kind, train) in [
            (Classification, "text,l\na,x\nb,y\nc,x\nd,y\n"),
            (Regression, "text,l\na,2.5\nb,3\n"),
            (Regression, "text,l\na,2.5\n"),
            (MultiLabel, "text,l\na,x;y\nb,x\nc,y\n"),
            (Tokens, "tokens,l\na b,B-x O\nb,B-x\nc,I-x\n"),
        ] {
            assert_eq!(findings(kind, &[("train.csv", train)]), [""; 0], "{train}");
        }
    }
}
