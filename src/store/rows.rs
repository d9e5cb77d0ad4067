//! Answers of the store from the rows of statements, whose columns are the same in all databases.

use std::collections::HashSet;

use super::database::{Row, Value};
use super::{Answered, Ledger, Matches, Outcome, Page, PageSize, Seq, Span, Status, StoreError};
use crate::event::Topic;

impl Matches {
    /// The matches from a row of their last seq and their number, which is more than `limit` if there are more.
    ///
    /// # Errors
    /// When the row has other columns, here and below.
    pub(super) fn of(row: &Row, limit: u32) -> Result<Self, StoreError> {
        let counted = u32::try_from(row.integer(1)?).unwrap_or(u32::MAX);
        Ok(Self { count: counted.min(limit), last: row.integer(0).ok(), has_more: counted > limit })
    }
}

/// A span from a row of the seq before it and its last.
pub(super) fn span(row: &Row) -> Result<Span, StoreError> {
    Ok(Span { after: row.integer(0)?, through: row.integer(1)? })
}

impl Page {
    /// The page from a row of its text, its last seq and the number of its events; `None` if it has none.
    pub(super) fn of(mut row: Row, size: PageSize) -> Result<Option<Self>, StoreError> {
        let (last, events) = (row.integer(1), row.integer(2)?);
        match row.0.swap_remove(0) {
            Value::Text(text) => {
                let is_full = events == i64::from(size.events) || text.len() >= size.bytes as usize;
                Ok(Some(Self { text, last: last?, is_last: !is_full }))
            }
            _ => Ok(None),
        }
    }
}

impl Ledger {
    /// The ledger from a row of its fields.
    pub(super) fn of(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            unique_processed: row.integer(0)?,
            duplicate_dropped: row.integer(1)?,
            conflicts: row.integer(2)?,
            expired: row.integer(3)?,
            erased: row.integer(4)?,
            forgotten: row.integer(5)?,
            first_seq: row.integer(6)?,
            last_seq: row.integer(7)?,
            topics_total: row.integer(8)?,
            topics: row.text(9)?.to_owned(),
            by_topic: row.text(10)?.to_owned(),
            store_id: row.text(11)?.to_owned(),
        })
    }
}

/// Topics that were found, and the number of all, from a row of that number and a JSON array.
pub(super) fn found_topics(row: &Row) -> Result<(HashSet<Topic>, usize), StoreError> {
    let found: Vec<String> = row.json(1)?;
    let found = found.into_iter().filter_map(|name| Topic::of_stored(name).ok()).collect();
    Ok((found, usize::try_from(row.integer(0)?).unwrap_or_default()))
}

impl Answered {
    /// The answered request from a row of its fingerprint and a JSON array of `[seq, status]` of its events.
    pub(super) fn of(row: &Row) -> Result<Self, StoreError> {
        let outcomes: Vec<(Seq, u8)> = row.json(1)?;
        let outcome = |(seq, status)| Outcome { seq, status: Status::of_stored(status) };
        let outcomes = outcomes.into_iter().map(outcome).collect();
        Ok(Self { fingerprint: row.text(0)?.to_owned(), outcomes })
    }
}

impl Status {
    /// The number that stands for it in saved answers.
    pub(super) fn as_stored(self) -> u8 {
        match self {
            Self::Stored => 0,
            Self::Duplicate => 1,
            Self::Conflict => 2,
        }
    }

    /// The status that a number stands for in saved answers.
    pub(super) fn of_stored(status: u8) -> Self {
        match status {
            0 => Self::Stored,
            1 => Self::Duplicate,
            _ => Self::Conflict,
        }
    }
}
