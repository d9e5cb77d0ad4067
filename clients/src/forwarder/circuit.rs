//! Is the endpoint there? An outage is not a failure of the events that meet it.
//!
//! Whatever may be a sign of an outage opens the circuit: nothing is sent but a probe now and then, and what was sent goes
//! back to its place. A sign that an event itself may have caused makes it a suspect, as one is that failed before. Probes
//! prefer events that are not, so that one event which breaks its handler stops no other; and when others pass, and a
//! suspect fails again, the event has failed and not the endpoint.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::outcome::Away;

/// The pause before the first probe; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause between probes, unless the endpoint asks for more.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The time after which an event that may be the cause counts as failed though there was no other to compare it with: else
/// a single event could stop a quiet log for ever. It doubles until something passes, so that no outage is long enough to
/// use up the attempts of an event.
const PATIENCE: Duration = Duration::from_secs(2 * 60 * 60);

/// The way to an endpoint.
#[derive(Debug)]
pub struct Circuit {
    /// The most deliveries at a time.
    most: usize,
    state: State,
    /// Events that may be the cause of what looked like an outage, by their seq.
    suspects: HashSet<u64>,
    patience: Duration,
    /// True if the last that is known of the endpoint is that it is there.
    is_trusted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The endpoint is there. After an outage it is not met with everything at once: the window doubles with each event
    /// that passes.
    Closed { window: usize },
    /// The endpoint is away.
    Open { since: Instant, pause: Duration, probe_at: Instant },
}

/// What was sent together.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'s> {
    /// The seqs of the events.
    pub seqs: &'s [u64],
    /// True if they have failed before, at another attempt.
    pub has_failed_before: bool,
}

/// Who failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The endpoint: the event is sent again.
    Endpoint,
    /// The event.
    Event,
}

