//! `spin:key-value@3.0.0` on SQLite: one table of keys and values a store, as Spin has it.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use rusqlite::{Connection, OptionalExtension};
use wasmtime::component::{Accessor, FutureReader, HasSelf, Resource, StreamReader};

use crate::instance::Guest;
use crate::instance::spin::key_value::key_value::{Error, Host, HostStore, HostStoreWithStore};

/// A store: every write is on disk when it returns, and one goes on at a time.
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

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` where blocking is allowed.
    async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let run = move || work(&self.lock());
        let result =
            tokio::task::spawn_blocking(run).await.map_err(|error| Error::Other(error.to_string()))?;
        result.map_err(|error| Error::Other(error.to_string()))
    }
}

fn of(
    store: &Accessor<Guest, HasSelf<Guest>>,
    resource: &Resource<KeyValueStore>,
) -> Result<KeyValueStore, Error> {
    store.with(|mut access| access.get().table.get(resource).cloned()).map_err(|_| Error::NoSuchStore)
}

impl Host for Guest {}

impl HostStore for Guest {
    fn drop(&mut self, store: Resource<KeyValueStore>) -> wasmtime::Result<()> {
        self.table.delete(store)?;
        Ok(())
    }
}

type StreamedKeys = (StreamReader<String>, FutureReader<Result<(), Error>>);

impl HostStoreWithStore<Guest> for HasSelf<Guest> {
    async fn open(store: &Accessor<Guest, Self>, label: String) -> Result<Resource<KeyValueStore>, Error> {
        store.with(|mut access| {
            let guest = access.get();
            let opened = guest.services.stores.key_value.get(&label).cloned().ok_or(Error::NoSuchStore)?;
            guest.table.push(opened).map_err(|_| Error::StoreTableFull)
        })
    }

    async fn get(
        store: &Accessor<Guest, Self>,
        resource: Resource<KeyValueStore>,
        key: String,
    ) -> Result<Option<Vec<u8>>, Error> {
        let get = "select value from spin_key_value where store = 'default' and key = ?1";
        let work =
            move |db: &Connection| db.prepare_cached(get)?.query_row([key], |row| row.get(0)).optional();
        of(store, &resource)?.run(work).await
    }

    async fn set(
        store: &Accessor<Guest, Self>,
        resource: Resource<KeyValueStore>,
        key: String,
        value: Vec<u8>,
    ) -> Result<(), Error> {
        let set = "insert into spin_key_value (store, key, value) values ('default', ?1, ?2)
            on conflict (store, key) do update set value = excluded.value";
        let work = move |db: &Connection| db.prepare_cached(set)?.execute((key, value)).map(drop);
        of(store, &resource)?.run(work).await
    }

    async fn delete(
        store: &Accessor<Guest, Self>,
        resource: Resource<KeyValueStore>,
        key: String,
    ) -> Result<(), Error> {
        let delete = "delete from spin_key_value where store = 'default' and key = ?1";
        let work = move |db: &Connection| db.prepare_cached(delete)?.execute([key]).map(drop);
        of(store, &resource)?.run(work).await
    }

    async fn exists(
        store: &Accessor<Guest, Self>,
        resource: Resource<KeyValueStore>,
        key: String,
    ) -> Result<bool, Error> {
        let exists = "select 1 from spin_key_value where store = 'default' and key = ?1";
        let work = move |db: &Connection| db.prepare_cached(exists)?.exists([key]);
        of(store, &resource)?.run(work).await
    }

    async fn get_keys(
        store: &Accessor<Guest, Self>,
        resource: Resource<KeyValueStore>,
    ) -> wasmtime::Result<StreamedKeys> {
        let work = |db: &Connection| {
            let mut statement =
                db.prepare_cached("select key from spin_key_value where store = 'default'")?;
            let keys = statement.query_map([], |row| row.get(0))?;
            keys.collect::<rusqlite::Result<Vec<String>>>()
        };
        let keys = match of(store, &resource) {
            Ok(opened) => opened.run(work).await,
            Err(error) => Err(error),
        };
        let (keys, end) = match keys {
            Ok(keys) => (keys, Ok(())),
            Err(error) => (vec![], Err(error)),
        };
        store.with(|mut access| {
            let keys = StreamReader::new(&mut access, keys)?;
            let end = FutureReader::new(&mut access, async { wasmtime::Result::<_>::Ok(end) })?;
            Ok((keys, end))
        })
    }
}
