//! The destinations of events: an endpoint, a command or a file.

mod command;
mod file;
mod http;
mod public;

pub use self::command::Program;
pub use self::file::Log;
pub use self::http::{Endpoint, Limits};
use crate::forward::Target;
use crate::ledger::Parcel;
use crate::outcome::Outcome;

/// One of them.
pub enum Destination {
    /// An endpoint, by HTTP.
    Endpoint(Box<Endpoint>),
    /// A command for each event.
    Program(Program),
    /// A file that grows.
    Log(Log),
}

impl Target for Destination {
    async fn deliver(&self, parcel: &Parcel) -> Outcome {
        match self {
            Self::Endpoint(endpoint) => endpoint.deliver(parcel).await,
            Self::Program(program) => program.run(parcel).await,
            Self::Log(log) => log.append(parcel).await,
        }
    }

    async fn sync(&self) -> Result<(), String> {
        match self {
            Self::Log(log) => log.sync().await,
            Self::Endpoint(_) | Self::Program(_) => Ok(()),
        }
    }
}
