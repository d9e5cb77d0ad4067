//! The store on PostgreSQL: what it writes is a function of the database, what it reads a statement of one row.
//!
//! `schema` is the tables and functions, `append` a write, `remove` erasure and retention, `select` the texts of reads,
//! and `connections` what all of them use. Any number of hosts may share one database.

mod append;
mod connections;
mod parameter;
mod remove;
mod schema;
mod select;

use std::collections::HashSet;

pub use self::parameter::Parameter;

use self::connections::Connections;
use self::select::POSTGRES;
use super::database::{Database, Row, Value, first};
use super::lanes::Purpose;
use super::queries::{self, Queries};
use super::rows;
use super::statements::Dialect;
use super::window;
use super::{
    ANSWERS_KEPT_MS, Answered, Filter, Found, Keyed, LISTED_TOPICS, Layout, Ledger, Matches, Order, Outcome,
    Page, PageSize, ReadStore, Seq, Span, Status, StoreError, Window, WriteStore,
};
use crate::clock::Clock;
use crate::event::{EventId, NewEvent, Topic};

/// Seqs of one window, at most: PostgreSQL plans each read, and the more partitions it has, the longer that takes.
const LONGEST_WINDOW: i64 = 8 << 20;

/// The store.
pub struct PostgresStore<D, C> {
    connections: Connections<D, C>,
}

impl<D: Database<Parameter>, C: Clock> PostgresStore<D, C> {
    /// A store that opens `database` at first use.
    pub fn new(database: D, clock: C) -> Self {
        Self { connections: Connections::new(database, clock) }
    }
}

impl<D: Database<Parameter>, C: Clock> WriteStore for PostgresStore<D, C> {
    async fn append(&self, events: &[&NewEvent], keys: &[Keyed<'_>]) -> Result<Vec<Outcome>, StoreError> {
        if events.is_empty() && keys.is_empty() {
            return Ok(vec![]);
        }
        let parameters = append::parameters(events, keys);
        let rows = self.connections.write(include_str!("sql/append.sql"), parameters).await?;
        append::outcomes(&first(rows)?, events.len())
    }

    fn keeps_answers(&self) -> bool {
        true
    }

    async fn answered(&self, key: &str, now: i64) -> Result<Option<Answered>, StoreError> {
        let parameters = [key.into(), (now - ANSWERS_KEPT_MS).into()];
        let rows =
            self.connections.query(Purpose::Answer, include_str!("sql/answer.sql"), &parameters).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let outcomes: Vec<(Seq, u8)> = row.json(1)?;
        let outcomes = outcomes.into_iter().map(|(seq, status)| Outcome {
            seq,
            status: match status {
                0 => Status::Stored,
                1 => Status::Duplicate,
                _ => Status::Conflict,
            },
        });
        Ok(Some(Answered { fingerprint: row.text(0)?.to_owned(), outcomes: outcomes.collect() }))
    }
}

impl<D: Database<Parameter>, C: Clock> ReadStore for PostgresStore<D, C> {
    async fn readable(&self) -> Result<Span, StoreError> {
        let row = self.connections.query_row(Purpose::Look, include_str!("sql/readable.sql"), &[]).await?;
        Ok(Span { after: row.integer(0)?, through: row.integer(1)? })
    }

    async fn risks(&self) -> Result<Vec<String>, StoreError> {
        self.connections.query_row(Purpose::Look, include_str!("sql/risks.sql"), &[]).await?.json(0)
    }

    async fn window(&self, filter: &Filter, span: Span, order: Order) -> Result<Window, StoreError> {
        let window = window::next(&self.connections, filter, span, order).await?;
        if window.span.len() <= LONGEST_WINDOW {
            return Ok(window);
        }
        match window::behind_gap(&self.connections, window.span, order).await? {
            Some(rest) => Ok(Window { span: rest.first(LONGEST_WINDOW, order), ..window }),
            None => Ok(window),
        }
    }

    async fn matches(
        &self,
        filter: &Filter,
        window: Window,
        order: Order,
        limit: u32,
    ) -> Result<Matches, StoreError> {
        queries::matches(&self.connections, filter, window, order, limit).await
    }

    async fn page(
        &self,
        filter: &Filter,
        window: Window,
        order: Order,
        layout: Layout,
        size: PageSize,
    ) -> Result<Option<Page>, StoreError> {
        queries::page(&self.connections, filter, window, order, layout, size).await
    }

    async fn event(&self, topic: &Topic, event_id: &EventId) -> Result<Option<Found>, StoreError> {
        let parameters = [topic.as_str(), event_id.as_str()].map(Parameter::from);
        let mut rows = self.connections.query(Purpose::Answer, &select::event_by_id(), &parameters).await?;
        Ok(rows.pop().map(|mut row| match row.0.pop() {
            Some(Value::Text(event)) => Found::Event(event),
            _ => Found::Gone,
        }))
    }

    async fn ledger(&self, topics: &[Topic]) -> Result<Ledger, StoreError> {
        let named = match topics {
            [] => Parameter::Null,
            topics => topics.iter().map(Topic::as_str).collect(),
        };
        let parameters = [named, i64::from(LISTED_TOPICS).into()];
        let ledger = include_str!("sql/ledger.sql");
        Ledger::of(&self.connections.query_row(Purpose::Answer, ledger, &parameters).await?)
    }

    async fn find_topics(&self, topics: &[&Topic]) -> Result<(HashSet<Topic>, usize), StoreError> {
        let parameters = [topics.iter().map(|topic| topic.as_str()).collect()];
        // A producer asks, and must not wait for those who read.
        let row = self
            .connections
            .query_row(Purpose::Look, include_str!("sql/find_topics.sql"), &parameters)
            .await?;
        rows::found_topics(&row)
    }
}

impl<D: Database<Parameter>, C: Clock> Queries for Connections<D, C> {
    type Parameter = Parameter;

    const DIALECT: &'static Dialect = &POSTGRES;

    async fn query_row(
        &self,
        purpose: Purpose,
        statement: &str,
        parameters: &[Parameter],
    ) -> Result<Row, StoreError> {
        self.query_row(purpose, statement, parameters).await
    }
}

#[cfg(test)]
mod tests;
