//! A fence around the `tokenizers` crate.
//!
//! That crate indexes and unwraps what it reads from tokenizer.json in places,
//! so a crafted file can make it panic while loading, or later on some text.
//! The cases that we know are refused before (`json.rs`); the fence
//! is for those that we do not know.
//!
//! The default panic hook still prints a line to standard error. Replacing the
//! hook would silence panics of the whole program, of other threads too, so
//! this crate leaves it alone.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::Cause;

/// Runs `work`; a panic inside becomes an error that quotes it.
///
/// `AssertUnwindSafe` is sound to claim here: while loading, what panicked is
/// dropped; while tokenizing, the tokenizer is only read, and its caches sit
/// behind locks whose poisoning merely turns them off.
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
