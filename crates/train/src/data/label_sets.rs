//! Sets of labels as people write them: what the cells of a whole field mean.
//!
//! A cell alone does not say whether `a, b` is one label or two, whether `[1, 0]` names labels or
//! counts them off, or what an empty cell means. The other cells of the field do, or the
//! configuration; where neither does, the answer is asked for.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use polyhead_files::quoted;
use polyhead_model::EmptyCell;

use super::cell::RawLabel;
use super::spelling::{matching_key, normal_form};
use super::task::TaskFields;
use crate::error::{Error, ErrorKind};

/// Separators that are found without being named.
const SEPARATORS: [char; 3] = ['|', ';', ','];

/// The share of cells with several labels that have to agree on a separator.
const NEARLY_ALL: f64 = 0.95;

/// Cells that a message shows.
const SHOWN: usize = 4;

/// A cell of a field with sets of labels, and its row.
pub(super) struct SetCell<'a> {
    pub(super) file: &'a Path,
    pub(super) line: u64,
    pub(super) label: &'a mut Option<RawLabel>,
}

impl SetCell<'_> {
    fn text(&self) -> Option<&str> {
        match self.label.as_ref() {
            Some(RawLabel::Cell(text)) => Some(text),
            _ => None,
        }
    }

    fn place(&self) -> String {
        format!("{}: line {}", self.file.display(), self.line)
    }
}

/// Makes a set, or no label, of every cell; returns what stood between labels, if something did.
///
/// - `cells`: those of all files of the task
///
/// # Errors
/// [`ErrorKind::Data`] with the cells that can be read in several ways, and the key that decides.
pub(super) fn settle(task: &TaskFields, cells: &mut [SetCell]) -> Result<Option<String>, Error> {
    let error = |message: String| {
        let (task, field) = (quoted(&task.name), quoted(&task.fields[0]));
        Error::new(ErrorKind::Data, format!("task {task}, field {field}: {message}"))
    };
    settle_empty(task, cells).map_err(error)?;
    let separator = settle_texts(task, cells).map_err(error)?;
    settle_vectors(task, cells).map_err(error)?;
    Ok(separator)
}

/// Cells without anything in them.
fn settle_empty(task: &TaskFields, cells: &mut [SetCell]) -> Result<(), String> {
    let empty = |cell: &&SetCell| cell.text() == Some("");
    let count = cells.iter().filter(empty).count();
    let filled = cells.iter().filter(|cell| cell.label.is_some()).count() - count;
    let meaning = match task.format.empty {
        None if count > 0 && filled > 0 => {
            let first = cells.iter().find(empty).map(SetCell::place).unwrap_or_default();
            let cells =
                if count == 1 { "1 cell is empty" } else { &format!("{count} cells are empty") };
            return Err(format!(
                "{cells} (the first: {first}); `empty = \"none\"` in `[[task]]` means that no \
                 label applies, `empty = \"unlabelled\"` that the row has no label for this task \
                 (`--empty` of `eval`)"
            ));
        }
        Some(EmptyCell::None) => Some(RawLabel::Set(Vec::new())),
        _ => None,
    };
    for cell in cells.iter_mut().filter(|cell| cell.text() == Some("")) {
        cell.label.clone_from(&meaning);
    }
    Ok(())
}

/// Cells with one label or several.
fn settle_texts(task: &TaskFields, cells: &mut [SetCell]) -> Result<Option<String>, String> {
    let matching = task.format.matching.unwrap_or_default();
    let known: BTreeSet<String> = task
        .given_labels()
        .unwrap_or_default()
        .iter()
        .map(|label| matching_key(label, matching).into_owned())
        .collect();
    let is_known = |text: &str| known.contains(&*matching_key(text, matching));
    refuse_brackets(task, cells, &is_known)?;
    let separator = match &task.format.separator {
        Some(separator) => Some(separator.clone()),
        None => separator_of(cells, &is_known)?.map(String::from),
    };
    for cell in cells {
        let Some(text) = cell.text() else { continue };
        let labels = match &separator {
            Some(separator) if !is_known(text) => {
                text.split(&**separator).map(str::trim).filter(|label| !label.is_empty()).collect()
            }
            _ => vec![text],
        };
        *cell.label = Some(RawLabel::Set(labels.into_iter().map(str::to_owned).collect()));
    }
    Ok(separator)
}

