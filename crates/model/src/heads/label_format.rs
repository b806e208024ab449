//! The format of a task's labels in labelled data, which travels with the head.

use std::str::FromStr;

use crate::error::excerpt;
use crate::heads::TaskKind;

/// The format of the labels in the cells of a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelFormat {
    /// One field for each label of a set, in the order of the labels; empty if one field holds all.
    pub fields: Vec<String>,
    /// Separator between the labels of a set; `None` if the cells show it.
    pub separator: Option<String>,
    /// Meaning of an empty cell of a set; with `None`, it is an error if only some cells are empty.
    pub empty: Option<EmptyCell>,
    /// When two spellings are one label; `None` means `Exact`.
    pub matching: Option<LabelMatching>,
}

/// When two spellings are the same label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LabelMatching {
    /// All characters are the same, except blanks at the ends.
    #[default]
    Exact,
    /// Case, blanks, invisible characters, Unicode form and the form of a number do not count.
    Normalized,
}

/// The meaning of an empty cell in a field with sets of labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmptyCell {
    /// The row has no label for the task.
    Unlabelled,
    /// None of the labels applies.
    None,
}

impl LabelFormat {
    /// This format, with the parts of `other` where this one says nothing.
    pub fn or(&self, other: &Self) -> Self {
        let fields = if self.fields.is_empty() { &other.fields } else { &self.fields };
        Self {
            fields: fields.clone(),
            separator: self.separator.clone().or_else(|| other.separator.clone()),
            empty: self.empty.or(other.empty),
            matching: self.matching.or(other.matching),
        }
    }

    /// Checks the format of `labels` labels of a task of this kind.
    pub(super) fn check(&self, kind: TaskKind, labels: usize) -> Result<(), String> {
        if !kind.has_sets() {
            let fields = (!self.fields.is_empty()).then(|| self.fields.join(", "));
            let empty = self.empty.map(|meaning| meaning.name().to_owned());
            let own = [("fields", fields), ("separator", self.separator.clone()), ("empty", empty)];
            return match own.iter().find_map(|(key, found)| Some((key, found.as_ref()?))) {
                Some((key, found)) => {
                    Err(format!("{key}: expected none for kind {kind}, found {:?}", excerpt(found)))
                }
                None => Ok(()),
            };
        }
        let twice =
            (1..self.fields.len()).find(|at| self.fields[..*at].contains(&self.fields[*at]));
        if let Some(at) = twice {
            let found = excerpt(&self.fields[at]);
            return Err(format!("fields: expected each field once, found {found:?} twice"));
        }
        if self.separator.as_ref().is_some_and(String::is_empty) {
            return Err("separator: expected a text between labels, found an empty one".to_owned());
        }
        match self.fields.len() {
            0 => Ok(()),
            found if found == labels => Ok(()),
            found => {
                Err(format!("fields: expected one for each of {labels} labels, found {found}"))
            }
        }
    }
}

impl LabelMatching {
    /// All variants.
    pub const ALL: [Self; 2] = [Self::Exact, Self::Normalized];

    /// `exact` or `normalized`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Normalized => "normalized",
        }
    }
}

impl FromStr for LabelMatching {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|matching| matching.name() == name);
        found.ok_or_else(|| format!("expected exact or normalized, found {:?}", excerpt(name)))
    }
}

impl EmptyCell {
    /// All variants.
    pub const ALL: [Self; 2] = [Self::Unlabelled, Self::None];

    /// `unlabelled` or `none`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unlabelled => "unlabelled",
            Self::None => "none",
        }
    }
}

impl FromStr for EmptyCell {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|meaning| meaning.name() == name);
        found.ok_or_else(|| format!("expected none or unlabelled, found {:?}", excerpt(name)))
    }
}
