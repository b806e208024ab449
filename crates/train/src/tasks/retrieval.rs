//! The passage that answers a query.

use std::collections::{HashMap, HashSet};

use polyhead_compute::Cpu;
use polyhead_files::Cell;

use super::loss::{MultipleNegatives, multiple_negatives, triplet};
use super::{
    Calibration, Compared, ComparisonOptions, Labelled, Objective, RETRIEVED_RANKS,
    RetrievalCounter, RetrievalMetrics, RunningAccuracy, SplitAnswers, TaskMetrics, TaskRules,
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
    fn implied_label(&self, further: usize) -> Option<RawLabel> {
        Some(RawLabel::Number(further as f32))
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

    /// Each query, of at most [`MOST_QUERIES`], among all passages of the split.
    fn score(&self, answers: &SplitAnswers) -> Option<TaskMetrics> {
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
        let unit = |sequence: usize| {
            let vector = answers.vector(sequence);
            let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
            vector.iter().map(|x| x / length).collect::<Vec<f32>>()
        };
        let units: Vec<Vec<f32>> = passages.iter().map(|(_, at)| unit(*at)).collect();
        let mut queries: Vec<(u32, usize)> = labelled
            .iter()
            .map(|row| split.sequences(*row).start)
            .map(|query| (split.equal_texts[query], query))
            .collect();
        queries.sort_unstable();
        queries.dedup_by_key(|(text, _)| *text);
        let step = queries.len().div_ceil(MOST_QUERIES).max(1);
        let mut counter = RetrievalCounter::new();
        for (text, query) in queries.into_iter().step_by(step) {
            let query = unit(query);
            let cosine = |passage: &Vec<f32>| query.iter().zip(passage).map(|(x, y)| x * y).sum();
            let cosines: Vec<f32> = units.iter().map(cosine).collect();
            let mut order: Vec<usize> = (0..passages.len()).collect();
            order.sort_by(|a, b| cosines[*b].total_cmp(&cosines[*a]));
            let relevant = &relevant[&text];
            let grade = |at: &usize| i32::from(relevant.contains(&passages[*at].0));
            let ranked: Vec<i32> = order.iter().take(RETRIEVED_RANKS).map(grade).collect();
            counter.add(&ranked, &vec![1; relevant.len()]);
        }
        counter.finish().map(TaskMetrics::Retrieval)
    }

    fn calibrate(&self, _: Labelled, _: &[usize], _: f32) -> Option<Calibration> {
        None
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
    let known: HashSet<(u32, u32)> =
        queries.iter().map(|query| (rows.texts[*query], rows.texts[query + 1])).collect();
    let mut left_out = Vec::new();
    for (row, query) in queries.iter().enumerate() {
        let answers = |(at, text): &(usize, &usize)| {
            *at != row && known.contains(&(rows.texts[*query], rows.texts[**text]))
        };
        let found = candidates.iter().enumerate().filter(answers);
        left_out.extend(found.map(|(candidate, _)| (row, candidate)));
    }
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
