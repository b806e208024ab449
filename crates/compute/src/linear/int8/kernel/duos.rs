//! Weights for `vpmaddubsw`, which adds products of bytes in 16 bits.
//!
//! The numbers of a row are 0 … 255. So a sum of 16 bits cannot overflow, for any row, if its
//! positive weights add up to at most 128 and its negative ones to at least −128: 255 · 128 =
//! 32,640. The instruction adds two products; where the weights allow it, the sums of two groups
//! are added before they are widened to 32 bits: a *duo*, which saves a multiplication.
//!
//! Two of the four weights of a group are added in one of three [`ORDERS`], whichever fits; rows
//! are stored in all three. A group that fits in none is cut into two. Every bound is one of the
//! weights alone, so the 32-bit sums are those of the plain loops, to the bit.

/// Outputs of a panel: with more, fewer groups would fit for all of them at once.
pub(super) const COLUMNS: usize = 8;
/// Copies of a row, one in each of [`ORDERS`].
pub(super) const COPIES: usize = ORDERS.len();
/// Bytes of the weights of a group.
pub(super) const SINGLE: usize = COLUMNS * GROUP;
/// Bytes of the weights of two groups.
pub(super) const DUO: usize = 2 * SINGLE;

use super::GROUP;

/// Orders of the numbers of a group; the first two are added, and the last two.
const ORDERS: [[usize; GROUP]; 3] = [[0, 1, 2, 3], [0, 2, 1, 3], [0, 3, 1, 2]];
/// The most that the weights of one sign of a 16-bit sum may add up to.
const MOST: u8 = 128;
/// Bytes of the header, and what panels are filled up to.
pub(super) const LINE: usize = 64;

/// The begin of a panel; behind it the weights of duos and singles, then their offsets in a row.
pub(super) struct Header {
    pub(super) duos: usize,
    pub(super) singles: usize,
}

impl Header {
    /// # Safety
    /// A panel of [`pack`] must be at `panel`.
    #[inline(always)]
    pub(super) unsafe fn read(panel: *const u8) -> Self {
        // SAFETY: the caller's promise.
        let [duos, singles] = unsafe { panel.cast::<[u32; 2]>().read() };
        Self { duos: duos as usize, singles: singles as usize }
    }

    /// Weights, [`DUO`] bytes for each duo and [`SINGLE`] for each single, and offsets, two for each
    /// duo and one for each single.
    ///
    /// # Safety
    /// A panel of [`pack`] must be at `panel`.
    #[inline(always)]
    pub(super) unsafe fn parts(&self, panel: *const u8) -> (*const u8, *const u32) {
        // SAFETY: the caller's promise.
        unsafe {
            let weights = panel.add(LINE);
            (weights, weights.add(self.duos * DUO + self.singles * SINGLE).cast())
        }
    }
}

/// The weights of a group for all columns, input by input.
type Weights = [[i8; COLUMNS]; GROUP];

/// The positive weights of each 16-bit sum of a group, added up, and the negative ones.
type Bounds = [[u8; COLUMNS]; 4];

/// The weights of a group, or a part of them.
struct Item {
    group: usize,
    weights: Weights,
    /// For each of [`ORDERS`].
    bounds: [Bounds; ORDERS.len()],
    /// The largest bound in each order; it fits where this is at most [`MOST`].
    largest: [u8; ORDERS.len()],
}

impl Item {
    fn new(group: usize, weights: Weights) -> Self {
        let bounds = ORDERS.map(|[a, b, c, d]| {
            let ([first, second], [third, fourth]) =
                (pair(weights[a], weights[b]), pair(weights[c], weights[d]));
            [first, second, third, fourth]
        });
        let largest = bounds.each_ref().map(|bounds| largest(bounds.as_flattened()));
        Self { group, weights, bounds, largest }
    }

    /// The largest bound in the order where that is smallest.
    fn least(&self) -> u8 {
        self.largest.into_iter().fold(u8::MAX, u8::min)
    }

    /// The first order in which it fits.
    fn order(&self) -> usize {
        self.largest.iter().position(|largest| *largest <= MOST).unwrap_or(0)
    }

