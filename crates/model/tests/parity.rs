//! Parity with PyTorch, element by element, against the files of `reference/`.

use polyhead_compute::{Cpu, Isa, Team, Threads};
use polyhead_model::{
    EncodeOptions, Encoder, LoadOptions, ModelFolder, PoolingMode, Precision, Prompt,
    SentenceEncoder, Sequences, Workspace,
};
use polyhead_testing::{FAMILIES, Golden, copy_folder, golden_json, shared, tiny_model};

/// Both sides compute in single precision, in another order: errors of some
/// units in the last place per layer, on values of up to about 10.
const TOLERANCE: f32 = 1e-5;

fn texts() -> Vec<String> {
    golden_json("tiny_texts.json")
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    polyhead_testing::assert_close(what, found, expected, TOLERANCE);
}

#[test]
fn every_hidden_state_of_the_tiny_models() {
    let forms = [
        "tiny-bert-prefixed",
        "tiny-bert-sharded",
        "tiny-bert-f16",
        "tiny-bert-bf16",
        "tiny-distilbert-prefixed",
    ];
    for name in FAMILIES.into_iter().chain(forms) {
        let plain = name.trim_end_matches("-prefixed").trim_end_matches("-sharded");
        let golden = Golden::read(plain);
        for isa in Isa::available() {
            let folder = ModelFolder::open(&tiny_model(name)).expect(name);
            let threads = Threads::new(1).expect("threads");
            let encoder =
                Encoder::new(folder.config.clone(), folder.weights, isa, Precision::F32, &threads);
            for i in 0..texts().len() {
                let ids: Vec<u32> =
                    golden.get(&format!("{i}.input_ids")).iter().map(|id| *id as u32).collect();
                let types = vec![0; ids.len()];
                let offsets = [0, ids.len()];
                let input = Sequences { ids: &ids, type_ids: &types, offsets: &offsets };
                let mut check = |layer: usize, hidden: &[f32]| {
                    let what = format!("{name}, {}, text {i}, hidden state {layer}", isa.name());
                    assert_close(hidden, golden.get(&format!("{i}.hidden.{layer}")), &what);
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

/// The windows of published ModernBERT, 64 tokens on each side, below, at and beyond their size.
#[test]
fn every_hidden_state_of_texts_longer_than_a_window() {
    let golden = Golden::read("windows");
    let folder = ModelFolder::open(&tiny_model("tiny-modernbert")).expect("a model");
    let mut config = folder.config;
    config.rotary.as_mut().expect("rotary positions").window = 64;
    let threads = Threads::new(2).expect("threads");
    for isa in Isa::available() {
        let (config, weights) = (config.clone(), folder.weights.clone());
        let encoder = Encoder::new(config, weights, isa, Precision::F32, &threads);
        for (tokens, step) in [(1, 1), (127, 3), (128, 3), (129, 3), (300, 7), (1100, 27)] {
            let ids = golden.get(&format!("{tokens}.input_ids"));
            let ids: Vec<u32> = ids.iter().map(|id| *id as u32).collect();
            let (types, offsets) = (vec![0; tokens], [0, tokens]);
            let input = Sequences { ids: &ids, type_ids: &types, offsets: &offsets };
            let mut check = |layer: usize, hidden: &[f32]| {
                let width = hidden.len() / tokens;
                let rows: Vec<f32> =
                    hidden.chunks_exact(width).step_by(step).flatten().copied().collect();
                let what = format!("{tokens} tokens on {}, hidden state {layer}", isa.name());
                assert_close(&rows, golden.get(&format!("{tokens}.hidden.{layer}")), &what);
            };
            let mut workspace = Workspace::default();
            threads.cpu(isa, |cpu| {
                encoder.forward_observed(cpu, input, &mut workspace, &mut check);
            });
        }
    }
}

/// A model of real shape, made by `bench/peers/make_model.py`, and its hidden states in double
/// precision, made by `reference/make_shape_goldens.py`.
#[test]
#[ignore = "needs a folder, POLYHEAD_SHAPE: run with --ignored"]
fn real_shape() {
    let Ok(path) = std::env::var("POLYHEAD_SHAPE") else { return };
    let path = std::path::absolute(path).expect("a path");
    let golden = Golden::read(path.join("shape").to_str().expect("a path"));
    let folder = ModelFolder::open(&path).expect("a model");
    let (isa, threads) = (Isa::detect(), Threads::new(2).expect("threads"));
    let encoder = Encoder::new(folder.config, folder.weights, isa, Precision::F32, &threads);
    let mut lengths: Vec<usize> = golden
        .names("")
        .iter()
        .filter_map(|name| name.strip_suffix(".input_ids")?.parse().ok())
        .collect();
    lengths.sort_unstable();
    let mut worst = 0.0;
    for tokens in lengths {
        let ids = golden.get(&format!("{tokens}.input_ids"));
        let ids: Vec<u32> = ids.iter().map(|id| *id as u32).collect();
        let (types, offsets) = (vec![0; tokens], [0, tokens]);
        let input = Sequences { ids: &ids, type_ids: &types, offsets: &offsets };
        let mut compare = |layer: usize, hidden: &[f32]| {
            let name = format!("{tokens}.hidden.{layer}");
            // The script keeps at most 100 rows.
            let kept = hidden.chunks_exact(hidden.len() / tokens).step_by(tokens.div_ceil(100));
            let differences = kept.flatten().zip(golden.get(&name)).map(|(a, b)| (a - b).abs());
            let largest = differences.fold(0.0, f32::max);
            println!("{tokens} tokens on {}, hidden state {layer}: {largest:.1e}", isa.name());
            worst = f32::max(worst, largest);
        };
        let mut workspace = Workspace::default();
        threads.cpu(isa, |cpu| {
            encoder.forward_observed(cpu, input, &mut workspace, &mut compare);
        });
    }
    assert!(worst <= TOLERANCE, "{worst:e}");
}

/// One token, two, as many as the positions allow; and padding inside a text, which has a position
/// of its own in RoBERTa and MPNet.
#[test]
fn last_hidden_states_of_odd_sequences() {
    let golden = Golden::read("lengths");
    let threads = Threads::new(2).expect("threads");
    for name in FAMILIES {
        let folder = ModelFolder::open(&tiny_model(name)).expect(name);
        for isa in Isa::available() {
            let (config, weights) = (folder.config.clone(), folder.weights.clone());
            let (last, longest) = (config.layers, config.longest_sequence());
            let encoder = Encoder::new(config, weights, isa, Precision::F32, &threads);
            for (case, expected_tokens) in
                [("one", 1), ("two", 2), ("limit", longest), ("padding", 12)]
            {
                let ids = golden.get(&format!("{name}.{case}.input_ids"));
                let ids: Vec<u32> = ids.iter().map(|id| *id as u32).collect();
                let tokens = ids.len();
                assert_eq!(tokens, expected_tokens, "{name}, {case}");
                let (types, offsets) = (vec![0; tokens], [0, tokens]);
                let input = Sequences { ids: &ids, type_ids: &types, offsets: &offsets };
                let mut found = Vec::new();
                threads.cpu(isa, |cpu| {
                    let mut observe = |layer: usize, hidden: &[f32]| {
                        if layer == last {
                            found = hidden.to_vec();
                        }
                    };
                    let workspace = &mut Workspace::default();
                    encoder.forward_observed(cpu, input, workspace, &mut observe);
                });
                let step = if tokens > 12 { (tokens - 1) / 3 } else { 1 };
                let rows = found.chunks_exact(found.len() / tokens).step_by(step);
                let rows: Vec<f32> = rows.flatten().copied().collect();
                let what = format!("{name} on {}, {case}", isa.name());
                assert_close(&rows, golden.get(&format!("{name}.{case}.hidden")), &what);
            }
        }
    }
}

/// Without a limit in the files of its tokenizer.
#[test]
fn texts_beyond_the_positions_are_cut_there() {
    let place = tempfile::tempdir().expect("a folder");
    for name in FAMILIES {
        let folder = place.path().join(name);
        copy_folder(&tiny_model(name), &folder);
        let file = folder.join("tokenizer_config.json");
        let settings = std::fs::read(&file).expect("settings");
        let mut settings: serde_json::Value = serde_json::from_slice(&settings).expect("JSON");
        settings.as_object_mut().expect("an object").remove("model_max_length");
        std::fs::write(&file, settings.to_string()).expect("written");
        let encoder = SentenceEncoder::load(folder.to_str().expect("a path")).expect(name);
        let text = "the train is broken and ".repeat(300);
        let found = encoder.encode_tokens(&[&text], &EncodeOptions::default()).expect("vectors");
        let limit = encoder.config().longest_sequence();
        assert_eq!((encoder.max_length(), found.texts[0].kept), (limit, limit), "{name}");
        assert!(found.texts[0].total > 1500, "{name}");
        assert!(found.vectors.as_slice().iter().all(|x| x.is_finite()), "{name}");
    }
}

#[test]
fn every_pooling_mode() {
    for name in FAMILIES.into_iter().chain(["tiny-bert-vocab-only"]) {
        let golden = Golden::read(name.trim_end_matches("-vocab-only"));
        for mode in PoolingMode::ALL {
            let options = LoadOptions::default().threads(1).pooling(vec![mode]);
            let encoder =
                SentenceEncoder::load_with(tiny_model(name).to_str().expect("a path"), &options)
                    .expect(name);
            let vectors = encoder.encode(&texts()).expect("vectors");
            for i in 0..vectors.rows() {
                let expected = golden.get(&format!("{i}.pool.{mode}"));
                assert_close(vectors.row(i), expected, &format!("{name}, {mode}, text {i}"));
            }
        }
    }
}

#[test]
fn folders_as_sentence_transformers_saves_them() {
    for name in ["st6-dense", "st6-multi", "st3-dense", "st3-distil"] {
        let golden = Golden::read(name);
        let encoder =
            SentenceEncoder::load(tiny_model(name).to_str().expect("a path")).expect(name);
        let mut prompts = vec![("", Prompt::Default)];
        if name == "st6-multi" {
            prompts.push((".query", Prompt::Named("query".to_owned())));
            prompts.push((".passage", Prompt::Named("passage".to_owned())));
            prompts.push((".passage", Prompt::Text("passage: ".to_owned())));
            prompts.push((".none", Prompt::None));
        }
        for (suffix, prompt) in prompts {
            let options = EncodeOptions { prompt, ..EncodeOptions::default() };
            let vectors = encoder.encode_with(&texts(), &options).expect("vectors");
            for i in 0..vectors.embeddings.rows() {
                let expected = golden.get(&format!("{i}.embedding{suffix}"));
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
    let folder = shared().join("models/all-MiniLM-L6-v2");
    let encoder = SentenceEncoder::load(folder.to_str().expect("a path")).expect("the model");
    let golden = Golden::read("minilm");
    let texts = minilm_texts();
    let encoded = encoder.encode_with(&texts, &EncodeOptions::default()).expect("vectors");
    for (i, text) in texts.iter().enumerate() {
        let expected = &golden.get("embedding")[i * 384..(i + 1) * 384];
        assert_close(encoded.embeddings.row(i), expected, &format!("text {i}: {text:?}"));
    }
}

fn minilm_texts() -> Vec<String> {
    let file: serde_json::Value = golden_json("minilm_texts.json");
    serde_json::from_value(file["texts"].clone()).expect("a list of texts")
}
