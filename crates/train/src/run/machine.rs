//! Facts about the machine for the report, where the system provides them.

/// The largest memory use of this process so far, in bytes.
pub fn peak_memory() -> Option<u64> {
    kilobytes("/proc/self/status", "VmHWM")
}

/// The processor's name; empty if the system does not tell it.
pub fn processor() -> String {
    field("/proc/cpuinfo", "model name").unwrap_or_default()
}

/// The bytes of the first line `name: number kB`.
pub(super) fn kilobytes(path: &str, name: &str) -> Option<u64> {
    let number: u64 = field(path, name)?.split_whitespace().next()?.parse().ok()?;
    number.checked_mul(1024)
}

/// The value of the first line `name: value`.
fn field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}
