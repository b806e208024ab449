//! Positions of words in a text, in characters (Unicode scalar values).

use std::ops::Range;

use crate::word_split::stands_without_blanks;

/// The text that the encoder reads in place of `words`, and the place of each word: joined by one
/// blank, but without it between letters and wide marks of scripts that have no blanks between words,
/// so that it is the text as people write it.
pub fn join_words(words: &[impl AsRef<str>]) -> (String, Vec<Range<usize>>) {
    let mut text = String::new();
    let mut places = Vec::with_capacity(words.len());
    let (mut end, mut last) = (0, None);
    for (index, word) in words.iter().map(AsRef::as_ref).enumerate() {
        let touch = [last, word.chars().next()]
            .iter()
            .all(|character| character.is_some_and(stands_without_blanks));
        if index > 0 && !touch {
            text.push(' ');
            end += 1;
        }
        let start = end;
        text.push_str(word);
        end += word.chars().count();
        last = word.chars().next_back();
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
    use super::*;

    fn characters(text: &str, range: &Range<usize>) -> String {
        text.chars().skip(range.start).take(range.len()).collect()
    }

    #[test]
    fn joined_words_stand_where_they_are_said_to() {
        let words = ["Köln", "", "is", "New York"];
        let (text, places) = join_words(&words);
        assert_eq!(text, "Köln  is New York");
        assert_eq!(places, [0..4, 5..5, 6..8, 9..17]);
        assert_eq!(join_words(&[""; 0]), (String::new(), vec![]));
        for (words, text) in [
            (&["we", "met", "Anna"][..], "we met Anna"),
            (&["小王", "住", "在", "北京", "。"], "小王住在北京。"),
            (&["用", "iPhone", "15", "手机", "。", "OK"], "用 iPhone 15 手机。 OK"),
            (&["กรุง", "เทพ", "3", "วัน"], "กรุงเทพ 3 วัน"),
            (&["「", "ありがとう", "」", ""], "「ありがとう」 "),
        ] {
            let (found, places) = join_words(words);
            assert_eq!(found, text);
            let inside: Vec<_> = places.iter().map(|place| characters(text, place)).collect();
            assert_eq!(inside, words);
        }
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
}
