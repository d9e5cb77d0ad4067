//! Faults for the experiments of `torture/`: of an instance, on request of a header, and of the wall clock that all
//! instances see, by the variable `SEKALI_CLOCK_AHEAD` of the environment.
//!
//! An instance whose memory cannot grow ends by a trap of its own code, so the component needs no hidden fault.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use wasmtime::StoreLimitsBuilder;
use wasmtime::component::Accessor;
use wasmtime_wasi::HostWallClock;

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

/// A wall clock that is ahead of the machine's.
pub struct AheadClock(Duration);

impl AheadClock {
    /// A clock that is as many seconds ahead as the environment says, or none.
    pub fn from_environment() -> Self {
        let seconds = std::env::var("SEKALI_CLOCK_AHEAD").ok().and_then(|seconds| seconds.parse().ok());
        Self(Duration::from_secs(seconds.unwrap_or_default()))
    }
}

impl HostWallClock for AheadClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + self.0
    }
}
