//! A fault of the wall clock that all instances see, for the experiments of `verify/experiments/`, by the variable
//! `SEKALI_CLOCK_AHEAD` of the environment.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wasmtime_wasi::HostWallClock;

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
