//! Heads that read the vectors of both texts of a pair: gradients are PyTorch's
//! (`reference/make_separate_goldens.py`), bits do not depend on how a step is cut, and a trained model
//! answers as it was evaluated.
use std::fs;
use std::path::Path;

use crate::common;
use crate::common::{assert_close, bits};
use polyhead_compute::Threads;
use polyhead_model::{
    CrossEncoder, HeadLayer, HeadWeights, ModelFolder, MultiTaskModel, PairForm, ParameterGroup,
    RequestOptions,
};
use polyhead_testing::{Golden, largest, tiny_model};
use polyhead_text::TextInput;
use polyhead_train::{
    Ending, EvaluateOptions, Learner, RunConfig, Split, StateCache, StepBatch, StepOutcome,
    TaskLabels, Trainer, evaluate,
};
use serde_json::{Value, json};

const TRAIN: &str = "[train]\nlearning_rate = 1e-3\nhead_learning_rate = 1e-2\n";

/// The five pairs of the golden file with the labels of its four tasks.
fn golden_split(golden: &Golden) -> Split {
    let sequences = common::sequences(golden, "");
    let of = |task: &str, width| common::labels(golden, "", task, width).into_iter();
    let classes = |task| {
        TaskLabels::Classes(of(task, 1).map(|label| label.map(|label| label[0] as u32)).collect())
    };
    let set = |label: Vec<f32>| (0..4).filter(|i| label[*i as usize] > 0.5).collect();
    let labels = vec![
        classes("topic"),
        TaskLabels::Sets(of("mood", 4).map(|label| label.map(set)).collect()),
        TaskLabels::Numbers(of("score", 1).map(|label| label.map(|label| label[0])).collect()),
        classes("vector"),
    ];
    let mut split = common::split(&sequences, labels);
    split.first_sequences = golden.get("first").iter().map(|at| *at as usize).collect();
    split.inputs.truncate(5);
    split.places.truncate(5);
    split
}

fn golden_learner(golden: &Golden, dropout: f32, threads: &Threads) -> (Learner, RunConfig, Split) {
    let mut config = common::config(&(common::golden_tasks(golden) + TRAIN));
    let of_heads = dropout.try_into().unwrap();
    config.tasks.iter_mut().for_each(|task| task.dropout = of_heads);
    if dropout > 0.0 {
        // The gradient of a mix is a sum over parts, rounded in other places.
        config.tasks[2].layer = HeadLayer::At(1);
    }
    let split = golden_split(golden);
    let model = golden.json["model"].as_str().unwrap();
    let heads: Vec<HeadWeights> =
        config.tasks.iter().map(|task| common::head(golden, "", common::spec(task))).collect();
    let network = common::network(model, &heads, dropout, threads);
    let all = vec![true; network.store().entries().len()];
    let objectives = common::objectives(&config, &split);
    (common::learner(network, &config, objectives, &all), config, split)
}

#[test]
fn losses_and_gradients_are_those_of_pytorch() {
    let golden = Golden::read("train-separate");
    let threads = Threads::new(2).unwrap();
    for accumulation in [1, 3] {
        let (mut learner, config, split) = golden_learner(&golden, 0.0, &threads);
        let (rows, tasks) = ([0, 1, 2, 3, 4], [0, 1, 2, 3]);
        let batch =
            StepBatch { split: &split, rows: &rows, tasks: &tasks, teachers: &[], accumulation };
        let rates = common::rates(&config, &learner.network);
        let outcome = learner.step(&threads, 1, &batch, &rates, 1.0, None).unwrap();
        // PyTorch's single precision is off by up to 5e-7 from its double, of losses of 1 to 3.
        for (task, found) in config.tasks.iter().zip(&outcome.tasks) {
            let expected = golden.get(&format!("loss.{}", task.name));
            assert_close(&task.name, &[found.loss.unwrap() as f32], expected, 1e-6);
        }
        assert_close("total", &[outcome.loss as f32], golden.get("loss.total"), 1e-6);
        let entries = learner.network.store().entries();
        for (index, entry) in entries.iter().enumerate() {
            let found = learner.gradients().get(index).unwrap();
            let expected = golden.get(&format!("grad.{}", entry.name));
            // As for heads of single texts: relative to the tensor's largest, or to 1. Where both
            // vectors are equal, an error of the sign would be as large as the gradient itself.
            let tolerance = 5e-6 * largest(expected).max(1.0);
            polyhead_testing::assert_close(&entry.name, found, expected, tolerance);
        }
        assert_eq!(entries.len(), golden.names("grad.").len(), "parameters in the golden file");
    }
}

