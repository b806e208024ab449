//! Rotary positions (Su et al., 2021, section 3.4): queries and keys are turned by angles that grow
//! with the position, so that their products depend on the distance between them.

use std::ops::Range;
use std::sync::OnceLock;

use crate::attention::AttentionShape;
use crate::cpu::Cpu;
use crate::simd::{Op, Simd};

/// Rows that one part of a team takes at a time.
const ROWS_PER_PART: usize = 16;

/// Positions of a block of the table.
const BLOCK: usize = 128;

/// The cosines and sines of the angles of all positions, computed as far as sequences reach: most
/// are short, and those of 8,192 positions would take 10 ms when a model is loaded.
pub struct RotaryTable {
    /// `[K / 2]`: each pair of numbers of a head is turned by a frequency of its own.
    frequencies: Vec<f32>,
    positions: usize,
    /// Blocks of [`BLOCK`] positions, `[BLOCK, 2, K / 2]` each: cosines, then sines.
    blocks: Vec<OnceLock<Vec<f32>>>,
}

impl RotaryTable {
    /// The angles of heads of `head_size` numbers for so many positions: pair `i` of position `p` is
    /// turned by `p / base^(2i / K)`.
    ///
    /// The angles are rounded to single precision, as `transformers` computes them
    /// (`ModernBertRotaryEmbedding`): at position 8,192 the rounding is 2e-4, so exact angles
    /// would be those of another model.
    ///
    /// # Panics
    /// If `head_size` is odd.
    pub fn new(head_size: usize, base: f32, positions: usize) -> Self {
        assert!(head_size.is_multiple_of(2), "numbers of a head form pairs");
        let frequency = |pair: usize| {
            let exponent = (2 * pair) as f32 / head_size as f32;
            1.0 / f64::from(base).powf(f64::from(exponent)) as f32
        };
        let frequencies = (0..head_size / 2).map(frequency).collect();
        let blocks = vec![OnceLock::new(); positions.div_ceil(BLOCK)];
        Self { frequencies, positions, blocks }
    }

    /// Computes the angles of the first `positions` positions, unless an earlier call has.
    fn reach(&self, positions: usize) {
        for (number, block) in self.blocks[..positions.div_ceil(BLOCK)].iter().enumerate() {
            block.get_or_init(|| {
                let mut factors = Vec::with_capacity(BLOCK * 2 * self.frequencies.len());
                for position in number * BLOCK..(number + 1) * BLOCK {
                    let angle = |frequency: &f32| f64::from(position as f32 * frequency);
                    factors.extend(self.frequencies.iter().map(|f| angle(f).cos() as f32));
                    factors.extend(self.frequencies.iter().map(|f| angle(f).sin() as f32));
                }
                factors
            });
        }
    }

    /// `[2, K / 2]`: the cosines and the sines of a position that [`reach`](Self::reach) has reached.
    fn factors(&self, position: usize) -> &[f32] {
        let size = 2 * self.frequencies.len();
        let block = self.blocks[position / BLOCK].get().expect("its angles have been computed");
        &block[position % BLOCK * size..][..size]
    }
}

/// Rotary positions.
impl Cpu<'_> {
    /// Turns every query and key by the angles of its position in its sequence, in place: of a head,
    /// number `i` and number `i + K/2` are a pair.
    ///
    /// `a = a cos − b sin`, `b = b cos + a sin`
    ///
    /// - `qkv`: `[N, 3·D]`: queries, keys and values beside each other
    /// - `offsets`: `[B + 1]`, where each sequence begins; the last entry is `N`
    ///
    /// # Panics
    /// If the lengths do not fit or a sequence is longer than the table.
    pub fn rotate(
        self,
        shape: AttentionShape,
        table: &RotaryTable,
        offsets: &[usize],
        qkv: &mut [f32],
    ) {
        self.turn(shape, table, 1.0, offsets, qkv);
    }

    /// The backward of [`rotate`](Self::rotate): turns the gradients back, in place.
    ///
    /// - `dqkv`: `[N, 3·D]`
    ///
    /// # Panics
    /// If the lengths do not fit or a sequence is longer than the table.
    pub fn rotate_backward(
        self,
        shape: AttentionShape,
        table: &RotaryTable,
        offsets: &[usize],
        dqkv: &mut [f32],
    ) {
        self.turn(shape, table, -1.0, offsets, dqkv);
    }

    fn turn(
        self,
        shape: AttentionShape,
        table: &RotaryTable,
        direction: f32,
        offsets: &[usize],
        qkv: &mut [f32],
    ) {
        let row = 3 * shape.heads * shape.head_size;
        assert_eq!(2 * table.frequencies.len(), shape.head_size, "pairs of a head");
        assert_eq!(offsets.last().map(|tokens| tokens * row), Some(qkv.len()), "length of qkv");
        assert!(offsets.is_sorted(), "offsets grow");
        let longest = offsets.windows(2).map(|s| s[1] - s[0]).max().unwrap_or(0);
        assert!(longest <= table.positions, "{longest} tokens of a sequence");
        table.reach(longest);
        let Self { team, isa, .. } = self;
        team.run_rows(qkv, row, ROWS_PER_PART, &|tokens, qkv| {
            let heads = 2 * shape.heads;
            isa.run(Turn { heads, table, direction, offsets, tokens, qkv });
        });
    }
}

