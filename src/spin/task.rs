//! Waking one request from another.
//!
//! The host knows each request as a task, and wakes a task only for an event that the task waits for. A request that
//! waits for another one, as in group commit, would sleep for ever. So each task has a bell: a stream that it reads,
//! and into which any other task writes a byte to wake it. wit-bindgen 0.57 has the same as `inter-task-wakeup`, but
//! cancels the read in a way that wasmtime traps since 48 (mended by its pull request 1638), and begins it anew each
//! time a task sleeps. This read stays until it is answered.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures::FutureExt;
use futures::stream::{LocalBoxStream, StreamExt, unfold};
use spin_sdk::wasip3::wit_bindgen::{self, StreamReader, StreamResult, StreamWriter};
use spin_sdk::wasip3::wit_stream;

type Id = u64;

thread_local! {
    /// The task whose code runs. None while the host delivers an event, which is one of the task that it wakes.
    static RUNNING: Cell<Option<Id>> = const { Cell::new(None) };
    static NEXT: Cell<Id> = const { Cell::new(0) };
}

/// A future that other tasks can wake. Each future that the host polls must be one: that tells a waker which task runs.
pub struct Task<F> {
    /// None once it has ended.
    future: Option<Pin<Box<F>>>,
    waker: Arc<TaskWaker>,
    /// Hears the bell. None before the task first waits.
    rings: Option<LocalBoxStream<'static, ()>>,
}

/// Runs a future beside the present request, and after its answer.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    wit_bindgen::spawn(Task::new(future));
}

impl<F: Future> Task<F> {
    /// A task that has not begun.
    pub fn new(future: F) -> Self {
        let id = NEXT.replace(NEXT.get() + 1);
        let state = State { host: Waker::noop().clone(), bell: None, has_rung: false };
        let waker = Arc::new(TaskWaker { id, state: Mutex::new(state) });
        Self { future: Some(Box::pin(future)), waker, rings: None }
    }
}

impl<F: Future> Future for Task<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Self { future, waker, rings } = &mut *self;
        let Some(running) = future else { return Poll::Pending };
        waker.state().host.clone_from(context.waker());
        let _running = Running::enter(waker.id);
        let polled = running.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(waker))));
        if polled.is_ready() {
            *future = None;
            return polled;
        }
        // Other tasks ring only while this one does not run, so what they rang for was seen above.
        let rings = rings.get_or_insert_with(|| waker.hang_bell());
        while rings.poll_next_unpin(context).is_ready() {
            waker.state().has_rung = false;
        }
        Poll::Pending
    }
}

impl<F> Drop for Task<F> {
    fn drop(&mut self) {
        // What a future holds may wake others when it is dropped.
        let _running = Running::enter(self.waker.id);
        self.future = None;
        self.waker.state().bell = None;
    }
}

/// While it lives, a task runs.
struct Running(Option<Id>);

impl Running {
    fn enter(id: Id) -> Self {
        Self(RUNNING.replace(Some(id)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.set(self.0);
    }
}

/// Wakes a task: by the host's own waker from within, by its bell from another task.
struct TaskWaker {
    id: Id,
    state: Mutex<State>,
}

struct State {
    host: Waker,
    bell: Option<StreamWriter<u8>>,
    /// True until the task has heard the bell.
    has_rung: bool,
}

impl TaskWaker {
    /// Gives the task its bell. The stream yields once for each ring.
    fn hang_bell(&self) -> LocalBoxStream<'static, ()> {
        let (bell, reader) = wit_stream::new::<u8>();
        self.state().bell = Some(bell);
        let hear = |mut reader: StreamReader<u8>| async move {
            let (heard, _) = reader.read(Vec::with_capacity(1)).await;
            matches!(heard, StreamResult::Complete(_)).then_some(((), reader))
        };
        unfold(reader, hear).boxed_local()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut state = self.state();
        if RUNNING.get().is_none_or(|running| running == self.id) {
            return state.host.wake_by_ref();
        }
        if !std::mem::replace(&mut state.has_rung, true)
            && let Some(bell) = &mut state.bell
        {
            // Its task reads, so the byte is taken at once.
            let _ = bell.write(vec![0]).now_or_never();
        }
    }
}
