//! The passage that answers a query.

use std::collections::{HashMap, HashSet};

use polyhead_compute::Cpu;
use polyhead_files::Cell;
use polyhead_model::{Hit, Matrix, semantic_search};

use super::loss::{MultipleNegatives, multiple_negatives, triplet};
use super::{
    Calibration, ChosenRows, Compared, ComparisonOptions, Labelled, Objective, RETRIEVED_RANKS,
    RetrievalCounter, RetrievalMetrics, RowAnswers, RunningAccuracy, SplitAnswers, TaskMetrics,
    TaskRules,
};
use crate::config::{TaskSettings, VectorLoss};
use crate::data::{RawLabel, TaskLabels};

/// Queries of a split that are ranked: of more, some that are evenly spread.
const MOST_QUERIES: usize = 1000;

pub(super) struct Retrieval;

impl TaskRules for Retrieval {
    fn read_label(&self, _: Cell) -> Result<RawLabel, String> {
        Err("expected no label for retrieval".to_owned())
    }

    /// The second text of a row answers the first; its label is the number of its negatives.
    fn implied_label(&self, texts: usize) -> Option<RawLabel> {
        Some(RawLabel::Number(texts.saturating_sub(2) as f32))
    }

    fn unlabelled(&self, rows: usize) -> TaskLabels {
        TaskLabels::Numbers(vec![None; rows])
    }

    fn own_keys(&self) -> &'static [&'static str] {
        &["loss", "scale", "symmetric", "margin", "distance"]
    }

    fn vector_losses(&self) -> &'static [VectorLoss] {
        &[VectorLoss::MultipleNegatives, VectorLoss::Triplet]
    }

    fn comparison(&self, settings: &TaskSettings) -> Option<ComparisonOptions> {
        Some(ComparisonOptions::new(settings, VectorLoss::MultipleNegatives))
    }

    fn check_rows(
        &self,
        settings: &TaskSettings,
        train: &TaskLabels,
    ) -> Result<(), (usize, String)> {
        let options = ComparisonOptions::new(settings, VectorLoss::MultipleNegatives);
        let without = train.numbers().iter().position(|negatives| *negatives == Some(0.0));
        match without.filter(|_| options.loss == VectorLoss::Triplet) {
            Some(row) => Err((
                row,
                "expected a negative in each row for `loss = \"triplet\"`, found none".to_owned(),
            )),
            None => Ok(()),
        }
    }

    fn normaliser(&self, objective: &Objective, targets: &TaskLabels) -> f64 {
        let negatives = targets.numbers().iter().flatten();
        match objective.comparison().loss {
            VectorLoss::Triplet => negatives.map(|count| f64::from(*count)).sum(),
            _ => negatives.count() as f64,
        }
    }

    fn compare(
        &self,
        cpu: Cpu,
        objective: &Objective,
        rows: Compared,
        factor: f64,
        out: &mut [f32],
    ) -> f64 {
        match objective.comparison().loss {
            VectorLoss::Triplet => triplets(cpu, objective.comparison(), rows, factor, out),
            _ => among_all(cpu, objective.comparison(), rows, factor, out),
        }
    }

    fn count(&self, _: &mut RunningAccuracy, _: Labelled) {}

    fn metric_names(&self) -> &'static [&'static str] {
        RetrievalMetrics::NAMES
    }

    fn main_metric(&self) -> &'static str {
        "ndcg@10"
    }

    fn score(&self, answers: &SplitAnswers) -> Option<TaskMetrics> {
        let rankings = Rankings::of(answers);
        let at = |width: usize| {
            let mut counter = RetrievalCounter::new();
            rankings.at(width, |ranked, grades| counter.add(ranked, grades));
            counter.finish()
        };
        let shorter = answers.widths.iter().copied().filter(|width| *width < answers.width());
        let widths = std::iter::once(answers.width()).chain(shorter);
        RetrievalMetrics::at_widths(widths, at).map(TaskMetrics::Retrieval)
    }

    /// The scores of each query, at the whole width.
    fn row_answers(&self, answers: &SplitAnswers) -> Option<RowAnswers> {
        let mut rows = Vec::new();
        Rankings::of(answers).at(answers.width(), |ranked, grades| {
            let mut counter = RetrievalCounter::new();
            counter.add(ranked, grades);
            rows.extend(counter.finish().map(|query| query.in_order()));
        });
        Some(RowAnswers::Queries(rows))
    }

    fn score_rows(&self, rows: ChosenRows) -> Option<TaskMetrics> {
        RetrievalMetrics::mean(rows.queries()).map(TaskMetrics::Retrieval)
    }

    fn calibrate(&self, _: Labelled, _: &[usize], _: f32) -> Option<Calibration> {
        None
    }
}

