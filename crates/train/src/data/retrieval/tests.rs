use std::fs;
use std::path::PathBuf;

use polyhead_model::Matrix;

use super::*;

struct Files {
    folder: tempfile::TempDir,
}

const CORPUS: &str = "{\"_id\": \"d1\", \"title\": \"Bread\", \"text\": \"is baked\"}\n\
                      {\"_id\": \"d2\", \"title\": \"\", \"text\": \"soup\"}\n\
                      {\"_id\": \"d10\", \"title\": \"Tea\", \"text\": \"\"}\n";
const QUERIES: &str = "{\"_id\": 7, \"text\": \"what is baked\"}\n\
                       {\"_id\": \"q2\", \"text\": \"hot\"}\n\
                       {\"_id\": \"q3\", \"text\": \"no grade\"}\n";
const QRELS: &str = "query-id\tcorpus-id\tscore\n7\td1\t2\nq2\td2\t1\nq2\td10\t0\n";

impl Files {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, files: [(&str, &str); 3]) -> Result<Collection, String> {
        let [corpus, queries, qrels] = files.map(|(name, content)| {
            fs::write(self.path(name), content).unwrap();
            self.path(name)
        });
        let folder = format!("{}/", self.folder.path().display());
        Collection::read(&corpus, &queries, &qrels)
            .map_err(|error| error.to_string().replace(&folder, ""))
    }

    fn with_qrels(&self, name: &str, content: &str) -> Result<Collection, String> {
        self.read([("corpus.jsonl", CORPUS), ("queries.jsonl", QUERIES), (name, content)])
    }
}

#[test]
fn a_collection_has_titles_ids_and_the_order_of_trec_eval() {
    let collection = Files::new().with_qrels("test.tsv", QRELS).unwrap();
    let documents: Vec<(&str, &str, u64)> =
        collection.documents().iter().map(|d| (&d.id[..], &d.text[..], d.line)).collect();
    assert_eq!(documents, [("d2", "soup", 2), ("d10", "Tea", 3), ("d1", "Bread is baked", 1)]);
    let queries: Vec<&str> = collection.queries().iter().map(|query| &query.id[..]).collect();
    assert_eq!((queries, collection.without_grades()), (vec!["7", "q2"], 1));
    assert_eq!(collection.grades(0), [(2, 2)]);
    assert_eq!(collection.grades(1), [(0, 1), (1, 0)]);
}

#[test]
fn grades_are_read_in_every_form() {
    let files = Files::new();
    let expected = files.with_qrels("test.tsv", QRELS).unwrap();
    for (name, content) in [
        ("no_header.tsv", "7\td1\t2\nq2\td2\t1\n\nq2\td10\t0\n"),
        ("trec.txt", "7 0 d1 2\nq2 0 d2 1\nq2 0 d10 0\n"),
        ("trec.qrels", "7\tQ0\td1\t2\r\nq2\tQ0\td2\t1\r\nq2\tQ0\td10\t0\r\n"),
        ("other_order.tsv", "score\tquery_id\tdoc_id\n2.0\t7\td1\n1\tq2\td2\n0\tq2\td10\n"),
        ("rows.csv", "query-id,corpus-id,score\n7,d1,2\nq2,d2,1\nq2,d10,0\n"),
        (
            "rows.jsonl",
            "{\"query\": \"7\", \"doc\": \"d1\", \"grade\": 2}\n\
             {\"query\": \"q2\", \"doc\": \"d2\", \"grade\": 1}\n\
             {\"query\": \"q2\", \"doc\": \"d10\", \"grade\": 0}\n",
        ),
    ] {
        assert_eq!(files.with_qrels(name, content).unwrap(), expected, "{name}");
    }
    let csv = [
        ("corpus.csv", "id,title,text\nd1,Bread,is baked\nd2,,soup\nd10,Tea,\n"),
        ("queries.tsv", "id\ttext\n7\twhat is baked\nq2\thot\nq3\tno grade\n"),
        ("test.tsv", QRELS),
    ];
    let read = files.read(csv).unwrap();
    assert_eq!(read.documents()[2].text, "Bread is baked");
    assert_eq!(read.queries().len(), 2);
}

#[test]
fn faults_of_grades_are_named_with_their_line() {
    let files = Files::new();
    for (content, expected) in [
        ("7\td1\t2\nq9\td2\t1\n", "q.tsv: line 2: query `q9` is not in queries.jsonl"),
        (
            "7\td1\t2\n7\tx\t1\n7\ty\t1\n",
            "q.tsv: line 2: document `x` is not in corpus.jsonl, and another line has an unknown id too",
        ),
        ("7\td1\tmuch\n", "q.tsv: line 1: expected a whole number as grade, found `much`"),
        ("7\td1\t0.5\n", "q.tsv: line 1: expected a whole number as grade, found `0.5`"),
        (
            "7\td1\n",
            "q.tsv: line 1: expected 3 columns, query, document and grade, or the 4 of TREC, found 2",
        ),
        (
            "7\td1\t1\n7\td2\n",
            "q.tsv: line 2: expected 3 columns, query, document and grade, or the 4 of TREC, found 2",
        ),
        (
            "7\td1\t1\n7\td1\t2\n",
            "q.tsv: line 2: expected one grade for query `7` and document `d1`, found another one in \
             line 1",
        ),
        ("7\td1\t0\n", "q.tsv: expected a relevant document, with a grade above 0, found none"),
        ("", "q.tsv: expected a relevant document, with a grade above 0, found none"),
    ] {
        assert_eq!(files.with_qrels("q.tsv", content).unwrap_err(), expected);
    }
    let error = files.with_qrels("q.jsonl", "{\"query\": \"7\", \"doc\": \"d1\"}\n").unwrap_err();
    assert_eq!(error, "q.jsonl: line 1: no field `score`; the row has `query`, `doc`");
}

