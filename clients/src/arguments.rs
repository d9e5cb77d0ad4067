//! Values of command-line arguments that both programs take.

use std::time::Duration;

/// The longest span: adding it to the present cannot overflow.
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A span of time up to a year, such as `90s` or `10m`, that is not zero.
pub fn span(text: &str) -> Result<Duration, String> {
    let span = span_or_none(text)?;
    if span.is_zero() { Err("this must be more than nothing".into()) } else { Ok(span) }
}

/// A span of time up to a year, which may be zero.
pub fn span_or_none(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(span) if span <= YEAR => Ok(span),
        Ok(_) => Err("this must be at most a year".into()),
        Err(error) => Err(format!("{error}; a time is a number and a unit, such as 500ms, 90s or 10m")),
    }
}

/// A share below 1, so that something is left of the whole.
pub fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=0.99).contains(&share) => Ok(share),
        _ => Err("this share is a number from 0 to 0.99, such as 0.3".into()),
    }
}

/// A number of items per second.
pub fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.01..=1e7).contains(&rate) => Ok(rate),
        _ => Err("a rate is a number from 0.01 to 10,000,000 a second".into()),
    }
}
