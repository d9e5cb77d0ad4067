//! Three hosts whose clocks differ, one that reads from replicas, a database, its replica, a pooler, and all that goes
//! wrong between them.

use std::net::SocketAddr;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use fastrand::Rng;
use sekali_harness::deployment::{Deployment, Setup};
use sekali_harness::host::Host;
use sekali_harness::pgbouncer::PgBouncer;
use sekali_harness::postgres::Postgres;
use sekali_harness::process::Signal;
use sekali_harness::tcp_proxy::TcpProxy;

use crate::Tally;
use crate::history::{Cast, History, Losses, Place, ROUND, Stage, System, Turn, consumer, variables};

/// Hosts that take writes. The first reaches the database by a pooler.
const HOSTS: usize = 3;

/// Connections of the pooler to the database.
const POOLED: usize = 8;

/// The seconds by which the clock of each further host is ahead of the one before.
const APART: usize = 75;

/// The average time between two faults, and the time for which a host or the database is away.
const PEACE: Duration = Duration::from_millis(700);
const ABSENCE: Duration = Duration::from_millis(400);

/// The time after a copy was made, of which the copy knows nothing.
const LOST_TIME: Duration = Duration::from_millis(400);

/// The pause between two looks at the replica.
const PAUSE: Duration = Duration::from_millis(20);

/// The name of the replica that each commit waits for.
const REPLICA: &str = "replica";

/// A service of several hosts.
pub struct Cluster {
    hosts: Vec<(Deployment, TcpProxy)>,
    /// A host for reading, each of whose connections leads to the primary or to its replica, in turn.
    reader: (Deployment, TcpProxy),
    /// Leads from the pooler to the primary.
    pooled: TcpProxy,
    _pooler: PgBouncer,
    primary: Postgres,
    replica: Postgres,
    /// Leads from the replica to the primary.
    replication: TcpProxy,
    database: String,
    take_over: Option<TakeOver>,
    /// The faults that are yet to be made. More follow until the round is over.
    faults: Range<u32>,
}

/// A way in which a copy that lacks the newest events takes the place of the database.
#[derive(Clone, Copy, Debug)]
pub enum TakeOver {
    /// A base backup is started as it is.
    Copy,
    /// A dump is restored beside the database, and gets its name.
    Dump,
    /// The database was copied by its own server, and the copy gets its name.
    Template,
    /// A replica that lags is promoted.
    Replica,
}

/// All of them.
pub const TAKE_OVERS: [TakeOver; 4] = [TakeOver::Copy, TakeOver::Dump, TakeOver::Template, TakeOver::Replica];

impl Cluster {
    /// A cluster with fresh state that keeps so many events, or all, and is taken over by a copy, or is not.
    pub fn start(
        kept: Option<usize>,
        partition: usize,
        take_over: Option<TakeOver>,
        faults: Range<u32>,
    ) -> Result<Self> {
        let primary = Postgres::start()?;
        let replication = TcpProxy::to(primary.address())?;
        let replica = primary.replica_by(REPLICA, replication.address())?;
        primary.wait_for_replica(Some(REPLICA))?;
        let database = primary.create_database()?;
        let pooled = TcpProxy::to(primary.address())?;
        let pooler = PgBouncer::at(pooled.address(), POOLED)?;
        let host = |number: usize| -> Result<_> {
            let wire = TcpProxy::to(if number == 0 { pooler.address() } else { primary.address() })?;
            let url = primary.url_by(&database, wire.address());
            let mut setup = Setup::on_database(&url, wire.address())?;
            if !setup.host.is_spin() {
                setup.host = Host::faulty();
                setup.environment.push(("SEKALI_CLOCK_AHEAD".into(), (number * APART).to_string()));
            }
            setup.variables.extend(variables(kept));
            Ok((setup.start()?, wire))
        };
        let mut hosts = vec![host(0)?];
        make_small_partitions(&hosts[0].0, &primary, &database, partition)?;
        let (host, panicked) = (&host, |_| anyhow!("a host panicked while it was started"));
        let others: Vec<Result<_>> = thread::scope(|scope| {
            let started: Vec<_> = (1..=HOSTS).map(|number| scope.spawn(move || host(number))).collect();
            started.into_iter().map(|host| host.join().map_err(panicked).flatten()).collect()
        });
        hosts.extend(others.into_iter().collect::<Result<Vec<_>>>()?);
        let Some(reader) = hosts.pop() else { bail!("there are no hosts") };
        let mut cluster = Self {
            hosts,
            reader,
            pooled,
            _pooler: pooler,
            primary,
            replica,
            replication,
            database,
            take_over,
            faults,
        };
        cluster.lead();
        Ok(cluster)
    }

