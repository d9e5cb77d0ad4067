//! The forwarder delivers each event, and keeps its place, whatever happens meanwhile.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::Response;
use sekali_harness::Server;
use sekali_harness::webhooks::{PROVIDERS, hooks, now};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::endpoint::{Delivery, Endpoint, status};
use crate::program::{Ended, eventually, forwarder, run, signal, wait};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Publishes events `from` to `to`, whose topics take turns: `t.0`, `t.1` and so on.
fn publish(server: &Server, numbers: std::ops::Range<u64>, topics: u64) {
    let event = |number: u64| {
        let topic = format!("t.{}", number % topics);
        json!({"topic": topic, "event_id": number.to_string(), "source": "test", "payload": {"n": number}})
    };
    let events: Vec<_> = numbers.map(event).collect();
    assert_eq!(server.publish(&Value::from(events)).status, 200);
}

/// A forwarder at work.
fn start(server: &Server, arguments: &[&str]) -> Child {
    let url = server.url("");
    forwarder(&[&["--url", &url, "--json"], arguments].concat()).spawn().unwrap()
}

/// Ends a forwarder as Ctrl-C does, and returns its report.
#[track_caller]
fn end(child: Child) -> Value {
    signal(&child, "INT");
    let ended = wait(child);
    assert_eq!(ended.code, Some(130), "{ended:?}");
    ended.json()
}

/// What the service says of a consumer, which may not be there yet.
fn consumer(server: &Server, name: &str) -> Value {
    server.get(&format!("/consumers/{name}")).json()
}

/// Waits until a consumer has nothing before it.
fn is_done(server: &Server, name: &str) {
    eventually("everything is committed", || {
        let consumer = consumer(server, name);
        consumer["lag"] == 0 && consumer["claims"] == json!([])
    });
}

/// Of each topic, the events came in their order, but for copies.
#[track_caller]
fn assert_in_order(deliveries: &[Delivery]) {
    let mut last = HashMap::new();
    let mut seen = HashSet::new();
    for delivery in deliveries.iter().filter(|delivery| seen.insert(delivery.seq())) {
        let before = last.insert(delivery.header("sekali-topic"), delivery.seq()).unwrap_or_default();
        assert!(before < delivery.seq(), "{} behind {before}", delivery.seq());
    }
}

#[test]
fn events_come_once_and_in_order_and_the_place_is_kept() {
    let (server, endpoint) = (Server::start(), Endpoint::start());
    publish(&server, 0..300, 3);
    let arguments = ["shop", "--topic", "t.*", "--to", &endpoint.url(), "--secret", SECRET];
    let first = start(&server, &arguments);
    let deliveries = endpoint.takes(300);
    assert_in_order(&deliveries);
    let delivery = deliveries.iter().find(|delivery| delivery.header("webhook-id") == "evt_1").unwrap();
    assert_eq!(delivery.header("content-type"), "application/json");
    assert_eq!(delivery.header("sekali-event-id"), "0");
    assert_eq!(delivery.header("sekali-attempt"), "1");
    assert!(delivery.header("webhook-signature").starts_with("v1,"));
    assert_eq!(delivery.json(), json!({"n": 0}));
    is_done(&server, "shop");
    let report = end(first);
    assert_eq!(
        (&report["delivered"], &report["failed"], &report["error"]),
        (&300.into(), &0.into(), &Value::Null)
    );

    let second = start(&server, &arguments);
    publish(&server, 300..301, 3);
    assert_eq!(endpoint.takes(301).last().unwrap().json(), json!({"n": 300}));
    assert_eq!(end(second)["delivered"], 1);
    assert_eq!(endpoint.received().len(), 301);
}

#[test]
fn an_endpoint_that_is_killed_now_and_then_loses_nothing() {
    let server = Server::start();
    let mut endpoint = Endpoint::start();
    let forwarder = start(&server, &["shop", "--to", &endpoint.url()]);
    for round in 0..3 {
        publish(&server, round * 1_000..(round + 1) * 1_000, 8);
        endpoint.takes(round as usize * 1_000 + 100);
        endpoint.kill();
        std::thread::sleep(Duration::from_millis(300));
        endpoint.serve();
    }
    is_done(&server, "shop");
    let deliveries = endpoint.taken();
    assert_in_order(&deliveries);
    let mut bodies = HashMap::new();
    for delivery in &deliveries {
        let body = bodies.entry(delivery.seq()).or_insert_with(|| delivery.body.clone());
        assert_eq!(*body, delivery.body, "a copy has the same id and the same body");
    }
    assert_eq!(bodies.len(), 3_000);
    let consumer = consumer(&server, "shop");
    assert_eq!((&consumer["parked"], &consumer["dead"]), (&0.into(), &0.into()));
    let report = end(forwarder);
    assert_eq!(report["failed"], 0, "{report}");
    assert!(report["outages"].as_u64().unwrap() >= 1, "{report}");
}

