//! Tests of the recipes: the keys that they choose and leave alone, and runs that go on with these.

use std::path::Path;

use polyhead_files::write_file;
use polyhead_model::{HeadInput, ParameterGroup, TaskKind};

use super::*;
use crate::config::RUN_MARK;
use crate::sampler::BatchSampler;
use crate::tasks::kinds::*;

pub(super) fn config(kinds: &[TaskKind], more: &str) -> RunConfig {
    let mut text = format!("{more}\n[data]\ntrain = \"/d/a.jsonl\"\n");
    for (index, kind) in kinds.iter().enumerate() {
        text += &format!("[[task]]\nname = \"t{index}\"\nkind = \"{kind}\"\n");
    }
    RunConfig::parse(&text, Path::new("/c.toml"), &[]).unwrap()
}

/// Facts about new tasks of one source, on an encoder of six layers of width 384.
///
/// - `tasks`: number of tasks
fn facts(rows: usize, tasks: usize) -> Facts {
    let encoder = [ParameterGroup::Embeddings].into_iter().chain((0..6).map(ParameterGroup::Layer));
    Facts {
        rows: vec![rows],
        known: vec![false; tasks],
        label_rows: vec![None; tasks],
        width: 384,
        groups: encoder.chain((0..tasks).map(ParameterGroup::Head)).collect(),
        heads: (0..tasks).map(|head| format!("t{head}")).collect(),
    }
}

/// The keys that the recipe makes of a configuration, and its line of the plan.
fn resolved(config: &RunConfig, facts: &Facts) -> (RunConfig, String) {
    let (resolved, lines) = fill_in(config, facts).unwrap();
    let (batch, train) = (resolved.train.batch_size.get(), &resolved.train);
    let sampler = BatchSampler::new(0, resolved.sampler, batch, &facts.rows).unwrap();
    let steps = sampler.total_steps(train.epochs.get(), train.max_steps);
    let trained = facts.trained_parts(&resolved, sampler.steps_per_epoch(), steps);
    let line = lines.summary(&resolved, trained);
    (resolved, line)
}

const AUTO: &str = "[train]\nrecipe = \"auto\"";
const HEADS: &str = "[train]\nrecipe = \"heads\"";

#[test]
fn the_keys_follow_from_the_facts() {
    let frozen = format!("{AUTO}\n[[freeze]]\nparameters = [\"encoder\"]");
    let partly = format!("{AUTO}\n[[freeze]]\nparameters = [\"encoder\"]\nuntil = \"epoch 1\"");
    struct Case<'a> {
        config: &'a str,
        rows: &'a [usize],
        width: usize,
        /// Batch size, epochs, both learning rates and steps between evaluations.
        expected: (usize, usize, f32, f32, u64),
        /// True if the encoder is frozen.
        frozen: bool,
    }
    let case =
        |config, rows, width, expected, frozen| Case { config, rows, width, expected, frozen };
    for Case { config: text, rows, width, expected, frozen } in [
        case(AUTO, &[16][..], 384, (16, 80, 5e-5, 5e-3, 8), false),
        case(AUTO, &[96], 384, (16, 14, 5e-5, 5e-3, 0), false),
        case(AUTO, &[499], 384, (16, 4, 5e-5, 5e-3, 0), false),
        case(AUTO, &[499], 768, (16, 4, 2.5e-5, 5e-3, 0), false),
        case(AUTO, &[500], 384, (16, 10, 1e-4, 5e-3, 0), false),
        case(AUTO, &[1_999], 384, (16, 4, 1e-4, 5e-3, 0), false),
        case(AUTO, &[2_000], 384, (32, 5, 1e-4, 5e-3, 0), false),
        case(AUTO, &[9_999], 768, (32, 4, 5e-5, 5e-3, 0), false),
        case(AUTO, &[10_000], 384, (32, 4, 2e-4, 2e-3, 0), false),
        case(AUTO, &[20_000], 768, (32, 4, 1e-4, 2e-3, 0), false),
        case(AUTO, &[20_001], 1024, (32, 3, 7.5e-5, 2e-3, 0), false),
        // Several sources.
        case(AUTO, &[100, 50], 64, (16, 8, 5e-5, 5e-3, 0), false),
        case(&partly, &[96], 384, (16, 14, 5e-5, 5e-3, 0), false),
        case(&frozen, &[96], 384, (32, 100, 5e-5, 1e-2, 30), true),
        case(&frozen, &[5_000], 384, (32, 20, 5e-5, 1e-2, 0), true),
        case(&frozen, &[50_000], 384, (32, 8, 5e-5, 1e-2, 0), true),
        case(HEADS, &[96], 384, (32, 100, 5e-5, 1e-2, 30), true),
        case(HEADS, &[10_000_000], 384, (32, 5, 5e-5, 1e-2, 0), true),
    ] {
        let facts = Facts { rows: rows.to_vec(), width, ..facts(0, 1) };
        let (found, line) = resolved(&config(&[Classification], text), &facts);
        let train = found.train;
        let keys = (
            train.batch_size.get(),
            train.epochs.get(),
            train.learning_rate.get(),
            train.head_learning_rate.get(),
            train.evaluate_every,
        );
        assert_eq!(keys, expected, "{rows:?}: {line}");
        assert_eq!(line.contains("the encoder stays frozen"), frozen, "{line}");
    }
}

