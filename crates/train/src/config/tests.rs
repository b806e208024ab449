//! Reading, the list of keys, and the way back to a file.

mod refused;

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// A small configuration of seven lines; its last table is the task's.
pub(super) const SMALL: &str = "\
[data]
train = \"data/train.jsonl\"

[[task]]
name = \"topic\"
kind = \"classification\"

";

/// A configuration in which every key is written.
const FULL: &str = r#"
    seed = 7
    [encoder]
    model = "sentence-transformers/all-MiniLM-L6-v2"
    pooling = ["mean", "cls"]
    max_length = 128
    dropout = 0
    attention_dropout = 0.2
    layers = 3
    random = true
    [data]
    train = ["a.jsonl", "/b.csv"]
    dev = "dev.jsonl"
    test = "test.jsonl"
    text = ["title", "body"]
    join = "\n"
    [multitask]
    weights = { topic = 0.5, tags = 2 }
    conflict_every = 50
    gradients = "pcgrad"
    [sampler]
    kind = "temperature"
    temperature = 2.5
    [[task]]
    name = "topic"
    kind = "classification"
    from = "label"
    field = "label"
    labels = ["x", "y"]
    label_matching = "normalized"
    weight = 0.5
    pooling = "max"
    layer = 4
    hidden = 64
    activation = "tanh"
    dropout = 0.3
    learning_rate = 2e-3
    class_weights = { y = 2, x = 0.25 }
    label_smoothing = 0.1
    keep = "distill"
    metric = "f1_macro"
    [[task]]
    name = "tags"
    kind = "multilabel"
    train = "own.jsonl"
    dev = "own.jsonl"
    test = "own.jsonl"
    tokens = "words"
    input = "embedding"
    separator = ";"
    empty = "none"
    positive_weights = "balanced"
    teacher = "teacher"
    anneal = true
    [[task]]
    name = "entities"
    kind = "tokens"
    layer = "mix"
    words = "characters"
    [[task]]
    name = "price"
    kind = "regression"
    standardize = true
    range = [0.1, 5]
    teacher = "teacher"
    teacher_task = "cost"
    teacher_weight = 0.25
    [train]
    best = "topic.accuracy"
    betas = [0.8, 0.95]
    schedule = "cosine"
    [checkpoint]
    every = 0
    keep = 5
    after = "keep"
    [output]
    encoder = "reference"
    answers = true
    [[freeze]]
    parameters = "encoder"
    until = "epoch 1"
    [[freeze]]
    parameters = ["embeddings", "layers.0-3"]
    from = "step 20"
    until = "epoch 2"
"#;

/// The keys of tasks that read vectors.
const VECTORS: &str = r#"
    [encoder]
    matryoshka = [8, 4]
    keep_layers = [0, 2]
    [multitask]
    weights = "uw-so"
    temperature = 2
    [data]
    train = "d.jsonl"
    text = ["a", "b", "c"]
    [[task]]
    name = "alike"
    kind = "similarity"
    loss = "cosine"
    scale = 10
    [[task]]
    name = "answers"
    kind = "retrieval"
    text = ["query", "passage"]
    loss = "triplet"
    symmetric = true
    margin = 0.25
    distance = "cosine"
    [[task]]
    name = "follow"
    kind = "distillation"
    text = ["a", "b"]
    teacher = "teacher"
    [[task]]
    name = "same"
    kind = "classification"
    text = ["a", "b"]
    pair = "separate"
    pair_product = true
"#;

/// `text` as the file `/runs/c.toml`.
pub(super) fn parse(text: &str, set: &[&str]) -> Result<RunConfig, Error> {
    let set: Vec<String> = set.iter().map(|text| (*text).to_owned()).collect();
    RunConfig::parse(text, Path::new("/runs/c.toml"), &set)
}

fn paths(names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(PathBuf::from).collect()
}

