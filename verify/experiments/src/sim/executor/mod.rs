//! A single-threaded executor whose choices come from a seed.
//!
//! At each step it polls one of the tasks that are ready, chosen at random, and now and then one that is not. A task
//! may be doomed: it is dropped at a moment chosen before, wherever it has come to. Time moves when nothing is ready, to
//! the next timer. A log keeps all that happened: two runs of one seed have the same.

mod ready;
mod wait;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use self::ready::{Ready, Signal};
use self::wait::{Sleep, Yield};

/// Polls at one moment of the simulated time after which nothing moves on any more.
const MOST_POLLS: u32 = 500_000;

/// A task, by the order in which tasks were spawned.
pub type TaskId = u64;

/// The end of a run.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// All tasks have ended.
    Done,
    /// The time is over.
    TimeUp,
    /// These tasks wait for something that nobody will do.
    Stuck(Vec<String>),
    /// Tasks wake each other, and no time passes.
    Spinning,
}

/// The moment at which a task is dropped, if it has not ended before.
#[derive(Clone, Copy, Debug)]
pub enum Doom {
    /// After so many polls: at once, or when it is woken again.
    Polls(u32),
    /// At this time.
    Time(Duration),
}

/// The executor. Dropping it drops its tasks.
pub struct Executor(Handle);

/// Access to an executor, for its tasks.
#[derive(Clone)]
pub struct Handle(Rc<World>);

struct World {
    random: RefCell<fastrand::Rng>,
    /// The share of steps that poll a task that was not woken.
    spurious: f64,
    now: Cell<Duration>,
    /// The last number that was given to a task, a timer or a yield.
    last_number: Cell<u64>,
    tasks: RefCell<BTreeMap<TaskId, Task>>,
    /// The task that is being polled.
    running: Cell<Option<TaskId>>,
    ready: Arc<Ready>,
    timers: RefCell<BTreeMap<(Duration, u64), Timer>>,
    yields: RefCell<BTreeMap<u64, Turn>>,
    log: RefCell<Vec<String>>,
}

struct Task {
    name: Rc<str>,
    /// `None` while it is being polled.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    waker: Waker,
    /// Polls after which it is dropped.
    polls_left: Option<u32>,
    /// True if it is dropped when it is chosen the next time.
    is_doomed: bool,
}

enum Timer {
    Wake(Waker),
    Drop(TaskId),
}

/// A task that lets others run.
struct Turn {
    /// The tasks that were ready, and have not run since.
    others: BTreeSet<TaskId>,
    waker: Waker,
}

impl Drop for Executor {
    fn drop(&mut self) {
        // Tasks hold handles, which would keep the executor and them alive for ever.
        while let Some((_, task)) = { self.0.0.tasks.borrow_mut().pop_first() } {
            drop(task);
        }
    }
}

impl Executor {
    /// An executor without tasks.
    pub fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        Self(Handle(Rc::new(World {
            spurious: random.choice([0.0, 0.02, 0.2]).unwrap_or_default(),
            random: RefCell::new(random),
            now: Cell::default(),
            last_number: Cell::default(),
            tasks: RefCell::default(),
            running: Cell::default(),
            ready: Arc::default(),
            timers: RefCell::default(),
            yields: RefCell::default(),
            log: RefCell::default(),
        })))
    }

    /// Access to it.
    pub fn handle(&self) -> Handle {
        self.0.clone()
    }

    /// Runs the tasks until all have ended, or until a time.
    pub fn run(&self, until: Duration) -> End {
        let world = &self.0.0;
        let mut polls = 0;
        loop {
            if world.tasks.borrow().is_empty() {
                return End::Done;
            }
            if let Some(task) = self.0.choose() {
                self.0.step(task);
                polls += 1;
                if polls > MOST_POLLS {
                    return End::Spinning;
                }
                continue;
            }
            polls = 0;
            let next = world.timers.borrow().first_key_value().map(|((time, _), _)| *time);
            match next {
                None => return End::Stuck(self.0.names()),
                Some(time) if time > until => {
                    world.now.set(until.max(world.now.get()));
                    return End::TimeUp;
                }
                Some(time) => self.0.move_to(time),
            }
        }
    }
}

impl Handle {
    /// The simulated time.
    pub fn now(&self) -> Duration {
        self.0.now.get()
    }

    /// The task that is being polled.
    pub fn running(&self) -> Option<TaskId> {
        self.0.running.get()
    }

    /// Draws from the random numbers of the executor.
    pub fn draw<T>(&self, draw: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        draw(&mut self.0.random.borrow_mut())
    }

    /// True with this probability.
    pub fn chance(&self, probability: f64) -> bool {
        self.draw(|random| random.f64() < probability)
    }

    /// A number of milliseconds below this one, as a duration in whole microseconds.
    pub fn below_millis(&self, millis: u64) -> Duration {
        Duration::from_micros(self.draw(|random| random.u64(..(millis * 1000).max(1))))
    }

