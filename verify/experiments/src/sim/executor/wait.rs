//! The futures that wait for the executor itself.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::{Handle, TaskId, Timer, Turn};

/// See [`Handle::sleep`].
pub struct Sleep {
    handle: Handle,
    /// Its end, and its number among the timers.
    key: (Duration, u64),
}

impl Sleep {
    /// A sleep until the time in `key`.
    pub(super) fn new(handle: Handle, key: (Duration, u64)) -> Self {
        Self { handle, key }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.handle.now() >= self.key.0 {
            return Poll::Ready(());
        }
        let timer = Timer::Wake(context.waker().clone());
        self.handle.0.timers.borrow_mut().insert(self.key, timer);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.handle.0.timers.borrow_mut().remove(&self.key);
    }
}

/// See [`Handle::yield_now`].
pub struct Yield {
    handle: Handle,
    number: u64,
    has_begun: bool,
}

impl Yield {
    /// A yield of this number.
    pub(super) fn new(handle: Handle, number: u64) -> Self {
        Self { handle, number, has_begun: false }
    }
}

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let handle = self.handle.clone();
        let mut yields = handle.0.yields.borrow_mut();
        if self.has_begun {
            match yields.get_mut(&self.number) {
                Some(turn) if !turn.others.is_empty() => turn.waker = context.waker().clone(),
                _ => return Poll::Ready(()),
            }
            return Poll::Pending;
        }
        self.has_begun = true;
        let tasks = handle.0.tasks.borrow();
        let is_other = |id: &TaskId| Some(*id) != handle.0.running.get() && tasks.contains_key(id);
        let others: BTreeSet<_> = handle.0.ready.tasks().iter().copied().filter(is_other).collect();
        if others.is_empty() {
            context.waker().wake_by_ref();
        }
        yields.insert(self.number, Turn { others, waker: context.waker().clone() });
        Poll::Pending
    }
}

impl Drop for Yield {
    fn drop(&mut self) {
        self.handle.0.yields.borrow_mut().remove(&self.number);
    }
}
