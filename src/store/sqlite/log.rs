//! The bound of the write-ahead log. SQLite begins it anew when no reader needs it any more, so one that holds a read
//! transaction for long, such as a backup, would let it grow without end. Beyond the bound, writes wait for it.

use std::cell::Cell;
use std::time::Duration;

use crate::store::database::{Connection, Row};
use crate::store::{LogState, StoreError};

/// Pages at which nothing more is written until the log has begun anew: 176 MiB of the usual 4 KiB. What two
/// instances write between two looks, as fast as a disk was seen to take it, and a large transaction of each leave it
/// below 256.
const LONGEST: i64 = if cfg!(test) { 1000 } else { 45_056 };

/// The pages after which a look is taken, and the time between two looks. A look copies pages to the database, which
/// SQLite itself does about as often: after 2,000 pages, publishing was 4 % slower.
const PAGES: usize = if cfg!(test) { 2000 } else { 8000 };
const INTERVAL: Duration = Duration::from_millis(250);

/// The length of the log, as far as it is known.
#[derive(Default)]
pub struct Log {
    /// Pages that were written since the last look, at least.
    pages: Cell<usize>,
    looked_at: Cell<Duration>,
    is_too_long: Cell<bool>,
}

impl Log {
    /// Begins the log anew if it is too long.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while a reader needs it.
    pub async fn make_room(&self, connection: &impl Connection) -> Result<(), StoreError> {
        if !self.is_too_long.get() {
            return Ok(());
        }
        if checkpoint(connection, "restart").await?.is_none_or(|(is_kept, _)| !is_kept) {
            self.is_too_long.set(false);
            return Ok(());
        }
        sekali_common::log::error(
            "long-log",
            "a reader keeps the write-ahead log from beginning anew, so nothing is written",
        );
        Err(StoreError::Busy)
    }

    /// Looks at the length of the log now and then. It is called after each write, with the least of its
    /// pages.
    pub async fn look(&self, connection: &impl Connection, pages: usize, now: impl FnOnce() -> Duration) {
        self.pages.update(|before| before + pages);
        if self.pages.get() < PAGES {
            return;
        }
        let now = now();
        if now.saturating_sub(self.looked_at.get()) < INTERVAL {
            return;
        }
        self.pages.set(0);
        self.looked_at.set(now);
        if let Ok(Some((_, pages))) = checkpoint(connection, "passive").await {
            self.is_too_long.set(pages >= LONGEST);
        }
    }
}

/// Takes into the database what no reader needs, and tells the pages of the log and those taken.
pub const STATE: &str = "pragma wal_checkpoint(passive)";

/// Bytes of a page.
const PAGE: i64 = 4096;

/// The state of the log in a row of [`STATE`]. `None` if another checkpoint is made at the moment, or there is no log.
pub fn state(row: &Row) -> Option<LogState> {
    let (pages, taken) = (row.integer(1).ok()?, row.integer(2).ok()?);
    let is_known = row.integer(0) == Ok(0) && pages >= 0;
    let kept = pages - taken;
    is_known.then_some(LogState { kept_bytes: kept * PAGE, stops_writes: pages >= LONGEST && kept > 0 })
}

/// Makes a checkpoint: whether the log is kept, and its pages. `None` from a server, which keeps a log of its own.
pub async fn checkpoint(connection: &impl Connection, mode: &str) -> Result<Option<(bool, i64)>, StoreError> {
    match connection.execute(&format!("pragma wal_checkpoint({mode})"), vec![]).await {
        Ok(rows) => Ok(rows.first().and_then(|row| Some((row.integer(0).ok()? == 1, row.integer(1).ok()?)))),
        Err(error) if error.is_passing() => Err(error),
        Err(_) => Ok(None),
    }
}
