//! A PostgreSQL server with its data and its socket in one directory, and its programs as clients.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sekali_harness::process::Process;

/// Makes the table of events.
pub const TABLE: &str =
    "create table if not exists events (seq bigserial primary key, topic text not null, event_id text not null,
    timestamp timestamptz not null, source text, payload jsonb not null,
    received_at timestamptz not null default now(), unique (topic, event_id))";

const INSERT: &str = "insert into events (topic, event_id, timestamp, source, payload)";

// It has a space behind each colon, because pgbench takes a colon and a name for a variable.
const PAYLOAD: &str = r#"'{"order": 10234,"amount": "49.90","currency": "EUR","items": [{"sku": "A-113","n": 2}],"express": false}'"#;

/// The directory of PostgreSQL's programs.
pub struct Installed(PathBuf);

impl Installed {
    /// PostgreSQL, if its server and pgbench are installed where Debian puts them.
    pub fn find() -> Option<Self> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        let programs = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
        let newest =
            programs.filter(|bin| ["initdb", "pgbench"].iter().all(|name| bin.join(name).exists())).max();
        newest.map(Self)
    }

    /// The major version.
    pub fn version(&self) -> String {
        let directory = self.0.parent().and_then(Path::file_name);
        directory.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// One of its programs, as a user that is not root, which PostgreSQL refuses.
    fn program(&self, name: &str) -> Command {
        let program = self.0.join(name);
        if std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
            // Unlike runuser, it becomes the program, which is then our own child.
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program);
            return command;
        }
        Command::new(program)
    }
}

/// The inserts of pgbench.
#[derive(Clone, Copy)]
pub struct Insert {
    /// Rows of a statement.
    pub rows: usize,
    /// UUIDv4 instead of growing numbers.
    pub random: bool,
}

impl Insert {
    /// The script of a transaction. `base` and `n` are given to pgbench; `n` is each client's own.
    pub fn script(self) -> String {
        let Self { rows, random } = self;
        let id = match (random, rows) {
            (true, _) => "gen_random_uuid()::text",
            (false, 1) => ":id::text",
            (false, _) => "(:id::bigint + n)::text",
        };
        let row = format!("'bench', {id}, '2026-11-21T01:00:00.123Z', 'bench', {PAYLOAD}");
        let source = match rows {
            1 => format!("values ({row})"),
            _ => format!("select {row} from generate_series(1, {rows}) n"),
        };
        format!(
            "\\set n :n + {rows}\n\\set id :base * 1000000000000 + :client_id * 1000000000 + :n\n\
             {INSERT} {source} on conflict do nothing;\n"
        )
    }
}

/// Inserts rows of these ids and returns those that were not there.
pub fn insert_returning(ids: &[String]) -> String {
    format!("{} returning event_id;\n", insert(ids).trim_end_matches(';'))
}

/// Inserts rows of these ids.
pub fn insert(ids: &[String]) -> String {
    let rows: Vec<_> = ids
        .iter()
        .map(|id| format!("('bench', '{id}', '2026-11-21T01:00:00.123Z', 'bench', {PAYLOAD})"))
        .collect();
    format!("{INSERT} values {} on conflict do nothing;", rows.join(","))
}

/// The result of pgbench.
pub struct Measured {
    pub transactions_per_second: f64,
    /// Of some of the transactions, sorted, in microseconds.
    pub latencies: Vec<u64>,
}

/// A server and its directory.
pub struct Cluster<'a> {
    installed: &'a Installed,
    directory: PathBuf,
}

impl<'a> Cluster<'a> {
    /// The server of a directory.
    pub fn at(installed: &'a Installed, directory: PathBuf) -> Self {
        Self { installed, directory }
    }

    /// Starts the server, after it has made its files if there are none, and makes the table of events.
    pub fn serve(&self) -> Result<Process> {
        if !self.directory.join("data").exists() {
            // The server may run as another user, who needs access to the directory.
            std::fs::set_permissions(&self.directory, Permissions::from_mode(0o777))?;
            self.run("initdb", &["-D", "data", "-U", "bench", "--auth=trust"])?;
        }
        let mut command = self.installed.program("postgres");
        command.args(["-D", "data", "-c", "listen_addresses=", "-c", "max_connections=300", "-k"]);
        command.arg(&self.directory).current_dir(&self.directory);
        let mut process = Process::start(command)?;
        process.wait_until(|_| self.query("select 1").ok()).context("PostgreSQL")?;
        self.query(TABLE)?;
        Ok(process)
    }

