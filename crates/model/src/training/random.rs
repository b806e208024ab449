//! Random numbers from a counter: nothing to save, nothing to restore.

/// SplitMix64 (Steele, Lea and Flood, 2014): number `n` is a hash of `start + n · γ`.
#[derive(Clone, Debug)]
pub struct Random(u64);

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// The output function of SplitMix64.
fn mixed(mut z: u64) -> u64 {
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

impl Random {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self(mixed(seed))
    }

    /// The sequence of this seed that belongs to a name.
    pub fn named(seed: u64, name: &str) -> Self {
        let start = name
            .bytes()
            .fold(mixed(seed), |state, byte| mixed(state.wrapping_add(GAMMA) ^ u64::from(byte)));
        Self(start)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mixed(self.0)
    }

    /// Uniform, above 0 and at most 1.
    pub fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Normal with mean 0 and deviation 1 (Box and Muller, 1958).
    pub fn normal(&mut self) -> f32 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        (radius * (std::f64::consts::TAU * self.uniform()).cos()) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn names_have_sequences_of_their_own() {
        let first = |name| Random::named(7, name).bits();
        assert_eq!(first("topic"), first("topic"));
        assert_ne!(first("topic"), first("mood"));
        assert_ne!(Random::new(1).bits(), Random::new(2).bits());
    }
}
