//! The work within one claim.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use sekali_common::consumers::Committed;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{Delivered, End, Forwarder, GRACE, Lease, Service, Stop, Target};
use crate::circuit::{Blame, Sent};
use crate::ledger::{Ledger, Parcel};
use crate::outcome::Outcome;

/// The pause between commits of what is done, so that a crash repeats little.
const PROGRESS: Duration = Duration::from_secs(1);

/// A commit on its way, and how far it goes.
struct Saying {
    task: JoinSet<Result<Committed, Stop>>,
    cut: usize,
    at: Instant,
}

impl<S: Service, T: Target> Forwarder<S, T> {
    /// Works through a claim.
    pub(super) async fn work(
        &mut self,
        mut ledger: Ledger,
        Lease { asked, lease }: Lease,
        stop: &impl AsyncFn(),
    ) -> Result<(), Stop> {
        let mut live_until = asked + lease;
        let mut told_at = asked;
        let mut saying: Option<Saying> = None;
        self.holds_up_others = false;
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
                            self.holds_up_others = ledger.holds_up_others(committed.lag);
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
                let outage = self.circuit.took(&seqs, now);
                self.is_back(outage);
            }
            Outcome::Failed(reason) => {
                self.fail(ledger, &parcel, &reason);
                let outage = self.circuit.refused(&seqs, now);
                self.is_back(outage);
            }
            Outcome::Unsendable(reason) => self.fail(ledger, &parcel, &reason),
            Outcome::Away(away) => {
                let was_open = self.circuit.is_open();
                let sent = Sent {
                    seqs: &seqs,
                    has_failed_before: parcel.has_failed_before,
                    holds_up_others: self.holds_up_others,
                };
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

    fn is_back(&self, outage: Option<Duration>) {
        if let Some(outage) = outage {
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
