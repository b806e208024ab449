//! Spans from tags: which words belong together, by the rules of conlleval.
//!
//! Tags are `O`, `B-TYPE`, `I-TYPE`. Models also answer sequences that no annotator would write,
//! and every counting tool has its rules for them; these are those of conlleval (Tjong Kim Sang and
//! Buchholz, 2000) and of seqeval in its default mode: what continues nothing begins something.
//! [`TagScheme`] has the tags of other schemes.

/// Words `first ..= last` of one sequence, with a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TagSpan<'a> {
    /// The type, without `B-` or `I-`.
    pub label: &'a str,
    /// Index of the first word.
    pub first: usize,
    /// Index of the last word.
    pub last: usize,
}

/// What a tag says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag<'a> {
    /// `O`: in no span.
    Outside,
    /// `B-TYPE`: the first word of a span.
    Begin(&'a str),
    /// `I-TYPE`: a further word.
    Inside(&'a str),
}

impl<'a> Tag<'a> {
    /// Reads `O`, `B-TYPE` or `I-TYPE`, else `None`; bare `B` and `I` have the type `_`, as in seqeval.
    pub fn parse(tag: &'a str) -> Option<Self> {
        let typed = |rest: &'a str| match rest.strip_prefix('-') {
            Some("") => None,
            Some(label) => Some(label),
            None if rest.is_empty() => Some("_"),
            None => None,
        };
        match tag.split_at_checked(1)? {
            ("O", "") => Some(Self::Outside),
            ("B", rest) => typed(rest).map(Self::Begin),
            ("I", rest) => typed(rest).map(Self::Inside),
            _ => None,
        }
    }

    /// Type of the span that the word is in.
    pub fn label(self) -> Option<&'a str> {
        match self {
            Self::Outside => None,
            Self::Begin(label) | Self::Inside(label) => Some(label),
        }
    }

    /// Whether annotators write this tag after `before` (`None`: as the first one).
    /// They never write `I-TYPE` at the start, after `O` or after another type.
    pub fn may_follow(self, before: Option<Tag<'_>>) -> bool {
        match self {
            Self::Inside(label) => before.and_then(Tag::label) == Some(label),
            Self::Outside | Self::Begin(_) => true,
        }
    }
}

/// The tag of a further word of the span that a word with this tag begins or goes on: `I-TYPE` for
/// `B-TYPE`, other tags as they are.
pub fn tag_inside(tag: &str) -> String {
    match tag.strip_prefix('B') {
        Some(label) => format!("I{label}"),
        None => tag.to_owned(),
    }
}

/// The meaning of the tags of a model, which its set of tags shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagScheme {
    /// `B-TYPE` and `I-TYPE`. IOB1, which begins spans with `I-TYPE` too, has the same tags and the
    /// same spans.
    Bio,
    /// Besides, `E-TYPE` or `L-TYPE` ends a span, and `S-TYPE` or `U-TYPE` is one: BIOES and BILOU.
    Bioes,
    /// `O` and types alone: neighbours of one type are one span.
    Io,
    /// Tags that make no spans, such as parts of speech or edits: there is no `O`.
    Plain,
}

