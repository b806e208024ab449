//! A [`RunConfig`] as TOML, every default filled in.

use std::fmt::Write;
use std::path::PathBuf;

use polyhead_model::{HeadLayer, PoolingMode, TaskKind};

use super::names::{INPUTS, SCHEDULES, name_of};
use super::{ClassWeights, DataFiles, FreezePhase, Keep, Moment, RunConfig, Sampler, TaskSettings};

impl RunConfig {
    /// The configuration as a file that [`Self::parse`] reads back as the same.
    ///
    /// What is absent is left to the model or the data: pooling and dropouts of
    /// the encoder, labels, main metrics. Paths are absolute.
    pub fn to_toml(&self) -> String {
        let mut out = Lines::default();
        out.number("seed", self.seed);
        self.write_encoder(&mut out);
        out.table("[data]");
        out.files(&self.data);
        out.table("[sampler]");
        let (kind, temperature) = match self.sampler {
            Sampler::Proportional => ("proportional", None),
            Sampler::Uniform => ("uniform", None),
            Sampler::Temperature(temperature) => ("temperature", Some(temperature)),
            Sampler::RoundRobin => ("round-robin", None),
        };
        out.text("kind", kind);
        if let Some(temperature) = temperature {
            out.line("temperature", format!("{temperature:?}"));
        }
        self.write_train(&mut out);
        out.table("[checkpoint]");
        out.number("every", self.checkpoint.every);
        out.number("keep", self.checkpoint.keep as u64);
        for task in &self.tasks {
            write_task(task, &mut out);
        }
        for phase in &self.freeze {
            write_phase(phase, &mut out);
        }
        out.0
    }

    fn write_encoder(&self, out: &mut Lines) {
        let encoder = &self.encoder;
        out.table("[encoder]");
        out.text("model", &encoder.model);
        out.pooling(encoder.pooling.as_deref());
        out.optional_number("max_length", encoder.max_length);
        out.optional_float("dropout", encoder.dropout);
        out.optional_float("attention_dropout", encoder.attention_dropout);
        out.optional_number("layers", encoder.layers);
        out.line("random", encoder.random);
    }

    fn write_train(&self, out: &mut Lines) {
        let train = &self.train;
        out.table("[train]");
        out.number("epochs", train.epochs as u64);
        out.number("batch_size", train.batch_size as u64);
        out.number("accumulation", train.accumulation as u64);
        out.float("learning_rate", train.learning_rate);
        out.float("head_learning_rate", train.head_learning_rate);
        out.float("layer_decay", train.layer_decay);
        out.text("schedule", name_of(&SCHEDULES, &train.schedule));
        out.float("warmup", train.warmup);
        out.float("weight_decay", train.weight_decay);
        out.float("clip_norm", train.clip_norm);
        out.line("betas", format!("[{:?}, {:?}]", train.betas.0, train.betas.1));
        out.float("epsilon", train.epsilon);
        out.number("max_steps", train.max_steps);
        out.number("max_seconds", train.max_seconds);
        out.number("patience", train.patience as u64);
        out.number("log_every", train.log_every);
        out.number("evaluate_every", train.evaluate_every);
        out.text("best", &train.best);
        out.number("cache_bytes", train.cache_bytes);
    }
}

fn write_task(task: &TaskSettings, out: &mut Lines) {
    out.table("[[task]]");
    out.text("name", &task.name);
    out.text("kind", task.kind.name());
    out.text("field", &task.field);
    if let Some(labels) = &task.labels {
        out.texts("labels", labels);
    }
    out.float("weight", task.weight);
    if let Some(data) = &task.data {
        out.files(data);
    }
    out.pooling(task.pooling.as_deref());
    // What does not apply to a kind is not a key of it.
    if task.kind != TaskKind::Tokens {
        out.text("input", name_of(&INPUTS, &task.input));
    }
    match task.layer {
        // The embedding comes from the last layer; the key would be one too many.
        HeadLayer::Last if task.input != Default::default() => {}
        HeadLayer::Last => out.text("layer", "last"),
        HeadLayer::Mix => out.text("layer", "mix"),
        HeadLayer::At(layer) => out.number("layer", layer as u64),
    }
    if let Some(hidden) = task.hidden {
        out.number("hidden", hidden as u64);
        out.text("activation", task.activation.name());
    }
    out.float("dropout", task.dropout);
    out.optional_float("learning_rate", task.learning_rate);
    out.weights("class_weights", task.class_weights.as_ref());
    if matches!(task.kind, TaskKind::Classification | TaskKind::Tokens) {
        out.float("label_smoothing", task.label_smoothing);
    }
    out.weights("positive_weights", task.positive_weights.as_ref());
    if let Some(Keep::Distill) = task.keep {
        out.text("keep", "distill");
    }
    if let Some(metric) = &task.metric {
        out.text("metric", metric);
    }
}

