//! The values of one field in the first rows of a file.

use std::collections::BTreeSet;

use polyhead_files::{Cell, JsonValue};

use crate::data::label_sets::bit;

/// The values of one field; empty cells are left out.
#[derive(Debug, Default)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// Strings and numbers as they are spelled, without blanks at their ends.
    pub(crate) values: Vec<String>,
    /// Lists of strings or numbers.
    pub(crate) lists: Vec<Vec<String>>,
    /// `[values]`: the row of each value or list, for fields that belong together.
    pub(crate) rows: Vec<usize>,
    /// Number of values that are objects or other lists.
    pub(crate) others: usize,
    /// Number of empty cells.
    pub(crate) empty: usize,
}

impl Column {
    /// Adds the value of a row.
    pub(crate) fn add(&mut self, row: usize, cell: Cell) {
        if cell.is_empty() || matches!(cell, Cell::Plain(text) if text.trim().is_empty()) {
            self.empty += 1;
            return;
        }
        match (cell.array(), cell) {
            (Ok(Some(list)), _) => match list.iter().map(scalar).collect() {
                Some(list) => self.lists.push(list),
                None => self.others += 1,
            },
            (_, Cell::Plain(text)) => self.values.push(text.trim().to_owned()),
            (_, Cell::Json(value)) => match scalar(value) {
                Some(value) => self.values.push(value.trim().to_owned()),
                None => self.others += 1,
            },
        }
        self.rows.push(row);
    }

    /// Number of values.
    pub(crate) fn filled(&self) -> usize {
        self.rows.len()
    }

    /// Returns true if all values are strings or numbers.
    pub(crate) fn is_plain(&self) -> bool {
        !self.values.is_empty() && self.values.len() == self.filled()
    }

    /// Returns true if all values are lists.
    pub(crate) fn is_lists(&self) -> bool {
        !self.lists.is_empty() && self.lists.len() == self.filled()
    }

    /// The lists that the values hold, if all of them do. Training reads labels so, but no texts.
    pub(crate) fn lists_in_strings(&self) -> Option<Vec<Vec<String>>> {
        let list = |value: &String| {
            let list = Cell::Plain(value).array().ok().flatten()?;
            list.iter().map(scalar).collect()
        };
        if self.is_plain() { self.values.iter().map(list).collect() } else { None }
    }

    /// The values as numbers, if all of them are.
    pub(crate) fn numbers(&self) -> Option<Vec<f64>> {
        let numbers = self.values.iter().map(|value| value.parse::<f64>().ok());
        let numbers: Vec<f64> = numbers.collect::<Option<_>>()?;
        (self.is_plain() && numbers.iter().all(|number| number.is_finite())).then_some(numbers)
    }

    /// Number of rows with a 1, or `true`.
    pub(crate) fn ones(&self) -> usize {
        self.values.iter().filter(|value| bit(value) == Some(true)).count()
    }

    /// The values that differ, sorted.
    pub(crate) fn distinct(&self) -> BTreeSet<&str> {
        self.values.iter().map(String::as_str).collect()
    }

    /// Mean number of words of a value.
    pub(crate) fn mean_words(&self) -> f64 {
        let words: usize = self.values.iter().map(|value| value.split_whitespace().count()).sum();
        words as f64 / self.values.len().max(1) as f64
    }

    /// Mean number of characters of a value.
    pub(crate) fn mean_length(&self) -> f64 {
        let characters: usize = self.values.iter().map(|value| value.chars().count()).sum();
        characters as f64 / self.values.len().max(1) as f64
    }

    /// Each value as words: the items of a list, or what blanks separate.
    pub(crate) fn words(&self) -> Vec<Vec<&str>> {
        if self.is_lists() {
            return self
                .lists
                .iter()
                .map(|list| list.iter().map(String::as_str).collect())
                .collect();
        }
        self.values.iter().map(|value| value.split_whitespace().collect()).collect()
    }
}

/// A string, number or truth value as it is spelled.
fn scalar(value: &JsonValue) -> Option<String> {
    match value {
        JsonValue::String(text) => Some(text.clone()),
        JsonValue::Number(written) => Some(written.clone()),
        JsonValue::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}
