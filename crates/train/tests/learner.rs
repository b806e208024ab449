//! Training steps: the losses are PyTorch's, the bits do not depend on threads or parts, and
//! frozen parameters do not change.
#![allow(clippy::unwrap_used)] // Helpers of tests are outside of `#[test]` functions.

mod common;

use common::{assert_close, bits, entry};
use polyhead_compute::Threads;
use polyhead_model::{Network, ParameterGroup, Pass, TaskKind};
use polyhead_testing::{Golden, largest};
use polyhead_train::ClassWeights;
use polyhead_train::{
    Answers, CacheCounts, CrossEntropy, Error, ErrorKind, EvalRequest, Learner, LossInput,
    Objective, RunConfig, StateCache, StepBatch, StepOutcome, cross_entropy,
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

/// How the work of a run is done, none of which may show.
#[derive(Clone, Copy, Debug)]
struct Way {
    threads: usize,
    accumulation: usize,
    /// Bytes of memory for hidden states; absent: they are computed in each step.
    cache: Option<u64>,
}

const PLAIN: Way = Way { threads: 1, accumulation: 1, cache: None };

/// What five steps leave.
#[derive(Debug, PartialEq)]
struct Trace {
    hash: String,
    /// Loss of each task and step.
    losses: Vec<Option<f64>>,
    norms: Vec<f64>,
}

/// Five steps of 80 of 96 rows, more tokens than one part has, with dropout 0.1 everywhere, of the tasks of
/// [`common::RANDOM_TASKS`] and `more`.
fn five_steps(
    way: Way,
    more: &str,
    trains: &dyn Fn(ParameterGroup) -> bool,
) -> (Trace, CacheCounts) {
    five_steps_of("tiny-bert", way, more, trains)
}

/// - `model`: a tiny model, or the path of one
fn five_steps_of(
    model: &str,
    way: Way,
    more: &str,
    trains: &dyn Fn(ParameterGroup) -> bool,
) -> (Trace, CacheCounts) {
    let config = common::config(&format!("{}{more}{TRAIN}", common::RANDOM_TASKS));
    let mut split = common::random_split(96);
    if !more.is_empty() {
        split.labels.push(split.labels[0].clone());
    }
    let threads = Threads::new(way.threads).unwrap();
    let network = common::network_of(&config, model, 0.1, &threads);
    let width = network.config().hidden_size;
    let trainable: Vec<bool> =
        network.store().entries().iter().map(|entry| trains(entry.group)).collect();
    let objectives = common::objectives(&config, &split);
    let rates = common::rates(&config, &network);
    let mut learner = common::learner(network, &config, objectives, &trainable);
    learner.set_trainable(&threads, &trainable);
    let mut cache = way
        .cache
        .map(|budget| StateCache::new(learner.depth().cached.clone(), width, split.len(), budget));
    let tasks: Vec<usize> = (0..config.tasks.len()).collect();
    let mut trace = Trace { hash: String::new(), losses: Vec::new(), norms: Vec::new() };
    for number in 1..=5 {
        let rows: Vec<u32> = (0..80).map(|k| (number as u32 * 37 + k * 5) % 96).collect();
        let batch = StepBatch {
            split: &split,
            rows: &rows,
            tasks: &tasks,
            teachers: &[],
            accumulation: way.accumulation,
        };
        let outcome = learner.step(&threads, number, &batch, &rates, 1.0, cache.as_mut()).unwrap();
        trace.losses.extend(outcome.tasks.iter().map(|task| task.loss));
        trace.norms.push(outcome.gradient_norm);
    }
    trace.hash = common::hash(learner.network.store());
    (trace, cache.map(|cache| cache.counts()).unwrap_or_default())
}

/// Fails unless parameters and gradient norms are equal to the bit, and losses too where steps are
/// cut alike: their sums over rows are taken part by part, in double precision.
#[track_caller]
fn assert_same(one: &Trace, other: &Trace, same_parts: bool, what: &str) {
    assert_eq!(one.hash, other.hash, "{what}");
    assert_eq!(one.norms, other.norms, "{what}");
    if same_parts {
        assert_eq!(one.losses, other.losses, "{what}");
    }
    for (one, other) in one.losses.iter().zip(&other.losses) {
        let (one, other) = (one.unwrap(), other.unwrap());
        assert!((one - other).abs() <= 1e-14 * one.abs(), "{what}: loss {one} and {other}");
    }
}

#[test]
fn threads_and_parts_do_not_change_bits() {
    let all = |_| true;
    let (plain, _) = five_steps(PLAIN, "", &all);
    for threads in [1, 2, 3] {
        for accumulation in [1, 2, 5] {
            let way = Way { threads, accumulation, ..PLAIN };
            let (other, _) = five_steps(way, "", &all);
            assert_same(&plain, &other, accumulation == 1, &format!("{way:?}"));
        }
    }
}

/// Everything but the embeddings and the lower of two layers.
fn upper_half(group: ParameterGroup) -> bool {
    !matches!(group, ParameterGroup::Embeddings | ParameterGroup::Layer(0))
}

#[test]
fn kept_hidden_states_do_not_change_bits() {
    let (plain, none) = five_steps(PLAIN, "", &upper_half);
    assert_eq!(none, CacheCounts::default());
    for threads in [1, 2, 3] {
        for accumulation in [1, 2, 5] {
            for cache in [None, Some(u64::MAX), Some(4000), Some(0)] {
                let way = Way { threads, accumulation, cache };
                let (other, counts) = five_steps(way, "", &upper_half);
                assert_same(&plain, &other, accumulation == 1, &format!("{way:?}"));
                let Some(budget) = cache else { continue };
                assert!(counts.tokens_saved > 0, "{way:?}: {counts:?}");
                assert!(counts.memory <= budget, "{way:?}: {counts:?}");
                assert_eq!(counts.memory > 0, budget > 0, "{way:?}: {counts:?}");
                assert_eq!(counts.file > 0, budget < u64::MAX, "{way:?}: {counts:?}");
            }
        }
    }
}

/// Weights that AMX sums in blocks of rows, wherever a step is cut.
#[test]
fn layers_as_wide_as_tiles_have_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    common::wide_model(folder.path());
    let model = folder.path().to_str().unwrap();
    let steps =
        |way, trains: &dyn Fn(ParameterGroup) -> bool| five_steps_of(model, way, "", trains);
    let (all, _) = steps(PLAIN, &|_| true);
    let (upper, _) = steps(PLAIN, &upper_half);
    for threads in [1, 2, 3] {
        for accumulation in [1, 2, 5] {
            let way = Way { threads, accumulation, ..PLAIN };
            let same_parts = accumulation == 1;
            assert_same(&all, &steps(way, &|_| true).0, same_parts, &format!("{way:?}"));
            for cache in [None, Some(u64::MAX), Some(4000)] {
                let way = Way { cache, ..way };
                let (other, counts) = steps(way, &upper_half);
                assert_same(&upper, &other, same_parts, &format!("{way:?}"));
                assert_eq!(counts.tokens_saved > 0, cache.is_some(), "{way:?}");
            }
        }
    }
}

