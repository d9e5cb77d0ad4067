//! `soak`: everything at once for a time: publishers, readers, followers, probes, and clients that go away midway. The
//! rules of a history hold, and memory, file descriptors and the database's log stay what they were once all had begun.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use fastrand::Rng;
use sekali_harness::deployment::{Deployment, Setup};

use super::client::Client;
use super::record::{History, NEVER, Outcome, Publish, Span};
use super::stage::{Cast, PAUSE, Stage};
use super::{System, play_and_check};
use crate::attacks::all_is_well;
use crate::attacks::events::Ledger;
use crate::attacks::raw_client::RawClient;
use crate::requests::Request;
use crate::{Effort, Tally};

/// Clients that go away midway.
const LEAVERS: usize = 2;

/// The part of the time after which all caches are warm.
const WARM: f64 = 0.4;

/// The most memory of a host with two instances. Most of it is answers that nobody reads any more, of which an instance
/// holds up to 32.
const MEMORY: u64 = 800 << 20;

/// The growth of memory and of descriptors that may be chance, once all is warm.
const MORE_MEMORY: u64 = 192 << 20;
const MORE_DESCRIPTORS: usize = 24;

/// Descriptors that stay open: the connections of two instances to the database, with up to three files each.
const KEPT_DESCRIPTORS: usize = 48;

/// The most bytes of the database's log. It is copied to the database after 16 MiB, unless a reader is in the way.
const LOG: u64 = 64 << 20;

/// Runs all clients for a time.
pub fn run(seed: u64, effort: Effort) -> Result<Tally> {
    let mut tally = Tally::default();
    let deployment = Setup::from_environment()?.start()?;
    let begin = Usage::of(&deployment)?;
    let steady = &mut Steady { deployment, effort, begin, warm: begin, most: begin };
    play_and_check(seed, None, steady, &mut tally)?;
    Ok(tally)
}

/// A service whose use of the machine is watched.
struct Steady {
    deployment: Deployment,
    effort: Effort,
    begin: Usage,
    /// Once all is warm.
    warm: Usage,
    /// The most from then on.
    most: Usage,
}

/// What a host uses.
#[derive(Clone, Copy, Debug)]
struct Usage {
    memory: u64,
    descriptors: Option<usize>,
    log: u64,
}

impl Usage {
    fn of(deployment: &Deployment) -> Result<Self> {
        let mut log = deployment.database().into_os_string();
        log.push("-wal");
        Ok(Self {
            memory: deployment.memory()?.resident,
            descriptors: deployment.descriptors(),
            log: fs::metadata(log).map_or(0, |log| log.len()),
        })
    }

    /// The most that is used until a moment.
    fn most(deployment: &Deployment, until: Instant) -> Result<Self> {
        let mut most = Self::of(deployment)?;
        while Instant::now() < until {
            sleep(Duration::from_millis(100));
            let now = Self::of(deployment)?;
            most = Self {
                memory: most.memory.max(now.memory),
                descriptors: most.descriptors.max(now.descriptors),
                log: most.log.max(now.log),
            };
        }
        Ok(most)
    }
}

impl System for Steady {
    fn hosts(&mut self) -> Vec<&mut Deployment> {
        vec![&mut self.deployment]
    }

    fn cast(&self) -> Cast {
        Cast { rest: PAUSE, are_fickle: true, ..Cast::default() }
    }

    fn torment(&mut self, rng: &mut Rng, stage: &Stage, history: &mut History, _: &mut Tally) -> Result<()> {
        let (began, time) = (Instant::now(), Duration::from_secs(self.effort.pick(5, 60)));
        let stop = &AtomicBool::new(false);
        thread::scope(|scope| {
            let leavers = (0..LEAVERS).map(|_| {
                let rng = rng.fork();
                scope.spawn(move || leave(stage, rng, stop))
            });
            let probe = scope.spawn(move || probe(stage, stop));
            let clients: Vec<_> = leavers.chain([probe]).collect();
            let watched = Usage::most(&self.deployment, began + time.mul_f64(WARM))
                .and_then(|warm| Ok((warm, Usage::most(&self.deployment, began + time)?)));
            stop.store(true, Ordering::Relaxed);
            for client in clients {
                history.add(client.join().map_err(|_| anyhow!("a client panicked"))?);
            }
            (self.warm, self.most) = watched?;
            Ok(())
        })
    }

