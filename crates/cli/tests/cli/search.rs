//! `search` and `mine-negatives` with the built-in model.

use std::fs;

use polyhead_testing::Classifier;
use serde_json::{Value, json};

use super::Folder;

const CORPUS: &str = "{\"_id\": \"d1\", \"text\": \"The cat sleeps on the sofa.\"}\n\
                      {\"_id\": 2, \"text\": \"Trains to Berlin leave every hour.\"}\n\
                      {\"text\": \"A recipe for tomato soup.\"}\n";

fn hits(folder: &Folder, args: &[&str]) -> Vec<Value> {
    folder.run(&[&["search", "-i", "c.jsonl", "-q"], args].concat()).ok().json_lines()
}

#[test]
fn search_ranks_the_texts_of_a_file() {
    let folder = Folder::with("c.jsonl", CORPUS);
    let lines = hits(&folder, &["railway connections", "pets"]);
    assert_eq!(lines.len(), 6);
    assert_eq!((&lines[0]["query"], &lines[0]["rank"]), (&json!("railway connections"), &json!(1)));
    // An id is what the row has; a row without one has its line.
    assert_eq!((&lines[0]["id"], lines[0].get("line")), (&json!(2), None));
    assert_eq!(lines[0]["text"], "Trains to Berlin leave every hour.");
    assert_eq!((&lines[3]["query"], &lines[3]["id"]), (&json!("pets"), &json!("d1")));
    let soup = lines.iter().find(|line| line.get("id").is_none()).unwrap();
    assert_eq!(soup["line"], 3);
    let score = |line: usize| lines[line]["score"].as_f64().unwrap();
    assert!(score(0) > score(1) && score(1) >= score(2) && score(0) < 1.0);

    assert_eq!(hits(&folder, &["pets", "--top", "1"]), lines[3..4]);
    let text = Folder::with("t.txt", "a cat\na train\n");
    let lines = text.run(&["search", "-i", "t.txt", "a cat", "--top", "1"]).ok().json_lines();
    assert_eq!((&lines[0]["line"], &lines[0]["text"]), (&json!(1), &json!("a cat")));
}

#[test]
fn an_index_is_read_while_it_fits() {
    let folder = Folder::with("c.jsonl", CORPUS);
    let args = ["search", "-i", "c.jsonl", "--index", "c.index", "pets"];
    let without = hits(&folder, &["pets"]);
    let first = folder.run(&args).ok();
    assert_eq!((first.json_lines(), &first.err[..]), (without.clone(), ""));
    let bytes = fs::read(folder.path("c.index")).unwrap();
    let second = folder.run(&args).ok();
    assert_eq!((second.json_lines(), &second.err[..]), (without, ""));
    assert_eq!(fs::read(folder.path("c.index")).unwrap(), bytes);

    // Other rows, then another width: the index is made again, and said so.
    fs::write(folder.path("c.jsonl"), CORPUS.replace("cat", "dog")).unwrap();
    let note = "c.index: the index is of other rows or another model, so it is made again";
    assert!(folder.run(&args).ok().err.contains(note));
    assert_eq!(folder.run(&args).ok().err, "");
    let narrow = folder.run(&[&args[..], &["--dim", "64"]].concat()).ok();
    assert!(narrow.err.contains(note));
    assert_eq!(narrow.json_lines(), hits(&folder, &["pets", "--dim", "64"]));

    // A file that is no index stays what it is.
    for content in [&b"mine"[..], b""] {
        fs::write(folder.path("c.index"), content).unwrap();
        folder.run(&args).fails(1, &["c.index: expected an index that `search` has written"]);
        assert_eq!(fs::read(folder.path("c.index")).unwrap(), content);
    }
}

#[test]
fn search_names_what_is_missing() {
    let folder = Folder::with("c.jsonl", CORPUS);
    fs::write(folder.path("empty.txt"), "").unwrap();
    for (args, expected) in [
        (&["search", "pets"][..], "--input"),
        (&["search", "-i", "c.jsonl"], "QUERY"),
        (&["search", "-i", "c.jsonl", " "], "expected a query, found \" \""),
        (&["search", "-i", "c.jsonl", "pets", "--top", "0"], "--top"),
    ] {
        folder.run(args).fails(2, &[expected]);
    }
    folder.run(&["search", "-i", "empty.txt", "pets"]).fails(1, &["empty.txt: no texts"]);
    let run = folder.run(&["search", "-i", "c.jsonl", "pets", "--field", "body"]);
    run.fails(1, &["c.jsonl: line 1: no field `body`"]);
}

const PAIRS: &str = "query,positive\n\
                     where do cats sleep,The cat sleeps on the sofa.\n\
                     where do cats sleep,Cats sleep in baskets.\n\
                     trains to Berlin,Trains to Berlin leave every hour.\n";

