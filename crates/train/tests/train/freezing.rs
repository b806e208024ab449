//! Freezing, scenario by scenario, from the rule in the configuration to the bits: frozen
//! parameters stay the same and cost nothing, trained ones change.
use crate::common;
use crate::common::bits;
use polyhead_compute::Threads;
use polyhead_model::ParameterGroup::{self, Embeddings, Head, Layer, Module};
use polyhead_model::{Pass, TrainableLayout};
use polyhead_train::RunConfig;
use polyhead_train::Split;
use polyhead_train::{Answers, EvalRequest, Learner, StepBatch, StepOutcome};
use polyhead_train::{FreezePlan, FrozenTensors};

const STEPS: u64 = 6;
const STEPS_PER_EPOCH: u64 = 2;
const ROWS: usize = 24;

/// Over a model with a Dense module, which `score` reads.
const TASKS: &str = "
    [[task]]
    name = \"topic\"
    kind = \"classification\"
    labels = [\"a\", \"b\", \"c\"]

    [[task]]
    name = \"mood\"
    kind = \"multilabel\"
    labels = [\"a\", \"b\", \"c\", \"d\"]
    hidden = 16

    [[task]]
    name = \"tags\"
    kind = \"tokens\"
    labels = [\"O\", \"B-a\", \"I-a\", \"B-b\", \"I-b\"]

    [[task]]
    name = \"score\"
    kind = \"regression\"
    input = \"embedding\"

    [train]
    learning_rate = 1e-3
    head_learning_rate = 1e-2
    ";

/// Steps in a row, and what is trained in them.
struct Span {
    first: u64,
    last: u64,
    trains: fn(ParameterGroup) -> bool,
    /// The hidden state below which nothing is trained: there the backward ends.
    start: usize,
}

struct Scenario {
    name: &'static str,
    /// `parameters` and the other keys of each rule.
    rules: &'static [&'static str],
    spans: &'static [Span],
}

const ALWAYS: Span = Span { first: 1, last: STEPS, trains: everything, start: 0 };

fn everything(_: ParameterGroup) -> bool {
    true
}

fn nothing(_: ParameterGroup) -> bool {
    false
}

fn heads(group: ParameterGroup) -> bool {
    matches!(group, Head(_))
}

fn behind_the_encoder(group: ParameterGroup) -> bool {
    matches!(group, Head(_) | Module(_))
}

fn upper_part(group: ParameterGroup) -> bool {
    !matches!(group, Embeddings | Layer(0))
}

const SCENARIOS: &[Scenario] = &[
    Scenario { name: "nothing frozen", rules: &[], spans: &[ALWAYS] },
    Scenario {
        name: "the backbone frozen: only heads train",
        rules: &["parameters = ['encoder', 'modules']"],
        spans: &[Span { trains: heads, start: 2, ..ALWAYS }],
    },
    Scenario {
        name: "one head frozen while the rest trains",
        rules: &["parameters = ['head.topic']"],
        spans: &[Span { trains: |group| group != Head(0), ..ALWAYS }],
    },
    Scenario {
        name: "all heads frozen while the encoder trains",
        rules: &["parameters = ['heads']"],
        spans: &[Span { trains: |group| !heads(group), ..ALWAYS }],
    },
    Scenario {
        name: "embeddings and lower layers frozen",
        rules: &["parameters = ['embeddings', 'layers.0']"],
        spans: &[Span { trains: upper_part, start: 1, ..ALWAYS }],
    },
    Scenario {
        name: "heads first, then everything",
        rules: &["parameters = ['encoder', 'modules']\nuntil = 'epoch 1'"],
        spans: &[Span { last: 2, trains: heads, start: 2, ..ALWAYS }, Span { first: 3, ..ALWAYS }],
    },
    Scenario {
        name: "gradual unfreezing from the top",
        rules: &[
            "parameters = ['layers.1']\nuntil = 'epoch 1'",
            "parameters = ['embeddings', 'layers.0']\nuntil = 'epoch 2'",
        ],
        spans: &[
            Span { last: 2, trains: behind_the_encoder, start: 2, ..ALWAYS },
            Span { first: 3, last: 4, trains: upper_part, start: 1 },
            Span { first: 5, ..ALWAYS },
        ],
    },
    Scenario {
        name: "everything frozen",
        rules: &["parameters = ['all']"],
        spans: &[Span { trains: nothing, start: 2, ..ALWAYS }],
    },
    Scenario {
        name: "only the encoder's upper layer",
        rules: &["parameters = ['embeddings', 'layers.0', 'modules', 'heads']"],
        spans: &[Span { trains: |group| group == Layer(1), start: 1, ..ALWAYS }],
    },
    Scenario {
        name: "only the encoder's lower layer",
        rules: &["parameters = ['embeddings', 'layers.1', 'modules', 'heads']"],
        spans: &[Span { trains: |group| group == Layer(0), ..ALWAYS }],
    },
    Scenario {
        name: "only the embeddings",
        rules: &["parameters = ['layers.0-1', 'modules', 'heads']"],
        spans: &[Span { trains: |group| group == Embeddings, ..ALWAYS }],
    },
    Scenario {
        name: "only the modules",
        rules: &["parameters = ['encoder', 'heads']"],
        spans: &[Span { trains: |group| matches!(group, Module(_)), start: 2, ..ALWAYS }],
    },
    Scenario {
        name: "the encoder frozen at the end",
        rules: &["parameters = ['encoder']\nfrom = 'epoch 3'"],
        spans: &[
            Span { last: 4, ..ALWAYS },
            Span { first: 5, trains: behind_the_encoder, start: 2, ..ALWAYS },
        ],
    },
    Scenario {
        name: "a layer and a head frozen for a while",
        rules: &["parameters = ['layers.1', 'head.tags']\nfrom = 'step 3'\nuntil = 'step 4'"],
        spans: &[
            Span { last: 2, ..ALWAYS },
            Span {
                first: 3,
                last: 4,
                trains: |group| group != Layer(1) && group != Head(2),
                start: 0,
            },
            Span { first: 5, ..ALWAYS },
        ],
    },
];

fn config(rules: &[&str]) -> RunConfig {
    let rules: String = rules.iter().map(|rule| format!("[[freeze]]\n{rule}\n")).collect();
    common::config(&format!("{TASKS}{rules}"))
}

/// A learner that has not done a step, and what it learns from.
///
/// - `dropout`: in the encoder and in front of the heads
fn begin(
    config: &RunConfig,
    dropout: (f32, f32),
    threads: &Threads,
) -> (Learner, FreezePlan, Split) {
    let mut config = config.clone();
    let head_dropout = dropout.1.try_into().unwrap();
    config.tasks.iter_mut().for_each(|task| task.dropout = head_dropout);
    let split = common::random_split(ROWS);
    let network = common::network_of(&config, "st6-dense", dropout.0, threads);
    let plan = common::plan(&config, &network, STEPS_PER_EPOCH, STEPS);
    let objectives = common::objectives(&config, &split);
    let learner = common::learner(network, &config, objectives, &plan.trainable(1));
    (learner, plan, split)
}

fn step(
    learner: &mut Learner,
    config: &RunConfig,
    split: &Split,
    number: u64,
    threads: &Threads,
) -> StepOutcome {
    let rows: Vec<u32> = (0..ROWS as u32).collect();
    let batch =
        StepBatch { split, rows: &rows, tasks: &[0, 1, 2, 3], teachers: &[], accumulation: 2 };
    let rates = common::rates(config, &learner.network);
    learner.step(threads, number, &batch, &rates, 1.0, None).unwrap()
}

/// Updates and moments of each entry of the index, as bits; `None` if it is frozen.
fn moments(learner: &Learner) -> Vec<Option<(u64, [Vec<u32>; 2])>> {
    let of = |index| {
        let moments = learner.optimizer.moments(index)?;
        Some((moments.count, [moments.first, moments.second].map(bits)))
    };
    (0..learner.network.store().entries().len()).map(of).collect()
}

fn numbers(learner: &Learner) -> Vec<Vec<u32>> {
    let store = learner.network.store();
    (0..store.entries().len()).map(|index| bits(store.get(index))).collect()
}

/// Runs a scenario and looks at everything at the beginning and the end of each span.
fn check(scenario: &Scenario) {
    let Scenario { name, rules, spans } = scenario;
    let threads = Threads::new(2).unwrap();
    let config = config(rules);
    let (mut learner, plan, split) = begin(&config, (0.1, 0.1), &threads);
    let entries = learner.network.store().entries().to_vec();
    let found: Vec<(u64, u64)> = plan.spans().iter().map(|span| (span.first, span.last)).collect();
    let expected: Vec<(u64, u64)> = spans.iter().map(|span| (span.first, span.last)).collect();
    assert_eq!(found, expected, "{name}: spans");

    let frozen = FrozenTensors::new(learner.network.store(), &plan.always_frozen());
    let mut updates = vec![0; entries.len()];
    for span in *spans {
        let trains: Vec<bool> = entries.iter().map(|entry| (span.trains)(entry.group)).collect();
        let before = moments(&learner);
        learner.set_trainable(&threads, &plan.trainable(span.first));
        let what = |index: usize| format!("{name}, step {}: {}", span.first, entries[index].name);

        // Memory is for what is trained alone, and the backward ends where it can.
        let trained = entries.iter().zip(&trains).filter(|(_, trains)| **trains);
        let count: usize = trained.map(|(entry, _)| entry.range.len()).sum();
        assert_eq!(learner.optimizer.state_bytes(), 8 * count, "{name}: bytes of the optimizer");
        assert_eq!(learner.gradients().values().len(), count, "{name}: gradients");
        let layout = TrainableLayout::new(learner.network.store(), &trains);
        assert_eq!(learner.gradients().layout(), &layout, "{name}");
        assert_eq!(learner.optimizer.layout(), &layout, "{name}");
        assert_eq!(learner.depth().start, span.start, "{name}: start of training");
        let embeddings = trains[0];
        assert_eq!(learner.depth().embeddings, embeddings, "{name}");

        // Trainable tensors keep their moments; tensors that are trained again start with fresh ones.
        for (index, (before, now)) in before.iter().zip(moments(&learner)).enumerate() {
            assert_eq!(now.is_some(), trains[index], "{}", what(index));
            let Some(now) = now else {
                updates[index] = 0;
                continue;
            };
            let zeros = || vec![0; entries[index].range.len()];
            let fresh = (0, [zeros(), zeros()]);
            assert_eq!(now, before.clone().unwrap_or(fresh), "{}", what(index));
            assert_eq!(now.0, updates[index], "{}", what(index));
        }

        let before = numbers(&learner);
        for number in span.first..=span.last {
            assert_eq!(plan.trainable(number), trains, "{name}, step {number}");
            let outcome = step(&mut learner, &config, &split, number, &threads);
            // All tasks are reported, frozen or not.
            assert!(outcome.tasks.iter().all(|task| task.loss.is_some()), "{name}");
            assert_eq!(outcome.gradient_norm > 0.0, count > 0, "{name}");
        }
        for (index, (before, now)) in before.iter().zip(numbers(&learner)).enumerate() {
            assert_eq!(*before != now, trains[index], "{}", what(index));
            updates[index] += if trains[index] { span.last + 1 - span.first } else { 0 };
        }
        for (index, now) in moments(&learner).into_iter().enumerate() {
            assert_eq!(now.map_or(0, |(count, _)| count), updates[index], "{}", what(index));
        }
    }

    let never = |group| spans.iter().all(|span| !(span.trains)(group));
    let count = entries.iter().filter(|entry| never(entry.group)).count();
    let line = frozen.verify(learner.network.store()).unwrap();
    let start = match count {
        0 => "no parameters were frozen for the whole run".to_owned(),
        count => format!("frozen parameters unchanged: {count} tensors, "),
    };
    assert!(line.starts_with(&start), "{name}: {line}");
    assert_eq!(plan.trains_nothing(), count == entries.len(), "{name}");
}

#[test]
fn each_scenario_freezes_what_it_says_and_trains_the_rest() {
    SCENARIOS.iter().for_each(check);
}

#[test]
fn a_frozen_head_still_teaches_the_encoder() {
    let threads = Threads::new(1).unwrap();
    let config = config(&["parameters = ['heads', 'modules']"]);
    let (mut learner, _, split) = begin(&config, (0.0, 0.0), &threads);
    let loss = |outcome: &StepOutcome| outcome.loss;
    let first = loss(&step(&mut learner, &config, &split, 1, &threads));
    let last = (2..=10).map(|n| loss(&step(&mut learner, &config, &split, n, &threads))).last();
    assert!(last.unwrap() < 0.97 * first, "{first} {last:?}");
}

#[test]
fn freezing_below_does_not_change_what_is_learned_above() {
    // The first step of the upper part is the same whether the lower part is
    // frozen or not: the loss reads the same numbers, and there is no dropout.
    let threads = Threads::new(2).unwrap();
    let (all, upper) = (config(&[]), config(&["parameters = ['embeddings', 'layers.0']"]));
    let (mut learner, _, split) = begin(&all, (0.0, 0.0), &threads);
    let (mut frozen, ..) = begin(&upper, (0.0, 0.0), &threads);
    step(&mut learner, &all, &split, 1, &threads);
    step(&mut frozen, &upper, &split, 1, &threads);
    for (index, entry) in learner.network.store().entries().iter().enumerate() {
        // The gradient of a key bias is rounding and nothing else.
        if let (Some(found), false) =
            (frozen.gradients().get(index), entry.name.ends_with(".key.bias"))
        {
            // What is kept for a backward is rounded otherwise than in answering.
            let expected = learner.gradients().get(index).unwrap();
            common::assert_close(&entry.name, found, expected, 2e-5);
        }
    }
}

#[test]
fn there_is_no_dropout_below_the_boundary() {
    let threads = Threads::new(2).unwrap();
    let loss = |rules: &[&str], dropout: f32| {
        let config = config(rules);
        let (mut learner, _, split) = begin(&config, (dropout, 0.0), &threads);
        step(&mut learner, &config, &split, 1, &threads).loss
    };
    for frozen in [
        &["parameters = ['encoder']"][..],
        &["parameters = ['encoder', 'modules']"],
        &["parameters = ['all']"],
    ] {
        assert_eq!(loss(frozen, 0.5), loss(frozen, 0.0), "{frozen:?}");
    }
    for trained in [
        &["parameters = ['embeddings', 'layers.0']"][..],
        // Above what is trained there is dropout, frozen or not.
        &["parameters = ['layers.0-1']"],
    ] {
        assert_ne!(loss(trained, 0.5), loss(trained, 0.0), "{trained:?}");
    }
}

#[test]
fn where_nothing_is_trained_a_step_is_an_evaluation() {
    let threads = Threads::new(2).unwrap();
    let config = config(&["parameters = ['all']"]);
    let (mut learner, plan, split) = begin(&config, (0.1, 0.0), &threads);
    assert!(plan.trains_nothing());
    let questions = EvalRequest {
        active: &[true; 4],
        vectors: true,
        prompt_tokens: 0,
        depth: &learner.depth().clone(),
        encoder: None,
    };
    let specs: Vec<_> = config.tasks.iter().map(common::spec).collect();
    let network = &learner.network;
    let answers =
        Answers::of(network, &threads, &split, &questions, None, &mut Pass::default()).unwrap();
    let judged = answers.score(&split, &specs, &learner.objectives);
    let outcome = step(&mut learner, &config, &split, 1, &threads);
    for (task, judged) in outcome.tasks.iter().zip(judged) {
        let (found, expected) = (task.loss.unwrap(), judged.unwrap().get("loss").unwrap());
        // Sums of 24 losses in double precision, in another order.
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }
    assert_eq!((outcome.gradient_norm, learner.optimizer.state_bytes()), (0.0, 0));
}
