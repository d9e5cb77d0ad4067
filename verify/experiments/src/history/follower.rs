//! Clients that follow: each reads one live stream, and resumes it whenever it breaks.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;

use super::client::Client;
use super::reader::{query, recognise, select};
use super::record::{Follow, History, Selection, Span};
use super::stage::{PAUSE, Stage};

/// The longest visit of a follower that goes away and comes again.
const VISIT: Duration = Duration::from_secs(3);

/// A follower, and the place that it has reached.
pub struct Follower {
    /// The events that it asks for.
    pub selection: Selection,
    /// The seq after which it begins; `None` to begin at its moment.
    pub after: Option<u64>,
    /// The address to which it keeps; `None` for all in turn.
    pub address: Option<SocketAddr>,
    /// The newest seq that it has seen.
    pub reached: AtomicU64,
}

impl Follower {
    /// A follower with a random filter. One that keeps to an address, where the present may come late, begins at the
    /// start.
    pub fn random(rng: &mut Rng, address: Option<SocketAddr>) -> Self {
        let after = (rng.bool() || address.is_some()).then_some(0);
        Self { selection: select(rng), after, address, reached: AtomicU64::new(0) }
    }

    /// Follows until the service ends for good.
    pub fn run(&self, stage: &Stage) -> History {
        let mut history = History::default();
        let mut follow = Follow {
            selection: self.selection.clone(),
            after: self.after,
            start: Span { began: 0, ended: 0 },
            is_late: self.address.is_some(),
            events: Vec::new(),
        };
        let client = Client::new(self.address.as_ref().map_or(&stage.addresses, std::slice::from_ref));
        while !stage.is_closed() {
            if let Err(fault) = self.connect(stage, &client, &mut follow) {
                history.faults.push(format!("{fault:#}"));
            }
            thread::sleep(PAUSE);
        }
        history.follows.push(follow);
        history
    }

    /// Reads a stream until it breaks.
    fn connect(&self, stage: &Stage, client: &Client, follow: &mut Follow) -> Result<()> {
        let mut path = format!("/events?{}", query(&self.selection));
        if let Some(after) = self.after {
            path.push_str(&format!("after={after}"));
        }
        let last = follow.events.last().map(|(_, _, stored)| stored.seq.to_string());
        let mut headers = vec![("accept", "text/event-stream")];
        headers.extend(last.as_deref().map(|last| ("last-event-id", last)));
        let path = path.trim_end_matches(['&', '?']);
        let began = stage.clock.tick();
        let Ok(response) = client.open("GET", path, &headers, b"") else { return Ok(()) };
        if response.status() == 503 || (response.status() == 500 && stage.losses.instances) {
            return Ok(());
        }
        ensure!(response.status() == 200, "a stream was refused with {} after {last:?}", response.status());
        let mut is_confirmed = !follow.events.is_empty();
        let mut lines = BufReader::new(response.into_body().into_reader()).lines();
        let mut id = String::new();
        let leaves = Instant::now() + VISIT.mul_f64(fastrand::f64());
        while let Some(Ok(line)) = lines.next() {
            if stage.cast.are_fickle && Instant::now() > leaves {
                return Ok(());
            }
            if !is_confirmed {
                // The first line confirms the stream. Until it has shown an event, each connection begins anew.
                follow.start = Span { began, ended: stage.clock.tick() };
                is_confirmed = true;
            }
            if let Some(given) = line.strip_prefix("id: ") {
                id = given.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                // The empty line after it makes it an event; without that, it has broken off.
                if !lines.next().is_some_and(|line| line.is_ok_and(|line| line.is_empty())) {
                    return Ok(());
                }
                let event = serde_json::from_str(data).with_context(|| format!("a stream sent {data}"))?;
                let Some((identity, stored)) = recognise(&event)? else { continue };
                ensure!(id == stored.seq.to_string(), "a stream sent id {id} with {data}");
                follow.events.push((stage.clock.tick(), identity, stored));
                self.reached.store(stored.seq, Ordering::SeqCst);
            }
        }
        Ok(())
    }
}
