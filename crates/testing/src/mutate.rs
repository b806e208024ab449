//! Files that are nearly good, for readers of files that come from strangers.

use std::fmt;
use std::fs;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

/// The longest time for one case. A reader that is slower than this hangs.
const CASE_TIME: Duration = Duration::from_secs(20);
/// The address space that all cases may take on top. Test threads take some of it as well.
const MEMORY_KB: u64 = 4 << 20;

/// Calls `check` with files that differ from `good` in some places, and with arbitrary bytes.
///
/// Values of a JSON file are replaced, removed and repeated; words, numbers and single bytes of
/// every file as well. Fails where `check` panics, takes too long, or takes much memory.
///
/// - `cases`: number of files, the same in every run; with `PROPTEST_CASES` in the environment, so
///   many others
#[track_caller]
pub fn check_mutations(good: &[u8], cases: u32, check: impl Fn(&[u8])) {
    let given = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let config = Config {
        cases: given.unwrap_or(cases),
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..Config::default()
    };
    // The same files in every run, so that what has passed once passes again.
    let mut runner = match given {
        None => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
        Some(_) => TestRunner::new(config),
    };
    let before = address_space();
    let tested = runner.run(&mutations(good), |Shown(bytes)| {
        let begun = Instant::now();
        check(&bytes);
        prop_assert!(begun.elapsed() < CASE_TIME, "took {:?}", begun.elapsed());
        let taken = address_space().saturating_sub(before);
        prop_assert!(taken < MEMORY_KB, "took {taken} kB of memory");
        Ok(())
    });
    if let Err(error) = tested {
        panic!("{error}");
    }
}

/// The largest address space of this process so far, in kB; 0 where the system does not tell.
fn address_space() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// Bytes that are shown as a text.
#[derive(Clone)]
struct Shown(Vec<u8>);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{}", self.0.escape_ascii())
    }
}

fn mutations(good: &[u8]) -> BoxedStrategy<Shown> {
    let bytes = vec(any::<u8>(), 0..200).prop_map(Shown);
    let good = good.to_vec();
    let json = serde_json::from_slice::<Value>(&good).ok();
    let words = vec(edit(), 1..3).prop_map(move |edits| Shown(edited(&good, &edits)));
    match json {
        None => prop_oneof![1 => bytes, 9 => words].boxed(),
        Some(json) => {
            let values = vec((any::<Index>(), change()), 1..3).prop_map(move |changes| {
                let mut json = json.clone();
                changes.iter().for_each(|(at, change)| change.apply(&mut json, *at));
                Shown(json.to_string().into_bytes())
            });
            prop_oneof![1 => bytes, 3 => words, 6 => values].boxed()
        }
    }
}

/// A change of one value of a JSON file.
#[derive(Clone, Debug)]
enum Change {
    Replace(Value),
    /// By another value of the file.
    Confuse(Index),
    Remove,
    Rename,
    Repeat,
}

fn change() -> impl Strategy<Value = Change> {
    let nested = (0..100).fold(json!(1), |inner, _| json!([inner]));
    let values = [
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(-1),
        json!(3),
        json!(0.5),
        json!(1e308),
        json!(-1e-300),
        json!(1u64 << 31),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(""),
        json!("x"),
        json!("../x"),
        json!("a\0b"),
        json!("é".repeat(3000)),
        json!([]),
        json!({}),
        json!({"x": [null]}),
        json!(vec![0; 2000]),
        nested,
    ];
    prop_oneof![
        6 => select(values.to_vec()).prop_map(Change::Replace),
        2 => any::<Index>().prop_map(Change::Confuse),
        2 => Just(Change::Remove),
        1 => Just(Change::Rename),
        1 => Just(Change::Repeat),
    ]
}

