//! From a document to a checked [`RunConfig`].

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::document::{Document, Node, Value};
use super::names::{SCHEDULES, poolings};
use super::read_task::task;
use super::section::{Range, Section};
use super::{
    CheckpointSettings, DataFiles, EncoderSettings, FreezePhase, Moment, RunConfig, Sampler,
    Schedule, TaskSettings, TrainSettings,
};
use crate::error::{Error, ErrorKind};
use crate::evaluate::metric_names;

/// Longest configuration that is read, in bytes; label lists of any size that can be trained fit.
const FILE_LIMIT: u64 = 4 << 20;

impl RunConfig {
    /// Reads and checks the file at `path`; `set` as in [`Self::parse`].
    ///
    /// # Errors
    /// As [`Self::parse`]; [`ErrorKind::Config`] if the file cannot be read.
    pub fn from_file(path: &Path, set: &[String]) -> Result<Self, Error> {
        let read = || {
            let mut text = String::new();
            let length = File::open(path)?.take(FILE_LIMIT + 1).read_to_string(&mut text)?;
            Ok((text, length as u64))
        };
        let (text, length) = read().map_err(|error: std::io::Error| {
            let message = format!("{}: {error}", path.display());
            Error::with_source(ErrorKind::Config, message, error)
        })?;
        if length > FILE_LIMIT {
            let message = format!("{}: expected at most {FILE_LIMIT} bytes", path.display());
            return Err(Error::new(ErrorKind::Config, message));
        }
        Self::parse(&text, path, set)
    }

    /// Reads and checks `text`.
    ///
    /// - `file`: its name in messages; paths in it are relative to its folder
    /// - `set`: `key=value`, laid over the text before anything is checked:
    ///   `seed=7`, `train.epochs=5`, `task.topic.weight=2` (tasks by name). A
    ///   value that is not TOML is a string
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with the file, the line and the key.
    pub fn parse(text: &str, file: &Path, set: &[String]) -> Result<Self, Error> {
        let document = Document::parse(text, file, set)?;
        let root = Section::root(&document.source, &document.root)?;
        // Tables with a wrong key or in a wrong form come before what they hold.
        let table = |key| root.section(key, "");
        let (in_encoder, in_data, in_train) = (table("encoder")?, table("data")?, table("train")?);
        let in_sampler = root.section("sampler", " with a `kind`")?;
        let in_checkpoint = table("checkpoint")?;
        let (in_tasks, in_phases) = (root.sections("task")?, root.sections("freeze")?);

        let data = run_data(&in_data)?;
        let tasks = in_tasks.iter().map(|section| task(section, &data));
        let tasks = tasks.collect::<Result<Vec<_>, _>>()?;
        check_tasks(&root, &tasks, &data)?;
        Ok(Self {
            seed: root.count("seed", 0..=u64::MAX)?.unwrap_or(0),
            encoder: encoder(&in_encoder)?,
            sampler: sampler(&in_sampler)?,
            train: train(&in_train, &tasks)?,
            checkpoint: checkpoint(&in_checkpoint)?,
            freeze: in_phases.iter().map(phase).collect::<Result<_, _>>()?,
            data,
            tasks,
        })
    }
}

fn encoder(section: &Section) -> Result<EncoderSettings, Error> {
    let mut model = section.text("model")?.unwrap_or_else(|| BUILTIN.to_owned());
    // A name is of a folder if there is one, else of the hub.
    if model != BUILTIN
        && let Some(folder) = section.folder("model", &model)?
    {
        model = folder.into_os_string().into_string().expect("checked to be UTF-8");
    }
    Ok(EncoderSettings {
        model,
        pooling: section.several("pooling", &poolings())?,
        max_length: section.size("max_length", 1..=u64::MAX)?,
        dropout: section.number("dropout", Range::BELOW_ONE)?,
        attention_dropout: section.number("attention_dropout", Range::BELOW_ONE)?,
        layers: section.size("layers", 1..=u64::MAX)?,
        random: section.flag("random")?.unwrap_or(false),
    })
}

/// The model inside the program.
const BUILTIN: &str = "builtin";