#[test]
fn a_mix_of_layers_reads_several_kept_states() {
    let more = "[[task]]\nname = \"mixed\"\nkind = \"classification\"\n\
                labels = [\"a\", \"b\", \"c\"]\nlayer = \"mix\"\n";
    let (plain, _) = five_steps(PLAIN, more, &upper_half);
    for cache in [None, Some(u64::MAX), Some(4000)] {
        let way = Way { threads: 2, cache, ..PLAIN };
        let (other, counts) = five_steps(way, more, &upper_half);
        assert_same(&plain, &other, true, &format!("{way:?}"));
        assert_eq!(counts.tokens_saved > 0, cache.is_some(), "{way:?}");
    }
    // The weights of the mix have a gradient that is summed part by part.
    let (parts, _) = five_steps(Way { accumulation: 5, ..PLAIN }, more, &upper_half);
    for (one, other) in plain.norms.iter().zip(&parts.norms) {
        assert!((one - other).abs() < 1e-5 * one, "gradient norm {one} and {other}");
    }
}

#[test]
fn evaluation_with_kept_states_gives_the_same_bits() {
    let threads = Threads::new(2).unwrap();
    let (mut learner, _, split) = random_learner(&threads, 0.1);
    let entries = learner.network.store().entries().to_vec();
    let policies: [&dyn Fn(ParameterGroup) -> bool; 2] =
        [&upper_half, &|group| matches!(group, ParameterGroup::Head(_))];
    for trains in policies {
        let trainable: Vec<bool> = entries.iter().map(|entry| trains(entry.group)).collect();
        learner.set_trainable(&threads, &trainable);
        let depth = learner.depth().clone();
        let mut cache = StateCache::new(depth.cached.clone(), 40, split.len(), 4000);
        let mut pass = Pass::default();
        for vectors in [true, false] {
            let questions = EvalRequest {
                active: &[true; 4],
                vectors,
                prompt_tokens: 0,
                depth: &depth,
                encoder: None,
            };
            let mut ask = |cache: Option<&mut StateCache>| {
                let network = &learner.network;
                let answers =
                    Answers::of(network, &threads, &split, &questions, cache, &mut pass).unwrap();
                let logits: Vec<Vec<u32>> = answers.logits.iter().map(|x| bits(x)).collect();
                (logits, bits(&answers.vectors))
            };
            let plain = ask(None);
            assert_eq!(plain.1.is_empty(), !vectors);
            assert!(ask(Some(&mut cache)) == plain, "computed and kept");
            assert!(ask(Some(&mut cache)) == plain, "kept");
        }
        assert_eq!(cache.counts().tokens_saved, 3 * split.tokens.tokens() as u64);
    }
}

