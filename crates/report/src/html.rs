//! Writing HTML that is well formed by construction: elements are closed where
//! they were opened, and text is escaped on its way in.

/// Longest text of an attribute or a label, in characters.
const SHORT: usize = 80;

/// A page in the making.
#[derive(Debug, Default)]
pub(super) struct Html {
    text: String,
}

/// Attributes of an element; values are escaped.
pub(super) type Attributes<'a> = &'a [(&'static str, &'a str)];

impl Html {
    /// An element and what is in it.
    pub(super) fn element(
        &mut self,
        tag: &'static str,
        attributes: Attributes,
        inside: impl FnOnce(&mut Self),
    ) {
        self.text.push('<');
        self.text.push_str(tag);
        for (name, value) in attributes {
            self.text.push(' ');
            self.text.push_str(name);
            self.text.push_str("=\"");
            self.text.push_str(&escape(value));
            self.text.push('"');
        }
        self.text.push('>');
        inside(self);
        self.text.push_str("</");
        self.text.push_str(tag);
        self.text.push('>');
        if !matches!(tag, "span" | "b" | "bdi" | "mark" | "code" | "a" | "td" | "th") {
            self.text.push('\n');
        }
    }

    /// An element with nothing but text in it.
    pub(super) fn leaf(&mut self, tag: &'static str, attributes: Attributes, text: &str) {
        self.element(tag, attributes, |html| html.text(text));
    }

    /// Words of ours or of a user.
    pub(super) fn text(&mut self, text: &str) {
        self.text.push_str(&escape(text));
    }

    /// A user's words: they have a direction of their own.
    pub(super) fn user(&mut self, text: &str) {
        self.leaf("bdi", &[], text);
    }

    /// HTML of ours, from a constant or a drawing.
    pub(super) fn trusted(&mut self, html: &str) {
        self.text.push_str(html);
    }

    /// The page.
    pub(super) fn finish(self) -> String {
        self.text
    }
}

/// Text without any meaning for HTML, in elements and in quoted attributes.
///
/// Control characters, which HTML does not allow, become `␀`, `␁`, …: someone
/// who looks for the reason of a wrong answer should see them.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(visible(other)),
        }
    }
    escaped
}

/// A user's words for places that know no [`Html::user`]: attributes and plots.
/// Cut to a bearable length, and without characters that change the direction of
/// what follows them.
pub(super) fn plain(text: &str) -> String {
    let characters = text.chars().filter(|c| !turns_direction(*c));
    let characters = characters.map(|c| if c.is_whitespace() { ' ' } else { visible(c) });
    cut(&characters.collect::<String>(), SHORT)
}

/// The first `most` characters, and `…` where there are more.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => {
            let kept = text.chars().take(most.saturating_sub(1));
            kept.chain(['…']).collect()
        }
    }
}

fn visible(character: char) -> char {
    match character {
        '\n' | '\t' => character,
        '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + character as u32).unwrap_or('␀'),
        '\u{7f}' => '␡',
        '\u{80}'..='\u{9f}' => '\u{fffd}',
        other => other,
    }
}

/// Embeddings, overrides and isolates of the bidirectional algorithm.
fn turns_direction(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_means_nothing_to_html() {
        let cases = [
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("\" onload='x' &amp;", "&quot; onload=&#39;x&#39; &amp;amp;"),
            ("a\0b\u{1b}[0m\u{7f}\u{85}", "a␀b␛[0m␡\u{fffd}"),
            ("two\nlines\t🙂 שלום", "two\nlines\t🙂 שלום"),
        ];
        for (text, expected) in cases {
            assert_eq!(escape(text), expected);
        }
    }

    #[test]
    fn plain_words_are_short_and_turn_nothing() {
        assert_eq!(plain("a\u{202e}b\u{2067}c\nd"), "abc d");
        assert_eq!(plain(&"x".repeat(10_000)).chars().count(), SHORT);
        assert_eq!(cut("שלום", 4), "שלום");
        assert_eq!(cut("שלום", 3), "של…");
    }

    #[test]
    fn elements_close_where_they_were_opened() {
        let mut html = Html::default();
        html.element("p", &[("title", "a \"b\"")], |html| {
            html.leaf("b", &[], "1 < 2");
            html.user("x");
        });
        assert_eq!(html.finish(), "<p title=\"a &quot;b&quot;\"><b>1 &lt; 2</b><bdi>x</bdi></p>\n");
    }
}
