//! Several hosts on one database of PostgreSQL, in the experiment of `history`: hosts whose clocks differ are killed, cut
//! off from the database and joined again, one of them by a pooler; another reads from replicas; the database crashes,
//! fails over to a replica that each commit waits for, or is replaced by a copy that lacks its newest events.

mod system;

use anyhow::Result;

use self::system::{Cluster, TAKE_OVERS};
use crate::history::{KEPT, play_and_check};
use crate::{Effort, Tally};

/// Plays rounds, each with fresh state: with a copy that takes over, and with retention and erasure at work, in turn.
///
/// # Errors
/// When a host or the database cannot be started.
pub fn run(seed: u64, effort: Effort) -> Result<Tally> {
    let mut tally = Tally::default();
    for round in 0..effort.pick(2, 8) {
        let take_over = TAKE_OVERS[(seed as usize + round / 2) % TAKE_OVERS.len()];
        let (take_over, kept) = if round % 2 == 0 { (Some(take_over), None) } else { (None, Some(KEPT)) };
        let seed = seed.wrapping_mul(1_000).wrapping_add(round as u64);
        // A short round has half of the faults, and the next one the others.
        let faults = effort.pick([0..3, 3..6][round % 2].clone(), 0..6);
        // Seqs of a partition: a long form has rounds with hundreds of partitions.
        let partition = effort.pick(256, [8, 256][round / 2 % 2]);
        let mut cluster = Cluster::start(kept, partition, take_over, faults)?;
        play_and_check(seed, kept, &mut cluster, &mut tally)?;
    }
    Ok(tally)
}
