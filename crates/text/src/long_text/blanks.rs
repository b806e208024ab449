//! Cuts before blanks, for tokenizers that split every text there: byte-level BPE, Unigram with
//! Metaspace, and others whose steps are known to be local.
//!
//! A text may be cut between a character that is no blank and a blank, because every step gives
//! the same for the whole text and for its two parts:
//!
//! - **Added tokens** are searched for first. One that would reach over the cut, or that takes the
//!   blanks after it, forbids cuts behind its characters. One that takes the blanks before it has
//!   all of them, because the cut is before the first.
//! - **The normalizer** changes characters, grapheme clusters or runs of blanks, and none of these
//!   reaches over the cut. The characters at the cut are tried: the left one must stay, and the
//!   blank must stay a blank.
//! - **The pre-tokenizer** splits before the blank, or the model has no token that continues with
//!   a blank, as in Gemma's vocabulary. The second part begins with a blank, so that no step puts
//!   another one before it.
//! - **The model** treats words one by one.
//!
//! A text without blanks is one piece.

use std::collections::HashSet;

use serde::Serialize;
use serde_json::Value;
use tokenizers::{Model, ModelWrapper, NormalizedString, Normalizer, Tokenizer};
use unicode_segmentation::UnicodeSegmentation;

use super::{PIECE_BYTES, Piece};

/// SentencePiece's sign for a blank.
const SIGN: char = '▁';

/// Rule by which texts are cut before blanks for one tokenizer.
#[derive(Clone, Debug)]
pub(crate) struct BlankCuts {
    /// Characters that the normalizer may make of a blank; words end before them.
    blanks: Vec<char>,
    /// Characters behind which added tokens forbid a cut.
    bound: HashSet<char>,
    /// Target size of a piece; smaller only in tests.
    pub(super) piece_bytes: usize,
}

impl BlankCuts {
    /// The rule for `tokenizer`; `None` if one of its steps may look over a cut.
    pub(super) fn of(tokenizer: &Tokenizer) -> Option<Self> {
        let pre_tokenizer = json(&tokenizer.get_pre_tokenizer())?;
        let ends_words = |blank: &char| {
            let mut at_blank = AtBlank { blank: *blank, splits: false };
            at_blank.passes(&pre_tokenizer)
                && (at_blank.splits
                    || (at_blank.blank == SIGN && never_continues_with_sign(tokenizer)))
        };
        let blanks: Vec<char> = [' ', SIGN].into_iter().filter(ends_words).collect();
        if blanks.is_empty() || !is_local(&json(&tokenizer.get_normalizer())?, &blanks) {
            return None;
        }
        let mut bound = HashSet::new();
        for token in tokenizer.get_added_tokens_decoder().values() {
            for content in [token.content.clone(), normalized(tokenizer, &token.content)?] {
                let characters: Vec<char> = content.chars().collect();
                let before_blanks = characters.windows(2).filter(|pair| is_blank(pair[1]));
                bound.extend(before_blanks.map(|pair| pair[0]));
                bound.extend(characters.last().filter(|_| token.rstrip));
            }
        }
        Some(Self { blanks, bound, piece_bytes: PIECE_BYTES })
    }

    /// Iterates over the pieces of `text` in order.
    pub(super) fn pieces<'a>(
        &'a self,
        tokenizer: &'a Tokenizer,
        text: &'a str,
    ) -> impl Iterator<Item = Piece<'a>> {
        let (mut rest, mut first) = (text, 0);
        std::iter::from_fn(move || {
            let window = rest.floor_char_boundary(self.piece_bytes.max(4));
            let may_cut = |at: &usize| self.may_cut(tokenizer, rest, *at);
            let cut = match window == rest.len() {
                true => rest.len(),
                false => (1..=window)
                    .rev()
                    .find(may_cut)
                    .or_else(|| (window + 1..rest.len()).find(may_cut))
                    .unwrap_or(rest.len()),
            };
            let (text, after) = rest.split_at(cut);
            let piece = Piece { text: text.into(), first, gaps: Vec::new() };
            first += text.chars().count();
            rest = after;
            (!text.is_empty()).then_some(piece)
        })
    }

    /// Returns true if a piece of `text` may end before byte `at`.
    fn may_cut(&self, tokenizer: &Tokenizer, text: &str, at: usize) -> bool {
        let Some((before, after)) = text.split_at_checked(at) else { return false };
        let (mut before, mut after) = (before.chars().rev(), after.chars());
        let (Some(left), Some(blank)) = (before.next(), after.next()) else { return false };
        if !is_blank(blank) || is_blank(left) || self.bound.contains(&left) {
            return false;
        }
        // A mark behind the blank makes one cluster with it. A letter stands in for the ends.
        let [last, next] = [before.next(), after.next()].map(|end| end.unwrap_or('a'));
        if format!("{last}{left}{blank}{next}").graphemes(true).count() != 4 {
            return false;
        }
        let between = |text: String, begin: &str, end: &str| {
            let text = normalized(tokenizer, &text)?;
            Some(text.strip_prefix(begin)?.strip_suffix(end)?.to_owned())
        };
        let stays = |left: &String| {
            let last = left.chars().next_back();
            !left.chars().any(is_blank) && last.is_some_and(|last| !self.bound.contains(&last))
        };
        let is_alone = |blank: &String| self.blanks.iter().any(|known| *blank == known.to_string());
        between(format!("a{blank}a"), "a", "a").as_ref().is_some_and(|blank| {
            is_alone(blank)
                && between(format!("a{left} a"), "a", &format!("{blank}a"))
                    .is_some_and(|l| stays(&l))
        })
    }
}

