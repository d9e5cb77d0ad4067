//! The settings of an operator: the application variables of spin.toml, read once an instance.
//!
//! A component gets them as one text with a line for each, `name=value`: a host that starts many instances is asked
//! once by each of them.
//!
//! The file is long because each setting has its type, its rule and its name here.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Display, Formatter};

use sekali_common::database_url::secured;
use sekali_common::log::Format;

use super::access::Access;
use super::origin::Origins;
use super::tokens;
use crate::event::Timestamp;
use crate::ingest::UnknownFields;
use crate::limits::{BODIES_BYTES, Limits};
use crate::receivers::{self, Receiver};
use crate::retention::Policy;
use crate::store::Kept;

/// The settings of this instance.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The largest requests that are accepted.
    pub limits: Limits,
    /// The treatment of fields that no event has.
    pub unknown_fields: UnknownFields,
    /// The store of events.
    pub store: StoreSetting,
    /// Topics of the store, at most.
    pub max_topics: usize,
    /// The tokens.
    pub access: Access,
    /// The access of pages in browsers.
    pub origins: Origins,
    /// The receivers of webhooks, by name.
    pub receivers: BTreeMap<String, Receiver>,
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StoreSetting {
    /// Spin's SQLite, or libSQL where the host says so.
    #[default]
    Sqlite,
    /// PostgreSQL.
    Postgres {
        /// Its address, as [`secured`] makes it. It may hold a password.
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

/// An invalid setting: its name and the reason, which never has its text. It may be a secret, and anybody may see this.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("variable {name} {message}")]
pub struct InvalidSetting {
    name: &'static str,
    message: String,
}

impl InvalidSetting {
    /// A setting, and the reason as a phrase that follows its name.
    pub fn new(name: &'static str, message: impl Display) -> Self {
        Self { name, message: message.to_string() }
    }
}

/// All settings that are invalid, at least one.
#[derive(Debug, Default, thiserror::Error)]
pub struct InvalidSettings(pub Vec<InvalidSetting>);

impl Display for InvalidSettings {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        for (index, setting) in self.0.iter().enumerate() {
            write!(formatter, "{}{setting}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl InvalidSettings {
    /// The setting, or a default in the place of an invalid one, which is noted.
    fn note<T: Default>(&mut self, setting: Result<T, InvalidSetting>) -> T {
        setting.unwrap_or_else(|invalid| {
            self.0.push(invalid);
            T::default()
        })
    }
}

impl Settings {
    /// Reads the settings from a text of lines `name=value`, and the receivers and the named tokens from JSON, which may
    /// have many lines. One that is not there is empty.
    ///
    /// # Errors
    /// Names every variable with an invalid text.
    pub fn read(text: &str, hooks: &str, tokens: &str) -> Result<Self, InvalidSettings> {
        let mut invalid = InvalidSettings::default();
        let given = given(text, &mut invalid);
        let variable = |name| given.get(name).copied().unwrap_or_default().trim();
        let limit = |name, largest| match variable(name).parse() {
            Ok(limit) if (1..=largest).contains(&limit) => Ok(limit),
            _ if largest == usize::MAX => Err(InvalidSetting::new(name, "must be a whole number from 1 on")),
            _ => Err(InvalidSetting::new(name, format_args!("must be a whole number from 1 to {largest}"))),
        };
        let kept = |name| match variable(name) {
            "" => Ok(0),
            text => text.parse::<u32>().map_err(|_| {
                InvalidSetting::new(name, format_args!("must be a whole number from 0 to {}", u32::MAX))
            }),
        };
        let token = |name| match given.get(name) {
            Some(token) if !token.is_empty() && token.trim().is_empty() => {
                Err(InvalidSetting::new(name, "must not be white space alone: leave it empty, or set it"))
            }
            _ => Ok(variable(name).to_owned()),
        };
        let settings = Self {
            limits: Limits {
                max_body_bytes: invalid.note(limit("max_body_bytes", BODIES_BYTES)),
                max_otlp_bytes: invalid.note(limit("max_otlp_bytes", BODIES_BYTES)),
                max_batch_events: invalid.note(limit("max_batch_events", usize::MAX)),
                max_event_bytes: invalid.note(limit("max_event_bytes", usize::MAX)),
            },
            unknown_fields: invalid.note(match variable("unknown_fields") {
                "" | "ignore" => Ok(UnknownFields::Ignored),
                "refuse" => Ok(UnknownFields::Refused),
                _ => Err(InvalidSetting::new("unknown_fields", "must be ignore or refuse")),
            }),
            store: invalid.note(store(variable("store"), variable("database_url"))),
            max_topics: invalid.note(limit("max_topics", usize::MAX)),
            access: Access {
                publish_token: invalid.note(token("publish_token")),
                read_token: invalid.note(token("read_token")),
                admin_token: invalid.note(token("admin_token")),
                named: invalid
                    .note(tokens::read(tokens.trim()).map_err(|error| InvalidSetting::new("tokens", error))),
            },
            origins: Origins {
                listed: invalid.note(origins(variable("cors_origins"))),
                webhooks: list(variable("webhook_origins")),
                hosts: invalid.note(hosts(variable("hosts"), variable("machine"))),
            },
            receivers: invalid
                .note(receivers::settings::read(hooks).map_err(|error| InvalidSetting::new("hooks", error))),
            retention: Policy {
                kept: Kept {
                    days: invalid.note(kept("retention_days")),
                    events: invalid.note(kept("retention_events")),
                },
                forget_days: invalid.note(kept("forget_days")),
            },
            answers: invalid.note(match variable("answers") {
                "" | "store" => Ok(AnswersSetting::Store),
                "key-value" => Ok(AnswersSetting::KeyValue),
                _ => Err(InvalidSetting::new("answers", "must be store or key-value")),
            }),
            started_at: invalid.note(match variable("started_at") {
                "" => Ok(None),
                text => {
                    Timestamp::parse(text).map(Some).map_err(|error| InvalidSetting::new("started_at", error))
                }
            }),
            log_format: invalid.note(match variable("log_format") {
                "" => Ok(Format::default()),
                text => text.parse().map_err(|error| InvalidSetting::new("log_format", error)),
            }),
            instances: invalid.note(match variable("instances") {
                "" | "elastic" => Ok(Instances::Elastic),
                "fixed" => Ok(Instances::Fixed),
                _ => Err(InvalidSetting::new("instances", "must be elastic or fixed")),
            }),
        };
        let Access { publish_token, read_token, admin_token, named } = &settings.access;
        if named.iter().any(|named| [publish_token, read_token, admin_token].contains(&&named.token)) {
            let message = "has a token that is that of publish_token, read_token or admin_token, too";
            invalid.0.push(InvalidSetting::new("tokens", message));
        }
        if invalid.0.is_empty() { Ok(settings) } else { Err(invalid) }
    }

    /// The names of all variables.
    pub const VARIABLES: [&'static str; 22] = [
        "store",
        "database_url",
        "max_body_bytes",
        "max_otlp_bytes",
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
        let message = "must be names such as inbox.example, without scheme and port, or * for all";
        return Err(InvalidSetting::new("hosts", message));
    }
    if !machine.is_empty() {
        hosts.extend([machine.to_owned(), format!("{machine}.local")]);
    }
    Ok(hosts)
}

/// The store of these two variables.
fn store(store: &str, database_url: &str) -> Result<StoreSetting, InvalidSetting> {
    match store {
        "" | "sqlite" => Ok(StoreSetting::Sqlite),
        "postgres" if database_url.is_empty() => {
            let message = "must be set when store is postgres: spin.postgres.toml has it";
            Err(InvalidSetting::new("database_url", message))
        }
        "postgres" => {
            let fault = |fault| InvalidSetting::new("database_url", fault);
            Ok(StoreSetting::Postgres { database_url: secured(database_url).map_err(fault)? })
        }
        _ => Err(InvalidSetting::new("store", "must be sqlite or postgres")),
    }
}

/// Origins as browsers write them, separated by commas or spaces. Another text would never be equal to one.
fn origins(text: &str) -> Result<Vec<String>, InvalidSetting> {
    let is_origin = |text: &str| {
        text == "*"
            || text == "null"
            || text.split_once("://").is_some_and(|(scheme, host)| {
                !scheme.is_empty() && !host.is_empty() && !host.contains(['/', '?', '#', '@'])
            })
    };
    let origins = list(text);
    match origins.iter().all(|origin| is_origin(origin)) {
        true => Ok(origins),
        false => Err(InvalidSetting::new(
            "cors_origins",
            "must be *, or origins such as https://app.example:8443, without a path, separated by commas",
        )),
    }
}

/// The values by name.
fn given<'t>(text: &'t str, invalid: &mut InvalidSettings) -> HashMap<&'static str, &'t str> {
    let mut given = HashMap::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        // The second line of a value looks like this, too. It must not set anything, nor be shown: it may be a secret.
        let Some(name) = Settings::VARIABLES.into_iter().find(|known| *known == name.trim()) else {
            invalid.0.push(InvalidSetting::new("settings", "has a line that names no variable"));
            continue;
        };
        if given.insert(name, value).is_some() {
            let message = "is there twice: a value must not have more than one line";
            invalid.0.push(InvalidSetting::new(name, message));
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(changed: &str, value: &str) -> Result<Settings, InvalidSettings> {
        let limits =
            ["max_body_bytes", "max_otlp_bytes", "max_batch_events", "max_event_bytes", "max_topics"];
        let unchanged = limits.into_iter().filter(|name| *name != changed);
        let mut text: String = unchanged.map(|name| format!("{name}=10\n")).collect();
        if !changed.is_empty() {
            text += &format!("{changed}={value}\n");
        }
        Settings::read(&text, "", "")
    }

    #[test]
    fn an_invalid_setting_is_named() {
        for (name, value) in [
            ("max_body_bytes", "8 MiB"),
            ("max_body_bytes", "67108865"),
            ("max_otlp_bytes", "67108865"),
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
            ("cors_origins", "app.example"),
            ("cors_origins", "https://a.example, https://b.example/"),
            ("cors_origins", "https://a.example/path"),
        ] {
            let error = read(name, value).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn all_that_is_invalid_is_named_at_once_and_never_its_text() {
        let text = "max_body_bytes=s3cret\nmax_otlp_bytes=10\nmax_batch_events=10\nmax_event_bytes=10\nmax_topics=0\nretention_days=s3cret\n\
            log_format=s3cret\nstarted_at=s3cret\nstore=s3cret\nanswers=s3cret\ninstances=s3cret\ns3cret";
        let invalid = Settings::read(text, "", "").unwrap_err();
        let named: Vec<_> = invalid.0.iter().map(|setting| setting.name).collect();
        let expected = [
            "settings",
            "max_body_bytes",
            "store",
            "max_topics",
            "retention_days",
            "answers",
            "started_at",
            "log_format",
            "instances",
        ];
        assert_eq!(named, expected);
        let message = invalid.to_string();
        assert!(!message.contains("s3cret"), "{message}");
        assert!(message.contains("; variable max_topics must be a whole number from 1 on; "), "{message}");
    }

    #[test]
    fn a_value_of_two_lines_sets_nothing_else() {
        for value in ["x\npublish_token=", "x\nread_token=y", "x\nsecret"] {
            let text = format!("publish_token={value}\nread_token=z\n");
            let error = Settings::read(&text, "", "").unwrap_err().to_string();
            assert!(error.contains("line") && !error.contains("secret"), "{error}");
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
    fn origins_are_those_of_browsers() {
        for (text, count) in [("", 0), ("*", 1), ("https://a.example:8443, http://[::1]:3000,null", 3)] {
            assert_eq!(read("cors_origins", text).unwrap().origins.listed.len(), count, "{text}");
        }
    }

    #[test]
    fn an_empty_start_is_an_unknown_start() {
        assert_eq!(read("", "").unwrap().started_at, None);
        assert!(read("started_at", "2026-11-21T01:00:00Z").unwrap().started_at.is_some());
    }
}
