//! Follows files as they grow.

use std::path::PathBuf;
use std::time::Duration;

use super::context::Context;
use super::piece::Stop;
use super::watch::Watch;

/// The time between two looks at the files. Polling costs next to nothing, and also works on file systems without
/// change notification.
const LOOK: Duration = Duration::from_millis(100);

/// Reads all files as they grow, for as long as the lines are wanted.
pub fn follow(paths: &[PathBuf], context: &Context) -> Result<(), Stop> {
    let mut watches: Vec<_> = paths.iter().map(|path| Watch::follow(path)).collect();
    while !watches.is_empty() {
        let mut is_idle = true;
        for watch in &mut watches {
            is_idle &= !watch.follow_on(context)?;
        }
        if is_idle {
            std::thread::sleep(LOOK);
        }
    }
    Ok(())
}
