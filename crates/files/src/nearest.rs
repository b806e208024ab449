//! The nearest known word, for misspelled keys, labels and file names.

use strsim::normalized_damerau_levenshtein;

/// The word of `known` that is most similar to `word`, and the similarity from 0 to 1 (equal);
/// `None` if there are no words. Swapped letters count as one mistake, as they are the most common
/// one.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<(&'a str, f64)> {
    let likeness = |known| (known, normalized_damerau_levenshtein(known, word));
    known.into_iter().map(likeness).max_by(|(_, a), (_, b)| a.total_cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_word_is_found() {
        let known = ["train", "encoder", "epochs", "weight", "größe"];
        for (word, expected) in [
            ("trian", "train"),
            ("epoch", "epochs"),
            ("weigth", "weight"),
            ("grösse", "größe"),
            ("encoder", "encoder"),
        ] {
            let (found, likeness) = nearest(word, known).unwrap();
            assert_eq!(found, expected);
            assert_eq!(likeness == 1.0, word == expected, "{word}: {likeness}");
        }
        assert_eq!(nearest("x", []), None);
    }
}
