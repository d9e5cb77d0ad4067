//! Several hosts on one database of PostgreSQL, in the experiment of `history`: hosts are killed, cut off from the
//! database and joined again; the database crashes, and fails over to a replica that each commit waits for.

mod site;

use anyhow::Result;

use self::site::Cluster;
use crate::history::play_and_check;
use crate::{Effort, Tally};

/// Plays one round or several, each with fresh state.
///
/// # Errors
/// When a host or the database cannot be started.
pub fn run(seed: u64, effort: Effort) -> Result<Tally> {
    let mut tally = Tally::default();
    for round in 0..effort.pick(1, 5) {
        play_and_check(seed.wrapping_mul(1_000).wrapping_add(round), &mut Cluster::start()?, &mut tally)?;
    }
    Ok(tally)
}
