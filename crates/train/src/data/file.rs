//! A data file: its format by suffix, and what opening and reading it can tell.

use std::fs::File;
use std::path::Path;

use polyhead_files::{FileError, RowError, RowFormat, open_file};

use crate::error::{Error, ErrorKind};

/// Finds the format of a data file by its suffix: JSON Lines, CSV or TSV, also compressed.
pub(super) fn format_of(path: &Path) -> Result<RowFormat, Error> {
    let expected = "expected a name that ends in .jsonl, .csv or .tsv, or one of these and .gz";
    let message = match RowFormat::from_path(path) {
        Some(format) if format != RowFormat::Text => return Ok(format),
        _ => RowFormat::unread(path).unwrap_or(expected),
    };
    Err(Error::new(ErrorKind::Data, format!("{}: {message}", path.display())))
}

/// Opens a data file.
pub(super) fn open(path: &Path) -> Result<File, Error> {
    open_file(path).map_err(|error| FileError::new(path, error).into())
}

/// Adds the path to an error of a row.
pub(super) fn error_in(path: &Path, error: RowError) -> Error {
    match error {
        RowError::Io(error) => FileError::new(path, error).into(),
        error => Error::new(ErrorKind::Data, format!("{}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_by_suffix() {
        assert_eq!(format_of(Path::new("a/b.JSONL")).unwrap(), RowFormat::JsonLines);
        assert_eq!(format_of(Path::new("b.csv")).unwrap(), RowFormat::Csv);
        assert_eq!(format_of(Path::new("b.TSV.gz")).unwrap(), RowFormat::Tsv);
        for (name, expected) in [
            (
                "a.parquet",
                "a.parquet: Parquet files are not supported yet; use .jsonl, .csv or .tsv",
            ),
            (
                "a.txt",
                "a.txt: expected a name that ends in .jsonl, .csv or .tsv, or one of these and .gz",
            ),
            (
                "jsonl",
                "jsonl: expected a name that ends in .jsonl, .csv or .tsv, or one of these and .gz",
            ),
        ] {
            assert_eq!(format_of(Path::new(name)).unwrap_err().to_string(), expected);
        }
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().join("none.csv"), folder.path().to_owned()] {
            let error = open(&path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io);
            assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
        }
    }
}