#[test]
fn with_everything_below_the_heads_kept_no_layer_runs() {
    let heads = |group| matches!(group, ParameterGroup::Head(_));
    let (plain, _) = five_steps(PLAIN, "", &heads);
    let way = Way { threads: 2, cache: Some(u64::MAX), ..PLAIN };
    let (other, counts) = five_steps(way, "", &heads);
    assert_same(&plain, &other, true, "heads alone");
    // Layer 1, which `score` reads, and the last.
    assert_eq!(counts.memory % (2 * 40 * 4), 0);
}

/// A network with the tasks of [`common::RANDOM_TASKS`], all trained.
fn random_learner(threads: &Threads, dropout: f32) -> (Learner, RunConfig, Split) {
    let mut config = common::config(&format!("{}{TRAIN}", common::RANDOM_TASKS));
    let of_heads = dropout.try_into().unwrap();
    config.tasks.iter_mut().for_each(|task| task.dropout = of_heads);
    let split = common::random_split(24);
    let network = common::network_of(&config, "tiny-bert", dropout, threads);
    let all = vec![true; network.store().entries().len()];
    let objectives = common::objectives(&config, &split);
    (common::learner(network, &config, objectives, &all), config, split)
}

#[test]
fn a_head_without_a_labelled_row_is_left_alone() {
    let threads = Threads::new(2).unwrap();
    let (mut learner, config, split) = random_learner(&threads, 0.1);
    let all: Vec<u32> = (0..24).collect();
    let batch = StepBatch {
        split: &split,
        rows: &all,
        tasks: &[0, 1, 2, 3],
        teachers: &[],
        accumulation: 2,
    };
    step(&mut learner, &config, &threads, 1, &batch).unwrap();

    for task in 0..4 {
        let without: Vec<u32> = (0..24u32)
            .filter(|row| match &split.labels[task] {
                // A row with tags for no word at all has none.
                TaskLabels::Tags(rows) => rows[*row as usize].as_ref().is_none_or(Vec::is_empty),
                labels => !labels.is_labelled(*row as usize),
            })
            .collect();
        assert!(without.len() > 3, "rows without a label of task {task}");
        let state = |learner: &Learner, index: usize| {
            let moments = learner.optimizer.moments(index).unwrap();
            let numbers = [learner.network.store().get(index), moments.first, moments.second];
            (moments.count, numbers.map(bits))
        };
        let entries = learner.network.store().entries().to_vec();
        let before: Vec<_> = (0..entries.len()).map(|i| state(&learner, i)).collect();
        let batch = StepBatch { rows: &without, ..batch };
        let outcome = step(&mut learner, &config, &threads, 2, &batch).unwrap();
        assert_eq!(outcome.tasks[task].loss, None);
        for (index, (entry, before)) in entries.iter().zip(&before).enumerate() {
            let untouched = entry.group == ParameterGroup::Head(task);
            assert_eq!(state(&learner, index) == *before, untouched, "{}", entry.name);
        }
    }

    // The rows are not for this task at all.
    let topic = entry(learner.network.store(), "heads.topic.weight");
    let before = bits(learner.network.store().get(topic));
    let batch = StepBatch { tasks: &[1, 2, 3], ..batch };
    let outcome = step(&mut learner, &config, &threads, 3, &batch).unwrap();
    assert_eq!(outcome.tasks[0].loss, None);
    assert_eq!(bits(learner.network.store().get(topic)), before);
}

