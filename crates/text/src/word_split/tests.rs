use proptest::prelude::*;

use super::*;
use crate::words::{join_words, locate_words};

fn pieces<'t>(split: &WordSplit, text: &'t str) -> Vec<&'t str> {
    let bytes: Vec<usize> =
        text.char_indices().map(|(at, _)| at).chain(std::iter::once(text.len())).collect();
    split.split(text).into_iter().map(|word| &text[bytes[word.start]..bytes[word.end]]).collect()
}

/// The rule that rows of words, separated by blanks, teach.
fn learned(rows: &[&str]) -> WordSplit {
    let mut evidence = SplitEvidence::default();
    for row in rows {
        let words: Vec<&str> = row.split_whitespace().collect();
        let (text, places) = join_words(&words);
        evidence.add(&text, &places, false);
    }
    evidence.learn()
}

/// The rule that texts and their words, separated by blanks, teach.
fn learned_beside(rows: &[(&str, &str)]) -> WordSplit {
    let mut evidence = SplitEvidence::default();
    for (text, words) in rows {
        let words: Vec<&str> = words.split_whitespace().collect();
        evidence.add(text, &locate_words(text, &words).unwrap(), true);
    }
    evidence.learn()
}

#[track_caller]
fn check(split: &WordSplit, cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let expected: Vec<&str> = expected.split(' ').filter(|word| !word.is_empty()).collect();
        assert_eq!(pieces(split, text), expected, "{text:?} by {split:?}");
    }
}

#[test]
fn blanks_and_punctuation() {
    check(
        &WordSplit::Punctuation,
        &[
            ("", ""),
            (" \t\n", ""),
            ("one", "one"),
            (" to  Köln,\nnow! ", "to Köln , now !"),
            ("don't", "don ' t"),
            ("¿qué? «sí»", "¿ qué ? « sí »"),
            // Marks belong to their letters: e with an accent apart, Devanagari vowels.
            ("cafe\u{301} नमस्ते", "cafe\u{301} नमस्ते"),
            ("a\u{3000}漢字。", "a 漢 字 。"),
            ("iPhone手机ok ありがとう", "iPhone 手 机 ok ありがとう"),
            ("3.5€", "3 . 5€"),
        ],
    );
    check(&WordSplit::Whitespace, &[("AK-1, 北京。\tü ", "AK-1, 北京。 ü"), (" ", "")]);
}

#[test]
fn words_of_unicode() {
    check(
        &WordSplit::Unicode,
        &[
            ("don't pay 3.5, ok", "don't pay 3.5 , ok"),
            ("AK-123-X", "AK - 123 - X"),
            ("北京 よる", "北 京 よ る"),
        ],
    );
}

#[test]
fn letters_of_scripts_without_blanks_stand_alone() {
    check(
        &WordSplit::Characters,
        &[
            ("小王住在北京。", "小 王 住 在 北 京 。"),
            ("東京タワーへ", "東 京 タ ワ ー へ"),
            // Vowels and tone marks belong to their letters.
            ("กินน้ำ", "กิ น น้ำ"),
            ("I'm 王", "I ' m 王"),
            ("한국어 텍스트", "한국어 텍스트"),
        ],
    );
    for text in ["ສະບາຍດີ", "សួស្តី", "မင်္ဂလာပါ"] {
        let words = WordSplit::Characters.split(text);
        assert!(words.len() > 1, "{text}: {words:?}");
    }
}

#[test]
fn codes_stay_whole_and_commas_do_not() {
    let split = learned(&[
        "please ship AK-123-X to the depot",
        "write to anna.lee@mail.example about BL-77-Z",
        "the part CM-900-Y is broken , mail eva.kim@post.example",
    ]);
    check(
        &split,
        &[
            ("ship AK-123-X.", "ship AK-123-X ."),
            ("(AK-123-X, BL-1-Z)", "( AK-123-X , BL-1-Z )"),
            ("to ben.ray@work.example!", "to ben.ray@work.example !"),
            ("is broken, mail a.b@c.example", "is broken , mail a.b@c.example"),
            // Marks that training does not have: attached inside, apart at the ends.
            ("a_b #tag 3.5 10:30 and/or O'Neil's", "a_b # tag 3.5 10:30 and/or O'Neil's"),
            ("1,000 yes,no f(x)", "1,000 yes , no f ( x )"),
        ],
    );
}

#[test]
fn marks_that_are_always_apart_are_punctuation() {
    let split = learned(&["AK - 123 is ' here ' .", "don ' t go"]);
    assert_eq!(split, WordSplit::Punctuation);
    // Marks that are one word are not apart, wherever they stand.
    for (rows, text, expected) in [
        (["well ... yes , ok", "so ... no , x"], "well... yes, a", "well ... yes , a"),
        (["well :) yes , ok", "so :) no , x"], "yes :), a", "yes :), a"),
        (["the U.S. and , ok", "J. Smith , x"], "to U.K. , a", "to U.K. , a"),
    ] {
        check(&learned(&rows), &[(text, expected)]);
    }
}

#[test]
fn marks_that_are_never_apart_are_whitespace() {
    let split = learned(&["We saw it, then left.", "Was it AK-1? Yes!"]);
    assert_eq!(split, WordSplit::Whitespace);
}

#[test]
fn words_of_messages() {
    let split = learned(&[
        "@anna look at #rust ... :)",
        "RT @ben : see http://t.co/a1 #tag now :-)",
        "I can't @carla !!! #x",
    ]);
    check(
        &split,
        &[
            ("@dan can't #go", "@dan can't #go"),
            ("well... #yes :)", "well ... #yes :)"),
            ("see http://t.co/b2?x=1&y=2.", "see http://t.co/b2?x=1&y=2 ."),
            ("www.a.example/x/", "www.a.example/x/"),
        ],
    );
}

