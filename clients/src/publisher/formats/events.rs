//! Events as `POST /publish` takes them.

use std::borrow::Cow;

use anyhow::{Result, anyhow, ensure};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::json::hint;

/// An event of the API. Its fields may hold any JSON value, because the service validates them.
#[derive(Default, Deserialize, Serialize)]
pub struct Event<'a> {
    #[serde(borrow, default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub topic: Option<Cow<'a, RawValue>>,
    #[serde(borrow, default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub event_id: Option<Cow<'a, RawValue>>,
    #[serde(borrow, default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Cow<'a, RawValue>>,
    #[serde(borrow, default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub source: Option<Cow<'a, RawValue>>,
    #[serde(borrow, default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub payload: Option<Cow<'a, RawValue>>,
}

impl<'a> Event<'a> {
    /// An event of which only the payload is known.
    pub fn of_payload(payload: Cow<'a, RawValue>) -> Self {
        Self { payload: Some(payload), ..Self::default() }
    }
}

/// Keeps a field that is null, which `Option` alone would take for a missing one.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Option<Cow<'a, RawValue>>, D::Error> {
    <&'a RawValue>::deserialize(from).map(|value| Some(Cow::Borrowed(value)))
}

/// The fields of a line that is an event, and the line behind its first brace.
pub fn read(line: &[u8]) -> Result<(Event<'_>, &[u8])> {
    // serde would accept an array of the fields in their order.
    ensure!(
        line.trim_ascii_start().starts_with(b"{"),
        "is not an event: it is not a JSON object{}",
        if line.trim_ascii_start().starts_with(b"[") { "; for an array of events: jq -c '.[]'" } else { "" }
    );
    let fields = serde_json::from_slice(line)
        .map_err(|error| anyhow!("is not an event: {error}{}", hint(line, &error, "events")))?;
    let own = line.trim_ascii_start().get(1..).unwrap_or_default();
    Ok((fields, own))
}
