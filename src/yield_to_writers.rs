//! Long work yields to writers: after each piece of it, it rests, so that producers have their turn.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::clock::Clock;

/// Makes long work yield to writers.
pub struct YieldToWriters<C> {
    clock: C,
    /// The writes of this instance so far.
    writes: Rc<Cell<u64>>,
}

/// A piece of long work that has begun.
pub struct Work<'y, C> {
    yielding: &'y YieldToWriters<C>,
    /// The time of its begin.
    pub began: Duration,
    writes: u64,
}

impl<C: Clock> YieldToWriters<C> {
    /// Yields to the writes that are counted here.
    pub fn new(clock: C, writes: Rc<Cell<u64>>) -> Self {
        Self { clock, writes }
    }

    /// Begins a piece of work.
    pub fn begin(&self) -> Work<'_, C> {
        Work { yielding: self, began: self.clock.now(), writes: self.writes.get() }
    }
}

impl<C: Clock> Work<'_, C> {
    /// Rests after it for so many tenths of its time: `writing`, if something was written meanwhile, else `idle`.
    pub async fn rest(self, writing: u32, idle: u32) {
        let Self { yielding: YieldToWriters { clock, writes }, began, .. } = self;
        let tenths = if writes.get() == self.writes { idle } else { writing };
        if tenths > 0 {
            clock.sleep((clock.now() - began) * tenths / 10).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TokioClock;

    #[tokio::test(start_paused = true)]
    async fn the_rest_after_a_piece_of_work_depends_on_whether_something_was_written_meanwhile() {
        let (clock, writes) = (TokioClock::start(), Rc::new(Cell::new(7)));
        let yielding = YieldToWriters::new(clock, Rc::clone(&writes));
        for (written, idle, seconds) in [(0, 0, 1), (1, 0, 3), (0, 10, 2), (1, 10, 3)] {
            let work = yielding.begin();
            clock.sleep(Duration::from_secs(1)).await;
            writes.update(|writes| writes + written);
            let began = work.began;
            work.rest(20, idle).await;
            assert_eq!((clock.now() - began).as_secs(), seconds, "{written} {idle}");
        }
    }
}
