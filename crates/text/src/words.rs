//! Positions of words in a text, in characters (Unicode scalar values).

use std::ops::Range;

use unicode_categories::UnicodeCategories;

/// Words of a raw text: runs without blanks, and every punctuation character by itself, as BERT's
/// tokenizer splits before it looks into its vocabulary. Control characters are parts of words.
pub fn split_words(text: &str) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut begun = None;
    let mut count = 0;
    for (at, character) in text.chars().enumerate() {
        count = at + 1;
        let punctuation = character.is_ascii_punctuation() || character.is_punctuation();
        if punctuation || character.is_whitespace() {
            words.extend(begun.take().map(|start| start..at));
            if punctuation {
                words.push(at..at + 1);
            }
        } else if begun.is_none() {
            begun = Some(at);
        }
    }
    words.extend(begun.map(|start| start..count));
    words
}

/// The text that the encoder reads in place of `words`, joined by one blank, and the place of each.
pub fn join_words(words: &[impl AsRef<str>]) -> (String, Vec<Range<usize>>) {
    let mut text = String::new();
    let mut places = Vec::with_capacity(words.len());
    let mut end = 0;
    for (index, word) in words.iter().map(AsRef::as_ref).enumerate() {
        if index > 0 {
            text.push(' ');
            end += 1;
        }
        let start = end;
        text.push_str(word);
        end += word.chars().count();
        places.push(start..end);
    }
    (text, places)
}

/// Where `words` stand in `text`: each at its first place after the word before it.
///
/// # Errors
/// The index of the first word that is not there.
pub fn locate_words(text: &str, words: &[impl AsRef<str>]) -> Result<Vec<Range<usize>>, usize> {
    let mut places = Vec::with_capacity(words.len());
    let (mut rest, mut passed) = (text, 0);
    for (index, word) in words.iter().map(AsRef::as_ref).enumerate() {
        let before = rest.find(word).ok_or(index)?;
        let start = passed + rest[..before].chars().count();
        passed = start + word.chars().count();
        rest = &rest[before + word.len()..];
        places.push(start..passed);
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn characters(text: &str, range: &Range<usize>) -> String {
        text.chars().skip(range.start).take(range.len()).collect()
    }

    #[test]
    fn words_end_at_blanks_and_punctuation() {
        for (text, expected) in [
            ("", &[][..]),
            (" \t\n", &[]),
            ("one", &["one"]),
            (" to  Köln,\nnow! ", &["to", "Köln", ",", "now", "!"]),
            ("don't", &["don", "'", "t"]),
            ("¿qué? «sí»", &["¿", "qué", "?", "«", "sí", "»"]),
            // Marks belong to their letters: e with an accent apart, Devanagari vowels.
            ("cafe\u{301} नमस्ते", &["cafe\u{301}", "नमस्ते"]),
            ("a\u{3000}漢字。", &["a", "漢字", "。"]),
            ("3.5€", &["3", ".", "5€"]),
        ] {
            let words = split_words(text);
            let found: Vec<_> = words.iter().map(|range| characters(text, range)).collect();
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn joined_words_stand_where_they_are_said_to() {
        let words = ["Köln", "", "is", "New York"];
        let (text, places) = join_words(&words);
        assert_eq!(text, "Köln  is New York");
        assert_eq!(places, [0..4, 5..5, 6..8, 9..17]);
        assert_eq!(join_words(&[""; 0]), (String::new(), vec![]));
    }

    #[test]
    fn words_are_found_in_order() {
        for (text, words, expected) in [
            ("a b a", &["a", "a"][..], Ok(vec![0..1, 4..5])),
            ("don't, é!", &["do", "n't", "é", "!"], Ok(vec![0..2, 2..5, 7..8, 8..9])),
            ("a b", &["b", "a"], Err(1)),
            ("abc", &["abcd"], Err(0)),
            ("", &[], Ok(vec![])),
        ] {
            assert_eq!(locate_words(text, words), expected, "{text:?} {words:?}");
        }
    }

    proptest! {
        #[test]
        fn words_cover_every_character_that_is_no_blank(text in "\\PC{0,40}") {
            let words = split_words(&text);
            let inside: usize = words.iter().map(ExactSizeIterator::len).sum();
            prop_assert!(words.windows(2).all(|two| two[0].end <= two[1].start));
            let blanks = text.chars().filter(|c| c.is_whitespace()).count();
            prop_assert_eq!(inside + blanks, text.chars().count());
            let strings: Vec<_> = words.iter().map(|word| characters(&text, word)).collect();
            prop_assert_eq!(locate_words(&text, &strings).unwrap(), words);
            let (joined, places) = join_words(&strings);
            prop_assert_eq!(locate_words(&joined, &strings).unwrap(), places);
        }
    }
}
