//! Hard negatives: texts that are near a query and do not answer it.

use std::collections::HashSet;

use polyhead_model::{Hit, Matrix, cosine, semantic_search};

/// The candidates that [`mine_negatives`] takes as negatives of a pair.
#[derive(Clone, Debug, PartialEq)]
pub struct MiningRules {
    /// Negatives of each pair, at most.
    pub negatives: usize,
    /// Nearest candidates that are passed over, without those that answer the query.
    pub first_rank: usize,
    /// Nearest candidates that are looked at, without those that answer the query.
    pub last_rank: usize,
    /// A negative's cosine is lower than the positive's by this at least.
    pub margin: Option<f32>,
    /// A negative's cosine is at most the positive's times one minus this.
    pub relative_margin: Option<f32>,
    /// The lowest cosine of a negative.
    pub min_score: Option<f32>,
    /// The highest cosine of a negative.
    pub max_score: Option<f32>,
}

impl Default for MiningRules {
    fn default() -> Self {
        Self {
            negatives: 3,
            first_rank: 0,
            last_rank: 100,
            margin: None,
            relative_margin: None,
            min_score: None,
            max_score: None,
        }
    }
}

impl MiningRules {
    /// The candidates that can be negatives of a pair.
    ///
    /// - `positive`: the cosine of the pair
    fn allowed<'a>(&'a self, ranked: &'a [Hit], positive: f32) -> impl Iterator<Item = Hit> + 'a {
        ranked.iter().filter(move |hit| self.allow(hit.score, positive)).copied()
    }

    fn allow(&self, score: f32, positive: f32) -> bool {
        self.margin.is_none_or(|margin| score <= positive - margin)
            && self.relative_margin.is_none_or(|share| score <= positive * (1.0 - share))
            && self.min_score.is_none_or(|least| score >= least)
            && self.max_score.is_none_or(|most| score <= most)
    }
}

/// Queries that are searched at the same time: memory is that of their hits.
const QUERIES_AT_ONCE: usize = 1024;

/// Finds the negatives of each pair by exact search: the nearest candidates first, without those
/// that answer the query or that the rules leave out. A pair may have fewer than
/// [`MiningRules::negatives`], or none: the caller says so.
///
/// - `queries`: `[queries, width]`, `candidates`: `[candidates, width]`
/// - `pairs`: query and candidate that answers it
/// - `answers`: `[queries]`, the candidates that are no negatives of a query, those of `pairs` at
///   least
/// - returns a list for each pair, the nearest first
///
/// # Panics
/// If an index does not exist or the widths differ.
pub fn mine_negatives(
    queries: &Matrix,
    candidates: &Matrix,
    pairs: &[(usize, usize)],
    answers: &[HashSet<usize>],
    rules: &MiningRules,
) -> Vec<Vec<Hit>> {
    let ranked = rank(queries, candidates, answers, rules);
    let negatives = |(query, positive): &(usize, usize)| {
        let positive = cosine(queries.row(*query), candidates.row(*positive)) as f32;
        rules.allowed(&ranked[*query], positive).take(rules.negatives).collect()
    };
    pairs.iter().map(negatives).collect()
}

