//! The history checker: clients publish, read and follow at random while the service is restarted, and all that they
//! did and saw is checked against the model afterwards.
//!
//! - `publisher`, `reader`, `follower`, `eraser`: the clients; none of them retries
//! - `consumer`: those of a consumer, which do, and whose calls have a model of their own
//! - `operator`: what their operator can do and see
//! - `stage`: the part of a round that all of them share
//! - `record`: what they did and saw, and `served`: how long they waited for it
//! - `check`: the rules
//! - `restarts`, `overload` and `soak`: systems, each tormented in its own way under its own clients, all of whose
//!   histories have to keep the rules

mod check;
mod client;
pub mod consumer;
mod eraser;
mod follower;
mod operator;
pub mod overload;
mod publisher;
mod reader;
mod record;
pub mod restarts;
mod served;
pub mod soak;
mod stage;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use fastrand::Rng;
use sekali_common::api::Stats;
use sekali_harness::deployment::Deployment;
use sekali_model::{Lines, ReadBack};

use self::client::{Client, Response};
use self::follower::Follower;
pub use self::operator::Place;
use self::record::{End, Selection};
pub use self::record::{History, Span, Turn};
pub use self::served::{Served, percentile};
pub use self::stage::{Cast, Losses, PAUSE, Stage};
use crate::Tally;
use crate::consumers::Found;
use crate::requests::Request;
use crate::requests::identities::{Identities, TOPICS};

/// The time for which clients publish in a round.
pub const ROUND: Duration = Duration::from_secs(5);

/// The newest events that are kept in rounds with retention. A flood has about as many.
pub const KEPT: usize = 500;

/// Events that a client delivers late at once, and those that it erases in the end, before all payloads are looked for.
const LATE: usize = 200;
const LAST_ERASED: usize = 8;

/// Time for the streams to show the last events. They have half a second on a machine that is not busy.
const CATCH_UP: Duration = Duration::from_secs(20);

/// The variables of a service that anybody with the token may erase from, and that keeps so many events, or all.
pub fn variables(kept: Option<usize>) -> [(String, String); 2] {
    let kept = kept.unwrap_or_default().to_string();
    [("admin_token", eraser::TOKEN.to_owned()), ("retention_events", kept)]
        .map(|(name, value)| (name.into(), value))
}

/// The system of a round: a service that is tormented while it serves.
pub trait System {
    /// Its hosts.
    fn hosts(&mut self) -> Vec<&mut Deployment>;

    /// The addresses at which it serves, also after a restart.
    fn addresses(&mut self) -> Vec<SocketAddr> {
        self.hosts().iter().map(|host| host.address()).collect()
    }

    /// An address at which reads may be late, because they come from several servers.
    fn late_address(&self) -> Option<SocketAddr> {
        None
    }

    /// The clients of a round.
    fn cast(&self) -> Cast {
        Cast::default()
    }

    /// The losses that the service may have.
    fn losses(&self) -> Losses {
        Losses::default()
    }

    /// Torments the service while the clients of the stage are at work, and leaves it in order. Adds to the history what
    /// happened to the store, and what those did and saw that it needed for it.
    ///
    /// # Errors
    /// When it cannot be brought in order.
    fn torment(
        &mut self,
        rng: &mut Rng,
        stage: &Stage,
        history: &mut History,
        tally: &mut Tally,
    ) -> Result<()>;

    /// The place of its store; `None` if nobody has to look into it.
    fn place(&self) -> Option<Place<'_>> {
        None
    }

    /// Kills all of it, and serves again.
    ///
    /// # Errors
    /// When it does not serve.
    fn restart(&mut self, _: &mut Tally) -> Result<()> {
        self.hosts().into_iter().try_for_each(|host| host.crash_while(|_| ()))
    }

    /// Notes what the clients of a round must not have seen, beyond the rules that hold for all.
    fn judge(&self, _: &History, _: &mut Tally) {}
}

