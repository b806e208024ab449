//! The input that a model reads from a row.

use std::ops::Range;

use polyhead_files::{Record, RowError, quoted};
use polyhead_text::{TextInput, join_words, locate_words};

use super::fields::{InputFields, TextFields};

/// The input of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct RowInput {
    /// The text or the pair of texts as the row has it; its words joined by blanks if it has none.
    pub text: TextInput,
    /// The words of the text, where a task tags them. The encoder sees them joined, in place of the
    /// text.
    pub words: Option<RowWords>,
}

/// The words of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct RowWords {
    /// The words in order; at least one.
    pub words: Vec<String>,
    /// `[words]`: where each word stands in the text of the row, in characters.
    pub in_text: Vec<Range<usize>>,
}

impl InputFields {
    /// Reads the input of a row.
    ///
    /// Words stand in for a text whose fields are all missing, null or empty. Beside a text, they are
    /// read only where a task tags them: elsewhere the field may hold anything.
    ///
    /// - `tagged`: whether a task tags the words of rows
    ///
    /// # Errors
    /// Line, field, what was expected and what was found.
    pub fn read(&self, record: &Record, tagged: bool) -> Result<RowInput, RowError> {
        let has_words = || record.words(&self.tokens).is_ok_and(|words| words.is_some());
        let text = match self.text.is_empty_in(record)? && has_words() {
            true => None,
            false => self.text.text_of(record)?,
        };
        let words = match &text {
            Some(_) if !tagged => None,
            _ => record.words(&self.tokens)?,
        };
        let error = |message: String| record.field_error(&self.tokens, &message);
        let (text, words) = match (text, words) {
            (Some(TextInput::Pair(..)), Some(_)) => {
                return Err(error("expected no words beside a pair of texts".to_owned()));
            }
            (Some(TextInput::One(text)), Some(words)) if !text.is_empty() => {
                let in_text = self.locate(&text, &words).map_err(error)?;
                (TextInput::One(text), Some(RowWords { words, in_text }))
            }
            (_, Some(words)) => {
                let (joined, in_text) = join_words(&words);
                (TextInput::One(joined), Some(RowWords { words, in_text }))
            }
            (Some(text), None) => (text, None),
            (None, None) => return Err(self.nothing_in(record)),
        };
        Ok(RowInput { text, words: words.filter(|_| tagged) })
    }

    fn locate(&self, text: &str, words: &[String]) -> Result<Vec<Range<usize>>, String> {
        let places = locate_words(text, words).map_err(|index| {
            let names: Vec<String> = self.text.names().into_iter().map(quoted).collect();
            format!(
                "word {} {}: not in field {} after the words before it",
                index + 1,
                quoted(&words[index]),
                names.join(", ")
            )
        })?;
        // A word of one field may stand in another one too, or in the template.
        let one_field = matches!(self.text, TextFields::One(_));
        let all = places.iter().map(ExactSizeIterator::len).sum::<usize>()
            == text.chars().filter(|character| !character.is_whitespace()).count();
        match one_field || all {
            true => Ok(places),
            false => {
                Err("expected words that make up the whole text, because it is made of several \
                          fields; leave the words or these fields out"
                    .to_owned())
            }
        }
    }

    /// The error of a row with neither a text nor words.
    fn nothing_in(&self, record: &Record) -> RowError {
        record.no_text(self.text.names()[0], Some(&self.tokens))
    }
}

#[cfg(test)]
mod tests {
    use polyhead_files::{RowFormat, RowReader};

    use super::*;

    fn read_with(fields: &InputFields, source: &str, tagged: bool) -> Result<RowInput, String> {
        let format = if source.starts_with('{') { RowFormat::JsonLines } else { RowFormat::Csv };
        let read = || {
            let mut records = RowReader::new(source.as_bytes(), format)?;
            fields.read(&records.next().expect("there is a row")?, tagged)
        };
        read().map_err(|error: RowError| error.to_string())
    }

    fn read(source: &str, tagged: bool) -> Result<RowInput, String> {
        read_with(&InputFields::default(), source, tagged)
    }