/// Refuses a text in brackets that is no list, as it would be split within the brackets. It may be a
/// label if it is one of those that are given, or if a separator is given that it does not contain.
fn refuse_brackets(
    task: &TaskFields,
    cells: &[SetCell],
    is_known: &dyn Fn(&str) -> bool,
) -> Result<(), String> {
    let given = task.format.separator.as_deref();
    let in_brackets = |text: &str| {
        let inside = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        inside.is_some_and(|inside| !inside.contains(['[', ']']))
            && !is_known(text)
            && given.is_none_or(|separator| text.contains(separator))
    };
    match cells.iter().find(|cell| cell.text().is_some_and(in_brackets)) {
        None => Ok(()),
        Some(cell) => Err(format!(
            "{}: expected a list with its labels in quotes, [\"a\", \"b\"], found {}; a label may \
             have brackets if `labels` in `[[task]]` has it",
            cell.place(),
            quoted(cell.text().unwrap_or_default())
        )),
    }
}

/// The separator of the cells; `None` if no cell has several labels.
///
/// # Errors
/// Cells that can be read in several ways.
fn separator_of(
    cells: &[SetCell],
    is_known: &dyn Fn(&str) -> bool,
) -> Result<Option<char>, String> {
    let texts: Vec<&str> = cells.iter().filter_map(SetCell::text).collect();
    if let Ok(separator) = agreed_separator(&texts, is_known) {
        return Ok(separator);
    }
    let mut shown = Vec::new();
    let mut seen = BTreeSet::new();
    for cell in cells {
        let text = cell.text().unwrap_or_default();
        if is_known(text) {
            continue;
        }
        let found: Vec<char> = SEPARATORS.into_iter().filter(|&c| text.contains(c)).collect();
        if shown.len() < SHOWN && !found.is_empty() && seen.insert(found) {
            shown.push(format!("{} ({})", quoted(text), cell.place()));
        }
    }
    Err(format!(
        "it is not clear where one label ends and the next begins: {}; name what stands between \
         labels, as `separator = \";\"` in `[[task]]` (`--separator` of `eval`), or write arrays",
        shown.join(", ")
    ))
}

/// Cells that do not agree on a separator.
#[derive(Debug)]
pub(super) struct UnclearSeparator;

/// The separator that nearly all cells with several labels have; `None` if no cell has several.
///
/// - `is_known`: returns true for a cell that is one of the given labels
pub(super) fn agreed_separator(
    cells: &[&str],
    is_known: &dyn Fn(&str) -> bool,
) -> Result<Option<char>, UnclearSeparator> {
    let joined = |text: &&str| text.contains(SEPARATORS) && !is_known(text);
    let texts: Vec<&str> = cells.iter().copied().filter(joined).collect();
    if texts.is_empty() {
        return Ok(None);
    }
    // Labels that are given show how to read the cells, where one way makes labels of all of them.
    let readable = |separator: &char| {
        let mut labels = texts.iter().flat_map(|text| text.split(*separator)).map(str::trim);
        labels.all(|label| label.is_empty() || is_known(label))
    };
    if let [separator] = SEPARATORS.into_iter().filter(readable).collect::<Vec<_>>()[..] {
        return Ok(Some(separator));
    }
    let share = |separator: char| {
        texts.iter().filter(|text| text.contains(separator)).count() as f64 / texts.len() as f64
    };
    let agreed: Vec<char> = SEPARATORS.into_iter().filter(|&c| share(c) >= NEARLY_ALL).collect();
    let others = |own: char| SEPARATORS.into_iter().filter(|&c| c != own).map(share).sum::<f64>();
    match agreed[..] {
        // A comma also stands inside of names.
        [separator]
            if others(separator) <= 1.0 - NEARLY_ALL
                && (separator != ',' || recombine(cells, separator)) =>
        {
            Ok(Some(separator))
        }
        _ => Err(UnclearSeparator),
    }
}

/// Returns true if a label of some cell also stands in another cell, with other labels or alone.
fn recombine(cells: &[&str], separator: char) -> bool {
    let mut cell_of: HashMap<&str, &str> = HashMap::new();
    cells.iter().any(|text| {
        let mut labels = text.split(separator).map(str::trim).filter(|label| !label.is_empty());
        labels.any(|label| cell_of.entry(label).or_insert(text) != text)
    })
}

