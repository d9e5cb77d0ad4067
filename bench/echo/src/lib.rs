//! Answers a request with its body. Its cost is the least that any component on this host can have.

use bytes::Bytes;
use http_body_util::BodyExt;
use spin_sdk::http::{FullBody, Request, Response, Result};

/// Reads the whole body and sends it back.
#[cfg_attr(target_arch = "wasm32", spin_sdk::http_service)]
pub async fn echo(request: Request) -> Result<Response<FullBody<Bytes>>> {
    let body = request.into_body().collect().await?.to_bytes();
    let mut response = Response::new(FullBody::new(body.clone()));
    response.headers_mut().insert("content-length", body.len().into());
    Ok(response)
}
