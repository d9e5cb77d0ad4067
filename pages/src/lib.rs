//! The pages of Sekali: the console, the API reference and what each problem means.
//!
//! They are a component of their own because they need no store, no variables and no secrets. All of them are inside the component:
//!
//! - [`site`] is the table of resources, and [`problems`] the text of some of them;
//! - [`answer`] serves any of them: encodings, validators, security headers;
//! - [`body`] takes in the body of a request, so that the answer is heard.

pub mod answer;
pub mod body;
pub mod problems;
pub mod site;

use bytes::Bytes;
use spin_sdk::http::{FullBody, Request, Response, Result};
use spin_sdk::wasip3::wit_bindgen::spawn;

/// The component as Spin calls it. A HEAD is answered like a GET: hosts leave the body out.
#[cfg_attr(target_arch = "wasm32", spin_sdk::http_service)]
pub async fn pages(request: Request) -> Result<Response<FullBody<Bytes>>> {
    let response = answer::answer(request.method(), request.uri().path(), request.headers())?;
    if let Some(drained) = body::drain(request) {
        spawn(drained);
    }
    Ok(response.map(FullBody::new))
}
