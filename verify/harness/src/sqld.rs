//! A libSQL server with state of its own, where the variable `SQLD` names the program.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::deployment::Setup;
use crate::host::{Host, free_port};
use crate::process::Process;
use crate::server::tell_skipped;

/// A server. It is killed on drop, and its state is removed.
pub struct Sqld {
    program: String,
    address: SocketAddr,
    directory: TempDir,
    process: Process,
}

impl Sqld {
    /// A server with fresh state, or `None` after telling why a test is skipped.
    ///
    /// # Errors
    /// When the program that `SQLD` names does not start.
    pub fn from_environment() -> Result<Option<Self>> {
        let Ok(program) = std::env::var("SQLD") else {
            tell_skipped("without a server of libSQL", "set SQLD=/path/to/sqld");
            return Ok(None);
        };
        let directory = tempfile::tempdir()?;
        let address = free_port()?;
        let process = serve(&program, address, &directory)?;
        Ok(Some(Self { program, address, directory, process }))
    }

    /// Sekali whose events are in the database of this server, on the host that the environment names.
    ///
    /// # Errors
    /// See [`Setup::from_environment`].
    pub fn setup(&self) -> Result<Setup> {
        let config = self.directory.path().join("runtime-config.toml");
        let url = format!("http://{}", self.address);
        let database =
            format!("[sqlite_database.default]\ntype = \"libsql\"\nurl = \"{url}\"\ntoken = \"none\"\n");
        fs::write(&config, database)?;
        let mut setup = Setup::on(Host::from_environment()?);
        setup.arguments = vec!["--runtime-config-file".into(), config.display().to_string()];
        Ok(setup)
    }

    /// Kills the server as a crash would, and starts it with what it has stored.
    ///
    /// # Errors
    /// When it does not start.
    pub fn crash(&mut self) -> Result<()> {
        self.process.kill();
        self.process = serve(&self.program, self.address, &self.directory)?;
        Ok(())
    }
}

fn serve(program: &str, address: SocketAddr, directory: &TempDir) -> Result<Process> {
    let mut command = Command::new(program);
    command.args(["--no-welcome", "--http-listen-addr", &address.to_string(), "--db-path"]);
    command.arg(directory.path().join("data")).current_dir(directory.path());
    let mut process = Process::start(command).context("the program that SQLD names cannot be started")?;
    process.wait_until_it_listens(address).context("sqld")?;
    Ok(process)
}
