//! `polyhead transfer`: does it help to train the tasks of a configuration together?

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use polyhead_compute::Threads;
use polyhead_train::{
    CombinationResult, Ending, Gain, JudgedTask, Observer, Part, RunSummary, Transfer,
    TransferOptions, TransferReport, TransferRun, Verdict,
};

use crate::command::train::{ConfigArgs, quoted};
use crate::flags::{ThreadsArgs, note};
use crate::interrupt::{INTERRUPTED, on_interrupt};
use crate::progress::duration;
use crate::run_display::{Details, RunDisplay};
use crate::scores;
use crate::table::{Table, counted};

const HELP: &str = "\
Each task is trained alone, all are trained together and, with --pairs, every two. All
runs see the same number of batches of a task's rows. The table and the page
DIR/transfer.html say what each task gains or loses beside others, with 95 %
intervals over the rows and the spread over seeds. DIR/transfer.json has the same
as data, and DIR/runs/ a folder for each run.

Ctrl-C ends the run in progress with a checkpoint. --resume does what is missing:
no run is done twice, and more seeds, or --pairs, add runs to those that are there.

Examples:
  polyhead transfer config.toml -o transfer
  polyhead transfer config.toml -o transfer --seeds 3 --pairs
  polyhead transfer config.toml -o transfer --seeds 10 --resume";

/// Show what tasks gain or lose when they are trained together
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct TransferArgs {
    #[command(flatten)]
    config: ConfigArgs,

    /// Folder of the comparison
    #[arg(short, long, alias = "output", value_name = "DIR", help_heading = "Output")]
    out: PathBuf,

    /// Runs of each combination of tasks, with different seeds; three or more make a loss certain
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,

    /// Train every two tasks together as well
    #[arg(long)]
    pairs: bool,

    /// Continue the comparison in DIR; start it if there is none
    #[arg(long)]
    resume: bool,

    /// Keep the models of the runs, which take most of the disk space
    #[arg(long, help_heading = "Output")]
    keep_models: bool,

    /// Print the comparison as JSON
    #[arg(long, help_heading = "Output")]
    json: bool,

    #[command(flatten)]
    threads: ThreadsArgs,

    /// Show the progress of each run
    #[arg(short, long, conflicts_with = "quiet")]
    verbose: bool,

    /// Print the comparison, warnings and errors only
    #[arg(short, long)]
    quiet: bool,
}

