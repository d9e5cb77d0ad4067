//! The application on one thread: which component answers a request, and what the host answers itself.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use http::uri::Authority;
use http::{HeaderValue, Method, StatusCode, Version, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use sekali_common::problems::{self as kinds, INTERNAL_DETAIL, Kind, MEDIA_TYPE, NOT_FOUND_DETAIL};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use wasmtime_wasi_http::Error;

use crate::ending::{Phase, Requests};
use crate::instance::{Instances, Program, Response, SharedBody, Unanswered};
use crate::routes::Routes;

/// The components of an application and its routes.
pub struct Application {
    /// The components.
    pub programs: Vec<Program>,
    /// Routes to indices of `programs`.
    pub routes: Routes,
}

/// The state that a thread shares with its handle.
#[derive(Default)]
pub struct Shared {
    /// The phase of the server.
    pub phase: watch::Sender<Phase>,
    /// The requests that are running, except live streams.
    pub requests: Requests,
    /// The open connections.
    pub connections: TaskTracker,
}

/// The application on one thread.
pub struct Service {
    application: Arc<Application>,
    /// The state that the handle of the thread sees, too.
    pub shared: Arc<Shared>,
    /// The instances of each program, in the order of `application.programs`.
    instances: Vec<Instances>,
}

impl Service {
    /// Starts `instances` of each component that uses a store, as tasks of this thread. More of one that only computes would
    /// gain nothing on one thread.
    pub fn start(application: Arc<Application>, instances: usize, shared: Arc<Shared>) -> Self {
        let count = |program: &Program| if program.uses_stores() { instances } else { 1 };
        let start = |program: &Program| Instances::start(program, count(program));
        let instances = application.programs.iter().map(start).collect();
        Self { application, shared, instances }
    }

    /// Ends the instances after their requests.
    pub async fn stop(self) {
        join_all(self.instances.into_iter().map(Instances::stop)).await;
    }

    /// The answer of the component that the path leads to, or the host's own.
    pub async fn respond(&self, request: http::Request<Incoming>) -> Response {
        let fault = fault(&request);
        let request = SharedBody::of(request);
        let body = request.body().clone();
        let component = self.application.routes.find(request.uri().path());
        let refusal = match (fault, component) {
            (Some((kind, detail)), _) => problem(kind, detail),
            (None, Some(component)) => match self.instances[component].handle(request).await {
                Ok(response) => return response,
                Err(Unanswered::Overloaded) => {
                    sekali_common::log::error(
                        kinds::OVERLOADED.name,
                        "too many requests wait for an instance",
                    );
                    overloaded()
                }
                Err(Unanswered::Failed(error)) => {
                    sekali_common::log::error("request", format_args!("a request got no answer: {error:#}"));
                    problem(kinds::INTERNAL, INTERNAL_DETAIL)
                }
            },
            (None, None) => problem(kinds::NOT_FOUND, NOT_FOUND_DETAIL),
        };
        body.drain();
        refusal
    }
}

/// The fault of a request that no component may see: it has no host, or it is not clear which (RFC 9112, section 3.2),
/// or it asks for a proxy.
fn fault<B>(request: &http::Request<B>) -> Option<(Kind, &'static str)> {
    if request.method() == Method::CONNECT {
        return Some((kinds::MALFORMED_REQUEST, "the method CONNECT asks for a proxy, and this is none"));
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let is_valid = |host: &HeaderValue| host.is_empty() || Authority::try_from(host.as_bytes()).is_ok();
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => Some((kinds::INVALID_HEADER, "header 'host' is given more than once")),
        (Some(host), _) if !is_valid(host) => {
            Some((kinds::INVALID_HEADER, "header 'host' is neither a name nor an address"))
        }
        (None, _) if request.version() > Version::HTTP_10 && request.uri().authority().is_none() => {
            Some((kinds::INVALID_HEADER, "header 'host' is required"))
        }
        _ => None,
    }
}

/// The answer to a request that no component answered.
fn problem(kind: Kind, detail: &str) -> Response {
    let document = Bytes::from(kind.document(detail));
    let length = document.len();
    let body = Full::new(document).map_err(|never| match never {});
    let mut response = Response::new(UnsyncBoxBody::new(body.map_err(|never: Error| never)));
    *response.status_mut() = StatusCode::from_u16(kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    response
}

/// The answer to a request for which no instance has room.
fn overloaded() -> Response {
    let mut response =
        problem(kinds::OVERLOADED, "the host has no room for more requests at the moment; try again in 1 s");
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Service {
        /// A service whose routes lead to nothing, but for `/ended`, which leads to an instance that has ended, `/busy`, to one
        /// whose queue is full, and `/gone`, whose instances do not exist.
        pub fn without_programs() -> Self {
            let mut routes = Routes::default();
            for (index, route) in ["/ended", "/busy", "/gone"].iter().enumerate() {
                routes.add(route, index).unwrap();
            }
            Self {
                application: Arc::new(Application { programs: vec![], routes }),
                shared: Arc::default(),
                instances: vec![Instances::ended(), Instances::busy()],
            }
        }
    }

    #[test]
    fn a_request_without_one_host_is_refused_and_so_is_one_for_a_proxy() {
        let named = |version, method, hosts: &[&str]| {
            let mut request = http::Request::builder().version(version).method(method).uri("/");
            for host in hosts {
                request = request.header(header::HOST, *host);
            }
            fault(&request.body(()).unwrap()).map(|(kind, _)| kind.name)
        };
        let (old, new) = (Version::HTTP_10, Version::HTTP_11);
        for (version, method, hosts, expected) in [
            (new, "GET", &["a.example:80"][..], None),
            (new, "GET", &[""], None),
            (old, "GET", &[], None),
            (new, "GET", &[], Some("invalid-header")),
            (new, "GET", &["a", "a"], Some("invalid-header")),
            (old, "GET", &["a", "b"], Some("invalid-header")),
            (new, "GET", &["a/b"], Some("invalid-header")),
            (new, "CONNECT", &["a"], Some("malformed-request")),
        ] {
            assert_eq!(named(version, method, hosts), expected, "{version:?} {method} {hosts:?}");
        }
    }
}
