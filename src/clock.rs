//! Time, as the service sees it.

use std::time::Duration;

/// A clock. Tests bring their own, which they can stop and move.
#[allow(async_fn_in_trait)] // An instance has one thread: futures need not be Send.
pub trait Clock: 'static {
    /// A reading that never goes back. Only differences between readings have a meaning.
    fn now(&self) -> Duration;

    /// Returns after `duration`, without blocking other requests.
    async fn sleep(&self, duration: Duration);

    /// Returns after every other task that is ready has run once.
    async fn yield_now(&self);
}
