//! The steps of a read: which run of seq to read next, and by which index, so that each step costs little whatever the
//! filter and the size of the store.
//!
//! A filter by topics or by sources alone is served by their index, whose every entry matches. Any other one may pass
//! over many events without a match. It is read in windows: each begins at the next event that the blocks do not
//! exclude by their timestamps, and ends after so many entries of the index that leads farthest with them.

use super::pool::{Pool, Purpose};
use super::select::{self, Statement};
use crate::clock::Clock;
use crate::store::database::{Database, Row, Value};
use crate::store::{Filter, Index, Order, Seq, Span, StoreError, Window};

/// Entries of an index in one window. Each may mean a look at an event. Tests see many windows in a small store.
const ENTRIES: i64 = if cfg!(test) { 64 } else { 1024 };

/// Rows of a window without a filter: only those whose events are gone cost a look without a match.
const ROWS: i64 = 64 * ENTRIES;

/// The next window of a span.
pub async fn next<D: Database, C: Clock>(
    pool: &Pool<D, C>,
    filter: &Filter,
    span: Span,
    order: Order,
) -> Result<Window, StoreError> {
    let is_by_time = filter.since.is_some() || filter.until.is_some();
    let (by_topic, by_source) = (!filter.topics.is_empty(), !filter.sources.is_empty());
    match (is_by_time, by_topic, by_source) {
        (false, true, false) => return Ok(Window { span, index: Index::Topics }),
        (false, false, true) => return Ok(Window { span, index: Index::Sources }),
        _ if span.is_empty() => return Ok(Window { span, index: Index::Seq }),
        _ => {}
    }
    let mut span = span;
    if is_by_time {
        let row = query(pool, select::overlapping(filter, order), span).await?;
        if row.integer(2)? < ENTRIES {
            return Ok(Window { span, index: Index::Timestamp });
        }
        span = Span { after: row.integer(0)?, through: row.integer(1)? };
    }
    if span.len() > ROWS {
        match behind_gap(pool, span, order).await? {
            Some(rest) => span = rest,
            None => return Ok(Window { span, index: Index::Seq }), // reading it costs nothing
        }
    }
    let rows = if is_by_time || by_topic { ENTRIES } else { ROWS };
    let mut farthest = Window { span: span.first(rows, order), index: Index::Seq };
    for (index, is_usable) in [(Index::Topics, by_topic), (Index::Sources, by_source)] {
        if is_usable && !span.is_empty() {
            let row = query(pool, select::reach(filter, index, order), span).await?;
            let reached = row.integer(0).map_or(span, |last| span.up_to(last, order));
            if reached.len() > farthest.span.len() {
                farthest = Window { span: reached, index };
            }
        }
    }
    Ok(farthest)
}

/// The part of a span from its next row on; `None` if it has no rows. A restore leaves gaps of billions.
async fn behind_gap<D: Database, C: Clock>(
    pool: &Pool<D, C>,
    span: Span,
    order: Order,
) -> Result<Option<Span>, StoreError> {
    let statement = match order {
        Order::Ascending => include_str!("sql/next_row.sql"),
        Order::Descending => include_str!("sql/previous_row.sql"),
    };
    let own = [span.after, span.through].map(Value::Integer);
    let row = pool.query_row(Purpose::Look, statement, &own).await?;
    Ok(row.integer(0).ok().map(|next| match order {
        Order::Ascending => Span { after: next - 1, ..span },
        Order::Descending => Span { through: next, ..span },
    }))
}

async fn query<D: Database, C: Clock>(
    pool: &Pool<D, C>,
    Statement { text, parameters }: Statement,
    span: Span,
) -> Result<Row, StoreError> {
    let own = [span.after, span.through, ENTRIES].map(Value::Integer);
    pool.query_row(Purpose::Look, &text, &[&own[..], &parameters].concat()).await
}

impl Span {
    fn len(self) -> i64 {
        self.through - self.after
    }

    /// The first seqs of it, in the order of reading.
    fn first(self, count: i64, order: Order) -> Self {
        let last: Seq = match order {
            Order::Ascending => self.through.min(self.after + count),
            Order::Descending => (self.after + 1).max(self.through - count + 1),
        };
        self.up_to(last, order)
    }
}
