//! Keys, CORS origins, probes, metrics and request ids.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use polyhead_serve::ApiKey;
use sha2::{Digest, Sha256};

use crate::Fixture;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_key_only_open_routes_answer() {
    let server = Fixture::with(|settings| {
        settings.http.keys =
            ["first-key", "second-key"].map(|key| ApiKey::new(key).unwrap()).to_vec();
    })
    .await;
    let mut client = server.client().await;
    for path in ["/", "/livez", "/readyz", "/health", "/metrics", "/openapi.json"] {
        assert_eq!(client.get(path).await.status, 200, "{path}");
    }
    for path in ["/v1/model", "/v1/models", "/v1/models/tiny", "/nowhere"] {
        let reply = client.get(path).await;
        reply.fails(401, "invalid_api_key", "Bearer");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    }
    client.get("/info").await.fails_tei(401, "Validation", "Bearer");
    client.post("/", r#"{"inputs":"a"}"#).await.fails_tei(401, "Validation", "Bearer");
    for (header, status) in [
        ("authorization: Bearer first-key", 200),
        ("authorization: bearer second-key", 200),
        ("authorization: Bearer third-key", 401),
        ("authorization: Bearer first", 401),
        ("authorization: Basic first-key", 401),
        ("x-api-key: first-key", 401),
    ] {
        let reply = client.ask("GET", "/v1/model", &[header], b"").await;
        assert_eq!(reply.status, status, "{header}");
    }
    let long = format!("authorization: Bearer {}", "k".repeat(10_000));
    assert_eq!(client.ask("GET", "/v1/model", &[&long], b"").await.status, 401);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_origins_are_let_in_by_name_only() {
    let ask = [
        "origin: https://good.example",
        "access-control-request-method: POST",
        "access-control-request-headers: authorization,content-type",
    ];
    let server = Fixture::new().await;
    let reply = server.client().await.ask("OPTIONS", "/v1/predict", &ask, b"").await;
    assert_eq!(reply.header("access-control-allow-origin"), None);
    reply.fails(405, "method_not_allowed", "OPTIONS");
    server.stop().await;

    for (allowed, expected) in [
        ("https://good.example", Some("https://good.example")),
        ("*", Some("*")),
        ("https://other.example", None),
    ] {
        let server = Fixture::with(|settings| {
            settings.http.cors_origins = vec![allowed.to_owned()];
            settings.http.keys = vec![ApiKey::new("key").unwrap()];
        })
        .await;
        let mut client = server.client().await;
        let reply = client.ask("OPTIONS", "/v1/predict", &ask, b"").await;
        assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, expected));
        // A page must be able to read errors as well.
        let reply = client.ask("GET", "/v1/model", &ask[..1], b"").await;
        assert_eq!(reply.header("access-control-allow-origin"), expected);
        reply.fails(401, "invalid_api_key", "");
        server.stop().await;
    }
}

/// A web page whose name is made to point at this machine sends its own name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_hosts_are_let_in_by_name_only() {
    let server = Fixture::with(|settings| {
        settings.http.allowed_hosts = vec!["models.example".to_owned()];
    })
    .await;
    let ask = async |target: &str, hosts: &[&str]| {
        let mut head = format!("{target}\r\n");
        hosts.iter().for_each(|host| head.push_str(&format!("host: {host}\r\n")));
        let mut client = server.client().await;
        client.write(format!("{head}content-length: 0\r\n\r\n").as_bytes()).await;
        client.read().await.unwrap()
    };
    let port = server.address.port();
    for host in ["localhost", "LocalHost:1", "127.0.0.1", "[::1]:8080", "models.example"] {
        assert_eq!(ask("GET /v1/model HTTP/1.1", &[host]).await.status, 200, "{host}");
    }
    let own = format!("127.0.0.1:{port}");
    assert_eq!(ask("GET /v1/model HTTP/1.1", &[&own]).await.status, 200);
    for path in ["/", "/livez", "/metrics", "/v1/model", "/nowhere"] {
        let reply = ask(&format!("GET {path} HTTP/1.1"), &["evil.example"]).await;
        if path == "/" {
            reply.fails_tei(403, "Validation", "--allow-host");
        } else {
            reply.fails(403, "host_not_allowed", "found `evil.example`; the operator allows");
        }
    }
    ask("POST /embed HTTP/1.1", &["evil.example"]).await.fails_tei(403, "Validation", "evil");
    for hosts in [&[][..], &["localhost", "localhost"], &["localhost", "evil.example"], &["a b"]] {
        ask("GET /v1/model HTTP/1.1", hosts).await.fails(400, "invalid_host", "expected one");
    }
    assert_eq!(ask("GET /livez HTTP/1.0", &[]).await.status, 200);
    // The host of the target counts, not that of the header.
    let reply = ask("GET http://evil.example/livez HTTP/1.1", &["localhost"]).await;
    reply.fails(403, "host_not_allowed", "evil.example");
    assert_eq!(ask("GET http://localhost/livez HTTP/1.1", &["evil.example"]).await.status, 200);
    server.stop().await;
}

