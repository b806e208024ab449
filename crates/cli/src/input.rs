//! Texts to encode or predict: from arguments, a file or standard input.
//!
//! Everything here streams: an input of any size is read a text at a time.
//! Each text keeps the line where it begins, so that a message can point at it.

use std::fs::{self, File};
use std::io::{self, BufReader, IsTerminal, Read};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use polyhead_files::{Record, RowError, RowFormat, RowReader, explain_missing, file_kind};
use polyhead_model::{InputFields, RowInput, RowWords, TextFields};
use polyhead_text::TextInput;
use sha2::{Digest, Sha256};

use crate::failure::usage;
use crate::flags::{FieldArgs, LoadArgs, note};
use crate::pipeline::BadRow;
use crate::resume::{Done, RowHash, RowsHash};

/// The source of the texts.
#[derive(Debug, Args)]
#[command(next_help_heading = "Input")]
pub(crate) struct InputArgs {
    /// Texts; without them and without --input, the lines of standard input
    #[arg(value_name = "TEXT", conflicts_with = "input", help_heading = None)]
    texts: Vec<String>,

    /// Read texts from a .txt (one text per line), .jsonl, .csv or .tsv file, also .gz; - is standard
    /// input
    #[arg(short, long, value_name = "FILE|-")]
    input: Option<PathBuf>,

    /// Format of the input [default: by the file name; txt for standard input]
    #[arg(long, value_name = "FORMAT", value_parser = row_format())]
    input_format: Option<RowFormat>,

    #[command(flatten)]
    fields: FieldArgs,
}

/// Reads the format of an input file by its suffix.
pub(crate) fn row_format() -> impl TypedValueParser<Value = RowFormat> {
    let formats = [
        PossibleValue::new("txt").help("One text per line"),
        PossibleValue::new("jsonl").help("One JSON object per line"),
        PossibleValue::new("csv").help("Comma-separated values under a header row; also ; tab |"),
        PossibleValue::new("tsv").help("Tab-separated values under a header row"),
    ];
    PossibleValuesParser::new(formats).map(|name| {
        RowFormat::from_path(&Path::new("input").with_extension(name))
            .expect("all suffixes are known")
    })
}

/// A text of the input and its line.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Text {
    pub(crate) text: String,
    /// Line where the row begins, or number of the argument; counted from 1.
    pub(crate) line: u64,
    /// SHA-256 of the whole row.
    pub(crate) row: RowHash,
    pub(crate) others: OtherFields,
}

/// The parts of a row other than its text.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct OtherFields {
    /// Name and value of every other field, in their order, where a command keeps them; values are
    /// JSON.
    pub(crate) columns: Vec<(String, String)>,
    /// Second text of a pair.
    pub(crate) second: Option<String>,
    /// Words of the text, where a task tags them.
    pub(crate) words: Option<RowWords>,
}

/// The parts of a row that a command reads in addition to its text.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    /// Words, for a task that tags them.
    pub(crate) words: bool,
    /// The second text of a pair. Without it, a pair is an error.
    pub(crate) pairs: bool,
    /// The other fields.
    pub(crate) columns: bool,
    /// The same other fields for each row: those of the first one, null where a row has none.
    pub(crate) same_columns: bool,
}

/// A source whose flags are checked and whose file is open, before its rows are read.
pub(crate) enum OpenSource {
    Arguments(Vec<String>),
    Rows {
        place: Place,
        format: RowFormat,
        source: Box<dyn Read + Send>,
        size: Option<u64>,
        fields: FieldArgs,
    },
}

/// An open input.
pub(crate) struct Input {
    pub(crate) texts: Box<dyn Iterator<Item = Result<Text>> + Send>,
    pub(crate) place: Place,
    /// Format and fields in words: the same rows read in another way are other texts.
    pub(crate) reading: String,
    /// Size of the input in bytes, where it is known.
    pub(crate) size: Option<u64>,
    /// Number of bytes read so far; at most one buffer more than the texts.
    pub(crate) read: Arc<AtomicU64>,
}

