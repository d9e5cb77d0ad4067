//! The problems that a client of Sekali can meet: name, status and title of each, in one table.
//!
//! Three programs answer with them: the service, the pages that explain them, and the host where no component
//! answered. A problem is sent as the document of RFC 9457, section 3.

use serde::Serialize;

/// The media type of a problem document.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// The detail of [`INTERNAL`]: the cause goes to the log, and never to the client.
pub const INTERNAL_DETAIL: &str = "the request failed because of a fault in the service, not because of its content; sending it again is safe";

/// The detail of [`NOT_FOUND`].
pub const NOT_FOUND_DETAIL: &str =
    "there is nothing at this path: / is the console, /docs the reference of all paths";

/// A kind of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The last part of its type: `/problems/<name>`.
    pub name: &'static str,
    /// Its HTTP status.
    pub status: u16,
    /// Its summary, the same for every occurrence.
    pub title: &'static str,
}

macro_rules! kinds {
    ($($constant:ident = $status:literal $name:literal $title:literal;)*) => {
        $(#[doc = concat!("`", $status, "`: ", $title, ".")]
        pub const $constant: Kind = Kind { name: $name, status: $status, title: $title };)*

        /// Every kind, in the order of its status.
        pub const ALL: &[Kind] = &[$($constant),*];
    };
}

kinds! {
    MALFORMED_REQUEST = 400 "malformed-request" "The request is malformed";
    MALFORMED_BODY = 400 "malformed-body" "The body is malformed";
    INCOMPLETE_BODY = 400 "incomplete-body" "The body is incomplete";
    INVALID_PARAMETER = 400 "invalid-parameter" "A parameter is invalid";
    INVALID_HEADER = 400 "invalid-header" "A header is invalid";
    UNAUTHORIZED = 401 "unauthorized" "A valid token is required";
    INVALID_SIGNATURE = 401 "invalid-signature" "The delivery is not its provider's";
    FORBIDDEN = 403 "forbidden" "The token does not allow this";
    FORBIDDEN_TOPIC = 403 "forbidden-topic" "The token is not for this topic";
    FOREIGN_ORIGIN = 403 "foreign-origin" "The page has a foreign origin";
    ADMINISTRATION_DISABLED = 403 "administration-disabled" "Administration is disabled";
    NOT_FOUND = 404 "not-found" "Not found";
    UNKNOWN_HOOK = 404 "unknown-hook" "No such receiver";
    UNKNOWN_CONSUMER = 404 "unknown-consumer" "No such consumer";
    METHOD_NOT_ALLOWED = 405 "method-not-allowed" "The method is not allowed";
    NOT_ACCEPTABLE = 406 "not-acceptable" "No acceptable representation";
    SLOW_BODY = 408 "slow-body" "The body is too slow";
    CURSOR_AHEAD = 409 "cursor-ahead" "The cursor is ahead of the store";
    IDEMPOTENCY_KEY_IN_USE = 409 "idempotency-key-in-use" "The idempotency key is in use";
    CLAIMED = 409 "claimed" "All claims are out";
    CLAIM_LOST = 409 "claim-lost" "The claim is not live";
    TOO_MANY_CONSUMERS = 409 "too-many-consumers" "There are too many consumers";
    GONE = 410 "gone" "The event is gone";
    TOO_LARGE = 413 "too-large" "The request is too large";
    UNSUPPORTED_MEDIA_TYPE = 415 "unsupported-media-type" "The media type is not supported";
    UNKNOWN_HOST = 421 "unknown-host" "The service does not know this name of it";
    INVALID_EVENT = 422 "invalid-event" "Invalid events";
    INVALID_FIELD = 422 "invalid-field" "A field is invalid";
    IDEMPOTENCY_KEY_MISMATCH = 422 "idempotency-key-mismatch" "The idempotency key belongs to another request";
    INTERNAL = 500 "internal" "Internal error";
    BUSY = 503 "busy" "The database is busy";
    OVERLOADED = 503 "overloaded" "The service is overloaded";
    STORAGE_FULL = 503 "storage-full" "The disk is full";
    NOT_READY = 503 "not-ready" "The service is not ready";
}

/// A problem document, without extension members.
#[derive(Serialize)]
struct Document<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
}

impl Kind {
    /// The reason phrase of its status (RFC 9110, section 15).
    pub fn reason(&self) -> &'static str {
        match self.status {
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            406 => "Not Acceptable",
            408 => "Request Timeout",
            409 => "Conflict",
            410 => "Gone",
            413 => "Content Too Large",
            415 => "Unsupported Media Type",
            421 => "Misdirected Request",
            422 => "Unprocessable Content",
            500 => "Internal Server Error",
            503 => "Service Unavailable",
            _ => "",
        }
    }

    /// The document of an occurrence, as JSON. `detail` explains this occurrence to the client.
    pub fn document(&self, detail: &str) -> Vec<u8> {
        let r#type = format!("/problems/{}", self.name);
        let document = Document { r#type: &r#type, title: self.title, status: self.status, detail };
        // Strings and numbers cannot fail to become JSON.
        serde_json::to_vec(&document).unwrap_or_default()
    }

    /// The same with extension members: the fields of `extension`, which must be a struct with at least one.
    pub fn document_with(&self, detail: &str, extension: &impl Serialize) -> Vec<u8> {
        let mut document = self.document(detail);
        let members = serde_json::to_vec(extension).unwrap_or_default();
        // Joined as texts: serde's `flatten` would make the component larger by ten times as much code.
        document.pop();
        document.push(b',');
        document.extend(members.get(1..).unwrap_or(b"}"));
        document
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_the_members_of_rfc_9457_and_its_extension() {
        let plain = NOT_FOUND.document("no \"such\" path");
        assert_eq!(
            String::from_utf8(plain).unwrap(),
            r#"{"type":"/problems/not-found","title":"Not found","status":404,"detail":"no \"such\" path"}"#
        );
        let extended = BUSY.document_with("", &std::collections::BTreeMap::from([("last_seq", 7)]));
        assert!(String::from_utf8(extended).unwrap().ends_with(r#""detail":"","last_seq":7}"#));
    }

    #[test]
    fn names_and_titles_are_unique_and_statuses_in_order() {
        assert!(ALL.is_sorted_by_key(|kind| kind.status));
        assert!(ALL.iter().all(|kind| !kind.reason().is_empty()));
        for (place, kind) in ALL.iter().enumerate() {
            for other in &ALL[place + 1..] {
                assert!(kind.name != other.name && kind.title != other.title, "{}", kind.name);
            }
        }
    }
}
