//! How much memory the allocator of the C library keeps for later.

/// What a server needs, which runs for weeks: memory goes back soon.
///
/// By itself, glibc gives threads heaps of their own, and keeps as much at the end of each as twice
/// the largest block that was freed so far: one large request, and all heaps keep more for ever.
/// `bench/serve/soak.py` watches it. Other C libraries are left as they are.
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
