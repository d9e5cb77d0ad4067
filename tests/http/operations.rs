//! What holds for every route, and the routes for operators.

use std::thread;

use serde_json::json;

use crate::server::Server;

#[test]
fn an_unknown_path_is_404() {
    let server = Server::start();
    for path in ["/nothing", "/publish/", "/events/a", "/Stats", "//publish"] {
        server.get(path).problem(404, "not-found");
    }
}

#[test]
fn a_method_that_is_not_allowed_is_405_that_says_which_are() {
    let server = Server::start();
    for (method, path, allow) in [
        ("GET", "/publish", "POST"),
        ("PUT", "/publish", "POST"),
        ("POST", "/events", "GET, HEAD"),
        ("DELETE", "/stats", "GET, HEAD"),
        ("POST", "/healthz", "GET, HEAD"),
        ("PATCH", "/readyz", "GET, HEAD"),
    ] {
        let answer = server.send(method, path, &[], b"");
        answer.problem(405, "method-not-allowed");
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
    }
}

#[test]
fn health_is_200_while_the_process_answers_and_readiness_while_the_database_does() {
    let server = Server::start();
    assert_eq!(server.get("/healthz").json(), json!({"status": "ok"}));
    assert_eq!(server.get("/readyz").json(), json!({"status": "ready"}));
}

#[test]
fn a_database_that_cannot_be_read_is_not_ready() {
    let server = Server::start();
    std::fs::write(server.database(), "this is no database, and long enough to be seen as none".repeat(100))
        .unwrap();
    server.get("/readyz").problem(503, "not-ready");
    server.publish(&json!({"topic": "t", "event_id": "e"})).problem(500, "internal");
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn head_is_answered_wherever_get_is() {
    let server = Server::start();
    for path in ["/events", "/stats", "/healthz", "/readyz", "/nothing"] {
        let (head, get) = (server.head(path), server.get(path));
        assert_eq!((head.status, head.text.as_str()), (get.status, ""), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
}

#[test]
fn a_setting_that_cannot_be_meant_fails_every_request() {
    let server = Server::with_variables(&[("max_body_bytes", "8 MiB")]);
    server.get("/stats").problem(500, "internal");
}

#[test]
fn large_bodies_from_many_clients_use_bounded_memory() {
    let server = Server::start();
    let large = "x".repeat(200_000);
    let batch = |client: usize| -> serde_json::Value {
        (0..39)
            .map(|n| json!({"topic": "t", "event_id": format!("{client}-{n}"), "payload": large}))
            .collect()
    };
    let stored: i64 = thread::scope(|scope| {
        let clients: Vec<_> = (0..32)
            .map(|client| {
                let (server, batch) = (&server, batch(client));
                scope.spawn(move || {
                    let answer = server.publish(&batch);
                    if answer.status == 503 {
                        answer.problem(503, "busy");
                        return 0;
                    }
                    answer.json()["stored"].as_i64().unwrap()
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert!(stored > 0 && stored % 39 == 0, "{stored}");
    if std::env::var_os("SPIN").is_none() {
        // Two instances, each with a budget of 64 MiB that is held in a few forms at once.
        assert!(server.peak_memory() < 700 << 20, "{} bytes", server.peak_memory());
    }
    assert_eq!(server.stats()["received"], stored);
}
