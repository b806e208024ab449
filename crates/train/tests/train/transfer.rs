//! Tasks alone and together: which runs there are, what they share, and what is compared.

use std::fs;
use std::path::Path;

use crate::common::place::Place;
use polyhead_train::{
    Ending, Error, ErrorKind, Gain, Moment, Part, RunConfig, RunSummary, Trainer, Transfer,
    TransferOptions, TransferReport, TransferRun, Verdict,
};

const OPTIONS: TransferOptions = TransferOptions { seeds: 2, pairs: true, keep_models: true };

/// Three tasks with files of their own, of 30, 20 and 10 rows, the lowest layer frozen.
pub(crate) fn apart(place: &Place, more: &[&str]) -> RunConfig {
    let text = Place::text_of("tiny-bert", "");
    let rows = fs::read_to_string(place.path("train.jsonl")).unwrap();
    let head = text.split("[data]").next().unwrap();
    let mut config = head.to_owned();
    for (name, kind, count) in
        [("topic", "classification", 30), ("mood", "multilabel", 20), ("score", "regression", 10)]
    {
        let own: Vec<&str> = rows.lines().take(count).collect();
        fs::write(place.path(&format!("{name}.jsonl")), own.join("\n")).unwrap();
        config.push_str(&format!(
            "[[task]]\nname = {name:?}\nkind = {kind:?}\ntrain = \"{name}.jsonl\"\ndev = \"dev.jsonl\"\n"
        ));
    }
    config.push_str(
        "[train]\nrecipe = \"full\"\nepochs = 2\nbatch_size = 4\n\
         [[freeze]]\nparameters = [\"embeddings\", \"layers.0\"]\n\
         [[freeze]]\nparameters = [\"head.mood\", \"head.score\"]\nuntil = \"epoch 1\"\n",
    );
    let set: Vec<String> = more.iter().map(|key| (*key).to_owned()).collect();
    RunConfig::parse(&config, &place.path("c.toml"), &set).unwrap()
}

fn transfer(config: &RunConfig, options: TransferOptions) -> Transfer {
    Transfer::new(config, options, 2).unwrap()
}

fn train(transfer: &Transfer, run: &TransferRun, folder: &Path) -> RunSummary {
    match transfer.train(run, folder, false, Vec::new()).unwrap() {
        Ending::Finished(summary) => *summary,
        ending => panic!("expected the run to finish, found {ending:?}"),
    }
}

fn all(config: &RunConfig, options: TransferOptions, folder: &Path) -> TransferReport {
    let transfer = transfer(config, options);
    for run in transfer.runs() {
        train(&transfer, run, folder);
    }
    transfer.report(folder).unwrap()
}

fn config_of(folder: &Path, run: &str) -> RunConfig {
    RunConfig::from_file(&folder.join("runs").join(run).join("config.toml"), &[]).unwrap()
}

#[test]
fn a_task_sees_as_many_batches_alone_as_with_all_others() {
    let place = Place::new();
    let folder = place.path("transfer");
    // Each source is as likely as the others: the small ones are read more often than once an epoch.
    let config = apart(&place, &["sampler.kind=uniform"]);
    let report = all(&config, OPTIONS, &folder);
    assert_eq!((report.seeds.as_slice(), report.combinations.len()), (&[3, 4][..], 7));
    let titles: Vec<String> = report.combinations.iter().map(|of| report.title(of)).collect();
    let pairs = ["topic + mood", "topic + score", "mood + score"];
    assert_eq!(titles[..4], ["topic alone", "mood alone", "score alone", "all together"]);
    assert_eq!(titles[4..], pairs);
    let together = &report.combinations[3];
    assert_eq!(together.steps, 30.0);
    let mut steps = 0.0;
    for (task, alone) in report.combinations[..3].iter().enumerate() {
        steps += alone.steps;
        assert!(alone.tasks[0].gain.is_none());
        let epochs = [alone.tasks[0].epochs, together.tasks[task].epochs];
        assert!((epochs[0] - epochs[1]).abs() < 1e-9, "task {task}: {epochs:?}");
    }
    assert_eq!(steps, 30.0);
    // Keys about other tasks are left out, and phases and evaluations keep their share of the steps.
    let alone = config_of(&folder, "alone-topic-seed-4");
    assert_eq!((alone.seed, alone.tasks.len(), alone.freeze.len()), (4, 1, 1));
    let pair = config_of(&folder, "pair-topic+score-seed-3");
    assert_eq!(pair.freeze[1].parameters, ["head.score"]);
    let steps = pair.train.max_steps;
    assert_eq!(pair.freeze[1].until, Some(Moment::Step((15 * steps).div_ceil(30))));
    assert_eq!(pair.train.evaluate_every, (15 * steps).div_ceil(30));
}