#[test]
fn defaults_are_those_of_the_design() {
    let config = parse(SMALL, &[]).unwrap();
    assert_eq!((config.seed, config.encoder.model.as_str()), (0, "builtin"));
    assert_eq!(config.sampler.kind, SamplerKind::Proportional);
    assert_eq!(config.freeze, []);
    let written = "accumulation = 1\nbatch_size = 32\nbest = 'mean'\nbetas = [0.9, 0.999]\n\
                   cache_bytes = 268435456\nclip_norm = 1\nepochs = 3\nepsilon = 1e-8\n\
                   evaluate_every = 0\nhead_learning_rate = 1e-3\nlayer_decay = 1\n\
                   learning_rate = 5e-5\nlog_every = 10\nmax_seconds = 0\nmax_steps = 0\n\
                   patience = 0\nrecipe = 'auto'\nschedule = 'linear'\nwarmup = 0.1\nweight_decay = 0.01\n";
    assert_eq!(parse(&format!("{SMALL}[train]\n{written}"), &[]).unwrap().train, config.train);
    assert_eq!((config.checkpoint.every, config.checkpoint.keep.get()), (200, 2));
    let task = &config.tasks[0];
    assert_eq!(
        (&task.field[..], task.weight.get(), task.dropout.get()),
        (&["topic".to_owned()][..], 1.0, 0.1)
    );
    assert_eq!((task.input, task.layer), (HeadInput::Pooled, HeadLayer::Last));
    assert_eq!(config.data.train, paths(&["/runs/data/train.jsonl"]));
    assert_eq!(config.data.text, ["text"]);
    assert_eq!(config.data.tokens.as_deref(), Some("tokens"));
}

#[test]
fn every_key_is_read() {
    let config = parse(FULL, &[]).unwrap();
    assert_eq!(config.seed, 7);
    let encoder = EncoderSettings {
        model: "sentence-transformers/all-MiniLM-L6-v2".to_owned(),
        pooling: Some(vec![PoolingMode::Mean, PoolingMode::Cls]),
        matryoshka: Vec::new(),
        max_length: Some(PositiveSize(128)),
        dropout: Some(BelowOne(0.0)),
        attention_dropout: Some(BelowOne(0.2)),
        layers: Some(PositiveSize(3)),
        keep_layers: Vec::new(),
        random: true,
    };
    assert_eq!(config.encoder, encoder);
    assert_eq!(config.data.train, paths(&["/runs/a.jsonl", "/b.csv"]));
    let temperature = Some(Positive(2.5));
    assert_eq!(config.sampler, SamplerSettings { kind: SamplerKind::Temperature, temperature });
    let weights = [("x".to_owned(), 0.25), ("y".to_owned(), 2.0)];
    let topic = TaskSettings {
        name: "topic".to_owned(),
        kind: "classification".parse().unwrap(),
        from: Some("label".to_owned()),
        field: vec!["label".to_owned()],
        label_matching: Some(LabelMatching::Normalized),
        labels: Some(vec!["x".to_owned(), "y".to_owned()]),
        weight: NonNegative(0.5),
        pooling: Some(vec![PoolingMode::Max]),
        layer: HeadLayer::At(4),
        hidden: Some(PositiveSize(64)),
        activation: Activation::Tanh,
        dropout: BelowOne(0.3),
        learning_rate: Some(NonNegative(2e-3)),
        class_weights: Some(ClassWeights::Given(weights.to_vec())),
        label_smoothing: BelowOne(0.1),
        keep: Some(Keep::Distill),
        metric: Some("f1_macro".to_owned()),
        ..TaskSettings::default()
    };
    assert_eq!(config.tasks[0], topic);
    assert_eq!(config.tasks[0].files(), None);
    let own = config.tasks[1].files().unwrap();
    assert_eq!(own.train, paths(&["/runs/own.jsonl"]));
    assert_eq!(own.text, config.data.text, "as the run has it");
    assert_eq!(own.join.as_deref(), Some("\n"));
    assert_eq!(own.tokens.as_deref(), Some("words"));
    assert_eq!(config.tasks[1].input, HeadInput::Embedding);
    assert_eq!(config.tasks[1].positive_weights, Some(ClassWeights::Balanced));
    assert_eq!(config.tasks[2].layer, HeadLayer::Mix);
    assert_eq!(config.tasks[2].words, Some(WordRule::Characters));
    assert_eq!(config.tasks[3].standardize, Some(true));
    assert_eq!(config.tasks[3].range, Some(NumberRange::new(0.1, 5.0).unwrap()));
    assert_eq!(config.train.betas, (BelowOne(0.8), BelowOne(0.95)));
    assert_eq!(config.train.schedule, ScheduleKind::Cosine);
    assert_eq!((config.checkpoint.every, config.checkpoint.keep.get()), (0, 5));
    assert_eq!(config.checkpoint.after, AfterRun::Keep);
    assert_eq!(config.output.encoder, EncoderFiles::Reference);
    let phase = |parameters: &[&str], from, until| FreezePhase {
        parameters: parameters.iter().map(|&name| name.to_owned()).collect(),
        from,
        until,
    };
    let phases = [
        phase(&["encoder"], None, Some(Moment::Epoch(1))),
        phase(&["embeddings", "layers.0-3"], Some(Moment::Step(20)), Some(Moment::Epoch(2))),
    ];
    assert_eq!(config.freeze, phases);
}

