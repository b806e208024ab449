//! A made-up run of five tasks, for tests and for looking at the page.

use super::RunReport;
use super::record::*;
use crate::data::{
    BrokenTags, Conflicts, DataReport, Example, LabelRows, Lengths, NumberSummary, Overlap, Part,
    Repeats, SourceReport, SplitReport, TaskReport, TaskSplitReport, UnknownLabels,
};
use crate::evaluate::{
    ClassificationCounter, MultiLabelCounter, RegressionCounter, TaskMetrics, TokensCounter, argmax,
};
use crate::evaluate::{best_thresholds, calibrate_classes, calibrate_sets};

/// Steps of the run.
const STEPS: u64 = 567;
/// Rows of dev and of test.
const ROWS: usize = 600;

/// Numbers that look random and are the same every time.
pub(super) struct Dice(u64);

impl Dice {
    /// Between 0 and 1.
    pub(super) fn share(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// About normal, around 0, a deviation of 0.7.
    fn noise(&mut self) -> f64 {
        (0..6).map(|_| self.share()).sum::<f64>() - 3.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.share() * end as f64) as usize
    }
}

/// How much is learned after so many steps, from 0 to 1; a little is lost at the end.
fn learned(step: u64) -> f64 {
    let step = step as f64;
    1.0 - (-step / 110.0).exp() - 0.02 * (step / STEPS as f64).powi(4)
}

