//! The settings of an operator: the application variables of spin.toml, read once an instance.
//!
//! A component gets them as one text with a line for each, `name=value`: a host that starts many instances is asked
//! once by each of them.

use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;

use sekali_log::Format;

use super::access::Access;
use super::origin::Origins;
use crate::event::Timestamp;
use crate::ingest::UnknownFields;
use crate::limits::{BODIES_BYTES, Limits};
use crate::retention::Policy;
use crate::store::Kept;
use crate::store::postgres::address;

/// The settings of this instance.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The largest requests that are accepted.
    pub limits: Limits,
    /// What becomes of fields that no event has.
    pub unknown_fields: UnknownFields,
    /// The store of events.
    pub store: StoreSetting,
    /// Topics of the store, at most.
    pub max_topics: usize,
    /// The tokens.
    pub access: Access,
    /// What pages in browsers may do.
    pub origins: Origins,
    /// The events that are kept.
    pub retention: Policy,
    /// The place of the answers to requests with an Idempotency-Key.
    pub answers: AnswersSetting,
    /// The start of the process, if the host told it.
    pub started_at: Option<Timestamp>,
    /// The form of lines in the log.
    pub log_format: Format,
    /// The way in which the host runs instances.
    pub instances: Instances,
}

/// The store of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreSetting {
    /// Spin's SQLite, or libSQL where the host says so.
    Sqlite,
    /// PostgreSQL.
    Postgres {
        /// Its address, as [`address::secured`] makes it. It may hold a password.
        database_url: String,
    },
}

/// The place of the answers to requests with an Idempotency-Key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnswersSetting {
    /// The store of events, in the transaction that stores them.
    #[default]
    Store,
    /// Spin's key-value store.
    KeyValue,
}

/// The way in which a host runs the instances of a component.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Instances {
    /// It starts one when the others are at work, and ends one that takes no more requests, as Spin does.
    #[default]
    Elastic,
    /// Their number stays, as on sekali-host.
    Fixed,
}

/// An invalid setting.
#[derive(Debug, thiserror::Error)]
#[error("variable {name}: {message}")]
pub struct InvalidSetting {
    name: &'static str,
    message: String,
}

impl Settings {
    /// Reads the settings from a text of lines `name=value`. One that is not there is empty.
    ///
    /// # Errors
    /// Names the first variable with an invalid text.
    pub fn read(text: &str) -> Result<Self, InvalidSetting> {
        let given = given(text)?;
        let variable = |name| given.get(name).copied().unwrap_or_default().to_owned();
        let limit = |name, largest| match parse::<usize>(name, &variable(name))? {
            limit if (1..=largest).contains(&limit) => Ok(limit),
            _ => Err(InvalidSetting { name, message: format!("must be from 1 to {largest}") }),
        };
        let kept = |name| match variable(name).as_str() {
            "" => Ok(0),
            text => parse::<u32>(name, text),
        };
        let token = |name| match variable(name) {
            token if !token.is_empty() && token.trim().is_empty() => {
                let message = "must not be white space alone: leave it empty, or set it".into();
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
            unknown_fields: match variable("unknown_fields").as_str() {
                "" | "ignore" => UnknownFields::Ignored,
                "refuse" => UnknownFields::Refused,
                _ => {
                    let message = "must be ignore or refuse".into();
                    return Err(InvalidSetting { name: "unknown_fields", message });
                }
            },
            store: match (variable("store").as_str(), variable("database_url")) {
                ("" | "sqlite", _) => StoreSetting::Sqlite,
                ("postgres", database_url) if !database_url.is_empty() => {
                    let secured = address::secured(&database_url)
                        .map_err(|fault| InvalidSetting { name: "database_url", message: fault.into() })?;
                    StoreSetting::Postgres { database_url: secured }
                }
                ("postgres", _) => {
                    let message = "must be set when store is postgres: spin.postgres.toml has it".into();
                    return Err(InvalidSetting { name: "database_url", message });
                }
                _ => {
                    let message = "must be sqlite or postgres".into();
                    return Err(InvalidSetting { name: "store", message });
                }
            },
            max_topics: limit("max_topics", usize::MAX)?,
            access: Access {
                publish_token: token("publish_token")?,
                read_token: token("read_token")?,
                admin_token: token("admin_token")?,
            },
            origins: Origins {
                listed: list(&variable("cors_origins")),
                webhooks: list(&variable("webhook_origins")),
                hosts: hosts(&variable("hosts"), &variable("machine"))?,
            },
            retention: Policy {
                kept: Kept { days: kept("retention_days")?, events: kept("retention_events")? },
                forget_days: kept("forget_days")?,
            },
            answers: match variable("answers").as_str() {
                "" | "store" => AnswersSetting::Store,
                "key-value" => AnswersSetting::KeyValue,
                _ => {
                    let message = "must be store or key-value".into();
                    return Err(InvalidSetting { name: "answers", message });
                }
            },
            started_at,
            log_format: match variable("log_format").as_str() {
                "" => Format::default(),
                text => parse("log_format", text)?,
            },
            instances: match variable("instances").as_str() {
                "" | "elastic" => Instances::Elastic,
                "fixed" => Instances::Fixed,
                _ => {
                    let message = "must be elastic or fixed".into();
                    return Err(InvalidSetting { name: "instances", message });
                }
            },
        })
    }

