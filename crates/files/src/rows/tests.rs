//! Rows of all formats: what is read, what is wrong, and on which line.

use std::io::BufReader;

use proptest::prelude::*;

use super::RowFormat::{Csv, JsonLines, Text, Tsv};
use super::*;

fn records(format: RowFormat, source: &[u8]) -> Result<Vec<Record>, String> {
    let read = || RowReader::new(source, format)?.collect::<Result<_, _>>();
    read().map_err(|error: RowError| error.to_string())
}

/// Line and field `text` of every row.
fn texts(format: RowFormat, source: &[u8]) -> Result<Vec<(u64, String)>, String> {
    let text = |record: &Record| {
        let text = record.text("text").map_err(|error| error.to_string())?;
        Ok((record.line(), text.unwrap_or("nothing").to_owned()))
    };
    records(format, source)?.iter().map(text).collect()
}

fn owned<const N: usize>(rows: [(u64, &str); N]) -> Vec<(u64, String)> {
    rows.map(|(line, text)| (line, text.to_owned())).to_vec()
}

#[test]
fn the_suffix_decides_and_case_does_not_matter() {
    for (name, expected) in [
        ("a.txt", Some(Text)),
        ("a.TXT", Some(Text)),
        ("a.b.jsonl", Some(JsonLines)),
        ("a/b.JSONL", Some(JsonLines)),
        ("a.csv", Some(Csv)),
        ("a.Csv.GZ", Some(Csv)),
        ("a.tsv", Some(Tsv)),
        ("a.jsonl.gz", Some(JsonLines)),
        ("a.gz", None),
        (".gz", None),
        ("a.parquet", None),
        ("a.json", None),
        ("txt", None),
        (".txt", None),
    ] {
        assert_eq!(RowFormat::from_path(Path::new(name)), expected, "{name}");
    }
}

#[test]
fn nothing_in_nothing_out() {
    for (format, source) in
        [(Text, ""), (JsonLines, ""), (JsonLines, "\n \n"), (Csv, ""), (Csv, "id,text\n")]
    {
        assert_eq!(texts(format, source.as_bytes()).unwrap(), [], "{source:?}");
    }
}

#[test]
fn every_line_is_a_text() {
    let found = texts(Text, "one\n\n\0 two\r\nüç".as_bytes()).unwrap();
    assert_eq!(found, owned([(1, "one"), (2, ""), (3, "\0 two"), (4, "üç")]));
    let long = "word ".repeat(1 << 18);
    assert_eq!(texts(Text, long.as_bytes()).unwrap(), owned([(1, &long)]));
}

#[test]
fn every_line_is_an_object_and_blank_lines_are_skipped() {
    let source = b"{\"text\": \"a\\nb\", \"n\": 1}\r\n\n{\"text\":\"\"}\n  \n{\"n\": 2}";
    let expected = owned([(1, "a\nb"), (3, ""), (5, "nothing")]);
    assert_eq!(texts(JsonLines, source).unwrap(), expected);
}

#[test]
fn rows_have_quotes_and_both_line_ends() {
    let source = "id,text\n1,plain\n2,\"a, \"\"b\"\"\n\nc\"\n\n\n3,\n4,5\" pipe\n5,last";
    let expected =
        owned([(2, "plain"), (3, "a, \"b\"\n\nc"), (8, ""), (9, "5\" pipe"), (10, "last")]);
    assert_eq!(texts(Csv, source.as_bytes()).unwrap(), expected);
    let windows = texts(Csv, source.replace('\n', "\r\n").as_bytes()).unwrap();
    let windows: Vec<_> =
        windows.into_iter().map(|(line, text)| (line, text.replace('\r', ""))).collect();
    assert_eq!(windows, expected);
}

#[test]
fn a_carriage_return_alone_ends_a_row_but_no_line() {
    let found = texts(Csv, b"text\ra\rb\nc\n\r\n\rd\n").unwrap();
    assert_eq!(found, owned([(1, "a"), (1, "b"), (2, "c"), (4, "d")]));
}

#[test]
fn lines_are_right_across_buffers() {
    let rows: String = (0..20_000).map(|i| format!("{i},\"text\r\n{i}\"\r\n\r\n")).collect();
    let source = format!("id,text\r\n{rows}");
    for (index, record) in RowReader::new(source.as_bytes(), Csv).unwrap().enumerate() {
        assert_eq!(record.unwrap().line(), 2 + 3 * index as u64);
    }
}

