//! Guesses the use of each field of a data file: the text, its words, a label of some kind, or none.

use std::collections::BTreeMap;
use std::ops::Range;

use polyhead_files::listed;
use polyhead_text::Tag;

use super::column::Column;
use crate::data::label_sets::{agreed_separator, bit};

/// Names of text fields, the likeliest first.
const TEXTS: [&str; 18] = [
    "text",
    "sentence",
    "review",
    "body",
    "content",
    "message",
    "comment",
    "utterance",
    "question",
    "query",
    "tweet",
    "description",
    "document",
    "headline",
    "title",
    "premise",
    "subject",
    "summary",
];

/// Names of fields with labels, whose values need not come again in the first rows.
const LABELS: [&str; 14] = [
    "label",
    "labels",
    "class",
    "category",
    "categories",
    "topic",
    "topics",
    "sentiment",
    "emotion",
    "emotions",
    "intent",
    "target",
    "tags",
    "tag",
];

/// Names of fields that only identify a row.
const IDS: [&str; 8] = ["id", "_id", "idx", "index", "uuid", "guid", "key", "rowid"];

/// Most labels of a field that is taken as a class.
const MOST_CLASSES: usize = 200;

/// Most different whole numbers that are taken as classes.
const MOST_NUMBERS: usize = 10;

/// The use of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Use {
    /// The text or a part of it, or a pair of texts.
    Text,
    /// The words of the text, for tags.
    Words,
    /// A label of this kind.
    Label { kind: &'static str, separator: Option<char> },
    /// True if one label of a set applies: 0 or 1. The sets have a column for each label, from the
    /// column `first` on.
    Bit { first: usize },
    /// Nothing.
    Unused,
}

/// The use of a field and the reason for it, in words.
#[derive(Debug)]
pub(crate) struct Guess {
    pub(crate) use_of: Use,
    pub(crate) why: String,
}

/// Guesses the use of each column.
pub(crate) fn guesses(columns: &[Column]) -> Vec<Guess> {
    let tagged = words_and_tags(columns);
    let text = text_column(columns, tagged);
    let parts = text.map_or_else(Vec::new, |text| text_parts(columns, text));
    let sets = sets(columns);
    let guess = |(index, column): (usize, &Column)| match tagged {
        Some((words, _)) if words == index => {
            Guess { use_of: Use::Words, why: "the words of the text, one for each tag".to_owned() }
        }
        Some((_, tags)) if tags == index => label("tokens", "a tag for each word".to_owned()),
        _ if text == Some(index) && parts.len() < 2 => {
            let why = match column.is_lists() {
                true => "pairs of texts".to_owned(),
                // Not every script has blanks between words.
                false => format!("the text, {:.0} characters on average", column.mean_length()),
            };
            Guess { use_of: Use::Text, why }
        }
        _ if tagged.is_none() && parts.contains(&index) => {
            let length = column.mean_length();
            let why = format!("a part of the text, {length:.0} characters on average");
            Guess { use_of: Use::Text, why }
        }
        _ => match sets.iter().find(|set| set.contains(&index)) {
            Some(set) => {
                let count = set.len();
                let why = format!("a label, 0 or 1; {count} such columns are one multilabel task");
                Guess { use_of: Use::Bit { first: set.start }, why }
            }
            None => label_guess(column),
        },
    };
    columns.iter().enumerate().map(guess).collect()
}

/// The columns of words and of their tags.
fn words_and_tags(columns: &[Column]) -> Option<(usize, usize)> {
    let tags = columns.iter().position(|column| {
        let words = column.words();
        let all: Vec<&str> = words.concat();
        all.len() > words.len() && all.iter().all(|word| is_tag(word))
    })?;
    let lengths = |column: &Column| -> BTreeMap<usize, usize> {
        let lengths = column.words().into_iter().map(|words| words.len());
        column.rows.iter().copied().zip(lengths).collect()
    };
    let of_tags = lengths(&columns[tags]);
    let words = columns.iter().enumerate().position(|(index, column)| {
        let of_words = lengths(column);
        index != tags && of_tags.iter().all(|(row, length)| of_words.get(row) == Some(length))
    })?;
    Some((words, tags))
}

/// Returns true if a word is a tag of BIO, or one that only BIOES or BILOU has.
fn is_tag(word: &str) -> bool {
    let typed = || word.split_once('-').is_some_and(|(tag, _)| ["E", "S", "L", "U"].contains(&tag));
    Tag::parse(word).is_some() || typed()
}

