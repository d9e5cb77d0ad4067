//! Where a consumer begins.

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use crate::event::Timestamp;
use crate::store::Seq;

/// Where a consumer begins, or goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At the oldest event.
    Start,
    /// Behind the newest event.
    Now,
    /// Behind a seq.
    Seq(Seq),
    /// At the first event that is not older.
    Time(Timestamp),
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let rule = "must be start, now, a seq or a time such as 2026-11-21T01:00:00Z";
        match text.as_str() {
            "start" => Ok(Self::Start),
            "now" => Ok(Self::Now),
            _ => match text.parse() {
                Ok(seq) if seq >= 0 => Ok(Self::Seq(seq)),
                _ => Timestamp::parse(&text).map(Self::Time).map_err(|_| de::Error::custom(rule)),
            },
        }
    }
}
