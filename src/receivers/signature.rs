//! Signatures: where a delivery has them, what was signed, and with which key.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use sekali_common::webhooks::pointer::{Pointer, scalar};
use sekali_common::webhooks::template::Template;

use super::delivery::Delivery;
use super::mac::{Hash, hmac, is_same};
use super::twilio;

/// The most signatures of a delivery that are verified with a public key: each of them reads the whole text again.
/// Providers send one, and two while they change their key.
const MOST_VERIFIED: usize = 4;

/// The way in which a receiver knows that a delivery is its provider's.
#[derive(Clone, Debug)]
pub struct Verification {
    /// The place of the signatures.
    pub signature: Signature,
    /// What is signed.
    pub signed: Template,
    /// The keys, any of which may have made a signature. There is at least one, and none is empty.
    pub keys: Vec<Key>,
    /// The time that is signed, if one is.
    pub signed_at: Option<SignedAt>,
}

/// A place in a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Headers of a name, in lower case.
    Header(String),
    /// Headers whose names begin so, in lower case.
    Headers(String),
    /// A parameter of the query.
    Query(String),
    /// A value of the body.
    Json(Pointer),
    /// A field of the signature's header.
    Field(String),
}

/// The place and the form of signatures.
#[derive(Clone, Debug)]
pub struct Signature {
    /// Where they are.
    pub place: Place,
    /// What stands between several, and between fields; empty if there is one.
    pub split: String,
    /// The name of the fields that are signatures; without one, each item is a signature.
    pub field: Option<String>,
    /// What each signature begins with; others are of another kind.
    pub prefix: String,
    /// Its encoding; `None` if it is compared as it is.
    pub encoding: Option<Encoding>,
}

/// The encoding of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As they are.
    Utf8,
    /// Hexadecimal digits of either case.
    Hex,
    /// Base64 of either alphabet (RFC 4648, sections 4 and 5), with padding or without.
    Base64,
}

impl Encoding {
    /// The bytes of a text; `None` if it is not in this encoding.
    pub fn decode(self, text: &[u8]) -> Option<Vec<u8>> {
        const LENIENT: GeneralPurposeConfig =
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        const STANDARD: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, LENIENT);
        const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, LENIENT);
        match self {
            Self::Utf8 => Some(text.to_vec()),
            Self::Base64 => STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok(),
            Self::Hex => {
                let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
                let pairs = text.chunks_exact(2);
                if !pairs.remainder().is_empty() {
                    return None;
                }
                pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
            }
        }
    }
}

/// The time that a provider signed.
#[derive(Clone, Debug)]
pub struct SignedAt {
    /// Where it is.
    pub place: Place,
    /// The parts of a second in which it counts.
    pub per_second: f64,
    /// The most that it may differ from now, in either direction; `None` if it is not checked.
    pub tolerance: Option<Duration>,
}

/// A key, by its algorithm.
#[derive(Clone)]
pub enum Key {
    /// HMAC (RFC 2104).
    Hmac(Hash, Vec<u8>),
    /// Ed25519 (RFC 8032): the public key.
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
    /// ECDSA over P-256 with SHA-256 (FIPS 186-5): the public key. Signatures are in DER.
    EcdsaP256(Box<p256::ecdsa::VerifyingKey>),
    /// A secret that is sent as it is.
    Plain(Vec<u8>),
    /// Twilio's own way with HMAC-SHA1.
    Twilio(Vec<u8>),
}

impl std::fmt::Debug for Key {
    /// Never shows a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

/// The reason for which a delivery is not taken for the provider's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It has no signature.
    #[error("there is no signature where this receiver looks for one")]
    NoSignature,
    /// It has no time, or none that can be read.
    #[error("there is no signed time where this receiver looks for one")]
    NoTime,
    /// No secret made any of its signatures.
    #[error("no secret of this receiver made the signature: it has to be of the bytes as they came")]
    NoMatch,
    /// It was signed longer ago than the tolerance.
    #[error("it was signed too long ago: the field signed_at has the tolerance")]
    TooOld,
    /// It was signed for a time that is further ahead than the tolerance.
    #[error("it was signed for a time too far ahead: the field signed_at has the tolerance")]
    TooNew,
}

