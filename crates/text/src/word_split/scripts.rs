//! Characters that matter where words begin and end: marks, and letters of scripts without blanks.

use unicode_categories::UnicodeCategories;

/// Returns true if `character` is punctuation for BERT: of Unicode's punctuation, or a symbol of ASCII.
pub(crate) fn is_mark(character: char) -> bool {
    character.is_ascii_punctuation() || character.is_punctuation()
}

/// Returns true if BERT's tokenizer puts blanks around `character`: Han, without Kana.
pub(crate) fn is_han(character: char) -> bool {
    matches!(character,
        '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{2a6df}' | '\u{2a700}'..='\u{2ceaf}' | '\u{2f800}'..='\u{2fa1f}')
}

/// Returns true if `character` is a letter of a script that writes no blanks between words: Han, Kana, Thai,
/// Lao, Khmer, Myanmar.
pub(crate) fn lacks_blanks(character: char) -> bool {
    let letter = matches!(character,
        '\u{3005}'..='\u{3007}' | '\u{3021}'..='\u{3029}' | '\u{3031}'..='\u{303c}'
        | '\u{3041}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{ff66}'..='\u{ff9f}'
        | '\u{1aff0}'..='\u{1b16f}' | '\u{2ceb0}'..='\u{323af}'
        | '\u{0e01}'..='\u{0e4e}' | '\u{0e81}'..='\u{0ecd}' | '\u{0edc}'..='\u{0edf}'
        | '\u{1000}'..='\u{103f}' | '\u{104c}'..='\u{109f}' | '\u{a9e0}'..='\u{a9ff}'
        | '\u{aa60}'..='\u{aa7f}' | '\u{1780}'..='\u{17df}');
    // The ranges hold marks, such as the middle dot of Katakana, and the sign of the Thai currency.
    (letter || is_han(character)) && !is_mark(character) && character != '\u{0e3f}'
}

/// Returns true if a text has no blank beside `character` where its words would have one: such letters, and
/// the wide marks between them.
pub(crate) fn stands_without_blanks(character: char) -> bool {
    let wide_mark = matches!(character, '\u{3001}'..='\u{303f}' | '\u{ff01}'..='\u{ff65}');
    wide_mark && is_mark(character) || lacks_blanks(character)
}

/// Marks that end sentences and parts of them: alone between two words, they say nothing about
/// words with a mark inside.
pub(crate) fn ends_sentences(mark: char) -> bool {
    matches!(mark, '.' | ',' | ';' | ':' | '!' | '?' | '…')
}

/// Apostrophes, the only marks with which a word begins that goes on with the one before it.
pub(crate) fn is_apostrophe(mark: char) -> bool {
    matches!(mark, '\'' | '’')
}
