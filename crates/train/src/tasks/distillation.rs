//! The vectors or the scores of a teacher, in place of labels.

use polyhead_compute::Cpu;
use polyhead_files::Cell;

use super::loss::{
    ScoreLoss, dot_scores, dot_scores_backward, score_distillation, vector_distillation,
};
use super::{
    Calibration, ChosenRows, Compared, ComparisonOptions, DistillationCounter, DistillationMetrics,
    Labelled, Objective, RowAnswers, RunningAccuracy, SplitAnswers, TaskMetrics, TaskRules,
};
use crate::config::{TaskSettings, VectorLoss};
use crate::data::{RawLabel, TaskLabels};

/// The factor of scores where none is given: scores of a teacher are compared as they are.
const SCALE: f64 = 1.0;

pub(super) struct Distillation;

impl TaskRules for Distillation {
    fn read_label(&self, _: Cell) -> Result<RawLabel, String> {
        Err("expected no label for distillation".to_owned())
    }

    /// The teacher answers every row; its label is the number of its texts.
    fn implied_label(&self, texts: usize) -> Option<RawLabel> {
        Some(RawLabel::Number(texts as f32))
    }

    fn least_texts(&self) -> usize {
        1
    }

    fn unlabelled(&self, rows: usize) -> TaskLabels {
        TaskLabels::Numbers(vec![None; rows])
    }

    fn own_keys(&self) -> &'static [&'static str] {
        &["loss", "scale"]
    }

    fn vector_losses(&self) -> &'static [VectorLoss] {
        &[VectorLoss::MeanSquaredError, VectorLoss::Kl, VectorLoss::MarginMse]
    }

    fn comparison(&self, settings: &TaskSettings) -> Option<ComparisonOptions> {
        let options = ComparisonOptions::new(settings, VectorLoss::MeanSquaredError);
        let scale = settings.scale.map_or(SCALE, |scale| f64::from(scale.get()));
        Some(ComparisonOptions { scale, ..options })
    }

    /// Vectors, lists, or margins between the first score of a list and another one.
    fn normaliser(&self, objective: &Objective, targets: &TaskLabels) -> f64 {
        let texts = targets.numbers().iter().flatten().map(|texts| f64::from(*texts));
        match objective.comparison().loss {
            VectorLoss::MeanSquaredError => texts.sum(),
            VectorLoss::MarginMse => texts.map(|texts| (texts - 2.0).max(0.0)).sum(),
            _ => texts.count() as f64,
        }
    }

    fn compare(
        &self,
        _: Cpu,
        objective: &Objective,
        rows: Compared,
        factor: f64,
        out: &mut [f32],
    ) -> f64 {
        distance(objective.comparison(), rows, factor, out)
    }

    fn count(&self, _: &mut RunningAccuracy, _: Labelled) {}

    fn metric_names(&self) -> &'static [&'static str] {
        DistillationMetrics::NAMES
    }

    fn main_metric(&self) -> &'static str {
        "loss"
    }

    fn score(&self, answers: &SplitAnswers) -> Option<TaskMetrics> {
        let (split, objective) = (answers.split, answers.objective);
        let teacher = &split.teachers.get(answers.task)?;
        if split.is_empty() || teacher.is_empty() {
            return None;
        }
        let first: Vec<usize> = (0..split.len())
            .map(|row| split.sequences(row).start)
            .chain([split.tokens.len()])
            .collect();
        let rows: Vec<&[f32]> = (0..split.len()).map(|row| teacher.row(row)).collect();
        let compared = Compared {
            vectors: answers.logits,
            width: answers.width(),
            first: &first,
            texts: &split.equal_texts,
            targets: answers.labels(),
            teacher: &rows,
        };
        let mut unused = vec![0.0; answers.logits.len()];
        let options = objective.comparison();
        let sum = distance(options, compared, 0.0, &mut unused);
        let loss = sum / objective.normaliser(answers.labels());
        let mut counter = DistillationCounter::new();
        match options.loss {
            VectorLoss::MeanSquaredError => {
                let vectors = answers.logits.chunks_exact(answers.width());
                let of_teacher = rows.iter().flat_map(|row| row.chunks_exact(answers.width()));
                vectors.zip(of_teacher).for_each(|(vector, of_teacher)| {
                    counter.add_vectors(vector, of_teacher);
                });
            }
            _ => {
                let (scores, _) = scores_of(options, compared);
                counter.add_scores(&scores, &rows.concat());
            }
        }
        counter.finish(loss, split.len() as u64).map(TaskMetrics::Distillation)
    }

    /// Neither a loss nor a correlation over all pairs of scores is one of rows.
    fn row_answers(&self, _: &SplitAnswers) -> Option<RowAnswers> {
        None
    }

    fn score_rows(&self, _: ChosenRows) -> Option<TaskMetrics> {
        unreachable!("the kind has no answers of rows")
    }

    fn calibrate(&self, _: Labelled, _: &[usize], _: f32) -> Option<Calibration> {
        None
    }
}