#[test]
fn values_are_those_of_the_runs_and_gains_their_differences() {
    let place = Place::new();
    let folder = place.path("transfer");
    let report = all(&apart(&place, &["task.score.metric=mae"]), OPTIONS, &folder);
    let metrics: Vec<&str> = report.tasks.iter().map(|task| task.metric.as_str()).collect();
    assert_eq!(metrics, ["accuracy", "f1_micro", "mae"]);
    check_values(&report, &folder);
    for gain in
        report.combinations.iter().flat_map(|of| &of.tasks).filter_map(|of| of.gain.as_ref())
    {
        let (low, high) = gain.interval.unwrap();
        assert!(low <= gain.mean && gain.mean <= high, "{gain:?}");
        assert_eq!(gain.verdict(), Verdict::Open, "two seeds are too few");
    }
}

#[test]
fn tags_levels_pairs_and_rankings_are_compared_too() {
    let place = Place::new();
    let folder = place.path("transfer");
    let words = ["good", "bad", "train", "water"];
    let row = |at: usize| {
        let (a, b) = (words[at % 4], words[(at + at / 4) % 4]);
        let level = at % 3 + 1;
        let tags = ["B-x", if at.is_multiple_of(2) { "I-x" } else { "O" }];
        serde_json::json!({
            "a": format!("{a} {at}"), "b": format!("{b} {at}"), "near": level as f64 / 3.0,
            "text": format!("{a} {b}"), "level": level, "tokens": [a, b], "tags": tags,
        })
    };
    let lines: Vec<String> = (0..24).map(|at| row(at).to_string()).collect();
    fs::write(place.path("rows.jsonl"), lines.join("\n")).unwrap();
    let head = Place::text_of("tiny-bert", "");
    let mut text = head.split("[data]").next().unwrap().to_owned();
    for (name, kind, keys) in [
        ("level", "ordinal", ""),
        ("slots", "tokens", "field = \"tags\""),
        ("near", "similarity", "range = [0, 1]\ntext = [\"a\", \"b\"]"),
        ("find", "retrieval", "text = [\"a\", \"b\"]"),
    ] {
        let files = "train = \"rows.jsonl\"\ndev = \"rows.jsonl\"";
        text.push_str(&format!("[[task]]\nname = {name:?}\nkind = {kind:?}\n{files}\n{keys}\n"));
    }
    text.push_str("[train]\nrecipe = \"full\"\nepochs = 1\nbatch_size = 8\n");
    let config = RunConfig::parse(&text, &place.path("c.toml"), &[]).unwrap();
    let report =
        all(&config, TransferOptions { seeds: 1, pairs: false, keep_models: false }, &folder);
    let metrics: Vec<&str> = report.tasks.iter().map(|task| task.metric.as_str()).collect();
    assert_eq!(metrics, ["quadratic_kappa", "f1", "spearman", "ndcg@10"]);
    check_values(&report, &folder);
    assert!(!folder.join("runs/together-seed-3/model").exists());
}

/// Checks that a comparison has the metrics of the runs, and their differences.
fn check_values(report: &TransferReport, folder: &Path) {
    assert!(report.tasks.iter().all(|task| task.part == Part::Dev));
    for combination in &report.combinations {
        for (run, folder_of_run) in combination.runs.iter().enumerate() {
            let path = folder.join(folder_of_run).join("finished.json");
            let summary: serde_json::Value =
                serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            for one in &combination.tasks {
                let task = &report.tasks[one.task];
                let tasks = summary["tasks"].as_array().unwrap();
                let own = tasks.iter().find(|of| of["name"] == *task.name).unwrap();
                let expected = own["dev"][&task.metric].as_f64().expect("a value");
                // Means of the same numbers in the same order.
                assert!((one.values[run].unwrap() - expected).abs() < 1e-12, "{folder_of_run}");
                let Some(gain) = &one.gain else { continue };
                let alone = report.combinations[one.task].tasks[0].values[run].unwrap();
                // An error is better small.
                let sign = if task.metric == "mae" { -1.0 } else { 1.0 };
                assert!((gain.seeds[run] - sign * (expected - alone)).abs() < 1e-12);
            }
        }
    }
}

#[test]
fn runs_on_other_data_and_damaged_answers_are_refused() {
    let place = Place::new();
    let folder = place.path("transfer");
    let config = apart(&place, &["train.max_steps=3", "sampler.kind=round-robin"]);
    let transfer = transfer(&config, TransferOptions { pairs: false, ..OPTIONS });
    transfer.runs().iter().for_each(|run| drop(train(&transfer, run, &folder)));
    transfer.report(&folder).unwrap();
    let path = folder.join(&transfer.runs()[3].folder).join("answers.json");
    let whole = fs::read_to_string(&path).unwrap();
    let mut other: serde_json::Value = serde_json::from_str(&whole).unwrap();
    let rows = &mut other["tasks"][0]["rows"]["classes"];
    let mut change = |target: u64, given: u64, expected: &str| {
        rows[0] = serde_json::json!([given, target]);
        let damaged = whole.replace(
            &serde_json::from_str::<serde_json::Value>(&whole).unwrap()["tasks"][0]["rows"]
                .to_string(),
            &serde_json::json!({ "classes": rows }).to_string(),
        );
        fs::write(&path, damaged).unwrap();
        let error = transfer.report(&folder).expect_err("an error");
        assert!(error.kind() == ErrorKind::Run && error.to_string().contains(expected), "{error}");
    };
    change(77, 0, "task `topic`: expected the same right answers in all runs");
    change(0, 77, "task `topic`: expected answers of kind classification");
    fs::write(&path, "{").unwrap();
    assert_eq!(transfer.report(&folder).expect_err("an error").kind(), ErrorKind::Run);
}

