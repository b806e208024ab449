//! Oddities of the data that are no errors.
//!
//! Everything that is an error was found when the rows were read. Here is what a user should know
//! before time is spent: how labels are spread, which texts stand in two splits, what was cut. A
//! report is bounded, however large the data: counts are whole, examples are few.

mod findings;
mod lines;
mod repeats;
mod report;

use std::ops::Range;

use polyhead_files::{quoted, shortened};

use super::fingerprint::DataFile;
use super::labels::TaskLabels;
use super::source::{DataTask, Dataset, Source};
use super::spelling::escaped;
use super::split::{Part, Split};

pub use lines::DataFinding;
pub use report::{
    BrokenTags, Conflicts, DataReport, Example, LabelRows, Lengths, NumberSummary, Overlap,
    Repeats, ResplitWords, SourceReport, SplitReport, TaskReport, TaskSplitReport, UnknownLabels,
};

/// Examples of each oddity.
const EXAMPLES: usize = 3;

/// Unknown labels that are named.
const UNKNOWN_NAMED: usize = 10;

impl DataReport {
    /// Looks through all splits of all tasks.
    ///
    /// - `metrics`: of each task the metric that chooses the best model, if it has a part in that;
    ///   empty where nothing is trained
    pub fn of(data: &Dataset, metrics: &[Option<&str>]) -> Self {
        let groups = repeats::Groups::of(data);
        let source = |(index, source): (usize, &Source)| SourceReport {
            tasks: source.tasks.iter().map(|&task| data.tasks[task].name.clone()).collect(),
            splits: filled(source)
                .map(|(part, split)| split_report(part, split, groups.repeats(index, part)))
                .collect(),
        };
        let task = |(index, task): (usize, &DataTask)| TaskReport {
            name: task.name.clone(),
            kind: task.kind.name().to_owned(),
            field: task.fields.join(", "),
            separator: task.format.separator.clone(),
            source: task.source,
            labels: task.labels.clone(),
            splits: filled(&data.sources[task.source])
                .map(|(part, split)| task_split_report(part, split, index, task))
                .collect(),
            conflicts: groups.conflicts(index),
            findings: findings::of(data, index, metrics.get(index).copied().flatten()),
        };
        Self {
            sha256: data.sha256(),
            sources: data.sources.iter().enumerate().map(source).collect(),
            tasks: data.tasks.iter().enumerate().map(task).collect(),
            overlaps: groups.overlaps(),
            files: data.files.iter().flat_map(notes).collect(),
        }
    }
}

/// The notes of a file with its name.
fn notes(file: &DataFile) -> impl Iterator<Item = String> {
    file.notes.iter().map(|note| format!("{}: {note}", file.path.display()))
}

/// Splits that have files.
fn filled(source: &Source) -> impl Iterator<Item = (Part, &Split)> {
    Part::ALL.into_iter().map(|part| (part, source.split(part))).filter(|(_, s)| !s.is_empty())
}

fn split_report(part: Part, split: &Split, repeats: Repeats) -> SplitReport {
    let rows = 0..split.len();
    let unlabelled = |&row: &usize| !split.labels.iter().any(|labels| labels.is_labelled(row));
    // Without a token at the end of a row that was cut: cut off. Elsewhere: dropped.
    let cut_in = |row: usize| {
        let tokens = &split.words.first_tokens[split.words.row(row)];
        let inside = &split.words.inside[split.words.row(row)];
        let cut = |(token, inside): &(&Option<u32>, &bool)| token.is_none() && !**inside;
        tokens.iter().zip(inside).rev().take_while(cut).count()
    };
    let cut_rows =
        rows.clone().filter(|&row| split.tokens.texts[split.sequences(row).start].truncated());
    let words_cut: usize = cut_rows.map(cut_in).sum();
    let inside = split.words.inside.iter().filter(|inside| **inside).count();
    let without_token =
        split.words.first_tokens.iter().filter(|token| token.is_none()).count() - inside;
    let lengths: Vec<usize> = split.tokens.texts.iter().map(|text| text.total).collect();
    SplitReport {
        part,
        files: split.files.iter().map(|file| file.display().to_string()).collect(),
        rows: split.len(),
        unlabelled: rows.filter(unlabelled).count(),
        empty: split.inputs.iter().filter(|input| input.is_blank()).count(),
        truncated: split.truncated(),
        words: split.words.first_tokens.len(),
        words_cut,
        words_dropped: without_token - words_cut,
        lengths: Lengths::of(lengths),
        repeats,
    }
}

