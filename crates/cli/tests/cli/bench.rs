//! `bench`: the format of its output, not the measured values.

use super::Folder;
use super::train::tiny_model;

#[test]
fn a_model_is_measured_in_both_precisions_and_results_are_compared() {
    let folder = Folder::with("a.txt", "a cat\na train that is late\n");
    let model = tiny_model();
    let args = ["bench", "-m", &model, "-i", "a.txt", "--seconds", "1", "--json", "--threads", "1"];
    let out = folder.run(&args).ok().out;
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&report["texts"], &report["threads"]), (&2.into(), &1.into()), "{report}");
    let results = report["results"].as_array().unwrap();
    let precisions: Vec<_> = results.iter().map(|r| r["precision"].as_str().unwrap()).collect();
    assert_eq!(precisions, ["f32", "int8"]);
    for result in results {
        for name in
            ["product_gops", "encoder_gops", "share_of_product", "load_ms", "first_vector_ms"]
        {
            assert!(result[name].as_f64().unwrap() > 0.0, "{name}: {report}");
        }
        let latency = result["latency"].as_array().unwrap();
        assert!(latency.iter().all(|l| l["p50_ms"].as_f64() <= l["p99_ms"].as_f64()), "{report}");
        assert_eq!((&latency[0]["tokens"], &latency[2]["tokens"]), (&3.into(), &20.into()));
    }
    assert!(results[0]["times_as_fast"].is_null() && results[1]["times_as_fast"].is_number());

    std::fs::write(folder.path("a.json"), &out).unwrap();
    let table = folder.run(&["bench", "--compare", "a.json", "a.json"]).ok().out;
    assert!(table.contains("texts a second") && table.contains("1.00"), "{table}");
    folder.run(&["bench", "--compare", "a.json", "b.json"]).fails(1, &["b.json"]);
}

#[test]
fn one_precision_can_be_named() {
    let folder = Folder::new();
    let args = ["bench", "-m", &tiny_model(), "--seconds", "1", "--precision", "int8"];
    let table = folder.run(&args).ok().out;
    assert!(table.contains("256 built-in texts") && table.contains("int8"), "{table}");
    assert!(!table.contains("f32") && !table.contains("times as fast"), "{table}");
}
