//! The service on a disk that fails.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures::StreamExt;
use rusqlite::Connection;
use sekali::http::reply::{Reply, ReplyBody};
use sekali::retention::Policy;
use sekali::testing::database::Native;
use sekali::testing::service::Service;
use sekali_common::api::{Account, EventResult, EventStatus, Published, Stats, StoredEvent, TopicAccount};
use sekali_model::{Book, Event, Outcome};
use serde::Deserialize;
use tokio::runtime::{Builder, Runtime};

use super::disk::Disk;
use super::disk::image::Image;
use super::history::Step;
use super::model::{Answer, Contents, Delivery, Selection, body};
use super::vfs::Mount;

/// The file of the database.
const FILE: &str = "events.db";

/// The token of those who may erase.
const TOKEN: &str = "boss";

/// More than the time for which an instance has the work of retention, or rests from it.
const LEASE: Duration = Duration::from_secs(120);

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
    policy: Policy,
    /// Differs from service to service on the disk.
    seed: u64,
}

/// An answer of `DELETE /events`.
#[derive(Deserialize)]
struct Erased {
    erased: usize,
    has_more: bool,
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

impl Machine {
    /// Starts the service on a disk that holds an image.
    pub fn start(image: Image, policy: Policy, seed: u64) -> anyhow::Result<Self> {
        let disk = Disk::new(image, seed);
        let mount = Mount::new(Arc::clone(&disk));
        // The clock stands still and jumps to the end of every pause.
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let service = runtime.block_on(async { serve(&mount, policy, seed) });
        Ok(Self { service, reader: None, runtime, mount, disk, policy, seed })
    }

    /// Takes a step of a history.
    pub fn take(&mut self, step: &Step) -> Result<Answer, Trouble> {
        match step {
            Step::Publish(group) => return self.publish(group).map(Answer::Published),
            Step::Read => return self.read().map(Answer::Read),
            Step::Erase(selection) => return self.erase(selection),
            Step::Pass(days) => {
                self.age(*days)
                    .map_err(|error| Trouble::Wrong(format!("{days} days do not pass: {error:#}")))?;
            }
            Step::Retain => self.retain(),
            Step::Checkpoint(mode) => self.checkpoint(mode),
            Step::Restart => self.restart(),
            Step::Hold => self.hold(),
        }
        Ok(Answer::Nothing)
    }

    /// Ends the service, which closes its connections, and starts it again.
    fn restart(&mut self) {
        self.seed = self.seed.wrapping_add(1 << 32);
        let service = self.runtime.block_on(async { serve(&self.mount, self.policy, self.seed) });
        self.service = service;
    }

    /// The answer to a request.
    fn send(&self, method: &str, target: &str, body: String) -> Result<String, Trouble> {
        let headers = [
            ("content-type", "application/json"),
            ("prefer", "return=representation"),
            ("authorization", &format!("Bearer {TOKEN}")),
        ];
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
    fn publish(&self, group: &[Delivery]) -> Result<Vec<Outcome>, Trouble> {
        let text = self.send("POST", "/publish", body(group))?;
        let receipt: Published = parse(&text)?;
        let count = |status| receipt.results.iter().filter(|result| result.status == status).count() as u64;
        let conflicts = count(EventStatus::Conflict);
        let (stored, duplicates) = (count(EventStatus::Stored), count(EventStatus::Duplicate) + conflicts);
        let owed = [group.len() as u64, stored, duplicates, conflicts];
        let said = [receipt.total_received, receipt.stored, receipt.duplicates, receipt.conflicts];
        if said != owed || receipt.results.len() != group.len() {
            return Err(Trouble::Wrong(format!("the counts of a receipt are {said:?} and not {owed:?}")));
        }
        Ok(receipt.results.iter().map(|&EventResult { status, seq, .. }| Outcome { status, seq }).collect())
    }

    /// Reads everything back, with the books.
    pub fn read(&self) -> Result<Contents, Trouble> {
        let text = self.send("GET", "/events", String::new())?;
        let mut contents = Contents::default();
        let mut last = 0;
        for event in parse::<Vec<StoredEvent>>(&text)? {
            let StoredEvent { seq, topic, event_id: id, deliveries, conflicts, .. } = event;
            if seq <= last {
                return Err(Trouble::Wrong(format!("seq {seq} is read behind seq {last}")));
            }
            last = seq;
            let payload = parse(event.payload.get())?;
            contents.events.insert(seq, Event { topic, id, payload, deliveries, conflicts });
        }
        let stats: Stats = parse(&self.send("GET", "/stats", String::new())?)?;
        let Account { received, unique_processed, duplicate_dropped, expired, erased, .. } = stats.total;
        let readable = contents.events.len() as u64;
        if received != unique_processed + duplicate_dropped || readable + expired + erased != unique_processed
        {
            return Err(Trouble::Wrong(format!("{} do not balance with {readable} events", stats.total)));
        }
        for TopicAccount { topic, account, forgotten, last_seq } in stats.by_topic {
            contents.books.insert(topic, Book { account, forgotten, last_seq });
        }
        Ok(contents)
    }

    /// Erases events.
    fn erase(&self, selection: &Selection) -> Result<Answer, Trouble> {
        match self.send("DELETE", &selection.target(), String::new()) {
            Ok(text) if text.is_empty() => Ok(Answer::Gone),
            Ok(text) => {
                let Erased { erased, has_more } = parse(&text)?;
                Ok(Answer::Erased { erased, has_more })
            }
            Err(Trouble::Refused(404, _)) => Ok(Answer::Unknown),
            Err(Trouble::Refused(503, body)) if self.reader.is_some() && body.contains("/problems/busy") => {
                Ok(Answer::Held)
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Makes all events days older, in a transaction at a moment at which nothing goes wrong.
    fn age(&self, days: u32) -> anyhow::Result<()> {
        let older = "update events set received_at = strftime('%Y-%m-%dT%H:%M:%f', received_at, '-' || ?1 || ' days')";
        self.disk.undisturbed(|| Ok(self.connect()?.execute(older, [days]).map(drop)?))
    }

    /// Lets retention do all that is due. Whoever was at it before has lost the lease.
    fn retain(&self) {
        self.disk.pass(LEASE);
        self.runtime.block_on(self.service.app.retention.work());
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

    /// Begins to read on a connection beside the service, or ends that: what is read meanwhile cannot be removed from
    /// the log.
    fn hold(&mut self) {
        let begin = "begin; select count(*) from sqlite_schema";
        self.reader = match self.reader.take() {
            None => self.connect().ok().filter(|connection| connection.execute_batch(begin).is_ok()),
            Some(_) => None,
        };
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

fn serve(mount: &Mount, policy: Policy, seed: u64) -> Service {
    let Policy { kept, forget_days } = policy;
    let [days, events, forget_days] = [kept.days, kept.events, forget_days].map(|number| number.to_string());
    // One request may have more events than one statement carries.
    let variables = [
        ("max_otlp_bytes", "67108864"),
        ("max_batch_events", "10000"),
        ("admin_token", TOKEN),
        ("retention_days", &days),
        ("retention_events", &events),
        ("forget_days", &forget_days),
    ];
    Service::on(Native::at(mount.uri(FILE).into()), &variables, seed)
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Trouble> {
    serde_json::from_str(text).map_err(|error| Trouble::Wrong(format!("{error} in {text}")))
}
