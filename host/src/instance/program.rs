//! A component: compiled, or taken from the cache, and ready to be instantiated.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use wasmtime::component::{Component, Linker};
use wasmtime::{Cache, CacheConfig, Config, Engine, Store};
use wasmtime_wasi_http::p3::bindings::{Service, ServicePre};

use crate::spin;
use crate::spin::guest::{Guest, Services};
use crate::stores::Stores;

/// A component, ready to be instantiated.
#[derive(Clone)]
pub struct Program {
    service: ServicePre<Guest>,
    services: Arc<Services>,
}

impl Program {
    /// Compiles the component, or takes it from the cache.
    ///
    /// # Errors
    /// A file that is not a component, or a component that imports an interface that this host lacks.
    pub fn load(engine: &Engine, source: &Path, services: Services) -> Result<Self> {
        let component = compile(engine, source)?;
        let mut linker = Linker::new(engine);
        spin::add_to_linker(&mut linker)?;
        let service = linker
            .instantiate_pre(&component)
            .and_then(ServicePre::new)
            .map_err(anyhow::Error::from)
            .with_context(|| format!("{} uses an interface that this host lacks", source.display()))?;
        Ok(Self { service, services: Arc::new(services) })
    }

    /// The same component, with the stores that it may open.
    pub fn with_stores(self, stores: Stores) -> Self {
        let Services { variables, servers, .. } = &*self.services;
        let services = Services { variables: variables.clone(), stores, servers: servers.clone() };
        Self { services: Arc::new(services), ..self }
    }

    /// A new instance, in a store of its own.
    ///
    /// # Errors
    /// Those of its start.
    pub async fn instantiate(&self) -> wasmtime::Result<(Store<Guest>, Service)> {
        let mut store = Store::new(self.service.engine(), Guest::new(Arc::clone(&self.services)));
        store.limiter(|guest| &mut guest.limits);
        let service = self.service.instantiate_async(&mut store).await?;
        Ok((store, service))
    }

    /// True if the component may open a store.
    pub fn uses_stores(&self) -> bool {
        !(self.services.stores.is_empty() && self.services.servers.is_empty())
    }
}

/// The engine that compiles and runs components.
pub fn engine() -> Result<Engine> {
    let mut config = Config::new();
    config.wasm_component_model_async(true);
    // Without a home directory there is no cache, and the host only starts more slowly.
    if let Ok(cache) = Cache::new(CacheConfig::new()) {
        config.cache(Some(cache));
    }
    Ok(Engine::new(&config)?)
}

fn compile(engine: &Engine, source: &Path) -> Result<Component> {
    let bytes = std::fs::read(source)
        .with_context(|| format!("cannot read {}: build the component first", source.display()))?;
    Component::new(engine, bytes)
        .map_err(anyhow::Error::from)
        .with_context(|| format!("{} is not a component", source.display()))
}
