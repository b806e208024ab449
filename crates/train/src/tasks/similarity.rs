//! A score of the similarity of two texts.

use polyhead_compute::Cpu;
use polyhead_files::Cell;
use polyhead_model::{NumberRange, cosine};

use super::loss::{cosent, cosine_error};
use super::{
    Calibration, ChosenRows, Compared, ComparisonOptions, Labelled, Objective, RowAnswers,
    RunningAccuracy, SimilarityCounter, SimilarityMetrics, SplitAnswers, TaskMetrics, TaskRules,
    pearson, spearman,
};
use crate::config::{TaskSettings, VectorLoss};
use crate::data::{RawLabel, TaskLabels, number};

pub(super) struct Similarity;

impl TaskRules for Similarity {
    fn read_label(&self, cell: Cell) -> Result<RawLabel, String> {
        number(cell).map(RawLabel::Number)
    }

    fn unlabelled(&self, rows: usize) -> TaskLabels {
        TaskLabels::Numbers(vec![None; rows])
    }

    fn own_keys(&self) -> &'static [&'static str] {
        &["range", "loss", "scale"]
    }

    fn vector_losses(&self) -> &'static [VectorLoss] {
        &[VectorLoss::Cosent, VectorLoss::Cosine]
    }

    fn comparison(&self, settings: &TaskSettings) -> Option<ComparisonOptions> {
        Some(ComparisonOptions::new(settings, VectorLoss::Cosent))
    }

    fn found_range(&self, train: &TaskLabels) -> Option<NumberRange> {
        let scores = || train.numbers().iter().flatten().copied();
        let (least, most) = (scores().reduce(f32::min)?, scores().reduce(f32::max)?);
        NumberRange::new(least, most).ok()
    }

    fn check_rows(
        &self,
        settings: &TaskSettings,
        train: &TaskLabels,
    ) -> Result<(), (usize, String)> {
        let orders =
            ComparisonOptions::new(settings, VectorLoss::Cosent).loss == VectorLoss::Cosent;
        let mut scores =
            train.numbers().iter().enumerate().filter_map(|(row, x)| Some((row, (*x)?)));
        match scores.next() {
            Some((row, first)) if orders && scores.all(|(_, score)| score == first) => Err((
                row,
                format!("expected scores that differ for `loss = \"cosent\"`, found only {first}"),
            )),
            _ => Ok(()),
        }
    }

    fn normaliser(&self, objective: &Objective, targets: &TaskLabels) -> f64 {
        let labelled = targets.labelled();
        match objective.comparison().loss {
            // One number for all rows.
            VectorLoss::Cosent => f64::from(u8::from(labelled > 0)),
            _ => labelled as f64,
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
        let options = objective.comparison();
        let targets = rows.targets.numbers();
        let labelled = (0..targets.len()).filter(|row| targets[*row].is_some());
        let first: Vec<usize> = labelled.map(|row| rows.first[row]).collect();
        let second: Vec<usize> = first.iter().map(|text| text + 1).collect();
        let mut scores: Vec<f32> = targets.iter().copied().flatten().collect();
        if let (VectorLoss::Cosine, Some(range)) = (options.loss, options.range) {
            let (least, width) = (range.least(), range.most() - range.least());
            scores.iter_mut().for_each(|score| *score = (*score - least) / width);
        }
        let (u, v) = (rows.gather(&first), rows.gather(&second));
        let (mut du, mut dv) = (vec![0.0; u.len()], vec![0.0; v.len()]);
        let gradients = [&mut du[..], &mut dv];
        let sum = options.at_each_width(
            cpu,
            [&u, &v],
            rows.width,
            gradients,
            |width, [u, v], [du, dv]| match options.loss {
                VectorLoss::Cosent => cosent(u, v, width, &scores, options.scale, factor, du, dv),
                _ => cosine_error(u, v, width, &scores, factor, du, dv),
            },
        );
        rows.scatter(&first, &du, out);
        rows.scatter(&second, &dv, out);
        sum
    }

    fn count(&self, _: &mut RunningAccuracy, _: Labelled) {}

    fn metric_names(&self) -> &'static [&'static str] {
        SimilarityMetrics::NAMES
    }

    fn main_metric(&self) -> &'static str {
        "spearman"
    }

    fn score(&self, answers: &SplitAnswers) -> Option<TaskMetrics> {
        let shorter = answers.widths.iter().copied().filter(|width| *width < answers.width());
        let mut counter = SimilarityCounter::new(answers.width(), &shorter.collect::<Vec<_>>());
        for (row, score) in answers.labels().numbers().iter().enumerate() {
            let first = answers.split.sequences(row).start;
            if let Some(score) = score {
                let score = f64::from(*score);
                counter.add(answers.vector(first), answers.vector(first + 1), score);
            }
        }
        counter.finish().map(TaskMetrics::Similarity)
    }

    /// Cosine and score of each pair, at the whole width.
    fn row_answers(&self, answers: &SplitAnswers) -> Option<RowAnswers> {
        let rows = answers.labels().numbers().iter().enumerate();
        let labelled = rows.filter_map(|(row, score)| {
            let first = answers.split.sequences(row).start;
            let given = cosine(answers.vector(first), answers.vector(first + 1));
            Some((given, (*score)?.into()))
        });
        Some(RowAnswers::Numbers(labelled.collect()))
    }

    fn score_rows(&self, rows: ChosenRows) -> Option<TaskMetrics> {
        let loss = rows.loss;
        let (given, scores): (Vec<f64>, Vec<f64>) = rows.numbers().unzip();
        let metrics = SimilarityMetrics {
            loss,
            pearson: pearson(&given, &scores),
            spearman: spearman(&given, &scores),
            rows: scores.len() as u64,
            widths: Vec::new(),
        };
        (!scores.is_empty()).then_some(TaskMetrics::Similarity(metrics))
    }

    fn calibrate(&self, _: Labelled, _: &[usize], _: f32) -> Option<Calibration> {
        None
    }
}
