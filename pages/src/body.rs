//! The body of a request, which no page reads.

use futures::StreamExt;
use spin_sdk::http::body::IncomingBodyExt;
use spin_sdk::http::{HeaderMap, Method, Request};
use spin_sdk::time::sleep;

/// Reads the body of a request that is answered and throws it away, within bounds. None if nothing comes.
pub fn drain(request: Request) -> Option<impl Future<Output = ()>> {
    let sends_body = sends_body(request.method(), request.headers());
    sends_body.then(|| {
        let lengths = request.into_body().stream().map(|chunk| Some(chunk.ok()?.len()));
        sekali_common::drain::drain(lengths, sleep)
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