/// A server that other machines can reach does not know its names, unless it is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_address_checks_hosts_only_if_it_has_some() {
    for (allowed, expected) in [(vec![], 200), (vec!["models.example".to_owned()], 403)] {
        let server =
            Fixture::at("0.0.0.0:0", |settings| settings.http.allowed_hosts = allowed).await;
        let mut client = server.client().await;
        client.write(b"GET /livez HTTP/1.1\r\nhost: any.example\r\n\r\n").await;
        assert_eq!(client.read().await.unwrap().status, expected);
        // A probe names the address that it has connected to.
        client.write(b"GET /livez HTTP/1.1\r\nhost: 127.0.0.1:1\r\n\r\n").await;
        assert_eq!(client.read().await.unwrap().status, 200);
        client.write(b"GET /livez HTTP/1.1\r\n\r\n").await;
        client.read().await.unwrap().fails(400, "invalid_host", "found none");
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wrong_door_says_which_is_right() {
    let server = Fixture::new().await;
    let mut client = server.client().await;
    let reply = client.get("/v1/predict").await;
    reply.fails(405, "method_not_allowed", "found GET");
    assert_eq!(reply.header("allow"), Some("POST"));
    let reply = client.get("/embed").await;
    reply.fails_tei(405, "Validation", "found GET");
    assert_eq!(reply.header("allow"), Some("POST"));
    for path in ["/v1/nothing", "/v1/predict/", "/v1/tasks/../model", "/%2e%2e/etc/passwd"] {
        client.get(path).await.fails(404, "unknown_route", "/openapi.json");
    }
    let reply = client.ask("HEAD", "/livez", &[], b"").await;
    assert_eq!((reply.status, reply.header("content-length")), (200, Some("18")));
    server.works().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_have_ids() {
    let server = Fixture::new().await;
    let mut client = server.client().await;
    let reply = client.ask("GET", "/livez", &["x-request-id: mine-1"], b"").await;
    assert_eq!(reply.header("x-request-id"), Some("mine-1"));
    let reply = client.ask("GET", "/livez", &["x-request-id: a b\t{}"], b"").await;
    assert_eq!(reply.header("x-request-id").map(str::len), Some(24));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_have_no_labels_of_clients() {
    let server = Fixture::new().await;
    let mut client = server.client().await;
    client
        .post("/v1/predict", r#"{"inputs":"the train","tasks":["topic","embedding"]}"#)
        .await
        .ok();
    client.post("/v1/predict", r#"{"inputs":"a","tasks":["invented"]}"#).await;
    client.post("/v1/predict", r#"{"inputs":["a","NAN b"]}"#).await;
    for path in ["/invented", "/v1/models/invented"] {
        client.get(path).await;
    }
    client.ask("INVENTED", "/v1/model", &[], b"").await;
    let reply = client.get("/metrics").await;
    assert_eq!(
        reply.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    let page = String::from_utf8(reply.body).unwrap();
    assert!(!page.to_lowercase().contains("invented"), "{page}");
    for line in [
        "polyhead_requests_total{route=\"/v1/predict\",status=\"200\"} 1",
        "polyhead_requests_total{route=\"unmatched\",status=\"404\"} 1",
        "polyhead_rejected_total{reason=\"unknown_task\"} 1",
        "polyhead_rejected_total{reason=\"not_finite\"} 1",
        "polyhead_rejected_total{reason=\"queue_full\"} 0",
        "polyhead_task_seconds_count{task=\"topic\"} 1",
        "polyhead_task_seconds_count{task=\"embedding\"} 1",
        // One batch had a good answer; the one with `NAN` ran all heads as well.
        "polyhead_head_seconds_count{task=\"topic\"} 2",
        "polyhead_queue_tokens 0",
        "polyhead_requests_in_flight 1",
        "polyhead_connections 1",
        "polyhead_ready 1",
        "polyhead_restarts_total 0",
        "polyhead_truncated_inputs_total 0",
        "# EOF",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} in\n{page}");
    }
    assert!(server.metric("polyhead_resident_memory_bytes").await > 1e6);
    assert!(server.metric("polyhead_batch_tokens_count").await >= 1.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_need_nothing_from_elsewhere() {
    let server =
        Fixture::with(|settings| settings.http.keys = vec![ApiKey::new("key").unwrap()]).await;
    for path in ["/", "/docs"] {
        let reply = server.get(path).await;
        assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
        let policy = reply.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        // A browser runs nothing whose hash is not there.
        let page = String::from_utf8(reply.body.clone()).unwrap();
        for tag in ["script", "style"] {
            let (_, from) = page.split_once(&format!("<{tag}")).unwrap();
            let (_, inner) = from.split_once('>').unwrap();
            let (inner, after) = inner.split_once(&format!("</{tag}>")).unwrap();
            assert!(!after.contains(&format!("<{tag}")), "one {tag}");
            let hash = BASE64_STANDARD.encode(Sha256::digest(inner));
            let allowed = format!("{tag}-src 'sha256-{hash}'");
            assert!(policy.contains(&allowed), "{path}: expected {allowed}, found {policy}");
        }
        let elsewhere = page.split_once("<script").unwrap().0.replace("http://www.w3.org", "");
        assert!(!elsewhere.contains("://"), "{path} has an address of another server");
    }
    server.stop().await;
}
