//! The first bytes of a file: compression, byte order marks, and files that are not what their
//! names say.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

use super::{RowError, RowFormat};

/// A source with the bytes that were looked at in front of it.
type Whole<R> = Chain<Cursor<Vec<u8>>, R>;

/// A source from its first byte on, decompressed if it is gzip.
pub(super) enum Source<R> {
    Plain(Whole<R>),
    Gzip(Box<BufReader<MultiGzDecoder<Whole<R>>>>),
}

/// The longest first line that is looked at, in bytes.
const FIRST_LINE: u64 = 1 << 16;

impl<R: BufRead> Source<R> {
    pub(super) fn new(mut source: R) -> io::Result<Self> {
        const GZIP: [u8; 2] = [0x1f, 0x8b];
        let mut start = Vec::new();
        source.by_ref().take(GZIP.len() as u64).read_to_end(&mut start)?;
        let is_gzip = start == GZIP;
        let source = Cursor::new(start).chain(source);
        Ok(match is_gzip {
            true => Self::Gzip(Box::new(BufReader::new(MultiGzDecoder::new(source)))),
            false => Self::Plain(source),
        })
    }
}

impl<R: BufRead> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(source) => source.read(buffer),
            Self::Gzip(source) => source.read(buffer),
        }
    }
}

impl<R: BufRead> BufRead for Source<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::Plain(source) => source.fill_buf(),
            Self::Gzip(source) => source.fill_buf(),
        }
    }

    fn consume(&mut self, amount: usize) {
        match self {
            Self::Plain(source) => source.consume(amount),
            Self::Gzip(source) => source.consume(amount),
        }
    }
}

/// Reads the first line that is not blank, with the blank lines before it and without a byte order
/// mark.
///
/// # Errors
/// [`RowError::File`] if the file is something else than rows of text.
pub(super) fn first_line(
    source: &mut impl BufRead,
    format: RowFormat,
) -> Result<Vec<u8>, RowError> {
    let mut start = Vec::new();
    while start.trim_ascii().is_empty() {
        let before = start.len();
        let left = FIRST_LINE.saturating_sub(before as u64);
        source.by_ref().take(left).read_until(b'\n', &mut start)?;
        if start.len() == before || format == RowFormat::Text {
            break;
        }
    }
    // Windows programs put this mark at the start of UTF-8 files.
    if start.starts_with(&[0xef, 0xbb, 0xbf]) {
        start.drain(..3);
    }
    let line =
        1 + start.iter().take_while(|b| b.is_ascii_whitespace()).filter(|b| **b == b'\n').count();
    match not_rows(&start, format) {
        Some(message) => Err(RowError::File { line: line as u64, message: message.to_owned() }),
        None => Ok(start),
    }
}

