//! The language in which receivers are written, and deliveries to them, made of any bytes. scripts/fuzz makes the bytes,
//! and so do the tests below.

use std::borrow::Cow;

use futures::stream;
use http::{Request, StatusCode};
use sekali_common::webhooks::pointer::{Document, Pointer};
use sekali_common::webhooks::template::{Template, Use, Value, Values};
use sekali_harness::webhooks::{self, PROVIDERS, now};
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json, json};

use super::requests::{Nowhere, app, reply};
use crate::http::app::App;
use crate::http::reply::{Reply, ReplyBody};
use crate::receivers::settings;
use crate::receivers::signature::Key;

/// Reads a text in each part of the language. It is the text up to the first zero; what is behind it is a document.
pub fn read(data: &[u8]) {
    let (text, document) = split(data);
    for wanted in [Use::Signed, Use::Type, Use::Event] {
        template(&text, wanted);
    }
    if let (Ok(place), Ok(document)) = (Pointer::parse(&text), serde_json::from_slice(document)) {
        pointer(&text, &place, document);
    }
    match settings::read(&text) {
        Ok(receivers) => receivers.values().for_each(|receiver| {
            let described: Map<String, Json> = serde_json::from_str(&receiver.described).unwrap_or_default();
            assert!(described.contains_key("path") && !described.contains_key("secrets"), "{described:?}");
            let keys = receiver.verification.as_ref().map(|verification| verification.keys.as_slice());
            assert!(
                keys.is_none_or(|keys| !keys.is_empty() && !keys.iter().any(is_known)),
                "{}",
                receiver.name
            );
        }),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// True for the key that everybody knows, which is empty.
fn is_known(key: &Key) -> bool {
    match key {
        Key::Hmac(_, secret) => secret.is_empty(),
        Key::Plain(secret) | Key::Twilio(secret) => secret.is_empty(),
        Key::Ed25519(_) | Key::EcdsaP256(_) => false,
    }
}

/// The text before the first zero, and what is behind it.
fn split(data: &[u8]) -> (Cow<'_, str>, &[u8]) {
    let end = data.iter().position(|byte| *byte == 0);
    let (text, rest) = end.map_or((data, &b""[..]), |end| (&data[..end], &data[end + 1..]));
    (String::from_utf8_lossy(text), rest)
}

/// A template is the same when it is read again as it is shown; it is filled in without a fault; and an error is at a
/// column of its text, or behind the last.
fn template(text: &str, wanted: Use) {
    match Template::parse(text, wanted) {
        Ok(template) => {
            assert_eq!(Template::parse(&template.to_string(), wanted).as_ref(), Ok(&template));
            for every in [1, 2, 3] {
                let _ = template.text(&Few(every));
            }
            assert!(template.fill(&Few(1)).is_some(), "all values are there");
        }
        Err(error) => assert!((1..=text.chars().count() + 1).contains(&error.column), "{text:?}: {error}"),
    }
}

/// Values of which only those are there whose names have a length that this number divides.
struct Few(usize);

impl Values for Few {
    fn get(&self, value: &Value) -> Option<Cow<'_, [u8]>> {
        let name = format!("{value:?}");
        name.len().is_multiple_of(self.0).then(|| name.into_bytes().into())
    }
}

/// A pointer finds what another implementation finds, and what is left without that place is all but that.
fn pointer(text: &str, place: &Pointer, document: &RawValue) {
    let found = place.find(document);
    let rest = Document::new(document).without(std::slice::from_ref(place));
    let rest: &RawValue = serde_json::from_str(&rest).unwrap_or_else(|error| panic!("{rest}: {error}"));
    // It refuses depth and half of a character.
    let Ok(value) = serde_json::from_str::<Json>(document.get()) else { return };
    let known = found.map(|found| serde_json::from_str::<Json>(found.get()).unwrap_or_default());
    assert_eq!(known.as_ref(), value.pointer(text), "{text} in {document}");
    let left = serde_json::from_str::<Json>(rest.get()).unwrap_or_default();
    let mut expected = value.clone();
    if known.is_some()
        && let Some((parent, token)) = text.rsplit_once('/')
    {
        match expected.pointer_mut(parent) {
            Some(Json::Object(members)) => _ = members.remove(&token.replace("~1", "/").replace("~0", "~")),
            Some(Json::Array(elements)) => _ = elements.remove(token.parse().unwrap_or_default()),
            _ => {}
        }
    }
    assert_eq!(left, expected, "{text} in {rest}");
}

/// A secret that no bytes of a fuzzer have: as a key of HMAC, as a token, and in base64.
const SECRET: &str = "c29tZSBzZWNyZXQgdGhhdCBub2JvZHkga25vd3M=";

/// Public keys of secrets that nobody has.
const ED25519: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
const P256: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==";

/// The kinds that deliver what nobody signed, each with the headers of its signature and its time.
const KINDS: [(&str, &[&str]); 23] = [
    ("standard", &["webhook-signature", "webhook-timestamp"]),
    ("svix", &["svix-signature", "svix-timestamp"]),
    ("stripe", &["stripe-signature"]),
    ("github", &["x-hub-signature-256"]),
    ("gitlab", &["x-gitlab-token"]),
    ("shopify", &["x-shopify-hmac-sha256"]),
    ("slack", &["x-slack-signature", "x-slack-request-timestamp"]),
    ("linear", &["linear-signature"]),
    ("paddle", &["paddle-signature"]),
    ("square", &["x-square-hmacsha256-signature"]),
    ("hubspot", &["x-hubspot-signature-v3", "x-hubspot-request-timestamp"]),
    ("jira", &["x-hub-signature"]),
    ("bitbucket", &["x-hub-signature"]),
    ("meta", &["x-hub-signature-256"]),
    ("zoom", &["x-zm-signature", "x-zm-request-timestamp"]),
    ("docusign", &["x-docusign-signature-1", "x-docusign-signature-100"]),
    ("discord", &["x-signature-ed25519", "x-signature-timestamp"]),
    ("sendgrid", &["x-twilio-email-event-webhook-signature", "x-twilio-email-event-webhook-timestamp"]),
    ("mailgun", &[]),
    ("intercom", &["x-hub-signature"]),
    ("twilio", &["x-twilio-signature"]),
    ("token", &["authorization"]),
    ("basic", &["authorization"]),
];

/// The receivers of [`PROVIDERS`], and one of each kind.
fn hooks() -> String {
    let mut hooks: Map<String, Json> = serde_json::from_str(&webhooks::hooks()).unwrap_or_default();
    for (kind, _) in KINDS {
        let secret = match kind {
            "discord" => ED25519,
            "sendgrid" => P256,
            _ => SECRET,
        };
        let mut receiver = json!({"kind": kind, "secrets": [secret]});
        match kind {
            "square" | "hubspot" | "twilio" => receiver["public_url"] = "https://inbox.example/".into(),
            "meta" => receiver["verify_token"] = SECRET.into(),
            _ => {}
        }
        hooks.insert(kind.to_owned(), receiver);
    }
    Json::Object(hooks).to_string()
}

thread_local! {
    static APP: App<Nowhere> = app("max_topics=100000", &hooks());
}

const CONTENT_TYPES: [&str; 4] = [
    "application/json",
    "application/x-www-form-urlencoded",
    "text/plain; charset=utf-8",
    "application/octet-stream",
];

/// Delivers a body of any bytes. What its provider signed is stored, or is refused for an id that is not there or for a
/// limit. What nobody signed is 401.
pub fn deliver(data: &[u8]) {
    let [to, form, change, rest @ ..] = data else { return };
    let (text, body) = split(rest);
    let mut headers = vec![("content-type", CONTENT_TYPES[usize::from(form % 4)].to_owned())];
    if form & 4 != 0 {
        headers.push(("content-encoding", "gzip".to_owned()));
    }
    let to = usize::from(*to) % (PROVIDERS.len() + KINDS.len());
    let Some(provider) = PROVIDERS.get(to) else {
        let (kind, names) = KINDS[to - PROVIDERS.len()];
        let value =
            |name: &str| if name.ends_with("timestamp") { now().to_string() } else { text.to_string() };
        headers.extend(names.iter().map(|name| (*name, value(name))));
        let Some(reply) = post(&format!("/hooks/{kind}"), &headers, body) else { return };
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{kind}");
        return;
    };
    headers.extend(provider.headers(&text, now(), body));
    let mut sent = body.to_vec();
    match change {
        0..128 => {}
        128..192 => sent.push(*change),
        _ => match sent.get_mut(usize::from(change % 64)) {
            Some(byte) => *byte ^= 1,
            None => sent.insert(0, *change),
        },
    }
    let Some(reply) = post(provider.path, &headers, &sent) else { return };
    match (reply.status, sent == body) {
        (StatusCode::OK | StatusCode::PAYLOAD_TOO_LARGE, true) | (StatusCode::UNAUTHORIZED, false) => {}
        (StatusCode::UNPROCESSABLE_ENTITY, true) => {
            let ReplyBody::Full(text) = &reply.body else { panic!("a problem is a stream") };
            let problem: Json = serde_json::from_slice(text).unwrap_or_default();
            let errors = problem["errors"].as_array();
            assert!(
                errors.is_some_and(|all| all.iter().all(|error| error["field"] == "event_id")),
                "{problem}"
            );
        }
        (status, _) => panic!("{}: {status}", provider.name),
    }
}

fn post(path: &str, headers: &[(&str, String)], body: &[u8]) -> Option<Reply> {
    let mut request = Request::builder().method("POST").uri(path);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    // A text that no header may have is no request.
    let request = request.body(stream::iter([Ok(body.to_vec())])).ok()?;
    Some(APP.with(|app| reply(app, request)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(random: &mut fastrand::Rng, parts: &[&[u8]], most: usize) -> Vec<u8> {
        (0..random.usize(..most)).flat_map(|_| parts[random.usize(..parts.len())].to_vec()).collect()
    }

    #[test]
    fn whatever_a_receiver_is_it_is_read_or_refused() {
        let parts: [&[u8]; 26] = [
            b"{\"x\":{\"kind\":\"github\",\"secrets\":[\" \"]}}",
            b"{\"x\":{\"kind\":\"standard\",\"secrets\":[\"whsec_\"]}}",
            b"{",
            b"}",
            b"{{",
            b"|",
            b"json:",
            b"/id",
            b"/~0",
            b"/0",
            b"/01",
            b"header:x-id",
            b"field:v1",
            b"hook",
            b"type",
            b"timestamp",
            b"\xc3\xa9",
            b"\0",
            b"{\"id\":[0,{\"~\":1}]}",
            b"\"id\":",
            b"[",
            b"]",
            b",",
            b"{\"x\":{\"kind\":\"github\",\"secrets\":[\"s\"]",
            b"\"kind\":\"custom\"",
            b"\\ud800",
        ];
        let mut random = fastrand::Rng::with_seed(28);
        for _ in 0..20_000 {
            read(&some(&mut random, &parts, 8));
        }
    }

    #[test]
    fn what_was_signed_is_taken_whatever_it_is_and_nothing_else() {
        let parts: [&[u8]; 20] = [
            b"{\"id\":\"e\",",
            b"\"type\":\"t\"",
            b"\"items\":[",
            b"{\"id\":1}",
            b"]",
            b"}",
            b",",
            b"\"x\":",
            b"\"\\ud800\"",
            b"\xff",
            b"\xef\xbb\xbf",
            b"\r\n",
            b"a=1&b=%zz",
            b"\0",
            b"[[[[[[[[",
            b"1e999",
            b"\x1f\x8b\x08",
            b"t=1,v1=00",
            b"v1,AAAA",
            b"sha256=00",
        ];
        let mut random = fastrand::Rng::with_seed(28);
        for _ in 0..20_000 {
            let mut data = vec![random.u8(..), random.u8(..), random.u8(..)];
            data.extend(some(&mut random, &parts, 8));
            deliver(&data);
        }
    }
}