#[test]
fn a_line_says_what_was_chosen_and_why() {
    for (text, rows, kinds, expected) in [
        (
            AUTO,
            96,
            &[Classification][..],
            "recipe auto: 96 rows: trains the encoder for 14 epochs at 5e-5, heads at \
             5e-3",
        ),
        (
            HEADS,
            420,
            &[Classification, Regression],
            "recipe heads: 420 rows: trains the heads for 22 epochs at 1e-2, the encoder \
             stays frozen",
        ),
    ] {
        let (_, line) = resolved(&config(kinds, text), &facts(rows, kinds.len()));
        assert_eq!(line, expected);
    }
    let (_, lines) = fill_in(&config(&[Classification], AUTO), &facts(96, 1)).unwrap();
    assert_eq!(lines.details[3], "train.epochs = 14: at least 4 epochs and 80 steps");
}

#[test]
fn the_floor_of_steps_holds_however_the_sources_are_drawn() {
    for (kind, rows) in
        [("round-robin", &[10_000, 16][..]), ("proportional", &[4; 20]), ("uniform", &[3, 90, 700])]
    {
        let text = format!("{AUTO}\n[sampler]\nkind = \"{kind}\"");
        let facts = Facts { rows: rows.to_vec(), ..facts(0, 1) };
        let (found, _) = resolved(&config(&[Classification], &text), &facts);
        let sampler = BatchSampler::new(0, found.sampler, found.train.batch_size.get(), rows);
        let steps = sampler.unwrap().total_steps(found.train.epochs.get(), 0);
        assert!(steps >= if rows.len() == 20 { 80 } else { 300 }, "{kind}: {steps} steps");
    }
}

#[test]
fn a_key_that_is_set_wins_also_at_its_default() {
    let few = facts(96, 1);
    let text = "[train]\nrecipe = \"auto\"\nepochs = 3\nhead_learning_rate = 1e-3";
    let (found, _) = resolved(&config(&[Classification], text), &few);
    assert_eq!((found.train.epochs.get(), found.train.head_learning_rate.get()), (3, 1e-3));
    // The steps between evaluations follow from the epochs that are set.
    let (found, _) = resolved(&config(&[Classification], &format!("{AUTO}\nepochs = 40")), &few);
    assert_eq!(found.train.evaluate_every, 24);
    let (found, _) = resolved(&config(&[Classification], &format!("{AUTO}\nmax_steps = 6")), &few);
    assert_eq!(found.train.evaluate_every, 0);
    // A step has a row at least for each of its parts.
    let (found, _) =
        resolved(&config(&[Classification], &format!("{AUTO}\naccumulation = 20")), &few);
    assert_eq!(found.train.batch_size.get(), 20);
    // An empty list of phases is a choice too.
    let text = format!("freeze = []\n{HEADS}");
    let (found, line) = resolved(&config(&[Classification], &text), &few);
    assert!(found.freeze.is_empty() && line.contains("trains the encoder"), "{line}");
    // In code there is no file, so a value that is not the default is set.
    let mut config = config(&[Classification], AUTO);
    config.written = Default::default();
    config.train.epochs = 7.try_into().unwrap();
    let (found, _) = resolved(&config, &few);
    assert_eq!((found.train.epochs.get(), found.train.head_learning_rate.get()), (7, 5e-3));
}

