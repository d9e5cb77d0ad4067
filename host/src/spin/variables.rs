//! `spin:variables@3.0.0`.

use std::sync::Arc;

use wasmtime::component::{Accessor, HasSelf};

use super::bindings::spin::variables::variables::{Error, Host, HostWithStore};
use super::guest::Guest;
use crate::metrics::{self, METRICS};

impl Host for Guest {}

impl HostWithStore<Guest> for HasSelf<Guest> {
    async fn get(store: &Accessor<Guest, Self>, name: String) -> Result<String, Error> {
        let services = store.with(|mut access| Arc::clone(&access.get().services));
        let Some(value) = services.variables.get(&name) else { return Err(Error::Undefined(name)) };
        if name != metrics::VARIABLE {
            return Ok(value.clone());
        }
        // Like Spin's providers of variables, this one is asked at each reading. A file system may hang.
        let render = {
            let services = Arc::clone(&services);
            move || METRICS.render(services.stores.sqlite.values().filter_map(|database| database.path()))
        };
        tokio::task::spawn_blocking(render).await.map_err(|error| Error::Other(error.to_string()))
    }
}
