//! Writes a model folder as training does, but without training, and prints sentences with their
//! vectors as JSON Lines. `reference/check_written_folder.py` compares both with
//! `sentence-transformers`.
//!
//!     cargo run --release -p polyhead-model --example write_folder -- FOLDER|builtin OUT [LAYERS]

use std::path::Path;

use polyhead_compute::Threads;
use polyhead_model::{
    Error, LoadOptions, ModelFolder, Network, NetworkOptions, Provenance, SentenceEncoder,
    TrainedModel,
};

const SENTENCES: [&str; 4] = [
    "The cat sits outside.",
    "",
    "Naïve 東京 trains!!",
    "a long text that goes on and on and on and on and on and on and on and on and on and on",
];

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [start, out, rest @ ..] = &arguments[..] else {
        eprintln!("expected a folder or `builtin`, and a new folder");
        std::process::exit(2);
    };
    let start = match start.as_str() {
        "builtin" => ModelFolder::builtin()?,
        folder => ModelFolder::open(Path::new(folder))?,
    };
    let layers = rest.first().and_then(|layers| layers.parse().ok());
    let options = NetworkOptions { layers, ..NetworkOptions::default() };
    let threads = Threads::new(1).expect("a thread");
    let network = Network::new(&start, &start.heads, &options, &threads)?;
    TrainedModel::new(&start, &network, 32, Provenance::default()).write(Path::new(out))?;

    let encoder = SentenceEncoder::load_with(out, &LoadOptions::default().offline(true))?;
    let vectors = encoder.encode(&SENTENCES)?;
    for (i, text) in SENTENCES.iter().enumerate() {
        println!("{}", serde_json::json!({"text": text, "embedding": vectors.row(i)}));
    }
    Ok(())
}
