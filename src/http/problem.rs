//! Every error that a client can see, and the mapping of every other error to one of them. The file is long because there
//! is no second place for any of that.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use sekali_common::problems::{self as kinds, INTERNAL_DETAIL, Kind, MEDIA_TYPE, NOT_FOUND_DETAIL};
use serde::Serialize;

use super::reply::Reply;
use crate::consumers::{self, MOST_CONSUMERS, Refusal as ConsumerRefusal};
use crate::ingest::{EventError, IngestError, Invalid, Unsupported};
use crate::reader::ReadError;
use crate::receivers::signature::Refusal;
use crate::store::{Seq, StoreError};

/// The seconds in `Retry-After`.
const RETRY_AFTER_SECONDS: u32 = 1;

/// The header by which a host learns why a delivery was refused, for its metrics.
const REFUSED: HeaderName = HeaderName::from_static("sekali-refused");

/// An error of a request. Nothing of the request was stored unless a variant says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// 400: the head of the request is not one that this service can take. Hosts let few of these through.
    #[error("the request is malformed: {0}")]
    MalformedRequest(String),
    /// 400: the body does not have the format that its content type names.
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
        /// The fault, as a phrase that follows the name.
        message: String,
    },
    /// 400: a header has a bad value.
    #[error("header '{name}' {message}")]
    InvalidHeader {
        /// The header at fault.
        name: &'static str,
        /// The fault, as a phrase that follows the name.
        message: String,
    },
    /// 401: a token is required, and the request has none or an unknown one.
    #[error("{}", if *presented { "the token is unknown" } else { "a token is required: send authorization: Bearer <token>" })]
    Unauthorized {
        /// True if the request has a token.
        presented: bool,
    },
    /// 401: a delivery to a receiver is not its provider's.
    #[error("{refusal}{}", place.as_ref().map(|place| format!(": {place}")).unwrap_or_default())]
    InvalidSignature {
        /// The path of the receiver.
        receiver: &'static str,
        /// The reason.
        refusal: Refusal,
        /// Where the receiver looked for what is missing.
        place: Option<String>,
    },
    /// 403: the token is known, but has another purpose.
    #[error(
        "the token is valid, but for something else: those to publish, to read and to erase are different ones"
    )]
    Forbidden,
    /// 403: the token has a name, and is for other topics.
    #[error("{}", of_topic(token, topic.as_deref()))]
    ForbiddenTopic {
        /// The name of the token.
        token: String,
        /// The first topic that it is not for; `None` if a reader asks for all topics.
        topic: Option<String>,
    },
    /// 403: the token has a name, and is for other consumers.
    #[error("token {token} is not for consumer {consumer}: the variable tokens has its consumers")]
    ForbiddenConsumer {
        /// The name of the token.
        token: String,
        /// That of the consumer.
        consumer: String,
    },
    /// 403: the request comes from a page of an origin that is neither the service's own nor listed.
    #[error("pages of this origin may not call the service{}; cors_origins lists the origins that may", of_proxy(addressed.as_deref()))]
    ForeignOrigin {
        /// The host that the request names, if a proxy has most likely changed it.
        addressed: Option<String>,
    },
    /// 403: the service has no administration token, so nobody may remove events.
    #[error("nobody may remove events: the variable admin_token is empty")]
    AdministrationDisabled,
    /// 404: no such resource.
    #[error("{NOT_FOUND_DETAIL}")]
    NotFound,
    /// 404: the path is one of an event, and no such event is stored.
    #[error("no event with this topic and event_id is stored; in a path both are percent-encoded")]
    NoSuchEvent,
    /// 404: the path is one of a receiver, and there is none of this name.
    #[error("there is no receiver of this name: the variable hooks has them all")]
    UnknownHook,
    /// 404: the path is one of a consumer, and there is none of this name.
    #[error("there is no consumer of this name: PUT /consumers/{{name}} makes one")]
    UnknownConsumer,
    /// 405: the resource exists, but not for this method.
    #[error("the method {method} is not allowed; allowed are {allow}")]
    MethodNotAllowed {
        /// The method of the request.
        method: String,
        /// The allowed methods, as the value of `Allow`.
        allow: &'static str,
    },
    /// 406: `Accept` leaves no representation of the resource.
    #[error("no accepted media type is available; available are {0}")]
    NotAcceptable(String),
    /// 408: the body arrives too slowly.
    #[error("the body did not arrive within 30 s")]
    SlowBody,
    /// 409: a reader asks for events behind a seq that was never given.
    #[error(
        "this store has given no seq beyond {last_seq}, so the cursor comes from another one: begin anew with after=0, or ask the store that store_id in /stats names"
    )]
    CursorAhead {
        /// The newest seq.
        last_seq: Seq,
    },
    /// 409: a request with the same key is running.
    #[error("a request with this idempotency-key is running; try again when it has ended")]
    IdempotencyKeyInUse,
    /// 409: others have all claims of a consumer.
    #[error("all claims are out: {} has one until {}", holders[0].holder, holders[0].expires_at)]
    Claimed {
        /// Who has them, and until when.
        holders: Vec<Holder>,
        /// Seconds until the first of them runs out.
        seconds: u32,
    },
    /// 409: a claim has run out, was ended, or never was.
    #[error("the claim is not live: what of it was not committed is given out again, so nothing was changed")]
    ClaimLost {
        /// Where the consumer stands.
        position: Seq,
    },
    /// 409: no more consumers fit.
    #[error("there are {MOST_CONSUMERS} consumers already: DELETE those that are not needed any more")]
    TooManyConsumers,
    /// 410: the event has expired or was erased. Its identity is still known.
    #[error("the event is gone: it has expired, or was erased")]
    Gone,
    /// 413: the request exceeds a limit.
    #[error("{what} exceeds the limit {limit} of {maximum}")]
    TooLarge {
        /// The part of the request that is too large.
        what: String,
        /// The variable that sets the limit.
        limit: &'static str,
        /// Its value.
        maximum: usize,
    },
    /// 415: an unknown content type or encoding.
    #[error(transparent)]
    UnsupportedMediaType(#[from] Unsupported),
    /// 421: a browser addresses the service by a name that is not known to be its own.
    #[error(
        "the service is not known as {name}: if that is a name of it, add it to the variable hosts \
        (hosts={name}), or send a token"
    )]
    UnknownHost {
        /// The name, without a port.
        name: String,
    },
    /// 422: events break a rule. The errors are listed.
    #[error("{} of the events in this request cannot be stored, so none was", .0.events)]
    InvalidEvents(Invalid),
    /// 422: a field of a body breaks a rule.
    #[error("{0}")]
    InvalidField(String),
    /// 422: the key was used for another request.
    #[error(
        "this idempotency-key was used for another request within the last 24 hours: use another key for each request"
    )]
    IdempotencyKeyMismatch,
    /// 500: a fault of the service. The cause goes to the log.
    #[error("{INTERNAL_DETAIL}")]
    Internal(String),
    /// 503: other connections kept the database busy for too long.
    #[error("the database is busy; try again in {RETRY_AFTER_SECONDS} s")]
    Busy,
    /// 503: this instance has no room for more of something.
    #[error("the service has no room for more {0} at the moment; try again in {RETRY_AFTER_SECONDS} s")]
    Overloaded(&'static str),
    /// 503: the disk is full. The cause goes to the log.
    #[error("the disk is full; stored events can still be read")]
    StorageFull(String),
    /// 503: the database cannot be read. The cause goes to the log.
    #[error("the database cannot be read")]
    NotReady(String),
    /// 503: the database can be read and not be written. The cause goes to the log.
    #[error(
        "the database cannot be written: its files and their directory have to belong to the user of the service"
    )]
    NotWritable(String),
    /// 503: settings are invalid. They are named, without their values.
    #[error("the settings are invalid, so nothing is served: {0}")]
    InvalidSettings(String),
}

