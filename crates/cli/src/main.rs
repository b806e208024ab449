//! The `polyhead` command.
fn main() {}
