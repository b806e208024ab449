//! The answers of a finished model to the rows that judge it, kept for comparisons with other runs.

use polyhead_files::write_file;
use polyhead_model::TaskKind;
use serde::{Deserialize, Serialize};

use crate::data::Part;
use crate::error::Error;
use crate::run::Run;
use crate::run::finish::FinalAnswers;
use crate::tasks::{ChosenRows, LabelNames, RowAnswers, SplitAnswers, TaskMetrics, rules};

/// The file of a run with its [`KeptAnswers`].
pub(crate) const ANSWERS: &str = "answers.json";

/// The answers of the tasks of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptAnswers {
    pub(crate) tasks: Vec<TaskAnswers>,
}

/// The answers of a task to the labelled rows of test, or of dev if test has none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TaskAnswers {
    pub(crate) name: String,
    /// Labels of the head.
    pub(crate) labels: Vec<String>,
    /// Labels that only the judging rows have.
    pub(crate) others: Vec<String>,
    pub(crate) part: Part,
    /// Passes of training over the rows of the task.
    pub(crate) epochs: f64,
    pub(crate) rows: RowAnswers,
}

impl TaskAnswers {
    /// Metrics of some rows; `None` if there is none.
    ///
    /// - `kind`: that of the task
    pub(crate) fn metrics(
        &self,
        kind: TaskKind,
        chosen: &mut dyn Iterator<Item = usize>,
    ) -> Option<TaskMetrics> {
        let names = LabelNames { head: &self.labels, others: &self.others };
        rules(kind).score_rows(ChosenRows { names, answers: &self.rows, chosen, loss: None })
    }

    /// The reason why these cannot be answers of a task of that kind, if there is one.
    pub(crate) fn problem(&self, kind: TaskKind) -> Option<String> {
        let fits = self.rows.fits(kind, self.labels.len());
        let found = self.rows.len();
        (!fits).then(|| format!("expected answers of kind {kind}, found {found} others"))
    }
}

impl Run<'_> {
    /// Writes the answers of the finished model beside it.
    ///
    /// - `all`: answers to dev and test of all sources
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind) if the file cannot be written.
    pub(super) fn write_answers(&self, all: &[FinalAnswers]) -> Result<(), Error> {
        let tasks = (0..self.plan.objectives.len()).filter_map(|task| self.task_answers(task, all));
        let kept = KeptAnswers { tasks: tasks.collect() };
        let text = serde_json::to_vec(&kept).expect("plain structures are JSON");
        Ok(write_file(&self.directory.join(ANSWERS), &text)?)
    }

    /// `None` if no row has a label, or the kind has no answers of rows.
    fn task_answers(&self, task: usize, all: &[FinalAnswers]) -> Option<TaskAnswers> {
        let source = self.plan.data.tasks[task].source;
        let head = self.learner.network.head_spec(task);
        let objective = &self.learner.objectives[task];
        [Part::Test, Part::Dev].into_iter().find_map(|part| {
            let is_wanted = |found: &&FinalAnswers| (found.source, found.part) == (source, part);
            let FinalAnswers { answers, .. } = all.iter().find(is_wanted)?;
            let answers = SplitAnswers {
                logits: &answers.logits[task],
                head,
                split: self.plan.data.sources[source].split(part),
                task,
                loss: None,
                widths: &[],
                objective,
            };
            let rows = rules(head.kind).row_answers(&answers)?;
            let names = answers.label_names();
            (rows.len() > 0).then(|| TaskAnswers {
                name: head.name.clone(),
                labels: names.head.to_vec(),
                others: names.others.to_vec(),
                part,
                epochs: self.plan.sampler.effective_epochs(self.done)[source],
                rows,
            })
        })
    }
}
