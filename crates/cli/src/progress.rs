//! Progress of an encoding run, on standard error.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::table::{counted, thousands};

/// Time between two lines if standard error is no terminal.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Counts encoded texts and tokens, and shows the progress.
pub(crate) struct Progress {
    display: Display,
    start: Instant,
    counts: Counts,
}

/// Number of texts and tokens encoded so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) texts: u64,
    /// Number of encoded tokens, without those that were cut.
    pub(crate) tokens: u64,
    pub(crate) truncated: u64,
    /// Number of texts without a token, whose vectors are zero.
    pub(crate) empty: u64,
    /// Line of the first of them; 0 without one.
    pub(crate) first_empty: u64,
}

enum Display {
    Nothing,
    Lines { last: Instant },
    Bar(ProgressBar),
}

impl Progress {
    /// Starts the clock. `size` is the size of the whole input in bytes, if known.
    ///
    /// Shows a bar on a terminal, and otherwise a line from time to time.
    pub(crate) fn start(size: Option<u64>, quiet: bool, results_on_terminal: bool) -> Self {
        let display = if quiet || results_on_terminal {
            // A bar would appear among the results.
            Display::Nothing
        } else if io::stderr().is_terminal() {
            Display::Bar(bar(size))
        } else {
            Display::Lines { last: Instant::now() }
        };
        Self { display, start: Instant::now(), counts: Counts::default() }
    }

    /// Adds a chunk. `read` is the number of input bytes up to its end.
    pub(crate) fn advance(&mut self, read: u64, chunk: Counts) {
        if self.counts.empty == 0 && chunk.empty > 0 {
            self.counts.first_empty = chunk.first_empty;
        }
        self.counts.empty += chunk.empty;
        self.counts.texts += chunk.texts;
        self.counts.tokens += chunk.tokens;
        self.counts.truncated += chunk.truncated;
        let message = || rates(self.counts, self.start.elapsed());
        match &mut self.display {
            Display::Nothing => {}
            Display::Lines { last } if last.elapsed() < BETWEEN_LINES => {}
            Display::Lines { last } => {
                *last = Instant::now();
                let _ = writeln!(io::stderr(), "{}", message());
            }
            Display::Bar(bar) => {
                bar.set_position(read);
                bar.set_message(match bar.length() {
                    Some(_) => per_second(self.counts, self.start.elapsed()),
                    None => message(),
                });
            }
        }
    }

    /// Removes the bar; returns the counts, and a line with time and rates.
    pub(crate) fn finish(self) -> (Counts, String) {
        if let Display::Bar(bar) = &self.display {
            bar.finish_and_clear();
        }
        (self.counts, rates(self.counts, self.start.elapsed()))
    }
}

fn bar(size: Option<u64>) -> ProgressBar {
    let (bar, template) = match size {
        Some(size) => (ProgressBar::new(size), "{bar:24} {percent:>3} % · {msg} · {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner} {msg}"),
    };
    bar.set_style(ProgressStyle::with_template(template).expect("the template is a constant"));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A line such as `1,000 texts, 44,012 tokens in 6.9 s (145 texts/s, 6,378 tokens/s)`.
fn rates(counts: Counts, elapsed: Duration) -> String {
    format!(
        "{}, {} tokens in {} ({})",
        counted(counts.texts, "text"),
        thousands(counts.tokens),
        duration(elapsed),
        per_second(counts, elapsed),
    )
}

/// Rates such as `145 texts/s, 6,378 tokens/s`.
fn per_second(counts: Counts, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(1e-9);
    let rate = |count: u64| match count as f64 / seconds {
        slow if slow < 9.95 => format!("{slow:.1}"),
        fast => thousands(fast.round() as u64),
    };
    format!("{} texts/s, {} tokens/s", rate(counts.texts), rate(counts.tokens))
}

/// A duration such as `5.2 ms`, `6.9 s`, `3 min 20 s`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 0.1 {
        format!("{:.1} ms", seconds * 1e3)
    } else if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        let seconds = seconds.round() as u64;
        format!("{} min {} s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_has_counts_and_rates() {
        let counts = Counts { texts: 1_000, tokens: 44_012, truncated: 3, ..Counts::default() };
        assert_eq!(
            rates(counts, Duration::from_millis(6_900)),
            "1,000 texts, 44,012 tokens in 6.9 s (145 texts/s, 6,379 tokens/s)"
        );
        let one = Counts { texts: 1, tokens: 5, ..Counts::default() };
        assert_eq!(
            rates(one, Duration::from_millis(2_000)),
            "1 text, 5 tokens in 2.0 s (0.5 texts/s, 2.5 tokens/s)"
        );
    }

    #[test]
    fn durations_read_well_at_every_size() {
        for (millis, expected) in [
            (5, "5.0 ms"),
            (99, "99.0 ms"),
            (100, "0.1 s"),
            (59_900, "59.9 s"),
            (200_400, "3 min 20 s"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), expected);
        }
    }

    #[test]
    fn chunks_add_up() {
        let mut progress = Progress::start(None, true, false);
        let chunk = Counts { texts: 2, tokens: 7, truncated: 1, empty: 0, first_empty: 0 };
        progress.advance(10, chunk);
        progress.advance(20, Counts { empty: 1, first_empty: 9, ..chunk });
        progress.advance(30, Counts { empty: 1, first_empty: 11, ..chunk });
        let all = Counts { texts: 6, tokens: 21, truncated: 3, empty: 2, first_empty: 9 };
        assert_eq!(progress.finish().0, all);
    }
}