#[test]
fn what_is_wrong_and_where() {
    for (format, source, expected) in [
        (Text, &b"ok\nok\n\x80\n"[..], "line 3: expected UTF-8, found byte 0x80 at position 1"),
        (JsonLines, b"{}\n[1]", "line 2: expected a JSON object, found an array"),
        (JsonLines, b"{\"text\": }", "line 1: column 10: expected value"),
        (JsonLines, b"{\"text\": \"a\"", "line 1: column 12: EOF while parsing an object"),
        (JsonLines, b"{}\n{} {}", "line 2: column 4: trailing characters"),
        (JsonLines, b"\na\0", "line 2: expected a JSON object, found `a\\u{0}`"),
        (
            JsonLines,
            b"{\"a\": 1, \"b\": [\"\\ud800\"]}",
            "line 1: column 23: expected a character, found half of one",
        ),
        (JsonLines, b"\n{\"text\": \"\xff\"}", "line 2: expected UTF-8, found byte 0xff at"),
        (JsonLines, b"{\"text\": 5}", "line 1: field `text`: expected a string, found a number"),
        (Csv, b"id,text\r\n1,a\r\n2\r\n", "line 3: expected 2 columns, found 1"),
        (Csv, b"id,text\n1,a\n2,\xff\n", "line 3: field `text`: expected UTF-8, found byte 0xff"),
        (Csv, b"id,text\n1,a\n2,\"b\n3,c\n", "line 3: expected a closing quote, found none"),
        (Csv, b"id,text\n\"", "line 2: expected a closing quote"),
        (Csv, b"\"id,text\n1,a\n", "line 1: expected a closing quote"),
    ] {
        let error = texts(format, source).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
    assert!(texts(Csv, b"id,text\n\xff,fine\n").is_ok(), "other columns may be anything");
}

/// Rows at the end of a file in every way that does not leave a quote open.
#[test]
fn a_closed_quote_at_the_end_is_fine() {
    for end in ["", "\n", "\r\n", "\r", "\n\n", "\n\n\n"] {
        for (cell, expected) in [
            ("a", "a"),
            ("\"a\"", "a"),
            ("\"a\n\"", "a\n"),
            ("5\" b", "5\" b"),
            ("\"a\"\"\"", "a\""),
        ] {
            let source = format!("id,text\n1,{cell}{end}");
            assert_eq!(texts(Csv, source.as_bytes()), Ok(owned([(2, expected)])), "{source:?}");
        }
    }
}

#[test]
fn a_quote_that_is_never_closed_is_found_in_every_column() {
    for (source, line) in [
        ("id,text\n1,a\n2,\"b\n3,c\n", 3),
        ("text,id\na,1\n\"b,2\nc,3\n", 3),
        ("text;id\n\"a\nb\";1\n\"c;2\nd;3\n", 4),
        ("text,id\n\"a,1\n", 2),
    ] {
        let error = texts(Csv, source.as_bytes()).unwrap_err();
        assert!(error.starts_with(&format!("line {line}: expected a closing quote")), "{error}");
    }
}

/// A quoted cell behind the fault closes the quote; the rows between would be one cell.
#[test]
fn a_missing_quote_is_found_at_the_next_quote() {
    let fault = |separator: &str, found: &str| {
        format!(
            "the cell whose quote opens on this line: expected {separator} or a line end after its \
             closing quote, found {found}; is a quote missing, or one in the cell not doubled? \
             (quotes that are text may stand so in a .tsv file)"
        )
    };
    for (format, source, rows, line, separator, found) in [
        (Csv, "text,label\n\"fine,ok\ny,ok\nz,\"a,b\"\nmore,ok\n", 0, 2, "`,`", "`a`"),
        (Csv, "text,label\nx,ok\n\"y,ok\n\"z\",ok\n", 1, 3, "`,`", "`z`"),
        (Csv, "text,label\nx,ok\ny,\"no\n\"z\",ok\n", 1, 3, "`,`", "`z`"),
        (Csv, "text,label\r\nx,ok\r\n\"y,ok\r\nz,\"é\"\r\n", 1, 3, "`,`", "byte 0xc3"),
        (Csv, "text;id\na;1\n\"b;2\nc;\"d\"\n", 1, 3, "`;`", "`d`"),
        (Csv, "text\tid\n\"a\"\t1\n\"b\t2\nc\t\"d\"\n", 1, 3, "a tab", "`d`"),
        (Csv, "text,label\n\"say \"hi\"\",ok\n", 0, 2, "`,`", "`h`"),
        (Csv, "text,label\nx,\"a\" \n", 0, 2, "`,`", "` `"),
        (Csv, "\"text,label\nx,\"a\"\n", 0, 1, "`,`", "`a`"),
        (Csv, "text,label\nx,ok\n\"a\nb\",\"c\nd\"e\n", 1, 4, "`,`", "`e`"),
    ] {
        let mut read = 0;
        let error = match RowReader::new(source.as_bytes(), format) {
            Ok(mut rows) => rows.find_map(|row| row.map(|_| read += 1).err()).unwrap(),
            Err(error) => error,
        };
        assert!(matches!(error, RowError::File { .. }), "{source:?}: {error}");
        let expected = format!("line {line}: {}", fault(separator, found));
        assert_eq!((read, error.to_string()), (rows, expected), "{source:?}");
    }
}

#[test]
fn quotes_that_enclose_no_whole_cell_are_text_in_a_tsv_file() {
    let found =
        texts(Tsv, b"text\tlabel\n\"Good\" is the word\tpos\n\"all of it\"\tneg\n\"open\tpos\n");
    let expected = [(2, "\"Good\" is the word"), (3, "all of it"), (4, "\"open")];
    assert_eq!(found, Ok(owned(expected)));
    let source = "text\tlabel\r\n\"a\r\nb\"\"\tc\"\tx\r\n\"\"\"d\"\"\"\tx\r\nsaid \"e\"\tx";
    let expected = [(2, "a\r\nb\"\tc"), (4, "\"d\""), (5, "said \"e\"")];
    assert_eq!(texts(Tsv, source.as_bytes()), Ok(owned(expected)));
    // The header is read by the same rule.
    assert_eq!(texts(Tsv, b"\"text\"\t\"a\" b\nx\ty\n"), Ok(owned([(2, "x")])));
}

/// A source that must not be read after its end, as a terminal, which would wait for more.
#[test]
fn a_source_is_not_read_again_after_its_end() {
    struct Once<'a>(&'a [u8], bool);
    impl io::Read for Once<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.read(buffer)?;
            assert!(!(count == 0 && std::mem::replace(&mut self.1, count == 0)), "read again");
            Ok(count)
        }
    }
    for end in ["", "\n"] {
        let source = format!("text\n{}{end}", "a\n".repeat(9_000));
        for format in [Csv, Tsv] {
            let source = BufReader::with_capacity(16, Once(source.as_bytes(), false));
            assert_eq!(RowReader::new(source, format).unwrap().count(), 9_000);
        }
    }
}