#[test]
fn the_line_and_the_keys_follow_from_the_parts_that_train() {
    let modules = Facts { groups: facts(96, 1).groups, ..facts(96, 1) };
    let modules = Facts {
        groups: modules.groups.iter().copied().chain([ParameterGroup::Module(1)]).collect(),
        ..modules
    };
    let plain = facts(96, 1);
    let frozen = "{ parameters = [\"encoder\"] }";
    let known = "recipe auto: 96 rows";
    for (facts, train, phases, expected, epochs) in [
        (&plain, "", "{ parameters = [\"embeddings\", \"layers.0-5\"] }", "H", 100),
        (
            &plain,
            "",
            "{ parameters = [\"layers.0-5\"] }, { parameters = [\"embeddings\"] }",
            "H",
            100,
        ),
        (&plain, "", "{ parameters = [\"layers.0-5\"] }", "EH", 14),
        (&plain, "", "{ parameters = [\"encoder\"], until = \"epoch 3\" }", "EH", 14),
        (&plain, "epochs = 3", "{ parameters = [\"encoder\"], until = \"epoch 3\" }", "H", 3),
        (&plain, "epochs = 3", "{ parameters = [\"encoder\"], until = \"epoch 2\" }", "EH", 3),
        (&plain, "max_steps = 9", "{ parameters = [\"encoder\"], until = \"step 9\" }", "H", 100),
        (&plain, "", "{ parameters = [\"encoder\"], from = \"step 9\" }", "EH", 14),
        (&plain, "", "{ parameters = [\"heads\"] }", "E", 14),
        (&plain, "", "{ parameters = [\"all\"] }", "", 3),
        (&plain, "", "{ parameters = [\"heads\"] }, { parameters = [\"encoder\"] }", "", 3),
        (&plain, "", "{ parameters = [\"all\"], until = \"epoch 1\" }", "EH", 14),
        (&modules, "", frozen, "MH", 100),
        (&modules, "", "{ parameters = [\"encoder\", \"heads\"] }", "M", 100),
        (&modules, "", "{ parameters = [\"encoder\", \"modules\"] }", "H", 100),
        // An error of the plan, later.
        (&plain, "", "{ parameters = [\"layers.7\"] }", "EH", 14),
    ] {
        let text = format!("freeze = [{phases}]\n{AUTO}\n{train}");
        let (found, line) = resolved(&config(&[Classification], &text), facts);
        let times = format!("for {} epochs", found.train.epochs);
        let expected = match expected {
            "EH" => format!("{known}: trains the encoder {times} at 5e-5, heads at 5e-3"),
            "E" => format!("{known}: trains the encoder {times} at 5e-5, the heads stay frozen"),
            "H" => format!(
                "{known}, the encoder is frozen: trains the heads {times} at 1e-2, the encoder stays \
                 frozen"
            ),
            "MH" => format!(
                "{known}, the encoder is frozen: trains the modules {times} at 5e-5, heads at 1e-2, \
                 the encoder stays frozen"
            ),
            "M" => format!(
                "{known}, the encoder is frozen: trains the modules {times} at 5e-5, the encoder \
                 stays frozen, the heads stay frozen"
            ),
            _ => "recipe auto: nothing trains, the model is evaluated as it is".to_owned(),
        };
        assert_eq!((line, found.train.epochs.get()), (expected, epochs), "{phases}");
    }
}

#[test]
fn heads_alone_train_whatever_else_is_frozen() {
    let one = "{ parameters = [\"head.t1\"], until = \"epoch 1\" }";
    let modules = [ParameterGroup::Module(1)];
    let with = |groups: &[ParameterGroup]| {
        let facts = facts(96, 2);
        Facts { groups: facts.groups.iter().chain(groups).copied().collect(), ..facts }
    };
    for (groups, phases, expected) in [
        (&[][..], one, &["head.t1", "encoder"][..]),
        (&[], "{ parameters = [\"layers.0-4\"] }", &["layers.0-4", "encoder"]),
        (&[], "{ parameters = [\"encoder\"], until = \"epoch 1\" }", &["encoder", "encoder"]),
        (&[], "{ parameters = [\"encoder\"] }", &["encoder"]),
        (&[], "{ parameters = [\"embeddings\", \"layers.0-5\"] }", &["embeddings layers.0-5"]),
        (&modules, one, &["head.t1", "encoder modules"]),
        (&modules, "{ parameters = [\"encoder\"] }", &["encoder", "encoder modules"]),
    ] {
        let user = config(&[Classification; 2], &format!("freeze = [{phases}]\n{HEADS}"));
        let (run, line) = resolved(&user, &with(groups));
        let found: Vec<String> = run.freeze.iter().map(|p| p.parameters.join(" ")).collect();
        assert_eq!(found, expected, "{phases}");
        assert_eq!(run.freeze[..user.freeze.len()], user.freeze[..]);
        assert!(line.ends_with("the encoder stays frozen"), "{line}");
        assert_eq!((run.train.epochs.get(), run.train.head_learning_rate.get()), (100, 1e-2));
        // The run goes on with the file of the user, and from its own.
        let folder = folder(&run.to_toml());
        for begun in [&user, &run] {
            let found = continued(begun, folder.path()).unwrap();
            assert!(run.differences(&found).is_empty(), "{:?}", run.differences(&found));
            assert_eq!(resolved(&found, &with(groups)).0, run);
        }
        // Other phases are a difference as ever.
        let other = config(&[Classification; 2], &format!("freeze = []\n{HEADS}"));
        assert!(!run.differences(&continued(&other, folder.path()).unwrap()).is_empty());
    }
}

