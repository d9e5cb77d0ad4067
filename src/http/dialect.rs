//! The words in which a route tells its clients of a problem.
//!
//! Most routes answer with problem documents. Shippers of logs read what their protocol has instead, and act on the
//! status alone: they repeat 503, and drop what got any other, also a 500.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::Value as Json;

use super::negotiate::JSON;
use super::problem::Problem;
use super::reply::{Reply, ReplyBody};
use super::routes::{elastic, logs};
use crate::ingest::otlp::Encoding;

/// The form of a route's errors.
#[derive(Clone, Copy)]
pub enum Dialect {
    /// A problem document (RFC 9457).
    Problem,
    /// OTLP's: a `google.rpc.Status` in the encoding of the request.
    Otlp(Encoding),
    /// Elasticsearch's.
    Elastic,
}

impl Dialect {
    /// The dialect of a request.
    pub fn of(path: &str, headers: &HeaderMap) -> Self {
        if path == logs::PATH {
            Self::Otlp(Encoding::of(headers).unwrap_or(Encoding::Json))
        } else if elastic::rest_of(path).is_some() {
            Self::Elastic
        } else {
            Self::Problem
        }
    }

    /// The answer to a request that failed.
    pub fn reply(self, problem: Problem) -> Reply {
        let (name, detail) = (problem.kind().name, problem.to_string());
        let mut reply = problem.into_reply();
        if let Self::Problem = self {
            return reply;
        }
        if let StatusCode::INTERNAL_SERVER_ERROR | StatusCode::REQUEST_TIMEOUT = reply.status {
            reply.status = StatusCode::SERVICE_UNAVAILABLE;
            reply.headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        let status = reply.status.as_u16();
        match self {
            Self::Problem => reply,
            Self::Otlp(encoding) => {
                let media_type = HeaderValue::from_static(encoding.media_type());
                reply.headers.insert(header::CONTENT_TYPE, media_type);
                reply.body = ReplyBody::Full(encoding.status(grpc_code(status), &detail));
                reply
            }
            Self::Elastic => {
                let error = format!(r#""type":"{name}","reason":{}"#, Json::from(detail));
                let body = format!(r#"{{"error":{{"root_cause":[{{{error}}}],{error}}},"status":{status}}}"#);
                reply.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
                reply.body = ReplyBody::Full(body.into());
                elastic::with_product(reply)
            }
        }
    }
}

/// The code of gRPC for a status of HTTP (`google/rpc/code.proto`).
fn grpc_code(status: u16) -> u8 {
    match status {
        401 => 16,      // UNAUTHENTICATED
        403 | 421 => 7, // PERMISSION_DENIED
        405 => 12,      // UNIMPLEMENTED
        503 => 14,      // UNAVAILABLE
        _ => 3,         // INVALID_ARGUMENT
    }
}
