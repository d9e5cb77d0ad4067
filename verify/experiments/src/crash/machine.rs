//! The service on a disk that fails.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use anyhow::{Context, ensure};
use futures::StreamExt;
use rusqlite::Connection;
use sekali::http::reply::{Reply, ReplyBody};
use sekali::testing::database::Native;
use sekali::testing::service::Service;
use serde::Deserialize;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use super::disk::Disk;
use super::disk::image::Image;
use super::history::Step;
use super::model::{Account, Delivery, Model, Outcome, Stored, body};
use super::vfs::Mount;

/// The file of the database.
const FILE: &str = "events.db";

/// The settings of the service: one request may have more events than one statement carries.
const VARIABLES: [(&str, &str); 1] = [("max_batch_events", "10000")];

/// The service on a disk of its own, from the router down.
pub struct Machine {
    /// Connections go before the mount, because they close their files.
    service: Service,
    /// A connection beside those of the service, in the middle of reading.
    reader: Option<Connection>,
    runtime: Runtime,
    mount: Mount,
    /// The disk.
    pub disk: Arc<Disk>,
    /// Differs from service to service on the disk.
    seed: u64,
}

/// The reason for which there is no answer to rely on.
#[derive(Debug)]
pub enum Trouble {
    /// An answer that is no success: its status and its body.
    Refused(u16, String),
    /// An answer that broke off.
    Broken(String),
    /// An answer that contradicts itself or another.
    Wrong(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(status, body) => write!(formatter, "{status}: {body}"),
            Self::Broken(cause) => write!(formatter, "the answer broke off: {cause}"),
            Self::Wrong(cause) => write!(formatter, "{cause}"),
        }
    }
}

/// The answer to a step of a history.
pub enum Answer {
    /// None.
    Nothing,
    /// Everything that was read back.
    Read(Model),
    /// The outcomes of the deliveries of a group.
    Published(Vec<Outcome>),
}

/// An answer of `POST /publish`.
#[derive(Deserialize)]
struct Receipt {
    total_received: usize,
    stored: usize,
    duplicates: usize,
    conflicts: usize,
    results: Vec<Outcome>,
}

/// An event of `GET /events`.
#[derive(Deserialize)]
struct Event {
    topic: String,
    event_id: String,
    seq: i64,
    payload: Value,
    deliveries: i64,
    conflicts: i64,
}

/// An answer of `GET /stats`.
#[derive(Deserialize)]
struct Stats {
    received: i64,
    unique_processed: i64,
    duplicate_dropped: i64,
    by_topic: Vec<TopicStats>,
}

#[derive(Deserialize)]
struct TopicStats {
    topic: String,
    #[serde(flatten)]
    account: Account,
}

impl Machine {
    /// Starts the service on a disk that holds an image.
    pub fn start(image: Image, seed: u64) -> anyhow::Result<Self> {
        let disk = Disk::new(image, seed);
        let mount = Mount::new(Arc::clone(&disk));
        // The clock stands still and jumps to the end of every pause.
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let service = runtime.block_on(async { serve(&mount, seed) });
        Ok(Self { service, reader: None, runtime, mount, disk, seed })
    }

    /// Takes a step of a history.
    pub fn take(&mut self, step: &Step) -> Result<Answer, Trouble> {
        match step {
            Step::Publish(group) => return self.publish(group).map(Answer::Published),
            Step::Read => return self.read().map(Answer::Read),
            Step::Checkpoint(mode) => self.checkpoint(mode),
            Step::Restart => self.restart(),
            Step::Hold => self.hold(),
        }
        Ok(Answer::Nothing)
    }

    /// Ends the service, which closes its connections, and starts it again.
    fn restart(&mut self) {
        self.seed = self.seed.wrapping_add(1 << 32);
        let service = self.runtime.block_on(async { serve(&self.mount, self.seed) });
        self.service = service;
    }

