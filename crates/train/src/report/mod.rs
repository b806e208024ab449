//! The record of a run: everything that its page shows, as plain data in `report.json`.
//!
//! A [`RunReport`] holds points of curves, metrics, counts and words. The crate `polyhead-report`
//! draws a page from it, so a later version can draw the page again without the run.
//!
//! `gather` fills the record when a run ends, `mistakes` picks the worst answers, `conflict` reads the cosines of
//! gradients. Missing numbers
//! and numbers that are not finite are `None`: JSON has no NaN.

mod conflict;
mod gather;
mod mistakes;
mod record;

pub use conflict::{ConflictReport, PairConflict};
pub use record::{
    Answer, CacheReport, Cosines, Curves, DevPoint, GroupReport, MarkedSpan, Mistake, RunReport,
    SchedulePoint, TaskResult, TimePart, TrainPoint,
};
