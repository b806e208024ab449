//! Heads without labels, labels without weight, numbers that are not finite.

use std::fs;

use polyhead_train::{RunConfig, Trainer, TrainingSession};

use super::*;
use crate::common::place::Place;

/// Returns true if a row has a label of a task.
fn teaches(split: &Split, task: usize, row: u32) -> bool {
    match &split.labels[task] {
        // A row with tags for no word at all has none.
        TaskLabels::Tags(rows) => rows[row as usize].as_ref().is_some_and(|tags| !tags.is_empty()),
        labels => labels.is_labelled(row as usize),
    }
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
        let without: Vec<u32> = (0..24u32).filter(|row| !teaches(&split, task, *row)).collect();
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
        // The first of two parts of the rows that have a label.
        let labelled: Vec<u32> = (rows.iter().copied())
            .filter(|row| tasks.iter().any(|task| teaches(&split, *task, *row)))
            .collect();
        let part = &labelled[..labelled.len().div_ceil(2)];
        let shown: Vec<String> =
            part.iter().take(8).map(|row| format!("rows.jsonl: line {}", row + 1)).collect();
        let more = part.len().checked_sub(8).filter(|more| *more > 0);
        let more = more.map_or(String::new(), |more| format!(", and {more} more"));
        let start = format!(
            "step 17, {expected}, rows {}{more}: expected a finite loss, found ",
            shown.join(", ")
        );
        assert!(message.starts_with(&start), "{name}: {message}");
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

/// A loop by hand computes all rows of a batch, the loop of a run those with a label.
#[test]
fn rows_without_a_label_cost_nothing_and_change_no_bit() {
    let threads = Threads::new(2).unwrap();
    let place = Place::new();
    let text = Place::text_of("tiny-bert", "");
    let (head, tasks) = text.split_once("[[task]]").unwrap();
    let topic = tasks.split("[[task]]").next().unwrap();
    let train = "[train]\nrecipe = \"full\"\nmax_steps = 8\nbatch_size = 6\nlearning_rate = 1e-3\n";
    let config =
        RunConfig::parse(&format!("{head}[[task]]{topic}{train}"), &place.path("c.toml"), &[]);
    let config = config.unwrap();
    let mut session = TrainingSession::new(&config, &threads).unwrap();
    for step in 1..=8 {
        let batch = session.batch(step);
        session.forward(&batch);
        session.loss(&batch, 0).unwrap();
        session.backward(&batch);
        session.step(&batch).unwrap();
    }
    session.save(&place.path("hand")).unwrap();
    Trainer::new(config).threads(1).train(&place.path("run"), false).unwrap();
    for name in ["model.safetensors", "heads.safetensors"] {
        let [by_hand, of_run] =
            [place.path("hand"), place.path("run/model")].map(|folder| fs::read(folder.join(name)));
        assert!(by_hand.unwrap() == of_run.unwrap(), "{name}");
    }

    let (mut learner, config, split) = random_learner(&threads, 0.1);
    let rows: Vec<u32> = (0..24).collect();
    let batch =
        StepBatch { split: &split, rows: &rows, tasks: &[0], teachers: &[], accumulation: 1 };
    let outcome = step(&mut learner, &config, &threads, 1, &batch).unwrap();
    let labelled = (0..24).filter(|row| split.labels[0].is_labelled(*row));
    assert_eq!(outcome.tokens, labelled.map(|row| split.row_tokens(row)).sum::<usize>());
    assert!(outcome.tokens < split.tokens.tokens());
}
