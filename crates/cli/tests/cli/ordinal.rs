//! Labels with an order: the answer is the median, in every output.

use std::fs;

use serde_json::Value;

use super::{Folder, train::tiny_model};

const GRADES: [&str; 3] = ["bad", "ok", "good"];

/// A model with an ordinal task in `run`.
fn trained() -> Folder {
    let config = format!(
        "[encoder]\nmodel = {:?}\n[data]\ntrain = \"rows.csv\"\ndev = \"rows.csv\"\n\
         [[task]]\nname = \"grade\"\nkind = \"ordinal\"\nlabels = {GRADES:?}\n\
         [train]\nrecipe = \"full\"\nepochs = 8\nbatch_size = 8\nhead_learning_rate = 3e-2\n",
        tiny_model()
    );
    let folder = Folder::with("config.toml", config);
    let row = |i: usize| format!("{} {i},{}\n", ["poor", "plain", "nice"][i % 3], GRADES[i % 3]);
    let rows: String = (0..60).map(row).collect();
    fs::write(folder.path("rows.csv"), format!("text,grade\n{rows}")).unwrap();
    folder.run(&["train", "config.toml", "-o", "run", "-q"]).ok();
    folder
}

/// The median of logits that are found from the probabilities at this temperature.
fn median(probabilities: &[f64], temperature: f64) -> usize {
    let mut above = 1.0;
    for (label, probability) in probabilities.iter().enumerate() {
        let rest: f64 = probabilities[label..].iter().sum();
        let odds = (rest - probability) / probability;
        above /= 1.0 + (-odds.ln() * temperature).exp();
        if above <= 0.5 {
            return label;
        }
    }
    probabilities.len() - 1
}

#[test]
fn predict_answers_the_median_at_any_temperature_and_eval_counts_it() {
    let folder = trained();
    let file = folder.path("run/model/polyhead.json");
    let mut json: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let mut answers = Vec::new();
    let mut scores = Vec::new();
    // A head of another temperature has other probabilities and the same answers.
    for temperature in [1.0, 0.4, 5.0] {
        json["tasks"][0]["temperature"] = temperature.into();
        fs::write(&file, json.to_string()).unwrap();
        let lines = folder.run(&["predict", "run", "-i", "rows.csv"]).ok().json_lines();
        let labels: Vec<String> = lines
            .iter()
            .map(|line| {
                let grade = &line["tasks"]["grade"];
                let all = GRADES.map(|label| grade["probabilities"][label].as_f64().unwrap());
                let label = grade["label"].as_str().unwrap().to_owned();
                assert_eq!(grade["probability"], grade["probabilities"][&label]);
                assert!((all.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{grade}");
                assert_eq!(label, GRADES[median(&all, temperature)], "{grade}");
                label
            })
            .collect();
        folder.run(&["predict", "run", "-i", "rows.csv", "-o", "out.csv", "-q"]).ok();
        let csv = fs::read_to_string(folder.path("out.csv")).unwrap();
        assert!(csv.starts_with("input_grade,text,grade,grade_probability\n"), "{csv}");
        let of_csv: Vec<&str> =
            csv.lines().skip(1).map(|line| line.split(',').nth(2).unwrap()).collect();
        assert_eq!(of_csv, labels);
        fs::remove_file(folder.path("out.csv")).unwrap();

        let eval = folder.run(&["eval", "run", "-i", "rows.csv", "--json", "-q"]).ok();
        let metrics: Value = serde_json::from_str(&eval.out).unwrap();
        let metrics = &metrics["tasks"]["grade"];
        let right = (0..60).filter(|i| labels[*i] == GRADES[i % 3]).count();
        assert_eq!(metrics["accuracy"].as_f64().unwrap(), right as f64 / 60.0);
        answers.push(labels);
        scores.push((metrics["accuracy"].clone(), metrics["mae"].clone()));
    }
    assert!(answers.windows(2).all(|two| two[0] == two[1]));
    assert!(scores.windows(2).all(|two| two[0] == two[1]), "{scores:?}");
}
