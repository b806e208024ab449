//! Cuts between the words of BERT tokenizers.
//!
//! - **Cuts.** A character `c` *splits* if the normalizer and the pre-tokenizer separate `aca` on
//!   both sides of `c` (blanks, punctuation, ideographs); the tokenizer itself is tried. The text
//!   may be cut before and after such a character, unless the two characters at the cut are
//!   neighbours in an added token (`[C` in `[CLS]`), because added tokens are searched for in the
//!   raw text. No other step looks across a splitting character: such characters are starters for
//!   Unicode's decomposition, which reorders marks only between starters.
//! - **Gaps.** The text between two cuts is at most one word. A word of more than
//!   `max_input_chars_per_word` characters becomes the unknown token whatever its length, so its
//!   middle is left out, as are characters that the normalizer removes. The positions of these
//!   gaps are stored, and spans are shifted by them.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet, VecDeque};

use tokenizers::{
    ModelWrapper, NormalizedString, Normalizer, NormalizerWrapper, OffsetReferential, OffsetType,
    PreTokenizedString, PreTokenizer, PreTokenizerWrapper, Tokenizer,
};

use super::{Gap, PIECE_BYTES, Piece};

/// Most characters of an added token: `PIECE_BYTES` must be much larger.
const LONGEST_ADDED: usize = 256;

/// What a character does to the word around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Separates the words on its two sides.
    Splits,
    /// The character stays part of the word, as at least one character.
    Plain,
    /// The character is removed, and the word closes over it.
    Vanishes,
    /// The character does anything else.
    Other,
}

impl Kind {
    /// Whether a run of such characters is at most one word.
    fn within_word(self) -> bool {
        matches!(self, Self::Plain | Self::Vanishes)
    }
}

/// Rule by which texts are cut between words for one tokenizer.
#[derive(Clone, Debug)]
pub(crate) struct WordCuts {
    /// Words of more characters than this become the unknown token.
    longest_word: usize,
    /// Number of characters of the longest added token.
    longest_added: usize,
    /// Pairs of neighbouring characters in added tokens.
    joined: HashSet<(char, char)>,
    /// Whether the middle of a long word may be left out.
    gaps: bool,
    /// Kinds of the ASCII characters, which are nearly all lookups.
    ascii: Vec<Kind>,
    /// Target size of a piece; smaller only in tests.
    pub(super) piece_bytes: usize,
}

impl WordCuts {
    /// The rule for `tokenizer`; `None` if tokenizers of its kind are not cut.
    pub(super) fn of(tokenizer: &Tokenizer) -> Option<Self> {
        let ModelWrapper::WordPiece(model) = tokenizer.get_model() else { return None };
        let Some(PreTokenizerWrapper::BertPreTokenizer(_)) = tokenizer.get_pre_tokenizer() else {
            return None;
        };
        let (None | Some(NormalizerWrapper::BertNormalizer(_))) = tokenizer.get_normalizer() else {
            return None;
        };
        let mut rule = Self {
            longest_word: model.max_input_chars_per_word,
            longest_added: 0,
            joined: HashSet::new(),
            gaps: true,
            ascii: (0..128u8).map(|byte| kind_of(tokenizer, byte.into())).collect(),
            piece_bytes: PIECE_BYTES,
        };
        for token in tokenizer.get_added_tokens_decoder().values() {
            let content: Vec<char> = token.content.chars().collect();
            // Such tokens depend on the characters beside them or include them, or are searched
            // for in the normalized text.
            let looks_around =
                token.single_word || token.lstrip || token.rstrip || token.normalized;
            if looks_around || content.len() > LONGEST_ADDED {
                return None;
            }
            rule.longest_added = rule.longest_added.max(content.len());
            rule.joined.extend(content.windows(2).map(|pair| (pair[0], pair[1])));
            // Then an added token can match only at the ends of a word, not inside.
            rule.gaps &= content.iter().any(|&c| !kind_of(tokenizer, c).within_word());
        }
        Some(rule)
    }

    /// Iterates over the pieces of `text` in order.
    pub(super) fn pieces<'a>(&'a self, tokenizer: &'a Tokenizer, text: &'a str) -> Pieces<'a> {
        Pieces { rule: self, tokenizer, text, character: 0, kinds: HashMap::new() }
    }
}

