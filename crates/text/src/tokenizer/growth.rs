//! Bounds of a `tokenizer.json`, derived before the library reads it: by how much its steps may make
//! a text longer, and how long their patterns may be.
//!
//! A file of a few kilobytes may double a text forty times, and a program that has no memory left
//! cannot turn that into an error. The library runs these steps while it reads added tokens, so
//! trying a text comes too late.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

/// By how much all steps together may lengthen a text, in bytes.
///
/// The factors of the steps are those of the worst text. They come to 8 for BERT, 12 for Llama, 396
/// for XLM-R, and 6,534 for XLNet, the most of the published tokenizers: NFKD, lower case, a table, a
/// replacement and a metaspace. So a text of a kilobyte stays below ten megabytes.
const MOST_GROWTH: f64 = 10_000.0;

/// Steps of a file, which a text goes through one by one; published files have up to ten.
const MOST_STEPS: usize = 256;

/// Bytes of a pattern. The longest in use have some hundreds; the regular expressions of the
/// library give up after a million steps back.
const LONGEST_PATTERN: usize = 16 << 10;

/// Regular expressions; the library allows each ten megabytes. Published files have up to ten.
const MOST_EXPRESSIONS: usize = 32;

/// Entries of a template, and ids of one of its special tokens; they multiply.
const MOST_ENTRIES: usize = 256;

/// Bytes of the prefix or suffix that marks the pieces of a word; they are copied for each piece.
const LONGEST_MARK: usize = 256;

/// Characters of a word that is cut into pieces, which takes the cube of it. BERT has 100.
const LONGEST_WORD: u64 = 1000;

/// The parts of a `tokenizer.json` that bounds depend on; the vocabulary is skipped.
#[derive(Deserialize)]
pub(super) struct Steps {
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    pub(super) post_processor: Value,
    pub(super) model: Option<ModelSettings>,
}

/// The settings of the model that its time and its tokens depend on.
#[derive(Deserialize)]
pub(super) struct ModelSettings {
    pub(super) dropout: Option<f64>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    max_input_chars_per_word: Option<u64>,
    /// Present in models of byte pairs.
    pub(super) merges: Option<IgnoredAny>,
}

impl Steps {
    /// Checks all bounds.
    ///
    /// # Errors
    /// What is beyond its bound, with both numbers.
    pub(super) fn check(&self) -> Result<(), String> {
        let mut walk = Walk { growth: 1.0, steps: 0, expressions: 0 };
        walk.step("normalizer", &self.normalizer)?;
        walk.step("pre_tokenizer", &self.pre_tokenizer)?;
        check_templates(&self.post_processor)?;
        self.model.as_ref().map_or(Ok(()), ModelSettings::check)
    }
}

impl ModelSettings {
    fn check(&self) -> Result<(), String> {
        for (key, mark) in [
            ("continuing_subword_prefix", &self.continuing_subword_prefix),
            ("end_of_word_suffix", &self.end_of_word_suffix),
        ] {
            let found = mark.as_ref().map_or(0, String::len);
            if found > LONGEST_MARK {
                return Err(format!(
                    "`model.{key}`: expected at most {LONGEST_MARK} bytes, found {found}"
                ));
            }
        }
        match self.max_input_chars_per_word {
            Some(found) if found > LONGEST_WORD => Err(format!(
                "`model.max_input_chars_per_word`: expected at most {LONGEST_WORD}, found {found}"
            )),
            _ => Ok(()),
        }
    }
}

/// The steps so far.
struct Walk {
    growth: f64,
    steps: usize,
    expressions: usize,
}

impl Walk {
    fn step(&mut self, place: &str, step: &Value) -> Result<(), String> {
        let Value::Object(step) = step else { return Ok(()) };
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return Err(format!("`{place}`: expected at most {MOST_STEPS} steps, found more"));
        }
        self.expressions +=
            usize::from(step.get("pattern").is_some_and(|p| p.get("Regex").is_some()));
        if self.expressions > MOST_EXPRESSIONS {
            return Err(format!(
                "`{place}`: expected at most {MOST_EXPRESSIONS} regular expressions, found more"
            ));
        }
        // Old files leave the types of steps out, so the fields count as well.
        for list in ["normalizers", "pretokenizers"] {
            for (index, inner) in
                step.get(list).and_then(Value::as_array).into_iter().flatten().enumerate()
            {
                let place = format!("{place}.{list}[{index}]");
                self.step(&place, inner)?;
            }
        }
        self.growth *= growth(step).map_err(|problem| format!("`{place}`: {problem}"))?;
        if self.growth > MOST_GROWTH {
            return Err(format!(
                "`{place}`: expected steps that make a text at most {MOST_GROWTH} times as long, \
                 found {} times up to this one",
                self.growth
            ));
        }
        Ok(())
    }
}