/// The source of an input, as messages name it.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Arguments,
    Stdin,
    File(PathBuf),
}

impl InputArgs {
    /// Arguments with a file name as for `--input`; without one, opening is an error.
    pub(crate) fn of_file(
        input: Option<PathBuf>,
        input_format: Option<RowFormat>,
        field: Option<String>,
    ) -> Self {
        Self { texts: Vec::new(), input, input_format, fields: FieldArgs::of_field(field) }
    }

    /// Arguments with a file and the fields of its rows.
    pub(crate) fn of_fields(
        input: PathBuf,
        input_format: Option<RowFormat>,
        fields: FieldArgs,
    ) -> Self {
        Self { texts: Vec::new(), input: Some(input), input_format, fields }
    }

    /// The texts that are arguments.
    pub(crate) fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Notes a text that is the name of a file: its content is not read.
    pub(crate) fn note_files(&self, load: &LoadArgs) {
        let is_file = |text: &&String| {
            let path = Path::new(text);
            RowFormat::from_path(path).is_some() && path.is_file()
        };
        if let Some(name) = self.texts.iter().find(is_file) {
            load.note(&format!("`{name}` is taken as a text; to read the file, pass -i {name}"));
        }
    }

    /// The same arguments with one more text in front of the others.
    pub(crate) fn with_first(mut self, text: Option<String>) -> Result<Self> {
        if let (Some(text), Some(_)) = (&text, &self.input) {
            return Err(usage(format!("`{text}` cannot be used with --input and --model")));
        }
        self.texts.splice(0..0, text);
        Ok(self)
    }

    /// Opens an input of single texts, for a command that knows no model.
    pub(crate) fn open(self, quiet: bool) -> Result<Input> {
        self.open_source()?.read(None, Wanted::default(), quiet)
    }

    /// Checks the flags, then opens the source.
    pub(crate) fn open_source(self) -> Result<OpenSource> {
        let source = self.source()?;
        if let Some(flag) = self.fields.given() {
            match source {
                None => {
                    return Err(usage(format!("{flag} needs an input file: pass --input FILE")));
                }
                Some((_, RowFormat::Text)) => {
                    let problem = "a txt input has no fields; use .jsonl or .csv";
                    return Err(usage(format!("{flag}: {problem}")));
                }
                Some(_) => self.fields.text().map(drop)?,
            }
        }
        let Some((place, format)) = source else {
            // Clap does not check `requires` if texts exclude --input.
            if self.input_format.is_some() {
                return Err(usage("--input-format needs an input file: pass --input FILE"));
            }
            if self.texts.is_empty() {
                return Err(usage(
                    "no texts: give them as arguments, pass --input FILE, or pipe them in",
                ));
            }
            return Ok(OpenSource::Arguments(self.texts));
        };
        let (source, size): (Box<dyn Read + Send>, _) = match &place {
            Place::File(path) => {
                let (file, size) = open_file(path).with_context(|| place.to_string())?;
                (Box::new(file), size)
            }
            _ => (Box::new(io::stdin()), None),
        };
        Ok(OpenSource::Rows { place, format, source, size, fields: self.fields })
    }

    /// Place and format of the input, unless it is the arguments: the file that `--input` names,
    /// or what is piped in. A terminal is read only for `--input -`.
    fn source(&self) -> Result<Option<(Place, RowFormat)>> {
        let place = match &self.input {
            Some(path) if path == Path::new("-") => Place::Stdin,
            Some(path) => Place::File(path.clone()),
            None if self.texts.is_empty() && !io::stdin().is_terminal() => Place::Stdin,
            None => return Ok(None),
        };
        let format = match self.input_format {
            Some(format) => format,
            None => format_of(&place)?,
        };
        Ok(Some((place, format)))
    }
}

