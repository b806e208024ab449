//! The configuration of a fit as a TOML file.

use std::path::PathBuf;

use polyhead_files::quoted;

use super::FitRequest;
use super::columns::{ColumnTask, FitColumns};
use crate::data::draft::{beside, toml_list, toml_path, toml_string};
use crate::error::Error;

/// Rows for each label from which on a share of them is held out: with fewer, each of them teaches more
/// than it could judge.
const ROWS_PER_LABEL: usize = 20;

/// Rows from which on a share of them is held out where there are no labels to count.
const ROWS: usize = 200;

/// The share of the rows that is held out.
const SHARE: &str = "0.1";

/// The rows that choose the best model.
pub(super) enum HeldOut {
    File(PathBuf),
    Share,
    Nothing,
}

impl HeldOut {
    /// Chooses them; also returns a line that says so.
    pub(super) fn of(request: &FitRequest, columns: &FitColumns) -> Result<(Self, String), Error> {
        let input: Vec<&str> = columns.text.iter().chain(&columns.words).map(|of| &**of).collect();
        let labels: Vec<&str> =
            columns.tasks.iter().flat_map(|task| &task.columns).map(|of| &**of).collect();
        let near = || beside(&request.data, "".as_ref(), "dev", (&input, &labels));
        if let Some(path) = request.dev.clone().or_else(near) {
            let note = format!("{}: the dev rows", quoted(&path.display().to_string()));
            return Ok((Self::File(path), note));
        }
        let few = |task: &ColumnTask| match &task.rarest {
            Some((label, count)) if *count < ROWS_PER_LABEL => {
                let label = quoted(label);
                Some(format!("{label} of {} has {count} rows", quoted(&task.name)))
            }
            Some(_) => None,
            None => (columns.rows < ROWS).then(|| format!("there are {} rows", columns.rows)),
        };
        Ok(match columns.tasks.iter().find_map(few) {
            Some(why) => {
                let note = format!("no rows are held out as dev, all teach: {why}");
                (Self::Nothing, note)
            }
            None => {
                let note =
                    "a tenth of the rows of each label is held out as dev, chosen by the seed";
                (Self::Share, note.to_owned())
            }
        })
    }
}

/// The configuration.
pub(super) fn toml_text(request: &FitRequest, columns: &FitColumns, held_out: &HeldOut) -> String {
    let mut lines = vec![
        "# Made by `polyhead fit`; `polyhead train` trains it, and `polyhead help config` lists all"
            .to_owned(),
        "# keys. Epochs, rates and what trains are chosen by the number of rows.\n".to_owned(),
        "[encoder]".to_owned(),
        format!("model = {}\n", toml_string(request.model.as_deref().unwrap_or("builtin"))),
        "[data]".to_owned(),
        format!("train = {}", toml_path(&request.data)),
    ];
    let sets = request.set.iter().map(|set| format!("# With {}.", quoted(&format!("--set {set}"))));
    lines.splice(2..2, sets.chain([format!("seed = {}\n", request.seed.unwrap_or(0))]));
    match held_out {
        HeldOut::File(path) => lines.push(format!("dev = {}", toml_path(path))),
        HeldOut::Share => lines.push(format!("dev_share = {SHARE}")),
        HeldOut::Nothing => {}
    }
    if !columns.text.is_empty() {
        lines.push(format!("text = {}", toml_fields(&columns.text)));
    }
    lines.extend(columns.words.iter().map(|name| format!("tokens = {}", toml_string(name))));
    for task in &columns.tasks {
        lines.push("\n[[task]]".to_owned());
        lines.push(format!("name = {}", toml_string(&task.name)));
        lines.push(format!("kind = \"{}\"", task.kind));
        if task.columns != [&*task.name] {
            lines.push(format!("field = {}", toml_fields(&task.columns)));
        }
        lines.extend(
            task.separator.map(|by| format!("separator = {}", toml_string(&by.to_string()))),
        );
        if task.kind.has_sets() && task.has_empty {
            lines.push("empty = \"none\"".to_owned());
        }
    }
    lines.join("\n") + "\n"
}

/// A field, or a list of several.
fn toml_fields(names: &[String]) -> String {
    match names {
        [one] => toml_string(one),
        several => toml_list(several.iter().map(String::as_str)),
    }
}
