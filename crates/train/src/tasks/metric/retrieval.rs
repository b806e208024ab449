//! How good a ranking of documents is, query by query.

use serde::{Deserialize, Serialize};

/// Ranks of each query that a ranking should have where the corpus has as many: `map` reads all of
/// them, the other metrics fewer. Runs of `trec_eval` have as many.
pub const RETRIEVED_RANKS: usize = 1000;

/// Adds up the metrics of queries, each as `trec_eval` computes it.
#[derive(Clone, Debug, Default)]
pub struct RetrievalCounter {
    ndcg_10: f64,
    mrr_10: f64,
    map: f64,
    recall_10: f64,
    recall_100: f64,
    queries: u64,
    without_relevant: u64,
}

/// Metrics that [`RetrievalCounter`] has collected: means over the queries.
///
/// Documents with a grade above 0 are relevant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetrievalMetrics {
    /// `Σ grade / log₂(rank + 1)` over the first 10 ranks, as a share of the best that an order of
    /// the documents could give.
    #[serde(rename = "ndcg@10")]
    pub ndcg_10: f64,
    /// One over the rank of the first relevant document, 0 where none is among the first 10.
    #[serde(rename = "mrr@10")]
    pub mrr_10: f64,
    /// Mean of the precision at the rank of each relevant document, 0 for those that are not ranked.
    pub map: f64,
    /// Share of the relevant documents that are among the first 10.
    #[serde(rename = "recall@10")]
    pub recall_10: f64,
    /// Share of the relevant documents that are among the first 100.
    #[serde(rename = "recall@100")]
    pub recall_100: f64,
    /// Queries that are counted.
    pub queries: u64,
    /// Queries without a relevant document, which no ranking could answer: they are not counted.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub without_relevant: u64,
    /// The same at each further width of the vectors; empty where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub widths: Vec<RetrievalAtWidth>,
}

/// Metrics of rankings by shortened vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetrievalAtWidth {
    /// Numbers of each vector that are compared: its first ones.
    pub width: usize,
    /// The metrics; they have no further widths.
    #[serde(flatten)]
    pub metrics: RetrievalMetrics,
}

impl RetrievalCounter {
    /// A counter that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// One query.
    ///
    /// - `ranked`: grades of the documents that were found, best first, 0 for those that have none.
    ///   Documents with equal scores stand in descending order of their ids' bytes, as in
    ///   `trec_eval`; [`Collection`](crate::Collection) keeps its documents in that order
    /// - `grades`: all grades that the query has
    pub fn add(&mut self, ranked: &[i32], grades: &[i32]) {
        let mut best: Vec<i32> = grades.iter().copied().filter(|grade| *grade > 0).collect();
        if best.is_empty() {
            self.without_relevant += 1;
            return;
        }
        best.sort_unstable_by(|a, b| b.cmp(a));
        self.queries += 1;
        self.ndcg_10 += gain(&ranked[..ranked.len().min(10)]) / gain(&best[..best.len().min(10)]);
        let relevant = best.len() as f64;
        let (mut found, mut precisions) = (0.0, 0.0);
        for (index, _) in ranked.iter().enumerate().filter(|(_, grade)| **grade > 0) {
            let rank = (index + 1) as f64;
            if found == 0.0 && index < 10 {
                self.mrr_10 += 1.0 / rank;
            }
            found += 1.0;
            precisions += found / rank;
            if index < 10 {
                self.recall_10 += 1.0 / relevant;
            }
            if index < 100 {
                self.recall_100 += 1.0 / relevant;
            }
        }
        self.map += precisions / relevant;
    }

    /// `None` if no query with a relevant document was counted.
    pub fn finish(&self) -> Option<RetrievalMetrics> {
        let mean = |sum: f64| sum / self.queries as f64;
        (self.queries > 0).then(|| RetrievalMetrics {
            ndcg_10: mean(self.ndcg_10),
            mrr_10: mean(self.mrr_10),
            map: mean(self.map),
            recall_10: mean(self.recall_10),
            recall_100: mean(self.recall_100),
            queries: self.queries,
            without_relevant: self.without_relevant,
            widths: Vec::new(),
        })
    }
}

impl RetrievalMetrics {
    /// The scores in the order of [`NAMES`](Self::NAMES).
    pub(crate) fn in_order(&self) -> [f64; 5] {
        [self.ndcg_10, self.mrr_10, self.map, self.recall_10, self.recall_100]
    }

    /// Mean scores of some queries; `None` without a query.
    ///
    /// - `queries`: the scores of each, as [`in_order`](Self::in_order) gives them
    pub(crate) fn mean(queries: impl Iterator<Item = [f64; 5]>) -> Option<Self> {
        let (mut sums, mut count) = ([0.0; 5], 0);
        for query in queries {
            sums.iter_mut().zip(query).for_each(|(sum, score)| *sum += score);
            count += 1;
        }
        let [ndcg_10, mrr_10, map, recall_10, recall_100] = sums.map(|sum| sum / count as f64);
        (count > 0).then(|| Self {
            ndcg_10,
            mrr_10,
            map,
            recall_10,
            recall_100,
            queries: count,
            without_relevant: 0,
            widths: Vec::new(),
        })
    }