/// [`mine_negatives`] without the candidates that a judge, such as a cross-encoder, takes for answers. It
/// scores each positive and the candidates that could become negatives, and further ones in place of
/// those that it leaves out.
///
/// - `margin`: a negative's score is lower than the positive's by this at least, and lower in any case
/// - `scores`: the scores of pairs of a query and a candidate, in order; none is NaN
/// - returns a list for each pair, the nearest first, and how many candidates the judge left out
///
/// # Errors
/// The errors of the judge.
///
/// # Panics
/// If [`mine_negatives`] does, or the judge gives another number of scores.
pub fn mine_judged_negatives<E>(
    queries: &Matrix,
    candidates: &Matrix,
    pairs: &[(usize, usize)],
    answers: &[HashSet<usize>],
    rules: &MiningRules,
    margin: f32,
    mut scores: impl FnMut(&[(usize, usize)]) -> Result<Vec<f32>, E>,
) -> Result<(Vec<Vec<Hit>>, usize), E> {
    let ranked = rank(queries, candidates, answers, rules);
    let positives = scores(pairs)?;
    assert_eq!(positives.len(), pairs.len(), "a score for each positive");
    let mut remaining: Vec<_> = pairs
        .iter()
        .map(|(query, positive)| {
            let positive = cosine(queries.row(*query), candidates.row(*positive)) as f32;
            rules.allowed(&ranked[*query], positive)
        })
        .collect();
    let (mut found, mut left_out) = (vec![Vec::new(); pairs.len()], 0);
    loop {
        // As many candidates of each pair as it still lacks.
        let mut asked: Vec<(usize, Hit)> = Vec::new();
        for (pair, (remaining, found)) in remaining.iter_mut().zip(&found).enumerate() {
            asked.extend(remaining.take(rules.negatives - found.len()).map(|hit| (pair, hit)));
        }
        if asked.is_empty() {
            return Ok((found, left_out));
        }
        let texts: Vec<_> = asked.iter().map(|(pair, hit)| (pairs[*pair].0, hit.index)).collect();
        let found_scores = scores(&texts)?;
        assert_eq!(found_scores.len(), asked.len(), "a score for each candidate");
        for ((pair, hit), score) in asked.into_iter().zip(found_scores) {
            let positive = positives[pair];
            if score < positive && score <= positive - margin {
                found[pair].push(hit);
            } else {
                left_out += 1;
            }
        }
    }
}

