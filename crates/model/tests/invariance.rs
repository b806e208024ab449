//! The vector of a text has the same bits alone, in any batch, in any order and
//! on any number of threads.

use polyhead_model::{LoadOptions, Matrix, Precision, SentenceEncoder};

/// 500 texts of fewer than 20 words, some of fewer than 300: always the same.
fn texts() -> Vec<String> {
    polyhead_testing::texts(500, |i| if i % 50 == 0 { 300 } else { 20 })
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
    assert_invariant_for(&texts(), load);
}

fn assert_invariant_for(texts: &[String], load: impl Fn(usize) -> SentenceEncoder) {
    let two = load(2);
    let (expected, count) = (two.encode(texts).expect("vectors"), texts.len());
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
    check("backwards", &two.encode(&backwards).expect("vectors"), &mut (0..count).rev());
    for size in [3, 17, 64] {
        for (batch, texts) in texts.chunks(size).enumerate() {
            let found = two.encode(texts).expect("vectors");
            check(
                &format!("batches of {size}"),
                &found,
                &mut (batch * size..count).take(texts.len()),
            );
        }
    }
    for threads in [1, 3] {
        let found = load(threads).encode(texts).expect("vectors");
        check(&format!("{threads} threads"), &found, &mut (0..count));
    }
}

#[cfg(feature = "builtin")]
#[test]
fn the_built_in_model() {
    assert_invariant(|options| SentenceEncoder::builtin_with(options).expect("the model"));
}

#[test]
fn a_model_with_ragged_sizes_and_many_modules() {
    let folder = polyhead_testing::tiny_model("st6-multi");
    let folder = folder.to_str().expect("a path");
    assert_invariant(|options| SentenceEncoder::load_with(folder, options).expect("the model"));
}

#[test]
fn models_of_all_families() {
    for name in polyhead_testing::FAMILIES {
        let folder = polyhead_testing::tiny_model(name);
        let folder = folder.to_str().expect("a path");
        assert_invariant(|options| SentenceEncoder::load_with(folder, options).expect("the model"));
    }
}

/// Texts of up to 1,200 tokens, which reach beyond windows and beyond the queries of a part.
#[test]
fn long_texts_with_windows_and_rotary_positions() {
    let folder = polyhead_testing::tiny_model("tiny-modernbert");
    let folder = folder.to_str().expect("a path");
    let texts = polyhead_testing::texts(24, |i| [4, 20, 90, 300, 900, 1_500][i % 6]);
    for precision in [Precision::F32, Precision::Int8] {
        let options = LoadOptions::default().precision(precision).max_length(1_200);
        assert_invariant_for(&texts, |threads| {
            let options = options.clone().threads(threads);
            SentenceEncoder::load_with(folder, &options).expect("the model")
        });
    }
}

#[test]
fn more_texts_than_are_tokenized_at_a_time() {
    let folder = polyhead_testing::tiny_model("tiny-bert");
    let options = LoadOptions::default().threads(2);
    let encoder = SentenceEncoder::load_with(folder.to_str().expect("a path"), &options);
    let encoder = encoder.expect("the model");
    let texts: Vec<String> = (0..5).flat_map(|_| texts()).collect();
    let all = encoder.encode(&texts).expect("vectors");
    for (i, text) in texts.iter().enumerate().skip(900).step_by(97) {
        assert_eq!(bits(all.row(i)), bits(encoder.encode(&[text]).expect("a vector").row(0)));
    }
}

#[test]
fn the_doctor_checks_windows_rotary_positions_and_gates() {
    let folder = polyhead_testing::tiny_model("tiny-modernbert");
    let options = LoadOptions::default().max_length(1_200);
    let encoder = SentenceEncoder::load_with(folder.to_str().expect("a path"), &options);
    let checks = encoder.expect("the model").checks().expect("checks");
    for part in ["attention to 4 tokens", "rotary positions of global", "gate of 28"] {
        assert!(checks.iter().any(|check| check.name.starts_with(part)), "{part}");
    }
    for check in checks {
        assert!(check.passed, "{}: {}", check.name, check.detail);
    }
}
