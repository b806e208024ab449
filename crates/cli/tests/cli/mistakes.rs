//! Mistakes that people make, each with the message that helps: commands, flags, keys, names, paths.
//!
//! None of them needs a model.

use std::fs;

use super::Folder;

/// A command line, separated by blanks, and what its error says.
type Mistake = (&'static str, &'static [&'static str]);

/// A small configuration with one more line at its end.
const CONFIG: &str =
    "[data]\ntrain = \"train.jsonl\"\n[[task]]\nname = \"topic\"\nkind = \"classification\"\n";

fn folder() -> Folder {
    let folder = Folder::with("texts.txt", "a\nb\n");
    fs::create_dir_all(folder.path("data")).unwrap();
    fs::create_dir_all(folder.path("runs")).unwrap();
    for name in ["data/train.jsonl", "data/test.jsonl"] {
        fs::write(folder.path(name), "{\"text\": \"a\", \"topic\": \"b\"}\n").unwrap();
    }
    fs::write(folder.path("config.toml"), CONFIG).unwrap();
    folder
}

#[track_caller]
fn check(mistakes: &[Mistake]) {
    let folder = folder();
    for (line, words) in mistakes {
        let args: Vec<&str> = line.split_whitespace().collect();
        let run = folder.run(&args);
        assert!(run.code == 1 || run.code == 2, "{line}: {run:?}");
        assert_eq!(run.out, "", "{line}");
        for word in *words {
            assert!(run.err.contains(word), "{line}: expected `{word}` in: {}", run.err);
        }
    }
}

#[test]
fn commands_of_other_tools() {
    check(&[
        ("embed a", &["unrecognized subcommand 'embed'", "tip: use `polyhead encode`"]),
        ("finetune config.toml", &["tip: use `polyhead train`"]),
        ("evaluate runs/a", &["tip: use `polyhead eval`"]),
        ("classify runs/a text", &["tip: use `polyhead predict`"]),
        ("tokenise a", &["tip: use `polyhead tokenize`"]),
        ("init-config data.csv", &["tip: use `polyhead init`"]),
        ("config", &["tip: use `polyhead help config`"]),
        ("download some/model", &["downloaded when it is first used"]),
        ("export runs/a", &["no export to other formats yet"]),
        ("encod a", &["similar subcommand", "'encode'"]),
        ("texts.txt", &["tip: to encode a file: polyhead encode -i texts.txt"]),
        ("config.toml", &["tip: to train: polyhead train config.toml -o runs/a"]),
        ("help embed", &["no command `embed`; use `polyhead encode`"]),
        ("help trian", &["no command `trian`; the nearest is `train`"]),
    ]);
}

#[test]
fn flags_of_other_tools() {
    check(&[
        ("encode a --truncate-dim 64", &["'--truncate-dim'", "tip: use `--dim`"]),
        ("encode -i texts.txt --column title", &["tip: use `--field`"]),
        ("encode a --batch-size 32", &["there is none: texts are packed into batches"]),
        ("encode a --output-file v.npy", &["tip: use `--out`"]),
        ("encode a --device cuda", &["everything runs on the CPU"]),
        ("encode a --model-name x/y", &["tip: use `--model`"]),
        ("encode a --max-seq-length 64", &["tip: use `--max-length`"]),
        ("encode a --num-threads 2", &["tip: use `--threads`"]),
        ("encode a --json", &["JSON is what it prints: an object per line"]),
        ("encode a -dim 3", &["a long flag has two dashes: --dim"]),
        ("encode a --trust-remote-code", &["code of a model is never run"]),
        ("encode a --cache-dir x", &["HF_HUB_CACHE"]),
        ("encode a --revision v1", &["org/name@revision"]),
        ("predict runs/a text --dim 3", &["`--dim` is a flag of encode, similarity"]),
        ("similarity a b -o x.txt", &["redirect them with `> FILE`"]),
        ("train config.toml -o x --lr 1e-4", &["`--set train.learning_rate=VALUE`"]),
        ("train config.toml -o x --epochs 3", &["`--set train.epochs=VALUE`"]),
        ("train config.toml -o x -m y", &["`--set encoder.model=VALUE`"]),
        ("train --config config.toml -o x", &["polyhead train c.toml -o runs/a"]),
        ("--model x encode a", &["tip: flags come after the command: polyhead encode --model"]),
    ]);
}

#[test]
fn missing_values_and_the_wrong_order() {
    check(&[
        ("train config.toml", &["not provided", "--out <DIR>"]),
        ("train data/train.jsonl -o x", &["found a data file; `polyhead init data/train.jsonl`"]),
        ("train config.toml runs", &["unexpected argument 'runs'", "named by a flag: -o runs"]),
        ("eval runs data/test.jsonl -i x", &["named by a flag: -i data/test.jsonl"]),
        ("train config.toml -o", &["a value is required for '--out <DIR>'"]),
        ("predict", &["not provided", "the model comes first: polyhead predict runs/a"]),
        (
            "predict hello runs",
            &["`hello`: no such folder; the model comes first: polyhead predict runs"],
        ),
        ("eval runs", &["not provided", "--input <FILE>"]),
        ("encode a --pooling", &["a value is required", "lasttoken"]),
        ("encode a --pooling average", &["'average'", "mean"]),
        ("encode a --threads many", &["expected 1 to 1024"]),
        ("encode a --emit vectors", &["'vectors'", "embedding, tokens"]),
        ("encode a -o v.pt", &["v.pt", ".npy", ".jsonl"]),
        ("encode a --resume", &["--resume needs an output file: pass --out FILE"]),
        ("encode a --field title", &["--field needs an input file"]),
    ]);
}

#[test]
fn paths_that_do_not_exist() {
    check(&[
        ("encode -i text.txt", &["text.txt: no such file or folder; the nearest is `texts.txt`"]),
        ("encode -i dta/train.jsonl", &["no folder `dta`; the nearest is `data`"]),
        ("encode a -o out/v.npy", &["out/v.npy: no folder `out`"]),
        ("encode -i runs", &["expected a file, found a folder"]),
        (
            "train configs.toml -o x",
            &["configs.toml: no such file", "the nearest is `config.toml`"],
        ),
        ("check-data config.toml", &["train.jsonl: no such file or folder"]),
        (
            "check-data config.toml --set data.train=data/trian.jsonl",
            &["the nearest is", "data/train.jsonl`"],
        ),
        (
            "init data/tests.jsonl -o x.toml",
            &["no such file or folder; the nearest is `data/test.jsonl`"],
        ),
        (
            "init texts.txt -o x.toml",
            &["texts.txt: expected a name that ends in .jsonl, .csv or .tsv"],
        ),
        ("init data/train.jsonl -o config.toml", &["config.toml: exists already", "--overwrite"]),
        ("bench --compare a.json b.json", &["a.json: no such file or folder"]),
        ("serve --check --api-key-file keys", &["keys: no such file or folder"]),
    ]);
}

#[test]
fn a_text_that_is_a_file_is_noted() {
    let folder = folder();
    let model = super::train::tiny_model();
    for command in ["encode", "tokenize"] {
        let run = folder.run(&[command, "texts.txt", "-m", &model]).ok();
        assert!(
            run.err.contains("`texts.txt` is taken as a text; to read the file, pass -i texts.txt")
        );
        let quiet = folder.run(&[command, "texts.txt", "-m", &model, "-q"]).ok();
        assert_eq!((quiet.err.as_str(), quiet.out), ("", run.out));
    }
}

#[test]
fn keys_of_other_tools() {
    check(&[
        (
            "check-data config.toml --set train.lr=1",
            &["`train.lr`: no such key; use `learning_rate`"],
        ),
        ("check-data config.toml --set train.num_train_epochs=1", &["use `epochs`"]),
        ("check-data config.toml --set train.per_device_train_batch_size=8", &["use `batch_size`"]),
        ("check-data config.toml --set train.batch=8", &["use `batch_size`"]),
        ("check-data config.toml --set train.warmup_ratio=0.1", &["use `warmup`"]),
        (
            "check-data config.toml --set train.max_seq_length=64",
            &["use `max_length` in `[encoder]`"],
        ),
        ("check-data config.toml --set train.seed=7", &["it belongs to the top of the file"]),
        ("check-data config.toml --set train.device=cpu", &["training runs on the CPU"]),
        (
            "check-data config.toml --set task.topic.label=x",
            &["use `field`, the name of the field"],
        ),
        ("check-data config.toml --set task.topic.label_column=x", &["use `field`"]),
        ("check-data config.toml --set task.topic.type=x", &["use `kind`"]),
        ("check-data config.toml --set task.topic.loss_weight=2", &["use `weight`"]),
        (
            "check-data config.toml --set task.topic.kind=ner",
            &["found the string \"ner\"; write \"tokens\""],
        ),
        ("check-data config.toml --set training.epochs=1", &["use the table `[train]`"]),
        ("check-data config.toml --set model=x", &["it belongs to `[encoder]`"]),
        ("explain epoch", &["no key, value or metric `epoch`; the nearest key is `epochs`"]),
    ]);
}

#[test]
fn keys_are_listed_and_explained() {
    let folder = Folder::new();
    let all = folder.run(&["help", "config"]).ok().out;
    for key in polyhead_train::config_keys() {
        let name = key.path.rsplit('.').next().unwrap();
        let line = all.lines().any(|line| line == name || line.starts_with(&format!("{name} = ")));
        assert!(line && all.contains(&key.doc), "{}", key.path);
    }
    for (word, expected) in [
        ("epochs", "train.epochs = 3\n"),
        ("task.topic.weight", "task.weight = 1.0\n"),
        ("cosine", "train.schedule = \"linear\"\n"),
        ("f1_macro", "A metric of tasks of kind classification"),
    ] {
        let out = folder.run(&["explain", word]).ok().out;
        assert!(out.contains(expected), "{word}: {out}");
    }
    let run = folder.run(&["explain", "lr"]).ok();
    assert!(run.err.contains("`lr` is called `train.learning_rate` here"), "{}", run.err);
    assert!(run.out.starts_with("train.learning_rate = "), "{}", run.out);

    assert!(folder.run(&["help"]).ok().out.contains("Examples:"));
    let help = folder.run(&["help", "encode"]).ok().out;
    assert_eq!(help, folder.run(&["encode", "--help"]).ok().out);
}

/// The beginning of the page of all keys.
const PAGE_HEAD: &str = "\
# All keys of a configuration

`polyhead train` and `check-data` read these keys; [training.md](training.md) says how to use them, and
[choices.md](choices.md) how to choose. `polyhead help config` prints this list, `polyhead explain KEY` one key, and
`polyhead init DATA_FILE` writes a configuration for a file of yours. A key without a default may be left out, unless it
is `name` or `kind` of a task.
";

/// The page of all keys is made from the same list as `help config`; with
/// `POLYHEAD_WRITE_PAGES=1`, the test writes it.
#[test]
fn the_page_of_all_keys_is_up_to_date() {
    let mut page = PAGE_HEAD.to_owned();
    let mut shown = None;
    for key in polyhead_train::config_keys() {
        let (table, name) = key.path.rsplit_once('.').unwrap_or(("", &key.path));
        if shown.as_deref() != Some(table) {
            let header = match table {
                "" => "The top of the file".to_owned(),
                "task" | "freeze" => format!("`[[{table}]]`"),
                _ => format!("`[{table}]`"),
            };
            page.push_str(&format!(
                "\n## {header}\n\n| key | takes | default | meaning |\n| --- | --- | --- | --- |\n"
            ));
            shown = Some(table.to_owned());
        }
        let cell = |text: &str| text.replace('|', "\\|");
        let default = key.default.as_deref().map_or(String::new(), |text| format!("`{text}`"));
        let (takes, doc) = (cell(&key.expected), cell(&key.doc));
        page.push_str(&format!("| `{name}` | {takes} | {} | {doc} |\n", cell(&default)));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide/config.md");
    if std::env::var_os("POLYHEAD_WRITE_PAGES").is_some() {
        fs::write(path, &page).unwrap();
    }
    let found = fs::read_to_string(path).unwrap_or_default();
    assert!(found == page, "docs/guide/config.md: run this test with POLYHEAD_WRITE_PAGES=1");
}
