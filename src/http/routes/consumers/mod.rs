//! `/consumers`: named places in the log, from which events are given out as claims.
//!
//! - `claim`: events are given out
//! - `commit`: they were done, or have failed
//! - `failed`: what failed, and what people decide about it
//! - `specify`: consumers are made, changed, moved and taken away
//! - `status`: where they stand

mod claim;
mod commit;
mod failed;
mod specify;
mod status;
#[cfg(test)]
mod tests;

pub use self::specify::{delete, put};
pub use self::status::{Status, list, one};

use futures::Stream;
use http::{HeaderMap, Request, Uri};
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::http::access::Grant;
use crate::http::app::{App, Platform};
use crate::http::body::RequestBody;
use crate::http::negotiate::JSON;
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::ingest::inflate::ContentEncoding;

/// What is done with a consumer, by the last part of its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumerStep {
    /// Events are given out.
    Claim,
    /// They were done, or have failed.
    Commit,
    /// It goes on elsewhere.
    Seek,
    /// What failed is listed.
    Failed,
    /// What failed comes again at once.
    Retry,
    /// What failed is taken off the list.
    Drop,
}

impl ConsumerStep {
    /// The step of a path's last part.
    pub fn of(part: &str) -> Option<Self> {
        Some(match part {
            "claim" => Self::Claim,
            "commit" => Self::Commit,
            "seek" => Self::Seek,
            "failed" => Self::Failed,
            "retry" => Self::Retry,
            "drop" => Self::Drop,
            _ => return None,
        })
    }

    /// The form of its path, for the log.
    pub fn pattern(self) -> &'static str {
        match self {
            Self::Claim => "/consumers/{name}/claim",
            Self::Commit => "/consumers/{name}/commit",
            Self::Seek => "/consumers/{name}/seek",
            Self::Failed => "/consumers/{name}/failed",
            Self::Retry => "/consumers/{name}/retry",
            Self::Drop => "/consumers/{name}/drop",
        }
    }

    /// True if it changes nothing.
    pub fn is_read(self) -> bool {
        self == Self::Failed
    }
}

/// Takes a step of a consumer.
///
/// # Errors
/// When the token is not for it, a field is invalid, the step is refused, or the store fails.
pub async fn step<P, B>(
    app: &App<P>,
    grant: Grant<'_>,
    name: &str,
    step: ConsumerStep,
    request: Request<B>,
) -> Result<Reply, Problem>
where
    P: Platform,
    B: Stream<Item = Result<Vec<u8>, String>>,
{
    grant.check_consumer(name)?;
    let (head, body) = request.into_parts();
    if step.is_read() {
        return failed::list(app, name, &head.uri).await;
    }
    let body = app.bodies.read(body, &head.headers, app.limits.body(), &app.clock).await?;
    let body = decoded(body, &head.headers, &head.uri)?;
    match step {
        ConsumerStep::Claim => claim::claim(app, name, parse(&body)?).await,
        ConsumerStep::Commit => commit::commit(app, name, parse(&body)?).await,
        ConsumerStep::Seek => specify::seek(app, name, parse(&body)?).await,
        ConsumerStep::Retry => failed::retry(app, name, parse(&body)?).await,
        _ => failed::drop(app, name, parse(&body)?).await,
    }
}

/// The body of a request without its encoding.
///
/// # Errors
/// When it cannot be undone, or the request has a query, which these routes do not know.
fn decoded(body: RequestBody, headers: &HeaderMap, uri: &Uri) -> Result<RequestBody, Problem> {
    crate::http::query::parameters(uri.query().unwrap_or_default(), &[])?;
    body.decoded(ContentEncoding::of(headers)?)
}

/// The fields of a body, which may be missing.
///
/// # Errors
/// [`Problem::MalformedBody`] when it is no JSON, [`Problem::InvalidField`] when a field is unknown, missing or of another
/// type.
fn parse<T: DeserializeOwned>(body: &RequestBody) -> Result<T, Problem> {
    let bytes = if body.bytes().trim_ascii().is_empty() { b"{}" } else { body.bytes() };
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        Category::Data => Problem::InvalidField(error.to_string()),
        _ => Problem::MalformedBody(format!("the body is no JSON: {error}")),
    })
}

/// An answer of JSON.
fn json(body: &impl serde::Serialize) -> Result<Reply, Problem> {
    let body = serde_json::to_vec(body).map_err(|error| Problem::Internal(error.to_string()))?;
    Ok(Reply::new(http::StatusCode::OK, JSON, body))
}