/// `[data]`; the names of the fields are filled in.
fn run_data(section: &Section) -> Result<DataFiles, Error> {
    let mut data = data(section)?;
    data.text.get_or_insert_with(|| "text".to_owned());
    data.tokens.get_or_insert_with(|| "tokens".to_owned());
    Ok(data)
}

/// Files and fields, of the run or of a task; fields that are not named stay absent.
pub(super) fn data(section: &Section) -> Result<DataFiles, Error> {
    let field = |key| {
        if section.texts(key)?.is_some_and(|names| names.len() != 1) {
            let problem = "expected one field: pairs of texts come later";
            return Err(section.problem(key, problem));
        }
        section.text(key)
    };
    Ok(DataFiles {
        train: section.paths("train")?,
        dev: section.paths("dev")?,
        test: section.paths("test")?,
        text: field("text")?,
        tokens: field("tokens")?,
    })
}

fn sampler(section: &Section) -> Result<Sampler, Error> {
    let temperature = section.number("temperature", Range::POSITIVE)?.map(exact);
    let kind = section.text("kind")?;
    let sampler = match (kind.as_deref(), temperature) {
        (Some("temperature"), Some(temperature)) => return Ok(Sampler::Temperature(temperature)),
        (Some("temperature"), None) => {
            let problem = "missing; expected a number above 0: 1 is proportional, large is uniform";
            return Err(section.problem("temperature", problem));
        }
        (None | Some("proportional"), _) => Sampler::Proportional,
        (Some("uniform"), _) => Sampler::Uniform,
        (Some("round-robin"), _) => Sampler::RoundRobin,
        (Some(other), _) => {
            let problem = format!(
                "expected \"proportional\", \"uniform\", \"temperature\" or \"round-robin\", \
                 found {other:?}"
            );
            return Err(section.problem("kind", &problem));
        }
    };
    match temperature {
        None => Ok(sampler),
        Some(_) => Err(section.problem("temperature", "applies to `kind = \"temperature\"` alone")),
    }
}

/// The `f64` that has the same decimal digits.
fn exact(number: f32) -> f64 {
    number.to_string().parse().expect("digits of a finite number are a number")
}

fn check_tasks(root: &Section, tasks: &[TaskSettings], data: &DataFiles) -> Result<(), Error> {
    if tasks.is_empty() {
        return Err(root.problem("task", "expected at least one `[[task]]`, found none"));
    }
    for (index, task) in tasks.iter().enumerate() {
        if tasks[..index].iter().any(|other| other.name == task.name) {
            let problem = format!("expected names that differ, found `{}` twice", task.name);
            return Err(root.problem("task", &problem));
        }
        if task.data.is_none() && data.train.is_empty() {
            let problem = format!(
                "no training data: expected `train` in `[data]` or in the task `{}`",
                task.name
            );
            return Err(root.problem("data", &problem));
        }
    }
    Ok(())
}

fn train(section: &Section, tasks: &[TaskSettings]) -> Result<TrainSettings, Error> {
    let any = 0..=u64::MAX;
    let max_steps = section.count("max_steps", any.clone())?.unwrap_or(0);
    let epochs = section.size("epochs", any.clone())?.unwrap_or(3);
    if epochs == 0 && max_steps == 0 {
        let problem = "expected at least 1, or `max_steps`, found 0";
        return Err(section.problem("epochs", problem));
    }
    let batch_size = section.size("batch_size", 1..=u64::MAX)?.unwrap_or(32);
    Ok(TrainSettings {
        epochs,
        batch_size,
        accumulation: section.size("accumulation", 1..=batch_size as u64)?.unwrap_or(1),
        learning_rate: section.number("learning_rate", Range::NOT_NEGATIVE)?.unwrap_or(5e-5),
        head_learning_rate: section
            .number("head_learning_rate", Range::NOT_NEGATIVE)?
            .unwrap_or(1e-3),
        layer_decay: section.number("layer_decay", Range::FACTOR)?.unwrap_or(1.0),
        schedule: section.choice("schedule", &SCHEDULES)?.unwrap_or(Schedule::Linear),
        warmup: section.number("warmup", Range::SHARE)?.unwrap_or(0.1),
        weight_decay: section.number("weight_decay", Range::NOT_NEGATIVE)?.unwrap_or(0.01),
        clip_norm: section.number("clip_norm", Range::NOT_NEGATIVE)?.unwrap_or(1.0),
        betas: section.pair("betas", Range::BELOW_ONE)?.unwrap_or((0.9, 0.999)),
        epsilon: section.number("epsilon", Range::POSITIVE)?.unwrap_or(1e-8),
        max_steps,
        max_seconds: section.count("max_seconds", any.clone())?.unwrap_or(0),
        patience: section.size("patience", any.clone())?.unwrap_or(0),
        log_every: section.count("log_every", 1..=u64::MAX)?.unwrap_or(10),
        evaluate_every: section.count("evaluate_every", any.clone())?.unwrap_or(0),
        best: best(section, tasks)?,
        cache_bytes: section.count("cache_bytes", any)?.unwrap_or(256 << 20),
    })
}

