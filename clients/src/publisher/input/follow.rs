//! Follows files as they grow.

use std::path::PathBuf;
use std::time::Duration;

use super::chunk::Stop;
use super::context::Context;
use super::pattern::Pattern;
use super::watch::Watch;

/// The time between two looks at the files. Polling costs next to nothing, and also works on file systems without
/// change notification.
const LOOK: Duration = Duration::from_millis(100);

/// Reads all files as they grow, for as long as the lines are wanted.
pub fn follow(paths: &[PathBuf], patterns: Vec<String>, context: &Context) -> Result<(), Stop> {
    let mut watches: Vec<_> = paths.iter().map(|path| Watch::follow(path)).collect();
    let mut patterns: Vec<_> = patterns.into_iter().map(Pattern::new).collect();
    loop {
        context.sender.check()?;
        let mut is_idle = true;
        for watch in watches.iter_mut().chain(patterns.iter_mut().flat_map(Pattern::watches)) {
            is_idle &= !watch.follow_on(context)?;
        }
        for pattern in &mut patterns {
            pattern.look(&watches, context)?;
        }
        if is_idle {
            std::thread::sleep(LOOK);
        }
    }
}
