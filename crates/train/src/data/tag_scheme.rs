//! The schemes in which data write tags. All of them become BIO when they are read, so that the rest
//! of training knows one.

use std::collections::BTreeSet;
use std::ops::Range;

use polyhead_files::quoted;
use polyhead_text::{Tag, TagScheme};

use super::cell::RawLabel;
use super::issues::LabelIssues;
use super::raw::RawSplit;
use super::task::TaskFields;
use crate::error::{Error, ErrorKind};

/// The tags that messages name as expected.
const EXPECTED: &str = "`O`, `B-TYPE` or `I-TYPE` (BIO, IOB1), or tags of BIOES or BILOU";

/// A scheme other than BIO, recognised over a whole split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DataTags {
    /// `E-TYPE` ends a span, `S-TYPE` is one.
    Bioes,
    /// `L-TYPE` ends a span, `U-TYPE` is one.
    Bilou,
    /// `B-TYPE` stands only where a span follows another of its type.
    Iob1,
    /// `I-TYPE` alone: neighbours of one type are one span.
    Io,
    /// The type alone, without `I-`: neighbours of one type are one span.
    Plain,
}

impl DataTags {
    /// The name that messages have for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bioes => "BIOES",
            Self::Bilou => "BILOU",
            Self::Iob1 => "IOB1",
            Self::Io => "IO",
            Self::Plain => "types without `B-` and `I-`",
        }
    }
}

/// The letter and the type of `X-TYPE`.
fn parts(tag: &str) -> Option<(char, &str)> {
    let (letter, of) = tag.split_once('-')?;
    let letter = letter.chars().next().filter(|first| letter.len() == first.len_utf8())?;
    (letter.is_ascii_uppercase() && !of.is_empty()).then_some((letter, of))
}

/// Returns true if `tag` may be a type without a letter before it.
fn is_plain(tag: &str) -> bool {
    !tag.is_empty() && parts(tag).is_none() && Tag::parse(tag).is_none()
}

/// The scheme of the tags of all rows; `None` for BIO.
///
/// - `is_type`: returns true for a type that may stand alone although no tag is `O`
///
/// # Errors
/// Row and word of a tag that fits no scheme.
fn recognise(
    rows: &[&mut Vec<String>],
    is_type: &dyn Fn(&str) -> bool,
) -> Result<Option<DataTags>, (usize, usize)> {
    let all = || rows.iter().flat_map(|tags| tags.iter().map(String::as_str));
    let has = |letters: &[char]| {
        all().any(|tag| parts(tag).is_some_and(|(letter, _)| letters.contains(&letter)))
    };
    let scheme = match (has(&['E', 'S']), has(&['L', 'U'])) {
        (true, _) => Some(DataTags::Bioes),
        (false, true) => Some(DataTags::Bilou),
        (false, false) if all().all(|tag| tag == "O" || is_plain(tag)) => {
            // Parts of speech look so too, but have no `O`.
            let has_spans = all().any(|tag| tag == "O") || all().all(is_type);
            (has_spans && all().any(is_plain)).then_some(DataTags::Plain)
        }
        (false, false) => None,
    };
    let fits = |tag: &str| match (scheme, parts(tag)) {
        (Some(DataTags::Plain), _) => true,
        (Some(DataTags::Bioes), Some((letter, _))) => "BIES".contains(letter),
        (Some(DataTags::Bilou), Some((letter, _))) => "BILU".contains(letter),
        _ => Tag::parse(tag).is_some(),
    };
    for (row, tags) in rows.iter().enumerate() {
        if let Some(word) = tags.iter().position(|tag| !fits(tag)) {
            return Err((row, word));
        }
    }
    if scheme.is_some() {
        return Ok(scheme);
    }
    let (mut begins, mut begins_inside, mut separates) = (false, false, false);
    for tags in rows {
        let mut before: Option<Tag> = None;
        for tag in tags.iter().filter_map(|tag| Tag::parse(tag)) {
            let continues = before.and_then(Tag::label) == tag.label();
            match tag {
                Tag::Begin(_) if continues => separates = true,
                Tag::Begin(_) => begins = true,
                Tag::Inside(_) => begins_inside |= !tag.may_follow(before),
                Tag::Outside => {}
            }
            before = Some(tag);
        }
    }
    Ok(match (begins, begins_inside, separates) {
        (false, true, true) => Some(DataTags::Iob1),
        (false, true, false) => Some(DataTags::Io),
        _ => None,
    })
}