    /// Text, words joined with `+`, and their places.
    type Found = (&'static str, Option<&'static str>, &'static [Range<usize>]);

    #[test]
    fn words_stand_in_for_a_text_that_is_missing_or_empty() {
        let cases: [(&str, Found); 10] = [
            (r#"{"text": "a b"}"#, ("a b", None, &[])),
            (
                r#"{"text": "éb,c", "tokens": ["éb", ",", "c"]}"#,
                ("éb,c", Some("éb+,+c"), &[0..2, 2..3, 3..4]),
            ),
            (r#"{"tokens": ["é", "bc"]}"#, ("é bc", Some("é+bc"), &[0..1, 2..4])),
            (r#"{"text": null, "tokens": ["c", "d"]}"#, ("c d", Some("c+d"), &[0..1, 2..3])),
            (r#"{"text": "", "tokens": ["c", "d"]}"#, ("c d", Some("c+d"), &[0..1, 2..3])),
            (r#"{"text": "", "tokens": []}"#, ("", None, &[])),
            ("text,tokens\n,c  d\n", ("c d", Some("c+d"), &[0..1, 2..3])),
            (
                "text,tokens\nAnna runs,\"['Anna', 'runs']\"\n",
                ("Anna runs", Some("Anna+runs"), &[0..4, 5..9]),
            ),
            ("tokens\n\"['New York', '!']\"\n", ("New York !", Some("New York+!"), &[0..8, 9..10])),
            (
                "tokens\n[ AK-1 ] Anna\n",
                ("[ AK-1 ] Anna", Some("[+AK-1+]+Anna"), &[0..1, 2..6, 7..8, 9..13]),
            ),
        ];
        for (source, (text, words, in_text)) in cases {
            let row = read(source, true).unwrap();
            assert_eq!(row.text, TextInput::One(text.to_owned()), "{source}");
            let found = row.words.as_ref().map(|words| words.words.join("+"));
            assert_eq!(found.as_deref(), words, "{source}");
            assert_eq!(row.words.map_or(vec![], |words| words.in_text), in_text, "{source}");
            // Where nothing is tagged, the text is the same.
            let untagged = RowInput { text: TextInput::One(text.to_owned()), words: None };
            assert_eq!(read(source, false), Ok(untagged), "{source}");
        }
    }

    #[test]
    fn beside_a_text_and_without_a_tagging_task_the_words_may_be_anything() {
        for source in [
            r#"{"text": "a", "tokens": 5}"#,
            r#"{"text": "a", "tokens": ["b"]}"#,
            "text,tokens\na,['b\n",
        ] {
            let one = RowInput { text: TextInput::One("a".to_owned()), words: None };
            assert_eq!(read(source, false), Ok(one), "{source}");
            assert!(read(source, true).is_err(), "{source}");
        }
        let empty = RowInput { text: TextInput::One(String::new()), words: None };
        assert_eq!(read(r#"{"text": "", "tokens": 5}"#, false), Ok(empty));
    }

    #[test]
    fn pairs_are_two_strings_in_one_field() {
        let pair = TextInput::Pair("a".to_owned(), "b".to_owned());
        for tagged in [false, true] {
            let row = read(r#"{"text": ["a", "b"]}"#, tagged).unwrap();
            assert_eq!(row, RowInput { text: pair.clone(), words: None });
        }
        // A cell of CSV is a text, whatever it looks like.
        let row = read("text\n\"[\"\"a\"\", \"\"b\"\"]\"\n", false).unwrap();
        assert_eq!(row.text, TextInput::One(r#"["a", "b"]"#.to_owned()));
    }

    #[test]
    fn several_fields_are_one_text() {
        let names = ["title", "body"].map(str::to_owned);
        let joined = TextFields::new(&names, Some("\n"), None).unwrap();
        let template = TextFields::new(&[], None, Some(&"{title}: {body}".parse().unwrap()));
        for (text, source, expected) in [
            (&joined, r#"{"title": "A", "body": "b"}"#, Ok("A\nb")),
            (&joined, "title,body\n,b\n", Ok("b")),
            (template.as_ref().unwrap(), "title,body\nA,\n", Ok("A: ")),
            (
                &joined,
                r#"{"title": "A", "body": null}"#,
                Err("line 1: field `body`: expected a string, found null"),
            ),
            (&joined, r#"{"title": "A"}"#, Err("line 1: no field `body`; the row has `title`")),
            (&joined, "title\nA\n", Err("line 1: no column `body`; the header has `title`")),
            (
                &joined,
                r#"{"title": "A", "body": 5}"#,
                Err("line 1: field `body`: expected a string, found a number"),
            ),
            (
                &joined,
                r#"{"title": ["A", "B"], "body": ""}"#,
                Err("line 1: field `title`: expected a string, found an array"),
            ),
        ] {
            let fields = InputFields { text: text.clone(), ..InputFields::default() };
            let expected = expected
                .map(|text| RowInput { text: TextInput::One(text.to_owned()), words: None })
                .map_err(str::to_owned);
            assert_eq!(read_with(&fields, source, false), expected, "{source}");
        }
        let fields = InputFields { text: joined, ..InputFields::default() };
        let row =
            read_with(&fields, r#"{"title": "A", "body": "b c", "tokens": ["A", "b", "c"]}"#, true);
        assert_eq!(row.unwrap().words.unwrap().in_text, [0..1, 2..3, 4..5]);
    }

    fn joined_and_template() -> [InputFields; 2] {
        let names = ["title", "body"].map(str::to_owned);
        let joined = TextFields::new(&names, Some("\n"), None).unwrap();
        let template = TextFields::new(&[], None, Some(&"{title}: {body}".parse().unwrap()));
        [joined, template.unwrap()].map(|text| InputFields { text, ..InputFields::default() })
    }

    #[test]
    fn words_stand_in_for_several_fields_that_are_missing_or_empty() {
        for fields in joined_and_template() {
            for source in [
                r#"{"tokens": ["a", "b"]}"#,
                r#"{"title": "", "body": null, "tokens": ["a", "b"]}"#,
                "title,body,tokens\n,,a b\n",
                "tokens,title\na b,\n",
            ] {
                let row = read_with(&fields, source, true).unwrap();
                assert_eq!(row.text, TextInput::One("a b".to_owned()), "{source}");
                assert_eq!(row.words.unwrap().in_text, [0..1, 2..3], "{source}");
                let row = read_with(&fields, source, false).unwrap();
                assert_eq!(row.text, TextInput::One("a b".to_owned()), "{source}");
            }
            // One field alone is no text.
            for source in [r#"{"title": "A", "tokens": ["A"]}"#, r#"{"title": "", "tokens": []}"#] {
                let error = read_with(&fields, source, false).unwrap_err();
                assert!(error.contains("no field `body`"), "{source}: {error}");
            }
        }
        let empty = r#"{"title": "", "body": "", "tokens": []}"#;
        let text =
            joined_and_template().map(|fields| read_with(&fields, empty, true).unwrap().text);
        assert_eq!(text, ["", ": "].map(|text| TextInput::One(text.to_owned())));
    }

    /// A word is found where it stands first, which need not be its field.
    #[test]
    fn words_beside_several_fields_make_up_their_text() {
        let name = TextFields::new(&[], None, Some(&"name: {body}".parse().unwrap())).unwrap();
        let name = InputFields { text: name, ..InputFields::default() };
        let [joined, template] = joined_and_template();
        for (fields, source) in [
            (&name, r#"{"body": "name is Bob", "tokens": ["name", "is", "Bob"]}"#),
            (&joined, r#"{"title": "Bob ran", "body": "Bob is", "tokens": ["Bob", "is"]}"#),
            (&joined, r#"{"title": "A", "body": "b c", "tokens": ["A", "c"]}"#),
            (&template, r#"{"title": "A", "body": "b", "tokens": ["A", "b"]}"#),
        ] {
            let expected = "line 1: field `tokens`: expected words that make up the whole text, \
                            because it is made of several fields; leave the words or these fields out";
            assert_eq!(read_with(fields, source, true).unwrap_err(), expected, "{source}");
            assert!(read_with(fields, source, false).is_ok(), "{source}");
        }
        let source = r#"{"body": "is Bob", "tokens": ["name", ":", "is", "Bob"]}"#;
        let words = read_with(&name, source, true).unwrap().words.unwrap();
        assert_eq!(words.in_text, [0..4, 4..5, 6..8, 9..12]);
    }

    #[test]
    fn what_is_wrong_with_a_row() {
        for (source, expected) in [
            (r#"{"a": "x", "b": 1}"#, "line 1: no field `text`; the row has `a`, `b`"),
            ("{}", "line 1: no field `text`; the row has nothing"),
            (r#"{"text": null}"#, "line 1: field `text`: expected a string, found null"),
            (
                r#"{"text": ["x"]}"#,
                "line 1: field `text`: expected a string, or an array of two strings for a pair of \
                 texts, found another array",
            ),
            (
                r#"{"text": ["x", "y"], "tokens": ["x"]}"#,
                "line 1: field `tokens`: expected no words beside a pair of texts",
            ),
            (
                r#"{"tokens": "x y"}"#,
                "line 1: field `tokens`: expected an array of strings, found a string",
            ),
            (
                r#"{"tokens": ["x", 1]}"#,
                "line 1: field `tokens`: word 2: expected a string, found a number",
            ),
            (
                r#"{"text": "x", "tokens": "x"}"#,
                "line 1: field `tokens`: expected an array of strings, found a string",
            ),
            (
                r#"{"tokens": []}"#,
                "line 1: no field `text`, and no words in field `tokens`: expected a text or at \
                 least one word",
            ),
            (
                r#"{"text": "x y", "tokens": ["y", "x"]}"#,
                "line 1: field `tokens`: word 2 `x`: not in field `text` after the words before it",
            ),
        ] {
            assert_eq!(read(source, true).unwrap_err(), expected, "{source}");
        }
    }
}
