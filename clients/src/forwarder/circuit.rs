//! Is the endpoint there? An outage is not a failure of the events that meet it.
//!
//! Whatever may be a sign of an outage opens the circuit: nothing is sent but a probe now and then, and what was sent goes
//! back to its place. A sign that an event itself may have caused makes it a suspect. Probes prefer events that are not, so
//! that one event which breaks its handler stops no other. If something passes between two tries of a suspect that both
//! fail, the event has failed and not the endpoint; while nothing passes, no attempt is counted.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::outcome::Away;

/// The pause before the first probe; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause between probes, unless the endpoint asks for more.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The time after which a suspect counts as failed though nothing passed, if newer events wait for its claim: else a single
/// event could stop them for ever. It doubles until something passes, so that no outage is long enough to use up twelve
/// attempts.
const PATIENCE: Duration = Duration::from_secs(2 * 60 * 60);

/// Suspects that are remembered. The service has ten thousand events that failed at most, and does not say which have died.
const MOST_SUSPECTS: usize = 20_000;

/// The way to an endpoint.
#[derive(Debug)]
pub struct Circuit {
    /// The most deliveries at a time.
    most: usize,
    state: State,
    /// The deliveries that the endpoint answered, so that it was there.
    answers: u64,
    /// Events whose last try failed, perhaps because of them, by their seq.
    suspects: HashMap<u64, Suspect>,
    patience: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Suspect {
    /// The answers before its last try failed.
    answers: u64,
    /// True if an attempt was counted, so that it comes again in a later claim.
    is_counted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The endpoint is there. After an outage it is not met with everything at once: the window doubles with each event
    /// that passes.
    Closed { window: usize },
    /// The endpoint is away.
    Open { since: Instant, pause: Duration, probe_at: Instant },
}

/// Events that were sent together.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'s> {
    /// The seqs of the events.
    pub seqs: &'s [u64],
    /// True if they have failed before, at another attempt.
    pub has_failed_before: bool,
    /// True if newer events wait until their claim is over.
    pub holds_up_others: bool,
}