/// The format of a file by its name; standard input holds a text per line.
fn format_of(place: &Place) -> Result<RowFormat> {
    let Place::File(path) = place else { return Ok(RowFormat::Text) };
    RowFormat::from_path(path).ok_or_else(|| {
        let expected = "expected .txt, .jsonl, .csv or .tsv; for another name, pass --input-format";
        unknown_suffix(path, expected)
    })
}

/// Format and fields in words: the same rows read in another way are other texts.
fn reading(format: RowFormat, fields: &InputFields, wanted: Wanted) -> String {
    let name = match format {
        RowFormat::Text => return "texts".to_owned(),
        RowFormat::JsonLines => "jsonl",
        RowFormat::Csv => "csv",
        RowFormat::Tsv => "tsv",
    };
    format!("{name}: {:?} and `{}`, {wanted:?}", fields.text, fields.tokens)
}

impl OpenSource {
    /// Starts to read the texts.
    ///
    /// - `model`: how the model makes a text of several fields, if it does; flags come first
    /// - `quiet`: whether notes about the rows are left out
    pub(crate) fn read(
        self,
        model: Option<&TextFields>,
        wanted: Wanted,
        quiet: bool,
    ) -> Result<Input> {
        let (place, format, source, size, fields) = match self {
            Self::Arguments(texts) => return Ok(Input::from_texts(texts)),
            Self::Rows { place, format, source, size, fields } => {
                (place, format, source, size, fields)
            }
        };
        let fields = match format {
            // A line is a text, whatever fields the model knows.
            RowFormat::Text => InputFields::default(),
            _ => fields.input_fields(model)?,
        };
        let read = Arc::<AtomicU64>::default();
        let source = BufReader::with_capacity(1 << 16, Counted { source, read: read.clone() });
        let reading = reading(format, &fields, wanted);
        let name = place.to_string();
        let mut records = RowReader::new(source, format).with_context(|| name.clone())?;
        let (mut first, mut header) = (true, None);
        let texts = std::iter::from_fn(move || {
            let record = records.next();
            if let Some(remark) = records.take_note().filter(|_| !quiet) {
                note(&format!("{name}: {remark}"));
            }
            let text = record?.and_then(|record| {
                let text = text_of(&record, &fields, wanted);
                match mem::take(&mut first) {
                    true => text.map_err(|error| with_flag(error, &record, &fields)),
                    false => text,
                }
                .and_then(|text| match wanted.same_columns {
                    true => with_columns_of(&mut header, text, &record),
                    false => Ok(text),
                })
            });
            Some(text.with_context(|| name.clone()))
        });
        Ok(Input { texts: Box::new(texts), place, reading, size, read })
    }
}

