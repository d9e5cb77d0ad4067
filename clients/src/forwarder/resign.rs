//! Signs as a provider would, for handlers that verify with its library: the receiver's row of the table of kinds, run
//! backwards. The time is now, as libraries refuse old signatures.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::CONTENT_TYPE;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use sekali_common::consumers::ClaimedEvent;
use sekali_common::webhooks::KINDS;
use sekali_common::webhooks::pointer::{Pointer, scalar};
use sekali_common::webhooks::template::{Template, Use, Value, Values};
use serde::Deserialize;
use serde_json::Value as Json;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::message::{Message, attributes};
use crate::sign::private_key;

/// Headers that belong to a connection or to a body, and not to an event.
const NOT_KEPT: [&str; 8] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "te",
    "transfer-encoding",
];

const FORM: &str = "application/x-www-form-urlencoded";

/// A provider that signs.
#[derive(Clone)]
pub struct Resign {
    kind: String,
    row: Row,
    key: Key,
    signed: Template,
    /// What headers say of an event, and the templates that find it there.
    parts: Vec<(Part, Template)>,
    /// The URL that the provider signs, where it is not the address of the endpoint.
    pub url: Option<String>,
}

/// The fields of a kind that say how it signs, and where it has the parts of an event.
#[derive(Clone, Deserialize)]
struct Row {
    signature: Option<Signature>,
    #[serde(default = "body")]
    signed: String,
    #[serde(default = "hmac_sha256")]
    algorithm: String,
    #[serde(default)]
    key: KeyForm,
    signed_at: Option<SignedAt>,
    each: Option<String>,
    event_id: Option<String>,
    r#type: Option<String>,
    timestamp: Option<String>,
    source: Option<String>,
}

fn body() -> String {
    "{body}".into()
}

fn hmac_sha256() -> String {
    "hmac-sha256".into()
}

#[derive(Clone, Deserialize)]
struct Signature {
    header: Option<String>,
    json: Option<String>,
    #[serde(default)]
    split: String,
    field: Option<String>,
    #[serde(default)]
    prefix: String,
    encoding: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
struct KeyForm {
    encoding: Option<String>,
    #[serde(default)]
    strip: String,
}

#[derive(Clone, Deserialize)]
struct SignedAt {
    header: Option<String>,
    json: Option<String>,
    field: Option<String>,
    unit: Option<String>,
}

#[derive(Clone)]
enum Key {
    Hmac(hmac::Key),
    Ed25519(Arc<Ed25519KeyPair>),
    EcdsaP256(Arc<EcdsaKeyPair>),
    Plain(Vec<u8>),
    Twilio(hmac::Key),
}

#[derive(Clone, Copy)]
enum Part {
    EventId,
    Type,
    Timestamp,
    Source,
}

impl fmt::Debug for Resign {
    /// Never shows a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resign({})", self.kind)
    }
}

impl Resign {
    /// Reads `KIND=SECRET`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (kind, secret) = text.split_once('=').ok_or("this is KIND=SECRET, such as stripe=whsec_test")?;
        let mut rows: BTreeMap<String, Row> =
            serde_json::from_str(KINDS).map_err(|error| error.to_string())?;
        rows.retain(|_, row| row.signature.is_some());
        let known = rows.keys().cloned().collect::<Vec<_>>().join(", ");
        let row = rows.remove(kind).ok_or_else(|| format!("{kind:?} is none of {known}"))?;
        let parse = |text: &str, wanted| Template::parse(text, wanted).map_err(|error| error.to_string());
        let parts = [
            (Part::EventId, &row.event_id, Use::Event),
            (Part::Type, &row.r#type, Use::Type),
            (Part::Timestamp, &row.timestamp, Use::Event),
            (Part::Source, &row.source, Use::Event),
        ];
        let parts = parts.into_iter().filter_map(|(part, text, wanted)| Some((part, text.as_ref()?, wanted)));
        Ok(Self {
            kind: kind.to_owned(),
            key: row.key(secret)?,
            signed: parse(&row.signed, Use::Signed)?,
            parts: parts
                .map(|(part, text, wanted)| Ok((part, parse(text, wanted)?)))
                .collect::<Result<_, String>>()?,
            row,
            url: None,
        })
    }

