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
mod transfer;

use std::path::{Path, PathBuf};

use polyhead_files::{read_file, write_file};
use polyhead_train::{RunReport, TransferReport};
use serde::de::DeserializeOwned;

pub use number::grouped;
pub use page::draw_page;
pub use polyhead_files::FileError;
pub use transfer::draw_transfer_page;

/// Draws the page `report.html` in the folder of a run from its `report.json`, atomically, and
/// returns the path of the page.
///
/// # Errors
/// The file that could not be read or written, and the reason.
pub fn write_page(run: &Path) -> Result<PathBuf, FileError> {
    let report: RunReport = read_record(&run.join("report.json"))?;
    let page = run.join("report.html");
    write_file(&page, draw_page(&report).as_bytes())?;
    Ok(page)
}

/// Draws the page `transfer.html` in the folder of a comparison from its `transfer.json`, atomically, and
/// returns the path of the page.
///
/// # Errors
/// The file that could not be read or written, and the reason.
pub fn write_transfer_page(folder: &Path) -> Result<PathBuf, FileError> {
    let report: TransferReport = read_record(&folder.join("transfer.json"))?;
    let page = folder.join("transfer.html");
    write_file(&page, draw_transfer_page(&report).as_bytes())?;
    Ok(page)
}

fn read_record<T: DeserializeOwned>(path: &Path) -> Result<T, FileError> {
    let json = read_file(path, u64::MAX).map_err(|error| FileError::new(path, error))?;
    serde_json::from_slice(&json).map_err(|error| FileError::new(path, error.into()))
}