    /// The item, or two that add up to it where it fits in no order: the second weight of each
    /// sum that could overflow stands alone.
    fn cut(self) -> (Self, Option<Self>) {
        if self.least() <= MOST {
            return (self, None);
        }
        let overflowing = |order: &usize| {
            let bounds = self.bounds[*order].as_flattened();
            bounds.iter().filter(|bound| **bound > MOST).count()
        };
        let [a, b, c, d] = ORDERS[(0..ORDERS.len()).min_by_key(overflowing).unwrap_or(0)];
        let (mut first, mut second) = (self.weights, Weights::default());
        for (stays, goes) in [(a, b), (c, d)] {
            for column in 0..COLUMNS {
                let sum = i32::from(first[stays][column]) + i32::from(first[goes][column]);
                if sum.unsigned_abs() > MOST.into() {
                    second[goes][column] = first[goes][column];
                    first[goes][column] = 0;
                }
            }
        }
        (Self::new(self.group, first), Some(Self::new(self.group, second)))
    }

    /// The orders of both in which they can be added.
    fn joined(&self, other: &Self) -> Option<(usize, usize)> {
        for i in (0..ORDERS.len()).filter(|i| self.largest[*i] <= MOST) {
            for j in 0..ORDERS.len() {
                if largest_sum(&self.bounds[i], &other.bounds[j]) <= MOST {
                    return Some((i, j));
                }
            }
        }
        None
    }

    fn write(&self, order: usize, inputs: usize, weights: &mut Vec<u8>, offsets: &mut Vec<u8>) {
        for column in 0..COLUMNS {
            weights.extend(ORDERS[order].map(|k| self.weights[k][column] as u8));
        }
        let offset = (order * inputs + self.group * GROUP) as u32;
        offsets.extend(offset.to_ne_bytes());
    }
}

/// Returns the sums of the positive weights of each column, and of the negative ones without their
/// sign; a sum above 255 is given as 255.
fn pair(a: [i8; COLUMNS], b: [i8; COLUMNS]) -> [[u8; COLUMNS]; 2] {
    let mut sums = [[0; COLUMNS]; 2];
    for column in 0..COLUMNS {
        let (a, b) = (a[column], b[column]);
        let positive = |w: i8| w.max(0).unsigned_abs();
        let negative = |w: i8| w.min(0).unsigned_abs();
        sums[0][column] = positive(a).saturating_add(positive(b));
        sums[1][column] = negative(a).saturating_add(negative(b));
    }
    sums
}

fn largest(bounds: &[u8]) -> u8 {
    bounds.iter().copied().fold(0, u8::max)
}

fn largest_sum(a: &Bounds, b: &Bounds) -> u8 {
    let mut sums = [0; 4 * COLUMNS];
    for (sum, (a, b)) in sums.iter_mut().zip(a.as_flattened().iter().zip(b.as_flattened())) {
        *sum = a.saturating_add(*b);
    }
    largest(&sums)
}

/// Packs `levels`, `[COLUMNS, inputs]`.
///
/// - `inputs`: a multiple of 64
pub(super) fn pack(levels: &[i8], inputs: usize) -> Vec<u8> {
    let mut items = Vec::with_capacity(inputs / GROUP);
    for group in 0..inputs / GROUP {
        let weights: Weights = std::array::from_fn(|k| {
            std::array::from_fn(|column| levels[column * inputs + group * GROUP + k])
        });
        if weights != Weights::default() {
            let (first, second) = Item::new(group, weights).cut();
            items.push(first);
            items.extend(second);
        }
    }
    // Large ones find few partners: they choose first, and take the largest that fits.
    let mut left: Vec<&Item> = items.iter().collect();
    left.sort_by_cached_key(|item| item.least());
    let (mut duos, mut singles) = (Vec::new(), Vec::new());
    while let Some(item) = left.pop() {
        let mut others = left.iter().enumerate().rev();
        let partner = others.find_map(|(i, other)| Some((i, item.joined(other)?)));
        match partner {
            Some((at, orders)) => duos.push([(item, orders.0), (left.remove(at), orders.1)]),
            None => singles.push((item, item.order())),
        }
    }
    let (mut weights, mut offsets) = (Vec::new(), Vec::new());
    for (item, order) in duos.as_flattened().iter().chain(&singles) {
        item.write(*order, inputs, &mut weights, &mut offsets);
    }
    let mut panel: Vec<u8> = [duos.len(), singles.len(), inputs]
        .into_iter()
        .flat_map(|n| (n as u32).to_ne_bytes())
        .collect();
    panel.resize(LINE, 0);
    panel.extend(weights);
    panel.extend(offsets);
    panel.resize(panel.len().next_multiple_of(LINE), 0);
    panel
}

