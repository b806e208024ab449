//! Shows a training run on standard error: a bar on a terminal, lines elsewhere.

use std::fmt::Display as Show;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use console::Term;
use indicatif::{ProgressBar, ProgressStyle};
use polyhead_files::visible;
use polyhead_train::{DataReport, Evaluated, Event, Observer, Progress};
use unicode_width::UnicodeWidthStr;

use crate::scores;

/// Selects what `train` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Details {
    /// Show the whole data check and the whole plan.
    Whole,
    /// Show the plan in a few lines, and what the data check warns of.
    Short,
    /// Show progress and notes.
    Hidden,
    /// Show warnings only.
    Quiet,
}

/// Findings of the data check that are shown one by one.
const WARNINGS_SHOWN: usize = 5;

/// Steps and time after which the remaining time is estimated: the first steps are not typical.
const ESTIMATE_AFTER: (u64, Duration) = (3, Duration::from_secs(2));

/// Columns that [`STYLE`] takes besides its message.
const BAR_COLUMNS: usize = 13;

/// The spinner moves while a step or an evaluation takes long.
const STYLE: &str = "{spinner} {bar:10} {msg}";

/// Shows the events of a training run.
pub(crate) struct RunDisplay {
    details: Details,
    /// The bar or, before the first step, the spinner; only on a terminal.
    bar: Option<ProgressBar>,
    /// The first step of this session and its time, once there is one.
    first: Option<(u64, Instant)>,
    on_terminal: bool,
    /// Latest means over several steps, which vary less than the values of one step.
    means: Option<Progress>,
}

impl RunDisplay {
    pub(crate) fn new(details: Details) -> Self {
        let on_terminal = io::stderr().is_terminal();
        let bar = (on_terminal && details != Details::Quiet).then(spinner);
        Self { details, bar, first: None, on_terminal, means: None }
    }

    /// Prints a line, above the bar if there is one.
    fn line(&self, line: &dyn Show) {
        match &self.bar {
            Some(bar) => bar.println(visible(&line.to_string())),
            // Standard error may be closed: the line is lost then.
            None => drop(writeln!(io::stderr(), "{}", visible(&line.to_string()))),
        }
    }

    fn step(&mut self, progress: &Progress) {
        let Some(bar) = &self.bar else { return };
        let (first, begin) = *self.first.get_or_insert_with(|| {
            bar.set_length(progress.total_steps);
            bar.set_style(style(STYLE));
            (progress.step, Instant::now())
        });
        bar.set_position(progress.step);
        let shown = Progress {
            epoch: progress.epoch,
            step: progress.step,
            step_in_epoch: progress.step_in_epoch,
            learning_rate: progress.learning_rate,
            ..self.means.as_ref().unwrap_or(progress).clone()
        };
        let (steps, elapsed) = (progress.step - first, begin.elapsed());
        let left = (steps >= ESTIMATE_AFTER.0 && elapsed >= ESTIMATE_AFTER.1).then(|| {
            elapsed.div_f64(steps as f64).mul_f64((progress.total_steps - progress.step) as f64)
        });
        let columns = usize::from(Term::stderr().size().1).saturating_sub(BAR_COLUMNS + 1);
        bar.set_message(bar_message(&shown, left, columns));
    }

    fn logged(&mut self, progress: &Progress) {
        if self.on_terminal {
            self.means = Some(progress.clone());
        } else {
            self.line(progress);
        }
    }

    fn evaluated(&self, evaluated: &Evaluated) {
        self.line(&scores::heading(evaluated));
        let tasks = evaluated.tasks.iter().map(|(name, found)| (name.as_str(), found.as_ref()));
        let mut table = Vec::new();
        // A write to a `Vec` never fails.
        let _ = scores::across(tasks).write(&mut table, 2);
        self.line(&String::from_utf8_lossy(&table).trim_end());
    }

    fn data_checked(&self, report: &DataReport) {
        match self.details {
            Details::Whole => self.block("data:", &report.lines()),
            Details::Short => {
                let mut warnings = report.warnings();
                let more = warnings.len().saturating_sub(WARNINGS_SHOWN);
                warnings.truncate(WARNINGS_SHOWN);
                if more > 0 {
                    warnings.push(format!("and {more} more: `polyhead check-data` shows them all"));
                }
                if !warnings.is_empty() {
                    self.block("data to look at:", &warnings);
                }
            }
            Details::Hidden | Details::Quiet => {}
        }
    }

    fn planned(&self, summary: &[String], details: &[String]) {
        self.bar.iter().for_each(|bar| bar.set_message("before the first step"));
        match self.details {
            Details::Whole => self.block("plan:", details),
            Details::Short => self.block("plan (all of it: --verbose):", summary),
            Details::Hidden | Details::Quiet => {}
        }
    }

