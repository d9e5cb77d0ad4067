//! Messages of syslog, after RFC 5424 and RFC 3164, as they are sent and as syslog daemons write them to files: without a
//! priority, and often with a time of RFC 3339. The fields have the names that Vector gives them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Datelike, Days, NaiveDateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::{Entry, raw};

const FACILITIES: [&str; 24] = [
    "kern",
    "user",
    "mail",
    "daemon",
    "auth",
    "syslog",
    "lpr",
    "news",
    "uucp",
    "cron",
    "authpriv",
    "ftp",
    "ntp",
    "security",
    "console",
    "solaris-cron",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
];
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// The length of a time such as `Nov 29 19:21:07`.
const STAMP: usize = 15;

/// The fields of a message. Those that it does not have are left out.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "snake_case")]
struct Message<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    facility: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    appname: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    procid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    msgid: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    structured_data: BTreeMap<&'a str, BTreeMap<&'a str, String>>,
    message: &'a str,
}

/// The event of a line.
pub fn read(line: &[u8]) -> Result<Entry<'static>> {
    let line = String::from_utf8_lossy(line);
    let (priority, text) = priority(&line);
    let (mut message, time) = match version(text).filter(|_| priority.is_some()) {
        Some((version, text)) => rfc5424(version, text)?,
        None => rfc3164(text, priority.is_some(), Utc::now())?,
    };
    message.facility = priority.map(|priority| FACILITIES[usize::from(priority / 8)]);
    message.severity = priority.map(|priority| SEVERITIES[usize::from(priority % 8)]);
    Ok(Entry { value: raw(&message)?, id: None, time })
}

/// The priority, if there is one, and the text behind it.
fn priority(line: &str) -> (Option<u8>, &str) {
    let parse = || {
        let (digits, text) = line.strip_prefix('<')?.split_once('>')?;
        let is_number = (1..=3).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit());
        let priority = digits.parse().ok().filter(|&priority| is_number && priority < 192)?;
        Some((Some(priority), text))
    };
    parse().unwrap_or((None, line))
}

/// The version of a message of RFC 5424, and the text behind it.
fn version(text: &str) -> Option<(u16, &str)> {
    let (version, text) = text.split_once(' ')?;
    let is_version = version.len() <= 2 && version.starts_with(|digit: char| ('1'..='9').contains(&digit));
    version.parse().ok().filter(|_| is_version).map(|version| (version, text))
}

fn rfc5424(version: u16, text: &str) -> Result<(Message<'_>, Option<String>)> {
    let mut rest = text;
    let mut word = || {
        let (word, behind) =
            rest.split_once(' ').context("is not a message of RFC 5424: it ends in its header")?;
        rest = behind;
        Ok::<_, anyhow::Error>(Some(word).filter(|word| *word != "-"))
    };
    let (timestamp, hostname, appname) = (word()?, word()?, word()?);
    let (procid, msgid) = (word()?, word()?);
    let is_time = |time: &str| DateTime::parse_from_rfc3339(time).is_ok();
    ensure!(timestamp.is_none_or(is_time), "is not a message of RFC 5424: its time is not of RFC 3339");
    let (structured_data, message) =
        structured_data(rest).context("is not a message of RFC 5424: its structured data are not whole")?;
    let message = message.strip_prefix('\u{feff}').unwrap_or(message);
    let fields = Message {
        version: Some(version),
        timestamp,
        hostname,
        appname,
        procid,
        msgid,
        structured_data,
        message,
        ..Message::default()
    };
    Ok((fields, timestamp.map(str::to_owned)))
}

type Data<'a> = BTreeMap<&'a str, BTreeMap<&'a str, String>>;

/// The structured data at the beginning of a text, and the text behind them.
fn structured_data(mut text: &str) -> Option<(Data<'_>, &str)> {
    let mut data = Data::new();
    if let Some(rest) = text.strip_prefix('-') {
        text = rest;
    } else {
        while let Some(element) = text.strip_prefix('[') {
            let end = element.find([' ', ']'])?;
            let fields = data.entry(&element[..end]).or_default();
            text = &element[end..];
            while let Some(parameter) = text.strip_prefix(' ') {
                let (name, value) = parameter.split_once("=\"")?;
                let (value, rest) = unquote(value)?;
                fields.insert(name, value);
                text = rest;
            }
            text = text.strip_prefix(']')?;
        }
        (!data.is_empty()).then_some(())?;
    }
    if text.is_empty() { Some((data, text)) } else { Some((data, text.strip_prefix(' ')?)) }
}

/// A value up to its closing quote, and the text behind it. `"`, `\` and `]` are escaped in it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                escaped @ ('"' | '\\' | ']') => value.push(escaped),
                other => value.extend(['\\', other]),
            },
            _ => value.push(character),
        }
    }
    None
}

/// A message of RFC 3164, of which nothing but the priority can be relied on; in a file, that is a time.
fn rfc3164(text: &str, has_priority: bool, now: DateTime<Utc>) -> Result<(Message<'_>, Option<String>)> {
    let Some((timestamp, time, rest)) = timestamp(text, now) else {
        ensure!(has_priority, "is not a message of syslog: it has neither a priority nor a time");
        return Ok((Message { message: text, ..Message::default() }, None));
    };
    let mut fields = Message { timestamp: Some(timestamp), message: rest, ..Message::default() };
    if let Some((hostname, rest)) = rest.split_once(' ') {
        (fields.hostname, fields.message) = (Some(hostname), rest);
    }
    if let Some((tag, message)) = tag(fields.message) {
        let (appname, procid) = match tag.strip_suffix(']').and_then(|tag| tag.split_once('[')) {
            Some((appname, procid)) => (appname, Some(procid)),
            None => (tag, None),
        };
        (fields.appname, fields.procid, fields.message) = (Some(appname), procid, message);
    }
    Ok((fields, Some(time)))
}

