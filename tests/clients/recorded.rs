//! Deliveries as they were recorded, each delivered twice, the second time as its provider sends it again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use regex::Regex;
use sekali_harness::Server;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::vendors::{Signed, Unsigned, assert_outcome, sign};
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
    /// The delivery, to be signed by a package.
    pub fn unsigned(&self, package: &str, secret: &str) -> Unsigned {
        let (package, secret) = (package.to_owned(), secret.to_owned());
        let (headers, body) = (self.headers(), self.body.get().to_owned());
        Unsigned { package, secret, headers, body, ..Unsigned::default() }
    }

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
    // A folder of each has the version of the provider's API.
    let files = |folder: &Path| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        files(&directory.path().join(provider)).flat_map(|version| files(&version)).collect();
    paths.sort();
    paths.iter().map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()).collect()
}

/// A provider whose deliveries were recorded.
struct Provider {
    name: &'static str,
    /// The receiver's fields beside its secret.
    receiver: Value,
    /// The package that signs; empty where the recorded headers have all that is verified.
    package: &'static str,
    /// What differs in a body when it comes again.
    changes: Option<(&'static str, &'static str)>,
    /// How many were recorded.
    count: usize,
}

fn providers() -> [Provider; 10] {
    let provider =
        |name, package, count, receiver| Provider { name, receiver, package, changes: None, count };
    let woocommerce = json!({
        "kind": "custom",
        "signature": {"header": "x-wc-webhook-signature", "encoding": "base64"},
        "event_id": "{header:x-wc-webhook-delivery-id}",
        "type": "{header:x-wc-webhook-topic}",
        "source": "{header:x-wc-webhook-source}",
    });
    let pipedrive = json!({
        "kind": "basic",
        "secrets": ["username:password"],
        "event_id": "{json:/event}-{json:/meta/id}-{json:/meta/timestamp_micro}",
        "type": "{json:/event}",
        "source": "{json:/meta/host}",
        "volatile": ["/retry"],
    });
    let item = |field: &str| format!("{{json:/NotificationRequestItem/{field}}}");
    let adyen = json!({
        "kind": "basic",
        "secrets": ["Octovie:password"],
        "each": "/notificationItems",
        "event_id": item("pspReference"),
        "type": item("eventCode"),
        "source": item("merchantAccountCode"),
    });
    [
        Provider {
            // It tells how many endpoints have not taken the event yet.
            changes: Some((r#""pending_webhooks": \d+"#, r#""pending_webhooks": 1"#)),
            ..provider("stripe", "pypi/stripe", 13, json!({"kind": "stripe"}))
        },
        Provider {
            // A notification that is sent again from the dashboard is another one of the same event.
            changes: Some((r#""notification_id": "ntf_"#, r#""notification_id": "ntf_0"#)),
            ..provider("paddlebilling", "pypi/paddle", 16, json!({"kind": "paddle"}))
        },
        provider("hubspot", "pypi/hubspot", 3, json!({"kind": "hubspot", "public_url": URL})),
        provider("github", "npm/github", 10, json!({"kind": "github"})),
        provider("shopify", "npm/shopify", 181, json!({"kind": "shopify"})),
        provider("bitbucket", "npm/hub", 10, json!({"kind": "bitbucket"})),
        provider("woocommerce", "npm/woocommerce", 5, woocommerce),
        Provider {
            changes: Some((r#""retry": 0"#, r#""retry": 1"#)),
            ..provider("pipedrive", "", 12, pipedrive)
        },
        provider("adyen", "", 7, adyen),
        provider("gitlab", "", 7, json!({"kind": "gitlab", "secrets": ["secrettoken"]})),
    ]
}

const URL: &str = "https://inbox.example/hooks/recorded";

impl Provider {
    /// Its deliveries, and then the same again.
    fn twice(&self) -> Vec<Signed> {
        let recorded = recorded(self.name);
        assert_eq!(recorded.len(), self.count, "{}", self.name);
        let first: Vec<_> = recorded
            .iter()
            .map(|delivery| Unsigned { url: URL.into(), ..delivery.unsigned(self.package, SECRET) })
            .collect();
        let again =
            first.iter().map(|delivery| Unsigned { body: self.again(&delivery.body), ..delivery.clone() });
        sign(first.iter().cloned().chain(again).collect())
    }

    fn again(&self, body: &str) -> String {
        let Some((pattern, text)) = self.changes else { return body.to_owned() };
        let again = Regex::new(pattern).unwrap().replace(body, text);
        assert_ne!(again, body, "{}", self.name);
        again.into_owned()
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
        events.iter().flat_map(|event| event.examples.iter().map(|example| (&event.name, &**example)));
    let unsigned = |(number, (name, example)): (usize, (&String, &RawValue))| Unsigned {
        package: "npm/github".into(),
        secret: SECRET.into(),
        body: example.get().into(),
        headers: BTreeMap::from([
            ("x-github-event".into(), name.clone()),
            ("x-github-delivery".into(), format!("72d3162e-cc78-11e3-81ab-{number:012}")),
        ]),
        ..Unsigned::default()
    };
    let deliveries: Vec<_> = examples.enumerate().map(unsigned).collect();
    assert!(deliveries.len() > 300, "{}", deliveries.len());
    let hooks = json!({"github": {"kind": "github", "secrets": [SECRET]}}).to_string();
    let server = Server::with_variables(&[("hooks", &hooks)]);
    let signed = sign(deliveries);
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
