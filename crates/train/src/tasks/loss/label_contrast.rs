//! Labels set apart: rows of one label get a high cosine, rows of different labels a low one.

use super::vectors::cosine_error;
use crate::data::TaskLabels;

/// Rows behind a row that it is compared with, so that the work grows with the rows and not with
/// their pairs. Up to 33 rows, these are all pairs.
const NEIGHBOURS: usize = 16;

/// Pairs of rows and the cosine that each should have.
#[derive(Default)]
struct Pairs {
    first: Vec<usize>,
    second: Vec<usize>,
    cosines: Vec<f32>,
}

/// The mean squared difference between the cosine of two rows' vectors and how much their labels
/// agree: 1 for one label and 0 for two, and for sets of labels the share of those in either that are in
/// both (Jaccard, 1901). Pairs that agree and pairs that do not weigh the same, however many there are
/// of each.
///
/// This is the loss of SetFit (Tunstall et al., 2022, section 3; `CosineSimilarityLoss`), whose sampler
/// repeats the rarer sort of pairs instead. Here the rows of a step are encoded once, and compared with
/// each other.
///
/// - `vectors`: `[rows, width]`
/// - `labels`: `[rows]`, classes or sets; a row without a label is in no pair
/// - `dvectors`: `[rows, width]`, overwritten: `factor` times the derivative
/// - returns the loss, 0 without a pair
///
/// # Panics
/// If the labels are of another form, or lengths do not agree.
pub(crate) fn label_contrast(
    vectors: &[f32],
    width: usize,
    labels: &TaskLabels,
    factor: f64,
    dvectors: &mut [f32],
) -> f64 {
    assert_eq!(vectors.len(), labels.len() * width, "a vector for each row");
    let sorts = pairs(labels);
    let found = sorts.iter().filter(|pairs| !pairs.cosines.is_empty()).count();
    dvectors.fill(0.0);
    let mut loss = 0.0;
    for Pairs { first, second, cosines } in sorts.iter().filter(|pairs| !pairs.cosines.is_empty()) {
        let share = 1.0 / (found * cosines.len()) as f64;
        let gather = |rows: &[usize]| -> Vec<f32> {
            rows.iter().flat_map(|row| &vectors[row * width..][..width]).copied().collect()
        };
        let (u, v) = (gather(first), gather(second));
        let (mut du, mut dv) = (vec![0.0; u.len()], vec![0.0; v.len()]);
        loss += share * cosine_error(&u, &v, width, cosines, share * factor, &mut du, &mut dv);
        for (rows, of_rows) in [(first, du), (second, dv)] {
            for (row, of_row) in rows.iter().zip(of_rows.chunks_exact(width)) {
                let to = &mut dvectors[row * width..][..width];
                to.iter_mut().zip(of_row).for_each(|(to, from)| *to += from);
            }
        }
    }
    loss
}

/// The pairs of rows that are compared: those that agree in a label, and the others.
fn pairs(labels: &TaskLabels) -> [Pairs; 2] {
    let rows: Vec<usize> = (0..labels.len()).filter(|row| labels.is_labelled(*row)).collect();
    let mut sorts = [Pairs::default(), Pairs::default()];
    for at in 0..rows.len() {
        for further in 1..=NEIGHBOURS.min(rows.len() / 2) {
            // Of an even number of rows, those opposite to each other meet twice.
            if 2 * further == rows.len() && at >= further {
                continue;
            }
            let (first, second) = (rows[at], rows[(at + further) % rows.len()]);
            let cosine = agreement(labels, first, second);
            let sort = &mut sorts[usize::from(cosine == 0.0)];
            sort.first.push(first);
            sort.second.push(second);
            sort.cosines.push(cosine);
        }
    }
    sorts
}

/// How much the labels of two rows agree, from 0 to 1.
fn agreement(labels: &TaskLabels, first: usize, second: usize) -> f32 {
    if let TaskLabels::Classes(classes) = labels {
        return f32::from(u8::from(classes[first] == classes[second]));
    }
    let [first, second] = [first, second].map(|row| labels.sets()[row].as_deref().unwrap_or(&[]));
    let both = first.iter().filter(|label| second.contains(label)).count();
    let either = first.len() + second.len() - both;
    // Two rows to which no label applies agree in that.
    if either == 0 { 1.0 } else { both as f32 / either as f32 }
}