#[test]
fn new_heads_for_numbers_learn_them_standardized() {
    let begun = config(&[Regression, Classification, Regression], AUTO);
    let facts = Facts { known: vec![false, false, true], ..facts(96, 3) };
    let (found, _) = resolved(&begun, &facts);
    let standardize: Vec<Option<bool>> = found.tasks.iter().map(|task| task.standardize).collect();
    assert_eq!(standardize, [Some(true), None, None]);
    let mut begun = begun;
    begun.tasks[0].standardize = Some(false);
    assert_eq!(resolved(&begun, &facts).0.tasks[0].standardize, Some(false));
}

#[test]
fn full_changes_nothing() {
    let config = config(&[Classification, Regression], "[train]\nrecipe = \"full\"");
    for rows in [1, 96, 50_000] {
        let facts = facts(rows, 2);
        let (found, lines) = fill_in(&config, &facts).unwrap();
        assert_eq!((&found, lines.details), (&config, Vec::new()));
    }
    let plain = RunConfig { written: Default::default(), ..config };
    assert_eq!(plain.train, crate::TrainSettings { recipe: Recipe::Full, ..Default::default() });
}

#[test]
fn what_was_chosen_is_written_out_and_chooses_itself_again() {
    for text in [AUTO, HEADS, &format!("freeze = []\n{HEADS}")] {
        let begun = config(&[Classification, Regression], text);
        for rows in [96, 50_000] {
            let (once, _) = resolved(&begun, &facts(rows, 2));
            let written = once.to_toml();
            assert!(written.contains(&format!("epochs = {}\n", once.train.epochs)), "{written}");
            let again = RunConfig::parse(&written, Path::new("/x/config.toml"), &[]).unwrap();
            assert_eq!(again, once);
            // Whatever the data.
            for other in [96, 50_000] {
                let (twice, _) = resolved(&again, &facts(other, 2));
                assert_eq!(twice, once);
            }
        }
    }
}

/// A run's folder whose configuration is `config`.
fn folder(config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("{RUN_MARK}\n{config}");
    write_file(&folder.path().join(CONFIG), text.as_bytes()).unwrap();
    folder
}

#[test]
fn a_run_goes_on_with_the_values_that_it_has() {
    let user = config(&[Classification], AUTO);
    let (run, _) = resolved(&user, &facts(96, 1));
    // As an older rule may have chosen.
    let run = run.with(&["train.epochs=61".to_owned()]).unwrap();
    let folder = folder(&run.to_toml());
    let found = continued(&user, folder.path()).unwrap();
    assert_eq!(found, run);
    assert!(found.differences(&run).is_empty());
    // Without rows to look at, nothing is left to choose.
    let (again, _) = resolved(&found, &facts(50_000, 1));
    assert_eq!(again, run);
    // A key that is set is compared as ever.
    let other = config(&[Classification], &format!("{AUTO}\nepochs = 3"));
    let differences = run.differences(&continued(&other, folder.path()).unwrap());
    assert_eq!(differences.len(), 1);
    assert_eq!(differences[0].to_string(), "`train.epochs`: 3, not 61");
}

