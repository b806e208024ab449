//! A task's labels: found or given, and the numbers that they have.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use polyhead_files::{listed, nearest, quoted};
use polyhead_model::{LabelMatching, TaskKind};

use super::cell::RawLabel;
use super::issues::{LabelIssues, LabelSpelling, UnknownLabel};
use super::label_sets::bit;
use super::labels::{FIRST_UNKNOWN, TaskLabels};
use super::spelling::{differences, matching_key, normal_form, revealed};
use super::split::Part;
use super::task::TaskFields;
use crate::error::{Error, ErrorKind};
use crate::tasks::{kinds_with_key, rules};

/// Lists of labels up to this length are shown whole in messages.
const SHORT_LIST: usize = 12;

/// The tag of words outside of spans, which tells nothing of the labels.
const OUTSIDE: &str = "O";

/// A task's labels in order.
#[derive(Debug)]
pub(super) struct LabelList {
    task: String,
    kind: TaskKind,
    names: Vec<String>,
    matching: LabelMatching,
    /// By the text that labels are compared by.
    numbers: HashMap<String, u32>,
}

impl LabelList {
    /// Labels that are given, or those in the training data, sorted; of tags
    /// `O` first, then `B-` and `I-` of each type. Of the spellings of one label, the most frequent
    /// one is its name.
    ///
    /// # Errors
    /// If given labels contradict each other or are no tags, if there are none,
    /// or only one where an answer must be chosen.
    pub(super) fn new<'a>(
        task: &TaskFields,
        train: impl Iterator<Item = &'a RawLabel>,
    ) -> Result<Self, Error> {
        let config = |message: String| {
            Error::new(ErrorKind::Config, format!("task `{}`: {message}", task.name))
        };
        let matching = task.format.matching.unwrap_or_default();
        let names = match (&task.fixed_labels, &task.labels) {
            (Some(fixed), Some(given)) if fixed != given => {
                return Err(config(format!(
                    "labels: expected those of the model it starts from ({}), found {}",
                    listed(fixed),
                    listed(given)
                )));
            }
            (Some(given), _) | (None, Some(given)) => {
                check_given(task.kind, given, matching).map_err(config)?;
                // Those of a head may be tags of another program.
                if task.fixed_labels.is_none() {
                    rules(task.kind).check_labels(given).map_err(config)?;
                }
                given.clone()
            }
            (None, None) => {
                let names = found(task.kind, train, matching);
                rules(task.kind).check_found(&names).map_err(config)?;
                names
            }
        };
        check_enough(task, &names)?;
        let mut numbers = HashMap::new();
        for (name, number) in names.iter().zip(0..) {
            // Labels of a model of an earlier version may differ by blanks at the ends alone.
            numbers.entry(matching_key(name, matching).into_owned()).or_insert(number);
        }
        Ok(Self { task: task.name.clone(), kind: task.kind, names, matching, numbers })
    }

    pub(super) fn into_names(self) -> Vec<String> {
        self.names
    }

    /// Labels of all rows of a split as numbers.
    ///
    /// - `rows`: the task's label of each row
    /// - `place_of`: what messages call a row
    ///
    /// # Errors
    /// For the first label of training data that the task does not have; for the first label of
    /// other data if the task has none of its labels.
    pub(super) fn number(
        &self,
        part: Part,
        rows: &[Option<&RawLabel>],
        place_of: impl Fn(usize) -> String,
    ) -> Result<(TaskLabels, LabelIssues), Error> {
        let mut numbering = Numbering { list: self, issues: Issues::default(), known: false };
        let mut labels = rules(self.kind).unlabelled(rows.len());
        for (row, label) in rows.iter().enumerate() {
            let Some(label) = label else { continue };
            numbering.number(row, label, &mut labels);
            if let (Part::Train, Some((label, _))) =
                (part, numbering.issues.unknown.first_key_value())
            {
                let unknown = self.explain_unknown(label);
                let message = format!("{}: {unknown}", place_of(row));
                return Err(Error::new(ErrorKind::Data, message));
            }
        }
        let first = numbering.issues.unknown.iter().min_by_key(|(_, tally)| tally.number);
        if let (false, Some((label, tally))) = (numbering.known, first) {
            let unknown = self.explain_unknown(label);
            let message = format!(
                "{}: {unknown}; {part} has no label that training has",
                place_of(tally.first)
            );
            return Err(Error::new(ErrorKind::Data, message));
        }
        Ok((labels, numbering.issues.into_issues()))
    }

    /// The number of a label; `None` if the task does not have it.
    fn number_of(&self, label: &str) -> Option<u32> {
        let known = self.numbers.get(&*matching_key(label, self.matching)).copied();
        match self.matching {
            LabelMatching::Exact => known,
            LabelMatching::Normalized => known.or_else(|| self.same_truth(label)),
        }
    }

    /// The number of the same truth value, if the task's two labels are truth values: of `true`
    /// for `1` and of `0` for `false`, as programs write one for the other.
    fn same_truth(&self, label: &str) -> Option<u32> {
        let truth = bit(label)?;
        let [first, second] = &self.names[..] else { return None };
        match (bit(first)?, bit(second)?) {
            (first, second) if first == second => None,
            (first, _) => Some(u32::from(first != truth)),
        }
    }

    fn explain_unknown(&self, label: &str) -> String {
        let start = format!("task `{}`: unknown label {}", self.task, revealed(label));
        let alike = self.names.iter().position(|name| normal_form(name) == normal_form(label));
        let alike = alike.or_else(|| self.same_truth(label).map(|number| number as usize));
        if let Some(name) = alike.map(|number| &self.names[number])
            && kinds_with_key("label_matching").contains(&self.kind)
        {
            return format!(
                "{start}; it differs from {} by {}: `label_matching = \"normalized\"` in \
                 `[[task]]` makes them one (`--label-matching normalized` of `eval`)",
                revealed(name),
                differences(&[name, label])
            );
        }
        let joined = |name: &&String| label.len() > name.len() && stands_alone(name, label);
        if self.kind.has_sets()
            && let Some(name) = self.names.iter().find(joined)
        {
            return format!(
                "{start}; the label {} is in it: `separator` in `[[task]]` names what stands \
                 between labels (`--separator` of `eval`)",
                quoted(name)
            );
        }
        if self.names.len() <= SHORT_LIST {
            return format!("{start}; known are {}", listed(&self.names));
        }
        let nearest = nearest(label, self.names.iter().map(String::as_str));
        let (nearest, _) = nearest.expect("the list is longer than a short one");
        format!("{start}; the nearest of its {} labels is {}", self.names.len(), quoted(nearest))
    }
}

