//! Handshakes: what a provider asks before it delivers. All but [`Handshake::Hub`] are signed like deliveries, and are
//! answered once their signature holds.

use sekali_common::webhooks::pointer::{Pointer, scalar};
use serde_json::json;

use super::delivery::Delivery;
use super::mac::{Hash, hmac, is_same};
use super::signature::Key;

/// A way to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// Slack's `url_verification`, whose `challenge` is the answer
    /// (<https://api.slack.com/events/url_verification>).
    Echo,
    /// A GET with `hub.challenge`, whose `hub.verify_token` has to be this (WebSub, section 5.3; Meta).
    Hub(String),
    /// Zoom's `endpoint.url_validation`: the answer shows that the service has the secret.
    Zoom,
    /// Discord's PING of events (204) and of interactions (200).
    Discord,
    /// An event of the type `ping`, which is answered and not stored.
    Ping,
}

/// The answer to a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandshakeAnswer {
    /// 200 with a text.
    Text(String),
    /// 200 with JSON.
    Json(String),
    /// 204.
    Empty,
}

impl Handshake {
    /// The answer to a delivery that was signed with this key, if it is a handshake.
    pub fn answer(&self, delivery: &Delivery<'_>, key: Option<&Key>) -> Option<HandshakeAnswer> {
        let text = |place: &str| {
            let found = delivery.json(&Pointer::parse(place).ok()?).and_then(scalar)?;
            Some(found.into_owned())
        };
        let is = |place: &str, wanted: &str| text(place).is_some_and(|found| found == wanted);
        match self {
            Self::Hub(_) => None,
            Self::Echo if is("/type", "url_verification") => text("/challenge").map(HandshakeAnswer::Text),
            Self::Zoom if is("/event", "endpoint.url_validation") => {
                let token = text("/payload/plainToken")?;
                let Some(Key::Hmac(_, key)) = key else { return None };
                let encrypted = hex(&hmac(Hash::Sha256, key, token.as_bytes()));
                Some(HandshakeAnswer::Json(
                    json!({"plainToken": token, "encryptedToken": encrypted}).to_string(),
                ))
            }
            // Of webhook events the type 0, of interactions the type 1.
            Self::Discord if is("/type", "0") => Some(HandshakeAnswer::Empty),
            Self::Discord if is("/type", "1") && text("/event/type").is_none() => {
                Some(HandshakeAnswer::Json(json!({"type": 1}).to_string()))
            }
            Self::Ping => {
                let r#type = delivery.receiver.mapping.r#type.as_ref()?.text(delivery)?;
                (r#type == "ping").then(|| HandshakeAnswer::Text(String::new()))
            }
            _ => None,
        }
    }

    /// True if it begins with a GET.
    pub fn begins_with_get(&self) -> bool {
        matches!(self, Self::Hub(_))
    }

    /// The answer to a GET: the challenge, if its token is the configured one.
    pub fn answer_get(&self, query: &str) -> Option<HandshakeAnswer> {
        let Self::Hub(verify_token) = self else { return None };
        let parameter = |wanted: &str| {
            let found = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.into_owned())
        };
        let is_subscription = parameter("hub.mode").is_some_and(|mode| mode == "subscribe");
        let is_known = is_same(verify_token.as_bytes(), parameter("hub.verify_token")?.as_bytes());
        let challenge = parameter("hub.challenge")?;
        (is_subscription && is_known).then_some(HandshakeAnswer::Text(challenge))
    }
}

/// Bytes in hexadecimal.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