#[test]
fn runs_share_the_states_of_frozen_layers_and_have_the_bits_of_runs_without() {
    let place = Place::new();
    let folder = place.path("transfer");
    // One pass: a run by itself would cache nothing of the training rows.
    let config = apart(&place, &["train.epochs=1"]);
    let transfer = transfer(&config, OPTIONS);
    let saved: Vec<u64> = transfer
        .runs()
        .iter()
        .map(|run| train(&transfer, run, &folder).cache.tokens_saved)
        .collect();
    for run in [3, 5, 12] {
        let TransferRun { folder: name, .. } = &transfer.runs()[run];
        let name = name.file_name().unwrap().to_str().unwrap();
        let own = place.path(name);
        let ending = Trainer::new(config_of(&folder, name)).threads(1).train(&own, false).unwrap();
        let Ending::Finished(summary) = ending else { panic!("expected a finished run") };
        // By itself it computes each text once, and saves those that it reads again.
        let alone = summary.cache.tokens_saved;
        assert!(saved[run] > alone, "{run}: {alone} and {saved:?}");
        for file in ["model/model.safetensors", "model/heads.safetensors", "metrics.jsonl"] {
            let [of_transfer, alone] =
                [folder.join("runs").join(name), own.clone()].map(|run| fs::read(run.join(file)));
            assert!(of_transfer.unwrap() == alone.unwrap(), "{name}/{file}");
        }
    }
}

#[test]
fn what_cannot_be_compared_is_named_before_training() {
    let place = Place::new();
    let error_of = |config: &RunConfig| -> Error {
        let error = Transfer::new(config, OPTIONS, 1).err().expect("an error");
        assert_eq!(error.kind(), ErrorKind::Config);
        error
    };
    let whole = apart(&place, &[]);
    for (change, expected) in [
        (
            &(|c: &mut RunConfig| c.tasks.truncate(1)) as &dyn Fn(&mut RunConfig),
            "expected two tasks or more to compare, found 1",
        ),
        (&|c| c.train.max_seconds = 60, "train.max_seconds: expected none"),
        (&|c| c.train.patience = 2.try_into().unwrap(), "train.patience: expected none"),
        (
            &|c| c.train.contrast_steps = 4.try_into().ok(),
            "train.contrast_steps: expected none, since tasks share these steps among them, found 4",
        ),
        (&|c| c.tasks[1].dev.clear(), "task `mood`: expected labelled rows in `dev`"),
        (&|c| c.tasks[2].metric = Some("loss".into()), "task `score`: metric: expected one of"),
    ] {
        let mut config = whole.clone();
        change(&mut config);
        let error = error_of(&config).to_string();
        assert!(error.contains(expected), "{error}");
    }
    let nothing = RunConfig {
        freeze: RunConfig::parse(
            &format!("{}[[freeze]]\nparameters = [\"all\"]\n", Place::text_of("tiny-bert", "")),
            &place.path("c.toml"),
            &[],
        )
        .unwrap()
        .freeze,
        ..whole
    };
    assert!(error_of(&nothing).to_string().contains("expected parameters that train"));
    let shared = RunConfig::parse(
        &Place::text_of("tiny-bert", "").replace("dev = \"dev.jsonl\"", "dev_share = 0.2"),
        &place.path("c.toml"),
        &[],
    );
    assert!(error_of(&shared.unwrap()).to_string().contains("data.dev_share: expected a file"));
}

#[test]
fn a_loss_is_certain_if_interval_and_three_seeds_agree() {
    let gain = |interval, seeds: &[f64]| Gain { mean: 0.0, interval, seeds: seeds.to_vec() };
    let below = Some((-0.3, -0.1));
    assert_eq!(gain(below, &[-0.1, -0.2, -0.3]).verdict(), Verdict::Loses);
    assert_eq!(gain(below, &[-0.1, -0.3]).verdict(), Verdict::Open);
    assert_eq!(gain(below, &[-0.1, 0.1, -0.3]).verdict(), Verdict::Open);
    assert_eq!(gain(Some((-0.3, 0.1)), &[-0.1, -0.2, -0.3]).verdict(), Verdict::Open);
    assert_eq!(gain(None, &[-0.1, -0.2, -0.3]).verdict(), Verdict::Open);
    assert_eq!(gain(Some((0.1, 0.3)), &[0.1, 0.2, 0.3]).verdict(), Verdict::Gains);
}
