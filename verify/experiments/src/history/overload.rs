//! `overload`: a crowd sends twice as much as the service can carry. Its answers are right, no accepted request waits
//! without bound, a refusal is a 503 that says when to come back, and the load is forgotten soon after it has ended.
//!
//! The first clients measure what the service carries: each sends a request when it has the answer to the last one.
//! The second send by the clock. A client whose request is not answered in time leaves out those that were due
//! meanwhile, as it would have no connection for them.

use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use fastrand::Rng;
use sekali_harness::deployment::{Deployment, Setup};

use super::client::Client;
use super::publisher::publish;
use super::record::{History, Publish, Span};
use super::served::{Served, percentile};
use super::stage::{Cast, Stage};
use super::{System, play_and_check};
use crate::attacks::all_is_well;
use crate::attacks::events::Ledger;
use crate::requests::Request;
use crate::{Effort, Tally};

/// Clients that measure: enough to keep the service busy.
const MEASURING: usize = 32;

/// The longest wait of an accepted request. A busy database is given up after five seconds, and a loaded machine adds
/// some.
const LONGEST: Duration = Duration::from_secs(10);

/// No service carries so many requests a second.
const HIGHEST: f64 = 100_000.0;

/// The time after the load within which a lone client is served as quickly as before.
const RECOVERY: Duration = Duration::from_secs(5);

/// An answer that a lone client gets in less than this is as quick as before, on a loaded machine too.
const QUICK: Duration = Duration::from_millis(250);

/// Measures, overloads, and looks at what is left of it.
pub fn run(seed: u64, effort: Effort) -> Result<Tally> {
    let mut tally = Tally::default();
    let deployment = Setup::from_environment()?.start()?;
    play_and_check(seed, None, &mut Overloaded { deployment, effort }, &mut tally)?;
    Ok(tally)
}

/// A service that a crowd overloads.
struct Overloaded {
    deployment: Deployment,
    effort: Effort,
}

impl System for Overloaded {
    fn hosts(&mut self) -> Vec<&mut Deployment> {
        vec![&mut self.deployment]
    }

    fn cast(&self) -> Cast {
        Cast { publishers: 0, readers: 1, followers: 2, ..Cast::default() }
    }

    fn torment(
        &mut self,
        rng: &mut Rng,
        stage: &Stage,
        history: &mut History,
        tally: &mut Tally,
    ) -> Result<()> {
        let time = Duration::from_secs(self.effort.pick(1, 5));
        let measured = crowd(stage, rng, MEASURING, (time, None))?;
        let mut rate = 2.0 * measured.accepted().len() as f64 / time.as_secs_f64();
        ensure!(rate > 0.0, "nothing was accepted: {:?}", measured.publishes.first());
        history.publishes.extend(measured.publishes);

        let count = self.effort.pick(250, 1_000);
        let time = Duration::from_secs(self.effort.pick(3, 10));
        // The measure may be too low if others use the machine, and then twice as much is no overload.
        let load = loop {
            let interval = Duration::from_secs_f64(count as f64 / rate);
            let load = crowd(stage, rng, count, (time, Some(interval)))?;
            if load.refused() + load.unsent > load.accepted().len() / 4 || rate > HIGHEST {
                break load;
            }
            history.publishes.extend(load.publishes);
            rate *= 2.0;
        };
        let [half, most] = [50, 99].map(|at| percentile(load.accepted(), at));
        if most > LONGEST {
            tally.violated(format!(
                "accepted requests waited for {most:?} (p99), and half of them for {half:?}"
            ));
        }
        let per_second = |count: usize| count as f64 / time.as_secs_f64();
        eprintln!(
            "torture: overload: of {rate:.0} requests/s, {:.0} accepted (p50 {half:?}, p99 {most:?}), \
            {:.0} refused and {:.0} left out",
            per_second(load.accepted().len()),
            per_second(load.refused()),
            per_second(load.unsent),
        );
        history.publishes.extend(load.publishes);
        recover(stage, history, tally);
        // Each request is answered, whatever the answer is.
        tally.violations.extend(Served::of(history, Span::ALWAYS).failed.into_iter().take(5));
        let broken = all_is_well(self.deployment.address(), &mut Ledger::default(), "after the load")?;
        tally.violations.extend(broken);
        Ok(())
    }
}

/// The requests of a crowd.
#[derive(Default)]
struct Load {
    publishes: Vec<Publish>,
    /// Requests that were due while their client waited.
    unsent: usize,
}

impl Load {
    fn accepted(&self) -> Vec<Duration> {
        let accepted = self.publishes.iter().filter(|publish| publish.is_acknowledged());
        accepted.map(|publish| publish.took).collect()
    }

    fn refused(&self) -> usize {
        self.publishes.iter().filter(|publish| publish.status() == Some(503)).count()
    }
}

/// Runs so many clients at once.
fn crowd(
    stage: &Stage,
    rng: &mut Rng,
    count: usize,
    (time, interval): (Duration, Option<Duration>),
) -> Result<Load> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|_| {
                let rng = rng.fork();
                scope.spawn(move || client(stage, rng, time, interval))
            })
            .collect();
        let mut all = Load::default();
        for thread in threads {
            let load = thread.join().map_err(|_| anyhow!("a client panicked"))?;
            all.publishes.extend(load.publishes);
            all.unsent += load.unsent;
        }
        Ok(all)
    })
}

/// Sends requests for a time: one in each interval, or one after another.
fn client(stage: &Stage, mut rng: Rng, time: Duration, interval: Option<Duration>) -> Load {
    let (mut load, client, began) = (Load::default(), Client::new(&stage.addresses), Instant::now());
    // The clients of an overload begin at different moments.
    let mut due = began + interval.map_or(Duration::ZERO, |interval| interval.mul_f64(rng.f64()));
    loop {
        if let Some(interval) = interval {
            while due + interval < Instant::now() {
                due += interval;
                load.unsent += 1;
            }
            sleep(due.saturating_duration_since(Instant::now()));
            due += interval;
        }
        if began.elapsed() > time {
            return load;
        }
        load.publishes.push(publish(stage, &client, None, Request::of_crowd(&mut rng)));
    }
}

/// Waits until a lone client is served quickly again.
fn recover(stage: &Stage, history: &mut History, tally: &mut Tally) {
    let (ended, client) = (Instant::now(), Client::new(&stage.addresses));
    loop {
        let lone = publish(stage, &client, None, Request::late(&[0]));
        let is_quick = lone.is_acknowledged() && lone.took < QUICK;
        if !is_quick && ended.elapsed() > RECOVERY {
            tally.violated(format!("{RECOVERY:?} after the load: {lone} takes {:?}", lone.took));
        }
        history.publishes.push(lone);
        if is_quick || ended.elapsed() > RECOVERY {
            return;
        }
    }
}
