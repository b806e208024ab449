//! Texts that stand more than once: in a split, across splits, with other labels.

use std::collections::HashMap;

use polyhead_files::shortened;
use polyhead_text::TextInput;

use super::EXAMPLES;
use super::report::{Conflicts, Example, Overlap, Repeats};
use crate::data::labels::RowLabel;
use crate::data::source::Dataset;
use crate::data::split::Part;

/// Rows with equal texts, case and blanks aside. Texts without anything in
/// them are left out: they are counted as empty.
pub(super) struct Groups<'a> {
    data: &'a Dataset,
    /// Groups of two rows and more, in the order of their first.
    groups: Vec<Vec<RowPlace>>,
}

/// Where a row is.
#[derive(Clone, Copy)]
struct RowPlace {
    source: usize,
    part: Part,
    row: usize,
}

impl<'a> Groups<'a> {
    pub(super) fn of(data: &'a Dataset) -> Self {
        let mut groups: Vec<Vec<RowPlace>> = Vec::new();
        // Keys are looked up and never iterated: the order of a `HashMap` differs between runs.
        let mut known: HashMap<String, usize> = HashMap::new();
        let mut add = |input: &TextInput, row: RowPlace| {
            let Some(text) = normalized(input) else { return };
            let group = *known.entry(text).or_insert(groups.len());
            match groups.get_mut(group) {
                Some(group) => group.push(row),
                None => groups.push(vec![row]),
            }
        };
        for part in Part::ALL {
            for (source, of_source) in data.sources.iter().enumerate() {
                for (row, input) in of_source.split(part).inputs.iter().enumerate() {
                    add(input, RowPlace { source, part, row });
                }
            }
        }
        groups.retain(|group| group.len() > 1);
        Self { data, groups }
    }

    /// Texts that a split of a source has more than once.
    pub(super) fn repeats(&self, source: usize, part: Part) -> Repeats {
        let mut repeats = Repeats::default();
        let own = |row: &&RowPlace| row.source == source && row.part == part;
        for group in &self.groups {
            let mut own = group.iter().filter(own);
            if let (Some(&first), Some(&second)) = (own.next(), own.next()) {
                repeats.texts += 1;
                repeats.rows += 1 + own.count();
                self.add_example(&mut repeats.examples, first, second);
            }
        }
        repeats
    }

    /// Texts that have two labels of a task, in whatever splits of its source.
    pub(super) fn conflicts(&self, task: usize) -> Conflicts {
        let source = self.data.tasks[task].source;
        let mut conflicts = Conflicts::default();
        for group in &self.groups {
            let of_source = group.iter().filter(|row| row.source == source);
            let mut labelled = of_source.filter_map(|&row| Some((row, self.label(row, task)?)));
            let Some((first, label)) = labelled.next() else { continue };
            if let Some((other, _)) = labelled.find(|(_, other)| *other != label) {
                conflicts.texts += 1;
                self.add_example(&mut conflicts.examples, first, other);
            }
        }
        conflicts
    }

    /// Texts of two splits, for each two that share some.
    pub(super) fn overlaps(&self) -> Vec<Overlap> {
        let pairs = [(Part::Train, Part::Dev), (Part::Train, Part::Test), (Part::Dev, Part::Test)];
        let overlap = |(first, second): (Part, Part)| {
            let mut overlap = Overlap { first, second, texts: 0, examples: Vec::new() };
            for group in &self.groups {
                let of = |part: Part| group.iter().find(|row| row.part == part);
                if let (Some(&a), Some(&b)) = (of(first), of(second)) {
                    overlap.texts += 1;
                    self.add_example(&mut overlap.examples, a, b);
                }
            }
            overlap
        };
        pairs.into_iter().map(overlap).filter(|overlap| overlap.texts > 0).collect()
    }

    fn label(&self, row: RowPlace, task: usize) -> Option<RowLabel<'a>> {
        self.data.sources[row.source].split(row.part).labels[task].of(row.row)
    }

    fn add_example(&self, examples: &mut Vec<Example>, first: RowPlace, second: RowPlace) {
        if examples.len() >= EXAMPLES {
            return;
        }
        let split = |row: RowPlace| self.data.sources[row.source].split(row.part);
        let text = shortened(&split(first).inputs[first.row].to_string());
        let places = [first, second].map(|row| split(row).place(row.row)).to_vec();
        examples.push(Example { text, places });
    }
}

/// The words of the input in lower case, a line for each text of a pair; `None` if there are none.
fn normalized(input: &TextInput) -> Option<String> {
    let mut normalized = String::with_capacity(input.bytes() + 1);
    let first = input.text();
    for text in [Some(&*first), input.second()].into_iter().flatten() {
        for word in text.split_whitespace() {
            normalized.push_str(&word.to_lowercase());
            normalized.push(' ');
        }
        normalized.push('\n');
    }
    normalized.contains(' ').then_some(normalized)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_blanks_do_not_count() {
        let one = |text: &str| normalized(&TextInput::One(text.to_owned()));
        let pair = |a: &str, b: &str| normalized(&TextInput::Pair(a.to_owned(), b.to_owned()));
        assert_eq!(one(" Köln\t IS\nfine "), one("köln is fine"));
        assert_eq!((one("\u{3000} \n"), pair("", " ")), (None, None));
        assert_ne!(one("to day"), one("today"));
        assert_eq!(pair("a", " B"), pair("A ", "b"));
        assert_ne!(pair("a", "b"), pair("b", "a"));
        assert_ne!(pair("a", ""), pair("", "a"));
        assert_ne!(pair("a", "b"), one("a b"));
    }
}