fn task_split_report(part: Part, split: &Split, index: usize, task: &DataTask) -> TaskSplitReport {
    let labels = &split.labels[index];
    let issues = &split.issues[index];
    let (counts, _) = labels.counts(task.labels.len());
    let labelled = labels.labelled();
    let mut unknown: Vec<_> = issues.unknown.iter().collect();
    unknown.sort_by_key(|unknown| std::cmp::Reverse(unknown.rows));
    let named = unknown.iter().take(UNKNOWN_NAMED).map(|unknown| LabelRows {
        label: escaped(&unknown.label),
        rows: unknown.rows,
        first: split.place(unknown.first),
    });
    let broken = issues.first_broken.iter().take(EXAMPLES).map(|broken| Example {
        text: format!(
            "{} after {}",
            shortened(&broken.tag),
            broken.before.as_deref().map_or("nothing".to_owned(), shortened)
        ),
        places: vec![format!("{}, word {}", split.place(broken.row), broken.word + 1)],
    });
    TaskSplitReport {
        part,
        rows: split.len(),
        labelled,
        counts,
        numbers: match labels {
            TaskLabels::Numbers(numbers) => NumberSummary::of(numbers.iter().flatten()),
            _ => None,
        },
        unknown: UnknownLabels {
            rows: issues.unknown_rows,
            labels: issues.unknown.len(),
            first: named.collect(),
        },
        broken: BrokenTags { tags: issues.broken, examples: broken.collect() },
        resplit: resplit_words(split, index, task),
        tag_scheme: issues.tag_scheme.map(str::to_owned),
    }
}

