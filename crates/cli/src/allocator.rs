//! How much memory the allocator of the C library keeps for later.

/// What a server needs, which runs for weeks: memory goes back soon.
///
/// By itself, glibc gives each of some threads a heap of its own, and raises the size from which
/// memory is returned at once to that of the largest block so far: each large request makes all
/// heaps keep more (20 minutes of good and bad requests: `bench/serve/soak.py`). Other C libraries
/// are left as they are.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "a call of the C library")]
pub(crate) fn keep_little() {
    const KEPT: libc::c_int = 1 << 20;
    for (option, value) in
        [(libc::M_ARENA_MAX, 2), (libc::M_MMAP_THRESHOLD, KEPT), (libc::M_TRIM_THRESHOLD, KEPT)]
    {
        // SAFETY: sets an option of the allocator, and is made to be called at any time. What it
        // does not take it refuses, and all is as it was.
        unsafe { libc::mallopt(option, value) };
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn keep_little() {}