/// The candidates of each query that are within the ranks, the nearest first, without its answers.
fn rank(
    queries: &Matrix,
    candidates: &Matrix,
    answers: &[HashSet<usize>],
    rules: &MiningRules,
) -> Vec<Vec<Hit>> {
    assert_eq!(queries.rows(), answers.len(), "answers of every query");
    let width = queries.columns();
    let most_answers = answers.iter().map(HashSet::len).max().unwrap_or(0);
    let mut ranked: Vec<Vec<Hit>> = Vec::with_capacity(queries.rows());
    for block in queries.as_slice().chunks((QUERIES_AT_ONCE * width).max(1)) {
        let block = Matrix::new(block.len() / width, width, block.to_vec());
        let found =
            semantic_search(&block, candidates, rules.last_rank.saturating_add(most_answers));
        let first = ranked.len();
        ranked.extend(found.into_iter().enumerate().map(|(query, hits)| {
            let answers = &answers[first + query];
            let others = hits.into_iter().filter(|hit| !answers.contains(&hit.index));
            others.take(rules.last_rank).skip(rules.first_rank).collect()
        }));
    }
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A unit vector by its angle in degrees.
    fn vectors(angles: &[f32]) -> Matrix {
        let vector = |angle: &f32| [angle.to_radians().cos(), angle.to_radians().sin()];
        Matrix::new(angles.len(), 2, angles.iter().flat_map(vector).collect())
    }

    fn mined(rules: MiningRules) -> Vec<usize> {
        let candidates = vectors(&[50.0, 10.0, 0.0, 20.0, 30.0, 90.0, 5.0]);
        // Candidates 1 and 6 answer the only query, at 0°; candidate 2 is nearer than both.
        let answers = [HashSet::from([1, 6])];
        let found = mine_negatives(&vectors(&[0.0]), &candidates, &[(0, 1)], &answers, &rules);
        found[0].iter().map(|hit| hit.index).collect()
    }

    #[test]
    fn the_nearest_come_first_and_answers_are_left_out() {
        assert_eq!(mined(MiningRules::default()), [2, 3, 4]);
        let all = MiningRules { negatives: 9, ..MiningRules::default() };
        assert_eq!(mined(all), [2, 3, 4, 0, 5]);
    }

    #[test]
    fn every_rule_leaves_candidates_out() {
        let rules = || MiningRules { negatives: 9, ..MiningRules::default() };
        // The positive's cosine is 0.985; those of the others 1, 0.940, 0.866, 0.643 and 0.
        for (rules, expected) in [
            (MiningRules { first_rank: 2, ..rules() }, &[4, 0, 5][..]),
            (MiningRules { last_rank: 2, ..rules() }, &[2, 3]),
            (MiningRules { first_rank: 5, ..rules() }, &[]),
            (MiningRules { margin: Some(0.0), ..rules() }, &[3, 4, 0, 5]),
            (MiningRules { margin: Some(0.1), ..rules() }, &[4, 0, 5]),
            (MiningRules { relative_margin: Some(0.2), ..rules() }, &[0, 5]),
            (MiningRules { min_score: Some(0.7), ..rules() }, &[2, 3, 4]),
            (MiningRules { max_score: Some(0.9), min_score: Some(0.1), ..rules() }, &[4, 0]),
            (MiningRules { last_rank: 0, ..rules() }, &[]),
        ] {
            assert_eq!(mined(rules.clone()), expected, "{rules:?}");
        }
    }

    #[test]
    fn a_judge_leaves_candidates_out_and_sees_no_more_than_it_must() {
        let candidates = vectors(&[50.0, 10.0, 0.0, 20.0, 30.0, 90.0, 5.0]);
        let queries = vectors(&[0.0, 40.0]);
        let answers = [HashSet::from([1, 6]), HashSet::from([0])];
        let pairs = [(0, 1), (0, 6), (1, 0)];
        // By candidate; candidate 4 is better than the answer of the second query, 3 as good.
        let scores = [0.5, 0.9, 0.8, 0.5, 0.6, 0.1, 0.7];
        for (margin, negatives, expected, asked) in [
            // Candidates of query 0 by rank: 2, 3, 4, 0, 5; of query 1: 4, 3, 1, 6, 2, 5.
            (0.0, 1, [&[2][..], &[3], &[5]], vec![3, 3, 2, 1, 1, 1, 1]),
            (0.0, 2, [&[2, 3], &[3, 4], &[5]], vec![3, 6, 3, 2]),
            (0.35, 1, [&[3], &[5], &[5]], vec![3, 3, 3, 2, 2, 2, 1]),
        ] {
            let rules = MiningRules { negatives, ..MiningRules::default() };
            let mut sizes = Vec::new();
            let mut judge = |pairs: &[(usize, usize)]| {
                sizes.push(pairs.len());
                Ok::<_, ()>(pairs.iter().map(|(_, candidate)| scores[*candidate]).collect())
            };
            let (found, left_out) = mine_judged_negatives(
                &queries,
                &candidates,
                &pairs,
                &answers,
                &rules,
                margin,
                &mut judge,
            )
            .unwrap();
            let found: Vec<Vec<usize>> =
                found.iter().map(|hits| hits.iter().map(|hit| hit.index).collect()).collect();
            assert_eq!(found, expected, "{margin} {negatives}");
            let judged: usize = asked[1..].iter().sum();
            assert_eq!(left_out, judged - found.concat().len());
            assert_eq!(sizes, asked, "{margin} {negatives}");
        }
        let fails = |_: &[(usize, usize)]| Err("no model");
        let rules = MiningRules::default();
        let found =
            mine_judged_negatives(&queries, &candidates, &pairs, &answers, &rules, 0.0, fails);
        assert_eq!(found, Err("no model"));
    }

    #[test]
    fn queries_of_several_blocks_have_their_own_negatives() {
        let count = QUERIES_AT_ONCE + 3;
        let angles: Vec<f32> = (0..count).map(|i| i as f32 * 360.0 / count as f32).collect();
        let vectors = vectors(&angles);
        let pairs: Vec<(usize, usize)> = (0..count).map(|i| (i, i)).collect();
        let answers: Vec<HashSet<usize>> = (0..count).map(|i| HashSet::from([i])).collect();
        let rules = MiningRules { negatives: 1, ..MiningRules::default() };
        let found = mine_negatives(&vectors, &vectors, &pairs, &answers, &rules);
        for (i, hits) in found.iter().enumerate() {
            let distance = hits[0].index.abs_diff(i);
            assert!(hits.len() == 1 && (distance == 1 || distance == count - 1), "{i}: {hits:?}");
        }
        assert!(mine_negatives(&vectors, &vectors, &[], &answers, &rules).is_empty());
    }
}