    /// The names of all variables.
    pub const VARIABLES: [&'static str; 21] = [
        "store",
        "database_url",
        "max_body_bytes",
        "max_batch_events",
        "max_event_bytes",
        "max_topics",
        "unknown_fields",
        "publish_token",
        "read_token",
        "admin_token",
        "hosts",
        "machine",
        "cors_origins",
        "webhook_origins",
        "retention_days",
        "retention_events",
        "forget_days",
        "answers",
        "started_at",
        "log_format",
        "instances",
    ];
}

/// The items of a list, which commas or blanks separate.
fn list(text: &str) -> Vec<String> {
    text.split([',', ' ']).filter(|item| !item.is_empty()).map(Into::into).collect()
}

/// The names of the service: those of `text`, and the machine's own, also as it is in its local network (RFC 6762).
fn hosts(text: &str, machine: &str) -> Result<Vec<String>, InvalidSetting> {
    let mut hosts = list(text);
    if hosts.iter().any(|host| host != "*" && host.contains(['/', ':', '*'])) {
        let message = "must be names such as inbox.example, without scheme and port, or * for all".into();
        return Err(InvalidSetting { name: "hosts", message });
    }
    if !machine.is_empty() {
        hosts.extend([machine.to_owned(), format!("{machine}.local")]);
    }
    Ok(hosts)
}

/// The values by name.
fn given(text: &str) -> Result<HashMap<&'static str, &str>, InvalidSetting> {
    let mut given = HashMap::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        // The second line of a value looks like this, too. It must not set anything, nor be shown: it may be a secret.
        let invalid = |message: &str| InvalidSetting { name: "settings", message: message.into() };
        let name = Settings::VARIABLES.into_iter().find(|known| *known == name.trim());
        let name = name.ok_or_else(|| invalid("has a line that names no variable"))?;
        if given.insert(name, value).is_some() {
            return Err(invalid("has a variable twice: a value must not have more than one line"));
        }
    }
    Ok(given)
}

fn parse<T: FromStr<Err: Display>>(name: &'static str, text: &str) -> Result<T, InvalidSetting> {
    text.trim().parse().map_err(|error| InvalidSetting { name, message: format!("{error}: {text:?}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(changed: &str, value: &str) -> Result<Settings, InvalidSetting> {
        let limits = ["max_body_bytes", "max_batch_events", "max_event_bytes", "max_topics"];
        let unchanged = limits.into_iter().filter(|name| *name != changed);
        let mut text: String = unchanged.map(|name| format!("{name}=10\n")).collect();
        if !changed.is_empty() {
            text += &format!("{changed}={value}\n");
        }
        Settings::read(&text)
    }

    #[test]
    fn an_invalid_setting_is_named() {
        for (name, value) in [
            ("max_body_bytes", "8 MiB"),
            ("max_body_bytes", "67108865"),
            ("max_batch_events", "0"),
            ("max_event_bytes", "-1"),
            ("max_topics", "0"),
            ("started_at", "yesterday"),
            ("publish_token", " "),
            ("read_token", "\t\n"),
            ("admin_token", " "),
            ("retention_days", "-1"),
            ("retention_events", "many"),
            ("forget_days", "0.5"),
            ("log_format", "xml"),
            ("instances", "many"),
            ("store", "mysql"),
            ("answers", "redis"),
            ("hosts", "https://inbox.example"),
            ("hosts", "inbox.example:443"),
            ("unknown_fields", "deny"),
        ] {
            let error = read(name, value).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn a_value_of_two_lines_sets_nothing_else() {
        for value in ["x\npublish_token=", "x\nread_token=y", "x\nsecret"] {
            let text = format!("publish_token={value}\nread_token=z\n");
            let error = Settings::read(&text).unwrap_err().to_string();
            assert!(error.contains("settings") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn postgres_needs_an_address() {
        assert_eq!(read("", "").unwrap().store, StoreSetting::Sqlite);
        let error = read("store", "postgres").unwrap_err().to_string();
        assert!(error.contains("database_url"), "{error}");
        let url = "postgres://u:p%3D@h:5432/d?sslmode=require";
        let settings = read("store", &format!("postgres\ndatabase_url={url}")).unwrap();
        assert_eq!(settings.store, StoreSetting::Postgres { database_url: url.into() });
    }

    #[test]
    fn instances_are_elastic_unless_the_host_says_otherwise() {
        assert_eq!(read("", "").unwrap().instances, Instances::Elastic);
        assert_eq!(read("instances", "fixed").unwrap().instances, Instances::Fixed);
    }

    #[test]
    fn an_empty_start_is_an_unknown_start() {
        assert_eq!(read("", "").unwrap().started_at, None);
        assert!(read("started_at", "2026-11-21T01:00:00Z").unwrap().started_at.is_some());
    }
}
