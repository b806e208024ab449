//! The plan of a run as text: tasks, learning rates, freezing, sources.

use polyhead_files::listed;

use crate::data::SourceReport;
use crate::run::plan::RunPlan;

/// Phases of freezing that the summary lists one by one.
const PHASES_SHOWN: usize = 3;

/// Tasks that the summary names one by one.
const TASKS_SHOWN: usize = 6;

impl RunPlan {
    /// The plan in a few lines: rows, tasks, steps and rates, what is trained.
    pub(crate) fn summary(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.report.sources.iter().map(rows_line).collect();
        let tasks = self.data.tasks.iter().map(|task| match task.labels.len() {
            0 => format!("{} ({})", task.name, task.kind),
            count => format!("{} ({}, {count} labels)", task.name, task.kind),
        });
        let tasks = shown_first(tasks.collect(), TASKS_SHOWN, "tasks");
        lines.push(format!("tasks: {}", tasks.join(", ")));
        lines.push(self.recipe_line());
        let train = &self.config.train;
        let epochs = match train.epochs.get() {
            0 => String::new(),
            1 => ", 1 epoch".to_owned(),
            epochs => format!(", {epochs} epochs"),
        };
        let steps = format!(
            "{} steps of {} rows{epochs}; learning rate {:e}, heads {:e}",
            self.total_steps,
            train.batch_size,
            f32::from(train.learning_rate),
            f32::from(train.head_learning_rate)
        );
        lines.extend((!self.freeze.trains_nothing()).then_some(steps));
        lines.extend(shown_first(self.freeze.lines(), PHASES_SHOWN, "phases of freezing"));
        lines
    }

    fn recipe_line(&self) -> String {
        self.recipe.summary(&self.config, self.freeze.trained_parts())
    }

    /// The lines of the plan: tasks, rates, freezing.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.recipe_line()];
        lines.extend(self.recipe.details.iter().map(|line| format!("  {line}")));
        lines.push("tasks:".to_owned());
        for (task, settings) in self.data.tasks.iter().zip(&self.config.tasks) {
            let train = &self.data.sources[task.source].train;
            let index = self.config.tasks.iter().position(|t| t.name == task.name).unwrap_or(0);
            let labels = match task.labels.len() {
                0 => String::new(),
                count => format!(", {count} labels"),
            };
            lines.push(format!(
                "  {}: {}{labels}, {} labelled training rows, weight {}",
                task.name,
                task.kind,
                train.labels[index].labelled(),
                settings.weight,
            ));
        }
        lines.push("learning rates:".to_owned());
        lines.extend(self.rates.lines().into_iter().map(|line| format!("  {line}")));
        lines.push("what is trained:".to_owned());
        lines.extend(self.freeze.lines().into_iter().map(|line| format!("  {line}")));
        if self.data.sources.len() > 1 {
            let epochs = self.sampler.effective_epochs(self.total_steps);
            for (source, epochs) in self.data.sources.iter().zip(epochs) {
                let names: Vec<&str> =
                    source.tasks.iter().map(|task| self.data.tasks[*task].name.as_str()).collect();
                lines.push(format!(
                    "  {}: {} rows are read {epochs:.2} times",
                    names.join(", "),
                    source.train.len()
                ));
            }
        }
        lines
    }
}

/// The rows of a source in one line, with the names of its tasks.
fn rows_line(source: &SourceReport) -> String {
    let splits = source.splits.iter().map(|split| format!("{} {}", split.part, split.rows));
    let splits: Vec<String> = splits.collect();
    format!("rows: {} ({})", splits.join(", "), listed(&source.tasks))
}

/// The first `most` lines, and one that counts the others.
fn shown_first(mut lines: Vec<String>, most: usize, what: &str) -> Vec<String> {
    if lines.len() > most {
        let more = lines.len() - most;
        lines.truncate(most);
        lines.push(format!("and {more} more {what}"));
    }
    lines
}