/// Parameters after six steps of the pairs of the golden file, some of them twice in a step.
fn six_steps(
    threads: usize,
    accumulation: usize,
    cache: Option<u64>,
    trains: fn(ParameterGroup) -> bool,
) -> (Vec<u32>, Vec<StepOutcome>) {
    let golden = Golden::read("train-separate");
    let threads = Threads::new(threads).unwrap();
    let (mut learner, config, split) = golden_learner(&golden, 0.1, &threads);
    let trainable: Vec<bool> =
        learner.network.store().entries().iter().map(|entry| trains(entry.group)).collect();
    learner.set_trainable(&threads, &trainable);
    let width = learner.network.config().hidden_size;
    let mut cache = cache.map(|bytes| {
        StateCache::new(learner.depth().cached.clone(), width, split.tokens.len(), bytes)
    });
    let rates = common::rates(&config, &learner.network);
    let mut outcomes = Vec::new();
    for step in 1..=6 {
        let rows: Vec<u32> = (0..7).map(|k| (step as u32 * 3 + k * 2) % 5).collect();
        let tasks = [0, 1, 2, 3];
        let batch =
            StepBatch { split: &split, rows: &rows, tasks: &tasks, teachers: &[], accumulation };
        let outcome = learner.step(&threads, step, &batch, &rates, 1.0, cache.as_mut()).unwrap();
        outcomes.push(outcome);
    }
    if let Some(cache) = &cache {
        assert!(cache.counts().tokens_saved > 0);
    }
    (bits(learner.network.store().values()), outcomes)
}

#[test]
fn threads_parts_and_kept_states_do_not_change_bits() {
    let upper: fn(ParameterGroup) -> bool =
        |group| !matches!(group, ParameterGroup::Embeddings | ParameterGroup::Layer(0));
    for trains in [|_| true, upper] {
        let (plain, first) = six_steps(1, 1, None, trains);
        for (threads, accumulation, cache) in
            [(2, 1, None), (1, 2, None), (3, 7, None), (2, 3, Some(u64::MAX)), (2, 3, Some(4000))]
        {
            if cache.is_some() && trains(ParameterGroup::Embeddings) {
                continue;
            }
            let what = format!("{threads} threads, {accumulation} parts, {cache:?}");
            let (other, outcomes) = six_steps(threads, accumulation, cache, trains);
            assert!(plain == other, "{what}");
            for (one, other) in first.iter().zip(&outcomes) {
                assert_eq!(one.gradient_norm.to_bits(), other.gradient_norm.to_bits(), "{what}");
            }
        }
    }
}

/// Texts of the vocabulary of `tiny-bert`.
const WORDS: [&str; 4] = ["the train", "leaves", "the old road", "a train"];

/// All pairs of [`WORDS`], with labels of three kinds.
fn rows() -> Vec<Value> {
    let pairs = WORDS.iter().flat_map(|first| WORDS.map(|second| (*first, second)));
    let row = |(first, second): (&str, &str)| {
        let common = first.split(' ').filter(|word| second.contains(word)).count();
        json!({"a": first, "b": second, "same": if first == second { "yes" } else { "no" },
               "near": common as f64, "parts": if common > 0 { vec!["some"] } else { vec![] },
               "joined": if first < second { "up" } else { "down" }})
    };
    pairs.map(row).collect()
}

