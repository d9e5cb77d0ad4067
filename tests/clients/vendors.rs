//! Deliveries that are signed by the packages of those who send them, as they are published on PyPI and npm.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use sekali_harness::Server;
use sekali_harness::server::Answer;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{installed, repository, run};

/// A delivery that is not signed yet.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Unsigned {
    /// Who signs it: `pypi/` and a function of vendors.py, or `npm/` and one of vendors.mjs.
    pub package: String,
    /// What it is signed with.
    pub secret: String,
    pub body: String,
    /// What the provider sends beside the signature.
    pub headers: BTreeMap<String, String>,
    /// The id, where it is signed.
    pub id: String,
    /// The URL, where it is signed.
    pub url: String,
    /// The algorithm, where the package knows several.
    pub algorithm: Option<String>,
    /// The seconds since it was signed.
    pub age: u32,
}

/// A delivery as it is sent.
#[derive(Clone, Debug)]
pub struct Signed {
    pub headers: BTreeMap<String, String>,
    pub query: String,
    pub body: Vec<u8>,
    /// What the package answers, where it is a receiver.
    pub answer: String,
}

/// What a signer adds to a delivery.
#[derive(Default, Deserialize)]
struct Added {
    #[serde(rename = "?", default)]
    query: String,
    #[serde(rename = "=", default)]
    answer: String,
    #[serde(flatten)]
    headers: BTreeMap<String, String>,
}

/// Signs deliveries, and returns them in their order. One without a package needs no signature.
pub fn sign(deliveries: Vec<Unsigned>) -> Vec<Signed> {
    let mut added: Vec<Added> = deliveries.iter().map(|_| Added::default()).collect();
    for registry in ["pypi/", "npm/"] {
        let is_from = |delivery: &Unsigned| delivery.package.starts_with(registry);
        let places: Vec<_> = (0..deliveries.len()).filter(|place| is_from(&deliveries[*place])).collect();
        if !places.is_empty() {
            let jobs: Vec<_> = places.iter().map(|place| &deliveries[*place]).collect();
            for (place, signed) in places.iter().zip(signed_by(registry, &jobs)) {
                added[*place] = signed;
            }
        }
    }
    let together = |(delivery, Added { query, answer, headers }): (Unsigned, Added)| {
        let headers = delivery.headers.into_iter().chain(headers).collect();
        Signed { headers, query, body: delivery.body.into_bytes(), answer }
    };
    deliveries.into_iter().zip(added).map(together).collect()
}

/// What the packages of a registry add to deliveries.
fn signed_by(registry: &str, deliveries: &[&Unsigned]) -> Vec<Added> {
    let directory = tempfile::tempdir_in(installed("")).unwrap();
    let jobs = directory.path().join("deliveries.json");
    serde_json::to_writer(File::create(&jobs).unwrap(), deliveries).unwrap();
    let mut signer = program_of(registry, "vendors", directory.path());
    serde_json::from_str(&run(signer.stdin(File::open(jobs).unwrap()))).unwrap()
}

/// One of two programs of a name that use the packages of a registry. `directory` is below the libraries of Node.js, which
/// looks for them from the script's directory up.
pub fn program_of(registry: &str, name: &str, directory: &Path) -> Command {
    let (mut command, script) = match registry {
        "pypi/" => {
            (Command::new(installed("python/bin/python")), repository(&format!("tests/clients/{name}.py")))
        }
        _ => {
            let script = directory.join(format!("{name}.mjs"));
            std::fs::copy(repository(&format!("tests/clients/{name}.mjs")), &script).unwrap();
            (Command::new("node"), script)
        }
    };
    command.arg(script);
    command
}

impl Signed {
    /// Delivers it to a receiver.
    pub fn deliver(&self, server: &Server, receiver: &str) -> Answer {
        let query = if self.query.is_empty() { String::new() } else { format!("?{}", self.query) };
        let headers: Vec<_> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        server.send("POST", &format!("/hooks/{receiver}{query}"), &headers, &self.body)
    }
}

/// Asserts that an answer says that so many events were stored, and so many were there before.
#[track_caller]
pub fn assert_outcome(answer: &Answer, stored: usize, duplicates: usize, what: &str) {
    assert_eq!(answer.status, 200, "{what}: {}", answer.text);
    let expected = json!({
        "status": "ok", "total_received": stored + duplicates, "stored": stored, "duplicates": duplicates,
        "conflicts": 0,
    });
    assert_eq!(answer.json(), expected, "{what}");
}

/// A row of vendors.json: a package, a receiver of what it signs, and a delivery.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vendor {
    pub package: String,
    pub secret: String,
    /// The receiver's fields; without `secrets`, it has the one that signs and one that was replaced.
    pub receiver: Value,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    id: String,
    pub algorithm: Option<String>,
    /// A text, or JSON. `NOW` in it is the time in milliseconds.
    pub body: Value,
    /// The body of a redelivery, where it differs.
    again: Option<Value>,
    /// The number of events in the body.
    #[serde(default = "one")]
    pub events: usize,
    /// The status of an answer without a body.
    answer: Option<u16>,
}