impl TagScheme {
    /// The scheme of a set of tags. A tag that does not belong to it is in no span.
    ///
    /// ```
    /// use polyhead_text::TagScheme;
    ///
    /// assert_eq!(TagScheme::of_tags(["O", "B-city", "I-city"]), TagScheme::Bio);
    /// assert_eq!(TagScheme::of_tags(["O", "B-city", "E-city", "S-city"]), TagScheme::Bioes);
    /// assert_eq!(TagScheme::of_tags(["O", "city"]), TagScheme::Io);
    /// assert_eq!(TagScheme::of_tags(["KEEP", "DELETE"]), TagScheme::Plain);
    /// ```
    pub fn of_tags<'a>(tags: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut begins, mut ends, mut outside) = (false, false, false);
        for tag in tags {
            match letter_and_type(tag) {
                Some(('B' | 'I', _)) => begins = true,
                Some(('E' | 'L' | 'S' | 'U', _)) => ends = true,
                _ => outside |= tag == "O",
            }
        }
        match (begins, ends, outside) {
            (true, true, _) => Self::Bioes,
            (true, false, _) => Self::Bio,
            (false, _, true) => Self::Io,
            (false, _, false) => Self::Plain,
        }
    }

    /// Spans of one sequence, in order. What continues nothing begins a span.
    pub fn spans<'a>(self, tags: impl IntoIterator<Item = &'a str>) -> Vec<TagSpan<'a>> {
        let mut spans: Vec<TagSpan<'a>> = Vec::new();
        // Whether the last span reaches up to the word before and may go on.
        let mut open = false;
        for (word, tag) in tags.into_iter().enumerate() {
            let known = match (self, letter_and_type(tag)) {
                (Self::Io, _) => (tag != "O").then_some(('I', tag)),
                (Self::Bio | Self::Bioes, Some(known @ ('B' | 'I', _))) => Some(known),
                (Self::Bioes, known) => known,
                _ => None,
            };
            let Some((letter, label)) = known else {
                open = false;
                continue;
            };
            match spans.last_mut() {
                Some(span) if open && "IEL".contains(letter) && span.label == label => {
                    span.last = word;
                }
                _ => spans.push(TagSpan { label, first: word, last: word }),
            }
            open = "BI".contains(letter);
        }
        spans
    }
}

/// The letter and the type of `B-TYPE`, `I-TYPE` and the tags of BIOES and BILOU; the type of a bare
/// letter is `_`, as in seqeval.
fn letter_and_type(tag: &str) -> Option<(char, &str)> {
    let letter = tag.chars().next().filter(|letter| "BIELSU".contains(*letter))?;
    match tag[1..].strip_prefix('-') {
        Some("") => None,
        Some(label) => Some((letter, label)),
        None => (tag.len() == 1).then_some((letter, "_")),
    }
}