/// The queries of a split, at most [`MOST_QUERIES`] of them, and all its passages.
struct Rankings<'a> {
    answers: &'a SplitAnswers<'a>,
    /// Number of the text, and its sequence; likewise below.
    queries: Vec<(u32, usize)>,
    passages: Vec<(u32, usize)>,
    /// Passages that answer each query, by the numbers of the texts.
    relevant: HashMap<u32, HashSet<u32>>,
}

impl<'a> Rankings<'a> {
    fn of(answers: &'a SplitAnswers) -> Self {
        let split = answers.split;
        let labelled: Vec<usize> =
            (0..split.len()).filter(|row| answers.labels().is_labelled(*row)).collect();
        let mut passages: Vec<(u32, usize)> = labelled
            .iter()
            .flat_map(|row| split.sequences(*row).skip(1))
            .map(|sequence| (split.equal_texts[sequence], sequence))
            .collect();
        passages.sort_unstable();
        passages.dedup_by_key(|(text, _)| *text);
        let mut relevant: HashMap<u32, HashSet<u32>> = HashMap::new();
        for row in &labelled {
            let query = split.sequences(*row).start;
            let passage = split.equal_texts[query + 1];
            relevant.entry(split.equal_texts[query]).or_default().insert(passage);
        }
        let mut queries: Vec<(u32, usize)> = labelled
            .iter()
            .map(|row| split.sequences(*row).start)
            .map(|query| (split.equal_texts[query], query))
            .collect();
        queries.sort_unstable();
        queries.dedup_by_key(|(text, _)| *text);
        let step = queries.len().div_ceil(MOST_QUERIES).max(1);
        let queries = queries.into_iter().step_by(step).collect();
        Self { answers, queries, passages, relevant }
    }

    /// Ranks the passages for each query by the first `width` numbers of the vectors.
    ///
    /// - `each`: gets the grades of the ranked passages, best first, and all grades of the query
    fn at(&self, width: usize, mut each: impl FnMut(&[i32], &[i32])) {
        let vectors = |texts: &[(u32, usize)]| {
            let vectors = texts.iter().flat_map(|(_, at)| &self.answers.vector(*at)[..width]);
            Matrix::new(texts.len(), width, vectors.copied().collect())
        };
        let found =
            semantic_search(&vectors(&self.queries), &vectors(&self.passages), RETRIEVED_RANKS);
        for ((query, _), hits) in self.queries.iter().zip(found) {
            let relevant = &self.relevant[query];
            let grade = |hit: &Hit| i32::from(relevant.contains(&self.passages[hit.index].0));
            let ranked: Vec<i32> = hits.iter().map(grade).collect();
            each(&ranked, &vec![1; relevant.len()]);
        }
    }
}

/// Each query against the positives and negatives of all rows. A passage that stands beside an equal
/// query, or is equal to the positive, is no negative.
fn among_all(
    cpu: Cpu,
    options: &ComparisonOptions,
    rows: Compared,
    factor: f64,
    out: &mut [f32],
) -> f64 {
    let queries = &rows.first[..rows.rows()];
    let mut candidates: Vec<usize> = queries.iter().map(|query| query + 1).collect();
    for row in 0..rows.rows() {
        candidates.extend(rows.first[row] + 2..rows.first[row + 1]);
    }
    let left_out = answers_of_equal_queries(&rows, &candidates);
    let (anchors, passages) = (rows.gather(queries), rows.gather(&candidates));
    let (mut danchors, mut dpassages) = (vec![0.0; anchors.len()], vec![0.0; passages.len()]);
    let gradients = [&mut danchors[..], &mut dpassages];
    let (scale, symmetric) = (options.scale, options.symmetric);
    let loss = MultipleNegatives { scale, symmetric, left_out: &left_out };
    let sum = options.at_each_width(
        cpu,
        [&anchors, &passages],
        rows.width,
        gradients,
        |width, [anchors, passages], [danchors, dpassages]| {
            multiple_negatives(cpu, anchors, passages, width, loss, factor, danchors, dpassages)
        },
    );
    rows.scatter(queries, &danchors, out);
    rows.scatter(&candidates, &dpassages, out);
    sum
}

