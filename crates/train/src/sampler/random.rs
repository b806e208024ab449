//! Random numbers by position, not by history.

/// Numbers that a key and a position decide: any of them can be asked for
/// without those before it.
///
/// Number `i` of key `k` is output `i` of a SplitMix64 generator that is
/// started at `k` (Steele, Lea and Flood, 2014: "Fast splittable pseudorandom
/// number generators"), whose state after `i` steps is `k + i · γ`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    key: u64,
}

/// γ: the golden ratio in 64 bits, odd.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

impl Numbers {
    /// A key from several parts; their order counts.
    pub(super) fn new(parts: &[u64]) -> Self {
        let absorb = |key: u64, &part: &u64| mix(key.wrapping_add(GAMMA) ^ mix(part));
        Self { key: parts.iter().fold(0, absorb) }
    }

    /// Number `position`: 64 random bits.
    pub(super) fn at(self, position: u64) -> u64 {
        mix(self.key.wrapping_add(position.wrapping_add(1).wrapping_mul(GAMMA)))
    }

    /// Number `position`, in `0..end`.
    ///
    /// The high half of a product (Lemire, 2019) favours some values by at most
    /// `end` in 2⁶⁴: nothing that a run could show.
    pub(super) fn below(self, position: u64, end: u64) -> u64 {
        ((u128::from(self.at(position)) * u128::from(end)) >> 64) as u64
    }

    /// Number `position`, at least 0 and less than 1, in steps of 2⁻⁵³.
    pub(super) fn unit(self, position: u64) -> f64 {
        (self.at(position) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The finalizer of SplitMix64: every bit of `z` reaches every bit of the result.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_splitmix64() {
        // The outputs of the published C program for the seed 1234567.
        let numbers = Numbers { key: 1_234_567 };
        let expected =
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([0, 1, 2].map(|position| numbers.at(position)), expected);
    }

    #[test]
    fn keys_depend_on_every_part_and_on_order() {
        let keys = [&[][..], &[0], &[0, 0], &[1], &[1, 0], &[0, 1], &[1, 2], &[2, 1]];
        let first: std::collections::BTreeSet<u64> =
            keys.iter().map(|parts| Numbers::new(parts).at(0)).collect();
        assert_eq!(first.len(), keys.len());
    }

    #[test]
    fn numbers_fill_their_range_evenly() {
        let numbers = Numbers::new(&[7]);
        let mut counts = [0_u32; 10];
        for position in 0..100_000 {
            let unit = numbers.unit(position);
            assert!((0.0..1.0).contains(&unit));
            counts[numbers.below(position, 10) as usize] += 1;
        }
        // Standard deviation of each count: √(100,000 · 0.1 · 0.9) = 95; five of them.
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 475), "{counts:?}");
    }
}
