//! Deliveries that are signed by the packages of those who send them, as they are published on PyPI and npm.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use sekali_harness::Server;
use sekali_harness::server::Answer;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{installed, repository};

/// The language of a package that signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Python,
    JavaScript,
}

/// A way to sign: a package, and what it signs with.
#[derive(Clone, Debug)]
pub struct Signer {
    pub language: Language,
    /// The name of its function in vendors.py or vendors.mjs.
    pub package: &'static str,
    pub secret: String,
}

/// A delivery that is not signed yet.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Unsigned {
    pub body: String,
    /// What the provider sends beside the signature.
    pub headers: BTreeMap<String, String>,
    /// The id, where it is signed.
    pub id: String,
    /// The URL, where it is signed.
    pub url: String,
    /// The algorithm, where the package knows several.
    pub algorithm: Option<&'static str>,
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

#[derive(Serialize)]
struct Job<'j> {
    package: &'j str,
    secret: &'j str,
    #[serde(flatten)]
    delivery: &'j Unsigned,
}

#[derive(Deserialize)]
struct Added {
    #[serde(rename = "?", default)]
    query: String,
    #[serde(rename = "=", default)]
    answer: String,
    #[serde(flatten)]
    headers: BTreeMap<String, String>,
}

/// Signs deliveries, in their order.
pub fn sign(deliveries: &[(Signer, Unsigned)]) -> Vec<Signed> {
    let mut added: Vec<Option<Added>> = deliveries.iter().map(|_| None).collect();
    for language in [Language::Python, Language::JavaScript] {
        let of_language = |&(_, (signer, _)): &(usize, &(Signer, Unsigned))| signer.language == language;
        let (places, jobs): (Vec<_>, Vec<_>) = deliveries
            .iter()
            .enumerate()
            .filter(of_language)
            .map(|(place, (signer, delivery))| {
                (place, Job { package: signer.package, secret: &signer.secret, delivery })
            })
            .unzip();
        if jobs.is_empty() {
            continue;
        }
        let signed: Vec<Added> = serde_json::from_str(&ask(language, &json!(jobs).to_string())).unwrap();
        for (place, signed) in places.into_iter().zip(signed) {
            added[place] = Some(signed);
        }
    }
    let together = |((_, delivery), added): (&(Signer, Unsigned), Option<Added>)| {
        let Added { query, answer, headers } = added.unwrap();
        let headers = delivery.headers.clone().into_iter().chain(headers).collect();
        Signed { headers, query, body: delivery.body.clone().into_bytes(), answer }
    };
    deliveries.iter().zip(added).map(together).collect()
}

/// Runs the signer of a language, and returns its answer.
fn ask(language: Language, jobs: &str) -> String {
    let mut command = match language {
        Language::Python => {
            let mut python = Command::new(installed("python/bin/python"));
            python.arg(repository("tests/clients/vendors.py"));
            python
        }
        Language::JavaScript => {
            // Beside its libraries, because Node.js looks for them from the script's directory up.
            let script = installed("").join("vendors.mjs");
            std::fs::copy(repository("tests/clients/vendors.mjs"), &script).unwrap();
            let mut node = Command::new("node");
            node.arg(script);
            node
        }
    };
    let mut signer = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = signer.stdin.take().unwrap();
    let jobs = jobs.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(jobs.as_bytes()).unwrap());
    let output = signer.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{language:?}");
    String::from_utf8(output.stdout).unwrap()
}

impl From<Unsigned> for Signed {
    /// One that needs no signature.
    fn from(delivery: Unsigned) -> Self {
        let (query, answer) = (String::new(), String::new());
        Self { headers: delivery.headers, query, body: delivery.body.into_bytes(), answer }
    }
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

/// A package, a receiver of what it signs, and a delivery with what differs when it comes again.
struct Vendor {
    /// The name of the receiver.
    name: String,
    signer: Signer,
    /// The receiver's fields.
    receiver: Value,
    delivery: Unsigned,
    /// What differs in the body of a redelivery: a text, and what stands in its place.
    changes: (&'static str, &'static str),
    /// The number of events in the body.
    events: usize,
}

/// A vendor whose receiver has the secret that signs.
fn vendor(language: Language, package: &'static str, kind: &str, secret: &str, body: &str) -> Vendor {
    Vendor {
        name: String::new(),
        signer: Signer { language, package, secret: secret.to_owned() },
        receiver: json!({"kind": kind, "secrets": ["another secret, which was replaced", secret]}),
        delivery: Unsigned { body: body.to_owned(), ..Unsigned::default() },
        changes: ("", ""),
        events: 1,
    }
}

impl Vendor {
    /// With fields in place of others.
    fn receiver(mut self, fields: Value) -> Self {
        let Value::Object(fields) = fields else { panic!("an object") };
        self.receiver.as_object_mut().unwrap().extend(fields);
        self
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.delivery.headers.insert(name.into(), value.into());
        self
    }

