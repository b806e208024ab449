//! Pairs of texts go the whole way: from a file through training and evaluation to answers.
use crate::common;
use polyhead_compute::Threads;
use polyhead_model::{ModelFolder, MultiTaskModel, RequestOptions};
use polyhead_text::TextInput;
use polyhead_train::{Ending, EvaluateOptions, TaskMetrics, Trainer, evaluate};

/// Texts of the vocabulary of `tiny-bert`.
const WORDS: [&str; 4] = ["the train", "leaves", "the old road", "a train"];

#[test]
fn a_model_trained_on_pairs_answers_pairs_as_it_was_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    let mut lines = String::new();
    let mut rows = Vec::new();
    for first in WORDS {
        for second in WORDS {
            let label = if first == second { "same" } else { "other" };
            let row = serde_json::json!({"text": [first, second], "t": label});
            lines.push_str(&format!("{row}\n"));
            rows.push((TextInput::Pair(first, second), label));
        }
    }
    let file = folder.path().join("rows.jsonl");
    std::fs::write(&file, lines).unwrap();

    let mut config = common::config("[[task]]\nname = \"t\"\nkind = \"classification\"");
    config.encoder.model = polyhead_testing::tiny_model("tiny-bert").display().to_string();
    config.data.train = vec![file.clone()];
    config.train.epochs = 4.try_into().unwrap();
    let run = folder.path().join("run");
    let ending = Trainer::new(config).threads(2).train(&run, false).unwrap();
    let Ending::Finished(_) = ending else { panic!("{ending:?}") };

    let model = run.join("model");
    let model_folder = ModelFolder::open(&model).unwrap();
    let options = EvaluateOptions { files: vec![file], ..EvaluateOptions::default() };
    let found = evaluate(&model_folder, &options, &Threads::new(2).unwrap()).unwrap();
    let TaskMetrics::Classification(metrics) = &found.tasks[0].1 else { panic!("{found:?}") };

    let model = MultiTaskModel::load(model.to_str().unwrap()).unwrap();
    let loss = |inputs: &[TextInput<&str>]| {
        let answers = model.predict_inputs(inputs, &RequestOptions::default()).unwrap();
        let labels = &answers.tasks[0].labels;
        let losses = answers.texts.iter().zip(&rows).map(|(answer, (_, label))| {
            let index = labels.iter().position(|known| known == label).unwrap();
            -f64::from(answer.tasks[0].probabilities.row(0)[index]).ln()
        });
        losses.sum::<f64>() / rows.len() as f64
    };
    let pairs: Vec<_> = rows.iter().map(|(pair, _)| pair.clone()).collect();
    let expected = metrics.loss.unwrap();
    // Probabilities are f32, the losses of `evaluate` are sums in f64.
    assert!((loss(&pairs) - expected).abs() < 1e-5, "{} against {expected}", loss(&pairs));
    let texts: Vec<_> = pairs.iter().map(TextInput::text).collect();
    let error = model.predict(&texts).unwrap_err().to_string();
    let expected =
        "text 1: task `t`: expected a pair of texts, as it was trained on pairs, found one text";
    assert_eq!(error, expected);
}