/// Plays one round, with retention and erasure at work or without, and counts what it broke.
///
/// # Errors
/// When the service cannot be tormented or read.
pub fn play_and_check(
    seed: u64,
    kept: Option<usize>,
    system: &mut impl System,
    tally: &mut Tally,
) -> Result<()> {
    let (mut history, mut end) = match play(seed, kept, system, tally) {
        Ok(played) => played,
        Err(error) => {
            tally.violated(format!("seed {seed}: it could not be carried out: {error:#}"));
            return Ok(());
        }
    };
    let operations = [history.publishes.len(), history.reads.len(), history.snapshots.len()];
    tally.trials += operations.iter().sum::<usize>() as u64;
    let acknowledged = history.publishes.iter().filter(|publish| publish.is_acknowledged());
    tally.acknowledged += acknowledged.map(|publish| publish.request.events.len() as u64).sum::<u64>();
    tally.trials += history.calls.len() as u64;
    system.judge(&history, tally);
    let given_twice = check::check_seqs(&history, &end);
    let by_consumer = consumer::check(&history, &mut end);
    history.forget_lost(&end);
    for broken in given_twice.into_iter().chain(by_consumer).chain(check::check(&history, &end)) {
        tally.violated(format!("seed {seed}: {broken}"));
    }
    Ok(())
}

/// Plays one round.
fn play(
    seed: u64,
    kept: Option<usize>,
    system: &mut impl System,
    tally: &mut Tally,
) -> Result<(History, End)> {
    let mut rng = Rng::with_seed(seed);
    let (cast, losses, late) = (system.cast(), system.losses(), system.late_address());
    let stage = Stage::new(seed, system.addresses(), cast, losses, kept.is_some());
    let addresses = (0..cast.followers).map(|number| late.filter(|_| number % 2 == 1));
    let followers: Vec<_> = addresses.map(|address| Follower::random(&mut rng, address)).collect();
    let mut history = History { losses, kept, ..History::default() };
    let (stage, mut payloads) = (&stage, BTreeSet::new());
    thread::scope(|scope| -> Result<()> {
        let follows: Vec<_> =
            followers.iter().map(|follower| scope.spawn(move || follower.run(stage))).collect();
        let publishers = (0..cast.publishers).map(|number| seed ^ (number << 32));
        let publishers = publishers.map(|seed| scope.spawn(move || publisher::run(stage, seed)));
        let readers =
            (0..cast.readers).map(|number| (seed ^ (number << 40), late.filter(|_| number % 2 == 1)));
        let readers = readers.map(|(seed, late)| scope.spawn(move || reader::run(stage, seed, late)));
        let eraser = kept.map(|_| scope.spawn(move || eraser::run(stage, seed ^ (1 << 48))));
        let workers =
            (0..cast.workers).map(|number| scope.spawn(move || consumer::work(stage, seed, number)));
        let people = (cast.workers > 0).then(|| scope.spawn(move || consumer::be_a_person(stage, seed)));
        let clients: Vec<_> = publishers.chain(readers).chain(eraser).chain(workers).chain(people).collect();

        let tormented = system.torment(&mut rng, stage, &mut history, tally);
        stage.end();
        let mut histories: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
        let mut done = tormented.and_then(|()| wait_for(&followers, stage));
        if kept.is_some() && done.is_ok() {
            let (mut last, sent) = (History::default(), acknowledged(&histories));
            done = come_late(stage, &sent, &mut last).and_then(|()| {
                if let Some(place) = system.place() {
                    payloads = place.payloads()?;
                }
                Ok(())
            });
            histories.push(Ok(last));
        }
        // A kill ends the streams; what was acknowledged must be there afterwards.
        stage.close();
        let restarted = system.restart(tally);
        histories.extend(follows.into_iter().map(|follow| follow.join()));
        for part in histories {
            history.add(part.map_err(|_| anyhow!("a client panicked"))?);
        }
        done.and(restarted)
    })?;
    if cast.workers > 0 {
        history.add(consumer::finish(stage, seed));
    }
    let end = look_back(stage, payloads)?;
    Ok((history, end))
}

