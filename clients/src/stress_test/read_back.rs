//! Reads the events and accounts of the run back, and finds out of each event what was sent.

use anyhow::{Context, Result, bail};
use chrono::{DateTime, Utc};
use indicatif::ProgressBar;
use sekali_clients::client::Client;
use sekali_clients::retry::{self, Patience};
use sekali_common::api::{Account, Stats, StoredEvent};
use sekali_model::{Catalogue, Lines, ReadBack, Recognised};
use serde_json::Value;

use crate::workload::{Delivery, Workload};

/// The number of readings after which counts that still change are an error.
const READINGS: usize = 10;

/// Reads everything back until `/stats` of this run's topics is the same before and after it, because a request whose
/// answer was lost may still be in progress.
pub async fn read_at_rest(
    workload: &Workload,
    seq: u64,
    (reader, patience): (&Client, Patience),
    bar: &ProgressBar,
) -> Result<(ReadBack<u32>, Stats)> {
    let mut known = read_stats(reader, patience).await?;
    for _ in 0..READINGS {
        bar.reset();
        let read = read_back(workload, seq, reader, bar).await?;
        let now = read_stats(reader, patience).await?;
        if accounts(workload, &known) == accounts(workload, &now) {
            return Ok((read, now));
        }
        known = now;
    }
    bail!("/stats of this run's topics still changes after the last request was answered");
}

async fn read_stats(reader: &Client, patience: Patience) -> Result<Stats> {
    retry::persist(patience, |_| {}, || reader.stats()).await.context("/stats cannot be read")
}

/// The accounts of this run's topics, in the order of [`Workload::topics`].
pub fn accounts(workload: &Workload, stats: &Stats) -> Vec<Account> {
    let mut accounts = vec![Account::default(); workload.topics().count()];
    for topic in &stats.by_topic {
        if let Some(number) = workload.number_of(&topic.topic) {
            accounts[number] = topic.account;
        }
    }
    accounts
}

/// Reads all events after `seq`, and compares each with what was sent.
async fn read_back(
    workload: &Workload,
    seq: u64,
    reader: &Client,
    bar: &ProgressBar,
) -> Result<ReadBack<u32>> {
    let mut read = ReadBack::new(workload.topics().count(), seq);
    let mut response = reader.events_after(seq).await.context("the events cannot be read back")?;
    let mut lines = Lines::default();
    while let Some(chunk) = response.chunk().await.context("the events cannot be read to their end")? {
        lines.push(&chunk, |event| {
            read.take(workload, event);
            bar.inc(1);
        })?;
    }
    lines.end()?;
    Ok(read)
}

impl Catalogue for Workload {
    type Event = u32;

    fn topic(&self, name: &str) -> Option<usize> {
        self.number_of(name)
    }

    fn recognise(&self, event: &StoredEvent<'_>) -> Recognised<u32> {
        let source = self.source();
        if self.number_of(&event.topic).is_none() {
            return match event.source.as_deref() == Some(&source) {
                true => Recognised::Unknown(format!("is an event of {source}, in a topic of others")),
                false => Recognised::Foreign,
            };
        }
        let Some(delivery) = identify(self, event) else {
            return Recognised::Altered(format!("has the payload {}", event.payload.get()));
        };
        let sent = self.event(delivery);
        if (&sent.topic, &sent.event_id) != (&event.topic, &event.event_id) {
            return Recognised::Unknown(format!("has the payload of {}/{}", sent.topic, sent.event_id));
        }
        let is_same = event.timestamp.parse::<DateTime<Utc>>().ok() == sent.timestamp.parse().ok()
            && event.source.as_deref() == Some(&sent.source);
        let difference =
            (!is_same).then(|| format!("has timestamp {} and source {:?}", event.timestamp, event.source));
        let Delivery { event, is_altered } = delivery;
        Recognised::Sent { event, payload: is_altered.into(), difference }
    }
}

/// The delivery whose payload was read; `None` for a payload that was not sent.
fn identify(workload: &Workload, event: &StoredEvent<'_>) -> Option<Delivery> {
    let payload: Value = serde_json::from_str(event.payload.get()).ok()?;
    let event = u32::try_from(payload["event"].as_u64()?).ok().filter(|&number| number < workload.events)?;
    let delivery = Delivery { event, is_altered: payload["is_altered"].as_bool()? };
    let sent = workload.event(delivery).payload;
    (serde_json::to_value(sent).ok()? == payload).then_some(delivery)
}
