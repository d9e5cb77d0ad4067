//! Whole requests into the router, made of any bytes, over a store that stores nothing: every parser of bodies, headers,
//! paths and queries is behind it. scripts/fuzz makes the bytes, and so does a test below.

use std::cell::Cell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use futures::{FutureExt, Stream, stream};
use http::Request;

use super::NativePlatform;
use crate::clock::Clock;
use crate::consumers::{Claim, Kind, Skipped, Specification, State};
use crate::event::{EventId, NewEvent, Timestamp, Topic, TopicPattern};
use crate::http::app::App;
use crate::http::reply::Reply;
use crate::http::router;
use crate::http::saved_answers::KeyValue;
use crate::http::settings::Settings;
use crate::store::consume::{Change, ConsumeStore, Failure, Moment, Stored, Which};
use crate::store::{
    Answered, Filter, Found, Index, Kept, Keyed, Layout, Ledger, Matches, Order, Outcome, Page, PageSize,
    ReadStore, RemoveStore, Seq, Span, Status, Step, StoreError, Window, WriteStore,
};

/// A store that is empty, whatever is put into it.
pub(super) struct Nothing;

impl WriteStore for Nothing {
    async fn append(&self, events: &[&NewEvent], _: &[Keyed<'_>]) -> Result<Vec<Outcome>, StoreError> {
        let outcome = |event: &&NewEvent| {
            assert!(event.topic.as_str().len() <= 255 && event.event_id.as_str().len() <= 255);
            assert!(!event.payload.as_json().is_empty());
            Outcome { seq: 1, status: Status::Stored }
        };
        Ok(events.iter().map(outcome).collect())
    }

    async fn answered(&self, _: &str) -> Result<Option<Answered>, StoreError> {
        Ok(None)
    }
}

impl ReadStore for Nothing {
    async fn readable(&self) -> Result<Span, StoreError> {
        Ok(Span { after: 0, through: 9 })
    }

    async fn window(&self, _: &Filter, span: Span, _: Order) -> Result<Window, StoreError> {
        Ok(Window { span, index: Index::Seq })
    }

    async fn matches(&self, _: &Filter, _: Window, _: Order, limit: u32) -> Result<Matches, StoreError> {
        Ok(Matches { count: limit, last: Some(5), has_more: true })
    }

    async fn page(
        &self,
        _: &Filter,
        _: Window,
        _: Order,
        _: Layout,
        _: PageSize,
    ) -> Result<Option<Page>, StoreError> {
        Ok(None)
    }

    async fn event(&self, _: &Topic, _: &EventId) -> Result<Option<Found>, StoreError> {
        Ok(Some(Found::Event("{}".into())))
    }

    async fn ledger(&self, _: &[TopicPattern]) -> Result<Ledger, StoreError> {
        Err(StoreError::Busy)
    }

    async fn find_topics(&self, topics: &[&Topic]) -> Result<(HashSet<Topic>, usize), StoreError> {
        Ok((HashSet::new(), topics.len()))
    }
}

impl RemoveStore for Nothing {
    async fn erase_event(&self, _: &Topic, _: &EventId) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn erase(&self, _: &Filter, _: Window, limit: u32) -> Result<Matches, StoreError> {
        Ok(Matches { count: limit, last: Some(5), has_more: true })
    }

    async fn scrub(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn claim(&self, _: Duration) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn release(&self, _: Duration) -> Result<(), StoreError> {
        Ok(())
    }

    async fn expire(&self, _: Kept, _: u32) -> Result<Step, StoreError> {
        Err(StoreError::Busy)
    }

    async fn forget(&self, _: u32, _: u32) -> Result<Step, StoreError> {
        Err(StoreError::Busy)
    }

    async fn forget_answers(&self, _: u32) -> Result<Step, StoreError> {
        Err(StoreError::Busy)
    }
}

impl ConsumeStore for Nothing {
    async fn consumers(&self) -> Result<(Vec<Stored>, Moment), StoreError> {
        Ok((vec![], 0))
    }

    /// One that has nine events out, by a claim that does not run out.
    async fn consumer(&self, name: &str) -> Result<(Option<Stored>, Moment), StoreError> {
        let mut state = State::new(Specification::of(name), 1, 9);
        state.claims.push(Claim {
            token: "c".into(),
            holder: "h".into(),
            kind: Kind::New,
            from: 0,
            to: 9,
            seqs: vec![],
            aside: vec![2],
            expires_at: Moment::MAX,
            lease: 30,
            attempt: 1,
            events: 8,
            missing: Skipped::default(),
        });
        let stored = Stored { name: name.to_owned(), version: 1, state: state.written()? };
        Ok((Some(stored), 0))
    }

    async fn create_consumer(&self, _: &str, _: &str, _: u32) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn change_consumer(&self, _: &str, _: &Change) -> Result<Option<Span>, StoreError> {
        self.readable().await.map(Some)
    }

    async fn delete_consumer(&self, _: &str) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn failures(&self, _: &str, _: Which<'_>, _: u32) -> Result<Vec<Failure>, StoreError> {
        Ok(vec![])
    }

    async fn lanes(&self, _: &str) -> Result<i64, StoreError> {
        Ok(0)
    }

    async fn events_of(&self, _: &[Seq]) -> Result<Vec<String>, StoreError> {
        Ok(vec![])
    }

    async fn erased(&self, _: &[TopicPattern], _: Span) -> Result<i64, StoreError> {
        Ok(0)
    }
}

impl KeyValue for Nothing {
    async fn get(&self, _: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(None)
    }

