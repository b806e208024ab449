//! Exact search over a collection, and how good it is.

use polyhead_model::{Matrix, semantic_search};

use super::Collection;
use crate::tasks::{RETRIEVED_RANKS, RetrievalCounter, RetrievalMetrics};

impl Collection {
    /// Searches with the vectors of all queries among those of all documents, by cosine, and counts
    /// [`RETRIEVED_RANKS`] ranks of each query; `None` if no query has a relevant document.
    ///
    /// - `queries`: `[queries, width]`, `documents`: `[documents, width]`, in the order of
    ///   [`queries`](Self::queries) and [`documents`](Self::documents)
    ///
    /// # Panics
    /// If there is not a vector for each text, or the widths differ.
    pub fn judge(&self, queries: &Matrix, documents: &Matrix) -> Option<RetrievalMetrics> {
        assert_eq!(queries.rows(), self.queries.len(), "a vector per query");
        assert_eq!(documents.rows(), self.documents.len(), "a vector per document");
        let mut counter = RetrievalCounter::new();
        for (query, hits) in semantic_search(queries, documents, RETRIEVED_RANKS).iter().enumerate()
        {
            let ranked: Vec<usize> = hits.iter().map(|hit| hit.index).collect();
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
