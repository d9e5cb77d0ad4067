//! Inserts of the same row into PostgreSQL, if its server and pgbench are installed.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

// The payload has a space behind each colon, because pgbench takes a colon and a name for a variable.
const SCRIPT: &str = "\\set id random(1, 9000000000000000000)
insert into events (topic, event_id, timestamp, source, payload) values ('bench', :id::text, '2026-11-21T01:00:00.123Z', 'bench', '{\"order\": 10234,\"amount\": \"49.90\",\"currency\": \"EUR\",\"items\": [{\"sku\": \"A-113\",\"n\": 2}],\"express\": false}') on conflict do nothing;
";

const SCHEMA: &str =
    "create table events (seq bigserial primary key, topic text not null, event_id text not null,
    timestamp timestamptz not null, source text, payload jsonb not null,
    received_at timestamptz not null default now(), unique (topic, event_id))";

/// The directory of PostgreSQL's programs, if it has the server and pgbench.
pub fn installed() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let programs = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
    programs.filter(|bin| bin.join("initdb").exists() && bin.join("pgbench").exists()).max()
}

/// Measures inserts a second by `clients` with prepared statements.
pub fn inserts_per_second(bin: &Path, clients: usize, seconds: u64) -> Result<f64> {
    let directory = tempfile::tempdir()?;
    // The server runs as another user, who needs access to the directory.
    std::fs::set_permissions(directory.path(), Permissions::from_mode(0o777))?;
    std::fs::write(directory.path().join("insert.sql"), SCRIPT)?;
    let cluster = Cluster { bin, directory: directory.path() };
    cluster.start()?;
    let measured = cluster.measure(clients, seconds);
    cluster.run("pg_ctl -D data -w -m immediate stop")?;
    let report = measured?;
    let tps = report.lines().find_map(|line| line.strip_prefix("tps = ")).context("pgbench gave no tps")?;
    Ok(tps.split(' ').next().unwrap_or_default().parse()?)
}

/// A PostgreSQL server with its data and its socket in one directory.
struct Cluster<'a> {
    bin: &'a Path,
    directory: &'a Path,
}

impl Cluster<'_> {
    fn start(&self) -> Result<()> {
        let socket = self.socket()?;
        self.run("initdb -D data -U bench --auth=trust")?;
        let options = format!("-c listen_addresses='' -k {socket}");
        self.execute("pg_ctl", &["-D", "data", "-w", "-l", "server.log", "-o", &options, "start"])?;
        self.execute("psql", &["-h", socket, "-U", "bench", "-d", "postgres", "-c", SCHEMA])?;
        Ok(())
    }

    /// The report of pgbench.
    fn measure(&self, clients: usize, seconds: u64) -> Result<String> {
        let socket = self.socket()?;
        self.run(&format!(
            "pgbench -h {socket} -U bench -n -M prepared -f insert.sql -j 1 -c {clients} -T {seconds} postgres"
        ))
    }

    fn socket(&self) -> Result<&str> {
        self.directory.to_str().context("the temporary directory has a path that is not UTF-8")
    }

    /// Runs a program with arguments that hold no spaces.
    fn run(&self, line: &str) -> Result<String> {
        let (program, arguments) = line.split_once(' ').unwrap_or((line, ""));
        self.execute(program, &arguments.split(' ').collect::<Vec<_>>())
    }

    fn execute(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let program = self.bin.join(program);
        // PostgreSQL refuses to run as root.
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
        let mut command = if is_root {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        let output = command.args(arguments).current_dir(self.directory).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        Ok(text)
    }
}