    fn store(&self) -> Place<'_> {
        Place::Tables(&self.primary, self.database.clone())
    }

    /// Breaks all connections, and leads new ones to where the database is.
    fn lead(&mut self) {
        let (primary, replica) = (self.primary.address(), self.replica.address());
        self.replication.lead_to(primary);
        self.pooled.lead_to(primary);
        self.hosts[1..].iter().for_each(|(_, wire)| wire.lead_to(primary));
        self.reader.1.lead_in_turn(&[primary, replica]);
    }

    /// Breaks all connections to the database, and refuses new ones.
    fn cut(&mut self) {
        let hosts = self.hosts[1..].iter().map(|(_, wire)| wire);
        hosts.chain([&self.pooled, &self.reader.1]).for_each(TcpProxy::cut);
    }

    /// One fault and its repair.
    fn fault(&mut self, rng: &mut Rng, stage: &Stage, history: &mut History) -> Result<()> {
        let victim = rng.usize(..HOSTS);
        let number = self.faults.next().unwrap_or_else(|| rng.u32(..));
        match number % 6 {
            0 => self.hosts[victim].0.crash_while(|_| thread::sleep(ABSENCE)),
            1 => {
                // Of the first host, the connections between its pooler and the database.
                let wire = if victim == 0 { &self.pooled } else { &self.hosts[victim].1 };
                wire.cut();
                thread::sleep(ABSENCE);
                wire.lead_to(self.primary.address());
                Ok(())
            }
            2 => {
                self.replica.pause_replay()?;
                thread::sleep(2 * ABSENCE);
                self.replica.resume_replay()
            }
            3 => consumer::through_upheaval(stage, history, || {
                self.primary.stop(if rng.bool() { Signal::QUIT } else { Signal::INT });
                thread::sleep(ABSENCE);
                self.primary.run()
            }),
            4 => consumer::through_upheaval(stage, history, || self.fail_over()),
            _ => {
                self.pooled.lead_to(self.primary.address());
                Ok(())
            }
        }
    }

    /// The database is lost with its machine. The replica takes its place, and gets a replica of its own.
    ///
    /// It has caught up before: after a crash, PostgreSQL shows readers what it had committed but not yet sent to the
    /// replica, and acknowledged to nobody; if it is lost before that was sent, readers have seen what never was.
    fn fail_over(&mut self) -> Result<()> {
        self.wait_for_replica("flush_lsn")?;
        self.primary.stop(Signal::QUIT);
        self.promote()
    }

    /// Waits until the replica has all that the database has written, by a column of `pg_stat_replication`.
    fn wait_for_replica(&self, column: &str) -> Result<()> {
        let behind = format!(
            "select count(*) = 0 from pg_stat_replication where sync_state = 'sync' and {column} >= pg_current_wal_insert_lsn()"
        );
        while self.primary.query("postgres", &behind)? == "t" {
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// The replica takes the place of the database.
    fn promote(&mut self) -> Result<()> {
        self.cut();
        self.replica.promote()?;
        self.replica.wait_for_replica(None)?;
        std::mem::swap(&mut self.primary, &mut self.replica);
        self.get_replica()
    }

    /// The database gets a replica, and everybody is led to both.
    fn get_replica(&mut self) -> Result<()> {
        self.replication.lead_to(self.primary.address());
        self.replica = self.primary.replica_by(REPLICA, self.replication.address())?;
        self.primary.wait_for_replica(Some(REPLICA))?;
        self.lead();
        Ok(())
    }

    /// A copy of the database takes its place, and lacks what was stored since it was made.
    fn be_taken_over(&mut self, by: TakeOver) -> Result<()> {
        match by {
            TakeOver::Copy => {
                let copy = self.primary.copy()?;
                copy.wait_for_replica(None)?;
                thread::sleep(LOST_TIME);
                self.cut();
                self.primary.stop(Signal::QUIT);
                self.primary = copy;
                self.get_replica()
            }
            TakeOver::Dump => {
                self.primary.restore_beside(&self.database, "copy")?;
                thread::sleep(LOST_TIME);
                self.rename_copy()
            }
            TakeOver::Template => {
                self.cut();
                self.disconnect()?;
                let copy = format!("create database copy template {}", self.database);
                self.primary.query("postgres", &copy)?;
                self.lead();
                thread::sleep(LOST_TIME);
                self.rename_copy()
            }
            TakeOver::Replica => {
                self.primary.wait_for_replica(None)?;
                self.replication.cut();
                thread::sleep(LOST_TIME);
                self.primary.stop(Signal::QUIT);
                self.promote()
            }
        }
    }

    /// The copy beside the database gets its name.
    fn rename_copy(&mut self) -> Result<()> {
        self.cut();
        self.disconnect()?;
        let name = &self.database;
        self.primary.query("postgres", &format!("alter database {name} rename to lost"))?;
        self.primary.query("postgres", &format!("alter database copy rename to {name}"))?;
        // The replica would still show the one that is lost.
        self.wait_for_replica("replay_lsn")?;
        self.lead();
        Ok(())
    }

    /// Ends all sessions of the database. Nobody can connect meanwhile.
    fn disconnect(&self) -> Result<()> {
        let end = format!(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = '{}'",
            self.database
        );
        self.primary.query("postgres", &end).map(drop)
    }
}

/// Makes the partitions of events small, so that a round has many. Before 0.3 their size is fixed.
fn make_small_partitions(host: &Deployment, server: &Postgres, database: &str, size: usize) -> Result<()> {
    // The first request makes the schema.
    ureq::get(format!("http://{}/stats", host.address())).call().map_err(|error| anyhow!("{error}"))?;
    if server.query(database, "select to_regprocedure('sekali.partition_size()') is null")? == "t" {
        eprintln!("skipped small partitions: this schema has no sekali.partition_size()");
        return Ok(());
    }
    let small = format!(
        "create or replace function sekali.partition_size() returns bigint language sql immutable as 'select {size}::bigint'"
    );
    server.query(database, &small).map(drop)
}

impl System for Cluster {
    fn hosts(&mut self) -> Vec<&mut Deployment> {
        self.hosts.iter_mut().map(|(host, _)| host).chain([&mut self.reader.0]).collect()
    }

    /// The host that only reads is not for all.
    fn addresses(&mut self) -> Vec<SocketAddr> {
        self.hosts.iter().map(|(host, _)| host.address()).collect()
    }

    fn late_address(&self) -> Option<SocketAddr> {
        Some(self.reader.0.address())
    }

    fn torment(&mut self, rng: &mut Rng, stage: &Stage, history: &mut History, _: &mut Tally) -> Result<()> {
        let began = Instant::now();
        if let Some(by) = self.take_over {
            thread::sleep(PEACE);
            consumer::restore(stage, history, || self.be_taken_over(by))?;
            history.turn = Turn::TakenOver(stage.clock.tick());
        }
        while !self.faults.is_empty() || began.elapsed() < ROUND {
            self.store().hasten();
            thread::sleep(PEACE.mul_f64(0.5 + rng.f64()));
            self.fault(rng, stage, history)?;
        }
        Ok(())
    }

    fn place(&self) -> Option<Place<'_>> {
        Some(self.store())
    }

    fn cast(&self) -> Cast {
        Cast { workers: 3, ..Cast::default() }
    }

    fn losses(&self) -> Losses {
        Losses { database: true, instances: false }
    }
}
