//! `relay`: what providers deliver to receivers goes by a consumer and a forwarder to an endpoint, while the service, the
//! forwarder and the endpoint are killed at random, each by itself. Afterwards the endpoint's own log, joined with the events
//! of the service by their seqs, has to hold everything that a receiver acknowledged.
//!
//! - `provider`: what delivers, until it is acknowledged and now and then once more
//! - `endpoint`: what is delivered to, and its log
//! - `forwarders`: the forwarder, of which there may be two
//! - `service`: the service, and what it says of the consumer
//! - `check`: the rules

mod check;
mod endpoint;
mod forwarders;
mod provider;
pub mod service;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use fastrand::Rng;
use sekali_common::consumers::Consumer;
use sekali_harness::deployment::{Deployment, Setup};

use self::check::Evidence;
use self::endpoint::Endpoint;
use self::forwarders::Forwarders;
use self::provider::Sent;
use self::service::Service;
use crate::{Effort, Tally};

/// The name of the consumer.
const NAME: &str = "relay";

/// The time in which everything has to be at the endpoint once nothing is killed any more.
const CATCH_UP: Duration = Duration::from_secs(120);

/// The average time between two ends of the service, and the longest time for which it is away.
const LIFE_OF_SERVICE: Duration = Duration::from_secs(3);
const AWAY: Duration = Duration::from_secs(2);

/// The pause between two looks at something.
const LOOK: Duration = Duration::from_millis(20);

/// Delivers, kills, and compares.
///
/// # Errors
/// When the service or a forwarder cannot be started, or the service cannot be read.
pub fn run(seed: u64, effort: Effort) -> Result<Tally> {
    let mut rng = Rng::with_seed(seed);
    let mut setup = Setup::from_environment()?;
    setup.variables.push(("hooks".into(), provider::hooks()));
    let mut deployment = setup.start()?;
    let (service, endpoint) = (Service::at(deployment.address()), Endpoint::start()?);
    let mut forwarders = Forwarders::start(service.address(), endpoint.address())?;

    let mut played = play(&mut rng, effort, &mut deployment, &endpoint, &mut forwarders)?;
    let mut tally = Tally::default();
    let consumer = settle(&mut rng, &service, &mut played.sent)?;
    forwarders.end();
    tally.violations.append(&mut forwarders.broken);
    let evidence = Evidence {
        sent: played.sent,
        stored: service.events()?,
        failed: service.failed("")?,
        parked: played.parked,
        consumer,
        arrivals: endpoint.arrivals(),
    };
    tally.trials = evidence.arrivals.len() as u64;
    tally.acknowledged = evidence.sent.values().map(|sent| sent.acknowledged).sum();
    tally.violations.extend(played.broken);
    tally.violations.extend(check::check(&evidence));
    eprintln!(
        "torture: relay: {} events were acknowledged {} times, and arrived {} times; killed: the service {} times, a \
         forwarder {} times, the endpoint {} times; {} events are dead",
        evidence.sent.values().filter(|sent| sent.acknowledged > 0).count(),
        tally.acknowledged,
        tally.trials,
        played.restarts,
        forwarders.kills,
        endpoint.outages(),
        evidence.failed.len(),
    );
    Ok(tally)
}

/// What happened until nothing was killed any more.
#[derive(Default)]
struct Played {
    /// What providers delivered, by the ids of events.
    sent: BTreeMap<String, Sent>,
    /// Events that were seen to have failed and to wait for their next attempt.
    parked: BTreeMap<u64, String>,
    /// How often the service was killed.
    restarts: usize,
    /// What must not be, and was seen at once.
    broken: Vec<String>,
}

/// Delivers and kills for a while. Then all of them are there.
fn play(
    rng: &mut Rng,
    effort: Effort,
    deployment: &mut Deployment,
    endpoint: &Endpoint,
    forwarders: &mut Forwarders,
) -> Result<Played> {
    let address: SocketAddr = deployment.address();
    let until = Instant::now() + Duration::from_secs(effort.pick(12, 600));
    // In a short form more comes than can be forwarded meanwhile; for long, that would never end. Whoever is killed is
    // missed for a lease, so in a long one a life is longer than that.
    let rest = Duration::from_millis(effort.pick(60, 200));
    let life = Duration::from_secs(effort.pick(1, 4));
    let (mut played, is_over) = (Played::default(), &AtomicBool::new(false));
    let mut fork = || rng.fork();
    thread::scope(|scope| -> Result<()> {
        let providers: Vec<_> = (0..provider::COUNT)
            .map(|number| (number, fork()))
            .map(|(number, rng)| scope.spawn(move || provider::deliver(address, number, rng, until, rest)))
            .collect();
        let watcher = scope.spawn(move || Service::at(address).watch(is_over));
        let [mut of_endpoint, mut of_forwarders, mut of_service] = [fork(), fork(), fork()];
        scope.spawn(move || endpoint.torment(&mut of_endpoint, until));
        let torment = scope.spawn(move || forwarders.torment(&mut of_forwarders, until, life));
        let restarted = service::torment(deployment, &mut of_service, until, (LIFE_OF_SERVICE, AWAY));
        let delivered: Result<Vec<_>> = providers.into_iter().map(joined).collect();
        is_over.store(true, Ordering::SeqCst);
        for (sent, broken) in delivered? {
            played.sent.extend(sent);
            played.broken.extend(broken);
        }
        let seen = joined(watcher)?;
        played.parked = seen.parked;
        played.broken.extend(seen.broken);
        joined(torment)??;
        played.restarts = restarted?;
        Ok(())
    })?;
    Ok(played)
}

/// Waits until the consumer has nothing to give out, delivers one event more, so that the newest of all is one of its own,
/// and waits for that. Returns what the consumer is in the end, or after [`CATCH_UP`].
fn settle(rng: &mut Rng, service: &Service, sent: &mut BTreeMap<String, Sent>) -> Result<Consumer> {
    service.wait_until_done(CATCH_UP)?;
    let (last, broken) = provider::deliver_one(service.address(), "last", rng);
    ensure!(broken.is_none(), "{}", broken.unwrap_or_default());
    sent.insert("last".into(), last);
    service.wait_until_done(CATCH_UP)
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> Result<T> {
    thread.join().map_err(|_| anyhow!("a part of it panicked"))
}
