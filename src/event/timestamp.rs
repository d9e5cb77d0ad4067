//! The timestamp of an event: what is read as one, and the text in which it is stored.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveDateTime, Timelike, Utc};

use super::name::InvalidField;

/// A moment in UTC to the nanosecond, in the years 0000 to 9999.
///
/// It is kept as the text `YYYY-MM-DDTHH:MM:SS[.fraction]` without an offset, a `Z` or trailing zeros in the fraction:
/// in this form the order of texts is the order of moments.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(String);

impl Timestamp {
    /// The present moment, to the millisecond.
    pub fn now() -> Self {
        let now = Utc::now();
        let millis = now.timestamp_subsec_millis() * 1_000_000;
        Self::from_utc(now.naive_utc().with_nanosecond(millis).unwrap_or(now.naive_utc()))
    }

    /// Reads an RFC 3339 timestamp, or an ISO 8601 date and time in extended format: seconds may be missing, and the
    /// offset (then it is UTC); a space may stand for the `T`, a comma for the decimal point, and `+hhmm` or `+hh` for
    /// `+hh:mm`. Digits beyond the nanosecond are cut off.
    ///
    /// # Errors
    /// When the text is none of these, or no such moment exists in the years 0000 to 9999.
    pub fn parse(text: &str) -> Result<Self, InvalidField> {
        let utc = match DateTime::parse_from_rfc3339(text) {
            Ok(moment) => moment.naive_utc(),
            Err(_) => parse_iso8601(text).ok_or_else(|| {
                InvalidField(
                    "must be an RFC 3339 / ISO 8601 date and time such as 2026-11-21T01:00:00Z".into(),
                )
            })?,
        };
        if !(0..=9999).contains(&utc.year()) {
            return Err(InvalidField("must lie in the years 0000 to 9999 in UTC".into()));
        }
        Ok(Self::from_utc(utc))
    }

    /// The moment so many seconds and nanoseconds after the beginning of 1970; `None` outside the years 0000 to 9999.
    pub fn of_unix(seconds: i64, nanos: u32) -> Option<Self> {
        let utc = DateTime::from_timestamp(seconds, nanos)?.naive_utc();
        (0..=9999).contains(&utc.year()).then(|| Self::from_utc(utc))
    }

    /// The text that is stored and compared, without a `Z`.
    pub fn as_stored(&self) -> &str {
        &self.0
    }

    /// Microseconds since 1970, and what the moment has beyond them: nanoseconds up to 999, or 1000 and the nanoseconds
    /// of a leap second, in the last microsecond before it. The order of these pairs is the order of moments.
    pub fn as_micros(&self) -> (i64, i64) {
        let utc = self.to_utc();
        let (seconds, nanos) = (utc.and_utc().timestamp(), i64::from(utc.nanosecond()));
        match nanos.checked_sub(1_000_000_000) {
            Some(of_leap_second) if of_leap_second >= 0 => {
                (seconds * 1_000_000 + 999_999, 1000 + of_leap_second)
            }
            _ => (seconds * 1_000_000 + nanos / 1000, nanos % 1000),
        }
    }

    /// Whole seconds from this moment to `later`; 0 if `later` is not later.
    pub fn whole_seconds_until(&self, later: &Timestamp) -> u64 {
        let seconds = (later.to_utc() - self.to_utc()).num_seconds();
        u64::try_from(seconds).unwrap_or(0)
    }

    /// The moment so much later.
    pub fn after(&self, duration: Duration) -> Self {
        Self::from_utc(self.to_utc() + duration)
    }

    fn to_utc(&self) -> NaiveDateTime {
        self.0.parse().unwrap_or_default()
    }

