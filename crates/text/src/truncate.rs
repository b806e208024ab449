//! Decides how many tokens of each text stay when a sequence is too long.

use std::fmt;
use std::str::FromStr;

/// The text of a pair that loses tokens when the pair is too long. Tokens are always cut at the
/// right. A single text is cut whatever the rule is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Truncation {
    /// The longer text, until both are equally long; then both. This is `longest_first` of Hugging
    /// Face's fast tokenizers; those of its slow tokenizers differ by one token.
    #[default]
    Longest,
    /// The first text alone (`only_first`).
    First,
    /// The second text alone (`only_second`), as in question and passage.
    Second,
}

/// The length of the longest sequence, and the rule for pairs that are longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LengthLimit {
    /// Number of tokens, special tokens included.
    pub tokens: usize,
    /// The text of a pair that loses tokens.
    pub truncation: Truncation,
}

impl From<usize> for LengthLimit {
    fn from(tokens: usize) -> Self {
        Self { tokens, truncation: Truncation::default() }
    }
}

impl Truncation {
    /// All rules.
    pub const ALL: [Self; 3] = [Self::Longest, Self::First, Self::Second];

    /// Name in configurations and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Longest => "longest",
            Self::First => "first",
            Self::Second => "second",
        }
    }

    /// Number of tokens to keep of the first and of the second text of a pair.
    ///
    /// - `first`, `second`: tokens of each text, without special tokens
    /// - `budget`: tokens that fit, without special tokens
    ///
    /// # Errors
    /// The part of a message with what was expected and what was found, if nothing would be left of
    /// the only text that may be cut. Hugging Face's fast tokenizers fail there too.
    pub(crate) fn kept(
        self,
        first: usize,
        second: usize,
        budget: usize,
    ) -> Result<(usize, usize), String> {
        if first + second <= budget {
            return Ok((first, second));
        }
        let (other, whole, cut) = match self {
            Self::Longest => return Ok(longest_first(first, second, budget)),
            Self::First => ("second", second, "first"),
            Self::Second => ("first", first, "second"),
        };
        match budget.checked_sub(whole).filter(|left| *left > 0) {
            Some(left) if self == Self::First => Ok((left, second)),
            Some(left) => Ok((first, left)),
            None => Err(format!(
                "expected a {other} text of at most {} tokens, because only the {cut} text is cut, \
                 found {whole}",
                budget.saturating_sub(1)
            )),
        }
    }
}

impl fmt::Display for Truncation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Truncation {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|rule| rule.name() == name).ok_or_else(|| {
            let shown: String = name.chars().take(80).collect();
            format!("expected one of longest, first, second, found {shown:?}")
        })
    }
}

/// Number of tokens to keep of each text by [`Truncation::Longest`]. The extra token of an odd budget
/// goes to the longer text, or to the second one if they are equal.
fn longest_first(first: usize, second: usize, budget: usize) -> (usize, usize) {
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

    #[test]
    fn one_side_alone_is_cut_and_keeps_a_token() {
        use Truncation::{First, Second};
        for (rule, lengths, budget, expected) in [
            (Second, (3, 9), 7, Ok((3, 4))),
            (Second, (6, 9), 7, Ok((6, 1))),
            (
                Second,
                (7, 9),
                7,
                Err(
                    "expected a first text of at most 6 tokens, because only the second text is cut, found 7",
                ),
            ),
            (
                Second,
                (8, 0),
                7,
                Err(
                    "expected a first text of at most 6 tokens, because only the second text is cut, found 8",
                ),
            ),
            (Second, (7, 0), 7, Ok((7, 0))),
            (Second, (0, 9), 7, Ok((0, 7))),
            (
                Second,
                (1, 1),
                0,
                Err(
                    "expected a first text of at most 0 tokens, because only the second text is cut, found 1",
                ),
            ),
            (First, (9, 3), 7, Ok((4, 3))),
            (
                First,
                (9, 7),
                7,
                Err(
                    "expected a second text of at most 6 tokens, because only the first text is cut, found 7",
                ),
            ),
            (First, (3, 4), 7, Ok((3, 4))),
        ] {
            let found = rule.kept(lengths.0, lengths.1, budget);
            assert_eq!(found, expected.map_err(str::to_owned), "{rule} {lengths:?} {budget}");
        }
    }

    #[test]
    fn rules_have_names() {
        for rule in Truncation::ALL {
            assert_eq!(rule.to_string().parse(), Ok(rule));
        }
        let error = "both".parse::<Truncation>().unwrap_err();
        assert_eq!(error, "expected one of longest, first, second, found \"both\"");
    }

    proptest! {
        #[test]
        fn lengths_equal_those_of_the_library(
            first in 0usize..40, second in 0usize..40, budget in 0usize..90, rule in 0usize..3,
        ) {
            let encoding = |length: usize| {
                Encoding::from_tokens(vec![Token::new(1, "a".into(), (0, 1)); length], 0)
            };
            let strategies = [
                TruncationStrategy::LongestFirst,
                TruncationStrategy::OnlyFirst,
                TruncationStrategy::OnlySecond,
            ];
            let parameters = TruncationParams {
                direction: TruncationDirection::Right,
                max_length: budget,
                strategy: strategies[rule],
                stride: 0,
            };
            let theirs = truncate_encodings(encoding(first), Some(encoding(second)), &parameters);
            let expected = theirs.ok().map(|(a, b)| (a.len(), b.unwrap().len()));
            let found = Truncation::ALL[rule].kept(first, second, budget);
            // The library cuts everything of both texts where nothing fits.
            if budget > 0 || rule == 0 {
                prop_assert_eq!(found.ok(), expected);
            }
        }
    }
}