fn one() -> usize {
    1
}

impl Vendor {
    /// All rows, by names for their receivers.
    pub fn all() -> BTreeMap<String, Self> {
        let rows = std::fs::read_to_string(repository("tests/clients/vendors.json")).unwrap();
        let rows: Vec<Self> = serde_json::from_str(&rows).unwrap();
        let name =
            |(number, row): (usize, Self)| (format!("{}-{number}", row.package.replace('/', "-")), row);
        rows.into_iter().enumerate().map(name).collect()
    }

    /// The URL of its receiver.
    pub fn url(name: &str) -> String {
        format!("https://inbox.example/hooks/{name}")
    }

    pub fn receiver(&self, name: &str) -> Value {
        let mut receiver = self.receiver.clone();
        if receiver["secrets"].is_null() {
            receiver["secrets"] = json!(["one that was replaced", self.secret]);
        }
        if receiver["public_url"] == "URL" {
            receiver["public_url"] = Self::url(name).into();
        }
        receiver
    }

    /// A delivery that was signed so many seconds ago.
    pub fn delivery(&self, name: &str, body: &Value, age: u32) -> Unsigned {
        let at = UNIX_EPOCH.elapsed().unwrap() - Duration::from_secs(age.into());
        let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
        Unsigned {
            package: self.package.clone(),
            secret: self.secret.clone(),
            body: body.replace("\"NOW\"", &at.as_millis().to_string()),
            headers: self.headers.clone(),
            id: self.id.clone(),
            url: Self::url(name),
            algorithm: self.algorithm.clone(),
            age,
        }
    }

    /// Asserts that a delivery to its receiver was stored, or was there before.
    #[track_caller]
    fn assert_taken(&self, answer: &Answer, is_new: bool, name: &str) {
        let (stored, duplicates) = if is_new { (self.events, 0) } else { (0, self.events) };
        match self.answer {
            Some(status) => assert_eq!((answer.status, answer.text.as_str()), (status, ""), "{name}"),
            None => assert_outcome(answer, stored, duplicates, name),
        }
    }
}

#[test]
#[ignore = "needs the clients that tests/clients/install installs"]
fn what_a_vendors_package_signs_is_stored_once_and_nothing_else_is() {
    let vendors = Vendor::all();
    let hooks: BTreeMap<_, _> = vendors.iter().map(|(name, vendor)| (name, vendor.receiver(name))).collect();
    let first_and_again = |(name, vendor): (&String, &Vendor)| {
        let again = vendor.again.as_ref().unwrap_or(&vendor.body);
        [vendor.delivery(name, &vendor.body, 2), vendor.delivery(name, again, 0)]
    };
    let signed = sign(vendors.iter().flat_map(first_and_again).collect());
    let server = Server::with_variables(&[("hooks", &json!(hooks).to_string())]);
    let mut events = 0;
    for ((name, vendor), pair) in vendors.iter().zip(signed.chunks(2)) {
        let [first, again] = pair else { panic!("two of each") };
        for place in [0, first.body.len() / 2, first.body.len() - 1] {
            let mut forged = first.clone();
            forged.body[place] ^= 1;
            forged.deliver(&server, name).problem(401, "invalid-signature");
        }
        vendor.assert_taken(&first.deliver(&server, name), true, name);
        vendor.assert_taken(&again.deliver(&server, name), false, name);
        events += vendor.events;
        let stats = server.stats();
        let counted = [&stats["unique_processed"], &stats["duplicate_dropped"], &stats["conflicts"]];
        assert_eq!(counted, [events, events, 0], "{name}");
    }
    assert!(events >= 24, "{events}");
    server.assert_books_balance();
}

#[test]
#[ignore = "needs the clients that tests/clients/install installs"]
fn a_challenge_of_zooms_has_the_answer_of_its_package() {
    let challenge = json!({
        "event": "endpoint.url_validation", "event_ts": 1_764_417_600_000_u64,
        "payload": {"plainToken": "q9ibPhGeRZ6ayx5WTrXjRw"},
    });
    let secret = "123456abcdef";
    let signed = sign(vec![Unsigned {
        package: "npm/zoom".into(),
        secret: secret.into(),
        body: challenge.to_string(),
        ..Unsigned::default()
    }]);
    let hooks = json!({"zoom": {"kind": "zoom", "secrets": [secret]}}).to_string();
    let server = Server::with_variables(&[("hooks", &hooks)]);
    let answer = signed[0].deliver(&server, "zoom");
    assert_eq!(answer.json(), serde_json::from_str::<Value>(&signed[0].answer).unwrap());
    assert_eq!(server.stats()["received"], 0);
}
