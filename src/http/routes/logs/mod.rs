//! `POST /v1/logs`: OpenTelemetry's logs, an event a record (OTLP/HTTP,
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp>).

use futures::Stream;
use http::{Request, StatusCode};

use crate::http::access::Grant;
use crate::http::app::{App, Platform};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::shipment;
use crate::ingest::Invalid;
use crate::ingest::otlp::{self, Encoding};

/// Its path.
pub const PATH: &str = "/v1/logs";

/// Stores the records of a request, but for those that are malformed, which the answer counts.
///
/// # Errors
/// When the request cannot be read, or the store fails.
pub async fn post<P, B>(app: &App<P>, grant: Grant<'_>, request: Request<B>) -> Result<Reply, Problem>
where
    P: Platform,
    B: Stream<Item = Result<Vec<u8>, String>>,
{
    let (head, body) = request.into_parts();
    let encoding = Encoding::of(&head.headers)?;
    let body = shipment::read(app, &head.headers, body).await?;
    let ingested = otlp::logs(encoding, body.bytes(), &shipment::context(app))?;
    let (batch, _) = shipment::store(app, grant, ingested, body.into_share()).await?;
    let answer = encoding.response(batch.rejected.events, &why(&batch.rejected));
    Ok(Reply::new(StatusCode::OK, encoding.media_type(), answer))
}

/// The first error as a sentence, and the number of others.
fn why(rejected: &Invalid) -> String {
    let Some(first) = rejected.listed.first() else { return String::new() };
    let told = format!("log record {}: {}", first.index, shipment::told(first));
    match rejected.errors {
        1 => told,
        errors => format!("{told}; and {} more", errors - 1),
    }
}

#[cfg(test)]
mod tests;
