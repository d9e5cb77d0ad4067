//! Web hooks as providers send them. They are signed by what the documentation of each scheme says, and not by the table of
//! receivers, so that an error in the table shows.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::{Signer, SigningKey};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha512};

/// A way to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Time and body by HMAC-SHA256; both stand in one header. The id is in the body, as is a counter that varies.
    Stripe,
    /// The body by HMAC-SHA256. The id is a header, which is not signed.
    Github,
    /// Id, time and body by HMAC-SHA256, in base64. The id is a header.
    Standard,
    /// The body by HMAC-SHA512, in base64; each element of its `items` is an event.
    Batches,
    /// Time, in milliseconds, and body by Ed25519.
    Sealed,
}

/// A provider, and the receiver that is set up for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provider {
    /// The name of the receiver.
    pub name: &'static str,
    /// The path of the receiver.
    pub path: &'static str,
    /// The topic of its events.
    pub topic: &'static str,
    /// The way to sign.
    pub scheme: Scheme,
    /// The secret: 32 characters.
    pub secret: &'static str,
}

/// One provider of each scheme.
pub const PROVIDERS: [Provider; 5] = [
    Provider {
        name: "till",
        path: "/hooks/till",
        topic: "till.made",
        scheme: Scheme::Stripe,
        secret: "till: a secret of 32 characters!",
    },
    Provider {
        name: "code",
        path: "/hooks/code",
        topic: "code.made",
        scheme: Scheme::Github,
        secret: "code: a secret of 32 characters!",
    },
    Provider {
        name: "post",
        path: "/hooks/post",
        topic: "post.made",
        scheme: Scheme::Standard,
        secret: "post: a secret of 32 characters!",
    },
    Provider {
        name: "bulk",
        path: "/hooks/bulk",
        topic: "bulk.made",
        scheme: Scheme::Batches,
        secret: "bulk: a secret of 32 characters!",
    },
    Provider {
        name: "seal",
        path: "/hooks/seal",
        topic: "seal.made",
        scheme: Scheme::Sealed,
        secret: "seal: a secret of 32 characters!",
    },
];

/// The secret that each provider had before, and that its receiver still takes.
pub const OLD_SECRET: &str = "an older secret of 32 characters";

/// Headers by their names.
pub type Headers = Vec<(&'static str, String)>;

/// The receivers of all providers, as the variable `hooks`.
pub fn hooks() -> String {
    let receivers = PROVIDERS.map(|provider| (provider.name.to_owned(), provider.receiver()));
    Value::Object(receivers.into_iter().collect()).to_string()
}

/// The present moment, in seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The SHA-256 of bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

impl Provider {
    /// Its receiver, with both of its secrets.
    pub fn receiver(&self) -> Value {
        let key = |secret: &str| match self.scheme {
            Scheme::Standard => format!("whsec_{}", BASE64_STANDARD.encode(secret)),
            Scheme::Sealed => hex(signing_key(secret).verifying_key().as_bytes()),
            _ => secret.to_owned(),
        };
        let secrets = [key(OLD_SECRET), key(self.secret)];
        match self.scheme {
            Scheme::Stripe => json!({"kind": "stripe", "secrets": secrets}),
            Scheme::Github => json!({"kind": "github", "secrets": secrets}),
            Scheme::Standard => json!({"kind": "standard", "secrets": secrets, "topic": "{hook}.made"}),
            Scheme::Batches => json!({
                "kind": "custom", "secrets": secrets, "algorithm": "hmac-sha512",
                "signature": {"header": "x-signed", "encoding": "base64"},
                "each": "/items", "event_id": "{json:/id}", "type": "{json:/type}", "timestamp": "{json:/created}",
            }),
            Scheme::Sealed => json!({
                "kind": "custom", "secrets": secrets, "algorithm": "ed25519", "key": {"encoding": "hex"},
                "signature": {"header": "x-sealed"}, "signed": "{timestamp}.{body}",
                "signed_at": {"header": "x-sealed-at", "unit": "ms"},
                "event_id": "{json:/id}", "type": "{json:/type}", "timestamp": "{json:/created}",
            }),
        }
    }

    /// The header that has the signature.
    pub fn signature_header(&self) -> &'static str {
        match self.scheme {
            Scheme::Stripe => "stripe-signature",
            Scheme::Github => "x-hub-signature-256",
            Scheme::Standard => "webhook-signature",
            Scheme::Batches => "x-signed",
            Scheme::Sealed => "x-sealed",
        }
    }

    /// True if the time is signed.
    pub fn signs_time(&self) -> bool {
        matches!(self.scheme, Scheme::Stripe | Scheme::Standard | Scheme::Sealed)
    }

    /// The headers of a delivery that is signed at this moment, in seconds since 1970.
    pub fn headers(&self, id: &str, at: u64, body: &[u8]) -> Headers {
        let secret = self.secret.as_bytes();
        let named = |signature| (self.signature_header(), signature);
        match self.scheme {
            Scheme::Stripe => {
                let made = hmac_sha256(secret, &[at.to_string().as_bytes(), b".", body]);
                vec![named(format!("t={at},v1={},v0=old", hex(&made)))]
            }
            Scheme::Github => vec![
                named(format!("sha256={}", hex(&hmac_sha256(secret, &[body])))),
                ("x-github-delivery", id.to_owned()),
                ("x-github-event", "made".to_owned()),
            ],
            Scheme::Standard => {
                let made = hmac_sha256(secret, &[id.as_bytes(), b".", at.to_string().as_bytes(), b".", body]);
                vec![
                    named(format!("v1a,none v1,{}", BASE64_STANDARD.encode(made))),
                    ("webhook-id", id.to_owned()),
                    ("webhook-timestamp", at.to_string()),
                ]
            }
            Scheme::Batches => vec![named(BASE64_STANDARD.encode(hmac_sha512(secret, body)))],
            Scheme::Sealed => {
                let at = (at * 1_000).to_string();
                let signed = [at.as_bytes(), b".", body].concat();
                vec![named(hex(&signing_key(self.secret).sign(&signed).to_bytes())), ("x-sealed-at", at)]
            }
        }
    }
}

/// The key whose seed is a secret.
fn signing_key(secret: &str) -> SigningKey {
    let mut seed = [0; 32];
    seed.iter_mut().zip(secret.bytes()).for_each(|(place, byte)| *place = byte);
    SigningKey::from_bytes(&seed)
}

fn hmac_sha256(secret: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    code::<Hmac<Sha256>>(secret, parts)
}

fn hmac_sha512(secret: &[u8], body: &[u8]) -> Vec<u8> {
    code::<Hmac<Sha512>>(secret, &[body])
}

fn code<M: Mac + KeyInit>(secret: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    // A key of any length will do.
    let Ok(mut mac) = <M as KeyInit>::new_from_slice(secret) else { return Vec::new() };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
