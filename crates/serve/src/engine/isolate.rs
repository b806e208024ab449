//! Isolates a panic in a batch to the text that causes it.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `pass` over `texts`. If it panics, runs it again over each half, down to the texts that
/// cause the panic; those have no answer.
///
/// - `pass`: returns one answer per text, in order; its data must stay valid when it panics
pub(crate) fn isolate<T, A>(texts: &[T], pass: &dyn Fn(&[T]) -> Vec<A>) -> Vec<Option<A>> {
    match catch_unwind(AssertUnwindSafe(|| pass(texts))) {
        Ok(answers) => answers.into_iter().map(Some).collect(),
        Err(_) if texts.len() <= 1 => texts.iter().map(|_| None).collect(),
        Err(_) => {
            let (first, second) = texts.split_at(texts.len() / 2);
            let mut answers = isolate(first, pass);
            answers.extend(isolate(second, pass));
            answers
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn only_texts_at_fault_have_no_answer() {
        for bad in [vec![], vec![0], vec![7], vec![3, 12], (0..13).collect()] {
            let passes = Cell::new(0);
            let texts: Vec<usize> = (0..13).collect();
            let found = isolate(&texts, &|texts| {
                passes.set(passes.get() + 1);
                assert!(!texts.iter().any(|text| bad.contains(text)), "bad text");
                texts.to_vec()
            });
            let expected: Vec<_> = texts.iter().map(|i| (!bad.contains(i)).then_some(*i)).collect();
            assert_eq!(found, expected);
            // Halving takes two passes per level for each text at fault.
            assert!(passes.get() <= 1 + 2 * 4 * bad.len(), "{} passes", passes.get());
        }
    }
}