/// Writes the tags of one row as BIO.
fn convert(tags: &mut [String], scheme: DataTags) {
    // The type of the span that goes on, if one does.
    let mut open: Option<String> = None;
    for tag in tags {
        let (letter, of) = match (scheme, parts(tag)) {
            _ if tag == "O" => ('O', ""),
            (DataTags::Plain, _) => ('I', tag.as_str()),
            (_, Some(parts)) => parts,
            // Bare `B` and `I` of BIO have no type.
            (_, None) => (tag.chars().next().unwrap_or('O'), ""),
        };
        let continues = open.as_deref() == Some(of) && "IEL".contains(letter);
        let stays_open = "BIO".contains(letter) && letter != 'O';
        let of = of.to_owned();
        let dash = if of.is_empty() { "" } else { "-" };
        *tag = match (letter, continues) {
            ('O', _) => "O".to_owned(),
            (_, true) => format!("I{dash}{of}"),
            (_, false) => format!("B{dash}{of}"),
        };
        open = stays_open.then_some(of);
    }
}

/// Makes the tags of a task BIO, whatever scheme they have; those of a head in another scheme stay.
///
/// - `column`: the task among those of the schema
///
/// # Errors
/// File, line and word of a tag that fits no scheme.
pub(super) fn settle_tags(
    mut splits: [&mut RawSplit; 3],
    task: &TaskFields,
    column: usize,
) -> Result<(), Error> {
    // Tags of a head that are not BIO are those of the data.
    let of_head = task.fixed_labels.iter().flatten();
    let scheme = TagScheme::of_tags(of_head.map(String::as_str));
    if task.fixed_labels.is_some() && scheme != TagScheme::Bio {
        return Ok(());
    }
    // A small split may have no `O`: then the other splits or the known labels show its types.
    let mut types: BTreeSet<String> = BTreeSet::new();
    let known = task.given_labels().unwrap_or_default().iter();
    types.extend(known.filter_map(|label| Some(parts(label)?.1.to_owned())));
    let mut is_plain_elsewhere = false;
    for split in &mut splits {
        let rows: Vec<_> = split.tag_rows(column).map(|(_, tags)| tags).collect();
        is_plain_elsewhere |= recognise(&rows, &|_| false) == Ok(Some(DataTags::Plain));
    }
    let is_type = |tag: &str| is_plain_elsewhere || types.contains(tag);
    splits.into_iter().try_for_each(|split| split.settle_tags(task, column, &is_type))
}

impl RawSplit {
    /// The tags of a task, with the row that they stand in.
    fn tag_rows(&mut self, column: usize) -> impl Iterator<Item = (usize, &mut Vec<String>)> {
        let rows = self.rows.iter_mut().enumerate();
        rows.filter_map(move |(index, row)| match &mut row.labels[column] {
            Some(RawLabel::Tags(tags)) => Some((index, tags)),
            _ => None,
        })
    }

