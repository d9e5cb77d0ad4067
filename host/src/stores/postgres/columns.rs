//! The columns of statements that returned no row, which cost three more statements to find out.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_postgres::types::Type;

/// Statements whose columns are known, for each pool.
const KNOWN_STATEMENTS: usize = 256;

/// The time for which the columns of a statement are known. A table may be altered.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// A column of a result.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Type,
}

impl Column {
    /// The column as the client describes it.
    pub fn of(column: &tokio_postgres::Column) -> Self {
        Self { name: column.name().to_owned(), ty: column.type_().clone() }
    }
}

/// The columns of statements that returned no row, and when they were learned.
#[derive(Default)]
pub struct KnownColumns(Mutex<HashMap<String, (Instant, Vec<Column>)>>);

impl KnownColumns {
    /// The columns of a statement, if they were learned lately.
    pub fn of(&self, statement: &str) -> Option<Vec<Column>> {
        let known = self.lock();
        let (learned, columns) = known.get(statement)?;
        (learned.elapsed() < KNOWN_FOR).then(|| columns.clone())
    }

    /// Remembers the columns of a statement.
    pub fn learn(&self, statement: &str, columns: &[Column]) {
        let mut known = self.lock();
        if known.len() >= KNOWN_STATEMENTS {
            known.clear();
        }
        known.insert(statement.to_owned(), (Instant::now(), columns.to_vec()));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Instant, Vec<Column>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