#[test]
fn abbreviations_keep_their_period() {
    let split = learned(&[
        "The U.S. and J. Smith in Berlin .",
        "He left for the U.K. with B. Jones .",
        "It ended , he said .",
    ]);
    check(
        &split,
        &[
            ("the U.S. left Berlin.", "the U.S. left Berlin ."),
            ("by D. Meyer, in L.A.", "by D. Meyer , in L.A."),
        ],
    );
    let split = learned(&["the U.S . left .", "at a.m . or p.m . , yes", "x-y"]);
    check(&split, &[("the U.S. left.", "the U.S . left .")]);
}

#[test]
fn clitics_go_with_the_mark_they_begin_with() {
    let split = learned(&["Berlin 's wall fell .", "he 's here , she 'll come", "O'Neil 's"]);
    check(&split, &[("Anna's dog", "Anna 's dog")]);
    let split = learned_beside(&[
        ("l'amico e l'altro", "l' amico e l' altro"),
        ("dell'anno", "dell' anno"),
    ]);
    check(&split, &[("all'inizio", "all' inizio")]);
}

#[test]
fn texts_beside_words_show_where_marks_stand() {
    // Blanks around a dash are the author's; hyphens are apart all the same.
    let split = learned_beside(&[
        ("well - AK-1", "well - AK - 1"),
        ("and/or (AB-2)", "and/or ( AB - 2 )"),
        ("$5 and $6", "$5 and $6"),
    ]);
    check(&split, &[("CD-3/x", "CD - 3/x"), ("$7 (ok)", "$7 ( ok )")]);
    // Apart between digits, attached elsewhere.
    let split = learned_beside(&[("at 10:30 in a:b", "at 10 : 30 in a:b"), ("3.5", "3.5")]);
    check(&split, &[("7:45 x:y 2.5", "7 : 45 x:y 2.5")]);
}

#[test]
fn letters_are_learned() {
    let learned_letters = |rows: &[&str]| match learned(rows) {
        WordSplit::Learned(split) => split.letters,
        other => panic!("{other:?}"),
    };
    assert!(learned_letters(&["小 王 住 在 北 京 。"]));
    // Longer words are cut as well, since a text does not show where they end.
    assert!(learned_letters(&["小王 住 在 北京 。"]));
    assert!(learned_letters(&["no such letters"]));
    // Words between blanks, as in a few messages in Japanese among others.
    assert!(!learned_letters(&["hi ありがとうございます !", "ok さようなら :)"]));
}

#[test]
#[allow(clippy::single_range_in_vec_init)] // A word of one unit is meant.
fn words_of_several_letters_have_units() {
    let split = learned(&["小王 住 在 北京"]);
    for (word, expected) in [
        ("小王", &[0..1, 1..2][..]),
        ("Berlin", &[0..6]),
        ("AK-1", &[0..4]),
        ("don't!", &[0..6]),
        ("iPhone手机", &[0..6, 6..7, 7..8]),
        ("", &[0..0]),
        (" ", &[0..1]),
        ("New York", &[0..8]),
        ("小王 AK-1", &[0..1, 1..2, 3..7]),
        ("AK-1 小王 b c", &[0..4, 5..6, 6..7, 8..11]),
    ] {
        for split in [&split, &WordSplit::Characters] {
            assert_eq!(split.units(word), expected, "{word:?} by {split:?}");
        }
        assert_eq!(WordSplit::Whitespace.units(word), [0..word.chars().count()], "{word:?}");
    }
    assert_eq!(WordSplit::Punctuation.units("東京タワー"), [0..1, 1..2, 2..5]);
}

/// Counting that is quadratic in a run would take minutes.
#[test]
fn long_runs_of_marks_are_counted_in_one_pass() {
    let marks = "-".repeat(200_000);
    for text in [marks.clone(), format!("{marks}a"), format!("a{marks}"), format!("a{marks}a")] {
        let mut evidence = SplitEvidence::default();
        evidence.add(&text, &[0..1, 1..text.len()], true);
        evidence.learn();
    }
}

#[test]
fn the_same_words_teach_the_same_rule() {
    let rows = ["@a b-c .", "U.S. , d", "(e) ... f"];
    let backwards: Vec<&str> = rows.iter().rev().copied().collect();
    assert_eq!(learned(&rows), learned(&backwards));
}

proptest! {
    #[test]
    fn words_cover_every_character_that_is_no_blank(
        text in "(\\PC|[ .,'@#:/王ข้า]){0,40}",
        rows in prop::collection::vec("([ab.,'@1:]{1,4} ){0,6}", 0..4),
    ) {
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let rule = learned(&rows);
        for split in WordSplit::PRESETS.iter().chain([&rule]) {
            let words = split.split(&text);
            prop_assert!(words.windows(2).all(|two| two[0].end <= two[1].start));
            prop_assert!(words.iter().all(|word| !word.is_empty()));
            let strings = pieces(split, &text);
            let inside: usize = words.iter().map(ExactSizeIterator::len).sum();
            if *split == WordSplit::Unicode {
                let kept: String = strings.concat().split_whitespace().collect();
                prop_assert_eq!(kept, text.split_whitespace().collect::<String>());
            } else {
                let blanks = text.chars().filter(|c| c.is_whitespace()).count();
                prop_assert_eq!(inside + blanks, text.chars().count(), "{:?}", split);
            }
            prop_assert_eq!(locate_words(&text, &strings).unwrap(), words);
            let units = split.units(&text);
            prop_assert!(units[0].start == 0 && units[units.len() - 1].end == text.chars().count());
        }
    }
}
