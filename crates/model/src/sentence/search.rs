//! Comparing vectors: cosine similarity and search.

use std::cmp::Ordering;

use polyhead_compute::{Epilogue, Isa, StoredTensor, Threads};

use crate::sentence::matrix::Matrix;

/// Rows of the corpus that are scored at a time, at most.
const BLOCK_ROWS: usize = 1024;

/// Scores of a block, about: they stay in the caches.
const BLOCK_SCORES: usize = 1 << 18;

/// A row of the corpus that [`semantic_search`] found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Row of the corpus.
    pub index: usize,
    /// Cosine similarity, −1 to 1.
    pub score: f32,
}

/// The cosine of the angle between every row of `a` and every row of `b`.
///
/// - `a`: `[n, d]`, `b`: `[m, d]`
/// - returns `[n, m]`; 0 where a vector is all zeros
///
/// # Panics
/// If the rows differ in length.
///
/// ```
/// use polyhead_model::{Matrix, cosine_similarity};
///
/// let a = Matrix::new(2, 2, vec![1.0, 0.0, 0.0, 2.0]);
/// let b = Matrix::new(1, 2, vec![3.0, 0.0]);
/// assert_eq!(cosine_similarity(&a, &b).as_slice(), [1.0, 0.0]);
/// ```
pub fn cosine_similarity(a: &Matrix, b: &Matrix) -> Matrix {
    let mut scores = Vec::with_capacity(a.rows() * b.rows());
    score_blocks(b, a, |_, block| scores.extend_from_slice(block));
    Matrix::new(a.rows(), b.rows(), scores)
}

/// The cosine of the angle between two vectors, in double precision; 0 if one is all zeros.
///
/// # Panics
/// If the vectors differ in length.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len(), "vectors of the same length");
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    };
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
}

/// The `top_k` rows of `corpus` nearest to each row of `queries`, best first.
///
/// - `queries`: `[q, d]`, `corpus`: `[n, d]`
/// - returns a list of at most `top_k` hits per query; equal scores stand in the
///   order of the corpus
///
/// The corpus is scored block by block: memory is that of the hits.
///
/// # Panics
/// If the rows differ in length.
pub fn semantic_search(queries: &Matrix, corpus: &Matrix, top_k: usize) -> Vec<Vec<Hit>> {
    let mut best: Vec<Vec<Hit>> = vec![Vec::new(); queries.rows()];
    if queries.rows() == 0 || top_k == 0 {
        return best;
    }
    // Scores that are not above it change nothing: few are, once a block has been seen.
    let mut least = vec![f32::NEG_INFINITY; queries.rows()];
    score_blocks(queries, corpus, |first, block| {
        for (row, scores) in block.chunks_exact(queries.rows()).enumerate() {
            let index = first + row;
            for (part, scores) in scores.chunks(SCORES_AT_ONCE).enumerate() {
                let from = part * SCORES_AT_ONCE;
                let least_of_part = &least[from..from + scores.len()];
                // One vector comparison where nothing is found.
                if !scores.iter().zip(least_of_part).fold(false, |any, (s, l)| any | (s > l)) {
                    continue;
                }
                for (query, score) in (from..).zip(scores) {
                    if *score > least[query] {
                        let hits = &mut best[query];
                        hits.push(Hit { index, score: *score });
                        if hits.len() >= 2 * top_k + HITS_TO_SPARE {
                            least[query] = keep_best(hits, top_k);
                        }
                    }
                }
            }
        }
        for (hits, least) in best.iter_mut().zip(&mut least) {
            if hits.len() > top_k {
                *least = keep_best(hits, top_k);
            }
        }
    });
    best.iter_mut().for_each(|hits| hits.sort_unstable_by(by_score));
    best
}

/// Scores that are compared with the least of the best at once.
const SCORES_AT_ONCE: usize = 16;

/// Hits beyond twice the wanted ones that wait until the best are kept.
const HITS_TO_SPARE: usize = 32;

