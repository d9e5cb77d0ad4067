//! A service with one consumer, as the contract has it, in memory and in simulated time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use reqwest::StatusCode;
use sekali_clients::client::{Failure, Refusal};
use sekali_common::api::Problem;
use sekali_common::consumers::{Claim, Commit, Committed, Order, Specification};
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};

use crate::forward::Service;

/// The time that it takes to answer.
const LATENCY: Duration = Duration::from_millis(5);

/// The lease of a consumer, in seconds.
const LEASE: u32 = 30;

/// The attempts after which an event is dead.
const ATTEMPTS: u32 = 12;

/// Seconds until a failed event comes again, by the number of its attempts.
const PAUSES: [u64; 11] = [5, 30, 120, 600, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];

/// A log and its consumer. Clones are the same.
#[derive(Clone)]
pub struct Log(Arc<Mutex<State>>);

/// One who claims.
pub struct Holder {
    log: Log,
    name: &'static str,
}

struct State {
    count: u64,
    topics: u64,
    /// Everything up to here is claimed and committed.
    position: u64,
    live: Option<Live>,
    parked: BTreeMap<u64, Parked>,
    /// Events of parked topics that wait.
    waiting: BTreeSet<u64>,
    dead: Vec<u64>,
    attempts: u32,
    tokens: u32,
    away: Option<(Instant, Instant)>,
    loses_at: Option<Instant>,
    was_retry: bool,
    specification: Specification,
    /// The specification from a moment on.
    becomes: Option<(Instant, Specification)>,
}

struct Live {
    token: String,
    holder: &'static str,
    lease: Duration,
    until: Instant,
    /// Its events that are not committed.
    seqs: Vec<u64>,
    to: u64,
    is_retry: bool,
}

struct Parked {
    attempts: u32,
    due: Instant,
}

impl Log {
    /// Events from 1 to `count`, whose topics take turns.
    pub fn new(count: u64, topics: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            count,
            topics,
            position: 0,
            live: None,
            parked: BTreeMap::new(),
            waiting: BTreeSet::new(),
            dead: Vec::new(),
            attempts: 0,
            tokens: 0,
            away: None,
            loses_at: None,
            was_retry: false,
            specification: Specification { lease: Some(LEASE), ..Specification::default() },
            becomes: None,
        })))
    }

    pub fn holder(&self, name: &'static str) -> Holder {
        Holder { log: self.clone(), name }
    }

    /// True if every event is committed or dead.
    pub fn is_done(&self) -> bool {
        let state = self.lock();
        state.position == state.count
            && state.live.is_none()
            && state.parked.is_empty()
            && state.waiting.is_empty()
    }

    /// So many events more.
    pub fn grow(&self, events: u64) {
        self.lock().count += events;
    }

    pub fn position(&self) -> u64 {
        self.lock().position
    }

    pub fn is_claimed(&self) -> bool {
        self.lock().live.is_some()
    }

    /// The failures that were counted.
    pub fn attempts(&self) -> u32 {
        self.lock().attempts
    }

    pub fn dead(&self) -> Vec<u64> {
        self.lock().dead.clone()
    }

    /// Answers nothing between two times.
    pub fn is_away(&self, from: Instant, to: Instant) {
        self.lock().away = Some((from, to));
    }

    /// Takes the claim that is live at a time from its holder.
    pub fn loses_claim_at(&self, at: Instant) {
        self.lock().loses_at = Some(at);
    }

    /// Another has claimed the beginning, and says no more.
    pub fn claimed_by_another(&self) {
        self.lock().claim("another", 10, Duration::from_secs(LEASE.into()), Instant::now());
    }

    /// Another changes the consumer at a time, which ends its claims.
    pub fn becomes(&self, at: Instant, order: Order, lease: u32) {
        let specification =
            Specification { order: Some(order), lease: Some(lease), ..Specification::default() };
        self.lock().becomes = Some((at, specification));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    async fn answer(&self) {
        sleep(LATENCY).await;
        let away = self.lock().away;
        if let Some((from, to)) = away
            && (from..to).contains(&Instant::now())
        {
            sleep_until(to).await;
        }
    }
}

