//! Common ground of native tests: events, a clock, a database, key-value, and the whole service on them. All of it
//! panics where a test has failed.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

pub mod database;
#[cfg(test)]
pub mod postgres;
pub mod receivers;
pub mod requests;
pub mod service;

use std::marker::PhantomData;
use std::time::Duration;

use crate::clock::Clock;
use crate::event::{EventId, NewEvent, Timestamp, Topic};
use crate::http::app::Platform;
use crate::http::saved_answers::KeyValue;
use crate::payload::Payload;
use crate::store::{Filter, Kept, Layout, Order, PageSize, ReadStore, Store};

/// An event of the topic `t`.
pub fn event(id: impl Into<String>) -> NewEvent {
    event_with("t", id, "{}")
}

/// An event of any topic and payload.
pub fn event_with(topic: &str, id: impl Into<String>, payload: &str) -> NewEvent {
    let moment = Timestamp::parse("2026-11-21T01:00:00Z").unwrap();
    NewEvent {
        topic: Topic::parse(topic).unwrap(),
        event_id: EventId::parse(id).unwrap(),
        timestamp: Some(moment),
        source: None,
        payload: Payload::new(serde_json::from_str(payload).unwrap(), 0).unwrap(),
        attributes: None,
    }
}

/// All events of a filter, window by window and page by page.
pub async fn read_in(store: &impl ReadStore, filter: &Filter, order: Order) -> Vec<serde_json::Value> {
    let mut rest = store.readable().await.unwrap();
    let mut all = Vec::new();
    while !rest.is_empty() {
        let whole = store.window(filter, rest, order).await.unwrap();
        let mut window = whole;
        let page = async |window| store.page(filter, window, order, Layout::Array, PageSize::LARGE).await;
        while let Some(found) = page(window).await.unwrap() {
            let events: Vec<serde_json::Value> = serde_json::from_str(&format!("[{}]", found.text)).unwrap();
            assert_eq!(events.last().unwrap()["seq"], found.last);
            window.span = window.span.beyond(found.last, order);
            all.extend(events);
            if found.is_last {
                assert_eq!(page(window).await, Ok(None));
                break;
            }
        }
        rest = rest.behind(whole.span, order);
    }
    all
}

/// So many of the newest events are kept.
pub fn keep(events: u32) -> Kept {
    Kept { days: 0, events }
}

/// The number of events that can be read, by the books.
pub async fn readable_events(store: &impl ReadStore) -> i64 {
    let ledger = store.ledger(&[]).await.unwrap();
    ledger.unique_processed - ledger.expired - ledger.erased
}

/// Native code as a platform, with these stores and this clock.
pub struct NativePlatform<S, K, C>(PhantomData<(S, K, C)>);

impl<S, K, C> Platform for NativePlatform<S, K, C>
where
    S: Store,
    K: KeyValue,
    C: Clock + Clone,
{
    type Store = S;
    type KeyValue = K;
    type Clock = C;

    async fn host_metrics() -> String {
        "# of the host\n".into()
    }
}

/// The clock of tokio. Paused, it moves on when every task waits.
#[derive(Clone, Copy)]
pub struct TokioClock(tokio::time::Instant);

impl TokioClock {
    /// A clock that reads zero now.
    pub fn start() -> Self {
        Self(tokio::time::Instant::now())
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    async fn yield_now(&self) {
        tokio::task::yield_now().await;
    }
}
