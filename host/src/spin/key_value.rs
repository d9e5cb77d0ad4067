//! `spin:key-value@3.0.0`.

use wasmtime::component::{Accessor, FutureReader, HasSelf, Resource, StreamReader};

use super::bindings::spin::key_value::key_value::{Error, Host, HostStore, HostStoreWithStore};
use super::guest::Guest;
use crate::stores::key_value::KeyValueStore;

/// Runs `operation` on an open store, on a thread that may block.
async fn run<T: Send + 'static>(
    accessor: &Accessor<Guest, HasSelf<Guest>>,
    store: &Resource<KeyValueStore>,
    operation: impl FnOnce(&KeyValueStore) -> rusqlite::Result<T> + Send + 'static,
) -> Result<T, Error> {
    let store =
        accessor.with(|mut access| access.get().table.get(store).cloned()).map_err(|_| Error::NoSuchStore)?;
    tokio::task::spawn_blocking(move || operation(&store))
        .await
        .map_err(|error| Error::Other(error.to_string()))?
        .map_err(|error| Error::Other(error.to_string()))
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
    async fn open(accessor: &Accessor<Guest, Self>, label: String) -> Result<Resource<KeyValueStore>, Error> {
        accessor.with(|mut access| {
            let guest = access.get();
            let store = guest.services.stores.key_value.get(&label).cloned().ok_or(Error::NoSuchStore)?;
            guest.table.push(store).map_err(|_| Error::StoreTableFull)
        })
    }

    async fn get(
        accessor: &Accessor<Guest, Self>,
        store: Resource<KeyValueStore>,
        key: String,
    ) -> Result<Option<Vec<u8>>, Error> {
        run(accessor, &store, move |store| store.get(&key)).await
    }

    async fn set(
        accessor: &Accessor<Guest, Self>,
        store: Resource<KeyValueStore>,
        key: String,
        value: Vec<u8>,
    ) -> Result<(), Error> {
        run(accessor, &store, move |store| store.set(&key, &value)).await
    }

    async fn delete(
        accessor: &Accessor<Guest, Self>,
        store: Resource<KeyValueStore>,
        key: String,
    ) -> Result<(), Error> {
        run(accessor, &store, move |store| store.delete(&key)).await
    }

    async fn exists(
        accessor: &Accessor<Guest, Self>,
        store: Resource<KeyValueStore>,
        key: String,
    ) -> Result<bool, Error> {
        run(accessor, &store, move |store| store.exists(&key)).await
    }

    async fn get_keys(
        accessor: &Accessor<Guest, Self>,
        store: Resource<KeyValueStore>,
    ) -> wasmtime::Result<StreamedKeys> {
        let (keys, end) = match run(accessor, &store, KeyValueStore::keys).await {
            Ok(keys) => (keys, Ok(())),
            Err(error) => (vec![], Err(error)),
        };
        accessor.with(|mut access| {
            let keys = StreamReader::new(&mut access, keys)?;
            let end = FutureReader::new(&mut access, async { wasmtime::Result::<_>::Ok(end) })?;
            Ok((keys, end))
        })
    }
}
