//! `polyhead train`: a configuration in, a model out.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use polyhead_files::{RowFormat, read_text};
use polyhead_train::{Ending, Event, Observer, RunConfig, RunSummary, TensorBoard, Trainer};

use crate::failure::usage;
use crate::flags::ThreadsArgs;
use crate::interrupt::{INTERRUPTED, on_interrupt};
use crate::progress::duration;
use crate::run_display::{Details, RunDisplay};
use crate::scores;
use crate::table::thousands;

const HELP: &str = "\
The folder DIR gets `model/` (every command takes DIR in its place), `report.html`,
`metrics.jsonl`, the resolved `config.toml`, and `checkpoints/`.

Ctrl-C finishes the step and writes a checkpoint. --resume continues from the
newest checkpoint, also after a kill; the result has the same bits as that of a
run that was never stopped. The exit code after Ctrl-C is 130.

Examples:
  polyhead train config.toml -o runs/a
  polyhead train config.toml -o runs/b --set train.epochs=5 --set task.topic.weight=2
  polyhead train config.toml -o runs/a --resume";

/// Train the tasks of a configuration on one encoder
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    config: ConfigArgs,

    /// Folder of the run
    #[arg(short, long, alias = "output", value_name = "DIR", help_heading = "Output")]
    out: PathBuf,

    /// Continue the run in DIR; start it if there is none
    #[arg(long)]
    resume: bool,

    /// Print the summary as JSON
    #[arg(long, help_heading = "Output")]
    json: bool,

    /// Also write losses, rates and dev metrics as event files for TensorBoard
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    tensorboard: Option<PathBuf>,

    #[command(flatten)]
    threads: ThreadsArgs,

    /// Print the whole data check and the whole plan before the first step
    #[arg(short, long, conflicts_with = "quiet")]
    verbose: bool,

    /// Print results, warnings and errors only: no plan, notes or progress
    #[arg(short, long)]
    quiet: bool,
}

/// The configuration and the keys that are changed in it.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// Configuration, a TOML file
    #[arg(value_name = "CONFIG.toml")]
    config: PathBuf,

    /// Change a key, such as train.epochs=5 or task.NAME.weight=2; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl ConfigArgs {
    /// The file.
    pub(crate) fn file(&self) -> &Path {
        &self.config
    }

    /// The keys that are changed.
    pub(crate) fn set(&self) -> &[String] {
        &self.set
    }

    /// Reads and checks the configuration.
    pub(crate) fn read(&self) -> Result<RunConfig> {
        if RowFormat::from_path(&self.config).is_some() {
            let file = self.config.display();
            return Err(usage(format!(
                "{file}: expected a configuration, found a data file; `polyhead init {file}` writes one"
            )));
        }
        Ok(RunConfig::from_file(&self.config, &self.set)?)
    }
}

/// Trains until the end, or until Ctrl-C.
pub(crate) fn run(args: TrainArgs) -> Result<ExitCode> {
    let config = args.config.read()?;
    let details = details(args.quiet, args.verbose);
    let mut trainer = trainer(config, &args.threads, details)?;
    if let Some(folder) = &args.tensorboard {
        trainer = trainer.observe(Box::new(Curves(TensorBoard::new(folder)?)));
    }
    let ending = trainer.train(&args.out, args.resume)?;
    // Removes the progress bar before other lines are printed in its place.
    drop(trainer);
    end(&args.out, &ending, args.json, || resume_command(&args))
}

/// How much is printed before the first step.
pub(crate) fn details(quiet: bool, verbose: bool) -> Details {
    match (quiet, verbose) {
        (true, _) => Details::Quiet,
        (_, true) => Details::Whole,
        _ => Details::Short,
    }
}

