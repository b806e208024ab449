//! Names of commands in other tools.

use std::path::Path;

use polyhead_files::RowFormat;

/// Returns what to run in place of an unknown command.
pub(crate) fn command_hint(word: &str) -> Option<String> {
    let lower = word.to_ascii_lowercase().replace('_', "-");
    let has = |words: &str| words.split(' ').any(|other| other == lower);
    if let Some((_, command)) = COMMANDS.iter().find(|(words, _)| has(words)) {
        return Some(format!("use `polyhead {command}`"));
    }
    if let Some((_, note)) = NOTES.iter().find(|(words, _)| has(words)) {
        return Some((*note).to_owned());
    }
    if lower.ends_with(".toml") {
        Some(format!("to train: polyhead train {word} -o runs/a"))
    } else if RowFormat::from_path(Path::new(word)).is_some() {
        Some(format!("to encode a file: polyhead encode -i {word}"))
    } else if word.contains(char::is_whitespace) {
        Some(format!("to encode a text: polyhead encode {word:?}"))
    } else {
        None
    }
}

/// Words separated by blanks, and the command that they mean.
const COMMANDS: &[(&str, &str)] = &[
    ("embed embedding embeddings vectorize vectorise vectors", "encode"),
    ("sim similar compare cosine", "similarity"),
    ("query find retrieve nearest semantic-search", "search"),
    ("mine hard-negatives mine-hard-negatives negatives", "mine-negatives"),
    ("tokenise tokenizer tokens", "tokenize"),
    ("finetune fine-tune learn", "train"),
    ("validate check lint checkdata verify", "check-data"),
    ("classify infer inference tag", "predict"),
    ("re-rank rank ranking cross-encode", "rerank"),
    ("evaluate test score metrics", "eval"),
    ("server start api", "serve"),
    ("info show describe", "inspect"),
    ("quantise compress", "quantize"),
    ("benchmark", "bench"),
    ("diagnose self-test", "doctor"),
    ("init-config new create generate-config", "init"),
    ("config keys settings", "help config"),
    ("key doc docs", "explain KEY"),
    ("completion", "completions"),
    ("manual", "man"),
    ("version", "--version"),
];

/// Words separated by blanks, and what to do where there is no command.
const NOTES: &[(&str, &str)] = &[
    (
        "download pull fetch install",
        "a model is downloaded when it is first used, such as by `polyhead inspect NAME`",
    ),
    ("export onnx convert", "there is no export to other formats yet"),
    ("resume", "use `polyhead train CONFIG.toml -o DIR --resume`"),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use clap::CommandFactory;

    use super::*;
    use crate::arguments::Cli;

    #[test]
    fn every_hint_is_a_command_that_there_is() {
        let cli = Cli::command();
        let mut seen = HashSet::new();
        for (words, command) in COMMANDS.iter().chain(NOTES) {
            for word in words.split(' ') {
                assert!(seen.insert(word) && cli.find_subcommand(word).is_none(), "{word}");
            }
            let name = command.split(' ').next().unwrap_or_default();
            let known = cli.find_subcommand(name).is_some() || name == "--version";
            assert!(known || NOTES.iter().any(|(_, note)| note == command), "{command}");
        }
    }

    #[test]
    fn files_and_texts_lead_to_a_command() {
        for (word, expected) in [
            ("Embed", Some("use `polyhead encode`")),
            ("fine_tune", Some("use `polyhead train`")),
            ("a.toml", Some("to train: polyhead train a.toml -o runs/a")),
            ("a.CSV", Some("to encode a file: polyhead encode -i a.CSV")),
            ("a_b.tsv.gz", Some("to encode a file: polyhead encode -i a_b.tsv.gz")),
            ("a cat", Some("to encode a text: polyhead encode \"a cat\"")),
            ("frobnicate", None),
        ] {
            assert_eq!(command_hint(word).as_deref(), expected);
        }
    }
}
