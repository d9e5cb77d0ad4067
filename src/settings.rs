//! What an operator can set: the application variables of spin.toml, read once an instance.

use std::fmt::Display;
use std::str::FromStr;

use crate::access::Access;
use crate::body::BUDGET_BYTES;
use crate::event::Timestamp;

/// The settings of this instance.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How much a client may send.
    pub limits: Limits,
    /// Who may call what, and from where.
    pub access: Access,
    /// When the process started, if whoever started it said so.
    pub started_at: Option<Timestamp>,
}

/// How much a client may send. Each limit is a variable of the same name.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a request's body.
    pub max_body_bytes: usize,
    /// Events of a request.
    pub max_batch_events: usize,
    /// Bytes that one event stores: topic, event id, source and payload.
    pub max_event_bytes: usize,
}

/// A variable with a value that cannot be meant.
#[derive(Debug, thiserror::Error)]
#[error("variable {name}: {message}")]
pub struct InvalidSetting {
    name: &'static str,
    message: String,
}

impl Settings {
    /// Reads the settings from the texts of the variables, as `variable` gives them by name.
    ///
    /// # Errors
    /// Names the first variable whose text cannot be used.
    pub fn read(variable: impl Fn(&'static str) -> String) -> Result<Self, InvalidSetting> {
        let limit = |name, largest| match parse::<usize>(name, &variable(name))? {
            limit if (1..=largest).contains(&limit) => Ok(limit),
            _ => Err(InvalidSetting { name, message: format!("must be from 1 to {largest}") }),
        };
        let started_at = match variable("started_at").as_str() {
            "" => None,
            text => Some(
                Timestamp::parse(text)
                    .map_err(|error| InvalidSetting { name: "started_at", message: error.to_string() })?,
            ),
        };
        Ok(Self {
            limits: Limits {
                max_body_bytes: limit("max_body_bytes", BUDGET_BYTES)?,
                max_batch_events: limit("max_batch_events", usize::MAX)?,
                max_event_bytes: limit("max_event_bytes", usize::MAX)?,
            },
            access: Access {
                publish_token: variable("publish_token").trim().to_owned(),
                read_token: variable("read_token").trim().to_owned(),
                origins: variable("cors_origins")
                    .split([',', ' '])
                    .filter(|origin| !origin.is_empty())
                    .map(Into::into)
                    .collect(),
            },
            started_at,
        })
    }

    /// The names of all variables.
    pub const VARIABLES: [&'static str; 7] = [
        "max_body_bytes",
        "max_batch_events",
        "max_event_bytes",
        "publish_token",
        "read_token",
        "cors_origins",
        "started_at",
    ];
}

fn parse<T: FromStr<Err: Display>>(name: &'static str, text: &str) -> Result<T, InvalidSetting> {
    text.trim().parse().map_err(|error| InvalidSetting { name, message: format!("{error}: {text:?}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(changed: &'static str, value: &'static str) -> Result<Settings, InvalidSetting> {
        Settings::read(|name| match name {
            _ if name == changed => value.into(),
            "max_body_bytes" | "max_batch_events" | "max_event_bytes" => "10".into(),
            _ => String::new(),
        })
    }

    #[test]
    fn a_setting_that_cannot_be_meant_is_named() {
        for (name, value) in [
            ("max_body_bytes", "8 MiB"),
            ("max_body_bytes", "67108865"),
            ("max_batch_events", "0"),
            ("max_event_bytes", "-1"),
            ("started_at", "yesterday"),
        ] {
            let error = read(name, value).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn an_empty_start_is_an_unknown_start() {
        assert_eq!(read("", "").unwrap().started_at, None);
        assert!(read("started_at", "2026-11-21T01:00:00Z").unwrap().started_at.is_some());
    }
}