/// Does all runs, and compares them.
pub(crate) fn run(args: TransferArgs) -> Result<ExitCode> {
    let config = args.config.read()?;
    let options =
        TransferOptions { seeds: args.seeds, pairs: args.pairs, keep_models: args.keep_models };
    let transfer =
        Transfer::new(&config, options, args.threads.given().unwrap_or_else(Threads::available))?;
    on_interrupt(transfer.stop_flag(), "stopping after this step, with a checkpoint")?;
    let runs = transfer.runs();
    for (at, run) in runs.iter().enumerate() {
        let title = format!("run {} of {}: {}", at + 1, runs.len(), title(run));
        let details = if args.verbose { Details::Hidden } else { Details::Quiet };
        if args.verbose {
            note(&title);
        }
        let display: Box<dyn Observer> = Box::new(RunDisplay::new(details));
        let ending = transfer.train(run, &args.out, args.resume, vec![display])?;
        let done = match &ending {
            Ending::Stopped { step } => return stopped(&args, run, *step),
            Ending::Finished(summary) => results(&transfer, summary),
            Ending::AlreadyFinished => "done before".to_owned(),
        };
        let folder = args.out.join(&run.folder);
        if !folder.join("report.html").exists() {
            polyhead_report::write_page(&folder)?;
        }
        if !args.quiet {
            note(&format!("{title}: {done}"));
        }
    }
    if !args.quiet {
        note(&format!("comparing {}", counted(runs.len() as u64, "run")));
    }
    let report = transfer.report(&args.out)?;
    let page = polyhead_report::write_transfer_page(&args.out)?;
    let mut out = BufWriter::new(io::stdout().lock());
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        write(&mut out, &report)?;
        writeln!(out, "page  {}", page.display())?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// The tasks of a run and its seed.
fn title(run: &TransferRun) -> String {
    let alone = if run.tasks.len() == 1 { " alone" } else { "" };
    format!("{}{alone}, seed {}", run.tasks.join(" + "), run.seed)
}

/// Scores and duration of a run that has ended.
fn results(transfer: &Transfer, summary: &RunSummary) -> String {
    let scores = summary.tasks.iter().map(|task| {
        let metric = transfer.metric(&task.name).unwrap_or_default();
        let value = task.test.as_ref().or(task.dev.as_ref()).and_then(|of| of.get(metric));
        format!("{} {}", task.name, scores::shown(metric, value))
    });
    let took = duration(Duration::from_secs_f64(summary.seconds));
    format!("{} ({took})", scores.collect::<Vec<_>>().join(", "))
}

/// Says how to go on.
fn stopped(args: &TransferArgs, run: &TransferRun, step: u64) -> Result<ExitCode> {
    let _ = writeln!(
        io::stderr(),
        "stopped in {}, step {step}; to continue, run:\n  {}",
        title(run),
        resume_command(args)
    );
    Ok(INTERRUPTED.into())
}

/// The command that does what is missing.
fn resume_command(args: &TransferArgs) -> String {
    let path = |path: &Path| quoted(&path.display().to_string());
    let mut line = format!("polyhead transfer {} -o {}", path(args.config.file()), path(&args.out));
    for set in args.config.set() {
        line.push_str(&format!(" --set {}", quoted(set)));
    }
    line.push_str(&format!(" --seeds {}", args.seeds));
    for (flag, is_set) in [(" --pairs", args.pairs), (" --keep-models", args.keep_models)] {
        line.push_str(if is_set { flag } else { "" });
    }
    line.push_str(" --resume");
    line
}

/// Writes a comparison for people: a table for each task, then what is certain.
fn write(out: &mut impl Write, report: &TransferReport) -> io::Result<()> {
    let mut certain = Vec::new();
    for (index, task) in report.tasks.iter().enumerate() {
        let JudgedTask { name, metric, part, rows } = task;
        let flatters = match part {
            Part::Dev => ", which chose the best steps: the task alone is flattered more",
            _ => "",
        };
        writeln!(out, "{name}: {metric} on {} of {part}{flatters}", counted(*rows as u64, "row"))?;
        let mut table = Table::new("lrrrrr");
        table.row(["trained", metric, "gain", "95 % interval", "by seed", "epochs"]);
        for (combination, one) in report.of_task(index) {
            let beside = report.partners(combination, index);
            let [gain, interval, seeds] = gain_cells(metric, one.gain.as_ref());
            let what = match one.gain.as_ref().map_or(Verdict::Open, Gain::verdict) {
                Verdict::Loses => Some("warning: loses"),
                Verdict::Gains => Some("gains"),
                Verdict::Open => None,
            };
            certain.extend(
                what.map(|what| {
                    format!("{what} for certain: {name} {beside}: {gain} ({interval})")
                }),
            );
            let (score, epochs) = (scores::shown(metric, one.mean()), format!("{:.1}", one.epochs));
            table.row([beside, score, gain, interval, seeds, epochs]);
        }
        table.write(out, 2)?;
        writeln!(out)?;
    }
    let seeds = counted(report.seeds.len() as u64, "seed");
    writeln!(out, "gain: difference to the task alone, mean of {seeds}; positive is better")?;
    certain.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    if let Some(line) = cost(report) {
        writeln!(out, "{line}")?;
    }
    writeln!(out)
}

/// The time of training alone and together; `None` if a run has no time.
fn cost(report: &TransferReport) -> Option<String> {
    let (alone, others): (Vec<&CombinationResult>, Vec<&CombinationResult>) =
        report.combinations.iter().partition(|combination| combination.tasks.len() == 1);
    let took = |seconds: f64| duration(Duration::from_secs_f64(seconds));
    let alone: Option<f64> = alone.iter().map(|combination| combination.seconds).sum();
    let together = others.iter().find(|of| of.tasks.len() == report.tasks.len())?.seconds;
    Some(format!(
        "time of a run: all together {}, one task after the other {}",
        took(together?),
        took(alone?)
    ))
}

/// The mean, the interval and the range over seeds.
fn gain_cells(metric: &str, gain: Option<&Gain>) -> [String; 3] {
    let Some(gain) = gain else { return [const { String::new() }; 3] };
    let range = |(low, high): (f64, f64)| {
        format!("{} to {}", scores::difference(metric, low), scores::difference(metric, high))
    };
    let least = gain.seeds.iter().copied().fold(f64::INFINITY, f64::min);
    let most = gain.seeds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    [
        scores::difference(metric, gain.mean),
        gain.interval.map_or_else(|| "–".to_owned(), range),
        range((least, most)),
    ]
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        transfer: TransferArgs,
    }

    #[test]
    fn the_command_that_continues_has_every_flag_that_counts() {
        let words = [
            "test",
            "my.toml",
            "-o",
            "a b",
            "--set",
            "seed=2",
            "--seeds",
            "3",
            "--pairs",
            "--keep-models",
            "--json",
            "-q",
        ];
        let args = Line::try_parse_from(words).map(|line| line.transfer).unwrap();
        assert!(args.json && args.quiet && !args.resume && !args.verbose);
        assert_eq!(
            resume_command(&args),
            "polyhead transfer my.toml -o 'a b' --set seed=2 --seeds 3 --pairs --keep-models --resume"
        );
        assert!(Line::try_parse_from(["test", "c.toml", "-o", "d", "--seeds", "0"]).is_err());
    }

    #[test]
    fn gains_are_points_for_shares_and_numbers_for_the_rest() {
        let gain = Gain { mean: 0.0125, interval: Some((-0.01, 0.03)), seeds: vec![0.0, 0.025] };
        assert_eq!(gain_cells("accuracy", Some(&gain)), ["+1.2", "-1.0 to +3.0", "0.0 to +2.5"]);
        let open = Gain { interval: None, ..gain };
        assert_eq!(gain_cells("spearman", Some(&open)), ["+0.0125", "–", "0.0000 to +0.0250"]);
        assert_eq!(gain_cells("spearman", None), ["", "", ""]);
    }
}
