//! Writes a model folder with 8-bit weights, as the built-in model was made:
//!
//! ```sh
//! cargo run --release -p polyhead-model --no-default-features --example store_int8 -- FOLDER OUT
//! ```

use std::path::Path;
use std::process::ExitCode;

use polyhead_model::{Error, ModelFolder, store_int8};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, out] = arguments.as_slice() else {
        eprintln!("usage: store_int8 FOLDER OUT");
        return ExitCode::from(2);
    };
    match run(Path::new(folder), Path::new(out)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(folder: &Path, out: &Path) -> Result<(), Error> {
    let folder = ModelFolder::open(folder)?;
    for notice in &folder.notices {
        eprintln!("{notice}");
    }
    store_int8(&folder, &[], out)
}
