//! The built-in model as bytes.
#![forbid(unsafe_code)]
