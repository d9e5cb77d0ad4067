//! The answer to a request for a resource: encodings, validators, security headers (RFC 9110).

use std::borrow::Cow;
use std::io::Read;

use bytes::Bytes;
use flate2::read::GzDecoder;
use spin_sdk::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, Result, StatusCode};

use sekali_common::problems::{self as kinds, Kind, MEDIA_TYPE, NOT_FOUND_DETAIL};

use crate::site::{self, Content, NO_POLICY};

/// The allowed methods.
const METHODS: &str = "GET, HEAD, OPTIONS";

/// The headers of every answer.
const SECURITY: [(&str, &str); 3] =
    [("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer"), ("x-frame-options", "DENY")];

/// The answer to a request, with its body also for a HEAD.
///
/// # Errors
/// When an asset does not inflate, which its tests exclude.
pub fn answer(method: &Method, path: &str, headers: &HeaderMap) -> Result<Response<Bytes>> {
    let Some(resource) = site::find(path) else {
        return Ok(problem(kinds::NOT_FOUND, NOT_FOUND_DETAIL));
    };
    if *method == Method::OPTIONS {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        set(&mut response, "allow", METHODS);
        return Ok(response);
    }
    if *method != Method::GET && *method != Method::HEAD {
        let detail = format!("the method {method} is not allowed; allowed are {METHODS}");
        let mut response = problem(kinds::METHOD_NOT_ALLOWED, &detail);
        set(&mut response, "allow", METHODS);
        return Ok(response);
    }
    let compressed = matches!(resource.content, Content::Gzipped(_)) && takes_gzip(headers);
    // A tag for each encoding: a strong tag stands for the very bytes.
    let tag = format!("\"{:016x}{}\"", resource.hash, if compressed { "-gzip" } else { "" });
    let mut response = if is_known(headers, &tag) {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        let mut response = with_body(match &resource.content {
            Content::Plain(Cow::Borrowed(bytes)) => Bytes::from_static(bytes),
            Content::Plain(Cow::Owned(bytes)) => Bytes::copy_from_slice(bytes),
            Content::Gzipped(bytes) if compressed => Bytes::from_static(bytes),
            Content::Gzipped(bytes) => inflate(bytes)?,
        });
        set(&mut response, "content-type", resource.content_type);
        if compressed {
            set(&mut response, "content-encoding", "gzip");
        }
        response
    };
    secure(&mut response, resource.policy);
    set(&mut response, "vary", "accept-encoding");
    set(&mut response, "cache-control", resource.cache_control);
    response.headers_mut().insert("etag", HeaderValue::from_maybe_shared(tag).map_err(|e| e.to_string())?);
    Ok(response)
}

/// A problem, in the form of the API's own.
fn problem(kind: Kind, detail: &str) -> Response<Bytes> {
    let mut response = with_body(kind.document(detail).into());
    *response.status_mut() = StatusCode::from_u16(kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    set(&mut response, "content-type", MEDIA_TYPE);
    secure(&mut response, NO_POLICY);
    response
}

fn with_body(body: Bytes) -> Response<Bytes> {
    let length = body.len();
    let mut response = Response::new(body);
    response.headers_mut().insert("content-length", length.into());
    response
}

fn secure(response: &mut Response<Bytes>, policy: &'static str) {
    set(response, "content-security-policy", policy);
    for (name, value) in SECURITY {
        set(response, name, value);
    }
}

fn set(response: &mut Response<Bytes>, name: &'static str, value: &'static str) {
    response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
}

fn inflate(bytes: &[u8]) -> Result<Bytes> {
    let mut inflated = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut inflated).map_err(|error| error.to_string())?;
    Ok(inflated.into())
}

/// The members of a header that is a list and may repeat.
fn list<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// True if the client accepts gzip: by name, else by `*`, with a weight above zero.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let weight = |coding: &str| {
        list(headers, "accept-encoding").find_map(|member| {
            let mut parts = member.split(';').map(str::trim);
            if !parts.next()?.eq_ignore_ascii_case(coding) {
                return None;
            }
            let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
            Some(weight.map_or(1.0, |weight| weight.parse::<f32>().unwrap_or(0.0)))
        })
    };
    weight("gzip").or_else(|| weight("*")).is_some_and(|weight| weight > 0.0)
}

/// True if the client has the resource in this encoding already.
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    list(headers, "if-none-match").any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        [(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())].into_iter().collect()
    }

    #[test]
    fn gzip_is_taken_by_name_or_by_a_star_unless_its_weight_is_zero() {
        for (value, takes) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("*", true),
            ("gzip; q=0, *", false),
            ("gzip;q=0.000", false),
            ("br", false),
            ("", false),
            ("xgzip", false),
        ] {
            assert_eq!(takes_gzip(&headers("accept-encoding", value)), takes, "{value}");
        }
    }

    #[test]
    fn a_tag_is_known_in_a_list_weakly_and_as_a_star() {
        for (value, known) in
            [("\"a\"", true), ("\"b\", W/\"a\"", true), ("*", true), ("\"b\"", false), ("a", false)]
        {
            assert_eq!(is_known(&headers("if-none-match", value), "\"a\""), known, "{value}");
        }
    }
}