/// The plain loops of [`rotate`](Cpu::rotate) in double precision, with angles that are not rounded.
///
/// - `direction`: 1, or −1 for the backward
pub fn rotate_reference(
    shape: AttentionShape,
    base: f32,
    direction: f64,
    offsets: &[usize],
    qkv: &[f64],
) -> Vec<f64> {
    let AttentionShape { heads, head_size } = shape;
    let (pairs, row) = (head_size / 2, 3 * heads * head_size);
    let mut turned = qkv.to_vec();
    for sequence in offsets.windows(2) {
        for token in sequence[0]..sequence[1] {
            for head in 0..2 * heads {
                for pair in 0..pairs {
                    let position = (token - sequence[0]) as f64;
                    let exponent = 2.0 * pair as f64 / head_size as f64;
                    let angle = direction * position / f64::from(base).powf(exponent);
                    let first = token * row + head * head_size + pair;
                    let (a, b) = (qkv[first], qkv[first + pairs]);
                    turned[first] = a * angle.cos() - b * angle.sin();
                    turned[first + pairs] = b * angle.cos() + a * angle.sin();
                }
            }
        }
    }
    turned
}

/// Some rows of queries, keys and values.
struct Turn<'a> {
    /// Heads of a row that are turned, which come first: those of queries and keys.
    heads: usize,
    table: &'a RotaryTable,
    /// 1, or −1 for angles in the other direction.
    direction: f32,
    offsets: &'a [usize],
    tokens: Range<usize>,
    qkv: &'a mut [f32],
}

