//! Teachers of heads: the head of another model, whose answers a task learns beside its labels.
//!
//! A teacher answers all training rows once, before the first step. A run that is resumed asks again: the
//! answers have the same bits.

use polyhead_compute::Threads;
use polyhead_files::{listed, quoted};
use polyhead_model::{
    Answer, HeadSpec, LoadOptions, ModelFolder, MultiTaskModel, RequestOptions, TargetScale,
    TaskAnswer, TaskKind,
};

use crate::config::{RunConfig, TaskSettings};
use crate::data::{Dataset, Split};
use crate::error::{Error, ErrorKind};
use crate::run::open_model;

/// Checks that each teacher of a head has one of the same kind with all labels of the task.
///
/// # Errors
/// [`ErrorKind::Config`] with the task, what was expected and found, and those of [`open_model`].
pub(super) fn check_head_teachers(config: &RunConfig, data: &Dataset) -> Result<(), Error> {
    for (settings, task) in config.tasks.iter().zip(&data.tasks) {
        if let Some(name) = teacher_of(settings) {
            let folder = open_teacher(settings, name)?;
            columns(settings, head(settings, &folder)?, &task.labels)?;
        }
    }
    Ok(())
}

/// The model whose head a task follows.
pub(super) fn teacher_of(settings: &TaskSettings) -> Option<&str> {
    settings.teacher.as_deref().filter(|_| !settings.kind.compares())
}

/// `[rows, outputs]`, or `[words, outputs]` of all words: the logits of a task's teacher for the rows of a
/// split, in the order of the task's labels and in the scale of its targets. Words without a token have
/// zeros.
///
/// # Errors
/// The errors of [`check_head_teachers`], [`ErrorKind::Model`] if the teacher cannot answer, and
/// [`ErrorKind::Data`] if it reads fewer words of a row than the task.
pub(super) fn head_answers(
    settings: &TaskSettings,
    labels: &[String],
    target: Option<TargetScale>,
    split: &Split,
    threads: &Threads,
) -> Result<Vec<f32>, Error> {
    let name = teacher_of(settings).unwrap_or_default();
    let folder = open_teacher(settings, name)?;
    let head = head(settings, &folder)?.clone();
    let columns = columns(settings, &head, labels)?;
    let in_task = |error: polyhead_model::Error| {
        let message = format!("task `{}`: teacher `{name}`: {error}", settings.name);
        Error::with_source(ErrorKind::Model, message, error)
    };
    let options = LoadOptions::default().threads(threads.count());
    let model = MultiTaskModel::from_folder(folder, &options).map_err(in_task)?;
    let tasks = Some(vec![head.name.clone()]);
    let options = RequestOptions { tasks, ..RequestOptions::default() };
    let found = model.predict_inputs(&split.inputs, &options).map_err(in_task)?;
    let mut logits = Vec::new();
    for (row, text) in found.texts.iter().enumerate() {
        let answer = &text.tasks[0];
        if settings.kind.reads_words() {
            add_words(settings, (split, row), answer, &columns, &mut logits)?;
        } else if settings.kind == TaskKind::Regression {
            let number = head.number(answer.logits.row(0)[0]);
            logits.push(target.map_or(number, |target| target.standardized(number)));
        } else {
            let of_row = answer.logits.row(0);
            logits.extend(columns.iter().map(|column| of_row[*column]));
        }
    }
    Ok(logits)
}

/// Adds the logits of all words of a row.
fn add_words(
    settings: &TaskSettings,
    (split, row): (&Split, usize),
    answer: &TaskAnswer,
    columns: &[usize],
    logits: &mut Vec<f32>,
) -> Result<(), Error> {
    let Answer::Tokens(text) = &answer.answer else { return Ok(()) };
    for (at, word) in split.words.row(row).enumerate() {
        match text.words.get(at).and_then(|word| word.row) {
            Some(of_word) => {
                let of_word = answer.logits.row(of_word);
                logits.extend(columns.iter().map(|column| of_word[*column]));
            }
            None if split.words.first_tokens[word].is_none() => {
                logits.extend(columns.iter().map(|_| 0.0));
            }
            None => {
                let message = format!(
                    "{}: task `{}`: expected a teacher that reads all words of the row, found one \
                     that does not see word {}",
                    split.place(row),
                    settings.name,
                    at + 1
                );
                return Err(Error::new(ErrorKind::Data, message));
            }
        }
    }
    Ok(())
}

