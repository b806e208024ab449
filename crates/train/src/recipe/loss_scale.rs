//! The sizes of the tasks' losses before the first step, and weights that even them.

use crate::config::RunConfig;
use crate::data::Dataset;
use crate::recipe::RecipeLines;
use crate::tasks::{Objective, targets};

/// Training rows of a task that its loss is computed from, evenly spread.
const ROWS: usize = 1_000;

/// Largest ratio of two losses before the first step that needs no note.
const DROWNS: f64 = 4.0;

/// The loss of a head whose logits are all 0, as those of an untrained head nearly are, for each
/// task; `None` where it says nothing: for tasks that are held to the answers of the starting model,
/// or begin with its head.
///
/// - `known`: for each task, true if the starting model has its head
pub(crate) fn starting_losses(
    data: &Dataset,
    objectives: &[Objective],
    known: &[bool],
) -> Vec<Option<f64>> {
    let loss = |(task, objective): (usize, &Objective)| {
        if objective.compares() {
            return None;
        }
        let train = &data.sources[data.tasks[task].source].train;
        let labelled = (0..train.len()).filter(|&row| train.labels[task].is_labelled(row));
        let labelled: Vec<usize> = labelled.collect();
        let rows = labelled.iter().copied().step_by(labelled.len().div_ceil(ROWS).max(1));
        let (mut sum, mut normaliser) = (0.0, 0.0);
        for row in rows {
            // One at a time: a task may have many labels.
            let targets = targets(train, task, std::iter::once(row));
            let logits = vec![0.0; targets.len() * objective.outputs()];
            sum += objective.loss(&logits, &targets, 1.0, &mut []);
            normaliser += objective.normaliser(&targets);
        }
        let loss = sum / normaliser;
        let is_new = objective.label_share() > 0.0 && !known[task];
        (is_new && loss.is_finite() && loss > 0.0).then_some(loss)
    };
    objectives.iter().enumerate().map(loss).collect()
}

/// Sets the weight of every task so that all losses begin at like size and the weights have a mean
/// of 1, if the recipe asks for it.
pub(crate) fn even_losses(
    config: &mut RunConfig,
    recipe: &mut RecipeLines,
    losses: &[Option<f64>],
) {
    let known: Vec<f64> = losses.iter().flatten().copied().collect();
    if !recipe.evens || known.len() < 2 {
        return;
    }
    let inverse: f64 = known.iter().map(|loss| 1.0 / loss).sum();
    for (task, loss) in config.tasks.iter_mut().zip(losses) {
        let Some(loss) = loss else { continue };
        let weight = known.len() as f64 / inverse / loss;
        // Three digits are enough, and can be read.
        let weight: f32 = format!("{weight:.2e}").parse().unwrap_or(1.0);
        let Ok(checked) = weight.try_into() else { continue };
        task.weight = checked;
        recipe
            .details
            .push(format!("task.{}.weight = {weight}: the loss begins at {loss:.2}", task.name));
    }
}