#[test]
fn a_service_that_crashes_is_waited_for() {
    let (mut server, endpoint) = (Server::start(), Endpoint::start());
    let forwarder = start(&server, &["shop", "--to", &endpoint.url()]);
    publish(&server, 0..1_000, 4);
    endpoint.takes(100);
    server.crash_and_restart();
    publish(&server, 1_000..2_000, 4);
    is_done(&server, "shop");
    let deliveries = endpoint.taken();
    assert_in_order(&deliveries);
    let seqs: HashSet<_> = deliveries.iter().map(Delivery::seq).collect();
    assert_eq!(seqs.len(), 2_000);
    end(forwarder);
}

#[test]
fn an_event_that_is_refused_is_dead_once_and_stops_no_other() {
    let server = Server::start();
    let endpoint = Endpoint::answering(|delivery| match delivery.json()["n"].as_u64() {
        Some(4) => Response::builder().status(422).body("no such\nthing".into()).unwrap(),
        Some(5) => status(500),
        _ => status(204),
    });
    publish(&server, 0..30, 3);
    let forwarder = start(&server, &["shop", "--topic", "t.*", "--attempts", "1", "--to", &endpoint.url()]);
    endpoint.takes(28);
    is_done(&server, "shop");
    assert_in_order(&endpoint.taken());
    eventually("both are dead", || consumer(&server, "shop")["dead"] == 2);
    let dead = server.get("/events?topic=dead.shop").json();
    let reasons: Vec<_> = dead.as_array().unwrap().iter().map(|event| &event["payload"]["reason"]).collect();
    assert_eq!(reasons.len(), 2, "{dead}");
    assert!(reasons.contains(&&json!("422 Unprocessable Entity: no such thing")), "{dead}");
    // Another 5xx was seen while others passed, and once more to be sure.
    let tries = |n: u64| endpoint.received().iter().filter(|delivery| delivery.json()["n"] == n).count();
    assert_eq!((tries(4), tries(5)), (1, 2));
    assert_eq!(end(forwarder)["failed"], 2);
}

#[test]
fn a_consumer_keeps_what_is_left_out_and_can_have_all_topics_again() {
    let (server, endpoint) = (Server::start(), Endpoint::start());
    let to = endpoint.url();
    for (number, (arguments, topics, attempts)) in [
        (&["--topic", "t.0", "--attempts", "3"][..], json!(["t.0"]), 3),
        (&[][..], json!(["t.0"]), 3),
        (&["--topic", "", "--attempts", "0"][..], json!([]), 0),
        (&[][..], json!([]), 0),
    ]
    .into_iter()
    .enumerate()
    {
        publish(&server, number as u64..number as u64 + 1, 1);
        let forwarder = start(&server, &[&["shop", "--to", &to], arguments].concat());
        endpoint.takes(number + 1);
        let specification = &consumer(&server, "shop")["specification"];
        let found = json!([specification["topics"], specification["attempts"]]);
        assert_eq!(found, json!([topics, attempts]), "{arguments:?}");
        end(forwarder);
    }
}

#[test]
fn no_secret_of_an_address_is_told() {
    let (server, endpoint) = (Server::start(), Endpoint::start());
    publish(&server, 0..1, 1);
    let (url, port) = (server.url(""), endpoint.url().rsplit_once(':').unwrap().1.to_owned());
    let secret = format!("user:hunter2@127.0.0.1:{port}?token=hunter2");
    let refused = run(&mut forwarder(&[
        "shop",
        "--url",
        &url,
        "--public-only",
        "--to",
        &format!("http://{}", secret.replace("127.0.0.1", "localhost")),
    ]));
    let local =
        run(&mut forwarder(&["shop", "--url", &url, "--public-only", "--to", &format!("http://{secret}")]));
    for ended in [refused, local] {
        assert!(ended.stderr.contains("no public address") && !ended.stderr.contains("hunter2"), "{ended:?}");
    }
    // One that cannot be reached: it says so on standard error, and ends by a signal.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut child =
        forwarder(&["shop", "--url", &url, "--to", &format!("http://user:hunter2@{nobody}/?token=hunter2")])
            .spawn()
            .unwrap();
    std::thread::sleep(Duration::from_secs(2));
    signal(&child, "INT");
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    child.wait().unwrap();
    assert!(said.contains(&nobody.to_string()) && !said.contains("hunter2"), "{said}");
}