#[test]
fn tasks_that_compare_vectors_have_losses_of_their_own() {
    let config = parse(VECTORS, &[]).unwrap();
    let [alike, answers, _, same] = &config.tasks[..] else { panic!("four tasks") };
    assert_eq!((alike.loss, answers.loss), (Some(VectorLoss::Cosine), Some(VectorLoss::Triplet)));
    assert_eq!((same.pair, same.pair_product), (Some(PairReading::Separate), Some(true)));
    // The same files with other texts.
    assert_eq!((&alike.train, answers.train.len()), (&Vec::new(), 1));
    let again = RunConfig::parse(&config.to_toml(), Path::new("/runs/c.toml"), &[]).unwrap();
    assert_eq!(again.tasks, config.tasks);
    for (old, new, expected) in [
        (
            "\"cosine\"\n    scale",
            "\"triplet\"\n    scale",
            "expected \"cosent\" or \"cosine\" for similarity",
        ),
        ("scale = 10", "margin = 1", "`task.alike.margin`: applies to retrieval"),
        ("scale = 10", "hidden = 8", "`task.alike.hidden`: applies to classification"),
        ("scale = 10", "pooling = \"cls\"", "`task.alike.pooling`: applies to classification"),
        ("[8, 4]", "[8, 0]", "`encoder.matryoshka"),
    ] {
        assert!(VECTORS.contains(old), "{old}");
        let error = parse(&VECTORS.replacen(old, new, 1), &[]).unwrap_err().to_string();
        assert!(error.contains(expected), "{new}: {error}");
    }
}

#[test]
fn a_share_of_the_rows_takes_the_place_of_dev() {
    for (set, expected) in [
        (&["data.dev_share=0.5"][..], None),
        (&["data.dev_share=0.6"], Some("expected a number above 0, up to 0.5, found 0.6")),
        (&["data.dev_share=0"], Some("expected a number above 0, up to 0.5, found 0")),
        (&["data.dev_share=0.1", "data.dev=a.jsonl"], Some("in place of `dev`, found both")),
    ] {
        let error = parse(SMALL, set).err().map(|error| error.to_string());
        match (error, expected) {
            (Some(error), Some(expected)) => assert!(error.contains(expected), "{error}"),
            (error, expected) => assert_eq!(error.is_some(), expected.is_some(), "{error:?}"),
        }
    }
}

#[test]
fn keys_lists_every_key_of_the_configuration() {
    // What is written has all keys: those of FULL, and those with a default.
    let mut written = BTreeSet::from(["seed".to_owned()]);
    // A template takes the place of several fields.
    let templates = FULL.replace("join = \"\\n\"", "template = \"{title}: {body}\"");
    let few = format!(
        "train.contrast_steps = 9\ndata.dev_share = 0.1\n{}",
        SMALL.replacen("[data]\n", "data.", 1)
    );
    for text in [FULL, &templates, VECTORS, &few] {
        for (table, value) in &parse(text, &[]).unwrap().table() {
            let items = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            let keys = items.iter().filter_map(toml::Value::as_table).flat_map(|keys| keys.iter());
            written.extend(keys.map(|(key, _)| format!("{table}.{key}")));
        }
    }
    let keys = config_keys();
    let listed: BTreeSet<String> = keys.iter().map(|key| key.path.clone()).collect();
    assert_eq!(listed, written);
    assert_eq!(listed.len(), keys.len());
    for Key { path, expected, doc, .. } in &keys {
        assert!(!expected.is_empty() && doc.ends_with('.'), "{path}: {expected}: {doc}");
    }
    let key = |path: &str| {
        let key = keys.iter().find(|key| key.path == path).expect(path);
        (key.expected.as_str(), key.default.as_deref())
    };
    for (path, expected, default) in [
        ("seed", "a whole number of at least 0", Some("0")),
        ("encoder.random", "true or false", Some("false")),
        ("encoder.max_length", "a whole number from 1 to 2147483647", None),
        ("data.train", "a string or an array of strings", None),
        ("data.text", "a string or an array of strings", Some("\"text\"")),
        ("data.join", "a string", None),
        ("task.template", "a text with fields in braces, such as \"{title}: {body}\"", None),
        ("train.betas", "an array of 2 values", Some("[0.9, 0.999]")),
        ("task.name", "a string", None),
        ("task.field", "a string or an array of strings", None),
        ("task.label_matching", "\"exact\" or \"normalized\"", None),
        ("task.standardize", "true or false", None),
        ("task.range", "two numbers, the smaller one first, such as [1, 5]", None),
        ("task.empty", "\"unlabelled\" or \"none\"", None),
        (
            "task.kind",
            "\"classification\", \"multilabel\", \"regression\", \"tokens\", \"ordinal\", \
             \"similarity\", \"retrieval\" or \"distillation\"",
            None,
        ),
        ("train.learning_rate", "a number of at least 0", Some("0.00005")),
        ("train.recipe", "\"auto\", \"full\", \"heads\" or \"few-shot\"", Some("\"auto\"")),
        ("train.schedule", "\"constant\", \"linear\" or \"cosine\"", Some("\"linear\"")),
        ("freeze.until", "\"epoch N\" or \"step N\", counted from 1", None),
    ] {
        assert_eq!(key(path), (expected, default), "{path}");
    }
}