/// The side that failed.
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
            answers: 0,
            suspects: HashMap::new(),
            patience: PATIENCE,
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
        self.suspects.contains_key(&seq)
    }

    /// The endpoint took these events. Returns the length of the outage that is over by it.
    pub fn took(&mut self, seqs: &[u64], now: Instant) -> Option<Duration> {
        for seq in seqs {
            self.suspects.remove(seq);
        }
        self.answered(now)
    }

    /// The endpoint refused these events. Returns the length of the outage that is over by it.
    pub fn refused(&mut self, seqs: &[u64], now: Instant) -> Option<Duration> {
        let outage = self.answered(now);
        self.suspect(seqs, true);
        outage
    }

    fn answered(&mut self, now: Instant) -> Option<Duration> {
        self.answers += 1;
        self.patience = PATIENCE;
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
        let is_known = |seq| self.suspects.contains_key(seq);
        let is_again = away.may_be_event && (sent.has_failed_before || sent.seqs.iter().all(is_known));
        // What failed before this program began gets no more credit than what failed before the last answer.
        let has_answered_since =
            |seq| self.suspects.get(seq).is_none_or(|suspect| suspect.answers < self.answers);
        match self.state {
            State::Closed { .. } if is_again && sent.seqs.iter().all(has_answered_since) => {
                self.suspect(sent.seqs, true);
                return Blame::Event;
            }
            State::Closed { .. } => self.open(now, FIRST_PAUSE, away, now),
            State::Open { since, .. }
                if is_probe && is_again && sent.holds_up_others && now - since >= self.patience =>
            {
                self.patience *= 2;
                self.state = State::Closed { window: 1 };
                self.suspect(sent.seqs, true);
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
        if away.may_be_event {
            self.suspect(sent.seqs, sent.has_failed_before);
        }
        Blame::Endpoint
    }

    /// Forgets the suspects whose claim is over. What was counted comes again in another one.
    pub fn forget(&mut self) {
        self.suspects.retain(|_, suspect| suspect.is_counted);
    }

    fn suspect(&mut self, seqs: &[u64], is_counted: bool) {
        if self.suspects.len() >= MOST_SUSPECTS {
            self.suspects.clear();
        }
        let suspect = Suspect { answers: self.answers, is_counted };
        self.suspects.extend(seqs.iter().map(|seq| (*seq, suspect)));
    }

    fn open(&mut self, since: Instant, pause: Duration, away: &Away, now: Instant) {
        let wait = pause.max(away.retry_after.unwrap_or_default());
        self.state = State::Open { since, pause, probe_at: now + wait };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The first event, which did not fail before, and for which others wait.
    const ONE: Sent<'static> = Sent { seqs: &[1], has_failed_before: false, holds_up_others: true };

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
        assert_eq!(circuit.took(&[2], now + SECOND), Some(SECOND));
        let mut room = Vec::new();
        for seq in 3..7 {
            room.push((0..9).find(|in_flight| !circuit.admits(*in_flight, now)).unwrap());
            assert_eq!(circuit.took(&[seq], now), None);
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
        circuit.took(&[2], now);
        assert_eq!(circuit.away(&sign, &ONE, false, now), Blame::Event);
        assert!(!circuit.is_open());
        // At its next attempt there may be no other to compare it with: it must not keep new ones waiting.
        let again = Sent { has_failed_before: true, ..ONE };
        assert_eq!(circuit.away(&Away::unreached("refused"), &again, false, now), Blame::Endpoint);
        circuit.took(&[2], now);
        circuit.forget();
        assert_eq!(circuit.away(&sign, &again, false, now), Blame::Event);
    }

    #[tokio::test]
    async fn an_event_that_failed_before_fails_again_only_if_something_passed_since() {
        let again = |seqs| Sent { seqs, has_failed_before: true, holds_up_others: true };
        let sign = Away::lost("closed");
        let mut circuit = Circuit::new(2);
        let now = Instant::now();
        circuit.took(&[3], now);
        circuit.refused(&[1], now);
        circuit.forget();
        // Nothing passed since it was refused.
        assert_eq!(circuit.away(&sign, &again(&[1]), false, now), Blame::Endpoint);
        circuit.took(&[4], now);
        assert_eq!(circuit.away(&sign, &again(&[1]), false, now), Blame::Event);
        // Of another, this program has seen no failure: it has one attempt to lose.
        assert_eq!(circuit.away(&sign, &again(&[2]), false, now), Blame::Event);
        for seqs in [&[1], &[2]] {
            assert_eq!(circuit.away(&sign, &again(seqs), false, now), Blame::Endpoint);
        }
        // Nor has it another one because their claim was lost.
        circuit.forget();
        assert!(circuit.suspects(1) && circuit.suspects(2));
    }

    #[tokio::test]
    async fn one_that_is_blamed_for_its_time_alone_is_no_proof_against_the_others() {
        let sign = Away::lost("closed");
        let mut circuit = Circuit::new(2);
        let mut now = Instant::now();
        let two = Sent { seqs: &[2], ..ONE };
        circuit.away(&sign, &ONE, false, now);
        circuit.away(&sign, &two, false, now);
        while circuit.away(&sign, &ONE, true, now) == Blame::Endpoint {
            now = circuit.probe_at().unwrap();
        }
        assert!(!circuit.is_open());
        assert_eq!(circuit.away(&sign, &two, false, now), Blame::Endpoint);
    }

    #[tokio::test]
    async fn no_event_is_blamed_for_what_it_cannot_have_caused() {
        let mut circuit = Circuit::new(2);
        let now = Instant::now();
        for _ in 0..20 {
            assert_eq!(circuit.away(&Away::unreached("refused"), &ONE, false, now), Blame::Endpoint);
            circuit.took(&[2], now);
        }
    }

    #[tokio::test]
    async fn one_event_alone_is_blamed_after_hours_and_ever_later_if_others_wait_for_it() {
        let alone = Sent { holds_up_others: false, ..ONE };
        let mut circuit = Circuit::new(1);
        let began = Instant::now();
        let mut now = began;
        let mut blamed = Vec::new();
        circuit.away(&Away::lost("closed"), &ONE, false, now);
        while now - began < SECOND * 3600 * 15 {
            now = circuit.probe_at().unwrap();
            assert_eq!(circuit.away(&Away::lost("closed"), &alone, true, now), Blame::Endpoint);
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