#[test]
fn faults_of_texts_are_named_with_their_line() {
    let files = Files::new();
    let twice = "{\"id\": \"a\", \"text\": \"x\"}\n{\"id\": \"a\", \"text\": \"y\"}\n";
    let blank = "{\"id\": \"a\", \"text\": \" \"}\n";
    for (corpus, queries, expected) in [
        (twice, QUERIES, "c.jsonl: line 2: expected an id of its own, found `a` as in line 1"),
        (
            "{\"text\": \"x\"}\n",
            QUERIES,
            "c.jsonl: line 1: no field `_id` or `id`; the row has `text`",
        ),
        (
            "{\"id\": null, \"text\": \"x\"}\n",
            QUERIES,
            "c.jsonl: line 1: field `id`: expected an id, found null",
        ),
        (CORPUS, blank, "q.jsonl: line 1: field `text`: expected a text, found an empty one"),
    ] {
        let read = files.read([("c.jsonl", corpus), ("q.jsonl", queries), ("test.tsv", QRELS)]);
        assert_eq!(read.unwrap_err(), expected);
    }
}

#[test]
fn search_over_a_collection_is_judged() {
    let collection = Files::new().with_qrels("test.tsv", QRELS).unwrap();
    // d2, d10 and d1; the second query is as near to d10 as to d2, which comes first.
    let documents = Matrix::new(3, 2, vec![1.0, 1.0, 1.0, 1.0, 0.0, 1.0]);
    let queries = Matrix::new(2, 2, vec![0.0, 2.0, 1.0, 1.0]);
    let metrics = collection.judge(&queries, &documents, &[1]).unwrap();
    assert_eq!((metrics.ndcg_10, metrics.map, metrics.recall_10), (1.0, 1.0, 1.0));
    assert_eq!((metrics.queries, metrics.without_relevant), (2, 0));
    // The first numbers alone: d1 and the first query are zeros there, so all cosines are equal.
    let short = &metrics.widths[0];
    assert_eq!((short.width, short.metrics.mrr_10), (1, (1.0 / 3.0 + 1.0) / 2.0));
}

#[test]
fn documents_are_left_out_for_a_query_alone() {
    let files = Files::new();
    let mut collection = files.with_qrels("test.tsv", QRELS).unwrap();
    let documents = Matrix::new(3, 2, vec![1.0, 1.0, 1.0, 0.9, 0.0, 1.0]);
    let queries = Matrix::new(2, 2, vec![1.0, 1.0, 1.0, 1.0]);
    let ranks =
        |collection: &Collection| collection.judge(&queries, &documents, &[]).unwrap().mrr_10;
    assert_eq!(ranks(&collection), (1.0 / 3.0 + 1.0) / 2.0);
    for (name, content) in [
        (
            "ignore.jsonl",
            "{\"query\": \"7\", \"doc\": \"d2\"}\n{\"query\": \"q3\", \"doc\": \"d1\"}\n",
        ),
        ("ignore.txt", "7 d2\n"),
        ("ignore.csv", "query,doc\n7,d2\n"),
    ] {
        collection = files.with_qrels("test.tsv", QRELS).unwrap();
        fs::write(files.path(name), content).unwrap();
        collection.leave_out(&files.path(name)).unwrap();
        assert_eq!(ranks(&collection), (1.0 / 2.0 + 1.0) / 2.0, "{name}");
        assert!(collection.left_out(0).contains(&0) && collection.left_out(1).is_empty());
    }
    for (content, expected) in [
        ("7 d3\n", "line 1: document `d3` is not in the corpus"),
        ("x d1\n", "expected pairs of a query with grades and a document, found none"),
        ("7 d1 0\n", "line 1: expected 2 columns, query and document, found 3"),
    ] {
        fs::write(files.path("wrong.txt"), content).unwrap();
        let error = collection.leave_out(&files.path("wrong.txt")).unwrap_err().to_string();
        assert!(error.ends_with(expected), "{error}");
    }
    // A relevant document that is left out is not waited for.
    fs::write(files.path("ignore.txt"), "q2 d2\n").unwrap();
    collection.leave_out(&files.path("ignore.txt")).unwrap();
    assert_eq!(collection.grades(1), [(1, 0)]);
    assert_eq!(collection.judge(&queries, &documents, &[]).unwrap().without_relevant, 1);
}
