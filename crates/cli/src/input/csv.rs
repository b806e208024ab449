//! Comma-separated values: a header row, then rows, one column of which is the text.

use std::collections::VecDeque;
use std::io::{self, Read};

use anyhow::{Result, anyhow, bail};
use csv::{ByteRecord, ErrorKind, Position, Reader};
use polyhead_text::join_words;
use sha2::{Digest, Sha256};

use super::lines::utf8;
use super::{Fields, Rest, Text};
use crate::hash::{RowHash, add_pieces};

/// The columns asked for of every row in `source`.
///
/// A row may span lines where a value is quoted; it counts from its first.
/// Lines without anything are no rows, as in Python's `csv`.
pub(super) fn texts<R: Read>(
    source: R,
    fields: Fields,
) -> Result<impl Iterator<Item = Result<Text>> + use<R>> {
    let mut rows = Rows {
        reader: Reader::from_reader(LineStarts::new(source)),
        columns: Columns::default(),
        header: Sha256::new(),
    };
    let header = rows.reader.byte_headers().cloned().map_err(|error| rows.explain(error))?;
    rows.columns = Columns::of(&header, &fields)?;
    add_pieces(&mut rows.header, header.iter());
    Ok(rows)
}

struct Rows<R> {
    reader: Reader<LineStarts<R>>,
    columns: Columns,
    /// The hash of the names, which every row has besides its values.
    header: Sha256,
}

/// Which columns hold what.
#[derive(Default)]
struct Columns {
    /// Of all of them.
    names: Vec<String>,
    /// `None` where only words are there.
    text: Option<usize>,
    words: Option<usize>,
    /// The others, where they are kept.
    kept: Vec<usize>,
}

impl<R: Read> Iterator for Rows<R> {
    type Item = Result<Text>;

    fn next(&mut self) -> Option<Result<Text>> {
        let mut record = ByteRecord::new();
        match self.reader.read_byte_record(&mut record) {
            Ok(false) => None,
            Ok(true) => Some(self.text_of(&record)),
            Err(error) => Some(Err(self.explain(error))),
        }
    }
}

impl<R: Read> Rows<R> {
    fn text_of(&mut self, record: &ByteRecord) -> Result<Text> {
        let line = self.line_of(record.position());
        let value = |column: usize| {
            let bytes =
                record.get(column).expect("every row is as long as the header: the reader checks");
            let name = &self.columns.names[column];
            utf8(bytes.to_vec(), format_args!("line {line}: column `{name}`"))
        };
        let Columns { names, text, words, kept } = &self.columns;
        let words = match words {
            Some(column) => words_of(&value(*column)?),
            None => None,
        };
        let text = match (text, &words) {
            (Some(column), _) => value(*column)?,
            (None, Some(words)) => join_words(words).0,
            (None, None) => String::new(),
        };
        let kept = kept.iter().map(|column| {
            let value = serde_json::Value::from(value(*column)?).to_string();
            Ok((names[*column].clone(), value))
        });
        let rest = Rest { columns: kept.collect::<Result<_>>()?, words };
        let row = RowHash::after(&self.header, record.iter());
        Ok(Text { text, line, row, rest })
    }

    fn explain(&mut self, error: csv::Error) -> anyhow::Error {
        let line = self.line_of(error.position());
        match error.kind() {
            ErrorKind::UnequalLengths { expected_len, len, .. } => {
                anyhow!("line {line}: expected {expected_len} columns, found {len}")
            }
            _ => error.into(),
        }
    }

    fn line_of(&mut self, position: Option<&Position>) -> u64 {
        self.reader.get_mut().line_at(position.map_or(0, Position::byte))
    }
}

impl Columns {
    fn of(header: &ByteRecord, fields: &Fields) -> Result<Self> {
        if header.is_empty() {
            // An empty file: the caller finds no texts and says so.
            return Ok(Self::default());
        }
        let names: Vec<String> =
            header.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        let column = |field: &str| names.iter().position(|name| name == field);
        let text = column(&fields.text);
        let words = fields.words.as_deref().and_then(column);
        // Where the others are not kept, nobody asks which of two is meant.
        let read = |name: &String| fields.words.is_some() || *name == fields.text;
        let twice = |(i, name): &(usize, &String)| read(name) && names[..*i].contains(name);
        if let Some((_, name)) = names.iter().enumerate().find(twice) {
            bail!("line 1: two columns `{name}`");
        }
        if text.is_none() && words.is_none() {
            let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            bail!("line 1: no column `{}`, only {}", fields.text, names.join(", "))
        }
        let kept = match fields.words {
            None => Vec::new(),
            Some(_) => (0..names.len()).filter(|i| text != Some(*i)).collect(),
        };
        Ok(Self { names, text, words, kept })
    }
}

/// A JSON list of words, or words with blanks between them.
fn words_of(value: &str) -> Option<Vec<String>> {
    let words: Vec<String> = match value.trim_start().starts_with('[') {
        true => serde_json::from_str(value).ok()?,
        false => value.split_whitespace().map(str::to_owned).collect(),
    };
    (!words.is_empty()).then_some(words)
}

/// Passes bytes on and remembers where lines begin that are not empty.
///
/// The reader's own line numbers fall behind with `\r\n` and with empty lines:
/// for it, a row begins right after the `\r` of the row before.
struct LineStarts<R> {
    source: R,
    offset: u64,
    line: u64,
    in_line: bool,
    /// First byte and number of lines not yet asked for; the reader is ahead
    /// by no more than its buffer and the row it is in.
    starts: VecDeque<(u64, u64)>,
}

