//! The settings of an operator: the application variables of spin.toml, read once an instance.

use std::fmt::Display;
use std::str::FromStr;

use sekali_log::Format;

use super::access::Access;
use crate::event::Timestamp;
use crate::limits::{BODIES_BYTES, Limits};

/// The settings of this instance.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The largest requests that are accepted.
    pub limits: Limits,
    /// The tokens and origins that are let in.
    pub access: Access,
    /// The start of the process, if the host told it.
    pub started_at: Option<Timestamp>,
    /// The form of lines in the log.
    pub log_format: Format,
}

/// An invalid setting.
#[derive(Debug, thiserror::Error)]
#[error("variable {name}: {message}")]
pub struct InvalidSetting {
    name: &'static str,
    message: String,
}

impl Settings {
    /// Reads the settings from the variables, whose texts `variable` returns by name.
    ///
    /// # Errors
    /// Names the first variable with an invalid text.
    pub fn read(variable: impl Fn(&'static str) -> String) -> Result<Self, InvalidSetting> {
        let limit = |name, largest| match parse::<usize>(name, &variable(name))? {
            limit if (1..=largest).contains(&limit) => Ok(limit),
            _ => Err(InvalidSetting { name, message: format!("must be from 1 to {largest}") }),
        };
        let token = |name| match variable(name) {
            token if !token.is_empty() && token.trim().is_empty() => {
                let message = "must not be white space alone: leave it empty to let everybody in".into();
                Err(InvalidSetting { name, message })
            }
            token => Ok(token.trim().to_owned()),
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
                max_body_bytes: limit("max_body_bytes", BODIES_BYTES)?,
                max_batch_events: limit("max_batch_events", usize::MAX)?,
                max_event_bytes: limit("max_event_bytes", usize::MAX)?,
            },
            access: Access {
                publish_token: token("publish_token")?,
                read_token: token("read_token")?,
                origins: variable("cors_origins")
                    .split([',', ' '])
                    .filter(|origin| !origin.is_empty())
                    .map(Into::into)
                    .collect(),
            },
            started_at,
            log_format: match variable("log_format").as_str() {
                "" => Format::default(),
                text => parse("log_format", text)?,
            },
        })
    }

    /// The names of all variables.
    pub const VARIABLES: [&'static str; 8] = [
        "max_body_bytes",
        "max_batch_events",
        "max_event_bytes",
        "publish_token",
        "read_token",
        "cors_origins",
        "started_at",
        "log_format",
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
    fn an_invalid_setting_is_named() {
        for (name, value) in [
            ("max_body_bytes", "8 MiB"),
            ("max_body_bytes", "67108865"),
            ("max_batch_events", "0"),
            ("max_event_bytes", "-1"),
            ("started_at", "yesterday"),
            ("publish_token", " "),
            ("read_token", "\t\n"),
            ("log_format", "xml"),
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
