//! The positives and negatives of all other rows as negatives of each row.

use polyhead_compute::{Cpu, Epilogue, PackedMatrix, PendingRows};

/// Options of [`multiple_negatives`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MultipleNegatives<'a> {
    /// Factor of the cosines, 20 in sentence-transformers.
    pub scale: f64,
    /// True if each positive is also to find its anchor among all anchors; both losses count half.
    pub symmetric: bool,
    /// Row and candidate: the candidate is no negative of the row, for example because it is a
    /// positive of it too. With `symmetric` the positive of one row is then no negative for the
    /// anchor of the other.
    pub left_out: &'a [(usize, usize)],
}

impl Default for MultipleNegatives<'_> {
    fn default() -> Self {
        Self { scale: 20.0, symmetric: false, left_out: &[] }
    }
}

/// Rows whose scores exist at the same time: memory is that of a block times all candidates.
const BLOCK_ROWS: usize = 256;

/// Sum of the cross-entropies with which each anchor finds its positive among all candidates, by
/// the softmax of `scale` times the cosines: sentence-transformers'
/// `MultipleNegativesRankingLoss` before its mean or, with `symmetric`, the same with the directions
/// `query_to_doc` and `doc_to_query`, each with a softmax of its own
/// (`MultipleNegativesSymmetricRankingLoss`).
///
/// - `anchors`: `[rows, width]`
/// - `candidates`: `[count, width]`: the positive of each row, in order, then all given negatives
/// - `factor`: [`mean_factor`](crate::mean_factor) of the number of rows
/// - `danchors`, `dcandidates`: like the vectors, overwritten: `factor` times the derivative of the
///   sum
/// - returns the sum over the rows, to be divided by their number
///
/// `symmetric` is the mean of two losses: the anchors' over all candidates and the positives' over
/// all anchors. Given negatives are in the first one only, as in the library.
///
/// The products are those of the kernels, in f32; everything between them is f64. The result
/// depends neither on the number of threads nor on the blocks.
///
/// # Panics
/// If lengths do not agree, or `left_out` names a row's own positive or rows or candidates that do
/// not exist.
#[expect(clippy::too_many_arguments, reason = "two matrices, their gradients and four numbers")]
pub fn multiple_negatives(
    cpu: Cpu,
    anchors: &[f32],
    candidates: &[f32],
    width: usize,
    options: MultipleNegatives,
    factor: f64,
    danchors: &mut [f32],
    dcandidates: &mut [f32],
) -> f64 {
    assert!(width > 0 && anchors.len().is_multiple_of(width), "whole rows of {width}");
    assert!(candidates.len().is_multiple_of(width), "whole candidates of {width}");
    assert!(candidates.len() >= anchors.len(), "a positive per anchor");
    assert_eq!(danchors.len(), anchors.len(), "gradients like the anchors");
    assert_eq!(dcandidates.len(), candidates.len(), "gradients like the candidates");
    let (rows, count) = (anchors.len() / width, candidates.len() / width);
    for (row, candidate) in options.left_out {
        assert!(*row < rows && *candidate < count, "a row and a candidate of the batch");
        assert!(row != candidate, "the positive of row {row} is not left out");
    }
    danchors.fill(0.0);
    dcandidates.fill(0.0);
    if rows == 0 {
        return 0.0;
    }
    let mut unit_anchors = anchors.to_vec();
    let mut unit_candidates = candidates.to_vec();
    cpu.normalize(&mut unit_anchors, width);
    cpu.normalize(&mut unit_candidates, width);
    let share = if options.symmetric { 0.5 } else { 1.0 };
    let direction = Direction { cpu, width, scale: options.scale, factor: share * factor };
    let mut left_out = options.left_out.to_vec();
    let mut sum =
        direction.add(&unit_anchors, &unit_candidates, &mut left_out, danchors, dcandidates);
    if options.symmetric {
        let positives = rows * width;
        left_out.retain(|(_, candidate)| *candidate < rows);
        left_out.iter_mut().for_each(|(row, candidate)| std::mem::swap(row, candidate));
        let (unit_positives, dpositives) =
            (&unit_candidates[..positives], &mut dcandidates[..positives]);
        sum += direction.add(unit_positives, &unit_anchors, &mut left_out, dpositives, danchors);
    }
    cpu.normalize_backward(anchors, width, danchors);
    cpu.normalize_backward(candidates, width, dcandidates);
    share * sum
}