/// `mean`, or `TASK.METRIC` of a task that there is.
fn best(section: &Section, tasks: &[TaskSettings]) -> Result<String, Error> {
    let Some(best) = section.text("best")? else { return Ok("mean".to_owned()) };
    if best == "mean" {
        return Ok(best);
    }
    let (name, metric) = best.split_once('.').unwrap_or((&best, ""));
    let problem = match tasks.iter().find(|task| task.name == name) {
        Some(task) if metric_names(task.kind).contains(&metric) => return Ok(best),
        Some(task) => {
            let names = metric_names(task.kind).join(", ");
            format!("expected a metric of {name} ({names}), found {best:?}")
        }
        None => {
            let names: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
            let names = names.join(", ");
            format!("expected \"mean\" or TASK.METRIC with a task of {names}, found {best:?}")
        }
    };
    Err(section.problem("best", &problem))
}

fn checkpoint(section: &Section) -> Result<CheckpointSettings, Error> {
    Ok(CheckpointSettings {
        every: section.count("every", 0..=u64::MAX)?.unwrap_or(200),
        keep: section.size("keep", 1..=u64::MAX)?.unwrap_or(2),
    })
}

fn phase(section: &Section) -> Result<FreezePhase, Error> {
    let parameters = section.texts("parameters")?.unwrap_or_default();
    if parameters.is_empty() {
        let problem = "expected groups such as \"embeddings\", \"layers.0-3\" or \"head.NAME\", \
                       found none";
        return Err(section.problem("parameters", problem));
    }
    let (from, until) = (moment(section, "from")?, moment(section, "until")?);
    let backwards = match (from, until) {
        (Some(Moment::Epoch(from)), Some(Moment::Epoch(until)))
        | (Some(Moment::Step(from)), Some(Moment::Step(until))) => from > until,
        _ => false,
    };
    if backwards {
        return Err(section.problem("until", "expected a moment that is not before `from`"));
    }
    Ok(FreezePhase { parameters, from, until })
}

