//! Metrics of pairs and of rankings against sentence-transformers, scikit-learn, scipy and
//! pytrec_eval: `reference/make_pair_goldens.py`, `reference/make_retrieval_goldens.py`.
//!
//! Both sides compute in f64; sums of some hundred terms are off by a few 1e-16 each.
use std::collections::BTreeMap;

use polyhead_train::{PairCounter, RetrievalCounter, SimilarityCounter};
use serde::Deserialize;

type Metrics = BTreeMap<String, f64>;

#[track_caller]
fn check(name: &str, found: impl Fn(&str) -> Option<f64>, expected: &Metrics) {
    for (metric, expected) in expected {
        let found = found(metric).unwrap();
        assert!((found - expected).abs() <= 1e-12, "{name} {metric}: {found}, not {expected}");
    }
}

#[derive(Deserialize)]
struct PairGoldens {
    pairs: Vec<PairCase>,
    similarity: Vec<SimilarityCase>,
}

#[derive(Deserialize)]
struct PairCase {
    name: String,
    scores: Vec<f64>,
    together: Vec<u8>,
    metrics: Metrics,
}

#[derive(Deserialize)]
struct SimilarityCase {
    first: Vec<Vec<f32>>,
    second: Vec<Vec<f32>>,
    scores: Vec<f64>,
    widths: Vec<(usize, f64, f64)>,
}

#[derive(Deserialize)]
struct RankingCase {
    name: String,
    grades: BTreeMap<String, BTreeMap<String, i32>>,
    scores: BTreeMap<String, BTreeMap<String, f64>>,
    queries: u64,
    metrics: Metrics,
}

#[test]
fn pairs_count_as_sentence_transformers() {
    let goldens: PairGoldens = polyhead_testing::golden_json("pair_metrics.json");
    assert!(!goldens.pairs.is_empty());
    for case in goldens.pairs {
        let mut counter = PairCounter::new();
        let rows = case.scores.iter().zip(&case.together);
        rows.for_each(|(score, together)| counter.add(*score, *together == 1));
        let metrics = counter.finish().unwrap();
        check(&case.name, |name| metrics.get(name), &case.metrics);
        assert_eq!(case.metrics.len(), 7);
    }
}

#[test]
fn similarity_counts_as_scipy_at_every_width() {
    let goldens: PairGoldens = polyhead_testing::golden_json("pair_metrics.json");
    assert!(!goldens.similarity.is_empty());
    for case in goldens.similarity {
        let shorter: Vec<usize> = case.widths[1..].iter().map(|(width, ..)| *width).collect();
        let mut counter = SimilarityCounter::new(case.widths[0].0, &shorter);
        for ((first, second), score) in case.first.iter().zip(&case.second).zip(&case.scores) {
            counter.add(first, second, *score);
        }
        let metrics = counter.finish().unwrap();
        let whole = (case.widths[0].0, metrics.pearson, metrics.spearman);
        let shorter = metrics.widths.iter().map(|at| (at.width, at.pearson, at.spearman));
        let found: Vec<_> = std::iter::once(whole).chain(shorter).collect();
        assert_eq!(found.len(), case.widths.len());
        for ((width, pearson, spearman), expected) in found.iter().zip(&case.widths) {
            assert_eq!(*width, expected.0);
            for (found, expected) in [(pearson, expected.1), (spearman, expected.2)] {
                assert!((found.unwrap() - expected).abs() < 1e-12, "{found:?}, not {expected}");
            }
        }
    }
}

#[test]
fn rankings_count_as_trec_eval() {
    let cases: Vec<RankingCase> = polyhead_testing::golden_json("retrieval_metrics.json");
    assert!(!cases.is_empty());
    for case in cases {
        let mut counter = RetrievalCounter::new();
        for (query, scores) in &case.scores {
            let grades = &case.grades[query];
            // Descending scores; equal ones by descending id.
            let mut ranked: Vec<(&String, &f64)> = scores.iter().collect();
            ranked.sort_by(|a, b| b.1.total_cmp(a.1).then(b.0.cmp(a.0)));
            let ranked: Vec<i32> = ranked
                .iter()
                .map(|(document, _)| grades.get(*document).copied().unwrap_or(0))
                .collect();
            let all: Vec<i32> = grades.values().copied().collect();
            counter.add(&ranked, &all);
        }
        let metrics = counter.finish().unwrap();
        assert_eq!((metrics.queries, metrics.without_relevant), (case.queries, 1), "{}", case.name);
        check(&case.name, |name| metrics.get(name), &case.metrics);
        assert_eq!(case.metrics.len(), 5);
    }
}
