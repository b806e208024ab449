//! The worst mistakes of a task, with their texts.

use maud::{Markup, html};
use polyhead_train::{Answer, MarkedSpan, Mistake};

use crate::number::{percent, short};
use crate::text::{cut, name, user};

/// Largest number of mistakes shown.
const MOST: usize = 10;

/// Largest number of characters shown of a text.
const LONGEST: usize = 600;

/// Largest number of labels shown of an answer.
const LABELS: usize = 12;

/// The list of mistakes; nothing if there are none.
pub(crate) fn mistakes(mistakes: &[Mistake]) -> Markup {
    let confident = mistakes.iter().any(|mistake| mistake.confidence.is_some());
    html! {
        @if !mistakes.is_empty() {
            h3 { @if confident { "Worst mistakes: confident and wrong" } @else { "Largest errors" } }
            ol.mistakes { @for mistake in mistakes.iter().take(MOST) { li { (one(mistake)) } } }
        }
    }
}

fn one(mistake: &Mistake) -> Markup {
    let Mistake { text, expected, given, .. } = mistake;
    html! {
        @if let (Answer::Spans(expected), Answer::Spans(given)) = (expected, given) {
            // The text twice: once with the right spans, once with the predicted ones.
            p.text dir="auto" { span.tag { "expected" } (marked(text, expected, "right")) }
            p.text dir="auto" { span.tag { "predicted" } (marked(text, given, "wrong")) }
            p.answer { (tail(mistake)) }
        } @else {
            p.text dir="auto" { (cut(text, LONGEST)) }
            p.answer {
                span.tag { "expected" } (answer(expected, "right"))
                span.tag { "predicted" } (answer(given, "wrong"))
                (tail(mistake))
            }
        }
    }
}

/// The confidence, and the location of the row.
fn tail(mistake: &Mistake) -> Markup {
    html! {
        @if mistake.confidence.is_some() { span.sure { (percent(mistake.confidence)) " confident" } }
        @if !mistake.place.is_empty() { span.place { (name(&mistake.place)) } }
    }
}

fn answer(answer: &Answer, class: &str) -> Markup {
    let labels: Vec<String> = match answer {
        Answer::Labels(labels) => labels.clone(),
        Answer::Number(value) => vec![short(Some(*value))],
        Answer::Spans(spans) => spans.iter().map(|span| span.label.clone()).collect(),
    };
    html! {
        @if labels.is_empty() { "nothing " }
        @for label in labels.iter().take(LABELS) { span class=(class) { (name(label)) } " " }
        @if labels.len() > LABELS { "and " (labels.len() - LABELS) " more " }
    }
}

/// The text with its spans marked. Spans that are empty, lie outside of the text or overlap an
/// earlier one are skipped: a record may have been edited by hand.
fn marked(text: &str, spans: &[MarkedSpan], class: &str) -> Markup {
    let characters: Vec<char> = text.chars().collect();
    let shown = characters.len().min(LONGEST);
    let piece = |from: usize, to: usize| characters[from..to].iter().collect::<String>();
    let mut ordered: Vec<&MarkedSpan> = spans.iter().collect();
    ordered.sort_by_key(|span| (span.start, span.end));
    let mut pieces = Vec::new();
    let mut at = 0;
    for span in ordered {
        let (start, end) = (span.start, span.end.min(shown));
        if start >= at && start < end {
            pieces.push((piece(at, start), piece(start, end), &span.label));
            at = end;
        }
    }
    html! {
        @for (before, marked, label) in &pieces {
            (before)
            mark class=(class) { (user(marked)) span.type { (name(label)) } }
        }
        (piece(at, shown))
        @if characters.len() > shown { "…" }
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
        marked(text, &spans.iter().map(span).collect::<Vec<_>>(), "right").into_string()
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
    fn impossible_spans_are_skipped() {
        let odd =
            [(2, 2, "empty"), (5, 1, "backwards"), (90, 99, "outside"), (usize::MAX, 0, "far")];
        assert_eq!(mark("plain text", &odd), "plain text");
        let crossing = mark("abcdef", &[(0, 4, "A"), (2, 6, "B"), (4, usize::MAX, "C")]);
        assert!(!crossing.contains('B') && crossing.contains("<bdi>ef</bdi>"), "{crossing}");
        assert_eq!(mark("", &[(0, 1, "A")]), "");
    }
}
