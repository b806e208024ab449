//! The other commands with the built-in model.

use super::Folder;

#[test]
fn similarity_of_texts() {
    let folder = Folder::new();
    let args = ["similarity", "a cat", "a kitten", "a train"];
    let table = folder.run(&args).ok().out;
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(table.contains("1.000") && table.contains("a kitten"), "{table}");

    let json = &folder.run(&[&args[..], &["--json"]].concat()).ok().json_lines()[0];
    assert_eq!(json["texts"][2], "a train");
    let cosine = |i: usize, j: usize| json["similarity"][i][j].as_f64().unwrap();
    assert!((cosine(0, 0) - 1.0).abs() < 1e-6);
    assert_eq!(cosine(0, 1), cosine(1, 0));
    assert!(cosine(0, 1) > cosine(0, 2) + 0.2, "{json}");
}

#[test]
fn similarity_of_lines() {
    let folder = Folder::with("a.txt", "a cat\na train\n");
    let json = &folder.run(&["similarity", "-i", "a.txt", "--json"]).ok().json_lines()[0];
    assert_eq!(json["texts"].as_array().unwrap().len(), 2);

    let many = "a cat\n".repeat(21);
    let run = folder.run_with(&["similarity"], many).ok();
    assert_eq!(run.out.lines().count(), 20, "{}", run.out);
    assert!(run.err.contains("the 20 most similar of 210 pairs; --json"), "{}", run.err);
}

#[test]
fn tokens_of_a_text() {
    let folder = Folder::new();
    let sentence = "This is the assessement for sentence transformer implementation. \
                    Let's embed this sentence and check the length";
    let json = &folder.run(&["tokenize", sentence, "--json"]).ok().json_lines()[0];
    assert_eq!(json["count"], 24);
    assert_eq!(json["truncated"], false);
    let length = |key: &str| json[key].as_array().unwrap().len();
    assert_eq!((length("tokens"), length("ids"), length("offsets")), (24, 24, 24));
    assert_eq!((&json["tokens"][0], &json["ids"][0]), (&"[CLS]".into(), &101.into()));
    assert_eq!(json["offsets"][1], serde_json::json!([0, 4]));

    let table = folder.run(&["tokenize", "I like doing assesements."]).ok().out;
    assert!(table.contains("[SEP]") && table.contains("2..6"), "{table}");
}

#[test]
fn inspect_adds_up() {
    let folder = Folder::new();
    let text = folder.run(&["inspect"]).ok().out;
    for word in ["built-in", "384", "encoder layer 5", "total"] {
        assert!(text.contains(word), "expected `{word}` in: {text}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&folder.run(&["inspect", "--json"]).ok().out).unwrap();
    assert_eq!(json["dimension"], 384);
    assert_eq!(json["layers"], 6);
    assert_eq!(json["max_length"], 256);

    // By every name, and a name before the variable.
    let model = super::train::tiny_model();
    for (variable, args, expected) in [
        ("", &["inspect", "builtin"][..], 384),
        ("", &["inspect", "-m", "builtin"], 384),
        ("missing", &["inspect", "builtin"], 384),
        ("builtin", &["inspect", &model], 40),
        ("builtin", &["inspect", "-m", &model], 40),
        (&model, &["inspect"], 40),
    ] {
        let mut command = folder.command();
        if !variable.is_empty() {
            command.env("POLYHEAD_MODEL", variable);
        }
        let output = command.args(args).arg("--json").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json["dimension"], expected, "{args:?}");
    }
}

#[test]
fn doctor_finds_this_machine_in_order() {
    let folder = Folder::new();
    let run = folder.run(&["doctor"]).ok();
    assert!(run.out.contains("threads") && run.out.contains("pass"), "{}", run.out);
    let json: serde_json::Value =
        serde_json::from_str(&folder.run(&["doctor", "--json"]).ok().out).unwrap();
    assert_eq!(json["passed"], true);
    assert!(json["checks"].as_array().unwrap().len() >= 4, "{json}");
}

/// With a model so small that the training takes a second; what it learns is
/// another matter.
#[test]
fn the_demo_tells_the_whole_story() {
    let folder = Folder::new();
    let model = super::train::tiny_model();
    let run = folder.run(&["demo", "-m", &model]).ok();
    for word in [
        "sentence 1 has ",
        "[CLS]",
        "40 numbers",
        "1.000",
        "encoded in",
        "1,998 sentences",
        "accuracy",
        "63 steps in",
        "positive",
        "model   polyhead-demo/run/model",
        "polyhead predict polyhead-demo/run",
    ] {
        assert!(run.out.contains(word), "expected `{word}` in: {}", run.out);
    }
    assert!(run.out.lines().count() <= 70, "{}", run.out);
    assert!(run.out.lines().all(|line| line.chars().count() <= 100), "{}", run.out);
    assert!(run.err.contains("epoch 1/1 step 63/63"), "{}", run.err);
    assert_eq!(folder.names(), ["polyhead-demo"]);

    let again = folder.run(&["demo", "-m", &model]);
    again.fails(2, &["holds a finished demo", "--out"]);
    let readme = std::fs::read_to_string(folder.path("polyhead-demo/data/README.md")).unwrap();
    assert!(readme.contains("CC BY 4.0"), "the data go with their licence");
    // The configuration it leaves can be used as it is.
    folder.run(&["check-data", "polyhead-demo/demo.toml"]).ok();
}