#[test]
fn an_endpoint_that_wants_nothing_ends_the_forwarder_with_a_remedy() {
    for (code, remedy) in [(401, "--secret"), (404, "--to"), (410, "no more events"), (302, "redirects")] {
        let server = Server::start();
        let endpoint = Endpoint::answering(move |delivery| match delivery.json()["n"].as_u64() {
            Some(0..5) => status(200),
            _ => Response::builder().status(code).header("location", "/").body(Full::default()).unwrap(),
        });
        publish(&server, 0..10, 1);
        let url = server.url("");
        let ended: Ended = run(&mut forwarder(&["shop", "--url", &url, "--to", &endpoint.url()]));
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains(&code.to_string()) && ended.stderr.contains(remedy), "{ended:?}");
        assert!(ended.stdout.starts_with("5 events delivered"), "{ended:?}");
        assert_eq!(endpoint.received().len(), 6, "no redirect is followed");
        let consumer = consumer(&server, "shop");
        assert_eq!(
            (&consumer["position"], &consumer["lag"], &consumer["claims"]),
            (&5.into(), &5.into(), &json!([]))
        );
    }
}

#[test]
fn a_standby_takes_over_within_the_lease() {
    let (server, endpoint) = (
        Server::start(),
        Endpoint::answering(|_| {
            std::thread::sleep(Duration::from_millis(20));
            status(200)
        }),
    );
    publish(&server, 0..300, 1);
    let arguments = ["shop", "--lease", "3", "--to", &endpoint.url()];
    let first = start(&server, &arguments);
    endpoint.takes(20);
    let second = start(&server, &arguments);
    endpoint.takes(60);
    signal(&first, "KILL");
    let killed = Instant::now();
    let before = endpoint.taken().len();
    endpoint.takes(before + 5);
    assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
    is_done(&server, "shop");
    assert_in_order(&endpoint.taken());
    let delivered = end(second)["delivered"].as_u64().unwrap();
    assert!((1..300).contains(&delivered), "{delivered}");
    wait(first);
}

#[test]
fn an_ephemeral_consumer_sees_what_comes_and_is_gone_at_the_end() {
    let (server, endpoint) = (Server::start(), Endpoint::start());
    publish(&server, 0..10, 1);
    let forwarder = start(&server, &["--ephemeral", "--to", &endpoint.url()]);
    eventually("it has a consumer", || server.get("/consumers").json().as_array().unwrap().len() == 1);
    publish(&server, 10..12, 1);
    let deliveries = endpoint.takes(2);
    assert_eq!(deliveries[0].json(), json!({"n": 10}));
    end(forwarder);
    assert_eq!(server.get("/consumers").json(), json!([]));
}

#[test]
fn what_is_signed_is_taken_by_a_receiver_of_another_service() {
    // The key pair of RFC 8032, section 7.1.
    let private = "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
    let public = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    let sealed = json!({
        "kind": "standard", "secrets": [public], "algorithm": "ed25519", "key": {"encoding": "base64"},
        "signature": {"header": "webhook-signature", "split": " ", "prefix": "v1a,", "encoding": "base64"},
        "topic": "copy.{header:sekali-topic}",
    });
    let shared = json!({"kind": "standard", "secrets": [SECRET], "topic": "copy.{header:sekali-topic}"});
    let hooks = json!({"shared": shared, "sealed": sealed}).to_string();
    let other = Server::with_variables(&[("hooks", &hooks)]);
    let server = Server::start();
    publish(&server, 0..20, 2);
    for (hook, stored) in [("shared", 20), ("sealed", 20)] {
        let to = other.url(&format!("/hooks/{hook}"));
        let forwarder = start(&server, &[hook, "--secret", SECRET, "--secret", private, "--to", &to]);
        is_done(&server, hook);
        assert_eq!(end(forwarder)["delivered"], 20);
        assert_eq!(other.stats()["unique_processed"], stored, "the second brings what the first did");
    }
    assert_eq!(other.stats()["duplicate_dropped"], 20);
    let is_first = |copy: &Value| copy["event_id"] == "evt_1" && copy["topic"] == "copy.t.0";
    assert!(other.events().iter().any(is_first));
}

