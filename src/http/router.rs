//! The whole route table: the resource of each path, its methods, and the permission that it requires. Half of the file are
//! its tests.

use futures::Stream;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};

use super::access::Scope;
use super::app::{App, Platform};
use super::dialect::Dialect;
use super::origin;
use super::problem::Problem;
use super::reply::{Reply, ReplyBody};
use super::routes::consumers::ConsumerStep;
use super::routes::elastic::{self, Resource};
use super::routes::{consumers, events, health, hooks, logs, metrics, publish, stats};
use super::settings::InvalidSettings;
use crate::limits::LARGE_ANSWER_BYTES;

/// Answers any request.
pub async fn answer<P, B>(app: &App<P>, request: Request<B>) -> Reply
where
    P: Platform,
    B: Stream<Item = Result<Vec<u8>, String>>,
{
    if app.origins.listed.is_empty() {
        return reply(app, request).await;
    }
    let headers = request.headers().clone();
    let mut reply = reply(app, request).await;
    app.origins.allow_origin(&headers, &mut reply.headers);
    reply
}

/// False for `/healthz`: behind it, too, nothing is done to the store. A host asks it before it has opened one.
pub fn touches_store(path: &str) -> bool {
    !matches!(Route::of(path), Some(Route::Healthz))
}

/// Answers a request to a service whose settings are invalid: it serves nothing, and its probes say why.
pub fn refuse(request: &Parts, invalid: &InvalidSettings) -> Reply {
    let is_read = Verb::of(&request.method) == Some(Verb::Read);
    let route = Route::of(request.uri.path());
    let pattern = route.as_ref().map_or("unknown", Route::pattern);
    let problem = match route {
        Some(Route::Healthz) if is_read => return health::alive_without_settings(invalid),
        Some(Route::Readyz) if is_read => Problem::InvalidSettings(invalid.to_string()),
        _ => Problem::Internal(format!("the service cannot start: {invalid}")),
    };
    problem.log(pattern);
    Dialect::of(request.uri.path(), &request.headers).reply(problem)
}

async fn reply<P, B>(app: &App<P>, request: Request<B>) -> Reply
where
    P: Platform,
    B: Stream<Item = Result<Vec<u8>, String>>,
{
    let pattern = Route::of(request.uri().path()).map_or("unknown", |route| route.pattern());
    let dialect = Dialect::of(request.uri().path(), request.headers());
    let result = route(app, request).await.and_then(|reply| within_budget(app, reply));
    result.unwrap_or_else(|problem| {
        problem.log(pattern);
        dialect.reply(problem)
    })
}

/// Counts a large answer, whose client may not read it, in the memory of all of them.
fn within_budget<P: Platform>(app: &App<P>, mut reply: Reply) -> Result<Reply, Problem> {
    if let ReplyBody::Full(bytes) = &reply.body
        && bytes.len() > LARGE_ANSWER_BYTES
        && reply.share.is_none()
    {
        let mut share = app.answers.share();
        if !share.grow(bytes.len()) {
            return Err(Problem::Overloaded("answers"));
        }
        reply.share = Some(share);
    }
    Ok(reply)
}