fn classes(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn topics() -> Vec<String> {
    classes(&["energy", "health", "science", "sports", "travel"])
}

fn intents() -> Vec<String> {
    let (things, verbs) = (
        ["card", "transfer", "top up", "exchange", "refund", "pin", "account"],
        [
            "arrival",
            "not working",
            "fee charged",
            "declined",
            "pending",
            "limit",
            "lost",
            "change",
            "linking",
            "wrong amount",
            "supported",
        ],
    );
    things.iter().flat_map(|a| verbs.iter().map(move |b| format!("{a} {b}"))).collect()
}

fn emotions() -> Vec<String> {
    classes(&[
        "admiration",
        "amusement",
        "anger",
        "annoyance",
        "confusion",
        "curiosity",
        "disappointment",
        "fear",
        "gratitude",
        "joy",
        "neutral",
        "sadness",
    ])
}

fn tags() -> Vec<String> {
    classes(&[
        "O",
        "B-organisation",
        "I-organisation",
        "B-person",
        "I-person",
        "B-place",
        "I-place",
    ])
}

/// Logits that are right the more often the more is learned, and too sure.
fn logits(dice: &mut Dice, count: usize, skill: f64) -> (Vec<f32>, Vec<Option<u32>>) {
    let mut all = Vec::new();
    let mut truths = Vec::new();
    for _ in 0..ROWS {
        let truth = dice.below(count);
        let alike = (truth + 1 + dice.below(3)) % count;
        for label in 0..count {
            let mut logit = 1.3 * dice.noise();
            if label == truth {
                logit += 4.6 * skill;
            }
            if label == alike {
                logit += 4.0 * dice.share();
            }
            all.push((2.4 * logit) as f32);
        }
        truths.push(Some(truth as u32));
    }
    (all, truths)
}

fn classification(labels: &[String], seed: u64, skill: f64) -> TaskMetrics {
    let (logits, truths) = logits(&mut Dice(seed), labels.len(), skill);
    let mut counter = ClassificationCounter::new(labels);
    for (row, truth) in logits.chunks(labels.len()).zip(&truths) {
        counter.add(argmax(row) as u32, truth.unwrap_or(0));
    }
    counter.add_loss(ROWS as f64 * (0.2 + 1.6 * (1.0 - skill)), ROWS as f64);
    TaskMetrics::Classification(counter.finish().expect("rows were added"))
}

fn sets(seed: u64, skill: f64) -> (Vec<f32>, Vec<Option<Vec<u32>>>) {
    let mut dice = Dice(seed);
    let count = emotions().len();
    let mut all = Vec::new();
    let mut truths = Vec::new();
    for _ in 0..ROWS {
        let truth: Vec<u32> = (0..count as u32)
            .filter(|label| dice.share() < 0.25 / (1.0 + f64::from(*label) * 0.3))
            .collect();
        for label in 0..count as u32 {
            let there = if truth.contains(&label) { 3.4 * skill } else { 0.0 };
            all.push((1.7 * (there - 1.5 + 1.3 * dice.noise())) as f32);
        }
        truths.push(Some(truth));
    }
    (all, truths)
}

fn multi_label(seed: u64, skill: f64) -> TaskMetrics {
    let labels = emotions();
    let (logits, truths) = sets(seed, skill);
    let mut counter = MultiLabelCounter::new(&labels);
    for (row, truth) in logits.chunks(labels.len()).zip(&truths) {
        let given: Vec<u32> = (0..labels.len() as u32).filter(|l| row[*l as usize] > 0.0).collect();
        counter.add(&given, truth.as_deref().unwrap_or(&[]));
    }
    counter.add_loss(ROWS as f64 * (0.15 + 0.5 * (1.0 - skill)), ROWS as f64);
    TaskMetrics::MultiLabel(counter.finish().expect("rows were added"))
}

fn pairs(seed: u64, skill: f64) -> Vec<(f64, f64)> {
    let mut dice = Dice(seed);
    (0..ROWS)
        .map(|_| {
            let truth = (dice.share() * 50.0).round() / 10.0;
            (
                truth,
                2.5 + (truth - 2.5) * (0.15 + 0.75 * skill) + (0.9 - 0.5 * skill) * dice.noise(),
            )
        })
        .collect()
}

fn regression(seed: u64, skill: f64) -> TaskMetrics {
    let mut counter = RegressionCounter::new();
    for (truth, given) in pairs(seed, skill) {
        counter.add(given as f32, truth as f32);
    }
    counter.add_loss(ROWS as f64 * (0.3 + 2.0 * (1.0 - skill)), ROWS as f64);
    TaskMetrics::Regression(counter.finish().expect("rows were added"))
}

fn tokens(seed: u64, skill: f64) -> TaskMetrics {
    let mut dice = Dice(seed);
    let mut counter = TokensCounter::new(&tags(), &[]);
    for _ in 0..ROWS {
        let mut truth = vec![0u32; 12];
        let at = dice.below(10);
        let kind = 2 * dice.below(3) as u32;
        truth[at] = 1 + kind;
        truth[at + 1] = 2 + kind;
        let given = truth.iter().map(|tag| {
            let slip = dice.share() > 0.75 + 0.24 * skill;
            Some(if slip { dice.below(7) as u32 } else { *tag })
        });
        counter.add(&given.collect::<Vec<_>>(), &truth);
    }
    counter.add_loss(12.0 * ROWS as f64 * (0.05 + 0.6 * (1.0 - skill)), 12.0 * ROWS as f64);
    TaskMetrics::Tokens(counter.finish().expect("rows were added"))
}

/// Of the five tasks, after so many steps.
fn measured(step: u64, seed: u64) -> Vec<Option<TaskMetrics>> {
    let skill = learned(step);
    vec![
        Some(classification(&topics(), seed, 0.9 * skill)),
        Some(classification(&intents(), seed + 1, 1.05 * skill)),
        Some(multi_label(seed + 2, skill)),
        Some(regression(seed + 3, skill)),
        Some(tokens(seed + 4, skill)),
    ]
}

fn curves() -> Curves {
    let mut dice = Dice(3);
    let weights = [1.0, 1.0, 0.5, 0.5, 1.0];
    let scales = [1.6, 4.3, 0.65, 2.3, 0.6];
    let train = (1..=STEPS / 3).map(|line| {
        let step = 3 * line;
        let left = 1.06 - learned(step);
        let losses = scales.map(|scale| scale * left * (1.0 + 0.16 * dice.noise()) + 0.02);
        TrainPoint {
            step,
            loss: Some(losses.iter().zip(weights).map(|(loss, weight)| loss * weight).sum()),
            tasks: losses.map(Some).to_vec(),
            gradient_norm: Some((0.6 + 6.0 * left) * (0.45 * dice.noise()).exp()),
        }
    });
    let dev = (1..=9).map(|part| {
        let step = 63 * part;
        let scores = |metrics: Option<TaskMetrics>| {
            let scores = metrics.iter().flat_map(TaskMetrics::scores);
            scores.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
        };
        let tasks = measured(step, 40).into_iter().map(scores).collect();
        DevPoint { step, tasks, score: Some(learned(step)) }
    });
    Curves { train: train.collect(), dev: dev.collect() }
}

fn mistake(
    text: &str,
    expected: Answer,
    given: Answer,
    confidence: Option<f64>,
    line: usize,
) -> Mistake {
    Mistake {
        place: format!("test.jsonl:{line}"),
        text: text.to_owned(),
        expected,
        given,
        confidence,
    }
}

fn said(labels: &[&str]) -> Answer {
    Answer::Labels(classes(labels))
}

fn span(start: usize, end: usize, label: &str) -> MarkedSpan {
    MarkedSpan { start, end, label: label.to_owned() }
}

fn tasks() -> Vec<TaskResult> {
    let results = [
        ("topic", "classification", "accuracy", 1.0, topics()),
        ("intent", "classification", "accuracy", 1.0, intents()),
        ("emotions", "multilabel", "f1_micro", 0.5, emotions()),
        ("urgency", "regression", "spearman", 0.5, Vec::new()),
        ("entities", "tokens", "f1", 1.0, tags()),
    ];
    let (dev, test) = (measured(441, 40), measured(441, 90));
    let mut tasks: Vec<TaskResult> = results
        .into_iter()
        .zip(dev)
        .zip(test)
        .map(|(((name, kind, metric, weight, labels), dev), test)| TaskResult {
            name: name.to_owned(),
            kind: kind.to_owned(),
            main_metric: metric.to_owned(),
            weight: Some(weight),
            labels,
            dev,
            test,
            ..TaskResult::default()
        })
        .collect();
    let (topic_logits, truths) = logits(&mut Dice(40), 5, 0.9 * learned(441));
    tasks[0].calibration = calibrate_classes(&topic_logits, 5, &truths);
    tasks[0].before = Some(classification(&topics(), 40, 0.42));
    tasks[0].remarks =
        vec!["held to the answers of the starting model (keep = \"distill\")".to_owned()];
    tasks[0].mistakes = vec![
        mistake(
            "The stadium will run on rooftop panels and a battery the size of two buses, the club said after the match.",
            said(&["energy"]),
            said(&["sports"]),
            Some(0.981),
            212,
        ),
        mistake(
            "Runners who sleep less than six hours catch twice as many colds.",
            said(&["health"]),
            said(&["sports"]),
            Some(0.962),
            17,
        ),
        mistake(
            "A telescope on the highest pass of the trekking route opens to visitors in June.",
            said(&["science"]),
            said(&["travel"]),
            Some(0.944),
            398,
        ),
        mistake(
            "רכבת לילה חדשה מחברת בין שתי הבירות, והנוסעים מגיעים לפני ארוחת הבוקר.",
            said(&["travel"]),
            said(&["energy"]),
            Some(0.93),
            55,
        ),
        mistake(
            "<script>alert('not run')</script> & other \"quoted\" things 🧪🔬",
            said(&["science"]),
            said(&["health"]),
            Some(0.91),
            301,
        ),
    ];
    let (intent_logits, truths) = logits(&mut Dice(41), 77, 1.05 * learned(441));
    tasks[1].calibration = calibrate_classes(&intent_logits, 77, &truths);
    tasks[1].mistakes = vec![
        mistake(
            "My card has not come yet and it has been two weeks",
            said(&["card arrival"]),
            said(&["card lost"]),
            Some(0.97),
            8,
        ),
        mistake(
            "Why do you take money from me for sending money?",
            said(&["transfer fee charged"]),
            said(&["top up fee charged"]),
            Some(0.95),
            1204,
        ),
    ];
    let (set_logits, truths) = sets(42, learned(441));
    tasks[2].calibration = calibrate_sets(&set_logits, 12, &truths);
    tasks[2].thresholds = best_thresholds(&set_logits, 12, &truths, 1.1);
    tasks[2].mistakes = vec![
        mistake(
            "Oh great, another meeting. Exactly what my Friday needed 🙄",
            said(&["annoyance", "disappointment"]),
            said(&["admiration", "joy"]),
            Some(0.93),
            77,
        ),
        mistake(
            "I can't believe she waited four hours just to bring me soup.",
            said(&["gratitude"]),
            said(&[]),
            Some(0.88),
            431,
        ),
    ];
    tasks[3].scatter = pairs(93, learned(441));
    tasks[3].mistakes = vec![
        mistake(
            "No hurry at all — but the server room is under water.",
            Answer::Number(5.0),
            Answer::Number(0.7),
            None,
            91,
        ),
        mistake(
            "URGENT!!! our newsletter is here",
            Answer::Number(0.2),
            Answer::Number(4.4),
            None,
            240,
        ),
    ];
    tasks[4].remarks = vec!["head frozen until step 63".to_owned()];
    tasks[4].mistakes = vec![
        mistake(
            "Jordan Baker left Amazon Books for a small shop in Paris, Texas.",
            Answer::Spans(vec![
                span(0, 12, "person"),
                span(18, 30, "organisation"),
                span(51, 64, "place"),
            ]),
            Answer::Spans(vec![span(0, 6, "place"), span(18, 24, "place"), span(51, 56, "place")]),
            Some(0.9),
            14,
        ),
        mistake(
            "Washington said no.",
            Answer::Spans(vec![span(0, 10, "organisation")]),
            Answer::Spans(vec![span(0, 10, "person")]),
            Some(0.86),
            502,
        ),
    ];
    tasks
}

fn groups() -> Vec<GroupReport> {
    let group = |name: &str, rate: f64, tensors: u64, parameters: u64, trained: Vec<(u64, u64)>| {
        GroupReport {
            group: name.to_owned(),
            learning_rate: Some(rate),
            weight_decay: Some(0.01),
            tensors,
            parameters,
            trained,
        }
    };
    let mut all = vec![group("embeddings", 3.67e-5, 5, 11_917_824, Vec::new())];
    for layer in 0..6u64 {
        let first = if layer < 2 { Vec::new() } else { vec![(64 + 63 * (5 - layer), STEPS)] };
        let rate = 5e-5 * 0.95f64.powi(5 - layer as i32);
        all.push(group(&format!("layers.{layer}"), rate, 16, 1_774_464, first));
    }
    for (head, parameters) in
        [("topic", 1_925), ("intent", 29_645), ("emotions", 4_620), ("urgency", 385)]
    {
        all.push(group(&format!("head.{head}"), 1e-3, 2, parameters, vec![(1, STEPS)]));
    }
    all.push(group("head.entities", 1e-3, 2, 2_695, vec![(64, STEPS)]));
    all
}

fn data() -> DataReport {
    let example =
        |text: &str, places: &[&str]| Example { text: text.to_owned(), places: classes(places) };
    let split = |part, rows: usize, bars: &[usize]| SplitReport {
        part,
        files: vec![format!(
            "data/mixed/{}.jsonl",
            match part {
                Part::Train => "train",
                Part::Dev => "dev",
                Part::Test => "test",
            }
        )],
        rows,
        unlabelled: 3,
        empty: 0,
        truncated: bars.last().map_or(0, |last| last / 2),
        words: 12 * rows,
        words_cut: rows / 20,
        words_dropped: 2,
        lengths: Lengths {
            bars: bars.iter().enumerate().map(|(bar, texts)| (8 << bar, *texts)).collect(),
            median: 19,
            percentile_95: 74,
            longest: 311,
        },
    };
    let counted = |name: &str, kind: &str, labels: Vec<String>| {
        let mut dice = Dice(labels.len() as u64);
        let shares: Vec<f64> = labels.iter().map(|_| 0.15 + dice.share()).collect();
        let split = |part, rows: usize| TaskSplitReport {
            part,
            rows,
            labelled: rows - 11,
            counts: shares
                .iter()
                .map(|share| (share * rows as f64 / labels.len() as f64) as usize)
                .collect(),
            numbers: labels.is_empty().then_some(NumberSummary {
                least: 0.0,
                greatest: 5.0,
                mean: 2.48,
                deviation: 1.44,
            }),
            unknown: UnknownLabels::default(),
            broken: BrokenTags::default(),
        };
        TaskReport {
            name: name.to_owned(),
            kind: kind.to_owned(),
            field: name.to_owned(),
            source: 0,
            splits: vec![
                split(Part::Train, 6_048),
                split(Part::Dev, ROWS),
                split(Part::Test, ROWS),
            ],
            labels,
            conflicts: Conflicts::default(),
        }
    };
    let mut tasks = vec![
        counted("topic", "classification", topics()),
        counted("intent", "classification", intents()),
        counted("emotions", "multilabel", emotions()),
        counted("urgency", "regression", Vec::new()),
        counted("entities", "tokens", tags()),
    ];
    tasks[0].conflicts = Conflicts {
        texts: 2,
        examples: vec![example(
            "The club bought the old power station.",
            &["train.jsonl:88 (energy)", "train.jsonl:1204 (sports)"],
        )],
    };
    tasks[1].splits[2].unknown = UnknownLabels {
        rows: 4,
        labels: 1,
        first: vec![LabelRows {
            label: "apple pay".to_owned(),
            rows: 4,
            first: "test.jsonl:31".to_owned(),
        }],
    };
    DataReport {
        sha256: "5c3f".repeat(16),
        sources: vec![SourceReport {
            tasks: classes(&["topic", "intent", "emotions", "urgency", "entities"]),
            splits: vec![
                split(Part::Train, 6_048, &[420, 2_310, 2_050, 990, 240, 38]),
                split(Part::Dev, ROWS, &[44, 231, 200, 95, 26, 4]),
                split(Part::Test, ROWS, &[39, 240, 198, 99, 21, 3]),
            ],
            repeats: Repeats {
                texts: 5,
                rows: 7,
                examples: vec![example("Thank you!", &["train.jsonl:12", "train.jsonl:90"])],
            },
        }],
        tasks,
        overlaps: vec![Overlap {
            first: Part::Train,
            second: Part::Test,
            texts: 3,
            examples: vec![example("Where is my card?", &["train.jsonl:7", "test.jsonl:19"])],
        }],
    }
}

/// The whole record.
pub(super) fn sample() -> RunReport {
    let mut dice = Dice(8);
    let cosines: Vec<f64> = (0..ROWS).map(|_| (0.93 + 0.025 * dice.noise()).min(1.0)).collect();
    let part = |name: &str, seconds: f64| TimePart { name: name.to_owned(), seconds };
    RunReport {
        name: "mixed-five".to_owned(),
        model: "sentence-transformers/all-MiniLM-L6-v2".to_owned(),
        ending: "all 567 steps done".to_owned(),
        notices: vec!["intent: 4 rows of test have a label that training does not have".to_owned()],
        steps: STEPS,
        planned_steps: STEPS,
        steps_per_epoch: 189,
        best_step: 441,
        criterion: "mean of the tasks' main metrics".to_owned(),
        best_score: Some(0.8731),
        seconds: Some(193.4),
        texts_per_second: Some(147.2),
        peak_memory: Some(612_000_000),
        threads: Some(2),
        instructions: "AVX2".to_owned(),
        processor: "AMD EPYC 7B13".to_owned(),
        seed: Some(7),
        versions: vec![("Polyhead".to_owned(), "0.1.0".to_owned()), ("Data".to_owned(), "5c3f5c3f5c3f".to_owned())],
        curves: curves(),
        schedule: vec![
            SchedulePoint { step: 1, multiplier: 0.0 },
            SchedulePoint { step: 58, multiplier: 1.0 },
            SchedulePoint { step: STEPS, multiplier: 0.0 },
        ],
        groups: groups(),
        phases: vec![
            "steps 1–63: training 8 of 111 tensors, 36.6 k of 22.6 M parameters; frozen: embeddings, layers.0-5, head.entities".to_owned(),
            "steps 253–567: training 74 of 111 tensors, 7.1 M of 22.6 M parameters; frozen: embeddings, layers.0-1".to_owned(),
        ],
        frozen: "frozen parameters unchanged: 37 tensors, 15.5 M numbers, compared one by one".to_owned(),
        cosines: Cosines::of(&cosines),
        cache: Some(CacheReport {
            memory: 187_000_000,
            file: 0,
            tokens_saved: 1_204_551,
            seconds_saved: Some(71.0),
            optimizer_bytes_saved: Some(185_000_000),
        }),
        times: vec![
            part("data", 2.1),
            part("forward and backward", 148.0),
            part("optimizer", 14.9),
            part("evaluation", 21.2),
            part("checkpoints", 7.2),
        ],
        tasks: tasks(),
        data: Some(data()),
        config: "seed = 7\n\n[encoder]\nmodel = \"sentence-transformers/all-MiniLM-L6-v2\"\n\n[[task]]\nname = \"topic\"\nkind = \"classification\"\n".to_owned(),
    }
}