    /// The metrics at the first of several widths, with those of the others.
    ///
    /// - `widths`: the widths, the whole vector first
    /// - `metrics`: gives those of a width; `None` if there is nothing to measure
    pub(crate) fn at_widths(
        widths: impl IntoIterator<Item = usize>,
        mut metrics: impl FnMut(usize) -> Option<Self>,
    ) -> Option<Self> {
        let mut widths = widths.into_iter();
        let mut whole = metrics(widths.next()?)?;
        let shorter = |width| Some(RetrievalAtWidth { width, metrics: metrics(width)? });
        whole.widths = widths.filter_map(shorter).collect();
        Some(whole)
    }

    /// Names of the scores, in the order of the JSON.
    pub const NAMES: &[&str] = &["ndcg@10", "mrr@10", "map", "recall@10", "recall@100"];

    /// The score of that name; `None` if there is none.
    pub fn get(&self, name: &str) -> Option<f64> {
        match name {
            "ndcg@10" => Some(self.ndcg_10),
            "mrr@10" => Some(self.mrr_10),
            "map" => Some(self.map),
            "recall@10" => Some(self.recall_10),
            "recall@100" => Some(self.recall_100),
            _ => None,
        }
    }
}

/// `Σ grade / log₂(rank + 1)`; grades below 0 give nothing.
fn gain(grades: &[i32]) -> f64 {
    let part =
        |(index, grade): (usize, &i32)| f64::from((*grade).max(0)) / ((index + 2) as f64).log2();
    grades.iter().enumerate().map(part).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(queries: &[(&[i32], &[i32])]) -> Option<RetrievalMetrics> {
        let mut counter = RetrievalCounter::new();
        queries.iter().for_each(|(ranked, grades)| counter.add(ranked, grades));
        counter.finish()
    }

    #[test]
    fn the_best_ranking_has_every_metric_at_one() {
        let metrics = counted(&[(&[3, 1, 1, 0, 0], &[1, 0, 3, 1])]).unwrap();
        for name in RetrievalMetrics::NAMES {
            assert!((metrics.get(name).unwrap() - 1.0).abs() < 1e-12, "{name}");
        }
    }

    #[test]
    fn queries_without_a_relevant_document_are_left_out() {
        let metrics = counted(&[(&[0, 0], &[0, -1]), (&[0, 1], &[1]), (&[0], &[])]).unwrap();
        assert_eq!((metrics.queries, metrics.without_relevant, metrics.mrr_10), (1, 2, 0.5));
        assert_eq!(counted(&[(&[0], &[0])]), None);
        assert_eq!(counted(&[]), None);
    }

    #[test]
    fn metrics_read_as_many_ranks_as_their_names_say() {
        let mut ranked = vec![0; 150];
        ranked[10] = 1;
        ranked[120] = 1;
        let metrics = counted(&[(&ranked, &[1, 1, 1])]).unwrap();
        assert_eq!((metrics.ndcg_10, metrics.mrr_10, metrics.recall_10), (0.0, 0.0, 0.0));
        assert!((metrics.recall_100 - 1.0 / 3.0).abs() < 1e-15);
        assert!((metrics.map - (1.0 / 11.0 + 2.0 / 121.0) / 3.0).abs() < 1e-15);
    }

    #[test]
    fn nothing_found_is_zero_and_json_has_the_names() {
        let metrics = counted(&[(&[], &[2])]).unwrap();
        let json: serde_json::Value = serde_json::to_value(&metrics).unwrap();
        for name in RetrievalMetrics::NAMES {
            assert_eq!((metrics.get(name), json[name].as_f64()), (Some(0.0), Some(0.0)), "{name}");
        }
        assert_eq!(serde_json::from_value::<RetrievalMetrics>(json).unwrap(), metrics);
        let at = |width: usize| counted(&[(&[i32::from(width > 1), 1][..], &[1])]);
        let metrics = RetrievalMetrics::at_widths([3, 2, 1], at).unwrap();
        let mrr = |width: &RetrievalAtWidth| (width.width, width.metrics.mrr_10);
        assert_eq!(metrics.widths.iter().map(mrr).collect::<Vec<_>>(), [(2, 1.0), (1, 0.5)]);
        let json = serde_json::to_value(&metrics).unwrap();
        assert_eq!((&json["mrr@10"], &json["widths"][1]["mrr@10"]), (&1.0.into(), &0.5.into()));
        let read: super::super::TaskMetrics = serde_json::from_value(json).unwrap();
        assert_eq!(read, super::super::TaskMetrics::Retrieval(metrics));
    }
}
