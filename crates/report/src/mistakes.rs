//! The worst mistakes, with their texts: what a user learns most from.

use super::html::{Html, cut, plain};
use super::number::{percent, short};
use polyhead_train::report::{Answer, MarkedSpan, Mistake};

/// Mistakes that are shown.
const MOST: usize = 10;

/// Characters of a text that are shown.
const LONGEST: usize = 600;

/// Labels of one answer that are shown.
const LABELS: usize = 12;

/// The list; nothing if there are none.
pub(super) fn show(html: &mut Html, mistakes: &[Mistake]) {
    if mistakes.is_empty() {
        return;
    }
    let sure = mistakes.iter().any(|mistake| mistake.confidence.is_some());
    let title = if sure { "Worst mistakes: sure and wrong" } else { "Farthest from right" };
    html.leaf("h3", &[], title);
    html.element("ol", &[("class", "mistakes")], |html| {
        for mistake in mistakes.iter().take(MOST) {
            html.element("li", &[], |html| one(html, mistake));
        }
    });
}

fn one(html: &mut Html, mistake: &Mistake) {
    match (&mistake.expected, &mistake.given) {
        (Answer::Spans(expected), Answer::Spans(given)) => {
            // The same text twice: once as it should be marked, once as it was.
            for (word, class, spans) in [("right", "right", expected), ("answered", "wrong", given)]
            {
                html.element("p", &[("class", "text"), ("dir", "auto")], |html| {
                    html.leaf("span", &[("class", "tag")], word);
                    marked(html, &mistake.text, spans, class);
                });
            }
            html.element("p", &[("class", "answer")], |html| tail(html, mistake));
        }
        (expected, given) => {
            html.element("p", &[("class", "text"), ("dir", "auto")], |html| {
                html.text(&cut(&mistake.text, LONGEST));
            });
            html.element("p", &[("class", "answer")], |html| {
                html.leaf("span", &[("class", "tag")], "right");
                answer(html, expected, "right");
                html.leaf("span", &[("class", "tag")], "answered");
                answer(html, given, "wrong");
                tail(html, mistake);
            });
        }
    }
}

/// How sure, and where it stands.
fn tail(html: &mut Html, mistake: &Mistake) {
    if mistake.confidence.is_some() {
        html.leaf("span", &[("class", "sure")], &format!("{} sure", percent(mistake.confidence)));
    }
    if !mistake.place.is_empty() {
        html.element("span", &[("class", "place")], |html| html.user(&plain(&mistake.place)));
    }
}

fn answer(html: &mut Html, answer: &Answer, class: &'static str) {
    let label = |html: &mut Html, text: &str| {
        html.element("span", &[("class", class)], |html| html.user(&plain(text)));
        html.text(" ");
    };
    match answer {
        Answer::Labels(labels) if labels.is_empty() => html.text("no label "),
        Answer::Labels(labels) => {
            labels.iter().take(LABELS).for_each(|text| label(html, text));
            if labels.len() > LABELS {
                html.text(&format!("and {} more ", labels.len() - LABELS));
            }
        }
        Answer::Number(value) => label(html, &short(Some(*value))),
        Answer::Spans(spans) if spans.is_empty() => html.text("no span "),
        Answer::Spans(spans) => {
            spans.iter().take(LABELS).for_each(|span| label(html, &span.label));
        }
    }
}

/// The text with its spans marked. Spans that lie outside of it, are empty, or
/// begin within another one, are not: a record may have been changed by hand.
fn marked(html: &mut Html, text: &str, spans: &[MarkedSpan], class: &'static str) {
    let characters: Vec<char> = text.chars().collect();
    let shown = characters.len().min(LONGEST);
    let piece = |from: usize, to: usize| characters[from..to].iter().collect::<String>();
    let mut ordered: Vec<&MarkedSpan> = spans.iter().collect();
    ordered.sort_by_key(|span| (span.start, span.end));
    let mut at = 0;
    for span in ordered {
        let (start, end) = (span.start, span.end.min(shown));
        if start < at || start >= end {
            continue;
        }
        html.text(&piece(at, start));
        html.element("mark", &[("class", class)], |html| {
            html.user(&piece(start, end));
            html.element("span", &[("class", "type")], |html| html.user(&plain(&span.label)));
        });
        at = end;
    }
    html.text(&piece(at, shown));
    if characters.len() > shown {
        html.text("…");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(text: &str, spans: &[(usize, usize, &str)]) -> String {
        let span = |(start, end, label): &(usize, usize, &str)| MarkedSpan {
            start: *start,
            end: *end,
            label: (*label).to_owned(),
        };
        let mut html = Html::default();
        marked(&mut html, text, &spans.iter().map(span).collect::<Vec<_>>(), "right");
        html.finish()
    }

    #[test]
    fn spans_are_marked_by_characters() {
        assert_eq!(
            mark("Zoë met <b>.", &[(8, 11, "X"), (0, 3, "PER")]),
            "<mark class=\"right\"><bdi>Zoë</bdi><span class=\"type\"><bdi>PER</bdi></span></mark> \
             met <mark class=\"right\"><bdi>&lt;b&gt;</bdi><span class=\"type\"><bdi>X</bdi></span></mark>."
        );
    }

    #[test]
    fn spans_that_cannot_be_are_passed_over() {
        let odd =
            [(2, 2, "empty"), (5, 1, "backwards"), (90, 99, "outside"), (usize::MAX, 0, "far")];
        assert_eq!(mark("plain text", &odd), "plain text");
        let crossing = mark("abcdef", &[(0, 4, "A"), (2, 6, "B"), (4, usize::MAX, "C")]);
        assert!(!crossing.contains('B') && crossing.contains("<bdi>ef</bdi>"), "{crossing}");
        assert_eq!(mark("", &[(0, 1, "A")]), "");
    }
}