    fn from_utc(utc: NaiveDateTime) -> Self {
        // By hand: chrono's format strings cost more than the rest of the parsing of an event.
        let mut text = String::with_capacity(29);
        push_digits(&mut text, utc.year().unsigned_abs(), 4);
        for (separator, value) in
            [('-', utc.month()), ('-', utc.day()), ('T', utc.hour()), (':', utc.minute())]
        {
            text.push(separator);
            push_digits(&mut text, value, 2);
        }
        // chrono represents a leap second by a billion nanoseconds or more.
        let leap = utc.nanosecond() / 1_000_000_000;
        let nanos = utc.nanosecond() % 1_000_000_000;
        text.push(':');
        push_digits(&mut text, utc.second() + leap, 2);
        if nanos > 0 {
            text.push('.');
            push_digits(&mut text, nanos, 9);
            text.truncate(text.trim_end_matches('0').len());
        }
        Self(text)
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, with `Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}Z", self.0)
    }
}

fn push_digits(text: &mut String, value: u32, width: u32) {
    for place in (0..width).rev() {
        let digit = value / 10u32.pow(place) % 10;
        text.push(char::from(b'0' + digit as u8));
    }
}

fn parse_iso8601(text: &str) -> Option<NaiveDateTime> {
    const WITH_OFFSET: [&str; 2] = ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z"];
    const WITHOUT_OFFSET: [&str; 2] = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"];
    // chrono would take signs, spaces and single digits that the standards do not know.
    let looks_right = text.is_ascii()
        && text.len() >= "2026-11-21T01:00".len()
        && text.bytes().enumerate().take(16).all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            10 => matches!(byte, b'T' | b't' | b' '),
            13 => byte == b':',
            _ => byte.is_ascii_digit(),
        })
        && !text[11..].contains(char::is_whitespace);
    if !looks_right {
        return None;
    }
    let normal = format!("{}T{}", &text[..10], text[11..].replace(',', ".").replace('z', "Z"));
    if let Some(zulu) = normal.strip_suffix('Z') {
        return parse_any(&WITHOUT_OFFSET, |format| NaiveDateTime::parse_from_str(zulu, format).ok());
    }
    parse_any(&WITHOUT_OFFSET, |format| NaiveDateTime::parse_from_str(&normal, format).ok()).or_else(|| {
        parse_any(&WITH_OFFSET, |format| {
            DateTime::parse_from_str(&normal, format).ok().map(|moment| moment.naive_utc())
        })
    })
}

fn parse_any<T>(formats: &[&str], parse: impl Fn(&str) -> Option<T>) -> Option<T> {
    formats.iter().find_map(|format| parse(format))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(text: &str) -> String {
        Timestamp::parse(text).map_or_else(|error| error.to_string(), |moment| moment.to_string())
    }

    #[test]
    fn a_timestamp_is_kept_in_utc_to_the_nanosecond() {
        for (given, expected) in [
            ("2026-11-21T01:00:00Z", "2026-11-21T01:00:00Z"),
            ("2026-11-21t01:00:00z", "2026-11-21T01:00:00Z"),
            ("2026-11-21 01:00:00Z", "2026-11-21T01:00:00Z"),
            ("2026-11-21T01:00:00+07:00", "2026-11-20T18:00:00Z"),
            ("2026-11-21T01:00:00+0700", "2026-11-20T18:00:00Z"),
            ("2026-11-21T01:00:00-03", "2026-11-21T04:00:00Z"),
            ("2026-11-21T01:00:00", "2026-11-21T01:00:00Z"),
            ("2026-11-21T01:00", "2026-11-21T01:00:00Z"),
            ("2026-11-21T01:00Z", "2026-11-21T01:00:00Z"),
            ("2026-11-21T01:00:00,25Z", "2026-11-21T01:00:00.25Z"),
            ("2026-11-21T01:00:00.120000Z", "2026-11-21T01:00:00.12Z"),
            ("2026-11-21T01:00:00.123456789999Z", "2026-11-21T01:00:00.123456789Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:60Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999999Z"),
        ] {
            assert_eq!(stored(given), expected, "given {given}");
        }
    }

    #[test]
    fn anything_but_a_date_and_time_is_refused() {
        for given in [
            "",
            "invalid-date",
            "2026-11-21",
            "01:00:00",
            "2026-02-30T00:00:00Z",
            "2026-11-21T25:00:00Z",
            "2026-11-21T01:00:00ZZ",
            "2026-11-21T01:00:00 Z",
            " 2026-11-21T01:00:00Z",
            "1763686800",
            "2026-11-21T01:00:00+99:00",
            "0000-01-01T00:00:00+01:00",
            "+2026-11-21T01:00:00Z",
            "２０２６-11-21T01:00:00Z",
            "2026-1-1T01:00:00Z",
        ] {
            assert!(Timestamp::parse(given).is_err(), "took {given:?}");
        }
    }

    #[test]
    fn stored_timestamps_sort_as_the_moments_do() {
        let in_order = [
            "2026-11-21T01:00:00Z",
            "2026-11-21T01:00:00.001Z",
            "2026-11-21T01:00:00.12Z",
            "2026-11-21T01:00:00.123Z",
            "2026-11-21T01:00:01Z",
        ];
        let parsed: Vec<_> = in_order.iter().map(|text| Timestamp::parse(text).unwrap()).collect();
        assert!(parsed.is_sorted());
    }

    #[test]
    fn microseconds_and_what_is_beyond_them_sort_as_the_moments_do() {
        let in_order = [
            ("0000-01-01T00:00:00Z", (-62_167_219_200_000_000, 0)),
            ("1969-12-31T23:59:59.9999995Z", (-1, 500)),
            ("1970-01-01T00:00:00Z", (0, 0)),
            ("2016-12-31T23:59:59.999999999Z", (1_483_228_799_999_999, 999)),
            ("2016-12-31T23:59:60Z", (1_483_228_799_999_999, 1000)),
            ("2016-12-31T23:59:60.5Z", (1_483_228_799_999_999, 500_001_000)),
            ("2017-01-01T00:00:00Z", (1_483_228_800_000_000, 0)),
        ];
        for (text, micros) in in_order {
            assert_eq!(Timestamp::parse(text).unwrap().as_micros(), micros, "{text}");
        }
        assert!(in_order.is_sorted_by_key(|(_, micros)| *micros));
    }
}