    /// Makes a message what the provider would send to `url` at the moment `now`, since 1970.
    pub fn sign(
        &self,
        message: &mut Message,
        event: &ClaimedEvent,
        url: &str,
        now: Duration,
    ) -> Result<(), String> {
        self.set_headers(message, event);
        self.set_body(message)?;
        let url = self.url.as_deref().unwrap_or(url);
        let time = self.row.signed_at.as_ref().map(|at| at.text(now));
        if let (Some(at), Some(time)) = (&self.row.signed_at, &time) {
            if let Some(name) = &at.header {
                message.set(name, time);
            }
            if let Some(place) = &at.json {
                replace(&mut message.body, place, time)?;
            }
        }
        let request = Request { message, url, time: time.as_deref() };
        let signed = match &self.key {
            Key::Twilio(_) => format!("{url}{}", sorted_fields(&message.body)).into_bytes(),
            _ => self.signed.fill(&request).ok_or_else(|| self.lacks())?.into_owned(),
        };
        let made = self.row.encode(&self.key.sign(&signed)?);
        let Some(place) = &self.row.signature else { return Ok(()) };
        if let Some(pointer) = &place.json {
            return replace(&mut message.body, pointer, &made);
        }
        let name = place.header.as_deref().unwrap_or_default();
        // Of several headers that begin so, the first has a number.
        let name = name.strip_suffix('*').map_or_else(|| name.to_owned(), |start| format!("{start}1"));
        let value = match &place.field {
            None => format!("{}{made}", place.prefix),
            Some(field) => {
                let at = self.row.signed_at.as_ref().and_then(|at| at.field.as_ref()).zip(time);
                let at = at.map(|(name, time)| format!("{name}={time}{}", place.split)).unwrap_or_default();
                format!("{at}{field}={made}")
            }
        };
        message.set(&name, &value);
        Ok(())
    }

    fn lacks(&self) -> String {
        format!("its payload lacks what {} signs: {}", self.kind, self.signed)
    }

    /// The headers that the receiver kept, and those in which the provider has parts of an event.
    fn set_headers(&self, message: &mut Message, event: &ClaimedEvent) {
        // A topic is the name of the receiver and the type, unless the receiver says otherwise.
        let r#type = event.topic.split_once('.').map(|(_, r#type)| r#type);
        for (part, template) in &self.parts {
            let value = match part {
                Part::EventId => Some(event.event_id.as_str()),
                Part::Type => r#type,
                Part::Timestamp => Some(event.timestamp.as_str()),
                Part::Source => event.source.as_deref(),
            };
            if let (Some(name), Some(value)) = (template.header(), value) {
                message.set(name.as_str(), value);
            }
        }
        let attributes = attributes(event);
        let kept = attributes.get("headers").and_then(Json::as_object).into_iter().flatten();
        for (name, value) in kept.filter(|(name, _)| !NOT_KEPT.contains(&name.as_str())) {
            message.set(name, value.as_str().unwrap_or_default());
        }
        let was_form = attributes
            .get("headers")
            .and_then(|headers| headers.get(CONTENT_TYPE.as_str()))
            .and_then(Json::as_str)
            .is_some_and(|media_type| media_type.starts_with(FORM));
        if was_form || matches!(self.key, Key::Twilio(_)) {
            message.set(CONTENT_TYPE.as_str(), FORM);
        }
    }

    /// The body as it was around an event: an array, or a form.
    fn set_body(&self, message: &mut Message) -> Result<(), String> {
        if message.headers.get(CONTENT_TYPE).is_some_and(|media_type| media_type == FORM) {
            message.body = form(&message.body).ok_or("its payload is no form")?;
        }
        if let Some(each) = &self.row.each {
            let names: Vec<_> = each.split('/').skip(1).collect();
            let mut body = [b"[", message.body.as_slice(), b"]"].concat();
            for name in names.iter().rev() {
                let name = Json::from(*name).to_string();
                body = [b"{", name.as_bytes(), b":", &body, b"}"].concat();
            }
            message.body = body;
        }
        Ok(())
    }
}

