//! Texts to work on: from arguments, a file or standard input.
//!
//! Everything here streams: an input of any size is read a text at a time.
//! Each text keeps the line where it began, so that a message can point at it.

mod csv;
mod jsonl;
mod lines;
mod txt;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};

use crate::failure::usage;
use crate::hash::{RowHash, RowsHash};
use crate::output::Done;

/// Where the texts come from.
#[derive(Debug, Args)]
#[command(next_help_heading = "Input")]
pub(crate) struct InputArgs {
    /// Texts; in place of them, --input
    #[arg(value_name = "TEXT", conflicts_with = "input", help_heading = None)]
    texts: Vec<String>,

    /// Read texts from a .txt (a text a line), .jsonl or .csv file; - is standard input
    #[arg(short, long, value_name = "FILE|-")]
    input: Option<PathBuf>,

    /// Format of the input, whatever its name says; standard input is txt without this
    #[arg(long, value_name = "FORMAT")]
    input_format: Option<InputFormat>,

    /// The field or column that holds the text [default: text]
    #[arg(long, value_name = "NAME")]
    field: Option<String>,
}

/// How texts stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum InputFormat {
    /// A text a line.
    Txt,
    /// A JSON object a line.
    Jsonl,
    /// Comma-separated values under a header row.
    Csv,
}

/// A text, and where it stood.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) text: String,
    /// The line where it began, or its number among the arguments; from 1.
    pub(crate) line: u64,
    /// All of its row.
    pub(crate) row: RowHash,
    /// What else stood in its row, if it was asked for.
    pub(crate) rest: Rest,
}

/// A row without its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rest {
    /// Name and value of every other field, in their order; values are JSON.
    pub(crate) columns: Vec<(String, String)>,
    /// The words of the text, where the row has them.
    pub(crate) words: Option<Vec<String>>,
}

/// What is read of a row.
#[derive(Clone, Debug)]
struct Fields {
    /// The one that holds the text.
    text: String,
    /// The one that holds the words, where all other fields are kept too.
    words: Option<String>,
}

/// An open input.
pub(crate) struct Input {
    pub(crate) texts: Box<dyn Iterator<Item = Result<Text>> + Send>,
    pub(crate) place: Place,
    /// How rows become texts: read in another way, the same rows are others.
    pub(crate) reading: String,
    /// Bytes in all, where that is known.
    pub(crate) size: Option<u64>,
    /// Bytes read so far, which is ahead of the texts by a buffer at most.
    pub(crate) read: Arc<AtomicU64>,
}

/// What a message calls the input and the places in it.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Arguments,
    Stdin,
    File(PathBuf),
}

impl InputArgs {
    /// A file as `--input` names it; without one, nothing can be opened.
    pub(crate) fn of_file(
        input: Option<PathBuf>,
        input_format: Option<InputFormat>,
        field: Option<String>,
    ) -> Self {
        Self { texts: Vec::new(), input, input_format, field }
    }

    /// Finds what is wrong with the flags, then opens the input.
    pub(crate) fn open(self) -> Result<Input> {
        self.open_fields(None)
    }

    /// As [`Self::open`]; each text comes with the rest of its row, and its words.
    ///
    /// - `tokens_field`: the field that holds the words, if the user says which
    pub(crate) fn open_rows(self, tokens_field: Option<String>) -> Result<Input> {
        if tokens_field.is_some() {
            self.check_fields("--tokens-field")?;
        }
        self.open_fields(Some(tokens_field.unwrap_or_else(|| "tokens".to_owned())))
    }

    fn open_fields(self, words: Option<String>) -> Result<Input> {
        if self.field.is_some() {
            self.check_fields("--field")?;
        }
        let Some((place, format)) = self.source()? else {
            // clap's `requires` gives way where texts exclude --input.
            if self.input_format.is_some() {
                return Err(usage("--input-format needs --input"));
            }
            if self.texts.is_empty() {
                return Err(usage("no texts: give some, or --input FILE, or --input -"));
            }
            return Ok(Input::from_texts(self.texts));
        };
        let text = self.field.unwrap_or_else(|| "text".to_owned());
        Input::from_place(place, format, Fields { text, words })
    }

