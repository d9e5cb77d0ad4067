//! The interfaces that a component imports: WASI 0.2 and 0.3, and Spin's SQLite, PostgreSQL, key-value and variables.

pub mod guest;

mod bindings;
mod key_value;
#[cfg_attr(not(feature = "postgres"), path = "without_postgres.rs")]
mod postgres;
mod sqlite;
mod variables;

use anyhow::Result;
use wasmtime::component::{HasSelf, Linker};

use self::bindings::Spin;
use self::guest::Guest;

/// Offers all interfaces to the components that the linker links.
pub fn add_to_linker(linker: &mut Linker<Guest>) -> Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi::p3::add_to_linker(linker)?;
    wasmtime_wasi_http::p3::add_to_linker(linker)?;
    Spin::add_to_linker::<_, HasSelf<_>>(linker, |guest: &mut Guest| guest)?;
    Ok(())
}
