//! Clients of any request, which count the answers that are no success and go on.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::http;
use crate::load::{self, Measured, Requests, Until};
use crate::workload;

/// The longest time that an answer may take. One that takes longer counts as no success.
const BUSY_TIMEOUT: Duration = Duration::from_secs(15);

/// What came of a number of requests.
pub struct Load {
    /// All of them, whatever was answered.
    pub measured: Measured,
    /// Those that were answered with no success.
    pub failed: u64,
    /// Those that were answered as an earlier request with the same key was.
    pub replayed: u64,
    /// The first answer that was no success.
    pub failure: String,
}

impl Load {
    /// Successes a second.
    pub fn rate(&self) -> f64 {
        (self.measured.requests - self.failed) as f64 / self.measured.elapsed.as_secs_f64()
    }

    /// Adds another run of the same measurement.
    fn add(&mut self, other: Self) -> Result<()> {
        self.measured.requests += other.measured.requests;
        self.measured.elapsed += other.measured.elapsed;
        self.measured.latencies.add(other.measured.latencies)?;
        self.replayed += other.replayed;
        if self.failed == 0 {
            self.failure = other.failure;
        }
        self.failed += other.failed;
        Ok(())
    }
}

/// Times that each of several measurements has its turn.
pub const TURNS: u32 = 4;

/// Measures several things in turns, so that a slow moment of the machine is everyone's. Each is given its share of the
/// time and the number of its turn.
pub fn in_turns<const N: usize>(
    time: Duration,
    measures: [&dyn Fn(Duration, u32) -> Result<Load>; N],
) -> Result<[Load; N]> {
    let mut loads: [Option<Load>; N] = [const { None }; N];
    for turn in 0..TURNS {
        for (measure, sum) in measures.iter().zip(&mut loads) {
            // What never succeeds takes long, and will not.
            if sum.as_ref().is_some_and(|sum| sum.failed == sum.measured.requests) {
                continue;
            }
            let load = measure(time / TURNS, turn)?;
            match sum {
                Some(sum) => sum.add(load)?,
                None => *sum = Some(load),
            }
        }
    }
    loads.into_iter().collect::<Option<Vec<_>>>().and_then(|loads| loads.try_into().ok()).context("no turn")
}

/// What the clients of a run count.
#[derive(Default)]
struct Counts {
    failed: Cell<u64>,
    replayed: Cell<u64>,
    failure: RefCell<String>,
}

impl Counts {
    fn fail(&self, why: impl FnOnce() -> String) {
        if self.failed.get() == 0 {
            *self.failure.borrow_mut() = why();
        }
        self.failed.set(self.failed.get() + 1);
    }
}

struct Client<F> {
    write: F,
    counts: Rc<Counts>,
}

impl<F: FnMut(&mut Vec<u8>) + 'static> Requests for Client<F> {
    fn next(&mut self, request: &mut Vec<u8>) {
        (self.write)(request);
    }

    fn answer(&mut self, buffer: &[u8]) -> Result<Option<usize>> {
        let Some((status, length)) = http::any_answer(buffer)? else { return Ok(None) };
        let counts = &self.counts;
        if !(200..300).contains(&status) {
            counts.fail(|| String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        if memchr::memmem::find(&buffer[..length], b"\r\nidempotent-replayed: true").is_some() {
            counts.replayed.set(counts.replayed.get() + 1);
        }
        Ok(Some(length))
    }

    fn patience(&self) -> Duration {
        BUSY_TIMEOUT
    }

    fn goes_on_after(&mut self, error: &anyhow::Error) -> bool {
        self.counts.fail(|| format!("{error:#}"));
        true
    }
}

/// Runs so many clients. `client` makes what writes the requests of one, whose number it is given.
pub fn run<F: FnMut(&mut Vec<u8>) + 'static>(
    address: SocketAddr,
    clients: usize,
    until: Until,
    mut client: impl FnMut(usize) -> F,
) -> Result<Load> {
    let counts = Rc::new(Counts::default());
    let clients = (0..clients).map(|number| Client { write: client(number), counts: counts.clone() });
    let measured = load::run(address, clients.collect(), until)?;
    let Counts { failed, replayed, failure } = &*counts;
    Ok(Load { measured, failed: failed.get(), replayed: replayed.get(), failure: failure.take() })
}

/// A client of single new events. No other of this store has the same name.
pub fn singles(name: &str) -> impl FnMut(&mut Vec<u8>) + use<> {
    let mut ids = workload::Ids::ordered(name.to_owned());
    let mut body = Vec::new();
    move |request| {
        body.clear();
        workload::write_event(&ids.next(), &mut body);
        http::write(request, "POST", "/publish", "", &body);
    }
}

/// A client of batches of new events. No other of this store has the same name.
pub fn batches(name: &str, events: usize) -> impl FnMut(&mut Vec<u8>) + use<> {
    let mut ids = workload::Ids::ordered(name.to_owned());
    let mut body = Vec::new();
    move |request| {
        body.clear();
        let ids: Vec<_> = (0..events).map(|_| ids.next()).collect();
        workload::write_events(ids.iter(), &mut body);
        http::write(request, "POST", "/publish", "", &body);
    }
}

/// A client of GET, whose paths are made one after the other.
pub fn gets(mut path: impl FnMut() -> String + 'static) -> impl FnMut(&mut Vec<u8>) + 'static {
    move |request| http::write(request, "GET", &path(), "", b"")
}
