//! Deliveries as they were recorded, each delivered twice, the second time as its provider sends it again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use regex::Regex;
use sekali_harness::Server;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::vendors::{Language, Signed, Signer, Unsigned, assert_outcome, sign};
use crate::{installed, repository, run};

/// The secret of all that sign with HMAC.
const SECRET: &str = "s3cret";

/// A recorded delivery, with a body as it was written down.
#[derive(Deserialize)]
pub struct Recorded {
    headers: BTreeMap<String, String>,
    pub body: Box<RawValue>,
}

impl Recorded {
    /// The headers that the provider made, without those of the connection. Their signatures are to be replaced.
    pub fn headers(&self) -> BTreeMap<String, String> {
        let of_connection = ["content-length", "accept-encoding", "host", "connection"];
        let kept = self.headers.iter().filter(|(name, _)| !of_connection.contains(&name.as_str()));
        kept.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// All that was recorded of a provider, in the order of the names of its files.
pub fn recorded(provider: &str) -> Vec<Recorded> {
    let directory = tempfile::tempdir().unwrap();
    let archive = repository("tests/clients/recorded/hookdeck.tgz");
    run(Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(directory.path()).arg(provider));
    let mut paths = Vec::new();
    files(&directory.path().join(provider), &mut paths);
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        serde_json::from_slice(&std::fs::read(path).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    paths.iter().map(read).collect()
}

fn files(directory: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// A provider whose deliveries were recorded.
struct Provider {
    name: &'static str,
    /// The receiver's fields beside its secret.
    receiver: Value,
    /// How it signs; `None` where the recorded headers have all that is verified.
    signer: Option<(Language, &'static str)>,
    /// What differs in the body when it comes again: a text, and what stands in its place.
    changes: fn(&str) -> String,
    /// How many were recorded.
    count: usize,
}

fn providers() -> Vec<Provider> {
    use Language::{JavaScript, Python};
    let provider = |name, receiver, signer, count| Provider {
        name,
        receiver,
        signer,
        changes: |body| body.to_owned(),
        count,
    };
    let woocommerce = json!({
        "kind": "custom",
        "signature": {"header": "x-wc-webhook-signature", "encoding": "base64"},
        "event_id": "{header:x-wc-webhook-delivery-id}",
        "type": "{header:x-wc-webhook-topic}",
        "source": "{header:x-wc-webhook-source}",
    });
    vec![
        Provider {
            // It tells how many endpoints have not taken the event yet.
            changes: |body| {
                Regex::new(r#""pending_webhooks": \d+"#)
                    .unwrap()
                    .replace(body, r#""pending_webhooks": 1"#)
                    .into_owned()
            },
            ..provider("stripe", json!({"kind": "stripe"}), Some((Python, "stripe")), 13)
        },
        Provider {
            // A notification that is sent again from the dashboard is another one of the same event.
            changes: |body| body.replace("\"ntf_", "\"ntf_x"),
            ..provider("paddlebilling", json!({"kind": "paddle"}), Some((Python, "paddle")), 16)
        },
        provider("github", json!({"kind": "github"}), Some((JavaScript, "github")), 10),
        provider("shopify", json!({"kind": "shopify"}), Some((JavaScript, "shopify")), 181),
        provider("bitbucket", json!({"kind": "bitbucket"}), Some((JavaScript, "hub")), 10),
        provider("hubspot", json!({"kind": "hubspot", "public_url": URL}), Some((Python, "hubspot")), 3),
        provider("gitlab", json!({"kind": "gitlab", "secrets": ["secrettoken"]}), None, 7),
        provider("woocommerce", woocommerce, Some((JavaScript, "woocommerce")), 5),
    ]
}

const URL: &str = "https://inbox.example/hooks/recorded";

impl Provider {
    /// Its deliveries, and then the same again.
    fn twice(&self) -> Vec<Signed> {
        let recorded = recorded(self.name);
        assert_eq!(recorded.len(), self.count, "{}", self.name);
        let deliveries = |changes: fn(&str) -> String| {
            recorded.iter().map(move |delivery| Unsigned {
                body: changes(delivery.body.get()),
                headers: delivery.headers(),
                url: URL.into(),
                ..Unsigned::default()
            })
        };
        let all = deliveries(|body| body.to_owned()).chain(deliveries(self.changes));
        match self.signer {
            None => all.map(Signed::from).collect(),
            Some((language, package)) => {
                let signer = Signer { language, package, secret: SECRET.to_owned() };
                sign(&all.map(|delivery| (signer.clone(), delivery)).collect::<Vec<_>>())
            }
        }
    }
}

#[test]
#[ignore = "needs the clients that tests/clients/install installs"]
fn recorded_deliveries_are_stored_once_and_make_no_conflict() {
    let providers = providers();
    let receiver = |provider: &Provider| {
        let mut receiver = provider.receiver.clone();
        if receiver["secrets"].is_null() {
            receiver["secrets"] = json!([SECRET]);
        }
        (provider.name, receiver)
    };
    let hooks: BTreeMap<_, _> = providers.iter().map(receiver).collect();
    let server = Server::with_variables(&[("hooks", &json!(hooks).to_string())]);
    for provider in &providers {
        let deliveries = provider.twice();
        let mut bodies = BTreeSet::new();
        for (number, delivery) in deliveries.iter().enumerate() {
            // A GitLab that sends no key of its own sent an issue twice, as two kinds of events: one body is one event.
            let is_first =
                number < provider.count && (bodies.insert(&delivery.body) || provider.name != "gitlab");
            let answer = delivery.deliver(&server, provider.name);
            assert_outcome(&answer, is_first.into(), (!is_first).into(), provider.name);
        }
    }
    let events = server.events();
    for Provider { name, count, .. } in providers {
        let topic = |event: &Value| event["topic"].as_str().unwrap().to_owned();
        let of_provider = |event: &&Value| topic(event).split('.').next() == Some(name);
        let events: Vec<_> = events.iter().filter(of_provider).collect();
        let ids: BTreeSet<_> = events.iter().map(|event| event["event_id"].as_str().unwrap()).collect();
        let expected = count - usize::from(name == "gitlab");
        assert_eq!((events.len(), ids.len()), (expected, expected), "{name}");
        // HubSpot tells no type of a contact. Stripe names the account of events of other accounts alone.
        let untyped = events.iter().filter(|event| topic(event) == name).count();
        assert_eq!(untyped, usize::from(name == "hubspot"), "{name}");
        let has_source = !["stripe", "paddlebilling"].contains(&name);
        assert!(events.iter().all(|event| event["source"].is_string() == has_source), "{name}: {events:?}");
    }
    server.assert_books_balance();
}

#[test]
#[ignore = "needs the clients that tests/clients/install installs"]
fn the_examples_of_all_events_of_github_are_stored_once_each() {
    #[derive(Deserialize)]
    struct Event {
        name: String,
        examples: Vec<Box<RawValue>>,
    }
    let path = installed("node_modules/@octokit/webhooks-examples/api.github.com/index.json");
    let events: Vec<Event> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let examples =
        events.iter().flat_map(|event| event.examples.iter().map(|example| (&event.name, example)));
    let signer = Signer { language: Language::JavaScript, package: "github", secret: SECRET.to_owned() };
    let deliveries: Vec<_> = examples
        .enumerate()
        .map(|(number, (name, example))| {
            let headers = BTreeMap::from([
                ("content-type".into(), "application/json".into()),
                ("x-github-event".into(), name.clone()),
                ("x-github-delivery".into(), format!("72d3162e-cc78-11e3-81ab-{number:012}")),
            ]);
            (signer.clone(), Unsigned { body: example.get().into(), headers, ..Unsigned::default() })
        })
        .collect();
    assert!(deliveries.len() > 300, "{}", deliveries.len());
    let hooks = json!({"github": {"kind": "github", "secrets": [SECRET]}}).to_string();
    let server = Server::with_variables(&[("hooks", &hooks)]);
    let signed = sign(&deliveries);
    for (stored, duplicates) in [(1, 0), (0, 1)] {
        for delivery in &signed {
            assert_outcome(&delivery.deliver(&server, "github"), stored, duplicates, "github");
        }
    }
    let topics: BTreeSet<_> =
        server.events().iter().map(|event| event["topic"].as_str().unwrap().to_owned()).collect();
    let names: BTreeSet<_> = events.iter().map(|event| format!("github.{}", event.name)).collect();
    assert_eq!(topics, names);
    server.assert_books_balance();
}
