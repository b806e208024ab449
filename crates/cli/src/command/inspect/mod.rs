//! `polyhead inspect`: the contents of a model folder.

mod summary;
mod tasks;
mod tree;

use std::io::{self, Write};

use anyhow::Result;
use clap::Args;

use self::summary::Summary;
use crate::flags::FirstModelArgs;
use crate::output::print_report;
use crate::table::{Table, shorten, thousands};

const HELP: &str = "\
Examples:
  polyhead inspect
  polyhead inspect my-model/ --json
  polyhead inspect runs/a";

/// Most prompts and most files that are shown; the other tables are as short as the model is deep.
const MOST_ROWS: usize = 50;

/// Show the layers, settings, tasks and files of a model
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct InspectArgs {
    /// Print JSON
    #[arg(long, help_heading = "Output")]
    json: bool,

    #[command(flatten)]
    model: FirstModelArgs,
}

/// Loads the model too: a model that can be shown also works.
pub(crate) fn run(args: InspectArgs) -> Result<()> {
    let model = args.model.one()?;
    let (folder, path) = model.open()?;
    // The weights are mapped, so a second handle on the folder costs nothing.
    let encoder = model.prepare(folder.clone(), None)?;
    let mut summary = Summary::new(&folder, &encoder, path.as_deref());
    summary.model = model.name().to_owned();
    if model.load.max_length().is_some() {
        summary.max_length_from = "--max-length";
    }
    print_report(args.json, &summary, |out, summary| write(out, summary))
}

fn write(out: &mut impl Write, summary: &Summary) -> io::Result<()> {
    let mut facts = Table::new("ll");
    facts.row(["model", &summary.model]);
    facts.row(["architecture", &architecture(summary)]);
    facts.row(["vocabulary", &format!("{} tokens", thousands(summary.vocab_size as u64))]);
    facts.row(["vector", &format!("{} numbers", summary.dimension)]);
    facts.row([
        "max length",
        &format!("{} tokens, from {}", summary.max_length, summary.max_length_from),
    ]);
    facts.row(["modules", &format!("Transformer → {}", summary.modules.join(" → "))]);
    facts.row(["compared by", &summary.similarity]);
    let kernels = summary.int8_products.map(|kernels| format!(", with {kernels}"));
    let precision = summary.precision;
    facts.row(["computed in", &format!("{precision}{}", kernels.unwrap_or_default())]);
    if let Some(text) = &summary.text {
        facts.row(["text of a row", text]);
    }
    for (name, prompt) in summary.prompts.iter().take(MOST_ROWS) {
        let default = summary.default_prompt_name.as_ref() == Some(name);
        let default = if default { " (default)" } else { "" };
        let prompt = shorten(prompt.as_str().unwrap_or_default(), 60);
        facts.row(["prompt", &format!("{name}{default}: \"{prompt}\"")]);
    }
    if let Some(more) = more(summary.prompts.len()) {
        facts.row(["prompt", &more]);
    }
    if let Some(encoder) = &summary.encoder {
        facts.row(["encoder", &format!("that of {}, in {}", encoder.model, encoder.place)]);
    }
    if let Some(origin) = &summary.provenance {
        facts.row(["from", &origin.line()]);
        origin.warnings.iter().for_each(|warning| facts.row(["warning", warning]));
    }
    facts.write(out, 0)?;
    writeln!(out)?;
    if !summary.tasks.is_empty() {
        tasks::table(&summary.tasks).write(out, 0)?;
        writeln!(out)?;
        if let Some(reading) = tasks::reading(&summary.tasks) {
            reading.write(out, 0)?;
            writeln!(out)?;
        }
    }
    tree::table(&summary.parts).write(out, 0)?;
    writeln!(out)?;
    parameters(summary).write(out, 0)?;
    if !summary.files.is_empty() {
        writeln!(out)?;
        files(summary).write(out, 0)?;
    }
    Ok(())
}

fn architecture(summary: &Summary) -> String {
    format!(
        "{}: {} layers of width {}, {} heads, feed-forward {} ({}), {} positions",
        summary.architecture,
        summary.layers,
        summary.hidden_size,
        summary.heads,
        summary.intermediate_size,
        summary.activation,
        summary.max_positions
    )
}

fn parameters(summary: &Summary) -> Table {
    let mut table = Table::new("lrrrl");
    table.row(["group", "tensors", "parameters", "bytes", "stored as"]);
    for group in &summary.groups {
        table.row([
            &*group.name,
            &group.tensors.to_string(),
            &thousands(group.parameters as u64),
            &thousands(group.bytes as u64),
            &group.stored_as,
        ]);
    }
    let tensors: usize = summary.groups.iter().map(|group| group.tensors).sum();
    let bytes: usize = summary.groups.iter().map(|group| group.bytes).sum();
    table.row([
        "total",
        &tensors.to_string(),
        &thousands(summary.parameters as u64),
        &thousands(bytes as u64),
    ]);
    table
}

fn files(summary: &Summary) -> Table {
    let mut table = Table::new("lr");
    table.row(["file", "bytes"]);
    for file in summary.files.iter().take(MOST_ROWS) {
        table.row([file.name.clone(), thousands(file.bytes)]);
    }
    if let Some(more) = more(summary.files.len()) {
        table.row([more]);
    }
    table
}

/// The line in place of the rows that are left out; `None` if all are shown.
fn more(rows: usize) -> Option<String> {
    let more = rows.checked_sub(MOST_ROWS).filter(|more| *more > 0)?;
    Some(format!("… {} more; --json has all of them", thousands(more as u64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_say_what_is_left_out() {
        for (rows, expected) in [
            (0, None),
            (MOST_ROWS, None),
            (MOST_ROWS + 1, Some("… 1 more; --json has all of them")),
            (MOST_ROWS + 12_345, Some("… 12,345 more; --json has all of them")),
        ] {
            assert_eq!(more(rows).as_deref(), expected);
        }
    }
}
