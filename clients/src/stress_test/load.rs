//! Concurrent clients that publish the workload.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use sekali_clients::client::{Client, Failure, Publication};
use sekali_clients::interrupt::Interrupt;
use sekali_clients::retry::{Patience, persist};
use sekali_common::api::Published;
use tokio::task::JoinSet;

use crate::record::Record;
use crate::workload::Workload;

/// Events that are added when a load with an end time has sent all there were.
const MORE_EVENTS: u32 = 10_000;

/// The settings of a load.
pub struct Load {
    pub client: Client,
    pub clients: u32,
    /// Events per request.
    pub batch: usize,
    /// Deliveries per second; `None` for as many as the service takes.
    pub rate: Option<f64>,
    pub patience: Patience,
    /// The end time, until which events are added; a load without one ends with the workload.
    pub until: Option<Instant>,
    pub interrupt: Interrupt,
    pub bar: ProgressBar,
}

/// The state that all clients share. They run on one thread, and borrow `state` only between awaits.
struct Shared {
    load: Load,
    began: Instant,
    state: RefCell<State>,
}

struct State {
    workload: Workload,
    record: Record,
    /// The index of the next delivery.
    next: usize,
}

/// Sends the workload, and adds events to it until the end time if there is one.
pub async fn run(load: Load, workload: Workload, record: Record) -> Result<(Workload, Record)> {
    let clients = load.clients;
    let state = RefCell::new(State { workload, record, next: 0 });
    let shared = Rc::new(Shared { load, began: Instant::now(), state });
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        tasks.spawn_local(publish(Rc::clone(&shared)));
    }
    while let Some(task) = tasks.join_next().await {
        task.context("a client failed")??;
    }
    drop(tasks);
    let mut shared = Rc::into_inner(shared).context("a client is still running")?;
    let state = shared.state.get_mut();
    state.record.requests.elapsed = shared.began.elapsed();
    let State { workload, record, .. } = shared.state.into_inner();
    Ok((workload, record))
}

/// Sends one request at a time until no deliveries are left.
async fn publish(shared: Rc<Shared>) -> Result<()> {
    while let Some((deliveries, due)) = shared.take() {
        if !shared.wait_for(due).await {
            return Ok(());
        }
        let body = {
            let State { workload, record, .. } = &mut *shared.state.borrow_mut();
            record.sent(workload, deliveries.clone());
            workload.body(&workload.deliveries[deliveries.clone()])
        };
        let due = if shared.load.rate.is_some() { due } else { Instant::now() };
        let published = shared.send(deliveries.clone(), body).await?;
        let State { workload, record, .. } = &mut *shared.state.borrow_mut();
        shared.load.bar.inc(deliveries.len() as u64);
        record.answered(workload, deliveries, due, &published);
    }
    Ok(())
}

impl Shared {
    /// The next deliveries, and the time when they are due; `None` at the end of the load.
    fn take(&self) -> Option<(Range<usize>, Instant)> {
        let is_over = self.load.until.is_some_and(|end| Instant::now() >= end);
        if is_over || self.load.interrupt.exit_code().is_some() {
            return None;
        }
        let (start, count) = {
            let state = self.state.borrow();
            (state.next, state.workload.deliveries.len())
        };
        if start == count {
            self.load.until?;
            self.state.borrow_mut().workload.extend(MORE_EVENTS);
            return self.take();
        }
        let end = (start + self.load.batch).min(count);
        self.state.borrow_mut().next = end;
        let due = self.load.rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(start as f64 / rate));
        Some((start..end, self.began + due))
    }

    /// Waits until `due`; false if the load ends before.
    async fn wait_for(&self, due: Instant) -> bool {
        if due <= Instant::now() {
            return true;
        }
        let end = self.load.until.filter(|until| *until < due);
        tokio::select! {
            () = tokio::time::sleep_until(end.unwrap_or(due).into()) => end.is_none(),
            () = self.load.interrupt.requested() => false,
        }
    }

    /// Sends a request until it is answered, and records its failures.
    async fn send(&self, deliveries: Range<usize>, body: Vec<u8>) -> Result<Published, Failure> {
        let form = Publication {
            content_type: "application/json",
            is_gzip: false,
            prefer: Some("return=representation"),
            is_partial: false,
        };
        let attempt = async || {
            let answer = self.load.client.publish(form, body.clone()).await;
            if let Err(failure) = &answer {
                let State { workload, record, .. } = &mut *self.state.borrow_mut();
                record.failed(workload, deliveries.clone(), failure);
            }
            answer
        };
        persist(self.load.patience, |_| {}, attempt).await
    }
}
