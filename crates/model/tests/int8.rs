//! Vectors in 8 bits: their accuracy, and which products are in 8 bits.

use polyhead_model::{
    CosineStats, LoadOptions, ModelFolder, Precision, PrecisionStudy, Product, SentenceEncoder,
    store_int8,
};
use polyhead_testing::{FAMILIES, golden_json, shared, tiny_model};

/// All families, and a model with many modules.
fn folders() -> impl Iterator<Item = &'static str> {
    FAMILIES.into_iter().chain(["st6-multi"])
}

fn tiny(name: &str) -> ModelFolder {
    ModelFolder::open(&tiny_model(name)).expect("a folder")
}

/// Sentences of many kinds and lengths.
fn sentences() -> Vec<String> {
    let file: serde_json::Value = golden_json("minilm_texts.json");
    serde_json::from_value(file["texts"].clone()).expect("a list of texts")
}

fn assert_near(found: CosineStats, mean: f64, worst: f64) {
    assert!(found.mean >= mean && found.worst >= worst, "{found:?}, not {mean} and {worst}");
}

/// Everything but the products is the same code, or the same bits of another.
#[test]
fn without_a_product_in_8_bits_nothing_changes() {
    for name in folders() {
        let (folder, texts) = (tiny(name), sentences());
        let study = PrecisionStudy::new(&folder, &texts, &LoadOptions::default()).expect(name);
        let nothing = study.with_products(&[]).expect(name);
        assert_near(nothing, 1.0 - 1e-12, 1.0 - 1e-12);
    }
}

#[test]
fn every_product_can_be_in_8_bits_alone_or_with_the_others() {
    for name in folders() {
        let (folder, texts) = (tiny(name), sentences());
        let study = PrecisionStudy::new(&folder, &texts, &LoadOptions::default()).expect(name);
        let products = Product::all(&folder.config);
        for product in &products {
            let alone = study.with_products(&[*product]).expect(name);
            assert!(alone.mean < 1.0 - 1e-9, "{name}, {product}: it has changed nothing");
            assert_near(alone, 0.9995, 0.99);
        }
        assert_near(study.with_products(&products).expect(name), 0.999, 0.98);
    }
}

#[test]
fn a_stored_folder_computes_what_it_stores() {
    let (folder, texts) = (tiny("tiny-bert"), sentences());
    let study = PrecisionStudy::new(&folder, &texts, &LoadOptions::default()).expect("texts");
    let place = tempfile::tempdir().expect("a folder");
    let products = Product::all(&folder.config);
    let vectors = |keep: &[Product], name: &str| {
        let out = place.path().join(name);
        store_int8(&folder, keep, &out).expect("written");
        let stored = ModelFolder::open(&out).expect("a folder");
        let found = study.with_folder(&stored).expect("vectors");
        let options = LoadOptions::default();
        let exact = SentenceEncoder::from_folder(stored.clone(), &options).expect("a model");
        let int8 = SentenceEncoder::from_folder(stored, &options.precision(Precision::Int8));
        let int8 = int8.expect("a model").encode(&texts).expect("vectors");
        (found, exact.encode(&texts).expect("vectors"), int8)
    };
    let (all, exact, int8) = vectors(&[], "all");
    assert_near(all, 0.999, 0.98);
    assert_ne!(exact.as_slice(), int8.as_slice());
    // Nothing left to compute in 8 bits: then both are the same numbers.
    let (_, exact, int8) = vectors(&products, "none");
    assert_eq!(exact.as_slice(), int8.as_slice());
}

/// The model that is compiled in was stored without factors of columns, so it is a
/// little further from its own single precision than its original would be.
#[test]
#[cfg(feature = "builtin")]
fn the_builtin_model_is_near_and_passes_its_checks() {
    let folder = ModelFolder::builtin().expect("the model");
    let texts = sentences();
    let study = PrecisionStudy::new(&folder, &texts, &LoadOptions::default()).expect("texts");
    assert_near(study.with_folder(&folder).expect("vectors"), 0.998, 0.99);
    let options = LoadOptions::default().precision(Precision::Int8);
    let encoder = SentenceEncoder::from_folder(folder, &options).expect("the model");
    for check in encoder.checks().expect("checks") {
        assert!(check.passed, "{}: {}", check.name, check.detail);
    }
}

#[test]
#[ignore = "needs ../shared: run with --ignored"]
fn all_minilm_on_a_thousand_real_texts() {
    let shared = shared();
    let folder = ModelFolder::open(&shared.join("models/all-MiniLM-L6-v2")).expect("the model");
    let text = std::fs::read_to_string(shared.join("corpus/mixed.txt")).expect("texts");
    let texts: Vec<String> = text.lines().take(1000).map(str::to_owned).collect();
    let study = PrecisionStudy::new(&folder, &texts, &LoadOptions::default()).expect("texts");
    let products = Product::all(&folder.config);
    assert_near(study.with_products(&products).expect("vectors"), 0.999, 0.995);
    let place = tempfile::tempdir().expect("a folder");
    let out = place.path().join("int8");
    store_int8(&folder, &[], &out).expect("written");
    let stored = ModelFolder::open(&out).expect("a folder");
    assert_near(study.with_folder(&stored).expect("vectors"), 0.999, 0.995);
}