impl Refusal {
    /// A name for metrics and the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoSignature => "no-signature",
            Self::NoTime => "no-time",
            Self::NoMatch => "no-match",
            Self::TooOld => "too-old",
            Self::TooNew => "too-new",
        }
    }
}

impl Verification {
    /// Where a delivery has to have what it lacks, if that is the reason for which it is refused.
    pub fn place_of(&self, refusal: Refusal) -> Option<&Place> {
        match refusal {
            Refusal::NoSignature => Some(&self.signature.place),
            Refusal::NoTime => self.signed_at.as_ref().map(|at| &at.place),
            _ => None,
        }
    }

    /// True for a header whose value is the secret itself.
    pub fn is_secret(&self, header: &str) -> bool {
        let is_compared = self.keys.iter().any(|key| matches!(key, Key::Plain(_)));
        is_compared && self.signature.place.is_header(header)
    }

    /// Verifies a delivery at the moment `now`, since 1970. Returns the key that made its signature.
    ///
    /// # Errors
    /// The reason for which it is refused.
    pub fn verify(&self, delivery: &Delivery<'_>, now: Duration) -> Result<&Key, Refusal> {
        let candidates = self.signature.candidates(delivery);
        if candidates.is_empty() {
            return Err(Refusal::NoSignature);
        }
        let time = self.signed_at.as_ref().map(|at| at.text(delivery).ok_or(Refusal::NoTime)).transpose()?;
        let signed = self.signed.fill(delivery).ok_or(Refusal::NoMatch)?;
        let key = self.keys.iter().find(|key| key.made_any(&candidates, &signed, delivery));
        let key = key.ok_or(Refusal::NoMatch)?;
        if let (Some(at), Some(time)) = (&self.signed_at, time) {
            at.check(&time, now)?;
        }
        Ok(key)
    }
}

impl Signature {
    /// All signatures of a delivery that are in the right encoding. Those that are not match nothing.
    fn candidates(&self, delivery: &Delivery<'_>) -> Vec<Vec<u8>> {
        let texts = self.place.texts(delivery);
        let items = texts.iter().flat_map(|text| self.items(text));
        let of_field = items.filter_map(|item| match &self.field {
            None => Some(item),
            Some(wanted) => {
                item.split_once('=').filter(|(name, _)| name.trim() == wanted).map(|(_, value)| value)
            }
        });
        let ours = of_field.filter_map(|item| strip_prefix(item.trim(), &self.prefix));
        let filled = ours.filter(|item| !item.is_empty());
        filled.map(|item| self.decode(item)).collect()
    }

    /// A signature that cannot be decoded stays as it is: it is there, and matches nothing.
    fn decode(&self, item: &str) -> Vec<u8> {
        let encoding = self.encoding.unwrap_or(Encoding::Utf8);
        encoding.decode(item.as_bytes()).unwrap_or_else(|| item.as_bytes().to_vec())
    }

    fn items<'t>(&'t self, text: &'t str) -> impl Iterator<Item = &'t str> {
        let whole = self.split.is_empty().then_some(text);
        let parts = (!self.split.is_empty()).then(|| text.split(self.split.as_str()));
        whole.into_iter().chain(parts.into_iter().flatten())
    }

    /// The first value of a field in the places of the signatures.
    pub fn field<'d>(&self, delivery: &'d Delivery<'_>, wanted: &str) -> Option<Cow<'d, str>> {
        let texts = self.place.texts(delivery);
        texts.into_iter().find_map(|text| {
            let found = self.items(&text).find_map(|item| {
                item.split_once('=')
                    .filter(|(name, _)| name.trim() == wanted)
                    .map(|(_, value)| value.trim().to_owned())
            });
            found.map(Cow::Owned)
        })
    }
}

