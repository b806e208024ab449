//! Checks of a request's head that hold for every route: its host and its transfer coding.
//!
//! On a loopback address every `Host` must be known. A web page whose own name is made to point at
//! this machine (DNS rebinding) could otherwise send requests to a server without keys; its
//! requests carry the page's name.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Version, header};

use super::app::App;
use super::errors::{ApiError, ApiErrorKind};

/// The address of this machine that a connection has come to.
#[derive(Clone, Copy)]
pub(crate) struct LocalAddress(pub(crate) Option<IpAddr>);

/// Refuses a request with a host that is not allowed, or a transfer coding that is not `chunked`.
pub(crate) fn check_head(app: &App, request: &Request) -> Result<(), ApiError> {
    let header = only_host(request.headers(), request.version())?;
    // A host in the request's target replaces that of the header (RFC 9112, section 3.2.2).
    let host = request.uri().authority().or(header.as_ref());
    let own = request.extensions().get::<LocalAddress>().and_then(|address| address.0);
    if let Some(host) = host.filter(|_| app.checks_hosts)
        && !is_allowed(host.host(), &app.settings.allowed_hosts, own)
    {
        let message = format!(
            "host: expected localhost or another name of this server, found `{}`; the operator \
             allows names by --allow-host",
            host.host()
        );
        return Err(ApiError::new(ApiErrorKind::HostNotAllowed, message));
    }
    // hyper takes every coding that ends in `chunked` for it.
    let mut codings = request.headers().get_all(header::TRANSFER_ENCODING).iter();
    let is_chunked =
        codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if is_chunked && codings.next().is_none() {
        return Ok(());
    }
    let message = "transfer-encoding: expected `chunked` alone";
    Err(ApiError::new(ApiErrorKind::TransferEncoding, message))
}

/// The host of the header: exactly one in HTTP/1.1, and at most one before (RFC 9112, section 3.2).
fn only_host(headers: &HeaderMap, version: Version) -> Result<Option<Authority>, ApiError> {
    let refused = |found: &str| {
        let message = format!("host: expected one name or address, found {found}");
        ApiError::new(ApiErrorKind::Host, message)
    };
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version < Version::HTTP_11 => Ok(None),
        (None, _) => Err(refused("none")),
        (Some(_), Some(_)) => Err(refused("several")),
        (Some(host), None) => match Authority::try_from(host.as_bytes()) {
            Ok(authority) if !authority.as_str().contains('@') => Ok(Some(authority)),
            _ => Err(refused("something else")),
        },
    }
}

/// - `own`: address of this machine that the client has connected to
fn is_allowed(host: &str, allowed: &[String], own: Option<IpAddr>) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_name = |other: &str| name.eq_ignore_ascii_case(other);
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    let address: Option<IpAddr> = address.parse().ok();
    ["localhost", "127.0.0.1", "[::1]"].into_iter().any(is_name)
        || allowed.iter().any(|other| is_name(other))
        || address.is_some_and(|address| own.map(|own| own.to_canonical()) == Some(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine_are_allowed_and_no_others() {
        let allowed = ["Models.example".to_owned(), "10.1.2.3".to_owned()];
        let own = Some("::ffff:127.0.0.5".parse().unwrap());
        for (host, expected) in [
            ("localhost", true),
            ("LOCALHOST.", true),
            ("127.0.0.1", true),
            ("[::1]", true),
            ("127.0.0.5", true),
            ("models.example", true),
            ("10.1.2.3", true),
            ("127.0.0.2", false),
            ("[::2]", false),
            ("0.0.0.0", false),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("a.models.example", false),
            ("", false),
        ] {
            assert_eq!(is_allowed(host, &allowed, own), expected, "{host}");
        }
    }

    #[test]
    fn a_request_has_one_host() {
        let read = |hosts: &[&str], version| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, host.parse().unwrap());
            }
            let host = only_host(&headers, version);
            host.map(|host| host.map(|host| host.host().to_owned())).map_err(|error| error.kind)
        };
        let bad = Err(ApiErrorKind::Host);
        for (hosts, expected) in [
            ([].as_slice(), bad.clone()),
            (&["a", "a"], bad.clone()),
            (&[""], bad.clone()),
            (&["me@a"], bad.clone()),
            (&["a/b"], bad.clone()),
            (&["a b"], bad.clone()),
            (&["a:80:80"], bad.clone()),
            (&["[::1"], bad.clone()),
            (&["a:8080"], Ok(Some("a".to_owned()))),
            (&["[::1]:8080"], Ok(Some("[::1]".to_owned()))),
        ] {
            assert_eq!(read(hosts, Version::HTTP_11), expected, "{hosts:?}");
        }
        assert_eq!(read(&[], Version::HTTP_10), Ok(None));
        assert_eq!(read(&["a", "b"], Version::HTTP_10), bad);
    }
}
