//! A data file: its format by suffix, its bytes, its records.

use std::path::Path;

use super::cell::Cell;
use super::{csv, jsonl};
use crate::error::{Error, ErrorKind};

/// One row of a file, whatever its format.
pub(super) trait Record {
    /// The value of a field; None if the row has no such field.
    fn cell(&self, field: &str) -> Result<Option<Cell<'_>>, String>;

    /// The names of all fields.
    fn fields(&self) -> Vec<String>;
}

/// How rows stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    JsonLines,
    Csv,
}

impl Format {
    /// By the suffix of the name.
    pub(super) fn of(path: &Path) -> Result<Self, Error> {
        let suffix = path.extension().map(|suffix| suffix.to_string_lossy().to_ascii_lowercase());
        match suffix.as_deref() {
            Some("jsonl") => Ok(Self::JsonLines),
            Some("csv") => Ok(Self::Csv),
            Some("parquet") => Err(Error::new(
                ErrorKind::Data,
                format!("{}: Parquet files come later; use .jsonl or .csv", path.display()),
            )),
            _ => Err(Error::new(
                ErrorKind::Data,
                format!("{}: expected a name that ends in .jsonl or .csv", path.display()),
            )),
        }
    }

    /// Calls `each` with the line and the record of every row.
    ///
    /// # Errors
    /// The first of the file or of `each`, beginning with `line N: `.
    pub(super) fn records(
        self,
        bytes: &[u8],
        each: impl FnMut(u64, &dyn Record) -> Result<(), String>,
    ) -> Result<(), String> {
        // Windows programs put this mark at the start of UTF-8 files.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        match self {
            Self::JsonLines => jsonl::records(bytes, each),
            Self::Csv => csv::records(bytes, each),
        }
    }
}

/// The bytes of a file. It is read whole: its texts stay in memory anyway.
pub(super) fn read_bytes(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |error: std::io::Error| {
        Error::with_source(ErrorKind::Io, format!("{}: {error}", path.display()), error)
    };
    if std::fs::metadata(path).map_err(failed)?.is_dir() {
        let message = format!("{}: expected a file, found a folder", path.display());
        return Err(Error::new(ErrorKind::Io, message));
    }
    std::fs::read(path).map_err(failed)
}

/// `bytes` as text, or what the first byte is that is none.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        format!("expected UTF-8, found byte 0x{:02x} at position {}", bytes[at], at + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Line and cell `text` of every row.
    fn texts(format: Format, source: &[u8]) -> Result<Vec<(u64, String)>, String> {
        let mut found = Vec::new();
        format.records(source, |line, record| {
            let text = record.cell("text")?.and_then(|cell| cell.text().transpose()).transpose()?;
            found.push((line, text.unwrap_or("nothing").to_owned()));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn lines_of_objects() {
        let source =
            b"\xef\xbb\xbf{\"text\": \"a\\nb\", \"n\": 1}\r\n\n{\"text\":\"\"}\n  \n{\"n\": 2}";
        let expected = [(1, "a\nb"), (3, ""), (5, "nothing")];
        let found = texts(Format::JsonLines, source).unwrap();
        assert_eq!(found, expected.map(|(line, text)| (line, text.to_owned())));
    }

    #[test]
    fn rows_with_quotes_and_both_line_ends() {
        let source = "id,text\n1,plain\n2,\"a, \"\"b\"\"\n\nc\"\n\n\n3,\n4,5\" pipe\n5,last";
        let expected = [("plain", 2), ("a, \"b\"\n\nc", 3), ("", 8), ("5\" pipe", 9), ("last", 10)];
        let unix = texts(Format::Csv, source.as_bytes()).unwrap();
        let windows = texts(Format::Csv, source.replace('\n', "\r\n").as_bytes()).unwrap();
        assert_eq!((unix.len(), windows.len()), (expected.len(), expected.len()));
        for ((unix, windows), (text, line)) in unix.iter().zip(&windows).zip(expected) {
            assert_eq!(*unix, (line, text.to_owned()));
            assert_eq!((windows.0, windows.1.replace('\r', "")), *unix);
        }
        assert_eq!(texts(Format::Csv, b"").unwrap(), []);
        assert_eq!(texts(Format::Csv, b"id,text\n").unwrap(), []);
    }

    #[test]
    fn what_is_wrong_and_where() {
        use Format::{Csv, JsonLines};
        for (format, source, expected) in [
            (JsonLines, &b"{}\n[1]"[..], "line 2: expected a JSON object, found an array"),
            (JsonLines, b"{\"text\": }", "line 1: column 10: expected value"),
            (JsonLines, b"{\"text\": \"a\"", "line 1: column 12: EOF while parsing an object"),
            (JsonLines, b"\n{\"text\": \"\xff\"}", "line 2: expected UTF-8, found byte 0xff at"),
            (JsonLines, b"{\"text\": 5}", "line 1: expected a string, found a number"),
            (Csv, b"id,text\r\n1,a\r\n2\r\n", "line 3: expected 2 columns, found 1"),
            (Csv, b"id,text\n1,a\n2,\xff\n", "line 3: field `text`: expected UTF-8, found byte"),
            (Csv, b"text,text\n\n1,a\n", "line 3: two columns `text`"),
        ] {
            let error = texts(format, source).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
        assert!(texts(Csv, b"id,text\n\xff,fine\n").is_ok(), "other columns may be anything");
    }

    #[test]
    fn formats_by_suffix() {
        assert_eq!(Format::of(Path::new("a/b.JSONL")).unwrap(), Format::JsonLines);
        assert_eq!(Format::of(Path::new("b.csv")).unwrap(), Format::Csv);
        for (name, expected) in [
            ("a.parquet", "a.parquet: Parquet files come later; use .jsonl or .csv"),
            ("a.txt", "a.txt: expected a name that ends in .jsonl or .csv"),
            ("jsonl", "jsonl: expected a name that ends in .jsonl or .csv"),
        ] {
            assert_eq!(Format::of(Path::new(name)).unwrap_err().to_string(), expected);
        }
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().join("none.csv"), folder.path().to_owned()] {
            let error = read_bytes(&path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io);
            assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
        }
    }
}
