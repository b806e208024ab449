//! The order of rows in an epoch.

use polyhead_compute::Random;

/// Key that separates these random numbers from those that draw sources.
const ORDER: u64 = 1;

/// The rows `0..rows` in the order of an epoch, a function of the arguments alone: the
/// Fisher-Yates shuffle, whose exchange `i` uses number `i` of a generator without state.
///
/// - `epoch`: counted from 0
///
/// # Panics
/// If there are more rows than 32 bits count; [`BatchSampler::new`](super::BatchSampler::new)
/// makes that an error.
pub fn epoch_order(seed: u64, epoch: u64, rows: usize) -> Vec<u32> {
    source_order(seed, 0, epoch, rows)
}

/// The same as [`epoch_order`], for one source among several.
///
/// - `pass`: number of complete passes over the source before
pub(super) fn source_order(seed: u64, source: usize, pass: u64, rows: usize) -> Vec<u32> {
    let rows =
        u32::try_from(rows).expect("rows are counted in 32 bits: checked in BatchSampler::new");
    shuffled(Random::keyed(&[seed, ORDER, source as u64, pass]), rows)
}

/// The rows `0..rows` in an order that the first `rows` numbers of a generator give.
pub(crate) fn shuffled(numbers: Random, rows: u32) -> Vec<u32> {
    let mut order: Vec<u32> = (0..rows).collect();
    for last in (1..order.len()).rev() {
        order.swap(last, numbers.below_at(last as u64, last as u64 + 1) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_once_in_an_order_of_its_own() {
        for rows in [0, 1, 2, 3, 10, 1000] {
            let mut order = epoch_order(7, 3, rows);
            order.sort_unstable();
            assert!(order.iter().copied().eq(0..rows as u32), "{rows}");
        }
        let order = epoch_order(7, 0, 100);
        assert_eq!(order, epoch_order(7, 0, 100));
        for (seed, source, pass) in [(7, 0, 1), (8, 0, 0), (7, 1, 0)] {
            assert_ne!(order, source_order(seed, source, pass, 100));
        }
    }

    #[test]
    fn an_order_stays_what_it_is() {
        // A change of these orders breaks the resuming of existing runs.
        assert_eq!(epoch_order(7, 0, 8), [1, 2, 7, 4, 6, 3, 0, 5]);
    }

    #[test]
    fn all_orders_are_equally_likely() {
        let mut counts = std::collections::BTreeMap::new();
        for epoch in 0..24_000 {
            *counts.entry(epoch_order(1, epoch, 4)).or_insert(0_u32) += 1;
        }
        assert_eq!(counts.len(), 24);
        // The standard deviation of each count is √(1000 · 23/24) = 31; five of them are allowed.
        assert!(counts.values().all(|count| count.abs_diff(1000) < 155), "{counts:?}");
    }
}