    async fn set(&self, _: &str, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

/// A clock that moves while somebody sleeps, which takes no time.
#[derive(Clone, Default)]
pub(super) struct Dreaming(Rc<Cell<Duration>>);

impl Clock for Dreaming {
    fn now(&self) -> Duration {
        self.0.get()
    }

    async fn sleep(&self, duration: Duration) {
        self.0.set(self.0.get() + duration);
    }

    async fn yield_now(&self) {}
}

/// Headers that a request may have. Each has a bit of the second byte.
const HEADERS: [(&str, &str); 8] = [
    ("content-encoding", "x-gzip"),
    ("ce-specversion", "1.0"),
    ("ce-id", ""),
    ("prefer", ""),
    ("origin", ""),
    ("idempotency-key", ""),
    ("last-event-id", ""),
    ("webhook-request-origin", ""),
];

const CONTENT_TYPES: [&str; 7] = [
    "application/json",
    "application/x-ndjson",
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
    "text/plain",
    "",
    "application/x-protobuf",
];

/// Answers the request that some bytes are. Every request gets an answer, which is never a 5xx.
pub fn answer(data: &[u8]) {
    let [kind, which, rest @ ..] = data else { return };
    // The text of the head ends at the first zero; the body is behind it.
    let (text, body) = match rest.iter().position(|byte| *byte == 0) {
        Some(end) => (&rest[..end], &rest[end + 1..]),
        None => (&b""[..], rest),
    };
    let text = String::from_utf8_lossy(text);
    let read_or_erase = if *kind < 128 { "GET" } else { "DELETE" };
    let (method, path) = match kind % 8 {
        0 if *kind >= 192 => ("POST", format!("/elastic/{text}")),
        0 if *kind >= 128 => ("POST", "/v1/logs".to_owned()),
        0 => ("POST", "/publish".to_owned()),
        1 => ("POST", format!("/publish?{text}")),
        2 => (read_or_erase, format!("/events?{text}")),
        3 => (read_or_erase, format!("/events/{text}")),
        4 => ("OPTIONS", format!("/publish?{text}")),
        5 if *kind < 128 => ("PATCH", format!("/{text}")),
        5 => (if *kind < 192 { "POST" } else { "PUT" }, format!("/consumers/{text}")),
        6 => ("POST", format!("http://{text}/publish")),
        _ => (read_or_erase, format!("http://{text}/events/t/1")),
    };
    let mut request = Request::builder().method(method).uri(path);
    if method == "DELETE" {
        request = request.header("authorization", "Bearer boss");
    }
    let content_type = CONTENT_TYPES[usize::from(kind / 8) % CONTENT_TYPES.len()];
    if !content_type.is_empty() {
        request = request.header("content-type", content_type);
    }
    for (bit, (name, value)) in HEADERS.iter().enumerate() {
        if which & (1 << bit) != 0 {
            request = request.header(*name, if value.is_empty() { &text } else { *value });
        }
    }
    let Ok(request) = request.body(stream::iter([Ok(body.to_vec())])) else { return };
    let reply = reply(&app("max_topics=9\nadmin_token=boss\nwebhook_origins=*", ""), request);
    assert!(reply.status.as_u16() < 500, "{}", reply.status);
}

/// A platform that stores nothing.
pub(super) type Nowhere = NativePlatform<Nothing, Nothing, Dreaming>;

/// The service with low limits, some settings and some receivers.
pub(super) fn app(variables: &str, hooks: &str) -> App<Nowhere> {
    const LIMITS: &str =
        "max_body_bytes=65536\nmax_otlp_bytes=65536\nmax_event_bytes=65536\nmax_batch_events=100";
    let settings = Settings::read(&format!("{LIMITS}\n{variables}"), hooks, "");
    let started_at = Timestamp::parse("2026-11-21T01:00:00Z");
    let (Ok(settings), Ok(started_at)) = (settings, started_at) else { panic!("the settings are good") };
    App::new(settings, started_at, Nothing, Nothing, Dreaming::default(), 1)
}

/// The reply to a request, which comes at once.
pub(super) fn reply<B: Stream<Item = Result<Vec<u8>, String>>>(
    app: &App<Nowhere>,
    request: Request<B>,
) -> Reply {
    let Some(reply) = router::answer(app, request).now_or_never() else { panic!("something waits") };
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_request_is_its_answer_is_no_fault() {
        let parts: [&[u8]; 22] = [
            b"{\"topic\":\"t\",\"event_id\":\"e\"}",
            b"[",
            b"]",
            b"{",
            b"}",
            b",",
            b"\n",
            b"\"",
            b"\\ud800",
            b"\0",
            b"\xef\xbb\xbf",
            b"\xff\xfe",
            b"after=1&conflicts=true",
            b"[::1]:3000",
            b"2026-11-21T01:00+05:30",
            b"%zz",
            b"_bulk\0",
            b"{\"create\":{\"_index\":\"i\"}}\n",
            b"{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{}",
            b"}]}]}]}",
            b"\x0a\x06\x12\x04\x12\x02\x1a\x00",
            b"\x12\x7f",
        ];
        let mut random = fastrand::Rng::with_seed(26);
        for _ in 0..20_000 {
            let mut data = vec![random.u8(..), random.u8(..)];
            for _ in 0..random.usize(..8) {
                data.extend(parts[random.usize(..parts.len())]);
            }
            answer(&data);
        }
    }
}