#[test]
fn a_task_without_a_head_learns_from_sentence_vectors() {
    let threads = Threads::new(2).unwrap();
    let (with_heads, config, mut split) = random_learner(&threads, 0.0);
    let expected = evaluate(&with_heads.network, &threads, &split, &with_heads, true);
    let width = with_heads.network.head_dims().embedding;

    // The numbers of a vector are taken for logits, in front of the four tasks with heads.
    let labels: Vec<Option<u32>> = (0..24).map(|row| Some(row % 3)).collect();
    split.labels.insert(0, TaskLabels::Classes(labels.clone()));
    let mut objectives = vec![Objective::new(TaskKind::Classification, width)];
    objectives[0].reads = LossInput::Vectors;
    objectives.extend(with_heads.objectives);
    let network = common::network_of(&config, "tiny-bert", 0.0, &threads);
    let all = vec![true; network.store().entries().len()];
    let mut learner = common::learner(network, &config, objectives, &all);
    let heads: Vec<_> = (0..4).map(|head| learner.network.head_weights(head)).collect();

    let rows: Vec<u32> = (0..24).collect();
    let alone =
        StepBatch { split: &split, rows: &rows, tasks: &[0], teachers: &[], accumulation: 2 };
    let first = step(&mut learner, &config, &threads, 1, &alone).unwrap();
    let options = CrossEntropy::default();
    let mut gradient = vec![0.0; expected.vectors.len()];
    let sum = cross_entropy(&expected.vectors, width, &labels, &options, 1.0, &mut gradient);
    let difference = (first.tasks[0].loss.unwrap() - sum / 24.0).abs();
    // Sums in another order: some ulps of numbers near 5.
    assert!(difference < 1e-5, "{difference}");
    assert!(first.gradient_norm > 0.0);
    let mut last = first.clone();
    for number in 2..=12 {
        last = step(&mut learner, &config, &threads, number, &alone).unwrap();
    }
    assert!(last.loss < first.loss, "{} after {}", last.loss, first.loss);
    for (head, before) in heads.iter().enumerate() {
        assert_eq!(learner.network.head_weights(head).values(), before.values());
    }

    // The heads of the other tasks follow in their order.
    let together = StepBatch { tasks: &[0, 1, 2, 3, 4], ..alone };
    let outcome = step(&mut learner, &config, &threads, 13, &together).unwrap();
    assert!(outcome.tasks.iter().all(|task| task.loss.is_some()));
    for (head, before) in heads.iter().enumerate() {
        assert_ne!(learner.network.head_weights(head).values(), before.values());
    }
}