/// The sum of the distances of all rows to the teacher; `out` gets `factor` times its gradient added.
fn distance(options: &ComparisonOptions, rows: Compared, factor: f64, out: &mut [f32]) -> f64 {
    if options.loss == VectorLoss::MeanSquaredError {
        let width = rows.width as f64;
        let mut gradient = vec![0.0; rows.vectors.len()];
        let teacher = rows.teacher.concat();
        let sum = vector_distillation(rows.vectors, &teacher, factor / width, &mut gradient);
        out.iter_mut().zip(&gradient).for_each(|(out, gradient)| *out += gradient);
        return sum / width;
    }
    let loss = match options.loss {
        VectorLoss::MarginMse => ScoreLoss::Margins,
        _ => ScoreLoss::Divergence { temperature: 1.0 },
    };
    let (scores, ScoredTexts { anchors, candidates, lists }) = scores_of(options, rows);
    let mut dscores = vec![0.0; scores.len()];
    let teacher = rows.teacher.concat();
    let sum = score_distillation(&scores, &teacher, &lists, loss, factor, &mut dscores);
    dscores.iter_mut().for_each(|d| *d = (f64::from(*d) * options.scale) as f32);
    let vectors = [rows.gather(&anchors), rows.gather(&candidates)];
    let mut gradients = vectors.each_ref().map(|vectors| vec![0.0; vectors.len()]);
    let [danchors, dcandidates] = &mut gradients;
    let vectors = vectors.each_ref().map(|vectors| &vectors[..]);
    dot_scores_backward(vectors, rows.width, &lists, &dscores, [danchors, dcandidates]);
    rows.scatter(&anchors, danchors, out);
    rows.scatter(&candidates, dcandidates, out);
    sum
}

/// The texts of some rows: the first one of each row, and those that it is compared with.
struct ScoredTexts {
    anchors: Vec<usize>,
    candidates: Vec<usize>,
    /// `[rows]`: number of candidates.
    lists: Vec<usize>,
}

/// The dot product of each row's first vector with each other one, times the scale.
fn scores_of(options: &ComparisonOptions, rows: Compared) -> (Vec<f32>, ScoredTexts) {
    let mut texts = ScoredTexts { anchors: Vec::new(), candidates: Vec::new(), lists: Vec::new() };
    for ends in rows.first.windows(2) {
        texts.anchors.push(ends[0]);
        texts.candidates.extend(ends[0] + 1..ends[1]);
        texts.lists.push(ends[1] - ends[0] - 1);
    }
    let (anchors, candidates) = (rows.gather(&texts.anchors), rows.gather(&texts.candidates));
    let mut scores = dot_scores(&anchors, &candidates, rows.width, &texts.lists);
    scores.iter_mut().for_each(|score| *score = (f64::from(*score) * options.scale) as f32);
    (scores, texts)
}

#[cfg(test)]
mod tests {
    use polyhead_compute::{Isa, Team};

    use super::*;

    /// An objective, and the loss and gradient of two rows of three and two texts of width 2.
    fn of(loss: VectorLoss, vectors: &[f32], teacher: &[&[f32]]) -> (f64, Vec<f32>) {
        let settings =
            TaskSettings { loss: Some(loss), scale: 2.0.try_into().ok(), ..Default::default() };
        let options = Distillation.comparison(&settings).unwrap();
        let targets = TaskLabels::Numbers(vec![Some(3.0), Some(2.0)]);
        let rows = Compared {
            vectors,
            width: 2,
            first: &[0, 3, 5],
            texts: &[0, 1, 2, 3, 4],
            targets: &targets,
            teacher,
        };
        let mut out = vec![0.0; vectors.len()];
        (distance(&options, rows, 1.0, &mut out), out)
    }

    #[test]
    fn gradients_are_difference_quotients() {
        let team = Team::solo();
        let _ = Cpu::new(&team, Isa::detect());
        let vectors = [0.5, -0.25, 1.0, 0.75, -0.5, 0.25, 0.125, 1.0, -1.0, 0.5];
        let of_vectors: [&[f32]; 2] = [&[1.0, 0.0, 0.0, 1.0, 0.5, 0.5], &[0.25, 0.5, -1.0, 0.0]];
        let of_scores: [&[f32]; 2] = [&[3.0, -1.0], &[0.5]];
        for (loss, teacher) in [
            (VectorLoss::MeanSquaredError, &of_vectors),
            (VectorLoss::Kl, &of_scores),
            (VectorLoss::MarginMse, &of_scores),
        ] {
            let (_, gradient) = of(loss, &vectors, teacher);
            for at in 0..vectors.len() {
                let step = 1.0 / 1024.0;
                let moved = |by: f32| {
                    let mut vectors = vectors;
                    vectors[at] += by;
                    of(loss, &vectors, teacher).0
                };
                let expected = (moved(step) - moved(-step)) / f64::from(2.0 * step);
                let error = (f64::from(gradient[at]) - expected).abs();
                assert!(error < 1e-4, "{loss:?} {at}: {} and {expected}", gradient[at]);
            }
        }
    }

    #[test]
    fn at_the_teacher_nothing_is_left() {
        let vectors = [0.5, -0.25, 1.0, 0.75, -0.5, 0.25, 0.125, 1.0, -1.0, 0.5];
        let same = of(VectorLoss::MeanSquaredError, &vectors, &[&vectors[..6], &vectors[6..]]);
        assert_eq!(same, (0.0, vec![0.0; 10]));
        // The dot products of the first vector of each row with the others, times 2.
        let scores: [&[f32]; 2] = [&[0.625, -0.625], &[0.75]];
        for loss in [VectorLoss::Kl, VectorLoss::MarginMse] {
            assert_eq!(of(loss, &vectors, &scores), (0.0, vec![0.0; 10]), "{loss:?}");
        }
    }
}
