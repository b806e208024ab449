//! Exact search over a collection, and how good it is.

use std::collections::HashSet;

use polyhead_model::{Matrix, semantic_search};

use super::Collection;
use crate::tasks::{RETRIEVED_RANKS, RetrievalCounter, RetrievalMetrics};

impl Collection {
    /// Searches with the vectors of all queries among those of all documents, by cosine, and counts
    /// [`RETRIEVED_RANKS`] ranks of each query, without documents that are left out for it; `None` if
    /// no query has a relevant document.
    ///
    /// - `queries`: `[queries, width]`, `documents`: `[documents, width]`, in the order of
    ///   [`queries`](Self::queries) and [`documents`](Self::documents)
    /// - `shorter`: further widths, at each of which the first numbers of all vectors are compared
    ///
    /// # Panics
    /// If there is not a vector for each text, the widths differ, or a width is above theirs.
    pub fn judge(
        &self,
        queries: &Matrix,
        documents: &Matrix,
        shorter: &[usize],
    ) -> Option<RetrievalMetrics> {
        assert_eq!(queries.rows(), self.queries.len(), "a vector per query");
        assert_eq!(documents.rows(), self.documents.len(), "a vector per document");
        let whole = queries.columns();
        RetrievalMetrics::at_widths(
            std::iter::once(whole).chain(shorter.iter().copied()),
            |width| match width == whole {
                true => self.judge_vectors(queries, documents),
                false => self
                    .judge_vectors(&queries.first_columns(width), &documents.first_columns(width)),
            },
        )
    }

    fn judge_vectors(&self, queries: &Matrix, documents: &Matrix) -> Option<RetrievalMetrics> {
        let most_left_out = self.left_out.iter().map(HashSet::len).max().unwrap_or(0);
        let found = semantic_search(queries, documents, RETRIEVED_RANKS + most_left_out);
        let mut counter = RetrievalCounter::new();
        for (query, hits) in found.iter().enumerate() {
            let indices = hits.iter().map(|hit| hit.index);
            let ranked = indices.filter(|document| !self.left_out[query].contains(document));
            let ranked: Vec<usize> = ranked.take(RETRIEVED_RANKS).collect();
            self.count(query, &ranked, &mut counter);
        }
        counter.finish()
    }

    /// Counts one query.
    ///
    /// - `ranked`: indices of the documents that were found, best first
    ///
    /// # Panics
    /// If there is no such query.
    pub fn count(&self, query: usize, ranked: &[usize], counter: &mut RetrievalCounter) {
        let mut grades = self.grades(query).to_vec();
        grades.sort_unstable();
        let grade = |document: &usize| {
            let at = grades.binary_search_by_key(document, |(document, _)| *document);
            at.map_or(0, |at| grades[at].1)
        };
        let ranked: Vec<i32> = ranked.iter().map(grade).collect();
        let all: Vec<i32> = grades.iter().map(|(_, grade)| *grade).collect();
        counter.add(&ranked, &all);
    }
}