#[cfg(test)]
mod tests {
    use super::super::vectors::testing::{check_gradients, some_vectors};
    use super::*;

    fn classes(labels: &[Option<u32>]) -> TaskLabels {
        TaskLabels::Classes(labels.to_vec())
    }

    #[test]
    fn the_loss_is_the_mean_over_both_sorts_of_pairs() {
        // Cosines by hand: equal vectors, opposite ones and orthogonal ones.
        let vectors = [1.0, 0.0, 2.0, 0.0, 0.0, 3.0, -1.0, 0.0];
        let labels = classes(&[Some(0), Some(0), Some(1), Some(1)]);
        // Same: (0, 1) has 1, (2, 3) has 0. Different: (0, 2) 0, (0, 3) -1, (1, 2) 0, (1, 3) -1.
        let mut out = [f32::NAN; 8];
        let loss = label_contrast(&vectors, 2, &labels, 1.0, &mut out);
        assert_eq!(loss, 0.5 * (0.0 + 1.0) / 2.0 + 0.5 * (0.0 + 1.0 + 0.0 + 1.0) / 4.0);
        let sets = TaskLabels::Sets(vec![Some(vec![0, 1]), Some(vec![1]), None, Some(Vec::new())]);
        // (0, 1) agree by a half and have 1; (0, 3) and (1, 3) have -1 and agree in nothing.
        let loss = label_contrast(&vectors, 2, &sets, 1.0, &mut out);
        assert_eq!(loss, 0.5 * 0.25 + 0.5 * 1.0);
        assert_eq!(out[4..6], [0.0; 2], "the row without a label is in no pair");
    }

    #[derive(serde::Deserialize)]
    struct Golden {
        width: usize,
        labels: Vec<i64>,
        vectors: Vec<Vec<f32>>,
        value: f64,
        gradients: Vec<Vec<f64>>,
    }

    /// `reference/make_vector_loss_goldens.py`, in double precision; here, too, only gradients are rounded,
    /// each as a sum of up to seven.
    #[test]
    fn loss_and_gradient_follow_sentence_transformers() {
        let cases: Vec<Golden> = polyhead_testing::golden_json("label_contrast.json");
        assert_eq!(cases.len(), 3);
        for Golden { width, labels, vectors, value, gradients } in cases {
            let labels: Vec<_> = labels.iter().map(|label| u32::try_from(*label).ok()).collect();
            let mut found = vec![f32::NAN; vectors[0].len()];
            let loss = label_contrast(&vectors[0], width, &classes(&labels), 1.0, &mut found);
            assert!((loss - value).abs() <= 1e-12 * value, "{loss}, not {value}");
            let largest = gradients[0].iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
            for (found, expected) in found.iter().zip(&gradients[0]) {
                assert!(
                    (f64::from(*found) - expected).abs() <= 1e-6 * largest,
                    "{found}, not {expected}"
                );
            }
        }
    }

    #[test]
    fn gradient_is_the_difference_quotient() {
        let vectors = some_vectors(7 * 3, 5);
        for labels in [
            classes(&[Some(0), Some(1), Some(0), None, Some(2), Some(1), Some(0)]),
            classes(&[Some(0), Some(0), None, None, None, None, None]),
            classes(&[Some(0), Some(1), None, None, None, None, None]),
        ] {
            check_gradients([&vectors], |[vectors], factor, [out]| {
                label_contrast(vectors, 3, &labels, factor, out)
            });
        }
    }

    #[test]
    fn each_pair_of_few_rows_is_compared_once_and_many_rows_make_few_pairs() {
        for rows in [0, 1, 2, 3, 8, 32, 33] {
            let labels = classes(&vec![Some(0); rows]);
            let [same, different] = pairs(&labels);
            let found: std::collections::BTreeSet<_> =
                same.first.iter().zip(&same.second).map(|(a, b)| (*a.min(b), *a.max(b))).collect();
            assert_eq!(found.len(), rows * rows.saturating_sub(1) / 2, "{rows}");
            assert_eq!((same.cosines.len(), different.cosines.len()), (found.len(), 0), "{rows}");
        }
        let [same, _] = pairs(&classes(&vec![Some(0); 1_000]));
        assert_eq!(same.cosines.len(), 16_000);
        assert_eq!(label_contrast(&[], 3, &classes(&[]), 1.0, &mut []), 0.0);
    }
}