/// The extension members of [`Problem::InvalidEvents`].
#[derive(Serialize)]
struct Errors<'a> {
    /// The first hundred.
    errors: &'a [EventError],
    /// The number of all.
    error_count: usize,
}

/// The extension member of [`Problem::CursorAhead`].
#[derive(Serialize)]
struct Newest {
    last_seq: Seq,
}

/// Who has a claim.
#[derive(Debug, Serialize)]
pub struct Holder {
    /// The name that it gave.
    pub holder: String,
    /// When the claim runs out: RFC 3339.
    pub expires_at: String,
}

/// The extension member of [`Problem::Claimed`].
#[derive(Serialize)]
struct Holders<'a> {
    holders: &'a [Holder],
}

/// The extension member of [`Problem::ClaimLost`].
#[derive(Serialize)]
struct Place {
    position: Seq,
}

/// The topic that a token is not for, and the remedy.
fn of_topic(token: &str, topic: Option<&str>) -> String {
    match topic {
        Some(topic) => format!("token {token} is not for topic {topic}: the variable tokens has its topics"),
        None => format!("token {token} is for some topics: a request with it must name topics among them"),
    }
}

/// The remedy for a page of the service itself that a proxy makes foreign.
fn of_proxy(addressed: Option<&str>) -> String {
    let remedy = |host| {
        format!(
            ", which the request names {host}: if a proxy stands between, let it pass the Host header on \
            (in nginx: proxy_set_header Host $http_host)"
        )
    };
    addressed.map(remedy).unwrap_or_default()
}