/// Row and candidate wherever the candidate is no negative of the row's query: it is equal to a
/// positive that stands beside an equal query, and is not the row's own positive.
///
/// - `candidates`: the positives of the rows, then their negatives
fn answers_of_equal_queries(rows: &Compared, candidates: &[usize]) -> Vec<(usize, usize)> {
    let queries = &rows.first[..rows.rows()];
    let mut equal_candidates: HashMap<u32, Vec<usize>> = HashMap::new();
    for (candidate, text) in candidates.iter().enumerate() {
        equal_candidates.entry(rows.texts[*text]).or_default().push(candidate);
    }
    let mut positives: HashMap<u32, HashSet<u32>> = HashMap::new();
    for query in queries {
        positives.entry(rows.texts[*query]).or_default().insert(rows.texts[query + 1]);
    }
    let mut found = Vec::new();
    for (row, query) in queries.iter().enumerate() {
        let answers = positives[&rows.texts[*query]].iter();
        let equal = answers.flat_map(|answer| &equal_candidates[answer]);
        found.extend(equal.filter(|at| **at != row).map(|at| (row, *at)));
    }
    found
}

/// Each query against its own negatives.
fn triplets(
    cpu: Cpu,
    options: &ComparisonOptions,
    rows: Compared,
    factor: f64,
    out: &mut [f32],
) -> f64 {
    let (mut queries, mut positives, mut negatives) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..rows.rows() {
        for negative in rows.first[row] + 2..rows.first[row + 1] {
            queries.push(rows.first[row]);
            positives.push(rows.first[row] + 1);
            negatives.push(negative);
        }
    }
    let texts = [queries, positives, negatives];
    let vectors = texts.each_ref().map(|texts| rows.gather(texts));
    let mut gradients = vectors.each_ref().map(|vectors| vec![0.0; vectors.len()]);
    let sum = options.at_each_width(
        cpu,
        vectors.each_ref().map(|vectors| &vectors[..]),
        rows.width,
        gradients.each_mut().map(|gradient| &mut gradient[..]),
        |width, vectors, gradients| {
            triplet(vectors, width, options.margin, options.distance, factor, gradients)
        },
    );
    for (texts, gradient) in texts.iter().zip(&gradients) {
        rows.scatter(texts, gradient, out);
    }
    sum
}

#[cfg(test)]
mod tests {
    use polyhead_model::TaskKind;
    use polyhead_text::{TextInput, TextTokens, TokenBatch};

    use super::*;
    use crate::data::Split;

    /// Three rows: a query with a negative, an equal query with another answer, and another query
    /// whose negative is the second answer.
    const FIRST: [usize; 4] = [0, 3, 5, 8];
    const TEXTS: [u32; 8] = [0, 1, 2, 0, 3, 4, 5, 3];

    #[test]
    fn answers_of_an_equal_query_are_no_negatives() {
        let targets = TaskLabels::Numbers(vec![Some(1.0), Some(0.0), Some(1.0)]);
        let (first, texts, targets) = (&FIRST[..], &TEXTS[..], &targets);
        let rows = Compared { vectors: &[], width: 0, first, texts, targets, teacher: &[] };
        // Positives 1, 4, 6, then negatives 2, 7: text 3 is both candidate 1 and candidate 4.
        let mut left_out = answers_of_equal_queries(&rows, &[1, 4, 6, 2, 7]);
        left_out.sort_unstable();
        assert_eq!(left_out, [(0, 1), (0, 4), (1, 0), (1, 4)]);
    }

    #[test]
    fn each_query_is_ranked_among_all_passages() {
        let split = Split {
            inputs: vec![TextInput::One(String::new()); 3],
            tokens: TokenBatch { texts: vec![TextTokens::default(); 8], ..TokenBatch::default() },
            first_sequences: FIRST.to_vec(),
            equal_texts: TEXTS.to_vec(),
            labels: vec![TaskLabels::Numbers(vec![Some(1.0), Some(0.0), Some(1.0)])],
            ..Split::default()
        };
        let vector = |degrees: f32| [degrees.to_radians().cos(), degrees.to_radians().sin()];
        // Query 0 stands at 0°, its answers at 10° and 30°, the passage between them answers nothing.
        // Query 4 at 90° finds its answer, at 60°, first.
        let angles = [0.0, 10.0, 20.0, 0.0, 30.0, 90.0, 60.0, 30.0];
        let logits: Vec<f32> = angles.into_iter().flat_map(vector).collect();
        let answers = SplitAnswers {
            logits: &logits,
            head: &polyhead_model::HeadSpec::new("search", TaskKind::Retrieval, &[]),
            split: &split,
            task: 0,
            loss: None,
            widths: &[],
            objective: &Objective::new(TaskKind::Retrieval, 1),
        };
        let Some(TaskMetrics::Retrieval(found)) = Retrieval.score(&answers) else {
            panic!("metrics of retrieval")
        };
        assert_eq!((found.queries, found.mrr_10, found.recall_10), (2, 1.0, 1.0));
        // Ranks 1 and 3 of the first query; the second query's only answer is first.
        let map = ((1.0 + 2.0 / 3.0) / 2.0 + 1.0) / 2.0;
        assert!((found.map - map).abs() < 1e-12, "{}", found.map);
    }
}
