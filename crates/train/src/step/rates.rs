//! The learning rate of every entry of the index, and the table of rates that is shown before the
//! first step and stored with the run.

use polyhead_model::{ParameterGroup, ParameterStore};
use serde::Serialize;

use crate::config::{TaskSettings, TrainSettings};
use crate::freeze::{FreezePlan, short};

/// Peak learning rates and weight decays.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RateTable {
    /// One per group of the model, in the order of the index.
    pub groups: Vec<GroupRates>,
    /// Learning rate of each entry of the index, before the schedule.
    #[serde(skip)]
    pub learning_rates: Vec<f32>,
    /// Weight decay of each entry; 0 for biases and layer norms.
    #[serde(skip)]
    pub weight_decays: Vec<f32>,
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupRates {
    /// Name of the group: `embeddings`, `layers.3`, `pooler`, `modules`, `head.topic`.
    pub group: String,
    /// Learning rate at the peak of the schedule.
    pub learning_rate: f32,
    /// Weight decay of the tensors that decay.
    pub weight_decay: f32,
    /// Number of tensors.
    pub tensors: usize,
    /// Number of parameters.
    pub parameters: usize,
    /// First and last step, both included, of each range of steps that trains the group.
    pub trained: Vec<(u64, u64)>,
    /// Number of steps of the run, to recognize "always".
    #[serde(skip)]
    total_steps: u64,
}

impl RateTable {
    /// Makes the table. Layer `i` of `L` learns at `rate · decay^(L−1−i)`, embeddings at `rate ·
    /// decay^L`, pooler and modules at `rate`, a head at its own rate or that of all heads.
    ///
    /// - `tasks`: in the order of [`ParameterGroup::Head`]; a head of the starting model without a
    ///   task has the rate of all heads
    pub fn new(
        store: &ParameterStore,
        settings: &TrainSettings,
        tasks: &[TaskSettings],
        plan: &FreezePlan,
    ) -> Self {
        let layers = store.entries().iter().filter_map(|entry| match entry.group {
            ParameterGroup::Layer(layer) => Some(layer + 1),
            _ => None,
        });
        let layers = layers.max().unwrap_or(0);
        let below = |steps: usize| {
            let decay = f64::from(settings.layer_decay.get()).powi(steps as i32);
            (f64::from(settings.learning_rate.get()) * decay) as f32
        };
        let rate = |group| match group {
            ParameterGroup::Embeddings => below(layers),
            ParameterGroup::Layer(layer) => below(layers - 1 - layer),
            ParameterGroup::Head(head) => tasks
                .get(head)
                .and_then(|task| task.learning_rate)
                .unwrap_or(settings.head_learning_rate)
                .get(),
            _ => settings.learning_rate.get(),
        };
        let spans = plan.spans();
        let total_steps = spans.last().map_or(0, |span| span.last);
        let mut groups: Vec<GroupRates> = Vec::new();
        for (index, entry) in store.entries().iter().enumerate() {
            let name = group_name(entry.group, plan);
            if groups.last().is_none_or(|last| last.group != name) {
                let trained = spans.iter().filter(|span| span.trainable[index]);
                groups.push(GroupRates {
                    group: name,
                    learning_rate: rate(entry.group),
                    weight_decay: settings.weight_decay.get(),
                    tensors: 0,
                    parameters: 0,
                    trained: joined(trained.map(|span| (span.first, span.last))),
                    total_steps,
                });
            }
            let last = groups.last_mut().expect("just made");
            last.tensors += 1;
            last.parameters += entry.range.len();
        }
        let entries = store.entries().iter();
        Self {
            groups,
            learning_rates: entries.clone().map(|entry| rate(entry.group)).collect(),
            weight_decays: entries
                .map(|entry| if entry.decays { settings.weight_decay.get() } else { 0.0 })
                .collect(),
        }
    }

