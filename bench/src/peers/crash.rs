//! What a peer has lost after a kill -9 under load.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::peer::{Peer, Running};
use crate::system;

/// Clients that publish until the kill, and the time that they have.
const CLIENTS: usize = 16;
const TIME: Duration = Duration::from_secs(2);

/// What became of the events that were acknowledged before a kill.
#[derive(Clone, Copy, Debug)]
pub struct Aftermath {
    pub acknowledged: u64,
    /// Acknowledged, and known as duplicates when they are sent again.
    pub remembered: u64,
    /// Events that the second sending added to the store: each was acknowledged and lost, or forgotten.
    pub stored_again: u64,
}

/// Kills the peer while clients publish, starts it again, and sends again what it had acknowledged.
pub fn crash(peer: &dyn Peer) -> Result<Aftermath> {
    let state = tempfile::tempdir()?;
    let running = peer.start(state.path())?;
    is_deduplicated(peer, &running)?;
    let process = running.process.id();
    let acknowledged = thread::scope(|scope| {
        let running = &running;
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| scope.spawn(move || peer.publish_until_crash(running, &format!("crash-{n}"))))
            .collect();
        thread::sleep(TIME);
        system::kill(process)?;
        let mut acknowledged = Vec::new();
        for client in clients {
            acknowledged.extend(client.join().ok().context("a client panicked")??);
        }
        anyhow::Ok(acknowledged)
    })?;
    drop(running);
    let running = peer.start(state.path())?;
    let before = peer.stored(&running)?;
    let remembered = peer.resend(&running, &acknowledged)?;
    let after = peer.stored(&running)?;
    Ok(Aftermath {
        acknowledged: acknowledged.len() as u64,
        remembered,
        stored_again: after.saturating_sub(before),
    })
}

/// Checks that an event that comes twice is stored once, and known the second time.
fn is_deduplicated(peer: &dyn Peer, running: &Running) -> Result<()> {
    let event = ["twice".to_owned()];
    let before = peer.stored(running)?;
    let known = [peer.resend(running, &event)?, peer.resend(running, &event)?];
    let stored = peer.stored(running)? - before;
    ensure!(known == [0, 1] && stored == 1, "{}: {stored} stored, known {known:?}", peer.name());
    Ok(())
}
