//! The file descriptors of this process, and how many of them connections may use.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that no connection gets: the listener, the log, the runtimes.
const OWN: u64 = 64;

/// Descriptors that no connection gets, for each instance: its connections to SQLite, with two files each, or to
/// PostgreSQL.
const OF_INSTANCE: u64 = 64;

/// Connections for which there is memory: an idle one takes about 12 kB.
const MOST: u64 = 16_384;

/// Raises the soft limit of open files to the hard one. The soft one is 1,024 on most systems, for the sake of programs
/// that use `select`.
pub fn raise_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where the system does not allow it, the limit stays as it is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// The connections that may be open at once, beside the stores of so many instances.
pub fn connections(instances: u16) -> usize {
    share(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX), instances)
}

/// The share of connections in a limit of open files: what the stores leave, or half of it where they leave little.
fn share(limit: u64, instances: u16) -> usize {
    let kept = OWN + OF_INSTANCE * u64::from(instances);
    let left = limit.saturating_sub(kept).max(limit / 2);
    usize::try_from(left.min(MOST)).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_get_what_the_stores_leave_and_at_least_half() {
        for (limit, instances, connections) in [
            (1024, 2, 832),
            (4096, 2, 3904),
            (1024, 16, 512),
            (256, 2, 128),
            (1, 1, 1),
            (1 << 20, 2, 16_384),
            (u64::MAX, u16::MAX, 16_384),
        ] {
            assert_eq!(share(limit, instances), connections, "{limit} files, {instances} instances");
        }
    }

    #[test]
    fn the_limit_is_the_hard_one_once_it_is_raised() {
        raise_limit();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
