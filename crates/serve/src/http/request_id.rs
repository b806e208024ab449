//! Ids of requests, by which to find their log lines.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// Header with the id, in requests and responses.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id of a client that is accepted.
const LONGEST: usize = 64;

/// The id that the client sent, if it is safe to log; otherwise a new one.
pub(crate) fn of(headers: &HeaderMap) -> HeaderValue {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    match headers.get(HEADER) {
        Some(id) if (1..=LONGEST).contains(&id.len()) && id.as_bytes().iter().all(plain) => {
            id.clone()
        }
        _ => fresh(),
    }
}

/// A new id, which is unique in this process and cannot be guessed from others.
fn fresh() -> HeaderValue {
    static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let id = format!("{:016x}{count:08x}", SEED.hash_one(count));
    HeaderValue::from_str(&id).expect("hexadecimal digits fit a header")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_forge_a_log_is_replaced() {
        let with = |id: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, HeaderValue::from_bytes(id).unwrap());
            of(&headers)
        };
        assert_eq!(with(b"abc-1_2.3"), "abc-1_2.3");
        for bad in [&b""[..], b"a b", b"a\"b", &[b'a'; 65], b"\xff"] {
            assert_eq!(with(bad).len(), 24);
        }
        assert_ne!(of(&HeaderMap::new()), of(&HeaderMap::new()));
    }
}