impl Problem {
    /// Its row in the table of problems.
    pub fn kind(&self) -> Kind {
        match self {
            Self::MalformedRequest(_) => kinds::MALFORMED_REQUEST,
            Self::MalformedBody(_) => kinds::MALFORMED_BODY,
            Self::IncompleteBody(_) => kinds::INCOMPLETE_BODY,
            Self::InvalidParameter { .. } => kinds::INVALID_PARAMETER,
            Self::InvalidHeader { .. } => kinds::INVALID_HEADER,
            Self::Unauthorized { .. } => kinds::UNAUTHORIZED,
            Self::InvalidSignature { .. } => kinds::INVALID_SIGNATURE,
            Self::Forbidden | Self::ForbiddenConsumer { .. } => kinds::FORBIDDEN,
            Self::ForbiddenTopic { .. } => kinds::FORBIDDEN_TOPIC,
            Self::ForeignOrigin { .. } => kinds::FOREIGN_ORIGIN,
            Self::AdministrationDisabled => kinds::ADMINISTRATION_DISABLED,
            Self::NotFound | Self::NoSuchEvent => kinds::NOT_FOUND,
            Self::UnknownHook => kinds::UNKNOWN_HOOK,
            Self::UnknownConsumer => kinds::UNKNOWN_CONSUMER,
            Self::MethodNotAllowed { .. } => kinds::METHOD_NOT_ALLOWED,
            Self::NotAcceptable(_) => kinds::NOT_ACCEPTABLE,
            Self::SlowBody => kinds::SLOW_BODY,
            Self::CursorAhead { .. } => kinds::CURSOR_AHEAD,
            Self::IdempotencyKeyInUse => kinds::IDEMPOTENCY_KEY_IN_USE,
            Self::Claimed { .. } => kinds::CLAIMED,
            Self::ClaimLost { .. } => kinds::CLAIM_LOST,
            Self::TooManyConsumers => kinds::TOO_MANY_CONSUMERS,
            Self::Gone => kinds::GONE,
            Self::TooLarge { .. } => kinds::TOO_LARGE,
            Self::UnsupportedMediaType(_) => kinds::UNSUPPORTED_MEDIA_TYPE,
            Self::UnknownHost { .. } => kinds::UNKNOWN_HOST,
            Self::InvalidEvents(_) => kinds::INVALID_EVENT,
            Self::InvalidField(_) => kinds::INVALID_FIELD,
            Self::IdempotencyKeyMismatch => kinds::IDEMPOTENCY_KEY_MISMATCH,
            Self::Internal(_) => kinds::INTERNAL,
            Self::Busy => kinds::BUSY,
            Self::Overloaded(_) => kinds::OVERLOADED,
            Self::StorageFull(_) => kinds::STORAGE_FULL,
            Self::NotReady(_) | Self::NotWritable(_) | Self::InvalidSettings(_) => kinds::NOT_READY,
        }
    }

    /// Logs it if it is the service's fault or a sign of overload. `route` is the pattern of the request's path.
    pub fn log(&self, route: &'static str) {
        let kind = self.kind();
        match self {
            Self::Internal(cause)
            | Self::StorageFull(cause)
            | Self::NotReady(cause)
            | Self::NotWritable(cause)
            | Self::InvalidSettings(cause) => {
                sekali_common::log::request_error(kind.name, route, cause);
            }
            Self::Busy | Self::Overloaded(_) | Self::SlowBody => {
                sekali_common::log::request_error(kind.name, route, self);
            }
            Self::InvalidSignature { receiver, refusal, .. } => {
                sekali_common::log::request_warning(refusal.name(), receiver, self);
            }
            Self::ForbiddenTopic { .. } => sekali_common::log::request_warning(kind.name, route, self),
            _ => {}
        }
    }

