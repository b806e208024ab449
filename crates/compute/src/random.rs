//! The one random generator of the project: numbers from a counter, so that a
//! position is the only state, and any number can be had without those before it.

/// γ: the golden ratio in 64 bits, odd.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64 (Steele, Lea and Flood, 2014: "Fast splittable pseudorandom number
/// generators"): number `i` is a hash of `start + (i + 1) · γ`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Random {
    state: u64,
}

/// The finalizer: a permutation in which every bit of `z` reaches every bit of the result.
#[inline(always)]
const fn finalize(z: u64) -> u64 {
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

impl Random {
    /// The sequence that begins at `state`, as in the published C program.
    #[inline(always)]
    pub const fn from_state(state: u64) -> Self {
        Self { state }
    }

    /// The sequence of a seed: neighbouring seeds have nothing in common.
    pub const fn new(seed: u64) -> Self {
        Self::from_state(finalize(seed))
    }

    /// The sequence of a seed and a name.
    pub fn named(seed: u64, name: &str) -> Self {
        let absorb = |state: u64, byte: u8| finalize(state.wrapping_add(GAMMA) ^ u64::from(byte));
        Self::from_state(name.bytes().fold(finalize(seed), absorb))
    }

    /// The sequence of a key of several parts, whose order counts.
    pub fn keyed(parts: &[u64]) -> Self {
        let absorb = |key: u64, part: &u64| finalize(key.wrapping_add(GAMMA) ^ finalize(*part));
        Self::from_state(parts.iter().fold(0, absorb))
    }

    /// 64 random bits, number `position` from here; draws none.
    #[inline(always)]
    pub const fn at(self, position: u64) -> u64 {
        finalize(self.state.wrapping_add(position.wrapping_add(1).wrapping_mul(GAMMA)))
    }

    /// Number `position` from here, in `0..end`.
    ///
    /// The high half of a product (Lemire, 2019) favours some values by at most
    /// `end` in 2⁶⁴: nothing that a training run could show.
    pub fn below_at(self, position: u64, end: u64) -> u64 {
        ((u128::from(self.at(position)) * u128::from(end)) >> 64) as u64
    }

    /// Number `position` from here, at least 0 and less than 1, in steps of 2⁻⁵³.
    pub fn unit_at(self, position: u64) -> f64 {
        (self.at(position) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Draws 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GAMMA);
        finalize(self.state)
    }

    /// Draws a uniform number above 0 and at most 1, in steps of 2⁻⁵³.
    pub fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// Draws a normal number with mean 0 and deviation 1 (Box and Muller, 1958).
    pub fn normal(&mut self) -> f32 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        (radius * (std::f64::consts::TAU * self.uniform()).cos()) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_splitmix64() {
        // The outputs of the published C program for the seed 1234567.
        let expected =
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        let mut random = Random::from_state(1_234_567);
        assert_eq!([0, 1, 2].map(|position| random.at(position)), expected);
        assert_eq!([(); 3].map(|()| random.bits()), expected);
    }

    #[test]
    fn normal_numbers_have_the_moments_of_the_distribution() {
        let mut random = Random::new(1);
        let numbers: Vec<f64> = (0..100_000).map(|_| f64::from(random.normal())).collect();
        let mean = |power: i32| numbers.iter().map(|x| x.powi(power)).sum::<f64>() / 1e5;
        // Standard errors are 0.003, 0.0045 and 0.031; five of them.
        assert!(mean(1).abs() < 0.016 && (mean(2) - 1.0).abs() < 0.023);
        assert!((mean(4) - 3.0).abs() < 0.16, "{}", mean(4));
    }

    #[test]
    fn seeds_and_names_have_sequences_of_their_own() {
        let first = |name| Random::named(7, name).bits();
        assert_eq!(first("topic"), first("topic"));
        assert_ne!(first("topic"), first("mood"));
        assert_ne!(Random::new(1).bits(), Random::new(2).bits());
    }

    #[test]
    fn keys_depend_on_every_part_and_on_order() {
        let keys = [&[][..], &[0], &[0, 0], &[1], &[1, 0], &[0, 1], &[1, 2], &[2, 1]];
        let first: std::collections::BTreeSet<u64> =
            keys.iter().map(|parts| Random::keyed(parts).at(0)).collect();
        assert_eq!(first.len(), keys.len());
    }

    #[test]
    fn numbers_fill_their_range_evenly() {
        let numbers = Random::keyed(&[7]);
        let mut counts = [0_u32; 10];
        for position in 0..100_000 {
            let unit = numbers.unit_at(position);
            assert!((0.0..1.0).contains(&unit));
            counts[numbers.below_at(position, 10) as usize] += 1;
        }
        // Standard deviation of each count: √(100,000 · 0.1 · 0.9) = 95; five of them.
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 475), "{counts:?}");
    }
}