/// Spans of one sequence, in order. A `B` begins a span; an `I` continues the span before it if that
/// has the same type, and begins one otherwise. `O`, and a tag that [`Tag::parse`] does not know, is
/// in no span.
///
/// ```
/// use polyhead_text::{TagSpan, tag_spans};
///
/// let found = tag_spans(["I-city", "I-city", "I-time", "O", "B-time", "B-time"]);
/// let expected = [("city", 0, 1), ("time", 2, 2), ("time", 4, 4), ("time", 5, 5)];
/// assert_eq!(found, expected.map(|(label, first, last)| TagSpan { label, first, last }));
/// ```
pub fn tag_spans<'a>(tags: impl IntoIterator<Item = &'a str>) -> Vec<TagSpan<'a>> {
    TagScheme::Bio.spans(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(tags: &str, expected: &[(&str, usize, usize)]) {
        let found: Vec<(&str, usize, usize)> =
            tag_spans(tags.split_whitespace()).iter().map(|s| (s.label, s.first, s.last)).collect();
        assert_eq!(found, expected, "{tags}");
    }

    #[test]
    fn what_annotators_write() {
        check("", &[]);
        check("O O", &[]);
        check("B-a I-a I-a O B-b", &[("a", 0, 2), ("b", 4, 4)]);
        check("B-a B-a I-a", &[("a", 0, 0), ("a", 1, 2)]);
        check("B-a B-b I-b", &[("a", 0, 0), ("b", 1, 2)]);
    }

    #[test]
    fn what_models_answer() {
        check("I-a I-a", &[("a", 0, 1)]);
        check("O I-a O", &[("a", 1, 1)]);
        check("I-a I-b I-b I-a", &[("a", 0, 0), ("b", 1, 2), ("a", 3, 3)]);
        check("B-a I-b", &[("a", 0, 0), ("b", 1, 1)]);
        check("I-a B-a", &[("a", 0, 0), ("a", 1, 1)]);
        check("B-a O I-a", &[("a", 0, 0), ("a", 2, 2)]);
    }

    #[test]
    fn types_may_hold_hyphens_and_may_lack() {
        check("B-part-of I-part-of I-part", &[("part-of", 0, 1), ("part", 2, 2)]);
        check("B I O I", &[("_", 0, 1), ("_", 3, 3)]);
    }

    #[test]
    fn a_span_continues_only_after_itself() {
        for (before, tag, expected) in [
            (None, "I-a", false),
            (Some("O"), "I-a", false),
            (Some("B-b"), "I-a", false),
            (Some("I-b"), "I-a", false),
            (Some("B-a"), "I-a", true),
            (Some("I-a"), "I-a", true),
            (Some("B"), "I", true),
            (Some("B"), "I-a", false),
            (None, "B-a", true),
            (Some("I-b"), "O", true),
        ] {
            let before = before.map(|tag| Tag::parse(tag).unwrap());
            assert_eq!(Tag::parse(tag).unwrap().may_follow(before), expected, "{before:?} {tag}");
        }
    }

    #[test]
    fn further_words_of_a_span_are_inside() {
        for (tag, expected) in
            [("B-a", "I-a"), ("I-a", "I-a"), ("O", "O"), ("B", "I"), ("B-B-x", "I-B-x")]
        {
            assert_eq!(tag_inside(tag), expected);
        }
    }

    #[test]
    fn the_set_of_tags_shows_the_scheme() {
        for (tags, expected) in [
            ("O B-a I-a", TagScheme::Bio),
            ("I-a O", TagScheme::Bio),
            ("B I O", TagScheme::Bio),
            // Tags of special tokens, as some published models have them.
            ("O B-a I-a X [CLS]", TagScheme::Bio),
            ("O B-a I-a E-a S-a", TagScheme::Bioes),
            ("U-a B-a I-a L-a O", TagScheme::Bioes),
            ("O S-a B-b", TagScheme::Bioes),
            ("O PER LOC", TagScheme::Io),
            ("$KEEP $DELETE $APPEND_,", TagScheme::Plain),
            ("NOUN VERB SYM X", TagScheme::Plain),
            ("LABEL_0 LABEL_1", TagScheme::Plain),
        ] {
            assert_eq!(TagScheme::of_tags(tags.split(' ')), expected, "{tags}");
        }
    }

    #[test]
    fn every_scheme_has_its_spans() {
        use TagScheme::{Bio, Bioes, Io, Plain};
        type Spans<'a> = &'a [(&'a str, usize, usize)];
        let cases: [(TagScheme, &str, Spans); 9] = [
            (
                Bioes,
                "B-a I-a E-a S-b O S-a S-a",
                &[("a", 0, 2), ("b", 3, 3), ("a", 5, 5), ("a", 6, 6)],
            ),
            (Bioes, "B-a L-a U-a B-b", &[("a", 0, 1), ("a", 2, 2), ("b", 3, 3)]),
            // What models answer: an end closes, and what continues nothing begins.
            (Bioes, "B-a E-a I-a E-a", &[("a", 0, 1), ("a", 2, 3)]),
            (Bioes, "E-a E-a O I-b S-b", &[("a", 0, 0), ("a", 1, 1), ("b", 3, 3), ("b", 4, 4)]),
            (Bioes, "B-a E-b X I-b", &[("a", 0, 0), ("b", 1, 1), ("b", 3, 3)]),
            // IOB1: `B` stands only between neighbours of one type.
            (Bio, "I-a I-a B-a O I-b", &[("a", 0, 1), ("a", 2, 2), ("b", 4, 4)]),
            (Bio, "B-a E-a I-a", &[("a", 0, 0), ("a", 2, 2)]),
            (Io, "PER PER LOC O B-side", &[("PER", 0, 1), ("LOC", 2, 2), ("B-side", 4, 4)]),
            (Plain, "$KEEP $KEEP B-a", &[]),
        ];
        for (scheme, tags, expected) in cases {
            let found: Vec<(&str, usize, usize)> =
                scheme.spans(tags.split(' ')).iter().map(|s| (s.label, s.first, s.last)).collect();
            assert_eq!(found, expected, "{scheme:?} {tags}");
        }
    }

    #[test]
    fn other_tags_are_no_tags() {
        for tag in ["", "B-", "I-", "BPER", "S-a", "O-a", "b-a", "é"] {
            assert_eq!(Tag::parse(tag), None, "{tag:?}");
        }
        check("B-a E-a I-a", &[("a", 0, 0), ("a", 2, 2)]);
    }
}