fn write_phase(phase: &FreezePhase, out: &mut Lines) {
    out.table("[[freeze]]");
    out.texts("parameters", &phase.parameters);
    for (key, moment) in [("from", phase.from), ("until", phase.until)] {
        match moment {
            None => {}
            Some(Moment::Epoch(epoch)) => out.text(key, &format!("epoch {epoch}")),
            Some(Moment::Step(step)) => out.text(key, &format!("step {step}")),
        }
    }
}

/// `key = value`, line by line.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn table(&mut self, header: &str) {
        self.0.push('\n');
        self.0.push_str(header);
        self.0.push('\n');
    }

    fn line(&mut self, key: &str, value: impl std::fmt::Display) {
        writeln!(self.0, "{key} = {value}").expect("a string takes any text");
    }

    fn text(&mut self, key: &str, text: &str) {
        self.line(key, quoted(text));
    }

    fn texts(&mut self, key: &str, texts: &[String]) {
        self.line(key, array(texts.iter().map(|text| quoted(text))));
    }

    fn number(&mut self, key: &str, number: u64) {
        self.line(key, number);
    }

    fn optional_number(&mut self, key: &str, number: Option<usize>) {
        if let Some(number) = number {
            self.number(key, number as u64);
        }
    }

    /// With the fewest digits that read back as the same `f32`.
    fn float(&mut self, key: &str, number: f32) {
        self.line(key, format!("{number:?}"));
    }

    fn optional_float(&mut self, key: &str, number: Option<f32>) {
        if let Some(number) = number {
            self.float(key, number);
        }
    }

    fn files(&mut self, files: &DataFiles) {
        for (key, paths) in [("train", &files.train), ("dev", &files.dev), ("test", &files.test)] {
            if !paths.is_empty() {
                let name = |path: &PathBuf| quoted(&path.to_string_lossy());
                self.line(key, array(paths.iter().map(name)));
            }
        }
        for (key, field) in [("text", &files.text), ("tokens", &files.tokens)] {
            if let Some(field) = field {
                self.text(key, field);
            }
        }
    }

    fn pooling(&mut self, modes: Option<&[PoolingMode]>) {
        if let Some(modes) = modes {
            self.line("pooling", array(modes.iter().map(|mode| quoted(mode.name()))));
        }
    }

    fn weights(&mut self, key: &str, weights: Option<&ClassWeights>) {
        match weights {
            None => {}
            Some(ClassWeights::Balanced) => self.text(key, "balanced"),
            Some(ClassWeights::Given(given)) => {
                let entries = given.iter().map(|(name, weight)| {
                    // A quoted key may hold any label.
                    format!("{} = {weight:?}", quoted(name))
                });
                self.line(key, format!("{{ {} }}", entries.collect::<Vec<_>>().join(", ")));
            }
        }
    }
}

fn array(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// A basic string on one line, whatever is in it.
fn quoted(text: &str) -> String {
    let plain = |c: char| c >= ' ' && c != '"' && c != '\\' && c != '\u{7f}';
    if text.chars().all(plain) {
        return format!("\"{text}\"");
    }
    let escape = |c: char| match c {
        c if plain(c) => c.to_string(),
        '"' | '\\' => format!("\\{c}"),
        c => format!("\\u{:04x}", c as u32),
    };
    format!("\"{}\"", text.chars().map(escape).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{SMALL, any_config, parse};
    use super::*;
    use proptest::prelude::*;
    use toml::Value;

    #[test]
    fn the_resolved_file_has_every_default() {
        let written = parse(SMALL, &[]).unwrap().to_toml();
        for line in [
            "seed = 0",
            "train = [\"/runs/data/train.jsonl\"]",
            "kind = \"proportional\"",
            "field = \"topic\"",
            "learning_rate = 5e-5",
            "betas = [0.9, 0.999]",
            "every = 200",
            "layer = \"last\"",
        ] {
            assert!(written.lines().any(|found| found == line), "{line} in\n{written}");
        }
    }

    #[test]
    fn strings_of_any_sort_come_back() {
        for text in ["", "a\"b\\c", "tab\tline\nbell\u{7}del\u{7f}", "ü → 🦀", "'''", "#x"] {
            let value: Value = format!("{{ x = {} }}", quoted(text)).parse().unwrap();
            assert_eq!(value["x"].as_str(), Some(text));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn what_is_written_reads_back_as_the_same(config in any_config()) {
            let written = config.to_toml();
            // In another folder: the paths are absolute.
            let read = RunConfig::parse(&written, std::path::Path::new("/other/config.toml"), &[]);
            prop_assert_eq!(read.map_err(|error| format!("{error}\n{written}")), Ok(config));
        }
    }
}
