//! Every error a client can see: its status, its type and its RFC 9457 body.

use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::ingest::{EventError, IngestError, Invalid};
use crate::reply::Reply;
use crate::store::StoreError;

/// What went wrong with a request. Nothing of it was stored unless a variant says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// 400: the body is not what its content type says.
    #[error("{0}")]
    MalformedBody(String),
    /// 400: the connection ended before the body did.
    #[error("the body ended before it was complete: {0}")]
    IncompleteBody(String),
    /// 400: a query parameter is unknown or has a bad value.
    #[error("parameter '{name}' {message}")]
    InvalidParameter {
        /// The parameter at fault.
        name: String,
        /// What is wrong with it, as a phrase that follows the name.
        message: String,
    },
    /// 400: a header has a bad value.
    #[error("header '{name}' {message}")]
    InvalidHeader {
        /// The header at fault.
        name: &'static str,
        /// What is wrong with it, as a phrase that follows the name.
        message: String,
    },
    /// 401: a token is needed, and none that is known was presented.
    #[error("{}", if *presented { "the token is not known here" } else { "this needs a token: authorization: Bearer <token>" })]
    Unauthorized {
        /// Whether there was a token at all.
        presented: bool,
    },
    /// 403: the token is known, but for something else.
    #[error("this token is not for this")]
    Forbidden,
    /// 404: no such resource.
    #[error("there is nothing at this path")]
    NotFound,
    /// 405: the resource exists, but not for this method.
    #[error("{method} is not allowed here, but {allow}")]
    MethodNotAllowed {
        /// The method that was asked for.
        method: String,
        /// The methods that are, as the value of `Allow`.
        allow: &'static str,
    },
    /// 406: no accepted form is known here.
    #[error("what is accepted is not known here; known are: {0}")]
    NotAcceptable(String),
    /// 408: the body takes too long.
    #[error("the body took too long to arrive")]
    SlowBody,
    /// 409: a request with the same key is running.
    #[error("a request with this idempotency-key is being carried out; try again when it has ended")]
    IdempotencyKeyInUse,
    /// 413: the request passes a limit.
    #[error("{what} exceeds the limit {limit} of {maximum}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The variable that sets the limit.
        limit: &'static str,
        /// Its value.
        maximum: usize,
    },
    /// 415: a content type or encoding that is not read here.
    #[error("{0}")]
    UnsupportedMediaType(String),
    /// 422: events break a rule; all that is wrong is listed.
    #[error("{} of the events in this request cannot be stored, so none was", .0.events)]
    InvalidEvents(Invalid),
    /// 422: the key was used for another body.
    #[error("this idempotency-key was used for another body within the last 24 hours")]
    IdempotencyKeyMismatch,
    /// 500: a fault of the service. The cause goes to the log.
    #[error("the request failed here, not because of what was sent; sending it again is safe")]
    Internal(String),
    /// 503: others kept the database busy for too long.
    #[error("the database is busy; try again in {RETRY_AFTER_SECONDS} s")]
    Busy,
    /// 503: there is no room to store anything.
    #[error("the disk is full; what is stored can still be read")]
    StorageFull(String),
    /// 503: the database cannot be read.
    #[error("the database cannot be read")]
    NotReady(String),
}

/// What `Retry-After` says.
const RETRY_AFTER_SECONDS: u32 = 1;

/// The body of a problem (RFC 9457, section 3), and ours of invalid events.
#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<&'a [EventError]>,
    /// How many errors there were, for `errors` is bounded.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_count: Option<usize>,
}

impl Problem {
    /// The status, the last part of the type and the title.
    fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::MalformedBody(_) => (StatusCode::BAD_REQUEST, "malformed-body", "The body is malformed"),
            Self::IncompleteBody(_) => (StatusCode::BAD_REQUEST, "incomplete-body", "The body is incomplete"),
            Self::InvalidParameter { .. } => {
                (StatusCode::BAD_REQUEST, "invalid-parameter", "A parameter is invalid")
            }
            Self::InvalidHeader { .. } => (StatusCode::BAD_REQUEST, "invalid-header", "A header is invalid"),
            Self::Unauthorized { .. } => (StatusCode::UNAUTHORIZED, "unauthorized", "Unauthorized"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "Forbidden"),
            Self::NotAcceptable(_) => (StatusCode::NOT_ACCEPTABLE, "not-acceptable", "Not acceptable"),
            Self::IdempotencyKeyInUse => {
                (StatusCode::CONFLICT, "idempotency-key-in-use", "The idempotency key is in use")
            }
            Self::IdempotencyKeyMismatch => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-mismatch",
                "The idempotency key belongs to another body",
            ),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "Not found"),
            Self::MethodNotAllowed { .. } => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed")
            }
            Self::SlowBody => (StatusCode::REQUEST_TIMEOUT, "slow-body", "The body is too slow"),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request is too large"),
            Self::UnsupportedMediaType(_) => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported media type")
            }
            Self::InvalidEvents(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid-event", "Invalid events"),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy", "The database is busy"),
            Self::StorageFull(_) => (StatusCode::SERVICE_UNAVAILABLE, "storage-full", "The disk is full"),
            Self::NotReady(_) => (StatusCode::SERVICE_UNAVAILABLE, "not-ready", "Not ready"),
        }
    }

    /// The answer to the client. What only an operator may know goes to the log instead, once.
    pub fn into_reply(self) -> Reply {
        if let Self::Internal(cause) | Self::StorageFull(cause) | Self::NotReady(cause) = &self {
            eprintln!("error: {cause}");
        }
        let (status, name, title) = self.kind();
        let invalid = if let Self::InvalidEvents(invalid) = &self { Some(invalid) } else { None };
        let body = Body {
            r#type: format!("/problems/{name}"),
            title,
            status: status.as_u16(),
            detail: self.to_string(),
            errors: invalid.map(|invalid| invalid.listed.as_slice()),
            error_count: invalid.map(|invalid| invalid.errors),
        };
        // Nothing in it can fail to become JSON.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut reply = Reply::new(status, "application/problem+json", body);
        if let Self::MethodNotAllowed { allow, .. } = &self {
            reply.headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if let Self::Unauthorized { presented } = &self {
            // RFC 6750, section 3: an error is named only to whoever presented a token.
            let challenge = match presented {
                true => "Bearer realm=\"sekali\", error=\"invalid_token\"",
                false => "Bearer realm=\"sekali\"",
            };
            reply.headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Self::Forbidden = &self {
            let challenge = "Bearer realm=\"sekali\", error=\"insufficient_scope\"";
            reply.headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE || matches!(self, Self::IdempotencyKeyInUse) {
            reply.headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into());
        }
        reply
    }
}

impl From<IngestError> for Problem {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::Malformed(message) => Self::MalformedBody(message),
            IngestError::Invalid(invalid) => Self::InvalidEvents(invalid),
            IngestError::TooManyEvents { limit } => Self::TooLarge {
                what: "the number of events".into(),
                limit: "max_batch_events",
                maximum: limit,
            },
            IngestError::EventTooLarge { index, bytes, limit } => Self::TooLarge {
                what: format!("event {index} with {bytes} bytes"),
                limit: "max_event_bytes",
                maximum: limit,
            },
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy => Self::Busy,
            StoreError::Full(cause) => Self::StorageFull(cause),
            StoreError::Failed(_) | StoreError::Uncertain(_) => Self::Internal(error.to_string()),
        }
    }
}