/// Compares the words of labelled rows with those that the task finds in the raw texts.
fn resplit_words(split: &Split, index: usize, task: &DataTask) -> ResplitWords {
    let mut found = ResplitWords::default();
    if !task.kind.reads_words() {
        return found;
    }
    for row in (0..split.len()).filter(|row| split.labels[index].is_labelled(*row)) {
        let (text, places) = split.raw_text(row);
        let words = task.words.split(&text);
        let mut at = 0;
        for place in places.iter().filter(|place| !place.is_empty()) {
            found.of += 1;
            at += words[at..].iter().take_while(|word| word.end <= place.start).count();
            if words.get(at) == Some(place) {
                continue;
            }
            found.words += 1;
            if found.examples.len() < EXAMPLES {
                let characters: Vec<char> = text.chars().collect();
                let shown = |place: &Range<usize>| {
                    shortened(&characters[place.clone()].iter().collect::<String>())
                };
                let pieces = words[at..].iter().take_while(|word| word.start < place.end);
                let pieces: Vec<String> = pieces.map(|piece| quoted(&shown(piece))).collect();
                found.examples.push(Example {
                    text: format!("{} → {}", quoted(&shown(place)), pieces.join(", ")),
                    places: vec![split.place(row)],
                });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::tasks::kinds::*;
    use std::time::Instant;

    use super::*;
    use crate::data::Dataset;
    use crate::data::tests::{Folder, task, tokenize};

    /// A set with one of everything.
    fn odd() -> (Folder, DataReport) {
        let train = [
            r#"{"text": "a b", "c": "x"}"#,
            r#"{"text": " A  B", "c": "y"}"#,
            r#"{"text": "c", "c": "x"}"#,
            r#"{"text": "c", "c": "x", "n": 1}"#,
            r#"{"text": "C", "c": "x"}"#,
            r#"{"text": " ", "c": "y"}"#,
            r#"{"text": "", "n": 3}"#,
            r#"{"text": "ab"}"#,
            r#"{"tokens": ["ab", "ab", "bc", "ca"], "t": ["I-p", "O", "B-q", "I-p"]}"#,
            r#"{"tokens": ["a", "\u0001"], "t": ["B-p", "I-p"]}"#,
        ];
        let dev = [
            r#"{"text": "A b", "c": "z"}"#,
            r#"{"text": "b", "c": "w"}"#,
            r#"{"text": "B", "c": "z"}"#,
            r#"{"text": "dd", "c": "x"}"#,
        ];
        let folder = Folder::new(&[
            ("train.jsonl", &train.join("\n")),
            ("dev.jsonl", &dev.join("\n")),
            ("test.csv", "text,n\nB,5\ncc,\n"),
        ]);
        let tasks = [task("c", Classification), task("n", Regression), task("t", Tokens)];
        let files = folder.files(&["train.jsonl", "dev.jsonl", "test.csv"]);
        let report = DataReport::of(&Dataset::load(&files, &tasks, &tokenize).unwrap(), &[]);
        (folder, report)
    }

    #[test]
    fn every_oddity_is_counted() {
        let (_folder, report) = odd();
        let [train, dev, test] = &report.sources[0].splits[..] else { panic!("three splits") };
        assert_eq!((train.rows, dev.rows, test.rows), (10, 4, 2));
        assert_eq!((train.unlabelled, train.empty, train.truncated), (1, 2, 1));
        assert_eq!((train.words, train.words_cut, train.words_dropped), (6, 1, 1));
        assert_eq!(train.lengths.longest, 10);
        assert_eq!((train.repeats.texts, train.repeats.rows), (2, 3));

        let class = &report.tasks[0];
        let labelled: Vec<_> = class.splits.iter().map(|split| split.labelled).collect();
        assert_eq!((labelled, &class.splits[0].counts[..]), (vec![6, 4, 0], &[4, 2][..]));
        let unknown = &class.splits[1].unknown;
        assert_eq!((unknown.rows, unknown.labels), (3, 2));
        let first: Vec<_> = unknown.first.iter().map(|l| (l.label.as_str(), l.rows)).collect();
        assert_eq!(first, [("z", 2), ("w", 1)]);
        // `a b` is x, y and unknown; `b` has two unknown labels.
        assert_eq!(class.conflicts.texts, 2);

        let numbers = report.tasks[1].splits[0].numbers.unwrap();
        assert_eq!((numbers.least, numbers.greatest, numbers.mean), (1.0, 3.0, 2.0));
        let tags = &report.tasks[2].splits[0];
        assert_eq!(tags.counts, [1, 1, 3, 1, 0]);
        assert_eq!(tags.broken.tags, 2);
        assert_eq!(tags.broken.examples[1].text, "I-p after B-q");

        let overlaps: Vec<_> =
            report.overlaps.iter().map(|o| (o.first, o.second, o.texts)).collect();
        assert_eq!(overlaps, [(Part::Train, Part::Dev, 1), (Part::Dev, Part::Test, 1)]);
    }

    #[test]
    fn lines_say_it_to_people() {
        let (folder, report) = odd();
        let lines = report.lines();
        let text = folder.strip(&lines.join("\n"));
        for expected in [
            "data of tasks `c`, `n`, `t`",
            "  train: 10 rows, 1 without any label, 2 with an empty text, 1 cut (10.0 %), 6 words",
            "  train: 6 of 10 rows (60.0 %) have a label: x 4, y 2",
            "  train: 2 of 10 rows (20.0 %) have a label: 1 to 3, mean 2.0000, standard deviation 1.0000",
            "  task `c`, dev: 3 rows of 2 labels that training does not have, counted as wrong: \
             `z` 2 (dev.jsonl: line 1), `w` 1 (dev.jsonl: line 2)",
            "  task `t`, train: 2 tags go on with spans not begun, read as beginnings; the first: \
             `I-p after nothing` (train.jsonl: line 9, word 1)",
            "  1 text stands in train and dev; the first: `a b` (train.jsonl: line 1 and \
             dev.jsonl: line 1)",
            "  task `c`: 2 texts have different labels; the first: `a b` (train.jsonl: line 1 and \
             train.jsonl: line 2)",
            "  2 texts stand more than once in train (3 rows beyond the first); the first: `a b` \
             (train.jsonl: line 1 and train.jsonl: line 2)",
            "  train: 1 word was cut off and counts as `O`",
            "  task `c`, test: no row has a label",
        ] {
            assert!(text.lines().any(|line| line == expected), "{expected}\nnot in\n{text}");
        }
        assert!(lines.iter().all(|line| !line.contains('\n')));
    }

    #[test]
    fn nothing_odd_is_nothing_to_warn_of() {
        let folder = Folder::new(&[("train.csv", "text,c\na,x\nb,y\nc,x\nd,y\n")]);
        let tasks = [task("c", Classification)];
        let data = Dataset::load(&folder.files(&["train.csv"]), &tasks, &tokenize).unwrap();
        let report = DataReport::of(&data, &[Some("accuracy")]);
        assert_eq!(report.warnings(), [""; 0]);
        assert_eq!(report.lines().last().unwrap(), "nothing to warn of");
    }

    #[test]
    fn a_report_survives_being_stored() {
        let (_folder, report) = odd();
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<DataReport>(&json).unwrap(), report);
    }

    #[test]
    fn a_large_set_is_quick_and_its_report_short() {
        let mut csv = "text,c\n".to_owned();
        for row in 0..50_000 {
            csv.push_str(&format!("a b c {},{}\n", row / 3, row % 2000));
        }
        let folder = Folder::new(&[("train.csv", &csv), ("dev.csv", &csv.replace(",1", ",u1"))]);
        let tasks = [task("c", Classification)];
        let data =
            Dataset::load(&folder.files(&["train.csv", "dev.csv"]), &tasks, &tokenize).unwrap();
        let start = Instant::now();
        let report = DataReport::of(&data, &[Some("accuracy")]);
        // It takes a fraction of a second; the limit is for busy machines.
        assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
        assert_eq!((report.overlaps[0].texts, report.tasks[0].conflicts.texts), (16_667, 16_667));
        let longest = report.lines().iter().map(String::len).max().unwrap();
        assert!(report.lines().len() < 20 && longest < 2000, "{} {longest}", report.lines().len());
    }
}