const TASKS: &str = r#"
    [[task]]
    name = "same"
    kind = "classification"
    pair = "separate"
    hidden = 8

    [[task]]
    name = "near"
    kind = "regression"
    pair = "separate"
    pair_product = true
    input = "embedding"

    [[task]]
    name = "parts"
    kind = "multilabel"
    labels = ["none", "some"]
    pair = "separate"
    pooling = "cls"

    [[task]]
    name = "joined"
    kind = "classification"
    pair = "joint"
    "#;

fn config_of(model: &Path, tasks: &str, file: &Path) -> RunConfig {
    let mut config = common::config(tasks);
    config.encoder.model = model.display().to_string();
    config.data.train = vec![file.to_owned()];
    config.data.dev = vec![file.to_owned()];
    config.data.text = vec!["a".to_owned(), "b".to_owned()];
    config.train.epochs = 3.try_into().unwrap();
    config
}

fn write_rows(file: &Path, rows: &[Value]) {
    fs::write(file, rows.iter().map(|row| format!("{row}\n")).collect::<String>()).unwrap();
}

#[test]
fn a_trained_model_answers_as_it_was_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.jsonl");
    write_rows(&file, &rows());
    for name in ["tiny-bert", "st6-dense"] {
        let config = config_of(&tiny_model(name), TASKS, &file);
        let run = folder.path().join(name);
        let ending = Trainer::new(config.clone()).threads(2).train(&run, false).unwrap();
        assert!(matches!(ending, Ending::Finished(_)), "{ending:?}");
        let trained = ModelFolder::open(&run.join("model")).unwrap();
        let width = trained.head_dims();
        let inputs: Vec<usize> =
            trained.heads.iter().map(|head| head.spec.inputs(&width)).collect();
        assert_eq!(inputs, [3 * 40, 4 * width.embedding, 3 * 40, 40], "{name}");
        assert_eq!(trained.heads[1].spec.pair, Some(PairForm::Separate { product: true }));

        let options = EvaluateOptions { files: vec![file.clone()], ..EvaluateOptions::default() };
        let found = evaluate(&trained, &options, &Threads::new(2).unwrap()).unwrap();
        let names: Vec<&str> = found.tasks.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["same", "near", "parts", "joined"], "{name}");
        let loss = |task: usize| found.tasks[task].1.get("loss");

        let model = MultiTaskModel::load(run.join("model").to_str().unwrap()).unwrap();
        let all = rows();
        let text = |row: &Value, field: &str| row[field].as_str().unwrap().to_owned();
        let pairs: Vec<TextInput> =
            all.iter().map(|row| TextInput::Pair(text(row, "a"), text(row, "b"))).collect();
        let answers = model.predict_inputs(&pairs, &RequestOptions::default()).unwrap();
        let (mut losses, mut squares) = ([0.0; 2], 0.0);
        for (row, answer) in all.iter().zip(&answers.texts) {
            for (sum, task) in losses.iter_mut().zip([0, 3]) {
                let (spec, label) = (&answers.tasks[task], &row[&answers.tasks[task].name]);
                let index = spec.labels.iter().position(|known| label == known).unwrap();
                *sum -= f64::from(answer.tasks[task].probabilities.row(0)[index]).ln();
            }
            let number = answers.tasks[1].number(answer.tasks[1].logits.as_slice()[0]);
            squares += (f64::from(number) - row["near"].as_f64().unwrap()).powi(2);
        }
        let count = all.len() as f64;
        // Probabilities are f32, the losses of `evaluate` are sums in f64. The temperatures were
        // chosen on the same rows.
        for (sum, task) in losses.into_iter().zip([0, 3]) {
            let expected = loss(task).unwrap();
            let temperature = answers.tasks[task].temperature;
            let compared = temperature == 1.0;
            assert!(!compared || (sum / count - expected).abs() < 1e-5, "{name} {task}");
        }
        let expected = loss(1).unwrap();
        assert!((squares / count - expected).abs() < 1e-5 * expected.max(1.0), "{name}");

        // A score of both texts is one to rank by.
        let near = CrossEncoder::new(model, Some("near")).unwrap();
        let ranked = near.rank("the train", &WORDS).unwrap();
        for passage in &ranked {
            let row = answers.texts[passage.index].tasks[1].logits.as_slice()[0];
            assert_eq!(passage.score, answers.tasks[1].number(row), "{name}");
        }

        // A run that begins with these heads reads their pairs in the same way.
        let again = TASKS.replace("pair = \"separate\"", "").replace("pair_product = true", "");
        let again = config_of(&run.join("model"), &again, &file);
        let next = folder.path().join(format!("{name}-next"));
        Trainer::new(again).train(&next, false).unwrap();
        let next = ModelFolder::open(&next.join("model")).unwrap();
        let forms = |folder: &ModelFolder| -> Vec<_> {
            folder.heads.iter().map(|head| head.spec.pair).collect()
        };
        assert_eq!(forms(&next), forms(&trained), "{name}");
        let other =
            TASKS.replace("pair = \"separate\"\n    hidden", "pair = \"joint\"\n    hidden");
        let other = config_of(&run.join("model"), &other, &file);
        let error = Trainer::new(other).train(&folder.path().join("x"), false).unwrap_err();
        let expected = "task `same`: pair: expected that of the head of this name in the starting \
                        model, separate vectors of two texts, found one sequence";
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}