#[test]
fn a_head_that_no_task_names_stays_as_it_is() {
    let threads = Threads::new(2).unwrap();
    let (mut learner, config, split) = random_learner(&threads, 0.1);
    // The last head of the network has no objective, as one of the starting model's.
    learner.objectives.pop();
    let rows: Vec<u32> = (0..24).collect();
    let batch =
        StepBatch { split: &split, rows: &rows, tasks: &[0, 1, 2], teachers: &[], accumulation: 1 };
    let before = learner.network.head_weights(3);
    let outcome = step(&mut learner, &config, &threads, 1, &batch).unwrap();
    assert_eq!(outcome.tasks.len(), 3);
    assert_eq!(learner.network.head_weights(3).values(), before.values());
    let weight = entry(learner.network.store(), "heads.score.weight");
    assert_eq!(learner.optimizer.moments(weight).unwrap().count, 0);
}

#[test]
fn a_step_without_any_label_changes_nothing() {
    let threads = Threads::new(2).unwrap();
    let (mut learner, config, split) = random_learner(&threads, 0.1);
    let before = bits(learner.network.store().values());
    for rows in [vec![0, 1, 2], vec![]] {
        let batch =
            StepBatch { split: &split, rows: &rows, tasks: &[], teachers: &[], accumulation: 1 };
        let outcome = step(&mut learner, &config, &threads, 1, &batch).unwrap();
        assert_eq!((outcome.loss, outcome.gradient_norm), (0.0, 0.0));
        assert!(bits(learner.network.store().values()) == before);
    }
}

#[test]
fn labels_that_weigh_nothing_teach_nothing() {
    let threads = Threads::new(2).unwrap();
    let (mut learner, mut config, mut split) = random_learner(&threads, 0.1);
    config.tasks[0].class_weights = Some(ClassWeights::Given(vec![("c".to_owned(), 0.0)]));
    // It spreads the target over labels that do have a weight.
    config.tasks[0].label_smoothing = 0.1.try_into().unwrap();
    split.labels[0] = TaskLabels::Classes(vec![Some(2); 24]);
    learner.objectives = common::objectives(&config, &split);
    let before = bits(learner.network.store().values());
    let rows: Vec<u32> = (0..24).collect();
    let batch =
        StepBatch { split: &split, rows: &rows, tasks: &[0], teachers: &[], accumulation: 2 };
    let outcome = step(&mut learner, &config, &threads, 1, &batch).unwrap();
    assert_eq!((outcome.tasks[0].loss, outcome.loss, outcome.gradient_norm), (None, 0.0, 0.0));
    assert!(bits(learner.network.store().values()) == before);

    // Answers are still right or wrong.
    let specs: Vec<_> = config.tasks.iter().map(common::spec).collect();
    let answers = answers(&learner.network, &threads, &split, &learner);
    let judged = answers.score(&split, &specs, &learner.objectives)[0].clone().unwrap();
    assert_eq!(judged.get("loss"), None);
    assert!(judged.get("accuracy").is_some());
}