/// The note about a task whose weighted loss begins many times as large as that of another.
pub(crate) fn drowned(config: &RunConfig, losses: &[Option<f64>]) -> Option<String> {
    let weighted = config.tasks.iter().zip(losses).filter_map(|(task, loss)| {
        let loss = f64::from(task.weight.get()) * (*loss)?;
        (loss > 0.0).then_some((loss, &task.name))
    });
    let all: Vec<(f64, &String)> = weighted.collect();
    let (largest, loud) = *all.iter().max_by(|a, b| a.0.total_cmp(&b.0))?;
    let (least, quiet) = *all.iter().min_by(|a, b| a.0.total_cmp(&b.0))?;
    let times = largest / least;
    (times > DROWNS).then(|| {
        format!(
            "the loss of task `{loud}` begins {times:.0} times as large as that of `{quiet}` and \
             may drown it: `weight` evens them, and a recipe other than `full` does so where no \
             weight is set"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ClassWeights;
    use crate::data::tests::{Folder, task, tokenize};
    use crate::recipe::tests::config;
    use crate::tasks::kinds::*;
    use polyhead_model::TargetScale;

    #[test]
    fn an_untrained_head_has_the_loss_of_a_guess() {
        let rows = "{\"text\": \"a b\", \"c\": \"x\", \"s\": [\"p\"], \"n\": 30, \"t\": [\"O\", \"B-x\"], \"tokens\": [\"a\", \"b\"]}\n\
                    {\"text\": \"c\", \"c\": \"y\", \"s\": [], \"n\": 50, \"t\": [\"I-x\"], \"tokens\": [\"c\"]}\n\
                    {\"text\": \"d\", \"c\": \"z\"}\n";
        let folder = Folder::new(&[("train.jsonl", rows)]);
        let kinds = [("c", Classification), ("s", MultiLabel), ("n", Regression), ("t", Tokens)];
        let tasks: Vec<_> = kinds.iter().map(|(name, kind)| task(name, *kind)).collect();
        let data = Dataset::load(&folder.files(&["train.jsonl"]), &tasks, &tokenize).unwrap();
        let mut settings = config(&kinds.map(|(_, kind)| kind), "").tasks;
        let objectives = |settings: &[crate::TaskSettings]| -> Vec<Objective> {
            let tasks = data.tasks.iter().zip(settings).enumerate();
            let objective = |(index, (task, settings)): (usize, (&crate::DataTask, _))| {
                let labels = &data.sources[0].train.labels[index];
                Objective::from_settings(settings, &task.labels, labels).unwrap()
            };
            tasks.map(objective).collect()
        };
        let near = |found: Vec<Option<f64>>, expected: [f64; 4]| {
            for (found, expected) in found.into_iter().zip(expected) {
                let found = found.unwrap();
                assert!((found - expected).abs() < 1e-5 * expected, "{found}, not {expected}");
            }
        };
        let ln = f64::ln;
        let mut plain = objectives(&settings);
        near(starting_losses(&data, &plain, &[false; 4]), [ln(3.0), ln(2.0), 1700.0, ln(3.0)]);
        plain[2].target = Some(TargetScale { mean: 40.0, deviation: 10.0 });
        near(starting_losses(&data, &plain, &[false; 4]), [ln(3.0), ln(2.0), 1.0, ln(3.0)]);
        // Weights of labels do not move the mean; those of positive rows do.
        settings[0].class_weights = Some(ClassWeights::Balanced);
        settings[1].positive_weights = Some(ClassWeights::Given(vec![("p".to_owned(), 3.0)]));
        settings[3].label_smoothing = 0.1.try_into().unwrap();
        let weighted = objectives(&settings);
        near(
            starting_losses(&data, &weighted, &[false; 4]),
            [ln(3.0), 2.0 * ln(2.0), 1700.0, ln(3.0)],
        );
        settings[0].keep = Some(crate::Keep::Distill);
        assert_eq!(starting_losses(&data, &objectives(&settings), &[false; 4])[0], None);
        // A head that is known begins where it ended.
        let losses = starting_losses(&data, &plain, &[false, false, true, false]);
        assert_eq!(
            losses.iter().map(Option::is_some).collect::<Vec<_>>(),
            [true, true, false, true]
        );
    }

    #[test]
    fn weights_even_the_losses_and_a_note_says_where_they_do_not() {
        let mut run = config(&[Classification, Regression, Tokens], "");
        let losses = [Some(0.5), Some(2_000.0), None];
        let note = drowned(&run, &losses).unwrap();
        assert!(
            note.starts_with("the loss of task `t1` begins 4000 times as large as that of `t0`")
        );
        let mut recipe = RecipeLines::default();
        even_losses(&mut run, &mut recipe, &losses);
        assert_eq!(
            (run.tasks[0].weight.get(), recipe.details.len()),
            (1.0, 0),
            "the recipe leaves them"
        );
        recipe.evens = true;
        even_losses(&mut run, &mut recipe, &losses);
        let weights: Vec<f32> = run.tasks.iter().map(|task| task.weight.get()).collect();
        assert_eq!(weights, [2.0, 5e-4, 1.0]);
        assert_eq!(recipe.details[1], "task.t1.weight = 0.0005: the loss begins at 2000.00");
        assert_eq!(drowned(&run, &losses), None);
        // One loss is like itself.
        let mut one = config(&[Classification], "");
        even_losses(&mut one, &mut recipe, &losses[..1]);
        assert_eq!((one.tasks[0].weight.get(), drowned(&one, &losses[..1])), (1.0, None));
    }
}