    fn id(self, id: &str) -> Self {
        Self { delivery: Unsigned { id: id.into(), ..self.delivery }, ..self }
    }

    fn algorithm(self, algorithm: &'static str) -> Self {
        Self { delivery: Unsigned { algorithm: Some(algorithm), ..self.delivery }, ..self }
    }

    /// The delivery that is signed so many seconds ago. One that is signed now is the redelivery.
    fn delivery_of(&self, age: u32) -> (Signer, Unsigned) {
        let at = std::time::UNIX_EPOCH.elapsed().unwrap() - Duration::from_secs(age.into());
        let mut body = self.delivery.body.replace("NOW", &at.as_millis().to_string());
        if age == 0 && !self.changes.0.is_empty() {
            body = body.replace(self.changes.0, self.changes.1);
        }
        (self.signer.clone(), Unsigned { body, age, ..self.delivery.clone() })
    }

    fn changes(self, from: &'static str, to: &'static str) -> Self {
        assert!(self.delivery.body.contains(from));
        Self { changes: (from, to), ..self }
    }
}

const SYMMETRIC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Private keys in hexadecimal, with the public ones that providers show. The first is that of RFC 8032, section 7.1, test 1.
const ED25519: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const ED25519_PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
const P256: &str = "1234567890abcdef";
const P256_PUBLIC: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEn62Erq4Iu+9/AQAU2CzvagneKwz4cbXODE8dE6WaWTQHy0V2nxBw4sJHD+Wxv+YxM8CwzcZOpL83kajsKgf9Tw==";

fn vendors() -> Vec<Vendor> {
    use Language::{JavaScript, Python};
    let standard =
        r#"{"type":"contact.created","timestamp":"2026-11-29T12:00:00Z","data":{"id":"1f81eb52"}}"#;
    let form = "application/x-www-form-urlencoded";
    let sms = "ToCountry=US&MessageSid=SM1f2e3d&AccountSid=AC9a8b&Body=a%26b+%C3%BC&NumMedia=0&MediaUrl=&SmsStatus=received";
    let linear = r#"{"action":"update","type":"Issue","createdAt":"2026-11-29T12:00:00.000Z","data":{"id":"2174add1"},"organizationId":"9b4a","webhookTimestamp":NOW,"webhookId":"w"}"#;
    vec![
        vendor(Python, "standardwebhooks", "standard", SYMMETRIC, standard)
            .receiver(json!({"secrets": ["whsec_AAAA", SYMMETRIC]}))
            .id("msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"),
        vendor(JavaScript, "standardwebhooks", "standard", SYMMETRIC, standard)
            .receiver(json!({"secrets": ["whsec_AAAA", SYMMETRIC]}))
            .id("msg_2KWPBgLlAfxdpx2AI54pPJ85f4X"),
        vendor(JavaScript, "svix", "svix", SYMMETRIC, standard).receiver(json!({"secrets": ["whsec_AAAA", SYMMETRIC]})).id("msg_1"),
        vendor(
            Python,
            "stripe",
            "stripe",
            SYMMETRIC,
            r#"{"id":"evt_1NG8","object":"event","created":1764417600,"type":"invoice.paid","pending_webhooks":2,"data":{"object":{"amount":1999}}}"#,
        )
        .changes(r#""pending_webhooks":2"#, r#""pending_webhooks":1"#),
        vendor(
            JavaScript,
            "github",
            "github",
            "It's a Secret to Everybody",
            r#"{"ref":"refs/heads/main","repository":{"full_name":"octo/hello"}}"#,
        )
        .header("x-github-event", "push")
        .header("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
        vendor(JavaScript, "hub", "bitbucket", "s3cret", r#"{"repository":{"full_name":"octo/hello"}}"#)
            .header("x-event-key", "repo:push")
            .header("x-request-uuid", "b2f93568-9ff7-4532-adc0-43212479959d"),
        vendor(JavaScript, "hub", "jira", "s3cret", r#"{"timestamp":1764417600000,"webhookEvent":"jira:issue_created"}"#)
            .header("x-atlassian-webhook-identifier", "5dd1f3a2"),
        vendor(
            JavaScript,
            "github",
            "meta",
            "app secret",
            r#"{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages","value":{"messages":[{"id":"wamid.H","timestamp":"1764417600"}]}}]}]}"#,
        )
        .receiver(json!({"verify_token": "v"})),
        vendor(JavaScript, "shopify", "shopify", "hush", r#"{"id":820982911946154508,"total_price":"398.00"}"#)
            .header("x-shopify-topic", "orders/create")
            .header("x-shopify-shop-domain", "shop.myshopify.com")
            .header("x-shopify-api-version", "2026-07")
            .header("x-shopify-webhook-id", "8a95126f-859a-4db9-b8f1-350e299e9ea0"),
        vendor(JavaScript, "shopifyEvents", "shopify", "hush", r#"{"product":{"id":"gid://shopify/Product/1"}}"#)
            .receiver(json!({"signature": {"header": "shopify-hmac-sha256", "encoding": "base64"}}))
            .header("shopify-topic", "Product")
            .header("shopify-action", "update")
            .header("shopify-handle", "prices")
            .header("shopify-shop-domain", "shop.myshopify.com")
            .header("shopify-api-version", "2026-07")
            .header("shopify-webhook-id", "5a95126f-859a-4db9-b8f1-350e299e9ea0"),
        vendor(JavaScript, "sanity", "custom", "s3cret", r#"{"_id":"post-1","_type":"post"}"#)
            .receiver(json!({
                // In the alphabet of base64 for URLs.
                "signature": {"header": "sanity-webhook-signature", "split": ",", "field": "v1", "encoding": "base64"},
                "signed": "{timestamp}.{body}",
                "signed_at": {"field": "t", "unit": "ms"},
                "event_id": "{header:idempotency-key}",
                "type": "{json:/_type}",
            }))
            .header("idempotency-key", "2kKf4a"),
        vendor(
            JavaScript,
            "zoom",
            "zoom",
            "123456abcdef",
            r#"{"event":"meeting.started","event_ts":1764417600000,"payload":{"account_id":"a","object":{"uuid":"u"}}}"#,
        ),
        vendor(JavaScript, "linear", "linear", "lin_wh_1", linear)
            .header("linear-delivery", "234d1a4e-b617-4388-90fe-adc3633d6b72"),
        vendor(
            Python,
            "slack",
            "slack",
            "8f742231b10e8888abcd99yyyzzz85a5",
            r#"{"token":"t","team_id":"T1","type":"event_callback","event":{"type":"app_mention"},"event_id":"Ev1","event_time":1764417600}"#,
        ),
        vendor(Python, "twilio", "twilio", "12345", sms).header("content-type", form),
        vendor(Python, "twilio", "twilio", "12345", &sms.replace("SM1f2e3d", "SM4"))
            .header("content-type", form)
            .algorithm("HMAC_SHA256"),
        vendor(Python, "twilio", "twilio", "12345", r#"{"EventType":"onMessageAdded","MessageSid":"IM1"}"#)
            .header("content-type", "application/json"),
        vendor(
            Python,
            "square",
            "square",
            "Ibxx_5AKakO-3qeNVR61Dw",
            r#"{"merchant_id":"M","type":"payment.updated","event_id":"ac3ac95b","created_at":"2026-11-29T12:00:00Z"}"#,
        ),
        Vendor {
            events: 2,
            ..vendor(
                Python,
                "hubspot",
                "hubspot",
                "yyyyyyyy",
                r#"[{"eventId":1,"subscriptionId":25,"portalId":33,"occurredAt":1764417600000,"subscriptionType":"contact.creation","attemptNumber":0},{"eventId":2,"subscriptionId":25,"portalId":33,"occurredAt":1764417600001,"subscriptionType":"deal.creation","attemptNumber":0}]"#,
            )
            .changes(r#""attemptNumber":0"#, r#""attemptNumber":1"#)
        },
        vendor(
            Python,
            "paddle",
            "paddle",
            "pdl_ntf_01hbpjmytsa32fhr36nqgc3kgb_WvRO0eL4Bj9rgYYIBZY6wZhG4EHy9jzh",
            r#"{"event_id":"evt_01j7","event_type":"customer.created","occurred_at":"2026-11-29T12:00:00Z","notification_id":"ntf_1","data":{}}"#,
        )
        .changes("ntf_1", "ntf_2"),
        Vendor {
            events: 2,
            ..vendor(
                Python,
                "sendgrid",
                "sendgrid",
                P256,
                "[{\"sg_event_id\":\"a\",\"event\":\"delivered\",\"timestamp\":1764417600},{\"sg_event_id\":\"b\",\"event\":\"open\",\"timestamp\":1764417601}]\r\n",
            )
            .receiver(json!({"secrets": [P256_PUBLIC]}))
        },
        vendor(
            Python,
            "discord",
            "discord",
            ED25519,
            r#"{"version":1,"application_id":"1234560123453231555","type":1,"event":{"type":"APPLICATION_AUTHORIZED","timestamp":"2026-11-29T12:00:00","data":{}}}"#,
        )
        .receiver(json!({"secrets": [ED25519_PUBLIC]})),
    ]
}

#[test]
#[ignore = "needs the clients that tests/clients/install installs"]
fn what_a_vendors_package_signs_is_stored_once_and_nothing_else_is() {
    let mut vendors = vendors();
    for (number, vendor) in vendors.iter_mut().enumerate() {
        vendor.name = format!("{}-{number}", vendor.signer.package);
        vendor.delivery.url = format!("https://inbox.example/hooks/{}", vendor.name);
        if ["twilio", "square", "hubspot"].contains(&vendor.signer.package) {
            vendor.receiver["public_url"] = vendor.delivery.url.clone().into();
        }
    }
    let pairs = vendors.iter().flat_map(|vendor| [vendor.delivery_of(2), vendor.delivery_of(0)]);
    let signed = sign(&pairs.collect::<Vec<_>>());
    let hooks: BTreeMap<_, _> = vendors.iter().map(|vendor| (&vendor.name, &vendor.receiver)).collect();
    let server = Server::with_variables(&[("hooks", &json!(hooks).to_string())]);
    let (mut all_stored, mut all_duplicates) = (0, 0);
    for (Vendor { name, signer, events, .. }, pair) in vendors.iter().zip(signed.chunks(2)) {
        let [first, again] = pair else { panic!("two of each") };
        for place in [0, first.body.len() / 2, first.body.len() - 1] {
            let mut forged = first.clone();
            forged.body[place] ^= 1;
            forged.deliver(&server, name).problem(401, "invalid-signature");
        }
        for (delivery, stored, duplicates) in [(first, *events, 0), (again, 0, *events)] {
            let answer = delivery.deliver(&server, name);
            match ["twilio", "discord"].contains(&signer.package) {
                true => assert_eq!((answer.status, answer.text.as_str()), (204, ""), "{name}"),
                false => assert_outcome(&answer, stored, duplicates, name),
            }
            all_stored += stored;
            all_duplicates += duplicates;
            let stats = server.stats();
            let counted = [&stats["unique_processed"], &stats["duplicate_dropped"]];
            assert_eq!(counted, [all_stored, all_duplicates], "{name}");
        }
    }
    server.assert_books_balance();
}

#[test]
#[ignore = "needs the clients that tests/clients/install installs"]
fn a_challenge_of_zooms_has_the_answer_of_its_package() {
    let signer = Signer { language: Language::JavaScript, package: "zoom", secret: "123456abcdef".into() };
    let body = r#"{"event":"endpoint.url_validation","event_ts":1764417600000,"payload":{"plainToken":"q9ibPhGeRZ6ayx5WTrXjRw"}}"#;
    let signed = sign(&[(signer, Unsigned { body: body.into(), ..Unsigned::default() })]);
    let hooks = json!({"zoom": {"kind": "zoom", "secrets": ["123456abcdef"]}}).to_string();
    let server = Server::with_variables(&[("hooks", &hooks)]);
    let answer = signed[0].deliver(&server, "zoom");
    assert_eq!(answer.json(), serde_json::from_str::<Value>(&signed[0].answer).unwrap());
    assert_eq!(server.stats()["received"], 0);
}
