//! The variable `hooks`: receivers by their names, each a kind whose fields may be overridden. A kind is a row of
//! [`KINDS`], in the same language.

use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderName;
use sekali_common::webhooks::KINDS;
use sekali_common::webhooks::pointer::Pointer;
use sekali_common::webhooks::template::{Template, TemplateError, Use, Value};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use super::events::{Each, Layout};
use super::handshake::Handshake;
use super::mac::Hash;
use super::signature::{Encoding, Key, Place, Signature, SignedAt, Verification};
use super::{Mapping, Receiver};

/// The kind whose deliveries are not signed.
const OPEN: &str = "open";

/// The largest difference between the signed time and now, in seconds, where a receiver says nothing else.
const TOLERANCE: u64 = 300;

/// An error in the variable: the receiver, its field, and the rule. It never has a value, which may be a secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HooksError {
    /// The variable is no object of objects.
    #[error(
        "must be a JSON object of receivers by their names, such as {{\"stripe\":{{\"kind\":\"stripe\",\"secrets\":[...]}}}}"
    )]
    NoObject,
    /// A name that no path may have.
    #[error("has a receiver whose name is not 1 to 64 of the characters A-Z a-z 0-9 . _ -")]
    Name,
    /// A field is at fault.
    #[error("receiver {receiver}: field {field} {message}")]
    Field {
        /// The name of the receiver.
        receiver: String,
        /// The field.
        field: String,
        /// The rule, as a phrase that follows the name of the field.
        message: String,
    },
}

/// Reads all receivers.
///
/// # Errors
/// The first error in them.
pub fn read(hooks: &str) -> Result<BTreeMap<String, Receiver>, HooksError> {
    if hooks.trim().is_empty() {
        return Ok(BTreeMap::new());
    }
    let given: BTreeMap<String, Map<String, Json>> =
        serde_json::from_str(hooks).map_err(|_| HooksError::NoObject)?;
    let kinds: BTreeMap<String, Map<String, Json>> = serde_json::from_str(KINDS).unwrap_or_default();
    let read_one = |(name, own): (String, Map<String, Json>)| {
        if !is_name(&name) {
            return Err(HooksError::Name);
        }
        let receiver = receiver(&name, own, &kinds).map_err(|(field, message)| HooksError::Field {
            receiver: name.clone(),
            field,
            message,
        })?;
        Ok((name, receiver))
    };
    given.into_iter().map(read_one).collect()
}

fn is_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(is_allowed)
}

/// A field and the rule that it breaks.
type Fault = (String, String);

/// The fields of a receiver that are not read yet: those of its kind, and its own in their place.
struct Fields(Map<String, Json>);

impl Fields {
    fn new(kind: &str, preset: &Map<String, Json>, own: Map<String, Json>) -> Self {
        let mut fields = Map::from_iter([("topic".to_owned(), Json::from("{hook}.{type}"))]);
        if kind != OPEN {
            fields.insert("signed".into(), "{body}".into());
            fields.insert("algorithm".into(), "hmac-sha256".into());
        }
        fields.extend(preset.clone());
        fields.extend(own);
        fields.retain(|_, value| !value.is_null());
        fields.insert("kind".into(), kind.into());
        Self(fields)
    }

    /// All of them but the secrets, with the name and the path of the receiver.
    fn described(&self, name: &str, path: &str) -> String {
        let mut public = self.0.clone();
        public.retain(|field, _| !["secrets", "verify_token"].contains(&field.as_str()));
        public.insert("name".into(), name.into());
        public.insert("path".into(), path.into());
        Json::Object(public).to_string()
    }

    /// Takes a field; `expected` tells what it has to be.
    fn take<T: DeserializeOwned>(&mut self, field: &str, expected: &str) -> Result<Option<T>, Fault> {
        let value = self.0.remove(field).map(serde_json::from_value);
        value.transpose().map_err(|_| fault(field, expected))
    }

