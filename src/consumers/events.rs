//! The events of a claim, as they are sent.

use std::borrow::Cow;

use serde::Deserialize;

use crate::store::{Seq, StoreError};

/// An event that is given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place.
    pub seq: Seq,
    /// Its topic.
    pub topic: String,
    /// Its id.
    pub event_id: String,
    /// Its source, if it has one.
    pub source: Option<String>,
    /// When it was received: RFC 3339.
    pub received_at: String,
    /// All of it: a JSON object.
    pub json: String,
}

#[derive(Deserialize)]
struct Head<'a> {
    seq: Seq,
    #[serde(borrow)]
    topic: Cow<'a, str>,
    #[serde(borrow)]
    event_id: Cow<'a, str>,
    #[serde(borrow)]
    source: Option<Cow<'a, str>>,
    received_at: &'a str,
}

impl Event {
    /// An event from its JSON.
    ///
    /// # Errors
    /// When it is none: a fault of the store.
    pub fn read(json: &str) -> Result<Self, StoreError> {
        let head: Head<'_> =
            serde_json::from_str(json).map_err(|error| StoreError::Failed(error.to_string()))?;
        Ok(Self {
            seq: head.seq,
            topic: head.topic.into_owned(),
            event_id: head.event_id.into_owned(),
            source: head.source.map(Cow::into_owned),
            received_at: head.received_at.to_owned(),
            json: json.to_owned(),
        })
    }

    /// The events of some texts.
    ///
    /// # Errors
    /// When one is none, here and below.
    pub fn read_lines(lines: Vec<String>) -> Result<Vec<Self>, StoreError> {
        lines.iter().map(|json| Self::read(json)).collect()
    }

    /// The events of a page, which has one a line.
    ///
    /// # Errors
    /// When it has something else: a fault of the store.
    pub fn read_all(lines: &str) -> Result<Vec<Self>, StoreError> {
        lines.lines().map(Self::read).collect()
    }
}
