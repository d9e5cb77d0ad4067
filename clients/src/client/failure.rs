//! The reasons why a request failed, and what they mean for a retry.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use reqwest::StatusCode;
use sekali_common::api::Problem;

/// The reason why a request failed, or why its outcome is unknown.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The connection failed, so the request was not sent.
    Unreachable {
        /// Host and port.
        address: String,
        /// The innermost error.
        cause: String,
    },
    /// The request was sent and its answer did not arrive: it may have been carried out.
    AnswerLost(String),
    /// The service, or a proxy in front of it, refused the request.
    Refused(Refusal),
    /// The answer does not follow this API: the server is not Sekali.
    Foreign(String),
}

/// An answer without a success status.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// The error in its body; empty if the body holds none.
    pub problem: Problem,
    /// The time until it allows a retry.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// True if the same request may succeed later: after connection errors, 408, 429 and 5xx, never after another 4xx.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::AnswerLost(_) => true,
            Self::Refused(refusal) => {
                let is_for_now = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
                is_for_now.contains(&refusal.status) || refusal.status.is_server_error()
            }
            Self::Foreign(_) => false,
        }
    }

    /// True if the request may have been carried out despite the failure. The service's own 503 says that it was not;
    /// a proxy's 503 says nothing about it.
    pub fn may_be_done(&self) -> bool {
        match self {
            Self::Unreachable { .. } => false,
            Self::AnswerLost(_) | Self::Foreign(_) => true,
            Self::Refused(refusal) => {
                let is_definite = refusal.status == StatusCode::SERVICE_UNAVAILABLE
                    && refusal.problem.r#type.starts_with("/problems/");
                refusal.status.is_server_error() && !is_definite
            }
        }
    }

    /// True if the service itself refused the request for this kind of problem, such as `claim-lost`.
    pub fn is_of(&self, problem: &str) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.problem.r#type.strip_prefix("/problems/") == Some(problem))
    }

    /// The time until the service allows a retry.
    pub fn retry_after(&self) -> Option<Duration> {
        if let Self::Refused(refusal) = self { refusal.retry_after } else { None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { address, cause } => {
                write!(out, "the service cannot be reached at {address}: {cause}")
            }
            Self::AnswerLost(cause) => write!(out, "the answer was lost: {cause}"),
            Self::Refused(refusal) => refusal.fmt(out),
            Self::Foreign(cause) => {
                write!(out, "the answer is not Sekali's: {cause}; check the address of the service")
            }
        }
    }
}

impl Error for Failure {}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the service answered {}", self.status)?;
        if !self.problem.detail.is_empty() {
            write!(out, ": {}", self.problem.detail)?;
        }
        if self.status == StatusCode::NOT_FOUND {
            write!(out, " (is this the base address of the service?)")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, r#type: &str) -> Failure {
        let problem = Problem { r#type: r#type.into(), ..Problem::default() };
        Failure::Refused(Refusal {
            status: StatusCode::from_u16(status).unwrap(),
            problem,
            retry_after: None,
        })
    }

    #[test]
    fn only_transient_failures_are_retried() {
        for status in [408, 429, 500, 502, 503, 504] {
            assert!(refused(status, "").is_transient(), "{status}");
        }
        for status in [301, 400, 401, 403, 404, 409, 413, 415, 422] {
            assert!(!refused(status, "").is_transient(), "{status}");
        }
    }

    #[test]
    fn only_the_service_can_say_that_nothing_was_stored() {
        assert!(!refused(503, "/problems/busy").may_be_done());
        assert!(refused(503, "").may_be_done());
        assert!(refused(500, "/problems/internal").may_be_done());
        assert!(!refused(429, "").may_be_done());
        assert!(!refused(422, "/problems/invalid-event").may_be_done());
    }

    #[test]
    fn a_refusal_is_known_by_its_problem() {
        assert!(refused(409, "/problems/claim-lost").is_of("claim-lost"));
        assert!(!refused(409, "claim-lost").is_of("claim-lost"));
        assert!(!refused(409, "/problems/claimed").is_of("claim-lost"));
    }
}