/// Writes the page and prints the results of a run that has ended.
///
/// - `json`: true to print the summary as JSON
/// - `resume`: the command that continues the run
pub(crate) fn end(
    out: &Path,
    ending: &Ending,
    json: bool,
    resume: impl Fn() -> String,
) -> Result<ExitCode> {
    if needs_page(out, ending) {
        polyhead_report::write_page(out)?;
    }
    match ending {
        // One line, as in the run's own file.
        Ending::Finished(summary) if json => {
            writeln!(io::stdout(), "{}", serde_json::to_string(summary)?)?;
        }
        Ending::Finished(summary) => {
            let mut text = BufWriter::new(io::stdout().lock());
            write(&mut text, summary)?;
            text.flush()?;
        }
        Ending::AlreadyFinished if json => {
            // The same bytes that the run printed at its end.
            let summary = out.join("finished.json");
            let text = read_text(&summary, u64::MAX).with_context(|| summary.display().to_string());
            writeln!(io::stdout().lock(), "{}", text?.trim_end())?;
        }
        Ending::AlreadyFinished => {
            let out = out.display();
            writeln!(io::stdout(), "{out}: the run is finished, there is nothing to do")?;
        }
        Ending::Stopped { step } => {
            let _ = writeln!(
                io::stderr(),
                "stopped after step {step} with a checkpoint; to continue, run:\n  {}",
                resume()
            );
            return Ok(INTERRUPTED.into());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns true if the run needs its page written: it has just ended, or it was killed before that.
fn needs_page(folder: &Path, ending: &Ending) -> bool {
    let has = |name: &str| folder.join(name).exists();
    match ending {
        Ending::Finished(_) => true,
        Ending::AlreadyFinished => has("report.json") && !has("report.html"),
        Ending::Stopped { .. } => false,
    }
}

/// Makes a trainer that shows its progress and that Ctrl-C stops.
pub(crate) fn trainer(
    config: RunConfig,
    threads: &ThreadsArgs,
    details: Details,
) -> Result<Trainer> {
    let mut trainer = Trainer::new(config);
    if let Some(threads) = threads.given() {
        trainer = trainer.threads(threads);
    }
    trainer = trainer.observe(Box::new(RunDisplay::new(details)));
    on_interrupt(trainer.stop_flag(), "stopping after this step, with a checkpoint")?;
    Ok(trainer)
}

/// Writes for TensorBoard; a point that cannot be written is a warning.
struct Curves(TensorBoard);

impl Observer for Curves {
    fn observe(&mut self, event: &Event) {
        self.0.observe(event);
        if let Some(problem) = self.0.take_problem() {
            let _ = writeln!(io::stderr(), "warning: {problem}");
        }
    }
}

/// The command that resumes the run.
fn resume_command(args: &TrainArgs) -> String {
    let path = |path: &Path| quoted(&path.display().to_string());
    let mut line = format!("polyhead train {} -o {}", path(&args.config.config), path(&args.out));
    for set in &args.config.set {
        line.push_str(&format!(" --set {}", quoted(set)));
    }
    if let Some(folder) = &args.tensorboard {
        line.push_str(&format!(" --tensorboard {}", path(folder)));
    }
    line.push_str(" --resume");
    line
}

/// Quotes `word` where a shell would not read it as one word.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-./=,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Writes the results of a run for people.
pub(crate) fn write(out: &mut impl Write, summary: &RunSummary) -> io::Result<()> {
    let RunSummary { steps, best_step, seconds, cache, .. } = summary;
    match steps {
        0 => writeln!(out, "nothing is trained: the model was evaluated as it is")?,
        _ => {
            let took = duration(Duration::from_secs_f64(*seconds));
            let best = if best_step == steps {
                String::new()
            } else {
                format!(", the model is that of step {best_step}")
            };
            writeln!(out, "{} steps in {took}{best}", thousands(*steps))?;
        }
    }
    writeln!(out)?;
    if summary.tasks.iter().any(|task| task.dev.is_some() || task.test.is_some()) {
        scores::of_run(summary).write(out, 2)?;
        scores::stars(summary).map_or(Ok(()), |line| writeln!(out, "  {line}"))?;
    } else {
        writeln!(out, "no metrics: there are no dev or test rows with labels")?;
    }
    if let Some(table) = scores::calibration(summary) {
        writeln!(out, "\ncalibration on dev (expected error of probabilities)")?;
        table.write(out, 2)?;
    }
    writeln!(out, "\n{}", summary.frozen)?;
    if let Some(cosine) = summary.vector_cosine {
        writeln!(
            out,
            "sentence vectors of dev: mean cosine {cosine:.4} to those of the starting model"
        )?;
    }
    if cache.tokens_saved > 0 {
        writeln!(
            out,
            "hidden states below the frozen boundary: {} tokens were not computed again \
             ({:.1} MB in memory, {:.1} MB in a file)",
            thousands(cache.tokens_saved),
            cache.memory as f64 / 1e6,
            cache.file as f64 / 1e6,
        )?;
    }
    writeln!(out, "\nmodel   {}", summary.model.display())?;
    if summary.report.exists() {
        writeln!(out, "report  {}", summary.report.display())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        train: TrainArgs,
    }

    fn parse(line: &[&str]) -> Result<TrainArgs, clap::Error> {
        Line::try_parse_from(["test"].iter().chain(line)).map(|line| line.train)
    }

    #[test]
    fn every_flag_is_read() {
        let args = parse(&[
            "c.toml",
            "-o",
            "d",
            "--threads",
            "3",
            "--resume",
            "--json",
            "-q",
            "--tensorboard",
            "t",
        ]);
        let args = args.unwrap();
        assert_eq!((args.out, args.threads.given()), ("d".into(), Some(3)));
        assert!(args.resume && args.json && args.quiet);
        assert_eq!(args.tensorboard, Some("t".into()));
        assert!(parse(&["c.toml"]).is_err(), "a run needs a folder");
        assert!(parse(&["-o", "d"]).is_err(), "a run needs a configuration");
    }

    #[test]
    fn the_command_that_resumes_can_be_pasted_into_a_shell() {
        let args = [
            "my config.toml",
            "-o",
            "runs/a",
            "--set",
            "seed=2",
            "--set",
            "encoder.model=it's",
            "--tensorboard",
            "my curves",
        ];
        assert_eq!(
            resume_command(&parse(&args).unwrap()),
            "polyhead train 'my config.toml' -o runs/a --set seed=2 \
             --set 'encoder.model=it'\\''s' --tensorboard 'my curves' --resume"
        );
    }
}