    fn settle_tags(
        &mut self,
        task: &TaskFields,
        column: usize,
        is_type: &dyn Fn(&str) -> bool,
    ) -> Result<(), Error> {
        let (places, rows): (Vec<usize>, Vec<_>) = self.tag_rows(column).unzip();
        match recognise(&rows, is_type) {
            Ok(scheme) => {
                let mut issues = LabelIssues {
                    tag_scheme: scheme.map(DataTags::name),
                    ..LabelIssues::default()
                };
                for (row, tags) in places.into_iter().zip(rows) {
                    if let Some(scheme) = scheme {
                        convert(tags, scheme);
                    }
                    issues.note_broken(row, tags);
                }
                self.tag_issues.push((column, issues));
                Ok(())
            }
            Err((row, word)) => {
                let tag = rows[row][word].clone();
                let row = places[row];
                let words = self.rows[row].words.as_ref();
                let place = words.and_then(|words| words.in_joined.get(word));
                let of = |place: &Range<usize>| {
                    let joined = words.map_or("", |words| words.joined.as_str());
                    joined.chars().skip(place.start).take(place.len()).collect::<String>()
                };
                let message = format!(
                    "{}: field {}: word {} {}: expected {EXPECTED}, found {}",
                    self.place(row),
                    quoted(&task.fields[0]),
                    word + 1,
                    quoted(&place.map_or_else(String::new, of)),
                    quoted(&tag)
                );
                Err(Error::new(ErrorKind::Data, message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The scheme, and the rows as BIO; row and word of a tag that fits none.
    type Converted = Result<(Option<&'static str>, Vec<String>), (usize, usize)>;

    fn read(rows: &[&str]) -> Converted {
        let mut rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.split(' ').map(str::to_owned).collect()).collect();
        let scheme = recognise(&rows.iter_mut().collect::<Vec<_>>(), &|_| false)?;
        if let Some(scheme) = scheme {
            rows.iter_mut().for_each(|tags| convert(tags, scheme));
        }
        Ok((scheme.map(DataTags::name), rows.into_iter().map(|row| row.join(" ")).collect()))
    }

    #[test]
    fn every_scheme_becomes_bio() {
        for (rows, scheme, expected) in [
            (&["B-a I-a O B-b", "B-a B-a"][..], None, &["B-a I-a O B-b", "B-a B-a"][..]),
            // A mistake in BIO stays one, and is counted as such.
            (&["B-a O I-a"], None, &["B-a O I-a"]),
            (&["O O"], None, &["O O"]),
            (&["B I O"], None, &["B I O"]),
            (
                &["B-a I-a E-a S-b O S-a S-a", "B-a E-a B-a E-a"],
                Some("BIOES"),
                &["B-a I-a I-a B-b O B-a B-a", "B-a I-a B-a I-a"],
            ),
            // An end closes its span.
            (&["B-a E-a I-a", "E-a S-b"], Some("BIOES"), &["B-a I-a B-a", "B-a B-b"]),
            (&["U-a O B-b I-b L-b U-b"], Some("BILOU"), &["B-a O B-b I-b I-b B-b"]),
            (
                &["I-a I-a O I-b I-a B-a I-a", "I-a"],
                Some("IOB1"),
                &["B-a I-a O B-b B-a B-a I-a", "B-a"],
            ),
            (&["I-a I-a O I-b", "O"], Some("IO"), &["B-a I-a O B-b", "O"]),
            (&["I I O I"], Some("IO"), &["B I O B"]),
            (
                &["PER PER O LOC PER art-film"],
                Some("types without `B-` and `I-`"),
                &["B-PER I-PER O B-LOC B-PER B-art-film"],
            ),
        ] {
            let expected = expected.iter().map(|row| (*row).to_owned()).collect();
            assert_eq!(read(rows), Ok((scheme, expected)), "{rows:?}");
        }
    }

    #[test]
    fn tags_of_no_scheme_are_errors() {
        for (rows, row, word) in [
            (&["O X-foo"][..], 0, 1),
            (&["O", "O B-a a"], 1, 2),
            (&["O M-a B-a"], 0, 1),
            // Two schemes at once.
            (&["B-a E-a", "U-a"], 1, 0),
            // Parts of speech have no `O`.
            (&["NOUN VERB"], 0, 0),
            (&["O B- I-a"], 0, 1),
        ] {
            assert_eq!(read(rows), Err((row, word)), "{rows:?}");
        }
        assert_eq!(recognise(&[&mut vec![String::new()]], &|_| false), Err((0, 0)));
    }
}
