//! Trains the tasks of a configuration and shows the progress.
//!
//!     cargo run --release -p polyhead --example train -- config.toml runs/a

use std::path::Path;
use std::process::ExitCode;

use polyhead::train::Error;
use polyhead::{Ending, Event, Observer, RunConfig, Trainer};

/// Prints what is worth a line.
struct Printer;

impl Observer for Printer {
    fn observe(&mut self, event: &Event) {
        match event {
            Event::Notice(remark) => println!("note: {remark}"),
            Event::Logged(progress) => println!("{progress}"),
            Event::Evaluated(found) => println!("dev: score {:?}", found.score),
            _ => {}
        }
    }
}

fn main() -> Result<ExitCode, Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [config, directory] = &arguments[..] else {
        eprintln!("usage: train CONFIG.toml DIRECTORY");
        return Ok(ExitCode::from(2));
    };
    let config = RunConfig::from_file(Path::new(config), &[])?;
    let mut trainer = Trainer::new(config).observe(Box::new(Printer));
    if let Ending::Finished(summary) = trainer.train(Path::new(directory), true)? {
        println!("{} steps, the model is in {}", summary.steps, summary.model.display());
    }
    Ok(ExitCode::SUCCESS)
}
