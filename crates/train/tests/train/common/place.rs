//! A folder for a run: data of three tasks, a configuration, and an observer.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use polyhead_train::{Ending, Event, Observer, RunConfig, RunSummary, Trainer};

/// A folder with data of three tasks, some of it without labels.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a folder"));
        let words = ["good", "bad", "fine", "train", "water", "the", "a", "is", "not", "very"];
        let rows = |from: usize, count: usize| -> String {
            (from..from + count)
                .map(|i| {
                    let text: Vec<&str> =
                        (0..1 + i * 7 % 9).map(|k| words[(i * 5 + k * k) % words.len()]).collect();
                    let mut row = serde_json::json!({"text": format!("{} {i}", text.join(" "))});
                    if i % 3 != 0 {
                        row["topic"] = ["x", "y", "z"][i % 7 % 3].into();
                    }
                    if i % 4 != 0 {
                        row["mood"] = vec![["p", "q"][i % 2]].into();
                    }
                    if i % 5 != 0 {
                        row["score"] = ((i % 11) as f64 / 10.0).into();
                    }
                    format!("{row}\n")
                })
                .collect()
        };
        fs::write(place.path("train.jsonl"), rows(0, 60)).expect("written");
        fs::write(place.path("dev.jsonl"), rows(100, 20)).expect("written");
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// [`config_of`](Self::config_of) `tiny-bert`.
    pub(crate) fn config(&self, more: &str) -> RunConfig {
        self.config_of("tiny-bert", more)
    }

    /// 30 steps of 6 rows in 3 parts, dropout, two phases of freezing, for a tiny model.
    pub(crate) fn config_of(&self, model: &str, more: &str) -> RunConfig {
        let text = Self::text_of(model, more);
        RunConfig::parse(&text, &self.path("config.toml"), &[]).expect("a configuration")
    }

    /// The file of [`config_of`](Self::config_of).
    pub(crate) fn text_of(model: &str, more: &str) -> String {
        let model = polyhead_testing::tiny_model(model);
        format!(
            r#"
            seed = 3
            [encoder]
            model = {model:?}
            pooling = "mean"
            dropout = 0.1
            attention_dropout = 0.1
            [data]
            train = "train.jsonl"
            dev = "dev.jsonl"
            [[task]]
            name = "topic"
            kind = "classification"
            [[task]]
            name = "mood"
            kind = "multilabel"
            hidden = 8
            [[task]]
            name = "score"
            kind = "regression"
            [train]
            recipe = "full"
            epochs = 3
            batch_size = 6
            accumulation = 3
            learning_rate = 1e-3
            log_every = 4
            evaluate_every = 7
            [checkpoint]
            every = 5
            after = "keep"
            [[freeze]]
            parameters = ["embeddings", "layers.0"]
            until = "step 17"
            [[freeze]]
            parameters = ["head.mood"]
            from = "step 9"
            until = "step 12"
            {more}
            "#
        )
    }
}

/// Collects the remarks and warnings of a run.
pub(crate) struct Notices(pub(crate) Arc<Mutex<Vec<String>>>);

impl Observer for Notices {
    fn observe(&mut self, event: &Event) {
        if let Event::Notice(notice) | Event::Warning(notice) = event {
            self.0.lock().expect("no panic").push((*notice).to_owned());
        }
    }
}

/// Trains to the end; what the run has come to.
pub(crate) fn finished(config: RunConfig, run: &Path, resume: bool) -> RunSummary {
    let ending = Trainer::new(config).train(run, resume).expect("a run");
    let Ending::Finished(summary) = ending else { panic!("{ending:?}") };
    *summary
}