/// Tries on the normalizer and the pre-tokenizer what they do with `c` between two letters.
fn kind_of(tokenizer: &Tokenizer, c: char) -> Kind {
    let mut normalized = NormalizedString::from(format!("a{c}a"));
    if tokenizer.get_normalizer().is_some_and(|n| n.normalize(&mut normalized).is_err()) {
        return Kind::Other;
    }
    let mut words = PreTokenizedString::from(normalized);
    if tokenizer.get_pre_tokenizer().is_some_and(|p| p.pre_tokenize(&mut words).is_err()) {
        return Kind::Other;
    }
    let words = words.get_splits(OffsetReferential::Normalized, OffsetType::None);
    let words: Vec<&str> = words.iter().map(|(word, _, _)| *word).collect();
    match words[..] {
        ["aa"] => Kind::Vanishes,
        [word] if word.chars().count() > 2 => Kind::Plain,
        ["a", .., "a"] => Kind::Splits,
        _ => Kind::Other,
    }
}

/// Iterator over the pieces of a text.
pub(super) struct Pieces<'a> {
    rule: &'a WordCuts,
    tokenizer: &'a Tokenizer,
    /// The rest of the text.
    text: &'a str,
    /// Number of characters before `text`.
    character: usize,
    /// Kinds of the other characters that were looked up.
    kinds: HashMap<char, Kind>,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        if self.text.is_empty() {
            return None;
        }
        let window = self.text.floor_char_boundary(self.rule.piece_bytes.max(4));
        if window == self.text.len() {
            return Some(self.take(window));
        }
        match self.last_cut(window) {
            Some(cut) => Some(self.take(cut)),
            None => Some(self.take_with_gaps(window)),
        }
    }
}

impl<'a> Pieces<'a> {
    fn kind(&mut self, c: char) -> Kind {
        if c.is_ascii() {
            return self.rule.ascii[c as usize];
        }
        *self.kinds.entry(c).or_insert_with(|| kind_of(self.tokenizer, c))
    }

    /// Whether a piece may end with `left` and the next begin with `right`.
    fn may_cut(&mut self, left: char, right: char) -> bool {
        (self.kind(left) == Kind::Splits || self.kind(right) == Kind::Splits)
            && !self.rule.joined.contains(&(left, right))
    }

    /// The last position in `1..=window` where the text may be cut, in bytes.
    fn last_cut(&mut self, window: usize) -> Option<usize> {
        let text = self.text;
        let mut right = text[window..].chars().next()?;
        for (start, left) in text[..window].char_indices().rev() {
            if self.may_cut(left, right) {
                return Some(start + left.len_utf8());
            }
            right = left;
        }
        None
    }

    /// Takes the first `bytes` of the text unchanged.
    fn take(&mut self, bytes: usize) -> Piece<'a> {
        let (piece, rest) = self.text.split_at(bytes);
        let first = self.character;
        self.character += piece.chars().count();
        self.text = rest;
        Piece { text: Cow::Borrowed(piece), first, gaps: Vec::new() }
    }

    /// Takes the text up to its first cut, which is not in the first `window` bytes, and shortens
    /// it. Added tokens match only at the ends of a run of word characters (see `WordCuts::of`), so
    /// the first and last `longest_added` characters of each run stay.
    fn take_with_gaps(&mut self, window: usize) -> Piece<'a> {
        let text = self.text;
        let mut kept = Shortened::default();
        let mut run = Run::default();
        let mut end = text.len();
        let mut previous = None;
        for (byte, c) in text.char_indices() {
            let past_window = byte >= window;
            if past_window && previous.is_some_and(|left| self.may_cut(left, c)) {
                end = byte;
                break;
            }
            previous = Some(c);
            let kind = self.kind(c);
            if !self.rule.gaps || !kind.within_word() {
                kept.close(&mut run);
                kept.keep(c);
                continue;
            }
            let plain = kind == Kind::Plain;
            let keep = !past_window
                || run.length < self.rule.longest_added
                || (plain && run.plain <= self.rule.longest_word);
            run.length += 1;
            run.plain += usize::from(plain);
            run.tail.push_back((c, plain, keep));
            if run.tail.len() > self.rule.longest_added {
                kept.settle(&mut run);
            }
        }
        kept.close(&mut run);
        let first = self.character;
        self.character += kept.read;
        self.text = &text[end..];
        Piece { text: Cow::Owned(kept.text), first, gaps: kept.gaps }
    }
}