async fn route<P, B>(app: &App<P>, request: Request<B>) -> Result<Reply, Problem>
where
    P: Platform,
    B: Stream<Item = Result<Vec<u8>, String>>,
{
    let uri = request.uri().clone(); // the request is given away before its path is done with
    let (headers, host) = (request.headers(), uri.authority());
    let is_page = origin::is_from_browser(headers) && !app.access.knows(headers);
    let route = Route::of(uri.path());
    if let Some(route) = route
        && request.method() == Method::OPTIONS
        && let Some(reply) = allow_webhook(app, headers, route.allow())
    {
        return Ok(reply);
    }
    // A delivery is known by its signature, wherever it comes from. One that is not signed is a publish like any other.
    let is_unsigned = matches!(route, Some(Route::Hook { name }) if hooks::is_unsigned(app, name));
    let is_page = is_page && (is_unsigned || !matches!(route, Some(Route::Hook { .. })));
    if is_page {
        app.origins.check_origin(headers, host)?;
    }
    let route = route.ok_or(Problem::NotFound)?;
    let allow = route.allow();
    if request.method() == Method::OPTIONS {
        return Ok(options(app, headers, allow));
    }
    let method = Verb::of(request.method()).filter(|verb| route.takes(*verb));
    let Some(verb) = method else {
        return Err(Problem::MethodNotAllowed { method: request.method().to_string(), allow });
    };
    let scope = if is_unsigned { Scope::Publish } else { route.scope(verb) };
    let grant = app.access.check(headers, scope)?;
    if is_page && scope != Scope::Anyone {
        app.origins.check_host(host)?;
    }
    match (route, verb) {
        (Route::Events, Verb::Delete) => events::erase(app, request.uri()).await,
        (Route::Event { topic, event_id }, Verb::Delete) => events::erase_one(app, topic, event_id).await,
        (Route::Publish, _) => publish::post(app, grant, request).await,
        (Route::Logs, _) => logs::post(app, grant, request).await,
        (Route::Elastic(Resource::Bulk { index }), _) => elastic::post(app, grant, index, request).await,
        (Route::Elastic(resource), Verb::Read) => Ok(resource.told()),
        (Route::Elastic(_), _) => Ok(Resource::acknowledged()),
        (Route::Hook { name }, Verb::Post) => {
            hooks::deliver(app, grant, hooks::receiver(app, name)?, request).await
        }
        (Route::Hook { name }, _) => hooks::challenge(hooks::receiver(app, name)?, request.uri()),
        (Route::Backfill { name }, _) => {
            hooks::backfill(app, grant, hooks::receiver(app, name)?, request).await
        }
        (Route::Hooks, _) => hooks::list(app, grant),
        (Route::Events, _) => events::list(app, grant, request.uri(), request.headers()).await,
        (Route::Event { topic, event_id }, _) => {
            events::one(app, grant, topic, event_id, request.headers()).await
        }
        (Route::Stats, _) => stats::get(app, grant, request.uri()).await,
        (Route::Consumers, _) => consumers::list(app, grant).await,
        (Route::Consumer { name }, Verb::Put) => consumers::put(app, grant, name, request).await,
        (Route::Consumer { name }, Verb::Delete) => consumers::delete(app, grant, name).await,
        (Route::Consumer { name }, _) => consumers::one(app, grant, name).await,
        (Route::ConsumerStep { name, step }, _) => consumers::step(app, grant, name, step, request).await,
        (Route::Metrics, _) => metrics::get(app, grant).await,
        (Route::Healthz, _) => Ok(health::alive()),
        (Route::Readyz, _) => health::ready(app).await,
    }
}

/// A method that some route takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    /// GET; or HEAD, which is answered like it, but for the body, which is left out when the answer is sent.
    Read,
    Post,
    Put,
    Delete,
}

impl Verb {
    fn of(method: &Method) -> Option<Self> {
        match *method {
            Method::GET | Method::HEAD => Some(Self::Read),
            Method::POST => Some(Self::Post),
            Method::PUT => Some(Self::Put),
            Method::DELETE => Some(Self::Delete),
            _ => None,
        }
    }
}