#[test]
fn empty_columns_behind_the_last_name_are_ignored() {
    let all = |source: &str| {
        let records = records(Csv, source.as_bytes())?;
        Ok::<_, String>(
            records.iter().map(|r| r.other_fields(Some("text")).unwrap()).collect::<Vec<_>>(),
        )
    };
    let id = |id: &str| vec![("id".to_owned(), format!("{id:?}"))];
    assert_eq!(all("text,id,,\na,1,,\nb,2, ,\n"), Ok(vec![id("1"), id("2")]));
    assert_eq!(all("text;id;;\na;1;;\nb;2;;\n"), Ok(vec![id("1"), id("2")]));
    assert_eq!(
        all("text,id,,\na,1,,\nb,2,,x\n").unwrap_err(),
        "line 3: column 4 has no name: expected an empty cell, found `x`"
    );
    // The index that pandas writes stands in front and has no name.
    let index = vec![(String::new(), "\"0\"".to_owned())];
    assert_eq!(all(",text\n0,a\n"), Ok(vec![index]));
}

#[test]
fn a_first_line_of_spreadsheets_names_the_separator() {
    for (format, source) in [
        (Csv, "sep=;\ntext;id\na,b;1\n\nc;2\n"),
        (Csv, "\u{feff}sep=;\r\ntext;id\r\na,b;1\r\n\r\nc;2\r\n"),
        (Csv, "sep=^\ntext^id\na,b^1\n\nc^2\n"),
        (Csv, "sep=,\ntext,id;x\n\"a,b\",1\n\nc,2\n"),
        (Tsv, "sep=;\ntext;id\na,b;1\n\nc;2\n"),
    ] {
        assert_eq!(
            texts(format, source.as_bytes()),
            Ok(owned([(3, "a,b"), (5, "c")])),
            "{source:?}"
        );
    }
    let error = texts(Csv, b"sep=::\ntext::id\n").unwrap_err();
    assert_eq!(error, "line 1: expected one ASCII character after `sep=`, found `::`");
    // A line of text or of JSON is nothing else.
    assert_eq!(texts(Text, b"sep=;\na\n"), Ok(owned([(1, "sep=;"), (2, "a")])));
}

