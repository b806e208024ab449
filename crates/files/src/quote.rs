//! Texts of users in messages: cut and escaped, so that a message stays one short line.

/// Characters of a quoted text that a message shows.
const LONGEST: usize = 60;

/// Names that a message lists one by one.
const MOST_NAMES: usize = 12;

/// Puts a text in backticks for a message, cut after 60 characters.
pub fn quoted(text: &str) -> String {
    format!("`{}`", shortened(text))
}

/// Escapes the characters of a text that [control a terminal](controls_terminal), except line feeds.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character != '\n' && controls_terminal(character) {
            true => shown.extend(character.escape_unicode()),
            false => shown.push(character),
        }
    }
    shown
}

/// Returns true if a character does something else than to show itself: controls, and characters that
/// turn the direction of writing or break a line.
pub fn controls_terminal(character: char) -> bool {
    let turns = matches!(character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    turns || character.is_control()
}

/// Cuts a text after 60 characters and escapes those that [control a
/// terminal](controls_terminal), so that a message stays one line.
pub fn shortened(text: &str) -> String {
    let mut characters = text.chars();
    let mut shown = String::new();
    for character in characters.by_ref().take(LONGEST) {
        match controls_terminal(character) {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    shown.extend(characters.next().map(|_| '…'));
    shown
}

/// Lists names for a message: `` `a`, `b` and 5 more ``, or `nothing` if there are none.
pub fn listed<T: AsRef<str>>(names: &[T]) -> String {
    if names.is_empty() {
        return "nothing".to_owned();
    }
    let shown: Vec<_> = names.iter().take(MOST_NAMES).map(|name| quoted(name.as_ref())).collect();
    match names.len().saturating_sub(MOST_NAMES) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_and_long_lists_are_cut() {
        assert_eq!(quoted("a b"), "`a b`");
        assert_eq!(quoted(&"é".repeat(60)), format!("`{}`", "é".repeat(60)));
        assert_eq!(quoted(&"é".repeat(61)), format!("`{}…`", "é".repeat(60)));
        assert_eq!(quoted("a\nb\u{1b}[2J"), "`a\\nb\\u{1b}[2J`");
        assert_eq!(quoted("a\u{202e}b\u{9b}"), "`a\\u{202e}b\\u{9b}`");
        assert_eq!(visible("é\n\u{1b}[2J\t"), "é\n\\u{1b}[2J\\u{9}");
        assert_eq!(listed::<&str>(&[]), "nothing");
        assert_eq!(listed(&["a", "b"]), "`a`, `b`");
        let many: Vec<String> = (0..15).map(|i| i.to_string()).collect();
        assert!(listed(&many).ends_with("`11` and 3 more"), "{}", listed(&many));
    }
}
