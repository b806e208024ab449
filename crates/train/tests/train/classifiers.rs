//! Training that starts from classifiers of transformers.

use std::fs;
use std::path::{Path, PathBuf};

use polyhead_model::{HeadWeights, ModelFolder};
use polyhead_testing::Classifier;
use polyhead_train::{Ending, RunConfig, Trainer, evaluate};
use serde_json::{Value, json};

/// A row with the label that the golden's loss has for text `index`.
fn row(case: &str, labels: &[String], index: usize, text: &str) -> Value {
    match case {
        "tokens" => {
            let words: Vec<&str> = text.split(' ').collect();
            let tags: Vec<&String> =
                (0..words.len()).map(|word| &labels[(word + index) % labels.len()]).collect();
            json!({"tokens": words, "label": tags})
        }
        "many" => {
            let is_set = |(at, _): &(usize, &String)| (at + index) % 2 == 1;
            let set: Vec<&String> =
                labels.iter().enumerate().filter(is_set).map(|(_, label)| label).collect();
            json!({"text": text, "label": set})
        }
        "number" => json!({"text": text, "label": 0.5 * index as f64}),
        _ => json!({"text": text, "label": labels[index % labels.len()]}),
    }
}

/// A run of one step on the three texts of the golden, without dropout; its folder.
fn trained(place: &Path, name: &str, case: &str, task: &str) -> Result<PathBuf, String> {
    trained_with_dropout(place, name, case, &format!("dropout = 0\n{task}"))
}

/// [`trained`] with the head's dropout.
fn trained_with_dropout(
    place: &Path,
    name: &str,
    case: &str,
    task: &str,
) -> Result<PathBuf, String> {
    let config = config(place, name, case, task);
    let run = place.join("run");
    let _ = fs::remove_dir_all(&run);
    Trainer::new(config).train(&run, false).map_err(|error| error.to_string())?;
    Ok(run)
}

fn config(place: &Path, name: &str, case: &str, task: &str) -> RunConfig {
    let classifier = Classifier::read(name, case);
    let model = classifier.write(place);
    let head = &ModelFolder::open(&model).unwrap().heads[0].spec;
    let rows = classifier.texts().into_iter().enumerate();
    let rows: Vec<String> =
        rows.map(|(index, text)| row(case, &head.labels, index, text).to_string()).collect();
    fs::write(place.join("rows.jsonl"), rows.join("\n")).unwrap();
    let kind = head.kind;
    let text = format!(
        "[encoder]\nmodel = {model:?}\ndropout = 0\nattention_dropout = 0\n\
         [data]\ntrain = \"rows.jsonl\"\n\
         [train]\nrecipe = \"full\"\nbatch_size = 3\nmax_steps = 1\nlog_every = 1\nlearning_rate = 0.01\nwarmup = 0\n\
         [[task]]\nkind = \"{kind}\"\nfield = \"label\"\n{task}\n"
    );
    RunConfig::parse(&text, &place.join("config.toml"), &[]).unwrap()
}

fn first_line(run: &Path) -> Value {
    let lines = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    serde_json::from_str(lines.lines().next().unwrap()).unwrap()
}

#[test]
fn the_first_loss_is_that_of_pytorch() {
    let place = tempfile::tempdir().unwrap();
    for classifier in Classifier::all() {
        let (name, case) = (classifier.name, &classifier.case);
        let run = trained(place.path(), name, case, "name = \"label\"").unwrap();
        let expected = f64::from(classifier.get("loss")[0]);
        let found = first_line(&run)["loss"].as_f64().unwrap();
        // Means of single-precision losses of logits within 1e-5.
        assert!(
            (found - expected).abs() <= 1e-5 * expected.max(1.0),
            "{name} {case}: {found} {expected}"
        );
        let trained = ModelFolder::open(&run).unwrap();
        assert!(!trained.has_published_head(), "{name} {case}");
        let mut heads = trained.heads;
        // The rule of words is Polyhead's own.
        heads.iter_mut().for_each(|head| head.spec.words = Default::default());
        assert_eq!(as_published(&run), heads, "{name} {case}");
    }
}

