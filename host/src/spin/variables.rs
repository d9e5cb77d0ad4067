//! `spin:variables@3.0.0`.

use wasmtime::component::{Accessor, HasSelf};

use super::bindings::spin::variables::variables::{Error, Host, HostWithStore};
use super::guest::Guest;

impl Host for Guest {}

impl HostWithStore<Guest> for HasSelf<Guest> {
    async fn get(store: &Accessor<Guest, Self>, name: String) -> Result<String, Error> {
        store
            .with(|mut access| access.get().services.variables.get(&name).cloned())
            .ok_or(Error::Undefined(name))
    }
}