    /// Refuses `flag`, which names a field, where there are none.
    fn check_fields(&self, flag: &str) -> Result<()> {
        match self.source()? {
            None => Err(usage(format!("{flag} needs --input"))),
            Some((_, InputFormat::Txt)) => {
                Err(usage(format!("{flag}: a txt input has lines, no fields")))
            }
            Some(_) => Ok(()),
        }
    }

    /// What `--input` names, and its format.
    fn source(&self) -> Result<Option<(Place, InputFormat)>> {
        let Some(path) = &self.input else { return Ok(None) };
        let place = if path == Path::new("-") { Place::Stdin } else { Place::File(path.clone()) };
        let format = match self.input_format {
            Some(format) => format,
            None => InputFormat::of(&place)?,
        };
        Ok(Some((place, format)))
    }
}

impl InputFormat {
    fn of(place: &Place) -> Result<Self> {
        let Place::File(path) = place else { return Ok(Self::Txt) };
        let suffix = path.extension().map(|s| s.to_string_lossy().to_ascii_lowercase());
        match suffix.as_deref() {
            Some("txt") => Ok(Self::Txt),
            Some("jsonl") => Ok(Self::Jsonl),
            Some("csv") => Ok(Self::Csv),
            Some("parquet") => {
                Err(usage(format!("{place}: Parquet input comes later; use .jsonl or .csv")))
            }
            _ => Err(usage(format!(
                "{place}: expected .txt, .jsonl or .csv, or --input-format with one of them"
            ))),
        }
    }
}

impl Input {
    fn from_texts(texts: Vec<String>) -> Self {
        let texts = texts.into_iter().zip(1..).map(|(text, line)| {
            let row = RowHash::of(&text);
            Ok(Text { text, line, row, ..Text::default() })
        });
        Self {
            texts: Box::new(texts),
            place: Place::Arguments,
            reading: "texts".to_owned(),
            size: None,
            read: Arc::default(),
        }
    }

    fn from_place(place: Place, format: InputFormat, fields: Fields) -> Result<Self> {
        let (source, size): (Box<dyn Read + Send>, _) = match &place {
            Place::File(path) => {
                let (file, size) = open_file(path).with_context(|| place.to_string())?;
                (Box::new(file), size)
            }
            _ => (Box::new(io::stdin()), None),
        };
        let read = Arc::<AtomicU64>::default();
        let source = BufReader::with_capacity(1 << 16, Counted { source, read: read.clone() });
        let reading = format.reading(&fields);
        let texts = format.texts(source, fields).with_context(|| place.to_string())?;
        let name = place.to_string();
        let texts = texts.map(move |text| text.with_context(|| name.clone()));
        Ok(Self { texts: Box::new(texts), place, reading, size, read })
    }
}

impl Input {
    /// Passes over texts whose results exist already.
    ///
    /// They must be of the same rows: the results of others would come before
    /// those of this input.
    pub(crate) fn pass_over(&mut self, done: &Done) -> Result<()> {
        let mut hash = RowsHash::default();
        for passed in 0..done.texts {
            let Some(text) = self.texts.next() else {
                let (place, expected) = (&self.place, done.texts);
                return Err(usage(format!(
                    "{place}: expected the {expected} texts whose results exist already, found \
                     {passed}; begin anew without --resume"
                )));
            };
            hash.add(&text?.row);
        }
        if hash != done.sha256 {
            let (place, count) = (&self.place, done.texts);
            return Err(usage(format!(
                "{place}: its first {count} rows are not those whose results exist already; begin \
                 anew without --resume"
            )));
        }
        Ok(())
    }
}

impl InputFormat {
    /// In words, as far as it decides what a row says.
    fn reading(self, fields: &Fields) -> String {
        let name = match self {
            Self::Txt => return "texts".to_owned(),
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
        };
        match fields {
            Fields { text, words: None } => format!("{name}: `{text}`"),
            Fields { text, words: Some(words) } => format!("{name}: `{text}` and `{words}`"),
        }
    }

