//! The rule by which a head splits raw texts into words, as `words` of a task in `polyhead.json`:
//! its name, or what was learned.

use polyhead_text::{LearnedSplit, WordSplit};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::excerpt;

/// The most marks that a file may name. A file with more is damaged or hostile.
const MARK_LIMIT: usize = 1024;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct LearnedJson {
    begin: String,
    inside: String,
    digits: String,
    end: String,
    abbreviations: bool,
    repeats: bool,
    runs: bool,
    letters: bool,
}

/// The form of a rule in the file; `None` for punctuation, by which heads of earlier versions split.
pub(super) fn to_json(words: &WordSplit) -> Option<Value> {
    match words {
        WordSplit::Punctuation => None,
        WordSplit::Learned(learned) => {
            let LearnedSplit { begin, inside, digits, end, .. } = learned.clone();
            let LearnedSplit { abbreviations, repeats, runs, letters, .. } = *learned;
            let wire =
                LearnedJson { begin, inside, digits, end, abbreviations, repeats, runs, letters };
            Some(serde_json::to_value(wire).expect("strings and truth values only"))
        }
        named => Some(Value::from(named.name())),
    }
}

/// Reads `words` of a task.
///
/// # Errors
/// A value that is no rule; the message has the expected and the found.
pub(super) fn parse(value: Option<Value>) -> Result<WordSplit, String> {
    let value = match value {
        None => return Ok(WordSplit::Punctuation),
        Some(Value::String(name)) => {
            let found = WordSplit::PRESETS.into_iter().find(|preset| preset.name() == name);
            return found.ok_or_else(|| {
                let known = WordSplit::PRESETS.map(|preset| preset.name()).join(", ");
                let found = excerpt(&name);
                format!("`words`: expected one of {known} or a learned rule, found {found:?}")
            });
        }
        Some(value) => value,
    };
    let wire: LearnedJson =
        serde_json::from_value(value).map_err(|error| format!("`words`: {error}"))?;
    let LearnedJson { begin, inside, digits, end, .. } = wire;
    let LearnedJson { abbreviations, repeats, runs, letters, .. } = wire;
    for marks in [&begin, &inside, &digits, &end] {
        let found = marks.chars().count();
        if found > MARK_LIMIT {
            return Err(format!("`words`: expected at most {MARK_LIMIT} marks, found {found}"));
        }
    }
    Ok(WordSplit::Learned(LearnedSplit {
        begin,
        inside,
        digits,
        end,
        abbreviations,
        repeats,
        runs,
        letters,
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rules_are_read_as_they_were_written() {
        let learned = LearnedSplit {
            begin: "@#".into(),
            inside: "\"(".into(),
            digits: ":".into(),
            end: "…".into(),
            abbreviations: true,
            runs: true,
            ..LearnedSplit::default()
        };
        for rule in WordSplit::PRESETS.into_iter().chain([WordSplit::Learned(learned)]) {
            assert_eq!(parse(to_json(&rule)).unwrap(), rule);
        }
        assert_eq!(to_json(&WordSplit::default()), None);
    }

    #[test]
    fn other_rules_are_errors() {
        let mut learned = to_json(&WordSplit::Learned(LearnedSplit::default())).unwrap();
        learned["begin"] = json!("x".repeat(MARK_LIMIT + 1));
        for (value, message) in [
            (json!("blanks"), "expected one of whitespace, punctuation, unicode, characters"),
            (json!(3), "`words`: invalid type"),
            (json!({}), "missing field `begin`"),
            (json!({"dashes": "-"}), "unknown field `dashes`"),
            (learned, "expected at most 1024 marks, found 1025"),
        ] {
            let error = parse(Some(value)).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }
}
