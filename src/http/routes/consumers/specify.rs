//! `PUT` and `DELETE /consumers/{name}`, and `POST .../seek`: consumers are made, changed, taken away and moved.

use futures::Stream;
use http::{Request, StatusCode};
use serde::Deserialize;

use super::{decoded, parse, status};
use crate::consumers::{Given, Place, Specification, Step};
use crate::http::access::Grant;
use crate::http::app::{App, Platform};
use crate::http::problem::Problem;
use crate::http::reply::Reply;

/// The fields of a seek.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seek {
    to: Place,
}

/// Makes a consumer, or changes it: 201 or 200, with its status.
///
/// # Errors
/// When its name or a field breaks a rule, the token is not for its topics, or the store fails.
pub async fn put<P, B>(
    app: &App<P>,
    grant: Grant<'_>,
    name: &str,
    request: Request<B>,
) -> Result<Reply, Problem>
where
    P: Platform,
    B: Stream<Item = Result<Vec<u8>, String>>,
{
    check_name(name)?;
    grant.check_consumer(name)?;
    let (head, body) = request.into_parts();
    let body = app.bodies.read(body, &head.headers, app.limits.body(), &app.clock).await?;
    let given: Given = parse(&decoded(body, &head.headers, &head.uri)?)?;
    let present = app.consumers.specification(name).await?.unwrap_or_else(|| Specification::of(name));
    grant.check_consumed(&present.with(&given).map_err(Problem::InvalidField)?.patterns())?;
    let is_new = app.consumers.put(name, given).await?;
    let reply = status::told(app, name).await?;
    Ok(Reply { status: if is_new { StatusCode::CREATED } else { StatusCode::OK }, ..reply })
}

/// Takes a consumer away, with what is kept of its failures: 204.
///
/// # Errors
/// When there is none of this name, or the store fails.
pub async fn delete<P: Platform>(app: &App<P>, grant: Grant<'_>, name: &str) -> Result<Reply, Problem> {
    grant.check_consumer(name)?;
    match app.consumers.delete(name).await? {
        true => Ok(Reply::empty(StatusCode::NO_CONTENT)),
        false => Err(Problem::UnknownConsumer),
    }
}

/// Moves a consumer: its claims end, what had failed is forgotten, and a new generation of it begins.
///
/// # Errors
/// When the place is none, there is no such consumer, or the store fails.
pub async fn seek<P: Platform>(app: &App<P>, name: &str, Seek { to }: Seek) -> Result<Reply, Problem> {
    app.consumers.step(name, Step::Seek(to)).await?;
    status::told(app, name).await
}

fn check_name(name: &str) -> Result<(), Problem> {
    let is_in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match (1..=64).contains(&name.len()) && name.bytes().all(is_in_name) {
        true => Ok(()),
        false => Err(Problem::InvalidField(
            "the name of a consumer must be 1 to 64 of the characters A-Z a-z 0-9 . _ -".into(),
        )),
    }
}