/// Consecutive word characters.
#[derive(Default)]
struct Run {
    /// Number of characters so far.
    length: usize,
    /// Number of plain characters among them.
    plain: usize,
    /// The last characters, undecided: the character, is it plain, is it kept inside the run.
    tail: VecDeque<(char, bool, bool)>,
}

/// A text while it is shortened.
#[derive(Default)]
struct Shortened {
    text: String,
    /// Number of characters in `text`.
    characters: usize,
    gaps: Vec<Gap>,
    /// Number of characters put in `text` or in a gap.
    read: usize,
    /// Number of characters left out since the last kept one, up to `word_end`.
    before: usize,
    /// The last plain character that was left out. If it is the last of its word, the span of the
    /// unknown token ends there, so it is kept.
    word_end: Option<char>,
    /// Number of characters left out after `word_end`.
    after: usize,
}

impl Shortened {
    fn keep(&mut self, c: char) {
        self.close_gap();
        self.push(c);
    }

    /// Keeps or leaves out the oldest undecided character.
    fn settle(&mut self, run: &mut Run) {
        match run.tail.pop_front() {
            None => {}
            Some((c, _, true)) => self.keep(c),
            Some((c, true, false)) => {
                self.before += self.after + usize::from(self.word_end.is_some());
                self.after = 0;
                self.word_end = Some(c);
            }
            Some((_, false, false)) if self.word_end.is_some() => self.after += 1,
            Some((_, false, false)) => self.before += 1,
        }
    }

    /// Ends the run and keeps its undecided characters.
    fn close(&mut self, run: &mut Run) {
        for (c, _, _) in std::mem::take(run).tail {
            self.keep(c);
        }
        self.close_gap();
    }

    fn close_gap(&mut self) {
        let (before, after) = (std::mem::take(&mut self.before), std::mem::take(&mut self.after));
        self.gap(before);
        if let Some(c) = self.word_end.take() {
            self.push(c);
        }
        self.gap(after);
    }

    fn gap(&mut self, characters: usize) {
        if characters > 0 {
            self.gaps.push(Gap { at: self.characters, characters });
            self.read += characters;
        }
    }

