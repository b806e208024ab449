//! A limit to the instruction sets that are chosen, for users and for measurements.

use std::sync::OnceLock;

/// The environment variable that names the best set to be used.
pub const INSTRUCTION_LIMIT: &str = "POLYHEAD_MAX_ISA";

/// All sets of all processors, each better than those before it.
const SETS: [&str; 9] = [
    "portable",
    "neon",
    "neon-dotprod",
    "avx2",
    "avx-vnni",
    "avx512",
    "avx512-vnni",
    "amx-bf16x3",
    "amx-int8",
];

/// Whether the instruction set `name` may be chosen.
///
/// What the variable says is read once; a name that is not one is no limit, and
/// an error of [`check_instruction_limit`].
pub(crate) fn allows(name: &str) -> bool {
    static LIMIT: OnceLock<Option<usize>> = OnceLock::new();
    let place = |name: &str| SETS.iter().position(|set| *set == name);
    let limit = *LIMIT.get_or_init(|| place(&std::env::var(INSTRUCTION_LIMIT).ok()?));
    limit.is_none_or(|limit| place(name).is_some_and(|place| place <= limit))
}

/// Checks what [`INSTRUCTION_LIMIT`] says, if it is set.
///
/// # Errors
/// A message that names the sets there are.
pub fn check_instruction_limit() -> Result<(), String> {
    let Some(name) = std::env::var_os(INSTRUCTION_LIMIT) else { return Ok(()) };
    if SETS.iter().any(|set| name == *set) {
        return Ok(());
    }
    let (sets, name) = (SETS.join(", "), name.display());
    Err(format!("{INSTRUCTION_LIMIT}: expected one of {sets}, found {name}"))
}
