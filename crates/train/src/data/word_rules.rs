//! The rule that splits raw texts into words for each tagging task, and tags for words that no text
//! shows.
//!
//! A script without blanks does not show where its words end. Where the data have such words, as
//! `小王`, raw text is split into letters; so training tags letters too: `B-PER` of the word becomes
//! `B-PER` and `I-PER`, and its span is the same.

use std::ops::Range;

use polyhead_files::quoted;
use polyhead_text::{SplitEvidence, WordSplit, tag_inside};

use super::cell::RawLabel;
use super::raw::RawSplit;
use super::row::{Row, RowWords};
use super::task::TaskFields;
use crate::error::{Error, ErrorKind};

/// The rule of each task: the given one, the one that training words teach, or without such words
/// that of the head that the run starts from.
pub(super) fn word_splits(tasks: &[&TaskFields], train: &RawSplit) -> Vec<WordSplit> {
    let tags = |task: &&TaskFields| task.kind.reads_words();
    let must_learn = tasks.iter().any(|task| tags(task) && task.words.is_none());
    let mut evidence = SplitEvidence::default();
    let rows = || train.rows.iter().filter(|_| must_learn);
    let mut has_words = false;
    for (text, words) in rows().filter_map(|row| Some((row.input.text(), row.words.as_ref()?))) {
        has_words |= !words.in_text.is_empty();
        // Made of its words, a text shows no more than they do.
        evidence.add(&text, &words.in_text, *text != words.joined);
    }
    let learned = if must_learn { evidence.learn() } else { WordSplit::default() };
    let rule = |task: &&TaskFields| match (&task.words, &task.start_words) {
        _ if !tags(task) => WordSplit::default(),
        (Some(given), _) => given.clone(),
        (None, Some(start)) if !has_words => start.clone(),
        (None, _) => learned.clone(),
    };
    tasks.iter().map(rule).collect()
}

impl RawSplit {
    /// Replaces words by the units that raw text is split into, where a script does not show the
    /// words.
    ///
    /// - `splits`: one for each task
    ///
    /// # Errors
    /// `Config` if two tasks of the same rows need different units.
    pub(super) fn spread_words(
        &mut self,
        tasks: &[&TaskFields],
        splits: &[WordSplit],
    ) -> Result<(), Error> {
        let tagging: Vec<(&TaskFields, &WordSplit)> =
            tasks.iter().copied().zip(splits).filter(|(task, _)| task.kind.reads_words()).collect();
        let Some(((first, split), others)) = tagging.split_first() else { return Ok(()) };
        for row in &mut self.rows {
            let Some(words) = &row.words else { continue };
            let units = units_of(words, split);
            for (task, other) in others.iter().filter(|(_, other)| other != split) {
                if units_of(words, other) != units {
                    let message = format!(
                        "task {}: words: expected a rule that splits words of scripts without \
                         blanks as that of task {}, which has the same files; give one of them \
                         files of its own",
                        quoted(&task.name),
                        quoted(&first.name),
                    );
                    return Err(Error::new(ErrorKind::Config, message));
                }
            }
            if units.iter().any(|units| units.len() > 1) {
                spread(row, &units);
            }
        }
        Ok(())
    }
}

/// Units of each word of a row.
fn units_of(words: &RowWords, split: &WordSplit) -> Vec<Vec<Range<usize>>> {
    let characters: Vec<char> = words.joined.chars().collect();
    let word = |place: &Range<usize>| characters[place.clone()].iter().collect::<String>();
    words.in_joined.iter().map(|place| split.units(&word(place))).collect()
}

