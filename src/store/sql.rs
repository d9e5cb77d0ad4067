//! The store over SQL: reading and removing, the same on every database but for the texts of statements.

use std::collections::HashSet;
use std::time::Duration;

use super::consume::{Change, ConsumeStore, Failure, Moment, Stored, Which};
use super::database::{Row, Value, first};
use super::dialect::{Dialect, Statement};
use super::query::{Purpose, Query};
use super::window::{self, ENTRIES, FEW, IndexProbe, Share};
use super::{
    Answered, Filter, Found, Index, Kept, Keyed, LISTED_TOPICS, Layout, Ledger, LogState, Matches, Order,
    Outcome, Page, PageSize, ReadStore, RemoveStore, Seq, Span, Step, StoreError, Window, WriteStore, rows,
};
use crate::event::{EventId, NewEvent, Topic, TopicPattern};

/// A database with its own way to write and to take away.
#[allow(async_fn_in_trait)] // An instance has one thread: futures need not be Send.
pub trait Backend: 'static {
    /// Its dialect.
    fn dialect(&self) -> &'static Dialect;

    /// Runs a query, again while it finds the database busy, or a server that does not know the seq of the query.
    async fn query(&self, query: Query<'_>) -> Result<Vec<Row>, StoreError>;

    /// Runs a statement that writes, again while it finds the database busy.
    async fn write(&self, text: &str, parameters: &[Value]) -> Result<Vec<Row>, StoreError>;

    /// Runs a statement that removes `most` rows at most, again while it finds the database busy. Returns their number.
    async fn remove(&self, text: &str, parameters: &[Value], most: u32) -> Result<i64, StoreError>;

    /// Runs a short query of what is committed at this moment, which no replica answers.
    async fn current(&self, text: &str, parameters: &[Value]) -> Result<Vec<Row>, StoreError>;

    /// See [`ConsumeStore::change_consumer`].
    async fn change_consumer(&self, name: &str, change: &Change) -> Result<Option<Span>, StoreError>;

    /// See [`WriteStore::append`].
    async fn append(&self, events: &[&NewEvent], keys: &[Keyed<'_>]) -> Result<Vec<Outcome>, StoreError>;

    /// See [`ReadStore::newest`].
    async fn newest(&self) -> Result<Seq, StoreError>;

    /// See [`ReadStore::is_writable`].
    async fn is_writable(&self) -> Result<bool, StoreError>;

    /// See [`ReadStore::log`].
    async fn log(&self) -> Result<Option<LogState>, StoreError> {
        Ok(None)
    }

    /// See [`RemoveStore::erase_event`].
    async fn erase_event(&self, topic: &Topic, event_id: &EventId) -> Result<bool, StoreError>;

    /// See [`RemoveStore::scrub`].
    async fn scrub(&self) -> Result<(), StoreError>;

    /// See [`RemoveStore::expire`]. It goes through `most` rows.
    async fn expire(&self, kept: Kept, most: u32) -> Result<Step, StoreError>;

    /// See [`RemoveStore::sweep`]. It goes through `most` rows.
    async fn sweep(&self, most: u32) -> Result<Step, StoreError>;
}

/// The store on a database.
pub struct SqlStore<B>(B);

impl<B: Backend> SqlStore<B> {
    /// The store.
    pub fn on(backend: B) -> Self {
        Self(backend)
    }

    /// The row of a statement that has one.
    async fn row(&self, purpose: Purpose, text: &str, parameters: &[Value]) -> Result<Row, StoreError> {
        first(self.0.query(Query::new(purpose, text, parameters)).await?)
    }

    /// The rows of so many short steps.
    fn rows(&self, steps: u32) -> u32 {
        self.0.dialect().rows_of_step * steps
    }

    /// Runs a statement that removes as many rows as its last parameter says.
    async fn remove(&self, text: &str, parameters: &[Value], steps: u32) -> Result<Step, StoreError> {
        let most = self.rows(steps);
        let parameters = [parameters, &[i64::from(most).into()]].concat();
        let removed = self.0.remove(text, &parameters, most).await?;
        let events = u32::try_from(removed).unwrap_or(u32::MAX);
        Ok(Step { events, has_more: events == most })
    }

    /// The row of a statement that reads a span.
    async fn read(&self, purpose: Purpose, span: Span, statement: Statement) -> Result<Row, StoreError> {
        let Statement { text, parameters } = statement;
        let query = Query { through: span.through, ..Query::new(purpose, &text, &parameters) };
        first(self.0.query(query).await?)
    }
}

impl<B: Backend> WriteStore for SqlStore<B> {
    async fn append(&self, events: &[&NewEvent], keys: &[Keyed<'_>]) -> Result<Vec<Outcome>, StoreError> {
        if events.is_empty() && keys.is_empty() {
            return Ok(vec![]);
        }
        self.0.append(events, keys).await
    }

    async fn answered(&self, key: &str) -> Result<Option<Answered>, StoreError> {
        // As a write: a replica may not have it yet.
        let rows = self.0.write(self.0.dialect().texts.answer, &[key.into()]).await?;
        rows.first().map(Answered::of).transpose()
    }

    async fn record_totals(&self) -> Result<(), StoreError> {
        let texts = &self.0.dialect().texts;
        // Looked at first, because every instance of every host comes, and a write keeps others waiting.
        if self.row(Purpose::Probe, texts.is_recorded, &[]).await?.integer(0)? == 0 {
            self.0.write(texts.record, &[]).await?;
        }
        Ok(())
    }
}

impl<B: Backend> ReadStore for SqlStore<B> {
    async fn readable(&self) -> Result<Span, StoreError> {
        rows::span(&self.row(Purpose::Probe, &self.0.dialect().readable(), &[]).await?)
    }

    async fn newest(&self) -> Result<Seq, StoreError> {
        self.0.newest().await
    }

    async fn is_writable(&self) -> Result<bool, StoreError> {
        self.0.is_writable().await
    }

    async fn risks(&self) -> Result<Vec<String>, StoreError> {
        self.row(Purpose::Probe, self.0.dialect().texts.risks, &[]).await?.json(0)
    }

    async fn log(&self) -> Result<Option<LogState>, StoreError> {
        self.0.log().await
    }

    async fn window(&self, filter: &Filter, span: Span, order: Order) -> Result<Window, StoreError> {
        window::next(self, filter, span, order).await
    }

    async fn matches(
        &self,
        filter: &Filter,
        Window { span, index }: Window,
        order: Order,
        limit: u32,
    ) -> Result<Matches, StoreError> {
        let statement = self.0.dialect().matches(filter, index, order);
        let own = [span.after, span.through, i64::from(limit) + 1];
        Matches::of(&self.read(Purpose::Answer, span, statement.with(&own)).await?, limit)
    }

    async fn page(
        &self,
        filter: &Filter,
        Window { span, index }: Window,
        order: Order,
        layout: Layout,
        size: PageSize,
    ) -> Result<Option<Page>, StoreError> {
        let statement = (self.0.dialect().page)(filter, index, order, layout);
        let own = [span.after, span.through, size.events.into(), size.bytes.into()];
        let purpose = if size == PageSize::SMALL { Purpose::Follow } else { Purpose::Answer };
        Page::of(self.read(purpose, span, statement.with(&own)).await?, size)
    }

    async fn event(&self, topic: &Topic, event_id: &EventId) -> Result<Option<Found>, StoreError> {
        let dialect = self.0.dialect();
        let identity = [topic.as_str(), event_id.as_str()].map(Value::from);
        let known = self.0.query(Query::new(Purpose::Answer, dialect.texts.identity, &identity)).await?;
        let Some(known) = known.first() else { return Ok(None) };
        let Ok(seq) = known.integer(0) else { return Ok(Some(Found::Gone)) };
        // By its seq alone, so that of many partitions one is looked at.
        let (text, parameters) = ((dialect.event)(), [seq.into()]);
        let query = Query { through: seq, ..Query::new(Purpose::Answer, &text, &parameters) };
        let event = self.0.query(query).await?;
        match event.into_iter().next().map(|mut row| row.0.swap_remove(0)) {
            Some(Value::Text(event)) => Ok(Some(Found::Event(event))),
            _ => Ok(Some(Found::Gone)), // since then
        }
    }

    async fn ledger(&self, topics: &[TopicPattern]) -> Result<Ledger, StoreError> {
        let ranges: Vec<_> = topics.iter().map(TopicPattern::range).collect();
        let bounds = [0, 1].map(|bound| match topics {
            [] => Value::Null,
            _ => (self.0.dialect().names)(
                &ranges.iter().map(|range| range[bound].as_str()).collect::<Vec<_>>(),
            ),
        });
        let parameters = [&bounds[..], &[i64::from(LISTED_TOPICS).into()]].concat();
        Ledger::of(&self.row(Purpose::Answer, self.0.dialect().texts.ledger, &parameters).await?)
    }

    async fn history(&self, minutes: u32) -> Result<String, StoreError> {
        let minutes = [i64::from(minutes).into()];
        let row = self.row(Purpose::Answer, self.0.dialect().texts.history, &minutes).await?;
        Ok(row.text(0)?.to_owned())
    }

    async fn find_topics(&self, topics: &[&Topic]) -> Result<(HashSet<Topic>, usize), StoreError> {
        let names: Vec<_> = topics.iter().map(|topic| topic.as_str()).collect();
        let parameters = [(self.0.dialect().names)(&names)];
        // As a write, which waits for no reader: a producer asks.
        rows::found_topics(&first(self.0.write(self.0.dialect().texts.find_topics, &parameters).await?)?)
    }
}

impl<B: Backend> RemoveStore for SqlStore<B> {
    async fn erase_event(&self, topic: &Topic, event_id: &EventId) -> Result<bool, StoreError> {
        self.0.erase_event(topic, event_id).await
    }

    async fn erase(&self, filter: &Filter, window: Window, limit: u32) -> Result<Matches, StoreError> {
        let matches = self.matches(filter, window, Order::Ascending, limit).await?;
        if let Some(last) = matches.last {
            let own = [window.span.after, last, limit.into()];
            let Statement { text, parameters } = self.0.dialect().erase(filter, window.index).with(&own);
            self.0.write(&text, &parameters).await?;
        }
        Ok(matches)
    }

    async fn scrub(&self) -> Result<(), StoreError> {
        self.0.scrub().await
    }

    async fn claim(&self, lease: Duration) -> Result<bool, StoreError> {
        let claimed = self.0.write(self.0.dialect().texts.claim, &[seconds(lease)]).await?;
        Ok(!claimed.is_empty())
    }

    async fn release(&self, pause: Duration) -> Result<(), StoreError> {
        self.0.write(self.0.dialect().texts.release, &[seconds(pause)]).await.map(drop)
    }

    async fn expire(&self, kept: Kept, steps: u32) -> Result<Step, StoreError> {
        self.0.expire(kept, self.rows(steps)).await
    }

    async fn forget(&self, days: u32, steps: u32) -> Result<Step, StoreError> {
        self.remove(self.0.dialect().texts.forget, &[i64::from(days).into()], steps).await
    }

    async fn forget_answers(&self, steps: u32) -> Result<Step, StoreError> {
        self.remove(self.0.dialect().texts.forget_answers, &[], steps).await
    }

    async fn sweep(&self, steps: u32) -> Result<Step, StoreError> {
        self.0.sweep(self.rows(steps)).await
    }
}

impl<B: Backend> ConsumeStore for SqlStore<B> {
    async fn consumers(&self) -> Result<(Vec<Stored>, Moment), StoreError> {
        let row = first(self.0.current(self.0.dialect().texts.consumers, &[]).await?)?;
        Ok((row.json(0)?, row.integer(1)?))
    }

    async fn consumer(&self, name: &str) -> Result<(Option<Stored>, Moment), StoreError> {
        let row = first(self.0.current(self.0.dialect().texts.consumer, &[name.into()]).await?)?;
        let stored = row.text(1).ok().map(|state| {
            let version = row.integer(0)?;
            Ok(Stored { name: name.to_owned(), version, state: state.to_owned() })
        });
        Ok((stored.transpose()?, row.integer(2)?))
    }

    async fn create_consumer(&self, name: &str, state: &str, most: u32) -> Result<bool, StoreError> {
        let parameters = [name.into(), state.into(), i64::from(most).into()];
        let created = self.0.write(self.0.dialect().texts.create_consumer, &parameters).await?;
        Ok(!created.is_empty())
    }

    async fn change_consumer(&self, name: &str, change: &Change) -> Result<Option<Span>, StoreError> {
        self.0.change_consumer(name, change).await
    }

    async fn delete_consumer(&self, name: &str) -> Result<bool, StoreError> {
        let deleted = self.0.write(self.0.dialect().texts.delete_consumer, &[name.into()]).await?;
        Ok(!deleted.is_empty())
    }

    async fn failures(&self, name: &str, which: Which<'_>, most: u32) -> Result<Vec<Failure>, StoreError> {
        let Statement { text, mut parameters } = self.0.dialect().failures(which);
        parameters.splice(0..0, [name.into(), i64::from(most).into()]);
        first(self.0.current(&text, &parameters).await?)?.json(0)
    }

    async fn lanes(&self, name: &str) -> Result<i64, StoreError> {
        first(self.0.current(self.0.dialect().texts.lanes, &[name.into()]).await?)?.integer(0)
    }

    async fn events_of(&self, seqs: &[Seq]) -> Result<Vec<String>, StoreError> {
        let Some(through) = seqs.iter().copied().max() else { return Ok(vec![]) };
        let dialect = self.0.dialect();
        let (text, parameters) = ((dialect.events)(), [(dialect.seqs)(seqs)]);
        let query = Query { through, ..Query::new(Purpose::Answer, &text, &parameters) };
        let row = first(self.0.query(query).await?)?;
        Ok(row.text(0).map(|lines| lines.lines().map(str::to_owned).collect()).unwrap_or_default())
    }

    async fn erased(&self, topics: &[TopicPattern], span: Span) -> Result<i64, StoreError> {
        let filter = Filter { topics: topics.to_vec(), ..Filter::default() };
        let statement = self.0.dialect().erased(&filter).with(&[span.after, span.through]);
        self.read(Purpose::Probe, span, statement).await?.integer(0)
    }
}

impl<B: Backend> IndexProbe for SqlStore<B> {
    fn partition(&self) -> Option<Seq> {
        self.0.dialect().partition
    }

    fn longest_window(&self) -> i64 {
        self.0.dialect().longest_window
    }

    async fn overlapping(&self, filter: &Filter, span: Span, order: Order) -> Result<Span, StoreError> {
        let statement = self.0.dialect().overlapping(filter, order).with(&[span.after, span.through]);
        let row = self.read(Purpose::Probe, span, statement).await?;
        Ok(Span { after: row.integer(0)?, through: row.integer(1)? })
    }

    async fn share(&self, filter: &Filter, span: Span) -> Result<Share, StoreError> {
        let statement = self.0.dialect().share(filter).with(&[span.after]);
        let row = self.read(Purpose::Probe, span, statement).await?;
        Ok(Share { topics: row.integer(0)?, events: row.integer(1)?, all: row.integer(2)? })
    }

    async fn next_of_topics(
        &self,
        filter: &Filter,
        span: Span,
        order: Order,
    ) -> Result<Option<Seq>, StoreError> {
        let statement = self.0.dialect().next_of_topics(filter, order).with(&[span.after, span.through]);
        Ok(self.read(Purpose::Probe, span, statement).await?.integer(0).ok())
    }

    async fn has_some(&self, filter: &Filter, span: Span, order: Order) -> Result<bool, StoreError> {
        let window = Window { span, index: Index::Seq };
        Ok(self.matches(filter, window, order, 1).await?.count > 0)
    }

    async fn has_few(&self, filter: &Filter, span: Span) -> Result<bool, StoreError> {
        let statement = self.0.dialect().few(filter, Index::Topics).with(&[span.after, span.through, FEW]);
        Ok(self.read(Purpose::Probe, span, statement).await?.integer(0)? < FEW)
    }

    async fn has_short_time(&self, filter: &Filter, span: Span) -> Result<bool, StoreError> {
        let dialect = self.0.dialect();
        let all = dialect.partition.map_or(span, |partition| span.partitions(partition));
        let statement = dialect.few(filter, Index::Timestamp).with(&[all.after, all.through, ENTRIES]);
        Ok(self.read(Purpose::Probe, span, statement).await?.integer(0)? < ENTRIES)
    }

    async fn reach(
        &self,
        filter: &Filter,
        span: Span,
        index: Index,
        order: Order,
    ) -> Result<Option<Seq>, StoreError> {
        let statement = self.0.dialect().reach(filter, index, order);
        let statement = statement.with(&[span.after, span.through, ENTRIES]);
        Ok(self.read(Purpose::Probe, span, statement).await?.integer(0).ok())
    }

    async fn next_row(&self, span: Span, order: Order) -> Result<Option<Seq>, StoreError> {
        let statement = self.0.dialect().next_row(order).with(&[span.after, span.through]);
        Ok(self.read(Purpose::Probe, span, statement).await?.integer(0).ok())
    }
}

fn seconds(duration: Duration) -> Value {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX).into()
}
