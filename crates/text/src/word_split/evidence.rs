//! Counts of the ways in which the words of training data were split off their texts.

use std::collections::BTreeMap;
use std::ops::Range;

use super::learned::{LearnedSplit, between_digits, is_abbreviation, is_url, mark_groups};
use super::scripts::{ends_sentences, is_apostrophe, is_mark, lacks_blanks};
use super::{WordSplit, split_runs};

/// Marks that are apart inside words unless training shows them attached.
const APART_INSIDE: &str = "\"()[]{}<>«»“”„,;!?…";

/// The marks of [`APART_INSIDE`] that are also apart between digits: `1,000` is one word.
const APART_IN_NUMBERS: &str = "\"()[]{}<>«»“”„;!?…";

/// Counts of a mark attached to a word and apart from one, at a place where it could be
/// either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    attached: u64,
    apart: u64,
    /// Alone between two words. The text may have blanks around it, so it counts a tenth.
    alone: u64,
}

impl Seen {
    fn note(&mut self, apart: bool) {
        *(if apart { &mut self.apart } else { &mut self.attached }) += 1;
    }

    /// Returns true if the mark was seen apart from words more often than attached.
    fn is_apart(self) -> bool {
        10 * self.apart + self.alone > 10 * self.attached
    }
}

/// Counts over the words of texts; the order of the texts does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SplitEvidence {
    begin: BTreeMap<char, Seen>,
    inside: BTreeMap<char, Seen>,
    digits: BTreeMap<char, Seen>,
    end: BTreeMap<char, Seen>,
    abbreviations: Seen,
    repeats: Seen,
    runs: Seen,
    /// Neighbouring letters of scripts without blanks, within a word and of two words.
    letters: Seen,
    /// Marks that are words by themselves.
    marks_alone: u64,
}

impl SplitEvidence {
    /// Adds one text and its words.
    ///
    /// - `words`: characters of each word, in order
    /// - `written`: whether `text` is the text as it was written; else it is its words, joined by
    ///   [`join_words`](crate::join_words), and blanks show nothing
    pub fn add(&mut self, text: &str, words: &[Range<usize>], written: bool) {
        let characters: Vec<char> = text.chars().collect();
        let mut bounds = vec![false; characters.len() + 1];
        for word in words {
            bounds[word.start] = true;
            bounds[word.end] = true;
        }
        self.add_letters(text, &bounds);
        let runs: Vec<Range<usize>> =
            split_runs(text, Some(lacks_blanks), |run| super::cuts_at(run.len(), |_| false))
                .into_iter()
                .filter(|run| !lacks_blanks(characters[run.start]))
                .collect();
        for run in &runs {
            let last = characters[..run.start].iter().rposition(|last| !last.is_whitespace());
            let before = &characters[..last.map_or(0, |last| last + 1)];
            let next = characters[run.end..].iter().find(|next| !next.is_whitespace()).copied();
            let inner = &bounds[run.start..=run.end];
            self.add_run(&characters[run.clone()], inner, (before, next), written);
        }
    }

    /// The rule that fits the words best. Without any evidence, brackets, double quotes and marks
    /// that end parts of a sentence are apart everywhere (a comma between digits is not), other marks
    /// are attached inside words and apart at their ends, abbreviations keep their period, a repeated
    /// mark is one word, and so is each letter of a script without blanks.
    pub fn learn(&self) -> WordSplit {
        let no_letters = self.letters == Seen::default();
        let sums = [&self.begin, &self.inside, &self.digits, &self.end];
        let all = || sums.iter().flat_map(|marks| marks.values());
        let others = [self.abbreviations, self.repeats, self.runs];
        let attached: u64 = all().chain(&others).map(|seen| seen.attached).sum();
        if no_letters && self.marks_alone > 0 && attached == 0 {
            return WordSplit::Punctuation;
        }
        let ends = self.end.iter().filter(|(mark, _)| ends_sentences(**mark));
        let sentence_ends: u64 = ends.map(|(_, seen)| seen.attached).sum();
        let apart: u64 = all().map(|seen| seen.apart).sum();
        if no_letters && sentence_ends >= 3 && self.marks_alone + apart == 0 {
            return WordSplit::Whitespace;
        }
        let marks = |seen: &BTreeMap<char, Seen>, wanted: &dyn Fn(Seen) -> bool| {
            seen.iter()
                .filter(|(_, seen)| wanted(**seen))
                .map(|(mark, _)| *mark)
                .collect::<String>()
        };
        // At the ends of words, a mark alone came off a word more often than not.
        let at_edge = |seen: Seen| seen.attached > seen.apart + seen.alone;
        let within = |seen: &BTreeMap<char, Seen>, apart: &str| {
            let mut seen = seen.clone();
            apart.chars().for_each(|mark| seen.entry(mark).or_default().alone += 1);
            marks(&seen, &Seen::is_apart)
        };
        WordSplit::Learned(LearnedSplit {
            begin: marks(&self.begin, &at_edge),
            inside: within(&self.inside, APART_INSIDE),
            digits: within(&self.digits, APART_IN_NUMBERS),
            end: marks(&self.end, &at_edge),
            abbreviations: self.abbreviations.attached >= self.abbreviations.apart,
            repeats: self.repeats.attached >= self.repeats.apart,
            runs: self.runs.attached > self.runs.apart,
            // Words of several letters are cut too: a text does not show where they end.
            letters: self.letters.attached == 0 || 20 * self.letters.apart > self.letters.attached,
        })
    }

