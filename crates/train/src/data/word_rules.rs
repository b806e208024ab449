//! How raw texts become the words of each tagging task, and tags for words that no text shows.
//!
//! A script without blanks does not show where its words end. Where the data have such words, as
//! `小王`, raw text is split into letters; so training tags letters too: `B-PER` of the word becomes
//! `B-PER` and `I-PER`, and its span is the same.

use std::ops::Range;

use polyhead_files::quoted;
use polyhead_text::{SplitEvidence, WordSplit, without_blanks};

use super::cell::RawLabel;
use super::raw::RawSplit;
use super::row::{Row, RowWords};
use super::task::TaskFields;
use crate::error::{Error, ErrorKind};

/// The rule of each task: the given one, the one that training words teach, or without such words
/// that of the head that the run starts from.
pub(super) fn word_splits(tasks: &[&TaskFields], train: &RawSplit) -> Vec<WordSplit> {
    let tags = |task: &&TaskFields| task.kind.reads_words();
    let must_learn = tasks.iter().any(|task| tags(task) && task.words.is_none());
    let mut evidence = SplitEvidence::default();
    let rows = || train.rows.iter().filter(|_| must_learn);
    let mut has_words = false;
    for (text, words) in rows().filter_map(|row| Some((row.input.text(), row.words.as_ref()?))) {
        has_words |= !words.in_text.is_empty();
        // Joined by blanks, a text shows no more than its words do.
        if *text == words.joined {
            let (text, places) = without_blanks(&text, &words.in_text);
            evidence.add(&text, &places, false);
        } else {
            evidence.add(&text, &words.in_text, true);
        }
    }
    let learned = if must_learn { evidence.learn() } else { WordSplit::default() };
    let rule = |task: &&TaskFields| match (&task.words, &task.start_words) {
        _ if !tags(task) => WordSplit::default(),
        (Some(given), _) => given.clone(),
        (None, Some(start)) if !has_words => start.clone(),
        (None, _) => learned.clone(),
    };
    tasks.iter().map(rule).collect()
}

impl RawSplit {
    /// Replaces words by the units that raw text is split into, where a script does not show the
    /// words.
    ///
    /// - `splits`: one for each task
    ///
    /// # Errors
    /// `Config` if two tasks of the same rows need different units.
    pub(super) fn spread_words(
        &mut self,
        tasks: &[&TaskFields],
        splits: &[WordSplit],
    ) -> Result<(), Error> {
        let tagging: Vec<(&TaskFields, &WordSplit)> =
            tasks.iter().copied().zip(splits).filter(|(task, _)| task.kind.reads_words()).collect();
        let Some(((first, split), others)) = tagging.split_first() else { return Ok(()) };
        for row in &mut self.rows {
            let Some(words) = &row.words else { continue };
            let units = units_of(words, split);
            for (task, other) in others.iter().filter(|(_, other)| other != split) {
                if units_of(words, other) != units {
                    let message = format!(
                        "task {}: words: expected a rule that splits words of scripts without \
                         blanks as that of task {}, which has the same files; give one of them \
                         files of its own",
                        quoted(&task.name),
                        quoted(&first.name),
                    );
                    return Err(Error::new(ErrorKind::Config, message));
                }
            }
            if units.iter().any(|units| units.len() > 1) {
                spread(row, &units);
            }
        }
        Ok(())
    }
}

/// Units of each word of a row.
fn units_of(words: &RowWords, split: &WordSplit) -> Vec<Vec<Range<usize>>> {
    let characters: Vec<char> = words.joined.chars().collect();
    let word = |place: &Range<usize>| characters[place.clone()].iter().collect::<String>();
    words.in_joined.iter().map(|place| split.units(&word(place))).collect()
}

fn spread(row: &mut Row, units: &[Vec<Range<usize>>]) {
    let Some(words) = &mut row.words else { return };
    for places in [&mut words.in_joined, &mut words.in_text] {
        let of_word = |(place, units): (&Range<usize>, &Vec<Range<usize>>)| {
            let start = place.start;
            units.iter().map(move |unit| start + unit.start..start + unit.end).collect::<Vec<_>>()
        };
        *places = places.iter().zip(units).flat_map(of_word).collect();
    }
    for label in row.labels.iter_mut().flatten() {
        if let RawLabel::Tags(tags) = label {
            let of_word = |(tag, units): (&String, &Vec<Range<usize>>)| {
                let later =
                    tag.strip_prefix('B').map_or_else(|| tag.clone(), |of| format!("I{of}"));
                let later = std::iter::repeat_n(later, units.len() - 1);
                std::iter::once(tag.clone()).chain(later).collect::<Vec<_>>()
            };
            *tags = tags.iter().zip(units).flat_map(of_word).collect();
        }
    }
}
