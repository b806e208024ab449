//! Training steps: the losses are PyTorch's, the bits do not depend on threads or parts, and
//! frozen parameters do not change.
mod missing;
mod same_bits;
mod teachers;

use crate::common;
use crate::common::{assert_close, bits, entry};
use polyhead_compute::Threads;
use polyhead_model::{Network, ParameterGroup, Pass, TaskKind};
use polyhead_testing::{Golden, largest};
use polyhead_train::ClassWeights;
use polyhead_train::{
    Answers, CacheCounts, Error, ErrorKind, EvalRequest, Learner, RunConfig, StateCache, StepBatch,
    StepOutcome,
};
use polyhead_train::{Split, TaskLabels};

/// Rates that change every trained number visibly in a step.
const TRAIN: &str = "[train]\nlearning_rate = 1e-3\nhead_learning_rate = 1e-2\n";

/// The seven rows of `train-bert` with the labels of its five tasks.
fn golden_split(golden: &Golden) -> Split {
    let mut sequences = common::sequences(golden, "");
    let mut first = 0;
    let positions = golden.get("tags.positions");
    let words = common::labels(golden, "", "tags", 1);
    let mut tags = Vec::new();
    for sequence in &mut sequences {
        let end = first + sequence.ids.len() as u32;
        let here: Vec<usize> = (0..positions.len())
            .filter(|word| (first..end).contains(&(positions[*word] as u32)))
            .collect();
        sequence.words = here.iter().map(|word| positions[*word] as u32 - first).collect();
        // A row has tags for all words or for none.
        let row: Option<Vec<u32>> =
            here.iter().map(|word| words[*word].as_ref().map(|tag| tag[0] as u32)).collect();
        assert_eq!(row.is_none(), here.iter().any(|word| words[*word].is_none()));
        tags.push(row.filter(|row| !row.is_empty()));
        first = end;
    }
    let classes = |task: &str| {
        let labels = common::labels(golden, "", task, 1).into_iter();
        TaskLabels::Classes(labels.map(|label| label.map(|label| label[0] as u32)).collect())
    };
    let set = |label: Vec<f32>| (0..4).filter(|i| label[*i as usize] > 0.5).collect();
    let mood =
        common::labels(golden, "", "mood", 4).into_iter().map(|label| label.map(set)).collect();
    let score = common::labels(golden, "", "score", 1).into_iter();
    let labels = vec![
        classes("topic"),
        TaskLabels::Sets(mood),
        TaskLabels::Tags(tags),
        TaskLabels::Numbers(score.map(|label| label.map(|label| label[0])).collect()),
        classes("mixed"),
    ];
    common::split(&sequences, labels)
}

/// The network of the golden file with the losses of its tasks, and the data.
fn golden_learner(golden: &Golden, threads: &Threads) -> (Learner, RunConfig, Split) {
    let config = common::config(&(common::golden_tasks(golden) + TRAIN));
    let split = golden_split(golden);
    let heads: Vec<_> =
        config.tasks.iter().map(|task| common::head(golden, "", common::spec(task))).collect();
    let network = common::network("tiny-bert", &heads, 0.0, threads);
    let all = vec![true; network.store().entries().len()];
    let objectives = common::objectives(&config, &split);
    (common::learner(network, &config, objectives, &all), config, split)
}

/// Logits of all rows, as evaluation gives them.
fn answers(network: &Network, threads: &Threads, split: &Split, depth_of: &Learner) -> Answers {
    evaluate(network, threads, split, depth_of, false)
}

fn evaluate(
    network: &Network,
    threads: &Threads,
    split: &Split,
    depth_of: &Learner,
    vectors: bool,
) -> Answers {
    let active = vec![true; network.head_count()];
    let questions = EvalRequest {
        active: &active,
        vectors,
        prompt_tokens: 0,
        depth: depth_of.depth(),
        encoder: None,
    };
    Answers::of(network, threads, split, &questions, None, &mut Pass::default()).unwrap()
}

fn step(
    learner: &mut Learner,
    config: &RunConfig,
    threads: &Threads,
    number: u64,
    batch: &StepBatch,
) -> Result<StepOutcome, Error> {
    let rates = common::rates(config, &learner.network);
    learner.step(threads, number, batch, &rates, 1.0, None)
}

#[test]
fn five_losses_and_their_gradient_are_those_of_pytorch() {
    let golden = Golden::read("train-bert");
    let threads = Threads::new(2).unwrap();
    let (mut learner, config, split) = golden_learner(&golden, &threads);

    let specs: Vec<_> = config.tasks.iter().map(common::spec).collect();
    let judged = answers(&learner.network, &threads, &split, &learner).score(
        &split,
        &specs,
        &learner.objectives,
    );

    let rows: Vec<u32> = (0..7).collect();
    let tasks = [0, 1, 2, 3, 4];
    let batch =
        StepBatch { split: &split, rows: &rows, tasks: &tasks, teachers: &[], accumulation: 3 };
    let outcome = step(&mut learner, &config, &threads, 1, &batch).unwrap();

    // PyTorch's single precision is off by up to 6e-7 from its double, of losses of 1 to 3.
    for ((task, found), judged) in config.tasks.iter().zip(&outcome.tasks).zip(judged) {
        let expected = golden.get(&format!("loss.{}", task.name));
        assert_close(&task.name, &[found.loss.unwrap() as f32], expected, 1e-6);
        let judged = judged.unwrap().get("loss").unwrap() as f32;
        assert_close(&format!("{}, evaluated", task.name), &[judged], expected, 1e-6);
    }
    assert_close("total", &[outcome.loss as f32], golden.get("loss.total"), 1e-6);
    assert_eq!((outcome.texts, outcome.tokens), (7, 40));

    let squares = golden.names("grad.").into_iter().flat_map(|name| {
        golden.get(&format!("grad.{name}")).iter().map(|x| f64::from(*x) * f64::from(*x))
    });
    let norm = squares.sum::<f64>().sqrt() as f32;
    assert_close("gradient norm", &[outcome.gradient_norm as f32], &[norm], 1e-6);
    for (index, entry) in learner.network.store().entries().iter().enumerate() {
        let found = learner.gradients().get(index).unwrap();
        let expected = golden.get(&format!("grad.{}", entry.name));
        // As in the model's own test: relative to the tensor's largest, or to 1.
        let tolerance = 5e-6 * largest(expected).max(1.0);
        polyhead_testing::assert_close(&entry.name, found, expected, tolerance);
    }
}

/// A network with the tasks of [`common::RANDOM_TASKS`], all trained.
pub(crate) fn random_learner(threads: &Threads, dropout: f32) -> (Learner, RunConfig, Split) {
    let mut config = common::config(&format!("{}{TRAIN}", common::RANDOM_TASKS));
    let of_heads = dropout.try_into().unwrap();
    config.tasks.iter_mut().for_each(|task| task.dropout = of_heads);
    let split = common::random_split(24);
    let network = common::network_of(&config, "tiny-bert", dropout, threads);
    let all = vec![true; network.store().entries().len()];
    let objectives = common::objectives(&config, &split);
    (common::learner(network, &config, objectives, &all), config, split)
}