#[test]
fn rows_without_two_texts_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.jsonl");
    let separate = TASKS.split("[[task]]").nth(1).unwrap();
    let separate = format!("[[task]]{separate}");
    let joint = separate.replace("separate", "joint");
    let why = |reading: &str| format!(", as task `same` has `pair = \"{reading}\"`");
    for (tasks, reading) in [(&separate, "separate"), (&joint, "joint")] {
        for (bad, field, expected) in [
            (json!({"a": "x", "same": "no"}), "", "no field `b`".to_owned()),
            (
                json!({"a": "x", "b": " ", "same": "no"}),
                "field `b`: ",
                format!("expected two texts{}, found an empty one", why(reading)),
            ),
        ] {
            let mut all = rows();
            all[6] = bad;
            write_rows(&file, &all);
            let config = config_of(&tiny_model("tiny-bert"), tasks, &file);
            let error = Trainer::new(config).train(&folder.path().join("run"), false).unwrap_err();
            let expected = format!("{}: line 7: {field}{expected}", file.display());
            assert!(error.to_string().contains(&expected), "{error}\n{expected}");
        }
        let mut all = rows();
        all.iter_mut().for_each(|row| row["a"] = json!(["one", "two"]));
        all[3]["a"] = json!("one");
        write_rows(&file, &all);
        let mut config = config_of(&tiny_model("tiny-bert"), tasks, &file);
        config.data.text = vec!["a".to_owned()];
        let error = Trainer::new(config).train(&folder.path().join("run"), false).unwrap_err();
        let expected = format!("expected a pair of texts{}, found one text", why(reading));
        let expected = format!("{}: line 4: field `a`: {expected}", file.display());
        assert!(error.to_string().contains(&expected), "{error}\n{expected}");
    }
    let mut all = rows();
    all.iter_mut().for_each(|row| row["c"] = json!("third"));
    write_rows(&file, &all);
    let mut config = config_of(&tiny_model("tiny-bert"), &separate, &file);
    config.data.text.push("c".to_owned());
    let error = Trainer::new(config).train(&folder.path().join("run"), false).unwrap_err();
    let expected = format!("line 1: field `a`: expected two texts{}, found 3", why("separate"));
    assert!(error.to_string().contains(&expected), "{error}");
}
