//! The work within one claim.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use sekali_common::consumers::Committed;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{Delivered, End, Forwarder, GRACE, Lease, Service, Stop, Target};
use crate::circuit::{Blame, Sent};
use crate::ledger::{Ledger, Parcel};
use crate::outcome::Outcome;

/// The pause between commits of what is done, so that a crash repeats little.
const PROGRESS: Duration = Duration::from_secs(1);

/// A commit whose answer is awaited.
struct PendingCommit {
    task: JoinSet<Result<Committed, Stop>>,
    /// The place in the ledger up to which it goes.
    cut: usize,
    sent_at: Instant,
}

/// The next event in the work on a claim.
enum Next {
    /// The program is to end.
    Signal,
    Delivered(Delivered),
    Committed(Result<Committed, Stop>),
    /// It is time to send or to commit something.
    Time,
}

impl<S: Service, T: Target> Forwarder<S, T> {
    /// Works through a claim: sends, and commits beside it, until nothing is left or the program ends.
    pub(super) async fn work(
        &mut self,
        mut ledger: Ledger,
        Lease { asked, lease }: Lease,
        stop: &impl AsyncFn(),
    ) -> Result<(), Stop> {
        let mut extended_at = asked;
        let mut pending = None;
        self.holds_up_others = false;
        loop {
            let now = Instant::now();
            if self.end.is_none() && now < extended_at + lease {
                self.send(&mut ledger, now);
            }
            self.board.shows(ledger.open(), self.in_flight.len());
            if self.in_flight.is_empty() && (ledger.is_over() || self.end.is_some()) {
                return self.finish(ledger, pending, stop).await;
            }
            let pause = if ledger.has_news() { PROGRESS.min(lease / 3) } else { lease / 3 };
            let commit_at = extended_at + pause;
            if pending.is_none() && now >= commit_at {
                pending = Some(self.commit(&ledger, now));
            }
            let commit_at = if pending.is_none() { commit_at } else { now + lease };
            let send_at = self.sends_at(&ledger, now).unwrap_or(commit_at);
            match self.next(&mut pending, commit_at.min(send_at), stop).await {
                Next::Signal => self.end = Some(End::Signal),
                Next::Delivered(delivered) => self.take(&mut ledger, delivered),
                Next::Committed(Ok(committed)) => {
                    let Some(commit) = pending.take() else { continue };
                    ledger.committed(commit.cut);
                    extended_at = commit.sent_at;
                    self.holds_up_others = ledger.holds_up_others(committed.lag);
                    self.board.committed(&committed);
                }
                Next::Committed(Err(stop)) => return self.abandon(stop).await,
                Next::Time => {}
            }
        }
    }

    /// Waits for what happens next, until a time.
    async fn next(
        &mut self,
        pending: &mut Option<PendingCommit>,
        until: Instant,
        stop: &impl AsyncFn(),
    ) -> Next {
        tokio::select! {
            () = stop(), if self.end.is_none() => Next::Signal,
            Some(delivered) = self.in_flight.join_next() => Next::Delivered(returned(delivered)),
            Some(committed) = answer(pending) => Next::Committed(committed),
            () = sleep_until(until) => Next::Time,
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
    fn sends_at(&self, ledger: &Ledger, now: Instant) -> Option<Instant> {
        let at = self.circuit.probe_at().unwrap_or(now).max(self.pace.next());
        (at > now && !ledger.is_over() && self.end.is_none()).then_some(at)
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

    /// Commits what is done so far, beside the deliveries.
    fn commit(&self, ledger: &Ledger, sent_at: Instant) -> PendingCommit {
        let (commit, cut) = ledger.commit();
        let (service, target) = (Arc::clone(&self.service), Arc::clone(&self.target));
        let mut task = JoinSet::new();
        task.spawn(async move {
            target.sync().await.map_err(Stop::NotSynced)?;
            service.commit(commit).await.map_err(Stop::Refused)
        });
        PendingCommit { task, cut, sent_at }
    }

    /// Commits the last of a claim, after the pending commit, and gives back what is left of it. A forwarder that ends does
    /// not wait for a service that is away: what it could not commit comes again when the claim runs out.
    async fn finish(
        &mut self,
        mut ledger: Ledger,
        mut pending: Option<PendingCommit>,
        stop: &impl AsyncFn(),
    ) -> Result<(), Stop> {
        self.circuit.forget();
        let (service, target) = (Arc::clone(&self.service), Arc::clone(&self.target));
        let mut last_commit = pin!(async {
            if let Some(committed) = answer(&mut pending).await {
                committed?;
                ledger.committed(pending.map_or(0, |commit| commit.cut));
            }
            target.sync().await.map_err(Stop::NotSynced)?;
            let (mut commit, _) = ledger.commit();
            commit.release = !ledger.is_over();
            service.commit(commit).await.map_err(Stop::Refused)
        });
        let is_ending = self.end.is_some();
        let committed = tokio::select! {
            committed = &mut last_commit => committed,
            () = stop(), if !is_ending => {
                self.end = Some(End::Signal);
                match timeout(GRACE, last_commit).await {
                    Ok(committed) => committed,
                    Err(_) => return Ok(()),
                }
            }
            () = sleep(GRACE), if is_ending => return Ok(()),
        };
        match committed {
            Ok(committed) => self.board.committed(&committed),
            Err(stop) => self.abandon(stop).await?,
        }
        Ok(())
    }

    /// The claim is another's, or nobody's: what is on its way is awaited, so that nothing of a topic overtakes it.
    async fn abandon(&mut self, stop: Stop) -> Result<(), Stop> {
        while self.in_flight.join_next().await.is_some() {}
        self.circuit.forget();
        match stop {
            Stop::Refused(failure) if failure.is_of("claim-lost") => self.board.lost(),
            stop => return Err(stop),
        }
        Ok(())
    }
}

/// The answer to a pending commit; `None` if there is none.
async fn answer(pending: &mut Option<PendingCommit>) -> Option<Result<Committed, Stop>> {
    pending.as_mut()?.task.join_next().await.map(returned)
}

/// The result of a task, which nobody cancels.
fn returned<R>(task: Result<R, JoinError>) -> R {
    task.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
