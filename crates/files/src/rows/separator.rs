//! The character between the columns of a CSV file: given by its first line, or found by looking.

use csv::{ByteRecord, ReaderBuilder};

use crate::quote::quoted;

/// The separators that are looked for, the first one first.
const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// Finds the separator of a file that begins with `start`.
///
/// A comma, unless the header has another separator and either no comma, or rows that only the
/// other one cuts into as many cells as the header has.
///
/// - `complete`: whether `start` is the whole file; else its last row may be cut off
pub(super) fn separator(start: &[u8], complete: bool) -> u8 {
    let columns = |separator: u8| columns(start, complete, separator);
    let found: Vec<(u8, Columns)> =
        SEPARATORS.into_iter().map(|separator| (separator, columns(separator))).collect();
    let many = |(_, columns): &&(u8, Columns)| columns.header > 1;
    let fits = found.iter().filter(many).find(|(_, columns)| columns.all_rows);
    let widest = || found.iter().filter(many).max_by_key(|(_, columns)| columns.header);
    fits.or_else(|| found.first().filter(many)).or_else(widest).map_or(b',', |(found, _)| *found)
}

/// Takes off the line `sep=;` of spreadsheet programs, which stands before the header and names the
/// separator. Its line end stays, so that other lines keep their numbers.
///
/// - `start`: the file up to the end of its first line that is not blank
///
/// # Errors
/// A separator that is no ASCII character, or one that lines or quotes need.
pub(super) fn take_given(start: &mut Vec<u8>) -> Result<Option<u8>, String> {
    let blanks = start.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let line = start[blanks..].strip_suffix(b"\n").unwrap_or(&start[blanks..]);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let end = blanks + line.len();
    let inner = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(line);
    let Some((name, given)) = inner.split_at_checked(b"sep=".len()) else { return Ok(None) };
    if !name.eq_ignore_ascii_case(b"sep=") {
        return Ok(None);
    }
    match *given {
        [separator] if separator.is_ascii() && !b"\"\r\n".contains(&separator) => {
            start.drain(blanks..end);
            Ok(Some(separator))
        }
        _ => Err(format!(
            "expected one ASCII character after `sep=`, found {}",
            quoted(&String::from_utf8_lossy(given))
        )),
    }
}

/// Finds the separator of a file with this header; `None` if the rows have to decide.
pub(super) fn of_header(header: &[u8]) -> Option<u8> {
    let splits = |separator: &u8| columns(header, true, *separator).header > 1;
    let found: Vec<u8> = SEPARATORS.into_iter().filter(splits).collect();
    match found[..] {
        [] => Some(b','),
        [one] => Some(one),
        _ => None,
    }
}

/// The shape that the rows have if a separator splits them.
struct Columns {
    /// Cells of the header.
    header: usize,
    /// True if every row has as many cells.
    all_rows: bool,
}

fn columns(start: &[u8], complete: bool, separator: u8) -> Columns {
    let mut builder = ReaderBuilder::new();
    let mut rows =
        builder.delimiter(separator).flexible(true).has_headers(false).from_reader(start);
    let (mut lengths, mut row) = (Vec::new(), ByteRecord::new());
    while rows.read_byte_record(&mut row).unwrap_or(false) {
        lengths.push(row.len());
    }
    if !complete && lengths.len() > 1 {
        lengths.pop();
    }
    let header = lengths.first().copied().unwrap_or(0);
    Columns { header, all_rows: lengths.iter().all(|length| *length == header) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_may_name_the_separator() {
        for (start, expected, left) in [
            ("sep=;\n", Some(b';'), "\n"),
            ("sep=;\r\n", Some(b';'), "\r\n"),
            ("SEP=,", Some(b','), ""),
            ("\"sep=|\"\n", Some(b'|'), "\n"),
            ("sep=\t\n", Some(b'\t'), "\n"),
            ("sep=^\n", Some(b'^'), "\n"),
            ("\n \nsep=;\n", Some(b';'), "\n \n\n"),
            ("text;label\n", None, "text;label\n"),
            ("separator;a\n", None, "separator;a\n"),
            ("sep\n", None, "sep\n"),
            ("", None, ""),
        ] {
            let mut bytes = start.as_bytes().to_vec();
            assert_eq!(take_given(&mut bytes), Ok(expected), "{start:?}");
            assert_eq!(bytes, left.as_bytes(), "{start:?}");
        }
        for (start, found) in
            [("sep=\n", "``"), ("sep=;;\n", "`;;`"), ("sep=§\n", "`§`"), ("sep=\"\n", "`\"`")]
        {
            let error = take_given(&mut start.as_bytes().to_vec()).unwrap_err();
            let expected = "expected one ASCII character after `sep=`, found ";
            assert_eq!(error, format!("{expected}{found}"));
        }
    }

    #[test]
    fn a_header_with_one_separator_needs_no_rows() {
        for (header, expected) in [
            ("", Some(b',')),
            ("text\n", Some(b',')),
            ("text,label\r\n", Some(b',')),
            ("text;id\n", Some(b';')),
            ("text\tid\n", Some(b'\t')),
            ("\"a;b\",id\n", Some(b',')),
            ("\"a;b\"\n", Some(b',')),
            ("text;id,label\n", None),
            ("a;b|c\n", None),
        ] {
            assert_eq!(of_header(header.as_bytes()), expected, "{header:?}");
        }
    }

    #[test]
    fn the_separator_is_found_by_looking() {
        for (start, expected) in [
            ("", b','),
            ("text\na;b\nc;d\n", b','),
            ("text,label\na;b,x\n", b','),
            ("text;label\na, b;x\n", b';'),
            ("text\tlabel\na, b\tx\n", b'\t'),
            ("text|label\na|x\n", b'|'),
            ("\"text\";\"label\"\n\"a;b\";x\n", b';'),
            ("\"a;b\",label\nx,y\n", b','),
            // Both stand in the header: the rows decide.
            ("text;label, as given\ngood;x\nbad, really, bad;y\n", b';'),
            ("text,\"a;b\",c;d\n1,2,3\n", b','),
            ("text;id,label\na,b\n", b','),
            // No separator fits all rows: the comma, then the one with most columns.
            ("a,b;c\n1\n", b','),
            ("a;b;c|d\n1\n", b';'),
        ] {
            assert_eq!(separator(start.as_bytes(), true), expected, "{start:?}");
        }
        let cut = b"text;label\na;x\nb";
        assert_eq!(separator(cut, false), b';');
    }
}
