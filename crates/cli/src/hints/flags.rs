//! Names of flags in other tools, flags of other commands, and keys of the configuration as flags.

use std::path::Path;

use clap::Command;
use polyhead_files::RowFormat;
use polyhead_train::{config_keys, key_alias};

/// Returns what to write in place of an unknown flag of `command`.
///
/// - `line`: the words of the command line
pub(super) fn flag_hint(
    cli: &Command,
    command: &Command,
    flag: &str,
    line: &[String],
) -> Option<String> {
    // clap reads `-dim` as `-d`.
    let merged = |word: &&String| flag.len() == 2 && word.len() > 2 && word.starts_with(flag);
    if let Some(word) = line.iter().find(merged)
        && has(command, &format!("-{word}"))
    {
        return Some(format!("a long flag has two dashes: -{word}"));
    }
    let name = command.get_name();
    if has(command, flag) {
        return Some(format!("flags come after the command: polyhead {name} {flag}"));
    }
    let meant = FLAGS.iter().find(|(words, _)| words.split(' ').any(|word| word == flag));
    let meant = meant.map_or(flag, |(_, meant)| meant);
    if has(command, meant) {
        return Some(format!("use `{meant}`"));
    }
    if ["train", "check-data"].contains(&name)
        && let Some(hint) = key_hint(meant)
    {
        return Some(hint);
    }
    let of = |words: &str, word: &str| words.is_empty() || words.split(' ').any(|w| w == word);
    let note = NOTES
        .iter()
        .find(|(flags, commands, _)| (of(flags, flag) || of(flags, meant)) && of(commands, name));
    if let Some((.., note)) = note {
        return Some((*note).to_owned());
    }
    let others: Vec<&str> =
        cli.get_subcommands().filter(|other| has(other, meant)).map(Command::get_name).collect();
    (!others.is_empty()).then(|| format!("`{meant}` is a flag of {}", others.join(", ")))
}

/// Returns the flag that an argument without a place needs.
pub(super) fn place_hint(command: &Command, word: &str) -> Option<String> {
    let is_data = RowFormat::from_path(Path::new(word)).is_some();
    if has(command, "--input") && is_data {
        Some(format!("a file to read is named by a flag: -i {word}"))
    } else if has(command, "--out") {
        Some(format!("what is written is named by a flag: -o {word}"))
    } else {
        None
    }
}

/// Returns true if the command has this long flag.
fn has(command: &Command, flag: &str) -> bool {
    let Some(name) = flag.strip_prefix("--") else { return false };
    command.get_arguments().any(|argument| argument.get_long() == Some(name))
}

/// Returns the hint that sets a key of the configuration on the command line.
fn key_hint(flag: &str) -> Option<String> {
    let word = flag.trim_start_matches('-').replace('-', "_");
    let keys = config_keys();
    let named = |path: &&str| path.rsplit('.').next() == Some(word.as_str());
    let mut paths: Vec<&str> = keys.iter().map(|key| key.path.as_str()).filter(named).collect();
    // Keys of one task come after those of the run.
    paths.sort_by_key(|path| path.starts_with("task."));
    let mut note = "";
    if paths.is_empty() {
        let alias = key_alias(&word)?;
        let Some(path) = alias.path else { return Some(alias.note.to_owned()) };
        paths.push(path);
        note = alias.note;
    }
    let set = |path: &str| format!("`--set {}=VALUE`", path.replacen("task.", "task.NAME.", 1));
    let ways: Vec<String> = paths.into_iter().map(set).collect();
    let note = if note.is_empty() { String::new() } else { format!(": {note}") };
    Some(format!("a key of the configuration is changed by {}{note}", ways.join(" or ")))
}

/// Flags separated by blanks, and the flag that they mean.
const FLAGS: &[(&str, &str)] = &[
    ("--truncate-dim --dims --dimensions --embedding-dim --output-dim --matryoshka-dim", "--dim"),
    ("--column --col --text-column --text-field --text-col --text --key", "--field"),
    ("-o --output --output-file --out-file --outfile --output-path --output-dir --save", "--out"),
    ("-i --input-file --infile --file --data --inputs", "--input"),
    ("-m --model-name --model-id --model-name-or-path --model-path --checkpoint", "--model"),
    ("-j --num-threads --nthreads --jobs --workers --num-workers --n-jobs", "--threads"),
    ("--max-seq-length --max-seq-len --max-len --max-tokens", "--max-length"),
    ("-q --silent --no-progress --no-progress-bar", "--quiet"),
    ("-v --debug", "--verbose"),
    ("--normalize-embeddings --norm --l2", "--normalize"),
    ("--pool --pooling-mode --pooling-strategy", "--pooling"),
    ("--instruction --prefix --query-prefix", "--prompt"),
    ("--format --input-type", "--input-format"),
    ("--threshold --min-confidence --min-probability", "--abstain"),
    ("--task", "--tasks"),
    ("--label --label-column --target", "--label-field"),
    ("--dtype --int8 --fp16 --half --quantize", "--precision"),
    ("--force --replace", "--overwrite"),
    ("--continue", "--resume"),
    ("--skip-errors --ignore-errors", "--on-bad-row"),
    ("--truncation --truncate", "--on-truncate"),
    ("--token-embeddings --output-value", "--emit"),
    ("--batch", "--batch-size"),
];

