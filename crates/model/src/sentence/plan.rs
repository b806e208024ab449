//! Which sequences run together, and on which threads.

use std::ops::Range;

/// About how many tokens one thread takes through all layers at a time: enough for
/// the matrix products to run at full speed, few enough for the caches.
const GROUP_TOKENS: usize = 256;

/// With so many tokens, products are nearly as fast. A batch that would be one group for each thread
/// is cut into two for each, if they are not smaller than that: a thread whose processor is slow for
/// a while leaves its second one to another.
const SMALL_GROUP_TOKENS: usize = 144;

/// How a batch is spread over the threads. The vectors do not depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Ranges of sequences; each range runs on one thread through all layers, which others help
    /// when no range is left for them.
    Groups(Vec<Range<usize>>),
    /// All sequences at once, every operation split among the threads: for one
    /// text, or for one long text among few.
    Together,
}

/// - `offsets`: `[B + 1]`
pub(crate) fn plan(offsets: &[usize], threads: usize) -> Plan {
    let total = offsets[offsets.len() - 1] - offsets[0];
    let groups = group(offsets, threads);
    // The groups are taken in order, each by the next free thread: how long does that take?
    let mut loads = vec![0; threads];
    for group in &groups {
        let least = (0..threads).min_by_key(|t| loads[*t]).expect("at least one thread");
        loads[least] += offsets[group.end] - offsets[group.start];
    }
    let longest = loads.into_iter().max().unwrap_or(0);
    // Splitting every operation costs some 10 % in waiting for each other.
    let together = total.div_ceil(threads) + total.div_ceil(10 * threads);
    if threads > 1 && longest > together && total <= threads * 2 * GROUP_TOKENS {
        Plan::Together
    } else {
        Plan::Groups(groups)
    }
}

/// Neighbouring sequences together, in groups of nearly equal size, as many for each
/// thread. Not groups filled one after the other: the last one would be a small one, for
/// which all other threads wait.
fn group(offsets: &[usize], threads: usize) -> Vec<Range<usize>> {
    let first = offsets[0];
    let total = offsets[offsets.len() - 1] - first;
    let round = threads * GROUP_TOKENS;
    let each = match (total + round / 2) / round {
        0 | 1 if total >= threads * 2 * SMALL_GROUP_TOKENS => 2,
        each => each.max(1),
    };
    let count = each * threads;
    // Where the group that begins at `start` should end: at the next of `count` equal parts.
    let goal = |start: usize| {
        let passed = (2 * (offsets[start] - first) * count + total) / (2 * total.max(1));
        first + total * (passed + 1) / count
    };
    let mut groups = Vec::new();
    let mut start = 0;
    for end in 1..offsets.len() {
        let goal = goal(start);
        let full = offsets
            .get(end + 1)
            .is_none_or(|next| offsets[end].abs_diff(goal) <= next.abs_diff(goal));
        if full {
            groups.push(start..end);
            start = end;
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(lengths: &[usize]) -> Vec<usize> {
        let ends = lengths.iter().scan(0, |end, length| {
            *end += length;
            Some(*end)
        });
        std::iter::once(0).chain(ends).collect()
    }

    #[test]
    #[allow(clippy::single_range_in_vec_init)] // A list of one group is meant.
    fn cases() {
        struct Case {
            lengths: Vec<usize>,
            threads: usize,
            expected: Plan,
        }
        let cases = [
            Case { lengths: vec![], threads: 2, expected: Plan::Groups(vec![]) },
            Case { lengths: vec![20], threads: 1, expected: Plan::Groups(vec![0..1]) },
            // One text: all hands.
            Case { lengths: vec![20], threads: 2, expected: Plan::Together },
            Case { lengths: vec![20, 20], threads: 2, expected: Plan::Groups(vec![0..1, 1..2]) },
            Case { lengths: vec![20, 20, 20], threads: 2, expected: Plan::Together },
            Case { lengths: vec![300, 10, 10], threads: 2, expected: Plan::Together },
            Case {
                lengths: vec![200; 6],
                threads: 2,
                expected: Plan::Groups(vec![0..1, 1..3, 3..4, 4..6]),
            },
            // Two large groups, not four small ones.
            Case { lengths: vec![20; 28], threads: 2, expected: Plan::Groups(vec![0..14, 14..28]) },
            // Four, so that a slow thread leaves one to the other.
            Case {
                lengths: vec![20; 32],
                threads: 2,
                expected: Plan::Groups((0..4).map(|i| 8 * i..8 * i + 8).collect()),
            },
            // No third group of one.
            Case { lengths: vec![20; 25], threads: 2, expected: Plan::Groups(vec![0..12, 12..25]) },
            Case {
                lengths: vec![100; 8],
                threads: 2,
                expected: Plan::Groups((0..4).map(|i| 2 * i..2 * i + 2).collect()),
            },
        ];
        for case in cases {
            let found = plan(&offsets(&case.lengths), case.threads);
            assert_eq!(found, case.expected, "{:?} on {}", case.lengths, case.threads);
        }
    }

    #[test]
    fn every_sequence_is_in_one_group_in_order() {
        for seed in 0..50usize {
            let lengths: Vec<usize> =
                (0..seed * 3).map(|i| 1 + (i * 7919 + seed * 31) % 400).collect();
            let offsets = offsets(&lengths);
            for threads in [1, 2, 3] {
                let groups = group(&offsets, threads);
                let order: Vec<usize> = groups.iter().cloned().flatten().collect();
                assert_eq!(order, (0..lengths.len()).collect::<Vec<_>>());
                // About as long as it should be, give or take the half of a sequence at each end.
                for group in groups.iter().filter(|group| group.len() > 1) {
                    let tokens = offsets[group.end] - offsets[group.start];
                    assert!(tokens <= GROUP_TOKENS * 3 / 2 + 400, "{group:?}: {tokens}");
                }
            }
        }
    }
}