    fn template(&mut self, field: &str, wanted: Use) -> Result<Option<Template>, Fault> {
        let text: Option<String> = self.take(field, "must be a template, which is a text")?;
        let template = text.map(|text| Template::parse(&text, wanted));
        template.transpose().map_err(|error: TemplateError| fault(field, error))
    }
}

fn fault(field: &str, message: impl ToString) -> Fault {
    (field.to_owned(), message.to_string())
}

fn receiver(
    name: &str,
    own: Map<String, Json>,
    kinds: &BTreeMap<String, Map<String, Json>>,
) -> Result<Receiver, Fault> {
    let kind = own.get("kind").and_then(Json::as_str).unwrap_or("custom").to_owned();
    let Some(preset) = kinds.get(&kind) else {
        let known: Vec<_> = kinds.keys().map(String::as_str).collect();
        return Err(fault("kind", format!("must be one of {}", known.join(", "))));
    };
    let mut fields = Fields::new(&kind, preset, own);
    let path: &'static str = String::leak(format!("/hooks/{name}"));
    let described = fields.described(name, path);
    fields.0.remove("kind");
    let secrets: Vec<String> = fields.take("secrets", "must be a list of texts")?.unwrap_or_default();
    let public_url: Option<String> = fields.take("public_url", "must be a URL")?;
    let verification = match kind.as_str() {
        OPEN => no_verification(&mut fields, &secrets)?,
        _ => Some(verification(&mut fields, &secrets)?),
    };
    let needs_url = verification.as_ref().is_some_and(|verification| {
        verification.signed.names(&Value::Url) || matches!(verification.keys.first(), Some(Key::Twilio(_)))
    });
    if needs_url && public_url.is_none() {
        return Err(fault("public_url", "is required: it is the URL that the provider signs"));
    }
    if public_url.as_deref().is_some_and(has_userinfo) {
        return Err(fault("public_url", "must not have a user or a password: it is shown"));
    }
    let layout = Layout { each: each(&mut fields)?, payload: None };
    let mapping = mapping(&mut fields)?;
    let handshake = handshake(&mut fields)?;
    let answers_empty = answers_empty(&mut fields)?;
    match fields.0.keys().next() {
        Some(unknown) => Err(fault(unknown, "is unknown")),
        None => {
            let name = name.to_owned();
            Ok(Receiver {
                name,
                path,
                described,
                verification,
                layout,
                mapping,
                public_url,
                handshake,
                answers_empty,
            })
        }
    }
}

/// True for a URL with a user before its host.
fn has_userinfo(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@'))
}

/// Kind `open` has no signature, so nothing about one may be set and mean nothing.
fn no_verification(fields: &mut Fields, secrets: &[String]) -> Result<Option<Verification>, Fault> {
    let given = ["signature", "signed", "algorithm", "key", "signed_at"].into_iter();
    let given = given.chain((!secrets.is_empty()).then_some("secrets"));
    match given.into_iter().find(|field| *field == "secrets" || fields.0.contains_key(*field)) {
        Some(field) => {
            Err(fault(field, "means nothing for kind open, whose deliveries are not signed: use kind custom"))
        }
        None => Ok(None),
    }
}

fn verification(fields: &mut Fields, secrets: &[String]) -> Result<Verification, Fault> {
    let algorithm: String = fields.take("algorithm", "must be a text")?.unwrap_or_default();
    let signature = signature(fields, &algorithm)?;
    if algorithm == "plain" && matches!(signature.place, Place::Json(_)) {
        let message =
            "must not be in the body if it is the secret itself: whoever may read events could deliver";
        return Err(fault("signature", message));
    }
    let signed = fields.template("signed", Use::Signed)?.ok_or_else(|| fault("signed", "is required"))?;
    let signed_at = signed_at(fields)?;
    if signed.names(&Value::Timestamp) && signed_at.is_none() {
        return Err(fault("signed_at", "is required: the template signed has {timestamp}"));
    }
    let encoding = key_encoding(fields)?;
    if secrets.is_empty() {
        return Err(fault("secrets", "must have at least one secret"));
    }
    let keys = secrets.iter().map(|secret| key(&algorithm, &encoding, secret)).collect::<Result<_, _>>()?;
    Ok(Verification { signature, signed, keys, signed_at })
}