impl Input {
    fn from_texts(texts: Vec<String>) -> Self {
        let texts = texts.into_iter().zip(1..).map(|(text, line)| {
            let row = Sha256::digest(&text).into();
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

    /// Skips the texts whose results exist already, and checks that they are the same rows.
    pub(crate) fn skip(&mut self, done: &Done) -> Result<()> {
        let (place, rows) = (&self.place, done.rows);
        let mut hash = RowsHash::default();
        for passed in 0..rows {
            match self.texts.next() {
                Some(Ok(text)) => hash.add(&text.row),
                Some(Err(error)) => hash.add(&BadRow::of(&error).ok_or(error)?.sha256()),
                None => {
                    return Err(usage(format!(
                        "{place}: the unfinished output has results of {rows} rows, but the input has \
                         only {passed}; start over with --overwrite"
                    )));
                }
            }
        }
        if hash != done.sha256 {
            return Err(usage(format!(
                "{place}: the unfinished output has results of other rows than the first {rows} of this \
                 input; start over with --overwrite"
            )));
        }
        Ok(())
    }

    /// Checks that the results of a complete output are those of the whole input.
    pub(crate) fn expect_end(&mut self, done: &Done) -> Result<()> {
        if self.texts.next().is_none() {
            return Ok(());
        }
        Err(usage(format!(
            "{}: the output has the results of the first {} rows, but the input has more; start over \
             with --overwrite",
            self.place, done.rows
        )))
    }
}

/// Gives a text the columns of the first row, in their order.
///
/// - `header`: names of the columns, after the first row
fn with_columns_of(
    header: &mut Option<Vec<String>>,
    mut text: Text,
    record: &Record,
) -> Result<Text, RowError> {
    let columns = &mut text.others.columns;
    let header =
        header.get_or_insert_with(|| columns.iter().map(|(name, _)| name.clone()).collect());
    if let Some((name, _)) = columns.iter().find(|(name, _)| !header.contains(name)) {
        let message = "not a field of the first row, which gives a .csv file its columns; write a \
                       .jsonl file, or leave the field out";
        return Err(record.field_error(name, message));
    }
    if columns.len() != header.len() || columns.iter().zip(&*header).any(|((a, _), b)| a != b) {
        let mut found = mem::take(columns);
        *columns = header
            .iter()
            .map(|name| match found.iter_mut().find(|(other, _)| other == name) {
                Some((name, value)) => (mem::take(name), mem::take(value)),
                None => (name.clone(), "null".to_owned()),
            })
            .collect();
    }
    Ok(text)
}

/// Adds the flag for another field to the error of a first row that has no field for the text. A
/// later row has a fault of its own.
fn with_flag(mut error: RowError, record: &Record, fields: &InputFields) -> RowError {
    let (names, wanted) = (record.names(), fields.text.names());
    if wanted.iter().all(|name| names.contains(name)) || names.contains(&&*fields.tokens) {
        return error;
    }
    if let RowError::Row { message, .. } | RowError::File { message, .. } = &mut error {
        message.push_str("; pass --field NAME");
    }
    error
}

/// Reads the text of a row and what a command takes beside it.
fn text_of(record: &Record, fields: &InputFields, wanted: Wanted) -> Result<Text, RowError> {
    let RowInput { text, words } = fields.read(record, wanted.words)?;
    let (text, second) = match text {
        TextInput::Pair(..) if !wanted.pairs => {
            let message = "expected one text, found a pair, which only heads of a model read";
            return Err(record.field_error(fields.text.names()[0], message));
        }
        TextInput::Pair(first, second) => (first, Some(second)),
        TextInput::One(text) => (text, None),
        TextInput::Words(_) => unreachable!("rows have their words beside the text"),
    };
    let columns = match &fields.text {
        _ if !wanted.columns => Vec::new(),
        TextFields::One(name) => record.other_fields(Some(name))?,
        // The text has the name of none of its fields.
        _ => record.other_fields(None)?,
    };
    let others = OtherFields { columns, second, words };
    Ok(Text { text, line: record.line(), row: record.sha256(), others })
}

impl Place {
    /// Names a line in messages: `texts.txt: line 3`, or `text 3` for arguments.
    pub(crate) fn of_line(&self, line: u64) -> String {
        match self {
            Self::Arguments => format!("text {line}"),
            _ => format!("{self}: line {line}"),
        }
    }

    /// Makes the error of an input without texts.
    pub(crate) fn no_texts(&self) -> anyhow::Error {
        match self {
            Self::Stdin => {
                anyhow!("{self}: no texts; give them as arguments, or pass --input FILE")
            }
            _ => anyhow!("{self}: no texts"),
        }
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

/// Makes the error of a file name that does not show a known format.
pub(crate) fn unknown_suffix(path: &Path, expected: &str) -> anyhow::Error {
    if path.is_dir() {
        return usage(format!("{}: expected a file, found a folder", path.display()));
    }
    let message = RowFormat::unread(path).unwrap_or(expected);
    usage(format!("{}: {message}", path.display()))
}

/// Opens an input and returns its size, which a pipe does not have.
fn open_file(path: &Path) -> Result<(File, Option<u64>)> {
    let metadata = fs::metadata(path).map_err(|error| explain_missing(path, error))?;
    let kind = file_kind(metadata.file_type());
    if metadata.is_dir() {
        bail!("expected a file, found {kind}");
    }
    if metadata.is_file() {
        return Ok((File::open(path)?, Some(metadata.len())));
    }
    // Opening a named pipe waits for a program that writes to it, perhaps for ever.
    let (sender, opened) = mpsc::channel();
    let name = path.to_owned();
    thread::spawn(move || sender.send(File::open(name)));
    let seconds = WRITER_WAIT.as_secs();
    let file = opened
        .recv_timeout(WRITER_WAIT)
        .map_err(|_| anyhow!("no program has opened this pipe for writing within {seconds} s"))??;
    // A device such as /dev/zero never ends.
    if kind == "a device" && !file.is_terminal() {
        bail!("expected a file or a pipe, found {kind}");
    }
    Ok((file, None))
}

/// Longest time for which a named pipe may have no writer.
const WRITER_WAIT: Duration = Duration::from_secs(5);

/// Reader that counts the bytes that pass through it.
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
        Line::try_parse_from(["test"].iter().chain(line))?.input.open(true)
    }

    #[test]
    fn the_suffix_decides_and_case_does_not_matter() {
        for (name, expected) in [
            ("a.txt", Some(RowFormat::Text)),
            ("a.TXT", Some(RowFormat::Text)),
            ("a.b.jsonl", Some(RowFormat::JsonLines)),
            ("a.csv", Some(RowFormat::Csv)),
            ("a.parquet", None),
            ("a.json", None),
            ("txt", None),
            (".txt", None),
        ] {
            let found = format_of(&Place::File(name.into()));
            assert_eq!(found.ok(), expected, "{name}");
        }
        assert_eq!(format_of(&Place::Stdin).unwrap(), RowFormat::Text);
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
            &["a", "--input", "b.txt"][..],
            &["a", "--field", "b"],
            &["--input", "-", "--field", "b"],
            &["a", "--input-format", "csv"],
        ] {
            assert!(open(line).is_err(), "{line:?}");
        }
        for (line, expected) in [
            (
                &["a", "--tokens-field", "w"][..],
                "--tokens-field needs an input file: pass --input FILE",
            ),
            (
                &["--input", "-", "--tokens-field", "w"],
                "--tokens-field: a txt input has no fields; use .jsonl or .csv",
            ),
            (
                &["--input", "a.csv", "--join", "x"],
                "--join: `join` applies to several fields, found one",
            ),
        ] {
            assert_eq!(open(line).err().unwrap().to_string(), expected);
        }
    }

    fn text_in(format: RowFormat, source: &str, wanted: Wanted) -> Result<Text, String> {
        let record = RowReader::new(source.as_bytes(), format).unwrap().next().unwrap();
        let text = record.and_then(|record| text_of(&record, &InputFields::default(), wanted));
        text.map_err(|error| error.to_string())
    }

    #[test]
    fn pairs_are_read_where_a_command_takes_them() {
        let source = r#"{"text": ["a", "b"]}"#;
        let wanted = Wanted { pairs: true, ..Wanted::default() };
        let found = text_in(RowFormat::JsonLines, source, wanted).unwrap();
        assert_eq!((&*found.text, found.others.second.as_deref()), ("a", Some("b")));
        let error = text_in(RowFormat::JsonLines, source, Wanted::default()).unwrap_err();
        assert!(
            error.starts_with("line 1: field `text`: expected one text, found a pair"),
            "{error}"
        );
    }

    #[test]
    fn other_fields_are_kept_where_they_are_asked_for() {
        let source = "{\"z\": 1.50, \"text\": \"a\", \"tokens\": [\"a\"]}";
        let wanted = Wanted { columns: true, ..Wanted::default() };
        let found = text_in(RowFormat::JsonLines, source, wanted).unwrap();
        let columns =
            [("z", "1.50"), ("tokens", "[\"a\"]")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(found.others.columns, columns);
        let found = text_in(RowFormat::JsonLines, source, Wanted::default()).unwrap();
        assert_eq!((&*found.text, found.others), ("a", OtherFields::default()));
    }
}