fn is_blank(character: char) -> bool {
    character.is_whitespace() || character == SIGN
}

/// The JSON that the library writes of a step; null for none.
fn json(step: &impl Serialize) -> Option<Value> {
    serde_json::to_value(step).ok()
}

fn type_of(step: &Value) -> &str {
    step["type"].as_str().unwrap_or_default()
}

/// The steps of a sequence, or of no step, or the step itself.
fn parts<'a>(step: &'a Value, list: &str) -> &'a [Value] {
    match step {
        Value::Null => &[],
        step if type_of(step) == "Sequence" => {
            step[list].as_array().map(Vec::as_slice).unwrap_or_default()
        }
        step => std::slice::from_ref(step),
    }
}

fn normalized(tokenizer: &Tokenizer, text: &str) -> Option<String> {
    let mut text = NormalizedString::from(text);
    if let Some(normalizer) = tokenizer.get_normalizer() {
        normalizer.normalize(&mut text).ok()?;
    }
    Some(text.get().to_owned())
}

/// Returns true if a normalizer looks at no more than a character, a grapheme cluster, a run of
/// blanks, or a text without blanks. A run must become one of `blanks`.
fn is_local(normalizer: &Value, blanks: &[char]) -> bool {
    parts(normalizer, "normalizers").iter().all(|step| match type_of(step) {
        "Sequence" => is_local(step, blanks),
        "BertNormalizer" | "NFC" | "NFD" | "NFKC" | "NFKD" | "StripAccents" | "Lowercase"
        | "Nmt" | "Precompiled" => true,
        "Strip" => step["strip_left"] == false,
        "Replace" => {
            let content = step["content"].as_str().unwrap_or_default();
            let has_blank = |text: &str| text.chars().any(is_blank);
            match (step["pattern"]["String"].as_str(), step["pattern"]["Regex"].as_str()) {
                // A sign in place of each blank.
                (Some(" "), _) => content == "▁",
                (Some(text), _) => !has_blank(text) && !has_blank(content) && !content.is_empty(),
                (_, Some(" {2,}" | r"\s+" | r"\s{2,}")) => {
                    blanks.iter().any(|blank| *content == blank.to_string())
                }
                _ => false,
            }
        }
        _ => false,
    })
}

/// The work of a pre-tokenizer between a character that is no blank and a blank.
struct AtBlank {
    /// The character that the steps so far have made of the blank.
    blank: char,
    /// True if the text is split before it.
    splits: bool,
}

impl AtBlank {
    /// Passes the steps; false if one of them, before the text is split, is not known to be local.
    /// Behind a split, each step has the parts one by one.
    fn passes(&mut self, pre_tokenizer: &Value) -> bool {
        parts(pre_tokenizer, "pretokenizers").iter().all(|step| match type_of(step) {
            "Sequence" => self.passes(step),
            "Metaspace" if step["replacement"] == "▁" => {
                self.blank = SIGN;
                self.splits |= step["split"] == true;
                true
            }
            "ByteLevel" if self.blank == ' ' && step["use_regex"] == true => {
                self.splits = true;
                true
            }
            "WhitespaceSplit" | "Whitespace" | "BertPreTokenizer" if self.blank == ' ' => {
                self.splits = true;
                true
            }
            "WhitespaceSplit" | "BertPreTokenizer" => true,
            // It looks for blanks, and there are none.
            "Split" if self.blank == SIGN && step["pattern"]["String"] == " " => true,
            _ => self.splits,
        })
    }
}

