//! The bias that MPNet adds to the scores of attention: a table with a row per bucket of distances
//! and a column per head, which all layers share.
//!
//! A key after its query and one before it have buckets of their own. Distances below 8 have a
//! bucket each; above, buckets grow with the logarithm of the distance, and the last one holds all
//! distances from about 128 on (Raffel et al., 2020, section 2.1; `relative_position_bucket` in
//! `transformers`, `modeling_mpnet.py`).

/// The rows of the table. `transformers` computes with this number whatever `config.json` says.
pub(crate) const BUCKETS: usize = 32;

/// The distances of one direction that have a bucket each: half of its buckets.
const EXACT: usize = BUCKETS / 4;
/// The distance from which on all are in the last bucket.
const LARGEST: f32 = 128.0;

/// The table as attention reads it: a bias for each head and each distance.
///
/// - `table`: `[BUCKETS, H]`
/// - returns `[H, 2·L − 1]`: column `L − 1 + d` holds the bias of a key `d` after its query
pub(crate) fn by_distance(table: &[f32], longest: usize) -> Vec<f32> {
    let heads = table.len() / BUCKETS;
    let columns = columns(longest);
    (0..heads)
        .flat_map(|head| columns.clone().map(move |bucket| table[bucket * heads + head]))
        .collect()
}

/// The backward of [`by_distance`]: adds up the distances of a bucket, in ascending order.
///
/// - `dbias`: `[H, 2·L − 1]`, `dtable`: `[BUCKETS, H]`
pub(crate) fn add_gradient(dbias: &[f32], dtable: &mut [f32]) {
    let heads = dtable.len() / BUCKETS;
    let longest = (dbias.len() / heads).div_ceil(2);
    for (head, row) in dbias.chunks_exact(2 * longest - 1).enumerate() {
        for (bucket, d) in columns(longest).zip(row) {
            dtable[bucket * heads + head] += d;
        }
    }
}

/// The buckets of the distances from `1 − longest` to `longest − 1`, key minus query.
fn columns(longest: usize) -> impl Iterator<Item = usize> + Clone {
    let before = (1..longest).rev().map(bucket_of);
    let after = (1..longest).map(|distance| BUCKETS / 2 + bucket_of(distance));
    before.chain([0]).chain(after)
}

/// The bucket of a distance within its direction.
///
/// It is computed in single precision and in the order of operations of `transformers`: otherwise
/// rounding could give a neighbouring bucket.
fn bucket_of(distance: usize) -> usize {
    if distance < EXACT {
        return distance;
    }
    let exact = EXACT as f32;
    let share = (distance as f32 / exact).ln() / (LARGEST / exact).ln();
    (EXACT + (share * exact) as usize).min(BUCKETS / 2 - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The distances at which `relative_position_bucket` of `transformers` begins a new bucket.
    const BEGINS: [usize; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91];

    #[test]
    fn buckets_begin_at_the_distances_of_transformers() {
        for distance in 0..1024 {
            let expected = BEGINS.iter().filter(|begin| **begin <= distance).count() - 1;
            assert_eq!(bucket_of(distance), expected, "distance {distance}");
        }
    }

    #[test]
    fn columns_run_from_keys_before_the_query_to_keys_after_it() {
        assert_eq!(columns(1).collect::<Vec<_>>(), [0]);
        assert_eq!(columns(4).collect::<Vec<_>>(), [3, 2, 1, 0, 17, 18, 19]);
        let table: Vec<f32> = (0..2 * BUCKETS).map(|i| i as f32).collect();
        let bias = by_distance(&table, 3);
        assert_eq!(bias, [4.0, 2.0, 0.0, 34.0, 36.0, 5.0, 3.0, 1.0, 35.0, 37.0]);
    }

    #[test]
    fn the_gradient_of_a_bucket_is_the_sum_over_its_distances() {
        let mut dtable = vec![1.0; 2 * BUCKETS];
        let longest = 300;
        let dbias: Vec<f32> = (0..2 * (2 * longest - 1)).map(|i| (i % 7) as f32).collect();
        add_gradient(&dbias, &mut dtable);
        for head in 0..2 {
            for bucket in 0..BUCKETS {
                let of_bucket = columns(longest).enumerate().filter(|(_, b)| *b == bucket);
                let sum: f32 = of_bucket.map(|(i, _)| dbias[head * (2 * longest - 1) + i]).sum();
                assert_eq!(dtable[bucket * 2 + head], 1.0 + sum, "bucket {bucket}, head {head}");
            }
        }
    }
}