    /// The answer to a request.
    fn send(&self, method: &str, target: &str, body: String) -> Result<String, Trouble> {
        let headers = [("content-type", "application/json"), ("prefer", "return=representation")];
        self.runtime.block_on(async {
            let Reply { status, body, .. } = self.service.reply(method, target, &headers, body).await;
            let mut bytes = Vec::new();
            match body {
                ReplyBody::Full(full) => bytes = full,
                ReplyBody::Stream(mut pieces, _) => {
                    while let Some(piece) = pieces.next().await {
                        bytes.extend(piece.map_err(|error| Trouble::Broken(error.to_string()))?);
                    }
                }
            }
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if status.is_success() { Ok(text) } else { Err(Trouble::Refused(status.as_u16(), text)) }
        })
    }

    /// Publishes a group in one request, and returns the outcomes of its deliveries.
    pub fn publish(&self, group: &[Delivery]) -> Result<Vec<Outcome>, Trouble> {
        let text = self.send("POST", "/publish", body(group))?;
        let receipt: Receipt = parse(&text)?;
        let count = |status| receipt.results.iter().filter(|outcome| outcome.status == status).count();
        let conflicts = count("conflict");
        let owed = [group.len(), count("stored"), count("duplicate") + conflicts, conflicts];
        let said = [receipt.total_received, receipt.stored, receipt.duplicates, receipt.conflicts];
        if said != owed || receipt.results.len() != group.len() {
            return Err(Trouble::Wrong(format!("the counts of a receipt are {said:?} and not {owed:?}")));
        }
        Ok(receipt.results)
    }

    /// Reads everything back, and holds it to the books.
    pub fn read(&self) -> Result<Model, Trouble> {
        let events: Vec<Event> = parse(&self.send("GET", "/events", String::new())?)?;
        let mut model = Model::default();
        for Event { topic, event_id, seq, payload, deliveries, conflicts } in events {
            let stored = Stored { seq, payload, deliveries, conflicts };
            model.add((topic, event_id), stored).map_err(Trouble::Wrong)?;
        }
        let stats: Stats = parse(&self.send("GET", "/stats", String::new())?)?;
        let unique = model.len() as i64;
        let balances = stats.received == stats.unique_processed + stats.duplicate_dropped;
        if !balances || stats.unique_processed != unique {
            return Err(Trouble::Wrong(format!(
                "{} received, {} unique and {} dropped do not balance with {unique} events",
                stats.received, stats.unique_processed, stats.duplicate_dropped
            )));
        }
        let books: BTreeMap<_, _> =
            stats.by_topic.into_iter().map(|TopicStats { topic, account }| (topic, account)).collect();
        if books != model.books() {
            let owed = model.books();
            return Err(Trouble::Wrong(format!("the books are {books:?}, and the events say {owed:?}")));
        }
        Ok(model)
    }

    /// A connection beside those of the service.
    fn connect(&self) -> anyhow::Result<Connection> {
        Connection::open(self.mount.uri(FILE)).context("cannot connect to the database")
    }

    /// Copies the log into the database, in one of SQLite's modes. Nothing depends on its success.
    fn checkpoint(&self, mode: &str) {
        if let Ok(connection) = self.connect() {
            let _ = connection.query_row(&format!("pragma wal_checkpoint({mode})"), [], |_| Ok(()));
        }
    }

    /// Ends the reading of a connection beside the service, and begins it again: what is read meanwhile cannot be
    /// removed from the log.
    fn hold(&mut self) {
        self.reader = None;
        self.reader = self.connect().ok().filter(|connection| {
            connection.execute_batch("begin; select count(*) from sqlite_schema").is_ok()
        });
    }

    /// The tables, indexes and triggers, after a check of the whole database and of its journal.
    pub fn schema(&self) -> anyhow::Result<Vec<String>> {
        let connection = self.connect()?;
        let integrity: String = connection.query_row("pragma integrity_check", [], |row| row.get(0))?;
        ensure!(integrity == "ok", "integrity_check: {integrity}");
        let journal: String = connection.query_row("pragma journal_mode", [], |row| row.get(0))?;
        ensure!(journal == "wal", "journal_mode: {journal}");
        let select = "select concat_ws(' ', type, name, tbl_name, sql) from sqlite_schema order by 1";
        let mut statement = connection.prepare(select)?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn serve(mount: &Mount, seed: u64) -> Service {
    Service::on(Native::at(mount.uri(FILE).into()), &VARIABLES, seed)
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Trouble> {
    serde_json::from_str(text).map_err(|error| Trouble::Wrong(format!("{error} in {text}")))
}