#[test]
fn negatives_are_near_and_no_answers() {
    let folder = Folder::with("pairs.csv", PAIRS);
    fs::write(
        folder.path("more.jsonl"),
        "{\"text\": \"where do cats sleep\"}\n{\"text\": \"Dogs sleep on the sofa.\"}\n",
    )
    .unwrap();
    let mine = |args: &[&str]| folder.run(&[&["mine-negatives", "-i", "pairs.csv"], args].concat());
    let run = mine(&["--candidates", "more.jsonl", "--negatives", "1"]).ok();
    let lines = run.json_lines();
    assert_eq!(lines.len(), 3);
    for (line, positive) in
        lines.iter().zip(["The cat sleeps on the sofa.", "Cats sleep in baskets."])
    {
        let expected = json!({
            "query": "where do cats sleep",
            "positive": positive,
            "negative": "Dogs sleep on the sofa.",
        });
        assert_eq!(line, &expected);
    }
    assert!(run.err.contains("3 negatives for 3 pairs, from 5 candidates"), "{}", run.err);
    assert!(!run.err.contains("fewer"), "{}", run.err);

    // Of three candidates two answer the first query: the missing negatives are said.
    let run = mine(&["--negatives", "2", "--out", "out.jsonl"]).ok();
    assert_eq!(run.out, "");
    let lines = fs::read_to_string(folder.path("out.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 4);
    assert!(run.err.contains("2 pairs have fewer than 2, 0 of them none"), "{}", run.err);
    let run = mine(&["--max-score", "-0.9"]).ok();
    assert_eq!(run.out, "");
    assert!(run.err.contains("3 pairs have fewer than 3, 3 of them none"), "{}", run.err);
}

#[test]
fn a_cross_encoder_leaves_out_what_it_takes_for_answers() {
    let folder = Folder::with("pairs.csv", PAIRS);
    fs::create_dir(folder.path("judge")).unwrap();
    let judge = Classifier::read("cross-bert", "identity").write(&folder.path("judge"));
    let judge = judge.to_str().unwrap();
    let passages = PAIRS.lines().skip(1).map(|line| line.split_once(',').unwrap().1);
    fs::write(folder.path("passages.txt"), passages.collect::<Vec<_>>().join("\n")).unwrap();
    let args = ["mine-negatives", "-i", "pairs.csv", "--negatives", "2"];
    let veto = |margin: &str| {
        folder.run(&[&args[..], &["--veto", judge, "--veto-margin", margin]].concat()).ok()
    };
    let found = veto("0");
    let all = folder.run(&args).ok().json_lines();
    let kept = found.json_lines();
    // The negatives without it, but for those that it scores as the answer or better.
    let score = |line: &Value, text: &str| {
        let query = line["query"].as_str().unwrap();
        let args = ["rerank", judge, "--query", query, "-i", "passages.txt", "--json"];
        let ranked = folder.run(&args).ok().json_lines();
        let of = ranked.iter().find(|ranked| ranked["text"] == line[text]).unwrap();
        of["score"].as_f64().unwrap()
    };
    let answers = |line: &&Value| score(line, "negative") < score(line, "positive");
    let expected: Vec<Value> = all.iter().filter(answers).cloned().collect();
    assert!(!expected.is_empty() && expected.len() < all.len(), "{all:?}");
    assert_eq!(kept, expected);
    let message = format!("the cross-encoder left out {}", all.len() - kept.len());
    assert!(found.err.contains(&message), "{}", found.err);
    assert_eq!(veto("1000").out, "");

    for (args, code, expected) in [
        (&["--veto", "builtin"][..], 2, "--veto builtin: expected a cross-encoder"),
        (&["--veto", judge, "--veto-margin=-1"], 2, "--veto-margin"),
        (&["--veto-margin", "1"], 2, "--veto"),
        (&["--veto", judge, "--veto-task", "x"], 2, "task `x`"),
    ] {
        folder
            .run(&[&["mine-negatives", "-i", "pairs.csv"], args].concat())
            .fails(code, &[expected]);
    }
}

#[test]
fn negatives_of_a_collection() {
    let folder = Folder::with("c.jsonl", CORPUS.replace("{\"text\"", "{\"id\": \"x\", \"text\""));
    fs::write(folder.path("q.jsonl"), "{\"_id\": \"q\", \"text\": \"pets\"}\n").unwrap();
    fs::write(folder.path("r.tsv"), "q\td1\t1\nq\tx\t0\n").unwrap();
    let args =
        ["mine-negatives", "--corpus", "c.jsonl", "--queries", "q.jsonl", "--qrels", "r.tsv"];
    let lines = folder.run(&args).ok().json_lines();
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line["positive"] == "The cat sleeps on the sofa."));
    // A document without a text is no candidate and no answer.
    let mut corpus = fs::read_to_string(folder.path("c.jsonl")).unwrap();
    corpus.push_str("{\"_id\": \"empty\", \"title\": \"\", \"text\": \" \"}\n");
    fs::write(folder.path("c.jsonl"), corpus).unwrap();
    fs::write(folder.path("r.tsv"), "q\td1\t1\nq\tempty\t1\n").unwrap();
    let run = folder.run(&args).ok();
    assert_eq!(run.json_lines().len(), 2);
    assert!(run.err.contains("; 1 answers have no text and are left out"), "{}", run.err);
    assert!(!run.out.contains("\" \""), "{}", run.out);
    fs::write(folder.path("r.tsv"), "q\td9\t1\n").unwrap();
    folder.run(&args).fails(1, &["r.tsv: line 1: document `d9` is not in c.jsonl"]);
}

#[test]
fn mining_names_what_is_wrong() {
    let folder = Folder::with("pairs.csv", PAIRS);
    fs::write(folder.path("blank.csv"), "query,positive\na,b\nc, \n").unwrap();
    for (args, code, expected) in [
        (&[][..], 2, "--input"),
        (&["-i", "pairs.csv", "--min-rank", "100"], 2, "--min-rank 100: expected less than"),
        (&["-i", "pairs.txt"], 2, "pairs.txt: expected a name that ends in"),
        (&["-i", "pairs.csv", "--query-field", "anchor"], 1, "no column `anchor`"),
        (&["-i", "blank.csv"], 1, "line 3: field `positive`: expected a text, found an empty one"),
        (&["--corpus", "c.jsonl"], 2, "--queries"),
    ] {
        folder.run(&[&["mine-negatives"], args].concat()).fails(code, &[expected]);
    }
}