#[test]
fn several_fields_are_joined_or_put_into_a_template_alike_in_all_tasks() {
    let own = "[[task]]\nname = \"own\"\nkind = \"regression\"\ntrain = \"b.jsonl\"\n";
    let text = |data: &str, task: &str| {
        let config = SMALL.replace("[data]", &format!("[data]\n{data}"));
        parse(&format!("{config}{own}{task}"), &[]).map(|config| {
            let read = parse(&config.to_toml(), &[]).unwrap();
            assert_eq!(read, config);
            config.sources().iter().map(|files| files.input_fields().unwrap().text).collect()
        })
    };
    let both: Vec<TextFields> = text("text = [\"a\", \"b\"]\njoin = \" \"", "").unwrap();
    assert_eq!((both[0].names(), &both[1]), (vec!["a", "b"], &both[0]));
    let both: Vec<TextFields> = text("template = \"{a} {b}\"", "").unwrap();
    assert_eq!((both[0].names(), &both[1]), (vec!["a", "b"], &both[0]));
    assert_eq!(text("text = [\"a\"]", "text = \"b\"").unwrap()[1].names(), ["b"]);
    let both: Vec<TextFields> = text("text = \"a\"", "text = [\"b\", \"c\"]").unwrap();
    assert_eq!((both[0].names(), both[1].names()), (vec!["a"], vec!["b", "c"]));
    for (data, task, expected) in [
        ("join = \" \"", "", "`data.join`: `join` applies to several fields, found one"),
        ("template = \"title\"", "", "`data.template`: expected a text with fields in braces"),
        ("text = \"a\"\ntemplate = \"{b}\"", "", "expected `a` in the template"),
        ("template = \"{a}\"", "text = \"a\"", "`task.own.text`: expected all tasks to make"),
        ("", "template = \"{a}\"", "`task.own.template`: expected all tasks to make"),
        (
            "text = [\"a\", \"b\"]\njoin = \" \"",
            "text = [\"a\", \"b\"]\njoin = \"|\"",
            "`task.own.text`: expected all tasks to make",
        ),
    ] {
        let error = text(data, task).map(|_: Vec<TextFields>| ()).unwrap_err().to_string();
        assert!(error.contains(expected), "{data} {task}: {error}");
    }
}

#[test]
fn the_example_of_the_guide_is_read() {
    let text = r#"
        seed = 7
        encoder = { model = "builtin", pooling = "cls", max_length = 128 }
        [data]
        train = "data/demo/train.jsonl"
        dev   = "data/demo/dev.jsonl"
        [[task]]
        name = "topic"
        kind = "classification"
        weight = 1.0
        [[task]]
        name = "sentiment"
        kind = "classification"
        [train]
        layer_decay = 0.95
        [[freeze]]
        parameters = ["embeddings", "layers.0-3"]
        until = "epoch 1"
    "#;
    let config = parse(text, &[]).unwrap();
    let names: Vec<&str> = config.tasks.iter().map(|task| task.name.as_str()).collect();
    assert_eq!(names, ["topic", "sentiment"]);
    assert_eq!(config.train.layer_decay, Factor(0.95));
    assert_eq!(config.data.dev, paths(&["/runs/data/demo/dev.jsonl"]));
    assert_eq!(config.freeze[0].until, Some(Moment::Epoch(1)));
}

#[test]
fn set_applies_before_the_checks() {
    let set = ["train.epochs=0", "train.max_steps=5", "task.topic.weight=2", "seed=3"];
    let config = parse(SMALL, &set).unwrap();
    assert_eq!((config.train.epochs.get(), config.train.max_steps), (0, 5));
    assert_eq!((config.tasks[0].weight.get(), config.seed), (2.0, 3));
    let here = std::path::absolute("other.jsonl").unwrap();
    assert_eq!(parse(SMALL, &["data.train=other.jsonl"]).unwrap().data.train, [here]);
}

