//! Signs as a provider would, for handlers that verify with its library: the receiver's row of the table of kinds, run
//! backwards. The time is now, as libraries refuse old signatures.

mod row;
mod text;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use sekali_common::consumers::ClaimedEvent;
use sekali_common::webhooks::KINDS;
use sekali_common::webhooks::pointer::scalar;
use sekali_common::webhooks::template::{Template, Use, Value, Values};
use serde_json::Value as Json;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use self::row::{Key, Row};
use self::text::{form, hex, replace, sorted_fields};
use crate::message::{Message, attributes};

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
    /// The parts of an event that headers have, and the templates that find them there.
    parts: Vec<(Part, Template)>,
    /// The URL that the provider signs, where it is not the address of the endpoint.
    pub url: Option<String>,
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
        // A topic is the name of the receiver and the type, unless the receiver says otherwise. The name may have dots; the
        // types that providers have in a header have none.
        let r#type = event.topic.rsplit_once('.').map(|(_, r#type)| r#type);
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
