//! Values of command-line arguments that both programs take.

use std::net::IpAddr;
use std::time::Duration;

/// The longest span: adding it to the present cannot overflow.
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The address of a service. `localhost` and IP addresses need no `http://`; other names do, so that nobody sends a token
/// in the clear by leaving out `https://`.
pub fn address(text: &str) -> Result<String, String> {
    let host = text.split('/').next().unwrap_or_default();
    let name = host
        .rsplit_once(':')
        .map_or(host, |(name, port)| if port.parse::<u16>().is_ok() { name } else { host });
    let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    if text.contains("://") {
        Ok(text.into())
    } else if name == "localhost" || is_address {
        Ok(format!("http://{text}"))
    } else {
        Err(format!(
            "{text:?} is not an http or https address, such as http://127.0.0.1:3000 or https://{text}"
        ))
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_this_machine_needs_no_scheme() {
        for (text, url) in [
            ("127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("localhost:3000", "http://localhost:3000"),
            ("localhost", "http://localhost"),
            ("192.168.1.5:80/inbox", "http://192.168.1.5:80/inbox"),
            ("[::1]:3000", "http://[::1]:3000"),
            ("https://inbox.example.org", "https://inbox.example.org"),
        ] {
            assert_eq!(address(text).as_deref(), Ok(url));
        }
        for other in ["inbox.example.org", "inbox.example.org:3000", "3000", ""] {
            assert!(address(other).unwrap_err().contains("http or https"), "{other}");
        }
    }
}
