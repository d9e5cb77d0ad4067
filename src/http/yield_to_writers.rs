//! Long answers yield to writers: they read a page when producers have had their turn.

use std::cell::Cell;
use std::rc::Rc;

use crate::clock::Clock;

/// The rest after a page while producers write, as a multiple of the time that the page took.
const REST: u32 = 2;

/// Makes an answer of many pages yield to writers.
pub struct YieldToWriters<C> {
    clock: C,
    /// The writes of this instance so far.
    writes: Rc<Cell<u64>>,
}

impl<C: Clock> YieldToWriters<C> {
    /// Yields to the writes that are counted here.
    pub fn new(clock: C, writes: Rc<Cell<u64>>) -> Self {
        Self { clock, writes }
    }

    /// Reads a page, and then rests if something was written meanwhile.
    pub async fn read<T>(&self, page: impl Future<Output = T>) -> T {
        let (began, writes) = (self.clock.now(), self.writes.get());
        let page = page.await;
        if self.writes.get() != writes {
            self.clock.sleep((self.clock.now() - began) * REST).await;
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::TokioClock;

    #[tokio::test(start_paused = true)]
    async fn a_page_is_followed_by_a_rest_only_if_something_was_written_meanwhile() {
        let (clock, writes) = (TokioClock::start(), Rc::new(Cell::new(7)));
        let yielding = YieldToWriters::new(clock, Rc::clone(&writes));
        for (written, seconds) in [(0, 1), (1, 3), (0, 1)] {
            let began = clock.now();
            let page = async {
                clock.sleep(Duration::from_secs(1)).await;
                writes.update(|writes| writes + written);
                "page"
            };
            assert_eq!(yielding.read(page).await, "page");
            assert_eq!((clock.now() - began).as_secs(), seconds, "{written}");
        }
    }
}
