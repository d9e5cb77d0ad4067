//! A server as an ordinary user, which ends with whoever started it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

/// The shell ends the server when whoever started it is gone, however that happened: its end of the pipe is closed then.
const GUARD: &str =
    r#"signal=$1; shift; "$@" & server=$!; echo $server; read -r _; kill -$signal $server; wait $server"#;

/// A running server.
pub struct Guarded {
    guard: Child,
    server: Pid,
}

impl Guarded {
    /// Starts a program with its state in a directory, and its messages in the file `log` there.
    ///
    /// `ending` names the signal that ends it when this process is gone, such as `INT`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(directory: &Path, ending: &str, program: &Path, arguments: &[String]) -> Result<Self> {
        let mut command = command(directory, "sh")?;
        command.args(["-c", GUARD, "sh", ending]).arg(program).args(arguments);
        let log = fs::File::create(directory.join("log"))?;
        let mut guard = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn()?;
        let mut line = String::new();
        BufReader::new(guard.stdout.take().context("no output")?).read_line(&mut line)?;
        let server = line.trim().parse().ok().and_then(Pid::from_raw).context("the server has no process")?;
        Ok(Self { guard, server })
    }

    /// Sends it a signal that ends it, and waits until it has.
    pub fn stop(mut self, signal: Signal) {
        let _ = kill_process(self.server, signal); // it may have ended
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// The output of a server since its start.
pub fn log(directory: &Path) -> String {
    fs::read_to_string(directory.join("log")).unwrap_or_default()
}

/// A command in a directory, as the user who owns it.
pub fn command(directory: &Path, program: impl AsRef<Path>) -> Result<Command> {
    let mut command = Command::new(program.as_ref());
    command.current_dir(directory).process_group(0);
    if let Some((user, group)) = ordinary_user()? {
        command.uid(user).gid(group);
    }
    Ok(command)
}

/// The user and group to run it as, if this is root: neither PostgreSQL nor PgBouncer serves as root.
pub fn ordinary_user() -> Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let user = users.lines().find_map(|line| {
        let fields: Vec<_> = line.strip_prefix("postgres:")?.split(':').collect();
        Some((fields.get(1)?.parse().ok()?, fields.get(2)?.parse().ok()?))
    });
    Ok(Some(user.context("there is no user postgres, who comes with Debian's package postgresql")?))
}

/// A fresh directory of that user.
pub fn directory() -> Result<tempfile::TempDir> {
    let directory = tempfile::tempdir()?;
    if let Some((user, group)) = ordinary_user()? {
        std::os::unix::fs::chown(directory.path(), Some(user), Some(group))?;
    }
    Ok(directory)
}
