//! Shows a training run on standard error: a bar on a terminal, lines elsewhere.

use std::fmt::Display as Show;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use polyhead_files::visible;
use polyhead_train::{Evaluated, Event, Observer, Progress};

use crate::scores;

/// Selects what `train` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Details {
    /// Show the data check and the plan too.
    Shown,
    /// Show progress and notes.
    Hidden,
    /// Show warnings only.
    Quiet,
}

/// Shows the events of a training run.
pub(crate) struct RunDisplay {
    details: Details,
    /// The progress bar: only on a terminal, from the first step on.
    bar: Option<ProgressBar>,
    on_terminal: bool,
    /// Latest means over several steps, which vary less than the values of one step.
    means: Option<Progress>,
}

impl RunDisplay {
    pub(crate) fn new(details: Details) -> Self {
        Self { details, bar: None, on_terminal: io::stderr().is_terminal(), means: None }
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
        if !self.on_terminal {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| bar(progress.total_steps));
        bar.set_position(progress.step);
        let shown = Progress {
            epoch: progress.epoch,
            step: progress.step,
            step_in_epoch: progress.step_in_epoch,
            learning_rate: progress.learning_rate,
            ..self.means.as_ref().unwrap_or(progress).clone()
        };
        bar.set_message(shown.to_string());
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

    fn details(&self, title: &str, lines: &[String]) {
        if self.details == Details::Shown {
            self.line(&title);
            lines.iter().for_each(|line| self.line(&format_args!("  {line}")));
        }
    }
}

impl Observer for RunDisplay {
    fn observe(&mut self, event: &Event) {
        match event {
            Event::Warning(warning) => self.line(&format_args!("warning: {warning}")),
            _ if self.details == Details::Quiet => {}
            Event::Notice(notice) => self.line(&format_args!("note: {notice}")),
            Event::DataChecked(report) => self.details("data:", &report.lines()),
            Event::Planned(lines) => self.details("plan:", lines),
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

fn bar(steps: u64) -> ProgressBar {
    let bar = ProgressBar::new(steps);
    // The message is cut at the edge of the terminal: a line that wraps would be drawn twice.
    let template = "{bar:16} {percent:>3} % {eta} left · {wide_msg}";
    bar.set_style(ProgressStyle::with_template(template).expect("the template is a constant"));
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}
