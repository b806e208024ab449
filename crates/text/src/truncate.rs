//! Decides how many tokens of each text stay when a sequence is too long.

/// Number of tokens to keep of the first and of the second text of a pair.
///
/// - `first`, `second`: tokens of each text, without special tokens
/// - `budget`: tokens that fit, without special tokens
///
/// The longer text loses tokens until both are equally long, then both do. The extra token of an
/// odd budget goes to the longer text, or to the second one if they are equal. The strategy
/// `longest_first` of Hugging Face's fast tokenizers gives the same lengths (those of its slow
/// tokenizers differ by one). Tokens are always cut at the right.
pub(crate) fn longest_first(first: usize, second: usize, budget: usize) -> (usize, usize) {
    if first + second <= budget {
        return (first, second);
    }
    let half = budget / 2;
    let (short, long) = (first.min(second), first.max(second));
    let (short, long) =
        if short <= half { (short, long.min(budget - short)) } else { (half, budget - half) };
    if first <= second { (short, long) } else { (long, short) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokenizers::{
        Encoding, Token, TruncationDirection, TruncationParams, TruncationStrategy,
        truncate_encodings,
    };

    use super::*;

    #[test]
    fn the_longest_loses_first() {
        struct Case {
            lengths: (usize, usize),
            budget: usize,
            expected: (usize, usize),
        }
        let cases = [
            Case { lengths: (3, 4), budget: 7, expected: (3, 4) },
            Case { lengths: (3, 9), budget: 7, expected: (3, 4) },
            Case { lengths: (9, 3), budget: 7, expected: (4, 3) },
            Case { lengths: (9, 9), budget: 7, expected: (3, 4) },
            Case { lengths: (10, 9), budget: 7, expected: (4, 3) },
            Case { lengths: (9, 9), budget: 8, expected: (4, 4) },
            Case { lengths: (0, 9), budget: 7, expected: (0, 7) },
            Case { lengths: (9, 0), budget: 7, expected: (7, 0) },
            Case { lengths: (9, 9), budget: 1, expected: (0, 1) },
            Case { lengths: (9, 9), budget: 0, expected: (0, 0) },
        ];
        for Case { lengths: (first, second), budget, expected } in cases {
            assert_eq!(longest_first(first, second, budget), expected, "{first} {second} {budget}");
        }
    }

    proptest! {
        #[test]
        fn lengths_equal_those_of_the_library(
            first in 0usize..40, second in 0usize..40, budget in 0usize..90,
        ) {
            let encoding = |length: usize| {
                Encoding::from_tokens(vec![Token::new(1, "a".into(), (0, 1)); length], 0)
            };
            let parameters = TruncationParams {
                direction: TruncationDirection::Right,
                max_length: budget,
                strategy: TruncationStrategy::LongestFirst,
                stride: 0,
            };
            let (a, b) =
                truncate_encodings(encoding(first), Some(encoding(second)), &parameters).unwrap();
            let expected = (a.len(), b.unwrap().len());
            prop_assert_eq!(longest_first(first, second, budget), expected);
        }
    }
}
