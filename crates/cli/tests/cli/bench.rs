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

#[test]
fn several_numbers_of_threads_are_measured_in_turns() {
    let folder = Folder::with("a.txt", "a cat\na train that is late\n");
    let model = tiny_model();
    let args = ["bench", "-m", &model, "-i", "a.txt", "--seconds", "1", "--threads", "2,1,4"];
    let out = folder.run(&[&args[..], &["--json"]].concat()).ok().out;
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&report["threads"], &report["texts"]), (&2.into(), &2.into()), "{report}");
    assert_eq!(report["results"].as_array().map(Vec::len), Some(0));
    let points = report["scaling"]["points"].as_array().unwrap();
    let place = |p: &serde_json::Value| (p["precision"].to_string(), p["threads"].as_u64());
    let places: Vec<_> = points.iter().map(place).collect();
    let expected = ["\"f32\"", "\"int8\""]
        .map(|precision| [2, 1, 4].map(|threads| (precision.to_owned(), Some(threads))));
    assert_eq!(places, expected.concat());
    for (point, threads) in points.iter().zip([2.0, 1.0, 4.0].iter().cycle()) {
        let number = |name: &str| point[name].as_f64().unwrap();
        assert!(number("times_as_fast") > 0.0, "{report}");
        let share = number("times_as_fast") * 2.0 / threads;
        assert!((number("share_per_thread") - share).abs() < 1e-9, "{report}");
        assert_eq!(point["latency"]["tokens"], 20);
        assert!(point["latency"]["calls"].as_u64() >= Some(60), "{report}");
    }
    assert_eq!(
        (&points[0]["times_as_fast"], &points[3]["times_as_fast"]),
        (&1.0.into(), &1.0.into())
    );

    std::fs::write(folder.path("a.json"), &out).unwrap();
    let table = folder.run(&["bench", "--compare", "a.json", "a.json"]).ok().out;
    assert!(table.contains("threads") && table.contains("1.00"), "{table}");
    let table = folder.run(&[&args[..], &["--precision", "int8"]].concat()).ok().out;
    assert!(table.contains("share per thread") && table.contains("100.0 %"), "{table}");
    assert!(table.contains("int8") && !table.contains("f32"), "{table}");
}

#[test]
fn a_wrong_list_of_threads_is_wrong_usage() {
    let folder = Folder::new();
    for threads in ["1,", "1,,2", "1,0", "1 2", "1025,1"] {
        folder.run(&["bench", "--threads", threads]).fails(2, &["expected 1 to 1024"]);
    }
    folder.run(&["bench", "--threads", "1", "--threads", "2"]).fails(2, &["multiple times"]);
    folder.run(&["encode", "--threads", "1,2", "a text"]).fails(2, &["expected 1 to 1024"]);
}

/// A report of a `bench --json` that could not measure several numbers of threads.
#[test]
fn an_older_result_is_still_compared() {
    let spread = r#"{"median": 10.0, "min": 9.0, "max": 11.0}"#;
    let old = format!(
        r#"{{"version": "0.3.0", "model": "built-in", "processor": "P", "instructions": "avx2",
        "threads": 2, "texts": 2, "texts_from": "built-in texts", "tokens": 10, "results":
        [{{"precision": "f32", "kernels": null, "texts_per_second": {spread},
        "tokens_per_second": {spread}, "times_as_fast": null, "product_gops": 100.0,
        "encoder_gops": 90.0, "share_of_product": 0.9, "latency": [], "load_ms": 1.0,
        "first_vector_ms": 2.0, "peak_memory": null}}]}}"#
    );
    let folder = Folder::with("old.json", old);
    let table = folder.run(&["bench", "--compare", "old.json", "old.json"]).ok().out;
    assert!(table.contains("2 threads, avx2, P") && table.contains("90.00"), "{table}");
}