#[test]
fn notes_say_what_was_found_by_looking() {
    let notes = |format, source: &str| {
        let mut reader = RowReader::new(source.as_bytes(), format).unwrap();
        let mut notes: Vec<String> = reader.take_note().into_iter().collect();
        while let Some(record) = reader.next() {
            record.unwrap();
            notes.extend(reader.take_note());
        }
        notes
    };
    assert_eq!(notes(Csv, "text,id\na;b,1\n"), [""; 0]);
    assert_eq!(notes(Csv, "text;id\na;1\n"), ["columns are separated by `;`"]);
    let given = ["columns are separated by `;`, as the first line says"];
    assert_eq!(notes(Csv, "sep=;\ntext;id\na;1\n"), given);
    assert_eq!(notes(Csv, "text\tid\na\t1\n"), ["columns are separated by a tab"]);
    assert_eq!(notes(Tsv, "text\tid\na\t1\n"), [""; 0]);
    let long = "x\n".repeat(101);
    let found = notes(Csv, &format!("text,id\n\"{long}\",1\n\"{long}\",2\n"));
    assert_eq!(found, ["line 2: the cell of column `text` has 101 line ends; is a quote missing?"]);
    let error = texts(Csv, b"text;id\na;b;1\n").unwrap_err();
    assert_eq!(error, "line 2: expected 2 columns, found 3; a cell with `;` in it needs quotes");
    let error = texts(Csv, b"text,label\ngood,x,, \n").unwrap_err();
    assert_eq!(error, "line 2: expected 2 columns, found 4");
}

/// A program that writes rows into a pipe may wait for the answer to the first one.
#[test]
fn the_first_rows_do_not_wait_for_the_rest() {
    struct Pipe(&'static [u8]);
    impl io::Read for Pipe {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            assert!(!self.0.is_empty(), "waits");
            self.0.read(buffer)
        }
    }
    for source in ["text;id\na;1\n", "text\tid\na\t1\n", "text,id\na,1\n", "id\na\n"] {
        let source = BufReader::with_capacity(1, Pipe(source.as_bytes()));
        assert!(RowReader::new(source, Csv).is_ok());
    }
    // Where the rows decide, a few of them do.
    let rows = "a;1\n".repeat(20);
    let source = format!("text;id,label\n{rows}").leak();
    let mut reader = RowReader::new(BufReader::with_capacity(1, Pipe(source.as_bytes())), Csv);
    assert_eq!(reader.as_mut().unwrap().take_note().unwrap(), "columns are separated by `;`");
}

/// Some faults leave the rows after them readable.
#[test]
fn faults_of_rows_and_of_files_differ() {
    for (format, source, of_file) in [
        (Csv, &b"id,text\n1\n"[..], false),
        (Csv, b"id,text\n1,\xff\n", false),
        (Csv, b"id,text\n1,\"a\n", true),
        (Csv, b"id,text\n1,\"a\"b\n", true),
        (Csv, b"id,title\n1,a\n", true),
        (Csv, b"id,id\n1,a\n", true),
        (JsonLines, b"{\"text\": \"\"}\n[]\n", false),
        (JsonLines, b"[]\n", true),
        (Csv, b"text,id,,\na,1,,x\n", false),
        (JsonLines, b"{\"title\": 1}\n", false),
        (Text, b"\xff\n", false),
    ] {
        let read = || -> Result<(), RowError> {
            for record in RowReader::new(source, format)? {
                let record = record?;
                record.text("text")?.ok_or_else(|| record.no_text("text", None))?;
            }
            Ok(())
        };
        let error = read().unwrap_err();
        assert_eq!(matches!(error, RowError::File { .. }), of_file, "{error}");
    }
}

