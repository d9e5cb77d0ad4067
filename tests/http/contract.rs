//! openapi.json and the service must agree. The tests provoke every route and status in the document, validate every
//! answer by its schema, send every example of a request, and check every example of an answer.

use std::collections::BTreeSet;

use sekali_harness::{Answer, Server};
use serde_json::{Value, json};

const TEXT: &str = include_str!("../../openapi.json");

/// Answers that a client cannot provoke, each as a part of a route and a status. Other tests cover them.
const UNPROVOKED: [(&str, &str); 6] = [
    ("", "500"),
    ("", "503"),
    ("/publish", "408"),
    ("/hooks", "408"),
    ("/consumers", "408"),
    ("/hooks/{name}", "400"),
];

struct Contract {
    document: Value,
    exercised: BTreeSet<(String, String, String)>,
}

impl Contract {
    fn read() -> Self {
        Self { document: serde_json::from_str(TEXT).unwrap(), exercised: BTreeSet::new() }
    }

    /// The value that a `$ref` names; any other value itself.
    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value.get("$ref").and_then(Value::as_str) {
            Some(reference) => {
                self.resolve(self.document.pointer(reference.trim_start_matches('#')).unwrap())
            }
            None => value,
        }
    }

    #[track_caller]
    fn assert_valid(&self, schema: &Value, value: &Value) {
        let schema = json!({"allOf": [schema], "components": self.document["components"]});
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let errors: Vec<_> =
            validator.iter_errors(value).map(|error| format!("{error} at {}", error.instance_path)).collect();
        assert!(errors.is_empty(), "{errors:?} in {value}");
    }

    /// Asserts that an answer matches the document, and marks its route and status as exercised.
    #[track_caller]
    fn check(&mut self, method: &str, route: &str, answer: &Answer) {
        let status = answer.status.to_string();
        let responses = &self.document["paths"][route][method.to_lowercase()]["responses"];
        assert!(
            responses.get(&status).is_some(),
            "{method} {route} answers {status}, which is not in openapi.json"
        );
        let response = self.resolve(&responses[&status]);
        for name in response["headers"].as_object().into_iter().flat_map(|headers| headers.keys()) {
            let is_required = self.resolve(&response["headers"][name])["required"] == true;
            assert!(!is_required || answer.header(name).is_some(), "{method} {route} {status} lacks {name}");
        }
        if method != "HEAD" && response.get("content").is_none() {
            assert_eq!(answer.text, "", "{method} {route} {status}");
        } else if method != "HEAD" {
            let content_type = answer.header("content-type").unwrap_or_default();
            let media_type = content_type.split(';').next().unwrap();
            let content =
                response["content"].get(media_type).or_else(|| response["content"].get(content_type));
            let content = content.unwrap_or_else(|| panic!("{method} {route} {status} in {content_type}"));
            if media_type.ends_with("json") && media_type != "application/x-ndjson" {
                self.assert_valid(&content["schema"], &answer.json());
            }
        }
        self.exercised.insert((method.into(), route.into(), status));
    }
}