impl Op for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { heads, table, tokens, qkv, .. } = self;
        let pairs = table.frequencies.len();
        let direction = simd.splat(self.direction);
        let row = qkv.len() / tokens.len();
        let mut sequence = self.offsets.partition_point(|first| *first <= tokens.start) - 1;
        for (token, qkv) in tokens.zip(qkv.chunks_exact_mut(row)) {
            while token >= self.offsets[sequence + 1] {
                sequence += 1;
            }
            let position = token - self.offsets[sequence];
            let (cosines, sines) = table.factors(position).split_at(pairs);
            for head in qkv[..heads * 2 * pairs].chunks_exact_mut(2 * pairs) {
                let (first, second) = head.split_at_mut(pairs);
                let mut at = 0;
                while at < pairs {
                    let count = S::LANES.min(pairs - at);
                    // SAFETY: each of the four has `pairs` numbers.
                    unsafe {
                        let cos = simd.load_first(cosines.as_ptr().add(at), count);
                        let sin = simd.load_first(sines.as_ptr().add(at), count);
                        let sin = simd.mul(sin, direction);
                        let (to_first, to_second) =
                            (first.as_mut_ptr().add(at), second.as_mut_ptr().add(at));
                        let a = simd.load_first(to_first, count);
                        let b = simd.load_first(to_second, count);
                        let turned = simd.sub(simd.mul(a, cos), simd.mul(b, sin));
                        simd.store_first(turned, to_first, count);
                        simd.store_first(simd.mul_add(b, cos, simd.mul(a, sin)), to_second, count);
                    }
                    at += S::LANES;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Isa;
    use crate::testing::{check_gradient, numbers, wide};
    use crate::threads::{Team, Threads};

    const OFFSETS: [usize; 6] = [0, 1, 1, 8, 41, 100];
    const BASE: f32 = 10_000.0;

    #[test]
    fn follows_the_plain_loops_at_any_size() {
        for (heads, head_size) in [(1, 2), (3, 10), (2, 32), (2, 64), (1, 70)] {
            let shape = AttentionShape { heads, head_size };
            let qkv = numbers(100 * 3 * heads * head_size, 1);
            let table = RotaryTable::new(head_size, BASE, 60);
            let [turned, back] = [1.0, -1.0]
                .map(|direction| rotate_reference(shape, BASE, direction, &OFFSETS, &wide(&qkv)));
            for isa in Isa::available() {
                let (team, mut fast, mut fast_back) = (Team::solo(), qkv.clone(), qkv.clone());
                let cpu = Cpu::new(&team, isa);
                cpu.rotate(shape, &table, &OFFSETS, &mut fast);
                cpu.rotate_backward(shape, &table, &OFFSETS, &mut fast_back);
                let pairs = fast.iter().zip(&turned).chain(fast_back.iter().zip(&back));
                for (i, (a, b)) in pairs.enumerate() {
                    // Angles up to 59 are rounded by 2e-6.
                    let error = (f64::from(*a) - b).abs();
                    assert!(error < 1e-5, "{shape:?} on {} at {i}: {a}, not {b}", isa.name());
                }
            }
        }
    }

    #[test]
    fn the_gradients_are_those_of_the_rotation() {
        let shape = AttentionShape { heads: 2, head_size: 4 };
        let (qkv, dout) = (wide(&numbers(6 * 24, 1)), wide(&numbers(6 * 24, 2)));
        let dqkv = rotate_reference(shape, BASE, -1.0, &[0, 1, 6], &dout);
        check_gradient(&qkv, &dqkv, |qkv| {
            let turned = rotate_reference(shape, BASE, 1.0, &[0, 1, 6], qkv);
            turned.iter().zip(&dout).map(|(y, d)| y * d).sum()
        });
    }

    #[test]
    fn has_the_same_bits_in_any_batch_and_team() {
        let shape = AttentionShape { heads: 3, head_size: 10 };
        let table = RotaryTable::new(10, BASE, 60);
        let qkv = numbers(100 * 90, 1);
        for isa in Isa::available() {
            let mut whole = qkv.clone();
            Cpu::new(&Team::solo(), isa).rotate(shape, &table, &OFFSETS, &mut whole);
            let mut together = qkv.clone();
            Threads::new(3)
                .expect("threads")
                .team(|team| Cpu::new(team, isa).rotate(shape, &table, &OFFSETS, &mut together));
            assert_eq!(whole, together, "{}", isa.name());
            for s in OFFSETS.windows(2) {
                let numbers = s[0] * 90..s[1] * 90;
                let mut alone = qkv[numbers.clone()].to_vec();
                let offsets = [0, s[1] - s[0]];
                Cpu::new(&Team::solo(), isa).rotate(shape, &table, &offsets, &mut alone);
                assert_eq!(alone, whole[numbers], "{}", isa.name());
            }
        }
    }

    #[test]
    fn angles_do_not_depend_on_the_texts_before() {
        let shape = AttentionShape { heads: 1, head_size: 4 };
        let qkv = numbers(300 * 12, 1);
        let turned = |before: &[usize]| {
            let table = RotaryTable::new(4, BASE, 300);
            let (team, mut turned) = (Team::solo(), qkv.clone());
            let cpu = Cpu::new(&team, Isa::detect());
            for tokens in before {
                cpu.rotate(shape, &table, &[0, *tokens], &mut qkv[..tokens * 12].to_vec());
            }
            cpu.rotate(shape, &table, &[0, 300], &mut turned);
            turned
        };
        let at_once = turned(&[]);
        assert_eq!(turned(&[1, 128, 129]), at_once);
        assert_eq!(turned(&[300, 2]), at_once);
        let exact = rotate_reference(shape, BASE, 1.0, &[0, 300], &wide(&qkv));
        for (i, (a, b)) in at_once.iter().zip(&exact).enumerate() {
            // Angles up to 299 are rounded by 1.5e-5.
            assert!((f64::from(*a) - b).abs() < 5e-5, "{i}: {a}, not {b}");
        }
    }
}
