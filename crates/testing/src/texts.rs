//! Texts to encode.

/// Words whose pieces and lengths differ.
const WORDS: &str = "the a train Assessement 42 naïve electroencephalography , is not 東京 leaves \
                     x embedding !! of";

/// `count` texts that look random and are always the same.
///
/// - `end`: text `i` has fewer than `end(i)` words
pub fn texts(count: usize, end: impl Fn(usize) -> usize) -> Vec<String> {
    let words: Vec<&str> = WORDS.split(' ').collect();
    let mut state = 7u64;
    // Knuth's linear congruential generator; the upper bits are good enough here.
    let mut below = |limit: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % limit
    };
    let mut text = |i| (0..below(end(i))).map(|_| words[below(words.len())]).collect::<Vec<_>>();
    (0..count).map(|i| text(i).join(" ")).collect()
}
