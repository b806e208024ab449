//! Plain text: every line is a row, even an empty one.

use std::io::BufRead;

use super::lines::{Lines, utf8};
use super::{Record, RowError};

/// Reads the next line as a record.
pub(super) fn next<R: BufRead>(lines: &mut Lines<R>) -> Option<Result<Record, RowError>> {
    let (line, bytes) = match lines.next() {
        Ok(line) => line?,
        Err(error) => return Some(Err(error.into())),
    };
    let text = utf8(&bytes).map(|text| Record::from_text(line, text.to_owned()));
    Some(text.map_err(|message| RowError::Row { line, message }))
}