#[test]
fn task_names_are_of_any_script() {
    let long = "ß".repeat(65);
    for name in ["größe", "主题", "a_b-3", &"ß".repeat(64)] {
        let config = parse(&SMALL.replace("topic", name), &["train.epochs=5"]).unwrap();
        assert_eq!(config.tasks[0].name, name);
        assert_eq!(parse(&config.to_toml(), &[]).unwrap(), config);
        let set = format!("task.{name}.weight=2");
        assert_eq!(parse(&config.to_toml(), &[&set]).unwrap().tasks[0].weight.get(), 2.0);
    }
    for name in ["a b", "", "a.b", &long] {
        let error = parse(&SMALL.replace("topic", name), &[]).unwrap_err().to_string();
        assert!(error.starts_with("/runs/c.toml:5: `task."), "{error}");
        assert!(error.contains("expected 1 to 64 letters, digits, `_` or `-`, found "), "{error}");
    }
}

#[test]
fn a_model_folder_is_found_beside_the_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("runs/a")).unwrap();
    let file = folder.path().join("c.toml");
    for (name, found) in [
        ("runs/a", folder.path().join("runs/a")),
        ("runs/b", "runs/b".into()),
        ("builtin", "builtin".into()),
    ] {
        std::fs::write(&file, format!("{SMALL}\n[encoder]\nmodel = {name:?}\n")).unwrap();
        let config = RunConfig::from_file(&file, &[]).unwrap();
        assert_eq!(Path::new(&config.encoder.model), found);
    }
    let error = RunConfig::from_file(&folder.path().join("no.toml"), &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("no.toml"), "{error}");
}

#[test]
fn the_resolved_file_has_every_default() {
    let written = parse(SMALL, &[]).unwrap().to_toml();
    for line in [
        "seed = 0",
        "train = [\"/runs/data/train.jsonl\"]",
        "kind = \"proportional\"",
        "field = \"topic\"",
        "learning_rate = 0.00005",
        "betas = [0.9, 0.999]",
        "every = 200",
        "layer = \"last\"",
    ] {
        assert!(written.lines().any(|found| found == line), "{line} in\n{written}");
    }
    assert!(written.starts_with("seed"), "in the order of the keys");
}

/// A run directory of version 0.1.0 can be resumed: its `config.toml`, written by
/// that version, means the same, and so does its hash, which stands in reports.
#[test]
fn a_run_of_version_0_1_0_is_the_same_run() {
    let file = polyhead_testing::testdata().join("config/run_of_0_1_0.toml");
    let old = RunConfig::from_file(&file, &[]).unwrap();
    assert_eq!(old.hash(), "72d8a95640751759c1fe80e0b1732c2d25bff76b858879957acc0e87b8a856ec");
    let again = parse(&old.to_toml(), &[]).unwrap();
    assert_eq!(old.differences(&again), []);
    assert_eq!((again.hash(), again), (old.hash(), old));
}

proptest! {
    #[test]
    fn what_is_written_reads_back_as_the_same(
        rate in any::<u32>().prop_map(|bits| f32::from_bits(bits >> 1)),
        seed in 0..=i64::MAX as u64,
        path in "/[a-zäö \"\\\\']{1,8}/[a-z.]{1,8}x",
        texts in proptest::collection::btree_set("\\PC{1,6}|[a-z\t\n\u{7f}\"']{1,6}", 2..5),
    ) {
        let mut config = parse(FULL, &[]).unwrap();
        config.seed = seed;
        config.data.train = vec![path.into()];
        if let Ok(rate) = NonNegative::try_from(rate) {
            config.train.learning_rate = rate;
        }
        config.data.join = None;
        config.data.text = texts.first().cloned().into_iter().collect();
        (config.tasks[1].text, config.tasks[1].join) = (config.data.text.clone(), None);
        // Labels have no blanks at their ends, so something else stands there.
        let labels: BTreeSet<String> = texts.iter().map(|text| format!("<{text}>")).collect();
        let weights = labels.iter().map(|label| (label.clone(), config.train.learning_rate.get()));
        config.tasks[0].class_weights = Some(ClassWeights::Given(weights.collect()));
        config.tasks[0].labels = Some(labels.into_iter().collect());
        let written = config.to_toml();
        // In another folder: the paths are absolute.
        let read = RunConfig::parse(&written, Path::new("/other/config.toml"), &[]);
        let read = read.map_err(|error| TestCaseError::fail(format!("{error}\n{written}")))?;
        prop_assert!(config.differences(&read).is_empty());
        prop_assert_eq!(read, config);
    }
}
