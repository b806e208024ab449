//! The page of a run: HTML and SVG from its [`RunReport`].
//!
//! The same record gives the same bytes. The page is self-contained: it has no scripts and no fonts
//! and loads nothing. Plots are SVG inside the page, and colours follow the reader's light or dark
//! theme.
//!
//! Texts, labels, names and paths come from users: they are escaped, shortened, and cannot change
//! the direction of the text around them. Numbers that are missing or not finite are shown as “–”.
//! Every record gives a page.
#![forbid(unsafe_code)]

mod page;
mod curves;
mod rate_curves;
mod task;
mod confusion;
mod mistakes;
mod conflict;
mod freezing;
mod data;
mod parts;
mod plot;
mod series;
mod number;
mod text;

use std::path::{Path, PathBuf};

use polyhead_files::{read_file, write_file};
use polyhead_train::RunReport;

pub use number::grouped;
pub use page::draw_page;
pub use polyhead_files::FileError;

/// Draws the page `report.html` in the folder of a run from its `report.json`, atomically, and
/// returns the path of the page.
///
/// # Errors
/// The file that could not be read or written, and the reason.
pub fn write_page(run: &Path) -> Result<PathBuf, FileError> {
    let (record, page) = (run.join("report.json"), run.join("report.html"));
    let json = read_file(&record, u64::MAX).map_err(|error| FileError::new(&record, error))?;
    let report: RunReport =
        serde_json::from_slice(&json).map_err(|error| FileError::new(&record, error.into()))?;
    write_file(&page, draw_page(&report).as_bytes())?;
    Ok(page)
}
