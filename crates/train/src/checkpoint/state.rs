//! `state.json`: the progress of a run, apart from its tensors.

use std::collections::BTreeMap;
use std::path::Path;

use polyhead_files::read_text;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Largest state file that is read, in bytes.
const LIMIT: u64 = 64 << 20;

/// The progress of a run. It also fixes the position in the data, the dropout and the schedule,
/// which are functions of seed and step. The fields are those of the file, in which fractions are
/// strings: JSON readers may round numbers in the last bit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedProgress {
    /// Number of optimizer steps done.
    pub step: u64,
    /// Epoch of the last step, counted from 1.
    pub epoch: u64,
    /// The best evaluation so far.
    pub best: Option<SavedBest>,
    /// Number of evaluations since the best one.
    pub evaluations_without_improvement: usize,
    /// Length of `metrics.jsonl` in bytes; resuming cuts the file back to it.
    pub metrics_bytes: u64,
    /// Length of `timings.jsonl` in bytes.
    pub timings_bytes: u64,
    /// Seconds of training so far, over all sessions.
    #[serde(with = "exact")]
    pub seconds: f64,
    /// Hash of the configuration, [`RunConfig::hash`](crate::RunConfig::hash).
    pub config_hash: String,
    /// Hash of the rows as they were read.
    pub data_hash: String,
    /// Hash of the weights of the starting model.
    pub model_hash: String,
    /// Scales of the targets of regressions that have one, by task, in words.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub targets: BTreeMap<String, String>,
    /// The state of each hook by its name, in hexadecimal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hooks: BTreeMap<String, String>,
    /// Names of the hooks in the order in which they are called; empty in checkpoints of versions
    /// that did not save it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hook_names: Vec<String>,
    /// Sums since the last line of progress, as bits.
    #[serde(skip)]
    pub window: Vec<u64>,
    /// Whether the last evaluation exhausted the patience.
    #[serde(skip)]
    pub gave_up: bool,
    /// Time by kind of work.
    #[serde(skip)]
    pub times: Times,
    /// Window, patience and times by name; empty but in the file.
    pub sums: BTreeMap<String, String>,
    /// Updates of each parameter in the optimizer, in the order of the index; empty but in the
    /// file.
    pub optimizer: Vec<UpdateCount>,
}

/// Seconds by kind of work, over all sessions of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Times {
    pub preparation: f64,
    pub steps: f64,
    pub evaluation: f64,
    pub checkpoints: f64,
}

impl Times {
    /// The sum of all kinds.
    pub(crate) fn total(&self) -> f64 {
        self.preparation + self.steps + self.evaluation + self.checkpoints
    }
}

/// The best evaluation of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedBest {
    /// Number of steps done before the evaluation.
    pub step: u64,
    /// Value of the criterion.
    #[serde(with = "exact")]
    pub value: f64,
    /// Loss of the evaluation. Versions that did not save it kept the earlier of two equal ones.
    #[serde(with = "exact", default = "no_loss")]
    pub loss: f64,
}

/// The loss of a best evaluation that no equal one replaces.
fn no_loss() -> f64 {
    f64::NEG_INFINITY
}

/// Number of updates of one parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateCount {
    parameter: String,
    updates: u64,
}

/// The text of `state.json`.
///
/// - `counts`: updates of each parameter in the optimizer, in the order of the index
pub(super) fn to_json(progress: &SavedProgress, counts: &[(&str, u64)]) -> Vec<u8> {
    let counts = counts
        .iter()
        .map(|(name, updates)| UpdateCount { parameter: (*name).to_owned(), updates: *updates });
    let (sums, optimizer) = (sums(progress), counts.collect());
    let file = SavedProgress { sums, optimizer, ..progress.clone() };
    serde_json::to_vec_pretty(&file).expect("numbers and strings are JSON")
}

/// Reads the file; the counts are as in [`to_json`].
pub(super) fn read(path: &Path) -> Result<(SavedProgress, Vec<(String, u64)>), String> {
    let text = read_text(path, LIMIT).map_err(|error| error.to_string())?;
    let mut progress: SavedProgress =
        serde_json::from_str(&text).map_err(|error| error.to_string())?;
    read_sums(&std::mem::take(&mut progress.sums), &mut progress)?;
    let steps = progress.step;
    let counts = std::mem::take(&mut progress.optimizer).into_iter();
    let counts = counts.map(|UpdateCount { parameter, updates }| {
        if updates > steps {
            return Err(format!(
                "`{parameter}`: expected at most {steps} updates, found {updates}"
            ));
        }
        Ok((parameter, updates))
    });
    Ok((progress, counts.collect::<Result<_, _>>()?))
}

/// Names of the times in the file.
const TIMES: [&str; 4] = [
    "seconds in preparation",
    "seconds in steps",
    "seconds in evaluation",
    "seconds in checkpoints",
];