/// The column of the text: one with a usual name, or the one with the longest values.
fn text_column(columns: &[Column], tagged: Option<(usize, usize)>) -> Option<usize> {
    let free = |index: usize| tagged.is_none_or(|(words, tags)| index != words && index != tags);
    let is_text = |column: &Column| column.is_plain() && column.numbers().is_none();
    let is_pair =
        |column: &Column| column.is_lists() && column.lists.iter().all(|list| list.len() == 2);
    let named = TEXTS.iter().find_map(|name| {
        columns.iter().position(|column| {
            column.name.eq_ignore_ascii_case(name) && (is_text(column) || is_pair(column))
        })
    });
    let long = || {
        let texts = (0..columns.len()).filter(|&index| {
            let column = &columns[index];
            is_text(column) && column.mean_words() >= 2.0 && column.distinct().len() > 1
        });
        texts.max_by(|a, b| columns[*a].mean_length().total_cmp(&columns[*b].mean_length()))
    };
    // Words stand for the text.
    named.filter(|index| free(*index)).or_else(|| if tagged.is_some() { None } else { long() })
}

/// The columns that make the text: those of texts with usual names beside the text, such as a title.
fn text_parts(columns: &[Column], text: usize) -> Vec<usize> {
    let is_part = |column: &Column| {
        let is_text = column.is_plain() && column.numbers().is_none();
        is_text && is_named(column, &TEXTS) && column.mean_words() >= 2.0
    };
    let parts = columns.iter().enumerate();
    let parts = parts.filter(|(index, column)| *index == text || is_part(column));
    if columns[text].is_lists() { vec![text] } else { parts.map(|(index, _)| index).collect() }
}

/// Columns of 0 and 1 beside each other: sets of labels with a column for each label.
fn sets(columns: &[Column]) -> Vec<Range<usize>> {
    let is_bit = |column: &Column| {
        column.is_plain()
            && column.empty == 0
            && !is_named(column, &IDS)
            && column.values.iter().all(|value| bit(value).is_some())
    };
    let both = |column: &Column| column.distinct().len() > 1;
    let mut sets = Vec::new();
    let mut start = 0;
    for run in columns.chunk_by(|a, b| is_bit(a) == is_bit(b)) {
        if is_bit(&run[0]) && run.iter().filter(|column| both(column)).count() > 1 {
            sets.push(start..start + run.len());
        }
        start += run.len();
    }
    sets
}

/// The use of a column that is not the text: a label or none.
pub(crate) fn label_guess(column: &Column) -> Guess {
    let filled = column.filled();
    if filled == 0 {
        return unused("no value".to_owned());
    }
    if column.is_lists() {
        return list(column, &column.lists);
    }
    if let Some(lists) = column.lists_in_strings() {
        return list(column, &lists);
    }
    if !column.is_plain() {
        return unused("values of several forms".to_owned());
    }
    let distinct = column.distinct();
    if is_named(column, &IDS) {
        return unused("its name is that of a row's number".to_owned());
    }
    if distinct.len() == 1 {
        return unused("one value in all rows".to_owned());
    }
    if let Some(numbers) = column.numbers() {
        return number(&numbers, distinct.len());
    }
    if let Some(separator) = separator_of(column) {
        let why = format!("several labels in a cell, with {separator:?} between them");
        let use_of = Use::Label { kind: "multilabel", separator: Some(separator) };
        return Guess { use_of, why };
    }
    let repeated = distinct.len() <= (filled / 2).max(2) || is_named(column, &LABELS);
    if repeated && distinct.len() <= MOST_CLASSES && column.mean_words() <= 5.0 {
        return label("classification", labels(&distinct.into_iter().collect::<Vec<_>>()));
    }
    unused(format!("{} different values in {filled} rows", distinct.len()))
}

/// The use of a column of lists.
fn list(column: &Column, lists: &[Vec<String>]) -> Guess {
    let mut counts = BTreeMap::<&str, usize>::new();
    for item in lists.iter().flatten() {
        *counts.entry(item).or_default() += 1;
    }
    if counts.keys().all(|item| item.parse::<f64>().is_ok()) {
        return unused(
            "lists of numbers; for 0 and 1 in the place of each label, name the `labels`"
                .to_owned(),
        );
    }
    let items: usize = counts.values().sum();
    let repeated = counts.len() * 2 <= items.max(4) || is_named(column, &LABELS);
    if counts.len() < 2 || counts.len() > MOST_CLASSES || !repeated {
        return unused(format!("lists of {} different values", counts.len()));
    }
    label("multilabel", labels(&counts.into_keys().collect::<Vec<_>>()))
}

