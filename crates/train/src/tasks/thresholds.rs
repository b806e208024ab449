//! Thresholds of a multi-label head: the probability from which each label is given, which need not
//! be ½ where a label is rare.
//!
//! What is best on some rows is found here; [`held_out`](super::held_out) says when it is kept.

use crate::tasks::loss::sigmoid;

/// Per label, the probability from which it is given: the one with the largest F1 on these rows.
///
/// - `logits`: `[rows, C]`, finite
/// - `targets`: `[rows]`: the labels that a row has; rows without are left out,
///   labels not below `C` passed over
/// - `temperature`: of the head, as it will be used with the thresholds
/// - returns `[C]`, each in `[0, 1]`; 0 gives the label to every row
///
/// Tried are ½ and the middle between each two neighbours of 0 and the
/// probabilities that occur; of equally good ones the one nearest ½ is taken,
/// so ½ stays where nothing is better. Labels with fewer than `least` positive or negative rows
/// keep ½ too, and those without a positive one.
///
/// # Panics
/// If lengths do not agree.
pub fn best_thresholds(
    logits: &[f32],
    labels: usize,
    targets: &[Option<Vec<u32>>],
    temperature: f32,
    least: usize,
) -> Vec<f32> {
    assert_eq!(logits.len(), targets.len() * labels, "a row of logits per target");
    (0..labels)
        .map(|label| {
            let cases: Vec<(f32, bool)> = column(logits, labels, targets, label)
                .map(|(logit, there)| (label_probability(logit, temperature), there))
                .collect();
            let positives = cases.iter().filter(|case| case.1).count();
            match positives.min(cases.len() - positives) {
                fewer if fewer < least => 0.5,
                _ => best_threshold(cases, 0.5),
            }
        })
        .collect()
}

/// The labels that a multi-label head gives: those whose probability reaches their threshold.
///
/// - `logits`, `thresholds`: `[C]`; without thresholds, ½ for every label
pub fn given_labels(logits: &[f32], temperature: f32, thresholds: &[f32]) -> Vec<u32> {
    assert!(thresholds.is_empty() || logits.len() == thresholds.len(), "a threshold per label");
    let from = |label: u32| thresholds.get(label as usize).copied().unwrap_or(0.5);
    (0..)
        .zip(logits)
        .filter(|(label, logit)| label_probability(**logit, temperature) >= from(*label))
        .map(|(label, _)| label)
        .collect()
}

/// Probability that a multi-label head gives one label: `σ(z / T)`.
pub(super) fn label_probability(logit: f32, temperature: f32) -> f32 {
    sigmoid(f64::from(logit) / f64::from(temperature)) as f32
}

/// Logit and truth of one label in every labelled row.
pub(super) fn column<'a>(
    logits: &'a [f32],
    labels: usize,
    targets: &'a [Option<Vec<u32>>],
    label: usize,
) -> impl Iterator<Item = (f32, bool)> + 'a {
    targets.iter().enumerate().filter_map(move |(row, target)| {
        let there = target.as_ref()?.contains(&(label as u32));
        Some((logits[row * labels + label], there))
    })
}

/// The threshold with the largest F1; of equally good ones that nearest to `usual`.
///
/// - `cases`: probability of the label, and whether the row has it
pub(super) fn best_threshold(mut cases: Vec<(f32, bool)>, usual: f32) -> f32 {
    let positives = cases.iter().filter(|case| case.1).count();
    if positives == 0 {
        return usual;
    }
    cases.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    // F1 is 2 hits / (given + positives): compared as fractions, ties are exact.
    let from_usual = cases.iter().take_while(|case| case.0 >= usual);
    let (given, hits) =
        from_usual.fold((0, 0), |sums, case| (sums.0 + 1, sums.1 + usize::from(case.1)));
    let mut best = (hits, given + positives, usual);
    let (mut given, mut hits) = (0, 0);
    for group in cases.chunk_by(|a, b| a.0 == b.0) {
        given += group.len();
        hits += group.iter().filter(|case| case.1).count();
        let below = cases.get(given).map_or(0.0, |case| case.0);
        let threshold = between(below, group[0].0);
        let (score, best_score) = (hits * best.1, best.0 * (given + positives));
        let nearer = (threshold - usual).abs() < (best.2 - usual).abs();
        if score > best_score || score == best_score && nearer {
            best = (hits, given + positives, threshold);
        }
    }
    best.2
}

/// The middle, or `above` where f32 has nothing between: what lies below does
/// not reach it, what lies above does.
fn between(below: f32, above: f32) -> f32 {
    let middle = ((f64::from(below) + f64::from(above)) / 2.0) as f32;
    if middle > below { middle } else { above }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_maximise_f1() {
        struct Case {
            name: &'static str,
            cases: Vec<(f32, bool)>,
            expected: f32,
        }
        let table = [
            Case { name: "no rows", cases: vec![], expected: 0.5 },
            Case { name: "no positives", cases: vec![(0.9, false), (0.1, false)], expected: 0.5 },
            Case {
                name: "½ is as good",
                cases: vec![(0.9, true), (0.2, false), (0.3, false)],
                expected: 0.5,
            },
            Case {
                name: "rare and timid",
                cases: vec![(0.25, true), (0.125, false), (0.125, false), (0.0, false)],
                expected: 0.1875,
            },
            Case {
                name: "too bold",
                cases: vec![(0.875, true), (0.75, false), (0.75, false)],
                expected: 0.8125,
            },
            Case {
                name: "all of them, even the lowest",
                cases: vec![(0.25, true), (0.125, true)],
                expected: 0.0625,
            },
            Case {
                // The first alone and all four have the same F1, 2/3.
                name: "a tie",
                cases: vec![(0.375, true), (0.25, false), (0.25, false), (0.125, true)],
                expected: 0.3125,
            },
        ];
        for Case { name, cases, expected } in table {
            assert_eq!(best_threshold(cases, 0.5), expected, "{name}");
        }
    }

    #[test]
    fn a_threshold_divides_even_neighbours() {
        let below = 0.3f32;
        let above = f32::from_bits(below.to_bits() + 1);
        let threshold = best_threshold(vec![(above, true), (below, false)], 0.5);
        assert!(above >= threshold && below < threshold);
    }

    #[test]
    fn given_labels_reach_their_thresholds() {
        let targets = [Some(vec![0]), Some(vec![1]), Some(vec![0, 1]), None];
        let logits = [-1.0, 4.0, -3.0, 5.0, -2.0, 6.0, 9.0, 9.0];
        let thresholds = best_thresholds(&logits, 2, &targets, 2.0, 0);
        let given = |row: usize| given_labels(&logits[row * 2..][..2], 2.0, &thresholds);
        assert_eq!((given(0), given(1), given(2)), (vec![0], vec![1], vec![0, 1]));
    }
}
