//! Models in 8 bits.

use super::Folder;
use super::train::tiny_model;

#[test]
fn a_model_in_8_bits_is_small_near_and_read_by_every_command() {
    let folder = Folder::new();
    let model = tiny_model();
    let out = folder.run(&["quantize", &model, "-o", "small"]).ok().out;
    for word in ["400 built-in texts", "all in 8 bits", "as stored", "size"] {
        assert!(out.contains(word), "expected `{word}` in: {out}");
    }
    assert_eq!(folder.names(), ["small"]);

    let vector = |model: &str, precision: &str| -> Vec<f64> {
        let args = ["encode", "-m", model, "--precision", precision, "a cat", "-q"];
        let line = folder.run(&args).ok().json_lines().remove(0);
        line["embedding"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
    };
    let cosine = |a: &[f64], b: &[f64]| {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    let exact = vector(&model, "f32");
    for (model, precision) in [(model.as_str(), "int8"), ("small", "f32"), ("small", "int8")] {
        let found = vector(model, precision);
        assert_ne!(found, exact, "{model}, {precision}");
        let cosine = cosine(&found, &exact);
        assert!(cosine > 0.99, "{model}, {precision}: {cosine}");
    }
    let inspected = folder.run(&["inspect", "small", "--precision", "int8"]).ok().out;
    assert!(inspected.contains("i8") && inspected.contains("int8, with"), "{inspected}");
    folder.run(&["doctor", "-m", "small", "--precision", "int8"]).ok();
}

#[test]
fn a_head_that_reads_two_vectors_answers_in_8_bits() {
    let rows: String = (0..8)
        .map(|i| {
            format!("{{\"text\": [\"cat {i}\", \"dog {}\"], \"same\": \"{}\"}}\n", i / 2, i % 2)
        })
        .collect();
    let folder = Folder::with("pairs.jsonl", rows);
    let config = format!(
        "encoder.model = {:?}\ndata.train = \"pairs.jsonl\"\ntrain = {{ recipe = \"full\", max_steps = 2 }}\n\
         task = [{{ name = \"same\", kind = \"classification\", pair = \"separate\", pair_product = true }}]",
        tiny_model()
    );
    std::fs::write(folder.path("pairs.toml"), config).unwrap();
    folder.run(&["train", "pairs.toml", "-o", "run", "-q"]).ok();
    folder.run(&["quantize", "run", "-o", "small"]).ok();
    let probability = |model: &str, precision: &str| -> Vec<f64> {
        let args = ["predict", model, "-i", "pairs.jsonl", "--precision", precision];
        let lines = folder.run(&args).ok().json_lines();
        lines
            .iter()
            .map(|line| line["tasks"]["same"]["probabilities"]["1"].as_f64().unwrap())
            .collect()
    };
    let exact = probability("run", "f32");
    assert_eq!(exact.len(), 8);
    for (model, precision) in [("run", "int8"), ("small", "f32"), ("small", "int8")] {
        let found = probability(model, precision);
        assert_ne!(found, exact, "{model}, {precision}");
        // Cosines above 0.99, and a head with small weights.
        let worst = found.iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst < 0.01, "{model}, {precision}: {worst}");
    }
}

#[test]
fn products_that_cost_too_much_are_named_and_kept() {
    let folder = Folder::with("a.txt", "a cat\na train that is late\n");
    let model = tiny_model();
    let args = ["quantize", &model, "-o", "b", "-i", "a.txt", "--min-cosine", "1", "--json"];
    let report: serde_json::Value = serde_json::from_str(&folder.run(&args).ok().out).unwrap();
    let products = report["products"].as_array().unwrap();
    let kept = report["kept"].as_array().unwrap();
    assert_eq!((&report["texts"], products.len()), (&2.into(), 8), "{report}");
    assert!(!kept.is_empty(), "{report}");
    assert_eq!(products.iter().filter(|p| p["kept"] == true).count(), kept.len(), "{report}");
    let cosine = |value: &serde_json::Value| value["mean"].as_f64().unwrap();
    assert!(products.iter().all(|p| cosine(p) > cosine(&report["all"]) - 1e-3), "{report}");

    let args = ["quantize", &model, "-o", "c", "-i", "a.txt", "--report"];
    let table = folder.run(&args).ok().out;
    assert!(table.contains("query, key, value") && !table.contains("kept"), "{table}");
}

#[test]
fn what_cannot_be_quantized_says_why() {
    let folder = Folder::with("empty.txt", "");
    let model = tiny_model();
    folder.run(&["quantize", &model, "-o", "a"]).ok();
    folder.run(&["quantize", &model, "-o", "a"]).fails(2, &["a: exists already"]);
    folder
        .run(&["quantize", "a", "-o", "b"])
        .fails(1, &["a: already in 8 bits", "quantize the model that it was made from"]);
    folder.run(&["quantize", &model, "-o", "b", "-i", "empty.txt"]).fails(1, &["no texts"]);
    folder.run(&["quantize", &model, "-o", "b", "--min-cosine", "2"]).fails(2, &["from 0 to 1"]);
    let args = ["quantize", &model, "-o", "b", "--precision", "int8"];
    folder.run(&args).fails(2, &["--precision", "compares both"]);
    assert_eq!(folder.names(), ["a", "empty.txt"]);
}