/// Returns true if `text` contains `name` without a letter or digit beside it.
fn stands_alone(name: &str, text: &str) -> bool {
    text.match_indices(name).any(|(start, _)| {
        let (before, after) =
            (text[..start].chars().last(), text[start + name.len()..].chars().next());
        ![before, after].into_iter().flatten().any(char::is_alphanumeric)
    })
}

/// The labels of one split on their way to numbers.
struct Numbering<'a> {
    list: &'a LabelList,
    issues: Issues<'a>,
    /// True if one of the labels is known, `O` aside.
    known: bool,
}

#[derive(Default)]
struct Issues<'a> {
    unknown: BTreeMap<&'a str, Tally>,
    /// By number and spelling, where labels are matched in their normal form.
    spellings: BTreeMap<(u32, &'a str), Tally>,
    last_unknown_row: Option<usize>,
    issues: LabelIssues,
}

/// Rows that hold a label.
struct Tally {
    number: u32,
    rows: usize,
    first: usize,
    last: usize,
}

impl Tally {
    /// Counts a row, which may hold the label more than once; rows come in order.
    fn add(&mut self, row: usize) {
        self.rows += usize::from(self.last != row);
        self.last = row;
    }
}

impl<'a> Numbering<'a> {
    fn number(&mut self, row: usize, label: &'a RawLabel, labels: &mut TaskLabels) {
        match (labels, label) {
            (TaskLabels::Classes(rows), RawLabel::Class(label)) => {
                rows[row] = Some(self.number_of(row, label));
            }
            (TaskLabels::Sets(rows), RawLabel::Set(set)) => {
                let mut numbers: Vec<u32> =
                    set.iter().map(|label| self.number_of(row, label)).collect();
                numbers.sort_unstable();
                numbers.dedup();
                if numbers.len() < set.len() {
                    self.issues.issues.repeated += 1;
                    self.issues.issues.first_repeated.get_or_insert(row);
                }
                rows[row] = Some(numbers);
            }
            (TaskLabels::Numbers(rows), RawLabel::Number(number)) => rows[row] = Some(*number),
            (TaskLabels::Tags(rows), RawLabel::Tags(tags)) => {
                rows[row] = Some(tags.iter().map(|tag| self.number_of(row, tag)).collect());
            }
            _ => unreachable!("labels are read by the kind of their task"),
        }
    }

