//! The rest of the body of an answered request. Most clients send a whole body before they read anything, and
//! would see a broken connection instead of the answer.

use std::pin::pin;
use std::time::Duration;

use futures::future::{ready, select};
use futures::{Stream, StreamExt};

/// The most bytes that are thrown away, and the longest time for it. The API promises both.
const BYTES: usize = 64 << 20;
const TIMEOUT: Duration = Duration::from_secs(5);

/// Reads the chunks of a body and throws them away, within bounds. Of each chunk it takes the length; `None` ends the
/// body. `sleep` waits for a time.
pub async fn drain<S: Future>(lengths: impl Stream<Item = Option<usize>>, sleep: impl FnOnce(Duration) -> S) {
    let mut left = BYTES;
    let take = lengths.take_while(|length| {
        left = length.map_or(0, |length| left.saturating_sub(length));
        ready(left > 0)
    });
    select(pin!(take.for_each(|_| ready(()))), pin!(sleep(TIMEOUT))).await;
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::executor::block_on;
    use futures::future::pending;
    use futures::stream::{pending as never, repeat};

    use super::*;

    #[test]
    fn no_more_than_64_mib_are_read_nor_anything_behind_the_end() {
        let count = |lengths: Vec<Option<usize>>| {
            let taken = Cell::new(0);
            let lengths = futures::stream::iter(lengths).inspect(|_| taken.set(taken.get() + 1));
            block_on(drain(lengths.chain(never()), |_| ready(())));
            taken.get()
        };
        assert_eq!(count(vec![Some(1); 5]), 5, "all that there is");
        assert_eq!(count(vec![Some(1), None, Some(1)]), 2, "a body that broke");
        assert_eq!(count(vec![Some(BYTES / 2); 5]), 2, "too many bytes");
        block_on(drain(repeat(Some(1 << 20)), |_| pending::<()>()));
    }
}