#[derive(Clone, Copy)]
enum Route<'p> {
    Publish,
    Logs,
    Elastic(Resource<'p>),
    Events,
    /// Both percent-encoded.
    Event {
        topic: &'p str,
        event_id: &'p str,
    },
    Hooks,
    Hook {
        name: &'p str,
    },
    Backfill {
        name: &'p str,
    },
    Consumers,
    Consumer {
        name: &'p str,
    },
    ConsumerStep {
        name: &'p str,
        step: ConsumerStep,
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
            logs::PATH => Self::Logs,
            "/events" => Self::Events,
            "/consumers" => Self::Consumers,
            "/hooks" => Self::Hooks,
            "/stats" => Self::Stats,
            "/metrics" => Self::Metrics,
            "/healthz" => Self::Healthz,
            "/readyz" => Self::Readyz,
            _ if path.starts_with("/consumers/") => Self::of_consumer(&path["/consumers/".len()..])?,
            _ if path.starts_with("/hooks/") => Self::of_hook(&path["/hooks/".len()..])?,
            _ if let Some(rest) = elastic::rest_of(path) => Self::Elastic(Resource::of(rest)?),
            _ => {
                let (topic, event_id) = path.strip_prefix("/events/")?.split_once('/')?;
                if topic.is_empty() || event_id.is_empty() || event_id.contains('/') {
                    return None;
                }
                Self::Event { topic, event_id }
            }
        })
    }

    fn of_hook(rest: &'p str) -> Option<Self> {
        match rest.split_once('/') {
            None if !rest.is_empty() => Some(Self::Hook { name: rest }),
            Some((name, "backfill")) if !name.is_empty() => Some(Self::Backfill { name }),
            _ => None,
        }
    }

    fn of_consumer(rest: &'p str) -> Option<Self> {
        match rest.split_once('/') {
            None if !rest.is_empty() => Some(Self::Consumer { name: rest }),
            Some((name, step)) if !name.is_empty() => {
                ConsumerStep::of(step).map(|step| Self::ConsumerStep { name, step })
            }
            _ => None,
        }
    }

    /// The form of its paths, for the log.
    fn pattern(&self) -> &'static str {
        match self {
            Self::Publish => "/publish",
            Self::Logs => logs::PATH,
            Self::Elastic(resource) => resource.pattern(),
            Self::Events => "/events",
            Self::Event { .. } => "/events/{topic}/{event_id}",
            Self::Consumers => "/consumers",
            Self::Consumer { .. } => "/consumers/{name}",
            Self::ConsumerStep { step, .. } => step.pattern(),
            Self::Hooks => "/hooks",
            Self::Hook { .. } => "/hooks/{name}",
            Self::Backfill { .. } => "/hooks/{name}/backfill",
            Self::Stats => "/stats",
            Self::Metrics => "/metrics",
            Self::Healthz => "/healthz",
            Self::Readyz => "/readyz",
        }
    }

    fn takes(&self, verb: Verb) -> bool {
        match self {
            Self::Publish | Self::Logs | Self::Backfill { .. } => verb == Verb::Post,
            Self::Elastic(Resource::Bulk { .. }) => matches!(verb, Verb::Post | Verb::Put),
            Self::Elastic(Resource::Setup) => matches!(verb, Verb::Read | Verb::Put),
            Self::Hook { .. } => matches!(verb, Verb::Read | Verb::Post),
            Self::Events | Self::Event { .. } => matches!(verb, Verb::Read | Verb::Delete),
            Self::Consumer { .. } => verb != Verb::Post,
            Self::ConsumerStep { step, .. } => verb == if step.is_read() { Verb::Read } else { Verb::Post },
            _ => verb == Verb::Read,
        }
    }

    fn allow(&self) -> &'static str {
        match self {
            Self::Publish | Self::Logs | Self::Backfill { .. } => "POST, OPTIONS",
            Self::Elastic(Resource::Bulk { .. }) => "POST, PUT, OPTIONS",
            Self::Elastic(Resource::Setup) => "GET, HEAD, PUT, OPTIONS",
            Self::Hook { .. } => "GET, HEAD, POST, OPTIONS",
            Self::ConsumerStep { step, .. } if !step.is_read() => "POST, OPTIONS",
            Self::Consumer { .. } => "GET, HEAD, PUT, DELETE, OPTIONS",
            Self::Events | Self::Event { .. } => "GET, HEAD, DELETE, OPTIONS",
            _ => "GET, HEAD, OPTIONS",
        }
    }

    fn scope(&self, verb: Verb) -> Scope {
        match (self, verb) {
            (Self::Consumers | Self::Consumer { .. } | Self::ConsumerStep { .. }, _) => Scope::Consume,
            (Self::Logs | Self::Elastic(_), _) => Scope::Ship,
            (_, Verb::Delete) => Scope::Administer,
            (Self::Publish | Self::Backfill { .. }, _) => Scope::Publish,
            // Its signature is its permission.
            (Self::Hook { .. }, _) => Scope::Anyone,
            (Self::Healthz | Self::Readyz, _) => Scope::Anyone,
            _ => Scope::Read,
        }
    }
}