/// The tag of a message, which ends with a colon, and the text behind it.
fn tag(text: &str) -> Option<(&str, &str)> {
    let (tag, message) = text.split_once(':')?;
    let is_tag = !tag.is_empty() && !tag.contains(char::is_whitespace);
    (is_tag && (message.is_empty() || message.starts_with(' ')))
        .then(|| (tag, message.strip_prefix(' ').unwrap_or(message)))
}

/// The time at the beginning of a text, the same in RFC 3339, and the text behind it. A time without a zone is one of
/// UTC; one without a year is of the latest year that does not put it into the future.
fn timestamp(text: &str, now: DateTime<Utc>) -> Option<(&str, String, &str)> {
    if text.starts_with(|digit: char| digit.is_ascii_digit()) {
        let (stamp, rest) = text.split_once(' ')?;
        DateTime::parse_from_rfc3339(stamp).ok()?;
        return Some((stamp, stamp.into(), rest));
    }
    let stamp = text.get(..STAMP)?;
    let rest = text[STAMP..].strip_prefix(' ')?;
    let of = |year: i32| NaiveDateTime::parse_from_str(&format!("{year} {stamp}"), "%Y %b %e %H:%M:%S").ok();
    // Clocks differ, and so do zones. A 29th of February is of a leap year.
    let latest = now.naive_utc().checked_add_days(Days::new(1))?;
    let time = (0..8).filter_map(|ago| of(latest.year() - ago)).find(|time| *time <= latest)?;
    Some((stamp, time.and_utc().to_rfc3339_opts(SecondsFormat::Secs, true), rest))
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;
    use serde_json::{Value, json};

    use super::*;

    fn event(line: &str) -> (Value, Option<String>) {
        let entry = read(line.as_bytes()).unwrap();
        (serde_json::from_str(entry.value.get()).unwrap(), entry.time)
    }

    #[test]
    fn a_message_of_rfc_5424_has_all_its_fields() {
        let line = "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut=\"3\" \
                    eventSource=\"App\\\"l\\]\\n\"][priority@32473] \u{feff}An event: it";
        let (fields, time) = event(line);
        let expected = json!({
            "facility": "local4", "severity": "notice", "version": 1, "timestamp": "2003-10-11T22:14:15.003Z",
            "hostname": "mymachine.example.com", "appname": "evntslog", "msgid": "ID47",
            "structured_data": {"exampleSDID@32473": {"iut": "3", "eventSource": "App\"l]\\n"}, "priority@32473": {}},
            "message": "An event: it",
        });
        assert_eq!((fields, time.as_deref()), (expected, Some("2003-10-11T22:14:15.003Z")));
        assert_eq!(
            event("<0>1 - - - - - -").0,
            json!({"facility": "kern", "severity": "emerg", "version": 1, "message": ""})
        );
        for line in [
            "<0>1 - - - -",
            "<0>1 now - - - - -",
            "<0>1 - - - - - [a",
            "<0>1 - - - - - [a b=\"c]",
            "<0>1 - - - - - x",
        ] {
            assert!(
                read(line.as_bytes()).err().unwrap().to_string().starts_with("is not a message of RFC 5424"),
                "{line}"
            );
        }
    }

    #[test]
    fn a_message_of_rfc_3164_is_read_as_far_as_it_goes() {
        let (fields, _) = event("<34>Oct 11 22:14:15 mymachine su[7]: 'su root' failed: no");
        let expected = json!({
            "facility": "auth", "severity": "crit", "timestamp": "Oct 11 22:14:15", "hostname": "mymachine",
            "appname": "su", "procid": "7", "message": "'su root' failed: no",
        });
        assert_eq!(fields, expected);
        assert_eq!(
            event("<13>text: only").0,
            json!({"facility": "user", "severity": "notice", "message": "text: only"})
        );
        let file = event("2026-11-29T19:21:07.5+01:00 host app: text");
        assert_eq!(
            (&file.0["appname"], file.1.as_deref()),
            (&json!("app"), Some("2026-11-29T19:21:07.5+01:00"))
        );
        let line = "Jun 14 15:16:01 combo sshd(pam_unix)[19939]: authentication failure; logname= uid=0";
        assert_eq!(
            (&event(line).0["appname"], &event(line).0["procid"]),
            (&json!("sshd(pam_unix)"), &json!("19939"))
        );
        for line in ["text", "<999>text", "<1x>text", "", "漢漢漢漢漢", "<>"] {
            assert!(
                read(line.as_bytes()).err().unwrap().to_string().starts_with("is not a message of syslog"),
                "{line}"
            );
        }
    }

    #[test]
    fn a_time_without_a_year_is_the_latest_that_has_come() {
        let now = Utc.with_ymd_and_hms(2027, 1, 1, 0, 30, 0).unwrap();
        for (stamp, time) in [
            ("Dec 31 23:59:59", "2026-12-31T23:59:59Z"),
            ("Jan  1 12:00:00", "2027-01-01T12:00:00Z"),
            ("Jan  3 00:00:00", "2026-01-03T00:00:00Z"),
            ("Feb 29 00:00:00", "2024-02-29T00:00:00Z"),
        ] {
            assert_eq!(timestamp(&format!("{stamp} host"), now).unwrap().1, time);
        }
        assert!(timestamp("Feb 30 00:00:00 host", now).is_none());
    }
}
