//! Key-value stores on SQLite: one table of keys and values, with Spin's schema.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use rusqlite::{Connection, OptionalExtension};

/// A store. Each operation blocks; operations run one at a time, and a write is on disk when it returns.
#[derive(Clone)]
pub struct KeyValueStore(Arc<Mutex<Connection>>);

impl KeyValueStore {
    /// Opens the store in a file, or a new one in memory.
    pub fn open(path: Option<&Path>) -> Result<Self> {
        let connection = match path {
            Some(path) => {
                Connection::open(path).with_context(|| format!("cannot open {}", path.display()))?
            }
            None => Connection::open_in_memory()?,
        };
        connection.execute_batch(
            "create table if not exists spin_key_value (
                store text not null, key text not null, value blob not null, primary key (store, key)
            )",
        )?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> rusqlite::Result<Option<Vec<u8>>> {
        let get = "select value from spin_key_value where store = 'default' and key = ?1";
        self.lock().prepare_cached(get)?.query_row([key], |row| row.get(0)).optional()
    }

    /// Stores a value, in place of the key's old one.
    pub fn set(&self, key: &str, value: &[u8]) -> rusqlite::Result<()> {
        let set = "insert into spin_key_value (store, key, value) values ('default', ?1, ?2)
            on conflict (store, key) do update set value = excluded.value";
        self.lock().prepare_cached(set)?.execute((key, value)).map(drop)
    }

    /// Removes a key, if it is there.
    pub fn delete(&self, key: &str) -> rusqlite::Result<()> {
        let delete = "delete from spin_key_value where store = 'default' and key = ?1";
        self.lock().prepare_cached(delete)?.execute([key]).map(drop)
    }

    /// True if the key has a value.
    pub fn exists(&self, key: &str) -> rusqlite::Result<bool> {
        let exists = "select 1 from spin_key_value where store = 'default' and key = ?1";
        self.lock().prepare_cached(exists)?.exists([key])
    }

    /// All keys.
    pub fn keys(&self) -> rusqlite::Result<Vec<String>> {
        let keys = "select key from spin_key_value where store = 'default'";
        self.lock().prepare_cached(keys)?.query_map([], |row| row.get(0))?.collect()
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