impl Change {
    fn apply(&self, json: &mut Value, at: Index) {
        let mut places = Vec::new();
        pointers(json, String::new(), &mut places);
        let place = at.get(&places);
        let other = match self {
            Self::Replace(value) => value.clone(),
            Self::Confuse(at) => {
                let other: &String = at.get(&places);
                json.pointer(other).expect("a place of it").clone()
            }
            Self::Remove | Self::Rename | Self::Repeat => Value::Null,
        };
        let parent = place.rsplit_once('/').and_then(|(parent, _)| json.pointer_mut(parent));
        let key = place.rsplit('/').next().unwrap_or_default();
        match (self, parent) {
            (Self::Replace(_) | Self::Confuse(_), _) | (_, None) => {
                *json.pointer_mut(place).expect("a place of it") = other;
            }
            (_, Some(Value::Array(items))) => {
                let item = items.remove(key.parse().expect("an index"));
                if !matches!(self, Self::Remove) {
                    items.extend([item.clone(), item]);
                }
            }
            (_, Some(Value::Object(fields))) => {
                let key = key.replace("~1", "/").replace("~0", "~");
                let value = fields.remove(&key).expect("a key of it");
                if matches!(self, Self::Rename) {
                    fields.insert(format!("{key}x"), value);
                }
            }
            _ => unreachable!("only lists and objects have values"),
        }
    }
}

/// Every place in a JSON value, as JSON pointers.
fn pointers(value: &Value, place: String, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let key = key.replace('~', "~0").replace('/', "~1");
                pointers(value, format!("{place}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointers(item, format!("{place}/{index}"), found);
            }
        }
        _ => {}
    }
    found.push(place);
}

/// A change of the words or bytes of a file.
#[derive(Clone, Debug)]
enum Edit {
    Replace(Index, Vec<u8>),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
    /// One byte, wherever it is.
    Byte(Index, u8),
    Cut(Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    let words = [
        "",
        "0",
        "1",
        "-1",
        "0.5",
        "1e999",
        "nan",
        "18446744073709551616",
        "9223372036854775807",
        "true",
        "null",
        "\"\"",
        "\"x\"",
        "x",
        "é",
        "\u{301}",
        "\"",
        "'",
        "\\",
        "{",
        "}",
        "[",
        "]",
        "[[",
        "=",
        ":",
        ",",
        "#",
        " ",
        "\n",
        "\r\n",
        "\t",
        "\0",
        "\u{feff}",
        "../x",
        "/",
    ];
    let word = || {
        let known = select(words.map(str::as_bytes).to_vec()).prop_map(<[u8]>::to_vec);
        prop_oneof![5 => known, 1 => vec(any::<u8>(), 1..4), 1 => Just(vec![b'['; 3000])]
    };
    prop_oneof![
        4 => (any::<Index>(), word()).prop_map(|(at, word)| Edit::Replace(at, word)),
        2 => (any::<Index>(), word()).prop_map(|(at, word)| Edit::Insert(at, word)),
        2 => (any::<Index>(), 1usize..12).prop_map(|(at, count)| Edit::Remove(at, count)),
        1 => (any::<Index>(), 1usize..12).prop_map(|(at, count)| Edit::Repeat(at, count)),
        2 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Byte(at, byte)),
        1 => any::<Index>().prop_map(Edit::Cut),
    ]
}

fn edited(good: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for edit in edits {
        if let Edit::Byte(at, byte) = edit {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            continue;
        }
        let mut words: Vec<&[u8]> =
            bytes.chunk_by(|a, b| a.is_ascii_alphanumeric() && b.is_ascii_alphanumeric()).collect();
        let place = |at: &Index| at.index(words.len() + 1);
        match edit {
            Edit::Replace(at, word) => {
                let at = place(at);
                words.splice(at..words.len().min(at + 1), [word.as_slice()]);
            }
            Edit::Insert(at, word) => words.insert(place(at), word),
            Edit::Remove(at, count) => {
                let at = place(at);
                words.drain(at..words.len().min(at + count));
            }
            Edit::Repeat(at, count) => {
                let at = place(at);
                let again = words[at..words.len().min(at + count)].to_vec();
                words.splice(at..at, again);
            }
            Edit::Cut(at) => words.truncate(place(at)),
            Edit::Byte(..) => unreachable!("handled above"),
        }
        bytes = words.concat();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn files_differ_and_some_are_still_json() {
        let seen = RefCell::new(HashSet::new());
        let good = br#"{"a": [1, {"b/c": "d"}], "e": null}"#;
        check_mutations(good, 300, |bytes| {
            seen.borrow_mut().insert(bytes.to_vec());
        });
        let seen = seen.into_inner();
        let json = seen.iter().filter(|bytes| serde_json::from_slice::<Value>(bytes).is_ok());
        assert!(seen.len() > 150 && json.count() > 50);
    }

    #[test]
    #[should_panic = "minimal failing input"]
    fn a_panic_fails_with_the_file() {
        check_mutations(b"a = 1", 300, |bytes| assert_ne!(bytes.len(), 2));
    }
}
