//! Facts about the machine for the report, where the system provides them.

/// The largest memory use of this process so far, in bytes.
pub fn peak_memory() -> Option<u64> {
    let kilobytes: u64 =
        field("/proc/self/status", "VmHWM")?.split_whitespace().next()?.parse().ok()?;
    Some(1024 * kilobytes)
}

/// The processor's name; empty if the system does not tell it.
pub fn processor() -> String {
    field("/proc/cpuinfo", "model name").unwrap_or_default()
}

/// The value of the first line `name: value`.
fn field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}
