//! One row: its text or pair of texts, its words if it is tagged, and its labels.

use std::ops::Range;

use polyhead_files::{Record, RowError, quoted};
use polyhead_model::InputFields;
use polyhead_text::{TextInput, join_words};

use super::cell::RawLabel;
use super::label_column::LabelColumn;
use crate::config::PairReading;
use crate::tasks::rules;

/// The fields of a source's files that hold texts, words and labels.
#[derive(Clone, Debug)]
pub(super) struct Schema {
    /// The fields with the text and the words.
    pub(super) input: InputFields,
    /// True if each text of a row becomes a sequence of its own.
    pub(super) apart: bool,
    /// The tasks whose rows have to be pairs, and how they read them.
    pub(super) pairs: Vec<(String, PairReading)>,
    /// The fields with the label of each task of the source, in order.
    pub(super) tasks: Vec<LabelColumn>,
}

/// A row as it was read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// The original text, or a pair of texts.
    pub(super) input: TextInput,
    /// The texts behind those of a pair, where each text becomes a sequence of its own.
    pub(super) further: Vec<String>,
    /// The words, where a task tags them.
    pub(super) words: Option<RowWords>,
    /// One per task of the schema.
    pub(super) labels: Vec<Option<RawLabel>>,
}

/// The words of a row. The encoder sees them joined, in place of the text.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct RowWords {
    pub(super) joined: String,
    /// Where each word stands in `joined`, in characters.
    pub(super) in_joined: Vec<Range<usize>>,
    /// Where each word stands in the original text, in characters.
    pub(super) in_text: Vec<Range<usize>>,
}

impl Schema {
    /// Reads one row.
    ///
    /// # Errors
    /// Line, field, what was expected and what was found.
    pub(super) fn row(&self, record: &Record) -> Result<Row, RowError> {
        let tagged = self.tasks.iter().any(|column| column.kind.reads_words());
        let input = self.input.read(record, tagged)?;
        let words = input.words.as_ref().map(|words| &*words.words);
        let further = match self.apart {
            true => self.input.text.further_texts(record)?,
            false => Vec::new(),
        };
        let texts = input.text.strings().count() + further.len();
        let labels = self.labels(record, words, texts)?;
        self.check_texts(&input.text, &further).map_err(|(field, message)| {
            let names = self.input.text.names();
            // One field may hold both texts.
            record.field_error(names.get(field).unwrap_or(&names[0]), &message)
        })?;
        let words = input.words.map(|words| {
            let (joined, in_joined) = join_words(&words.words);
            RowWords { joined, in_joined, in_text: words.in_text }
        });
        Ok(Row { input: input.text, further, words, labels })
    }

    /// Checks that a row has the texts that its tasks read as a pair or compare.
    ///
    /// # Errors
    /// The number of the field, and what was expected and found.
    fn check_texts(&self, text: &TextInput, further: &[String]) -> Result<(), (usize, String)> {
        let of_task = self.pairs.first().map(|(task, reading)| {
            format!(", as task {} has `pair = \"{}\"`", quoted(task), reading.name())
        });
        if !self.apart && of_task.is_none() {
            return Ok(());
        }
        let why = of_task.unwrap_or_default();
        let least = self.tasks.iter().map(|column| rules(column.kind).least_texts()).max();
        let TextInput::Pair(first, second) = text else {
            return match text.strings().next() {
                _ if least > Some(1) => {
                    Err((0, format!("expected a pair of texts{why}, found one text")))
                }
                Some(text) if !text.trim().is_empty() => Ok(()),
                _ => Err((0, "expected a text, found an empty one".to_owned())),
            };
        };
        if let Some(empty) = [first, second].into_iter().position(|text| text.trim().is_empty()) {
            return Err((empty, format!("expected two texts{why}, found an empty one")));
        }
        if !further.is_empty() && !self.pairs.is_empty() {
            return Err((0, format!("expected two texts{why}, found {}", 2 + further.len())));
        }
        match further.iter().find(|text| *text == second) {
            Some(text) => {
                let message = "expected a positive that differs from the negatives, found";
                Err((1, format!("{message} {} as both", quoted(text))))
            }
            None => Ok(()),
        }
    }

    fn labels(
        &self,
        record: &Record,
        words: Option<&[String]>,
        texts: usize,
    ) -> Result<Vec<Option<RawLabel>>, RowError> {
        let read = |column: &LabelColumn| match rules(column.kind).implied_label(texts) {
            Some(label) => Ok(Some(label)),
            None => column.read(record),
        };
        let label = |column: &LabelColumn| match read(column)? {
            Some(RawLabel::Tags(tags)) => {
                let error = |message: String| record.field_error(column.field(), &message);
                self.check_tags(&tags, words).map_err(error)?;
                Ok((!tags.is_empty()).then_some(RawLabel::Tags(tags)))
            }
            label => Ok(label),
        };
        self.tasks.iter().map(label).collect()
    }

