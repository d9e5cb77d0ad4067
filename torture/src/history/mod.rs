//! The history checker: clients publish, read and follow at random while the service is restarted, and all that they
//! did and saw is checked against the model afterwards.
//!
//! - `identities`: the events, few identities at a time, so that their deliveries race
//! - `request`: random requests to publish, and `format`: the forms in which they are written
//! - `publisher`, `reader`, `follower`: the clients; none of them retries
//! - `stage`: the part of a round that all of them share
//! - `record`: what they did and saw
//! - `check`: the rules

mod check;
mod client;
mod follower;
mod format;
mod identities;
mod publisher;
mod reader;
mod record;
mod request;
mod stage;

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use fastrand::Rng;
use sekali_clients::account::{Lines, ReadBack};
use sekali_harness::deployment::{Deployment, Setup};

use self::client::{Answer, Client};
use self::follower::Follower;
use self::identities::{IDENTITIES, TOPICS};
use self::record::{End, History};
use self::stage::{PAUSE, Stage};
use crate::{Effort, Tally};

/// The time for which clients publish in a round.
pub const ROUND: Duration = Duration::from_secs(7);

/// The average time between two restarts.
const LIFE: Duration = Duration::from_secs(2);

/// Time for the streams to show the last events. They have half a second on a machine that is not busy.
const CATCH_UP: Duration = Duration::from_secs(20);

const PUBLISHERS: u64 = 6;
const READERS: u64 = 2;
const FOLLOWERS: usize = 5;

/// Plays one round or several, each against a service with fresh state.
///
/// # Errors
/// When the service cannot be started.
pub fn run(seed: u64, effort: Effort) -> Result<Tally> {
    let mut tally = Tally::default();
    for round in 0..effort.pick(1, 6) {
        let seed = seed.wrapping_mul(1_000).wrapping_add(round);
        play_and_check(seed, &mut Setup::from_environment()?.start()?, &mut tally)?;
    }
    Ok(tally)
}

/// The site of a round: a service that is tormented while it serves.
pub trait Site {
    /// The addresses at which it serves, also after a restart.
    fn addresses(&self) -> Vec<SocketAddr>;

    /// Torments the service for the time of a round, and leaves it in order.
    ///
    /// # Errors
    /// When it cannot be brought in order.
    fn torment(&mut self, rng: &mut Rng, tally: &mut Tally) -> Result<()>;

    /// True if the service loses its database with writes under way.
    fn loses_database(&self) -> bool {
        false
    }

    /// Kills all of it, and serves again.
    ///
    /// # Errors
    /// When it does not serve.
    fn restart(&mut self) -> Result<()>;
}

/// Plays one round, and counts what it broke.
///
/// # Errors
/// When the service cannot be tormented or read.
pub fn play_and_check(seed: u64, site: &mut impl Site, tally: &mut Tally) -> Result<()> {
    let (history, end) = play(seed, site, tally)?;
    let operations = [history.publishes.len(), history.reads.len(), history.snapshots.len()];
    tally.trials += operations.iter().sum::<usize>() as u64;
    let acknowledged = history.publishes.iter().filter(|publish| publish.is_acknowledged());
    tally.acknowledged += acknowledged.map(|publish| publish.request.events.len() as u64).sum::<u64>();
    for broken in check::check(&history, &end) {
        tally.violated(format!("seed {seed}: {broken}"));
    }
    Ok(())
}

