//! Losses over sentence vectors against sentence-transformers.
//!
//! `reference/make_vector_loss_goldens.py` makes the file: value and gradients in f64. Most losses
//! compute in f64 too, so that only their gradients are rounded, to f32. Scores and products in f32
//! are off by some 1e-7 of themselves, times the scale, 20.
use polyhead_compute::{Cpu, Isa, Team};
use polyhead_train::{
    MultipleNegatives, ScoreLoss, TripletDistance, cosent, cosine_error, dot_scores,
    dot_scores_backward, matryoshka, mean_factor, multiple_negatives, score_distillation,
    score_distillation_normaliser, triplet, vector_distillation,
};
use serde::Deserialize;

const IN_F64: f64 = 1e-7;
const IN_F32: f64 = 1e-5;

#[derive(Deserialize)]
struct Case {
    loss: String,
    name: String,
    width: usize,
    vectors: Vec<Vec<f32>>,
    value: f64,
    gradients: Vec<Vec<f64>>,
    scores: Option<Vec<f32>>,
    scale: Option<f64>,
    symmetric: Option<bool>,
    left_out: Option<Vec<(usize, usize)>>,
    distance: Option<String>,
    margin: Option<f64>,
    teacher: Option<Vec<f32>>,
    temperature: Option<f64>,
    widths: Option<Vec<usize>>,
}

#[test]
fn losses_and_gradients_follow_sentence_transformers() {
    let cases: Vec<Case> = polyhead_testing::golden_json("vector_losses.json");
    assert!(cases.len() >= 20);
    for case in &cases {
        for isa in Isa::available() {
            let team = Team::solo();
            case.check(Cpu::new(&team, isa));
        }
    }
}

impl Case {
    fn check(&self, cpu: Cpu) {
        let what = format!("{} {} on {}", self.loss, self.name, cpu.isa().name());
        let mut gradients: Vec<Vec<f32>> =
            self.vectors.iter().map(|matrix| vec![f32::NAN; matrix.len()]).collect();
        let vectors: Vec<&[f32]> = self.vectors.iter().map(|matrix| &matrix[..]).collect();
        let to: Vec<&mut [f32]> = gradients.iter_mut().map(|matrix| &mut matrix[..]).collect();
        let rows = vectors[0].len() / self.width;
        let value = match (&self.loss[..], vectors.len()) {
            ("multiple_negatives" | "divergence" | "margins", count) => {
                // The candidates are one matrix.
                let candidates = self.vectors[1..].concat();
                let mut dcandidates = vec![f32::NAN; candidates.len()];
                let mut to = to.into_iter();
                let both = [to.next().unwrap(), &mut dcandidates[..]];
                let value = self.at_widths(cpu, [vectors[0], &candidates], both);
                for (to, from) in to.zip(dcandidates.chunks_exact(dcandidates.len() / (count - 1)))
                {
                    to.copy_from_slice(from);
                }
                value
            }
            (_, 1) => self.at_widths::<1>(cpu, [vectors[0]], to.try_into().unwrap()),
            (_, 2) => self.at_widths::<2>(cpu, [vectors[0], vectors[1]], to.try_into().unwrap()),
            _ => self.at_widths::<3>(cpu, vectors.try_into().unwrap(), to.try_into().unwrap()),
        };
        let in_f64 = ["cosent", "cosine_error", "triplet", "vector_distillation"];
        let tolerance =
            if in_f64.contains(&&self.loss[..]) && self.widths.is_none() { IN_F64 } else { IN_F32 };
        let error = (value - self.value).abs();
        assert!(error <= tolerance * self.value.abs(), "{what}: {value}, not {}", self.value);
        for (matrix, (found, expected)) in gradients.iter().zip(&self.gradients).enumerate() {
            for (row, (found, expected)) in
                found.chunks(self.width).zip(expected.chunks(self.width)).enumerate()
            {
                // Against the largest number of its row: vectors of zeros have huge gradients.
                let largest = expected.iter().fold(1.0 / rows as f64, |a, b| b.abs().max(a));
                for (found, expected) in found.iter().zip(expected) {
                    let error = (f64::from(*found) - expected).abs();
                    assert!(
                        error <= tolerance * largest,
                        "{what}, matrix {matrix}, row {row}: {found}, not {expected}"
                    );
                }
            }
        }
    }

