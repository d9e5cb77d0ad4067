//! `spin:postgres@4.2.0`, in a host that was built without the feature `postgres`: each way to a connection is refused.

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
        Err(wasmtime::Error::msg("this sekali-host was built without PostgreSQL"))
    }

    fn set_ca_root(&mut self, _: Resource<ConnectionBuilder>, _: String) -> Result<(), Error> {
        Err(absent())
    }

    fn build(&mut self, _: Resource<ConnectionBuilder>) -> Result<Resource<Connection>, Error> {
        Err(absent())
    }

    fn drop(&mut self, _: Resource<ConnectionBuilder>) -> wasmtime::Result<()> {
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