/// Names the kind of a file that holds no rows, and what the user can do.
fn not_rows(start: &[u8], format: RowFormat) -> Option<&'static str> {
    let first = |bytes: &[u8]| {
        start
            .trim_ascii_start()
            .get(..bytes.len())
            .is_some_and(|found| found.eq_ignore_ascii_case(bytes))
    };
    let utf16 = match start {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => true,
        [a, 0, b, 0, ..] => *a != 0 && *b != 0,
        [0, a, 0, b, ..] => *a != 0 && *b != 0,
        _ => false,
    };
    if utf16 {
        return Some("expected UTF-8, found UTF-16: save the file as UTF-8");
    }
    if first(b"version https://git-lfs.github.com/spec/") {
        return Some("expected rows, found a Git LFS pointer in their place: run `git lfs pull`");
    }
    if format != RowFormat::Text && (first(b"<!doctype html") || first(b"<html")) {
        return Some("expected rows, found an HTML page: download the file itself");
    }
    if format == RowFormat::JsonLines && first(b"[") {
        return Some(
            "expected one JSON object per line, found a JSON array: write each of its objects on a \
             line of its own (pandas: `to_json(..., orient=\"records\", lines=True)`)",
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::RowFormat::{Csv, JsonLines, Text, Tsv};
    use super::*;
    use crate::rows::{Record, RowReader};

    fn read(format: RowFormat, source: &[u8]) -> Result<Vec<String>, String> {
        // The least buffer: no step may count on more bytes at once.
        let source = BufReader::with_capacity(1, source);
        let read = || RowReader::new(source, format)?.collect::<Result<Vec<Record>, _>>();
        let text = |record: &Record| record.text("text").unwrap().unwrap().to_owned();
        read()
            .map(|records| records.iter().map(text).collect())
            .map_err(|error: RowError| error.to_string())
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = GzEncoder::new(Vec::new(), Compression::default());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    #[test]
    fn marks_and_compression_are_taken_off() {
        for (format, source) in [
            (Text, &b"a\nb\n"[..]),
            (JsonLines, b"{\"text\": \"a\"}\n{\"text\": \"b\"}"),
            (Csv, b"text\na\nb\n"),
            (Csv, b"\n\ntext,id\na,1\nb,2\n"),
            (Csv, b"text;id\r\na;1\r\nb;2\r\n"),
            (Tsv, b"id\ttext\n1\ta\n2\tb\n"),
        ] {
            let marked = [b"\xef\xbb\xbf", source].concat();
            for bytes in [source.to_vec(), marked.clone(), gzip(source), gzip(&marked)] {
                assert_eq!(read(format, &bytes), Ok(vec!["a".into(), "b".into()]), "{source:?}");
            }
            let half = source.len() / 2;
            let members = [gzip(&source[..half]), gzip(&source[half..])].concat();
            assert_eq!(read(format, &members).unwrap().len(), 2, "several members are one file");
        }
        let cut = gzip(b"text\na\nb\n");
        assert!(read(Csv, &cut[..cut.len() - 9]).is_err(), "a file that is cut off");
        assert_eq!(read(Csv, b"\xef\xbb\xbf"), Ok(vec![]));
        assert_eq!(read(Text, b"\xef\xbb\xbf"), Ok(vec![]));
    }

    #[test]
    fn files_that_are_no_rows_are_named() {
        let utf16 = |text: &str, mark: &[u8], bytes: fn(u16) -> [u8; 2]| {
            [mark, &text.encode_utf16().flat_map(bytes).collect::<Vec<_>>()].concat()
        };
        let csv = "text,label\na,x\n";
        let utf16 = [
            utf16(csv, b"\xff\xfe", u16::to_le_bytes),
            utf16(csv, b"\xfe\xff", u16::to_be_bytes),
            utf16(csv, b"", u16::to_le_bytes),
            utf16(csv, b"", u16::to_be_bytes),
        ];
        for bytes in &utf16 {
            for format in [Text, JsonLines, Csv, Tsv] {
                let expected = "line 1: expected UTF-8, found UTF-16: save the file as UTF-8";
                assert_eq!(read(format, bytes).unwrap_err(), expected);
            }
        }
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
        let html = b"\n<!DOCTYPE html>\n<html><body>404</body></html>";
        let array = b"[{\"text\": \"a\"},\n{\"text\": \"b\"}]\n";
        for (formats, source, expected) in [
            (
                &[Text, JsonLines, Csv, Tsv][..],
                &pointer[..],
                "line 1: expected rows, found a Git LFS pointer",
            ),
            (&[JsonLines, Csv, Tsv], html, "line 2: expected rows, found an HTML page"),
            (&[JsonLines, Csv], b"<HTML lang=en>", "line 1: expected rows, found an HTML page"),
            (&[JsonLines], array, "line 1: expected one JSON object per line, found a JSON array"),
            (&[JsonLines], b"\n \n[\n", "line 3: expected one JSON object per line"),
        ] {
            for format in formats {
                let error = read(*format, source).unwrap_err();
                assert!(error.starts_with(expected), "{format:?}: {error}");
            }
        }
        assert_eq!(read(Text, b"<html>\n[\n"), Ok(vec!["<html>".into(), "[".into()]));
    }
}