    /// The table as text, a heading first.
    pub fn lines(&self) -> Vec<String> {
        let heading =
            ["group", "learning rate", "weight decay", "tensors", "parameters", "trained"]
                .map(str::to_owned);
        let rows = self.groups.iter().map(|row| {
            [
                row.group.clone(),
                rate_text(row.learning_rate),
                format!("{}", row.weight_decay),
                row.tensors.to_string(),
                short(row.parameters),
                row.when(),
            ]
        });
        let rows: Vec<[String; 6]> = std::iter::once(heading).chain(rows).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
        let widths: Vec<usize> = (0..6).map(|column| width(column).unwrap_or(0)).collect();
        let line = |row: &[String; 6]| {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                // Words are aligned left, numbers right.
                match column {
                    0 | 5 => format!("{cell:<width$}"),
                    _ => format!("{cell:>width$}"),
                }
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        rows.iter().map(line).collect()
    }
}

impl GroupRates {
    /// The steps in which the group is trained, in words.
    fn when(&self) -> String {
        let stretch = |(first, last): &(u64, u64)| match (*first, *last) {
            (1, last) if last == self.total_steps => "always".to_owned(),
            (first, last) if last == self.total_steps => format!("from step {first}"),
            (1, last) => format!("until step {last}"),
            (first, last) => format!("steps {first}–{last}"),
        };
        if self.trained.is_empty() {
            return "never".to_owned();
        }
        self.trained.iter().map(stretch).collect::<Vec<_>>().join(", ")
    }
}

/// Merges adjacent ranges.
fn joined(stretches: impl Iterator<Item = (u64, u64)>) -> Vec<(u64, u64)> {
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (first, last) in stretches {
        match joined.last_mut() {
            Some((_, end)) if *end + 1 == first => *end = last,
            _ => joined.push((first, last)),
        }
    }
    joined
}

/// The name of a group in rates and reports.
pub(crate) fn group_name(group: ParameterGroup, plan: &FreezePlan) -> String {
    match group {
        ParameterGroup::Embeddings => "embeddings".to_owned(),
        ParameterGroup::Layer(layer) => format!("layers.{layer}"),
        ParameterGroup::Pooler => "pooler".to_owned(),
        ParameterGroup::Module(_) => "modules".to_owned(),
        ParameterGroup::Head(head) => format!("head.{}", plan.head_name(head)),
        other => other.to_string(),
    }
}

/// Four digits are enough; longer rates come from `decay` alone.
fn rate_text(rate: f32) -> String {
    let exact = format!("{rate:e}");
    let rounded = format!("{rate:.3e}");
    if exact.len() <= rounded.len() { exact } else { rounded }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RunConfig;
    use crate::config::Moment;
    use crate::freeze::tests::{phase, plan, store};

    fn config(set: &[&str]) -> RunConfig {
        let text = "[data]\ntrain = \"a\"\n\
                    [[task]]\nname = \"topic\"\nkind = \"classification\"\n\
                    [[task]]\nname = \"sentiment\"\nkind = \"classification\"\n";
        let set: Vec<String> = set.iter().map(|text| (*text).to_owned()).collect();
        RunConfig::parse(text, std::path::Path::new("c.toml"), &set).unwrap()
    }

    #[test]
    fn rates_fall_towards_the_input() {
        let config = config(&[
            "train.learning_rate=0.5",
            "train.layer_decay=0.5",
            "train.head_learning_rate=0.25",
            "task.sentiment.learning_rate=0.125",
        ]);
        let table = RateTable::new(&store(), &config.train, &config.tasks, &plan(&[]));
        let found: Vec<(&str, f32)> =
            table.groups.iter().map(|row| (row.group.as_str(), row.learning_rate)).collect();
        let expected = [
            ("embeddings", 0.0078125),
            ("layers.0", 0.015625),
            ("layers.1", 0.03125),
            ("layers.2", 0.0625),
            ("layers.3", 0.125),
            ("layers.4", 0.25),
            ("layers.5", 0.5),
            ("pooler", 0.5),
            ("modules", 0.5),
            ("head.topic", 0.25),
            ("head.sentiment", 0.125),
        ];
        assert_eq!(found, expected);
        // Each group has two entries, of which the bias does not decay.
        for (index, entry) in store().entries().iter().enumerate() {
            assert_eq!(table.learning_rates[index], expected[index / 2].1, "{}", entry.name);
            let decay = if index % 2 == 0 { 0.01 } else { 0.0 };
            assert_eq!(table.weight_decays[index], decay, "{}", entry.name);
        }
    }

    #[test]
    fn the_table_reads_well() {
        let config = config(&["train.layer_decay=0.9"]);
        let plan = plan(&[
            phase("embeddings layers.0-4", None, Some(Moment::Epoch(1))),
            phase("embeddings", None, None),
            phase("head.topic", Some(Moment::Epoch(3)), None),
            phase("layers.5", Some(Moment::Step(5)), Some(Moment::Step(6))),
        ]);
        let table = RateTable::new(&store(), &config.train, &config.tasks, &plan);
        let lines = table.lines();
        let expected = [
            "group           learning rate  weight decay  tensors  parameters  trained",
            "embeddings           2.657e-5          0.01        2         110  never",
            "layers.0             2.952e-5          0.01        2         110  from step 11",
        ];
        assert_eq!(lines[..3], expected);
        let last = [
            "layers.5                 5e-5          0.01        2         110  until step 4, from step 7",
            "pooler                   5e-5          0.01        2         110  always",
            "modules                  5e-5          0.01        2         110  always",
            "head.topic               1e-3          0.01        2         110  until step 20",
            "head.sentiment           1e-3          0.01        2         110  always",
        ];
        assert_eq!(lines[7..], last);
        let json = serde_json::to_value(&table).unwrap();
        assert_eq!(json["groups"][6]["trained"], serde_json::json!([[1, 4], [7, 30]]));
        assert_eq!(json["groups"][7]["group"], "pooler");
    }
}