/// Keeps the `count` best of more hits, in any order, and returns the least score among them.
fn keep_best(hits: &mut Vec<Hit>, count: usize) -> f32 {
    hits.select_nth_unstable_by(count - 1, by_score);
    hits.truncate(count);
    hits[count - 1].score
}

/// The higher score first; equal scores in the order of the corpus.
fn by_score(a: &Hit, b: &Hit) -> Ordering {
    b.score.total_cmp(&a.score).then(a.index.cmp(&b.index))
}

/// Cosines of all rows of `many` with all rows of `few`, in blocks of rows of
/// `many`: `take(first row, [rows, few.rows()])`.
///
/// `few` is packed as if it were the weight of a linear layer.
fn score_blocks(few: &Matrix, many: &Matrix, mut take: impl FnMut(usize, &[f32])) {
    if few.rows() == 0 || many.rows() == 0 || few.columns() == 0 {
        return;
    }
    assert_eq!(few.columns(), many.columns(), "vectors of the same length");
    let width = few.columns();
    let threads = Threads::new(Threads::available()).expect("the operating system gives threads");
    threads.cpu(Isa::detect(), |cpu| {
        let unit = |rows: &[f32]| {
            let mut rows = rows.to_vec();
            cpu.normalize(&mut rows, width);
            rows
        };
        let few_unit = StoredTensor::from_f32(vec![few.rows(), width], &unit(few.as_slice()));
        let packed = cpu.pack(&[&few_unit]);
        let mut scores = Vec::new();
        let block_rows = (BLOCK_SCORES / few.rows()).clamp(BLOCK_ROWS / 8, BLOCK_ROWS);
        for (block, rows) in many.as_slice().chunks(block_rows * width).enumerate() {
            scores.resize(rows.len() / width * few.rows(), 0.0);
            cpu.linear(&unit(rows), &packed, Epilogue::default(), &mut scores);
            take(block * block_rows, &scores);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(rows: usize, seed: usize) -> Matrix {
        let values = (0..rows * 5).map(|i| ((i * 37 + seed * 101) % 29) as f32 - 14.0).collect();
        Matrix::new(rows, 5, values)
    }

    fn plain(a: &[f32], b: &[f32]) -> f32 {
        let dot =
            |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        (dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()) as f32
    }

    #[test]
    fn cosines_are_those_of_the_formula() {
        let (a, b) = (matrix(3, 1), matrix(1500, 2));
        let scores = cosine_similarity(&a, &b);
        assert_eq!((scores.rows(), scores.columns()), (3, 1500));
        for i in 0..3 {
            for j in 0..1500 {
                assert!((scores.row(i)[j] - plain(a.row(i), b.row(j))).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn search_gives_the_best_of_a_corpus_of_several_blocks() {
        let (queries, corpus) = (matrix(4, 3), matrix(3000, 4));
        let hits = semantic_search(&queries, &corpus, 7);
        let all = cosine_similarity(&queries, &corpus);
        for (query, hits) in hits.iter().enumerate() {
            let mut order: Vec<usize> = (0..3000).collect();
            let row = all.row(query);
            order.sort_by(|a, b| row[*b].total_cmp(&row[*a]).then(a.cmp(b)));
            let found: Vec<usize> = hits.iter().map(|hit| hit.index).collect();
            assert_eq!(found, order[..7]);
        }
    }

    #[test]
    fn nothing_to_search_and_vectors_of_zeros() {
        let none = Matrix::default();
        assert!(semantic_search(&none, &matrix(3, 1), 2).is_empty());
        assert_eq!(semantic_search(&matrix(2, 1), &none, 2), [vec![], vec![]]);
        let zeros = Matrix::new(1, 5, vec![0.0; 5]);
        assert_eq!(cosine_similarity(&zeros, &matrix(1, 1)).as_slice(), [0.0]);
    }
}
