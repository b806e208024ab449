//! The flags by which `eval` searches a collection, and the metrics of its rankings.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use polyhead_model::{ModelFolder, SentenceEncoder, TaskKind};
use polyhead_train::{Collection, TaskMetrics};

use crate::failure::usage;
use crate::flags::{LoadArgs, SearchPromptArgs, vectors_of};

/// A collection to search in.
#[derive(Debug, Args)]
pub(crate) struct CollectionArgs {
    /// In place of rows, a collection to search in: its documents, with `_id`, `title` and `text`
    #[arg(long, value_name = "FILE", requires_all = ["queries", "qrels"], help_heading = "Input")]
    #[arg(conflicts_with_all = ["input", "label_field", "label_matching", "separator", "empty"])]
    corpus: Option<PathBuf>,

    /// The queries of the collection, with `_id` and `text`
    #[arg(long, value_name = "FILE", requires = "corpus", help_heading = "Input")]
    queries: Option<PathBuf>,

    /// The grades of the collection: query, document and grade; documents above 0 are relevant
    #[arg(long, value_name = "FILE", requires = "corpus", help_heading = "Input")]
    qrels: Option<PathBuf>,

    /// Pairs of query and document to leave out, as if the document were not in the corpus for
    /// that query
    #[arg(long, value_name = "FILE", requires = "corpus", help_heading = "Input")]
    ignore: Option<PathBuf>,

    #[command(flatten)]
    prompts: SearchPromptArgs,
}

/// The name of the metrics of a model without a task of this kind.
const NO_TASK: &str = "retrieval";

impl CollectionArgs {
    /// Reads the collection; `None` if no flag names it.
    pub(super) fn read(&self) -> Result<Option<Collection>> {
        let (Some(corpus), Some(queries), Some(qrels)) = (&self.corpus, &self.queries, &self.qrels)
        else {
            return match self.prompts.given() {
                true => Err(usage(
                    "--query-prompt and --document-prompt are for a collection: add --corpus FILE \
                     --queries FILE --qrels FILE",
                )),
                false => Ok(None),
            };
        };
        let mut collection = Collection::read(corpus, queries, qrels)?;
        self.ignore.as_ref().map_or(Ok(()), |path| collection.leave_out(path))?;
        Ok(Some(collection))
    }

    /// Searches with all queries and returns the metrics, for each retrieval task of the model: all of
    /// them compare the same vectors.
    ///
    /// - `tasks`: the tasks to evaluate; `None`: all
    /// - `widths`: further widths at which vectors are compared
    pub(super) fn evaluate(
        &self,
        collection: &Collection,
        folder: ModelFolder,
        tasks: Option<&[String]>,
        widths: &[usize],
        load: &LoadArgs,
    ) -> Result<Vec<(String, TaskMetrics)>> {
        let names = task_names(&folder, tasks)?;
        let encoder = SentenceEncoder::from_folder(folder, &load.options())?;
        let most = encoder.dimension();
        if let Some(width) = widths.iter().find(|width| **width > most) {
            return Err(usage(format!("--dim: expected widths of 1 to {most}, found {width}")));
        }
        if collection.without_grades() > 0 {
            load.note(&format!("{} of the queries have no grade", collection.without_grades()));
        }
        let texts = |texts: &[polyhead_train::IdentifiedText]| -> Vec<String> {
            texts.iter().map(|text| text.text.clone()).collect()
        };
        let (queries, documents) = (texts(collection.queries()), texts(collection.documents()));
        let queries = vectors_of(&encoder, &queries, &self.prompts.of_query(&encoder), load)?;
        let documents =
            vectors_of(&encoder, &documents, &self.prompts.of_document(&encoder), load)?;
        let shorter: Vec<usize> = widths.iter().copied().filter(|width| *width < most).collect();
        let found = collection.judge(&queries, &documents, &shorter);
        let found = found.map(TaskMetrics::Retrieval);
        let metrics = found.ok_or_else(|| usage("expected a query with a relevant document"))?;
        Ok(names.into_iter().map(|name| (name, metrics.clone())).collect())
    }
}

/// The names of the retrieval tasks to evaluate.
fn task_names(folder: &ModelFolder, tasks: Option<&[String]>) -> Result<Vec<String>> {
    let heads = folder.heads.iter().map(|head| &head.spec);
    let retrieval = heads.filter(|spec| spec.kind == TaskKind::Retrieval);
    let all: Vec<String> = retrieval.map(|spec| spec.name.clone()).collect();
    let Some(tasks) = tasks else {
        return Ok(if all.is_empty() { vec![NO_TASK.to_owned()] } else { all });
    };
    match tasks.iter().find(|task| !all.contains(task)) {
        None => Ok(tasks.to_vec()),
        Some(task) => {
            let known = if all.is_empty() { "none".to_owned() } else { all.join(", ") };
            Err(usage(format!(
                "task `{task}`: expected a retrieval task, for --corpus (the model has: {known})"
            )))
        }
    }
}
