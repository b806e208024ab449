//! `polyhead explain`: one key of a configuration, or a metric.

use std::io::{self, BufWriter, Write};

use anyhow::Result;
use clap::Args;
use polyhead_files::nearest;
use polyhead_train::{Key, config_keys, key_alias, kinds_with_metric, larger_is_better};

use super::help::write_key;
use crate::failure::usage;
use crate::flags::note;

const HELP: &str = "\
Examples:
  polyhead explain epochs
  polyhead explain task.positive_weights
  polyhead explain f1_macro";

/// Explain a key of a configuration, its values, or a metric
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct ExplainArgs {
    /// Key with or without its table, a table, a value such as cosine, or a metric
    #[arg(value_name = "KEY")]
    key: String,
}

/// Prints every meaning of the word.
pub(crate) fn run(args: ExplainArgs) -> Result<()> {
    let word = args.key.trim_matches(['[', ']', '`', '"']);
    let keys = config_keys();
    let mut found = named(&keys, word);
    if found.is_empty()
        && let Some(alias) = key_alias(word)
    {
        let Some(path) = alias.path else {
            return Err(usage(format!("no key `{word}`; {}", alias.note)));
        };
        let more = if alias.note.is_empty() { "" } else { &format!(": {}", alias.note) };
        note(&format!("`{word}` is called `{path}` here{more}"));
        found = named(&keys, path);
    }
    let kinds = kinds_with_metric(word);
    if found.is_empty() && kinds.is_empty() {
        let paths = keys.iter().map(|key| key.path.as_str());
        let last = keys.iter().map(|key| last(&key.path));
        let nearest = nearest(word, paths.chain(last)).map_or("", |(name, _)| name);
        return Err(usage(format!(
            "no key, value or metric `{word}`; the nearest key is `{nearest}`; `polyhead help config` \
             lists all of them"
        )));
    }
    let mut out = BufWriter::new(io::stdout().lock());
    for (index, key) in found.into_iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        write_key(&mut out, &key.path, key)?;
    }
    if !kinds.is_empty() {
        let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
        let best = if larger_is_better(word) { "larger" } else { "smaller" };
        writeln!(out, "{word}")?;
        writeln!(out, "    A metric of tasks of kind {}; {best} is better.", kinds.join(", "))?;
        writeln!(out, "    `best = \"TASK.{word}\"` in [train] chooses the best model by it.")?;
    }
    Ok(out.flush()?)
}

/// The keys that `word` names: by their path, by their last part, by their table, or by one of their values.
fn named<'a>(keys: &'a [Key], word: &str) -> Vec<&'a Key> {
    // `task.topic.weight`, as for --set.
    let parts: Vec<&str> = word.split('.').collect();
    let path = match parts[..] {
        ["task", _, key] => format!("task.{key}"),
        _ => word.to_owned(),
    };
    let in_table = format!("{path}.");
    let quoted = format!("\"{path}\"");
    let by: [&dyn Fn(&Key) -> bool; 3] = [
        &|key| key.path == path,
        &|key| last(&key.path) == path || key.path.starts_with(&in_table),
        &|key| key.expected.contains(&quoted),
    ];
    let find = |by: &dyn Fn(&Key) -> bool| keys.iter().filter(|key| by(key)).collect::<Vec<_>>();
    by.into_iter().map(find).find(|found| !found.is_empty()).unwrap_or_default()
}

/// The name of a key without its table.
fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_by_path_name_table_and_value() {
        let keys = config_keys();
        for (word, expected) in [
            ("train.epochs", &["train.epochs"][..]),
            ("epochs", &["train.epochs"]),
            ("task.topic.weight", &["task.weight"]),
            ("seed", &["seed"]),
            ("checkpoint", &["checkpoint.every", "checkpoint.keep", "checkpoint.after"]),
            ("cosine", &["task.loss", "task.distance", "train.schedule"]),
            ("epoch", &[]),
        ] {
            let found: Vec<&str> = named(&keys, word).iter().map(|key| key.path.as_str()).collect();
            assert_eq!(found, expected, "{word}");
        }
    }
}