/// Returns true if no token has a sign for a blank behind another character. A model that merges
/// by rank then does so on both sides of a cut as if the other were not there; in one that adds up
/// scores, their rounding goes through the whole text.
fn never_continues_with_sign(tokenizer: &Tokenizer) -> bool {
    let ModelWrapper::BPE(model) = tokenizer.get_model() else { return false };
    let continues = |token: &str| {
        let mut pairs = token.chars().zip(token.chars().skip(1));
        pairs.any(|(left, right)| right == SIGN && left != SIGN)
    };
    let no_marks = |mark: &Option<String>| mark.as_ref().is_none_or(String::is_empty);
    no_marks(&model.continuing_subword_prefix)
        && no_marks(&model.end_of_word_suffix)
        && model.token_to_id("▁").is_some()
        && !model.get_vocab().keys().any(|token| continues(token))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::compared::whole_and_pieces;
    use super::*;

    fn replace(pattern: Value, content: &str) -> Value {
        json!({"type": "Replace", "pattern": pattern, "content": content})
    }

    fn metaspace(scheme: &str, split: bool) -> Value {
        json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split})
    }

    fn byte_level(add_prefix_space: bool, use_regex: bool) -> Value {
        json!({"type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": true,
               "use_regex": use_regex})
    }

    fn unigram() -> Value {
        let pieces =
            ["▁", "a", "b", "▁a", "▁ab", "ab", "e", "é", "▁é", "▁▁", "漢", "!", "<m>", "1"];
        let scores = pieces.iter().zip(1..).map(|(piece, at)| json!([piece, -f64::from(at) / 3.0]));
        let vocab: Vec<Value> = std::iter::once(json!(["<unk>", 0.0])).chain(scores).collect();
        json!({"type": "Unigram", "unk_id": 0, "byte_fallback": false, "vocab": vocab})
    }

    fn byte_pairs() -> Value {
        let pieces = [
            "<unk>", "a", "b", "Ġ", "ab", "Ġa", "Ġab", "ĠĠ", "!", "'", "s", "'s", "Ã", "©", "Ċ",
            "t", "é", "1", "Â", "ł",
        ];
        let vocab: serde_json::Map<_, _> =
            pieces.iter().zip(0..).map(|(piece, id)| (String::from(*piece), json!(id))).collect();
        json!({"type": "BPE", "vocab": vocab, "merges":
            [["a", "b"], ["Ġ", "a"], ["Ġ", "ab"], ["Ġ", "Ġ"], ["'", "s"]]})
    }

    /// Gemma's form: blanks are signs, and nothing splits.
    fn signs() -> Value {
        let pieces = [
            "<unk>",
            "▁",
            "a",
            "b",
            "ab",
            "▁a",
            "▁ab",
            "▁▁",
            "▁▁▁",
            "é",
            "!",
            "漢",
            "1",
            "\n",
            "\n\n",
        ];
        let vocab: serde_json::Map<_, _> =
            pieces.iter().zip(0..).map(|(piece, id)| (String::from(*piece), json!(id))).collect();
        json!({"type": "BPE", "vocab": vocab, "unk_token": "<unk>", "fuse_unk": true, "merges":
            [["▁", "▁"], ["a", "b"], ["▁", "a"], ["▁", "ab"], ["▁▁", "▁"], ["\n", "\n"]]})
    }

    fn word_pieces() -> Value {
        json!({"type": "WordPiece", "unk_token": "<unk>", "continuing_subword_prefix": "##",
               "max_input_chars_per_word": 9, "vocab": {"<unk>": 0, "a": 1, "##b": 2, "!": 3}})
    }

    fn tokenizer(normalizer: &Value, pre_tokenizer: &Value, model: &Value) -> Tokenizer {
        let token = |id: u32, content: &str, lstrip: bool, rstrip: bool, normalized: bool| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": lstrip,
                   "rstrip": rstrip, "normalized": normalized, "special": !normalized})
        };
        let added = [
            token(100, "<m>", true, false, false),
            token(101, "<r>", false, true, false),
            token(102, "b a", false, false, false),
            token(103, "Éx y", false, false, true),
            // Normalizers may leave nothing of it, and the library fails on tokens of no length.
            token(104, if normalizer.is_null() { "   " } else { "xx" }, false, false, true),
        ];
        let json = json!({"version": "1.0", "added_tokens": added, "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer, "model": model});
        json.to_string().parse().unwrap()
    }

    /// Steps that may be cut.
    fn cut() -> Vec<(Value, Value, Value)> {
        let sequence = |steps: Value| json!({"type": "Sequence", "normalizers": steps});
        let both = json!({"type": "Sequence", "pretokenizers":
            [{"type": "WhitespaceSplit"}, metaspace("first", true)]});
        let runs = replace(json!({"Regex": " {2,}"}), " ");
        let strip = json!({"type": "Strip", "strip_left": false, "strip_right": true});
        let nmt = sequence(json!([{"type": "Nmt"}, {"type": "NFKC"}, strip, runs]));
        let accents = sequence(json!([{"type": "NFD"}, {"type": "StripAccents"},
            {"type": "Lowercase"}, replace(json!({"String": "``"}), "\"")]));
        let sign = replace(json!({"String": " "}), "▁");
        let bert = json!({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true});
        vec![
            (Value::Null, metaspace("always", true), unigram()),
            (nmt.clone(), metaspace("first", true), unigram()),
            (nmt, both, unigram()),
            (accents.clone(), metaspace("never", true), unigram()),
            (replace(json!({"Regex": " {2,}"}), "▁"), metaspace("always", true), unigram()),
            (Value::Null, byte_level(false, true), byte_pairs()),
            (json!({"type": "NFC"}), byte_level(true, true), byte_pairs()),
            (accents, byte_level(false, true), byte_pairs()),
            (
                sign.clone(),
                json!({"type": "Split", "pattern": {"String": " "},
                "behavior": "MergedWithPrevious", "invert": false}),
                signs(),
            ),
            (Value::Null, metaspace("always", false), signs()),
            (bert, json!({"type": "BertPreTokenizer"}), word_pieces()),
        ]
    }

    #[test]
    fn steps_that_look_over_a_blank_are_not_cut() {
        let strip = json!({"type": "Strip", "strip_left": true, "strip_right": true});
        let prepend = json!({"type": "Prepend", "prepend": "▁"});
        let pattern = |regex: &str| {
            json!({"type": "Split", "pattern": {"Regex": regex},
            "behavior": "Isolated", "invert": false})
        };
        let mut joining = signs();
        joining["vocab"]["a▁"] = json!(40);
        let space = metaspace("always", true);
        for (normalizer, pre_tokenizer, model) in [
            (strip, space.clone(), unigram()),
            (prepend, space.clone(), unigram()),
            (replace(json!({"Regex": "a b"}), "x"), space.clone(), unigram()),
            (replace(json!({"String": "a b"}), "x"), space.clone(), unigram()),
            (replace(json!({"String": "a"}), ""), space, unigram()),
            (Value::Null, metaspace("always", false), unigram()),
            (Value::Null, metaspace("always", false), joining),
            (Value::Null, byte_level(false, false), byte_pairs()),
            (Value::Null, pattern("a b"), byte_pairs()),
            (Value::Null, Value::Null, byte_pairs()),
            (replace(json!({"String": " "}), "▁"), byte_level(false, true), byte_pairs()),
        ] {
            let found = BlankCuts::of(&tokenizer(&normalizer, &pre_tokenizer, &model));
            // A sign before which no words end: no blank becomes one.
            let cuts = found.is_some_and(|rule| {
                let tokenizer = tokenizer(&normalizer, &pre_tokenizer, &model);
                rule.may_cut(&tokenizer, "a b", 1)
            });
            assert!(!cuts, "{normalizer} {pre_tokenizer}");
        }
    }

    #[test]
    fn long_texts_with_blanks_are_many_pieces() {
        for (normalizer, pre_tokenizer, model) in cut() {
            let tokenizer = tokenizer(&normalizer, &pre_tokenizer, &model);
            let rule = BlankCuts::of(&tokenizer).unwrap();
            let text = "ab é a ".repeat(10_000);
            let longest = rule.pieces(&tokenizer, &text).map(|piece| piece.text.len()).max();
            assert!(longest.unwrap() <= PIECE_BYTES, "{longest:?} {pre_tokenizer}");
            let bare = "ab!".repeat(10_000);
            assert_eq!(rule.pieces(&tokenizer, &bare).count(), 1);
        }
    }

    fn awkward_text() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            5 => prop::sample::select(vec![
                "a", "b", "ab", " ", "  ", "   ", "▁", "!", "'s", "é", "e\u{301}", "\u{301}", "<m>", "<r>",
                "b a", "漢", "\t", "\n", "\u{a0}", "\u{3000}", "\u{200b}", "\0", "``", "Éx y", "x", "y", "1",
                "🙂", "👩\u{200d}👧", "\u{600}", "İ", "ﬁ", "\u{ad}", "が", "か\u{3099}", "´", "\u{344}", "\r\n",
            ]).prop_map(str::to_owned),
            1 => any::<char>().prop_map(String::from),
            1 => any::<char>().prop_map(|c| format!(" {c} ")),
        ];
        prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn pieces_have_the_tokens_of_the_whole(
            text in awkward_text(),
            piece_bytes in 4usize..40,
            steps in 0..cut().len(),
        ) {
            let (normalizer, pre_tokenizer, model) = &cut()[steps];
            let tokenizer = tokenizer(normalizer, pre_tokenizer, model);
            let mut rule = BlankCuts::of(&tokenizer).expect("steps that may be cut");
            rule.piece_bytes = piece_bytes;
            let pieces = rule.pieces(&tokenizer, &text);
            let (whole, cut) = whole_and_pieces(&tokenizer, &text, pieces);
            prop_assert_eq!(whole, cut, "{} {}", normalizer, pre_tokenizer);
        }
    }
}
