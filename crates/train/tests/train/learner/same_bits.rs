//! Threads, parts of a step and kept hidden states do not change the bits of a step.

use super::*;

/// Settings of a run's work that must not change its result.
#[derive(Clone, Copy, Debug)]
struct Way {
    threads: usize,
    accumulation: usize,
    /// Bytes of memory for hidden states; absent: they are computed in each step.
    cache: Option<u64>,
}

const PLAIN: Way = Way { threads: 1, accumulation: 1, cache: None };

/// Parameters and moments after five steps.
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

#[test]
fn parts_of_all_families_do_not_change_bits() {
    for model in polyhead_testing::FAMILIES {
        for trains in [(|_| true) as fn(ParameterGroup) -> bool, upper_half] {
            let (plain, _) = five_steps_of(model, PLAIN, "", &trains);
            for (threads, accumulation, cache) in [(2, 1, None), (1, 2, None), (3, 5, Some(4000))] {
                let way = Way { threads, accumulation, cache };
                let (other, _) = five_steps_of(model, way, "", &trains);
                assert_same(&plain, &other, accumulation == 1, &format!("{model}, {way:?}"));
            }
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