    fn number_of(&mut self, row: usize, label: &'a str) -> u32 {
        let known = self.list.number_of(label);
        self.known |= known.is_some() && !(self.list.kind.reads_words() && label == OUTSIDE);
        if let (Some(number), LabelMatching::Normalized) = (known, self.list.matching) {
            let tally = self.issues.spellings.entry((number, label));
            tally.or_insert(Tally { number, rows: 0, first: row, last: usize::MAX }).add(row);
        }
        known.unwrap_or_else(|| self.issues.note_unknown(row, label))
    }
}

impl<'a> Issues<'a> {
    /// Counts it; its number.
    fn note_unknown(&mut self, row: usize, label: &'a str) -> u32 {
        self.issues.unknown_rows += usize::from(self.last_unknown_row != Some(row));
        self.last_unknown_row = Some(row);
        let number = FIRST_UNKNOWN + self.unknown.len() as u32;
        let tally = self.unknown.entry(label).or_insert_with(|| {
            self.issues.others.push(label.to_owned());
            Tally { number, rows: 0, first: row, last: usize::MAX }
        });
        tally.add(row);
        tally.number
    }

    fn into_issues(self) -> LabelIssues {
        let unknown = |(label, tally): (&str, Tally)| UnknownLabel {
            label: label.to_owned(),
            rows: tally.rows,
            first: tally.first,
        };
        let spelling = |((label, spelling), tally): ((u32, &str), Tally)| LabelSpelling {
            label,
            spelling: spelling.to_owned(),
            rows: tally.rows,
        };
        LabelIssues {
            unknown: self.unknown.into_iter().map(unknown).collect(),
            spellings: self.spellings.into_iter().map(spelling).collect(),
            ..self.issues
        }
    }
}

/// Labels of the training data.
fn found<'a>(
    kind: TaskKind,
    train: impl Iterator<Item = &'a RawLabel>,
    matching: LabelMatching,
) -> Vec<String> {
    let mut rows: BTreeMap<&str, usize> = BTreeMap::new();
    for label in train {
        let labels = match label {
            RawLabel::Class(label) => std::slice::from_ref(label),
            RawLabel::Set(labels) | RawLabel::Tags(labels) => labels,
            RawLabel::Number(_) | RawLabel::Cell(_) => &[],
        };
        labels.iter().for_each(|label| *rows.entry(label).or_default() += 1);
    }
    // The most frequent spelling of each label; the first of several.
    let mut names: BTreeMap<Cow<str>, (&str, usize)> = BTreeMap::new();
    for (label, count) in rows {
        let name = names.entry(matching_key(label, matching)).or_insert((label, count));
        if count > name.1 {
            *name = (label, count);
        }
    }
    rules(kind).order_labels(names.into_values().map(|(label, _)| label).collect())
}

fn check_given(kind: TaskKind, labels: &[String], matching: LabelMatching) -> Result<(), String> {
    if !kind.has_labels() {
        return match labels {
            [] => Ok(()),
            _ => Err(format!("labels: expected none for {kind}, found {}", listed(labels))),
        };
    }
    let mut seen = BTreeSet::new();
    for label in labels {
        if label.is_empty() {
            return Err("labels: expected names, found an empty string".to_owned());
        }
        if !seen.insert(matching_key(label, matching)) {
            return Err(format!("labels: {} stands twice", quoted(label)));
        }
    }
    Ok(())
}

