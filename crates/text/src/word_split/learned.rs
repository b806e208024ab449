//! The rule that training data teach: which marks stay attached to words, and where.

use super::scripts::{ends_sentences, is_mark};

/// The way in which the words of training data hold punctuation. [`SplitEvidence`](super::SplitEvidence) learns
/// it.
///
/// Marks that the strings do not name are attached inside words and apart at their ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LearnedSplit {
    /// Marks that stay attached at the beginning of words: `@name`, `#tag`.
    pub begin: String,
    /// Marks that stand apart inside of words: `and / or` for `and/or`.
    pub inside: String,
    /// Marks that stand apart between two digits.
    pub digits: String,
    /// Marks that stay attached at the end of words.
    pub end: String,
    /// True if initials and abbreviations with periods inside keep the last one: `U.S.`
    pub abbreviations: bool,
    /// True if a mark that is repeated is one word: `...`
    pub repeats: bool,
    /// True if different marks beside each other are one word: `:)`
    pub runs: bool,
    /// True if letters of scripts without blanks are words by themselves.
    pub letters: bool,
}

impl LearnedSplit {
    /// Returns `[n]`: whether a word begins at each character of a run without blanks.
    pub(super) fn cuts(&self, run: &[char]) -> Vec<bool> {
        let length = run.len();
        let mut cuts = vec![false; length + 1];
        let cut_marks = |cuts: &mut Vec<bool>, from: usize, to: usize| {
            cuts[from] = true;
            cuts[to] = true;
            for at in from + 1..to {
                let same = run[at] == run[at - 1];
                cuts[at] |= if same { !self.repeats } else { !self.runs };
            }
        };
        let is_letter = |character: &char| !is_mark(*character);
        let Some(first) = run.iter().position(is_letter) else {
            if length > 0 {
                cut_marks(&mut cuts, 0, length);
            }
            cuts.truncate(length);
            return cuts;
        };
        let last = run.iter().rposition(is_letter).unwrap_or(first);
        let is_url = is_url(run);
        let at_begin = run[..first].iter().rev().take_while(|mark| self.begin.contains(**mark));
        cut_marks(&mut cuts, 0, first - at_begin.count());
        let mut end = last + 1;
        while end < length && self.stays_at_end(run, end, is_url) {
            end += 1;
        }
        cut_marks(&mut cuts, end, length);
        for (from, to) in mark_groups(run, first, last) {
            if is_url || self.stays_inside(run, from, to) {
                continue;
            }
            let marks = &run[from..to];
            let with_next = marks.iter().rev().take_while(|mark| self.begin.contains(**mark));
            let right = to - with_next.count();
            let with_last = run[from..right].iter().take_while(|mark| self.end.contains(**mark));
            cut_marks(&mut cuts, from + with_last.count(), right);
        }
        cuts.truncate(length);
        cuts
    }

    /// Returns true if the mark at `at`, behind everything that is attached, is attached too.
    fn stays_at_end(&self, run: &[char], at: usize, is_url: bool) -> bool {
        let abbreviated = self.abbreviations && is_abbreviation(run, at);
        abbreviated || self.end.contains(run[at]) || is_url && run[at] == '/'
    }

    /// Returns true if the marks `from..to`, with letters or digits around them, are parts of a word.
    fn stays_inside(&self, run: &[char], from: usize, to: usize) -> bool {
        let apart = if between_digits(run, from, to) { &self.digits } else { &self.inside };
        let marks = &run[from..to];
        // An ellipsis or a quote after a period is never seen in words, and its marks alone are.
        let several = marks.len() > 1 && marks.iter().any(|mark| ends_sentences(*mark));
        !several && !marks.iter().any(|mark| apart.contains(*mark))
    }
}

/// Runs of marks with letters or digits on both sides, as pairs of begin and end.
pub(super) fn mark_groups(run: &[char], first: usize, last: usize) -> Vec<(usize, usize)> {
    let mut groups: Vec<(usize, usize)> = Vec::new();
    for at in (first..last).filter(|at| is_mark(run[*at])) {
        match groups.last_mut() {
            Some((_, end)) if *end == at => *end += 1,
            _ => groups.push((at, at + 1)),
        }
    }
    groups
}

pub(super) fn between_digits(run: &[char], from: usize, to: usize) -> bool {
    run[from - 1].is_numeric() && run[to].is_numeric()
}

/// Returns true if the period at `at` ends an initial (`J.`) or an abbreviation with periods (`e.g.`).
pub(super) fn is_abbreviation(run: &[char], at: usize) -> bool {
    let [before @ .., letter] = &run[..at] else { return false };
    run[at] == '.'
        && letter.is_alphabetic()
        && match before {
            [] => letter.is_uppercase(),
            [.., last] => *last == '.',
        }
}

/// Returns true if a run is an address of the web: it holds marks of all sorts and is one word.
pub(super) fn is_url(run: &[char]) -> bool {
    let starts = |prefix: &str| {
        run.len() > prefix.len() && prefix.chars().zip(run).all(|(a, b)| a.eq_ignore_ascii_case(b))
    };
    starts("www.") || run.windows(3).any(|three| three == [':', '/', '/'])
}