    fn push(&mut self, c: char) {
        self.text.push(c);
        self.characters += 1;
        self.read += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::compared::whole_and_pieces;
    use super::*;
    use crate::tokenizer::{TokenizerConfig, build_word_pieces};

    const VOCAB: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\n##a\n##b\nab\n[\n]\n.\n漢\n字\n##漢\né\ne\n##e\nx\n##x\n";

    const CONFIGS: [&str; 4] = [
        "{}",
        r#"{"do_lower_case": false}"#,
        r#"{"tokenize_chinese_chars": false, "strip_accents": false}"#,
        r#"{"additional_special_tokens": ["..", "aa[", "[\u0000]"]}"#,
    ];

    fn tokenizer(config: &str) -> Tokenizer {
        let config = TokenizerConfig::parse(Some(config.as_bytes())).unwrap();
        let mut tokenizer = build_word_pieces(VOCAB.as_bytes(), &config).unwrap();
        tokenizer.with_post_processor(None::<tokenizers::PostProcessorWrapper>);
        tokenizer
    }

    #[test]
    fn kinds_are_what_the_tokenizer_does() {
        struct Case {
            config: &'static str,
            characters: &'static str,
            kind: Kind,
        }
        let cases = [
            Case {
                config: "{}",
                characters: " \t\n\r\u{a0}\u{3000}.,[]-漢豈“。；",
                kind: Kind::Splits,
            },
            Case { config: "{}", characters: "aZ0éßかカ한กЖ🙂½", kind: Kind::Plain },
            Case {
                config: "{}",
                characters: "\0\u{7}\u{b}\u{c}\u{85}\u{fffd}\u{301}\u{200d}\u{e000}",
                kind: Kind::Vanishes,
            },
            Case { config: CONFIGS[2], characters: "漢\u{301}", kind: Kind::Plain },
            Case { config: CONFIGS[2], characters: "\0", kind: Kind::Vanishes },
        ];
        for Case { config, characters, kind } in cases {
            let tokenizer = tokenizer(config);
            for c in characters.chars() {
                assert_eq!(kind_of(&tokenizer, c), kind, "{c:?} with {config}");
            }
        }
    }

    #[test]
    fn tokenizers_of_other_kinds_are_not_cut() {
        assert!(WordCuts::of(&tokenizer("{}")).is_some());
        for token in [
            r#"{"content": "hello", "normalized": true}"#,
            r#"{"content": "[X]", "special": true, "lstrip": true}"#,
            r#"{"content": "[X]", "special": true, "single_word": true}"#,
        ] {
            let config = format!(r#"{{"added_tokens_decoder": {{"21": {token}}}}}"#);
            assert!(WordCuts::of(&tokenizer(&config)).is_none(), "{token}");
        }
        let bare = Tokenizer::new(tokenizers::models::bpe::BPE::default());
        assert!(WordCuts::of(&bare).is_none());
    }

    #[test]
    fn a_text_without_blanks_is_shortened() {
        let tokenizer = tokenizer("{}");
        let rule = WordCuts::of(&tokenizer).unwrap();
        let letters = "x".repeat(200_000);
        for text in [
            letters.clone(),
            "\0".repeat(200_000),
            format!("ab.{letters}.ab"),
            format!("[CLS]{letters}[SEP]"),
            format!("a{}b ab", "\0".repeat(200_000)),
            "かな".repeat(20_000),
            format!("{letters}{}", "\u{301}".repeat(50_000)),
        ] {
            let longest = rule.pieces(&tokenizer, &text).map(|piece| piece.text.len()).max();
            assert!(longest.unwrap() < 2 * PIECE_BYTES, "{longest:?}");
            let (whole, cut) = whole_and_pieces(&tokenizer, &text, rule.pieces(&tokenizer, &text));
            assert_eq!(whole, cut);
        }
    }

    #[test]
    fn added_tokens_beside_a_shortened_run_stay_whole() {
        let tokenizer = tokenizer(CONFIGS[3]);
        let mut rule = WordCuts::of(&tokenizer).unwrap();
        let (letters, nothing) = ("a".repeat(300), "\0".repeat(300));
        for text in [
            format!("aaa[{nothing}x"),
            format!("aaa[{nothing}]"),
            format!("aaa[{letters}aa["),
            format!("xx{letters}[{letters}aa["),
            format!("{letters}{nothing}[{nothing}"),
        ] {
            for piece_bytes in 4..12 {
                rule.piece_bytes = piece_bytes;
                let (whole, cut) =
                    whole_and_pieces(&tokenizer, &text, rule.pieces(&tokenizer, &text));
                assert_eq!(whole, cut, "{text:?} in pieces of {piece_bytes} bytes");
            }
        }
    }

    /// Words, marks, ideographs, punctuation, controls, and parts of added tokens.
    fn awkward_text() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            4 => prop::sample::select(vec![
                "a", "b", "ab", " ", "  ", ".", "..", "[", "]", "[CLS]", "[SEP]", "[MASK]", "[CL", "S]",
                "漢", "字", "豈", "é", "e\u{301}", "\u{301}", "\u{323}", "\u{344}", "\0", "\u{fffd}", "\u{200b}",
                "\t", "\n", "\u{a0}", "\u{3000}", "\u{b}", "\u{85}", "İ", "ß", "か", "。", "🙂", "X", "A",
            ]).prop_map(str::to_owned),
            1 => (1usize..130).prop_map(|n| "x".repeat(n)),
            1 => (1usize..130).prop_map(|n| "\0".repeat(n)),
            1 => (1usize..40).prop_map(|n| "a\0".repeat(n)),
            1 => any::<char>().prop_map(String::from),
        ];
        prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(600))]
        #[test]
        fn pieces_have_the_tokens_of_the_whole(
            text in awkward_text(),
            piece_bytes in 4usize..80,
            config in prop::sample::select(CONFIGS.to_vec()),
        ) {
            let tokenizer = tokenizer(config);
            let mut rule = WordCuts::of(&tokenizer).expect("a BERT tokenizer");
            rule.piece_bytes = piece_bytes;
            let (whole, cut) = whole_and_pieces(&tokenizer, &text, rule.pieces(&tokenizer, &text));
            prop_assert_eq!(whole, cut);
        }
    }
}