impl<R> LineStarts<R> {
    fn new(source: R) -> Self {
        Self { source, offset: 0, line: 1, in_line: false, starts: VecDeque::new() }
    }

    /// The line of a row that begins at byte `start` or after the line ends there.
    fn line_at(&mut self, start: u64) -> u64 {
        while self.starts.front().is_some_and(|&(first, _)| first < start) {
            self.starts.pop_front();
        }
        self.starts.front().map_or(self.line, |&(_, line)| line)
    }
}

impl<R: Read> Read for LineStarts<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read(buffer)?;
        for &byte in &buffer[..n] {
            match byte {
                b'\n' => {
                    self.line += 1;
                    self.in_line = false;
                }
                b'\r' => {}
                _ if self.in_line => {}
                _ => {
                    self.starts.push_back((self.offset, self.line));
                    self.in_line = true;
                }
            }
            self.offset += 1;
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &[u8]) -> Result<Vec<Text>> {
        texts(source, Fields { text: "text".into(), words: None })?.collect()
    }

    #[test]
    fn quotes_commas_line_ends_and_line_numbers() {
        let source = "id,text\n1,plain\n2,\"a, \"\"b\"\"\n\nc\"\n\n\n3,\n4,5\" pipe\n5,last";
        let expected = [("plain", 2), ("a, \"b\"\n\nc", 3), ("", 8), ("5\" pipe", 9), ("last", 10)];
        let unix = read(source.as_bytes()).unwrap();
        let windows = read(source.replace('\n', "\r\n").as_bytes()).unwrap();
        assert_eq!((unix.len(), windows.len()), (expected.len(), expected.len()));
        for ((unix, windows), (text, line)) in unix.iter().zip(&windows).zip(expected) {
            assert_eq!((unix.text.as_str(), unix.line), (text, line));
            assert_eq!((windows.text.replace('\r', ""), windows.line), (text.to_owned(), line));
        }
    }

    #[test]
    fn what_is_wrong_and_where() {
        for (source, expected) in [
            (&b"id,title\n1,a\n"[..], "line 1: no column `text`, only `id`, `title`"),
            (b"id,text\r\n1,a\r\n2\r\n", "line 3: expected 2 columns, found 1"),
            (
                b"id,text\n1,a\n2,\xff\n",
                "line 3: column `text`: expected UTF-8, found byte 0xff at position 1",
            ),
        ] {
            assert_eq!(read(source).unwrap_err().to_string(), expected);
        }
        let fields = Fields { text: "text".into(), words: Some("tokens".into()) };
        let error = texts(&b"id,text\na\xff,fine\n"[..], fields).unwrap().find_map(Result::err);
        assert_eq!(
            error.unwrap().to_string(),
            "line 2: column `id`: expected UTF-8, found byte 0xff at position 2"
        );
    }

    #[test]
    fn a_column_that_is_read_comes_once() {
        let read = |source: &str, words: Option<&str>| {
            let fields = Fields { text: "text".into(), words: words.map(str::to_owned) };
            texts(source.as_bytes(), fields)?.collect::<Result<Vec<_>>>()
        };
        for (source, words, expected) in [
            ("text,text\na,b\n", None, "line 1: two columns `text`"),
            ("id,text,id\n1,a,2\n", Some("tokens"), "line 1: two columns `id`"),
            ("text,,\na,,\n", Some("tokens"), "line 1: two columns ``"),
            ("text,tokens,tokens\na,a,a\n", Some("tokens"), "line 1: two columns `tokens`"),
        ] {
            assert_eq!(read(source, words).unwrap_err().to_string(), expected, "{source}");
        }
        assert_eq!(read("id,text,id\n1,a,2\n", None).unwrap()[0].text, "a");
    }

    #[test]
    fn nothing_in_nothing_out() {
        assert_eq!(read(b"").unwrap(), []);
        assert_eq!(read(b"id,text\n").unwrap(), []);
    }

    #[test]
    fn the_rest_of_a_row_is_strings() {
        let fields = Fields { text: "text".into(), words: Some("tokens".into()) };
        let source = "id,text,tokens\n07,a b,\"[\"\"a\"\", \"\"b\"\"]\"\n8,c d,c d\n9,e,\n";
        let found: Vec<Text> =
            texts(source.as_bytes(), fields).unwrap().map(|t| t.unwrap()).collect();
        assert_eq!(found[0].rest.columns[0], ("id".to_owned(), "\"07\"".to_owned()));
        assert_eq!(found[0].rest.columns[1].0, "tokens");
        let words: Vec<_> = found.iter().map(|text| text.rest.words.clone()).collect();
        let two = |a: &str, b: &str| Some(vec![a.to_owned(), b.to_owned()]);
        assert_eq!(words, [two("a", "b"), two("c", "d"), None]);
    }

    #[test]
    fn other_columns_need_not_be_utf8() {
        let found = read(b"id,text\n\xff,fine\n").unwrap();
        assert_eq!((&*found[0].text, found[0].line, found.len()), ("fine", 2, 1));
    }

    #[test]
    fn the_whole_row_and_its_names_are_hashed() {
        let row = |source: &str| read(source.as_bytes()).unwrap().remove(0).row;
        let expected = row("id,text\n1,a\n2,b\n");
        assert_eq!(row("id,text\r\n\r\n1,\"a\"\r\n"), expected);
        for other in ["id,text\n2,a\n", "no,text\n1,a\n", "text,id\na,1\n", "id,text\n1a,\n"] {
            assert_ne!(row(other), expected, "{other}");
        }
    }
}
