//! Pairs of texts to scores, and passages ranked for a query.

use polyhead_text::{TextInput, TextTokens, Truncation};

use crate::error::{Error, fail};
use crate::heads::{Answer, HeadSpec};
use crate::predict::multi_task::MultiTaskModel;
use crate::predict::request::RequestOptions;
use crate::sentence::OnTruncate;

/// A model with a head that gives a pair of texts a score.
pub struct CrossEncoder {
    model: MultiTaskModel,
    task: String,
}

/// A passage, and its score for a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankedPassage {
    /// Index of the passage in the list that was given.
    pub index: usize,
    /// The head's answer; the larger, the better.
    pub score: f32,
    /// Token counts of query and passage together, before and after cutting.
    pub tokens: TextTokens,
}

impl CrossEncoder {
    /// Loads a cross-encoder as sentence-transformers saves it, or a model that was trained with a
    /// regression on pairs.
    ///
    /// # Errors
    /// The errors of [`MultiTaskModel::load`] and of [`new`](Self::new).
    pub fn load(model: &str) -> Result<Self, Error> {
        Self::new(MultiTaskModel::load(model)?, None)
    }

    /// Takes a model that is loaded.
    ///
    /// - `task`: the task that scores; `None` if there is only one
    ///
    /// # Errors
    /// The errors of [`MultiTaskModel::scoring_task`].
    pub fn new(model: MultiTaskModel, task: Option<&str>) -> Result<Self, Error> {
        let task = model.scoring_task(task)?.name.clone();
        Ok(Self { model, task })
    }

    /// The model, for its other answers.
    pub fn model(&self) -> &MultiTaskModel {
        &self.model
    }

    /// Returns the score of each pair, in order. Pairs that are too long are cut as in training.
    ///
    /// # Errors
    /// The errors of [`MultiTaskModel::predict_with`].
    pub fn scores(&self, pairs: &[(impl AsRef<str>, impl AsRef<str>)]) -> Result<Vec<f32>, Error> {
        let pairs = pairs.iter().map(|(a, b)| TextInput::Pair(a.as_ref(), b.as_ref()));
        let found = self.answers(&pairs.collect::<Vec<_>>(), OnTruncate::Cut)?;
        Ok(found.into_iter().map(|(score, _)| score).collect())
    }

    /// Returns all passages, the best one first; those with the same score stay in order. Passages
    /// that are too long are cut, and the query is not.
    ///
    /// # Errors
    /// The errors of [`MultiTaskModel::predict_with`]; also if the query leaves no room for a passage.
    pub fn rank(
        &self,
        query: &str,
        passages: &[impl AsRef<str>],
    ) -> Result<Vec<RankedPassage>, Error> {
        let pairs = passages.iter().map(|passage| TextInput::Pair(query, passage.as_ref()));
        let cut = OnTruncate::CutPairs(Truncation::Second);
        let found = self.answers(&pairs.collect::<Vec<_>>(), cut)?;
        let ranked = found.into_iter().enumerate();
        let mut ranked: Vec<RankedPassage> =
            ranked.map(|(index, (score, tokens))| RankedPassage { index, score, tokens }).collect();
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
        Ok(ranked)
    }

    fn answers(
        &self,
        pairs: &[TextInput<&str>],
        on_truncate: OnTruncate,
    ) -> Result<Vec<(f32, TextTokens)>, Error> {
        let tasks = Some(vec![self.task.clone()]);
        let options = RequestOptions { tasks, on_truncate, ..RequestOptions::default() };
        let found = self.model.predict_inputs(pairs, &options)?;
        let scores = found.texts.iter().map(|text| match text.tasks[0].answer {
            Answer::Regression(score) => (score, text.tokens),
            _ => unreachable!("the task has no labels: see `scoring_task`"),
        });
        Ok(scores.collect())
    }
}

impl MultiTaskModel {
    /// The task that gives a pair of texts a score.
    ///
    /// - `name`: name of the task; `None` if there is only one
    ///
    /// # Errors
    /// [`ErrorKind::UnknownTask`](crate::ErrorKind::UnknownTask) if there is no such task,
    /// [`ErrorKind::Option`](crate::ErrorKind::Option) if several score and none is named.
    pub fn scoring_task(&self, name: Option<&str>) -> Result<&HeadSpec, Error> {
        let named = |spec: &&HeadSpec| name.is_none_or(|name| spec.name == name);
        let found: Vec<&HeadSpec> =
            self.tasks().filter(|spec| spec.scores_pairs()).filter(named).collect();
        match (&found[..], name) {
            ([task], _) => Ok(task),
            ([], Some(name)) if self.tasks().any(|spec| spec.name == name) => fail!(
                UnknownTask,
                "task `{name}`: expected a regression that was trained on pairs of texts, found \
                 another task"
            ),
            ([], name) => {
                let wanted = name.map_or(String::new(), |name| format!("task `{name}`: "));
                fail!(
                    UnknownTask,
                    "{wanted}expected a cross-encoder, a model with a regression that was trained on \
                     pairs of texts, found none"
                )
            }
            (several, _) => {
                let names: Vec<&str> = several.iter().map(|spec| spec.name.as_str()).collect();
                fail!(
                    Option,
                    "task: expected one of {}, as several tasks score pairs, found none",
                    names.join(", ")
                )
            }
        }
    }
}