fn check_enough(task: &TaskFields, names: &[String]) -> Result<(), Error> {
    let given = task.labels.is_some() || task.fixed_labels.is_some();
    let kind = if given { ErrorKind::Config } else { ErrorKind::Data };
    if names.len() >= task.kind.least_labels() {
        return Ok(());
    }
    let expected = rules(task.kind).expected_labels();
    let place = if given { "" } else { " in the training data" };
    let message = format!(
        "task `{}`: expected {expected}, found {}{place}",
        task.name,
        match names {
            [] => "none".to_owned(),
            names => format!("only {}", listed(names)),
        }
    );
    Err(Error::new(kind, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::kinds::*;

    fn task(kind: TaskKind) -> TaskFields {
        TaskFields {
            name: "t".into(),
            kind,
            fields: vec!["t".into()],
            format: Default::default(),
            labels: None,
            fixed_labels: None,
            range: None,
            words: None,
            start_words: None,
            pair: None,
            files: None,
            may_lack_labels: false,
        }
    }

    fn owned(labels: &[&str]) -> Vec<String> {
        labels.iter().map(|label| label.to_string()).collect()
    }

    fn classes(labels: &[&str]) -> Vec<RawLabel> {
        labels.iter().map(|label| RawLabel::Class(label.to_string())).collect()
    }

    fn list(task: &TaskFields, train: &[RawLabel]) -> Result<LabelList, String> {
        LabelList::new(task, train.iter()).map_err(|error| error.to_string())
    }

    fn number(
        list: &LabelList,
        part: Part,
        labels: &[RawLabel],
    ) -> Result<(TaskLabels, LabelIssues), String> {
        let rows: Vec<_> = labels.iter().map(Some).collect();
        list.number(part, &rows, |row| format!("row {row}")).map_err(|error| error.to_string())
    }

    #[test]
    fn labels_are_found_and_sorted() {
        let set = |labels: &[&str]| RawLabel::Set(owned(labels));
        let tags = |labels: &[&str]| RawLabel::Tags(owned(labels));
        for (kind, train, expected) in [
            (Classification, classes(&["b", "a", "b", "B"]), &["B", "a", "b"][..]),
            (MultiLabel, vec![set(&["z", "a"]), set(&[]), set(&["m"])], &["a", "m", "z"]),
            (Regression, vec![RawLabel::Number(1.0)], &[]),
            (Tokens, vec![tags(&["I-z", "O"]), tags(&["B-a"])], &["O", "B-a", "I-a", "B-z", "I-z"]),
            // Bare tags stay bare, and have a type of their own.
            (Tokens, vec![tags(&["I", "O"])], &["O", "B", "I"]),
            (Tokens, vec![tags(&["B-a", "I", "O"])], &["O", "B", "I", "B-a", "I-a"]),
        ] {
            assert_eq!(list(&task(kind), &train).unwrap().into_names(), expected, "{kind}");
        }
    }

    #[test]
    fn given_labels_keep_their_order() {
        let mut given = task(Classification);
        given.labels = Some(owned(&["z", "a"]));
        assert_eq!(list(&given, &classes(&["a"])).unwrap().into_names(), ["z", "a"]);
        given.fixed_labels = Some(owned(&["z", "a"]));
        assert_eq!(list(&given, &[]).unwrap().into_names(), ["z", "a"]);
        given.fixed_labels = Some(owned(&["a", "z"]));
        assert_eq!(
            list(&given, &[]).unwrap_err(),
            "task `t`: labels: expected those of the model it starts from (`a`, `z`), \
             found `z`, `a`"
        );
    }

    #[test]
    fn what_labels_cannot_be() {
        for (kind, given, train, expected) in [
            (
                Classification,
                None,
                classes(&["a", "a"]),
                "expected two labels or more, found only `a` in the training data",
            ),
            (
                Classification,
                Some(&["a"][..]),
                vec![],
                "expected two labels or more, found only `a`",
            ),
            (Classification, Some(&["a", "b", "a"]), vec![], "labels: `a` stands twice"),
            (
                Classification,
                Some(&["a", ""]),
                vec![],
                "labels: expected names, found an empty string",
            ),
            (
                MultiLabel,
                None,
                vec![RawLabel::Set(vec![])],
                "expected a label, found none in the training data",
            ),
            (Regression, Some(&["a"]), vec![], "labels: expected none for regression, found `a`"),
            (
                Tokens,
                None,
                vec![RawLabel::Tags(owned(&["O"]))],
                "expected tags other than `O`, found only `O` in the training data",
            ),
            (Tokens, Some(&["B-a", "I-a"]), vec![], "labels: expected `O` among them"),
            (Tokens, Some(&["O", "B-a"]), vec![], "labels: expected `I-a` among them"),
            (Tokens, Some(&["O", "I-a"]), vec![], "labels: expected `B-a` among them"),
            (Tokens, Some(&["O", "B"]), vec![], "labels: expected `I` among them"),
            (
                Tokens,
                Some(&["O", "a"]),
                vec![],
                "labels: expected `O`, `B-TYPE` and `I-TYPE`, found `a`",
            ),
        ] {
            let mut task = task(kind);
            task.labels = given.map(owned);
            assert_eq!(list(&task, &train).unwrap_err(), format!("task `t`: {expected}"));
        }
    }

    #[test]
    fn an_unknown_label_is_an_error_in_training_only() {
        let mut few = task(Classification);
        few.labels = Some(owned(&["a", "b"]));
        let few = list(&few, &[]).unwrap();
        let labels = classes(&["a", "x", "b", "w", "x"]);
        assert_eq!(
            number(&few, Part::Train, &labels).unwrap_err(),
            "row 1: task `t`: unknown label `x`; known are `a`, `b`"
        );
        let (numbers, issues) = number(&few, Part::Dev, &labels).unwrap();
        let (x, w) = (FIRST_UNKNOWN, FIRST_UNKNOWN + 1);
        let expected = [0, x, 1, w, x].map(Some).to_vec();
        assert_eq!(numbers, TaskLabels::Classes(expected));
        let unknown = |label: &str, rows, first| UnknownLabel { label: label.into(), rows, first };
        assert_eq!(issues.unknown, [unknown("w", 1, 3), unknown("x", 2, 1)]);
        assert_eq!(issues.unknown_rows, 3);
        assert_eq!(issues.others, ["x", "w"]);

        let mut many = task(Classification);
        many.labels = Some((0..20).map(|i| format!("label_{i}")).collect());
        let many = list(&many, &[]).unwrap();
        assert_eq!(
            number(&many, Part::Train, &classes(&["lable_13"])).unwrap_err(),
            "row 0: task `t`: unknown label `lable_13`; the nearest of its 20 labels is `label_13`"
        );
    }

    #[test]
    fn data_without_a_known_label_is_an_error() {
        let mut truths = task(Classification);
        truths.labels = Some(owned(&["true", "false"]));
        let exact = list(&truths, &[]).unwrap();
        assert_eq!(
            number(&exact, Part::Test, &classes(&["True", "False"])).unwrap_err(),
            "row 0: task `t`: unknown label `True`; it differs from `true` by case: \
             `label_matching = \"normalized\"` in `[[task]]` makes them one (`--label-matching \
             normalized` of `eval`); test has no label that training has"
        );
        let error = number(&exact, Part::Dev, &classes(&["1"])).unwrap_err();
        assert!(error.contains("`1`; it differs from `true` by spelling"), "{error}");
        let error = number(&exact, Part::Dev, &classes(&["maybe"])).unwrap_err();
        assert!(error.contains("unknown label `maybe`; known are `true`, `false`; dev"), "{error}");
        assert!(number(&exact, Part::Dev, &classes(&["True", "false"])).is_ok());
        assert!(number(&exact, Part::Dev, &[]).is_ok());

        let spans = list(&task(Tokens), &[RawLabel::Tags(owned(&["B-a", "O"]))]).unwrap();
        let tags = |tags: &[&str]| [RawLabel::Tags(owned(tags))];
        assert!(number(&spans, Part::Dev, &tags(&["O", "O"])).is_ok());
        assert!(number(&spans, Part::Dev, &tags(&["B-a", "B-b"])).is_ok());
        assert!(number(&spans, Part::Dev, &tags(&["O", "B-b"])).is_err());
    }

    #[test]
    fn spellings_are_one_label_if_matching_is_normalized() {
        let train = classes(&["pos", "Pos", "Pos", "pos\u{200b}", "1", "1.0", "neg"]);
        let exact = list(&task(Classification), &train).unwrap();
        assert_eq!(exact.names.len(), 6);
        let mut normalized = task(Classification);
        normalized.format.matching = Some(LabelMatching::Normalized);
        let normalized = list(&normalized, &train).unwrap();
        let rows = classes(&["pos", "POS", "1.00", "NEG", "new"]);
        let (numbers, issues) = number(&normalized, Part::Dev, &rows).unwrap();
        assert_eq!(numbers, TaskLabels::Classes([1, 1, 0, 2, FIRST_UNKNOWN].map(Some).to_vec()));
        assert_eq!((issues.unknown_rows, &issues.others[..]), (1, &["new".to_owned()][..]));
        // Two labels that are truth values are 0 and 1 too.
        let mut truths = task(Classification);
        truths.format.matching = Some(LabelMatching::Normalized);
        for (train, rows, expected) in [
            (["true", "false"], ["1", "0.0"], [1, 0]),
            (["True", "False"], ["1.0", "false"], [1, 0]),
            (["0", "1"], ["False", "TRUE"], [0, 1]),
        ] {
            let truths = list(&truths, &classes(&train)).unwrap();
            let (numbers, _) = number(&truths, Part::Test, &classes(&rows)).unwrap();
            assert_eq!(numbers, TaskLabels::Classes(expected.map(Some).to_vec()));
        }
        let stars = list(&truths, &classes(&["1", "2"])).unwrap();
        assert!(number(&stars, Part::Test, &classes(&["true"])).is_err());
        // The most frequent spelling is the name.
        assert_eq!(normalized.into_names(), ["1", "Pos", "neg"]);

        let mut given = task(Classification);
        given.labels = Some(owned(&["A", "a"]));
        assert!(list(&given, &[]).is_ok());
        given.format.matching = Some(LabelMatching::Normalized);
        assert_eq!(list(&given, &[]).unwrap_err(), "task `t`: labels: `a` stands twice");
    }

    #[test]
    fn labels_of_earlier_models_may_have_blanks_at_their_ends() {
        let mut earlier = task(Classification);
        earlier.fixed_labels = Some(owned(&["pos ", "neg"]));
        let earlier = list(&earlier, &[]).unwrap();
        let (numbers, _) = number(&earlier, Part::Test, &classes(&["pos", "neg"])).unwrap();
        assert_eq!(numbers, TaskLabels::Classes(vec![Some(0), Some(1)]));
    }

    #[test]
    fn sets_are_sorted_without_repeats() {
        let mut sets = task(MultiLabel);
        sets.labels = Some(owned(&["a", "b"]));
        let sets = list(&sets, &[]).unwrap();
        let rows = [&["b", "a", "b"][..], &[], &["x", "b", "y", "x"]];
        let rows = rows.map(|labels| RawLabel::Set(owned(labels)));
        let (numbers, issues) = number(&sets, Part::Test, &rows).unwrap();
        let expected =
            [vec![0, 1], vec![], vec![1, FIRST_UNKNOWN, FIRST_UNKNOWN + 1]].map(Some).to_vec();
        assert_eq!(numbers, TaskLabels::Sets(expected));
        let rows: Vec<_> = issues.unknown.iter().map(|u| (u.label.as_str(), u.rows)).collect();
        assert_eq!((rows, issues.unknown_rows), (vec![("x", 1), ("y", 1)], 1));
        assert_eq!((issues.repeated, issues.first_repeated), (2, Some(0)));
        let error = number(&sets, Part::Test, &[RawLabel::Set(owned(&["b / a"]))]).unwrap_err();
        assert!(
            error.contains("unknown label `b / a`; the label `a` is in it: `separator`"),
            "{error}"
        );
    }

    #[test]
    fn broken_tags_are_kept() {
        let rows = [&["I-a", "I-a", "O"][..], &["B-a", "I-b", "I-b", "I-a"]];
        let rows = rows.map(|tags| RawLabel::Tags(owned(tags)));
        let tags = list(&task(Tokens), &rows).unwrap();
        let (numbers, _) = number(&tags, Part::Train, &rows).unwrap();
        let expected = [vec![2, 2, 0], vec![1, 4, 4, 2]].map(Some).to_vec();
        assert_eq!(numbers, TaskLabels::Tags(expected));
    }

    #[test]
    fn hints_apply_to_the_kind_of_the_task() {
        // Tags have no `label_matching`.
        let tags = |tags: &[&str]| [RawLabel::Tags(owned(tags))];
        let spans = list(&task(Tokens), &tags(&["B-a", "O"])).unwrap();
        let error = number(&spans, Part::Dev, &tags(&["B-A"])).unwrap_err();
        assert!(
            error.contains("unknown label `B-A`; known are") && !error.contains("matching"),
            "{error}"
        );
        // A label inside of a word does not stand beside a separator.
        let mut sets = task(MultiLabel);
        sets.labels = Some(owned(&["art", "b", "c++", "é"]));
        let sets = list(&sets, &[]).unwrap();
        for (label, found) in [
            ("party", None),
            ("smart, art", Some("art")),
            ("startart", None),
            ("art/x", Some("art")),
            ("art_1", Some("art")),
            ("c++;d", Some("c++")),
            ("éa", None),
            ("x é", Some("é")),
            ("1b 2", None),
        ] {
            let error = number(&sets, Part::Test, &[RawLabel::Set(owned(&[label]))]).unwrap_err();
            let hint = found.map(|name| format!("the label `{name}` is in it: `separator`"));
            assert_eq!(error.contains("is in it"), hint.is_some(), "{error}");
            assert!(error.contains(&hint.unwrap_or_default()), "{error}");
        }
    }
}
