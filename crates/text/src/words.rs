//! Positions of words in a text, in characters (Unicode scalar values).

use std::ops::Range;

use crate::word_split::stands_without_blanks;

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

/// `words` as they stand in a text: joined by one blank, but without it between letters and wide
/// marks of scripts that have no blanks between words; and the place of each word.
pub fn join_as_written(words: &[impl AsRef<str>]) -> (String, Vec<Range<usize>>) {
    let (text, places) = join_words(words);
    without_blanks(&text, &places)
}

/// `text` without single blanks between words whose scripts have none: letters of such scripts and
/// their wide marks; and the place of each word there.
///
/// - `words`: characters of each word in `text`, in order
pub fn without_blanks(text: &str, words: &[Range<usize>]) -> (String, Vec<Range<usize>>) {
    let characters: Vec<char> = text.chars().collect();
    let mut dropped = Vec::new();
    for two in words.windows(2) {
        let (end, next) = (two[0].end, two[1].start);
        let wide = |at: usize| characters.get(at).copied().is_some_and(stands_without_blanks);
        let inner = !two[0].is_empty() && !two[1].is_empty();
        if inner && next == end + 1 && characters[end] == ' ' && wide(end - 1) && wide(next) {
            dropped.push(end);
        }
    }
    let before = |at: usize| dropped.partition_point(|blank| *blank < at);
    let kept = characters.iter().zip(0..).filter(|(_, at)| dropped.binary_search(at).is_err());
    let places =
        words.iter().map(|word| word.start - before(word.start)..word.end - before(word.end));
    (kept.map(|(character, _)| character).collect(), places.collect())
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
            let (found, places) = join_as_written(words);
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