    fn restart(&mut self, tally: &mut Tally) -> Result<()> {
        let address = self.deployment.address();
        tally.violations.extend(all_is_well(address, &mut Ledger::default(), "after it")?);
        let (Self { begin, warm, most, .. }, end) = (&*self, Usage::of(&self.deployment)?);
        // A few seconds are too short to tell warming from growing.
        let may_grow = self.effort.pick(MEMORY, MORE_MEMORY);
        if most.memory > MEMORY || most.memory > warm.memory + may_grow {
            tally.violated(format!("memory grows: {warm:?}, later up to {most:?}"));
        }
        if most.descriptors > warm.descriptors.map(|warm| warm + MORE_DESCRIPTORS)
            || end.descriptors > begin.descriptors.map(|begin| begin + KEPT_DESCRIPTORS)
        {
            tally.violated(format!(
                "descriptors leak: first {begin:?}, warm {warm:?}, at most {most:?}, at last {end:?}"
            ));
        }
        if most.log > LOG {
            tally.violated(format!("the log grows: {warm:?}, later up to {most:?}"));
        }
        eprintln!("torture: soak: first {begin:?}, warm {warm:?}, at most {most:?}, at last {end:?}");
        self.deployment.crash_while(|_| ())
    }
}

/// Does one thing after another until it is stopped, each after a pause.
fn repeat(
    stop: &AtomicBool,
    pause: impl Fn() -> Duration,
    mut act: impl FnMut(&mut History) -> Result<()>,
) -> History {
    let mut history = History::default();
    while !stop.load(Ordering::Relaxed) {
        if let Err(fault) = act(&mut history) {
            history.faults.push(format!("{fault:#}"));
        }
        sleep(pause());
    }
    history
}

/// Asks what operators ask.
fn probe(stage: &Stage, stop: &AtomicBool) -> History {
    repeat(
        stop,
        || Duration::from_millis(100),
        |_| {
            for path in ["/readyz", "/healthz", "/stats", "/metrics", "/", "/openapi.json"] {
                // A client of its own, so a new connection each time.
                let answer = Client::new(&stage.addresses).send("GET", path, &[], b"");
                let answer = answer.map_err(|failure| anyhow!("GET {path}: {failure:?}"))?;
                // Where others go away, all answers may be in use for a moment.
                let is_refused = answer.status == 503 && answer.header("retry-after").is_some();
                ensure!(
                    answer.status == 200 || is_refused,
                    "GET {path} -> {} {}",
                    answer.status,
                    answer.text()
                );
            }
            Ok(())
        },
    )
}

/// Goes away within a request, or within an answer.
fn leave(stage: &Stage, mut rng: Rng, stop: &AtomicBool) -> History {
    let mut moment = 0;
    repeat(
        stop,
        || Duration::from_millis(fastrand::u64(..20)),
        |history| {
            moment += 1;
            let mut client = RawClient::connect(stage.addresses[0])?;
            if rng.bool() {
                client.send(b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n")?;
                client.head()?;
                return Ok(());
            }
            let request = Request::random(&mut rng, moment);
            let headers: String =
                request.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let length = request.body.len();
            let head = format!(
                "POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n{headers}\r\n",
                request.path
            );
            let sent = rng.usize(..=length);
            let span = Span { began: stage.clock.tick(), ended: NEVER };
            client.send(&[head.as_bytes(), &request.body[..sent]].concat())?;
            // Of a part, nothing is carried out.
            let outcome =
                if sent < length { Outcome::Unsent } else { Outcome::Lost("its client went away".into()) };
            history.publishes.push(Publish { span, key: None, request, outcome, took: Duration::ZERO });
            Ok(())
        },
    )
}