/// Kinds of receivers, each with a secret, a payload, and the id that the provider has in it or in a header.
fn signed_kinds() -> Vec<(&'static str, &'static str, Value, &'static str)> {
    vec![
        ("standard", SECRET, json!({"type": "made"}), "msg_1"),
        ("svix", SECRET, json!({"type": "made"}), "msg_1"),
        ("stripe", "whsec_test", json!({"id": "evt_1", "type": "made", "created": 1_764_417_600}), "evt_1"),
        ("github", "s3cret", json!({"ref": "refs/heads/main"}), "72d3162e"),
        ("gitlab", "s3cret", json!({"object_kind": "made"}), "key-1"),
        ("shopify", "hush", json!({"total_price": "398.00"}), "8a95126f"),
        ("slack", "s3cret", json!({"event_id": "Ev1", "event": {"type": "made"}}), "Ev1"),
        ("linear", "s3cret", json!({"type": "made", "action": "update", "webhookTimestamp": 1}), "234d1a4e"),
        ("paddle", "s3cret", json!({"event_id": "evt_1", "event_type": "made"}), "evt_1"),
        ("square", "s3cret", json!({"event_id": "ac3a", "type": "made"}), "ac3a"),
        (
            "hubspot",
            "s3cret",
            json!({"eventId": 1, "subscriptionId": 2, "occurredAt": 1_764_417_600_000_u64}),
            "1-2-1764417600000",
        ),
        ("jira", "s3cret", json!({"webhookEvent": "made"}), "5dd1f3a2"),
        ("bitbucket", "s3cret", json!({"push": {}}), "b2f93568"),
        (
            "meta",
            "s3cret",
            json!({"id": "1", "changes": [{"field": "messages", "value": {"messages": [{"id": "wamid.H"}]}}]}),
            "wamid.H",
        ),
        (
            "zoom",
            "s3cret",
            json!({"event": "made", "event_ts": 17, "payload": {"object": {"uuid": "u"}}}),
            "made:17:u",
        ),
        (
            "docusign",
            "s3cret",
            json!({"event": "made", "generatedDateTime": "2026", "data": {"envelopeId": "e"}}),
            "made:e:2026",
        ),
        (
            "mailgun",
            "s3cret",
            json!({"signature": {"timestamp": "1", "token": "t", "signature": "x"}, "event-data": {"id": "m1", "event": "made"}}),
            "m1",
        ),
        ("intercom", "s3cret", json!({"id": "notif_1", "topic": "made"}), "notif_1"),
        (
            "twilio",
            "12345",
            json!({"MessageSid": "SM1", "Body": "a&b ü", "SmsStatus": "received"}),
            "SM1received",
        ),
        ("token", "s3cret", json!({"id": "1", "type": "made"}), "1"),
        ("basic", "user:s3cret", json!({"id": "1", "type": "made"}), "1"),
    ]
}

#[test]
fn what_is_signed_again_is_taken_by_a_receiver_of_its_kind() {
    let receiver = |(kind, secret, ..): &(&'static str, &str, Value, &str)| {
        let mut receiver =
            json!({"kind": kind, "secrets": ["another", secret], "public_url": "https://inbox.example/hook"});
        if *kind == "meta" {
            receiver["verify_token"] = "v".into();
        }
        if receiver["kind"] == "standard" || receiver["kind"] == "svix" {
            receiver["secrets"] = json!([secret]);
        }
        ((*kind).to_owned(), receiver)
    };
    let hooks: serde_json::Map<_, _> = signed_kinds().iter().map(receiver).collect();
    let other = Server::with_variables(&[("hooks", &Value::from(hooks).to_string())]);
    let server = Server::start();
    for (kind, secret, payload, id) in signed_kinds() {
        let topic = format!("{kind}.made");
        let event = json!({"topic": topic, "event_id": id, "payload": payload});
        assert_eq!(server.publish(&event).status, 200);
        let (to, resign) = (other.url(&format!("/hooks/{kind}")), format!("{kind}={secret}"));
        let forwarder = start(
            &server,
            &[
                kind,
                "--topic",
                &topic,
                "--resign",
                &resign,
                "--signed-url",
                "https://inbox.example/hook",
                "--to",
                &to,
            ],
        );
        is_done(&server, kind);
        let report = end(forwarder);
        assert_eq!(report["delivered"], 1, "{kind}: {report}");
        let stored = other.get(&format!("/events?topic={kind}&topic={kind}.*")).json();
        assert_eq!(
            (stored.as_array().unwrap().len(), &stored[0]["event_id"]),
            (1, &id.into()),
            "{kind}: {stored}"
        );
    }
}