#[test]
fn a_loss_that_is_not_finite_names_step_task_and_rows() {
    let threads = Threads::new(2).unwrap();
    for (name, broken, tasks, expected) in [
        ("heads.mood.bias", f32::NAN, vec![0, 1, 2, 3], "task `mood`"),
        ("heads.tags.bias", f32::INFINITY, vec![2], "task `tags`"),
        ("heads.score.weight", f32::NEG_INFINITY, vec![3], "task `score`"),
        // The first task of those that break.
        ("encoder.layer.1.output.dense.bias", f32::NAN, vec![0, 1], "task `topic`"),
    ] {
        let (mut learner, config, split) = random_learner(&threads, 0.0);
        let at = entry(learner.network.store(), name);
        threads.cpu(learner.network.isa(), |cpu| {
            learner.network.update(cpu, &|_| true, |store| {
                let at = store.entries()[at].range.start;
                store.values_mut()[at] = broken;
            });
        });
        let before = bits(learner.network.store().values());
        let rows: Vec<u32> = (3..24).collect();
        let batch =
            StepBatch { split: &split, rows: &rows, tasks: &tasks, teachers: &[], accumulation: 2 };
        let error = step(&mut learner, &config, &threads, 17, &batch).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFinite, "{name}");
        let message = error.to_string();
        let start = format!("step 17, {expected}, rows rows.jsonl: line 4, rows.jsonl: line 5, ");
        assert!(message.starts_with(&start), "{name}: {message}");
        // Eleven rows are the first of two parts.
        assert!(message.contains(", and 3 more: expected a finite loss, found "), "{message}");
        assert!(bits(learner.network.store().values()) == before, "{name}");
        assert_eq!(learner.optimizer.moments(0).unwrap().count, 0, "{name}");
    }
}

#[test]
fn a_gradient_that_is_not_finite_names_step_tasks_and_rows() {
    let threads = Threads::new(2).unwrap();
    let (mut learner, config, mut split) = random_learner(&threads, 0.0);
    // The square is a finite number in double precision, the slope not in single.
    split.labels[3] = TaskLabels::Numbers(vec![Some(3e38); 24]);
    let before = bits(learner.network.store().values());
    let batch =
        StepBatch { split: &split, rows: &[5], tasks: &[0, 3], teachers: &[], accumulation: 1 };
    let error = step(&mut learner, &config, &threads, 2, &batch).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFinite);
    let message = error.to_string();
    assert!(message.contains("`score`, rows rows.jsonl: line 6: "), "{message}");
    assert!(message.contains("expected finite gradients, found others in "), "{message}");
    assert!(message.contains("heads.score.weight") || message.contains(" more"), "{message}");
    assert!(bits(learner.network.store().values()) == before);
    assert_eq!(learner.optimizer.moments(0).unwrap().count, 0);

    // The next step begins with clean gradients.
    let (mut fresh, ..) = random_learner(&threads, 0.0);
    let batch = StepBatch { tasks: &[0, 1, 2], rows: &[5, 6, 7, 8], ..batch };
    let after = step(&mut learner, &config, &threads, 2, &batch).unwrap();
    assert_eq!(step(&mut fresh, &config, &threads, 2, &batch).unwrap(), after);
    assert_eq!(common::hash(learner.network.store()), common::hash(fresh.network.store()));
}

#[test]
fn a_model_that_is_held_to_itself_has_no_gradient() {
    let threads = Threads::new(2).unwrap();
    let rows: Vec<u32> = (0..24).rev().collect();
    for (task, kind) in
        [TaskKind::Classification, TaskKind::MultiLabel, TaskKind::Tokens, TaskKind::Regression]
            .into_iter()
            .enumerate()
    {
        for frozen_encoder in [false, true] {
            let (mut learner, config, split) = random_learner(&threads, 0.0);
            let trainable: Vec<bool> = learner
                .network
                .store()
                .entries()
                .iter()
                .map(|entry| !frozen_encoder || matches!(entry.group, ParameterGroup::Head(_)))
                .collect();
            learner.set_trainable(&threads, &trainable);
            let labelled = {
                let batch = StepBatch {
                    split: &split,
                    rows: &rows,
                    tasks: &[task],
                    teachers: &[],
                    accumulation: 2,
                };
                let mut other = random_learner(&threads, 0.0).0;
                step(&mut other, &config, &threads, 1, &batch).unwrap()
            };
            let teachers = answers(&learner.network, &threads, &split, &learner).logits;
            learner.objectives[task].distills = true;
            let batch = StepBatch {
                split: &split,
                rows: &rows,
                tasks: &[task],
                teachers: &teachers,
                accumulation: 2,
            };
            let outcome = step(&mut learner, &config, &threads, 1, &batch).unwrap();
            assert!(outcome.tasks[task].loss.is_some(), "{kind}");
            let norm = outcome.gradient_norm;
            if frozen_encoder {
                // The same operations in the same order.
                assert_eq!(norm, 0.0, "{kind}");
            } else {
                // A pass that keeps its numbers rounds otherwise than one that answers.
                assert!(norm < 1e-5 * labelled.gradient_norm, "{kind}: {norm}");
            }
        }
    }
}