    fn check_tags(&self, tags: &[String], words: Option<&[String]>) -> Result<(), String> {
        let Some(words) = words else {
            if tags.is_empty() {
                return Ok(());
            }
            let field = quoted(&self.input.tokens);
            return Err(format!(
                "expected words in field {field} for {} tags, found none",
                tags.len()
            ));
        };
        if tags.len() != words.len() {
            return Err(format!(
                "expected {} tags, one for each word of field {}, found {}",
                words.len(),
                quoted(&self.input.tokens),
                tags.len()
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use polyhead_files::{RowFormat, RowReader};
    use polyhead_model::{TaskKind, TextFields};
    use proptest::prelude::*;

    use super::*;
    use crate::data::tests::task;
    use crate::tasks::kinds::{Classification, MultiLabel, Regression, Tokens};

    fn read(tasks: &[(&str, TaskKind)], line: &str) -> Result<Row, String> {
        let schema = Schema {
            input: InputFields::default(),
            apart: false,
            pairs: Vec::new(),
            tasks: tasks
                .iter()
                .map(|&(field, kind)| LabelColumn::new(&task(field, kind)))
                .collect(),
        };
        let format = if line.starts_with('{') { RowFormat::JsonLines } else { RowFormat::Csv };
        let read = || {
            let mut records = RowReader::new(line.as_bytes(), format)?;
            schema.row(&records.next().expect("there is a row")?)
        };
        read().map_err(|error: RowError| error.to_string())
    }

    /// Reads a row whose texts are compared.
    fn read_compared(kind: TaskKind, line: &str) -> Result<Row, String> {
        let tasks = vec![LabelColumn::new(&task("score", kind))];
        let text = TextFields::Several(["q", "yes", "no"].map(str::to_owned).to_vec());
        let input = InputFields { text, ..InputFields::default() };
        let schema = Schema { input, apart: true, pairs: Vec::new(), tasks };
        let mut records = RowReader::new(line.as_bytes(), RowFormat::JsonLines).unwrap();
        schema.row(&records.next().unwrap().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn compared_texts_are_two_or_more_that_differ() {
        let line = r#"{"q": "a", "yes": "b", "no": ["c", "d"]}"#;
        let row = read_compared(TaskKind::Retrieval, line).unwrap();
        assert_eq!(row.input, TextInput::Pair("a".to_owned(), "b".to_owned()));
        assert_eq!(row.further, ["c", "d"]);
        assert!(matches!(row.labels[..], [Some(RawLabel::Number(2.0))]));
        for (line, expected) in [
            (r#"{"q": "a", "no": "c"}"#, "line 1: no field `yes`; the row has `q`, `no`"),
            (
                r#"{"q": "a", "yes": " ", "no": "c"}"#,
                "line 1: field `yes`: expected two texts, found an empty one",
            ),
            (
                r#"{"q": "", "yes": "b", "no": "c"}"#,
                "line 1: field `q`: expected two texts, found an empty one",
            ),
            (
                r#"{"q": "a", "yes": "b", "no": ["c", "b"]}"#,
                "line 1: field `yes`: expected a positive that differs from the negatives, found `b` \
                 as both",
            ),
        ] {
            assert_eq!(read_compared(TaskKind::Retrieval, line).unwrap_err(), expected, "{line}");
        }
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
            assert_eq!(row.input, TextInput::One(text.to_owned()), "{line}");
            let words = row.words.as_ref();
            assert_eq!(words.map(|words| words.joined.as_str()), joined, "{line}");
            assert_eq!(words.map_or(&[][..], |words| &words.in_text), in_text, "{line}");
        }
    }

    #[test]
    fn words_are_left_alone_where_nothing_is_tagged() {
        let class = &BOTH[..1];
        for line in
            [r#"{"text": "one two", "tokens": 2, "a": "x"}"#, r#"{"tokens": ["one", "two"]}"#]
        {
            let row = read(class, line).unwrap();
            assert_eq!((row.input, row.words), (TextInput::One("one two".to_owned()), None));
        }
    }

    #[test]
    fn two_strings_are_a_pair_of_texts() {
        let row = read(BOTH, r#"{"text": ["one", "two"], "a": "x"}"#).unwrap();
        let pair = TextInput::Pair("one".to_owned(), "two".to_owned());
        assert_eq!((row.input, row.words), (pair, None));
        // A cell of CSV is a text, whatever it looks like.
        let row = read(BOTH, "text,a\n\"[\"\"one\"\", \"\"two\"\"]\",x\n").unwrap();
        assert_eq!(row.input, TextInput::One(r#"["one", "two"]"#.to_owned()));
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
            (
                r#"{"text": ["x", "y"], "tokens": ["x"], "t": ["O"]}"#,
                "line 1: field `tokens`: expected no words beside a pair of texts",
            ),
            (r#"{"text": "x", "a": {}}"#, "line 1: field `a`: expected a label, found an object"),
            (
                r#"{"text": "x", "t": ["O"]}"#,
                "line 1: field `t`: expected words in field `tokens` for 1 tags, found none",
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
                input: InputFields::default(),
                apart: false,
                pairs: Vec::new(),
                tasks: [Classification, MultiLabel, Regression, Tokens]
                    .map(|kind| LabelColumn::new(&task(kind.name(), kind)))
                    .to_vec(),
            };
            let format = if csv { RowFormat::Csv } else { RowFormat::JsonLines };
            let Ok(records) = RowReader::new(&bytes[..], format) else { return Ok(()) };
            for row in records.filter_map(|record| schema.row(&record.ok()?).ok()) {
                prop_assert_eq!(row.labels.len(), 4);
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
