//! Claims, deliveries and commits. What they mean is in [`ledger`](crate::ledger) and [`circuit`](crate::circuit); here is
//! when each of them happens: one claim after the other, and [`work`] for what happens within one.

mod work;

use std::sync::Arc;
use std::time::Duration;

use sekali_clients::client::Failure;
use sekali_common::consumers::{Claim, Commit, Committed, Specification};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::board::Board;
use crate::circuit::Circuit;
use crate::ledger::{Ledger, Parcel};
use crate::outcome::Outcome;
use crate::pace::Pace;
use crate::settings::Settings;

/// The most events of a claim. The service sees to it that their bytes are not too many.
const MOST_EVENTS: u32 = 1_000;

/// Seconds that a claim waits for an event.
const WAIT: u32 = 20;

/// The shortest pause before a standby asks again.
const SHORTEST: Duration = Duration::from_secs(1);

/// The longest.
const STANDBY: Duration = Duration::from_secs(5);

/// The time to tell the service what was done, after the last delivery of a program that ends.
const GRACE: Duration = Duration::from_secs(10);

/// The service, as this consumer sees it. Its methods persist through what is transient.
pub trait Service: Send + Sync + 'static {
    /// Claims up to `limit` events for a lease, and waits for the first for so many seconds.
    fn claim(
        &self,
        limit: u32,
        lease: Duration,
        wait: u32,
    ) -> impl Future<Output = Result<Option<Claim>, Failure>> + Send;
    /// The consumer as it is at present.
    fn consumer(&self) -> impl Future<Output = Result<Specification, Failure>> + Send;
    /// Commits a part of a claim.
    fn commit(&self, commit: Commit) -> impl Future<Output = Result<Committed, Failure>> + Send;
}

/// The destination of events.
pub trait Target: Send + Sync + 'static {
    /// Delivers events, in one attempt.
    fn deliver(&self, parcel: &Parcel) -> impl Future<Output = Outcome> + Send;
    /// Makes sure that what was delivered stays, before it is committed.
    ///
    /// # Errors
    /// A sentence, where nobody can tell what stays.
    fn sync(&self) -> impl Future<Output = Result<(), String>> + Send;
}

/// The reason for which a forwarder ends, beside a signal.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// The endpoint wants nothing of this sort.
    #[error("{0}")]
    Misaddressed(String),
    /// Nobody can tell whether the deliveries stay.
    #[error("{0}")]
    NotSynced(String),
    /// The service refuses the consumer.
    #[error("{0}")]
    Refused(Failure),
}

/// A forwarder at work.
pub struct Forwarder<S, T> {
    service: Arc<S>,
    target: Arc<T>,
    settings: Settings,
    circuit: Circuit,
    pace: Pace,
    board: Arc<Board>,
    /// Deliveries on their way.
    in_flight: JoinSet<Delivered>,
    /// True if newer events wait until the claim is over, as far as the last commit said.
    holds_up_others: bool,
    end: Option<End>,
}

/// The time of a claim.
#[derive(Clone, Copy)]
struct Lease {
    /// The moment at which it was asked for.
    asked: Instant,
    /// The time that it lasts from then on, and from each commit.
    lease: Duration,
}

/// A delivery that came back.
struct Delivered {
    parcel: Parcel,
    outcome: Outcome,
    is_probe: bool,
}

/// The reason for which nothing more is sent.
enum End {
    Signal,
    Misaddressed(String),
}

impl<S: Service, T: Target> Forwarder<S, T> {
    /// A forwarder that has not begun.
    pub fn new(service: S, target: T, settings: Settings, board: Arc<Board>) -> Self {
        Self {
            service: Arc::new(service),
            target: Arc::new(target),
            circuit: Circuit::new(settings.parallel),
            pace: Pace::new(settings.rate),
            settings,
            board,
            in_flight: JoinSet::new(),
            holds_up_others: false,
            end: None,
        }
    }

    /// Forwards until `stop` returns, and then finishes what is on its way.
    ///
    /// # Errors
    /// A reason that only a person can remove.
    pub async fn run(&mut self, stop: &impl AsyncFn()) -> Result<(), Stop> {
        loop {
            let asked = Instant::now();
            let claim = tokio::select! {
                biased;
                () = stop() => {
                    self.give_back().await;
                    return Ok(());
                }
                claim = self.claim() => claim?,
            };
            let Some((claim, consumer)) = claim else { continue };
            self.board.claimed(&claim);
            // A claim has the lease that it was asked for with, and the order of the consumer as it is now.
            let lease = self.settings.lease;
            self.settings = self.settings.clone().of(&consumer);
            self.work(Ledger::new(claim, self.settings.order), Lease { asked, lease }, stop).await?;
            match self.end.take() {
                None => {}
                Some(End::Signal) => return Ok(()),
                Some(End::Misaddressed(reason)) => return Err(Stop::Misaddressed(reason)),
            }
        }
    }

    /// Asks for a claim, and what the consumer is; as a standby, later again. Another program may have changed the consumer
    /// before the claim was given. If it does afterwards, the claim is lost.
    async fn claim(&self) -> Result<Option<(Claim, Specification)>, Stop> {
        match self.service.claim(MOST_EVENTS, self.settings.lease, WAIT).await {
            Ok(Some(claim)) => {
                let consumer = self.service.consumer().await.map_err(Stop::Refused)?;
                Ok(Some((claim, consumer)))
            }
            Ok(None) => Ok(None),
            Err(failure) if failure.is_of("claimed") => {
                self.board.stands_by(&failure);
                let pause = failure.retry_after().unwrap_or(STANDBY).clamp(SHORTEST, STANDBY);
                sleep(pause).await;
                Ok(None)
            }
            Err(failure) => Err(Stop::Refused(failure)),
        }
    }

    /// Gives back what a claim may have brought whose answer was not awaited.
    async fn give_back(&self) {
        let giving_back = async {
            if let Ok(Some(claim)) = self.service.claim(1, self.settings.lease, 0).await {
                let commit = Commit { claim: claim.claim, release: true, ..Commit::default() };
                let _ = self.service.commit(commit).await; // it runs out otherwise
            }
        };
        let _ = timeout(GRACE, giving_back).await;
    }
}
