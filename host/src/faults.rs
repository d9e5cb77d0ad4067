//! Faults of an instance for the experiments of `verify/experiments/`, on request of a header.
//!
//! An instance whose memory cannot grow ends by a trap of its own code, so the component needs no hidden fault.

use http::HeaderMap;
use wasmtime::StoreLimitsBuilder;
use wasmtime::component::Accessor;

use crate::spin::guest::Guest;

/// Makes the fault that the header `x-fault` names, in the instance that the request goes to.
///
/// # Errors
/// For the fault `trap`: the error ends the instance, as a trap would.
///
/// # Panics
/// For the fault `panic`.
pub fn make(accessor: &Accessor<Guest>, headers: &HeaderMap) -> wasmtime::Result<()> {
    match headers.get("x-fault").map(|fault| fault.as_bytes()) {
        Some(b"trap") => wasmtime::bail!("a trap on request"),
        Some(b"panic") => panic!("a panic on request"),
        Some(b"memory") => {
            // From now on, no memory grows.
            accessor
                .with(|mut access| access.get().limits = StoreLimitsBuilder::new().memory_size(0).build());
        }
        _ => {}
    }
    Ok(())
}
