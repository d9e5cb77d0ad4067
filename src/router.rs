//! The whole route table: which resource answers which path and method, and who may call it.

use futures::Stream;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};

use crate::access::Scope;
use crate::app::{App, Platform};
use crate::problem::Problem;
use crate::reply::Reply;
use crate::routes::{events, health, metrics, publish, stats};

/// Answers a request, whatever it is.
pub async fn answer<P, B>(app: &App<P>, request: Request<B>) -> Reply
where
    P: Platform,
    B: Stream<Item = Result<Vec<u8>, String>>,
{
    if app.access.origins.is_empty() {
        return route(app, request).await.unwrap_or_else(Problem::into_reply);
    }
    let headers = request.headers().clone();
    let mut reply = route(app, request).await.unwrap_or_else(Problem::into_reply);
    app.access.allow_origin(&headers, &mut reply.headers);
    reply
}

async fn route<P, B>(app: &App<P>, request: Request<B>) -> Result<Reply, Problem>
where
    P: Platform,
    B: Stream<Item = Result<Vec<u8>, String>>,
{
    let path = request.uri().path();
    let route = Route::of(path).ok_or(Problem::NotFound)?;
    let allow = route.allow();
    if request.method() == Method::OPTIONS {
        return Ok(options(app, request.headers(), allow));
    }
    // A HEAD is answered like a GET; its body is left out when the answer is sent.
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if is_read == matches!(route, Route::Publish) || !(is_read || request.method() == Method::POST) {
        return Err(Problem::MethodNotAllowed { method: request.method().to_string(), allow });
    }
    app.access.check(request.headers(), route.scope())?;
    match route {
        Route::Publish => publish::post(app, request).await,
        Route::Events => events::list(app, request.uri(), request.headers()).await,
        Route::Event { topic, event_id } => events::one(app, topic, event_id, request.headers()).await,
        Route::Stats => stats::get(app).await,
        Route::Metrics => metrics::get(app).await,
        Route::Healthz => Ok(health::live()),
        Route::Readyz => health::ready(app).await,
    }
}

enum Route<'p> {
    Publish,
    Events,
    /// Both percent-encoded.
    Event {
        topic: &'p str,
        event_id: &'p str,
    },
    Stats,
    Metrics,
    Healthz,
    Readyz,
}

impl<'p> Route<'p> {
    fn of(path: &'p str) -> Option<Self> {
        Some(match path {
            "/publish" => Self::Publish,
            "/events" => Self::Events,
            "/stats" => Self::Stats,
            "/metrics" => Self::Metrics,
            "/healthz" => Self::Healthz,
            "/readyz" => Self::Readyz,
            _ => {
                let (topic, event_id) = path.strip_prefix("/events/")?.split_once('/')?;
                if topic.is_empty() || event_id.is_empty() || event_id.contains('/') {
                    return None;
                }
                Self::Event { topic, event_id }
            }
        })
    }

    fn allow(&self) -> &'static str {
        match self {
            Self::Publish => "POST, OPTIONS",
            _ => "GET, HEAD, OPTIONS",
        }
    }

    fn scope(&self) -> Scope {
        match self {
            Self::Publish => Scope::Publish,
            Self::Healthz | Self::Readyz => Scope::Anyone,
            _ => Scope::Read,
        }
    }
}

/// What may be done here, and by which pages.
fn options<P: Platform>(app: &App<P>, headers: &HeaderMap, allow: &'static str) -> Reply {
    let mut reply = Reply::empty(StatusCode::NO_CONTENT);
    reply.headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    app.access.allow_request(headers, allow, &mut reply.headers);
    reply
}