fn spread(row: &mut Row, units: &[Vec<Range<usize>>]) {
    let Some(words) = &mut row.words else { return };
    for places in [&mut words.in_joined, &mut words.in_text] {
        let of_word = |(place, units): (&Range<usize>, &Vec<Range<usize>>)| {
            let start = place.start;
            units.iter().map(move |unit| start + unit.start..start + unit.end).collect::<Vec<_>>()
        };
        *places = places.iter().zip(units).flat_map(of_word).collect();
    }
    for label in row.labels.iter_mut().flatten() {
        if let RawLabel::Tags(tags) = label {
            let of_word = |(tag, units): (&String, &Vec<Range<usize>>)| {
                let later = std::iter::repeat_n(tag_inside(tag), units.len() - 1);
                std::iter::once(tag.clone()).chain(later).collect::<Vec<_>>()
            };
            *tags = tags.iter().zip(units).flat_map(of_word).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tests::{Folder, task, tokenize};
    use crate::data::{DataReport, Dataset, TaskLabels};
    use crate::tasks::kinds::Tokens;

    fn load(train: &str, tasks: &[TaskFields]) -> Result<Dataset, String> {
        let folder = Folder::new(&[("train.jsonl", train)]);
        Dataset::load(&folder.files(&["train.jsonl"]), tasks, &tokenize)
            .map_err(|error| folder.strip(&error.to_string()))
    }

    /// Tags by name.
    fn tags(data: &Dataset) -> Vec<Vec<&str>> {
        let TaskLabels::Tags(rows) = &data.sources[0].train.labels[0] else { panic!("tags") };
        let name = |tag: &u32| data.tasks[0].labels[*tag as usize].as_str();
        rows.iter().flatten().map(|tags| tags.iter().map(name).collect()).collect()
    }

    #[test]
    fn tags_of_words_without_blanks_are_spread_over_their_letters() {
        let train = [
            r#"{"tokens": ["小王", "住", "在", "北京", "ab"], "t": ["B-p", "O", "O", "B-l", "O"]}"#,
            r#"{"text": "見小王。", "tokens": ["見", "小王", "。"], "t": ["O", "B-p", "O"]}"#,
        ]
        .join("\n");
        let data = load(&train, &[task("t", Tokens)]).unwrap();
        let words = &data.sources[0].train.words;
        assert_eq!(
            tags(&data),
            [&["B-p", "I-p", "O", "O", "B-l", "I-l", "O"][..], &["O", "B-p", "I-p", "O"]]
        );
        assert_eq!(words.places[words.row(1)], [0..1, 1..2, 2..3, 3..4]);
        assert_eq!(data.sources[0].train.raw_text(0).0, "小王住在北京 ab");
        let resplit = &DataReport::of(&data, &[]).tasks[0].splits[0].resplit;
        assert_eq!((resplit.words, resplit.of), (0, 11));

        // A rule that keeps letters together keeps the words, and says that raw text has others.
        let whole = TaskFields { words: Some(WordSplit::Whitespace), ..task("t", Tokens) };
        let data = load(&train, std::slice::from_ref(&whole)).unwrap();
        assert_eq!(tags(&data)[1], ["O", "B-p", "O"]);
        let report = DataReport::of(&data, &[]);
        assert_eq!(report.tasks[0].splits[0].resplit.words, 7);
        let message = "task `t`, train: 87.5 % of words are split otherwise on raw text: `小王` → \
                       `小王住在北京`";
        let warnings = report.warnings();
        assert!(warnings.iter().any(|line| line.starts_with(message)), "{warnings:?}");

        let both = [whole, TaskFields { fields: vec!["t".into()], ..task("u", Tokens) }];
        let error = load(&train, &both).unwrap_err();
        assert!(error.starts_with("task `u`: words: expected a rule that splits"), "{error}");
    }

    #[test]
    fn words_that_a_rule_cuts_are_reported() {
        let train = r#"{"tokens": ["AK-1", "ab"], "t": ["B-p", "O"]}"#;
        let cut = TaskFields { words: Some(WordSplit::Punctuation), ..task("t", Tokens) };
        let report = DataReport::of(&load(train, &[cut]).unwrap(), &[]);
        let warnings = report.warnings().join("\n");
        let expected = "50.0 % of words are split otherwise on raw text: `AK-1` → `AK`, `-`, `1`";
        assert!(warnings.contains(expected), "{warnings}");
        let report = DataReport::of(&load(train, &[task("t", Tokens)]).unwrap(), &[]);
        assert!(!report.warnings().join("\n").contains("otherwise"));
    }

    #[test]
    fn rules_come_from_the_key_the_words_or_the_head() {
        let words = r#"{"tokens": ["@a", "b-c", "."], "t": ["O", "B-p", "O"]}"#;
        let none = r#"{"text": "a b", "t": null}"#;
        let rule = |train: &str, given: Option<WordSplit>| {
            let mut fields = task("t", Tokens);
            fields.labels = Some(["O", "B-p", "I-p"].map(str::to_owned).to_vec());
            fields.may_lack_labels = true;
            fields.start_words = Some(WordSplit::Unicode);
            fields.words = given;
            load(train, &[fields]).unwrap().tasks[0].words.clone()
        };
        let WordSplit::Learned(learned) = rule(words, None) else { panic!("learned") };
        assert_eq!(learned.begin, "@");
        assert_eq!(rule(none, None), WordSplit::Unicode);
        assert_eq!(rule(words, Some(WordSplit::Characters)), WordSplit::Characters);
    }

    #[test]
    fn a_broken_tag_is_placed_at_its_word() {
        let train = r#"{"tokens": ["小王", "住", "在北", "京"], "t": ["B-p", "O", "I-l", "I-l"]}"#;
        let data = load(train, &[task("t", Tokens)]).unwrap();
        assert_eq!(tags(&data), [["B-p", "I-p", "O", "I-l", "I-l", "I-l"]]);
        let broken = &DataReport::of(&data, &[]).tasks[0].splits[0].broken;
        assert_eq!(broken.tags, 1);
        let place = &broken.examples[0].places[0];
        assert!(place.ends_with("train.jsonl: line 1, word 3"), "{place}");
    }

    #[test]
    fn a_small_split_has_the_scheme_of_the_others_or_of_the_labels() {
        let row = |tags: &str| {
            let tags: Vec<&str> = tags.split(' ').collect();
            serde_json::json!({ "tokens": vec!["a"; tags.len()], "t": tags }).to_string()
        };
        let both = |train: &str, dev: &str, fields: TaskFields| {
            let folder = Folder::new(&[("train.jsonl", &row(train)), ("dev.jsonl", &row(dev))]);
            let files = folder.files(&["train.jsonl", "dev.jsonl"]);
            let data = Dataset::load(&files, &[fields], &tokenize)
                .map_err(|error| folder.strip(&error.to_string()))?;
            let TaskLabels::Tags(rows) = &data.sources[0].dev.labels[0] else { panic!("tags") };
            let names = rows[0].iter().flatten().map(|tag| &*data.tasks[0].labels[*tag as usize]);
            Ok::<_, String>(names.collect::<Vec<_>>().join(" "))
        };
        let known = || TaskFields {
            fixed_labels: Some(["O", "B-PER", "I-PER"].map(str::to_owned).to_vec()),
            ..task("t", Tokens)
        };
        assert_eq!(both("O PER", "PER PER", task("t", Tokens)).unwrap(), "B-PER I-PER");
        assert_eq!(both("PER PER", "O PER", task("t", Tokens)).unwrap(), "O B-PER");
        assert_eq!(both("O B-PER I-PER", "PER PER", known()).unwrap(), "B-PER I-PER");
        for (train, dev, fields) in [
            ("O B-PER I-PER", "PER PER", task("t", Tokens)),
            ("O B-PER I-PER", "NOUN PER", known()),
            ("O B-PER I-PER", "NOUN VERB", known()),
        ] {
            let error = both(train, dev, fields).unwrap_err();
            assert!(error.starts_with("dev.jsonl: line 1: field `t`: word 1"), "{error}");
        }
    }

    #[test]
    fn tags_of_other_schemes_are_read_and_said() {
        let rows = [
            r#"{"tokens": ["a", "b", "c"], "t": ["B-p", "E-p", "S-q"]}"#,
            r#"{"tokens": ["a"], "t": ["O"]}"#,
        ];
        let data = load(&rows.join("\n"), &[task("t", Tokens)]).unwrap();
        assert_eq!(tags(&data), [&["B-p", "I-p", "B-q"][..], &["O"]]);
        let warnings = DataReport::of(&data, &[]).warnings().join("\n");
        let expected = "task `t`, train: tags are written as BIOES and read as BIO";
        assert!(warnings.contains(expected), "{warnings}");

        let wrong = [rows[0], r#"{"tokens": ["a", "New York"], "t": ["O", "X-foo"]}"#].join("\n");
        assert_eq!(
            load(&wrong, &[task("t", Tokens)]).unwrap_err(),
            "train.jsonl: line 2: field `t`: word 2 `New York`: expected `O`, `B-TYPE` or `I-TYPE` \
             (BIO, IOB1), or tags of BIOES or BILOU, found `X-foo`"
        );
    }
}
