//! Signatures by Standard Webhooks (<https://www.standardwebhooks.com>): of id, time and body, by each secret, so that a
//! secret can be replaced while both are in use.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;
use ring::signature::Ed25519KeyPair;

use crate::message::Message;

/// A secret that signs.
#[derive(Clone)]
pub enum Secret {
    /// HMAC-SHA256 by a shared secret: `v1`.
    Shared(hmac::Key),
    /// Ed25519 by a private key, whose public key the endpoint has: `v1a`.
    Private(std::sync::Arc<Ed25519KeyPair>),
}

impl fmt::Debug for Secret {
    /// Never shows a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// Reads `whsec_` with a shared secret in base64, or `whsk_` with a private key in base64: its seed, alone or with the
    /// public key behind it.
    pub fn parse(text: &str) -> Result<Self, String> {
        const RULE: &str =
            "a secret is whsec_ and 24 to 64 bytes in base64, or whsk_ and an Ed25519 private key in base64";
        let decode = |text: &str| BASE64_STANDARD.decode(text.trim()).map_err(|_| RULE.to_owned());
        if let Some(private) = text.strip_prefix("whsk_") {
            let bytes = decode(private)?;
            return private_key(&bytes).map(Self::Private).ok_or_else(|| RULE.into());
        }
        let bytes = decode(text.strip_prefix("whsec_").unwrap_or(text))?;
        match bytes.len() {
            24..=64 => Ok(Self::Shared(hmac::Key::new(hmac::HMAC_SHA256, &bytes))),
            _ => Err(RULE.into()),
        }
    }

    fn sign(&self, text: &[u8]) -> String {
        match self {
            Self::Shared(key) => format!("v1,{}", BASE64_STANDARD.encode(hmac::sign(key, text))),
            Self::Private(pair) => format!("v1a,{}", BASE64_STANDARD.encode(pair.sign(text))),
        }
    }
}

/// The key pair of an Ed25519 private key: 32 bytes, or 64 with the public key.
pub fn private_key(bytes: &[u8]) -> Option<std::sync::Arc<Ed25519KeyPair>> {
    let pair = match bytes.split_at_checked(32)? {
        (seed, []) => Ed25519KeyPair::from_seed_unchecked(seed).ok()?,
        (seed, public) => Ed25519KeyPair::from_seed_and_public_key(seed, public).ok()?,
    };
    Some(pair.into())
}

/// Adds id and time to a message and, with secrets, the signatures. `now` is in seconds since 1970. An id that is there
/// stays.
pub fn sign(message: &mut Message, secrets: &[Secret], now: u64) {
    let id = message.headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or(&message.id);
    let id = id.to_owned();
    message.set("webhook-id", &id);
    message.set("webhook-timestamp", &now.to_string());
    if !secrets.is_empty() {
        let text = [id.as_bytes(), b".", now.to_string().as_bytes(), b".", &message.body].concat();
        let signatures: Vec<_> = secrets.iter().map(|secret| secret.sign(&text)).collect();
        message.set("webhook-signature", &signatures.join(" "));
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::*;

    fn signed(secrets: &[&str]) -> String {
        let secrets: Vec<_> = secrets.iter().map(|secret| Secret::parse(secret).unwrap()).collect();
        let body = br#"{"test": 2432232314}"#.to_vec();
        let mut message =
            Message { id: "msg_p5jXN8AQM9LWM0D4loKWxJek".into(), headers: HeaderMap::new(), body };
        sign(&mut message, &secrets, 1_614_265_330);
        message.headers["webhook-signature"].to_str().unwrap().to_owned()
    }

    /// The vectors of the specification and of its libraries.
    #[test]
    fn each_secret_makes_a_signature() {
        let shared = signed(&["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]);
        assert_eq!(shared, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let private =
            "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
        let both = signed(&["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", private]);
        let (first, second) = both.split_once(' ').unwrap();
        assert_eq!(first, shared);
        assert!(second.starts_with("v1a,"), "{second}");
    }

    #[test]
    fn what_is_no_secret_is_refused_and_not_shown() {
        for text in ["whsec_", "whsec_c2hvcnQ=", "whsec_!", "whsk_c2hvcnQ=", "hunter2"] {
            let error = Secret::parse(text).unwrap_err();
            assert!(error.contains("base64") && !error.contains("c2hvcnQ"), "{error}");
        }
    }
}