#[test]
fn a_name_that_stands_twice_is_an_error() {
    for (format, source, expected) in [
        (JsonLines, "{}\n{\"id\": 1, \"text\": \"a\", \"id\": 1}", "line 2: two fields `id`"),
        (JsonLines, "{\"text\": \"a\", \"t\\u0065xt\": \"b\"}", "line 1: two fields `text`"),
        (JsonLines, "{\"a\": [{\"b\": {\"c\": 1, \"c\": 2}}]}", "line 1: two fields `c`"),
        (Csv, "\ntext,text\na,b\n", "line 2: two columns `text`"),
        (Csv, "id,text,id\n", "line 1: two columns `id`"),
        (
            Csv,
            ",,text\n1,2,a\n",
            "line 1: columns 1 and 2 have no name: expected a name, or no column",
        ),
        (
            Csv,
            "text,,,label\na,,,x\n",
            "line 1: columns 2 and 3 have no name: expected a name, or no column",
        ),
    ] {
        assert_eq!(records(format, source.as_bytes()).unwrap_err(), expected, "{source}");
    }
}

#[test]
fn json_that_other_programs_write_is_named() {
    for (row, expected) in [
        (r#"{"text": "a", "x": NaN}"#, "column 20: expected a JSON value, found `NaN`: write a"),
        (
            r#"{"text": "a", "x": [1, Infinity]}"#,
            "column 24: expected a JSON value, found `Infinity`",
        ),
        (r#"{"text": "a", "x": -Infinity}"#, "column 21: expected a JSON value, found `-Infinity`"),
        ("{'text': 'a'}", "column 2: expected JSON, found a single quote, as Python prints it"),
        (r#"{"text": 'a'}"#, "column 10: expected JSON, found a single quote"),
        (r#"{"text": None}"#, "column 10: expected JSON, found `None`, as Python prints it"),
        (r#"{"text": "a", "x": True}"#, "column 20: expected JSON, found `True`"),
        (r#"{"text": "a", "x": {"y": False}}"#, "column 26: expected JSON, found `False`"),
        (r#"{"text": "a \ud83d"}"#, "expected a character, found half of one"),
        (r#"{"text": "\ude00 a"}"#, "expected a character, found half of one"),
        (r#"{"text": "a","#, "column 13: EOF while parsing a value: expected a whole JSON object"),
        (r#"{"text": "it's",}"#, "column 17: trailing comma"),
        (r#"{"text": "'NaN'" "None"}"#, "column 18: expected `,` or `}`"),
        (r#"{"a":"x'""b":1}"#, "column 10: expected `,` or `}`"),
        (r#"{"a":["x'" 1]}"#, "column 12: expected `,` or `]`"),
        (r#"{"a":"'"}}"#, "column 10: trailing characters"),
    ] {
        let error = records(JsonLines, row.as_bytes()).unwrap_err();
        assert!(error.starts_with("line 1: ") && error.contains(expected), "{row}: {error}");
    }
}

#[test]
fn numbers_keep_their_spelling() {
    let source =
        r#"{"a": [1, 1.0, 1e2, -0, 9007199254740993, 123456789012345678901234567890, 1e999]}"#;
    let record = records(JsonLines, source.as_bytes()).unwrap().remove(0);
    let values = record.field("a").unwrap().unwrap().array().unwrap().unwrap();
    let written: Vec<&str> = values
        .iter()
        .map(|value| match value {
            JsonValue::Number(written) => written.as_str(),
            other => other.kind(),
        })
        .collect();
    let expected = ["1", "1.0", "1e2", "-0", "9007199254740993", "123456789012345678901234567890"];
    assert_eq!(written, [&expected[..], &["1e999"]].concat());
}

#[test]
fn values_inside_each_other_have_an_end() {
    let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    assert!(records(JsonLines, nested(128).as_bytes()).is_ok());
    let error = records(JsonLines, nested(100_000).as_bytes()).unwrap_err();
    assert_eq!(error, "line 1: column 134: expected at most 128 levels");
}

#[test]
fn a_row_without_a_text_says_what_it_has() {
    for (format, source, expected) in [
        (JsonLines, r#"{"z": "x", "b": 1}"#, "line 1: no field `text`; the row has `z`, `b`"),
        (JsonLines, "\n{}", "line 2: no field `text`; the row has nothing"),
        (JsonLines, r#"{"text": null}"#, "line 1: field `text`: expected a string, found null"),
        (
            JsonLines,
            r#"{"words": []}"#,
            "line 1: no field `text`, and no words in field `words`: expected a text or at least one word",
        ),
        (
            JsonLines,
            r#"{"text_a": "x", "text_b": "y"}"#,
            "line 1: no field `text`, but `text_a` and `text_b`: a pair is one field, an array of two strings",
        ),
        (Csv, "\nid,title\n1,a\n", "line 2: no column `text`; the header has `id`, `title`"),
    ] {
        let record = records(format, source.as_bytes()).unwrap().remove(0);
        assert_eq!(record.no_text("text", Some("words")).to_string(), expected);
    }
}

#[test]
fn other_fields_keep_their_order_and_spelling() {
    let others = |format, source: &str| {
        let record = records(format, source.as_bytes()).unwrap().remove(0);
        let others = record.other_fields(Some("text")).unwrap();
        let others: Vec<String> =
            others.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        (record.names().join(" "), others.join(" "))
    };
    let found = others(JsonLines, "{\"z\": 1.50, \"text\": \"a\", \"a\": {\"y\": [1, 2]}}");
    assert_eq!(found, ("z text a".to_owned(), "z=1.50 a={\"y\": [1, 2]}".to_owned()));
    let found = others(Csv, "id,text,n\n07,a,\"\"\"\"\n");
    assert_eq!(found, ("id text n".to_owned(), "id=\"07\" n=\"\\\"\"".to_owned()));
    // The index that pandas writes has no name.
    let found = others(Csv, ",text,n\n7,a,b\n");
    assert_eq!(found, (" text n".to_owned(), "=\"7\" n=\"b\"".to_owned()));
    let all = records(Csv, b",text,n\n7,a,b\n").unwrap().remove(0).other_fields(None).unwrap();
    assert_eq!(all[0], (String::new(), "\"7\"".to_owned()));
    assert_eq!(all.len(), 3);
    assert_eq!(others(Text, "a b"), ("text".to_owned(), String::new()));
    let record = records(Csv, b"id,text\na\xff,fine\n").unwrap().remove(0);
    assert_eq!(
        record.other_fields(Some("text")).unwrap_err().to_string(),
        "line 2: field `id`: expected UTF-8, found byte 0xff at position 2"
    );
}

#[test]
fn words_come_as_an_array_or_with_blanks_between() {
    let words = |source: &str| {
        let format = if source.starts_with('{') { JsonLines } else { Csv };
        let record = records(format, source.as_bytes()).unwrap().remove(0);
        let words = record.words("w").map_err(|error| error.to_string());
        words.map(|words| words.map(|words| words.join("+")))
    };
    for (source, expected) in [
        (r#"{"w": ["a", "b c"]}"#, Ok(Some("a+b c"))),
        (r#"{"w": []}"#, Ok(None)),
        (r#"{"w": null}"#, Ok(None)),
        (r#"{"v": ["a"]}"#, Ok(None)),
        (r#"{"w": 5}"#, Err("line 1: field `w`: expected an array of strings, found a number")),
        (r#"{"w": ["a", 1]}"#, Err("line 1: field `w`: word 2: expected a string, found a number")),
        ("id,w\n1,a  b\n", Ok(Some("a+b"))),
        ("id,w\n1,\n", Ok(None)),
        ("id,w\n1,[ NAME ]\n", Ok(Some("[+NAME+]"))),
        ("id,w\n1,[ 1 ]\n", Ok(Some("[+1+]"))),
        ("id,w\n1,[\t1 ]\n", Ok(Some("[+1+]"))),
        ("id,w\n1, [\u{a0}1 ]\n", Ok(Some("[+1+]"))),
        ("w\n\"[ 1 , None ]\"\n", Ok(Some("[+1+,+None+]"))),
        ("w\n[ ]\n", Ok(None)),
        ("w\n\"[ 'a', 'b' ]\"\n", Ok(Some("a+b"))),
        ("w\n[1]\n", Err("line 2: field `w`: word 1: expected a string, found a number")),
        ("w\n\"[\"\"New York\"\", \"\"!\"\"]\"\n", Ok(Some("New York+!"))),
        (
            "w\n\"[\"\"a\"\"\"\n",
            Err("line 2: field `w`: expected a list: column 5: expected `,` or `]`, found the end"),
        ),
    ] {
        let expected = expected.map(|words| words.map(str::to_owned)).map_err(str::to_owned);
        assert_eq!(words(source), expected, "{source}");
    }
}

#[test]
fn the_whole_row_is_hashed() {
    let hash = |format, source: &str| records(format, source.as_bytes()).unwrap()[0].sha256();
    let json = "{\"text\": \"a\", \"id\": 1}";
    assert_eq!(hash(JsonLines, json), hash(JsonLines, &format!("\n{json}\r\n")));
    assert_ne!(hash(JsonLines, json), hash(JsonLines, &json.replace('1', "2")));
    assert_eq!(hash(Text, "a\r\nb"), hash(Text, "a"));
    let expected = hash(Csv, "id,text\n1,a\n2,b\n");
    assert_eq!(hash(Csv, "id,text\r\n\r\n1,\"a\"\r\n"), expected);
    for other in ["id,text\n2,a\n", "no,text\n1,a\n", "text,id\na,1\n", "id,text\n1a,\n"] {
        assert_ne!(hash(Csv, other), expected, "{other}");
    }
}

/// Results that an interrupted program left are continued only where rows have the hashes of then.
#[test]
fn hashes_of_rows_stay_what_they_were() {
    let hash = |format, source: &[u8]| crate::hex(records(format, source).unwrap()[0].sha256());
    // python: hashlib.sha256(b"abc").hexdigest()
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(hash(Text, b"abc\n"), abc);
    // python: p = lambda b: len(b).to_bytes(8, "little") + b
    // hashlib.sha256(p(b"id") + p(b"text") + p(b"1") + p(b"a")).hexdigest()
    let csv = "179927afe13573dc69140da8bdaa469af5a1e656f265a6c0c43fa552f253aa6e";
    assert_eq!(hash(Csv, b"id,text\n1,a\n"), csv);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn no_file_makes_it_panic(bytes in near_rows(), format in 0..3) {
        let format = [Text, JsonLines, Csv][format as usize];
        let lines = 1 + bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
        let at = |error: RowError| match error {
            RowError::Row { line, .. } | RowError::File { line, .. } => line,
            RowError::Io(error) => panic!("{error}"),
        };
        let reader = match RowReader::new(&bytes[..], format) {
            Ok(reader) => reader,
            Err(error) => {
                prop_assert!((1..=lines).contains(&at(error)));
                return Ok(());
            }
        };
        // A `\r` alone ends a row of CSV, but no line.
        let mut last = 1;
        for record in reader {
            let line = match record {
                Err(error) => at(error),
                Ok(record) => {
                    let names: Vec<String> = record.names().iter().map(|n| n.to_string()).collect();
                    for name in &names {
                        let _ = (record.text(name), record.words(name), record.other_fields(Some(name)));
                    }
                    prop_assert_eq!(record.sha256().len(), 32);
                    record.line()
                }
            };
            prop_assert!((last..=lines).contains(&line), "{line} of {lines} after {last}");
            last = line;
        }
    }
}

/// Bytes that look like rows more often than not.
fn near_rows() -> impl Strategy<Value = Vec<u8>> {
    let piece = proptest::sample::select(vec![
        &b"text"[..],
        b"tokens",
        b"tokens,text,regression\n",
        b"{\"text\": \"a b\", \"tokens\": [\"a\", \"b\"]}",
        b"\"regression\": 1e999",
        b"\\ud800",
        b"[\"a\"]",
        b"\xef\xbb\xbf",
        b"\xff",
        b"\"",
        b",",
        b":",
        b"\n",
        b"\r\n",
        b"\r",
        b" ",
        b"{",
        b"}",
        b"[",
    ]);
    proptest::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

#[test]
fn a_row_without_end_is_an_error_before_it_fills_the_memory() {
    let endless = |first: &'static [u8]| BufReader::new(first.chain(io::repeat(b'a')));
    for (format, first, line, hint) in [
        (RowFormat::Text, &b"fine\n"[..], 2, ""),
        (RowFormat::JsonLines, b"{\"text\": \"fine\"}\n", 2, ""),
        (RowFormat::Csv, b"text\nfine\n\"", 3, "; is a quote missing?"),
        (RowFormat::Csv, b"", 1, ""),
    ] {
        let rows = RowReader::new(endless(first), format);
        let error = rows.and_then(|rows| rows.collect::<Result<Vec<_>, _>>()).unwrap_err();
        let expected = format!("line {line}: expected a row of at most 64 MiB{hint}");
        assert_eq!(error.to_string(), expected, "{format:?}");
    }
}