    /// Adds a line to the log.
    pub fn log(&self, line: impl AsRef<str>) {
        let now = self.now();
        let line = format!("{}.{:06} {}", now.as_secs(), now.subsec_micros(), line.as_ref());
        self.0.log.borrow_mut().push(line);
    }

    /// Takes the log.
    pub fn take_log(&self) -> Vec<String> {
        self.0.log.take()
    }

    /// Starts a task.
    pub fn spawn(&self, name: impl Into<Rc<str>>, future: impl Future<Output = ()> + 'static) -> TaskId {
        let id = self.number();
        let signal = Signal::new(id, Arc::clone(&self.0.ready));
        let task = Task {
            name: name.into(),
            future: Some(Box::pin(future)),
            waker: Arc::new(signal).into(),
            polls_left: None,
            is_doomed: false,
        };
        self.0.tasks.borrow_mut().insert(id, task);
        self.0.ready.add(id);
        id
    }

    /// Dooms a task. One that has ended is left alone.
    pub fn doom(&self, id: TaskId, doom: Doom) {
        match doom {
            Doom::Polls(polls) => {
                if let Some(task) = self.0.tasks.borrow_mut().get_mut(&id) {
                    task.polls_left = Some(polls);
                }
            }
            Doom::Time(time) => {
                let key = (time, self.number());
                self.0.timers.borrow_mut().insert(key, Timer::Drop(id));
            }
        }
    }

    /// Returns when this time has passed.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::new(self.clone(), (self.now() + duration, self.number()))
    }

    /// Returns after every other task that is ready has run once.
    pub fn yield_now(&self) -> Yield {
        Yield::new(self.clone(), self.number())
    }

    fn number(&self) -> u64 {
        let number = self.0.last_number.get() + 1;
        self.0.last_number.set(number);
        number
    }

    fn names(&self) -> Vec<String> {
        self.0.tasks.borrow().values().map(|task| task.name.to_string()).collect()
    }

    /// The next task to run, if one is ready.
    fn choose(&self) -> Option<TaskId> {
        let mut ready = self.0.ready.tasks();
        if ready.is_empty() {
            return None;
        }
        if self.chance(self.0.spurious) {
            let tasks = self.0.tasks.borrow();
            let nth = self.draw(|random| random.usize(..tasks.len()));
            return tasks.keys().nth(nth).copied();
        }
        let nth = self.draw(|random| random.usize(..ready.len()));
        Some(ready.swap_remove(nth))
    }

    /// Polls a task, or drops it if it is doomed.
    fn step(&self, id: TaskId) {
        let taken = {
            let mut tasks = self.0.tasks.borrow_mut();
            let Some(task) = tasks.get_mut(&id) else { return }; // woken after its end
            let future = if task.is_doomed { None } else { task.future.take() };
            future.map(|future| (Rc::clone(&task.name), task.waker.clone(), future))
        };
        let Some((name, waker, mut future)) = taken else { return self.drop_task(id) };
        self.log(format!("poll {name}"));
        self.0.running.set(Some(id));
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        self.0.running.set(None);
        self.has_run(id);
        match polled {
            Poll::Ready(()) => {
                self.log(format!("end {name}"));
                self.0.tasks.borrow_mut().remove(&id);
                drop(future);
            }
            Poll::Pending => self.suspend(id, future),
        }
    }

    /// Puts a task back that waits now, or drops it if that was its last poll.
    fn suspend(&self, id: TaskId, future: Pin<Box<dyn Future<Output = ()>>>) {
        let was_last = {
            let mut tasks = self.0.tasks.borrow_mut();
            let Some(task) = tasks.get_mut(&id) else { return };
            task.future = Some(future);
            task.polls_left = task.polls_left.map(|polls| polls.saturating_sub(1));
            let was_last = task.polls_left == Some(0);
            task.is_doomed |= was_last;
            was_last
        };
        if was_last && self.draw(fastrand::Rng::bool) {
            self.drop_task(id);
        }
    }

    fn drop_task(&self, id: TaskId) {
        let task = self.0.tasks.borrow_mut().remove(&id);
        if let Some(task) = task {
            self.log(format!("drop {}", task.name));
            drop(task);
            self.has_run(id);
        }
    }

    /// Wakes the tasks that have let this one run, if it was the last that they waited for.
    fn has_run(&self, id: TaskId) {
        for turn in self.0.yields.borrow_mut().values_mut() {
            if turn.others.remove(&id) && turn.others.is_empty() {
                turn.waker.wake_by_ref();
            }
        }
    }

    /// Moves the time to that of the next timers. What they wake runs in random order.
    fn move_to(&self, time: Duration) {
        self.0.now.set(time);
        loop {
            let timer = {
                let mut timers = self.0.timers.borrow_mut();
                match timers.first_entry() {
                    Some(entry) if entry.key().0 <= time => entry.remove(),
                    _ => return,
                }
            };
            match timer {
                Timer::Wake(waker) => waker.wake(),
                Timer::Drop(id) => {
                    if let Some(task) = self.0.tasks.borrow_mut().get_mut(&id) {
                        task.is_doomed = true;
                        self.0.ready.add(id);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
