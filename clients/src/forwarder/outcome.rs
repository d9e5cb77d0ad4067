//! The outcome of an attempt to deliver, and the meaning of an HTTP status.

use std::time::Duration;

/// The longest time that an endpoint may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

/// The most of a bad answer, or of what a command says, that is kept as the reason of a failure.
pub const REASON_BYTES: usize = 2 << 10;

/// The outcome of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is delivered.
    Delivered,
    /// The event failed, for this reason. The endpoint is there.
    Failed(String),
    /// The event cannot be sent, for this reason. Nothing is known of the endpoint.
    Unsendable(String),
    /// The endpoint is away, or seems to be.
    Away(Away),
    /// The endpoint wants nothing of this sort: the reason, and the remedy.
    Misaddressed(String),
}

/// A sign that the endpoint is away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Away {
    /// The sign.
    pub reason: String,
    /// The time that it asks for.
    pub retry_after: Option<Duration>,
    /// True if the event may be the cause: it was sent, and nobody says that it is not.
    pub may_be_event: bool,
}

impl Away {
    /// The endpoint was not reached.
    pub fn unreached(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), retry_after: None, may_be_event: false }
    }

    /// The event was sent, and its answer did not come.
    pub fn lost(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), retry_after: None, may_be_event: true }
    }
}

/// The end of what was said, in one line, as the reason of a failure.
pub fn reason(said: &[u8]) -> String {
    let said = &said[said.len().saturating_sub(REASON_BYTES)..];
    String::from_utf8_lossy(said).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The outcome by a status that is not a success. `said` begins with the status.
pub fn of_status(status: u16, said: String, retry_after: Option<Duration>) -> Outcome {
    let away = |may_be_event| {
        let retry_after = retry_after.map(|pause| pause.min(LONGEST_PAUSE));
        Outcome::Away(Away { reason: said.clone(), retry_after, may_be_event })
    };
    match status {
        408 | 425 | 429 => away(false),
        500.. => away(true),
        300..=399 | 401 | 403 | 404 | 410 => {
            Outcome::Misaddressed(format!("the endpoint answered {said}: {}", remedy(status)))
        }
        _ => Outcome::Failed(said),
    }
}

fn remedy(status: u16) -> &'static str {
    match status {
        401 => "give the secret that it verifies by --secret or --resign, or what it asks for by --header",
        403 => "let it take what this machine sends, or give what it asks for by --header",
        404 => "check the path in --to, and that the handler runs",
        410 => "it wants no more events; name another by --to",
        _ => {
            "name by --to the address that it redirects to; no event is sent to an address that nobody chose"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// True if the event may be the cause of a status that is a sign of an outage.
    fn doubt(status: u16) -> Option<bool> {
        match of_status(status, status.to_string(), None) {
            Outcome::Away(away) => Some(away.may_be_event),
            _ => None,
        }
    }

    #[test]
    fn a_status_tells_the_endpoint_from_the_event() {
        for status in [408, 425, 429] {
            assert_eq!(doubt(status), Some(false), "{status}");
        }
        for status in [500, 502, 503, 504, 599] {
            assert_eq!(doubt(status), Some(true), "{status}");
        }
        for status in [301, 302, 307, 308, 401, 403, 404, 410] {
            assert!(matches!(of_status(status, String::new(), None), Outcome::Misaddressed(_)), "{status}");
        }
        for status in [400, 402, 405, 406, 409, 413, 415, 422, 451] {
            assert_eq!(of_status(status, "no".into(), None), Outcome::Failed("no".into()), "{status}");
        }
    }

    #[test]
    fn an_endpoint_may_ask_for_a_day_at_most() {
        let asked = Some(Duration::from_secs(1_000_000));
        let Outcome::Away(away) = of_status(503, String::new(), asked) else { panic!("it is away") };
        assert_eq!(away.retry_after, Some(LONGEST_PAUSE));
    }
}
