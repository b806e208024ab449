//! Heads that are held to the answers of the starting model.

use polyhead_train::TeacherShare;

use super::*;

/// Does a step of one task, in two parts.
fn step_of(
    task: usize,
    threads: &Threads,
    (learner, config, split): (&mut Learner, &RunConfig, &Split),
    rows: &[u32],
    teachers: &[Vec<f32>],
) -> StepOutcome {
    let batch = StepBatch { split, rows, tasks: &[task], teachers, accumulation: 2 };
    step(learner, config, threads, 1, &batch).unwrap()
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
                let mut other = random_learner(&threads, 0.0).0;
                step_of(task, &threads, (&mut other, &config, &split), &rows, &[])
            };
            let teachers = answers(&learner.network, &threads, &split, &learner).logits;
            learner.objectives[task].teacher = Some(TeacherShare::ALL);
            let of = (&mut learner, &config, &split);
            let outcome = step_of(task, &threads, of, &rows, &teachers);
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
        learner.objectives[task].teacher = Some(TeacherShare::ALL);
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
    learner.objectives[tags].teacher = Some(TeacherShare::ALL);
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

#[test]
fn a_share_of_a_teacher_mixes_both_gradients_and_losses() {
    let threads = Threads::new(2).unwrap();
    let rows: Vec<u32> = (0..24).collect();
    let kinds =
        [TaskKind::Classification, TaskKind::MultiLabel, TaskKind::Tokens, TaskKind::Regression];
    for (task, kind) in kinds.into_iter().enumerate() {
        let trained = |share: Option<f32>| {
            let (mut learner, config, split) = random_learner(&threads, 0.0);
            let mut teachers = answers(&learner.network, &threads, &split, &learner).logits;
            // Another opinion than the learner's own.
            for (at, logit) in teachers[task].iter_mut().enumerate() {
                *logit += (at % 5) as f32 - 2.0;
            }
            let teacher = share.map(|share| TeacherShare { share, anneals: false });
            learner.objectives[task].teacher = teacher;
            let of = (&mut learner, &config, &split);
            let outcome = step_of(task, &threads, of, &rows, &teachers);
            (learner, outcome.tasks[task].loss.unwrap())
        };
        let (labels, teacher, both) = (trained(None), trained(Some(1.0)), trained(Some(0.25)));
        let expected = 0.75 * labels.1 + 0.25 * teacher.1;
        assert!((both.1 - expected).abs() < 1e-6 * expected.abs(), "{kind}: {}", both.1);
        for (index, entry) in both.0.network.store().entries().iter().enumerate() {
            let of = |learner: &Learner| learner.gradients().get(index).unwrap().to_vec();
            let (labels, teacher) = (of(&labels.0), of(&teacher.0));
            let expected: Vec<f32> =
                labels.iter().zip(&teacher).map(|(a, b)| 0.75 * a + 0.25 * b).collect();
            if entry.name.ends_with(".key.bias") || largest(&expected) == 0.0 {
                continue;
            }
            // Rounding of sums of the same numbers.
            let what = format!("{kind}: {}", entry.name);
            assert_close(&what, &of(&both.0), &expected, 1e-4);
        }
    }
}
