//! The plan of a run as text: tasks, learning rates, freezing, sources.

use crate::config::RunConfig;
use crate::run::plan::RunPlan;

impl RunPlan {
    /// The lines of the plan: tasks, rates, freezing.
    pub(crate) fn lines(&self, config: &RunConfig) -> Vec<String> {
        let mut lines = vec!["tasks:".to_owned()];
        for (task, settings) in self.data.tasks.iter().zip(&config.tasks) {
            let train = &self.data.sources[task.source].train;
            let index = config.tasks.iter().position(|t| t.name == task.name).unwrap_or(0);
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