fn moment(section: &Section, key: &str) -> Result<Option<Moment>, Error> {
    let expected = "\"epoch N\" or \"step N\", counted from 1";
    section.read(key, expected, |node: &Node| {
        let Value::String(text) = &node.value else { return None };
        let (unit, number) = text.split_once(' ')?;
        let number = number.trim().parse::<u64>().ok().filter(|number| *number > 0)?;
        match unit {
            "epoch" => Some(Moment::Epoch(number)),
            "step" => Some(Moment::Step(number)),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{SMALL, parse};
    use super::super::{ClassWeights, Keep};
    use super::*;
    use polyhead_compute::Activation;
    use polyhead_model::{HeadInput, HeadLayer, PoolingMode, TaskKind};

    #[test]
    fn defaults_are_those_of_the_design() {
        let config = parse(SMALL, &[]).unwrap();
        assert_eq!((config.seed, config.encoder.model.as_str()), (0, "builtin"));
        assert_eq!(config.sampler, Sampler::Proportional);
        assert_eq!(config.freeze, []);
        let expected = TrainSettings {
            epochs: 3,
            batch_size: 32,
            accumulation: 1,
            learning_rate: 5e-5,
            head_learning_rate: 1e-3,
            layer_decay: 1.0,
            schedule: Schedule::Linear,
            warmup: 0.1,
            weight_decay: 0.01,
            clip_norm: 1.0,
            betas: (0.9, 0.999),
            epsilon: 1e-8,
            max_steps: 0,
            max_seconds: 0,
            patience: 0,
            log_every: 10,
            evaluate_every: 0,
            best: "mean".to_owned(),
            cache_bytes: 256 << 20,
        };
        assert_eq!(config.train, expected);
        assert_eq!(config.checkpoint, CheckpointSettings { every: 200, keep: 2 });
        let task = &config.tasks[0];
        assert_eq!((task.field.as_str(), task.weight, task.dropout), ("topic", 1.0, 0.1));
        assert_eq!((task.input, task.layer), (HeadInput::Pooled, HeadLayer::Last));
        assert_eq!(config.data.train, [Path::new("/runs/data/train.jsonl")]);
        assert_eq!(config.data.text.as_deref(), Some("text"));
        assert_eq!(config.data.tokens.as_deref(), Some("tokens"));
    }

    #[test]
    fn every_key_is_read() {
        let text = r#"
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
            text = "sentence"
            [sampler]
            kind = "temperature"
            temperature = 2.5
            [[task]]
            name = "topic"
            kind = "classification"
            field = "label"
            labels = ["x", "y"]
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
            tokens = "words"
            input = "embedding"
            positive_weights = "balanced"
            [[task]]
            name = "entities"
            kind = "tokens"
            layer = "mix"
            [train]
            best = "topic.accuracy"
            betas = [0.8, 0.95]
            [checkpoint]
            every = 0
            keep = 5
            [[freeze]]
            parameters = "encoder"
            until = "epoch 1"
            [[freeze]]
            parameters = ["embeddings", "layers.0-3"]
            from = "step 20"
            until = "epoch 2"
        "#;
        let config = parse(text, &[]).unwrap();
        assert_eq!(config.seed, 7);
        let encoder = EncoderSettings {
            model: "sentence-transformers/all-MiniLM-L6-v2".to_owned(),
            pooling: Some(vec![PoolingMode::Mean, PoolingMode::Cls]),
            max_length: Some(128),
            dropout: Some(0.0),
            attention_dropout: Some(0.2),
            layers: Some(3),
            random: true,
        };
        assert_eq!(config.encoder, encoder);
        assert_eq!(config.data.train, [Path::new("/runs/a.jsonl"), Path::new("/b.csv")]);
        assert_eq!(config.sampler, Sampler::Temperature(2.5));
        let topic = TaskSettings {
            name: "topic".to_owned(),
            kind: TaskKind::Classification,
            field: "label".to_owned(),
            labels: Some(vec!["x".to_owned(), "y".to_owned()]),
            weight: 0.5,
            data: None,
            pooling: Some(vec![PoolingMode::Max]),
            input: HeadInput::Pooled,
            layer: HeadLayer::At(4),
            hidden: Some(64),
            activation: Activation::Tanh,
            dropout: 0.3,
            learning_rate: Some(2e-3),
            class_weights: Some(ClassWeights::Given(vec![
                ("x".to_owned(), 0.25),
                ("y".to_owned(), 2.0),
            ])),
            label_smoothing: 0.1,
            positive_weights: None,
            keep: Some(Keep::Distill),
            metric: Some("f1_macro".to_owned()),
        };
        assert_eq!(config.tasks[0], topic);
        let own = config.tasks[1].data.as_ref().unwrap();
        assert_eq!(own.train, [Path::new("/runs/own.jsonl")]);
        assert_eq!(own.text.as_deref(), Some("sentence"), "as the run has it");
        assert_eq!(own.tokens.as_deref(), Some("words"));
        assert_eq!(config.tasks[1].input, HeadInput::Embedding);
        assert_eq!(config.tasks[1].positive_weights, Some(ClassWeights::Balanced));
        assert_eq!(config.tasks[2].layer, HeadLayer::Mix);
        assert_eq!(config.train.betas, (0.8, 0.95));
        assert_eq!(config.checkpoint, CheckpointSettings { every: 0, keep: 5 });
        let phases = [
            FreezePhase {
                parameters: vec!["encoder".to_owned()],
                from: None,
                until: Some(Moment::Epoch(1)),
            },
            FreezePhase {
                parameters: vec!["embeddings".to_owned(), "layers.0-3".to_owned()],
                from: Some(Moment::Step(20)),
                until: Some(Moment::Epoch(2)),
            },
        ];
        assert_eq!(config.freeze, phases);
    }

    #[test]
    fn two_tasks_with_a_freeze_phase_read_as_documented() {
        let text = r#"
            seed = 7
            [encoder]
            model = "builtin"
            pooling = "cls"
            max_length = 128
            [data]
            train = "data/demo/train.jsonl"
            dev   = "data/demo/dev.jsonl"
            test  = "data/demo/test.jsonl"
            [[task]]
            name = "topic"
            kind = "classification"
            weight = 1.0
            [[task]]
            name = "sentiment"
            kind = "classification"
            [train]
            epochs = 3
            batch_size = 32
            learning_rate = 5e-5
            head_learning_rate = 1e-3
            layer_decay = 0.95
            schedule = "linear"
            warmup = 0.1
            weight_decay = 0.01
            clip_norm = 1.0
            max_steps = 0
            [checkpoint]
            every = 200
            keep = 2
            [[freeze]]
            parameters = ["embeddings", "layers.0-3"]
            until = "epoch 1"
        "#;
        let config = parse(text, &[]).unwrap();
        let names: Vec<&str> = config.tasks.iter().map(|task| task.name.as_str()).collect();
        assert_eq!(names, ["topic", "sentiment"]);
        assert_eq!(config.train.layer_decay, 0.95);
        assert_eq!(config.data.dev, [Path::new("/runs/data/demo/dev.jsonl")]);
        assert_eq!(config.freeze[0].parameters, ["embeddings", "layers.0-3"]);
        assert_eq!(config.freeze[0].until, Some(Moment::Epoch(1)));
    }

    #[test]
    fn set_applies_before_the_checks() {
        let set = ["train.epochs=0", "train.max_steps=5", "task.topic.weight=2", "seed=3"];
        let config = parse(SMALL, &set).unwrap();
        assert_eq!((config.train.epochs, config.train.max_steps), (0, 5));
        assert_eq!((config.tasks[0].weight, config.seed), (2.0, 3));
        let here = std::path::absolute("other.jsonl").unwrap();
        assert_eq!(parse(SMALL, &["data.train=other.jsonl"]).unwrap().data.train, [here]);
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
    fn what_cannot_be_is_named_with_its_line_and_key() {
        struct Case {
            /// After the small configuration, which has seven lines.
            more: &'static str,
            message: &'static str,
        }
        let cases = [
            Case {
                more: "[train]\nepoch = 3",
                message: "/runs/c.toml:9: `train.epoch`: no such key; the nearest is `epochs`",
            },
            Case {
                more: "weigth = 3",
                message: "/runs/c.toml:8: `task.topic.weigth`: no such key; the nearest is `weight`",
            },
            Case {
                more: "[trian]",
                message: "/runs/c.toml:8: `trian`: no such key; the nearest is `train`",
            },
            Case {
                more: "epochs = 3",
                message: "`task.topic.epochs`: no such key; it belongs to `[train]`; the nearest here",
            },
            Case {
                more: "[train]\nepochs = \"3\"",
                message: "c.toml:9: `train.epochs`: expected a whole number of at least 0, found \
                          the string \"3\"",
            },
            Case {
                more: "[train]\nepochs = 1.5",
                message: "expected a whole number of at least 0, found 1.5",
            },
            Case {
                more: "[train]\nepochs = 0",
                message: "`train.epochs`: expected at least 1, or `max_steps`, found 0",
            },
            Case { more: "[train]\nbatch_size = 0", message: "at least 1, found 0" },
            Case {
                more: "[train]\naccumulation = 33",
                message: "`train.accumulation`: expected a whole number from 1 to 32, found 33",
            },
            Case { more: "[train]\nepochs = -1", message: "found -1" },
            Case {
                more: "[train]\nmax_steps = 99999999999999999999",
                message: "found 99999999999999999999",
            },
            Case {
                more: "[train]\nwarmup = 1.1",
                message: "`train.warmup`: expected a number from 0 to 1, found 1.1",
            },
            Case { more: "[train]\nlearning_rate = nan", message: "at least 0, found nan" },
            Case { more: "[train]\nlearning_rate = 1e99", message: "at least 0, found 1e99" },
            Case {
                more: "[train]\nbetas = [0.9, 1.0]",
                message: "expected two values, each a number from 0 to below 1, found an array of 2",
            },
            Case { more: "[train]\nlayer_decay = 0", message: "above 0, up to 1, found 0" },
            Case {
                more: "[train]\nschedule = \"linaer\"",
                message: "expected \"constant\", \"linear\" or \"cosine\", found the string \"linaer\"",
            },
            Case {
                more: "[train]\nbest = \"accuracy\"",
                message: "expected \"mean\" or TASK.METRIC with a task of topic, found \"accuracy\"",
            },
            Case { more: "[train]\nbest = \"b.accuracy\"", message: "found \"b.accuracy\"" },
            Case {
                more: "[encoder]\npooling = \"avg\"",
                message: "`encoder.pooling`: expected \"cls\", \"max\"",
            },
            Case {
                more: "[encoder]\npooling = [\"cls\", \"cls\"]",
                message: "expected each once, found `cls` twice",
            },
            Case { more: "[encoder]\npooling = []", message: "found an empty array" },
            Case { more: "[encoder]\nrandom = 1", message: "expected true or false, found 1" },
            Case { more: "[encoder]\ndropout = 1.0", message: "from 0 to below 1, found 1.0" },
            Case {
                more: "[sampler]\nkind = \"temperature\"",
                message: "c.toml:8: `sampler.temperature`: missing",
            },
            Case {
                more: "[sampler]\nkind = \"temperature\"\ntemperature = 0",
                message: "expected a number above 0, found 0",
            },
            Case {
                more: "[sampler]\nkind = \"uniform\"\ntemperature = 2",
                message: "applies to `kind = \"temperature\"` alone",
            },
            Case { more: "[sampler]\nkind = \"random\"", message: "found \"random\"" },
            Case { more: "weight = -1", message: "a number of at least 0, found -1" },
            Case { more: "dropout = 1", message: "`task.topic.dropout`: expected a number from 0" },
            Case { more: "labels = [\"a\"]", message: "at least 2 for classification, found 1" },
            Case {
                more: "labels = \"a\"",
                message: "expected an array of strings, found the string",
            },
            Case { more: "labels = [\"a\", \"b\", \"a\"]", message: "found \"a\" twice" },
            Case { more: "labels = [\"a\", \"\"]", message: "found an empty one" },
            Case {
                more: "labels = [\"a\", \"b\"]\nclass_weights = { c = 1 }",
                message: "expected labels of the task, found \"c\"",
            },
            Case {
                more: "class_weights = \"even\"",
                message: "expected \"balanced\" or a table with a number of at least 0 for each label",
            },
            Case {
                more: "positive_weights = \"balanced\"",
                message: "`task.topic.positive_weights`: applies to multilabel, found a task of kind \
                          classification",
            },
            Case { more: "activation = \"relu\"", message: "found no `hidden`" },
            Case {
                more: "input = \"embedding\"\nlayer = 2",
                message: "the embedding is the encoder's",
            },
            Case { more: "layer = \"first\"", message: "expected \"last\", \"mix\" or the number" },
            Case { more: "layer = -1", message: "or the number of a layer (0: the embeddings)" },
            Case { more: "keep = \"replay\"", message: "expected \"distill\", found the string" },
            Case {
                more: "dev = \"d.jsonl\"",
                message: "`task.topic.dev`: applies to a task with files of its own, found no `train`",
            },
            Case {
                more: "train = \"d.jsonl\"\ntext = [\"a\", \"b\"]",
                message: "pairs of texts come later",
            },
            Case {
                more: "[[task]]\nname = \"topic\"\nkind = \"tokens\"",
                message: "expected names that differ, found `topic` twice",
            },
            Case {
                more: "[[task]]\nname = \"a b\"\nkind = \"tokens\"",
                message: "expected 1 to 64 letters, digits, _ and -, found \"a b\"",
            },
            Case { more: "[[task]]\nkind = \"tokens\"", message: "`task.2.name`: missing" },
            Case {
                more: "[[task]]\nname = \"a\"",
                message: "`task.a.kind`: missing; expected one of",
            },
            Case {
                more: "[[task]]\nname = \"a\"\nkind = \"pairs\"",
                message: "`task.a.kind`: pairs of texts come later",
            },
            Case {
                more: "[[task]]\nname = \"a\"\nkind = \"regression\"\nlabels = [\"a\", \"b\"]",
                message: "applies to classification, multilabel, tokens, found a task of kind \
                          regression",
            },
            Case {
                more: "[[task]]\nname = \"a\"\nkind = \"tokens\"\npooling = \"cls\"",
                message: "found a task of kind tokens",
            },
            Case {
                more: "[freeze]\nparameters = \"all\"",
                message: "expected tables `[[freeze]]`",
            },
            Case { more: "[[freeze]]", message: "`freeze.1.parameters`: expected groups such as" },
            Case {
                more: "[[freeze]]\nparameters = \"all\"\nuntil = \"epoch 0\"",
                message: "`freeze.1.until`: expected \"epoch N\" or \"step N\", counted from 1, found \
                          the string \"epoch 0\"",
            },
            Case { more: "[[freeze]]\nparameters = \"all\"\nuntil = 3", message: "found 3" },
            Case {
                more: "[[freeze]]\nparameters = \"all\"\nfrom = \"step 9\"\nuntil = \"step 8\"",
                message: "not before `from`",
            },
            Case { more: "[checkpoint]\nkeep = 0", message: "at least 1, found 0" },
        ];
        for case in cases {
            let text = format!("{SMALL}{}\n", case.more);
            let error = parse(&text, &[]).expect_err(case.more);
            assert_eq!(error.kind(), ErrorKind::Config, "{}", case.more);
            let message = error.to_string();
            assert!(message.contains(case.message), "{}: {message}", case.more);
            assert!(message.starts_with("/runs/c.toml:"), "{message}");
        }
    }

    #[test]
    fn tables_in_the_wrong_form_and_missing_ones_are_named() {
        for (text, message) in [
            ("", "`task`: expected at least one `[[task]]`, found none"),
            ("train = 3", "`train`: expected a table `[train]`, found 3"),
            (
                "sampler = \"uniform\"",
                "expected a table `[sampler]` with a `kind`, found the string",
            ),
            ("[task]\nname = \"a\"", "`task`: expected tables `[[task]]`, found a table"),
            ("task = [1]", "`task`: expected tables `[[task]]`, found 1"),
            ("[[task]]\nname = \"a\"\nkind = \"tokens\"", "in `[data]` or in the task `a`"),
            ("[data]\ntrain = \"\"", "expected a file, found an empty name"),
        ] {
            let error = parse(text, &[]).expect_err(text).to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    #[test]
    fn what_set_breaks_is_named_by_the_argument() {
        for (set, message) in [
            (
                "train.epoch=5",
                "--set train.epoch=5: `train.epoch`: no such key; the nearest is `epochs`",
            ),
            (
                "train.epochs=many",
                "--set train.epochs=many: `train.epochs`: expected a whole number",
            ),
            (
                "seed=007",
                "--set seed=007: `seed`: expected a whole number of at least 0, found the string \"007\"",
            ),
            ("task.tpic.weight=2", "--set task.tpic.weight=2: expected one of topic after `task.`"),
        ] {
            let error = parse(SMALL, &[set]).expect_err(set).to_string();
            assert!(error.starts_with(message), "{set}: {error}");
        }
    }
}
