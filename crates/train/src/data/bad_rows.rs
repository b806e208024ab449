//! The rows of a file that cannot be used: the first ones and how many there are.

use std::path::Path;

use polyhead_files::RowError;

use super::file::error_in;
use crate::error::{Error, ErrorKind};

/// Bad rows that a message shows.
const MOST_SHOWN: usize = 10;

/// Bad rows of one file.
#[derive(Debug, Default)]
pub(super) struct BadRows {
    first: Vec<RowError>,
    count: usize,
}

impl BadRows {
    /// Adds the fault of a row.
    ///
    /// # Errors
    /// A fault after which rows cannot be told apart.
    pub(super) fn add(&mut self, error: RowError) -> Result<(), RowError> {
        if !matches!(error, RowError::Row { .. }) {
            // The first fault of the file is the one to mend first.
            return Err(if self.first.is_empty() { error } else { self.first.remove(0) });
        }
        self.count += 1;
        if self.first.len() < MOST_SHOWN {
            self.first.push(error);
        }
        Ok(())
    }

    /// Refuses a file with bad rows: shows the first ones, a line each, and counts all.
    pub(super) fn check(self, path: &Path) -> Result<(), Error> {
        let mut first = self.first.into_iter();
        let Some(error) = first.next() else { return Ok(()) };
        let mut message = error_in(path, error).to_string();
        first.for_each(|error| message.push_str(&format!("\n  {error}")));
        if self.count > 1 {
            message.push_str(&format!("\n  {} bad rows in all", self.count));
        }
        Err(Error::new(ErrorKind::Data, message))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn the_first_ten_are_shown_and_all_are_counted() {
        let row = |line| RowError::Row { line, message: "odd".to_owned() };
        let message = |rows: u64| {
            let mut bad = BadRows::default();
            (1..=rows).for_each(|line| bad.add(row(line)).unwrap());
            bad.check(Path::new("a.csv")).map_err(|error| error.to_string())
        };
        assert_eq!(message(0), Ok(()));
        assert_eq!(message(1).unwrap_err(), "a.csv: line 1: odd");
        let expected = "a.csv: line 1: odd\n  line 2: odd\n  2 bad rows in all";
        assert_eq!(message(2).unwrap_err(), expected);
        let many = message(12).unwrap_err();
        assert_eq!(many.lines().count(), 11);
        assert!(many.ends_with("\n  line 10: odd\n  12 bad rows in all"), "{many}");
        let mut bad = BadRows::default();
        bad.add(row(3)).unwrap();
        let error = bad.add(RowError::Io(io::Error::other("gone"))).unwrap_err();
        assert_eq!(error.to_string(), "line 3: odd");
    }
}