/// Waits until each stream has shown the newest of its events, or the time is over; the check finds what it missed.
fn wait_for(followers: &[Follower], stage: &Stage) -> Result<()> {
    let read = read_back(stage)?;
    let began = Instant::now();
    for follower in followers {
        let matching = read.stored.iter().filter(|(identity, _)| follower.selection.matches(**identity));
        let newest = matching.map(|(_, stored)| stored.seq).max().unwrap_or_default();
        // One that began at its moment may have come after the last of its events.
        let has_begun = follower.after.is_some() || follower.reached.load(Ordering::SeqCst) > 0;
        let patience = if has_begun { CATCH_UP } else { CATCH_UP / 4 };
        while follower.reached.load(Ordering::SeqCst) < newest && began.elapsed() < patience {
            thread::sleep(PAUSE);
        }
    }
    Ok(())
}

/// The identities that clients were told are stored.
fn acknowledged(histories: &[thread::Result<History>]) -> BTreeSet<usize> {
    let publishes = histories.iter().flatten().flat_map(|history| &history.publishes);
    let acknowledged = publishes.filter(|publish| publish.is_acknowledged());
    acknowledged.flat_map(|publish| publish.request.events.iter().map(|sent| sent.identity)).collect()
}

/// Delivers what is gone once more, which shows where it stood, and erases a few events, of which some are gone before.
fn come_late(stage: &Stage, acknowledged: &BTreeSet<usize>, history: &mut History) -> Result<()> {
    let (read, client) = (read_back(stage)?, Client::new(&stage.addresses));
    let (here, gone): (Vec<_>, Vec<_>) =
        acknowledged.iter().partition(|identity| read.stored.contains_key(identity));
    for identities in gone.chunks(LATE) {
        history.publishes.push(publisher::publish(stage, &client, None, Request::late(identities)));
    }
    let last = [here, gone].map(|identities: Vec<usize>| identities.into_iter().rev().take(LAST_ERASED));
    for identity in last.into_iter().flatten() {
        let selection = Selection { identity: Some(identity), ..Selection::default() };
        eraser::erase(stage, &client, selection, history)?;
    }
    Ok(())
}

/// The state of the service at rest: no client is at work any more, but retention may be for a while.
fn look_back(stage: &Stage, payloads: BTreeSet<usize>) -> Result<End> {
    let began = Instant::now();
    let mut before = account(stage)?;
    loop {
        let (read, found) = read_all(stage)?;
        let stats = account(stage)?;
        if stats.total == before.total || began.elapsed() > CATCH_UP {
            return Ok(End { read, payloads, stats, found });
        }
        before = stats;
    }
}

fn account(stage: &Stage) -> Result<Stats> {
    let stats = get(stage, "/stats", "application/json")?;
    serde_json::from_slice(&stats.body).with_context(|| stats.text())
}

fn read_back(stage: &Stage) -> Result<ReadBack<usize>> {
    Ok(read_all(stage)?.0)
}

/// All events, as publishers know them and as the consumer does.
fn read_all(stage: &Stage) -> Result<(ReadBack<usize>, Found)> {
    let answer = get(stage, "/events", "application/x-ndjson")?;
    let (mut read, mut found) = (ReadBack::new(TOPICS.len(), 0), Found::default());
    let mut lines = Lines::default();
    lines.push(&answer.body, |event| {
        read.take(&Identities, event);
        found.take(event);
    })?;
    lines.end()?;
    Ok((read, found))
}

/// The answer of a service that is in order again. Until it has noticed that, it may refuse for a moment.
fn get(stage: &Stage, path: &str, accept: &str) -> Result<Response> {
    let (client, began) = (Client::new(&stage.addresses), Instant::now());
    let send = || client.send("GET", path, &[("accept", accept)], b"");
    let mut answer = send();
    while began.elapsed() < CATCH_UP && answer.as_ref().is_ok_and(|answer| answer.status == 503) {
        thread::sleep(PAUSE);
        answer = send();
    }
    let answer = answer.map_err(|failure| anyhow!("GET {path}: {failure:?}"))?;
    ensure!(answer.status == 200 && answer.is_complete, "GET {path}: {} {}", answer.status, answer.text());
    Ok(answer)
}
