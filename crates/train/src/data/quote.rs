//! Texts of users in messages: never more of them than a message can hold.

/// Characters of a quoted text that are shown.
const LONGEST: usize = 60;

/// Names that are listed one by one.
const MOST_NAMES: usize = 12;

/// `` `text` ``, cut after 60 characters.
pub(crate) fn quoted(text: &str) -> String {
    format!("`{}`", shortened(text))
}

/// The text, cut after 60 characters. Control characters are escaped: a message
/// is one line, and gives no orders to a terminal.
pub(super) fn shortened(text: &str) -> String {
    let mut shown = String::new();
    for (index, character) in text.chars().enumerate() {
        match index {
            LONGEST => {
                shown.push('…');
                break;
            }
            _ if character.is_control() => shown.extend(character.escape_default()),
            _ => shown.push(character),
        }
    }
    shown
}

/// `` `a`, `b` and 5 more ``; `nothing` if there are no names.
pub(super) fn listed<T: AsRef<str>>(names: &[T]) -> String {
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
        assert_eq!(listed::<&str>(&[]), "nothing");
        assert_eq!(listed(&["a", "b"]), "`a`, `b`");
        let many: Vec<String> = (0..15).map(|i| i.to_string()).collect();
        assert!(listed(&many).ends_with("`11` and 3 more"), "{}", listed(&many));
    }
}