/// The use of a column of numbers.
fn number(numbers: &[f64], distinct: usize) -> Guess {
    let whole = numbers.iter().all(|number| number.fract() == 0.0);
    let counted = whole && numbers.windows(2).all(|pair| pair[1] == pair[0] + 1.0);
    if counted && numbers.len() > 2 {
        return unused("numbers of rows".to_owned());
    }
    let least = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let most = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if whole && distinct <= MOST_NUMBERS && numbers.len() >= 2 * distinct {
        let or =
            if distinct > 2 { "; `kind = \"regression\"` if their distance counts" } else { "" };
        return label("classification", format!("{distinct} whole numbers, {least} to {most}{or}"));
    }
    label("regression", format!("numbers from {least} to {most}"))
}

/// Returns the separator between the labels of a cell, as training finds it; `None` if cells have
/// one label.
fn separator_of(column: &Column) -> Option<char> {
    let values: Vec<&str> = column.values.iter().map(String::as_str).collect();
    let separator = agreed_separator(&values, &|_| false).ok()??;
    let mut counts = BTreeMap::<&str, usize>::new();
    for part in values.iter().flat_map(|value| value.split(separator)) {
        *counts.entry(part.trim()).or_default() += 1;
    }
    let parts: usize = counts.values().sum();
    let short = counts.keys().all(|part| part.split_whitespace().count() <= 3);
    // Labels come again in other cells; the parts of sentences do not.
    (short && counts.len() <= MOST_CLASSES && counts.len() * 2 <= parts).then_some(separator)
}

/// Returns true if the column has one of these names, in any case.
fn is_named(column: &Column, names: &[&str]) -> bool {
    names.iter().any(|name| column.name.eq_ignore_ascii_case(name))
}

fn label(kind: &'static str, why: String) -> Guess {
    Guess { use_of: Use::Label { kind, separator: None }, why }
}

fn unused(why: String) -> Guess {
    Guess { use_of: Use::Unused, why }
}