impl Row {
    fn key(&self, secret: &str) -> Result<Key, String> {
        let stripped = secret.strip_prefix(&self.key.strip).unwrap_or(secret);
        let bytes = match self.key.encoding.as_deref() {
            Some("hex") => unhex(stripped),
            Some("base64" | "spki") => BASE64_STANDARD.decode(stripped).ok(),
            _ => Some(stripped.as_bytes().to_vec()),
        };
        let bytes = bytes.filter(|bytes| !bytes.is_empty()).ok_or("the secret is not in its encoding")?;
        let hmac = |algorithm| hmac::Key::new(algorithm, &bytes);
        Ok(match self.algorithm.as_str() {
            "hmac-sha1" => Key::Hmac(hmac(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY)),
            "hmac-sha512" => Key::Hmac(hmac(hmac::HMAC_SHA512)),
            "twilio" => Key::Twilio(hmac(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY)),
            "plain" => Key::Plain(bytes),
            "ed25519" => {
                let pair = private_key(&bytes);
                Key::Ed25519(
                    pair.ok_or("the secret is the private key: 32 bytes of Ed25519, in hexadecimal")?,
                )
            }
            "ecdsa-p256" => {
                let pair =
                    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &bytes, &SystemRandom::new());
                Key::EcdsaP256(
                    pair.map_err(|_| "the secret is the private key: P-256 in PKCS#8, in base64")?.into(),
                )
            }
            _ => Key::Hmac(hmac(hmac::HMAC_SHA256)),
        })
    }

    fn encode(&self, made: &[u8]) -> String {
        let encoding = self.signature.as_ref().and_then(|signature| signature.encoding.as_deref());
        match (encoding, self.algorithm.as_str()) {
            (Some("base64"), _) => BASE64_STANDARD.encode(made),
            (None, "plain") => String::from_utf8_lossy(made).into_owned(),
            _ => hex(made),
        }
    }
}

impl SignedAt {
    fn text(&self, now: Duration) -> String {
        match self.unit.as_deref() {
            Some("ms") => now.as_millis().to_string(),
            _ => now.as_secs().to_string(),
        }
    }
}

impl Key {
    fn sign(&self, text: &[u8]) -> Result<Vec<u8>, String> {
        Ok(match self {
            Self::Hmac(key) | Self::Twilio(key) => hmac::sign(key, text).as_ref().to_vec(),
            Self::Ed25519(pair) => pair.sign(text).as_ref().to_vec(),
            Self::EcdsaP256(pair) => {
                let made = pair.sign(&SystemRandom::new(), text);
                made.map_err(|_| "no random numbers to sign with".to_owned())?.as_ref().to_vec()
            }
            Self::Plain(secret) => secret.clone(),
        })
    }
}

/// A request that is signed, as templates see it.
struct Request<'r> {
    message: &'r Message,
    url: &'r str,
    time: Option<&'r str>,
}

impl Values for Request<'_> {
    fn get(&self, value: &Value) -> Option<Cow<'_, [u8]>> {
        Some(match value {
            Value::Header(name) => self.message.headers.get(name)?.as_bytes().into(),
            Value::Json(pointer) => {
                let document: &RawValue = serde_json::from_slice(&self.message.body).ok()?;
                scalar(pointer.find(document)?)?.into_owned().into_bytes().into()
            }
            Value::Timestamp => self.time?.as_bytes().into(),
            Value::Method => b"POST".as_slice().into(),
            Value::Url => self.url.as_bytes().into(),
            Value::Body => self.message.body.as_slice().into(),
            Value::Sha256 => hex(&Sha256::digest(&self.message.body)).into_bytes().into(),
            Value::Nothing => Cow::default(),
            Value::Field(_) | Value::Hook | Value::Type => return None,
        })
    }
}

/// Replaces a scalar in a JSON text, and leaves all else as it is. A string stays one.
fn replace(body: &mut Vec<u8>, place: &str, text: &str) -> Result<(), String> {
    let lacks = || format!("its payload lacks {place}, where the provider signs");
    let pointer = Pointer::parse(place)?;
    let document: &RawValue = serde_json::from_slice(body).map_err(|_| lacks())?;
    let found = pointer.find(document).ok_or_else(lacks)?.get();
    let start = found.as_ptr().addr() - body.as_ptr().addr();
    let text = match found.starts_with('"') {
        true => Json::from(text).to_string(),
        false => text.to_owned(),
    };
    let range = start..start + found.len();
    body.splice(range, text.into_bytes());
    Ok(())
}

/// The fields of a JSON object as a form; `None` for other JSON.
fn form(body: &[u8]) -> Option<Vec<u8>> {
    let fields: serde_json::Map<String, Json> = serde_json::from_slice(body).ok()?;
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (name, value) in &fields {
        match value {
            Json::String(text) => _ = form.append_pair(name, text),
            Json::Array(texts) => {
                for text in texts {
                    form.append_pair(name, text.as_str()?);
                }
            }
            _ => return None,
        }
    }
    Some(form.finish().into_bytes())
}

/// The fields of a form as Twilio signs them.
fn sorted_fields(form: &[u8]) -> String {
    let mut fields: Vec<_> = form_urlencoded::parse(form).collect();
    fields.sort_unstable();
    fields.dedup();
    fields.iter().map(|(name, value)| format!("{name}{value}")).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