/// By how much one step may lengthen a text of at least one byte.
fn growth(step: &Map<String, Value>) -> Result<f64, String> {
    let text = |key: &str| step.get(key).and_then(Value::as_str);
    let by_type = match text("type").unwrap_or_default() {
        // Of the longest: U+0390 becomes 6 bytes, U+1D160 12.
        "NFC" | "NFD" => 3.0,
        // U+FDFA: from 3 bytes to 33.
        "NFKC" | "NFKD" => 11.0,
        // U+0130, U+023A: from 2 bytes to 3.
        "Lowercase" => 1.5,
        // Blanks around Chinese characters (3 bytes to 5), NFD, lower case.
        "BertNormalizer" => 5.0 / 3.0 * 3.0 * 1.5,
        // A byte becomes a character of up to 2 bytes, and a blank may come before.
        "ByteLevel" if step.get("add_prefix_space") == Some(&Value::Bool(true)) => 4.0,
        "ByteLevel" => 2.0,
        // A blank becomes the replacement, and one comes before each part.
        "Metaspace" => 2.0 * text("replacement").map_or(3, str::len) as f64,
        _ => 1.0,
    };
    let pattern = step.get("pattern").and_then(Value::as_object);
    let pattern = pattern.and_then(|pattern| pattern.iter().next());
    let length = pattern.and_then(|(_, pattern)| pattern.as_str()).map_or(0, str::len);
    if length > LONGEST_PATTERN {
        return Err(format!(
            "expected a pattern of at most {LONGEST_PATTERN} bytes, found {length}"
        ));
    }
    let replaced = text("content").map_or(1.0, |content| match pattern {
        Some((kind, _)) if kind == "String" && length > 0 => {
            (content.len() as f64 / length as f64).max(1.0)
        }
        // It may match nothing, between all characters.
        _ => 1.0 + content.len() as f64,
    });
    // It comes before each part of a text between added tokens.
    let prepended = 1.0 + text("prepend").map_or(0, str::len) as f64;
    let table = text("precompiled_charsmap").map_or(Ok(1.0), longest_replacement)?;
    Ok(by_type * replaced * prepended * table)
}

/// The longest text that a table of sentencepiece puts in place of a character, in bytes.
///
/// The table is the size of a tree, the tree, and all texts, each with a NUL at its end; the
/// library allocates what the size says.
fn longest_replacement(table: &str) -> Result<f64, String> {
    let bytes = base64(table).ok_or("`precompiled_charsmap`: expected base64")?;
    let Some((size, rest)) = bytes.split_first_chunk::<4>() else {
        let found = bytes.len();
        return Err(format!("`precompiled_charsmap`: expected 4 bytes or more, found {found}"));
    };
    let size = u32::from_le_bytes(*size);
    let Some(texts) = usize::try_from(size).ok().and_then(|size| rest.get(size..)) else {
        let found = rest.len();
        return Err(format!(
            "`precompiled_charsmap`: expected a tree of {size} bytes, found {found}"
        ));
    };
    let longest = texts.split(|byte| *byte == 0).map(<[u8]>::len).max();
    Ok(longest.unwrap_or(0).max(1) as f64)
}

/// The bytes of base64 text; `None` for other text.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0);
    for character in text.trim_end_matches('=').bytes() {
        let digit = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(digit)) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Some(bytes)
}

