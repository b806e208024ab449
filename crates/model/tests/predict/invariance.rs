//! The answers for a text have the same bits alone, in any batch, in any order and on any number
//! of threads.

use polyhead_model::{Answer, MultiTaskModel, Precision, Predictions, RequestOptions, TextAnswer};
use polyhead_testing::FAMILIES;

use crate::{model, model_in, texts, with_heads};

/// Everything that is said of a text, as bits.
fn bits(text: &TextAnswer) -> Vec<u32> {
    let mut found: Vec<f32> = text.vector.clone().unwrap();
    for task in &text.tasks {
        found.extend_from_slice(task.logits.as_slice());
        found.extend_from_slice(task.probabilities.as_slice());
    }
    found.into_iter().map(f32::to_bits).collect()
}

fn ask(model: &MultiTaskModel, texts: &[impl AsRef<str>]) -> Predictions {
    model.predict(texts).unwrap()
}

#[test]
fn answers_do_not_depend_on_the_batch() {
    for name in FAMILIES.into_iter().chain(["st6-multi"]) {
        for precision in [Precision::F32, Precision::Int8] {
            check_answers(name, precision);
        }
    }
}

fn check_answers(name: &str, precision: Precision) {
    let model = |threads| model_in(precision, with_heads(name), threads);
    let texts = texts(120);
    let two = model(2);
    let expected = ask(&two, &texts);
    let check = |what: &str, found: &Predictions, rows: &mut dyn Iterator<Item = usize>| {
        for (row, i) in rows.enumerate() {
            let (found, expected) = (bits(&found.texts[row]), bits(&expected.texts[i]));
            let text = &texts[i];
            assert_eq!(found, expected, "{name}, {precision:?}: {what}: text {i}: {text:?}");
        }
    };
    for (i, text) in texts.iter().enumerate() {
        check("alone", &ask(&two, &[text]), &mut std::iter::once(i));
    }
    let backwards: Vec<&String> = texts.iter().rev().collect();
    check("backwards", &ask(&two, &backwards), &mut (0..120).rev());
    for (batch, texts) in texts.chunks(17).enumerate() {
        check("batches of 17", &ask(&two, texts), &mut (batch * 17..120).take(texts.len()));
    }
    for threads in [1, 3] {
        let found = ask(&model(threads), &texts);
        check(&format!("{threads} threads"), &found, &mut (0..120));
    }
}

#[test]
fn other_tasks_do_not_change_an_answer() {
    let texts = texts(40);
    let model = model(with_heads("st6-multi"), 2);
    let all = model.predict(&texts).unwrap();
    for (index, task) in all.tasks.iter().enumerate() {
        let options =
            RequestOptions { tasks: Some(vec![task.name.clone()]), ..RequestOptions::default() };
        let alone = model.predict_with(&texts, &options).unwrap();
        assert_eq!(alone.tasks, std::slice::from_ref(task));
        for (alone, all) in alone.texts.iter().zip(&all.texts) {
            assert_eq!(alone.tasks, std::slice::from_ref(&all.tasks[index]));
            assert_eq!((alone.tokens, &alone.vector), (all.tokens, &None));
        }
    }
}

#[test]
fn more_texts_than_are_tokenized_at_a_time() {
    let model = model(with_heads("tiny-bert"), 2);
    let texts: Vec<String> = texts(2500);
    let all = ask(&model, &texts);
    assert_eq!(all.texts.len(), texts.len());
    for (i, text) in texts.iter().enumerate().skip(900).step_by(97) {
        assert_eq!(bits(&all.texts[i]), bits(&ask(&model, &[text]).texts[0]), "{text:?}");
    }
    for text in &all.texts {
        let Answer::Tokens(tagged) = &text.tasks[3].answer else { panic!() };
        let rows: Vec<usize> = tagged.words.iter().filter_map(|word| word.row).collect();
        assert_eq!(rows, (0..text.tasks[3].logits.rows()).collect::<Vec<_>>());
    }
}