    fn add_letters(&mut self, text: &str, bounds: &[bool]) {
        let units =
            split_runs(text, Some(lacks_blanks), |run| super::cuts_at(run.len(), |_| false));
        let characters: Vec<char> = text.chars().collect();
        for two in units.windows(2) {
            let touch = two[0].end == two[1].start;
            if touch && two.iter().all(|unit| lacks_blanks(characters[unit.start])) {
                self.letters.note(bounds[two[1].start]);
            }
        }
    }

    /// - `bounds`: `[n + 1]`: whether a word begins or ends before each character, and at the end
    /// - `around`: what stands before the run and the character after it, without blanks between
    fn add_run(
        &mut self,
        run: &[char],
        bounds: &[bool],
        around: (&[char], Option<char>),
        written: bool,
    ) {
        let length = run.len();
        let is_letter = |character: &char| !is_mark(*character);
        let marks = |from: usize, to: usize| (from..to).filter(|at| is_mark(run[*at]));
        self.marks_alone +=
            marks(0, length).filter(|at| bounds[*at] && bounds[at + 1]).count() as u64;
        self.add_neighbours(run, bounds);
        let Some(first) = run.iter().position(is_letter) else {
            return self.add_alone(run, around, written);
        };
        let last = run.iter().rposition(is_letter).unwrap_or(first);
        let cut = |from: usize, to: usize| bounds[from..=to].contains(&true);
        // Bounds and addresses are looked for once: a run may have thousands of marks.
        let last_cut = bounds[..=first].iter().rposition(|bound| *bound).unwrap_or(0);
        let first_cut = (last + 1..length).find(|at| bounds[*at]).unwrap_or(length);
        let is_url = is_url(run);
        for (at, mark) in run[..first].iter().enumerate() {
            self.begin.entry(*mark).or_default().note(last_cut > at);
        }
        let continues = around.0.last().is_some_and(|before| !is_mark(*before)) && !written;
        if first == 1 && is_apostrophe(run[0]) && !bounds[1] && continues {
            self.inside.entry(run[0]).or_default().note(true);
        }
        for at in last + 1..length {
            if is_abbreviation(run, at) {
                self.abbreviations.note(bounds[at]);
            } else if !(is_url && run[at] == '/') {
                self.end.entry(run[at]).or_default().note(first_cut <= at);
            }
        }
        if is_url {
            return;
        }
        for (from, to) in mark_groups(run, first, last) {
            let apart = cut(from, to);
            let seen =
                if between_digits(run, from, to) { &mut self.digits } else { &mut self.inside };
            if to - from == 1 {
                seen.entry(run[from]).or_default().note(apart);
                if apart && !bounds[to] {
                    self.begin.entry(run[from]).or_default().note(false);
                }
                if apart && !bounds[from] {
                    self.end.entry(run[from]).or_default().note(false);
                }
            }
        }
    }

    /// Marks beside each other.
    fn add_neighbours(&mut self, run: &[char], bounds: &[bool]) {
        // Within a word with letters they show nothing about words of marks.
        let mut of_marks = Vec::with_capacity(run.len());
        while of_marks.len() < run.len() {
            let begin = of_marks.len();
            let end = (begin + 1..run.len()).find(|at| bounds[*at]).unwrap_or(run.len());
            of_marks.resize(end, run[begin..end].iter().all(|character| is_mark(*character)));
        }
        for at in 1..run.len() {
            if of_marks[at - 1] && of_marks[at] {
                let same = run[at] == run[at - 1];
                let seen = if same { &mut self.repeats } else { &mut self.runs };
                seen.note(bounds[at]);
            }
        }
    }

    /// A run of marks alone. In joined words it came off the word before or after it, perhaps.
    fn add_alone(&mut self, run: &[char], (before, next): (&[char], Option<char>), written: bool) {
        if written {
            return;
        }
        if let (['.'], [.., '.', letter]) = (run, before)
            && letter.is_alphabetic()
        {
            self.abbreviations.note(true);
        }
        let before = before.last().copied();
        if let ([mark], Some(before)) = (run, before)
            && is_mark(before)
        {
            let seen = if before == *mark { &mut self.repeats } else { &mut self.runs };
            seen.note(true);
        }
        for mark in run {
            self.begin.entry(*mark).or_default().alone += 1;
            self.end.entry(*mark).or_default().alone += 1;
        }
        let ([mark], Some(before), Some(next)) = (run, before, next) else { return };
        if before.is_numeric() && next.is_numeric() {
            self.digits.entry(*mark).or_default().alone += 1;
        } else if !is_mark(before) && !is_mark(next) && !ends_sentences(*mark) {
            self.inside.entry(*mark).or_default().alone += 1;
        }
    }
}
