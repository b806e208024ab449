//! What a run leaves for people: one page to look at.
//!
//! A [`RunReport`] is a plain record of a run: points of curves, metrics, counts
//! and words, in JSON as `report.json`. [`RunReport::to_html`] draws it. So the
//! page can be drawn again, by a later version too, without the run. The page
//! stands alone: no scripts, no fonts, nothing fetched; plots are SVG in the text,
//! colours follow the reader's light or dark theme.
//!
//! The record comes from a trainer, but its words come from users: texts, labels,
//! names and paths. Every one of them is escaped, shortened, and kept from
//! changing the direction of what stands around it. Numbers that are missing or
//! not finite are shown as “–”. Whatever a record holds, it gives a page.
//!
//! What it leaves out: reading the run folder, and writing the file.

mod confusion;
mod curves;
mod data;
mod freezing;
mod html;
mod mistakes;
mod number;
mod page;
mod parts;
mod plot;
mod rate_curves;
mod record;
mod series;
mod task;

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::data::DataReport;

pub use record::{
    Answer, CacheReport, Cosines, Curves, DevPoint, GroupReport, MarkedSpan, Mistake,
    SchedulePoint, TaskResult, TimePart, TrainPoint,
};

/// Everything that the page shows. Each part may be missing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunReport {
    /// What the run is called: the name of its folder.
    pub name: String,
    /// The model it started from, as the configuration names it.
    pub model: String,
    /// How it came to its end, in a sentence: `all 567 steps done`,
    /// `early stopping: 5 evaluations without improvement`.
    pub ending: String,
    /// Remarks that a user should see once more.
    pub notices: Vec<String>,
    /// Steps done; 0 where nothing was trained.
    pub steps: u64,
    /// Steps that were planned.
    pub planned_steps: u64,
    /// Steps of an epoch; 0 if there are none.
    pub steps_per_epoch: u64,
    /// The step that the model is of.
    pub best_step: u64,
    /// What the best step was chosen by: `mean of topic accuracy, urgency spearman`.
    pub criterion: String,
    /// Its value there.
    pub best_score: Option<f64>,

    /// Seconds over all sittings.
    pub seconds: Option<f64>,
    /// Mean over the run, of training alone.
    pub texts_per_second: Option<f64>,
    /// Largest resident memory of the process, in bytes.
    pub peak_memory: Option<u64>,
    /// Threads that computed.
    pub threads: Option<usize>,
    /// Of the kernels: `AVX2`.
    pub instructions: String,
    /// The processor's name.
    pub processor: String,
    /// Of the configuration.
    pub seed: Option<u64>,
    /// What else should be known to do it again: `polyhead` → `0.1.0`, `data` → SHA-256.
    pub versions: Vec<(String, String)>,

    /// Numbers over the steps.
    pub curves: Curves,
    /// By what learning rates are multiplied; the corners of its shape are enough.
    pub schedule: Vec<SchedulePoint>,
    /// Who learned how fast and when, in the order of the index.
    pub groups: Vec<GroupReport>,
    /// Stretches of steps as the freeze plan says them, a line each.
    pub phases: Vec<String>,
    /// The proof: `frozen parameters unchanged: 4 tensors…`.
    pub frozen: String,
    /// How far the dev texts' vectors have moved from those of the starting model;
    /// `None` where nothing moves them, or without dev data.
    pub cosines: Option<Cosines>,
    /// Hidden states that were kept; `None` where none were.
    pub cache: Option<CacheReport>,
    /// Where the time went, in the order to be shown.
    pub times: Vec<TimePart>,

    /// In the order of the configuration.
    pub tasks: Vec<TaskResult>,
    /// What was found in the data.
    pub data: Option<DataReport>,
    /// `config.toml` as resolved.
    pub config: String,
}

impl RunReport {
    /// The page. The same record gives the same bytes.
    pub fn to_html(&self) -> String {
        page::page(self)
    }
}