    /// Prints a title and indented lines.
    fn block(&self, title: &str, lines: &[String]) {
        self.line(&title);
        lines.iter().for_each(|line| self.line(&format_args!("  {}", line.trim_start())));
    }
}

impl Observer for RunDisplay {
    fn observe(&mut self, event: &Event) {
        match event {
            Event::Warning(warning) => self.line(&format_args!("warning: {warning}")),
            _ if self.details == Details::Quiet => {}
            Event::Notice(notice) => self.line(&format_args!("note: {notice}")),
            Event::DataChecked(report) => self.data_checked(report),
            Event::Planned { summary, details } => self.planned(summary, details),
            // The first phase is the last line of the plan.
            Event::Phase { step, line } if *step > 1 => self.line(line),
            Event::Step(progress) => self.step(progress),
            Event::Logged(progress) => self.logged(progress),
            Event::Evaluated(evaluated) => self.evaluated(evaluated),
            Event::Finished(_) => {
                if let Some(bar) = self.bar.take() {
                    bar.finish_and_clear();
                }
            }
            // A checkpoint is worth a line only if the run stops with it.
            _ => {}
        }
    }
}

impl Drop for RunDisplay {
    /// Removes the bar of a run that was stopped or has failed.
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The text beside the bar: as many items as fit into `columns`, the important ones first.
///
/// - `left`: estimate of the remaining time, once there is one
fn bar_message(progress: &Progress, left: Option<Duration>, columns: usize) -> String {
    let Progress { step, total_steps, epoch, epochs, loss, .. } = progress;
    let mut items = vec![format!("step {step}/{total_steps}"), format!("loss {loss:.4}")];
    items.extend(left.map(|left| format!("{} left", rounded(left))));
    items.push(format!("epoch {epoch}/{epochs}"));
    for task in &progress.tasks {
        let accuracy = task.accuracy.map(|share| format!(" {:.1} %", 100.0 * share));
        items.extend(
            task.loss
                .map(|loss| format!("{} {loss:.2}{}", task.name, accuracy.unwrap_or_default())),
        );
    }
    items.push(format!("{:.0} texts/s", progress.texts_per_second));
    items.push(format!("lr {:.1e}", progress.learning_rate));
    let mut message = String::new();
    for item in items {
        let separator = if message.is_empty() { "" } else { " · " };
        if message.width() + separator.width() + item.width() > columns {
            break;
        }
        message += separator;
        message += &item;
    }
    message
}

/// A remaining time without false precision: `8 s`, `3 min`, `2 h 10 min`.
fn rounded(time: Duration) -> String {
    match time.as_secs_f64().round() as u64 {
        seconds @ ..90 => format!("{seconds} s"),
        seconds @ ..5_400 => format!("{} min", (seconds + 30) / 60),
        seconds => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is a constant")
}

/// Makes the spinner that turns until the first step is done.
fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.set_style(style("{spinner} {msg} {elapsed}"));
    bar.set_message("reading model and data");
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

#[cfg(test)]
mod tests {
    use polyhead_train::TaskProgress;

    use super::*;

    #[test]
    fn items_beside_the_bar_are_whole_or_absent() {
        let task = |name: &str, loss, accuracy| TaskProgress { name: name.into(), loss, accuracy };
        let progress = Progress {
            epoch: 2,
            epochs: 3,
            step_in_epoch: 211,
            steps_per_epoch: 1189,
            step: 1400,
            total_steps: 3567,
            loss: 0.91234,
            tasks: vec![task("topic", Some(0.414), Some(0.841)), task("rare", None, None)],
            gradient_norm: 1.0,
            learning_rate: 4.6e-5,
            texts_per_second: 312.4,
            hooks: Vec::new(),
        };
        let left = Some(Duration::from_secs(754));
        for (columns, expected) in [
            (10, ""),
            (39, "step 1400/3567 · loss 0.9123"),
            (20, "step 1400/3567"),
            (60, "step 1400/3567 · loss 0.9123 · 13 min left · epoch 2/3"),
            (
                120,
                "step 1400/3567 · loss 0.9123 · 13 min left · epoch 2/3 · topic 0.41 84.1 % \
                 · 312 texts/s · lr 4.6e-5",
            ),
        ] {
            assert_eq!(bar_message(&progress, left, columns), expected);
        }
        let begun = bar_message(&progress, None, 45);
        assert_eq!(begun, "step 1400/3567 · loss 0.9123 · epoch 2/3");
    }

    #[test]
    fn the_remaining_time_is_rounded() {
        for (seconds, expected) in
            [(0, "0 s"), (89, "89 s"), (90, "2 min"), (754, "13 min"), (9_000, "2 h 30 min")]
        {
            assert_eq!(rounded(Duration::from_secs(seconds)), expected);
        }
    }
}
