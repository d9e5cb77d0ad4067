//! The body of a request, which no page reads. Most clients send a whole body before they read anything, and would see a
//! broken connection instead of the answer. The inbox does the same for its own answers.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use futures::future::select;
use spin_sdk::http::body::IncomingBodyExt;
use spin_sdk::http::{HeaderMap, Method, Request};
use spin_sdk::time::sleep;

/// The most bytes that are thrown away, and the longest time for it. The API promises both.
const LINGER_BYTES: usize = 64 << 20;
const LINGER: Duration = Duration::from_secs(5);

/// Reads the body of a request that is answered and throws it away, within bounds. None if nothing comes.
pub fn linger(request: Request) -> Option<impl Future<Output = ()>> {
    if !sends_body(request.method(), request.headers()) {
        return None;
    }
    Some(async move {
        let mut body = request.into_body().stream();
        let drain = async {
            let mut bytes = 0;
            while bytes < LINGER_BYTES
                && let Some(Ok(chunk)) = body.next().await
            {
                bytes += chunk.len();
            }
        };
        select(pin!(drain), pin!(sleep(LINGER))).await;
    })
}

/// True if the client sends a body, and does not wait until it is told to. Methods without a body could have one in
/// chunks; nobody does that.
fn sends_body(method: &Method, headers: &HeaderMap) -> bool {
    let has_body = match headers.get("content-length") {
        Some(length) => length != "0",
        None => ![Method::GET, Method::HEAD, Method::OPTIONS].contains(method),
    };
    has_body && !headers.contains_key("expect")
}

#[cfg(test)]
mod tests {
    use spin_sdk::http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn a_body_comes_by_its_length_or_by_a_method_that_has_one_unless_it_waits() {
        for (method, headers, expected) in [
            (Method::GET, vec![], false),
            (Method::OPTIONS, vec![], false),
            (Method::GET, vec![("content-length", "1")], true),
            (Method::POST, vec![("content-length", "0")], false),
            (Method::POST, vec![("content-length", "9000000")], true),
            (Method::POST, vec![("transfer-encoding", "chunked")], true),
            (Method::POST, vec![], true), // Spin does not show transfer-encoding
            (Method::POST, vec![("content-length", "1"), ("expect", "100-continue")], false),
        ] {
            let headers = headers
                .into_iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            let headers: HeaderMap = headers.collect();
            assert_eq!(sends_body(&method, &headers), expected, "{method} {headers:?}");
        }
    }
}
