//! `polyhead fit`: a data file in, a model out, without a configuration.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use polyhead_train::{FitPlan, FitRequest, FitTask};

use crate::command::train::{details, end, quoted, trainer};
use crate::flags::{ThreadsArgs, note};

const HELP: &str = "\
Names of columns are enough: the kind of each task follows from its values, a
tenth of the rows is held out as dev where there are many, and the recipe is
chosen by their number: few rows of each label first set labels apart in the
sentence vectors. Everything that is chosen is printed, and is in DIR/fit.toml,
which `polyhead train` takes.

Kinds: classification, multilabel, regression, ordinal, tokens.

Examples:
  polyhead fit tickets.csv --text body --task topic -o runs/tickets
  polyhead fit tickets.csv --text body --task topic --task urgency:regression -o runs/b
  polyhead fit pairs.jsonl --text premise --text hypothesis --task label -o runs/c
  polyhead serve runs/tickets";

/// Train on a data file without a configuration; it is chosen and written
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct FitArgs {
    /// Rows to train on, a .jsonl, .csv or .tsv file, or one of these and .gz
    #[arg(value_name = "DATA_FILE")]
    data: PathBuf,

    /// Column of the text; two make pairs of texts [default: the one that looks like it]
    #[arg(long, value_name = "COLUMN")]
    text: Vec<String>,

    /// Column with labels, and their kind where the values do not say it; may be repeated [default: all that look like labels]
    #[arg(long, value_name = "COLUMN[:KIND]")]
    task: Vec<FitTask>,

    /// Rows that choose the best model [default: a file beside, or a tenth of many rows]
    #[arg(long, value_name = "FILE")]
    dev: Option<PathBuf>,

    /// Model to begin with: a folder, a run or a name of the hub [default: builtin]
    #[arg(short, long, value_name = "DIR|NAME")]
    model: Option<String>,

    /// Seed of the run [default: 0]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,

    /// Set a key of the configuration, such as train.epochs=5; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,

    /// Folder of the run
    #[arg(short, long, alias = "output", value_name = "DIR", help_heading = "Output")]
    out: PathBuf,

    /// Continue the run in DIR; start it if there is none
    #[arg(long)]
    resume: bool,

    /// Print the summary as JSON
    #[arg(long, help_heading = "Output")]
    json: bool,

    #[command(flatten)]
    threads: ThreadsArgs,

    /// Print the whole data check and the whole plan before the first step
    #[arg(short, long, conflicts_with = "quiet")]
    verbose: bool,

    /// Print results, warnings and errors only: no choices, plan or progress
    #[arg(short, long)]
    quiet: bool,
}

/// Chooses a configuration, and trains until the end or until Ctrl-C.
pub(crate) fn run(args: FitArgs) -> Result<ExitCode> {
    let plan = FitPlan::new(&FitRequest {
        data: args.data.clone(),
        text: args.text.clone(),
        tasks: args.task.clone(),
        dev: args.dev.clone(),
        model: args.model.clone(),
        seed: args.seed,
        set: args.set.clone(),
    })?;
    if !args.quiet {
        plan.notes.iter().for_each(|line| note(line));
    }
    let details = details(args.quiet, args.verbose);
    let mut trainer = trainer(plan.config.clone(), &args.threads, details)?;
    let ending = plan.train(&mut trainer, &args.out, args.resume)?;
    // Removes the progress bar before other lines are printed in its place.
    drop(trainer);
    end(&args.out, &ending, args.json, || resume_command(&args))
}

/// The command that resumes the run.
fn resume_command(args: &FitArgs) -> String {
    let path = |path: &Path| path.display().to_string();
    let mut words = vec!["polyhead".to_owned(), "fit".to_owned(), path(&args.data)];
    let mut add = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
    args.text.iter().for_each(|column| add("--text", column.clone()));
    for FitTask { column, kind } in &args.task {
        add("--task", kind.map_or(column.clone(), |kind| format!("{column}:{kind}")));
    }
    args.dev.iter().for_each(|file| add("--dev", path(file)));
    args.model.iter().for_each(|model| add("--model", model.clone()));
    args.seed.iter().for_each(|seed| add("--seed", seed.to_string()));
    args.set.iter().for_each(|set| add("--set", set.clone()));
    add("-o", path(&args.out));
    words.push("--resume".to_owned());
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        fit: FitArgs,
    }

    #[test]
    fn every_flag_is_read_and_is_in_the_command_that_resumes() {
        let line = "t my.csv --text a --text b --task c --task d:regression --dev e.csv -m f \
                    --seed 3 --set train.epochs=2 -o g --resume --json -q --threads 2";
        let mut words: Vec<&str> = line.split_whitespace().collect();
        words.splice(..2, ["test", "t my.csv"]);
        let args = Line::try_parse_from(words).map(|line| line.fit).unwrap();
        assert!(args.resume && args.json && args.quiet && args.threads.given() == Some(2));
        assert_eq!(
            resume_command(&args),
            "polyhead fit 't my.csv' --text a --text b --task c --task d:regression --dev e.csv \
             --model f --seed 3 --set train.epochs=2 -o g --resume"
        );
        let error = Line::try_parse_from(["test", "a.csv", "--task", ":regression", "-o", "b"]);
        assert!(error.is_err_and(|error| error.to_string().contains("expected NAME or NAME:KIND")));
    }
}