/// Without a prefix, whose letters may be of either case: schemes of `Authorization` are not told apart by it (RFC 9110,
/// section 11.1).
fn strip_prefix<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Header(name) => write!(f, "the header {name}"),
            Self::Headers(start) => write!(f, "the headers {start}*"),
            Self::Query(name) => write!(f, "the parameter {name} of the query"),
            Self::Json(pointer) => write!(f, "{pointer} in the body"),
            Self::Field(name) => write!(f, "the field {name} beside the signature"),
        }
    }
}

impl Place {
    /// True if it is this header.
    fn is_header(&self, header: &str) -> bool {
        match self {
            Self::Header(name) => header == name,
            Self::Headers(start) => header.starts_with(start.as_str()),
            Self::Query(_) | Self::Json(_) | Self::Field(_) => false,
        }
    }

    /// The texts at this place.
    fn texts<'d>(&self, delivery: &'d Delivery<'_>) -> Vec<Cow<'d, str>> {
        match self {
            Self::Header(_) | Self::Headers(_) => headers(delivery.headers, |header| self.is_header(header)),
            Self::Query(name) => {
                let pairs = form_urlencoded::parse(delivery.query.as_bytes());
                pairs.filter(|(key, _)| key == name).map(|(_, value)| value).collect()
            }
            Self::Json(pointer) => delivery.json(pointer).and_then(scalar).into_iter().collect(),
            Self::Field(name) => delivery.field(name).into_iter().collect(),
        }
    }
}

fn headers<'d>(headers: &'d HeaderMap, is_wanted: impl Fn(&str) -> bool) -> Vec<Cow<'d, str>> {
    let wanted = headers.iter().filter(|(name, _)| is_wanted(name.as_str()));
    wanted.filter_map(|(_, value)| value.to_str().ok()).map(Cow::Borrowed).collect()
}

impl SignedAt {
    /// The time as it was sent.
    pub fn text<'d>(&self, delivery: &'d Delivery<'_>) -> Option<Cow<'d, str>> {
        self.place.texts(delivery).into_iter().next()
    }

    fn check(&self, text: &str, now: Duration) -> Result<(), Refusal> {
        let Some(tolerance) = self.tolerance else { return Ok(()) };
        let time = text.trim().parse::<f64>().ok().filter(|time| time.is_finite()).ok_or(Refusal::NoTime)?;
        let age = now.as_secs_f64() - time / self.per_second;
        match age {
            age if age > tolerance.as_secs_f64() => Err(Refusal::TooOld),
            age if age < -tolerance.as_secs_f64() => Err(Refusal::TooNew),
            _ => Ok(()),
        }
    }
}

impl Key {
    /// True if one of these signatures of a text was made with this key. The text is read once, however many there are:
    /// whoever sends a large body with a thousand wrong signatures does not get a thousand times the work for it. Secrets
    /// are compared in constant time.
    fn made_any(&self, signatures: &[Vec<u8>], signed: &[u8], delivery: &Delivery<'_>) -> bool {
        let is_given = |wanted: Vec<u8>| signatures.iter().any(|signature| is_same(&wanted, signature));
        match self {
            Self::Hmac(hash, key) => is_given(hmac(*hash, key, signed)),
            Self::Plain(secret) => is_given(secret.clone()),
            Self::Twilio(token) => twilio::signatures(token, delivery).into_iter().any(is_given),
            Self::Ed25519(key) => signatures.iter().take(MOST_VERIFIED).any(|signature| {
                ed25519_dalek::Signature::from_slice(signature)
                    .is_ok_and(|signature| key.verify_strict(signed, &signature).is_ok())
            }),
            Self::EcdsaP256(key) => signatures.iter().take(MOST_VERIFIED).any(|signature| {
                use p256::ecdsa::signature::Verifier;
                p256::ecdsa::DerSignature::from_bytes(signature)
                    .is_ok_and(|signature| key.verify(signed, &signature).is_ok())
            }),
        }
    }
}