/// Number and names of labels.
fn labels(names: &[&str]) -> String {
    format!("{} labels: {}", names.len(), listed(names))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A column of `name` with values separated by `/`; an empty one is an empty cell.
    fn column(name: &str, values: &str) -> Column {
        let values: Vec<&str> = values.split('/').collect();
        let filled = |value: &&&str| !value.is_empty();
        Column {
            name: name.to_owned(),
            rows: (0..values.len()).filter(|row| !values[*row].is_empty()).collect(),
            empty: values.iter().filter(|value| value.is_empty()).count(),
            values: values.iter().filter(filled).map(|value| value.to_string()).collect(),
            ..Column::default()
        }
    }

    fn kind(name: &str, values: &str) -> String {
        let text = column("body", "a first text/another text that is long/and one more of them");
        match &guesses(&[text, column(name, values)])[1].use_of {
            Use::Label { kind, separator: None } => kind.to_string(),
            Use::Label { kind, separator: Some(separator) } => format!("{kind} {separator}"),
            other => format!("{other:?}").to_lowercase(),
        }
    }

    #[test]
    fn labels_are_told_by_their_values() {
        for (values, expected) in [
            ("yes/no/yes/no", "classification"),
            ("yes/no//no/yes", "classification"),
            ("1/0/1/0", "classification"),
            ("1.0/0.0/1.0/0.0", "classification"),
            ("True/False/True/True", "classification"),
            ("1/2/3/2/1/3", "classification"),
            ("1/7/3/9", "regression"),
            ("1.5/2/1.5/2", "regression"),
            ("1/2/3/4", "unused"),
            ("same/same/same", "unused"),
            ("a|b/a/b|a/b", "multilabel |"),
            ("joy; love/joy/love/anger;joy/anger", "multilabel ;"),
            ("x, y/x/y/x", "multilabel ,"),
            // A comma within a name, and cells that training refuses.
            ("Food, drinks/sport/Food, drinks/sport", "classification"),
            ("Food, drinks/sport/Food/drinks/sport", "multilabel ,"),
            ("a|b/a;b/a|b/a;b/a/b/a/b", "classification"),
            // Strings of JSON that hold lists.
            ("['x', 'y']/['x']/['y']/[]", "multilabel"),
            ("[1, 0]/[0, 1]/[1, 1]", "unused"),
            ("Smith, John and his friends/one, two three four/more/text", "unused"),
            ("a0/b1/c2/d3", "unused"),
            ("/", "unused"),
        ] {
            assert_eq!(kind("field", values), expected, "{values}");
        }
        assert_eq!(kind("id", "4/4/9/9"), "unused");
        assert_eq!(kind("Label", "a0/b1/c2/d3"), "classification");
    }

    #[test]
    fn columns_of_0_and_1_beside_each_other_are_a_set() {
        let text = || column("text", "a first text/another text/and one more of them");
        let used = |columns: &[Column]| -> Vec<Option<usize>> {
            let bit = |guess: Guess| match guess.use_of {
                Use::Bit { first } => Some(first),
                _ => None,
            };
            guesses(columns).into_iter().map(bit).collect()
        };
        let set = |names: [&str; 3], values: [&str; 3]| {
            let [a, b, c] = [0, 1, 2].map(|at| column(names[at], values[at]));
            used(&[text(), a, b, c])
        };
        let names = ["joy", "anger", "fear"];
        let one = [None, Some(1), Some(1), Some(1)];
        for (values, expected) in [
            (["1/0/1", "0/1/1", "0/0/1"], one),
            (["True/False/True", "0/1/1", "0.0/1.0/0.0"], one),
            // A label that applies to none of the first rows.
            (["1/0/1", "0/1/1", "0/0/0"], one),
            (["1/0/1", "0/1/1", "2/0/1"], [None, Some(1), Some(1), None]),
            (["1/0/1", "0/1/1", "//1"], [None, Some(1), Some(1), None]),
            (["1/0/1", "x/y/x", "0/1/1"], [None; 4]),
            (["1/0/1", "0/0/0", "1/1/1"], [None; 4]),
        ] {
            assert_eq!(set(names, values), expected, "{values:?}");
        }
        let values = ["1/0/1", "0/1/1", "0/0/1"];
        assert_eq!(set(["id", "joy", "fear"], values), [None, None, Some(2), Some(2)]);
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| column(name, "1/0/1"));
        assert_eq!(used(&[a, b, text(), c, d]), [Some(0), Some(0), None, Some(3), Some(3)]);
    }

    #[test]
    fn texts_of_usual_names_are_parts_of_the_text() {
        let parts = |columns: &[Column]| -> Vec<String> {
            let guesses = guesses(columns).into_iter().zip(columns);
            let texts = guesses.filter(|(guess, _)| guess.use_of == Use::Text);
            texts.map(|(_, column)| column.name.clone()).collect()
        };
        let title = || column("Title", "Export hangs/Export hangs/Late invoice/Late invoice");
        let body = || column("body", "a long text of words/another one/and a third/and a fourth");
        let label = || column("label", "x/y/x/y");
        assert_eq!(parts(&[title(), body(), label()]), ["Title", "body"]);
        assert_eq!(parts(&[body(), label(), title()]), ["body", "Title"]);
        let notes = || column("notes", "a very long text of many words/and/so/on and on");
        assert_eq!(parts(&[title(), notes(), label()]), ["Title"]);
        assert_eq!(parts(&[title(), column("summary", "x/y/x/y"), label()]), ["Title"]);
        assert_eq!(parts(&[column("title", "1/2/3/4"), body(), label()]), ["body"]);
    }

    #[test]
    fn words_are_found_by_their_tags() {
        for tags in ["O B-x/O I-x/B-x I-x", "O S-x/B-x E-x/O O", "U-x O/B-x L-x/O O"] {
            let columns = [column("words", "a b/c d/e f"), column("ner", tags)];
            let found: Vec<Use> = guesses(&columns).into_iter().map(|guess| guess.use_of).collect();
            assert_eq!(
                found,
                [Use::Words, Use::Label { kind: "tokens", separator: None }],
                "{tags}"
            );
        }
    }

    #[test]
    fn the_text_has_a_usual_name_or_the_longest_values() {
        let text_of = |columns: &[Column]| {
            let found = guesses(columns).iter().position(|guess| guess.use_of == Use::Text);
            found.map(|index| columns[index].name.clone())
        };
        let long = "a long text of many words/another one of these/and a third";
        let short = "one/two/one";
        for (columns, expected) in [
            ([column("notes", long), column("text", short)], Some("text")),
            ([column("notes", long), column("label", short)], Some("notes")),
            ([column("Review", short), column("notes", long)], Some("Review")),
            ([column("text", "1/2/3"), column("notes", long)], Some("notes")),
            ([column("a", short), column("b", short)], None),
        ] {
            assert_eq!(text_of(&columns).as_deref(), expected);
        }
    }
}