fn send(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    server.send(method, path, headers, body.as_bytes())
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[test]
fn every_route_and_status_is_exercised_and_every_answer_matches_its_schema() {
    let mut contract = Contract::read();
    let server = Server::with_variables(&[("max_batch_events", "10"), ("admin_token", "boss")]);
    let locked = Server::with_variables(&[("publish_token", "write"), ("read_token", "read")]);

    let publish =
        |path: &str, headers: &[(&str, &str)], body: &str| send(&server, "POST", path, headers, body);
    for answer in [
        publish("/publish", &[JSON], r#"{"topic":"t","event_id":"1"}"#),
        publish("/publish", &[JSON, ("prefer", "return=minimal")], r#"{"topic":"t","event_id":"1"}"#),
        publish(
            "/publish",
            &[JSON, ("prefer", "return=representation")],
            r#"[{"topic":"t","event_id":"1"}]"#,
        ),
        publish("/publish", &[JSON, ("idempotency-key", "k")], r#"{"topic":"t","event_id":"2"}"#),
        publish("/publish", &[JSON, ("idempotency-key", "k")], r#"{"topic":"t","event_id":"2"}"#),
        publish("/publish", &[JSON, ("idempotency-key", "k")], r#"{"topic":"t","event_id":"3"}"#),
        publish("/publish", &[JSON, ("idempotency-key", "")], "{}"),
        publish("/publish?partial=true", &[JSON], r#"[{"topic":"t","event_id":"1"},{}]"#),
        publish("/publish?partial=maybe", &[JSON], "[]"),
        publish("/publish", &[JSON], "{"),
        publish("/publish", &[JSON], "[{}]"),
        publish("/publish", &[JSON], &format!("[{}]", ["{}"; 11].join(","))),
        publish("/publish", &[("content-type", "text/html")], "x"),
        send(&locked, "POST", "/publish", &[JSON], "{}"),
        send(&locked, "POST", "/publish", &[JSON, ("authorization", "Bearer read")], "{}"),
    ] {
        contract.check("POST", "/publish", &answer);
    }
    contract.check("POST", "/publish", &key_in_use(&server));
    contract.check("POST", "/publish", &from_rebound_page(&server, "POST", "/publish"));
    // The document lists this status under POST, because it has no entry for other methods.
    let not_allowed = send(&server, "PUT", "/publish", &[], "");
    contract.check("POST", "/publish", &not_allowed);

    publish("/publish", &[JSON], r#"[{"topic":"t","event_id":"erased"},{"topic":"u","event_id":"erased"}]"#);
    let boss = [("authorization", "Bearer boss")];
    for (route, path) in [
        ("/events", "/events?topic=u"),
        ("/events", "/events"),
        ("/events/{topic}/{event_id}", "/events/t/erased"),
        ("/events/{topic}/{event_id}", "/events/t/none"),
    ] {
        contract.check("DELETE", route, &send(&server, "DELETE", path, &boss, ""));
        contract.check("DELETE", route, &send(&server, "DELETE", path, &[], ""));
        contract.check("DELETE", route, &send(&locked, "DELETE", path, &boss, ""));
        contract.check("DELETE", route, &send(&server, "PATCH", path.split('?').next().unwrap(), &[], ""));
    }
    for method in ["GET", "HEAD"] {
        for (route, path) in [
            ("/events", "/events"),
            ("/events", "/events?limit=1"),
            ("/events", "/events?x=1"),
            ("/events/{topic}/{event_id}", "/events/t/1"),
            ("/events/{topic}/{event_id}", "/events/t/none"),
            ("/events/{topic}/{event_id}", "/events/t/erased"),
            ("/stats", "/stats"),
            ("/stats", "/stats?topic=t"),
            ("/stats", "/stats?history=24h"),
            ("/stats", "/stats?x=1"),
            ("/metrics", "/metrics"),
            ("/healthz", "/healthz"),
            ("/readyz", "/readyz"),
            ("/openapi.json", "/openapi.json"),
            ("/docs", "/docs"),
            ("/", "/"),
            ("/receivers", "/receivers"),
            ("/console/consumers", "/console/consumers"),
            ("/problems/{name}", "/problems/busy"),
            ("/problems/{name}", "/problems/none"),
        ] {
            contract.check(method, route, &send(&server, method, path, &[], ""));
        }
        let ahead = send(&server, method, "/events?after=1000000", &[], "");
        contract.check(method, "/events", &ahead);
        for path in ["/healthz", "/readyz"] {
            let foreign = [("origin", "https://evil.example")];
            contract.check(method, path, &send(&server, method, path, &foreign, ""));
        }
        for (route, path) in [("/events", "/events"), ("/events/{topic}/{event_id}", "/events/t/1")] {
            contract.check(method, route, &send(&server, method, path, &[("accept", "text/html")], ""));
        }
        for (route, path) in [
            ("/events", "/events"),
            ("/events/{topic}/{event_id}", "/events/t/1"),
            ("/stats", "/stats"),
            ("/metrics", "/metrics"),
        ] {
            contract.check(method, route, &send(&locked, method, path, &[], ""));
            contract.check(method, route, &from_rebound_page(&server, method, path));
            contract.check(
                method,
                route,
                &send(&locked, method, path, &[("authorization", "Bearer write")], ""),
            );
        }
    }
    receivers(&mut contract);
    consumers(&mut contract);
    shippers(&mut contract);
    contract.check(
        "GET",
        "/events",
        &send(&server, "GET", "/events", &[("accept", "application/x-ndjson")], ""),
    );
    for (route, path) in [
        ("/events", "/events"),
        ("/events/{topic}/{event_id}", "/events/t/1"),
        ("/stats", "/stats"),
        ("/metrics", "/metrics"),
        ("/healthz", "/healthz"),
        ("/readyz", "/readyz"),
        ("/openapi.json", "/openapi.json"),
        ("/docs", "/docs"),
        ("/", "/"),
        ("/receivers", "/receivers"),
        ("/console/consumers", "/console/consumers"),
        ("/problems/{name}", "/problems/busy"),
    ] {
        contract.check("GET", route, &send(&server, "PATCH", path, &[], ""));
    }

    for (route, methods) in contract.document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            for status in
                operation["responses"].as_object().into_iter().flat_map(|responses| responses.keys())
            {
                let unprovoked = UNPROVOKED.iter().any(|(of, which)| which == status && route.contains(of));
                let exchange = (method.to_uppercase(), route.clone(), status.clone());
                assert!(unprovoked || contract.exercised.contains(&exchange), "never seen: {exchange:?}");
            }
        }
    }
}

/// Exercises the routes of receivers.
fn receivers(contract: &mut Contract) {
    let hooks = json!({
        "any": {"kind": "open", "event_id": "{json:/id}"},
        "many": {"kind": "open", "each": ""},
        "code": {"kind": "github", "secrets": ["s"]},
        "meta": {"kind": "meta", "secrets": ["s"], "verify_token": "v"},
        "chat": {"kind": "custom", "handshake": "discord", "secrets": ["s"], "algorithm": "plain",
            "signature": {"header": "x-secret"}},
    });
    let hooks = hooks.to_string();
    let server =
        Server::with_variables(&[("hooks", &hooks), ("max_batch_events", "10"), ("max_body_bytes", "1000")]);
    let locked =
        Server::with_variables(&[("hooks", &hooks), ("publish_token", "write"), ("read_token", "read")]);
    let write = [("authorization", "Bearer write")];
    let read = [("authorization", "Bearer read")];
    let many = format!("[{}]", ["{}"; 11].join(","));
    for (server, method, path, headers, body) in [
        (&server, "POST", "/hooks/any", &[][..], r#"{"id":1}"#),
        (&server, "POST", "/hooks/any", &[], "{}"),
        (&locked, "POST", "/hooks/any", &read, r#"{"id":1}"#),
        (&server, "POST", "/hooks/many", &[], &many),
        (&server, "POST", "/hooks/chat", &[("x-secret", "s")], r#"{"type":0}"#),
        (&server, "POST", "/hooks/chat", &[("x-secret", "s")], r#"{"type":1}"#),
        (&server, "POST", "/hooks/code", &[], "{}"),
        (&server, "POST", "/hooks/none", &[], "{}"),
        (&server, "PUT", "/hooks/any", &[], "{}"),
        (&locked, "POST", "/hooks/any", &[], r#"{"id":1}"#),
        (&server, "GET", "/hooks/meta?hub.mode=subscribe&hub.verify_token=v&hub.challenge=1", &[], ""),
        (&server, "GET", "/hooks/meta?hub.mode=subscribe&hub.verify_token=x&hub.challenge=1", &[], ""),
        (&server, "GET", "/hooks/none", &[], ""),
        (&server, "GET", "/hooks/code", &[], ""),
        (&server, "POST", "/hooks/any/backfill", &[], r#"{"id":1}"#),
        (&server, "POST", "/hooks/any/backfill?each=/data&x=1", &[], "{}"),
        (&server, "POST", "/hooks/any/backfill", &[], "{}"),
        (&server, "POST", "/hooks/any/backfill", &[("content-encoding", "br")], "{}"),
        (&server, "POST", "/hooks/many/backfill", &[], &many),
        (&server, "POST", "/hooks/none/backfill", &[], "{}"),
        (&server, "GET", "/hooks/any/backfill", &[], ""),
        (&locked, "POST", "/hooks/any/backfill", &[], "{}"),
        (&locked, "POST", "/hooks/any/backfill", &read, "{}"),
        (&server, "GET", "/hooks", &[], ""),
        (&locked, "GET", "/hooks", &[], ""),
        (&locked, "GET", "/hooks", &write, ""),
        (&server, "HEAD", "/hooks", &[], ""),
        (&locked, "HEAD", "/hooks", &[], ""),
        (&locked, "HEAD", "/hooks", &write, ""),
        (&server, "PUT", "/hooks", &[], ""),
    ] {
        let route = match path.split('?').next().unwrap() {
            "/hooks" => "/hooks",
            path if path.ends_with("/backfill") => "/hooks/{name}/backfill",
            _ => "/hooks/{name}",
        };
        // The document lists the status of another method under one that it has.
        let answer = send(server, method, path, headers, body);
        let listed = match (method, route, answer.status) {
            ("PUT", "/hooks", _) => "GET",
            ("PUT", _, _) | ("GET", "/hooks/{name}/backfill", _) => "POST",
            _ => method,
        };
        contract.check(listed, route, &answer);
    }
    for (method, route, path) in [
        ("GET", "/hooks", "/hooks"),
        ("HEAD", "/hooks", "/hooks"),
        ("POST", "/hooks/{name}/backfill", "/hooks/any/backfill"),
    ] {
        contract.check(method, route, &from_rebound_page(&server, method, path));
    }
}

/// Exercises the routes of shippers of logs.
fn shippers(contract: &mut Contract) {
    let server = Server::with_variables(&[("max_otlp_bytes", "100")]);
    let locked = Server::with_variables(&[("publish_token", "write"), ("read_token", "read")]);
    let read = [("authorization", "Bearer read")];
    let long = "x".repeat(101);
    let lines = "{\"create\":{\"_index\":\"i\",\"_id\":\"1\"}}\n{}\n{\"delete\":{}}\n";
    let br = [JSON, ("content-encoding", "br")];
    for (method, path, good) in [
        ("POST", "/v1/logs", r#"{"resourceLogs":[]}"#),
        ("POST", "/elastic/_bulk", lines),
        ("PUT", "/elastic/_bulk", lines),
        ("POST", "/elastic/i/_bulk", lines),
        ("PUT", "/elastic/i/_bulk", lines),
    ] {
        let route = path.replace("/i/", "/{index}/");
        for answer in [
            send(&server, method, path, &[JSON], good),
            send(&server, method, path, &[JSON], good),
            send(&server, method, path, &[JSON], "{"),
            send(&server, method, path, &[JSON], &long),
            send(&server, method, path, &br, good),
            send(&locked, method, path, &[JSON], good),
            send(&locked, method, path, &read, good),
            from_rebound_page(&server, method, path),
        ] {
            contract.check(method, &route, &answer);
        }
        if path != route {
            let no_index = path.replace("/i/", "/_i/");
            contract.check(method, &route, &send(&server, method, &no_index, &[JSON], good));
        }
        if method == "POST" {
            contract.check(method, &route, &send(&server, "PATCH", path, &[], ""));
        }
    }
    let protobuf = [("content-type", "application/x-protobuf")];
    contract.check("POST", "/v1/logs", &send(&server, "POST", "/v1/logs", &protobuf, ""));
    for method in ["GET", "HEAD"] {
        for answer in [
            send(&server, method, "/elastic/", &[], ""),
            send(&locked, method, "/elastic/", &[], ""),
            send(&locked, method, "/elastic/", &read, ""),
            from_rebound_page(&server, method, "/elastic/"),
        ] {
            contract.check(method, "/elastic/", &answer);
        }
    }
    contract.check("GET", "/elastic/", &send(&server, "PATCH", "/elastic/", &[], ""));
}

/// Exercises the routes of consumers.
fn consumers(contract: &mut Contract) {
    let server = Server::with_variables(&[("max_body_bytes", "1000")]);
    let locked = Server::with_variables(&[("publish_token", "write"), ("read_token", "read")]);
    server.publish(&json!([1, 2, 3].map(|id| json!({"topic": "t", "event_id": id.to_string()}))));
    let mut exchange = |method: &str, path: &str, body: &str| {
        let answer = send(&server, method, path, &[], body);
        contract.check(method, &consumer_route(path), &answer);
        answer
    };
    for (path, body) in [
        ("/consumers/c", r#"{"attempts":1}"#),
        ("/consumers/c", r#"{"lease":60}"#),
        ("/consumers/c", "["),
        ("/consumers/c", r#"{"lease":0}"#),
        ("/consumers/idle", r#"{"topics":["none"]}"#),
        ("/consumers/ahead", r#"{"from":99}"#),
    ] {
        exchange("PUT", path, body);
    }
    exchange("POST", "/consumers/idle/claim", r#"{"holder":"a"}"#);
    let claim = exchange("POST", "/consumers/c/claim", r#"{"holder":"a","limit":2}"#).json();
    exchange("POST", "/consumers/c/claim", r#"{"holder":"b"}"#).problem(409, "claimed");
    exchange("GET", "/consumers/c", "");
    exchange("GET", "/consumers", "");
    let failed =
        json!({"claim": claim["claim"], "upto": 2, "failed": [{"seq": 1, "reason": "no"}]}).to_string();
    for body in [&failed, r#"{"claim":"c_0","upto":1}"#, "{", "{}"] {
        exchange("POST", "/consumers/c/commit", body);
    }
    exchange("GET", "/consumers/c/failed", "");
    exchange("GET", "/consumers/c/failed?state=late", "");
    exchange("HEAD", "/consumers/c/failed?state=late", "");
    exchange("POST", "/consumers/c/retry", r#"{"state":"dead"}"#);
    exchange("POST", "/consumers/c/claim", r#"{"holder":"a"}"#);
    exchange("POST", "/consumers/c/drop", r#"{"seqs":[1]}"#);
    exchange("POST", "/consumers/c/seek", r#"{"to":"start"}"#);
    exchange("POST", "/consumers/c/seek", r#"{"to":99}"#);
    for step in ["claim", "seek", "retry", "drop"] {
        for body in ["{", "{}"] {
            exchange("POST", &format!("/consumers/c/{step}"), body);
        }
    }
    exchange("DELETE", "/consumers/idle", "");

    // Without a consumer of this name, until the last of them makes it.
    for (method, route, body) in [
        ("GET", "/consumers", ""),
        ("HEAD", "/consumers", ""),
        ("GET", "/consumers/{name}", ""),
        ("HEAD", "/consumers/{name}", ""),
        ("DELETE", "/consumers/{name}", ""),
        ("GET", "/consumers/{name}/failed", ""),
        ("HEAD", "/consumers/{name}/failed", ""),
        ("POST", "/consumers/{name}/claim", r#"{"holder":"a"}"#),
        ("POST", "/consumers/{name}/commit", r#"{"claim":"c_0"}"#),
        ("POST", "/consumers/{name}/seek", r#"{"to":"now"}"#),
        ("POST", "/consumers/{name}/retry", r#"{"state":"dead"}"#),
        ("POST", "/consumers/{name}/drop", r#"{"state":"dead"}"#),
        ("PUT", "/consumers/{name}", "{}"),
    ] {
        let path = route.replace("{name}", "none");
        let write = [("authorization", "Bearer write")];
        contract.check(method, route, &send(&server, method, &path, &[], body));
        contract.check(method, route, &from_rebound_page(&server, method, &path));
        contract.check(method, route, &send(&locked, method, &path, &[], body));
        contract.check(method, route, &send(&locked, method, &path, &write, body));
        if method != "HEAD" {
            // The document lists this status under each method of a path.
            contract.check(method, route, &send(&server, "PATCH", &path, &[], ""));
        }
        if !body.is_empty() {
            contract.check(method, route, &send(&server, method, &path, &[], &" ".repeat(1001)));
            contract.check(method, route, &send(&server, method, &path, &[("content-encoding", "br")], body));
        }
    }
    let head = send(&server, "HEAD", "/consumers/c", &[], "");
    contract.check("HEAD", "/consumers/{name}", &head);
    let head = send(&server, "HEAD", "/consumers/c/failed", &[], "");
    contract.check("HEAD", "/consumers/{name}/failed", &head);
}

/// The route of a path of consumers.
fn consumer_route(path: &str) -> String {
    let parts: Vec<_> = path.split('?').next().unwrap().split('/').collect();
    match parts[..] {
        ["", "consumers"] => "/consumers".into(),
        ["", "consumers", _] => "/consumers/{name}".into(),
        ["", "consumers", _, step] => format!("/consumers/{{name}}/{step}"),
        _ => panic!("{path}"),
    }
}

/// The answer to a page whose name leads to the service, and is not the service's.
fn from_rebound_page(server: &Server, method: &str, path: &str) -> Answer {
    let headers = [("host", "evil.example"), ("origin", "http://evil.example")];
    server.send(method, path, &headers, b"")
}

/// The 409 to a request whose key another running request uses.
fn key_in_use(server: &Server) -> Answer {
    let many: Vec<_> = (0..10).map(|n| json!({"topic": "busy", "event_id": n.to_string()})).collect();
    let body = json!(many).to_string();
    for attempt in 0..50 {
        let key = format!("busy-{attempt}");
        let headers = [JSON, ("idempotency-key", key.as_str())];
        let answers: Vec<_> = std::thread::scope(|scope| {
            let publishers: Vec<_> =
                (0..12).map(|_| scope.spawn(|| send(server, "POST", "/publish", &headers, &body))).collect();
            publishers.into_iter().map(|publisher| publisher.join().unwrap()).collect()
        });
        if let Some(answer) = answers.into_iter().find(|answer| answer.status == 409) {
            return answer;
        }
    }
    panic!("no key was ever in use");
}

#[test]
fn every_example_of_a_request_is_accepted() {
    let contract = Contract::read();
    let server = Server::start();
    let mut accepted = 0;
    let routes = ["/publish", "/v1/logs", "/elastic/_bulk"];
    let contents =
        routes.map(|route| (route, &contract.document["paths"][route]["post"]["requestBody"]["content"]));
    let contents = contents.into_iter().flat_map(|(route, content)| {
        content.as_object().unwrap().iter().map(move |(media_type, content)| (route, media_type, content))
    });
    for (route, media_type, content) in contents {
        for (name, example) in content["examples"].as_object().into_iter().flatten() {
            let example = contract.resolve(example);
            let body = match &example["value"] {
                Value::String(text) => text.clone(),
                value => value.to_string(),
            };
            let more = example["x-headers"].as_object().cloned().unwrap_or_default();
            let mut headers = vec![("content-type", media_type.as_str())];
            headers.retain(|_| !more.keys().any(|name| name.eq_ignore_ascii_case("content-type")));
            headers.extend(more.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap())));
            let answer = send(&server, "POST", route, &headers, &body);
            assert_eq!(answer.status, 200, "{media_type} {name}: {}", answer.text);
            accepted += 1;
        }
    }
    assert!(accepted >= 10, "only {accepted} examples");
    server.assert_books_balance();
}

/// Collects every `schema` in a part of the document, paired with each of the examples beside it.
fn examples<'a>(contract: &'a Contract, value: &'a Value, found: &mut Vec<(&'a Value, &'a Value)>) {
    if let Some(schema) = value.get("schema") {
        for example in value["examples"].as_object().into_iter().flat_map(|examples| examples.values()) {
            found.push((schema, &contract.resolve(example)["value"]));
        }
    }
    for part in value.as_object().into_iter().flat_map(|object| object.values()) {
        examples(contract, part, found);
    }
}

#[test]
fn the_document_has_the_names_titles_and_statuses_of_the_table_of_problems() {
    let contract = Contract::read();
    let names: Vec<_> = sekali_common::problems::ALL.iter().map(|kind| kind.name).collect();
    assert_eq!(contract.document["components"]["schemas"]["ProblemName"]["enum"], json!(names));
    let types: Vec<_> = names.iter().map(|name| format!("/problems/{name}")).collect();
    let schema = &contract.document["components"]["schemas"]["Problem"];
    assert_eq!(schema["properties"]["type"]["enum"], json!(types));
    let mut examples = Vec::new();
    objects_with_type(&contract.document, &mut examples);
    for example in &examples {
        let kind = sekali_common::problems::ALL
            .iter()
            .find(|kind| example["type"] == format!("/problems/{}", kind.name))
            .unwrap_or_else(|| panic!("{example} has no row in the table"));
        assert_eq!((&example["title"], &example["status"]), (&json!(kind.title), &json!(kind.status)));
    }
    assert!(examples.len() >= names.len(), "only {} examples", examples.len());
}

/// Collects the examples of problems in a part of the document.
fn objects_with_type<'a>(part: &'a Value, found: &mut Vec<&'a Value>) {
    if part["type"].as_str().is_some_and(|text| text.starts_with("/problems/")) {
        found.push(part);
    }
    match part {
        Value::Object(members) => members.values().for_each(|member| objects_with_type(member, found)),
        Value::Array(items) => items.iter().for_each(|item| objects_with_type(item, found)),
        _ => {}
    }
}

#[test]
fn every_example_matches_its_schema() {
    let contract = Contract::read();
    let mut found = Vec::new();
    examples(&contract, &contract.document, &mut found);
    for (schema, example) in &found {
        contract.assert_valid(schema, example);
    }
    assert!(found.len() > 40, "only {} examples", found.len());
}

#[test]
fn every_example_of_a_problem_has_the_title_and_status_that_are_answered() {
    let contract = Contract::read();
    let server = Server::start();
    let by_status: [(Answer, &str); 5] = [
        (server.get("/events?x=1"), "invalid-parameter"),
        (server.get("/none"), "not-found"),
        (server.publish_as("application/json", "{"), "malformed-body"),
        (server.publish(&json!({})), "invalid-event"),
        (server.publish_as("text/html", ""), "unsupported-media-type"),
    ];
    let examples: Vec<Value> = contract.document["components"]["responses"]
        .as_object()
        .unwrap()
        .values()
        .filter_map(|response| response.pointer("/content/application~1problem+json/examples"))
        .flat_map(|examples| examples.as_object().unwrap().values())
        .map(|example| contract.resolve(example)["value"].clone())
        .collect();
    for (answer, name) in by_status {
        let problem = answer.json();
        let example = examples.iter().find(|example| example["type"] == format!("/problems/{name}")).unwrap();
        assert_eq!(
            (&problem["title"], &problem["status"]),
            (&example["title"], &example["status"]),
            "{name}"
        );
    }
}
