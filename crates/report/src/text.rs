//! Users' words on the page. They must not break its layout: they are shortened, have a direction
//! of their own, and show their control characters.

use maud::{Markup, html};

/// Longest name, label or attribute, in characters.
const SHORT: usize = 80;

/// A user's words in full, with a direction of their own.
pub(crate) fn user(text: &str) -> Markup {
    html! { bdi { (text) } }
}

/// A user's name or label, in one short line.
pub(crate) fn name(text: &str) -> Markup {
    user(&plain(text))
}

/// A user's words as plain text, for attributes and plots: one short line, without characters that
/// change the direction of the text after them.
pub(crate) fn plain(text: &str) -> String {
    let characters = text.chars().filter(|c| !turns_direction(*c));
    let characters = characters.map(|c| if c.is_whitespace() { ' ' } else { c });
    cut(&characters.collect::<String>(), SHORT)
}

/// The first `most` characters, with `…` as the last one if there are more.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.chars().nth(most).is_none() {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// Replaces control characters, which HTML forbids, by their symbols `␀`, `␁`, …: they may be the
/// reason for a wrong answer, so the reader should see them.
pub(crate) fn visible(character: char) -> char {
    match character {
        '\n' | '\t' => character,
        '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + character as u32).unwrap_or('␀'),
        '\u{7f}' => '␡',
        '\u{80}'..='\u{9f}' => '\u{fffd}',
        other => other,
    }
}

/// Returns true if a character is an embedding, override or isolate of the bidirectional algorithm.
fn turns_direction(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_mean_nothing_to_html() {
        let text = "<b> & \" onload='x' &amp;";
        let page = html! { p title=(text) { (user(text)) } }.into_string();
        let escaped = "&lt;b&gt; &amp; &quot; onload='x' &amp;amp;";
        assert_eq!(page, format!("<p title=\"{escaped}\"><bdi>{escaped}</bdi></p>"));
    }

    #[test]
    fn control_characters_are_shown() {
        let shown: String =
            "a\0b\u{1b}[0m\u{7f}\u{85}two\nlines\t🙂 שלום".chars().map(visible).collect();
        assert_eq!(shown, "a␀b␛[0m␡\u{fffd}two\nlines\t🙂 שלום");
    }

    #[test]
    fn plain_words_are_short_and_turn_nothing() {
        assert_eq!(plain("a\u{202e}b\u{2067}c\nd"), "abc d");
        assert_eq!(plain(&"x".repeat(10_000)).chars().count(), SHORT);
        assert_eq!(cut("שלום", 4), "שלום");
        assert_eq!(cut("שלום", 3), "של…");
    }
}