/// The heads of a run's model as programs without `polyhead.json` read it.
fn as_published(run: &Path) -> Vec<HeadWeights> {
    let copy = run.with_file_name("copy");
    let _ = fs::remove_dir_all(&copy);
    polyhead_testing::copy_folder(&run.join("model"), &copy);
    fs::remove_file(copy.join("polyhead.json")).unwrap();
    let _ = fs::remove_file(copy.join("heads.safetensors"));
    let mut folder = ModelFolder::open(&copy).unwrap();
    for head in &mut folder.heads {
        // Keys of the task, which transformers does not have; a run on no dev data calibrates nothing.
        (head.spec.dropout, head.spec.label_format) = (0.0, Default::default());
    }
    folder.heads
}

#[test]
fn a_model_with_other_heads_names_the_class_of_its_encoder() {
    let place = tempfile::tempdir().unwrap();
    let two =
        "name = \"label\"\n[[task]]\nkind = \"classification\"\nname = \"more\"\nfield = \"label\"";
    for (case, task) in [("sequence", two), ("sequence", "name = \"mood\"")] {
        let run = trained(place.path(), "bert", case, task).unwrap();
        assert_eq!(as_published(&run), Vec::new(), "{task}");
        let config = fs::read_to_string(run.join("model/config.json")).unwrap();
        let config: Value = serde_json::from_str(&config).unwrap();
        assert_eq!(config["architectures"], json!(["BertModel"]), "{task}");
        assert!(
            ["id2label", "label2id", "problem_type"].iter().all(|key| config.get(key).is_none())
        );
    }
    // The class is kept by a run on a model that a run has written.
    let first = trained(place.path(), "distilbert", "sequence", "name = \"label\"").unwrap();
    let start = ModelFolder::open(&first).unwrap();
    assert_eq!(start.check_published_class(start.heads.iter().map(|head| &head.spec)), Ok(()));
    let error = start.check_published_class([]).unwrap_err();
    let message = "config.json of the trained model names DistilBertModel in place of \
                   DistilBertForSequenceClassification, whose head transformers would make of random \
                   numbers: the model has no head";
    assert_eq!(error, message);
}

#[test]
fn a_task_of_another_name_takes_the_head_by_from() {
    let place = tempfile::tempdir().unwrap();
    let run =
        trained(place.path(), "bert", "sequence", "name = \"mood\"\nfrom = \"label\"").unwrap();
    let expected = f64::from(Classifier::read("bert", "sequence").get("loss")[0]);
    let found = first_line(&run)["tasks"]["mood"]["loss"].as_f64().unwrap();
    assert!((found - expected).abs() <= 1e-5 * expected.max(1.0), "{found} {expected}");
    let model = ModelFolder::open(&run).unwrap();
    let names: Vec<&str> = model.heads.iter().map(|head| head.spec.name.as_str()).collect();
    assert_eq!(names, ["mood"]);
    assert_eq!(
        (model.heads[0].spec.hidden, model.heads[0].spec.activation.name()),
        (Some(40), "tanh")
    );

    let error = trained(place.path(), "bert", "sequence", "name = \"mood\"\nfrom = \"mod\"");
    let message = "task `mood`: from: expected a head of the starting model (label), found \"mod\"";
    assert_eq!(error.unwrap_err(), message);
}

/// The dropouts of `config.json`: `seq_classif_dropout`, `classifier_dropout`, and the defaults of the
/// classes.
#[test]
fn a_task_has_the_dropout_of_the_classifier_unless_it_has_its_own() {
    let place = tempfile::tempdir().unwrap();
    let own = "name = \"label\"";
    for (name, case, task, dropout) in [
        ("distilbert", "sequence", own, 0.2),
        ("bert", "number", own, 0.25),
        ("modernbert", "sequence", "name = \"mood\"\nfrom = \"label\"", 0.0),
        ("distilbert", "sequence", "name = \"label\"\ndropout = 0.1", 0.1),
        // A head of its own.
        ("distilbert", "sequence", "name = \"mood\"", 0.1),
    ] {
        let run = trained_with_dropout(place.path(), name, case, task).unwrap();
        assert_eq!(ModelFolder::open(&run).unwrap().heads[0].spec.dropout, dropout, "{name}");
        let config = RunConfig::from_file(&run.join("config.toml"), &[]).unwrap();
        assert_eq!(config.tasks[0].dropout.get(), dropout, "{name}, {task}");
    }
}

