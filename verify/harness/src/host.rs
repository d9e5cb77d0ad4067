//! The program that serves an application.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::artifacts::{self, repository};

/// A host of components.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// The host of this repository.
    Sekali(PathBuf),
    /// A real Spin.
    Spin(PathBuf),
}

impl Host {
    /// The Spin that the variable `SPIN` names, else the sekali-host that was built beside this program.
    ///
    /// # Errors
    /// When sekali-host is not built.
    pub fn from_environment() -> Result<Self> {
        Self::spin().map_or_else(Self::own, Ok)
    }

    /// The Spin that the variable `SPIN` names, if it is set.
    pub fn spin() -> Option<Self> {
        std::env::var_os("SPIN").map(|spin| Self::Spin(spin.into()))
    }

    /// The sekali-host that was built beside this program.
    ///
    /// # Errors
    /// When it is not built.
    pub fn own() -> Result<Self> {
        artifacts::program("sekali-host").map(Self::Sekali)
    }

    /// The sekali-host that makes faults on request, as `scripts/build` leaves it.
    pub fn faulty() -> Self {
        Self::Sekali(repository().join("target/faults/sekali-host"))
    }

    /// True for a real Spin.
    pub fn is_spin(&self) -> bool {
        matches!(self, Self::Spin(_))
    }

    /// The command that serves the application of `manifest` at `address`, with its stores in `state`.
    pub fn command(&self, manifest: &Path, address: SocketAddr, state: &Path) -> Command {
        let mut command = match self {
            Self::Sekali(path) => Command::new(path),
            Self::Spin(path) => {
                let mut command = Command::new(path);
                command.arg("up");
                command
            }
        };
        command.arg("--listen").arg(address.to_string()).arg("--from").arg(manifest);
        command.arg("--state-dir").arg(state);
        command
    }

    /// A loopback address to serve at. Spin does not know port 0, so it gets a port that is free at this moment.
    ///
    /// # Errors
    /// When no port is free.
    pub fn free_address(&self) -> Result<SocketAddr> {
        match self {
            Self::Sekali(_) => Ok(([127, 0, 0, 1], 0).into()),
            Self::Spin(_) => free_port(),
        }
    }

    /// Name and version, for reports.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn version(&self) -> Result<String> {
        let (Self::Sekali(path) | Self::Spin(path)) = self;
        let output = Command::new(path).arg("--version").output()?;
        ensure!(output.status.success(), "{} --version failed", path.display());
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

/// A loopback address whose port is free at this moment.
///
/// # Errors
/// When no port is free.
pub fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
