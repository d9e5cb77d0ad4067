//! A delivery as it came, and the values that templates take from it.

use std::borrow::Cow;
use std::cell::OnceCell;

use http::{HeaderMap, Method};
use sekali_common::webhooks::pointer::{Pointer, scalar};
use sekali_common::webhooks::template::{Value, Values};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::Receiver;

/// A request to a receiver.
pub struct Delivery<'d> {
    /// The receiver that it addresses.
    pub receiver: &'d Receiver,
    /// Its method.
    pub method: &'d Method,
    /// Its query, without the question mark.
    pub query: &'d str,
    /// Its headers.
    pub headers: &'d HeaderMap,
    /// Its body, as it came.
    pub body: &'d [u8],
    /// The body as JSON, once somebody asked for it.
    json: OnceCell<Option<&'d RawValue>>,
}

impl<'d> Delivery<'d> {
    /// A delivery to a receiver.
    pub fn new(
        receiver: &'d Receiver,
        (method, query): (&'d Method, &'d str),
        headers: &'d HeaderMap,
        body: &'d [u8],
    ) -> Self {
        Self { receiver, method, query, headers, body, json: OnceCell::new() }
    }

    /// A value of the body, if that is JSON.
    pub fn json(&self, pointer: &Pointer) -> Option<&'d RawValue> {
        let document = self.json.get_or_init(|| serde_json::from_slice(self.body).ok());
        pointer.find((*document)?)
    }

    /// A field of the header with the signature.
    pub fn field(&self, name: &str) -> Option<Cow<'_, str>> {
        self.receiver.verification.as_ref()?.signature.field(self, name)
    }

    /// The URL that the provider signed: the configured one. Nothing of it is taken from the request: a proxy changes its
    /// `Host`, and where a URL and a body are signed without anything between them, whoever sends it could move the
    /// beginning of the body to the end of its query.
    pub fn url(&self) -> Option<&str> {
        self.receiver.public_url.as_deref()
    }

    /// The time that was signed, as it was sent.
    fn signed_at(&self) -> Option<Cow<'_, str>> {
        self.receiver.verification.as_ref()?.signed_at.as_ref()?.text(self)
    }
}

impl Values for Delivery<'_> {
    fn get(&self, value: &Value) -> Option<Cow<'_, [u8]>> {
        Some(match value {
            Value::Header(name) => self.headers.get(name)?.as_bytes().into(),
            Value::Json(pointer) => bytes(self.json(pointer).and_then(scalar)?),
            Value::Field(name) => bytes(self.field(name)?),
            Value::Hook => self.receiver.name.as_bytes().into(),
            Value::Timestamp => bytes(self.signed_at()?),
            Value::Method => self.method.as_str().as_bytes().into(),
            Value::Url => self.url()?.as_bytes().into(),
            Value::Body => self.body.into(),
            Value::Sha256 => sha256(self.body).into_bytes().into(),
            Value::Nothing => Cow::default(),
            Value::Type => return None,
        })
    }
}

/// The bytes of a text.
pub fn bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => text.as_bytes().into(),
        Cow::Owned(text) => text.into_bytes().into(),
    }
}

/// The SHA-256 of bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
