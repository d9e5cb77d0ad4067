//! Times since 1970, as JSON lines have them.

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, SecondsFormat};

/// The number of a string that is a time since 1970 in whole units, as `journalctl -o json` writes it. Other strings of
/// digits may be dates.
pub fn number_in_quotes(json: &str) -> Option<&str> {
    let number = json.strip_prefix('"')?.strip_suffix('"')?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let are_digits = [whole, fraction].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    let has_unit = matches!((whole.len(), fraction), (9 | 10, _) | (13 | 16 | 19, "0"));
    (are_digits && !fraction.is_empty() && has_unit).then_some(number)
}

/// A time since 1970 as RFC 3339. The unit follows from the size, unambiguously for all times from 1973 to 5138.
pub fn since_epoch(number: &str) -> Result<String> {
    let unreadable = || format!("has a time that is not a decimal number in range: {number}");
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    ensure!(fraction.bytes().all(|digit| digit.is_ascii_digit()), unreadable());
    let whole: i64 = whole.parse().ok().with_context(unreadable)?;
    let units_in_second: i64 = match whole.unsigned_abs() {
        0..100_000_000_000 => 1,
        100_000_000_000..100_000_000_000_000 => 1_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000_000,
        _ => 1_000_000_000,
    };
    // The fraction of smaller units, and digits beyond the nanosecond, are dropped.
    let digits = if units_in_second == 1 { fraction } else { "" };
    let fraction: i64 = format!("{digits:0<9.9}").parse().ok().with_context(unreadable)?;
    let fraction = if number.starts_with('-') { -fraction } else { fraction };
    let nanoseconds = i128::from(whole) * i128::from(1_000_000_000 / units_in_second) + i128::from(fraction);
    let seconds = i64::try_from(nanoseconds.div_euclid(1_000_000_000))?;
    let nanoseconds = u32::try_from(nanoseconds.rem_euclid(1_000_000_000))?;
    let time = DateTime::from_timestamp(seconds, nanoseconds).with_context(unreadable)?;
    Ok(time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_in_quotes_is_a_time_and_a_date_is_none() {
        for number in ["1763686800123456", "1763686800", "1763686800.25"] {
            assert_eq!(number_in_quotes(&format!("\"{number}\"")), Some(number));
        }
        for other in [
            "20261128",
            "20261128010203",
            "202611280102",
            "2026-11-28T01:00:00Z",
            "1763686800.",
            "17636868x0",
        ] {
            assert_eq!(number_in_quotes(&format!("\"{other}\"")), None);
        }
    }

    #[test]
    fn times_since_1970_come_in_four_units() {
        for (number, time) in [
            ("0", "1970-01-01T00:00:00Z"),
            ("-1.5", "1969-12-31T23:59:58.500Z"),
            ("-0.5", "1969-12-31T23:59:59.500Z"),
            ("1763686800", "2025-11-21T01:00:00Z"),
            ("1763686800.25", "2025-11-21T01:00:00.250Z"),
            ("1763686800.123456789012", "2025-11-21T01:00:00.123456789Z"),
            ("1763686800123", "2025-11-21T01:00:00.123Z"),
            ("1763686800123456", "2025-11-21T01:00:00.123456Z"),
            ("1763686800123456789", "2025-11-21T01:00:00.123456789Z"),
        ] {
            assert_eq!(since_epoch(number).unwrap(), time, "{number}");
        }
    }
}
