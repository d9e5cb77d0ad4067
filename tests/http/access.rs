//! Bearer tokens, and CORS for the pages of listed origins.

use std::io::{Read, Write};

use sekali_harness::{Answer, Server, is_skipped_on_spin};
use serde_json::json;

const TOKENS: [(&str, &str); 2] = [("publish_token", "write-secret"), ("read_token", "read-secret")];

fn call(server: &Server, method: &str, path: &str, token: Option<&str>) -> Answer {
    let authorization = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
    let body = if method == "POST" { &br#"{"topic":"t","event_id":"1"}"#[..] } else { b"" };
    server.send(method, path, &headers, body)
}

#[test]
fn publishing_and_reading_need_their_tokens_and_health_needs_none() {
    let server = Server::with_variables(&TOKENS);
    call(&server, "POST", "/publish", None).problem(401, "unauthorized");
    assert_eq!(call(&server, "POST", "/publish", Some("write-secret")).status, 200);
    for path in ["/events", "/events/t/1", "/stats", "/metrics"] {
        let refused = call(&server, "GET", path, None);
        refused.problem(401, "unauthorized");
        assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"sekali\""));
        let wrong = call(&server, "GET", path, Some("guess"));
        wrong.problem(401, "unauthorized");
        assert!(wrong.header("www-authenticate").unwrap().contains("invalid_token"));
        call(&server, "GET", path, Some("write-secret")).problem(403, "forbidden");
        assert_eq!(call(&server, "GET", path, Some("read-secret")).status, 200, "{path}");
    }
    call(&server, "POST", "/publish", Some("read-secret")).problem(403, "forbidden");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(call(&server, "GET", path, None).status, 200);
    }
}

#[test]
fn a_page_may_publish_to_the_host_that_it_comes_from_and_to_no_other() {
    let server = Server::start();
    let publish = |origin: &str| {
        // Without a content type, as a page can send it to any host without asking first.
        let body = br#"{"topic":"t","event_id":"1"}"#;
        server.send("POST", "/publish", &[("origin", origin)], body)
    };
    for foreign in ["https://evil.example", "http://localhost", "null"] {
        publish(foreign).problem(403, "foreign-origin");
    }
    assert_eq!(server.stats()["received"], 0);
    assert_eq!(publish(&format!("http://{}", server.address())).json()["stored"], 1);
}

#[test]
fn a_page_of_an_unusable_host_is_foreign() {
    if is_skipped_on_spin("it refuses such hosts itself") {
        return;
    }
    let server = Server::start();
    for host in ["", "a/b"] {
        let request =
            format!("GET /stats HTTP/1.1\r\nhost: {host}\r\norigin: http://a\r\nconnection: close\r\n\r\n");
        let (mut stream, mut answer) = (server.connect(), String::new());
        stream.write_all(request.as_bytes()).unwrap();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 403 ") && answer.contains("foreign-origin"),
            "{host:?}: {answer}"
        );
    }
}

#[test]
fn an_unauthorized_request_changes_nothing() {
    let server = Server::with_variables(&[("publish_token", "secret")]);
    call(&server, "POST", "/publish", Some("other")).problem(401, "unauthorized");
    assert_eq!(server.stats()["received"], 0);
}

#[test]
fn pages_of_listed_origins_may_call_and_read_answers() {
    let server = Server::with_variables(&[("cors_origins", "https://a.example, https://b.example")]);
    let get = |origin: &str| server.send("GET", "/stats", &[("origin", origin)], b"");
    for origin in ["https://a.example", "https://b.example"] {
        let answer = get(origin);
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
        assert_eq!(answer.header("vary"), Some("origin"));
        assert!(answer.header("access-control-expose-headers").unwrap().contains("link"));
    }
    assert_eq!(get("https://c.example").header("access-control-allow-origin"), None);
    let preflight = server.send(
        "OPTIONS",
        "/publish",
        &[
            ("origin", "https://a.example"),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type, ce-traceparent"),
        ],
        b"",
    );
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-origin"), Some("https://a.example"));
    assert!(preflight.header("access-control-allow-methods").unwrap().contains("POST"));
    assert!(preflight.header("access-control-allow-headers").unwrap().contains("idempotency-key"));
    assert!(preflight.header("access-control-allow-headers").unwrap().contains("ce-traceparent"));
    let refused = server.send("POST", "/publish", &[("origin", "https://a.example")], b"{");
    assert_eq!(refused.header("access-control-allow-origin"), Some("https://a.example"), "also on problems");
}

#[test]
fn by_default_no_page_may_call_and_options_lists_the_allowed_methods() {
    let server = Server::start();
    let answer = server.send("GET", "/stats", &[("origin", "https://a.example")], b"");
    assert_eq!(answer.header("access-control-allow-origin"), None);
    for (path, allow) in [
        ("/publish", "POST, OPTIONS"),
        ("/events", "GET, HEAD, DELETE, OPTIONS"),
        ("/stats", "GET, HEAD, OPTIONS"),
    ] {
        let answer = server.send("OPTIONS", path, &[], b"");
        assert_eq!((answer.status, answer.header("allow")), (204, Some(allow)));
    }
    server.send("OPTIONS", "/nothing", &[], b"").problem(404, "not-found");
    let event = json!({"topic": "t", "event_id": "1"});
    assert_eq!(server.publish(&event).status, 200);
}
