//! API keys, which requests carry as bearer tokens.

use std::fmt;

use axum::http::{HeaderMap, header};
use subtle::{Choice, ConstantTimeEq};

/// An API key, which is never displayed.
#[derive(Clone)]
pub struct ApiKey(Box<[u8]>);

impl ApiKey {
    /// Makes a key of visible ASCII characters, which fit into a header.
    ///
    /// # Errors
    /// If the key is empty or has other characters; the message does not hold the key.
    pub fn new(key: &str) -> Result<Self, String> {
        match key {
            "" => Err("a key is empty".to_owned()),
            _ if key.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Self(key.as_bytes().into())),
            _ => Err("a key has blanks or characters that are not ASCII".to_owned()),
        }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// Returns true if a request with these headers carries one of `keys`, or needs none.
///
/// Every key is compared to its end, so that the time reveals nothing about the keys except their
/// lengths.
pub(crate) fn admits(keys: &[ApiKey], headers: &HeaderMap) -> bool {
    if keys.is_empty() {
        return true;
    }
    let Some(given) = headers.get(header::AUTHORIZATION).and_then(|value| bearer(value.as_bytes()))
    else {
        return false;
    };
    let found = keys.iter().fold(Choice::from(0), |found, key| found | key.0.ct_eq(given));
    found.into()
}

/// The token after `Bearer `, in any case (RFC 9110, section 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use polyhead_testing::check_mutations;

    use super::*;

    #[test]
    fn a_changed_header_is_no_key() {
        let keys = [ApiKey::new("alpha-1").unwrap()];
        check_mutations(b"Bearer alpha-1", 256, |bytes| {
            let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
            if admits(&keys, &headers) {
                let words: Vec<&[u8]> = bytes.split(u8::is_ascii_whitespace).collect();
                assert!(words[0].eq_ignore_ascii_case(b"bearer"));
                assert!(words[1..].iter().all(|word| word.is_empty() || word == b"alpha-1"));
            }
        });
    }

    #[test]
    fn only_whole_keys_are_let_through() {
        let keys = [ApiKey::new("alpha-1").unwrap(), ApiKey::new("beta").unwrap()];
        let cases = [
            ("Bearer alpha-1", true),
            ("bearer beta", true),
            ("Bearer   beta ", true),
            ("Bearer alpha-", false),
            ("Bearer alpha-12", false),
            ("Bearer ", false),
            ("Basic beta", false),
            ("beta", false),
        ];
        for (value, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            assert_eq!(admits(&keys, &headers), expected, "{value}");
        }
        assert!(!admits(&keys, &HeaderMap::new()));
        assert!(admits(&[], &HeaderMap::new()));
    }

    #[test]
    fn a_key_is_not_shown() {
        assert!(!format!("{:?}", ApiKey::new("secret").unwrap()).contains("secret"));
        for key in ["", "two words", "ключ", "line\n"] {
            let error = ApiKey::new(key).unwrap_err();
            assert!(key.is_empty() || !error.contains(key), "{error}");
        }
    }
}
