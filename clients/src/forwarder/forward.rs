//! The work: claims, deliveries and commits. What they mean is in [`ledger`](crate::ledger) and
//! [`circuit`](crate::circuit); here is when each of them happens.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use sekali_clients::client::Failure;
use sekali_common::consumers::{Claim, Commit, Committed, Order, Specification};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::board::Board;
use crate::circuit::{Blame, Circuit, Sent};
use crate::ledger::{Ledger, Parcel};
use crate::outcome::Outcome;
use crate::pace::Pace;

/// The most events of a claim. The service sees to it that their bytes are not too many.
const MOST_EVENTS: u32 = 1_000;

/// Seconds that a claim waits for an event.
const WAIT: u32 = 20;

/// The pause between commits of what is done, so that a crash repeats little.
const PROGRESS: Duration = Duration::from_secs(1);

/// The longest pause before a standby asks again.
const STANDBY: Duration = Duration::from_secs(5);

/// The time to tell the service what was done, after the last delivery of a program that ends.
const GRACE: Duration = Duration::from_secs(10);

/// The service, as this consumer sees it. Its methods persist through what is transient.
pub trait Service: Send + Sync + 'static {
    /// Claims up to `limit` events, and waits for the first for so many seconds.
    fn claim(&self, limit: u32, wait: u32) -> impl Future<Output = Result<Option<Claim>, Failure>> + Send;
    /// Says how far a claim is.
    fn commit(&self, commit: Commit) -> impl Future<Output = Result<Committed, Failure>> + Send;
}

/// Where events go.
pub trait Target: Send + Sync + 'static {
    /// Delivers events, in one attempt.
    fn deliver(&self, parcel: &Parcel) -> impl Future<Output = Outcome> + Send;
    /// Makes sure that what was delivered stays, before it is committed.
    ///
    /// # Errors
    /// A sentence, where nobody can tell what stays.
    fn sync(&self) -> impl Future<Output = Result<(), String>> + Send;
}

/// The settings of a forwarder.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What waits behind an event that failed.
    pub order: Order,
    /// The most deliveries at a time.
    pub parallel: usize,
    /// The most events of a delivery.
    pub batch: usize,
    /// The most events a second.
    pub rate: Option<f64>,
    /// How long a claim lasts.
    pub lease: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { order: Order::Topic, parallel: 16, batch: 1, rate: None, lease: Duration::from_secs(30) }
    }
}

impl Settings {
    /// These settings with what the consumer is.
    pub fn of(self, consumer: &Specification) -> Self {
        let lease = consumer.lease.map_or(self.lease, |seconds| Duration::from_secs(seconds.into()));
        Self { order: consumer.order.unwrap_or(self.order), lease, ..self }
    }
}

/// The reason for which a forwarder ends, beside a signal.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// The endpoint wants nothing of this sort.
    #[error("{0}")]
    Misaddressed(String),
    /// What was delivered may not stay.
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
    end: Option<End>,
}

/// A delivery that came back.
struct Delivered {
    parcel: Parcel,
    outcome: Outcome,
    is_probe: bool,
}

/// Why nothing more is sent.
enum End {
    Signal,
    Misaddressed(String),
}

