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
        for token in [None, Some("write-secret"), Some("guess")] {
            assert_eq!(call(&server, "GET", path, token).status, 200);
        }
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

/// Sends a request as it is, and reads to the end of the connection.
fn exchange(server: &Server, request: &str) -> String {
    let (mut stream, mut answer) = (server.connect(), String::new());
    stream.write_all(request.as_bytes()).unwrap();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_request_without_one_usable_host_is_refused_and_so_is_one_for_a_proxy() {
    if is_skipped_on_spin("it refuses such hosts itself") {
        return;
    }
    let server = Server::start();
    for (head, status, name) in [
        ("GET /stats HTTP/1.1\r\nhost:\r\norigin: http://a", 403, "foreign-origin"),
        ("GET /stats HTTP/1.1\r\nhost: a/b", 400, "invalid-header"),
        ("GET /stats HTTP/1.1", 400, "invalid-header"),
        ("GET /stats HTTP/1.1\r\nhost: a\r\nhost: b", 400, "invalid-header"),
        ("CONNECT x:443 HTTP/1.1\r\nhost: x:443", 400, "malformed-request"),
    ] {
        let answer = exchange(&server, &format!("{head}\r\nconnection: close\r\n\r\n"));
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(name),
            "{head}: {answer}"
        );
    }
    let old = exchange(&server, "GET /healthz HTTP/1.0\r\n\r\n");
    assert!(old.contains(" 200 "), "a version without this header: {old}");
}

#[test]
fn a_page_whose_name_leads_here_can_neither_read_nor_publish_unless_the_name_is_listed() {
    let server = Server::with_variables(&[("hosts", "inbox.example")]);
    let event = br#"{"topic":"t","event_id":"1"}"#;
    let call = |method: &str, path: &str, headers: &[(&str, &str)]| {
        server.send(method, path, headers, if method == "POST" { event } else { b"" })
    };
    for host in ["evil.example", "evil.example:3000"] {
        let origin = format!("http://{host}");
        call("POST", "/publish", &[("host", host), ("origin", &origin)]).problem(421, "unknown-host");
        for path in ["/events", "/events/t/1", "/stats", "/metrics"] {
            // A browser sends neither Origin nor Sec-Fetch-Site with a GET to the page's own host without TLS.
            for sign in [("sec-fetch-site", "same-origin"), ("accept-language", "en-US,en;q=0.5")] {
                let refused = call("GET", path, &[("host", host), sign]);
                let detail = refused.problem(421, "unknown-host")["detail"].to_string();
                assert!(detail.contains("evil.example") && detail.contains("hosts"), "{detail}");
            }
        }
    }
    assert_eq!(server.stats()["received"], 0);
    for host in ["inbox.example", "localhost:1", "127.0.0.1", "[::1]:3000"] {
        let origin = format!("https://{host}");
        assert_eq!(call("POST", "/publish", &[("host", host), ("origin", &origin)]).status, 200, "{host}");
    }
    let curl = [("host", "sekali.internal"), ("user-agent", "curl/8.5.0"), ("accept", "*/*")];
    assert_eq!(call("GET", "/stats", &curl).status, 200, "servers notice nothing");
    let probe = [("host", "sekali.internal"), ("user-agent", "Mozilla/5.0 (compatible; a monitor)")];
    assert_eq!(call("GET", "/readyz", &probe).status, 200, "nor do probes");
}

#[test]
fn a_valid_token_stands_for_any_origin_and_any_host() {
    let server = Server::with_variables(&TOKENS);
    let publish = |token: &str| {
        let authorization = format!("Bearer {token}");
        let headers =
            [("origin", "eventgrid.example"), ("host", "inbox.example"), ("authorization", &authorization)];
        server.send("POST", "/publish", &headers, br#"{"topic":"t","event_id":"1"}"#)
    };
    assert_eq!(publish("write-secret").status, 200);
    publish("guess").problem(403, "foreign-origin");
    publish("").problem(403, "foreign-origin");
}

#[test]
fn a_listed_sender_of_web_hooks_may_deliver_and_others_get_no_permission() {
    let server = Server::with_variables(&[("webhook_origins", "eventgrid.example")]);
    let ask = |sender: &str| {
        let headers =
            [("webhook-request-origin", sender), ("origin", sender), ("webhook-request-rate", "120")];
        server.send("OPTIONS", "/publish", &headers, b"")
    };
    let allowed = ask("eventgrid.example");
    assert_eq!((allowed.status, allowed.header("allow")), (200, Some("POST, OPTIONS")));
    assert_eq!(allowed.header("webhook-allowed-origin"), Some("eventgrid.example"));
    assert_eq!(allowed.header("webhook-allowed-rate"), Some("*"));
    assert_eq!(ask("other.example").header("webhook-allowed-origin"), None);
}

#[test]
fn a_page_behind_a_proxy_that_changes_the_host_is_told_so() {
    let server = Server::start();
    let headers = [("origin", "https://inbox.example"), ("x-forwarded-for", "10.0.0.1"), ("host", "backend")];
    let refused = server.send("GET", "/stats", &headers, b"");
    let detail = refused.problem(403, "foreign-origin")["detail"].to_string();
    assert!(detail.contains("proxy_set_header Host $http_host"), "{detail}");
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
    assert_eq!(preflight.header("access-control-allow-methods"), Some("POST, OPTIONS"));
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