/// Each row of one matrix finds the row of the same number in another one.
struct Direction<'a> {
    cpu: Cpu<'a>,
    width: usize,
    scale: f64,
    factor: f64,
}

impl Direction<'_> {
    /// Returns the sum of the losses and adds the gradients of the unit vectors.
    ///
    /// - `from`: `[rows, width]`, `to`: `[count, width]`, of length one; `count ≥ rows ≥ 1`
    fn add(
        &self,
        from: &[f32],
        to: &[f32],
        left_out: &mut [(usize, usize)],
        dfrom: &mut [f32],
        dto: &mut [f32],
    ) -> f64 {
        let Self { cpu, width, scale, factor } = *self;
        let count = to.len() / width;
        left_out.sort_unstable();
        let mut forward = PackedMatrix::zeros(cpu.isa(), count, width);
        cpu.repack(&mut forward, to);
        let mut backward = PackedMatrix::zeros(cpu.isa(), width, count);
        cpu.repack_transposed(&mut backward, to);
        let mut scores = vec![0.0; BLOCK_ROWS.min(from.len() / width) * count];
        let mut pending = PendingRows::default();
        let mut sum = 0.0;
        let blocks = from.chunks(BLOCK_ROWS * width).zip(dfrom.chunks_mut(BLOCK_ROWS * width));
        for (block, (from, dfrom)) in blocks.enumerate() {
            let scores = &mut scores[..from.len() / width * count];
            cpu.linear(from, &forward, Epilogue::default(), scores);
            let losses = cpu.map_rows(scores, count, &|row, scores| {
                let row = block * BLOCK_ROWS + row;
                let first = left_out.partition_point(|(of, _)| *of < row);
                let rest = left_out[first..].iter().take_while(|(of, _)| *of == row);
                rest.for_each(|(_, candidate)| scores[*candidate] = f32::NEG_INFINITY);
                cross_entropy(row, scores, scale, factor)
            });
            sum += losses.iter().sum::<f64>();
            // Both sums go on from what is there.
            let before = dfrom.to_vec();
            cpu.input_gradient(scores, &backward, Some(&before), None, dfrom);
            cpu.weight_gradient(scores, from, dto, count, &mut pending);
        }
        cpu.close_weight_gradient(dto, &mut pending);
        sum
    }
}

/// The cross-entropy of a row of cosines, of which −∞ counts nothing; they become the
/// gradient's.
fn cross_entropy(row: usize, cosines: &mut [f32], scale: f64, factor: f64) -> f64 {
    let z = |cosine: f32| scale * f64::from(cosine);
    let mut largest = row;
    for (candidate, cosine) in cosines.iter().enumerate() {
        if *cosine > cosines[largest] {
            largest = candidate;
        }
    }
    let top = z(cosines[largest]);
    let gap = top - z(cosines[row]);
    // The largest term is 1 and stands apart: what the others add to it is not lost.
    let mut others = 0.0;
    for (candidate, cosine) in cosines.iter_mut().enumerate() {
        let term = (z(*cosine) - top).exp();
        others += if candidate == largest { 0.0 } else { term };
        *cosine = term as f32;
    }
    let loss = gap + others.ln_1p();
    let slope = factor * scale;
    let of_term = slope / (1.0 + others);
    cosines.iter_mut().for_each(|term| *term = (of_term * f64::from(*term)) as f32);
    // p − 1 by the loss: exact where p rounds to 1.
    let of_positive = slope * (-loss).exp_m1();
    cosines[row] = of_positive as f32;
    loss
}

#[cfg(test)]
mod tests {
    use polyhead_compute::{Isa, Team, Threads};

    use super::super::testing::some_vectors;
    use super::*;

    /// The plain loops in f64: the sum for one direction or the mean of both.
    fn plain(anchors: &[f64], candidates: &[f64], width: usize, options: MultipleNegatives) -> f64 {
        let units = |x: &[f64]| -> Vec<Vec<f64>> {
            let unit = |row: &[f64]| {
                let length = row.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
                row.iter().map(|x| x / length).collect()
            };
            x.chunks_exact(width).map(unit).collect()
        };
        let (a, c) = (units(anchors), units(candidates));
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        let exp = |row: usize, candidate: usize| {
            let counts = !options.left_out.contains(&(row, candidate));
            if counts { (options.scale * dot(&a[row], &c[candidate])).exp() } else { 0.0 }
        };
        let mut sum = 0.0;
        for row in 0..a.len() {
            let all: f64 = (0..c.len()).map(|candidate| exp(row, candidate)).sum();
            let forth = (all / exp(row, row)).ln();
            let all: f64 = (0..a.len()).map(|anchor| exp(anchor, row)).sum();
            let back = (all / exp(row, row)).ln();
            sum += if options.symmetric { (forth + back) / 2.0 } else { forth };
        }
        sum
    }

