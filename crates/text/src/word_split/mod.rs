//! The rule by which a raw text becomes words: chosen by name, or learned from the words of the
//! training data.
//!
//! A head that tags words was trained on the words of its data. On raw text it finds the same spans
//! only where the text is split as those words were.

mod evidence;
mod learned;
mod scripts;

pub use evidence::SplitEvidence;
pub use learned::LearnedSplit;
pub(crate) use scripts::stands_without_blanks;

use std::ops::Range;

use scripts::{is_han, is_mark, lacks_blanks};
use unicode_segmentation::UnicodeSegmentation;

/// The rule by which a raw text becomes words.
///
/// ```
/// use polyhead_text::WordSplit;
///
/// assert_eq!(WordSplit::Whitespace.split("in 北京, ok"), [0..2, 3..6, 7..9]);
/// assert_eq!(WordSplit::Punctuation.split("in 北京, ok"), [0..2, 3..4, 4..5, 5..6, 7..9]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum WordSplit {
    /// Runs without blanks.
    Whitespace,
    /// Runs without blanks; every punctuation character and every Han character by itself, as BERT's
    /// tokenizer splits before it looks into its vocabulary. Control characters are parts of words.
    #[default]
    Punctuation,
    /// Words of Unicode (UAX #29), and what stands between them, without blanks.
    Unicode,
    /// The words of [`Punctuation`](Self::Punctuation), and every letter (grapheme) of a script without blanks by itself: Han, Kana,
    /// Thai, Lao, Khmer, Myanmar.
    Characters,
    /// The way in which the words of training data were split.
    Learned(LearnedSplit),
}

impl WordSplit {
    /// The rules that have a name.
    pub const PRESETS: [Self; 4] =
        [Self::Whitespace, Self::Punctuation, Self::Unicode, Self::Characters];

    /// Name of the rule in configurations and files.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Whitespace => "whitespace",
            Self::Punctuation => "punctuation",
            Self::Unicode => "unicode",
            Self::Characters => "characters",
            Self::Learned(_) => "learned",
        }
    }

    /// Words of a text, in order, as ranges of characters (Unicode scalar values). Every character
    /// that is no blank is in one of them.
    pub fn split(&self, text: &str) -> Vec<Range<usize>> {
        match self {
            Self::Whitespace => split_runs(text, None, |run| cuts_at(run.len(), |_| false)),
            Self::Punctuation => split_runs(text, Some(is_han), cut_around_marks),
            Self::Unicode => unicode_words(text),
            Self::Characters => split_runs(text, Some(lacks_blanks), cut_around_marks),
            Self::Learned(rule) => {
                let alone: Option<fn(char) -> bool> = rule.letters.then_some(lacks_blanks);
                split_runs(text, alone, |run| rule.cuts(run))
            }
        }
    }

    /// The parts of one word of the data that this rule takes for words of their own because a script
    /// without blanks does not show where words end: `小王` is two. Words of other scripts are whole.
    pub fn units(&self, word: &str) -> Vec<Range<usize>> {
        let characters: Vec<char> = word.chars().collect();
        if *self == Self::Whitespace || !characters.iter().copied().any(lacks_blanks) {
            return std::iter::once(0..characters.len()).collect();
        }
        let mut units: Vec<Range<usize>> = Vec::new();
        for part in self.split(word) {
            let is_letter = |at: usize| lacks_blanks(characters[at]);
            match units.last_mut() {
                // Blanks may stand between the two.
                Some(last) if !is_letter(last.end - 1) && !is_letter(part.start) => {
                    last.end = part.end;
                }
                _ => units.push(part),
            }
        }
        // Blanks at the ends of a word are parts of it.
        if let Some(first) = units.first_mut() {
            first.start = 0;
        }
        if let Some(last) = units.last_mut() {
            last.end = characters.len();
        }
        units
    }
}

/// Splits at blanks, and gives what stands between them to `cuts`.
///
/// - `alone`: which letters are words by themselves, with the marks that belong to them
/// - `cuts`: for a run of `n` characters, `[n]`: whether a word begins at each; the first one does
fn split_runs(
    text: &str,
    alone: Option<fn(char) -> bool>,
    cuts: impl Fn(&[char]) -> Vec<bool>,
) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut run: Vec<char> = Vec::new();
    let mut close = |run: &mut Vec<char>, end: usize| {
        let begin = end - run.len();
        let mut starts = (0..).zip(cuts(run)).filter(|(_, cut)| *cut).map(|(at, _)| at).peekable();
        while let Some(start) = starts.next() {
            let stop = starts.peek().copied().unwrap_or(run.len());
            words.push(begin + start..begin + stop);
        }
        run.clear();
        words.len()
    };
    let mut at = 0;
    let mut letters: Vec<(usize, Range<usize>)> = Vec::new();
    for cluster in text.graphemes(true) {
        let length = cluster.chars().count();
        let first = cluster.chars().next();
        if first.is_some_and(|first| alone.is_some_and(|alone| alone(first))) {
            letters.push((close(&mut run, at), at..at + length));
        } else {
            for (character, at) in cluster.chars().zip(at..) {
                if character.is_whitespace() {
                    close(&mut run, at);
                } else {
                    run.push(character);
                }
            }
        }
        at += length;
    }
    close(&mut run, at);
    insert(words, letters)
}

/// - `letters`: words, each with the number of `words` before it
fn insert(words: Vec<Range<usize>>, letters: Vec<(usize, Range<usize>)>) -> Vec<Range<usize>> {
    let mut all = Vec::with_capacity(words.len() + letters.len());
    let mut letters = letters.into_iter().peekable();
    for before in 0..=words.len() {
        while let Some((_, letter)) = letters.next_if(|(place, _)| *place == before) {
            all.push(letter);
        }
        all.extend(words.get(before).cloned());
    }
    all
}

fn cuts_at(length: usize, cut: impl Fn(usize) -> bool) -> Vec<bool> {
    (0..length).map(|at| at == 0 || cut(at)).collect()
}

fn cut_around_marks(run: &[char]) -> Vec<bool> {
    cuts_at(run.len(), |at| is_mark(run[at]) || is_mark(run[at - 1]))
}

fn unicode_words(text: &str) -> Vec<Range<usize>> {
    let mut at = 0;
    let words = text.split_word_bounds().map(|word| {
        let start = at;
        at += word.chars().count();
        (word, start..at)
    });
    words.filter(|(word, _)| !word.chars().all(char::is_whitespace)).map(|(_, at)| at).collect()
}

#[cfg(test)]
mod tests;