#[test]
fn a_run_of_a_version_without_recipes_goes_on_as_full() {
    let text = config(&[Classification], "seed = 4").to_toml();
    let without: String =
        text.lines().filter(|line| !line.starts_with("recipe")).map(|l| format!("{l}\n")).collect();
    let folder = folder(&without);
    let run = RunConfig::from_file(&folder.path().join(CONFIG), &[]).unwrap();
    assert_eq!(run.train.recipe, Recipe::Full);
    let user = config(&[Classification], "seed = 4");
    let found = continued(&user, folder.path()).unwrap();
    assert_eq!((found.train.recipe, run.differences(&found)), (Recipe::Full, Vec::new()));
    // Only what is written decides against it.
    let user = config(&[Classification], &format!("seed = 4\n{AUTO}"));
    let found = run.differences(&continued(&user, folder.path()).unwrap());
    assert_eq!(found[0].to_string(), "`train.recipe`: \"auto\", not \"full\"");
}

const FEW_SHOT: &str = "[train]\nrecipe = \"few-shot\"";

/// Facts about so many rows of each label of one task.
fn shots(rows: usize, labels: usize, fewest: usize) -> Facts {
    let of = Some(facts::LabelledRows { rows: rows * labels, labels, fewest });
    Facts { label_rows: vec![of], ..facts(rows * labels, 1) }
}

#[test]
fn few_rows_set_labels_apart_and_heads_learn_the_vectors() {
    let (found, line) = resolved(&config(&[Classification], FEW_SHOT), &shots(8, 6, 8));
    let train = &found.train;
    let steps = train.contrast_steps.unwrap().get();
    let rest = "then trains the heads at 2e-2";
    let expected = format!(
        "recipe few-shot: 48 rows: sets labels apart in the sentence vectors for {steps} steps at \
         5e-5, {rest}"
    );
    assert_eq!(line, expected);
    // Three steps an epoch.
    assert_eq!(train.epochs.get() as u64, (steps + 400).div_ceil(3));
    assert_eq!((found.tasks[0].dropout.get(), found.tasks[0].input), (0.0, HeadInput::Embedding));
    let phases: Vec<String> = found.freeze.iter().map(|phase| format!("{phase:?}")).collect();
    assert!(
        phases[0].contains("heads") && phases[0].contains(&format!("until: Some(Step({steps}))"))
    );
    assert!(
        phases[1].contains("encoder") && phases[1].contains(&format!("Some(Step({}))", steps + 1))
    );
    // Keys that are set win, and phases that are set come first.
    let text = "[train]\nrecipe = \"few-shot\"\ncontrast_steps = 7\nbatch_size = 4\n\
                [[freeze]]\nparameters = [\"embeddings\"]";
    let user = config(&[Classification], text);
    let (found, _) = resolved(&user, &shots(8, 6, 8));
    let keys = (found.train.contrast_steps.unwrap().get(), found.train.batch_size.get());
    assert_eq!(keys, (7, 4));
    assert_eq!((found.freeze.len(), &found.freeze[0]), (3, &user.freeze[0]));
    // The run goes on with the file of the user, and from its own.
    let folder = folder(&found.to_toml());
    for begun in [&user, &found] {
        let again = continued(begun, folder.path()).unwrap();
        assert!(found.differences(&again).is_empty(), "{:?}", found.differences(&again));
        assert_eq!(resolved(&again, &shots(8, 6, 8)).0, found);
    }
}

#[test]
fn auto_chooses_few_shot_where_rows_of_each_label_are_few_and_nothing_speaks_against_it() {
    let chosen = |text: &str, kinds: &[TaskKind], facts: &Facts| {
        resolved(&config(kinds, text), facts).0.train.contrast_steps.is_some()
    };
    let one = &[Classification][..];
    assert!(chosen(AUTO, one, &shots(8, 6, 8)));
    assert!(chosen(AUTO, one, &shots(16, 2, 2)));
    let known = Facts { known: vec![true], ..shots(8, 6, 8) };
    let number = Facts { label_rows: vec![shots(8, 6, 8).label_rows[0], None], ..facts(48, 2) };
    for (text, kinds, facts) in [
        (AUTO, one, &shots(17, 6, 8)),
        (AUTO, one, &shots(8, 6, 1)),
        (AUTO, one, &known),
        (AUTO, &[Classification, Regression], &number),
        ("[train]\nepochs = 3", one, &shots(8, 6, 8)),
        ("freeze = []", one, &shots(8, 6, 8)),
        (HEADS, one, &shots(8, 6, 8)),
        ("[train]\nrecipe = \"full\"", one, &shots(8, 6, 8)),
    ] {
        assert!(!chosen(text, kinds, facts), "{text} {facts:?}");
    }
}