/// Checks how many tokens the templates put around texts.
fn check_templates(processor: &Value) -> Result<(), String> {
    let list = |key: &str| processor.get(key).and_then(Value::as_array).into_iter().flatten();
    let bound = |place: &str, found: usize| {
        if found <= MOST_ENTRIES {
            return Ok(());
        }
        Err(format!("`post_processor.{place}`: expected at most {MOST_ENTRIES}, found {found}"))
    };
    bound("processors", list("processors").count())?;
    list("processors").try_for_each(check_templates)?;
    for key in ["single", "pair"] {
        bound(key, list(key).count())?;
    }
    let tokens = processor.get("special_tokens").and_then(Value::as_object);
    for token in tokens.into_iter().flat_map(Map::values) {
        bound("special_tokens", token.get("ids").and_then(Value::as_array).map_or(0, Vec::len))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(file: Value) -> Result<(), String> {
        serde_json::from_value::<Steps>(file).unwrap().check()
    }

    /// Standard base64 of a table whose only text has `length` bytes.
    fn table(tree: u32, length: usize) -> String {
        const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let bytes = [&tree.to_le_bytes()[..], &[0; 8], &vec![b'x'; length], &[0]].concat();
        let digits = |part: &[u8]| {
            let bits = part.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte));
            let bits = bits << (8 * (3 - part.len()));
            let digit = |i: usize| char::from(DIGITS[(bits >> (18 - 6 * i)) as usize & 63]);
            (0..=part.len()).map(digit).collect::<String>()
        };
        let text: String = bytes.chunks(3).map(digits).collect();
        format!("{text}{}", "=".repeat((3 - bytes.len() % 3) % 3))
    }

    fn replace(pattern: Value, content: &str) -> Value {
        json!({"type": "Replace", "pattern": pattern, "content": content})
    }

    #[test]
    fn published_chains_are_within_the_bound() {
        let spaces = replace(json!({"Regex": " {2,}"}), " ");
        let metaspace =
            json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"});
        let map = json!({"type": "Precompiled", "precompiled_charsmap": table(8, 33)});
        for file in [
            json!({"normalizer": {"type": "BertNormalizer"}, "pre_tokenizer": {"type": "BertPreTokenizer"}}),
            json!({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": true}}),
            json!({"normalizer": {"type": "Sequence", "normalizers": [
                {"type": "Prepend", "prepend": "▁"}, replace(json!({"String": " "}), "▁")]}}),
            json!({"normalizer": {"type": "Sequence", "normalizers": [
                {"type": "NFC"}, replace(json!({"Regex": "\\s+"}), " "), {"type": "Lowercase"}]},
                "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": "a|b"}, "behavior": "Removed", "invert": true},
                {"type": "ByteLevel"}]}}),
            json!({"normalizer": {"type": "Sequence", "normalizers": [map, spaces]},
                "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "WhitespaceSplit"}, metaspace]}}),
            // XLNet, the most of all.
            json!({"normalizer": {"type": "Sequence", "normalizers": [
                replace(json!({"String": "``"}), "\""), replace(json!({"String": "''"}), "\""),
                {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"}, map, spaces]},
                "pre_tokenizer": metaspace}),
        ] {
            assert_eq!(found(file.clone()), Ok(()), "{file}");
        }
    }

    #[test]
    fn what_grows_beyond_the_bound_names_the_step_and_both_numbers() {
        let doubling = vec![replace(json!({"String": "l"}), "ll"); 40];
        let bare = json!({"pattern": {"String": "l"}, "content": "ll"});
        let nested = (0..20).fold(
            Value::Null,
            |inner, _| json!({"type": "Sequence", "normalizers": [inner, bare.clone()]}),
        );
        let sequence =
            |steps: Value| json!({"normalizer": {"type": "Sequence", "normalizers": steps}});
        for (file, expected) in [
            (
                sequence(json!(doubling)),
                "`normalizer.normalizers[13]`: expected steps that make a text at most 10000 times \
                 as long, found 16384 times up to this one",
            ),
            (sequence(json!(vec![bare.clone(); 40])), "found 16384 times up to this one"),
            (json!({"normalizer": nested}), "found 16384 times up to this one"),
            (
                json!({"pre_tokenizer": {"type": "Sequence",
                    "pretokenizers": vec![json!({"type": "ByteLevel"}); 40]}}),
                "`pre_tokenizer.pretokenizers[13]`: expected steps",
            ),
            (sequence(json!(vec![json!({"type": "NFKC"}); 9])), "found 14641 times"),
            (sequence(json!([{"type": "Prepend", "prepend": "x".repeat(10_000)}])), "found 10001"),
            (sequence(json!([replace(json!({"Regex": ""}), &"x".repeat(10_000))])), "found 10001"),
            (sequence(json!([replace(json!({"String": ""}), &"x".repeat(10_000))])), "found 10001"),
            (
                sequence(
                    json!([{"type": "Precompiled", "precompiled_charsmap": table(8, 20_000)}]),
                ),
                "found 20000 times",
            ),
            (
                sequence(
                    json!([{"type": "Precompiled", "precompiled_charsmap": table(u32::MAX, 3)}]),
                ),
                "`precompiled_charsmap`: expected a tree of 4294967295 bytes, found 12",
            ),
            (sequence(json!([{"precompiled_charsmap": "*"}])), "expected base64"),
            (
                sequence(json!([{"precompiled_charsmap": "AA"}])),
                "expected 4 bytes or more, found 1",
            ),
            (
                sequence(json!(vec![json!({"type": "Strip"}); 300])),
                "`normalizer.normalizers[255]`: expected at most 256 steps, found more",
            ),
            (
                json!({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "a".repeat(20_000)}}}),
                "`pre_tokenizer`: expected a pattern of at most 16384 bytes, found 20000",
            ),
            (
                sequence(json!(vec![replace(json!({"Regex": "\\w{9}"}), ""); 40])),
                "`normalizer.normalizers[32]`: expected at most 32 regular expressions, found more",
            ),
            (
                json!({"post_processor": {"single": vec![json!({}); 300]}}),
                "`post_processor.single`: expected at most 256, found 300",
            ),
            (
                json!({"post_processor": {"processors": [
                    {"special_tokens": {"a": {"ids": vec![1; 300]}}}]}}),
                "`post_processor.special_tokens`: expected at most 256, found 300",
            ),
            (
                json!({"model": {"continuing_subword_prefix": "#".repeat(300)}}),
                "`model.continuing_subword_prefix`: expected at most 256 bytes, found 300",
            ),
            (
                json!({"model": {"max_input_chars_per_word": 1_000_000}}),
                "`model.max_input_chars_per_word`: expected at most 1000, found 1000000",
            ),
        ] {
            let problem = found(file).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
    }

    #[test]
    fn base64_is_read_as_the_library_reads_it() {
        assert_eq!(base64("AQIDBA==").unwrap(), [1, 2, 3, 4]);
        assert_eq!(base64("+/8=").unwrap(), [0xfb, 0xff]);
        assert_eq!(base64(""), Some(vec![]));
        assert_eq!(base64("a b"), None);
    }
}
