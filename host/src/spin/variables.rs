//! `spin:variables@3.0.0`.

use wasmtime::component::{Accessor, HasSelf};

use super::bindings::spin::variables::variables::{Error, Host, HostWithStore};
use super::guest::Guest;
use crate::metrics::{self, METRICS};

impl Host for Guest {}

impl HostWithStore<Guest> for HasSelf<Guest> {
    async fn get(store: &Accessor<Guest, Self>, name: String) -> Result<String, Error> {
        store
            .with(|mut access| {
                let services = &access.get().services;
                let value = services.variables.get(&name)?;
                // Like Spin's providers of variables, this one is asked at each reading.
                let databases = services.stores.sqlite.values().filter_map(|database| database.path());
                Some(if name == metrics::VARIABLE { METRICS.render(databases) } else { value.clone() })
            })
            .ok_or(Error::Undefined(name))
    }
}
