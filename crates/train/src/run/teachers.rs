//! The answers of teachers of vectors to all rows, once, before the first step.
//!
//! They are kept in memory. A run that is resumed asks again: the answers of the same teacher have the
//! same bits.

use std::collections::HashMap;

use polyhead_compute::Threads;
use polyhead_model::{
    LoadOptions, Matrix, ModelFolder, MultiTaskModel, RequestOptions, SentenceEncoder,
};
use polyhead_text::TextInput;

use crate::config::{RunConfig, TaskSettings, VectorLoss};
use crate::data::{Dataset, Split, TeacherAnswers};
use crate::error::{Error, ErrorKind};
use crate::run::open_model;

/// Asks the teacher of each task that has one about all rows of its source.
pub(super) fn ask_teachers(
    config: &RunConfig,
    data: &mut Dataset,
    threads: &Threads,
) -> Result<(), Error> {
    let tasks = config.tasks.len();
    for (index, task) in config.tasks.iter().enumerate() {
        let Some(name) = task.teacher.as_ref().filter(|_| task.kind.compares()) else { continue };
        let in_task = |error: polyhead_model::Error| {
            let message = format!("task `{}`: teacher `{name}`: {error}", task.name);
            Error::with_source(ErrorKind::Model, message, error)
        };
        let folder = open_model(name).map_err(|error| {
            Error::new(error.kind(), format!("task `{}`: teacher: {error}", task.name))
        })?;
        let teacher = Teacher::load(task, folder, threads).map_err(in_task)?;
        let source = data.tasks[index].source;
        let source = &mut data.sources[source];
        for split in [&mut source.train, &mut source.dev, &mut source.test] {
            let answers = teacher.answers(split).map_err(in_task)?;
            split.teachers.resize(tasks, TeacherAnswers::default());
            split.teachers[index] = answers;
        }
        if task.loss.is_some_and(|loss| loss != VectorLoss::MeanSquaredError) {
            check_lists(task, &source.train)?;
        }
    }
    Ok(())
}

/// Scores are compared with each other, so that there have to be two in a row.
fn check_lists(task: &TaskSettings, train: &Split) -> Result<(), Error> {
    match (0..train.len()).find(|row| train.sequences(*row).len() < 3) {
        None => Ok(()),
        Some(row) => {
            let found = train.sequences(row).len();
            let message = format!(
                "{}: task `{}`: expected a text and two or more that it is compared with, for a \
                 loss of scores, found {found} in all",
                train.place(row),
                task.name
            );
            Err(Error::new(ErrorKind::Data, message))
        }
    }
}

/// The number of numbers of a teacher's vector, where a task follows vectors.
pub(super) fn teacher_width(settings: &TaskSettings, train: &Split, task: usize) -> Option<usize> {
    let follows_vectors = settings.loss.is_none_or(|loss| loss == VectorLoss::MeanSquaredError);
    let answers = train.teachers.get(task).filter(|answers| !answers.is_empty())?;
    follows_vectors.then(|| answers.row(0).len() / train.sequences(0).len())
}

/// A model that is followed.
enum Teacher {
    /// By its vectors.
    Vectors(SentenceEncoder),
    /// By the scores that one of its heads gives to pairs.
    Scores(MultiTaskModel, String),
}

impl Teacher {
    fn load(
        task: &TaskSettings,
        folder: ModelFolder,
        threads: &Threads,
    ) -> Result<Self, polyhead_model::Error> {
        let options = LoadOptions::default().threads(threads.count());
        if task.loss.is_none_or(|loss| loss == VectorLoss::MeanSquaredError) {
            return Ok(Self::Vectors(SentenceEncoder::from_folder(folder, &options)?));
        }
        let model = MultiTaskModel::from_folder(folder, &options)?;
        let scoring = model.scoring_task(None)?.name.clone();
        Ok(Self::Scores(model, scoring))
    }

    /// The answers to the rows of a split.
    fn answers(&self, split: &Split) -> Result<TeacherAnswers, polyhead_model::Error> {
        let texts = |row: usize| {
            let further = split.further.get(row).into_iter().flatten();
            split.inputs[row].strings().chain(further.map(String::as_str))
        };
        match self {
            Self::Vectors(encoder) => {
                // Each text once: a query stands in many rows.
                let mut places: HashMap<&str, usize> = HashMap::new();
                let mut distinct: Vec<&str> = Vec::new();
                let mut sequences = Vec::with_capacity(split.tokens.len());
                for text in (0..split.len()).flat_map(texts) {
                    let place = *places.entry(text).or_insert_with(|| {
                        distinct.push(text);
                        distinct.len() - 1
                    });
                    sequences.push(place);
                }
                let vectors: Matrix = encoder.encode(&distinct)?;
                let values = sequences.iter().flat_map(|place| vectors.row(*place));
                let counts = (0..split.len()).map(|row| texts(row).count() * vectors.columns());
                Ok(TeacherAnswers::new(values.copied().collect(), counts))
            }
            Self::Scores(model, task) => {
                let mut pairs: Vec<TextInput<&str>> = Vec::new();
                let mut counts = Vec::with_capacity(split.len());
                for row in 0..split.len() {
                    let mut texts = texts(row);
                    let first = texts.next().unwrap_or_default();
                    let before = pairs.len();
                    pairs.extend(texts.map(|other| TextInput::Pair(first, other)));
                    counts.push(pairs.len() - before);
                }
                let tasks = Some(vec![task.clone()]);
                let options = RequestOptions { tasks, ..RequestOptions::default() };
                let found = model.predict_inputs(&pairs, &options)?;
                let logits = found.texts.iter().map(|text| text.tasks[0].logits.row(0)[0]);
                Ok(TeacherAnswers::new(logits.collect(), counts))
            }
        }
    }
}