/// Level of input `k` for output `column` of a panel.
pub(super) fn level(panel: &[u8], column: usize, k: usize) -> i8 {
    let number = |at: usize| {
        let bytes = [panel[at], panel[at + 1], panel[at + 2], panel[at + 3]];
        u32::from_ne_bytes(bytes) as usize
    };
    let (groups, inputs) = (2 * number(0) + number(4), number(8));
    let mut level = 0;
    for group in 0..groups {
        let offset = number(LINE + groups * SINGLE + group * 4);
        let (order, first) = (ORDERS[offset / inputs], offset % inputs);
        for (i, place) in order.into_iter().enumerate() {
            if first + place == k {
                level += panel[LINE + group * SINGLE + column * GROUP + i] as i8;
            }
        }
    }
    level
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Panels of weights that fit, that hardly fit, and that never do.
    fn panels() -> Vec<Vec<i8>> {
        let inputs = 64;
        let mut random = Random::named(7, "panels");
        let mut of = |most: f64| -> Vec<i8> {
            let level = |_| ((2.0 * random.uniform() - 1.0) * most).round() as i8;
            (0..COLUMNS * inputs).map(level).collect()
        };
        let mut panels = [10.0, 60.0, 100.0, 127.0].map(&mut of).to_vec();
        panels.extend([127, -127, -128, 1, 0].map(|w| vec![w; COLUMNS * inputs]));
        panels
    }

    #[test]
    fn no_sum_of_16_bits_can_overflow() {
        for levels in panels() {
            let panel = pack(&levels, 64);
            // SAFETY: the panel has just been packed.
            let Header { duos, singles } = unsafe { Header::read(panel.as_ptr()) };
            let weights = &panel[LINE..];
            let sums = |at: usize, sign: i32| -> Vec<i32> {
                let pairs = weights[at..at + SINGLE].chunks_exact(2);
                let part = |w: u8| (i32::from(w as i8) * sign).max(0);
                pairs.map(|pair| part(pair[0]) + part(pair[1])).collect()
            };
            for sign in [1, -1] {
                for duo in 0..duos {
                    let (a, b) = (sums(duo * DUO, sign), sums(duo * DUO + SINGLE, sign));
                    assert!(a.iter().zip(b).all(|(a, b)| a + b <= 128), "duo {duo}");
                }
                for single in 0..singles {
                    let sums = sums(duos * DUO + single * SINGLE, sign);
                    assert!(sums.iter().all(|sum| *sum <= 128), "single {single}");
                }
            }
        }
    }

    #[test]
    fn levels_are_those_that_were_packed() {
        for levels in panels() {
            let panel = pack(&levels, 64);
            assert!(panel.len().is_multiple_of(LINE));
            for (at, expected) in levels.iter().enumerate() {
                assert_eq!(level(&panel, at / 64, at % 64), *expected);
            }
        }
    }

    /// A panel of small weights is all duos, one of equal weights of 127 all singles, two a group.
    #[test]
    fn duos_are_found_where_there_are_any() {
        let counts = |levels: &[i8]| {
            // SAFETY: the panel has just been packed.
            let Header { duos, singles } = unsafe { Header::read(pack(levels, 64).as_ptr()) };
            (duos, singles)
        };
        let panels = panels();
        assert_eq!(counts(&panels[0]), (8, 0));
        assert_eq!(counts(&vec![127; COLUMNS * 64]), (0, 32));
        assert_eq!(counts(&vec![0; COLUMNS * 64]), (0, 0));
    }
}
