//! The log: one line an incident on standard error, for the component and for its host; and a line for each of the few
//! steps that an operator waits for.
//!
//! A line has the time, the route of the request if there is one, the kind of the incident and its cause. A kind that
//! comes often, such as a busy database under load, is logged every ten seconds, with the number of those left out.

use std::collections::HashMap;
use std::fmt::Display;
use std::io::Write;
use std::str::FromStr;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

/// The time between two lines of one kind and route.
const PAUSE: Duration = Duration::from_secs(10);

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// A JSON object a line, for machines.
    Json,
}

/// An unknown name of a format.
#[derive(Debug, thiserror::Error)]
#[error("must be text or json")]
pub struct UnknownFormat;

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        match name {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(UnknownFormat),
        }
    }
}

static FORMAT: OnceLock<Format> = OnceLock::new();
static RECENT: Mutex<Option<Recent>> = Mutex::new(None);

/// Sets the form of all lines. Only the first call has an effect.
pub fn set_format(format: Format) {
    let _ = FORMAT.set(format);
}

/// Logs an incident that concerns no request in particular.
pub fn error(kind: &'static str, cause: impl Display) {
    log("error", kind, None, &cause);
}

/// Logs a step of the service that an operator waits for.
pub fn info(kind: &'static str, step: impl Display) {
    log("info", kind, None, &step);
}

/// Logs what an operator should look at, and what goes on all the same.
pub fn warning(kind: &'static str, cause: impl Display) {
    log("warning", kind, None, &cause);
}

/// Logs an incident of a request. `route` is the pattern of its path: there are few of them.
pub fn request_error(kind: &'static str, route: &'static str, cause: impl Display) {
    log("error", kind, Some(route), &cause);
}

/// Logs a request that was refused, and that an operator should know of. `route` is its path, of which there are few.
pub fn request_warning(kind: &'static str, route: &'static str, cause: impl Display) {
    log("warning", kind, Some(route), &cause);
}

fn log(level: &'static str, kind: &'static str, route: Option<&'static str>, cause: &dyn Display) {
    let time = Utc::now();
    let mut recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
    let admitted = recent.get_or_insert_default().admit((kind, route), time);
    drop(recent);
    if let Some(left_out) = admitted {
        let line = Line { time, level, kind, route, cause: cause.to_string(), left_out };
        let line = line.render(FORMAT.get().copied().unwrap_or_default());
        // A log on a full disk, or one that nobody reads any more, must not end the program.
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }
}

/// The time of the last line of each kind and route, and the number of incidents since then.
#[derive(Default)]
struct Recent(HashMap<Source, (DateTime<Utc>, u64)>);

type Source = (&'static str, Option<&'static str>);

impl Recent {
    /// The number of incidents that were left out before this one; `None` if this one is left out, too.
    fn admit(&mut self, source: Source, now: DateTime<Utc>) -> Option<u64> {
        let (last, left_out) = self.0.entry(source).or_insert((DateTime::UNIX_EPOCH, 0));
        // The clock may have gone back, and then nobody knows how long it was.
        if (now - *last).to_std().is_ok_and(|passed| passed < PAUSE) {
            *left_out += 1;
            return None;
        }
        *last = now;
        Some(std::mem::take(left_out))
    }
}

struct Line {
    time: DateTime<Utc>,
    level: &'static str,
    kind: &'static str,
    route: Option<&'static str>,
    cause: String,
    left_out: u64,
}

#[derive(Serialize)]
struct JsonLine<'l> {
    time: &'l str,
    level: &'static str,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'static str>,
    cause: &'l str,
    left_out: u64,
}

impl Line {
    fn render(&self, format: Format) -> String {
        let Self { level, kind, route, cause, left_out, .. } = self;
        let time = self.time.to_rfc3339_opts(SecondsFormat::Millis, true);
        match format {
            // Strings and numbers cannot fail to become JSON.
            Format::Json => serde_json::to_string(&JsonLine {
                time: &time,
                level,
                kind,
                route: *route,
                cause,
                left_out: *left_out,
            })
            .unwrap_or_default(),
            Format::Text => {
                let route = route.map(|route| format!(" {route}")).unwrap_or_default();
                // A line break in a cause must not look like a line of its own.
                let cause = cause.replace('\n', "; ");
                let left_out = match left_out {
                    0 => String::new(),
                    count => format!(" ({count} more since the last line)"),
                };
                format!("{time} {level}{route} {kind}: {cause}{left_out}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn a_kind_that_comes_often_is_logged_every_ten_seconds_with_the_number_left_out() {
        let mut recent = Recent::default();
        let busy = ("busy", Some("/publish"));
        let admitted: Vec<_> = (0..25).map(|second| recent.admit(busy, at(second))).collect();
        let lines: Vec<_> = admitted.iter().flatten().collect();
        assert_eq!((lines, admitted[10], admitted[20]), (vec![&0, &9, &9], Some(9), Some(9)));
        assert_eq!(recent.admit(("busy", Some("/events")), at(24)), Some(0), "another route");
        assert_eq!(recent.admit(busy, at(-1000)), Some(4), "the clock went back");
    }

    #[test]
    fn a_line_has_time_route_kind_and_cause_in_both_formats() {
        let line = Line {
            level: "error",
            time: at(0),
            kind: "busy",
            route: Some("/publish"),
            cause: "a \"lock\"\nis held".into(),
            left_out: 3,
        };
        assert_eq!(
            line.render(Format::Text),
            "2027-01-15T08:00:00.000Z error /publish busy: a \"lock\"; is held (3 more since the last line)"
        );
        assert_eq!(
            line.render(Format::Json),
            r#"{"time":"2027-01-15T08:00:00.000Z","level":"error","kind":"busy","route":"/publish","cause":"a \"lock\"\nis held","left_out":3}"#
        );
        let bare = Line { route: None, left_out: 0, ..line };
        assert!(bare.render(Format::Text).ends_with("Z error busy: a \"lock\"; is held"));
    }
}
