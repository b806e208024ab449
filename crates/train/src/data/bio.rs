//! Tags of words in BIO form: `O`, `B-TYPE`, `I-TYPE`.

/// What a tag says of its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag<'a> {
    /// In no span.
    Outside,
    /// The first word of a span of this type.
    Begin(&'a str),
    /// A further word of a span of this type.
    Inside(&'a str),
}

impl<'a> Tag<'a> {
    /// None if `tag` is none of the three.
    pub(crate) fn parse(tag: &'a str) -> Option<Self> {
        if tag == "O" {
            return Some(Self::Outside);
        }
        match tag.split_once('-')? {
            (_, "") => None,
            ("B", kind) => Some(Self::Begin(kind)),
            ("I", kind) => Some(Self::Inside(kind)),
            _ => None,
        }
    }

    /// The type of the span that the word is in.
    pub(crate) fn kind(self) -> Option<&'a str> {
        match self {
            Self::Outside => None,
            Self::Begin(kind) | Self::Inside(kind) => Some(kind),
        }
    }

    /// Whether this tag goes on with a span that has not begun: `I-X` at the
    /// start, after `O`, or after another type. Metrics read it as a beginning,
    /// as seqeval does.
    pub(super) fn breaks_after(self, before: Option<Tag<'_>>) -> bool {
        match self {
            Self::Inside(kind) => before.and_then(Tag::kind) != Some(kind),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_one_of_three() {
        for (tag, expected) in [
            ("O", Some(Tag::Outside)),
            ("B-per", Some(Tag::Begin("per"))),
            ("I-creative-work", Some(Tag::Inside("creative-work"))),
            ("B--", Some(Tag::Begin("-"))),
            ("", None),
            ("o", None),
            ("B-", None),
            ("B", None),
            ("X-foo", None),
            ("S-per", None),
            ("-per", None),
        ] {
            assert_eq!(Tag::parse(tag), expected, "{tag:?}");
        }
    }

    #[test]
    fn a_span_goes_on_only_after_itself() {
        for (before, tag, expected) in [
            (None, "I-a", true),
            (Some("O"), "I-a", true),
            (Some("B-b"), "I-a", true),
            (Some("I-b"), "I-a", true),
            (Some("B-a"), "I-a", false),
            (Some("I-a"), "I-a", false),
            (None, "B-a", false),
            (Some("I-b"), "O", false),
        ] {
            let before = before.map(|tag| Tag::parse(tag).unwrap());
            assert_eq!(Tag::parse(tag).unwrap().breaks_after(before), expected, "{before:?} {tag}");
        }
    }
}
