//! The flags for sample texts: a file of the user, or the built-in texts.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use polyhead_files::RowFormat;
use serde_json::Value;

use crate::input::{InputArgs, row_format};

/// The texts on which a model is tried.
#[derive(Debug, Args)]
#[command(next_help_heading = "Texts")]
pub(crate) struct SampleArgs {
    /// Use the texts of this .txt, .jsonl or .csv file; without it, built-in texts
    #[arg(short, long, value_name = "FILE|-")]
    input: Option<PathBuf>,

    /// Format of the input [default: by the file name; txt for standard input]
    #[arg(long, value_name = "FORMAT", requires = "input", value_parser = row_format())]
    input_format: Option<RowFormat>,

    /// Field or column that holds the text [default: text]
    #[arg(long, value_name = "NAME", requires = "input")]
    field: Option<String>,
}

impl SampleArgs {
    /// The first `most` texts of the file, or `builtin(sentences)`, and their source for messages.
    pub(crate) fn texts(
        self,
        most: usize,
        builtin: impl FnOnce(Vec<String>) -> Vec<String>,
    ) -> Result<(Vec<String>, String)> {
        if self.input.is_none() {
            let texts = builtin(sentences());
            return Ok((texts, "built-in texts".to_owned()));
        }
        let input = InputArgs::of_file(self.input, self.input_format, self.field).open(true)?;
        let place = input.place.clone();
        let texts = input.texts.take(most).map(|text| Ok(text?.text));
        let texts = texts.collect::<Result<Vec<String>>>()?;
        if texts.is_empty() {
            return Err(place.no_texts());
        }
        Ok((texts, place.to_string()))
    }
}

/// The built-in sentences.
fn sentences() -> Vec<String> {
    let text = |line: &str| {
        let row: Value = serde_json::from_str(line).ok()?;
        row["text"].as_str().map(str::to_owned)
    };
    let text = |line: &str| text(line).expect("the demo data are rows with a text");
    polyhead_builtin::DEMO_DEV.lines().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_sentences_of_all_lengths() {
        let sentences = sentences();
        assert_eq!(sentences.len(), 400);
        let words = |text: &String| text.split(' ').count();
        assert!(sentences.iter().map(words).min() < Some(5));
        assert!(sentences.iter().map(words).max() > Some(25));
    }
}