    fn on(cpu: Cpu, a: &[f32], c: &[f32], width: usize, options: MultipleNegatives) -> Outcome {
        let (mut da, mut dc) = (vec![f32::NAN; a.len()], vec![f32::NAN; c.len()]);
        let sum = multiple_negatives(cpu, a, c, width, options, 0.75, &mut da, &mut dc);
        (sum, da, dc)
    }

    type Outcome = (f64, Vec<f32>, Vec<f32>);

    #[test]
    fn value_and_gradient_are_those_of_the_plain_loops() {
        let (anchors, candidates) = (some_vectors(4 * 3, 1), some_vectors(7 * 3, 2));
        let wide = |x: &[f32]| -> Vec<f64> { x.iter().copied().map(f64::from).collect() };
        let (a, c) = (wide(&anchors), wide(&candidates));
        for isa in Isa::available() {
            for symmetric in [false, true] {
                for left_out in [&[][..], &[(2, 6), (0, 3), (2, 1), (2, 4)]] {
                    let options = MultipleNegatives { scale: 3.0, symmetric, left_out };
                    let team = Team::solo();
                    let (sum, da, dc) = on(Cpu::new(&team, isa), &anchors, &candidates, 3, options);
                    let expected = plain(&a, &c, 3, options);
                    assert!((sum - expected).abs() < 1e-5, "{sum}, not {expected}");
                    let of_a = polyhead_testing::slopes(&a, 1e-5, |a| plain(a, &c, 3, options));
                    let of_c = polyhead_testing::slopes(&c, 1e-5, |c| plain(&a, c, 3, options));
                    let pairs = da.iter().zip(of_a).chain(dc.iter().zip(of_c));
                    for (i, (found, slope)) in pairs.enumerate() {
                        // Products in f32 of numbers up to 3.
                        let error = (f64::from(*found) - 0.75 * slope).abs();
                        let name = isa.name();
                        assert!(error < 5e-6, "{name} at {i}: {found}, not {}", 0.75 * slope);
                    }
                }
            }
        }
    }

    #[test]
    fn has_the_same_bits_on_any_number_of_threads() {
        // More rows than a block, and no multiple of anything.
        let (rows, count, width) = (BLOCK_ROWS + 71, 2 * BLOCK_ROWS + 250, 33);
        let (a, c) = (some_vectors(rows * width, 1), some_vectors(count * width, 2));
        for isa in Isa::available() {
            for symmetric in [false, true] {
                let options = MultipleNegatives {
                    symmetric,
                    left_out: &[(300, 1), (1, 300)],
                    ..Default::default()
                };
                let alone = on(Cpu::new(&Team::solo(), isa), &a, &c, width, options);
                assert!(
                    alone.0.is_finite() && alone.1.iter().chain(&alone.2).all(|d| d.is_finite())
                );
                for threads in [2, 3] {
                    let threads = Threads::new(threads).unwrap();
                    let together = threads.cpu(isa, |cpu| on(cpu, &a, &c, width, options));
                    assert!(together == alone, "{}", isa.name());
                }
            }
        }
    }

    #[test]
    fn zero_vectors_and_sure_answers_give_finite_numbers() {
        let team = Team::solo();
        let cpu = Cpu::new(&team, Isa::detect());
        let anchors = [0.0, 0.0, 1.0, 0.0];
        let (sum, da, dc) = on(cpu, &anchors, &[0.0, 1.0, 0.0, 0.0], 2, Default::default());
        assert!((sum - 2.0 * 2f64.ln()).abs() < 1e-12);
        assert!(da.iter().chain(&dc).all(|d| d.is_finite()));
        // A loss of e⁻⁴⁰ is not lost.
        let options = MultipleNegatives::default();
        let (sum, ..) = on(cpu, &[1.0, 0.0, -1.0, 0.0], &[2.0, 0.0, -3.0, 0.0], 2, options);
        assert!((sum / (2.0 * (-40f64).exp()) - 1.0).abs() < 1e-5, "{sum}");
        assert_eq!(on(cpu, &[], &[], 2, Default::default()).0, 0.0);
    }
}
