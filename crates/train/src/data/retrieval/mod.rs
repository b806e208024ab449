//! A collection to search in: documents, queries, and grades that say which document answers which
//! query. Files are those of BEIR, or of TREC.

mod grades;
mod judge;
mod mine;
mod texts;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use polyhead_files::quoted;

use self::grades::{GradeRow, read_grades, read_left_out};
pub use self::mine::{MiningRules, mine_judged_negatives, mine_negatives};
pub use self::texts::IdentifiedText;
use self::texts::read_texts;
use crate::error::{Error, ErrorKind};

/// Documents, the queries that have grades, and their grades.
#[derive(Clone, Debug, PartialEq)]
pub struct Collection {
    documents: Vec<IdentifiedText>,
    queries: Vec<IdentifiedText>,
    grades: Vec<Vec<(usize, i32)>>,
    /// The documents that are left out for each query.
    left_out: Vec<HashSet<usize>>,
    without_grades: usize,
}

impl Collection {
    /// Reads the three files of a collection.
    ///
    /// - `corpus`, `queries`: JSON Lines, CSV or TSV with an id (`_id`, `id`), a `text` and, for
    ///   documents, a `title` if there is one, which is put in front of the text
    /// - `qrels`: lines of query, document and grade with a header or without one, TREC's four
    ///   columns, or JSON Lines or CSV
    ///
    /// # Errors
    /// `Io` if a file cannot be read; `Data` with file and line if a row has no id or text, an id
    /// stands twice, a query is empty, a grade is no whole number, is of an id that is not there or
    /// stands twice, or no query has a relevant document.
    pub fn read(corpus: &Path, queries: &Path, qrels: &Path) -> Result<Self, Error> {
        let mut documents = read_texts(corpus, true)?;
        // Search gives equal scores in the order of documents, and trec_eval takes them in
        // descending order of ids.
        documents.sort_unstable_by(|a, b| b.id.cmp(&a.id));
        let all_queries = read_texts(queries, false)?;
        let rows = read_grades(qrels)?;
        let (document_index, query_index) = (index_of(&documents), index_of(&all_queries));
        if let Some(error) = unknown_ids(&rows, [&query_index, &document_index], [queries, corpus])
        {
            return Err(in_file(qrels, error));
        }
        let mut grades: Vec<Vec<(usize, i32)>> = vec![Vec::new(); all_queries.len()];
        let mut lines: HashMap<(usize, usize), u64> = HashMap::new();
        for row in &rows {
            let pair = (query_index[&row.query[..]], document_index[&row.document[..]]);
            if let Some(first) = lines.insert(pair, row.line) {
                let (query, document) = (quoted(&row.query), quoted(&row.document));
                return Err(in_file(
                    qrels,
                    format!(
                        "line {}: expected one grade for query {query} and document {document}, \
                         found another one in line {first}",
                        row.line
                    ),
                ));
            }
            grades[pair.0].push((pair.1, row.grade));
        }
        if !rows.iter().any(|row| row.grade > 0) {
            let expected = "expected a relevant document, with a grade above 0, found none";
            return Err(in_file(qrels, expected.to_owned()));
        }
        drop((document_index, query_index));
        let count = all_queries.len();
        let (queries, grades): (Vec<_>, Vec<_>) =
            all_queries.into_iter().zip(grades).filter(|(_, grades)| !grades.is_empty()).unzip();
        Ok(Self {
            without_grades: count - queries.len(),
            left_out: vec![HashSet::new(); queries.len()],
            documents,
            queries,
            grades,
        })
    }

    /// Leaves documents out for some queries, as if they were not in the corpus: such as the document
    /// that a question was taken from. A grade of such a pair is forgotten.
    ///
    /// - `path`: lines of query and document with a header or without one, or JSON Lines or CSV;
    ///   queries without grades are passed over
    ///
    /// # Errors
    /// `Io` if the file cannot be read; `Data` with file and line if a row has no ids, a document is
    /// not there, or no row is about a query of the collection.
    pub fn leave_out(&mut self, path: &Path) -> Result<(), Error> {
        let rows = read_left_out(path)?;
        let (documents, queries) = (index_of(&self.documents), index_of(&self.queries));
        let mut found = 0;
        for row in &rows {
            let Some(query) = queries.get(&row.query[..]) else { continue };
            let Some(document) = documents.get(&row.document[..]) else {
                let id = quoted(&row.document);
                let message = format!("line {}: document {id} is not in the corpus", row.line);
                return Err(in_file(path, message));
            };
            self.grades[*query].retain(|(graded, _)| graded != document);
            self.left_out[*query].insert(*document);
            found += 1;
        }
        if found == 0 {
            let expected = "expected pairs of a query with grades and a document, found none";
            return Err(in_file(path, expected.to_owned()));
        }
        Ok(())
    }

    /// The documents that are left out for a query.
    ///
    /// # Panics
    /// If there is no such query.
    pub fn left_out(&self, query: usize) -> &HashSet<usize> {
        &self.left_out[query]
    }

    /// The documents in descending order of their ids' bytes: searched in this order, documents with
    /// equal scores are ranked as `trec_eval` ranks them.
    pub fn documents(&self) -> &[IdentifiedText] {
        &self.documents
    }

    /// The queries that have grades, in the order of their file.
    pub fn queries(&self) -> &[IdentifiedText] {
        &self.queries
    }

    /// Index and grade of each document that has a grade for a query, in the order of their file.
    ///
    /// # Panics
    /// If there is no such query.
    pub fn grades(&self, query: usize) -> &[(usize, i32)] {
        &self.grades[query]
    }

    /// Number of queries in the file that have no grade, which are left out.
    pub fn without_grades(&self) -> usize {
        self.without_grades
    }
}

fn index_of(texts: &[IdentifiedText]) -> HashMap<&str, usize> {
    texts.iter().enumerate().map(|(index, text)| (&text.id[..], index)).collect()
}

/// The message about ids that no text has.
fn unknown_ids(
    rows: &[GradeRow],
    [queries, documents]: [&HashMap<&str, usize>; 2],
    files: [&Path; 2],
) -> Option<String> {
    let unknown = |row: &GradeRow| {
        if !queries.contains_key(&row.query[..]) {
            let (id, file) = (quoted(&row.query), files[0].display());
            Some(format!("line {}: query {id} is not in {file}", row.line))
        } else if !documents.contains_key(&row.document[..]) {
            let (id, file) = (quoted(&row.document), files[1].display());
            Some(format!("line {}: document {id} is not in {file}", row.line))
        } else {
            None
        }
    };
    let mut messages = rows.iter().filter_map(unknown);
    let first = messages.next()?;
    Some(match messages.count() {
        0 => first,
        1 => format!("{first}, and another line has an unknown id too"),
        more => format!("{first}, and {more} more lines have unknown ids"),
    })
}

fn in_file(path: &Path, message: String) -> Error {
    Error::new(ErrorKind::Data, format!("{}: {message}", path.display()))
}

#[cfg(test)]
mod tests;
