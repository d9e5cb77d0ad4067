//! `spin:postgres@4.2.0`, in a host that was built without the feature `postgres`: each way to a connection is refused.
//!
//! By an error that the component can answer with. The constructor of a builder has none in the interface, so a builder
//! can be had, and refuses to connect.

#![allow(clippy::result_large_err)] // the interface has such errors

use wasmtime::component::{Accessor, FutureReader, HasSelf, Resource, StreamReader};

use super::bindings::spin::postgres::postgres::{
    Column, DbValue, Error, Host, HostConnection, HostConnectionBuilder, HostConnectionBuilderWithStore,
    HostConnectionWithStore, ParameterValue, RowSet,
};
use super::guest::Guest;
use crate::stores::postgres::{Connection, ConnectionBuilder};

fn absent() -> Error {
    Error::ConnectionFailed("this sekali-host was built without PostgreSQL".into())
}

impl Host for Guest {}

impl HostConnectionBuilder for Guest {
    fn new(&mut self, _: String) -> wasmtime::Result<Resource<ConnectionBuilder>> {
        Ok(self.table.push(ConnectionBuilder)?)
    }

    fn set_ca_root(&mut self, _: Resource<ConnectionBuilder>, _: String) -> Result<(), Error> {
        Err(absent())
    }

    fn build(&mut self, _: Resource<ConnectionBuilder>) -> Result<Resource<Connection>, Error> {
        Err(absent())
    }

    fn drop(&mut self, builder: Resource<ConnectionBuilder>) -> wasmtime::Result<()> {
        self.table.delete(builder)?;
        Ok(())
    }
}

impl HostConnectionBuilderWithStore<Guest> for HasSelf<Guest> {
    async fn build_async(
        _: &Accessor<Guest, Self>,
        _: Resource<ConnectionBuilder>,
    ) -> Result<Resource<Connection>, Error> {
        Err(absent())
    }
}

impl HostConnection for Guest {
    fn open(&mut self, _: String) -> Result<Resource<Connection>, Error> {
        Err(absent())
    }

    fn query(&mut self, _: Resource<Connection>, _: String, _: Vec<ParameterValue>) -> Result<RowSet, Error> {
        Err(absent())
    }

    fn execute(&mut self, _: Resource<Connection>, _: String, _: Vec<ParameterValue>) -> Result<u64, Error> {
        Err(absent())
    }

    fn drop(&mut self, _: Resource<Connection>) -> wasmtime::Result<()> {
        Ok(())
    }
}

type StreamedRows = (Vec<Column>, StreamReader<Vec<DbValue>>, FutureReader<Result<(), Error>>);

impl HostConnectionWithStore<Guest> for HasSelf<Guest> {
    async fn open_async(_: &Accessor<Guest, Self>, _: String) -> Result<Resource<Connection>, Error> {
        Err(absent())
    }

    async fn query_async(
        _: &Accessor<Guest, Self>,
        _: Resource<Connection>,
        _: String,
        _: Vec<ParameterValue>,
    ) -> Result<StreamedRows, Error> {
        Err(absent())
    }

    async fn execute_async(
        _: &Accessor<Guest, Self>,
        _: Resource<Connection>,
        _: String,
        _: Vec<ParameterValue>,
    ) -> Result<u64, Error> {
        Err(absent())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wasmtime::{Engine, Store};

    use super::*;
    use crate::spin::guest::Services;

    #[tokio::test]
    async fn a_component_can_have_a_builder_and_no_connection() {
        let (variables, stores, servers) = Default::default();
        let services = Services { variables, stores, servers };
        let mut store = Store::new(&Engine::default(), Guest::new(Arc::new(services)));
        let address = || "postgres://db.example/sekali".to_owned();
        let refused = store.run_concurrent(async |accessor| {
            let accessor = accessor.with_getter::<HasSelf<Guest>>(|guest| guest);
            let builder =
                accessor.with(|mut access| HostConnectionBuilder::new(access.get(), address())).unwrap();
            let handle = Resource::new_own(builder.rep());
            let built = HasSelf::build_async(&accessor, handle).await;
            let opened = HasSelf::open_async(&accessor, address()).await;
            accessor.with(|mut access| HostConnectionBuilder::drop(access.get(), builder)).unwrap();
            [built, opened]
        });
        for refused in refused.await.unwrap() {
            assert!(
                matches!(refused, Err(Error::ConnectionFailed(why)) if why.contains("without PostgreSQL"))
            );
        }
    }
}
