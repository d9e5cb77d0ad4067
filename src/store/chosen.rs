//! The store that an operator chose.

use std::collections::HashSet;

use super::database::Database;
use super::postgres::{Parameter, PostgresStore};
use super::sqlite::SqliteStore;
use super::{
    Answered, Expired, Filter, Found, Keyed, Layout, Ledger, Matches, Order, Outcome, Page, PageSize,
    ReadStore, RemoveStore, Span, StoreError, Window, WriteStore,
};
use crate::clock::Clock;
use crate::event::{EventId, NewEvent, Timestamp, Topic};

/// One of the stores.
pub enum ChosenStore<S: Database, P, C> {
    /// On SQLite or libSQL.
    Sqlite(SqliteStore<S, C>),
    /// On PostgreSQL.
    Postgres(PostgresStore<P, C>),
}

/// Calls a method of the store.
macro_rules! of {
    ($chosen:expr, $store:ident => $call:expr) => {
        match $chosen {
            ChosenStore::Sqlite($store) => $call,
            ChosenStore::Postgres($store) => $call,
        }
    };
}

impl<S: Database, P: Database<Parameter>, C: Clock> WriteStore for ChosenStore<S, P, C> {
    async fn append(&self, events: &[&NewEvent], keys: &[Keyed<'_>]) -> Result<Vec<Outcome>, StoreError> {
        of!(self, store => store.append(events, keys).await)
    }

    fn keeps_answers(&self) -> bool {
        of!(self, store => store.keeps_answers())
    }

    async fn answered(&self, key: &str, now: i64) -> Result<Option<Answered>, StoreError> {
        of!(self, store => store.answered(key, now).await)
    }
}

impl<S: Database, P: Database<Parameter>, C: Clock> ReadStore for ChosenStore<S, P, C> {
    async fn readable(&self) -> Result<Span, StoreError> {
        of!(self, store => store.readable().await)
    }

    async fn risks(&self) -> Result<Vec<String>, StoreError> {
        of!(self, store => store.risks().await)
    }

    async fn window(&self, filter: &Filter, span: Span, order: Order) -> Result<Window, StoreError> {
        of!(self, store => store.window(filter, span, order).await)
    }

    async fn matches(
        &self,
        filter: &Filter,
        window: Window,
        order: Order,
        limit: u32,
    ) -> Result<Matches, StoreError> {
        of!(self, store => store.matches(filter, window, order, limit).await)
    }

    async fn page(
        &self,
        filter: &Filter,
        window: Window,
        order: Order,
        layout: Layout,
        size: PageSize,
    ) -> Result<Option<Page>, StoreError> {
        of!(self, store => store.page(filter, window, order, layout, size).await)
    }

    async fn event(&self, topic: &Topic, event_id: &EventId) -> Result<Option<Found>, StoreError> {
        of!(self, store => store.event(topic, event_id).await)
    }

    async fn ledger(&self, topics: &[Topic]) -> Result<Ledger, StoreError> {
        of!(self, store => store.ledger(topics).await)
    }

    async fn find_topics(&self, topics: &[&Topic]) -> Result<(HashSet<Topic>, usize), StoreError> {
        of!(self, store => store.find_topics(topics).await)
    }
}

impl<S: Database, P: Database<Parameter>, C: Clock> RemoveStore for ChosenStore<S, P, C> {
    async fn erase_event(&self, topic: &Topic, event_id: &EventId) -> Result<bool, StoreError> {
        of!(self, store => store.erase_event(topic, event_id).await)
    }

    async fn erase(&self, filter: &Filter, window: Window, limit: u32) -> Result<Matches, StoreError> {
        of!(self, store => store.erase(filter, window, limit).await)
    }

    async fn scrub(&self) -> Result<(), StoreError> {
        of!(self, store => store.scrub().await)
    }

    async fn claim(&self, now: &Timestamp, until: &Timestamp) -> Result<bool, StoreError> {
        of!(self, store => store.claim(now, until).await)
    }

    async fn release(&self, due_at: &Timestamp) -> Result<(), StoreError> {
        of!(self, store => store.release(due_at).await)
    }

    async fn readable_events(&self) -> Result<i64, StoreError> {
        of!(self, store => store.readable_events().await)
    }

    async fn expire(&self, received_before: Option<&Timestamp>, rows: u32) -> Result<Expired, StoreError> {
        of!(self, store => store.expire(received_before, rows).await)
    }

    async fn forget(&self, received_before: &Timestamp, rows: u32) -> Result<u32, StoreError> {
        of!(self, store => store.forget(received_before, rows).await)
    }
}