fn refused(problem: &str) -> Failure {
    let problem = Problem { r#type: format!("/problems/{problem}"), ..Problem::default() };
    Failure::Refused(Refusal { status: StatusCode::CONFLICT, problem, retry_after: None })
}

impl Service for Holder {
    async fn claim(&self, limit: u32, lease: Duration, wait: u32) -> Result<Option<Claim>, Failure> {
        let end = Instant::now() + Duration::from_secs(wait.into());
        loop {
            self.log.answer().await;
            let now = Instant::now();
            self.log.lock().change(now);
            if let Some(live) = &self.log.lock().live
                && live.holder != self.name
                && live.until > now
            {
                return Err(refused("claimed"));
            }
            let claim = self.log.lock().claim(self.name, limit, lease, now);
            if claim.is_some() || now >= end {
                return Ok(claim);
            }
            let due = self.log.lock().parked.values().map(|parked| parked.due).min();
            sleep_until(due.unwrap_or(end).clamp(now + LATENCY, end.max(now + LATENCY))).await;
        }
    }

    async fn consumer(&self) -> Result<Specification, Failure> {
        self.log.answer().await;
        let mut state = self.log.lock();
        state.change(Instant::now());
        Ok(state.specification.clone())
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, Failure> {
        self.log.answer().await;
        self.log.lock().commit(&commit, Instant::now())
    }
}

impl State {
    fn topic(&self, seq: u64) -> u64 {
        seq % self.topics
    }

    fn change(&mut self, now: Instant) {
        if let Some((_, specification)) = self.becomes.take_if(|(at, _)| *at <= now) {
            self.specification = specification;
            self.live = None;
        }
    }

    fn claim(&mut self, holder: &'static str, limit: u32, lease: Duration, now: Instant) -> Option<Claim> {
        if self.live.is_none() {
            self.live = match self.was_retry {
                true => self.new_range(limit).or_else(|| self.due(limit, now)),
                false => self.due(limit, now).or_else(|| self.new_range(limit)),
            };
            self.was_retry = self.live.as_ref()?.is_retry;
        }
        let live = self.live.as_mut()?;
        if live.holder != holder || live.until <= now {
            self.tokens += 1;
            (live.holder, live.lease, live.token) = (holder, lease, format!("c{}", self.tokens));
        }
        live.until = now + live.lease;
        let (token, to, is_retry, seqs) = (live.token.clone(), live.to, live.is_retry, live.seqs.clone());
        let event = |seq: &u64| {
            json!({
                "seq": seq, "topic": format!("t{}", self.topic(*seq)), "event_id": seq.to_string(), "timestamp": "",
                "payload": {}, "received_at": "", "attempt": 1 + self.parked.get(seq).map_or(0, |parked| parked.attempts),
            })
        };
        let claim = json!({
            "claim": token, "kind": if is_retry { "retry" } else { "new" }, "from": 0, "to": to, "expires_at": "",
            "attempt": 1, "events": seqs.iter().map(event).collect::<Vec<_>>(),
        });
        Some(serde_json::from_str(&claim.to_string()).unwrap())
    }

    /// The next events of the log, but for those that wait.
    fn new_range(&mut self, limit: u32) -> Option<Live> {
        let parked: BTreeSet<_> = self.parked.keys().map(|seq| self.topic(*seq)).collect();
        let mut seqs = Vec::new();
        let mut to = self.position;
        while to < self.count && seqs.len() < limit as usize {
            to += 1;
            match parked.contains(&self.topic(to)) {
                true => _ = self.waiting.insert(to),
                false => seqs.push(to),
            }
        }
        if seqs.is_empty() {
            self.position = to;
            return None;
        }
        Some(self.live(seqs, to, false))
    }

    /// The failed events that are due, with those that wait behind them.
    fn due(&mut self, limit: u32, now: Instant) -> Option<Live> {
        let due: BTreeSet<_> =
            self.parked.iter().filter(|(_, parked)| parked.due <= now).map(|(seq, _)| *seq).collect();
        let topics: BTreeSet<_> = due.iter().map(|seq| self.topic(*seq)).collect();
        let behind = self.waiting.iter().filter(|seq| topics.contains(&self.topic(**seq)));
        // Those of a topic that are dead leave others without one before them.
        let blocked: BTreeSet<_> = self.parked.keys().map(|seq| self.topic(*seq)).collect();
        let freed = self.waiting.iter().filter(|seq| !blocked.contains(&self.topic(**seq)));
        let seqs: BTreeSet<u64> = due.iter().chain(behind).chain(freed).copied().collect();
        let seqs: Vec<_> = seqs.into_iter().take(limit as usize).collect();
        let to = *seqs.last()?;
        Some(self.live(seqs, to, true))
    }

    fn live(&self, seqs: Vec<u64>, to: u64, is_retry: bool) -> Live {
        let until = Instant::now();
        Live { token: String::new(), holder: "", lease: Duration::ZERO, until, seqs, to, is_retry }
    }

    fn commit(&mut self, commit: &Commit, now: Instant) -> Result<Committed, Failure> {
        self.change(now);
        if self.loses_at.is_some_and(|at| at <= now) {
            self.loses_at = None;
            self.live = None;
        }
        let is_live = |live: &mut Live| live.token == commit.claim && live.until > now;
        let Some(mut live) = self.live.take_if(is_live) else {
            return Err(refused("claim-lost"));
        };
        live.until = now + live.lease;
        if let Some(upto) = commit.upto {
            let done: Vec<_> = live.seqs.extract_if(.., |seq| *seq <= upto).collect();
            let mut failed_topics = BTreeSet::new();
            for seq in done {
                let failed = commit.failed.iter().find(|failed| failed.seq == seq);
                self.waiting.remove(&seq);
                match failed {
                    None => _ = self.parked.remove(&seq),
                    // An event behind another of the same commit waits.
                    Some(_) if !failed_topics.insert(self.topic(seq)) => _ = self.waiting.insert(seq),
                    Some(failed) => {
                        assert!(failed.reason.is_some(), "{seq} is counted, and only waits");
                        self.park(seq, now);
                    }
                }
            }
            if !live.is_retry {
                self.position = upto;
            }
            let is_over = upto == live.to;
            assert!(!is_over || live.seqs.is_empty());
            if is_over {
                return Ok(self.committed());
            }
        }
        if commit.release {
            if live.seqs.is_empty() && !live.is_retry {
                self.position = live.to;
            }
            return Ok(self.committed());
        }
        self.live = Some(live);
        Ok(self.committed())
    }

    fn park(&mut self, seq: u64, now: Instant) {
        self.attempts += 1;
        let attempts = 1 + self.parked.remove(&seq).map_or(0, |parked| parked.attempts);
        if attempts == ATTEMPTS {
            self.dead.push(seq);
            return;
        }
        let due = now + Duration::from_secs(PAUSES[attempts as usize - 1]);
        self.parked.insert(seq, Parked { attempts, due });
    }

    fn committed(&self) -> Committed {
        Committed { position: self.position, settled: 0, lag: self.count - self.position }
    }
}