#[test]
fn a_form_is_signed_again_as_a_form_and_a_type_is_found_behind_a_name_with_dots() {
    let hooks = json!({"shop.eu": {"kind": "token", "secrets": ["s3cret"]}}).to_string();
    let (server, endpoint) = (Server::with_variables(&[("hooks", &hooks)]), Endpoint::start());
    let form = "application/x-www-form-urlencoded";
    let headers = [
        ("authorization", "Bearer s3cret"),
        ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
    ];
    let body = b"command=%2Fweather&id=1&text=a%26b";
    assert_eq!(server.send("POST", "/hooks/shop.eu", &headers, body).status, 200);
    let event = json!({"topic": "shop.eu.push", "event_id": "2", "payload": {"ref": "refs/heads/main"}});
    assert_eq!(server.publish(&event).status, 200);

    let to = endpoint.url();
    let forwarder = start(&server, &["forms", "--topic", "shop.eu", "--resign", "token=s3cret", "--to", &to]);
    let delivery = endpoint.takes(1).remove(0);
    assert_eq!((delivery.header("content-type"), delivery.body.as_slice()), (form, &body[..]));
    end(forwarder);
    let forwarder =
        start(&server, &["pushes", "--topic", "shop.eu.push", "--resign", "github=s3cret", "--to", &to]);
    assert_eq!(endpoint.takes(2)[1].header("x-github-event"), "push");
    end(forwarder);
}

#[test]
fn a_cloudevent_comes_out_as_it_went_in() {
    let (server, other) = (Server::start(), Server::start());
    let send = |media_type: &str, id: &str, body: &[u8]| {
        let headers = [
            ("content-type", media_type),
            ("ce-specversion", "1.0"),
            ("ce-type", "t.made"),
            ("ce-source", "/a#b"),
            ("ce-id", id),
            ("ce-time", "2026-11-21T01:00:00Z"),
            ("ce-subject", "caf%C3%A9 1"),
            ("ce-tries", "3"),
        ];
        assert_eq!(server.send("POST", "/publish", &headers, body).status, 200);
    };
    send("application/json", "1", br#"{"n": 1.50}"#);
    send("text/plain", "2", "plain é".as_bytes());
    send("application/octet-stream", "3", b"\x00\xff");
    let to = other.url("/publish");
    let forwarder = start(&server, &["copy", "--send", "cloudevent", "--to", &to]);
    is_done(&server, "copy");
    assert_eq!(end(forwarder)["delivered"], 3);
    let plain = |server: &Server| -> Vec<Value> {
        let fields = ["topic", "event_id", "timestamp", "source", "payload", "attributes"];
        let event = |event: &Value| fields.iter().map(|field| event[field].clone()).collect::<Value>();
        let mut events: Vec<_> = server.events().iter().map(event).collect();
        events.sort_by_key(|event| event[1].to_string());
        events
    };
    assert_eq!(plain(&server), plain(&other));
}

/// Delivers web hooks of some providers, as their providers do: again, until they are acknowledged. Ends when `go_on` is
/// false, and returns how many were.
fn deliver_hooks(base: &str, go_on: &AtomicBool) -> u64 {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(10)))
        .build()
        .into();
    let mut acknowledged = 0;
    while go_on.load(Ordering::Relaxed) {
        let provider = &PROVIDERS[acknowledged as usize % 3];
        let id = format!("id-{acknowledged}");
        let body = json!({"id": id, "type": "made", "n": acknowledged}).to_string();
        let is_taken = || {
            let request = agent.post(format!("{base}{}", provider.path));
            let headers = provider.headers(&id, now(), body.as_bytes()).into_iter();
            let request = headers.fold(request, |request, (name, value)| request.header(name, value));
            request.send(body.as_str()).is_ok_and(|answer| answer.status() == 200)
        };
        eventually("a hook is acknowledged", is_taken);
        acknowledged += 1;
        std::thread::sleep(Duration::from_millis(3));
    }
    acknowledged
}

