//! Parity with PyTorch, element by element, against the files of `reference/`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use polyhead_compute::{Cpu, Isa, Team, Threads};
use polyhead_model::{
    EncodeOptions, Encoder, LoadOptions, ModelFolder, PoolingMode, Precision, Prompt,
    SentenceEncoder, Sequences, Workspace,
};

/// Both sides compute in single precision, in another order: errors of some
/// units in the last place per layer, on values of up to about 10.
const TOLERANCE: f32 = 1e-5;

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata")
}

fn model(name: &str) -> PathBuf {
    testdata().join("models").join(name)
}

/// The tensors of a golden file, as f32.
fn golden(name: &str) -> HashMap<String, Vec<f32>> {
    let path = testdata().join("golden").join(format!("{name}.safetensors"));
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("a golden file");
    let mut tensors = HashMap::new();
    for (name, view) in file.tensors() {
        let four = view.data().as_chunks::<4>().0;
        let values = match view.dtype() {
            safetensors::Dtype::F32 => four.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            safetensors::Dtype::I32 => four.iter().map(|b| i32::from_le_bytes(*b) as f32).collect(),
            other => panic!("{name}: {other:?}"),
        };
        tensors.insert(name, values);
    }
    tensors
}

fn texts(name: &str) -> Vec<String> {
    let path = testdata().join("golden").join(name);
    serde_json::from_slice(&std::fs::read(path).expect("texts")).expect("a list of texts")
}

/// Fails with the worst element.
fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: number of values");
    let worst = (0..found.len()).max_by(|a, b| {
        (found[*a] - expected[*a]).abs().total_cmp(&(found[*b] - expected[*b]).abs())
    });
    if let Some(i) = worst {
        let error = (found[i] - expected[i]).abs();
        assert!(error <= TOLERANCE, "{what}: at {i}: {} instead of {}", found[i], expected[i]);
    }
}

#[test]
fn every_hidden_state_of_the_tiny_models() {
    for (name, golden_name) in [
        ("tiny-bert", "tiny-bert"),
        ("tiny-bert-prefixed", "tiny-bert"),
        ("tiny-bert-sharded", "tiny-bert"),
        ("tiny-bert-f16", "tiny-bert-f16"),
        ("tiny-bert-bf16", "tiny-bert-bf16"),
        ("tiny-distilbert", "tiny-distilbert"),
        ("tiny-distilbert-prefixed", "tiny-distilbert"),
    ] {
        let golden = golden(golden_name);
        for isa in Isa::available() {
            let folder = ModelFolder::open(&model(name)).expect(name);
            let threads = Threads::new(1).expect("threads");
            let encoder =
                Encoder::new(folder.config.clone(), folder.weights, isa, Precision::F32, &threads);
            for i in 0..texts("tiny_texts.json").len() {
                let ids: Vec<u32> =
                    golden[&format!("{i}.input_ids")].iter().map(|id| *id as u32).collect();
                let types = vec![0; ids.len()];
                let offsets = [0, ids.len()];
                let input = Sequences { ids: &ids, type_ids: &types, offsets: &offsets };
                let mut check = |layer: usize, hidden: &[f32]| {
                    let what = format!("{name}, {}, text {i}, hidden state {layer}", isa.name());
                    assert_close(hidden, &golden[&format!("{i}.hidden.{layer}")], &what);
                };
                let mut workspace = Workspace::default();
                encoder.forward_observed(
                    Cpu::new(&Team::solo(), encoder.isa()),
                    input,
                    &mut workspace,
                    &mut check,
                );
            }
        }
    }
}

#[test]
fn every_pooling_mode() {
    for name in ["tiny-bert", "tiny-distilbert", "tiny-bert-vocab-only"] {
        let golden = golden(name.trim_end_matches("-vocab-only"));
        for mode in PoolingMode::ALL {
            let options = LoadOptions::default().threads(1).pooling(vec![mode]);
            let encoder =
                SentenceEncoder::load_with(model(name).to_str().expect("a path"), &options)
                    .expect(name);
            let vectors = encoder.encode(&texts("tiny_texts.json")).expect("vectors");
            for i in 0..vectors.rows() {
                let expected = &golden[&format!("{i}.pool.{mode}")];
                assert_close(vectors.row(i), expected, &format!("{name}, {mode}, text {i}"));
            }
        }
    }
}

#[test]
fn folders_as_sentence_transformers_saves_them() {
    for name in ["st6-dense", "st6-multi", "st3-dense", "st3-distil"] {
        let golden = golden(name);
        let encoder = SentenceEncoder::load(model(name).to_str().expect("a path")).expect(name);
        let mut prompts = vec![("", Prompt::Default)];
        if name == "st6-multi" {
            prompts.push((".query", Prompt::Named("query".to_owned())));
            prompts.push((".passage", Prompt::Named("passage".to_owned())));
            prompts.push((".passage", Prompt::Text("passage: ".to_owned())));
            prompts.push((".none", Prompt::None));
        }
        for (suffix, prompt) in prompts {
            let options = EncodeOptions { prompt, ..EncodeOptions::default() };
            let vectors =
                encoder.encode_with(&texts("tiny_texts.json"), &options).expect("vectors");
            for i in 0..vectors.embeddings.rows() {
                let expected = &golden[&format!("{i}.embedding{suffix}")];
                assert_close(
                    vectors.embeddings.row(i),
                    expected,
                    &format!("{name}{suffix}, text {i}"),
                );
            }
        }
    }
}

#[test]
#[ignore = "needs ../shared: run with --ignored"]
fn all_minilm_on_real_sentences() {
    let folder = testdata().join("../../shared/models/all-MiniLM-L6-v2");
    let encoder = SentenceEncoder::load(folder.to_str().expect("a path")).expect("the model");
    let golden = golden("minilm");
    let texts = minilm_texts();
    let encoded = encoder.encode_with(&texts, &EncodeOptions::default()).expect("vectors");
    for (i, text) in texts.iter().enumerate() {
        let expected = &golden["embedding"][i * 384..(i + 1) * 384];
        assert_close(encoded.embeddings.row(i), expected, &format!("text {i}: {text:?}"));
    }
}

fn minilm_texts() -> Vec<String> {
    let path = testdata().join("golden/minilm_texts.json");
    let file: serde_json::Value =
        serde_json::from_slice(&std::fs::read(path).expect("texts")).expect("an object");
    serde_json::from_value(file["texts"].clone()).expect("a list of texts")
}
