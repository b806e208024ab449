//! How much memory the process may still take, so that too large a need is an error before it is an abort.

use std::fmt;
use std::fs;
use std::path::Path;

const FREE: &str = "free memory of the machine";

/// A need of memory that the limits of the process do not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryShortage {
    needed: u64,
    left: u64,
    bound: &'static str,
}

impl MemoryShortage {
    /// Whether a limit is too low. Otherwise the machine has too little free memory now, and
    /// other processes may free some.
    pub fn is_limit(&self) -> bool {
        self.bound != FREE
    }
}

impl fmt::Display for MemoryShortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = |bytes: u64| bytes.div_ceil(1_000_000);
        let (needed, left) = (megabytes(self.needed), self.left / 1_000_000);
        write!(f, "{needed} MB of memory are needed, and {left} MB are left ({})", self.bound)
    }
}

impl std::error::Error for MemoryShortage {}

/// Address space that the allocator and the stacks of threads reserve beside what is in use, in bytes.
const RESERVED: u64 = 256 << 20;

/// Checks that `needed` further bytes can be allocated.
///
/// The bounds are those of Linux: `ulimit -v` and `-d`, the limits of the control groups (version 2), and
/// the free memory and swap of the machine. A bound that cannot be read is no bound, so on other
/// systems every need passes. Memory that is allocated between the check and its use is not seen.
///
/// # Errors
/// If one of the bounds leaves less than `needed` bytes.
pub fn check_memory(needed: u64) -> Result<(), MemoryShortage> {
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    match tightest_bound(&read) {
        Some((left, bound)) if left < needed => Err(MemoryShortage { needed, left, bound }),
        _ => Ok(()),
    }
}

/// The bytes that are left under the tightest bound, and what it is. `read` gives the content of a
/// system file, or an empty text.
fn tightest_bound(read: &dyn Fn(&Path) -> String) -> Option<(u64, &'static str)> {
    let (limits, status) = (read("/proc/self/limits".as_ref()), read("/proc/self/status".as_ref()));
    let under = |limit: &str, used: &str| {
        let limit: u64 = limits.lines().find_map(|l| l.strip_prefix(limit)).and_then(first)?;
        Some(limit.saturating_sub(kilobytes(&status, used)?))
    };
    let memory = read("/proc/meminfo".as_ref());
    let free = kilobytes(&memory, "MemAvailable:")
        .map(|free| free.saturating_add(kilobytes(&memory, "SwapFree:").unwrap_or(0)));
    let bounds = [
        (
            under("Max address space", "VmSize:").map(|left| left.saturating_sub(RESERVED)),
            "the limit of `ulimit -v`",
        ),
        (under("Max data size", "VmData:"), "the limit of `ulimit -d`"),
        (left_in_groups(read), "the limit of the control group"),
        (free, FREE),
    ];
    bounds.into_iter().filter_map(|(left, bound)| Some((left?, bound))).min()
}

/// The bytes that are left in the control group of the process and in those around it.
fn left_in_groups(read: &dyn Fn(&Path) -> String) -> Option<u64> {
    let groups = read("/proc/self/cgroup".as_ref());
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let left = |group: &Path| {
        let folder = Path::new("/sys/fs/cgroup").join(group);
        let limit: u64 = first(&read(&folder.join("memory.max")))?;
        let used: u64 = first(&read(&folder.join("memory.current")))?;
        // Cached files count as used, and are dropped when memory is needed.
        let stat = read(&folder.join("memory.stat"));
        let cached = |name: &str| stat.lines().find_map(|l| l.strip_prefix(name)).and_then(first);
        let cached: u64 = ["inactive_file ", "active_file "].into_iter().filter_map(cached).sum();
        Some(limit.saturating_sub(used.saturating_sub(cached)))
    };
    Path::new(own).ancestors().filter_map(left).min()
}

/// The number at the beginning of `text`, after blanks.
fn first(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// The value of a line such as `VmSize:     1024 kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)).and_then(first)?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The system files of a process with 300,000 kB of address space, of which 100,000 are data.
    fn bound(files: &[(&str, &str)]) -> Option<(u64, &'static str)> {
        let status = "Name:\tpolyhead\nVmSize:\t  300000 kB\nVmData:\t  100000 kB\n";
        tightest_bound(&|path| {
            let own = [("/proc/self/status", status)];
            let found = files.iter().chain(&own).find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| (*text).to_owned()).unwrap_or_default()
        })
    }

    #[test]
    fn each_bound_is_read_and_the_tightest_counts() {
        assert_eq!(bound(&[]), None, "no system file, no bound");
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max data size             204800000            unlimited            bytes\n\
                      Max address space         unlimited            unlimited            bytes\n";
        let data = (204_800_000 - 102_400_000, "the limit of `ulimit -d`");
        assert_eq!(bound(&[("/proc/self/limits", limits)]), Some(data));
        let limits =
            limits.replace("unlimited            unlimited", "575635457            unlimited");
        let address_space = (1, "the limit of `ulimit -v`");
        let limits = ("/proc/self/limits", limits.as_str());
        let memory = ("/proc/meminfo", "MemAvailable:   2 kB\nSwapFree:   1 kB\n");
        assert_eq!(bound(&[limits, memory]), Some(address_space));
        assert_eq!(bound(&[memory]), Some((3072, FREE)));
    }

    #[test]
    fn groups_bound_those_inside_and_cached_files_are_free() {
        let group = ("/proc/self/cgroup", "4:memory:/old\n0::/jobs/one\n");
        let inner = [
            ("/sys/fs/cgroup/jobs/one/memory.max", "max\n"),
            ("/sys/fs/cgroup/jobs/one/memory.current", "5000\n"),
        ];
        let outer = [
            ("/sys/fs/cgroup/jobs/memory.max", "9000\n"),
            ("/sys/fs/cgroup/jobs/memory.current", "8000\n"),
            ("/sys/fs/cgroup/jobs/memory.stat", "anon 5000\ninactive_file 2000\nactive_file 500\n"),
        ];
        let files: Vec<_> = [group].into_iter().chain(inner).chain(outer).collect();
        assert_eq!(bound(&files), Some((3500, "the limit of the control group")));
        assert_eq!(bound(&files[..3]), None, "`max` is no bound");
    }

    #[test]
    fn the_message_has_both_numbers() {
        let mut shortage = MemoryShortage { needed: 2_000_001, left: 1_900_000, bound: FREE };
        assert_eq!(
            shortage.to_string(),
            "3 MB of memory are needed, and 1 MB are left (free memory of the machine)"
        );
        assert!(!shortage.is_limit());
        shortage.bound = "the limit of `ulimit -v`";
        assert!(shortage.is_limit());
        assert_eq!(check_memory(1), Ok(()));
        #[cfg(target_os = "linux")]
        assert!(check_memory(u64::MAX).is_err());
    }
}
