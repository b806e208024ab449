//! One row: its text, its words if it is tagged, and its labels.

use std::ops::Range;

use polyhead_model::TaskKind;
use polyhead_text::{join_words, locate_words};

use super::bio::Tag;
use super::cell::RawLabel;
use super::file::Record;
use super::quote::{listed, quoted};

/// Which fields of a source's files hold what.
#[derive(Clone, Debug)]
pub(super) struct Schema {
    /// The field with the text.
    pub(super) text: String,
    /// The field with the words.
    pub(super) tokens: String,
    /// Field and kind of each task of the source, in order.
    pub(super) tasks: Vec<(String, TaskKind)>,
}

/// A row as it was read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// The original text.
    pub(super) text: String,
    /// Of rows with words, where a task tags them.
    pub(super) words: Option<RowWords>,
    /// One per task of the schema.
    pub(super) labels: Vec<Option<RawLabel>>,
}

/// The words of a row. The encoder sees them joined, in place of the text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RowWords {
    pub(super) joined: String,
    /// Where each word stands in `joined`, in characters.
    pub(super) in_joined: Vec<Range<usize>>,
    /// Where each word stands in the original text, in characters.
    pub(super) in_text: Vec<Range<usize>>,
}

impl Schema {
    /// The fields that do not depend on tasks.
    pub(super) fn text_and_tokens(self) -> (String, String) {
        (self.text, self.tokens)
    }

    /// Reads one row.
    ///
    /// # Errors
    /// The field, what was expected and what was found; the caller knows where.
    pub(super) fn row(&self, record: &dyn Record) -> Result<Row, String> {
        let tagged = self.tasks.iter().any(|(_, kind)| kind.reads_words());
        let text = match record.cell(&self.text)? {
            Some(cell) => cell.text().map_err(|error| in_field(&self.text, error))?,
            None => None,
        };
        // Without a task that tags, the field may hold anything: it is not ours.
        let words = match record.cell(&self.tokens)? {
            Some(cell) if tagged || text.is_none() => {
                cell.words().map_err(|error| in_field(&self.tokens, error))?
            }
            _ => None,
        };
        let words = words.filter(|words| !words.is_empty());
        let labels = self.labels(record, words.as_deref())?;
        let (text, words) = match (text, words) {
            (None | Some(""), Some(words)) => {
                let (joined, places) = join_words(&words);
                let in_text = places.clone();
                (joined.clone(), Some(RowWords { joined, in_joined: places, in_text }))
            }
            (Some(text), Some(words)) => {
                let in_text = self.locate(text, &words)?;
                let (joined, in_joined) = join_words(&words);
                (text.to_owned(), Some(RowWords { joined, in_joined, in_text }))
            }
            (Some(text), None) => (text.to_owned(), None),
            (None, None) => return Err(self.no_text(record)),
        };
        Ok(Row { text, words: words.filter(|_| tagged), labels })
    }

    fn labels(
        &self,
        record: &dyn Record,
        words: Option<&[String]>,
    ) -> Result<Vec<Option<RawLabel>>, String> {
        let label = |(field, kind): &(String, TaskKind)| {
            let Some(cell) = record.cell(field)? else { return Ok(None) };
            let label = cell.label(*kind).map_err(|error| in_field(field, error))?;
            match label {
                Some(RawLabel::Tags(tags)) => {
                    self.check_tags(&tags, words).map_err(|error| in_field(field, error))?;
                    Ok((!tags.is_empty()).then_some(RawLabel::Tags(tags)))
                }
                label => Ok(label),
            }
        };
        self.tasks.iter().map(label).collect()
    }

    fn check_tags(&self, tags: &[String], words: Option<&[String]>) -> Result<(), String> {
        let Some(words) = words else {
            if tags.is_empty() {
                return Ok(());
            }
            let field = quoted(&self.tokens);
            return Err(format!(
                "expected words in field {field} for {} tags, found none",
                tags.len()
            ));
        };
        if tags.len() != words.len() {
            return Err(format!(
                "expected {} tags, one for each word of field {}, found {}",
                words.len(),
                quoted(&self.tokens),
                tags.len()
            ));
        }
        match (0..).zip(tags).find(|(_, tag)| Tag::parse(tag).is_none()) {
            None => Ok(()),
            Some((index, tag)) => Err(format!(
                "word {} {}: expected `O`, `B-TYPE` or `I-TYPE`, found {}",
                index + 1,
                quoted(&words[index]),
                quoted(tag)
            )),
        }
    }