    /// The values that a statement returns.
    pub fn query(&self, statement: &str) -> Result<String> {
        self.run("psql", &["-q", "-At", "-d", "postgres", "-c", statement])
    }

    /// Runs statements until one fails, and returns the values that they returned.
    pub fn script_until_error(&self, name: &str, script: &str) -> Result<Vec<String>> {
        let file = format!("{name}.sql");
        std::fs::write(self.directory.join(&file), script)?;
        let arguments = ["-q", "-At", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-f", &file];
        let output = self.execute("psql", &arguments)?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(ToOwned::to_owned).collect())
    }

    /// Runs pgbench with prepared statements.
    pub fn pgbench(&self, insert: Insert, clients: usize, duration: Duration) -> Result<Measured> {
        std::fs::write(self.directory.join("insert.sql"), insert.script())?;
        let logs = tempfile::tempdir_in(&self.directory)?;
        std::fs::set_permissions(logs.path(), Permissions::from_mode(0o777))?;
        let prefix = logs.path().join("log").display().to_string();
        let (base, clients, seconds) = (
            format!("base={}", fastrand::u32(..8_000_000)),
            clients.to_string(),
            duration.as_secs().max(1).to_string(),
        );
        let report = self.run(
            "pgbench",
            &[
                "-n",
                "-M",
                "prepared",
                "-f",
                "insert.sql",
                "-D",
                "n=0",
                "-D",
                &base,
                "-j",
                "1",
                "-c",
                &clients,
                "-T",
                &seconds,
                "--log",
                "--log-prefix",
                &prefix,
                "--sampling-rate",
                "0.2",
                "postgres",
            ],
        )?;
        let tps =
            report.lines().find_map(|line| line.strip_prefix("tps = ")).context("pgbench gave no tps")?;
        Ok(Measured {
            transactions_per_second: tps.split(' ').next().unwrap_or_default().parse()?,
            latencies: latencies(logs.path())?,
        })
    }

    fn run(&self, name: &str, arguments: &[&str]) -> Result<String> {
        let output = self.execute(name, arguments)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{name}: {text}{}", String::from_utf8_lossy(&output.stderr));
        Ok(text)
    }

    fn execute(&self, name: &str, arguments: &[&str]) -> Result<Output> {
        let mut command = self.installed.program(name);
        command.env("PGHOST", &self.directory).env("PGUSER", "bench");
        command.args(arguments).current_dir(&self.directory);
        command.output().with_context(|| format!("{name} cannot be run"))
    }
}

/// The third column of pgbench's logs: the time of a transaction.
fn latencies(logs: &Path) -> Result<Vec<u64>> {
    let mut latencies = Vec::new();
    for entry in std::fs::read_dir(logs)? {
        let text = std::fs::read_to_string(entry?.path())?;
        latencies.extend(text.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<u64>().ok()));
    }
    latencies.sort_unstable();
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_the_third_column_in_order() {
        let logs = tempfile::tempdir().unwrap();
        std::fs::write(logs.path().join("log.1"), "0 1 900 0 1 2\n1 1 300 0 1 2\n").unwrap();
        std::fs::write(logs.path().join("log.2"), "2 1 500 0 1 2\n").unwrap();
        assert_eq!(latencies(logs.path()).unwrap(), [300, 500, 900]);
    }

    #[test]
    fn a_script_inserts_ids_in_order_or_at_random_and_one_row_or_many() {
        let script = |rows, random| Insert { rows, random }.script();
        assert!(script(1, false).contains("values ('bench', :id::text,"));
        assert!(
            script(1000, false).contains("(:id::bigint + n)::text")
                && script(1000, false).contains("(1, 1000)")
        );
        assert!(script(1, true).contains("gen_random_uuid()::text") && !script(1, true).contains(":id::"));
    }
}