fn open_teacher(settings: &TaskSettings, name: &str) -> Result<ModelFolder, Error> {
    open_model(name).map_err(|error| {
        Error::new(error.kind(), format!("task `{}`: teacher: {error}", settings.name))
    })
}

/// The head that a task follows.
fn head<'a>(settings: &TaskSettings, folder: &'a ModelFolder) -> Result<&'a HeadSpec, Error> {
    let name = settings.teacher_task.as_ref().unwrap_or(&settings.name);
    let of_name = folder.heads.iter().map(|head| &head.spec).find(|spec| spec.name == *name);
    match of_name {
        Some(spec) if spec.kind == settings.kind => Ok(spec),
        Some(spec) => Err(wrong(
            settings,
            &format!("a task {} of kind {}", quoted(name), settings.kind),
            &format!("one of kind {}", spec.kind),
        )),
        None => {
            let names: Vec<&str> = folder.heads.iter().map(|head| &*head.spec.name).collect();
            let found = if names.is_empty() { "none".to_owned() } else { listed(&names) };
            Err(wrong(
                settings,
                &format!("a task {} (`teacher_task` names another)", quoted(name)),
                &found,
            ))
        }
    }
}

/// The teacher's outputs in the order of the task's.
fn columns(
    settings: &TaskSettings,
    head: &HeadSpec,
    labels: &[String],
) -> Result<Vec<usize>, Error> {
    if settings.kind == TaskKind::Ordinal && head.labels != labels {
        let expected = format!("the labels {} in this order", listed(labels));
        return Err(wrong(settings, &expected, &listed(&head.labels)));
    }
    if !settings.kind.has_labels() || settings.kind == TaskKind::Ordinal {
        return Ok((0..head.outputs()).collect());
    }
    let place = |label: &String| head.labels.iter().position(|known| known == label);
    let missing: Vec<&String> = labels.iter().filter(|label| place(label).is_none()).collect();
    match missing.is_empty() {
        true => Ok(labels.iter().filter_map(place).collect()),
        false => Err(wrong(
            settings,
            "a teacher with all labels of the task",
            &format!("one without {}", listed(&missing)),
        )),
    }
}

fn wrong(settings: &TaskSettings, expected: &str, found: &str) -> Error {
    let teacher = settings.teacher.as_deref().unwrap_or_default();
    let message = format!(
        "task `{}`: teacher `{teacher}`: expected {expected}, found {found}",
        settings.name
    );
    Error::new(ErrorKind::Config, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(kind: TaskKind) -> TaskSettings {
        TaskSettings {
            name: "mood".to_owned(),
            kind,
            teacher: Some("runs/a".to_owned()),
            ..TaskSettings::default()
        }
    }

    fn owned(labels: &[&str]) -> Vec<String> {
        labels.iter().map(|label| (*label).to_owned()).collect()
    }

    #[test]
    fn labels_are_found_by_name_and_missing_ones_are_named() {
        use TaskKind::{Classification, MultiLabel, Ordinal, Regression, Tokens};
        for kind in [Classification, MultiLabel, Tokens] {
            let head = HeadSpec::new("mood", kind, &["glad", "sad", "cross"]);
            let found = columns(&task(kind), &head, &owned(&["cross", "glad"])).unwrap();
            assert_eq!(found, [2, 0], "{kind}");
            let error =
                columns(&task(kind), &head, &owned(&["cross", "calm", "bored"])).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert_eq!(
                error.to_string(),
                "task `mood`: teacher `runs/a`: expected a teacher with all labels of the task, found \
                 one without `calm`, `bored`"
            );
        }
        let degrees = HeadSpec::new("mood", Ordinal, &["low", "high"]);
        assert_eq!(columns(&task(Ordinal), &degrees, &owned(&["low", "high"])).unwrap(), [0]);
        let error = columns(&task(Ordinal), &degrees, &owned(&["high", "low"])).unwrap_err();
        assert!(
            error.to_string().ends_with("labels `high`, `low` in this order, found `low`, `high`")
        );
        let number = HeadSpec::new("mood", Regression, &[]);
        assert_eq!(columns(&task(Regression), &number, &[]).unwrap(), [0]);
    }
}
