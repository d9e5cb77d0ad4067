//! A build of the service, started on a store.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sekali_harness::deployment::{Deployment, Setup, Store, repository};
use sekali_harness::host::Host;
use sekali_harness::postgres::Postgres;
use serde_json::Value;

use super::clients;
use crate::http;
use crate::large::{moment, start};
use crate::load::Until;

/// The token of those who may erase.
pub const TOKEN: &str = "bench";

/// Where events are stored.
#[derive(Clone, Copy)]
pub enum Place<'p> {
    /// In a file.
    Sqlite,
    /// In a database of its own on this server.
    Postgres(&'p Postgres),
}

impl Place<'_> {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres(_) => "PostgreSQL",
        }
    }
}

/// A build: a checkout with its component, and the host that runs it.
pub struct Build {
    /// Its name in reports, if there are several.
    pub name: Option<String>,
    directory: PathBuf,
    host: Host,
}

impl Build {
    /// The build of this repository.
    ///
    /// # Errors
    /// See [`Host::from_environment`].
    pub fn own() -> Result<Self> {
        Ok(Self { name: None, directory: repository().to_owned(), host: Host::from_environment()? })
    }

    /// The build of a checkout: its component and its sekali-host, unless the variable `SPIN` names a Spin.
    ///
    /// # Errors
    /// When there is no such directory.
    pub fn of(directory: &Path) -> Result<Self> {
        let directory = directory.canonicalize().with_context(|| directory.display().to_string())?;
        let own = || Host::Sekali(directory.join("target/release/sekali-host"));
        let name = directory.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(Self { name, host: Host::spin().unwrap_or_else(own), directory })
    }

    /// Its host in reports.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn host(&self) -> Result<String> {
        self.host.version()
    }

    /// Starts it with fresh state.
    ///
    /// # Errors
    /// When it does not serve.
    pub fn start<'p>(&self, place: Place<'p>, variables: &[(&str, &str)]) -> Result<Service<'p>> {
        let mut setup = Setup::on(self.host.clone());
        let manifest = match place {
            Place::Sqlite => "spin.toml",
            Place::Postgres(_) => "spin.postgres.toml",
        };
        setup.manifest = self.directory.join(manifest);
        let mut set = |name: &str, value: String| setup.variables.push((name.into(), value));
        for (name, value) in variables {
            set(name, (*value).to_owned());
        }
        set("admin_token", TOKEN.to_owned());
        let database = match place {
            Place::Sqlite => None,
            Place::Postgres(server) => {
                let database = server.create_database()?;
                set("database_url", server.url(&database));
                set("database_host", server.address().to_string());
                setup.store = Store::Postgres;
                // What was written before is not to be written now.
                server.query(&database, "checkpoint")?;
                Some(Database { server, name: database })
            }
        };
        let service = Service { deployment: setup.start()?, database };
        // The work that is done only once.
        clients::run(service.address(), 2, Until::Requests(50), warm_up)?;
        Ok(service)
    }
}

/// A client of events that are no younger than those that a store is filled with: filters by time pass over both alike.
fn warm_up(client: usize) -> impl FnMut(&mut Vec<u8>) {
    let mut n = 0;
    move |request| {
        n += 1;
        let event = format!(
            r#"{{"topic":"warm-up","event_id":"{client}-{n}","timestamp":"{}"}}"#,
            moment(&start(), 0)
        );
        http::write(request, "POST", "/publish", "", event.as_bytes());
    }
}

/// A build that serves. On drop, it ends and its state is removed.
pub struct Service<'p> {
    // It is dropped first: a database that is in use cannot be removed.
    deployment: Deployment,
    /// Its database on PostgreSQL.
    pub database: Option<Database<'p>>,
}

/// A database on PostgreSQL. It is removed on drop.
pub struct Database<'p> {
    server: &'p Postgres,
    name: String,
}

impl Database<'_> {
    /// Runs SQL and returns its rows as lines.
    ///
    /// # Errors
    /// What the server says.
    pub fn query(&self, sql: &str) -> Result<String> {
        self.server.query(&self.name, sql)
    }

    /// The number that a query returns.
    ///
    /// # Errors
    /// What the server says, and when that is no number.
    pub fn number(&self, sql: &str) -> Result<f64> {
        let answer = self.query(sql)?;
        answer.parse().with_context(|| format!("{answer:?} is no number"))
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        let drop = format!("drop database {} with (force)", self.name);
        if let Err(error) = self.server.query("postgres", &drop) {
            println!("the database stays: {error:#}");
        }
    }
}

impl Service<'_> {
    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.deployment.address()
    }

    /// The answer of /stats.
    ///
    /// # Errors
    /// When there is none.
    pub fn stats(&self) -> Result<Value> {
        let url = format!("http://{}/stats", self.address());
        let agent = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(30))).build();
        Ok(ureq::Agent::from(agent).get(url).call()?.body_mut().read_json()?)
    }

    /// Publishes events in one request.
    ///
    /// # Errors
    /// When they are not all stored.
    pub fn publish(&self, events: &str) -> Result<()> {
        let request = ureq::post(format!("http://{}/publish", self.address()));
        request.content_type("application/json").send(events)?;
        Ok(())
    }

    /// Erases what a path or a filter names, and returns how many events that were.
    ///
    /// # Errors
    /// When the answer is no success.
    pub fn erase(&self, path: &str) -> Result<u64> {
        let request = ureq::delete(format!("http://{}{path}", self.address()));
        let mut answer = request.header("authorization", format!("Bearer {TOKEN}")).call()?;
        if answer.status() == 204 {
            return Ok(1);
        }
        let erased: Value = answer.body_mut().read_json()?;
        erased["erased"].as_u64().context("the answer tells no number")
    }

    /// Bytes on disk.
    ///
    /// # Errors
    /// Those of the store.
    pub fn bytes(&self) -> Result<f64> {
        match &self.database {
            Some(database) => database.number(
                "select sum(pg_total_relation_size(oid)) from pg_class
                where relnamespace = 'sekali'::regnamespace and relkind = 'r'",
            ),
            None => Ok(self.file("") + self.file("-wal")),
        }
    }

    /// Lets the store write what it has put off: what SQLite has in its log, and what PostgreSQL tidies up.
    ///
    /// # Errors
    /// Those of the store.
    pub fn settle(&self) -> Result<()> {
        match &self.database {
            Some(database) => database.query("vacuum analyze").map(drop),
            None => {
                let file = rusqlite::Connection::open(self.deployment.database())?;
                file.busy_timeout(Duration::from_secs(10))?;
                Ok(file.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(()))?)
            }
        }
    }

    /// Waits until PostgreSQL has nothing to do: it goes on with statements whose clients wait no longer.
    ///
    /// # Errors
    /// What the server says.
    pub fn wait_until_idle(&self) -> Result<()> {
        const ACTIVE: &str = "select count(*) from pg_stat_activity
            where state = 'active' and backend_type = 'client backend' and pid <> pg_backend_pid()";
        let Some(database) = &self.database else { return Ok(()) };
        let began = Instant::now();
        while database.number(ACTIVE)? > 0.0 && began.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    fn file(&self, suffix: &str) -> f64 {
        let name = format!("{}{suffix}", self.deployment.database().display());
        std::fs::metadata(name).map_or(0.0, |file| file.len() as f64)
    }
}
