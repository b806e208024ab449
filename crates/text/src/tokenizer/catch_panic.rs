//! Turns panics of the `tokenizers` crate into errors.
//!
//! A crafted tokenizer.json can make that crate panic while loading, or later on some text. `json.rs`
//! refuses the known cases; this file is for the unknown ones. The panic hook still prints a line to
//! standard error: a replaced hook would silence the panics of the whole program.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::Cause;

/// Runs `work`; a panic inside becomes an error that quotes it.
///
/// `AssertUnwindSafe` is justified: while loading, the value that panicked is dropped; while
/// tokenizing, the tokenizer is only read, and a poisoned lock merely turns its caches off.
pub(crate) fn catch_panic<T>(work: impl FnOnce() -> Result<T, Cause>) -> Result<T, Cause> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let text = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(format!("the tokenizer library panicked: {text}").into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_errors_pass() {
        assert_eq!(catch_panic(|| Ok(3)).unwrap(), 3);
        assert_eq!(catch_panic::<()>(|| Err("no".into())).unwrap_err().to_string(), "no");
    }

    #[test]
    fn a_panic_becomes_an_error() {
        let found = catch_panic::<()>(|| panic!("index {}", 7)).unwrap_err();
        assert_eq!(found.to_string(), "the tokenizer library panicked: index 7");
    }
}