    fn at_widths<const N: usize>(
        &self,
        cpu: Cpu,
        vectors: [&[f32]; N],
        gradients: [&mut [f32]; N],
    ) -> f64 {
        match &self.widths {
            Some(widths) => {
                matryoshka(cpu, vectors, self.width, widths, gradients, |width, vectors, out| {
                    self.loss(cpu, width, &vectors, out.into())
                })
            }
            None => self.loss(cpu, self.width, &vectors, gradients.into()),
        }
    }

    /// The mean, and its gradients.
    fn loss(&self, cpu: Cpu, width: usize, vectors: &[&[f32]], gradients: Vec<&mut [f32]>) -> f64 {
        let rows = vectors[0].len() / width;
        let factor = mean_factor(1.0, rows as f64);
        let mut gradients = gradients.into_iter();
        let mut to = || gradients.next().unwrap();
        match &self.loss[..] {
            "cosent" => {
                let (scores, scale) = (self.scores.as_ref().unwrap(), self.scale.unwrap());
                cosent(vectors[0], vectors[1], width, scores, scale, 1.0, to(), to())
            }
            "cosine_error" => {
                let scores = self.scores.as_ref().unwrap();
                cosine_error(vectors[0], vectors[1], width, scores, factor, to(), to())
                    / rows as f64
            }
            "multiple_negatives" => {
                let options = MultipleNegatives {
                    scale: self.scale.unwrap(),
                    symmetric: self.symmetric.unwrap(),
                    left_out: self.left_out.as_ref().unwrap(),
                };
                let [anchors, candidates] = [vectors[0], vectors[1]];
                multiple_negatives(cpu, anchors, candidates, width, options, factor, to(), to())
                    / rows as f64
            }
            "triplet" => {
                let distance = match self.distance.as_deref().unwrap() {
                    "cosine" => TripletDistance::Cosine,
                    _ => TripletDistance::Euclidean,
                };
                let vectors = [vectors[0], vectors[1], vectors[2]];
                triplet(vectors, width, self.margin.unwrap(), distance, factor, [to(), to(), to()])
                    / rows as f64
            }
            "vector_distillation" => {
                let teacher: Vec<f32> = self
                    .teacher
                    .as_ref()
                    .unwrap()
                    .chunks_exact(self.width)
                    .flat_map(|row| row[..width].to_vec())
                    .collect();
                let factor = factor / width as f64;
                vector_distillation(vectors[0], &teacher, factor, to()) / (rows * width) as f64
            }
            _ => self.scores(vectors, width, to(), to()),
        }
    }

    /// Distillation of scores: the library's candidates are positives, then negatives; ours are
    /// row after row.
    fn scores(
        &self,
        vectors: &[&[f32]],
        width: usize,
        danchors: &mut [f32],
        dcandidates: &mut [f32],
    ) -> f64 {
        let rows = vectors[0].len() / width;
        let lists = vec![vectors[1].len() / vectors[0].len(); rows];
        let at = |row: usize, column: usize| (column * rows + row) * width;
        let candidates: Vec<f32> = (0..rows)
            .flat_map(|row| (0..lists[row]).map(move |column| at(row, column)))
            .flat_map(|from| vectors[1][from..from + width].to_vec())
            .collect();
        let loss = self
            .temperature
            .map_or(ScoreLoss::Margins, |temperature| ScoreLoss::Divergence { temperature });
        let normaliser = score_distillation_normaliser(&lists, loss);
        let scores = dot_scores(vectors[0], &candidates, width, &lists);
        let mut dscores = vec![f32::NAN; scores.len()];
        let factor = mean_factor(1.0, normaliser);
        let teacher = self.teacher.as_ref().unwrap();
        let sum = score_distillation(&scores, teacher, &lists, loss, factor, &mut dscores);
        let mut by_row = vec![f32::NAN; candidates.len()];
        let vectors = [vectors[0], &candidates];
        dot_scores_backward(vectors, width, &lists, &dscores, [danchors, &mut by_row]);
        for (index, from) in by_row.chunks_exact(width).enumerate() {
            let to = at(index / lists[0], index % lists[0]);
            dcandidates[to..to + width].copy_from_slice(from);
        }
        sum / normaliser
    }
}