/// Plays one round.
fn play(seed: u64, site: &mut impl Site, tally: &mut Tally) -> Result<(History, End)> {
    let mut rng = Rng::with_seed(seed);
    let stage = Stage::new(seed, site.addresses());
    let followers: Vec<_> = (0..FOLLOWERS).map(|_| Follower::random(&mut rng)).collect();
    let mut history = History { loses_database: site.loses_database(), ..History::default() };
    let stage = &stage;
    thread::scope(|scope| -> Result<()> {
        let follows: Vec<_> =
            followers.iter().map(|follower| scope.spawn(move || follower.run(stage))).collect();
        let publishers = (0..PUBLISHERS).map(|number| seed ^ (number << 32));
        let publishers = publishers.map(|seed| scope.spawn(move || publisher::run(stage, seed)));
        let readers = (0..READERS).map(|number| seed ^ (number << 40));
        let readers = readers.map(|seed| scope.spawn(move || reader::run(stage, seed)));
        let clients: Vec<_> = publishers.chain(readers).collect();

        let tormented = site.torment(&mut rng, tally);
        stage.end();
        let mut histories: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
        let caught_up = tormented.and_then(|()| wait_for(&followers, stage));
        // A kill ends the streams; what was acknowledged must be there afterwards.
        stage.close();
        let restarted = site.restart();
        histories.extend(follows.into_iter().map(|follow| follow.join()));
        for part in histories {
            history.add(part.map_err(|_| anyhow!("a client panicked"))?);
        }
        caught_up.and(restarted)
    })?;
    let end = look_back(stage)?;
    Ok((history, end))
}

impl Site for Deployment {
    fn addresses(&self) -> Vec<SocketAddr> {
        vec![self.address()]
    }

    fn torment(&mut self, rng: &mut Rng, tally: &mut Tally) -> Result<()> {
        torment(self, rng, tally)
    }

    fn restart(&mut self) -> Result<()> {
        self.crash_while(|_| ())
    }
}

/// Restarts the service at random moments, by SIGKILL and by SIGTERM in turn, until the round is over.
fn torment(deployment: &mut Deployment, rng: &mut Rng, tally: &mut Tally) -> Result<()> {
    let began = Instant::now();
    for number in rng.usize(..2).. {
        let life = LIFE.mul_f64(0.5 + rng.f64());
        if began.elapsed() + life > ROUND {
            thread::sleep(ROUND.saturating_sub(began.elapsed()));
            return Ok(());
        }
        thread::sleep(life);
        if number % 2 == 0 {
            deployment.ask_to_end();
            let status = deployment.wait_for_end()?;
            if !status.success() {
                tally.violated(format!("after SIGTERM the host ended with {status}: {}", deployment.log()));
            }
        }
        deployment.crash_while(|_| ())?;
    }
    Ok(())
}

/// Waits until each stream has shown the newest of its events, or the time is over; the check finds what it missed.
fn wait_for(followers: &[Follower], stage: &Stage) -> Result<()> {
    let read = read_back(stage)?;
    let began = Instant::now();
    for follower in followers {
        let stored = read.stored.iter().enumerate();
        let matching = stored.filter(|(identity, _)| follower.selection.matches(*identity));
        let newest = matching.filter_map(|(_, stored)| Some((*stored)?.seq)).max().unwrap_or_default();
        while follower.reached.load(Ordering::SeqCst) < newest && began.elapsed() < CATCH_UP {
            thread::sleep(PAUSE);
        }
    }
    Ok(())
}

/// The state of the service when nothing is in progress.
fn look_back(stage: &Stage) -> Result<End> {
    let stats = get(stage, "/stats", "application/json")?;
    let stats = serde_json::from_slice(&stats.body).with_context(|| stats.text())?;
    Ok(End { read: read_back(stage)?, stats })
}

fn read_back(stage: &Stage) -> Result<ReadBack> {
    let answer = get(stage, "/events", "application/x-ndjson")?;
    let (mut read, mut lines) = (ReadBack::new(IDENTITIES, TOPICS.len(), 0), Lines::default());
    lines.push(&answer.body, |event| read.take(&stage.identities, event))?;
    lines.end()?;
    Ok(read)
}

fn get(stage: &Stage, path: &str, accept: &str) -> Result<Answer> {
    let answer = Client::new(&stage.addresses).send("GET", path, &[("accept", accept)], b"");
    let answer = answer.map_err(|failure| anyhow!("GET {path}: {failure:?}"))?;
    ensure!(answer.status == 200 && answer.is_complete, "GET {path}: {} {}", answer.status, answer.text());
    Ok(answer)
}