    fn texts(
        self,
        source: impl BufRead + Send + 'static,
        fields: Fields,
    ) -> Result<Box<dyn Iterator<Item = Result<Text>> + Send>> {
        let source = without_byte_order_mark(source)?;
        Ok(match self {
            Self::Txt => Box::new(txt::texts(source)),
            Self::Jsonl => Box::new(jsonl::texts(source, fields)),
            Self::Csv => Box::new(csv::texts(source, fields)?),
        })
    }
}

impl Place {
    /// `texts.txt: line 3`, or `text 3` for arguments.
    pub(crate) fn of_line(&self, line: u64) -> String {
        match self {
            Self::Arguments => format!("text {line}"),
            _ => format!("{self}: line {line}"),
        }
    }

    /// The input has nothing in it.
    pub(crate) fn no_texts(&self) -> anyhow::Error {
        anyhow!("{self}: no texts")
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Arguments => f.write_str("command line"),
            Self::Stdin => f.write_str("standard input"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

fn open_file(path: &Path) -> Result<(File, Option<u64>)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        bail!("expected a file, found a folder");
    }
    // A named pipe has no size.
    Ok((file, metadata.is_file().then_some(metadata.len())))
}

/// Windows programs put this mark at the start of UTF-8 files; it is no part
/// of the first text.
fn without_byte_order_mark(mut source: impl BufRead) -> io::Result<impl BufRead> {
    const MARK: [u8; 3] = [0xef, 0xbb, 0xbf];
    let mut start = Vec::new();
    source.by_ref().take(MARK.len() as u64).read_to_end(&mut start)?;
    if start == MARK {
        start.clear();
    }
    Ok(io::Cursor::new(start).chain(source))
}

/// Counts the bytes that go through.
struct Counted<R> {
    source: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read(buffer)?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        input: InputArgs,
    }

    fn open(line: &[&str]) -> Result<Input> {
        Line::try_parse_from(["test"].iter().chain(line))?.input.open()
    }

    #[test]
    fn the_suffix_decides_and_case_does_not_matter() {
        for (name, expected) in [
            ("a.txt", Some(InputFormat::Txt)),
            ("a.TXT", Some(InputFormat::Txt)),
            ("a.b.jsonl", Some(InputFormat::Jsonl)),
            ("a.csv", Some(InputFormat::Csv)),
            ("a.parquet", None),
            ("a.json", None),
            ("txt", None),
            (".txt", None),
        ] {
            let found = InputFormat::of(&Place::File(name.into()));
            assert_eq!(found.ok(), expected, "{name}");
        }
        assert_eq!(InputFormat::of(&Place::Stdin).unwrap(), InputFormat::Txt);
    }

    #[test]
    fn arguments_are_texts_in_order() {
        let texts: Vec<_> = open(&["b", "", "a"])
            .unwrap()
            .texts
            .map(|t| t.map(|t| (t.text, t.line)))
            .collect::<Result<_>>()
            .unwrap();
        assert_eq!(texts, [("b".into(), 1), (String::new(), 2), ("a".into(), 3)]);
    }

    #[test]
    fn flags_that_would_do_nothing_are_refused() {
        for line in [
            &[][..],
            &["a", "--input", "b.txt"],
            &["a", "--field", "b"],
            &["--input", "-", "--field", "b"],
            &["--input-format", "csv"],
        ] {
            assert!(open(line).is_err(), "{line:?}");
        }
        for (line, expected) in [
            (&["a"][..], "--tokens-field needs --input"),
            (&["--input", "-"], "--tokens-field: a txt input has lines, no fields"),
        ] {
            let input = Line::try_parse_from(["test"].iter().chain(line)).unwrap().input;
            let error = input.open_rows(Some("words".into())).err().unwrap();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn the_byte_order_mark_is_dropped_even_when_bytes_trickle() {
        for (bytes, expected) in [
            (&b"\xef\xbb\xbfab"[..], &b"ab"[..]),
            (b"\xef\xbb", b"\xef\xbb"),
            (b"ab", b"ab"),
            (b"", b""),
            (b"\xef\xbb\xbf", b""),
        ] {
            let mut found = Vec::new();
            without_byte_order_mark(BufReader::with_capacity(1, bytes))
                .unwrap()
                .read_to_end(&mut found)
                .unwrap();
            assert_eq!(found, expected);
        }
    }
}