/// The answer to a listed sender of web hooks that asks whether it may deliver (CloudEvents' web hooks, section 4.2).
fn allow_webhook<P: Platform>(app: &App<P>, headers: &HeaderMap, allow: &'static str) -> Option<Reply> {
    let mut reply = Reply::empty(StatusCode::OK);
    reply.headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    app.origins.allow_webhook(headers, &mut reply.headers).then_some(reply)
}

/// The allowed methods, and the answer to a CORS preflight.
fn options<P: Platform>(app: &App<P>, headers: &HeaderMap, allow: &'static str) -> Reply {
    let mut reply = Reply::empty(StatusCode::NO_CONTENT);
    reply.headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    app.origins.allow_request(headers, allow, &mut reply.headers);
    reply
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::future::join_all;
    use http::{Method, Request};
    use serde_json::json;
    use tokio::time::Instant;

    use super::refuse;
    use crate::http::reply::{Reply, ReplyBody};
    use crate::http::settings::Settings;
    use crate::store::StoreError;
    use crate::testing::service::Service;

    #[tokio::test]
    async fn large_answers_that_nobody_reads_are_bounded_together() {
        let service = Service::start();
        let large = "x".repeat(250_000);
        let events: Vec<_> =
            (0..4).map(|n| json!({"topic": "t", "event_id": n.to_string(), "payload": large})).collect();
        assert_eq!(service.publish(&json!(events)).await.status, 200);
        let mut unread = Vec::new();
        while let reply = service.reply("GET", "/events?limit=4", &[], "").await
            && reply.status == 200
        {
            unread.push(reply);
        }
        assert_eq!(unread.len(), crate::limits::ANSWERS_BYTES / 1_000_800);
        let refused = service.get("/events?limit=4").await;
        refused.problem(503, "overloaded");
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert_eq!(service.get("/stats").await.status, 200, "a small answer is not counted");
        assert_eq!(service.publish(&json!([])).await.status, 200);
        unread.pop();
        assert_eq!(service.get("/events?limit=4").await.status, 200);
    }

    #[tokio::test]
    async fn a_receipt_is_in_the_budget_of_bodies_until_it_is_read() {
        let service = Service::start();
        let body = json!({"topic": "t", "event_id": "1"}).to_string();
        let reply = service.reply("POST", "/publish", &[], body).await;
        let ReplyBody::Full(receipt) = &reply.body else { panic!("a receipt is whole") };
        assert_eq!(service.app.bodies.used(), receipt.len());
        drop(reply);
        assert_eq!(service.app.bodies.used(), 0);
    }

    #[tokio::test]
    async fn an_unknown_path_is_404() {
        let service = Service::start();
        for path in
            ["/nothing", "/publish/", "/events/a", "/events/a/", "/events/a/b/c", "//publish", "/Stats"]
        {
            service.get(path).await.problem(404, "not-found");
        }
    }

    #[tokio::test]
    async fn another_method_is_405_with_the_allowed_ones() {
        let service = Service::start();
        for (method, path, allow) in [
            ("GET", "/publish", "POST, OPTIONS"),
            ("HEAD", "/publish", "POST, OPTIONS"),
            ("DELETE", "/publish", "POST, OPTIONS"),
            ("POST", "/events", "GET, HEAD, DELETE, OPTIONS"),
            ("PUT", "/events/t/e", "GET, HEAD, DELETE, OPTIONS"),
            ("DELETE", "/stats", "GET, HEAD, OPTIONS"),
            ("PATCH", "/readyz", "GET, HEAD, OPTIONS"),
        ] {
            let answer = service.send(method, path, &[], "").await;
            answer.problem(405, "method-not-allowed");
            assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
            assert_eq!(service.send("OPTIONS", path, &[], "").await.header("allow"), Some(allow));
        }
    }

    #[tokio::test]
    async fn a_page_of_a_foreign_origin_can_do_nothing() {
        let service = Service::start();
        let foreign = [("origin", "https://evil.example")];
        for (method, path) in
            [("POST", "/publish"), ("GET", "/stats"), ("OPTIONS", "/publish"), ("GET", "/healthz")]
        {
            let target = format!("http://localhost:3000{path}");
            let answer = service.send(method, &target, &foreign, r#"{"topic":"t","event_id":"1"}"#).await;
            answer.problem(403, "foreign-origin");
            assert_eq!(answer.header("access-control-allow-origin"), None);
        }
        assert_eq!(service.get("/stats").await.json()["received"], 0);
        let own = [("origin", "http://localhost:3000")];
        assert_eq!(service.send("GET", "http://localhost:3000/stats", &own, "").await.status, 200);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_reads_are_bounded_in_number_and_delay_neither_probes_nor_writes() {
        let service = Service::start();
        service.publish(&json!({"topic": "t", "event_id": "1"})).await;
        service.faults.slow.set(Some(("group_concat", Duration::from_secs(60))));
        let start = Instant::now();
        let slow = join_all((0..5).map(|_| service.get("/events")));
        let meanwhile = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(service.get("/readyz").await.status, 200);
            assert_eq!(service.publish(&json!({"topic": "t", "event_id": "2"})).await.status, 200);
            assert_eq!(start.elapsed().as_secs(), 1, "they waited");
            service.get("/stats").await.problem(503, "overloaded");
            assert_eq!(start.elapsed().as_secs(), 6, "a read waits for five seconds");
        };
        let (answers, ()) = futures::join!(slow, meanwhile);
        let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [200, 200, 200, 200, 503]);
    }

    #[test]
    fn a_service_with_invalid_settings_lives_and_its_probes_name_all_of_them() {
        let invalid =
            Settings::read("max_topics=0\nlog_format=xml\nmax_body_bytes=s3cret", "", "").unwrap_err();
        let refused = |method: Method, path: &str| {
            let (head, ()) = Request::builder().method(method).uri(path).body(()).unwrap().into_parts();
            let Reply { status, body: ReplyBody::Full(text), .. } = refuse(&head, &invalid) else { panic!() };
            (status, String::from_utf8(text.to_vec()).unwrap())
        };
        for (path, status) in [("/healthz", 200), ("/readyz", 503)] {
            let (answered, text) = refused(Method::GET, path);
            assert_eq!(answered, status, "{text}");
            for name in ["max_topics", "log_format", "max_body_bytes", "max_batch_events"] {
                assert!(text.contains(&format!("variable {name} must be")), "{path} lacks {name}: {text}");
            }
            assert!(!text.contains("s3cret"), "{text}");
        }
        for (method, path) in [(Method::POST, "/publish"), (Method::GET, "/stats"), (Method::POST, "/readyz")]
        {
            let (answered, text) = refused(method, path);
            assert!(answered == 500 && !text.contains("variable"), "{path}: {text}");
        }
    }

    #[tokio::test]
    async fn a_store_that_cannot_be_written_is_not_ready_and_can_be_read() {
        let service = Service::start();
        let event = json!({"topic": "t", "event_id": "1"});
        assert_eq!(service.publish(&event).await.status, 200);
        assert_eq!(service.get("/readyz").await.status, 200);
        let probe = include_str!("../store/sqlite/sql/probe.sql");
        let fail = |error| *service.faults.refused.borrow_mut() = Some((probe, error));
        fail(StoreError::Failed("attempt to write a readonly database".into()));
        let answer = service.get("/readyz").await;
        answer.problem(503, "not-ready");
        assert!(answer.text.contains("cannot be written"), "{}", answer.text);
        assert_eq!(service.get("/events").await.status, 200);
        fail(StoreError::Busy);
        assert_eq!(service.get("/readyz").await.status, 200, "another one writes");
    }

    #[tokio::test]
    async fn a_failing_database_is_500_without_its_cause_and_503_from_readyz() {
        let service = Service::start();
        assert_eq!(service.get("/readyz").await.status, 200);
        service.faults.statements_left.set(0);
        for path in ["/events", "/events/t/e", "/stats", "/metrics"] {
            let answer = service.get(path).await;
            answer.problem(500, "internal");
            assert!(!answer.text.contains("the server is gone"), "{}", answer.text);
        }
        let answer = service.get("/readyz").await;
        answer.problem(503, "not-ready");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(service.get("/healthz").await.status, 200);
    }
}
