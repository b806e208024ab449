//! Comparing vectors: cosine similarity and search.

use std::cmp::Ordering;
use std::sync::Mutex;

use polyhead_compute::{Cpu, Epilogue, Isa, PackedMatrix, StoredTensor, Threads};

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
    let mut scores = vec![0.0; a.rows() * b.rows()];
    if !scores.is_empty() && a.columns() > 0 {
        assert_eq!(a.columns(), b.columns(), "vectors of the same length");
        threads().cpu(Isa::detect(), |cpu| {
            let packed = packed(cpu, b);
            let mut unit = a.as_slice().to_vec();
            cpu.normalize(&mut unit, a.columns());
            cpu.linear(&unit, &packed, Epilogue::default(), &mut scores);
        });
    }
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
/// The threads score the corpus block by block: memory is that of the hits and of a block for each.
///
/// # Panics
/// If the rows differ in length.
pub fn semantic_search(queries: &Matrix, corpus: &Matrix, top_k: usize) -> Vec<Vec<Hit>> {
    let (count, width) = (queries.rows(), queries.columns());
    if count == 0 || corpus.rows() == 0 || width == 0 || top_k == 0 {
        return vec![Vec::new(); count];
    }
    assert_eq!(width, corpus.columns(), "vectors of the same length");
    let (threads, isa) = (threads(), Isa::detect());
    let packed = threads.cpu(isa, |cpu| packed(cpu, queries));
    let block_rows = (BLOCK_SCORES / count).clamp(BLOCK_ROWS / 8, BLOCK_ROWS);
    // A search at rest for each thread that has worked on a block.
    let resting: Mutex<Vec<Search>> = Mutex::default();
    threads.for_each(corpus.rows().div_ceil(block_rows), |team, block| {
        let taken = resting.lock().expect("no thread has panicked").pop();
        let mut search = taken.unwrap_or_else(|| Search::new(count, top_k));
        let first = block * block_rows;
        let rows = first * width..corpus.rows().min(first + block_rows) * width;
        search.score(Cpu::new(team, isa), &packed, first, &corpus.as_slice()[rows]);
        resting.lock().expect("no thread has panicked").push(search);
    });
    let searches = resting.into_inner().expect("no thread has panicked");
    searches.into_iter().reduce(Search::join).expect("a block").into_hits()
}

/// The best hits in the blocks that one thread has scored, and its memory for a block.
struct Search {
    top_k: usize,
    /// Hits of each query in no order: the best, and those since they were last chosen.
    hits: Vec<Vec<Hit>>,
    /// A score that is not above it changes nothing: few are, once a block has been seen.
    least: Vec<f32>,
    /// `[rows of the block, width]`: unit vectors.
    unit: Vec<f32>,
    /// `[rows of the block, queries]`.
    scores: Vec<f32>,
}

impl Search {
    fn new(queries: usize, top_k: usize) -> Self {
        let least = vec![f32::NEG_INFINITY; queries];
        Self { top_k, hits: vec![Vec::new(); queries], least, unit: Vec::new(), scores: Vec::new() }
    }

    /// Looks for hits in a block: `rows` are those of the corpus from `first`, and the blocks of one
    /// search come in their order.
    fn score(&mut self, cpu: Cpu, queries: &PackedMatrix, first: usize, rows: &[f32]) {
        let (count, width) = (self.hits.len(), queries.inputs());
        self.unit.clear();
        self.unit.extend_from_slice(rows);
        cpu.normalize(&mut self.unit, width);
        self.scores.resize(rows.len() / width * count, 0.0);
        cpu.linear(&self.unit, queries, Epilogue::default(), &mut self.scores);
        for (index, scores) in (first..).zip(self.scores.chunks_exact(count)) {
            for (part, scores) in scores.chunks(SCORES_AT_ONCE).enumerate() {
                let from = part * SCORES_AT_ONCE;
                let least = &self.least[from..from + scores.len()];
                // One vector comparison where nothing is found.
                if !scores.iter().zip(least).fold(false, |any, (s, l)| any | (s > l)) {
                    continue;
                }
                for (query, score) in (from..).zip(scores) {
                    if *score > self.least[query] {
                        let hits = &mut self.hits[query];
                        hits.push(Hit { index, score: *score });
                        if hits.len() >= self.top_k.saturating_mul(2).saturating_add(HITS_TO_SPARE)
                        {
                            self.least[query] = keep_best(hits, self.top_k);
                        }
                    }
                }
            }
        }
        for (hits, least) in self.hits.iter_mut().zip(&mut self.least) {
            if hits.len() > self.top_k {
                *least = keep_best(hits, self.top_k);
            }
        }
    }

    /// Both searches as one, after their last block.
    fn join(mut self, other: Self) -> Self {
        for (hits, others) in self.hits.iter_mut().zip(other.hits) {
            hits.extend(others);
        }
        self
    }

    fn into_hits(mut self) -> Vec<Vec<Hit>> {
        for hits in &mut self.hits {
            hits.sort_unstable_by(by_score);
            hits.truncate(self.top_k);
        }
        self.hits
    }
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

fn threads() -> Threads {
    Threads::new(Threads::available()).expect("the operating system gives threads")
}

/// Unit vectors, packed as if they were the weight of a linear layer.
fn packed(cpu: Cpu, rows: &Matrix) -> PackedMatrix {
    let mut unit = rows.as_slice().to_vec();
    cpu.normalize(&mut unit, rows.columns());
    cpu.pack(&[&StoredTensor::from_f32(vec![rows.rows(), rows.columns()], &unit)])
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