impl Circuit {
    /// A closed circuit for at most `most` deliveries at a time.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            state: State::Closed { window: most },
            suspects: HashSet::new(),
            patience: PATIENCE,
            is_trusted: true,
        }
    }

    /// True while the endpoint is away.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// True if one more delivery may begin, beside `in_flight` others.
    pub fn admits(&self, in_flight: usize, now: Instant) -> bool {
        match self.state {
            State::Closed { window } => in_flight < window,
            State::Open { probe_at, .. } => in_flight == 0 && now >= probe_at,
        }
    }

    /// The time of the next probe, while the circuit is open.
    pub fn probe_at(&self) -> Option<Instant> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { probe_at, .. } => Some(probe_at),
        }
    }

    /// True for an event that is not to be a probe if there is another.
    pub fn suspects(&self, seq: u64) -> bool {
        self.suspects.contains(&seq)
    }

    /// The endpoint answered for these events, so that it is there. Returns the length of the outage that is over by it.
    pub fn answered(&mut self, seqs: impl IntoIterator<Item = u64>, now: Instant) -> Option<Duration> {
        for seq in seqs {
            self.suspects.remove(&seq);
        }
        (self.patience, self.is_trusted) = (PATIENCE, true);
        match self.state {
            State::Closed { window } => {
                self.state = State::Closed { window: (window * 2).min(self.most) };
                None
            }
            State::Open { since, .. } => {
                self.state = State::Closed { window: 1 };
                Some(now - since)
            }
        }
    }

    /// The endpoint seems to be away. `is_probe` is true if this was sent while it was known to be.
    pub fn away(&mut self, away: &Away, sent: &Sent<'_>, is_probe: bool, now: Instant) -> Blame {
        let is_suspect = sent.seqs.iter().all(|seq| self.suspects.contains(seq));
        let may_be_event = away.may_be_event && (is_suspect || sent.has_failed_before && self.is_trusted);
        if away.may_be_event {
            self.suspects.extend(sent.seqs);
        }
        match self.state {
            // It closed since the event failed before, so that others have passed.
            State::Closed { .. } if may_be_event => {
                self.forgive(sent);
                return Blame::Event;
            }
            State::Closed { .. } => self.open(now, FIRST_PAUSE, away, now),
            State::Open { since, .. } if is_probe && may_be_event && now - since >= self.patience => {
                (self.patience, self.is_trusted) = (self.patience * 2, false);
                self.forgive(sent);
                self.state = State::Closed { window: 1 };
                return Blame::Event;
            }
            State::Open { since, pause, .. } if is_probe => {
                self.open(since, (pause * 2).min(LONGEST_PAUSE), away, now);
            }
            // It was on its way when another found out.
            State::Open { since, pause, probe_at } => {
                let asked = now + away.retry_after.unwrap_or_default();
                self.state = State::Open { since, pause, probe_at: probe_at.max(asked) };
            }
        }
        Blame::Endpoint
    }

    /// Forgets all suspects: their claim is over.
    pub fn forget(&mut self) {
        self.suspects.clear();
    }

    fn open(&mut self, since: Instant, pause: Duration, away: &Away, now: Instant) {
        let wait = pause.max(away.retry_after.unwrap_or_default());
        self.state = State::Open { since, pause, probe_at: now + wait };
    }

    fn forgive(&mut self, sent: &Sent<'_>) {
        for seq in sent.seqs {
            self.suspects.remove(seq);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The first event, which did not fail before.
    const ONE: Sent<'static> = Sent { seqs: &[1], has_failed_before: false };

    #[tokio::test]
    async fn probes_come_after_1_second_to_5_minutes() {
        let mut circuit = Circuit::new(16);
        let mut now = Instant::now();
        assert_eq!(circuit.away(&Away::unreached("refused"), &ONE, false, now), Blame::Endpoint);
        let mut pauses = Vec::new();
        for _ in 0..11 {
            let at = circuit.probe_at().unwrap();
            assert!(!circuit.admits(0, at - SECOND / 10) && circuit.admits(0, at) && !circuit.admits(1, at));
            pauses.push((at - now).as_secs());
            now = at;
            circuit.away(&Away::unreached("refused"), &ONE, true, now);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    #[tokio::test]
    async fn a_probe_is_never_before_what_the_endpoint_asks_for() {
        let mut circuit = Circuit::new(16);
        let now = Instant::now();
        let asks = |seconds| Away { retry_after: Some(SECOND * seconds), ..Away::unreached("429") };
        circuit.away(&asks(90), &ONE, false, now);
        assert_eq!(circuit.probe_at(), Some(now + SECOND * 90));
        // One that was on its way neither shortens the pause nor makes the next one longer.
        circuit.away(&asks(30), &Sent { seqs: &[2], ..ONE }, false, now);
        assert_eq!(circuit.probe_at(), Some(now + SECOND * 90));
        circuit.away(&Away::unreached("refused"), &ONE, true, now + SECOND * 90);
        assert_eq!(circuit.probe_at(), Some(now + SECOND * 92));
    }

    #[tokio::test]
    async fn an_endpoint_that_is_back_is_not_met_with_everything_at_once() {
        let mut circuit = Circuit::new(5);
        let now = Instant::now();
        circuit.away(&Away::lost("closed"), &ONE, false, now);
        assert_eq!(circuit.answered([2], now + SECOND), Some(SECOND));
        let mut room = Vec::new();
        for seq in 3..7 {
            room.push((0..9).find(|in_flight| !circuit.admits(*in_flight, now)).unwrap());
            assert_eq!(circuit.answered([seq], now), None);
        }
        assert_eq!(room, [1, 2, 4, 5]);
    }

    #[tokio::test]
    async fn an_event_that_fails_while_others_pass_has_failed() {
        let mut circuit = Circuit::new(2);
        let now = Instant::now();
        let sign = Away::lost("closed");
        assert_eq!(circuit.away(&sign, &ONE, false, now), Blame::Endpoint);
        assert!(circuit.suspects(1) && circuit.is_open());
        circuit.answered([2], now);
        assert_eq!(circuit.away(&sign, &ONE, false, now), Blame::Event);
        assert!(!circuit.suspects(1) && !circuit.is_open());
        // At its next attempt there may be no other to compare it with: it must not keep new ones waiting.
        let again = Sent { has_failed_before: true, ..ONE };
        assert_eq!(circuit.away(&Away::unreached("refused"), &again, false, now), Blame::Endpoint);
        circuit.answered([2], now);
        assert_eq!(circuit.away(&sign, &again, false, now), Blame::Event);
    }

    #[tokio::test]
    async fn no_event_is_blamed_for_what_it_cannot_have_caused() {
        let mut circuit = Circuit::new(2);
        let now = Instant::now();
        for _ in 0..20 {
            assert_eq!(circuit.away(&Away::unreached("refused"), &ONE, false, now), Blame::Endpoint);
            circuit.answered([2], now);
        }
    }

    #[tokio::test]
    async fn one_event_alone_is_blamed_after_hours_and_ever_later() {
        let mut circuit = Circuit::new(1);
        let began = Instant::now();
        let mut now = began;
        let mut blamed = Vec::new();
        circuit.away(&Away::lost("closed"), &ONE, false, now);
        while now - began < SECOND * 3600 * 15 {
            now = circuit.probe_at().unwrap();
            if circuit.away(&Away::lost("closed"), &ONE, true, now) == Blame::Event {
                blamed.push((now - began).as_secs() / 3600);
                // It comes again, and the endpoint was not seen meanwhile.
                let again = Sent { has_failed_before: true, ..ONE };
                assert_eq!(circuit.away(&Away::lost("closed"), &again, false, now), Blame::Endpoint);
            }
        }
        assert_eq!(blamed, [2, 6, 14]);
    }
}