/// The service, the forwarder and the endpoint are killed at random, for ten seconds, or for as many as the variable
/// `SEKALI_SECONDS` says.
#[test]
fn what_a_hook_acknowledged_is_at_the_endpoint_whatever_is_killed() {
    let seconds = std::env::var("SEKALI_SECONDS").map_or(10, |seconds| seconds.parse().unwrap());
    let (mut server, mut endpoint) = (Server::with_variables(&[("hooks", &hooks())]), Endpoint::start());
    let to = endpoint.url();
    let arguments = ["shop", "--lease", "3", "--to", &to];
    let mut forwarder = start(&server, &arguments);
    let go_on = Arc::new(AtomicBool::new(true));
    let (base, going_on) = (server.url(""), Arc::clone(&go_on));
    let hooks = std::thread::spawn(move || deliver_hooks(&base, &going_on));
    let end_at = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end_at {
        std::thread::sleep(Duration::from_millis(fastrand::u64(50..1_500)));
        match fastrand::u8(0..3) {
            0 => {
                endpoint.kill();
                std::thread::sleep(Duration::from_millis(fastrand::u64(0..2_000)));
                endpoint.serve();
            }
            1 => {
                signal(&forwarder, "KILL");
                wait(std::mem::replace(&mut forwarder, start(&server, &arguments)));
            }
            _ => server.crash_and_restart(),
        }
    }
    go_on.store(false, Ordering::Relaxed);
    let acknowledged = hooks.join().unwrap();
    is_done(&server, "shop");
    end(forwarder);

    let deliveries = endpoint.taken();
    assert_in_order(&deliveries);
    let mut bodies = HashMap::new();
    for delivery in &deliveries {
        let body = bodies.entry(delivery.seq()).or_insert_with(|| delivery.body.clone());
        assert_eq!(*body, delivery.body, "a copy has the same id and the same body");
    }
    let stored: HashSet<_> = server.events().iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(stored.len() as u64, acknowledged);
    assert_eq!(stored, bodies.keys().copied().collect());
    let numbers: HashSet<_> = bodies
        .values()
        .map(|body| serde_json::from_slice::<Value>(body).unwrap()["n"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (0..acknowledged).collect());
    let consumer = consumer(&server, "shop");
    assert_eq!((&consumer["parked"], &consumer["dead"]), (&0.into(), &0.into()), "{consumer}");
    println!("{acknowledged} acknowledged, {} deliveries", deliveries.len());
}

#[test]
fn events_are_sent_in_several_forms() {
    let (server, endpoint) = (Server::start(), Endpoint::start());
    publish(&server, 0..3, 1);
    let once = |arguments: &[&str], count: usize| {
        let from = endpoint.taken().len();
        let to = endpoint.url();
        let forwarder =
            start(&server, &[&["--ephemeral", "--from", "start", "--to", &to], arguments].concat());
        let taken = endpoint.takes(from + count);
        end(forwarder);
        taken[from..].to_vec()
    };
    let event = once(&["--send", "event"], 3)[0].json();
    assert_eq!(
        (&event["seq"], &event["topic"], &event["payload"]),
        (&1.into(), &"t.0".into(), &json!({"n": 0}))
    );

    let cloudevents = once(&["--send", "cloudevent"], 3);
    assert_eq!(cloudevents[0].header("ce-specversion"), "1.0");
    assert_eq!(cloudevents[0].header("ce-type"), "t.0");
    assert_eq!((cloudevents[0].header("ce-source"), cloudevents[0].header("ce-id")), ("/events/t.0", "0"));
    assert_eq!(cloudevents[0].json(), json!({"n": 0}));

    let batches = once(&["--batch", "10", "--send", "event"], 1);
    let seqs: Vec<_> =
        batches[0].json().as_array().unwrap().iter().map(|event| event["seq"].clone()).collect();
    assert_eq!(seqs, [1, 2, 3]);
    let again = once(&["--batch", "10", "--send", "event"], 1);
    assert_eq!(batches[0].header("webhook-id"), again[0].header("webhook-id"));

    let batch = once(&["--batch", "10", "--send", "cloudevent"], 1);
    assert_eq!(batch[0].header("content-type"), "application/cloudevents-batch+json");
    assert_eq!(batch[0].json()[2]["data"], json!({"n": 2}));
}

#[test]
fn a_batch_that_is_refused_costs_only_the_event_at_fault() {
    let server = Server::start();
    let endpoint = Endpoint::answering(|delivery| {
        let is_bad = delivery.json().as_array().unwrap().iter().any(|payload| payload["n"] == 7);
        status(if is_bad { 400 } else { 200 })
    });
    publish(&server, 0..10, 1);
    let forwarder = start(
        &server,
        &["shop", "--topic", "t.0", "--batch", "10", "--attempts", "1", "--to", &endpoint.url()],
    );
    is_done_and_dead(&server, 1);
    let taken: Vec<_> =
        endpoint.taken().iter().flat_map(|delivery| delivery.json().as_array().unwrap().clone()).collect();
    let numbers: Vec<_> = taken.iter().map(|payload| payload["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 8, 9]);
    end(forwarder);
}

fn is_done_and_dead(server: &Server, dead: u64) {
    eventually("the rest is committed", || {
        let consumer = consumer(server, "shop");
        consumer["lag"] == 0
            && consumer["dead"] == dead
            && consumer["waiting"] == 0
            && consumer["claims"] == json!([])
    });
}

#[test]
fn commands_and_files_are_targets_too() {
    let (server, here) = (Server::start(), tempdir().unwrap());
    publish(&server, 0..5, 1);
    let file = here.path().join("events.ndjson");
    // What a crash left, whose event comes again.
    fs::write(&file, "{\"n\":").unwrap();
    let forwarder = start(&server, &["archive", "--file", file.to_str().unwrap()]);
    is_done(&server, "archive");
    end(forwarder);
    let lines: Vec<_> = (0..5).map(|n| format!("{{\"n\":{n}}}")).collect();
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{{\"n\":\n{}\n", lines.join("\n")));

    let mailed = here.path().join("mailed");
    let command = format!(
        r#"read event; echo "$SEKALI_TOPIC $SEKALI_SEQ $event" >>{}; [ "$SEKALI_SEQ" != 3 ] || {{ echo full >&2; exit 1; }}"#,
        mailed.display()
    );
    let forwarder = start(
        &server,
        &["mail", "--topic", "t.0", "--attempts", "1", "--parallel", "1", "--command", &command],
    );
    eventually("all but one are done", || {
        let consumer = consumer(&server, "mail");
        consumer["lag"] == 0
            && consumer["dead"] == 1
            && consumer["waiting"] == 0
            && consumer["claims"] == json!([])
    });
    end(forwarder);
    let lines = fs::read_to_string(&mailed).unwrap();
    assert!(lines.starts_with("t.0 1 {\"n\":0}\nt.0 2 {\"n\":1}\n"), "{lines}");
    assert_eq!(lines.lines().count(), 5);
    let dead = server.get("/events?topic=dead.mail").json();
    assert_eq!(dead[0]["payload"]["reason"], "exit status: 1: full");
}

#[test]
fn a_command_that_cannot_be_run_ends_the_forwarder_and_one_that_hangs_is_ended() {
    let server = Server::start();
    publish(&server, 0..1, 1);
    let url = server.url("");
    let ended = run(&mut forwarder(&["mail", "--url", &url, "--command", "no-such-program"]));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("--command"), "{ended:?}");

    let here = tempdir().unwrap();
    let ran = here.path().join("ran");
    let command =
        format!("echo >>{}; [ -e {}.2 ] || {{ touch {0}.2; sleep 600; }}", ran.display(), ran.display());
    let forwarder = start(&server, &["slow", "--timeout", "1s", "--command", &command]);
    is_done(&server, "slow");
    assert_eq!(end(forwarder)["outages"], 1);
}

#[test]
fn what_a_command_leaves_running_keeps_neither_its_event_nor_the_forwarder() {
    let server = Server::start();
    publish(&server, 0..1, 1);
    let began = Instant::now();
    let forwarder = start(&server, &["mail", "--command", "sleep 20 &"]);
    is_done(&server, "mail");
    let report = end(forwarder);
    assert_eq!((&report["delivered"], &report["outages"]), (&1.into(), &0.into()), "{report}");

    // What is in a session of its own outlives the time of the command, and has its standard error.
    let here = tempdir().unwrap();
    let ran = here.path().join("ran");
    let command = format!("[ -e {0} ] || {{ touch {0}; setsid sleep 20; }}", ran.display());
    let forwarder = start(&server, &["slow", "--timeout", "1s", "--command", &command]);
    is_done(&server, "slow");
    let report = end(forwarder);
    assert_eq!((&report["delivered"], &report["outages"]), (&1.into(), &1.into()), "{report}");

    // It is at fault, and what it left running says no more.
    let forwarder =
        start(&server, &["bad", "--attempts", "1", "--command", "echo no such thing >&2; sleep 20 & exit 3"]);
    is_done(&server, "bad");
    end(forwarder);
    let dead = server.get("/events?topic=dead.bad").json();
    assert_eq!(dead[0]["payload"]["reason"], "exit status: 3: no such thing");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[test]
fn only_public_addresses_are_reached_if_that_is_asked_for() {
    let (server, endpoint) = (Server::start(), Endpoint::start());
    publish(&server, 0..1, 1);
    let url = server.url("");
    let port = endpoint.url().rsplit_once(':').unwrap().1.to_owned();
    for (host, code) in [("127.0.0.1", 2), ("0x7f.1", 2), ("[::ffff:127.0.0.1]", 2), ("localhost", 1)] {
        let to = format!("http://{host}:{port}");
        let ended = run(&mut forwarder(&["shop", "--url", &url, "--public-only", "--to", &to]));
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(ended.stderr.contains("no public address"), "{ended:?}");
    }
    assert_eq!(endpoint.received().len(), 0);
}

#[test]
fn a_rate_is_kept_and_retry_after_is_waited_for() {
    let server = Server::start();
    let count = AtomicU64::new(0);
    let endpoint = Endpoint::answering(move |_| match count.fetch_add(1, Ordering::Relaxed) {
        0 => Response::builder().status(429).header("retry-after", "3").body(Full::default()).unwrap(),
        _ => status(200),
    });
    publish(&server, 0..20, 20);
    let began = Instant::now();
    let forwarder = start(&server, &["shop", "--rate", "10", "--to", &endpoint.url()]);
    endpoint.takes(1);
    assert!(began.elapsed() >= Duration::from_secs(3), "{:?}", began.elapsed());
    endpoint.takes(20);
    assert!(began.elapsed() >= Duration::from_millis(4_800), "{:?}", began.elapsed());
    is_done(&server, "shop");
    let report = end(forwarder);
    assert_eq!((&report["failed"], &report["outages"]), (&0.into(), &1.into()));
}

#[test]
fn metrics_tell_how_far_it_is() {
    let (server, endpoint) = (Server::start(), Endpoint::start());
    publish(&server, 0..7, 1);
    // Nobody listens at a port that was free a moment ago.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let forwarder = start(&server, &["shop", "--metrics", &address, "--to", &endpoint.url()]);
    is_done(&server, "shop");
    let mut text = String::new();
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    stream.read_to_string(&mut text).unwrap();
    for line in [
        "sekali_forwarder_delivered_total{consumer=\"shop\"} 7",
        "sekali_forwarder_circuit_open{consumer=\"shop\"} 0",
        "sekali_forwarder_lag{consumer=\"shop\"} 0",
        "sekali_forwarder_behind_seconds{consumer=\"shop\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    end(forwarder);
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_sent() {
    for (arguments, expected) in [
        (&["shop"][..], "--to"),
        (&["--to", "http://localhost:1"][..], "NAME"),
        (&["a/b", "--to", "http://localhost:1"][..], "64 of the characters"),
        (&["shop", "--to", "http://localhost:1", "--file", "x"][..], "cannot be used with"),
        (&["shop", "--to", "http://localhost:1", "--secret", "hunter2"][..], "base64"),
        (&["shop", "--to", "http://localhost:1", "--resign", "acme=x"][..], "none of"),
        (&["shop", "--to", "http://localhost:1", "--resign", "open=x"][..], "none of"),
        (&["shop", "--to", "http://localhost:1", "--resign", "stripe=x", "--send", "event"][..], "--send"),
        (&["shop", "--command", "true", "--batch", "2"][..], "--batch"),
        (&["shop", "--command", "true", "--topic", "", "--topic", "a"][..], "name no other"),
    ] {
        let ended = run(&mut forwarder(arguments));
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(expected), "{arguments:?}: {ended:?}");
    }
}