    fn locate(&self, text: &str, words: &[String]) -> Result<Vec<Range<usize>>, String> {
        locate_words(text, words).map_err(|index| {
            let error = format!(
                "word {} {}: not in field {} after the words before it",
                index + 1,
                quoted(&words[index]),
                quoted(&self.text)
            );
            in_field(&self.tokens, error)
        })
    }

    fn no_text(&self, record: &dyn Record) -> String {
        let fields = record.fields();
        let field = quoted(&self.text);
        if fields.iter().any(|name| name == "text_a" || name == "text_b") {
            return format!("no field {field}, but a pair of texts: pairs come later");
        }
        match fields.contains(&self.text) {
            true => format!("field {field}: expected a string, found null"),
            false => format!("no field {field}; the row has {}", listed(&fields)),
        }
    }
}

fn in_field(field: &str, error: String) -> String {
    format!("field {}: {error}", quoted(field))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::file::Format;
    use super::*;
    use crate::tasks::kinds::{Classification, MultiLabel, Regression, Tokens};

    fn read(tasks: &[(&str, TaskKind)], line: &str) -> Result<Row, String> {
        let schema = Schema {
            text: "text".into(),
            tokens: "tokens".into(),
            tasks: tasks.iter().map(|(field, kind)| (field.to_string(), *kind)).collect(),
        };
        let format = if line.starts_with('{') { Format::JsonLines } else { Format::Csv };
        let mut row = Err("no row".to_owned());
        format.records(line.as_bytes(), |_, record| {
            row = Ok(schema.row(record)?);
            Ok(())
        })?;
        row
    }

    const BOTH: &[(&str, TaskKind)] = &[("a", Classification), ("t", Tokens)];

    #[test]
    fn text_and_words_stand_for_each_other() {
        struct Case {
            line: &'static str,
            text: &'static str,
            joined: Option<&'static str>,
            in_text: &'static [Range<usize>],
        }
        let cases = [
            Case { line: r#"{"text": "a b"}"#, text: "a b", joined: None, in_text: &[] },
            Case {
                line: r#"{"tokens": ["é", "bc"]}"#,
                text: "é bc",
                joined: Some("é bc"),
                in_text: &[0..1, 2..4],
            },
            Case {
                line: r#"{"text": "éb,c", "tokens": ["éb", ",", "c"]}"#,
                text: "éb,c",
                joined: Some("éb , c"),
                in_text: &[0..2, 2..3, 3..4],
            },
            Case { line: r#"{"text": "", "tokens": []}"#, text: "", joined: None, in_text: &[] },
            Case { line: r#"{"text": "x", "tokens": []}"#, text: "x", joined: None, in_text: &[] },
            Case {
                line: "text,tokens\n,\"x y\"\n",
                text: "x y",
                joined: Some("x y"),
                in_text: &[0..1, 2..3],
            },
            Case {
                line: "tokens,t\n\"[\"\"New York\"\", \"\"!\"\"]\",B-a O\n",
                text: "New York !",
                joined: Some("New York !"),
                in_text: &[0..8, 9..10],
            },
        ];
        for Case { line, text, joined, in_text } in cases {
            let row = read(BOTH, line).unwrap();
            assert_eq!(row.text, text, "{line}");
            let words = row.words.as_ref();
            assert_eq!(words.map(|words| words.joined.as_str()), joined, "{line}");
            assert_eq!(words.map_or(&[][..], |words| &words.in_text), in_text, "{line}");
        }
    }

    #[test]
    fn words_are_left_alone_where_nothing_is_tagged() {
        let class = &BOTH[..1];
        let row = read(class, r#"{"text": "one two", "tokens": 2, "a": "x"}"#).unwrap();
        assert_eq!((row.text.as_str(), &row.words), ("one two", &None));
        let row = read(class, r#"{"tokens": ["one", "two"]}"#).unwrap();
        assert_eq!((row.text.as_str(), &row.words), ("one two", &None));
    }

    #[test]
    fn labels_may_be_missing() {
        for (line, expected) in [
            (r#"{"text": "x"}"#, [false, false]),
            (r#"{"text": "x", "a": null, "t": null}"#, [false, false]),
            (r#"{"text": "x", "a": "", "t": []}"#, [false, false]),
            (r#"{"text": "x", "tokens": ["x"], "a": 1, "t": ["O"]}"#, [true, true]),
            ("text,a,tokens,t\nx,,x,\n", [false, false]),
            ("text,tokens,t\nx,x,O\n", [false, true]),
        ] {
            let row = read(BOTH, line).unwrap();
            let found: Vec<bool> = row.labels.iter().map(Option::is_some).collect();
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_row() {
        for (line, expected) in [
            (r#"{"a": "x", "b": 1}"#, "line 1: no field `text`; the row has `a`, `b`"),
            ("{}", "line 1: no field `text`; the row has nothing"),
            (r#"{"text": null}"#, "line 1: field `text`: expected a string, found null"),
            (r#"{"text": ["x"]}"#, "line 1: field `text`: expected a string, found an array"),
            (
                r#"{"text_a": "x", "text_b": "y"}"#,
                "line 1: no field `text`, but a pair of texts: pairs come later",
            ),
            (r#"{"text": "x", "a": {}}"#, "line 1: field `a`: expected a label, found an object"),
            (
                r#"{"text": "x", "t": ["O"]}"#,
                "line 1: field `t`: expected words in field `tokens` for 1 tags, found none",
            ),
            (
                r#"{"tokens": ["x", "y"], "t": ["O", "X-foo"]}"#,
                "line 1: field `t`: word 2 `y`: expected `O`, `B-TYPE` or `I-TYPE`, found `X-foo`",
            ),
            (
                r#"{"tokens": ["x"], "t": [""]}"#,
                "line 1: field `t`: word 1 `x`: expected `O`, `B-TYPE` or `I-TYPE`, found ``",
            ),
            (
                r#"{"tokens": "x y", "t": ["O"]}"#,
                "line 1: field `tokens`: expected an array of strings, found a string",
            ),
            (
                r#"{"text": "x y", "tokens": ["y", "x"]}"#,
                "line 1: field `tokens`: word 2 `x`: not in field `text` after the words before it",
            ),
        ] {
            assert_eq!(read(BOTH, line).unwrap_err(), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_file_makes_it_panic(bytes in near_rows(), csv in any::<bool>()) {
            let schema = Schema {
                text: "text".into(),
                tokens: "tokens".into(),
                tasks: [Classification, MultiLabel, Regression, Tokens]
                    .map(|kind| (kind.to_string(), kind))
                    .to_vec(),
            };
            let format = if csv { Format::Csv } else { Format::JsonLines };
            let lines = 1 + bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
            // A `\r` alone ends a row of CSV, but no line.
            let mut last = 1;
            let read = format.records(&bytes, |line, record| {
                assert!((last..=lines).contains(&line), "{line} of {lines} after {last}");
                last = line;
                let row = schema.row(record)?;
                assert_eq!(row.labels.len(), 4);
                Ok(())
            });
            if let Err(error) = read {
                prop_assert!(error.starts_with("line "), "{}", error);
            }
        }
    }

    /// Bytes that look like rows more often than not.
    fn near_rows() -> impl Strategy<Value = Vec<u8>> {
        let piece = proptest::sample::select(vec![
            &b"text"[..],
            b"tokens",
            b"tokens,text,regression,multilabel\n",
            b"{\"text\": \"a b\", \"tokens\": [\"a\", \"b\"]}",
            b"\"regression\": 1e999",
            b"[\"a\"]",
            b"\xef\xbb\xbf",
            b"\xff",
            b"\"",
            b",",
            b"\n",
            b"\r\n",
            b"\r",
            b" ",
            b"{",
            b"}",
            b"[",
        ]);
        proptest::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
    }
}