/// Arrays of 0 and 1 with a place for each label.
fn settle_vectors(task: &TaskFields, cells: &mut [SetCell]) -> Result<(), String> {
    let Some(labels) = task.given_labels() else {
        return refuse_vectors(cells);
    };
    // Labels may have such names.
    let is_bit = |label: &String| bit(label).is_some();
    if labels.iter().any(is_bit) {
        return Ok(());
    }
    for cell in cells {
        let Some(found) = vector_length(cell) else { continue };
        if found != labels.len() {
            let (place, expected) = (cell.place(), labels.len());
            return Err(format!(
                "{place}: expected {expected} values of 0 or 1, one for each label, found {found}"
            ));
        }
        if let Some(RawLabel::Set(bits)) = cell.label.as_mut() {
            let is_set = |(value, _): &(&String, &String)| bit(value) == Some(true);
            *bits =
                bits.iter().zip(labels).filter(is_set).map(|(_, label)| label.clone()).collect();
        }
    }
    Ok(())
}

/// Arrays of 0 and 1 where no labels are given. As names of labels, 0 and 1 stand once in a set.
fn refuse_vectors(cells: &[SetCell]) -> Result<(), String> {
    let filled = |cell: &&SetCell| matches!(cell.label.as_ref(), Some(RawLabel::Set(labels)) if !labels.is_empty());
    let lengths = || cells.iter().filter_map(vector_length);
    let all = lengths().count() == cells.iter().filter(filled).count();
    let same = lengths().min() == lengths().max();
    let is_vector = |cell: &&SetCell| match vector_length(cell) {
        // Two values may be names, beside cells with other names or with one.
        Some(2) => all && (same || repeats(cell)),
        Some(length) => length > 2,
        None => false,
    };
    let Some(first) = cells.iter().find(is_vector) else { return Ok(()) };
    let length = vector_length(first).unwrap_or_default();
    let each = if all && same { " in each" } else { "" };
    Err(format!(
        "expected sets of labels, found {length} values of 0 or 1{each} (the first: {}); name the \
         label of each place: `labels = [\"…\", \"…\"]` in `[[task]]`",
        first.place()
    ))
}

/// Returns true if a value stands twice in the cell.
fn repeats(cell: &SetCell) -> bool {
    let Some(RawLabel::Set(values)) = cell.label.as_ref() else { return false };
    values.iter().map(|value| bit(value)).collect::<BTreeSet<_>>().len() < values.len()
}

/// The number of values of a cell that holds nothing but 0 and 1.
fn vector_length(cell: &SetCell) -> Option<usize> {
    match cell.label.as_ref()? {
        RawLabel::Set(values) if !values.is_empty() => {
            values.iter().all(|value| bit(value).is_some()).then_some(values.len())
        }
        _ => None,
    }
}

