//! Three hosts, a database, its replica, and all that goes wrong between them.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use fastrand::Rng;
use sekali_harness::deployment::{Deployment, Setup};
use sekali_harness::postgres::Postgres;
use sekali_harness::process::Signal;
use sekali_harness::wire::Wire;

use crate::Tally;
use crate::history::{ROUND, Site};

/// Hosts of the cluster.
const HOSTS: usize = 3;

/// The average time between two faults, and the time for which a host or the database is away.
const PEACE: Duration = Duration::from_millis(700);
const ABSENCE: Duration = Duration::from_millis(400);

/// The pause between two looks at the replica.
const PAUSE: Duration = Duration::from_millis(20);

/// The name of the replica that each commit waits for.
const REPLICA: &str = "replica";

/// A service of several hosts.
pub struct Cluster {
    hosts: Vec<(Deployment, Wire)>,
    primary: Postgres,
    replica: Postgres,
    faults: u32,
}

impl Cluster {
    /// A cluster with fresh state.
    pub fn start() -> Result<Self> {
        let primary = Postgres::start()?;
        let replica = primary.replica(REPLICA)?;
        primary.wait_for_replica(Some(REPLICA))?;
        let database = primary.create_database()?;
        let host = |_| {
            let wire = Wire::to(primary.address())?;
            let url = primary.url_by(&database, wire.address());
            Ok((Setup::on_database(&url, wire.address())?.start()?, wire))
        };
        let hosts = (0..HOSTS).map(host).collect::<Result<_>>()?;
        Ok(Self { hosts, primary, replica, faults: 0 })
    }

    /// One fault and its repair.
    fn fault(&mut self, rng: &mut Rng) -> Result<()> {
        let victim = rng.usize(..HOSTS);
        self.faults += 1;
        match self.faults % 4 {
            1 => self.hosts[victim].0.crash_while(|_| thread::sleep(ABSENCE)),
            2 => {
                let (_, wire) = &self.hosts[victim];
                wire.cut();
                thread::sleep(ABSENCE);
                wire.lead_to(self.primary.address());
                Ok(())
            }
            3 => {
                self.primary.stop(if rng.bool() { Signal::QUIT } else { Signal::INT });
                thread::sleep(ABSENCE);
                self.primary.run()
            }
            _ => self.fail_over(),
        }
    }

    /// The database is lost with its machine. The replica takes its place, and gets a replica of its own.
    ///
    /// It has caught up before: after a crash, PostgreSQL shows readers what it had committed but not yet sent to the
    /// replica, and acknowledged to nobody; if it is lost before that was sent, readers have seen what never was.
    fn fail_over(&mut self) -> Result<()> {
        let behind = "select count(*) = 0 from pg_stat_replication where sync_state = 'sync' and flush_lsn >= pg_current_wal_insert_lsn()";
        while self.primary.query("postgres", behind)? == "t" {
            thread::sleep(PAUSE);
        }
        self.primary.stop(Signal::QUIT);
        self.hosts.iter().for_each(|(_, wire)| wire.cut());
        self.replica.promote()?;
        self.replica.wait_for_replica(None)?;
        self.hosts.iter().for_each(|(_, wire)| wire.lead_to(self.replica.address()));
        let next = self.replica.replica(REPLICA)?;
        self.replica.wait_for_replica(Some(REPLICA))?;
        self.primary = std::mem::replace(&mut self.replica, next);
        Ok(())
    }
}

impl Site for Cluster {
    fn addresses(&self) -> Vec<SocketAddr> {
        self.hosts.iter().map(|(host, _)| host.address()).collect()
    }

    fn torment(&mut self, rng: &mut Rng, _: &mut Tally) -> Result<()> {
        let began = Instant::now();
        while self.faults < 4 || began.elapsed() < ROUND {
            thread::sleep(PEACE.mul_f64(0.5 + rng.f64()));
            self.fault(rng)?;
        }
        Ok(())
    }

    fn loses_database(&self) -> bool {
        true
    }

    fn restart(&mut self) -> Result<()> {
        self.hosts.iter_mut().try_for_each(|(host, _)| host.crash_while(|_| ()))
    }
}
