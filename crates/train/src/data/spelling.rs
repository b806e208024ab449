//! Spellings of labels: which of them look alike, and how a message shows the difference.

use std::borrow::Cow;

use polyhead_files::controls_terminal;
use polyhead_model::LabelMatching;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The text by which a label is compared: without the blanks at its ends, or in its normal form.
pub(super) fn matching_key(label: &str, matching: LabelMatching) -> Cow<'_, str> {
    match matching {
        LabelMatching::Exact => Cow::Borrowed(label.trim()),
        LabelMatching::Normalized => Cow::Owned(normal_form(label)),
    }
}

/// The label in lower case and Unicode form NFKC, without invisible characters, with single blanks
/// between its words, and without zeros at the end of a decimal fraction.
pub(super) fn normal_form(label: &str) -> String {
    let compatible: String = label.nfkc().filter(|&c| !is_invisible(c)).collect();
    // Lower case may leave NFKC, and one sigma of Greek depends on its place.
    let lower: String = compatible.to_lowercase().replace('ς', "σ").nfkc().collect();
    let words: Vec<&str> = lower.split_whitespace().collect();
    let joined = words.join(" ");
    match short_number(&joined) {
        Some(short) => short.to_owned(),
        None => joined,
    }
}

/// `1` for `1.0`; `None` for a text that is no decimal fraction. Digits stay as they are: `01` may
/// be a code.
fn short_number(text: &str) -> Option<&str> {
    let (whole, fraction) = text.split_once('.')?;
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if digits.is_empty() || !are_digits(digits) || !are_digits(fraction) {
        return None;
    }
    Some(text.trim_end_matches('0').trim_end_matches('.'))
}

/// Returns true if a character takes no room on the screen: zero-width characters, soft hyphens, marks of
/// direction, selectors of a variant.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{e0000}'..='\u{e0fff}')
        || (c.is_control() && !c.is_whitespace())
}

/// The label in quotes, with every character escaped that looks like another one or like nothing.
pub(super) fn revealed(label: &str) -> String {
    format!("`{}`", escaped(label))
}

/// The text of [`revealed`] without the quotes.
pub(super) fn escaped(label: &str) -> String {
    let mut shown = String::new();
    let mut characters = label.chars();
    for c in characters.by_ref().take(60) {
        let unusual = !c.is_ascii()
            && (is_invisible(c)
                || controls_terminal(c)
                || c.is_whitespace()
                || is_combining_mark(c)
                || !std::iter::once(c).nfkc().eq([c]));
        match unusual || c.is_control() {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown.extend(characters.next().map(|_| '…'));
    shown
}

/// Ways in which two spellings of one normal form differ: `case and blanks`.
pub(super) fn differences(spellings: &[&str]) -> String {
    let differ = |form: &dyn Fn(&str) -> String| {
        spellings.windows(2).any(|two| form(two[0]) != form(two[1]))
    };
    // What differs although every other step is taken differs by the step that is left out.
    type Step = fn(&str) -> String;
    let steps: [(&str, Step); 5] = [
        ("Unicode form", |text| text.nfkc().collect()),
        ("invisible characters", |text| text.chars().filter(|&c| !is_invisible(c)).collect()),
        ("blanks", |text| text.split_whitespace().collect::<Vec<_>>().join(" ")),
        ("case", |text| text.to_lowercase().replace('ς', "σ")),
        ("the form of a number", |text| short_number(text).unwrap_or(text).to_owned()),
    ];
    if differ(&normal_form) {
        return "spelling".to_owned();
    }
    let mut found = Vec::new();
    for (left_out, (name, _)) in steps.iter().enumerate() {
        let others = |text: &str| {
            let others = steps.iter().enumerate().filter(|(at, _)| *at != left_out);
            others.fold(text.to_owned(), |text, (_, (_, step))| step(&text))
        };
        if differ(&others) {
            found.push(*name);
        }
    }
    match found.split_last() {
        None => "spelling".to_owned(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_label_have_one_normal_form() {
        for group in [
            &["pos", "Pos", " pos ", "pos\u{a0}", "pos\u{200b}", "p\u{ad}os", "\u{feff}POS"][..],
            &["n\u{e9}g", "ne\u{301}g", "NE\u{301}G"],
            &["1", "1.0", "1.", "1.00", "\u{ff11}"],
            &["-2.5", "-2.50"],
            &["true", "True", "TRUE"],
            &["new  york", "New York", "new\tyork", "new\u{3000}york"],
            &["\u{fb01}ne", "fine"],
            &["\u{3c3}\u{3c2}", "\u{3a3}\u{3a3}"],
            &["\u{2764}\u{fe0f}", "\u{2764}"],
            &["12345678901234567890123", "12345678901234567890123.0"],
        ] {
            for label in group {
                assert_eq!(normal_form(label), normal_form(group[0]), "{label:?}");
                assert_eq!(matching_key(label, LabelMatching::Normalized), normal_form(label));
            }
        }
        for (a, b) in [
            ("neg", "n\u{e9}g"),
            ("1", "01"),
            ("1", "true"),
            ("1.0", "10"),
            ("1.0.0", "1.0"),
            ("new york", "newyork"),
            ("9007199254740993", "9007199254740992"),
            ("a.0", "a"),
            ("C++", "C"),
        ] {
            assert_ne!(normal_form(a), normal_form(b));
        }
        assert_eq!(matching_key(" a B\u{a0}", LabelMatching::Exact), "a B");
    }

    #[test]
    fn what_differs_is_named() {
        for (a, b, expected) in [
            ("pos", "Pos", "case"),
            ("pos", "pos\u{200b}", "invisible characters"),
            ("n\u{e9}g", "ne\u{301}g", "Unicode form"),
            ("a b", "a  b", "blanks"),
            ("1", "1.0", "the form of a number"),
            ("a b", "A  b", "blanks and case"),
            ("a", "a", "spelling"),
            ("1", "true", "spelling"),
        ] {
            assert_eq!(differences(&[a, b]), expected);
        }
        assert_eq!(differences(&["x", "X", "x\u{200b}"]), "invisible characters and case");
    }

    #[test]
    fn what_cannot_be_seen_is_escaped() {
        for (label, expected) in [
            ("a b", "`a b`"),
            ("größe", "`größe`"),
            ("北京", "`北京`"),
            ("pos\u{200b}", "`pos\\u{200b}`"),
            ("ne\u{301}g", "`ne\\u{301}g`"),
            ("a\u{a0}b", "`a\\u{a0}b`"),
            ("\u{fb01}ne", "`\\u{fb01}ne`"),
            ("a\tb", "`a\\tb`"),
        ] {
            assert_eq!(revealed(label), expected);
        }
        assert_eq!(revealed(&"x".repeat(70)), format!("`{}…`", "x".repeat(60)));
    }
}
