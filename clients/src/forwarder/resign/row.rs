//! A row of the table of kinds, as far as it says how a provider signs.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use serde::Deserialize;

use super::text::{hex, unhex};
use crate::sign::private_key;

/// The fields of a kind that say how it signs, and where it has the parts of an event.
#[derive(Clone, Deserialize)]
pub struct Row {
    /// The place of the signature; a kind without one is not signed.
    pub signature: Option<Signature>,
    /// The template of what is signed.
    #[serde(default = "body")]
    pub signed: String,
    #[serde(default = "hmac_sha256")]
    algorithm: String,
    #[serde(default)]
    key: KeyForm,
    /// The place of the time that is signed.
    pub signed_at: Option<SignedAt>,
    /// The place of the events in a body that has several.
    pub each: Option<String>,
    /// The template of the id.
    pub event_id: Option<String>,
    /// The template of the type.
    pub r#type: Option<String>,
    /// The template of the time.
    pub timestamp: Option<String>,
    /// The template of the sender.
    pub source: Option<String>,
}

fn body() -> String {
    "{body}".into()
}

fn hmac_sha256() -> String {
    "hmac-sha256".into()
}

/// The place and the form of a signature.
#[derive(Clone, Deserialize)]
pub struct Signature {
    /// The header that has it.
    pub header: Option<String>,
    /// Or the place in the body.
    pub json: Option<String>,
    /// The separator of the header's fields.
    #[serde(default)]
    pub split: String,
    /// The field that has it.
    pub field: Option<String>,
    /// The text before it.
    #[serde(default)]
    pub prefix: String,
    encoding: Option<String>,
}

/// The form of a secret.
#[derive(Clone, Default, Deserialize)]
pub struct KeyForm {
    encoding: Option<String>,
    #[serde(default)]
    strip: String,
}

/// The place and the unit of a time.
#[derive(Clone, Deserialize)]
pub struct SignedAt {
    /// The header that has it.
    pub header: Option<String>,
    /// Or the place in the body.
    pub json: Option<String>,
    /// Or the field beside the signature.
    pub field: Option<String>,
    unit: Option<String>,
}

/// A secret that signs, by its algorithm.
#[derive(Clone)]
pub enum Key {
    /// HMAC (RFC 2104).
    Hmac(hmac::Key),
    /// Ed25519 (RFC 8032).
    Ed25519(Arc<Ed25519KeyPair>),
    /// ECDSA over P-256, in DER.
    EcdsaP256(Arc<EcdsaKeyPair>),
    /// The secret itself.
    Plain(Vec<u8>),
    /// HMAC of what Twilio signs, which no template says.
    Twilio(hmac::Key),
}

impl Row {
    /// The key of a secret.
    pub fn key(&self, secret: &str) -> Result<Key, String> {
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

    /// A signature as it is written.
    pub fn encode(&self, made: &[u8]) -> String {
        let encoding = self.signature.as_ref().and_then(|signature| signature.encoding.as_deref());
        match (encoding, self.algorithm.as_str()) {
            (Some("base64"), _) => BASE64_STANDARD.encode(made),
            (None, "plain") => String::from_utf8_lossy(made).into_owned(),
            _ => hex(made),
        }
    }
}

impl SignedAt {
    /// A moment, since 1970, as it is sent.
    pub fn text(&self, now: Duration) -> String {
        match self.unit.as_deref() {
            Some("ms") => now.as_millis().to_string(),
            _ => now.as_secs().to_string(),
        }
    }
}

impl Key {
    /// The signature of a text.
    pub fn sign(&self, text: &[u8]) -> Result<Vec<u8>, String> {
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