#[test]
fn teachers_answer_for_rows_without_labels_too() {
    let threads = Threads::new(1).unwrap();
    let (mut learner, config, split) = random_learner(&threads, 0.0);
    // Labelled for no task.
    let mut bare = split.clone();
    bare.labels = vec![
        TaskLabels::Classes(vec![None; 24]),
        TaskLabels::Sets(vec![None; 24]),
        TaskLabels::Numbers(vec![None; 24]),
        TaskLabels::Tags(vec![None; 24]),
    ];
    bare.labels.swap(2, 3);
    let mut teachers = answers(&learner.network, &threads, &split, &learner).logits;
    for task in [0, 2] {
        learner.objectives[task].distills = true;
        // Another opinion of the first row alone; of a word of it, for the tags.
        teachers[task][0] += 2.0;
    }
    let all: Vec<u32> = (0..24).collect();
    let tasks = [0, 1, 2, 3];
    let mut norm = |rows: &[u32]| {
        let batch =
            StepBatch { split: &bare, rows, tasks: &tasks, teachers: &teachers, accumulation: 1 };
        let rates = common::rates(&config, &learner.network);
        // Nothing is learned: the rate is zero.
        let outcome = learner.step(&threads, 1, &batch, &rates, 0.0, None).unwrap();
        let asked: Vec<bool> = outcome.tasks.iter().map(|task| task.loss.is_some()).collect();
        assert_eq!(asked, [true, false, true, false]);
        outcome.gradient_norm
    };
    let (with, without) = (norm(&all), norm(&all[1..]));
    assert!(without < 1e-4 * with, "{with} {without}");
}

#[test]
fn rows_without_words_add_nothing_to_tags_that_are_held() {
    let threads = Threads::new(1).unwrap();
    let (mut learner, config, split) = random_learner(&threads, 0.0);
    let tags = 2;
    let mut teachers = answers(&learner.network, &threads, &split, &learner).logits;
    // Another opinion of every word.
    teachers[tags].iter_mut().for_each(|logit| *logit = 1.0 - *logit);
    learner.objectives[tags].distills = true;
    let (worded, wordless): (Vec<u32>, Vec<u32>) =
        (0..24).partition(|row| !split.words.row(*row as usize).is_empty());
    assert!(worded.len() > 3 && wordless.len() > 3);
    let mut ask = |rows: &[u32]| {
        let batch =
            StepBatch { split: &split, rows, tasks: &[tags], teachers: &teachers, accumulation: 1 };
        let rates = common::rates(&config, &learner.network);
        // Nothing is learned: the rate is zero.
        let outcome = learner.step(&threads, 1, &batch, &rates, 0.0, None).unwrap();
        (outcome.tasks[tags].loss, outcome.gradient_norm)
    };
    let (loss, norm) = ask(&worded);
    assert!(loss.is_some() && norm > 0.0);
    let (with_others, norm_with_others) = ask(&[&worded[..], &wordless].concat());
    assert_eq!(with_others, loss);
    // More zeros in the sums, perhaps at other places.
    assert!((norm_with_others - norm).abs() < 1e-5 * norm, "{norm_with_others}, not {norm}");
    assert_eq!(ask(&wordless), (None, 0.0));
}
