//! Folders of trained models.

use std::path::Path;

use polyhead_compute::Threads;
use polyhead_model::{ModelFolder, Network, NetworkOptions, Provenance, TrainedModel};
use serde_json::json;

use polyhead_testing::heads;

pub(crate) fn provenance() -> Provenance {
    Provenance {
        base_model: "testdata".into(),
        data_hash: "0".repeat(64),
        config_hash: "1".repeat(64),
        polyhead_version: "0.1.0".into(),
        step: 12,
        epoch: 2,
        metrics: json!({"dev": {"topic": {"accuracy": 0.875}}}),
    }
}

/// Writes `start` with heads to `place`, as training leaves it.
pub(crate) fn write(start: &ModelFolder, options: &NetworkOptions, place: &Path) {
    let threads = Threads::new(1).unwrap();
    let network = Network::new(start, &heads(start), options, &threads).unwrap();
    TrainedModel::new(start, &network, 40, provenance()).write(place).unwrap();
}