/// Flags separated by blanks, commands (empty: all), and what to know where there is no such flag.
const NOTES: &[(&str, &str, &str)] = &[
    (
        "--batch-size",
        "serve",
        "use `--batch-tokens`; a batch is limited by its tokens, not by its texts",
    ),
    (
        "--batch-size",
        "",
        "there is none: texts are packed into batches by their length, and no batch changes a result",
    ),
    ("--device --gpu --cuda --cpu", "", "there is none: everything runs on the CPU; see --threads"),
    ("--trust-remote-code", "", "there is none: code of a model is never run"),
    ("--cache-dir --cache-folder", "", "set the variable HF_HUB_CACHE or HF_HOME"),
    ("--token --hf-token --use-auth-token", "", "set the variable HF_TOKEN"),
    ("--revision", "", "write the revision behind the name of the model: org/name@revision"),
    ("--show-progress-bar --progress", "", "progress is shown on a terminal; --quiet hides it"),
    ("--json --jsonl", "encode predict", "JSON is what it prints: an object per line"),
    (
        "--config -c",
        "train check-data",
        "the configuration is an argument: polyhead train c.toml -o runs/a",
    ),
    ("--config -c", "", "only `train` and `check-data` read a configuration"),
    ("--seed", "", "there is none: results do not depend on chance"),
    (
        "--out",
        "similarity tokenize rerank eval inspect doctor bench check-data explain completions",
        "results go to standard output: redirect them with `> FILE`",
    ),
    ("--model", "train check-data", "the model is a key: `--set encoder.model=NAME`"),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use clap::CommandFactory;

    use super::*;
    use crate::arguments::Cli;

    fn hint(line: &str) -> Option<String> {
        let cli = Cli::command();
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let flag = words.iter().find(|word| word.starts_with('-'))?;
        let flag = if flag.starts_with("--") { flag } else { &flag[..2] };
        flag_hint(&cli, cli.find_subcommand(&words[0])?, flag, &words)
    }

    #[test]
    fn every_alias_leads_to_a_flag_that_there_is() {
        let cli = Cli::command();
        let mut seen = HashSet::new();
        for (flags, meant) in FLAGS {
            flags.split(' ').for_each(|flag| assert!(seen.insert(flag), "{flag} twice"));
            let noted = NOTES.iter().any(|(flags, ..)| flags == meant);
            let known = cli.get_subcommands().any(|command| has(command, meant));
            assert!(known || noted, "{meant}");
        }
        for (_, commands, _) in NOTES {
            for name in commands.split(' ').filter(|name| !name.is_empty()) {
                assert!(cli.find_subcommand(name).is_some(), "{name}");
            }
        }
    }

    #[test]
    fn a_flag_is_named_by_what_it_is_here() {
        for (line, expected) in [
            ("encode --truncate-dim", Some("use `--dim`")),
            ("encode --dim", Some("flags come after the command: polyhead encode --dim")),
            (
                "predict --dim",
                Some("`--dim` is a flag of encode, similarity, search, mine-negatives, eval"),
            ),
            ("encode -dim", Some("a long flag has two dashes: --dim")),
            ("encode --json", Some("JSON is what it prints: an object per line")),
            ("similarity -o", Some("results go to standard output: redirect them with `> FILE`")),
            (
                "train --lr",
                Some("a key of the configuration is changed by `--set train.learning_rate=VALUE`"),
            ),
            (
                "train --epochs",
                Some("a key of the configuration is changed by `--set train.epochs=VALUE`"),
            ),
            (
                "train --loss-weight",
                Some("a key of the configuration is changed by `--set task.NAME.weight=VALUE`"),
            ),
            (
                "train --learning-rate",
                Some(
                    "a key of the configuration is changed by `--set train.learning_rate=VALUE` or \
                     `--set task.NAME.learning_rate=VALUE`",
                ),
            ),
            (
                "train --warmup-steps",
                Some(
                    "a key of the configuration is changed by `--set train.warmup=VALUE`: the share \
                     of all steps, such as 0.1",
                ),
            ),
            ("train --output-dir", Some("use `--out`")),
            ("train --device", Some("training runs on the CPU")),
            ("encode --frobnicate", None),
        ] {
            assert_eq!(hint(line).as_deref(), expected, "{line}");
        }
        assert!(
            hint("encode --batch-size").unwrap().starts_with("there is none: texts are packed")
        );
        assert!(hint("serve --batch").unwrap().starts_with("use `--batch-tokens`"));
    }
}