/// The place of a value, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPlace {
    header: Option<String>,
    query: Option<String>,
    json: Option<String>,
    field: Option<String>,
}

impl WrittenPlace {
    /// The only one of the places, or the rule that is broken.
    fn read(self) -> Result<Place, &'static str> {
        match (self.header, self.query, self.json, self.field) {
            (Some(header), None, None, None) => {
                let header = header_name(&header)?;
                Ok(match header.strip_suffix('*') {
                    Some(start) => Place::Headers(start.to_owned()),
                    None => Place::Header(header),
                })
            }
            (None, Some(name), None, None) => Ok(Place::Query(name)),
            (None, None, Some(pointer), None) => Pointer::parse(&pointer).map(Place::Json),
            (None, None, None, Some(name)) => Ok(Place::Field(name)),
            _ => Err("must have exactly one place"),
        }
    }
}

/// The name of a header in lower case, or the beginning of several before `*`.
fn header_name(written: &str) -> Result<String, &'static str> {
    let start = written.strip_suffix('*').unwrap_or(written);
    match HeaderName::from_bytes(start.as_bytes()) {
        Ok(_) => Ok(written.to_ascii_lowercase()),
        Err(_) if written == "*" => Ok(written.to_owned()),
        Err(_) => Err("has a header that no request may have"),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSignature {
    header: Option<String>,
    query: Option<String>,
    json: Option<String>,
    #[serde(default)]
    split: String,
    field: Option<String>,
    #[serde(default)]
    prefix: String,
    encoding: Option<String>,
}

const SIGNATURE: &str =
    "must be an object with header, query or json, and split, field, prefix and encoding, all texts";

fn signature(fields: &mut Fields, algorithm: &str) -> Result<Signature, Fault> {
    let written: Option<WrittenSignature> = fields.take("signature", SIGNATURE)?;
    let written = written.ok_or_else(|| fault("signature", "is required"))?;
    let WrittenSignature { header, query, json, split, field, prefix, encoding } = written;
    let place = WrittenPlace { header, query, json, field: None }
        .read()
        .map_err(|error| fault("signature", error))?;
    let encoding = match (encoding.as_deref(), algorithm) {
        (Some("hex"), _) => Some(Encoding::Hex),
        (Some("base64"), _) => Some(Encoding::Base64),
        (None, "plain") => None,
        (None, _) => Some(Encoding::Hex),
        (Some(_), _) => return Err(fault("signature", "has an encoding that is neither hex nor base64")),
    };
    Ok(Signature { place, split, field, prefix, encoding })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTime {
    header: Option<String>,
    query: Option<String>,
    json: Option<String>,
    field: Option<String>,
    unit: Option<String>,
    tolerance: Option<u64>,
}

fn signed_at(fields: &mut Fields) -> Result<Option<SignedAt>, Fault> {
    const EXPECTED: &str =
        "must be an object with header, query, json or field, and unit and tolerance (seconds)";
    let Some(written) = fields.take::<WrittenTime>("signed_at", EXPECTED)? else { return Ok(None) };
    let WrittenTime { header, query, json, field, unit, tolerance } = written;
    let place =
        WrittenPlace { header, query, json, field }.read().map_err(|error| fault("signed_at", error))?;
    let per_second = match unit.as_deref() {
        None | Some("s") => 1.0,
        Some("ms") => 1_000.0,
        Some(_) => return Err(fault("signed_at", "has a unit that is neither s nor ms")),
    };
    let tolerance =
        Some(tolerance.unwrap_or(TOLERANCE)).filter(|seconds| *seconds > 0).map(Duration::from_secs);
    Ok(Some(SignedAt { place, per_second, tolerance }))
}

/// The way in which a secret is written.
struct KeyEncoding {
    encoding: Encoding,
    /// True if it is a public key with its algorithm (RFC 5280, section 4.1.2.7), in base64.
    is_spki: bool,
    /// What may stand before it and does not belong to it.
    strip: String,
}

fn key_encoding(fields: &mut Fields) -> Result<KeyEncoding, Fault> {
    #[derive(Deserialize, Default)]
    #[serde(deny_unknown_fields)]
    struct Written {
        encoding: Option<String>,
        #[serde(default)]
        strip: String,
    }
    let written: Written =
        fields.take("key", "must be an object with encoding and strip")?.unwrap_or_default();
    let (encoding, is_spki) = match written.encoding.as_deref() {
        None | Some("utf8") => (Encoding::Utf8, false),
        Some("hex") => (Encoding::Hex, false),
        Some("base64") => (Encoding::Base64, false),
        Some("spki") => (Encoding::Base64, true),
        Some(_) => return Err(fault("key", "has an encoding that is none of utf8, base64, hex and spki")),
    };
    Ok(KeyEncoding { encoding, is_spki, strip: written.strip })
}

fn key(algorithm: &str, written: &KeyEncoding, secret: &str) -> Result<Key, Fault> {
    let stripped = secret.strip_prefix(&written.strip).unwrap_or(secret);
    let bytes = written.encoding.decode(stripped.trim().as_bytes());
    let bytes = bytes.ok_or_else(|| fault("secrets", "has one that is not in the encoding of key"))?;
    if bytes.is_empty() {
        return Err(fault("secrets", "has an empty one, which anybody knows"));
    }
    let no_key = |_| fault("secrets", format!("has one that is no key for {algorithm}"));
    Ok(match algorithm {
        "hmac-sha1" => Key::Hmac(Hash::Sha1, bytes),
        "hmac-sha256" => Key::Hmac(Hash::Sha256, bytes),
        "hmac-sha512" => Key::Hmac(Hash::Sha512, bytes),
        "plain" => Key::Plain(bytes),
        "twilio" => Key::Twilio(bytes),
        "ed25519" => {
            let key = match written.is_spki {
                true => bytes.get(bytes.len().saturating_sub(32)..).unwrap_or_default(),
                false => &bytes,
            };
            Key::Ed25519(Box::new(ed25519_dalek::VerifyingKey::try_from(key).map_err(|_| no_key(()))?))
        }
        "ecdsa-p256" => {
            use p256::pkcs8::DecodePublicKey;
            let key = match written.is_spki {
                true => p256::ecdsa::VerifyingKey::from_public_key_der(&bytes).map_err(|_| no_key(()))?,
                false => p256::ecdsa::VerifyingKey::from_sec1_bytes(&bytes).map_err(|_| no_key(()))?,
            };
            Key::EcdsaP256(Box::new(key))
        }
        _ => {
            return Err(fault(
                "algorithm",
                "must be hmac-sha1, hmac-sha256, hmac-sha512, ed25519, ecdsa-p256 or plain",
            ));
        }
    })
}

fn mapping(fields: &mut Fields) -> Result<Mapping, Fault> {
    let topic = fields.template("topic", Use::Event)?;
    let event_id = fields.template("event_id", Use::Event)?;
    let r#type = fields.template("type", Use::Type)?;
    let timestamp = fields.template("timestamp", Use::Event)?;
    let source = fields.template("source", Use::Event)?;
    let headers: Vec<String> = fields.take("headers", "must be a list of names")?.unwrap_or_default();
    let headers = headers.iter().map(|name| header_name(name)).collect::<Result<_, _>>();
    let volatile: Vec<String> =
        fields.take("volatile", "must be a list of JSON pointers")?.unwrap_or_default();
    let volatile = volatile.iter().map(|place| Pointer::parse(place)).collect::<Result<_, _>>();
    Ok(Mapping {
        topic: topic.ok_or_else(|| fault("topic", "is required"))?,
        event_id: event_id.ok_or_else(|| fault("event_id", "is required"))?,
        r#type,
        timestamp,
        source,
        headers: headers.map_err(|error| fault("headers", error))?,
        volatile: volatile.map_err(|error| fault("volatile", error))?,
    })
}

fn each(fields: &mut Fields) -> Result<Option<Each>, Fault> {
    let each: Option<String> = fields.take("each", "must be a JSON pointer, or lines")?;
    each.map(|each| Each::parse(&each)).transpose().map_err(|error| fault("each", error))
}

impl Each {
    /// Reads a JSON pointer to an array, or `lines`.
    ///
    /// # Errors
    /// The rule of pointers that is broken.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "lines" => Ok(Self::Line),
            pointer => Pointer::parse(pointer).map(Self::Element),
        }
    }
}