/// 0 or false, 1 or true, however they are written.
pub(super) fn bit(text: &str) -> Option<bool> {
    match normal_form(text).as_str() {
        "0" | "false" => Some(false),
        "1" | "true" => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tests::task;
    use crate::tasks::kinds::MultiLabel;

    fn cell(text: &str) -> Option<RawLabel> {
        Some(RawLabel::Cell(text.to_owned()))
    }

    fn set(labels: &[&str]) -> Option<RawLabel> {
        Some(RawLabel::Set(labels.iter().map(|label| label.to_string()).collect()))
    }

    /// The labels of each cell with `+` between them; `-` for a row without a label.
    fn settled(task: &TaskFields, labels: &[Option<RawLabel>]) -> Result<String, String> {
        let mut labels = labels.to_vec();
        let place = |(line, label)| SetCell { file: Path::new("a.csv"), line, label };
        let mut cells: Vec<SetCell> = (2..).zip(labels.iter_mut()).map(place).collect();
        settle(task, &mut cells).map_err(|error| error.to_string())?;
        let shown = labels.iter().map(|label| match label {
            Some(RawLabel::Set(labels)) => labels.join("+"),
            None => "-".to_owned(),
            other => panic!("{other:?} is not settled"),
        });
        Ok(shown.collect::<Vec<_>>().join(" "))
    }

    fn texts(texts: &[&str]) -> Vec<Option<RawLabel>> {
        texts.iter().map(|text| cell(text)).collect()
    }

    #[test]
    fn the_separator_is_what_the_cells_agree_on() {
        let task = task("emo", MultiLabel);
        for (cells, expected) in [
            (&["joy|love", "joy"][..], "joy+love joy"),
            (&["joy;love", "anger"], "joy+love anger"),
            (&["joy; love ;", ";joy"], "joy+love joy"),
            (&["joy, love", "joy", "anger,joy"], "joy+love joy anger+joy"),
            (&["joy", "love"], "joy love"),
            (&["joy", "love, late", "joy, love"], "joy love+late joy+love"),
        ] {
            assert_eq!(settled(&task, &texts(cells)).unwrap(), expected);
        }
        // One comma inside of a name among many.
        let mut many = vec!["a;b"; 30];
        many.push("c, d;e");
        assert!(settled(&task, &texts(&many)).unwrap().ends_with("a+b c, d+e"));
        for (cells, shown) in [
            (&["a|b", "a;b", "a|c"][..], "`a|b` (a.csv: line 2), `a;b` (a.csv: line 3); name what"),
            (&["a|b, c"], "`a|b, c` (a.csv: line 2); name what"),
            // Nothing says that these are two labels.
            (&["Food, drinks", "sport"], "`Food, drinks` (a.csv: line 2)"),
        ] {
            let error = settled(&task, &texts(cells)).unwrap_err();
            assert!(error.starts_with("task `emo`, field `emo`: it is not clear"), "{error}");
            assert!(error.contains(shown) && error.contains("`separator = \";\"`"), "{error}");
        }
    }

    #[test]
    fn a_given_separator_and_known_labels_decide() {
        let mut given = task("emo", MultiLabel);
        given.format.separator = Some(" / ".to_owned());
        assert_eq!(settled(&given, &texts(&["a / b|c", "d"])).unwrap(), "a+b|c d");
        let mut known = task("emo", MultiLabel);
        known.fixed_labels = Some(vec!["Food, drinks".to_owned(), "sport".to_owned()]);
        let cells = texts(&["Food, drinks", "sport", "sport;Food, drinks"]);
        assert_eq!(settled(&known, &cells).unwrap(), "Food, drinks sport sport+Food, drinks");
        let unknown = texts(&["Food, drinks", "sport;Food, fun"]);
        assert!(settled(&known, &unknown).unwrap_err().contains("`sport;Food, fun`"));
        for separator in [";", ","] {
            known.format.separator = Some(separator.to_owned());
            assert!(settled(&known, &cells[..2]).unwrap() == "Food, drinks sport", "{separator}");
        }
        known.format.separator = Some(";".to_owned());
        assert_eq!(settled(&known, &cells).unwrap(), "Food, drinks sport sport+Food, drinks");
        assert_eq!(settled(&known, &unknown).unwrap(), "Food, drinks sport+Food, fun");
        // Elements of a list are labels as they are.
        assert_eq!(settled(&task("emo", MultiLabel), &[set(&["a|b"])]).unwrap(), "a|b");
    }

    #[test]
    fn a_text_in_brackets_is_a_label_where_that_is_given() {
        let bare = task("emo", MultiLabel);
        let refused = |task: &TaskFields, cells: &[&str], shown: &str| {
            let error = settled(task, &texts(cells)).unwrap_err();
            let expected = format!(
                "expected a list with its labels in quotes, [\"a\", \"b\"], found `{shown}`"
            );
            assert!(error.contains(&expected) && error.contains("a.csv: line "), "{error}");
        };
        for cell in ["[a]", "[joy, love]", "[np.str_('a'), np.str_('b')]", "[joy|love]"] {
            refused(&bare, &["joy", cell], cell);
        }
        assert_eq!(settled(&bare, &texts(&["[a]|[b]", "[a] b"])).unwrap(), "[a]+[b] [a] b");
        let mut given = task("emo", MultiLabel);
        given.fixed_labels = Some(["[NSFW]", "[a, b]", "ok"].map(String::from).to_vec());
        let cells = ["[NSFW]", "[NSFW];ok", "ok", "[a, b]"];
        assert_eq!(settled(&given, &texts(&cells)).unwrap(), "[NSFW] [NSFW]+ok ok [a, b]");
        refused(&given, &["[NSFW]", "[x]"], "[x]");
        for separator in [";", ","] {
            let mut emo = task("emo", MultiLabel);
            emo.format.separator = Some(separator.to_owned());
            let cells = ["[NSFW]", &format!("[NSFW]{separator}ok")];
            assert_eq!(settled(&emo, &texts(&cells)).unwrap(), "[NSFW] [NSFW]+ok");
            let list = format!("[joy{separator} love]");
            refused(&emo, &["joy", &list], &list);
        }
    }

    #[test]
    fn an_empty_cell_is_what_the_configuration_says() {
        let cells = [cell("joy"), cell(""), set(&[]), None, cell("")];
        let mut emo = task("emo", MultiLabel);
        let error = settled(&emo, &cells).unwrap_err();
        assert!(error.contains("2 cells are empty (the first: a.csv: line 3)"), "{error}");
        assert!(error.contains("`empty = \"none\"`"), "{error}");
        emo.format.empty = Some(EmptyCell::None);
        assert_eq!(settled(&emo, &cells).unwrap(), "joy   - ");
        emo.format.empty = Some(EmptyCell::Unlabelled);
        assert_eq!(settled(&emo, &cells).unwrap(), "joy -  - -");
        // Where nothing else is written, no row has a label, and null is always that.
        emo.format.empty = None;
        assert_eq!(settled(&emo, &[cell(""), None, cell("")]).unwrap(), "- - -");
        assert_eq!(settled(&emo, &[cell("joy"), None, set(&[])]).unwrap(), "joy - ");
    }

    #[test]
    fn vectors_name_labels_by_their_place() {
        let vectors =
            [set(&["1", "0", "1"]), set(&["false", "True", "0.0"]), set(&["0", "0", "0"]), None];
        let mut emo = task("emo", MultiLabel);
        let error = settled(&emo, &vectors).unwrap_err();
        assert!(
            error.contains("found 3 values of 0 or 1 in each (the first: a.csv: line 2)"),
            "{error}"
        );
        assert!(error.contains("`labels = ["), "{error}");
        emo.labels = Some(["anger", "joy", "love"].map(String::from).to_vec());
        assert_eq!(settled(&emo, &vectors).unwrap(), "anger+love joy  -");
        assert_eq!(settled(&emo, &texts(&["1|0|0", "0|1|1"])).unwrap(), "anger joy+love");
        assert_eq!(settled(&emo, &[set(&[]), set(&["joy"])]).unwrap(), " joy");
        let error = settled(&emo, &[set(&["1", "0"])]).unwrap_err();
        assert!(error.contains("a.csv: line 2: expected 3 values of 0 or 1"), "{error}");
        // Labels with such names are labels.
        emo.labels = Some(["0", "1", "2"].map(String::from).to_vec());
        assert_eq!(settled(&emo, &[set(&["0", "1"]), set(&["2"])]).unwrap(), "0+1 2");
        let ids = task("emo", MultiLabel);
        for (vectors, line) in [
            // A value too few, and one that is neither 0 nor 1.
            (&[&["1", "0", "1"][..], &["0", "1", "0"], &["0", "0"]][..], 2),
            (&[&["0", "1"], &["1", "0", "0"]], 3),
            (&[&["0"], &["1", "1"]], 3),
            (&[&["0", "2", "0"], &["0", "1", "0"]], 3),
            (&[&["1", "0"], &["0", "1"]], 2),
        ] {
            let vectors: Vec<_> = vectors.iter().map(|labels| set(labels)).collect();
            let error = settled(&ids, &vectors).unwrap_err();
            assert!(error.contains(&format!("(the first: a.csv: line {line})")), "{error}");
        }
        assert_eq!(settled(&ids, &[set(&["0", "1"]), set(&["1"])]).unwrap(), "0+1 1");
        assert_eq!(settled(&ids, &[set(&["1", "1"]), set(&["2"])]).unwrap(), "1+1 2");
        assert_eq!(settled(&ids, &[set(&["0", "1"]), set(&["2"])]).unwrap(), "0+1 2");
        assert_eq!(settled(&ids, &[set(&["0"]), set(&["1"])]).unwrap(), "0 1");
    }
}
