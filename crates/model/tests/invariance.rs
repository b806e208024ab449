//! The vector of a text has the same bits alone, in any batch, in any order and
//! on any number of threads.

use std::path::Path;

use polyhead_model::{LoadOptions, Matrix, Precision, SentenceEncoder};

/// Words whose pieces and lengths differ.
const WORDS: [&str; 16] = [
    "the",
    "a",
    "train",
    "Assessement",
    "42",
    "naïve",
    "electroencephalography",
    ",",
    "is",
    "not",
    "東京",
    "leaves",
    "x",
    "embedding",
    "!!",
    "of",
];

/// 500 texts of 0 to 40 words, some of 300: always the same.
fn texts() -> Vec<String> {
    let mut state = 7u64;
    let mut below = |limit: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % limit
    };
    (0..500)
        .map(|i| {
            let most = if i % 50 == 0 { 300 } else { 20 };
            let words: Vec<&str> = (0..below(most)).map(|_| WORDS[below(WORDS.len())]).collect();
            words.join(" ")
        })
        .collect()
}

fn bits(vector: &[f32]) -> Vec<u32> {
    vector.iter().map(|x| x.to_bits()).collect()
}

fn assert_invariant(load: impl Fn(&LoadOptions) -> SentenceEncoder) {
    for precision in [Precision::F32, Precision::Int8] {
        let options = LoadOptions::default().precision(precision);
        assert_invariant_on_threads(|threads| load(&options.clone().threads(threads)));
    }
}

fn assert_invariant_on_threads(load: impl Fn(usize) -> SentenceEncoder) {
    let texts = texts();
    let two = load(2);
    let expected = two.encode(&texts).expect("vectors");
    let check = |what: &str, found: &Matrix, rows: &mut dyn Iterator<Item = usize>| {
        for (row, i) in rows.enumerate() {
            assert_eq!(
                bits(found.row(row)),
                bits(expected.row(i)),
                "{what}: text {i}: {:?}",
                texts[i]
            );
        }
    };
    for (i, text) in texts.iter().enumerate() {
        check("alone", &two.encode(&[text]).expect("a vector"), &mut std::iter::once(i));
    }
    let backwards: Vec<&String> = texts.iter().rev().collect();
    check("backwards", &two.encode(&backwards).expect("vectors"), &mut (0..500).rev());
    for size in [3, 17, 64] {
        for (batch, texts) in texts.chunks(size).enumerate() {
            let found = two.encode(texts).expect("vectors");
            check(
                &format!("batches of {size}"),
                &found,
                &mut (batch * size..500).take(texts.len()),
            );
        }
    }
    for threads in [1, 3] {
        let found = load(threads).encode(&texts).expect("vectors");
        check(&format!("{threads} threads"), &found, &mut (0..500));
    }
}

#[test]
fn the_built_in_model() {
    assert_invariant(|options| SentenceEncoder::builtin_with(options).expect("the model"));
}

#[test]
fn a_model_with_ragged_sizes_and_many_modules() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/models/st6-multi");
    let folder = folder.to_str().expect("a path");
    assert_invariant(|options| SentenceEncoder::load_with(folder, options).expect("the model"));
}

#[test]
fn more_texts_than_are_tokenized_at_a_time() {
    let encoder = SentenceEncoder::load_with(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../testdata/models/tiny-bert")
            .to_str()
            .expect("a path"),
        &LoadOptions::default().threads(2),
    )
    .expect("the model");
    let texts: Vec<String> = (0..5).flat_map(|_| texts()).collect();
    let all = encoder.encode(&texts).expect("vectors");
    for (i, text) in texts.iter().enumerate().skip(900).step_by(97) {
        assert_eq!(bits(all.row(i)), bits(encoder.encode(&[text]).expect("a vector").row(0)));
    }
}
