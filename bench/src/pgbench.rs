//! Inserts of the same row into PostgreSQL, if its server and pgbench are installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

// The payload has a space behind each colon, because pgbench takes a colon and a name for a variable.
const SCRIPT: &str = "\\set id random(1, 9000000000000000000)
insert into events (topic, event_id, timestamp, source, payload) values ('bench', :id::text, '2026-11-21T01:00:00.123Z', 'bench', '{\"order\": 10234,\"amount\": \"49.90\",\"currency\": \"EUR\",\"items\": [{\"sku\": \"A-113\",\"n\": 2}],\"express\": false}') on conflict do nothing;
";

/// The directory of PostgreSQL's programs, if it has the server and pgbench.
pub fn installed() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let programs = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
    programs.filter(|bin| bin.join("initdb").exists() && bin.join("pgbench").exists()).max()
}

/// Measures inserts a second by `clients` with prepared statements.
pub fn inserts_per_second(bin: &Path, clients: usize, seconds: u64) -> Result<f64> {
    let directory = tempfile::tempdir()?;
    let path = directory.path();
    std::fs::write(path.join("insert.sql"), SCRIPT)?;
    let data = path.join("data");
    let run = |program: &str, arguments: &[&str]| -> Result<String> {
        // PostgreSQL refuses to run as root.
        let as_root =
            std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
        let program = bin.join(program);
        let mut command = if as_root {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        let output = command.args(arguments).current_dir(path).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        Ok(text)
    };
    // The server's user needs access to the directory.
    std::os::unix::fs::chown(path, None, None)?;
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
    let data = data.to_str().context("the temporary directory has a path that is not UTF-8")?;
    let socket = path.to_str().context("the temporary directory has a path that is not UTF-8")?;
    run("initdb", &["-D", data, "-U", "bench", "--auth=trust"])?;
    let options = format!("-c listen_addresses='' -k {socket}");
    run("pg_ctl", &["-D", data, "-w", "-l", "server.log", "-o", &options, "start"])?;
    let measured = (|| {
        let schema =
            "create table events (seq bigserial primary key, topic text not null, event_id text not null,
            timestamp timestamptz not null, source text, payload jsonb not null,
            received_at timestamptz not null default now(), unique (topic, event_id))";
        run("psql", &["-h", socket, "-U", "bench", "-d", "postgres", "-c", schema])?;
        let (clients, seconds) = (clients.to_string(), seconds.to_string());
        run(
            "pgbench",
            &[
                "-h",
                socket,
                "-U",
                "bench",
                "-n",
                "-M",
                "prepared",
                "-f",
                "insert.sql",
                "-j",
                "1",
                "-c",
                &clients,
                "-T",
                &seconds,
                "postgres",
            ],
        )
    })();
    run("pg_ctl", &["-D", data, "-w", "-m", "immediate", "stop"])?;
    let report = measured?;
    let tps = report.lines().find_map(|line| line.strip_prefix("tps = ")).context("pgbench gave no tps")?;
    Ok(tps.split(' ').next().unwrap_or_default().parse()?)
}