#[test]
fn a_run_is_resumed_with_the_dropout_of_the_classifier() {
    let place = tempfile::tempdir().unwrap();
    for recipe in ["full", "auto"] {
        let mut config = config(place.path(), "distilbert", "sequence", "name = \"label\"");
        config.train.recipe = serde_json::from_value(json!(recipe)).unwrap();
        config.train.max_steps = 4;
        let run = place.path().join(recipe);
        let mut trainer = Trainer::new(config.clone());
        trainer.stop_flag().store(true, std::sync::atomic::Ordering::Relaxed);
        let ending = trainer.train(&run, false).unwrap();
        assert!(matches!(ending, Ending::Stopped { .. }), "{recipe}: {ending:?}");
        let ending = Trainer::new(config).train(&run, true).unwrap();
        assert!(matches!(ending, Ending::Finished(_)), "{recipe}: {ending:?}");
        assert_eq!(ModelFolder::open(&run).unwrap().heads[0].spec.dropout, 0.2, "{recipe}");
    }
}

#[test]
fn a_head_that_no_task_takes_is_left_out() {
    let place = tempfile::tempdir().unwrap();
    let run = trained(place.path(), "bert", "sequence", "name = \"mood\"").unwrap();
    let model = ModelFolder::open(&run).unwrap();
    let names: Vec<&str> = model.heads.iter().map(|head| head.spec.name.as_str()).collect();
    assert_eq!(names, ["mood"]);
    assert_eq!(model.heads[0].spec.hidden, None);
}

#[test]
fn labels_that_the_head_does_not_have_are_named() {
    let place = tempfile::tempdir().unwrap();
    let other = "name = \"label\"\nlabels = [\"good\", \"bad\", \"so so\"]";
    let error = trained(place.path(), "bert", "sequence", other).unwrap_err();
    let message = "labels: expected those of the model it starts from (`good`, `bad`, `mixed`), found \
                   `good`, `bad`, `so so`";
    assert!(error.contains(message), "{error}");
}

#[test]
fn plain_tags_are_judged_word_by_word() {
    let place = tempfile::tempdir().unwrap();
    let classifier = Classifier::read("distilbert", "tokens");
    let model = classifier.write_changed(place.path(), |config, _| {
        let tags = ["$KEEP", "$DELETE", "$CASE", "$APPEND_,", "$REPLACE_a"];
        for (id, tag) in tags.iter().enumerate() {
            config["id2label"][id.to_string()] = json!(tag);
        }
    });
    let folder = ModelFolder::open(&model).unwrap();
    let rows: Vec<String> = classifier
        .texts()
        .into_iter()
        .enumerate()
        .map(|(index, text)| {
            let logits = classifier.get(&format!("logits.{index}"));
            let best = |row: &[f32]| (0..5).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
            let mut tags: Vec<&String> =
                logits.chunks(5).map(|row| &folder.heads[0].spec.labels[best(row)]).collect();
            // One word is answered wrongly.
            if index == 0 {
                let wrong = folder.heads[0].spec.labels.iter().find(|tag| *tag != tags[0]);
                tags[0] = wrong.unwrap();
            }
            json!({"tokens": text.split(' ').collect::<Vec<_>>(), "label": tags}).to_string()
        })
        .collect();
    let path = place.path().join("rows.jsonl");
    fs::write(&path, rows.join("\n")).unwrap();
    let options = polyhead_train::EvaluateOptions { files: vec![path], ..Default::default() };
    let threads = polyhead_compute::Threads::new(1).unwrap();
    let found = evaluate(&folder, &options, &threads).unwrap();
    let found = json!(found.tasks[0].1);
    let words: usize = classifier.texts().iter().map(|text| text.split(' ').count()).sum();
    let expected = (words - 1) as f64 / words as f64;
    for metric in ["accuracy", "f1", "precision", "recall"] {
        assert!((found[metric].as_f64().unwrap() - expected).abs() < 1e-9, "{metric}: {found}");
    }
}
