//! The whole route table: which resource answers which path and method.

use futures::Stream;
use http::{Method, Request};

use crate::app::App;
use crate::problem::Problem;
use crate::reply::Reply;
use crate::routes::{events, health, publish, stats};
use crate::store::{Clock, Store};

/// Answers a request, whatever it is.
pub async fn answer<S, C, B>(app: &App<S, C>, request: Request<B>) -> Reply
where
    S: Store,
    C: Clock,
    B: Stream<Item = Result<Vec<u8>, String>>,
{
    route(app, request).await.unwrap_or_else(Problem::into_reply)
}

async fn route<S, C, B>(app: &App<S, C>, request: Request<B>) -> Result<Reply, Problem>
where
    S: Store,
    C: Clock,
    B: Stream<Item = Result<Vec<u8>, String>>,
{
    let query = request.uri().query().unwrap_or_default();
    match request.uri().path() {
        "/publish" => {
            allow(&request, &[Method::POST], "POST")?;
            publish::post(app, request).await
        }
        "/events" => {
            allow(&request, &READ, "GET, HEAD")?;
            events::list(app, query).await
        }
        "/stats" => {
            allow(&request, &READ, "GET, HEAD")?;
            stats::get(app).await
        }
        "/healthz" => {
            allow(&request, &READ, "GET, HEAD")?;
            Ok(health::live())
        }
        "/readyz" => {
            allow(&request, &READ, "GET, HEAD")?;
            health::ready(app).await
        }
        _ => Err(Problem::NotFound),
    }
}

/// A HEAD is answered like a GET; its body is left out when the answer is sent.
const READ: [Method; 2] = [Method::GET, Method::HEAD];

fn allow<B>(request: &Request<B>, methods: &[Method], allow: &'static str) -> Result<(), Problem> {
    if methods.contains(request.method()) {
        return Ok(());
    }
    Err(Problem::MethodNotAllowed { method: request.method().to_string(), allow })
}
