//! The events of a claim, as they are sent.

use std::borrow::Cow;

use serde::Deserialize;

use crate::store::{Seq, StoreError};

/// Bytes by which an event grows when its attempt is written.
const ATTEMPT_BYTES: usize = 24;

/// An event that is given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place.
    pub seq: Seq,
    /// Its topic.
    pub topic: String,
    /// All of it: a JSON object.
    json: String,
}

/// What few steps have to know of an event.
#[derive(Deserialize)]
pub struct Details<'a> {
    /// Its id.
    #[serde(borrow)]
    pub event_id: Cow<'a, str>,
    /// Its source, if it has one.
    #[serde(borrow)]
    pub source: Option<Cow<'a, str>>,
    /// When it was received: RFC 3339.
    pub received_at: &'a str,
}

#[derive(Deserialize)]
struct Head<'a> {
    seq: Seq,
    #[serde(borrow)]
    topic: Cow<'a, str>,
}

impl Event {
    /// An event from its JSON.
    ///
    /// # Errors
    /// When it is none: a fault of the store. Here and below.
    pub fn read(text: &str) -> Result<Self, StoreError> {
        let head: Head<'_> = serde_json::from_str(text).map_err(no_event)?;
        let mut json = String::with_capacity(text.len() + ATTEMPT_BYTES);
        json.push_str(text);
        Ok(Self { seq: head.seq, topic: head.topic.into_owned(), json })
    }

    /// The events of some texts.
    pub fn read_all<'t>(texts: impl Iterator<Item = &'t str>) -> Result<Vec<Self>, StoreError> {
        texts.map(Self::read).collect()
    }

    /// More of it.
    pub fn details(&self) -> Result<Details<'_>, StoreError> {
        serde_json::from_str(&self.json).map_err(no_event)
    }

    /// Bytes of its JSON.
    pub fn bytes(&self) -> usize {
        self.json.len()
    }

    /// Its JSON, with the number of times that it was given out.
    pub fn attempted(self, attempt: u32) -> String {
        let mut json = self.json;
        json.pop();
        json.push_str(",\"attempt\":");
        json.push_str(&attempt.to_string());
        json.push('}');
        json
    }
}

fn no_event(error: serde_json::Error) -> StoreError {
    StoreError::Failed(error.to_string())
}