/// A commit on its way, and how far it goes.
struct Saying {
    task: JoinSet<Result<Committed, Stop>>,
    cut: usize,
    at: Instant,
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
            end: None,
        }
    }

    /// Forwards until `stop` returns, and then finishes what is on its way.
    ///
    /// # Errors
    /// What only a person can mend.
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
            let Some(claim) = claim else { continue };
            self.board.claimed(&claim);
            self.work(Ledger::new(claim, self.settings.order), asked, stop).await?;
            match self.end.take() {
                None => {}
                Some(End::Signal) => return Ok(()),
                Some(End::Misaddressed(reason)) => return Err(Stop::Misaddressed(reason)),
            }
        }
    }

    /// Asks for a claim; as a standby, later again.
    async fn claim(&self) -> Result<Option<Claim>, Stop> {
        match self.service.claim(MOST_EVENTS, WAIT).await {
            Err(failure) if failure.is_of("claimed") => {
                self.board.stands_by(&failure);
                let pause = failure.retry_after().unwrap_or(STANDBY).clamp(PROGRESS, STANDBY);
                sleep_until(Instant::now() + pause).await;
                Ok(None)
            }
            claim => claim.map_err(Stop::Refused),
        }
    }

    /// Gives back what a claim may have brought whose answer was not awaited.
    async fn give_back(&self) {
        let giving_back = async {
            if let Ok(Some(claim)) = self.service.claim(1, 0).await {
                let commit = Commit { claim: claim.claim, release: true, ..Commit::default() };
                let _ = self.service.commit(commit).await; // it runs out otherwise
            }
        };
        let _ = timeout(GRACE, giving_back).await;
    }

    /// Works through a claim that was asked for at a time.
    async fn work(&mut self, mut ledger: Ledger, asked: Instant, stop: &impl AsyncFn()) -> Result<(), Stop> {
        let lease = self.settings.lease;
        let mut live_until = asked + lease;
        let mut told_at = asked;
        let mut saying: Option<Saying> = None;
        loop {
            let now = Instant::now();
            if self.end.is_none() && now < live_until {
                self.send(&mut ledger, now);
            }
            self.board.shows(ledger.open(), self.in_flight.len());
            if self.in_flight.is_empty() && (ledger.is_over() || self.end.is_some()) {
                return self.finish(ledger, saying, stop).await;
            }
            let pause = if ledger.has_news() { PROGRESS.min(lease / 3) } else { lease / 3 };
            let tell_at = told_at + pause;
            if saying.is_none() && now >= tell_at {
                saying = Some(self.say(&ledger, now));
                continue;
            }
            let sending = self.wakes_at(&ledger, now).filter(|_| self.end.is_none());
            let mut wake = if saying.is_none() { tell_at } else { now + lease };
            wake = sending.map_or(wake, |at| wake.min(at));
            tokio::select! {
                () = stop(), if self.end.is_none() => self.end = Some(End::Signal),
                Some(delivered) = self.in_flight.join_next() => match delivered {
                    Ok(delivered) => self.take(&mut ledger, delivered),
                    Err(panic) => std::panic::resume_unwind(panic.into_panic()),
                },
                Some(told) = told(&mut saying) => {
                    let Some(said) = saying.take() else { continue };
                    match told {
                        Ok(committed) => {
                            ledger.committed(said.cut);
                            (told_at, live_until) = (said.at, said.at + lease);
                            self.board.committed(&committed);
                        }
                        Err(stop) => return self.lose(stop).await,
                    }
                }
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Sends what may be sent now.
    fn send(&mut self, ledger: &mut Ledger, now: Instant) {
        while self.circuit.admits(self.in_flight.len(), now) && self.pace.next() <= now {
            let circuit = &self.circuit;
            let is_probe = circuit.is_open();
            let most = if is_probe { 1 } else { self.settings.batch };
            let Some(parcel) = ledger.take(most, |seq| !is_probe || !circuit.suspects(seq)) else { return };
            self.pace.sent(parcel.events.len(), now);
            let target = Arc::clone(&self.target);
            self.in_flight.spawn(async move {
                let outcome = target.deliver(&parcel).await;
                Delivered { parcel, outcome, is_probe }
            });
        }
    }

    /// The time at which something may be sent that may not be sent now for its time alone.
    fn wakes_at(&self, ledger: &Ledger, now: Instant) -> Option<Instant> {
        let at = self.circuit.probe_at().unwrap_or(now).max(self.pace.next());
        (at > now && !ledger.is_over()).then_some(at)
    }

    /// Notes what became of a delivery.
    fn take(&mut self, ledger: &mut Ledger, Delivered { parcel, outcome, is_probe }: Delivered) {
        let now = Instant::now();
        let (places, seqs) = (&parcel.places, parcel.seqs());
        match outcome {
            Outcome::Delivered => {
                ledger.done(places);
                self.board.delivered(places.len());
                self.answered(seqs, now);
            }
            Outcome::Failed(reason) => {
                self.fail(ledger, &parcel, &reason);
                self.answered(seqs, now);
            }
            Outcome::Away(away) => {
                let was_open = self.circuit.is_open();
                let sent = Sent { seqs: &seqs, has_failed_before: parcel.has_failed_before };
                match self.circuit.away(&away, &sent, is_probe, now) {
                    Blame::Event => self.fail(ledger, &parcel, &away.reason),
                    Blame::Endpoint => ledger.put_back(places),
                }
                if !was_open && let Some(at) = self.circuit.probe_at() {
                    self.board.is_away(&away.reason, at - now, ledger.open());
                }
            }
            Outcome::Misaddressed(reason) => {
                ledger.put_back(places);
                self.end.get_or_insert(End::Misaddressed(reason));
            }
        }
    }

    fn fail(&mut self, ledger: &mut Ledger, parcel: &Parcel, reason: &str) {
        ledger.fail(&parcel.places, reason);
        if let [event] = parcel.events.as_slice() {
            self.board.failed(event, reason);
        }
    }

    fn answered(&mut self, seqs: Vec<u64>, now: Instant) {
        if let Some(outage) = self.circuit.answered(seqs, now) {
            self.board.is_back(outage);
        }
    }

    /// Says how far the claim is, beside the deliveries.
    fn say(&self, ledger: &Ledger, at: Instant) -> Saying {
        let (commit, cut) = ledger.commit();
        let (service, target) = (Arc::clone(&self.service), Arc::clone(&self.target));
        let mut task = JoinSet::new();
        task.spawn(async move {
            target.sync().await.map_err(Stop::NotSynced)?;
            service.commit(commit).await.map_err(Stop::Refused)
        });
        Saying { task, cut, at }
    }

    /// Says the last of a claim, after what is being said, and gives back what is left of it. A forwarder that ends does not
    /// wait for a service that is away: what it could not say comes again when the claim runs out.
    async fn finish(
        &mut self,
        mut ledger: Ledger,
        mut saying: Option<Saying>,
        stop: &impl AsyncFn(),
    ) -> Result<(), Stop> {
        self.circuit.forget();
        let (service, target) = (Arc::clone(&self.service), Arc::clone(&self.target));
        let mut telling = pin!(async {
            if let Some(told) = told(&mut saying).await {
                told?;
                ledger.committed(saying.map_or(0, |said| said.cut));
            }
            target.sync().await.map_err(Stop::NotSynced)?;
            let (mut commit, _) = ledger.commit();
            commit.release = !ledger.is_over();
            service.commit(commit).await.map_err(Stop::Refused)
        });
        let is_ending = self.end.is_some();
        let told = tokio::select! {
            told = &mut telling => told,
            () = stop(), if !is_ending => {
                self.end = Some(End::Signal);
                match timeout(GRACE, telling).await {
                    Ok(told) => told,
                    Err(_) => return Ok(()),
                }
            }
            () = sleep(GRACE), if is_ending => return Ok(()),
        };
        match told {
            Ok(committed) => self.board.committed(&committed),
            Err(stop) => self.lose(stop).await?,
        }
        Ok(())
    }

    /// The claim is another's, or nobody's: what is on its way is awaited, so that nothing of a topic overtakes it.
    async fn lose(&mut self, stop: Stop) -> Result<(), Stop> {
        while self.in_flight.join_next().await.is_some() {}
        self.circuit.forget();
        match stop {
            Stop::Refused(failure) if failure.is_of("claim-lost") => self.board.lost(),
            stop => return Err(stop),
        }
        Ok(())
    }
}

/// The answer to a commit on its way; `None` if none is.
async fn told(saying: &mut Option<Saying>) -> Option<Result<Committed, Stop>> {
    match saying.as_mut()?.task.join_next().await? {
        Ok(told) => Some(told),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