    /// The answer to the client, which never has the cause of a fault.
    pub fn into_reply(self) -> Reply {
        let kind = self.kind();
        let detail = self.to_string();
        let document = match &self {
            Self::InvalidEvents(Invalid { listed, errors, .. }) => {
                kind.document_with(&detail, &Errors { errors: listed, error_count: *errors })
            }
            Self::Claimed { holders, .. } => kind.document_with(&detail, &Holders { holders }),
            Self::ClaimLost { position } => kind.document_with(&detail, &Place { position: *position }),
            Self::CursorAhead { last_seq } => kind.document_with(&detail, &Newest { last_seq: *last_seq }),
            _ => kind.document(&detail),
        };
        let status = StatusCode::from_u16(kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut reply = Reply::new(status, MEDIA_TYPE, document);
        self.add_headers(status, &mut reply.headers);
        reply
    }

    /// The headers by which the client may repair its request or time the next one.
    fn add_headers(&self, status: StatusCode, headers: &mut HeaderMap) {
        let mut add = |name: HeaderName, value| headers.insert(name, HeaderValue::from_static(value));
        match self {
            Self::MethodNotAllowed { allow, .. } => _ = add(header::ALLOW, allow),
            // RFC 6750, section 3: an error is named only if the request has a token.
            Self::Unauthorized { presented: false } => {
                add(header::WWW_AUTHENTICATE, "Bearer realm=\"sekali\"");
            }
            Self::Unauthorized { presented: true } => {
                add(header::WWW_AUTHENTICATE, "Bearer realm=\"sekali\", error=\"invalid_token\"");
            }
            Self::InvalidSignature { refusal, .. } => {
                add(header::WWW_AUTHENTICATE, "Signature realm=\"sekali\"");
                add(REFUSED, refusal.name());
            }
            Self::UnsupportedMediaType(Unsupported::Encoding(_)) => _ = add(header::ACCEPT_ENCODING, "gzip"),
            Self::Forbidden | Self::ForbiddenTopic { .. } | Self::ForbiddenConsumer { .. } => {
                add(header::WWW_AUTHENTICATE, "Bearer realm=\"sekali\", error=\"insufficient_scope\"");
            }
            _ => {}
        }
        if let Self::Claimed { seconds, .. } = self {
            headers.insert(header::RETRY_AFTER, (*seconds).into());
        }
        if status == StatusCode::SERVICE_UNAVAILABLE || matches!(self, Self::IdempotencyKeyInUse) {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into());
        }
    }
}

impl From<ConsumerRefusal> for Problem {
    fn from(refusal: ConsumerRefusal) -> Self {
        match refusal {
            ConsumerRefusal::Unknown => Self::UnknownConsumer,
            ConsumerRefusal::Claimed { holders, seconds } => {
                let holder =
                    |(holder, expires_at)| Holder { holder, expires_at: consumers::moment(expires_at) };
                Self::Claimed { holders: holders.into_iter().map(holder).collect(), seconds }
            }
            ConsumerRefusal::ClaimLost { position } => Self::ClaimLost { position },
            ConsumerRefusal::Invalid(rule) => Self::InvalidField(rule),
            ConsumerRefusal::Ahead { last_seq } => Self::CursorAhead { last_seq },
            ConsumerRefusal::TooMany => Self::TooManyConsumers,
            ConsumerRefusal::Store(error) => error.into(),
        }
    }
}

impl From<IngestError> for Problem {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::Malformed(message) => Self::MalformedBody(message),
            IngestError::Invalid(invalid) => Self::InvalidEvents(invalid),
            IngestError::TooLargeTogether { limit } => Self::TooLarge {
                what: "the memory that the events of this request need".into(),
                limit: "for one request",
                maximum: limit,
            },
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

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::CursorAhead { last_seq } => Self::CursorAhead { last_seq },
            ReadError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy => Self::Busy,
            StoreError::Overloaded => Self::Overloaded("reads"),
            StoreError::Full(cause) => Self::StorageFull(cause),
            StoreError::Ended(_)
            | StoreError::Failed(_)
            | StoreError::Misconfigured(_)
            | StoreError::Repeated(_)
            | StoreError::Uncertain(_) => Self::Internal(error.to_string()),
        }
    }
}
