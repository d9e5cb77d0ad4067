//! What is measured, and what came of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::crash::Aftermath;
use super::peer::{Load, Peer, Rates};

/// Clients of single events, and of batches.
pub const CLIENTS: [usize; 4] = [1, 16, 64, 256];
pub const RANDOM_CLIENTS: usize = 64;
pub const BATCH_CLIENTS: usize = 8;
pub const BATCH: usize = 1000;

/// What is measured, and for how long.
pub struct Plan {
    pub seconds: u64,
    pub rounds: usize,
    /// Parts of the names of peers, in small letters. Empty means all.
    pub only: Vec<String>,
    /// The directory of the report.
    pub output: PathBuf,
}

/// What was measured of a peer.
pub struct Results {
    pub name: String,
    pub configuration: &'static str,
    pub memory_of_ids: &'static str,
    pub is_echo: bool,
    /// One for each round.
    pub rates: BTreeMap<Load, Vec<Rates>>,
    /// The most resident bytes at 256 clients.
    pub memory: u64,
    /// Bytes on disk for an event, with ids in order and with random ids.
    pub bytes: [Option<f64>; 2],
    pub aftermath: Option<Aftermath>,
    /// The share of a core that the clients used at 64 clients.
    pub client: f64,
}

impl Results {
    /// Nothing is measured yet.
    pub fn of(peer: &dyn Peer) -> Self {
        Self {
            name: peer.name(),
            configuration: peer.configuration(),
            memory_of_ids: peer.memory_of_ids(),
            is_echo: peer.is_echo(),
            rates: BTreeMap::new(),
            memory: 0,
            bytes: [None; 2],
            aftermath: None,
            client: 0.0,
        }
    }
}
