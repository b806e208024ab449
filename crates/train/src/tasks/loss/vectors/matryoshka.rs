//! Any loss over vectors at several widths: their first numbers are vectors of their own.

use polyhead_compute::Cpu;

/// The sum of a loss over the first numbers of all vectors, at each of `widths`, as
/// sentence-transformers' `MatryoshkaLoss` with weights 1.
///
/// At each width the first numbers of every vector are scaled to length one, as there. The library
/// does not scale a teacher's vectors: [`vector_distillation`](super::vector_distillation()) inside
/// reads the first numbers of its teacher as the caller cuts them.
///
/// - `vectors`: matrices `[rows, width]`; each may have rows of its own
/// - `widths`: not above `width`
/// - `gradients`: like `vectors`, overwritten: the sum over all widths
/// - `loss(width, vectors, gradients)` overwrites gradients and returns a value
/// - returns the sum of the values
///
/// # Panics
/// If lengths do not agree or a width does not fit.
pub fn matryoshka<const N: usize>(
    cpu: Cpu,
    vectors: [&[f32]; N],
    width: usize,
    widths: &[usize],
    gradients: [&mut [f32]; N],
    mut loss: impl FnMut(usize, [&[f32]; N], [&mut [f32]; N]) -> f64,
) -> f64 {
    for (vectors, gradient) in vectors.iter().zip(&gradients) {
        assert!(width > 0 && vectors.len().is_multiple_of(width), "whole rows of {width}");
        assert_eq!(gradient.len(), vectors.len(), "gradients like the vectors");
    }
    let mut gradients = gradients;
    gradients.iter_mut().for_each(|gradient| gradient.fill(0.0));
    let mut sum = 0.0;
    for &short in widths {
        assert!((1..=width).contains(&short), "a width from 1 to {width}, not {short}");
        let cut = |rows: &[f32]| -> Vec<f32> {
            rows.chunks_exact(width).flat_map(|row| &row[..short]).copied().collect()
        };
        let prefixes = vectors.map(cut);
        let mut units = prefixes.clone();
        units.iter_mut().for_each(|unit| cpu.normalize(unit, short));
        let mut dunits = units.each_ref().map(|unit| vec![0.0; unit.len()]);
        let to = dunits.each_mut().map(|d| &mut d[..]);
        sum += loss(short, units.each_ref().map(|unit| &unit[..]), to);
        for ((prefix, mut dunit), gradient) in prefixes.iter().zip(dunits).zip(&mut gradients) {
            cpu.normalize_backward(prefix, short, &mut dunit);
            for (d, to) in dunit.chunks_exact(short).zip(gradient.chunks_exact_mut(width)) {
                cpu.add(d, &mut to[..short]);
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use polyhead_compute::{Isa, Team};

    use super::super::testing::some_vectors;
    use super::super::{cosent, cosine_error};
    use super::*;

    #[test]
    fn adds_values_and_gradients_of_all_widths() {
        let team = Team::solo();
        let cpu = Cpu::new(&team, Isa::detect());
        let (first, second) = (some_vectors(3 * 4, 1), some_vectors(3 * 4, 2));
        let scores = [0.1, 0.9, 0.5];
        let at = |widths: &[usize]| {
            let (mut da, mut db) = ([f32::NAN; 12], [f32::NAN; 12]);
            let vectors = [&first[..], &second];
            let sum =
                matryoshka(cpu, vectors, 4, widths, [&mut da, &mut db], |w, [a, b], [da, db]| {
                    cosine_error(a, b, w, &scores, 1.0, da, db)
                });
            (sum, da, db)
        };
        let (both, wide, narrow) = (at(&[4, 2]), at(&[4]), at(&[2]));
        assert_eq!(both.0, wide.0 + narrow.0);
        for i in 0..12 {
            assert_eq!(both.1[i], wide.1[i] + narrow.1[i]);
            assert_eq!(both.2[i], wide.2[i] + narrow.2[i]);
            assert!(i % 4 < 2 || narrow.1[i] == 0.0, "numbers beyond the width have no gradient");
        }
        // Cosines do not change with the lengths of vectors.
        let (mut da, mut db) = ([f32::NAN; 12], [f32::NAN; 12]);
        let plain = cosine_error(&first, &second, 4, &scores, 1.0, &mut da, &mut db);
        assert!((plain - wide.0).abs() < 1e-6);
        assert!(da.iter().zip(&wide.1).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn vectors_that_begin_with_zeros_give_finite_numbers() {
        let team = Team::solo();
        let cpu = Cpu::new(&team, Isa::detect());
        let vectors = [0.0, 0.0, 1.0, 0.0, 2.0, 0.0];
        let (mut da, mut db) = ([f32::NAN; 6], [f32::NAN; 6]);
        let other = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let gradients = [&mut da[..], &mut db];
        let sum =
            matryoshka(cpu, [&vectors, &other], 3, &[3, 2], gradients, |w, [a, b], [da, db]| {
                cosent(a, b, w, &[1.0, 0.0], 20.0, 1.0, da, db)
            });
        assert!(sum.is_finite() && da.iter().chain(&db).all(|d| d.is_finite()));
    }
}