fn handshake(fields: &mut Fields) -> Result<Option<Handshake>, Fault> {
    let handshake: Option<String> = fields.take("handshake", "must be a text")?;
    let verify_token: Option<String> = fields.take("verify_token", "must be a text")?;
    let handshake = match handshake.as_deref() {
        None => None,
        Some("echo") => Some(Handshake::Echo),
        Some("zoom") => Some(Handshake::Zoom),
        Some("discord") => Some(Handshake::Discord),
        Some("ping") => Some(Handshake::Ping),
        Some("hub") => {
            let token = verify_token.filter(|token| !token.trim().is_empty());
            let token = token.ok_or_else(|| fault("verify_token", "is required, and must not be empty"))?;
            return Ok(Some(Handshake::Hub(token)));
        }
        Some(_) => return Err(fault("handshake", "must be echo, hub, zoom, discord or ping")),
    };
    match verify_token {
        Some(_) => Err(fault("verify_token", "belongs to the handshake hub")),
        None => Ok(handshake),
    }
}

fn answers_empty(fields: &mut Fields) -> Result<bool, Fault> {
    let answer: Option<String> = fields.take("answer", "must be a text")?;
    match answer.as_deref() {
        None | Some("counts") => Ok(false),
        Some("empty") => Ok(true),
        Some(_) => Err(fault("answer", "must be counts or empty")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn error(hooks: Json) -> String {
        read(&hooks.to_string()).unwrap_err().to_string()
    }

    #[test]
    fn each_kind_is_a_receiver_with_a_secret_alone() {
        let kinds: BTreeMap<String, Map<String, Json>> = serde_json::from_str(KINDS).unwrap();
        assert_eq!(kinds.len(), 25);
        for kind in kinds.keys().filter(|kind| *kind != "custom") {
            let secret = match kind.as_str() {
                "discord" => "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                "sendgrid" => {
                    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g=="
                }
                _ => "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            };
            let mut receiver = json!({"kind": kind});
            match kind.as_str() {
                "open" => {}
                _ => receiver["secrets"] = json!([secret]),
            }
            if ["square", "hubspot", "twilio"].contains(&kind.as_str()) {
                assert!(error(json!({"x": receiver})).contains("field public_url is required"), "{kind}");
                receiver["public_url"] = "https://inbox.example/hooks/x".into();
            }
            if kind == "meta" {
                assert!(error(json!({"x": receiver})).contains("field verify_token is required"), "{kind}");
                receiver["verify_token"] = "v".into();
            }
            let read =
                read(&json!({"x": receiver}).to_string()).unwrap_or_else(|error| panic!("{kind}: {error}"));
            let listed: Json = serde_json::from_str(&read["x"].described).unwrap();
            assert_eq!(listed["kind"], *kind);
            assert_eq!(listed["topic"], "{hook}.{type}");
            assert!(listed["secrets"].is_null() && listed["verify_token"].is_null(), "{listed}");
        }
    }

    #[test]
    fn an_error_names_receiver_field_and_column_and_never_a_value() {
        let secret = "s3cret";
        for (receiver, expected) in [
            (json!({"kind": secret}), "receiver x: field kind must be one of basic, "),
            (json!({"kind": "stripe"}), "receiver x: field secrets must have at least one"),
            (json!({"kind": "stripe", "secrets": secret}), "field secrets must be a list of texts"),
            (json!({"kind": "stripe", "secrets": [""]}), "field secrets has an empty one"),
            (
                json!({"kind": "standard", "secrets": ["whsec_!"]}),
                "field secrets has one that is not in the encoding",
            ),
            (
                json!({"kind": "discord", "secrets": ["00"]}),
                "field secrets has one that is no key for ed25519",
            ),
            (
                json!({"kind": "sendgrid", "secrets": ["AAAA"]}),
                "field secrets has one that is no key for ecdsa-p256",
            ),
            (
                json!({"kind": "stripe", "secrets": [secret], "event_id": "{json:/id}{jsn}"}),
                "field event_id at column 12: ",
            ),
            (json!({"kind": "stripe", "secrets": [secret], "topic": "{body}"}), "field topic at column 2: "),
            (json!({"kind": "stripe", "secrets": [secret], "tpoic": "x"}), "field tpoic is unknown"),
            (
                json!({"kind": "stripe", "secrets": [secret], "volatile": ["id"]}),
                "field volatile a JSON pointer begins",
            ),
            (
                json!({"kind": "stripe", "secrets": [secret], "signed_at": {"field": "t", "unit": "h"}}),
                "field signed_at has a unit",
            ),
            (
                json!({"kind": "stripe", "secrets": [secret], "signature": {"split": ","}}),
                "field signature must have exactly one place",
            ),
            (
                json!({"kind": "custom", "secrets": [secret], "signature": {"header": "x"}, "signed": "{timestamp}"}),
                "field signed_at is required",
            ),
            (json!({"kind": "custom", "secrets": [secret]}), "field signature is required"),
            (
                json!({"kind": "custom", "secrets": [secret], "signature": {"header": "x"}, "algorithm": "md5"}),
                "field algorithm must be",
            ),
            (
                json!({"kind": "custom", "secrets": [secret], "signature": {"header": "x signed"}}),
                "field signature has a header",
            ),
            (json!({"kind": "open", "headers": ["x:*"]}), "field headers has a header"),
            (
                json!({"kind": "custom", "secrets": [secret], "algorithm": "plain", "signature": {"json": "/token"}}),
                "field signature must not be in the body",
            ),
            (
                json!({"kind": "square", "secrets": [secret], "public_url": "https://u:s3cret@inbox.example/"}),
                "field public_url must not have a user",
            ),
            (json!({"kind": "open", "secrets": [secret]}), "field secrets means nothing for kind open"),
            (json!({"kind": "open", "handshake": "wave"}), "field handshake must be"),
            (json!({"kind": "open", "answer": "loud"}), "field answer must be counts or empty"),
            (json!({"kind": "open", "verify_token": "t"}), "field verify_token belongs to"),
            (
                json!({"kind": "meta", "secrets": [secret], "verify_token": " "}),
                "field verify_token is required",
            ),
        ] {
            let error = error(json!({"x": receiver}));
            assert!(error.contains(expected), "{receiver}: {error}");
            assert!(!error.contains(secret), "{error}");
        }
        assert_eq!(read("[]").unwrap_err(), HooksError::NoObject);
        for name in ["", "a/b", &"x".repeat(65)] {
            assert_eq!(
                read(&json!({name: {"kind": "open"}}).to_string()).unwrap_err(),
                HooksError::Name,
                "{name}"
            );
        }
        assert!(read("").unwrap().is_empty() && read("{}").unwrap().is_empty());
    }
}