/// Window, patience and times by name, in the form of all checkpoints so far: each word of the
/// window is written as the f64 with its bits.
fn sums(progress: &SavedProgress) -> BTreeMap<String, String> {
    let Times { preparation, steps, evaluation, checkpoints } = progress.times;
    let window = progress.window.iter().enumerate();
    let window = window.map(|(i, word)| (format!("window {i:03}"), f64::from_bits(*word)));
    let times = TIMES.into_iter().zip([preparation, steps, evaluation, checkpoints]);
    let gave_up = ("gave up".to_owned(), f64::from(u8::from(progress.gave_up)));
    window
        .chain([gave_up])
        .chain(times.map(|(name, seconds)| (name.to_owned(), seconds)))
        .map(|(name, sum)| (name, format!("{sum:?}")))
        .collect()
}

fn read_sums(sums: &BTreeMap<String, String>, progress: &mut SavedProgress) -> Result<(), String> {
    let Times { preparation, steps, evaluation, checkpoints } = &mut progress.times;
    let times = [preparation, steps, evaluation, checkpoints];
    // Sorted by number, because names from 1000 on do not sort in numeric order.
    let mut window: BTreeMap<usize, u64> = BTreeMap::new();
    for (name, sum) in sums {
        let sum = number(sum)?;
        if let Some(at) = TIMES.iter().position(|time| time == name) {
            *times[at] = sum;
        } else if name == "gave up" {
            progress.gave_up = sum != 0.0;
        } else if let Some(Ok(at)) = name.strip_prefix("window ").map(str::parse) {
            window.insert(at, sum.to_bits());
        } else {
            return Err(format!("sums: expected a window, patience and times, found {name:?}"));
        }
    }
    progress.window = window.into_values().collect();
    Ok(())
}

/// For `#[serde(with = "exact")]`: the shortest text that is read back as the same number.
mod exact {
    use super::*;

    pub(super) fn serialize<S: Serializer>(number: &f64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{number:?}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        number(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("expected a number, found {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_of_the_state_comes_back() {
        let sums = [0.1 + 0.2, f64::MIN_POSITIVE, -0.0, f64::INFINITY, 1e300, 5e-324, 1.0 / 3.0];
        // More than 1000 words, so that names do not sort in numeric order.
        let window: Vec<u64> =
            sums.iter().map(|sum| sum.to_bits()).chain((0..1200).map(|count| count * 3)).collect();
        let progress = SavedProgress {
            step: 201,
            epoch: 2,
            best: Some(SavedBest { step: 189, value: 0.841_234_567_890_123_4, loss: 1.0 / 7.0 }),
            evaluations_without_improvement: 1,
            metrics_bytes: 12_345,
            timings_bytes: 678,
            seconds: 61.1,
            config_hash: "c".to_owned(),
            data_hash: "d".to_owned(),
            model_hash: "m".to_owned(),
            window: window.clone(),
            gave_up: true,
            times: Times { preparation: 1.0 / 3.0, steps: 60.0, evaluation: 0.7, checkpoints: 0.1 },
            ..SavedProgress::default()
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), to_json(&progress, &[("b", 3), ("a", 0)])).unwrap();
        let (read, counts) = read(file.path()).unwrap();
        assert_eq!(read, progress);
        assert_eq!(read.window, window);
        assert_eq!(counts, [("b".to_owned(), 3), ("a".to_owned(), 0)]);
    }

    /// `state.json` as version 0.1.0 wrote it, before the sums had a type.
    #[test]
    fn a_state_of_version_0_1_0_is_read() {
        let text = r#"{
            "step": 4, "epoch": 1, "best": {"step": 3, "value": "0.5"},
            "evaluations_without_improvement": 1, "metrics_bytes": 10, "timings_bytes": 5,
            "seconds": "3.5", "config_hash": "c", "data_hash": "d", "model_hash": "m",
            "sums": {
                "gave up": "1.0", "seconds in checkpoints": "0.25", "seconds in evaluation": "0.5",
                "seconds in preparation": "1.0", "seconds in steps": "1.75",
                "window 000": "1e-323", "window 001": "1.25"
            },
            "optimizer": [{"parameter": "a", "updates": 4}]
        }"#;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let (progress, counts) = read(file.path()).unwrap();
        assert_eq!(progress.window, [2, 1.25f64.to_bits()]);
        assert!(progress.gave_up);
        let best = SavedBest { step: 3, value: 0.5, loss: f64::NEG_INFINITY };
        assert_eq!(progress.best, Some(best));
        let times = Times { preparation: 1.0, steps: 1.75, evaluation: 0.5, checkpoints: 0.25 };
        assert_eq!((progress.times, progress.times.total()), (times, 3.5));
        assert_eq!(counts, [("a".to_owned(), 4)]);
    }

    #[test]
    fn what_is_no_state_is_an_error() {
        let good = String::from_utf8(to_json(&SavedProgress::default(), &[])).unwrap();
        for (from, to, message) in [
            ("\"step\": 0", "\"step\": -1", "invalid value"),
            ("\"0.0\"", "\"zero\"", "expected a number, found \"zero\""),
            ("\"sums\"", "\"sum\"", "unknown field `sum`"),
            ("[]\n}", "[]", "EOF"),
            (
                "[]\n}",
                "[{\"parameter\": \"a\", \"updates\": 18446744073709551615}]}",
                "`a`: expected at most 0 updates, found 18446744073709551615",
            ),
        ] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), good.replace(from, to)).unwrap();
            let error = read(file.path()).unwrap_err();
            assert!(error.contains(message), "{from}: {error}");
        }
    }
}
