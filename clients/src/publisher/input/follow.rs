//! Follows files as they grow.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::chunk::Stop;
use super::context::Context;
use super::pattern::Pattern;
use super::search::tell_lost;
use super::watch::Watch;

/// The time between two looks at the files. Polling costs next to nothing, and also works on file systems without
/// change notification.
const LOOK: Duration = Duration::from_millis(100);

/// With thousands of files a look takes a while, and the pause is so many times as long.
const PAUSES: u32 = 10;

/// A look that took longer was held up by the service, and some of it is old.
const SLOW: Duration = Duration::from_secs(1);

/// Reads all files as they grow, for as long as the lines are wanted.
pub fn follow(
    paths: &[PathBuf],
    patterns: Vec<String>,
    is_from_end: bool,
    context: &Context,
) -> Result<(), Stop> {
    let watch = |path: &PathBuf| Watch::follow(path, is_from_end, context);
    let mut watches: Vec<_> = paths.iter().map(watch).collect();
    let mut patterns: Vec<_> = patterns.into_iter().map(|text| Pattern::new(text, is_from_end)).collect();
    loop {
        context.sender.check()?;
        let (began, mut is_idle) = (Instant::now(), true);
        let (mut have_turns, mut are_decided) = (true, true);
        for pattern in &mut patterns {
            pattern.look(context)?;
        }
        for watch in watches.iter_mut().chain(patterns.iter_mut().flat_map(Pattern::watches)) {
            is_idle &= !watch.follow_on(context)?;
            have_turns &= !watch.waits_for_its_turn();
            are_decided &= !watch.is_undecided();
        }
        let were_all_looked_at = have_turns && began.elapsed() < SLOW;
        if !(were_all_looked_at && are_decided) {
            context.suspects.postpone(were_all_looked_at);
        }
        tell_lost(false, context)?;
        if is_idle {
            std::thread::sleep(LOOK.max(began.elapsed() * PAUSES));
        }
    }
}
